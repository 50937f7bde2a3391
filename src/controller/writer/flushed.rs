//! What comes of a turn of a writer, with one output or with several.

use std::collections::BTreeMap;

use super::target::Target;
use super::{Ack, FileReport, Percentages};
use crate::api::flagset::FileOutput;
use crate::controller::cache::ObjectKey;
use crate::error::Fault;

/// What came of a turn.
#[derive(Default)]
pub(super) struct Flushed {
    /// Whether a ConfigMap was written.
    pub wrote: bool,
    /// UID and answer per rollout.
    pub acks: BTreeMap<ObjectKey, (String, Ack)>,
    /// What a file gives to the cohorts of rollouts that want something else of it.
    pub seen: BTreeMap<ObjectKey, Percentages>,
    /// Rollouts whose cache lags behind the file: UID and the revision there.
    pub outdated: Vec<(ObjectKey, String, i64)>,
    /// What the set's status should say.
    pub report: Option<FileReport>,
    /// Whether the cluster has no such kind of output.
    pub absent: bool,
    /// Whether somebody has to act before the file can be written. Nobody tells when they have: look again.
    pub refused: bool,
    /// Why an output could not be read or written, which may well work in a moment. Nothing is acknowledged then.
    pub fault: Option<Fault>,
    /// Where the file was looked for, and whether it is there.
    pub outputs: BTreeMap<FileOutput, bool>,
    /// Those whose flags somebody else has changed, where that could not be put right yet: UID and revision.
    pub lost: BTreeMap<ObjectKey, (String, i64)>,
}

/// A place that the file is not in any more.
pub(super) fn gone(target: &Target) -> Flushed {
    let outputs = BTreeMap::from([(target.as_output(), false)]);
    Flushed { absent: true, outputs, ..Flushed::default() }
}

impl Flushed {
    /// With several outputs a rollout is delivered when all of them hold it: one that says nothing of it does not.
    /// One that cannot exist is read by nobody, and does not count.
    pub(super) fn and(mut self, other: Flushed) -> Flushed {
        self.wrote |= other.wrote;
        self.refused |= other.refused;
        self.outdated.extend(other.outdated);
        self.outputs.extend(other.outputs);
        self.lost.extend(other.lost);
        for (key, percentages) in other.seen {
            self.seen.entry(key).or_insert(percentages);
        }
        self.report = match (self.report.take(), other.report) {
            // What is wrong with any output is wrong with the set.
            (Some(mut report), Some(other)) => {
                report.failure = report.failure.or(other.failure);
                report.not_at_control = report.not_at_control.or(other.not_at_control);
                Some(report)
            }
            (report, other) => report.or(other),
        };
        if other.absent {
            return self;
        }
        self.acks.retain(|key, (_, ack)| ack.is_failure() || other.acks.contains_key(key));
        for (key, said) in other.acks {
            let replaces = match (self.acks.get(&key).map(|(_, ack)| ack), &said.1) {
                (Some(Ack::Delivered { revision: a }), Ack::Delivered { revision: b }) => b < a,
                (Some(before), ack) => !before.is_failure() && ack.is_failure(),
                (None, ack) => ack.is_failure(),
            };
            if replaces {
                self.acks.insert(key, said);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;

    fn said(acks: &[(&str, Ack)]) -> Flushed {
        let acks = acks
            .iter()
            .map(|(name, ack)| (("ns".to_owned(), (*name).to_owned()), ("uid".to_owned(), ack.clone())));
        Flushed { acks: acks.collect(), ..Flushed::default() }
    }

    fn failed() -> Ack {
        Ack::Failed { revision: 3, reason: Reason::Conflict, message: String::new() }
    }

    #[test]
    fn a_rollout_is_delivered_when_every_output_says_so() {
        let delivered = |revision| Ack::Delivered { revision };
        let first = said(&[
            ("both", delivered(3)),
            ("first", delivered(3)),
            ("no", delivered(3)),
            ("lag", delivered(2)),
        ]);
        let second = said(&[
            ("both", delivered(3)),
            ("second", delivered(3)),
            ("no", failed()),
            ("lag", delivered(3)),
        ]);
        for (a, b) in [(0, 1), (1, 0)] {
            let both = [&first, &second];
            let joined = Flushed { acks: both[a].acks.clone(), ..Flushed::default() }
                .and(Flushed { acks: both[b].acks.clone(), ..Flushed::default() });
            let acks: Vec<(String, Ack)> =
                joined.acks.into_iter().map(|((_, name), (_, ack))| (name, ack)).collect();
            let expected = [("both", delivered(3)), ("lag", delivered(2)), ("no", failed())];
            assert_eq!(acks, expected.map(|(name, ack)| (name.to_owned(), ack)));
        }
    }
}

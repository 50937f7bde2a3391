//! Which entries of a history are told now, and in which words.

use crate::api::status::HistoryEntry;
use crate::api::{FeatureRolloutStatus, Reason};

/// An entry to be told, with its words.
#[derive(Debug, PartialEq)]
pub(super) struct Told<'a> {
    pub(super) entry: &'a HistoryEntry,
    pub(super) message: String,
}

/// The entries after `published`, in their order.
///
/// The file is known to hold `delivered_revision`. An entry of a later one is told as not delivered, or waits, with all
/// that follow, until the file holds it where that is `under_way`. A rollout that begins and enters its first step in one
/// decision is told once, as a thousand new ones at a time are ordinary and each event is a write.
pub(super) fn to_tell(
    status: &FeatureRolloutStatus,
    published: i64,
    delivered_revision: i64,
    under_way: bool,
) -> Vec<Told<'_>> {
    let entries: Vec<&HistoryEntry> = status.history.iter().filter(|entry| entry.seq > published).collect();
    let mut told = Vec::new();
    let mut rest = entries.as_slice();
    while let Some((entry, after)) = rest.split_first() {
        let (last, message, after) = match after.split_first() {
            Some((step, after)) if begins_with(entry, step) => {
                let message = format!("{}; {}", entry.message, step.told(delivered_revision));
                (*step, message, after)
            }
            _ => (*entry, entry.told(delivered_revision), after),
        };
        if [entry, last].iter().any(|entry| entry.waits_for_file(delivered_revision, under_way)) {
            break;
        }
        told.push(Told { entry: last, message });
        rest = after;
    }
    told
}

fn begins_with(start: &HistoryEntry, step: &HistoryEntry) -> bool {
    start.reason == Reason::Started && step.reason == Reason::StepEntered && start.at == step.at
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn status(entries: serde_json::Value) -> FeatureRolloutStatus {
        serde_json::from_value(json!({"history": entries})).unwrap()
    }

    fn entry(seq: i64, second: u8, reason: &str, revision: Option<i64>) -> serde_json::Value {
        let mut entry = json!({"seq": seq, "at": format!("2025-09-08T09:00:0{second}.000001Z"), "reason": reason,
                               "message": format!("m{seq}"), "who": "schedule"});
        if let Some(revision) = revision {
            entry["revision"] = revision.into();
        }
        entry
    }

    #[rstest]
    #[case::both_are_in_the_file(1, true, &[(2, "m1; m2"), (3, "m3")])]
    #[case::the_step_is_on_its_way(0, true, &[])]
    #[case::the_step_cannot_be_delivered(0, false, &[(2, "m1; m2 (decided; the file does not hold it yet)"), (3, "m3")])]
    fn a_beginning_and_its_first_step_are_told_once(
        #[case] delivered: i64,
        #[case] under_way: bool,
        #[case] expected: &[(i64, &str)],
    ) {
        let status = status(json!([
            entry(1, 0, "Started", None),
            entry(2, 0, "StepEntered", Some(1)),
            entry(3, 0, "Paused", None)
        ]));
        let told = to_tell(&status, 0, delivered, under_way);
        let told: Vec<(i64, &str)> =
            told.iter().map(|told| (told.entry.seq, told.message.as_str())).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn a_beginning_that_waits_for_its_first_step_is_told_alone() {
        let later = status(json!([entry(1, 0, "Started", None), entry(2, 5, "StepEntered", Some(1))]));
        let seqs = |status: &FeatureRolloutStatus, published, delivered| -> Vec<i64> {
            to_tell(status, published, delivered, true).iter().map(|told| told.entry.seq).collect()
        };
        assert_eq!(seqs(&later, 0, 0), [1]);
        assert_eq!(seqs(&later, 0, 1), [1, 2]);
        assert_eq!(seqs(&later, 1, 1), [2]);
        let alone = status(json!([entry(1, 0, "Started", None)]));
        assert_eq!(seqs(&alone, 0, 0), [1]);
        let at_once = status(json!([entry(1, 0, "Started", None), entry(2, 0, "StepEntered", Some(1))]));
        assert_eq!(seqs(&at_once, 1, 1), [2], "what was told before is not told again");
    }
}

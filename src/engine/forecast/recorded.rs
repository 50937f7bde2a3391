//! What was recorded of a rollout: samples and actions, in order.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::api::rolloutaction::RolloutActionSpec;
use crate::api::{MicroTime, Reading};
use crate::engine::{Measurement, Subject};

/// Samples of one subject, by cohort, oldest first.
type Samples = BTreeMap<Option<String>, Vec<(MicroTime, Reading)>>;

/// What was recorded of one rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    pub(super) samples: BTreeMap<Subject, Samples>,
    pub(super) actions: Vec<(MicroTime, RolloutActionSpec)>,
}

impl Recorded {
    /// What was recorded, in any order. Of two samples of one instant the later one in the list counts.
    pub fn new(samples: Vec<Measurement>, actions: Vec<(MicroTime, RolloutActionSpec)>) -> Recorded {
        let mut recorded = Recorded::default();
        for Measurement { subject, cohort, at, reading, .. } in samples {
            let of_subject = recorded.samples.entry(subject).or_default();
            of_subject.entry(cohort).or_default().push((at, reading));
        }
        for samples in recorded.samples.values_mut().flat_map(BTreeMap::values_mut) {
            samples.sort_by_key(|(at, _)| *at);
        }
        recorded.actions = actions;
        recorded.actions.sort_by_key(|(at, _)| *at);
        recorded
    }

    /// The newest reading at `at` that is not older than the interval.
    pub(super) fn reading(
        &self,
        subject: &Subject,
        cohort: Option<&String>,
        at: MicroTime,
        interval: SignedDuration,
    ) -> Option<&Reading> {
        let samples = self.samples.get(subject)?.get(&cohort.cloned())?;
        let newer = samples.partition_point(|(sample, _)| *sample <= at);
        let (sample, reading) = samples.get(newer.checked_sub(1)?)?;
        (at.duration_since(*sample) <= interval).then_some(reading)
    }

    /// When the subject is sampled next after `at`.
    pub(super) fn next(&self, subject: &Subject, at: MicroTime) -> Option<MicroTime> {
        let of_cohorts = self.samples.get(subject)?.values();
        of_cohorts
            .filter_map(|samples| samples.get(samples.partition_point(|(sample, _)| *sample <= at)))
            .map(|(sample, _)| *sample)
            .min()
    }

    pub(super) fn last(&self) -> Option<MicroTime> {
        let samples = self.samples.values().flat_map(BTreeMap::values).filter_map(|samples| samples.last());
        samples.map(|(at, _)| *at).chain(self.actions.last().map(|(at, _)| *at)).max()
    }

    pub(super) fn len(&self) -> usize {
        self.samples.values().flat_map(BTreeMap::values).map(Vec::len).sum()
    }
}

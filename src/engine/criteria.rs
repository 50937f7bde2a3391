//! Criteria: whether the feature succeeds, and whether a phase may be raised.

use super::measure::{Metrics, Subject, cadence};
use super::text::short;
use super::triggers::Watch;
use crate::api::status::FeatureRolloutStatus;
use crate::api::verdict::{CriterionStatus, Verdict};
use crate::api::{Finite, MicroTime, Reading};
use crate::plan::Guard;
use crate::plan::guard::{Criterion, CriterionSource};

/// How it is said that there were too few samples.
const ARE_NEEDED: &str = " are needed";

impl Watch<'_> {
    /// Takes in what the criteria said. Only a change of verdict is noted.
    pub(super) fn fold_criteria(&mut self) {
        let guard = self.guard;
        self.status.criteria.retain(|status| guard.criterion(&status.name).is_some());
        for criterion in &guard.criteria {
            if let CriterionSource::Manual { value, at } = &criterion.source {
                let verdict = Finite::new(value.value())
                    .and_then(|value| criterion.bound.as_ref().map(|bound| judge(bound.holds(value))));
                self.note(criterion, status(criterion, *at, verdict, Some(value.to_string()), None));
            }
        }
        for measurement in self.metrics.measurements() {
            let Subject::Criterion(name) = &measurement.subject else { continue };
            if measurement.at > self.now {
                continue;
            }
            let Some(criterion) = guard.criterion(name) else { continue };
            let known = self.status.criteria.iter().find(|status| status.name == *name);
            let at = measurement.at;
            if known.is_some_and(|known| known.since > at) {
                continue;
            }
            self.note(criterion, status_of(criterion, at, &measurement.reading));
        }
    }

    fn note(&mut self, criterion: &Criterion, status: CriterionStatus) {
        let manual = matches!(criterion.source, CriterionSource::Manual { .. });
        match self.status.criteria.iter_mut().find(|known| known.name == criterion.name) {
            // What people measured is noted whenever they measured anew.
            Some(known) if known.verdict == status.verdict && (!manual || known.value == status.value) => {}
            Some(known) => *known = status,
            None => self.status.criteria.push(status),
        }
    }
}

/// What is said of a criterion that was measured.
pub fn status_of(criterion: &Criterion, at: MicroTime, reading: &Reading) -> CriterionStatus {
    let (verdict, value, why) = judged(criterion, reading);
    status(criterion, at, verdict, value, why)
}

fn status(
    criterion: &Criterion,
    at: MicroTime,
    verdict: Option<Verdict>,
    value: Option<String>,
    why: Option<String>,
) -> CriterionStatus {
    CriterionStatus {
        name: criterion.name.clone(),
        verdict,
        since: at,
        at: value.as_ref().map(|_| at),
        value,
        message: why.map(|why| short(&why)),
    }
}

fn judge(passes: bool) -> Verdict {
    if passes { Verdict::Pass } else { Verdict::Breach }
}

/// What a reading says of a criterion: verdict, value, and why there is none.
fn judged(criterion: &Criterion, reading: &Reading) -> (Option<Verdict>, Option<String>, Option<String>) {
    match reading {
        Reading::Value { value, samples } => {
            if let Some(least) = criterion.min_samples
                && samples.is_none_or(|samples| samples < least)
            {
                let found = samples.map_or("an unknown number of".to_owned(), |found| found.to_string());
                let why = format!("{found} samples where {least}{ARE_NEEDED}");
                return (Some(Verdict::NoData), None, Some(why));
            }
            let verdict = criterion.bound.as_ref().map(|bound| judge(bound.holds(*value)));
            (verdict, Some(value.to_string()), None)
        }
        Reading::NoData(why) => (Some(Verdict::NoData), None, Some(why.clone())),
        Reading::Error(why) => (Some(Verdict::ProviderError), None, Some(why.clone())),
    }
}

/// Why a gate does not pass now, in words; `None` when it does.
pub(super) fn gate_shut(
    guard: &Guard,
    status: &FeatureRolloutStatus,
    metrics: &Metrics,
    name: &str,
    now: MicroTime,
) -> Option<String> {
    if *metrics == Metrics::AllWell {
        return None;
    }
    let Some(criterion) = guard.criterion(name) else {
        return Some(format!("gate {name} is no criterion of the rollout"));
    };
    let Some(bound) = &criterion.bound else {
        return Some(format!("gate {name} has no bound and never passes"));
    };
    let known = status.criteria.iter().find(|known| known.name == name);
    let (verdict, too_few) = match &criterion.source {
        CriterionSource::Manual { value, .. } => {
            (Finite::new(value.value()).map_or(Verdict::NoData, |value| judge(bound.holds(value))), false)
        }
        CriterionSource::Metric(_) => {
            let interval = cadence(guard, status, criterion.interval, now);
            let subject = Subject::Criterion(name.to_owned());
            let newest = metrics.newest(&subject, None, interval, now);
            // After a restart nothing is measured yet, and what was missing before is missing still.
            let before = known.and_then(|known| known.verdict).filter(|verdict| verdict.is_missing());
            let verdict = newest.map_or(before, |newest| judged(criterion, &newest.reading).0);
            let is_number = newest.is_some_and(|newest| matches!(newest.reading, Reading::Value { .. }));
            (verdict.unwrap_or(Verdict::NoData), is_number)
        }
    };
    shut_words(criterion, known, verdict, too_few)
}

/// Why a gate would not pass by what status remembers of it; `None` when it would, or was not measured yet.
pub(super) fn remembered_shut(guard: &Guard, status: &FeatureRolloutStatus, name: &str) -> Option<String> {
    let criterion = guard.criterion(name)?;
    let known = status.criteria.iter().find(|known| known.name == name)?;
    shut_words(criterion, Some(known), known.verdict?, false)
}

/// The verdict of a gate in words that stay the same while the verdict does: each text that is another is a write.
fn shut_words(
    criterion: &Criterion,
    known: Option<&CriterionStatus>,
    verdict: Verdict,
    too_few: bool,
) -> Option<String> {
    let name = &criterion.name;
    let known = known.filter(|known| known.verdict == Some(verdict));
    let why = known.and_then(|known| known.message.as_ref());
    // How many samples there were changes with each measurement.
    let too_few = too_few || why.is_some_and(|why| why.ends_with(ARE_NEEDED));
    let why = why.filter(|_| !too_few).map(|why| format!(": {why}")).unwrap_or_default();
    match (verdict, criterion.min_samples.filter(|_| too_few)) {
        (Verdict::Pass, _) => None,
        (Verdict::Breach, _) => {
            let bound = criterion.bound.as_ref().map(ToString::to_string).unwrap_or_default();
            Some(format!("gate {name} does not pass: it must be {bound}"))
        }
        (Verdict::ProviderError, _) => {
            Some(format!("gate {name} could not be measured: an error of its source{why}"))
        }
        (Verdict::NoData | Verdict::Cancelled, Some(least)) => {
            Some(format!("gate {name} has no data: fewer samples than the {least} that are needed"))
        }
        (Verdict::NoData | Verdict::Cancelled, None) => Some(format!("gate {name} has no data{why}")),
    }
}

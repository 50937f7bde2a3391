//! The rules of triggers and rollbacks, told once more.

use jiff::SignedDuration;

use super::random_guard::{EVERY_HOURS, RUNGS};
use crate::api::trigger::MissingPolicy;
use crate::api::{FeatureRolloutStatus, Finite, MicroTime, Reading};
use crate::plan::guard::{Comparison, Level, Trigger};

/// When a gradual rollback that begins now is at its end.
pub fn gradually(now: MicroTime) -> MicroTime {
    now + SignedDuration::from_hours(EVERY_HOURS * (RUNGS - 1))
}

pub fn cohorts_of(trigger: &Trigger) -> Vec<Option<String>> {
    match trigger.per_cohort {
        Some(_) => ["a", "b", "c"].map(|name| Some(name.to_owned())).to_vec(),
        None => vec![None],
    }
}

/// What follows from a reading that is none, unless it is ignored.
pub fn policy(trigger: &Trigger, reading: Option<&Reading>) -> Option<MissingPolicy> {
    let policy = match reading? {
        Reading::Value { .. } => return None,
        Reading::Error(_) => trigger.on_provider_error,
        Reading::NoData(_) => trigger.on_no_data,
    };
    (policy != MissingPolicy::Ignore).then_some(policy)
}

pub fn is_in_breach(level: &Level, value: f64) -> bool {
    let bound: f64 = level.bound.value.to_string().parse().unwrap();
    match level.bound.comparison {
        Comparison::Above => value > bound,
        Comparison::AtLeast => value >= bound,
        Comparison::Below => value < bound,
        Comparison::AtMost => value <= bound,
    }
}

/// As declared; else three intervals, and none where raises are held.
pub fn missing_for(trigger: &Trigger, policy: MissingPolicy) -> SignedDuration {
    let default = if policy == MissingPolicy::Hold { SignedDuration::ZERO } else { trigger.interval * 3 };
    trigger.missing_for.unwrap_or(default)
}

pub fn is_fresh(trigger: &Trigger, at: MicroTime, now: MicroTime) -> bool {
    now.duration_since(at) <= trigger.interval * 2
}

pub fn exposed(status: &FeatureRolloutStatus, cohort: Option<&str>) -> bool {
    let served = |name: &str| status.cohort(name).is_some_and(|cohort| !cohort.decided().is_zero());
    cohort.map_or_else(|| ["a", "b", "c"].into_iter().any(served), served)
}

/// A value at which no level of a trigger is in breach.
pub fn harmless(trigger: &Trigger) -> Option<Reading> {
    let values = [1.0, 11.0, 15.0, 25.0, -1e6, 1e6]
        .map(|value| (Finite::new(value).unwrap(), Reading::of(value, None)));
    values
        .into_iter()
        .find(|(value, _)| !trigger.levels.iter().any(|level| level.bound.holds(*value)))
        .map(|(_, reading)| reading)
}

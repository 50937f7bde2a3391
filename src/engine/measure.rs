//! What is measured when, and what was measured.

use jiff::SignedDuration;

use crate::api::status::FeatureRolloutStatus;
use crate::api::trigger::Severity;
use crate::api::{MicroTime, Reading};
use crate::plan::Guard;
use crate::plan::guard::{CriterionSource, Trigger};

/// What a measurement is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The trigger of this name.
    Trigger(String),
    /// The criterion of this name.
    Criterion(String),
}

/// One measurement of a subject, of the whole rollout or of one cohort.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// What it is for.
    pub subject: Subject,
    /// The cohort, where each is measured by itself.
    pub cohort: Option<String>,
    /// The time it speaks of.
    pub at: MicroTime,
    /// When it was due: the same, or earlier where Sluice was late by its own limits. That nobody looked in between is not
    /// missing data.
    pub due: MicroTime,
    /// What the metric said.
    pub reading: Reading,
}

/// What is known of the metrics.
#[derive(Clone, Debug, PartialEq)]
pub enum Metrics {
    /// Whatever would be measured would be well: so plans are made.
    AllWell,
    /// These were measured, oldest first. The newest of each subject and cohort is the present; older ones may be
    /// given again and again, and count once.
    Measured(Vec<Measurement>),
}

impl Metrics {
    /// The measurements, oldest first.
    pub fn measurements(&self) -> &[Measurement] {
        match self {
            Metrics::AllWell => &[],
            Metrics::Measured(measurements) => measurements,
        }
    }

    /// The newest reading of a subject, unless it is older than two intervals: then it says nothing of the present.
    pub(super) fn newest(
        &self,
        subject: &Subject,
        cohort: Option<&str>,
        interval: SignedDuration,
        now: MicroTime,
    ) -> Option<&Measurement> {
        let newest = self
            .measurements()
            .iter()
            .filter(|measurement| measurement.subject == *subject && measurement.cohort.as_deref() == cohort)
            // A clock that was set back must not take what it measured before for the present.
            .filter(|measurement| measurement.at <= now)
            .max_by_key(|measurement| measurement.at)?;
        (now.duration_since(newest.at) <= interval.saturating_mul(2)).then_some(newest)
    }
}

/// When one subject is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// What is measured.
    pub subject: Subject,
    /// The last instant, at or before now, at which it was due.
    pub at: MicroTime,
    /// The next one, after now.
    pub next: MicroTime,
    /// Time between the two.
    pub interval: SignedDuration,
}

/// When each subject of a rollout is measured: at first exposure + k × interval, from k = 0 on.
///
/// Triggers are measured from the first exposure of the attempt on, by a step or by hand, or from a retry that has not
/// exposed anybody yet; criteria from the time the object was first seen, because they may gate the first raise.
pub fn due(guard: &Guard, status: &FeatureRolloutStatus, now: MicroTime) -> Vec<Due> {
    let exposed = anchor(status);
    let seen = exposed.or(status.first_seen);
    let mut due = Vec::new();
    for trigger in &guard.triggers {
        let interval = interval_of(guard, status, trigger, now);
        due.extend(slots(Subject::Trigger(trigger.name.clone()), exposed, interval, now));
    }
    for criterion in &guard.criteria {
        if matches!(criterion.source, CriterionSource::Metric(_)) {
            let interval = cadence(guard, status, criterion.interval, now);
            due.extend(slots(Subject::Criterion(criterion.name.clone()), seen, interval, now));
        }
    }
    due
}

/// From when triggers are measured, if they are.
pub(super) fn anchor(status: &FeatureRolloutStatus) -> Option<MicroTime> {
    let exposure = status.first_exposure.map(|exposure| exposure.at);
    let retry = || status.retry.as_ref().map(|retry| retry.at);
    // A baseline is served without a step, and so is what people set by hand.
    let unasked = || status.exposed_at;
    exposure.or_else(retry).or_else(unasked)
}

/// How often a trigger is measured now: one with a Critical level keeps its own interval for ever. Where a cohort that has the
/// feature is watched more often than that, so is the trigger.
pub(super) fn interval_of(
    guard: &Guard,
    status: &FeatureRolloutStatus,
    trigger: &Trigger,
    now: MicroTime,
) -> SignedDuration {
    let own = match trigger.severity() {
        Severity::Critical => trigger.interval,
        Severity::Info | Severity::Warning => cadence(guard, status, trigger.interval, now),
    };
    let exposed = status.cohorts.iter().filter(|cohort| cohort.is_exposed());
    exposed.filter_map(|cohort| guard.cohorts.get(&cohort.name)).copied().fold(own, std::cmp::min)
}

/// The interval of what is not critical: its own, and after the completion that of the monitoring period.
pub(super) fn cadence(
    guard: &Guard,
    status: &FeatureRolloutStatus,
    own: SignedDuration,
    now: MicroTime,
) -> SignedDuration {
    let Some(completed) = status.completed_at else { return own };
    let since = now.duration_since(completed);
    guard
        .monitoring
        .iter()
        .find(|(until, _)| until.is_none_or(|until| since < until))
        .map_or(own, |(_, interval)| *interval)
}

fn slots(
    subject: Subject,
    anchor: Option<MicroTime>,
    interval: SignedDuration,
    now: MicroTime,
) -> Option<Due> {
    // A clock that was set back must not leave the subject unmeasured until it has caught up.
    let anchor = anchor?.min(now);
    let since = now.duration_since(anchor).as_millis();
    let passed = since - since % interval.as_millis().max(1);
    let at = anchor.saturating_add(SignedDuration::from_millis(i64::try_from(passed).ok()?));
    let next = at.saturating_add(interval);
    Some(Due { subject, at, next, interval })
}

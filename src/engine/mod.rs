//! The decision: what a rollout serves next, as a pure function of its plan, its state, some facts and the time.

use jiff::Timestamp;

use crate::api::featurerollout::DeletionPolicy;
use crate::api::rolloutaction::Override;
use crate::api::status::{HISTORY, HistoryEntry, PauseCause};
use crate::api::{FeatureRolloutStatus, Percent, Reason};
use crate::flags::LiveFlag;
use crate::plan::{Guard, Plan};

mod actions;
mod advance;
mod begin;
mod criteria;
pub mod delivery;
mod door;
mod edits;
mod fit;
mod measure;
mod position;
pub mod reading;
pub mod report;
mod retry;
mod rollback;
pub mod simulate;
mod streak;
pub mod timeline;
mod wake;
mod watch;

pub use actions::{Actor, Ground, Outcome, Request, act, answered, is_raising};
pub use begin::take_to_control;
pub use delivery::{Delivery, deliver};
pub use measure::{Due, Measurement, Metrics, Subject, due};
pub use reading::{Finite, Reading};
pub use report::{Report, report};
pub use retry::wants_retry;

/// What is true outside of the plan and the state.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// UID of the object.
    pub uid: String,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// Whether the file holds the state as it was persisted last.
    pub delivered: bool,
    /// Whether the FlagSet's `emergency` asks for control.
    pub emergency: bool,
    /// The dependencies that are not met, in words.
    pub unmet: Vec<String>,
    /// What the file says of the flag, where a beginning has to know.
    pub live: Option<LiveFlag>,
    /// What is known of the metrics.
    pub metrics: Metrics,
}

impl Facts {
    /// Nothing is in the way: as offline commands assume.
    pub fn favourable(uid: &str) -> Facts {
        Facts {
            uid: uid.to_owned(),
            deleting: false,
            delivered: true,
            emergency: false,
            unmet: Vec::new(),
            live: None,
            metrics: Metrics::AllWell,
        }
    }
}

/// What follows from the plan, the state, the facts and the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The new state. Its report part is still the old one.
    pub status: FeatureRolloutStatus,
    /// When the next decision may differ by the passing of time alone; later than now.
    pub wake_at: Option<Timestamp>,
}

/// Decides what a rollout serves at `now`.
///
/// Total and deterministic: the same arguments give the same decision, and deciding again on its outcome at the
/// same instant changes nothing as long as the facts stay the same.
pub fn decide(plan: &Plan, status: &FeatureRolloutStatus, facts: &Facts, now: Timestamp) -> Decision {
    let mut run = Run::new(plan, status.clone(), facts, now);
    run.begin();
    if facts.deleting {
        run.delete();
        return Decision { status: run.status, wake_at: None };
    }
    run.follow_attempt();
    run.pause_if(PauseCause::Suspended, plan.suspend);
    run.pause_if(PauseCause::Emergency, facts.emergency);
    run.relocate();
    run.watch();
    retry::keep_the_clock(&mut run.status, run.now);
    run.follow_tiers();
    run.follow_delays();
    run.follow_edits();
    run.advance();
    let wake_at = run.wake_at();
    Decision { status: run.status, wake_at }
}

/// When the next rung of a rollback comes, if one is to come.
pub fn next_rung(status: &FeatureRolloutStatus) -> Option<Timestamp> {
    wake::next_rung(status)
}

/// One decision in the making.
struct Run<'a> {
    plan: &'a Plan,
    facts: &'a Facts,
    now: Timestamp,
    status: FeatureRolloutStatus,
    /// Index of the position among the plan's steps.
    at: Option<usize>,
    /// Whether a raising step has been entered in this decision, which is not delivered then.
    entered: bool,
    /// Checks that the raise under way passes over.
    overrides: Vec<Override>,
}

/// Decides what follows from measurements and from the time for a rollout whose spec is invalid: its last valid triggers
/// and rollback stay in force. Nothing is raised.
pub fn guard_only(
    guard: &Guard,
    status: &FeatureRolloutStatus,
    metrics: &Metrics,
    now: Timestamp,
) -> Decision {
    let now = crate::api::MicroTime::from(now).timestamp();
    let mut status = status.clone();
    watch::Watch { guard, status: &mut status, metrics, now }.run();
    retry::keep_the_clock(&mut status, now);
    let wake_at = wake::next_rung(&status).filter(|at| *at > now);
    Decision { status, wake_at }
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, status: FeatureRolloutStatus, facts: &'a Facts, now: Timestamp) -> Run<'a> {
        // Read back, the state must equal what was decided: nothing finer than it can hold.
        let now = crate::api::MicroTime::from(now).timestamp();
        Run { plan, facts, now, status, at: None, entered: false, overrides: Vec::new() }
    }

    fn record(&mut self, reason: Reason, who: &str, message: String) {
        record(&mut self.status, self.now, reason, who, message);
    }

    /// Follows the metrics, and the ladder of a rollback.
    fn watch(&mut self) {
        let Run { plan, facts, now, status, .. } = self;
        watch::Watch { guard: &plan.guard, status, metrics: &facts.metrics, now: *now }.run();
    }

    /// A deleted rollout is frozen, or goes to control where its policy says so.
    fn delete(&mut self) {
        if self.plan.deletion_policy == DeletionPolicy::Control {
            leave_at_control(&mut self.status, self.now);
        }
    }
}

/// Takes every cohort of a deleted rollout to control for good. It needs no plan: an invalid spec stops raises only.
pub fn leave_at_control(status: &mut FeatureRolloutStatus, now: Timestamp) {
    if status.cohorts.iter().all(|cohort| cohort.decided().is_zero()) {
        return;
    }
    for cohort in &mut status.cohorts {
        cohort.decide(Percent::ZERO);
        cohort.pending = None;
        cohort.restore = None;
    }
    record(status, now, Reason::Deleting, "git", "deleted: every cohort goes to control".to_owned());
}

fn record(status: &mut FeatureRolloutStatus, now: Timestamp, reason: Reason, who: &str, message: String) {
    let entry = HistoryEntry {
        seq: 0,
        at: now.into(),
        reason,
        message,
        who: who.to_owned(),
        trigger: None,
        severity: None,
        revision: None,
    };
    record_entry(status, entry);
}

/// Adds an entry to the history, under the next number.
fn record_entry(status: &mut FeatureRolloutStatus, entry: HistoryEntry) {
    let seq = status.last_seq() + 1;
    status.history.push(HistoryEntry { seq, ..entry });
    let excess = status.history.len().saturating_sub(HISTORY);
    status.history.drain(..excess);
}

#[cfg(test)]
mod tests;

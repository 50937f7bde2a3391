//! The decision: what a rollout serves next, as a pure function of its plan, its state, some facts and the time.

use crate::api::featurerollout::DeletionPolicy;
use crate::api::rolloutaction::Override;
use crate::api::status::PauseCause;
use crate::api::{FeatureRolloutStatus, MicroTime, Percent, Reason};
use crate::flags::LiveFlag;
use crate::plan::{Guard, Plan};
use history::{record, record_entry};

mod actions;
mod advance;
mod approval;
mod begin;
mod behind;
mod causes;
mod checks;
mod completion;
mod criteria;
pub mod delivery;
mod dependencies;
mod edits;
mod entry;
pub mod forecast;
mod history;
mod measure;
mod missing;
mod outlook;
mod pauses;
mod position;
mod precedence;
mod quiet;
pub mod report;
mod response;
mod retry;
mod rollback;
mod start;
mod streak;
mod text;
mod triggers;
mod trim;
mod verbs;
mod wake;

pub use actions::{Actor, Ground, Outcome, Request, act, answered, is_raising};
pub use begin::set_back;
pub use criteria::status_of;
pub use delivery::{Delivery, deliver};
pub use dependencies::{Other, unmet};
pub use history::changes_what_is_served;
pub use measure::{Due, Measurement, Metrics, Subject, due};
pub use pauses::{pause_words, take_to_control};
pub use position::{describe, describe_step};
pub use precedence::{Precedence, precedence};
pub use report::{Report, report};
pub use retry::wants_retry;
pub use text::short;
pub use trim::trim;

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
    /// What the rollout's phase of a playbook requires that is not so. Asked at the first start only.
    pub requirements: Vec<Requirement>,
    /// Why nothing may be raised, where the namespace has more than it may have in memory. What lowers goes on.
    pub no_room: Option<String>,
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
            requirements: Vec::new(),
            no_room: None,
            live: None,
            metrics: Metrics::AllWell,
        }
    }
}

/// Something that a playbook requires and that is not so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// What is missing, by name, as it fits into a column: the task, rollout, milestone, criterion, phase or playbook.
    pub which: String,
    /// The same in words that follow "waits for".
    pub message: String,
}

/// What follows from the plan, the state, the facts and the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The new state. Its report part is still the old one.
    pub status: FeatureRolloutStatus,
    /// When the next decision may differ by the passing of time alone; later than now.
    pub wake_at: Option<MicroTime>,
    /// When something comes next by itself as things stand: what the column NEXT shows. A raise that a trigger or a gate
    /// would hold back, or that nobody has approved, counts only where it is what the rollout waits for, which says so.
    pub next: Option<MicroTime>,
}

/// Decides what a rollout serves at `now`.
///
/// Total and deterministic: the same arguments give the same decision, and deciding again on its outcome at the
/// same instant changes nothing as long as the facts stay the same.
pub fn decide(plan: &Plan, status: &FeatureRolloutStatus, facts: &Facts, now: MicroTime) -> Decision {
    let decision = decide_once(plan, status, facts, now);
    // A raised attempt waits for a ladder, which may have come to its end in this very decision; and where the audience has
    // moved, what was measured of a cohort that is gone has a say no more.
    let waits = plan.attempt > decision.status.attempt;
    let has_moved = status.is_begun() && decision.status.audience != status.audience;
    match (waits || has_moved) && !facts.deleting {
        true => decide_once(plan, &decision.status, facts, now),
        false => decision,
    }
}

fn decide_once(plan: &Plan, status: &FeatureRolloutStatus, facts: &Facts, now: MicroTime) -> Decision {
    let mut run = Run::new(plan, status.clone(), facts, now);
    run.begin();
    if facts.deleting {
        run.delete();
        return Decision { status: run.status, wake_at: None, next: None };
    }
    run.follow_git();
    run.watch();
    retry::keep_the_clock(&mut run.status, run.now);
    run.follow_tiers();
    run.follow_delays();
    run.follow_edits();
    run.advance();
    response::follow(&plan.guard, &mut run.status, status.last_seq(), now);
    let response = response::wake_at(&run.status);
    let wake_at = [run.wake_at(), response].into_iter().flatten().min();
    let next = [run.next_at(), response].into_iter().flatten().min();
    missing::note_exposure(status, &mut run.status, run.now);
    run.watching().settle();
    Decision { status: run.status, wake_at, next }
}

/// When the next rung of a rollback comes, if one is to come.
pub fn next_rung(status: &FeatureRolloutStatus) -> Option<MicroTime> {
    wake::next_rung(status)
}

/// One decision in the making.
struct Run<'a> {
    plan: &'a Plan,
    facts: &'a Facts,
    now: MicroTime,
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
    now: MicroTime,
) -> Decision {
    let before = status;
    let mut status = status.clone();
    triggers::Watch { guard, status: &mut status, metrics, now }.run();
    retry::keep_the_clock(&mut status, now);
    missing::note_exposure(before, &mut status, now);
    response::follow(guard, &mut status, before.last_seq(), now);
    let rung = wake::next_rung(&status).filter(|at| *at > now);
    let wake_at = [rung, response::wake_at(&status)].into_iter().flatten().min();
    Decision { status, wake_at, next: wake_at }
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, status: FeatureRolloutStatus, facts: &'a Facts, now: MicroTime) -> Run<'a> {
        Run { plan, facts, now, status, at: None, entered: false, overrides: Vec::new() }
    }

    /// Takes in what git says besides percentages and times: where the position is now, the attempt, what pauses.
    ///
    /// The position comes first: an attempt that is raised in the very commit that loses it starts again.
    fn follow_git(&mut self) {
        self.relocate();
        self.forget_withdrawn_approvals();
        self.follow_attempt();
        self.pause_if(PauseCause::Suspended, self.plan.suspend);
        self.pause_if(PauseCause::Emergency, self.facts.emergency);
    }

    fn record(&mut self, reason: Reason, who: &str, message: String) {
        record(&mut self.status, self.now, reason, who, message);
    }

    /// Follows the metrics, and the ladder of a rollback.
    fn watch(&mut self) {
        self.watching().run();
    }

    fn watching(&mut self) -> triggers::Watch<'_> {
        let Run { plan, facts, now, status, .. } = self;
        triggers::Watch { guard: &plan.guard, status, metrics: &facts.metrics, now: *now }
    }

    /// A deleted rollout is frozen, or goes to control where its policy says so.
    fn delete(&mut self) {
        if self.plan.deletion_policy == DeletionPolicy::Control {
            leave_at_control(&mut self.status, self.now);
        }
    }
}

/// Takes every cohort of a deleted rollout to control for good. It needs no plan: an invalid spec stops raises only.
pub fn leave_at_control(status: &mut FeatureRolloutStatus, now: MicroTime) {
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

#[cfg(test)]
mod tests;

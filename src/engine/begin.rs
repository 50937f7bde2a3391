//! Beginnings: fresh, rebuilt, restored, adopted; and new attempts.

use super::Run;
use super::edits::pending;
use super::pauses::add_pause;
use super::position::position_at;
use super::retry::{ended_with_it, restart, wants_retry};
use super::rollback::skip_rungs;
use super::text::{decided_line, short};
use crate::api::rollback::Descent;
use crate::api::status::{AudienceRef, CohortStatus, PauseCause, RaiseCause};
use crate::api::{Duration, FeatureRolloutStatus, MicroTime, Percent, Reason, RollbackMode, RollbackStatus};
use crate::flags::{LiveFlag, LiveRollback};
use crate::plan::{Plan, Step};

impl<'a> Run<'a> {
    /// Gives a state without one its first content, and a state of another object a safe one.
    pub(super) fn begin(&mut self) {
        let live = self.facts.live.as_ref();
        if self.status.uid.as_deref() == Some(self.facts.uid.as_str()) {
            if let Some(live) = live
                && set_back(&mut self.status, live, self.plan.attempt, self.now)
                && let Some(rollback) = &live.rollback
            {
                self.latch_again(rollback, live);
            }
            return;
        }
        match (self.status.is_begun(), live) {
            (true, live) => self.restore(live),
            (false, Some(live)) if live.uid == self.facts.uid => self.rebuild(live, PauseCause::StatusLost),
            (false, Some(live)) => self.rebuild(live, PauseCause::Adopted),
            (false, None) => self.fresh(),
        }
    }

    fn fresh(&mut self) {
        let plan = self.plan;
        self.take_over();
        self.status.audience = Some(AudienceRef { name: plan.audience.name.clone() });
        self.status.cohorts = plan
            .audience
            .names()
            .map(|name| CohortStatus::deciding(name, plan.baseline.get(name).copied().unwrap_or_default()))
            .collect();
        let message = if self.status.exposed() {
            format!("first seen; starts from its baseline, {}", decided_line(&self.status.cohorts))
        } else {
            "first seen; every cohort starts at control".to_owned()
        };
        self.record(Reason::Started, "git", message);
    }

    /// The file knows what was served when status does not: serve that, and wait for a person.
    fn rebuild(&mut self, live: &LiveFlag, cause: PauseCause) {
        self.take_over();
        self.status.revision = live.revision;
        if live.audience.is_empty() {
            return self.rebuild_at_control(live, cause);
        }
        self.status.audience = Some(AudienceRef { name: live.audience.clone() });
        self.status.cohorts =
            live.served.iter().map(|(name, percent)| CohortStatus::served(name, *percent)).collect();
        let step = self.step_of(live);
        self.status.position = step.map(|step| position_at(step, self.now));
        self.remember_asks(step, live);
        // Whoever has the feature was raised once.
        self.status.started_at = self.status.exposed().then_some(self.now);
        if let Some(rollback) = &live.rollback {
            self.latch_again(rollback, live);
        }
        let (reason, message) = if cause == PauseCause::Adopted {
            (
                Reason::Adopted,
                "a deleted rollout of this name left its flag in the file; it is served on as it is",
            )
        } else {
            (
                Reason::StatusLost,
                "the status was empty; it was rebuilt from the file, which is served on as it is",
            )
        };
        self.hold_for_recovery(cause, reason, message);
    }

    /// The file knows which percentages were served, and nobody knows to whom: the declared cohorts may be other people, so
    /// they get control until a person starts again.
    fn rebuild_at_control(&mut self, live: &LiveFlag, cause: PauseCause) {
        self.status.audience = Some(AudienceRef { name: self.plan.audience.name.clone() });
        let cohort = |name: &str| CohortStatus::deciding(name, Percent::ZERO);
        self.status.cohorts = self.plan.audience.names().map(cohort).collect();
        if let Some(rollback) = &live.rollback {
            self.latch_again(rollback, live);
        }
        let reason = if cause == PauseCause::Adopted { Reason::Adopted } else { Reason::StatusLost };
        let message = "the file has a flag of this name whose audience is not known any more; every cohort gets control";
        self.hold_for_recovery(cause, reason, message);
    }

    /// A status of another object came from a backup: serve no more than it and the file agree on.
    fn restore(&mut self, live: Option<&LiveFlag>) {
        serve_what_both_serve(&mut self.status, live);
        if let Some((live, rollback)) = live.and_then(|live| Some((live, live.rollback.as_ref()?))) {
            // The backup is from before a rollback that the file knows.
            self.latch_again(rollback, live);
        }
        self.status.observed_generation = crate::api::unobserved();
        self.status.published_seq = self.status.last_seq();
        // The versions may be of another cluster.
        self.status.last_stop = None;
        self.status.uid = Some(self.facts.uid.clone());
        self.hold_for_recovery(
            PauseCause::Restored,
            Reason::Restored,
            "the status came from another object; served is lowered to what the file had",
        );
    }

    fn take_over(&mut self) {
        self.status.uid = Some(self.facts.uid.clone());
        self.status.attempt = self.plan.attempt;
        self.status.first_seen = Some(self.now);
    }

    fn hold_for_recovery(&mut self, cause: PauseCause, reason: Reason, message: &str) {
        // What was handled before the loss is unknown: only a raise from here on counts as a retry.
        self.status.attempt = self.plan.attempt;
        self.add_pause(cause, message.to_owned());
        self.record(reason, "recovery", message.to_owned());
    }

    /// The step that the file says was entered last.
    fn step_of(&self, live: &LiveFlag) -> Option<&'a Step> {
        let plan: &'a Plan = self.plan;
        plan.steps.iter().find(|step| {
            step.phase == live.phase
                && match &step.name {
                    Some(name) => *name == live.step,
                    None => step.number.to_string() == live.step,
                }
        })
    }

    /// Takes what the steps up to this one ask for as asked, and as much of it as the file says is pending as pending.
    ///
    /// Nothing else that was asked for comes by itself: the file does not say why it was not served, and it may have been
    /// taken away by hand.
    fn remember_asks(&mut self, step: Option<&Step>, live: &LiveFlag) {
        let at = self.plan.steps.iter().position(|known| Some(known) == step);
        for i in 0..self.status.cohorts.len() {
            let Some(cohort) = self.status.cohorts.get(i).cloned() else { continue };
            let declared = at.and_then(|at| self.declared(at, &cohort.name));
            // What no step asks for any more is promised no more.
            let promised = live.pending.iter().find(|(name, _)| *name == cohort.name).map(|(_, ask)| *ask);
            let promised = promised.zip(declared.as_ref()).map(|(promised, (ask, _))| promised.min(*ask));
            let promised = promised.filter(|ask| *ask > cohort.decided());
            if promised.is_some() {
                self.expose();
            }
            let due = self.due(&cohort.name);
            let Some(cohort) = self.status.cohorts.get_mut(i) else { continue };
            if let Some((ask, by)) = declared {
                cohort.asked = ask;
                cohort.asked_by = Some(by);
            }
            cohort.pending = promised.map(|ask| pending(ask, due, RaiseCause::Step));
        }
    }

    /// Puts the rollback back in force that the file says is: whatever loses a status ends no rollback. A ladder goes on
    /// with the spec's rungs.
    fn latch_again(&mut self, rollback: &LiveRollback, live: &LiveFlag) {
        if self.status.rollback.is_some() {
            return;
        }
        let guard = &self.plan.guard;
        let is_concerned = |cohort: &CohortStatus| rollback.cohorts.contains(&cohort.name);
        // Beside those whom a stronger rollback took to control, others may be on their way down a ladder.
        let is_on_its_way = |cohort: &CohortStatus| is_concerned(cohort) && !cohort.decided().is_zero();
        let gradual = rollback.mode == RollbackMode::Gradual || self.status.cohorts.iter().any(is_on_its_way);
        let ladder = if gradual { guard.ladder.clone() } else { Vec::new() };
        let next = self.now.saturating_add(guard.every);
        let mut under_way = false;
        for cohort in self.status.cohorts.iter_mut().filter(|cohort| is_concerned(cohort)) {
            cohort.pending = None;
            if is_on_its_way(cohort) {
                cohort.descent = Some(Descent { rung: 0, next });
                skip_rungs(cohort, &ladder);
                under_way = true;
            }
        }
        self.status.rollback = Some(RollbackStatus {
            mode: rollback.mode,
            at: rollback.at,
            by: rollback.by.clone(),
            trigger: rollback.by.strip_prefix("trigger/").map(str::to_owned),
            severity: None,
            message: "rolled back before the status was lost, by what the file says".to_owned(),
            escalations: Vec::new(),
            phase: (!live.phase.is_empty()).then(|| live.phase.clone()),
            cohorts: rollback.cohorts.clone(),
            every: gradual.then(|| Duration::from_signed(guard.every)),
            ladder,
            ended_at: (!under_way).then_some(self.now),
            verified_at: None,
            acknowledged_at: None,
        });
    }

    /// Takes note of `spec.attempt`. Only a raise first seen while rolled back or in a recovery pause starts again; one
    /// seen on the way down a ladder does when that has ended or its triggers are quiet.
    pub(super) fn follow_attempt(&mut self) {
        let attempt = self.plan.attempt;
        let raised = attempt > self.status.attempt;
        if raised && wants_retry(&self.status) {
            if self.ladder_goes_on().is_some() {
                return;
            }
            self.status.attempt = attempt;
            let ended = restart(&mut self.status, None, Vec::new(), self.now);
            self.at = None;
            let message = format!("attempt {attempt} begins; served stays as it is{}", ended_with_it(&ended));
            self.record(Reason::AttemptStarted, "git", short(&message));
            return;
        }
        self.status.attempt = attempt;
        if raised {
            let message = format!(
                "attempt {attempt} is noted and starts nothing: no rollback is in force, and no recovery pause"
            );
            self.record(Reason::AttemptNoted, "git", message);
        }
    }
}

/// The file holds a later decision than the status knows of, which was set back: serve no more than both say, above that
/// decision's revision, and wait for a person. Nothing is done where the status knows of the decision, so that saying it
/// again changes nothing. Says whether anything was done.
///
/// It needs no plan: what lowers a rollout reaches the file of one whose spec is invalid, too.
pub fn set_back(status: &mut FeatureRolloutStatus, live: &LiveFlag, attempt: i32, now: MicroTime) -> bool {
    let announced = status.announced.as_ref().map_or(0, |announced| announced.revision);
    if live.revision <= status.revision.max(announced) {
        return false;
    }
    serve_what_both_serve(status, Some(live));
    status.announced = None;
    // Which attempts were handled meanwhile is unknown: only a raise from here on counts.
    status.attempt = attempt;
    let message = "the file holds a later decision than the status, which was set back; served is lowered to what both say";
    add_pause(status, PauseCause::Restored, message, now);
    super::record(status, now, Reason::Restored, "recovery", message.to_owned());
    true
}

fn serve_what_both_serve(status: &mut FeatureRolloutStatus, live: Option<&LiveFlag>) {
    let served = |name: &str| {
        live.and_then(|live| live.served.iter().find(|(cohort, _)| cohort == name))
            .map_or(Percent::ZERO, |(_, percent)| *percent)
    };
    for cohort in &mut status.cohorts {
        let in_file = served(&cohort.name);
        cohort.decide(cohort.decided().min(in_file));
        cohort.note_served(in_file);
        cohort.pending = None;
        cohort.restore = None;
    }
    status.revision = status.revision.max(live.map_or(0, |live| live.revision));
    status.delivered_revision = 0;
    status.undelivered = None;
    status.fragment = None;
}

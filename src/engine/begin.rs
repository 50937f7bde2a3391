//! Beginnings: fresh, rebuilt, restored, adopted; and new attempts.

use jiff::Timestamp;

use super::Run;
use super::retry::{restart, wants_retry};
use crate::api::status::{AudienceRef, CohortStatus, Pause, PauseCause, Position};
use crate::api::{FeatureRolloutStatus, MicroTime, Percent, Reason};
use crate::flags::LiveFlag;

impl Run<'_> {
    /// Gives a state without one its first content, and a state of another object a safe one.
    pub(super) fn begin(&mut self) {
        if self.status.uid.as_deref() == Some(self.facts.uid.as_str()) {
            return;
        }
        let live = self.facts.live.as_ref();
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
        self.status.audience = Some(AudienceRef { name: live.audience.clone() });
        self.status.cohorts =
            live.served.iter().map(|(name, percent)| CohortStatus::served(name, *percent)).collect();
        self.status.position = self.position_of(live);
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

    /// A status of another object came from a backup: serve no more than it and the file agree on.
    fn restore(&mut self, live: Option<&LiveFlag>) {
        let served = |name: &str| {
            live.and_then(|live| live.served.iter().find(|(cohort, _)| cohort == name))
                .map_or(Percent::ZERO, |(_, percent)| *percent)
        };
        for cohort in &mut self.status.cohorts {
            let in_file = served(&cohort.name);
            cohort.decide(cohort.decided().min(in_file));
            cohort.note_served(in_file);
            cohort.pending = None;
            cohort.restore = None;
        }
        self.status.revision = self.status.revision.max(live.map_or(0, |live| live.revision));
        self.status.delivered_revision = 0;
        self.status.undelivered = None;
        self.status.fragment = None;
        self.status.observed_generation = crate::api::unobserved();
        self.status.published_seq = self.status.last_seq();
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
        self.status.first_seen = Some(self.now.into());
    }

    fn hold_for_recovery(&mut self, cause: PauseCause, reason: Reason, message: &str) {
        // What was handled before the loss is unknown: only a raise from here on counts as a retry.
        self.status.attempt = self.plan.attempt;
        self.add_pause(cause, format!("{message}; raise spec.attempt to start again"));
        self.record(reason, "recovery", message.to_owned());
    }

    fn position_of(&self, live: &LiveFlag) -> Option<Position> {
        let step = self.plan.steps.iter().find(|step| {
            step.phase == live.phase
                && match &step.name {
                    Some(name) => *name == live.step,
                    None => step.number.to_string() == live.step,
                }
        })?;
        Some(Position {
            phase: step.phase.clone(),
            number: i32::try_from(step.number).unwrap_or(1),
            of: i32::try_from(step.of).unwrap_or(1),
            step: step.name.clone(),
            content: step.content.clone(),
            entered_at: self.now.into(),
            hold_from: self.now.into(),
        })
    }

    /// Takes note of `spec.attempt`. Only a raise first seen while rolled back or in a recovery pause starts again.
    pub(super) fn follow_attempt(&mut self) {
        let raised = self.plan.attempt > self.status.attempt;
        self.status.attempt = self.plan.attempt;
        if !raised || !wants_retry(&self.status) {
            return;
        }
        restart(&mut self.status, None, Vec::new(), self.now);
        let message = format!("attempt {} begins; served stays as it is", self.plan.attempt);
        self.record(Reason::AttemptStarted, "git", message);
    }

    /// Adds or ends a pause that follows a field.
    pub(super) fn pause_if(&mut self, cause: PauseCause, on: bool) {
        let is = self.status.pause(cause).is_some();
        match (cause, is, on) {
            (_, true, true) | (_, false, false) => {}
            (PauseCause::Emergency, false, true) => take_to_control(&mut self.status, self.now),
            (PauseCause::Emergency, true, false) => {
                self.end_pause(cause);
                let message = "the FlagSet's emergency is over; what was served comes back through the door";
                self.record(Reason::EmergencyLifted, "git", message.to_owned());
            }
            (_, false, true) => {
                self.add_pause(cause, "spec.suspend is true".to_owned());
                self.record(Reason::Paused, "git", "suspended in git".to_owned());
            }
            (_, true, false) => {
                self.end_pause(cause);
                self.record(Reason::Resumed, "git", "no longer suspended in git".to_owned());
            }
        }
    }

    pub(super) fn add_pause(&mut self, cause: PauseCause, message: String) {
        add_pause(&mut self.status, cause, &message, self.now);
    }

    pub(super) fn end_pause(&mut self, cause: PauseCause) {
        self.status.pauses.retain(|pause| pause.cause != cause);
    }
}

/// Pauses the schedule for a cause, from now on also where it was paused for it before.
pub(super) fn add_pause(status: &mut FeatureRolloutStatus, cause: PauseCause, message: &str, now: Timestamp) {
    status.pauses.retain(|pause| pause.cause != cause);
    status.pauses.push(Pause { cause, since: now.into(), message: super::report::short(message) });
}

/// Takes every cohort to control and pauses, as a FlagSet's `emergency` asks; once. What was served waits to come back.
///
/// It needs no plan: an emergency reaches a rollout whose spec is invalid, too.
pub fn take_to_control(status: &mut FeatureRolloutStatus, now: Timestamp) {
    if status.pause(PauseCause::Emergency).is_some() {
        return;
    }
    let now = MicroTime::from(now);
    for cohort in status.cohorts.iter_mut().filter(|cohort| !cohort.decided().is_zero()) {
        // A cohort on its way down a ladder has nothing to come back to.
        if cohort.descent.take().is_none() {
            cohort.restore = Some(cohort.restore.unwrap_or_default().max(cohort.decided()));
        }
        cohort.decide(Percent::ZERO);
    }
    let message = "the FlagSet's emergency takes every cohort to control";
    let cause = PauseCause::Emergency;
    let pause = format!("{message}; take spec.emergency away to go on");
    status.pauses.push(Pause { cause, since: now, message: pause });
    status.paused_since.get_or_insert(now);
    super::record(status, now.timestamp(), Reason::EmergencyControl, "git", message.to_owned());
}

/// What is decided for every cohort, in one line.
pub(super) fn decided_line(cohorts: &[CohortStatus]) -> String {
    cohorts
        .iter()
        .map(|cohort| format!("{} {}", cohort.name, cohort.decided()))
        .collect::<Vec<_>>()
        .join(", ")
}

//! Beginnings: fresh, rebuilt, restored, adopted; and new attempts.

use super::Run;
use super::retry::{restart, wants_retry};
use super::text::served_line;
use crate::api::status::{AudienceRef, CohortStatus, PauseCause, Position};
use crate::api::{Percent, Reason};
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
            .map(|name| CohortStatus {
                name: name.to_owned(),
                served: plan.baseline.get(name).copied().unwrap_or_default(),
                ..CohortStatus::default()
            })
            .collect();
        let message = if self.status.exposed() {
            format!("first seen; starts from its baseline, {}", served_line(&self.status.cohorts))
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
        self.status.cohorts = live
            .served
            .iter()
            .map(|(name, percent)| CohortStatus {
                name: name.clone(),
                served: *percent,
                ..CohortStatus::default()
            })
            .collect();
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
            cohort.served = cohort.served.min(served(&cohort.name));
            cohort.pending = None;
            cohort.restore = None;
        }
        self.status.revision = self.status.revision.max(live.map_or(0, |live| live.revision));
        self.status.delivered_revision = 0;
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
}

//! When a rollout is completed: the last hold is over and nothing is pending.

use super::Run;
use super::checks::{Raise, Refusal};
use super::position::describe_step;
use super::text::{decided_line, second};
use crate::api::status::Check;
use crate::api::{MicroTime, Reason};

impl Run<'_> {
    /// Completed: the last hold is over and nothing is pending.
    pub(super) fn complete(&mut self) {
        if !self.status.pauses.is_empty() || self.status.rollback.is_some() {
            return;
        }
        let nothing_pending = self.nothing_pending();
        let over = self.last_hold_end().is_some_and(|end| end <= self.now);
        match (over && nothing_pending, self.status.completed_at) {
            (true, None) => {
                self.status.completed_at = Some(self.now);
                let decided = decided_line(&self.status.cohorts);
                self.record(Reason::Completed, "schedule", format!("completed with {decided}"));
            }
            (false, Some(_)) => self.status.completed_at = None,
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Whether no raise is asked for and not yet let through.
    pub(super) fn nothing_pending(&self) -> bool {
        self.status.pending_audience.is_none()
            && self.status.cohorts.iter().all(|cohort| cohort.pending.is_none() && cohort.restore.is_none())
    }

    /// When the hold of the last step ends, once it has been entered.
    pub(super) fn last_hold_end(&self) -> Option<MicroTime> {
        let at = self.at.filter(|at| at + 1 == self.plan.steps.len())?;
        let from = self.status.position.as_ref()?.hold_from;
        Some(self.plan.hold_end(self.plan.steps.get(at)?, from))
    }

    /// With every step entered and nothing pending, the hold that is left before the rollout is completed.
    pub(super) fn last_hold(&self) -> Option<Refusal> {
        let end = self.last_hold_end().filter(|_| self.status.completed_at.is_none())?;
        let last = self.plan.steps.last()?;
        // What stops a raise stops the clock of this hold, too.
        let stopped = self.refused(Raise::PromoteStill(last));
        if let Some(stopped) = stopped.filter(|stopped| stopped.check != Check::Approval) {
            return Some(stopped);
        }
        if end <= self.now {
            return None;
        }
        let message =
            format!("the hold of {} lasts until {}; then it is completed", describe_step(last), second(end));
        Some(Refusal::new(Check::Hold, message, Some(end)))
    }
}

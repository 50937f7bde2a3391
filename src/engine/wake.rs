//! When the passing of time alone may change the decision.

use super::Run;
use super::checks::{Raise, raise_of};
use crate::api::MicroTime;
use crate::api::status::{Check, FeatureRolloutStatus};

impl Run<'_> {
    /// The next instant, later than now, at which deciding again may say something else.
    pub(super) fn wake_at(&self) -> Option<MicroTime> {
        self.next_change(|_| true, None)
    }

    /// The next instant at which something comes, as things stand; and of what is held back, that of the raise that status
    /// says it waits for, beside what holds it.
    pub(super) fn next_at(&self) -> Option<MicroTime> {
        let told = self.status.waiting_for.as_ref().and_then(|waiting| waiting.until);
        self.next_change(|raise| self.behind(raise).is_none(), told)
    }

    fn next_change(&self, counts: impl Fn(Raise<'_>) -> bool, told: Option<MicroTime>) -> Option<MicroTime> {
        let rung = next_rung(&self.status).filter(|at| *at > self.now);
        if !self.status.pauses.is_empty() || self.status.rollback.is_some() {
            return rung;
        }
        let calendar = &self.plan.calendar;
        let edit_waits = self.status.pending_audience.is_some()
            || self.status.cohorts.iter().any(|cohort| cohort.restore.is_some());
        let edit_waits = edit_waits && counts(Raise::Edit(None));
        let edit = edit_waits.then(|| calendar.next_open(self.now)).flatten();
        let pending = self
            .status
            .cohorts
            .iter()
            .filter_map(|cohort| Some((cohort.name.as_str(), cohort.pending.as_ref()?)))
            .filter(|(cohort, pending)| counts(raise_of(pending, cohort)))
            .filter_map(|(_, pending)| calendar.next_open(pending.due.max(self.now)));
        let completion = self.last_hold_end().filter(|_| self.nothing_pending());
        [self.step_wake(), edit, completion, told]
            .into_iter()
            .flatten()
            .chain(pending)
            .filter(|at| *at > self.now)
            .min()
    }

    /// When the next step may be entered, or when what it waits for changes by time alone.
    fn step_wake(&self) -> Option<MicroTime> {
        if self.status.position.is_some() && self.at.is_none() {
            return None;
        }
        self.plan.steps.get(self.at.map_or(0, |at| at + 1))?;
        let waiting = self.status.waiting_for.as_ref()?;
        let by_time = matches!(
            waiting.check,
            Check::Playbook | Check::Start | Check::Hold | Check::Date | Check::Window | Check::Freeze
        );
        waiting.until.filter(|_| by_time)
    }
}

/// When the next rung of a rollback is due.
pub(super) fn next_rung(status: &FeatureRolloutStatus) -> Option<MicroTime> {
    let descents = status.cohorts.iter().filter_map(|cohort| cohort.descent);
    descents.map(|descent| descent.next).min()
}

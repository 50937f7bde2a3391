//! Going forward: what the checks let through at this instant.

use super::Run;
use super::checks::{Raise, Refusal, raise_of};
use super::text::second;
use crate::api::Reason;
use crate::api::status::{AudienceRef, Check, Pending, RaiseCause};

impl Run<'_> {
    /// Lets through everything that may pass now, then says what the next raise waits for.
    pub(super) fn advance(&mut self) {
        self.pass_all();
        if self.status.pending_audience.is_some() && self.is_idle() {
            // A step that has just lowered everybody leaves an edited audience nothing to wait for.
            self.pass_all();
        }
    }

    fn pass_all(&mut self) {
        let audience = self.pass_audience();
        let edits = self.pass_restores().or(audience);
        let raised = self.pass_pending(|_| true);
        if !raised.is_empty() {
            self.record(Reason::CohortRaised, "schedule", format!("raised {}", raised.join(", ")));
        }
        let step = self.pass_steps();
        self.complete();
        let pending = self.judge_pending();
        // What comes first is what NEXT shows; where neither has a time, or a person has to act, the step counts.
        let sooner = |other: &Refusal, first: &Refusal| {
            other.until.zip(first.until).is_some_and(|(other, first)| other < first)
        };
        let first = [step, edits, pending]
            .into_iter()
            .flatten()
            .reduce(|first, other| if sooner(&other, &first) { other } else { first });
        let waiting = first.or_else(|| self.last_hold());
        self.status.waiting_for = waiting.map(Into::into);
    }

    /// Moves to an edited audience if the checks let it; with nobody exposed there is nothing to guard.
    fn pass_audience(&mut self) -> Option<Refusal> {
        let wanted = &self.plan.audience.name;
        if self.status.audience.as_ref().is_some_and(|pinned| pinned.name == *wanted) {
            self.status.pending_audience = None;
            return None;
        }
        let refused = if self.is_idle() { None } else { self.refused(Raise::Edit(None)) };
        if let Some(refusal) = refused {
            self.status.pending_audience = Some(AudienceRef { name: wanted.clone() });
            return Some(self.with_then(Raise::Edit(None), refusal));
        }
        self.move_audience();
        // Cohorts that have just come may be asked for by steps already entered.
        self.follow_tiers();
        self.follow_edits();
        None
    }

    /// Whether nobody is served the treatment, or will be again after an emergency.
    fn is_idle(&self) -> bool {
        !self.status.exposed() && self.status.cohorts.iter().all(|cohort| cohort.restore.is_none())
    }

    /// Gives back what an emergency took away.
    fn pass_restores(&mut self) -> Option<Refusal> {
        if self.status.cohorts.iter().all(|cohort| cohort.restore.is_none()) {
            return None;
        }
        if let Some(refusal) = self.refused(Raise::Edit(None)) {
            return Some(self.with_then(Raise::Edit(None), refusal));
        }
        let mut raised = Vec::new();
        for cohort in &mut self.status.cohorts {
            if let Some(restore) = cohort.restore.take()
                && restore > cohort.decided()
            {
                raised.push(format!("{} {} → {restore}", cohort.name, cohort.decided()));
                cohort.decide(restore);
                // What was asked for in the emergency may be less than comes back.
                cohort.pending = cohort.pending.take().filter(|pending| pending.percent > restore);
                cohort.tier_refused &= cohort.asked > cohort.decided();
            }
        }
        if !raised.is_empty() {
            let message = format!("after the emergency, raised {}", raised.join(", "));
            self.record(Reason::CohortRaised, "schedule", message);
        }
        None
    }

    /// Applies the pending raises of these cohorts that are due and pass; returns them in words.
    ///
    /// All are judged before any comes: what one exposes must not hold back another.
    pub(super) fn pass_pending(&mut self, concerns: impl Fn(&str) -> bool) -> Vec<String> {
        let passing: Vec<(usize, Pending)> = self
            .status
            .cohorts
            .iter()
            .enumerate()
            .filter_map(|(i, cohort)| Some((i, cohort.pending.clone()?, cohort.name.as_str())))
            .filter(|(_, pending, name)| {
                // One that is declared no more waits for the audience to move, and goes with it.
                concerns(name)
                    && self.plan.cohort(name).is_some()
                    && pending.due <= self.now
                    && self.refused(raise_of(pending, name)).is_none()
            })
            .map(|(i, pending, _)| (i, pending))
            .collect();
        let mut raised = Vec::new();
        let mut edited = false;
        for (i, pending) in passing {
            let Some(cohort) = self.status.cohorts.get_mut(i) else { continue };
            cohort.pending = None;
            if pending.percent > cohort.decided() {
                raised.push(format!("{} {} → {}", cohort.name, cohort.decided(), pending.percent));
                cohort.decide(pending.percent);
                edited |= pending.cause == RaiseCause::Edit;
            }
        }
        if edited && let Some(position) = &mut self.status.position {
            position.hold_from = self.now;
        }
        raised
    }

    /// Enters steps as far as the checks let; returns what the next one waits for.
    fn pass_steps(&mut self) -> Option<Refusal> {
        loop {
            if self.status.position.is_some() && self.at.is_none() {
                // The position is lost; the pause says so.
                return self.status.pauses.first().and_then(|_| self.refused(Raise::Edit(None)));
            }
            let next = self.next_entry()?;
            let raise = if next.rises { Raise::Step(next.step) } else { Raise::StillStep(next.step) };
            self.overrides =
                self.status.retry.as_ref().map(|retry| retry.overrides.clone()).unwrap_or_default();
            self.consider(next.step, next.rises);
            let refusal = self.refused(raise).map(|refusal| self.with_then(raise, refusal));
            if refusal.is_none() {
                self.enter(next, Reason::StepEntered, "schedule", None);
            }
            self.overrides.clear();
            if let Some(refusal) = refusal {
                return Some(refusal);
            }
        }
    }

    /// Writes down why each pending raise has not come yet; returns the soonest one's reason.
    fn judge_pending(&mut self) -> Option<Refusal> {
        let mut soonest: Option<Refusal> = None;
        for i in 0..self.status.cohorts.len() {
            let Some(cohort) = self.status.cohorts.get(i) else { continue };
            let Some(pending) = &cohort.pending else { continue };
            let refusal = self.why_pending(&cohort.name, pending);
            let refusal = self.with_then(raise_of(pending, &cohort.name), refusal);
            if let Some(pending) = self.status.cohorts.get_mut(i).and_then(|cohort| cohort.pending.as_mut()) {
                pending.check = refusal.check;
            }
            let sooner = soonest.as_ref().is_none_or(|other| match (refusal.until, other.until) {
                (Some(this), Some(that)) => this < that,
                (Some(_), None) => true,
                (None, _) => false,
            });
            if sooner {
                soonest = Some(refusal);
            }
        }
        soonest
    }

    fn why_pending(&self, cohort: &str, pending: &Pending) -> Refusal {
        let what = format!("{cohort} → {}", pending.percent);
        let raise = raise_of(pending, cohort);
        let standing = self.refused(raise);
        if let Some(standing) = &standing
            && matches!(standing.check, Check::Valid | Check::RolledBack | Check::Paused)
        {
            return standing.clone();
        }
        if let Some(unapproved) = standing.as_ref().filter(|standing| standing.check == Check::Approval)
            && pending.due <= self.now
        {
            return unapproved.clone();
        }
        let earliest = pending.due.max(self.now);
        let open = self.plan.calendar.next_open(earliest);
        match self.plan.calendar.closed(earliest) {
            Some(closed) => self.closed(closed, &what, open),
            None if earliest > self.now => {
                let message = format!("the delay of {cohort} lasts until {}", second(earliest));
                Refusal::new(Check::CohortDelay, message, Some(earliest)).of(cohort)
            }
            None => standing.unwrap_or_else(|| {
                let message = "the file does not hold the previous decision yet";
                Refusal::new(Check::Delivered, message.to_owned(), None)
            }),
        }
    }
}

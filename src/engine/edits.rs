//! Edits in the middle of a run: lowered asks apply at once, raised ones become pending.

use std::collections::BTreeMap;

use super::Run;
use super::position::{Mark, asked_by};
use super::rollback::skip_rungs;
use crate::api::status::{AskedBy, Check, CohortStatus, Exposure, Pending, RaiseCause};
use crate::api::{MicroTime, Percent, Reason};

impl Run<'_> {
    /// Cohorts that no longer admit the rollout's tier are raised no more; those that do again become pending.
    pub(super) fn follow_tiers(&mut self) {
        let plan = self.plan;
        for i in 0..self.status.cohorts.len() {
            let Some(cohort) = self.status.cohorts.get(i) else { continue };
            let Some(declared) = plan.cohort(&cohort.name) else { continue };
            let admitted = plan.admits(declared);
            let raised = admitted && cohort.tier_refused && cohort.asked > cohort.decided();
            let name = cohort.name.clone();
            if raised {
                self.expose();
            }
            let due = self.due(&name);
            let Some(cohort) = self.status.cohorts.get_mut(i) else { continue };
            if !admitted {
                // Only a raise that was still to come is refused by the tier: what was taken away otherwise stays away.
                let refuses = cohort.pending.take().is_some() || cohort.tier_refused;
                cohort.tier_refused = refuses && cohort.asked > cohort.decided();
            } else if cohort.tier_refused {
                cohort.tier_refused = false;
                cohort.pending = raised.then(|| pending(cohort.asked, due, RaiseCause::Edit));
            }
        }
    }

    /// Compares what the plan's steps up to the position ask now with what they asked.
    pub(super) fn follow_edits(&mut self) {
        let Some(at) = self.at else { return };
        let mut lowered = Vec::new();
        for i in 0..self.status.cohorts.len() {
            let Some(cohort) = self.status.cohorts.get(i).cloned() else { continue };
            let Some((ask, by)) = self.declared(at, &cohort.name) else { continue };
            let stands = cohort.asked_by.as_ref().is_some_and(|by| !self.still_asks(by, &cohort.name));
            if stands {
                continue;
            }
            let mut edited = self.edited(&cohort, ask, by);
            if let Some(rollback) = &self.status.rollback {
                skip_rungs(&mut edited, &rollback.ladder);
            }
            if edited.decided() < cohort.decided() {
                lowered.push(format!("{} {} → {}", cohort.name, cohort.decided(), edited.decided()));
            }
            if let Some(cohort) = self.status.cohorts.get_mut(i) {
                *cohort = edited;
            }
        }
        if !lowered.is_empty() {
            self.record(Reason::EditApplied, "git", format!("an edit lowered {}", lowered.join(", ")));
        }
    }

    fn edited(&mut self, cohort: &CohortStatus, ask: Percent, by: AskedBy) -> CohortStatus {
        let mut edited = cohort.clone();
        edited.asked = ask;
        edited.asked_by = Some(by);
        if ask < cohort.asked {
            edited.decide(cohort.decided().min(ask));
            edited.restore =
                cohort.restore.map(|restore| restore.min(ask)).filter(|restore| !restore.is_zero());
            edited.pending = cohort
                .pending
                .as_ref()
                .filter(|_| edited.decided() < ask)
                .map(|before| Pending { percent: ask, ..before.clone() });
        } else if ask > cohort.asked {
            let admitted = self.plan.cohort(&cohort.name).is_some_and(|declared| self.plan.admits(declared));
            let raise = ask > cohort.decided();
            edited.tier_refused = raise && !admitted;
            if raise && admitted {
                self.expose();
            }
            edited.pending =
                (raise && admitted).then(|| pending(ask, self.due(&cohort.name), RaiseCause::Edit));
        }
        edited.tier_refused = edited.tier_refused && edited.asked > edited.decided();
        edited
    }

    /// An edit that makes an entered step raise is the attempt's first exposure, if there was none: the cohorts' delays
    /// count from then on.
    pub(super) fn expose(&mut self) {
        let now = self.now;
        // The clock has stood since a pause began, and moves on by the whole pause when that ends.
        let delay_from = self.status.paused_since.unwrap_or(now);
        self.status.first_exposure.get_or_insert(Exposure { at: now, delay_from });
    }

    /// What the last step at or before the position that names the cohort asks for it.
    pub(super) fn declared(&self, at: usize, name: &str) -> Option<(Percent, AskedBy)> {
        self.plan
            .steps
            .iter()
            .take(at + 1)
            .rev()
            .find_map(|step| step.asks.get(name).map(|ask| (*ask, asked_by(step))))
    }

    /// Whether the step that set an ask is still there and still names the cohort. Where it is not, the ask stands:
    /// removing a cohort, a step or a phase lowers nobody, and raises nobody either.
    fn still_asks(&self, by: &AskedBy, name: &str) -> bool {
        Mark::from(by)
            .find(self.plan)
            .or_else(|| self.end_of_lowered_ramp(by))
            .and_then(|i| self.plan.steps.get(i))
            .is_some_and(|step| step.asks.contains_key(name))
    }

    /// The last step of a ramp that now ends below the percentage that was reached in it. That is an edit of what the
    /// ramp asks; one that still goes higher only takes another way there.
    fn end_of_lowered_ramp(&self, by: &AskedBy) -> Option<usize> {
        let reached: Percent = by.step.as_ref()?.parse().ok()?;
        let mut of_phase = self.plan.steps.iter().enumerate().filter(|(_, step)| step.phase == by.phase);
        let (last, step) = of_phase.next_back()?;
        step.ramp.is_some_and(|percent| percent < reached).then_some(last)
    }

    /// Earliest instant at which this cohort may be raised: its delay after first exposure, at least now.
    pub(super) fn due(&self, name: &str) -> MicroTime {
        self.delay_end(name).map_or(self.now, |end| end.max(self.now))
    }

    /// When the cohort's delay after first exposure is over, on the rollout clock.
    fn delay_end(&self, name: &str) -> Option<MicroTime> {
        let delay = self.plan.cohort(name).map(|cohort| self.plan.delay(cohort)).unwrap_or_default();
        Some(self.status.first_exposure?.delay_from.saturating_add(delay))
    }

    /// Delays apply at once when they are edited: what is pending is due when the delay of now is over.
    pub(super) fn follow_delays(&mut self) {
        for i in 0..self.status.cohorts.len() {
            let Some(cohort) = self.status.cohorts.get(i) else { continue };
            let Some(pending) = &cohort.pending else { continue };
            // What was due before may wait for something else: it stays due. What was asked for in a pause was
            // moved on by the whole pause: it is due now at the latest.
            let passed = pending.due.min(self.due(&cohort.name));
            let due = self.delay_end(&cohort.name).map_or(passed, |end| end.max(passed));
            if let Some(pending) = self.status.cohorts.get_mut(i).and_then(|cohort| cohort.pending.as_mut()) {
                pending.due = due;
            }
        }
    }

    /// Moves to the edited audience. What is served stays with each cohort's name.
    pub(super) fn move_audience(&mut self) {
        let mut before: BTreeMap<String, CohortStatus> =
            self.status.cohorts.drain(..).map(|cohort| (cohort.name.clone(), cohort)).collect();
        self.status.cohorts = self
            .plan
            .audience
            .names()
            .map(|name| before.remove(name).unwrap_or_else(|| CohortStatus::deciding(name, Percent::ZERO)))
            .collect();
        self.status.audience =
            Some(crate::api::status::AudienceRef { name: self.plan.audience.name.clone() });
        self.status.pending_audience = None;
        let gone: Vec<String> = before
            .values()
            .filter(|cohort| !cohort.decided().is_zero())
            .map(|cohort| format!("{} {}", cohort.name, cohort.decided()))
            .collect();
        let mut message = format!("the audience is now {}", self.plan.audience.name);
        if !gone.is_empty() {
            message.push_str(&format!("; gone with it: {}", gone.join(", ")));
        }
        self.record(Reason::AudienceChanged, "git", message);
    }
}

/// A raise that the checks have not judged yet.
pub(super) fn pending(percent: Percent, due: MicroTime, cause: RaiseCause) -> Pending {
    Pending { percent, check: Check::CohortDelay, due, cause }
}

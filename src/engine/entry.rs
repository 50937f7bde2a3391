//! Entering a step: what that would do, and what is written down when it is done.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::Run;
use super::criteria::gate_shut;
use super::edits::pending;
use super::position::{asked_by, describe_step, position_at};
use super::text::{second, short};
use crate::api::status::{AskedBy, Considered, Exposure, RaiseCause};
use crate::api::{Percent, Reason};
use crate::plan::{Plan, Step};

/// How late a step counts as missed with `onMissed: Hold`.
const MISSED_AFTER: SignedDuration = SignedDuration::from_mins(15);

/// What entering a step would do.
pub(super) struct Entry<'a> {
    /// Index of the first step entered.
    pub first: usize,
    /// Index of the last one; with `onMissed: Latest` there may be others between.
    pub last: usize,
    /// The first one.
    pub step: &'a Step,
    /// What is asked, by cohort, and by which step.
    pub asks: BTreeMap<String, (Percent, AskedBy)>,
    /// Whether that raises anybody.
    pub raises: bool,
    /// Whether any of the steps would by itself: what a later one asks must not free an earlier one of its checks.
    pub rises: bool,
}

impl<'a> Run<'a> {
    /// What entering the next step would do; `None` when every step has been entered.
    pub(super) fn next_entry(&self) -> Option<Entry<'a>> {
        let plan: &'a Plan = self.plan;
        let retried = self.retried();
        let first = self.next_index();
        let step = plan.steps.get(first)?;
        let last = self.last_missed(first);
        let asks = self.combined_asks(retried.map_or(first, |_| 0), last);
        let raises = self.raises(&asks);
        let rises = raises || (first..=last).any(|i| self.raises(&self.combined_asks(i, i)));
        Some(Entry { first, last, step, asks, raises, rises })
    }

    /// Index of the step that a retry from its phase starts with: it is entered with all that the steps before it asked.
    fn retried(&self) -> Option<usize> {
        let phase = self.status.retry.as_ref()?.phase.as_deref()?;
        self.plan.steps.iter().position(|step| step.phase == phase)
    }

    /// Index of the step that comes next; beyond the last one where every step has been entered.
    pub(super) fn next_index(&self) -> usize {
        self.retried().unwrap_or_else(|| self.at.map_or(0, |at| at + 1))
    }

    /// With `onMissed: Hold`, notes whether the step was missed when it was first considered.
    pub(super) fn consider(&mut self, step: &Step, rising: bool) {
        use crate::api::featurerollout::OnMissed;
        let stands_still = !self.status.pauses.is_empty() || self.status.rollback.is_some();
        if self.plan.on_missed != OnMissed::Hold || stands_still || self.considered(step).is_some() {
            return;
        }
        let (_, earliest) = self.earliest(step);
        let allowed = if rising { self.calendar().next_open(earliest) } else { Some(earliest) };
        if let Some(allowed) = allowed.filter(|allowed| *allowed <= self.now) {
            let by = asked_by(step);
            let missed = self.now.duration_since(allowed) >= MISSED_AFTER;
            self.status.considered = Some(Considered { phase: by.phase, number: by.number, missed });
        }
    }

    /// What is remembered of considering this step.
    pub(super) fn considered(&self, step: &Step) -> Option<&Considered> {
        let by = asked_by(step);
        self.status
            .considered
            .as_ref()
            .filter(|considered| considered.phase == by.phase && considered.number == by.number)
    }

    /// With `onMissed: Latest`, the last step that entering `next` now also enters.
    ///
    /// It goes through the last one whose own date has come, but never past a missing approval or a date to come.
    fn last_missed(&self, next: usize) -> usize {
        use crate::api::featurerollout::OnMissed;
        if self.plan.on_missed != OnMissed::Latest {
            return next;
        }
        let mut last = next;
        for (i, step) in self.plan.steps.iter().enumerate().skip(next + 1) {
            let early = step.date.is_some_and(|date| date > self.now) || step.undated.is_some();
            let shut = || {
                step.gates.iter().any(|gate| {
                    gate_shut(&self.plan.guard, &self.status, &self.facts.metrics, gate, self.now).is_some()
                })
            };
            if self.approval_missing(step) || early || shut() {
                break;
            }
            if step.date.is_some() {
                last = i;
            }
        }
        last
    }

    /// What the steps of a range ask together: later asks win.
    fn combined_asks(&self, first: usize, last: usize) -> BTreeMap<String, (Percent, AskedBy)> {
        let range = self.plan.steps.iter().skip(first).take(last + 1 - first);
        range
            .flat_map(|step| step.asks.iter().map(|(name, ask)| (name.clone(), (*ask, asked_by(step)))))
            .collect()
    }

    /// Whether an admitted cohort is asked for more than it is served or promised.
    fn raises(&self, asks: &BTreeMap<String, (Percent, AskedBy)>) -> bool {
        asks.iter().any(|(name, (ask, _))| {
            self.admitted(name)
                && self.status.cohort(name).is_some_and(|cohort| {
                    let promised = cohort.pending.as_ref().map_or(Percent::ZERO, |pending| pending.percent);
                    *ask > cohort.decided().max(promised)
                })
        })
    }

    fn admitted(&self, name: &str) -> bool {
        self.plan.cohort(name).is_some_and(|cohort| self.plan.admits(cohort))
    }

    /// Enters a step; returns what changed, in words.
    pub(super) fn enter(&mut self, entry: Entry<'_>, reason: Reason, who: &str, why: Option<&str>) -> String {
        let plan = self.plan;
        let Entry { first, last, asks, raises, .. } = entry;
        let Some(step) = plan.steps.get(last) else { return String::new() };
        let before: Vec<Percent> = self.status.cohorts.iter().map(|cohort| cohort.decided()).collect();
        if raises {
            self.entered = true;
            self.note_start();
            let exposure = Exposure { at: self.now, delay_from: self.now };
            self.status.first_exposure.get_or_insert(exposure);
        }
        let named: BTreeSet<String> = asks.keys().cloned().collect();
        for (name, (ask, by)) in asks {
            self.ask(&name, ask, by);
        }
        self.use_approvals(plan.steps.get(self.retried().map_or(first, |_| 0)..=last).unwrap_or_default());
        self.status.position = Some(position_at(step, self.now));
        self.at = Some(last);
        self.status.completed_at = None;
        self.status.retry = None;
        self.status.considered = None;
        // What an action overrides, it overrides for its own step only.
        self.pass_pending(|name| named.contains(name));
        let message = self.entry_message(first, last, step, &before);
        let recorded = why.map_or(message.clone(), |why| format!("{message}; {why}"));
        self.record(reason, who, short(&recorded));
        message
    }

    /// One ask of a step that is being entered. Lower: at once. Higher: pending, for the checks to judge by cohort.
    fn ask(&mut self, name: &str, ask: Percent, by: AskedBy) {
        let admitted = self.admitted(name);
        let due = self.due(name);
        let Some(cohort) = self.status.cohort_mut(name) else { return };
        let before = std::mem::replace(&mut cohort.asked, ask);
        cohort.asked_by = Some(by);
        cohort.pending = None;
        if !admitted {
            cohort.tier_refused = ask > cohort.decided();
            return;
        }
        if ask < before {
            cohort.decide(cohort.decided().min(ask));
            // What an emergency took away comes back no higher than this either.
            cohort.restore =
                cohort.restore.map(|restore| restore.min(ask)).filter(|restore| !restore.is_zero());
        }
        if ask > cohort.decided() {
            cohort.pending = Some(pending(ask, due, RaiseCause::Step));
        }
    }

    fn entry_message(&self, first: usize, last: usize, step: &Step, before: &[Percent]) -> String {
        let total = self.plan.steps.len();
        let mut message = format!("entered {} ({}/{total})", describe_step(step), last + 1);
        if last > first {
            message.push_str(&format!(" with {} missed before it", last - first));
        }
        let changes: Vec<String> = self
            .status
            .cohorts
            .iter()
            .zip(before)
            .filter(|(cohort, before)| cohort.decided() != **before)
            .map(|(cohort, before)| format!("{} {before} → {}", cohort.name, cohort.decided()))
            .collect();
        let later: Vec<String> = self
            .status
            .cohorts
            .iter()
            .filter_map(|cohort| cohort.pending.as_ref().map(|pending| (cohort, pending)))
            .map(|(cohort, pending)| {
                format!("{} → {} pending until {}", cohort.name, pending.percent, second(pending.due))
            })
            .collect();
        let parts: Vec<String> = changes.into_iter().chain(later).collect();
        match parts.is_empty() {
            true => format!("{message}: nothing changes"),
            false => format!("{message}: {}", parts.join(", ")),
        }
    }
}

//! Rollbacks: to control at once, down a ladder, or for some cohorts only; latched until an explicit retry.

use super::text::{short, theirs};
use super::triggers::Watch;
use crate::api::rollback::{Descent, Escalation};
use crate::api::status::{CohortStatus, FeatureRolloutStatus, HistoryEntry};
use crate::api::{Duration, MicroTime, Percent, Reason, RollbackMode, RollbackStatus, Severity};
use crate::plan::guard::Trigger;

/// What made something happen.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    /// Who: `trigger/NAME`, the actor of an action, or a part of Sluice.
    pub by: String,
    /// The trigger, where it was one.
    pub trigger: Option<String>,
    /// How bad its breach is.
    pub severity: Option<Severity>,
    /// Why, in words.
    pub message: String,
}

impl Cause {
    /// A trigger, for this reason.
    pub(super) fn trigger(trigger: &Trigger, severity: Severity, message: String) -> Cause {
        Cause {
            by: format!("trigger/{}", trigger.name),
            trigger: Some(trigger.name.clone()),
            severity: Some(severity),
            message: theirs(&message),
        }
    }

    /// What follows from a rollback in force.
    pub(super) fn rollback(rollback: &RollbackStatus) -> Cause {
        Cause {
            by: rollback.by.clone(),
            trigger: rollback.trigger.clone(),
            severity: None,
            message: String::new(),
        }
    }

    /// A history entry of what it made happen.
    pub(super) fn entry(&self, now: MicroTime, reason: Reason, message: &str) -> HistoryEntry {
        HistoryEntry {
            seq: 0,
            at: now,
            reason,
            message: short(message),
            who: self.by.clone(),
            trigger: self.trigger.clone(),
            severity: self.severity,
            revision: None,
        }
    }

    /// The schedule itself.
    pub(super) fn schedule(message: &str) -> Cause {
        Cause { by: "schedule".to_owned(), trigger: None, severity: None, message: message.to_owned() }
    }
}

impl Watch<'_> {
    /// Takes cohorts to control: those of `scope`, or without one all that the mode is about. Latches.
    ///
    /// It ignores windows, freezes, pauses and holds. A cohort on a stronger way down stays on it.
    pub(super) fn roll_back(&mut self, mode: RollbackMode, scope: Option<Vec<String>>, cause: Cause) {
        let guard = self.guard;
        let names: Vec<String> = self
            .status
            .cohorts
            .iter()
            .map(|cohort| cohort.name.clone())
            .filter(|name| scope.as_ref().is_none_or(|scope| scope.contains(name)))
            .filter(|name| mode != RollbackMode::Partial || !guard.keep.contains(name))
            .collect();
        let _ = self.roll_back_cohorts(mode, names, cause);
    }

    /// The same for exactly these cohorts. Says in one line what it did, which the history says too, or `None` where it
    /// did nothing: a rollback in force is as strong already and takes in these cohorts.
    pub(super) fn roll_back_cohorts(
        &mut self,
        mode: RollbackMode,
        names: Vec<String>,
        cause: Cause,
    ) -> Option<String> {
        let cohorts_before = self.status.cohorts.clone();
        let before = served(&self.status.cohorts);
        let known = self.status.rollback.clone();
        let (ladder, every) = match &known {
            // One under way keeps its ladder, whatever the spec says by now.
            Some(rollback) if !rollback.ladder.is_empty() => {
                (rollback.ladder.clone(), rollback.every.unwrap_or_else(|| self.every()))
            }
            _ => (self.guard.ladder.clone(), self.every()),
        };
        let now = self.now;
        for cohort in self.status.cohorts.iter_mut().filter(|cohort| names.contains(&cohort.name)) {
            cohort.pending = None;
            cohort.restore = None;
            match (mode, cohort.descent) {
                (RollbackMode::Partial, Some(_)) | (RollbackMode::Gradual, Some(_)) => {}
                (RollbackMode::Gradual, None) => step_down(cohort, &ladder, 0, now, every),
                (RollbackMode::Immediate, _) | (RollbackMode::Partial, None) => {
                    cohort.decide(Percent::ZERO);
                    cohort.descent = None;
                }
            }
        }
        self.status.completed_at = None;
        self.latch(mode, &names, &cause, ladder, every);
        let reason = match &known {
            None => Reason::RolledBack,
            Some(known) => {
                let stronger = mode > known.mode;
                let wider = names.iter().any(|name| !known.cohorts.contains(name));
                if !stronger && !wider && self.status.cohorts == cohorts_before {
                    return None;
                }
                Reason::RollbackEscalated
            }
        };
        let moved = changes(&before, &self.status.cohorts);
        let effect = match moved.as_str() {
            "" if self.status.exposed() => "nobody loses the feature",
            "" => "nobody has the feature",
            moved => moved,
        };
        let mode = mode.as_str().to_lowercase();
        self.record(reason, &cause, format!("{mode} rollback: {}; {effect}", cause.message));
        Some(format!("{mode} rollback: {effect}"))
    }

    fn latch(
        &mut self,
        mode: RollbackMode,
        names: &[String],
        cause: &Cause,
        ladder: Vec<Percent>,
        every: Duration,
    ) {
        let now = self.now;
        let gradual = mode == RollbackMode::Gradual;
        let waiting = self.status.retry.take().and_then(|retry| retry.phase);
        let phase = self.status.position.as_ref().map(|position| position.phase.clone()).or(waiting);
        if self.status.rollback.is_none() {
            // They were for the attempt that ends here.
            self.status.approvals.clear();
        }
        let rollback = self.status.rollback.get_or_insert_with(|| RollbackStatus {
            mode,
            at: now,
            by: cause.by.clone(),
            trigger: cause.trigger.clone(),
            severity: cause.severity,
            message: short(&cause.message),
            escalations: Vec::new(),
            phase,
            cohorts: Vec::new(),
            ladder: Vec::new(),
            every: None,
            ended_at: None,
            verified_at: None,
            acknowledged_at: None,
        });
        if mode > rollback.mode {
            // What began it stays on record: its trigger is the one that has to pass again.
            rollback.escalations.push(Escalation {
                from: rollback.mode,
                to: mode,
                at: now,
                by: cause.by.clone(),
                severity: cause.severity,
                message: short(&cause.message),
            });
            rollback.mode = mode;
        }
        if gradual && rollback.ladder.is_empty() {
            rollback.ladder = ladder;
            rollback.every = Some(every);
        }
        for name in names {
            if !rollback.cohorts.contains(name) {
                rollback.cohorts.push(name.clone());
                rollback.ended_at = None;
                rollback.verified_at = None;
            }
        }
        end_rollback(self.status, self.now, false);
    }

    fn every(&self) -> Duration {
        Duration::from_signed(self.guard.every)
    }

    /// Takes every rung that is due, also those missed while nobody looked.
    pub(super) fn descend(&mut self) {
        let Some(rollback) = &self.status.rollback else { return };
        let (ladder, every) = (rollback.ladder.clone(), rollback.every.unwrap_or_else(|| self.every()));
        let cause = Cause::rollback(rollback);
        let before = served(&self.status.cohorts);
        let now = self.now;
        for cohort in &mut self.status.cohorts {
            skip_rungs(cohort, &ladder);
            while let Some(descent) = cohort.descent
                && descent.next <= now
            {
                let rung = usize::try_from(descent.rung).unwrap_or(0);
                step_down(cohort, &ladder, rung, descent.next, every);
            }
        }
        let moved = changes(&before, &self.status.cohorts);
        if !moved.is_empty() {
            self.record(Reason::RungEntered, &cause, format!("next rung: {moved}"));
        }
        // The last cohort may also have come to control by hand, or by an emergency.
        end_rollback(self.status, self.now, true);
    }
}

/// Notes that every cohort of the rollback is at control in the file, once. Until the file is, no rollback has ended.
pub(super) fn end_rollback(status: &mut FeatureRolloutStatus, now: MicroTime, say_so: bool) {
    let cohorts = &status.cohorts;
    let Some(rollback) = &mut status.rollback else { return };
    let at_control = cohorts
        .iter()
        .filter(|cohort| rollback.cohorts.contains(&cohort.name))
        .all(|cohort| !cohort.is_exposed() && cohort.descent.is_none());
    if !at_control || rollback.ended_at.is_some() {
        return;
    }
    rollback.ended_at = Some(now);
    // Where there is no ladder, all was told when the rollback began.
    if say_so && rollback.mode == RollbackMode::Gradual {
        let cause = Cause::rollback(rollback);
        let names = rollback.cohorts.join(", ");
        let entry = cause.entry(now, Reason::RollbackEnded, &format!("at control: {names}"));
        super::record_entry(status, entry);
    }
}

/// Goes to the first rung from `from` on that lowers the cohort; the next one comes `every` after `at`.
fn step_down(cohort: &mut CohortStatus, ladder: &[Percent], from: usize, at: MicroTime, every: Duration) {
    let next = ladder.iter().enumerate().skip(from).find(|(_, rung)| **rung < cohort.decided());
    cohort.descent = None;
    // A ladder ends at 0; whatever it holds, there is nothing below its end but control.
    let (rung, percent) = next.map_or((ladder.len(), Percent::ZERO), |(i, percent)| (i, *percent));
    cohort.decide(percent);
    if !percent.is_zero() {
        cohort.descent = i32::try_from(rung + 1)
            .ok()
            .map(|rung| Descent { rung, next: at.saturating_add(every.signed()) });
    }
}

/// Leaves out the rungs that a cohort is below already, by hand or by an edit: what is announced is what will come. The
/// next one comes at its time all the same.
pub(super) fn skip_rungs(cohort: &mut CohortStatus, ladder: &[Percent]) {
    if cohort.decided().is_zero() {
        cohort.descent = None;
    }
    let decided = cohort.decided();
    if let Some(descent) = &mut cohort.descent {
        let at = usize::try_from(descent.rung).unwrap_or(0);
        let lower = ladder.iter().enumerate().skip(at).find(|(_, rung)| **rung < decided);
        descent.rung = lower.and_then(|(i, _)| i32::try_from(i).ok()).unwrap_or(descent.rung);
    }
}

fn served(cohorts: &[CohortStatus]) -> Vec<Percent> {
    cohorts.iter().map(|cohort| cohort.decided()).collect()
}

/// What changed, in words.
fn changes(before: &[Percent], cohorts: &[CohortStatus]) -> String {
    let changed = cohorts.iter().zip(before).filter(|(cohort, before)| cohort.decided() != **before);
    changed
        .map(|(cohort, before)| format!("{} {before} → {}", cohort.name, cohort.decided()))
        .collect::<Vec<_>>()
        .join(", ")
}

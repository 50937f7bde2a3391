//! Watching: measurements folded into verdicts and times in breach, and what follows from them.
//!
//! It needs no plan but the guard: it goes on while the rest of a spec is invalid.

use jiff::Timestamp;

use super::Reading;
use super::begin::add_pause;
use super::measure::{Measurement, Metrics, Subject, anchor, interval_of};
use super::rollback::Cause;
use super::streak::{Waits, fold_levels, is_over};
use crate::api::status::{FeatureRolloutStatus, PauseCause};
use crate::api::trigger::{LevelAction, MissingPolicy};
use crate::api::verdict::{LevelStatus, TriggerStatus, Verdict};
use crate::api::{MicroTime, Reason, RollbackMode};
use crate::plan::Guard;
use crate::plan::guard::{Level, Trigger};

/// What watches over one state at one time.
pub(super) struct Watch<'a> {
    pub guard: &'a Guard,
    pub status: &'a mut FeatureRolloutStatus,
    pub metrics: &'a Metrics,
    pub now: Timestamp,
}

impl Watch<'_> {
    /// Takes in what was measured, and does what follows from it and from the time.
    pub(super) fn run(&mut self) {
        self.forget_unknown();
        self.forget_the_future();
        for measurement in self.metrics.measurements() {
            self.fold(measurement);
        }
        self.act_on_levels();
        self.act_on_missing();
        self.descend();
        self.verify();
        self.resume_when_quiet();
        self.fold_criteria();
    }

    /// Triggers and cohorts that are no more have nothing to remember.
    fn forget_unknown(&mut self) {
        let guard = self.guard;
        let cohorts: Vec<String> = self.status.cohorts.iter().map(|cohort| cohort.name.clone()).collect();
        self.status.triggers.retain_mut(|status| {
            let Some(trigger) = guard.trigger(&status.name) else { return false };
            status.levels.retain(|level| trigger.levels.iter().any(|known| known.rule == level.rule));
            match trigger.per_cohort {
                Some(_) => cohorts.contains(&status.cohort),
                None => status.cohort.is_empty(),
            }
        });
    }

    /// Where a clock ran ahead, what it wrote must not keep what is measured now from counting.
    fn forget_the_future(&mut self) {
        let now: MicroTime = self.now.into();
        let clamp = |time: &mut MicroTime| *time = (*time).min(now);
        self.status.metrics_from.iter_mut().for_each(clamp);
        for trigger in &mut self.status.triggers {
            clamp(&mut trigger.since);
            trigger.at.iter_mut().for_each(clamp);
            for level in &mut trigger.levels {
                let streaks = [&mut level.breach, &mut level.quiet];
                streaks.into_iter().flatten().for_each(|streak| clamp(&mut streak.last));
            }
        }
        for criterion in &mut self.status.criteria {
            clamp(&mut criterion.since);
        }
    }

    fn fold(&mut self, measurement: &Measurement) {
        let Subject::Trigger(name) = &measurement.subject else { return };
        let Some(trigger) = self.guard.trigger(name) else { return };
        // What came before a retry or a resume was counted, or is not to count any more.
        let counts = self.status.metrics_from.is_none_or(|from| measurement.at > from.timestamp());
        let fits = match &measurement.cohort {
            Some(cohort) => trigger.per_cohort.is_some() && self.status.cohort(cohort).is_some(),
            None => trigger.per_cohort.is_none(),
        };
        if !counts || !fits {
            return;
        }
        let waits = self.waits_for_quiet();
        let interval = interval_of(self.guard, self.status, trigger, self.now);
        let cohort = measurement.cohort.clone().unwrap_or_default();
        let known =
            self.status.triggers.iter().position(|known| known.name == *name && known.cohort == cohort);
        let at: MicroTime = measurement.at.into();
        let mut status = match known.and_then(|i| self.status.triggers.get(i)) {
            Some(status) if status.seen_until() > at => return,
            Some(status) => status.clone(),
            None => TriggerStatus {
                name: name.clone(),
                cohort,
                verdict: Verdict::Cancelled,
                since: at,
                value: None,
                at: None,
                message: None,
                levels: Vec::new(),
                missing_acted: false,
            },
        };
        let (verdict, value, message) = match &measurement.reading {
            Reading::Value { value, .. } => {
                // Where the policy paused, people resume, not the return of the data.
                status.missing_acted &= waits.paused;
                fold_levels(&mut status.levels, trigger, *value, at, interval, waits);
                let breach = trigger.levels.iter().any(|level| level.bound.holds(*value));
                (if breach { Verdict::Breach } else { Verdict::Pass }, Some(value.to_string()), None)
            }
            Reading::NoData(why) => (Verdict::NoData, None, Some(super::report::short(why))),
            Reading::Error(why) => (Verdict::ProviderError, None, Some(super::report::short(why))),
        };
        let changed = status.verdict != verdict;
        if changed {
            status.verdict = verdict;
            status.since = at;
        }
        match known.and_then(|i| self.status.triggers.get_mut(i)) {
            // A quiet trigger is not written at each check, so its value stands as it was when it last mattered.
            Some(known) if !changed && known.levels == status.levels => {
                known.missing_acted = status.missing_acted;
            }
            Some(known) => {
                *known = TriggerStatus { at: value.as_ref().map(|_| at), value, message, ..status };
            }
            None => {
                let at = value.as_ref().map(|_| at);
                self.status.triggers.push(TriggerStatus { at, value, message, ..status });
            }
        }
    }

    /// What waits for levels to be quiet again.
    fn waits_for_quiet(&self) -> Waits {
        Waits {
            paused: self.status.pause(PauseCause::Trigger).is_some(),
            rolled_back: self.status.rollback.is_some(),
        }
    }

    /// Does what the levels ask whose time in breach has come, the strongest first.
    fn act_on_levels(&mut self) {
        let guard = self.guard;
        let mut fired: Vec<(&Trigger, &Level, Option<String>)> = Vec::new();
        for status in &self.status.triggers {
            let Some(trigger) = guard.trigger(&status.name) else { continue };
            for level in &trigger.levels {
                let state = status.levels.iter().find(|state| state.rule == level.rule);
                if state.is_some_and(|state| state.acted_at.is_none() && is_over(state.breach, level.for_)) {
                    let cohort = trigger.per_cohort.as_ref().map(|_| status.cohort.clone());
                    fired.push((trigger, level, cohort));
                }
            }
        }
        fired.sort_by_key(|(_, level, _)| std::cmp::Reverse(level.action));
        for (trigger, level, cohort) in fired {
            // To say so is right whoever is served; the rest is about those who are.
            if level.action == LevelAction::Notify || self.exposed(cohort.as_deref()) {
                self.act(trigger, level, cohort.as_deref());
            }
        }
    }

    fn act(&mut self, trigger: &Trigger, level: &Level, cohort: Option<&str>) {
        let about = cohort.map(|cohort| format!(" for cohort {cohort}")).unwrap_or_default();
        let for_ = crate::api::Duration::from_signed(level.for_);
        let message = format!("{}{about} was {} for {for_}", trigger.name, level.bound);
        let now: MicroTime = self.now.into();
        let state = self.state_mut(&trigger.name, cohort.unwrap_or_default());
        if let Some(state) =
            state.and_then(|state| state.levels.iter_mut().find(|state| state.rule == level.rule))
        {
            state.acted_at = Some(now);
        }
        let cause = Cause::trigger(trigger, level.severity, message);
        let scope = cohort.map(|cohort| vec![cohort.to_owned()]);
        match level.action {
            LevelAction::Notify => self.record(Reason::TriggerFired, &cause, cause.message.clone()),
            LevelAction::Pause => self.pause(&cause),
            LevelAction::PartialRollback => self.roll_back(RollbackMode::Partial, scope, cause),
            LevelAction::GradualRollback => self.roll_back(RollbackMode::Gradual, scope, cause),
            LevelAction::ImmediateRollback => self.roll_back(RollbackMode::Immediate, scope, cause),
        }
    }

    fn pause(&mut self, cause: &Cause) {
        // A rollback has stopped the schedule already, and a pause that outlived its retry would surprise.
        if self.status.rollback.is_some() || self.status.pause(PauseCause::Trigger).is_some() {
            return;
        }
        let message = format!("{}; resume it when the cause is gone", cause.message);
        add_pause(self.status, PauseCause::Trigger, &message, self.now);
        self.record(Reason::Paused, cause, format!("paused: {}", cause.message));
    }

    /// Does what the policies for missing data ask, once until data is there again.
    fn act_on_missing(&mut self) {
        let guard = self.guard;
        for trigger in &guard.triggers {
            let missing: Vec<(String, Verdict, Option<String>, bool)> = self
                .status
                .triggers
                .iter()
                .filter(|status| status.name == trigger.name)
                .map(|status| {
                    (status.cohort.clone(), status.verdict, status.message.clone(), status.missing_acted)
                })
                .collect();
            for (cohort, verdict, why, acted) in missing {
                let policy = match verdict {
                    Verdict::NoData => trigger.on_no_data,
                    Verdict::ProviderError => trigger.on_provider_error,
                    Verdict::Pass | Verdict::Breach | Verdict::Cancelled => continue,
                };
                let scope = trigger.per_cohort.as_ref().map(|_| cohort.as_str());
                let stops = match policy {
                    MissingPolicy::Hold | MissingPolicy::Ignore => false,
                    MissingPolicy::Pause => !acted,
                    // Once nobody is exposed it does not count any more: a pause before must not stand for it.
                    MissingPolicy::ImmediateRollback => true,
                };
                if !stops || !self.missing_counts(trigger, scope) {
                    continue;
                }
                if let Some(status) = self.state_mut(&trigger.name, &cohort) {
                    status.missing_acted = true;
                }
                let about = scope.map(|cohort| format!(" for cohort {cohort}")).unwrap_or_default();
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                let message = format!("{}{about} has {}{why}", trigger.name, missing_words(verdict));
                let cause = Cause::trigger(trigger, trigger.severity(), message);
                if policy == MissingPolicy::Pause {
                    self.pause(&cause);
                } else {
                    let scope = scope.map(|cohort| vec![cohort.to_owned()]);
                    self.roll_back(RollbackMode::Immediate, scope, cause);
                }
            }
        }
    }

    /// Whether missing data counts that was found missing last: what was missing before anybody was exposed, or within
    /// the trigger's `initialDelay`, is no fault afterwards either.
    fn missing_counts(&self, trigger: &Trigger, cohort: Option<&str>) -> bool {
        let subject = Subject::Trigger(trigger.name.clone());
        let interval = interval_of(self.guard, self.status, trigger, self.now);
        let newest = self.metrics.newest(&subject, cohort, interval, self.now);
        newest.is_some_and(|newest| {
            !matches!(newest.reading, Reading::Value { .. })
                && missing_counts(self.status, trigger, cohort, newest.at)
        })
    }

    fn exposed(&self, cohort: Option<&str>) -> bool {
        exposed(self.status, cohort)
    }

    /// Says that the triggers that caused a rollback have passed again for as long as it took them to fire.
    fn verify(&mut self) {
        let Some(rollback) = &self.status.rollback else { return };
        if rollback.ended_at.is_none() || rollback.verified_at.is_some() {
            return;
        }
        let mut names: Vec<&str> = Vec::new();
        for (trigger, level, state) in self.acted() {
            if !matches!(level.action, LevelAction::Notify | LevelAction::Pause) {
                if !is_over(state.quiet, level.for_) {
                    return;
                }
                if !names.contains(&trigger) {
                    names.push(trigger);
                }
            }
        }
        if names.is_empty() {
            return;
        }
        let message = format!("{} quiet again since the rollback", names.join(" and "));
        let now = self.now.into();
        let cause = Cause::rollback(rollback);
        if let Some(rollback) = &mut self.status.rollback {
            rollback.verified_at = Some(now);
        }
        self.record(Reason::RollbackVerified, &cause, message);
    }

    /// Ends a pause by triggers once every level that asked for it has been quiet for its `resumeAfter`.
    fn resume_when_quiet(&mut self) {
        if self.status.pause(PauseCause::Trigger).is_none() {
            return;
        }
        let mut any = false;
        for (_, level, state) in self.acted() {
            if level.action == LevelAction::Pause {
                any = true;
                let quiet = level.resume_after.is_some_and(|after| is_over(state.quiet, after));
                if !quiet {
                    return;
                }
            }
        }
        // What paused may have been a policy for missing data, which has no resumeAfter.
        if !any || self.status.triggers.iter().any(|status| status.missing_acted) {
            return;
        }
        self.status.pauses.retain(|pause| pause.cause != PauseCause::Trigger);
        forget_pausing_levels(self.guard, self.status);
        let cause = Cause::schedule("the triggers that paused it have been quiet for their resumeAfter");
        self.record(Reason::Resumed, &cause, cause.message.clone());
    }

    /// What is remembered of a trigger, of the whole rollout where the cohort is empty.
    fn state_mut(&mut self, trigger: &str, cohort: &str) -> Option<&mut TriggerStatus> {
        self.status.triggers.iter_mut().find(|state| state.name == trigger && state.cohort == cohort)
    }

    /// Every level that has acted, with the name of its trigger.
    fn acted(&self) -> impl Iterator<Item = (&str, &Level, &LevelStatus)> {
        self.status.triggers.iter().flat_map(|status| {
            let trigger = self.guard.trigger(&status.name);
            status.levels.iter().filter(|state| state.acted_at.is_some()).filter_map(move |state| {
                let trigger = trigger?;
                let level = trigger.levels.iter().find(|level| level.rule == state.rule)?;
                Some((trigger.name.as_str(), level, state))
            })
        })
    }

    pub(super) fn record(&mut self, reason: Reason, cause: &Cause, message: String) {
        super::record_entry(self.status, cause.entry(self.now, reason, &message));
    }
}

/// Forgets the time in breach of the levels that pause: a resume gives each its whole `for` again.
pub(super) fn forget_pausing_levels(guard: &Guard, status: &mut FeatureRolloutStatus) {
    for state in &mut status.triggers {
        let trigger = guard.trigger(&state.name);
        state.levels.retain(|level| {
            let action = trigger
                .and_then(|trigger| trigger.levels.iter().find(|known| known.rule == level.rule))
                .map(|known| known.action);
            action.is_some_and(|action| action != LevelAction::Pause)
        });
    }
}

/// Whether a cohort, or anyone, is to get the treatment, by what is decided: the rest is for the file to follow.
pub(super) fn exposed(status: &FeatureRolloutStatus, cohort: Option<&str>) -> bool {
    let mut concerned =
        status.cohorts.iter().filter(|known| cohort.is_none_or(|cohort| known.name == cohort));
    concerned.any(|cohort| !cohort.decided().is_zero())
}

/// Whether missing data counts against a rollout: only where it is exposed, after the trigger's `initialDelay`.
pub(super) fn missing_counts(
    status: &FeatureRolloutStatus,
    trigger: &Trigger,
    cohort: Option<&str>,
    now: Timestamp,
) -> bool {
    let over = |from: Timestamp| from.saturating_add(trigger.initial_delay).is_ok_and(|end| end <= now);
    exposed(status, cohort) && anchor(status).is_some_and(over)
}

/// A verdict that is no measurement, in words.
pub(super) fn missing_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::ProviderError => "an error of its source",
        _ => "no data",
    }
}

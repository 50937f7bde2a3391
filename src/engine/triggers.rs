//! Watching: measurements folded into verdicts and times in breach, and what follows from them.
//!
//! It needs no plan but the guard: it goes on while the rest of a spec is invalid.

use super::measure::{Measurement, Metrics, Subject, interval_of};
use super::missing::exposed;
use super::pauses::add_pause;
use super::rollback::Cause;
use super::streak::{Waits, When, fold_levels, is_over};
use super::text::short;
use crate::api::status::{FeatureRolloutStatus, PauseCause};
use crate::api::trigger::LevelAction;
use crate::api::verdict::{LevelStatus, TriggerStatus, Verdict};
use crate::api::{MicroTime, Reading, Reason, RollbackMode};
use crate::plan::Guard;
use crate::plan::guard::{Level, Trigger};

/// What watches over one state at one time.
pub(super) struct Watch<'a> {
    pub guard: &'a Guard,
    pub status: &'a mut FeatureRolloutStatus,
    pub metrics: &'a Metrics,
    pub now: MicroTime,
}

impl Watch<'_> {
    /// Takes in what was measured, and does what follows from it and from the time.
    pub(super) fn run(&mut self) {
        self.forget_unknown();
        self.forget_the_future();
        for measurement in self.metrics.measurements() {
            // A clock that was set back must not count what it measured before anew with each decision: its turn comes.
            if measurement.at <= self.now {
                self.fold(measurement);
            }
        }
        self.act_on_levels();
        self.act_on_missing();
        self.descend();
        self.verify();
        self.resume_when_quiet();
        self.forget_unmeasurable();
        self.fold_criteria();
        self.follow_causes();
    }

    /// Forgets what binds nothing any more after a decision, which may have lowered somebody to 0 or moved the audience.
    pub(super) fn settle(&mut self) {
        self.forget_unknown();
        self.forget_unmeasurable();
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
        let now = self.now;
        let clamp = |time: &mut MicroTime| *time = (*time).min(now);
        // Of holds and delays nothing is clamped: they may last longer for that, but must not be over early.
        let exposure = self.status.first_exposure.iter_mut().map(|exposure| &mut exposure.at);
        exposure.for_each(clamp);
        self.status.retry.iter_mut().for_each(|retry| clamp(&mut retry.at));
        self.status.metrics_from.iter_mut().for_each(clamp);
        self.status.exposed_at.iter_mut().for_each(clamp);
        self.status.acknowledged_at.iter_mut().for_each(clamp);
        // What lowers must not come late: the next rung is never further away than one is from the next.
        let every = self.status.rollback.as_ref().and_then(|rollback| rollback.every);
        let every = every.map_or(self.guard.every, |every| every.signed());
        let latest = self.now.saturating_add(every);
        for cohort in &mut self.status.cohorts {
            cohort.exposed_at.iter_mut().for_each(clamp);
            cohort.descent.iter_mut().for_each(|descent| descent.next = descent.next.min(latest));
        }
        for trigger in &mut self.status.triggers {
            clamp(&mut trigger.since);
            trigger.at.iter_mut().for_each(clamp);
            trigger.missing_since.iter_mut().for_each(clamp);
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
        let counts = self.status.metrics_from.is_none_or(|from| measurement.at > from);
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
        let at = measurement.at;
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
                missing_since: None,
            },
        };
        let (verdict, value, message) = match &measurement.reading {
            Reading::Value { value, .. } => {
                // Where the policy paused, people resume, not the return of the data.
                status.missing_acted &= waits.paused;
                status.missing_since = None;
                let when = When { at, due: measurement.due, interval };
                fold_levels(&mut status.levels, trigger, *value, when, waits);
                let breach = trigger.levels.iter().any(|level| level.bound.holds(*value));
                (if breach { Verdict::Breach } else { Verdict::Pass }, Some(value.to_string()), None)
            }
            Reading::NoData(why) => (Verdict::NoData, None, Some(short(why))),
            Reading::Error(why) => (Verdict::ProviderError, None, Some(short(why))),
        };
        if verdict.is_missing() {
            let interval = interval_of(self.guard, self.status, trigger, self.now);
            // Where nothing follows, or at once, nothing is to be remembered.
            let waits = trigger.policy(verdict).map(|policy| trigger.missing_for(policy, interval));
            let since = status.missing_since.unwrap_or(at);
            status.missing_since = waits.filter(|waits| !waits.is_zero()).map(|_| since);
        }
        let changed = status.verdict != verdict;
        if changed {
            status.verdict = verdict;
            status.since = at;
        }
        match known.and_then(|i| self.status.triggers.get_mut(i)) {
            // A quiet trigger is not written at each check, so its value stands as it was when it last mattered.
            Some(known) if !changed && known.levels == status.levels => {
                known.missing_acted = status.missing_acted;
                known.missing_since = status.missing_since;
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
    pub(super) fn waits_for_quiet(&self) -> Waits {
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
            if level.action == LevelAction::Notify || exposed(self.status, cohort.as_deref()) {
                self.act(trigger, level, cohort.as_deref());
            }
        }
    }

    fn act(&mut self, trigger: &Trigger, level: &Level, cohort: Option<&str>) {
        let about = cohort.map(|cohort| format!(" for cohort {cohort}")).unwrap_or_default();
        let for_ = crate::api::Duration::from_signed(level.for_);
        let message = format!("{}{about} was {} for {for_}", trigger.name, level.bound);
        let now = self.now;
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

    pub(super) fn pause(&mut self, cause: &Cause) {
        // A rollback has stopped the schedule already, and a pause that outlived its retry would surprise.
        if self.status.rollback.is_some() || self.status.pause(PauseCause::Trigger).is_some() {
            return;
        }
        add_pause(self.status, PauseCause::Trigger, &cause.message, self.now);
        self.record(Reason::Paused, cause, format!("paused: {}", cause.message));
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
        let now = self.now;
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
        // What has not acted yet goes on counting: it did not ask for this pause.
        for state in &mut self.status.triggers {
            state
                .levels
                .retain(|level| level.acted_at.is_none() || level.action() != Some(LevelAction::Pause));
        }
        let cause = Cause::schedule("the triggers that paused it have been quiet for their resumeAfter");
        self.record(Reason::Resumed, &cause, cause.message.clone());
    }

    /// What is remembered of a trigger, of the whole rollout where the cohort is empty.
    pub(super) fn state_mut(&mut self, trigger: &str, cohort: &str) -> Option<&mut TriggerStatus> {
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

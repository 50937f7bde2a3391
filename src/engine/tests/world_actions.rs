//! What must hold of each action in a random life.

use proptest::prelude::*;

use super::shadow_rules::gradually;
use super::world::{Made, World};
use crate::api::rolloutaction::{Action, RolloutActionSpec};
use crate::api::status::PauseCause;
use crate::api::{FeatureRolloutStatus, Percent, RollbackMode};
use crate::engine::{Actor, Ground, Outcome, Request, act};
use crate::plan::{Approval, Step};

impl World {
    /// The steps that wait for an approval, or would if they were next: phase and name of each.
    pub fn unapproved(&self) -> Vec<(String, String)> {
        let status = &self.status;
        let named = |step: &Step| Some((step.phase.clone(), step.name.clone()?, step.approval));
        let waits = |(phase, name, approval): &(String, String, Approval)| {
            let is_given = status.approvals.iter().any(|given| given.phase == *phase && given.step == *name);
            let from_git = |attempt: &Option<i32>| {
                let mut used = status.used_approvals.iter();
                let is_used =
                    used.any(|used| used.phase == *phase && used.step == *name && used.attempt == *attempt);
                !is_used && attempt.is_none_or(|of| of == status.attempt)
            };
            match approval {
                Approval::NotRequired => false,
                Approval::Missing => !is_given,
                Approval::Given(attempt) => !is_given && !from_git(attempt),
            }
        };
        let steps = self.plan.steps.iter().filter_map(named).filter(waits);
        steps.map(|(phase, name, _)| (phase, name)).collect()
    }

    /// Nothing that somebody has stopped or lowered is undone by what was asked for before that.
    pub fn judge_order(
        &mut self,
        before: &FeatureRolloutStatus,
        spec: &RolloutActionSpec,
        made: Made,
    ) -> Result<(), TestCaseError> {
        let emergency = before.pause(PauseCause::Emergency).is_some();
        let has = |name: &str| {
            let cohort = before.cohort(name)?;
            let back = cohort.restore.filter(|_| emergency).unwrap_or_default();
            Some(cohort.decided().max(back))
        };
        let rises = |(name, percent): (&String, &Percent)| Some(*percent) > has(name);
        match spec.action {
            Action::Approve | Action::Acknowledge => {}
            Action::SetPercent if !spec.set_percent.iter().flatten().any(rises) => {
                self.stopped = self.stopped.max(Some(made));
            }
            Action::Pause | Action::Rollback => self.stopped = self.stopped.max(Some(made)),
            Action::Resume | Action::Retry | Action::Promote | Action::SetPercent => {
                let undoes = self.stopped.is_some_and(|(at, version)| made.0 <= at && made.1 < version);
                prop_assert!(!undoes, "{:?} of before it was stopped", spec.action);
            }
        }
        Ok(())
    }

    pub fn act(
        &self,
        uid: &str,
        spec: &RolloutActionSpec,
        (created, version): Made,
        verified: bool,
    ) -> Outcome {
        let actor = if verified { Actor::Verified("ada".to_owned()) } else { Actor::Unverified };
        let request = Request {
            uid,
            spec,
            created,
            version,
            actor,
            tracked_by: None,
            speed: 1,
            rollout_uid: &self.facts.uid,
            generation: 1,
        };
        let ground = match self.invalid {
            true => Ground::Guard(&self.plan.guard, "invalid"),
            false => Ground::Plan(&self.plan, &self.facts),
        };
        act(ground, &self.status, &request, self.instant())
    }

    pub fn judge_action(
        &mut self,
        before: &FeatureRolloutStatus,
        spec: &RolloutActionSpec,
        verified: bool,
    ) -> Result<(), TestCaseError> {
        let (after, now, action) = (&self.status, self.now, spec.action);
        let overridden = spec.overrides.is_some();
        for (cohort, old) in after.cohorts.iter().zip(&before.cohorts) {
            if cohort.decided() > old.decided() {
                prop_assert!(matches!(action, Action::Promote | Action::SetPercent), "{:?} raised", action);
                prop_assert!(verified && !self.invalid && self.facts.delivered, "{:?} raised", action);
                prop_assert!(!self.plan.suspend && !self.facts.emergency, "raised against git");
                prop_assert!(self.facts.no_room.is_none(), "raised in a full namespace");
                prop_assert!(before.rollback.is_none(), "raised after a rollback");
                prop_assert!(
                    overridden || self.plan.calendar.closed(now).is_none(),
                    "raised outside of windows or in a freeze"
                );
                let shut = self.shadow.shut(&self.plan.guard, &cohort.name, (before, after), now);
                prop_assert!(
                    shut.is_none() || self.unjudged,
                    "raised though its triggers are not quiet: {shut:?}"
                );
                let declared = self.plan.cohort(&cohort.name).unwrap();
                prop_assert!(self.plan.admits(declared), "raised against its tiers");
            }
            if cohort.decided() < old.decided() {
                let lowers = matches!(action, Action::Promote | Action::SetPercent | Action::Rollback);
                prop_assert!(lowers, "{:?} lowered", action);
            }
        }
        match action {
            Action::Resume => {
                let stay = [PauseCause::Suspended, PauseCause::Emergency, PauseCause::PositionLost];
                prop_assert!(after.pauses.iter().all(|pause| stay.contains(&pause.cause)));
                self.shadow.resumed(&self.plan.guard, now);
            }
            Action::Retry => {
                let recovery = before.pauses.iter().any(|pause| pause.cause.is_recovery());
                prop_assert!(before.rollback.is_some() || recovery, "nothing to retry");
                self.shadow.retried(now);
            }
            Action::Rollback => {
                let how = spec.rollback.clone().unwrap();
                let all = ["a", "b", "c"].into_iter().filter(|name| match &how.cohorts {
                    Some(cohorts) => cohorts.iter().any(|cohort| cohort == name),
                    None => how.mode != RollbackMode::Partial || *name != "c",
                });
                let by = if how.mode == RollbackMode::Gradual { gradually(now) } else { now };
                self.shadow.roll_back(&all.collect::<Vec<_>>(), by, how.mode == RollbackMode::Immediate);
            }
            Action::SetPercent => {
                let emergency = after.pause(PauseCause::Emergency).is_some();
                for (name, percent) in spec.set_percent.iter().flatten() {
                    let cohort = after.cohort(name).unwrap();
                    let restore = cohort.restore.unwrap_or_default();
                    let has = if emergency { restore } else { cohort.decided() };
                    prop_assert_eq!(has, *percent);
                    prop_assert!(cohort.pending.is_none());
                }
                // One that is in force may have begun while percentages were set by hand already.
                let paused = before.pause(PauseCause::SetPercent).is_some() || after.rollback.is_none();
                prop_assert_eq!(after.pause(PauseCause::SetPercent).is_some(), paused);
            }
            Action::Promote => {
                prop_assert!(after.pauses.is_empty(), "promoted while paused");
                self.entered = self.clock;
                if after.first_exposure.is_some() && before.first_exposure.is_none() {
                    self.exposed = self.clock;
                }
            }
            Action::Pause => prop_assert!(after.pause(PauseCause::Person).is_some()),
            Action::Approve | Action::Acknowledge => {}
        }
        Ok(())
    }
}

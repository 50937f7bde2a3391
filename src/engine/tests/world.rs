//! A random rollout that lives, and what must hold at each of its decisions and actions.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::shadow::{Shadow, gradually};
use super::support::UID;
use crate::api::featurerollout::FeatureRolloutSpec;
use crate::api::rolloutaction::{Action, Answer, Approve, RolloutActionSpec};
use crate::api::status::{CohortStatus, PauseCause};
use crate::api::{FeatureRolloutStatus, Percent, Reason, RollbackMode};
use crate::engine::position::Mark;
use crate::engine::{
    Actor, Decision, Facts, Ground, Metrics, Outcome, Request, act, decide, deliver, guard_only,
};
use crate::flags::LiveFlag;
use crate::plan::{Approval, Plan};

/// A rollout, and a second account of its clock.
pub struct World {
    pub spec: FeatureRolloutSpec,
    pub plan: Plan,
    pub facts: Facts,
    pub status: FeatureRolloutStatus,
    pub now: Timestamp,
    pub wake_at: Option<Timestamp>,
    /// What the raw samples say.
    pub shadow: Shadow,
    /// The spec is invalid: only its guard decides.
    pub invalid: bool,
    /// Actions that were applied, with when they were created.
    pub applied: Vec<(String, RolloutActionSpec, Timestamp)>,
    asked: u32,
    /// Time lived unpaused.
    clock: SignedDuration,
    entered: SignedDuration,
    exposed: SignedDuration,
}

impl World {
    pub fn begin(spec: FeatureRolloutSpec, plan: Plan, now: Timestamp) -> World {
        World {
            spec,
            plan,
            facts: Facts { metrics: Metrics::Measured(Vec::new()), ..Facts::favourable(UID) },
            status: FeatureRolloutStatus::default(),
            now,
            wake_at: None,
            shadow: Shadow::default(),
            invalid: false,
            applied: Vec::new(),
            asked: 0,
            clock: SignedDuration::ZERO,
            entered: SignedDuration::ZERO,
            exposed: SignedDuration::ZERO,
        }
    }

    pub fn pass(&mut self, to: Timestamp) {
        if self.status.pauses.is_empty() {
            self.clock += to.duration_since(self.now);
        }
        self.now = to;
    }

    fn one(&self, status: &FeatureRolloutStatus, facts: &Facts) -> Decision {
        match self.invalid {
            true => guard_only(&self.plan.guard, status, &facts.metrics, self.now),
            false => decide(&self.plan, status, facts, self.now),
        }
    }

    pub fn decide(&mut self, edited: bool) -> Result<(), TestCaseError> {
        self.facts.metrics = self.shadow.metrics();
        let decision = self.one(&self.status, &self.facts);
        let again = self.one(&self.status, &self.facts);
        prop_assert_eq!(&decision, &again, "not deterministic");
        prop_assert!(decision.wake_at.is_none_or(|at| at > self.now), "wakes in the past");
        let json = serde_json::to_string(&decision.status).unwrap();
        let read: FeatureRolloutStatus = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&read, &decision.status, "status does not survive JSON");

        // Deciding again is no news, once it is told that the file is behind: it holds percentages and position. A step
        // entered again at the same instant leaves the same position.
        let changed = served(&decision.status) != served(&self.status)
            || decision.status.position != self.status.position
            || decision.status.last_seq() != self.status.last_seq();
        let facts = Facts { delivered: self.facts.delivered && !changed, ..self.facts.clone() };
        let next = self.one(&read, &facts);
        let mut expected = decision.status.clone();
        if changed {
            // Only what is waited for may differ.
            expected.waiting_for.clone_from(&next.status.waiting_for);
            for (cohort, other) in expected.cohorts.iter_mut().zip(&next.status.cohorts) {
                if let Some((pending, other)) = cohort.pending.as_mut().zip(other.pending.as_ref()) {
                    pending.check = other.check;
                }
            }
        }
        // What is missing counts from the first exposure on, which may have come with this decision.
        let newly = |cohort: &CohortStatus| {
            let before = self.status.cohort(&cohort.name).map(|before| before.decided()).unwrap_or_default();
            before.is_zero() && !cohort.decided().is_zero()
        };
        if !decision.status.cohorts.iter().any(newly) {
            prop_assert_eq!(&next.status, &expected, "not idempotent");
        }

        let before = std::mem::replace(&mut self.status, decision.status);
        self.wake_at = decision.wake_at;
        if self.facts.delivered {
            deliver(&mut self.status, self.now);
        }
        self.judge(&before, edited)?;
        self.judge_rollback()
    }

    fn judge(&mut self, before: &FeatureRolloutStatus, edited: bool) -> Result<(), TestCaseError> {
        let after = &self.status;
        let now = self.now;
        let paused = !after.pauses.is_empty();
        let happened = |reasons: &[Reason]| {
            let mut new = after.history.iter().filter(|entry| entry.seq > before.last_seq());
            new.any(|entry| reasons.contains(&entry.reason))
        };
        let attempt = happened(&[Reason::AttemptStarted]);
        if attempt {
            prop_assert!(self.plan.attempt > before.attempt, "started again though nobody asked");
            self.shadow.retried(now);
        }
        if !self.facts.deleting && (!self.facts.emergency || self.invalid) {
            self.shadow.follow(&self.plan.guard, before, now);
        }
        let rolled = happened(&[Reason::RolledBack, Reason::RollbackEscalated, Reason::RungEntered]);
        let from = if attempt { None } else { before.position.as_ref() };
        let entries =
            after.history.iter().filter(|e| e.seq > before.last_seq() && e.reason == Reason::StepEntered);
        let entries = entries.count();
        if entries > 0 {
            prop_assert!(!paused, "entered a step while paused");
            let at = find(after.position.as_ref(), &self.plan).unwrap();
            let stood = from.map(|position| find(Some(position), &self.plan).unwrap());
            let retry = before.retry.as_ref().filter(|_| !attempt);
            let phase = retry.and_then(|retry| retry.phase.as_ref());
            let first = phase.and_then(|phase| self.plan.steps.iter().position(|step| step.phase == *phase));
            for step in &self.plan.steps[stood.map_or(first.unwrap_or(0), |i| i + 1)..=at] {
                prop_assert!(step.date.is_none_or(|date| date <= now), "entered before its date");
                let given = after
                    .approvals
                    .iter()
                    .any(|given| given.phase == step.phase && Some(&given.step) == step.name.as_ref());
                prop_assert!(given || step.approval != Approval::Missing, "entered without approval");
            }
            match stood {
                None => prop_assert!(self.plan.start_at.unwrap() <= now, "entered before the start"),
                Some(i) => {
                    prop_assert!(self.clock - self.entered >= self.plan.steps[i].hold, "hold not over")
                }
            }
            self.entered = self.clock;
        } else if !edited {
            prop_assert_eq!(after.position.as_ref().map(place), from.map(place), "moved without an entry");
        }
        if after.first_exposure.is_some() && (attempt || before.first_exposure.is_none()) {
            // An edit may make a step raise that was entered without: only entries ask for dependencies.
            let met = self.facts.unmet.is_empty() || before.dependencies_met;
            prop_assert!(met || edited, "dependencies are not met");
            self.exposed = self.clock;
        }
        for cohort in &after.cohorts {
            prop_assert!(cohort.pending.as_ref().is_none_or(|pending| pending.percent > cohort.decided()));
            let Some(old) = before.cohort(&cohort.name) else { continue };
            let restored = old.restore.unwrap_or_default();
            if cohort.decided() > old.decided() {
                prop_assert!(!paused, "raised while paused");
                prop_assert!(!self.facts.emergency && !self.facts.deleting, "raised in an emergency");
                prop_assert!(self.facts.delivered, "raised before delivery");
                let overridden =
                    entries > 0 && before.retry.as_ref().is_some_and(|r| !r.overrides.is_empty());
                prop_assert!(
                    overridden || self.plan.time_gate.closed(now).is_none(),
                    "raised past a shut gate"
                );
                prop_assert!(!self.shadow.latched, "raised after a rollback without a retry");
                prop_assert!(!self.invalid, "raised by an invalid spec");
                // Of two steps entered at once the first may take from everybody what the second gives; so may an edit.
                if entries < 2 && !(edited && entries > 0) {
                    let shut = self.shadow.shut(&self.plan.guard, &cohort.name, (before, after), now);
                    prop_assert_eq!(shut, None, "raised though its triggers are not quiet");
                }
                prop_assert!(cohort.decided() <= cohort.asked.max(restored), "raised beyond what is asked");
                if cohort.decided() > restored {
                    let declared = self.plan.cohort(&cohort.name).unwrap();
                    prop_assert!(self.plan.admits(declared), "raised against its tiers");
                    if after.first_exposure.is_some() {
                        prop_assert!(
                            self.clock - self.exposed >= self.plan.delay(declared),
                            "raised before its delay"
                        );
                    }
                }
            }
            if cohort.decided() < old.decided() && !self.facts.emergency && !self.facts.deleting && !rolled {
                // Of two steps without a hold between them the first may raise what the second lowers; and an edit what
                // the step right after it asks for again.
                let twice = entries > 1 || (edited && entries > 0);
                prop_assert!(cohort.asked < old.asked || twice, "lowered though not asked for less");
                let again = twice && cohort.pending.is_some();
                prop_assert!(again || cohort.decided() == cohort.asked, "lowered below what is asked");
                prop_assert!(edited || !paused, "lowered by the schedule while paused");
            }
        }
        let seqs: Vec<i64> = after.history.iter().map(|entry| entry.seq).collect();
        prop_assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]) && seqs.len() <= 20);
        Ok(())
    }

    /// The engine has rolled back if and only if the samples or people say so, and gets to control in time.
    fn judge_rollback(&self) -> Result<(), TestCaseError> {
        if self.facts.deleting {
            return Ok(());
        }
        prop_assert_eq!(self.status.rollback.is_some(), self.shadow.latched, "rolled back");
        for (name, by) in &self.shadow.at_control_by {
            let served = self.status.cohort(name).unwrap().decided();
            prop_assert!(served.is_zero() || self.now < *by, "{} is served {} past its ladder", name, served);
        }
        Ok(())
    }

    /// Somebody asks for something.
    pub fn ask(&mut self, spec: &RolloutActionSpec, verified: bool) -> Result<(), TestCaseError> {
        self.asked += 1;
        let mut spec = spec.clone();
        if spec.action == Action::Approve {
            let missing = self.plan.steps.iter().find(|step| step.approval == Approval::Missing);
            spec.approve = missing
                .and_then(|step| Some(Approve { phase: step.phase.clone(), step: step.name.clone()? }));
        }
        let uid = format!("u-{}", self.asked);
        let outcome = self.act(&uid, &spec, self.now, verified);
        let before = std::mem::replace(&mut self.status, outcome.status);
        if outcome.answer != Answer::Applied {
            prop_assert_eq!(&self.status, &before, "rejected, and done");
            return Ok(());
        }
        let again = self.act(&uid, &spec, self.now, verified);
        prop_assert_eq!(&again.status, &self.status, "done twice");
        prop_assert_eq!((again.answer, &again.message), (Answer::Applied, &outcome.message));
        self.judge_action(&before, &spec, verified)?;
        self.applied.push((uid, spec, self.now));
        self.judge_rollback()
    }

    /// An action is read again: its answer was lost, or something has created it again.
    pub fn ask_again(&mut self, which: usize) -> Result<(), TestCaseError> {
        let Some((uid, spec, created)) = self.applied.get(which) else { return Ok(()) };
        let outcome = self.act(uid, spec, *created, true);
        prop_assert_eq!(&outcome.status, &self.status, "done twice");
        Ok(())
    }

    fn act(&self, uid: &str, spec: &RolloutActionSpec, created: Timestamp, verified: bool) -> Outcome {
        let actor = if verified { Actor::Verified("ada".to_owned()) } else { Actor::Unverified };
        let request = Request {
            uid,
            spec,
            created,
            actor,
            tracked_by: None,
            rollout_uid: &self.facts.uid,
            generation: 1,
        };
        let ground = match self.invalid {
            true => Ground::Guard(&self.plan.guard, "invalid"),
            false => Ground::Plan(&self.plan, &self.facts),
        };
        act(ground, &self.status, &request, self.now)
    }

    fn judge_action(
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
                prop_assert!(!self.shadow.latched, "raised after a rollback");
                prop_assert!(
                    overridden || self.plan.time_gate.closed(now).is_none(),
                    "raised past a shut gate"
                );
                let shut = self.shadow.shut(&self.plan.guard, &cohort.name, (before, after), now);
                prop_assert_eq!(shut, None, "raised though its triggers are not quiet");
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
                prop_assert!(self.shadow.latched || recovery, "nothing to retry");
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
                for (name, percent) in spec.set_percent.iter().flatten() {
                    prop_assert_eq!(after.cohort(name).unwrap().decided(), *percent);
                }
                prop_assert!(after.pause(PauseCause::SetPercent).is_some());
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

/// What the file says of a state.
pub fn file(status: &FeatureRolloutStatus) -> LiveFlag {
    let position = status.position.as_ref();
    LiveFlag {
        uid: status.uid.clone().unwrap(),
        revision: status.revision,
        attempt: status.attempt,
        phase: position.map(|position| position.phase.clone()).unwrap_or_default(),
        step: position
            .map(|position| position.step.clone().unwrap_or_else(|| position.number.to_string()))
            .unwrap_or_default(),
        served: status.cohorts.iter().map(|cohort| (cohort.name.clone(), cohort.decided())).collect(),
        audience: status.audience.clone().unwrap().name,
        ..LiveFlag::default()
    }
}

pub fn served(status: &FeatureRolloutStatus) -> Vec<(&str, Percent)> {
    status.cohorts.iter().map(|cohort| (cohort.name.as_str(), cohort.decided())).collect()
}

fn place(position: &crate::api::status::Position) -> (String, i32) {
    (position.phase.clone(), position.number)
}

fn find(position: Option<&crate::api::status::Position>, plan: &Plan) -> Option<usize> {
    Mark::from(position?).find_position(plan)
}

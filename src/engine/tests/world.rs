//! A random rollout that lives, and what must hold at each of its decisions and actions.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::shadow::Shadow;
use super::support::UID;
use crate::api::featurerollout::FeatureRolloutSpec;
use crate::api::rolloutaction::{Action, Answer, Approve, RolloutActionSpec};
use crate::api::{FeatureRolloutStatus, MicroTime, Percent, Reason};
use crate::engine::position::Mark;
use crate::engine::{Decision, Facts, Metrics, decide, deliver, guard_only};
use crate::plan::{Approval, Hold, Plan};

/// When an action was created, and its version.
pub type Made = (MicroTime, i64);

/// A rollout, and a second account of its clock.
pub struct World {
    pub spec: FeatureRolloutSpec,
    pub plan: Plan,
    pub facts: Facts,
    pub status: FeatureRolloutStatus,
    pub now: MicroTime,
    pub wake_at: Option<MicroTime>,
    /// What the raw samples say.
    pub shadow: Shadow,
    /// The spec is invalid: only its guard decides.
    pub invalid: bool,
    /// The clock was set back, or the cohorts or the ladder are others now: the second account does not know of these, and
    /// says nothing any more of what triggers do.
    pub unjudged: bool,
    /// What the clock says beyond whole microseconds, which is as fine as a status is.
    pub nanos: SignedDuration,
    /// Actions that were applied, with when they were created.
    pub applied: Vec<(String, RolloutActionSpec, Made)>,
    /// Everything that was told, by its number.
    told: BTreeMap<i64, Reason>,
    /// The newest one that stopped or lowered.
    pub stopped: Option<Made>,
    asked: u32,
    /// Time lived unpaused.
    pub clock: SignedDuration,
    pub entered: SignedDuration,
    pub exposed: SignedDuration,
    /// What the steps up to the position asked of each cohort, as of the last decision or action.
    declared: BTreeMap<String, Percent>,
}

impl World {
    pub fn begin(spec: FeatureRolloutSpec, plan: Plan, now: MicroTime) -> World {
        World {
            spec,
            plan,
            facts: Facts { metrics: Metrics::Measured(Vec::new()), ..Facts::favourable(UID) },
            status: FeatureRolloutStatus::default(),
            now,
            wake_at: None,
            shadow: Shadow::default(),
            invalid: false,
            unjudged: false,
            nanos: SignedDuration::ZERO,
            applied: Vec::new(),
            told: BTreeMap::new(),
            stopped: None,
            asked: 0,
            clock: SignedDuration::ZERO,
            entered: SignedDuration::ZERO,
            exposed: SignedDuration::ZERO,
            declared: BTreeMap::new(),
        }
    }

    /// What the steps up to the position ask of each cohort: the last one that names it counts.
    fn declared(&self) -> BTreeMap<String, Percent> {
        let at = find(self.status.position.as_ref(), &self.plan).map_or(0, |i| i + 1);
        self.plan.steps[..at].iter().flat_map(|step| step.asks.clone()).collect()
    }

    pub fn pass(&mut self, to: MicroTime) {
        if self.status.pauses.is_empty() {
            // Where it is set back, time goes on all the same.
            self.clock += to.duration_since(self.now).max(SignedDuration::ZERO);
        }
        self.now = to;
    }

    /// What the engine is told the time is.
    pub fn instant(&self) -> MicroTime {
        self.now + self.nanos
    }

    fn one(&self, status: &FeatureRolloutStatus, facts: &Facts) -> Decision {
        match self.invalid {
            true => guard_only(&self.plan.guard, status, &facts.metrics, self.instant()),
            false => decide(&self.plan, status, facts, self.instant()),
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
        prop_assert_eq!(&next.status, &expected, "not idempotent");

        let before = std::mem::replace(&mut self.status, decision.status);
        self.wake_at = decision.wake_at;
        if self.facts.delivered {
            deliver(&mut self.status, self.now);
        }
        self.judge(&before, edited)?;
        self.shadow.rise(&before, &self.status, self.now);
        self.shadow.forget_others(&self.status);
        if !self.facts.deleting {
            self.shadow.forget(&self.plan.guard, &self.status, false);
        }
        if !self.invalid {
            self.declared = self.declared();
        }
        self.judge_rollback()
    }

    fn judge(&mut self, before: &FeatureRolloutStatus, edited: bool) -> Result<(), TestCaseError> {
        let after = &self.status;
        let now = self.now;
        let paused = !after.pauses.is_empty();
        if after.audience.as_ref().is_some_and(|pinned| pinned.name == self.plan.audience.name) {
            // An audience without conditions is found again by these alone.
            prop_assert!(
                after.cohorts.iter().map(|cohort| cohort.name.as_str()).eq(self.plan.audience.names())
            );
        }
        let happened = |reasons: &[Reason]| {
            let mut new = after.history.iter().filter(|entry| entry.seq > before.last_seq());
            new.any(|entry| reasons.contains(&entry.reason))
        };
        let attempt = happened(&[Reason::AttemptStarted]);
        if attempt {
            prop_assert!(self.plan.attempt > before.attempt, "started again though nobody asked");
            self.shadow.retried(now);
        }
        if !self.facts.deleting {
            let emergency = self.facts.emergency && !self.invalid;
            self.shadow.take_in(&self.plan.guard, before, emergency);
            if !emergency {
                self.shadow.follow(&self.plan.guard, before, now);
            }
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
                    let least = match self.plan.steps[i].hold {
                        Hold::Time(length) => length,
                        // No clock goes forward by more than two hours.
                        Hold::Days(days) => SignedDuration::from_hours(24 * i64::from(days) - 2),
                    };
                    prop_assert!(self.clock - self.entered >= least, "hold not over")
                }
            }
            self.entered = self.clock;
        } else if !edited {
            prop_assert_eq!(after.position.as_ref().map(place), from.map(place), "moved without an entry");
        }
        if after.first_exposure.is_some() && (attempt || before.first_exposure.is_none()) {
            // An edit may make a step raise that was entered without: only entries ask for dependencies.
            let met = self.facts.unmet.is_empty() || before.dependencies_met;
            // An edited audience waits for the delivery, and is moved to later.
            let edited = edited || after.audience != before.audience;
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
                prop_assert!(self.facts.no_room.is_none(), "raised in a full namespace");
                let overridden =
                    entries > 0 && before.retry.as_ref().is_some_and(|r| !r.overrides.is_empty());
                prop_assert!(
                    overridden || self.plan.calendar.closed(now).is_none(),
                    "raised outside of windows or in a freeze"
                );
                prop_assert!(before.rollback.is_none() || attempt, "raised after a rollback without a retry");
                prop_assert!(
                    !self.shadow.latched || self.unjudged,
                    "raised after a rollback without a retry"
                );
                prop_assert!(!self.invalid, "raised by an invalid spec");
                // Of two steps entered at once the first may take from everybody what the second gives; so may an edit.
                if entries < 2 && !(edited && entries > 0) && !self.unjudged {
                    let shut = self.shadow.shut(&self.plan.guard, &cohort.name, (before, after), now);
                    prop_assert_eq!(shut, None, "raised though its triggers are not quiet");
                }
                prop_assert!(cohort.decided() <= cohort.asked.max(restored), "raised beyond what is asked");
                // What was taken away by hand, or was never given, does not come by an edit of something else.
                let promised = old.pending.is_some() || old.tier_refused || !restored.is_zero();
                let asked_more = self.declared().get(&cohort.name) > self.declared.get(&cohort.name);
                prop_assert!(entries > 0 || promised || asked_more, "raised though nobody asks for it anew");
                if cohort.decided() > restored {
                    let declared = self.plan.cohort(&cohort.name);
                    prop_assert!(declared.is_some(), "raised though it is no longer declared");
                    let declared = declared.unwrap();
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
        self.judge_history(before)
    }

    /// What happened last is on record, and so are the last times that the feature was taken away.
    fn judge_history(&mut self, before: &FeatureRolloutStatus) -> Result<(), TestCaseError> {
        // Numbers begin anew after a status was lost.
        self.told.retain(|seq, _| *seq <= before.last_seq());
        let all = before.history.iter().chain(&self.status.history);
        self.told.extend(all.map(|entry| (entry.seq, entry.reason)));
        let seqs: Vec<i64> = self.status.history.iter().map(|entry| entry.seq).collect();
        prop_assert!(seqs.is_sorted_by(|one, next| one < next) && seqs.len() <= 20, "{:?}", seqs);
        let taken_away = |reason: &Reason| {
            use Reason::{Deleting, EmergencyControl, RollbackEscalated, RolledBack};
            matches!(reason, Deleting | EmergencyControl | RollbackEscalated | RolledBack)
        };
        let last = self.told.keys().rev().take(6);
        let rollbacks = self.told.iter().rev().filter(|(_, reason)| taken_away(reason)).take(4);
        for seq in last.chain(rollbacks.map(|(seq, _)| seq)) {
            prop_assert!(seqs.contains(seq), "{} of {:?} is not in {:?}", seq, self.told, seqs);
        }
        Ok(())
    }

    /// The engine has rolled back if and only if the samples or people say so, and gets to control in time.
    fn judge_rollback(&self) -> Result<(), TestCaseError> {
        if self.facts.deleting || self.unjudged {
            return Ok(());
        }
        prop_assert_eq!(self.status.rollback.is_some(), self.shadow.latched, "rolled back");
        for (name, by) in &self.shadow.at_control_by {
            let served = self.status.cohort(name).map(|cohort| cohort.decided()).unwrap_or_default();
            prop_assert!(served.is_zero() || self.now < *by, "{} is served {} past its ladder", name, served);
        }
        Ok(())
    }

    /// Somebody asks for something; whether it was done.
    pub fn ask(&mut self, spec: &RolloutActionSpec, verified: bool) -> Result<bool, TestCaseError> {
        self.ask_late(spec, verified, SignedDuration::ZERO)
    }

    /// Somebody has asked for something so long ago.
    pub fn ask_late(
        &mut self,
        spec: &RolloutActionSpec,
        verified: bool,
        late: SignedDuration,
    ) -> Result<bool, TestCaseError> {
        self.asked += 1;
        let mut spec = spec.clone();
        if spec.action == Action::Approve && spec.approve.is_none() {
            let missing = self.plan.steps.iter().find(|step| step.approval == Approval::Missing);
            spec.approve = missing
                .and_then(|step| Some(Approve { phase: step.phase.clone(), step: step.name.clone()? }));
        }
        let uid = format!("u-{}", self.asked);
        // One that comes late was made before every other.
        let version = if late.is_zero() { i64::from(self.asked) } else { 0 };
        let made = (self.now - late, version);
        let outcome = self.act(&uid, &spec, made, verified);
        let before = std::mem::replace(&mut self.status, outcome.status);
        if outcome.answer != Answer::Applied {
            prop_assert_eq!(&self.status, &before, "rejected, and done");
            return Ok(false);
        }
        let raising = !matches!(
            spec.action,
            Action::Pause | Action::Rollback | Action::Acknowledge | Action::SetPercent
        );
        let limit = SignedDuration::from_mins(if raising { 10 } else { 60 });
        prop_assert!(late < limit, "done though it had expired");
        prop_assert!(spec.expected_generation.is_none_or(|expected| expected == 1), "done for another spec");
        self.judge_order(&before, &spec, made)?;
        let again = self.act(&uid, &spec, made, verified);
        prop_assert_eq!(&again.status, &self.status, "done twice");
        prop_assert_eq!((again.answer, &again.message), (Answer::Applied, &outcome.message));
        let actor = if verified { "ada" } else { "unverified" };
        let mut new = self.status.history.iter().filter(|entry| entry.seq > before.last_seq());
        prop_assert!(new.any(|entry| entry.who == actor), "{:?} applied without an entry", spec.action);
        prop_assert!(outcome.message.contains("next"), "{}", outcome.message);
        self.judge_action(&before, &spec, verified)?;
        self.shadow.rise(&before, &self.status, self.now);
        if !self.invalid {
            self.declared = self.declared();
        }
        self.applied.push((uid, spec, made));
        self.judge_rollback()?;
        Ok(true)
    }

    /// An action is read again: its answer was lost, or something has created it again.
    pub fn ask_again(&mut self, which: usize) -> Result<(), TestCaseError> {
        let Some((uid, spec, made)) = self.applied.get(which) else { return Ok(()) };
        let outcome = self.act(uid, spec, *made, true);
        prop_assert_eq!(&outcome.status, &self.status, "done twice");
        Ok(())
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

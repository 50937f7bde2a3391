//! Actions: what people ask for, judged once and whole, and carried out once.

use jiff::{SignedDuration, Timestamp};

use super::begin::add_pause;
use super::door::{Raise, second};
use super::retry::{keep_the_clock, restart, wants_retry};
use super::rollback::Cause;
use super::watch::{Watch, forget_pausing_levels};
use super::{Facts, Metrics, Run, record};
use crate::api::rolloutaction::{Action, Answer, RetryFrom, RolloutActionSpec};
use crate::api::status::{ActionRecord, ApprovalStatus, FeatureRolloutStatus, PauseCause};
use crate::api::{Reason, RollbackMode, Verdict};
use crate::plan::{Approval, Guard, Plan};

/// How long an action that raises may wait to be read.
const RAISING_EXPIRES: SignedDuration = SignedDuration::from_mins(10);
/// How long any other may.
const EXPIRES: SignedDuration = SignedDuration::from_hours(1);
/// Most actions that status remembers.
const MOST_RECORDS: usize = 64;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Admission policy says so.
    Verified(String),
    /// Nobody has checked it: such an action may lower and stop, but not raise.
    Unverified,
}

impl Actor {
    fn name(&self) -> &str {
        match self {
            Actor::Verified(name) => name,
            Actor::Unverified => "unverified",
        }
    }
}

/// An action, as it is judged.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// UID of the RolloutAction.
    pub uid: &'a str,
    /// What is asked.
    pub spec: &'a RolloutActionSpec,
    /// When it was created.
    pub created: Timestamp,
    /// Who asks.
    pub actor: Actor,
    /// A label or annotation of a GitOps tool on it: such a tool would create it again.
    pub tracked_by: Option<&'a str>,
    /// UID of the rollout.
    pub rollout_uid: &'a str,
    /// Generation of the rollout's spec.
    pub generation: i64,
}

impl Request<'_> {
    fn expires_at(&self, raising: bool) -> Timestamp {
        let default = if raising { RAISING_EXPIRES } else { EXPIRES };
        let after = self.spec.expires_after.map_or(default, |after| after.signed());
        self.created.saturating_add(after).unwrap_or(Timestamp::MAX)
    }

    fn cause(&self) -> Cause {
        Cause {
            by: self.actor.name().to_owned(),
            trigger: None,
            severity: None,
            message: self.spec.reason.clone(),
        }
    }
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The state; unchanged unless the action is applied now.
    pub status: FeatureRolloutStatus,
    /// The answer.
    pub answer: Answer,
    /// The answer, in words.
    pub message: String,
}

/// What an action is judged by.
#[derive(Clone, Copy)]
pub enum Ground<'a> {
    /// The compiled spec and the facts.
    Plan(&'a Plan, &'a Facts),
    /// The spec is invalid, for this reason: what lowers and stops still works, by the last valid guard.
    Guard(&'a Guard, &'a str),
}

type Judgement = Result<(FeatureRolloutStatus, String), String>;

/// Judges an action, and carries it out if it may be: once for each UID, whatever is asked again.
pub fn act(
    ground: Ground<'_>,
    status: &FeatureRolloutStatus,
    request: &Request<'_>,
    now: Timestamp,
) -> Outcome {
    let now = crate::api::MicroTime::from(now).timestamp();
    if let Some(known) = status.actions.iter().find(|known| known.uid == request.uid) {
        let message = known.message.clone().unwrap_or_else(|| "carried out before".to_owned());
        return Outcome { status: status.clone(), answer: known.answer, message };
    }
    let answer = |answer, message| Outcome { status: status.clone(), answer, message };
    if let Some(mark) = request.tracked_by {
        let message = format!("it carries {mark}: a GitOps tool would create it again, and so repeat it");
        return answer(Answer::Rejected, message);
    }
    let spec = request.spec;
    let raising = is_raising(spec, status);
    let expires_at = request.expires_at(raising);
    if now >= expires_at {
        let message = format!("read at {}, after it had expired at {}", second(now), second(expires_at));
        return answer(Answer::Expired, message);
    }
    match judge(ground, status, request, raising, now) {
        Err(message) => answer(Answer::Rejected, super::report::short(&message)),
        Ok((mut status, message)) => {
            keep_the_clock(&mut status, now);
            let message = super::report::short(&message);
            remember(&mut status, request.uid, expires_at, &message, now);
            Outcome { status, answer: Answer::Applied, message }
        }
    }
}

/// Notes that an answer has been given: its words are not needed any more. The UID is, until the action expires.
pub fn answered(status: &mut FeatureRolloutStatus, uid: &str) {
    if let Some(known) = status.actions.iter_mut().find(|known| known.uid == uid) {
        known.message = None;
    }
}

fn remember(status: &mut FeatureRolloutStatus, uid: &str, until: Timestamp, message: &str, now: Timestamp) {
    // Past its expiry an action cannot be taken for a new one.
    status.actions.retain(|known| known.until.timestamp() > now);
    while status.actions.len() >= MOST_RECORDS {
        // One whose answer is known to be given will not be read as new.
        let oldest = status.actions.iter().position(|known| known.message.is_none()).unwrap_or(0);
        status.actions.remove(oldest);
    }
    status.actions.push(ActionRecord {
        uid: uid.to_owned(),
        until: until.into(),
        answer: Answer::Applied,
        message: Some(message.to_owned()),
    });
}

/// Whether an action could raise anybody, now or later.
pub fn is_raising(spec: &RolloutActionSpec, status: &FeatureRolloutStatus) -> bool {
    match spec.action {
        Action::Approve | Action::Promote | Action::Resume | Action::Retry => true,
        Action::SetPercent => spec.set_percent.iter().flatten().any(|(name, percent)| {
            *percent > status.cohort(name).map(|cohort| cohort.decided()).unwrap_or_default()
        }),
        Action::Pause | Action::Rollback | Action::Acknowledge => false,
    }
}

fn judge(
    ground: Ground<'_>,
    status: &FeatureRolloutStatus,
    request: &Request<'_>,
    raising: bool,
    now: Timestamp,
) -> Judgement {
    let spec = request.spec;
    if let Some(uid) = spec.rollout_ref.uid.as_deref().filter(|uid| *uid != request.rollout_uid) {
        return Err(format!("it is for the rollout with UID {uid}, which is not this one"));
    }
    if let Some(expected) = spec.expected_generation.filter(|expected| *expected != request.generation) {
        let generation = request.generation;
        return Err(format!("it is for generation {expected} of the spec, which is at {generation}"));
    }
    if status.uid.as_deref() != Some(request.rollout_uid) {
        return Err("the rollout has not begun".to_owned());
    }
    if raising && request.actor == Actor::Unverified {
        return Err(
            "who asked is not verified: the admission policies are missing, and without them nothing \
                    is raised"
                .to_owned(),
        );
    }
    match ground {
        Ground::Plan(_, facts) if raising && facts.deleting => Err("the rollout is being deleted".to_owned()),
        Ground::Plan(plan, facts) => {
            let mut run = Run::new(plan, status.clone(), facts, now);
            // The spec may be newer than the last decision: what git stopped, and an attempt raised before, come first.
            run.follow_attempt();
            run.pause_if(PauseCause::Suspended, plan.suspend);
            run.pause_if(PauseCause::Emergency, facts.emergency);
            run.relocate();
            run.carry_out(request)
        }
        Ground::Guard(_, why) if raising => Err(format!("the spec is invalid: {why}")),
        Ground::Guard(guard, _) => lower(guard, status.clone(), request, now),
    }
}

/// What stops and lowers: it needs no plan.
fn lower(
    guard: &Guard,
    mut status: FeatureRolloutStatus,
    request: &Request<'_>,
    now: Timestamp,
) -> Judgement {
    let spec = request.spec;
    let cause = request.cause();
    let message = match spec.action {
        Action::Pause => {
            let message = format!("paused by {}: {}", cause.by, cause.message);
            add_pause(&mut status, PauseCause::Person, &message, now);
            record(&mut status, now, Reason::Paused, &cause.by, super::report::short(&message));
            "paused".to_owned()
        }
        Action::Acknowledge => {
            if let Some(rollback) = &mut status.rollback {
                rollback.acknowledged_at.get_or_insert(now.into());
            }
            let message = format!("acknowledged: {}", cause.message);
            record(&mut status, now, Reason::Acknowledged, &cause.by, super::report::short(&message));
            "acknowledged".to_owned()
        }
        Action::SetPercent => set_percent(&mut status, request, now)?,
        Action::Rollback => {
            let how = spec.rollback.clone().unwrap_or_default();
            let names = rollback_names(guard, &status, &how)?;
            // Nothing is measured here: people ask.
            let mut watch = Watch { guard, status: &mut status, metrics: &Metrics::AllWell, now };
            watch.roll_back_cohorts(how.mode, names, cause);
            let mode = how.mode.as_str().to_lowercase();
            format!("{mode} rollback; decided {}", super::begin::decided_line(&status.cohorts))
        }
        Action::Resume | Action::Approve | Action::Promote | Action::Retry => {
            return Err("needs a valid spec".to_owned());
        }
    };
    Ok((status, message))
}

/// The cohorts that a person's rollback takes to control.
fn rollback_names(
    guard: &Guard,
    status: &FeatureRolloutStatus,
    how: &crate::api::rolloutaction::RollbackHow,
) -> Result<Vec<String>, String> {
    let known = || status.cohorts.iter().map(|cohort| cohort.name.clone());
    match &how.cohorts {
        Some(cohorts) => match cohorts.iter().find(|name| status.cohort(name).is_none()) {
            Some(unknown) => Err(unknown_cohort(status, unknown)),
            None => Ok(cohorts.clone()),
        },
        None if how.mode == RollbackMode::Partial && guard.keep.is_empty() => {
            Err("a partial rollback needs rollback.cohorts, or spec.rollback.partial.keep in the rollout"
                .to_owned())
        }
        None if how.mode == RollbackMode::Partial => {
            Ok(known().filter(|name| !guard.keep.contains(name)).collect())
        }
        None => Ok(known().collect()),
    }
}

fn unknown_cohort(status: &FeatureRolloutStatus, name: &str) -> String {
    let known: Vec<&str> = status.cohorts.iter().map(|cohort| cohort.name.as_str()).collect();
    format!("there is no cohort {name:?}: the cohorts are {}", known.join(", "))
}

/// Serves what somebody says, and holds the schedule. What was asked, and the position, stay.
fn set_percent(
    status: &mut FeatureRolloutStatus,
    request: &Request<'_>,
    now: Timestamp,
) -> Result<String, String> {
    let percents = request.spec.set_percent.clone().unwrap_or_default();
    if let Some(unknown) = percents.keys().find(|name| status.cohort(name).is_none()) {
        return Err(unknown_cohort(status, unknown));
    }
    let mut changes = Vec::new();
    for (name, percent) in &percents {
        let Some(cohort) = status.cohort_mut(name) else { continue };
        changes.push(format!("{name} {} → {percent}", cohort.decided()));
        cohort.decide(*percent);
        cohort.pending = None;
        cohort.restore = None;
        cohort.tier_refused &= cohort.asked > *percent;
        if percent.is_zero() {
            cohort.descent = None;
        }
    }
    let cause = request.cause();
    let changes = changes.join(", ");
    let message = format!("{} set {changes}; resume to let the schedule go on", cause.by);
    add_pause(status, PauseCause::SetPercent, &message, now);
    let message = format!("set {changes}: {}", cause.message);
    record(status, now, Reason::PercentSet, &cause.by, super::report::short(&message));
    Ok(format!("set {changes}"))
}

impl Run<'_> {
    fn carry_out(mut self, request: &Request<'_>) -> Judgement {
        let spec = request.spec;
        let cause = request.cause();
        self.overrides = spec.overrides.clone().unwrap_or_default();
        match spec.action {
            Action::Pause | Action::Rollback | Action::Acknowledge => {
                lower(&self.plan.guard, self.status, request, self.now)
            }
            Action::SetPercent => {
                self.may_set(request)?;
                let message = set_percent(&mut self.status, request, self.now)?;
                Ok((self.status, message))
            }
            Action::Resume => self.resume(&cause),
            Action::Approve => self.approve(request, &cause),
            Action::Promote => {
                let entry = self.next_entry().ok_or("every step has been entered")?;
                if self.status.position.is_some() && self.at.is_none() {
                    return Err("the current step is no longer in the plan".to_owned());
                }
                let raise =
                    if entry.rises { Raise::Promote(entry.step) } else { Raise::PromoteStill(entry.step) };
                if let Some(refusal) = self.door(raise) {
                    return Err(refusal.message);
                }
                let message = self.enter(entry, Reason::Promoted, &cause.by, Some(&cause.message));
                Ok((self.status, message))
            }
            Action::Retry => self.retry(request, &cause),
        }
    }

    /// Whether each of the percentages that raise may pass the door; all or none.
    fn may_set(&self, request: &Request<'_>) -> Result<(), String> {
        for (name, percent) in request.spec.set_percent.iter().flatten() {
            let Some(cohort) = self.status.cohort(name) else { continue };
            if *percent <= cohort.decided() {
                continue;
            }
            match self.plan.cohort(name) {
                None => return Err(format!("cohort {name} is no longer in the spec, and is raised no more")),
                Some(declared) if !self.plan.admits(declared) => {
                    return Err(format!("cohort {name} does not admit the tier of the feature"));
                }
                Some(_) => {}
            }
            if let Some(refusal) = self.door(Raise::SetPercent(name)) {
                return Err(refusal.message);
            }
        }
        Ok(())
    }

    fn resume(mut self, cause: &Cause) -> Judgement {
        let from_git = |cause| matches!(cause, PauseCause::Suspended | PauseCause::Emergency);
        if let Some(rollback) = &self.status.rollback {
            let at = second(rollback.at.timestamp());
            return Err(format!("it was rolled back at {at}: retry, do not resume"));
        }
        // While the position is lost there is nothing to go on from.
        let lost = self.status.position.is_some() && self.at.is_none();
        let stays = |cause| from_git(cause) || (lost && cause == PauseCause::PositionLost);
        if self.status.pauses.iter().all(|pause| stays(pause.cause)) {
            return Err(match self.status.pauses.first() {
                Some(pause) if from_git(pause.cause) => {
                    format!("only git ends this pause: {}", pause.message)
                }
                Some(pause) => pause.message.clone(),
                None => "it is not paused".to_owned(),
            });
        }
        self.status.pauses.retain(|pause| stays(pause.cause));
        forget_pausing_levels(&self.plan.guard, &mut self.status);
        for trigger in &mut self.status.triggers {
            // A policy for missing data has acted once until data is there again.
            trigger.missing_acted &= matches!(trigger.verdict, Verdict::NoData | Verdict::ProviderError);
        }
        self.status.metrics_from = Some(self.now.into());
        let message = format!("resumed: {}", cause.message);
        self.record(Reason::Resumed, &cause.by, super::report::short(&message));
        let left = self.status.pauses.first().map(|pause| format!("; still paused: {}", pause.message));
        Ok((self.status, format!("resumed{}", left.unwrap_or_default())))
    }

    fn approve(mut self, request: &Request<'_>, cause: &Cause) -> Judgement {
        let approve = request.spec.approve.clone().unwrap_or_default();
        let name = format!("{}/{}", approve.phase, approve.step);
        let step =
            self.plan.steps.iter().find(|step| {
                step.phase == approve.phase && step.name.as_deref() == Some(approve.step.as_str())
            });
        let Some(step) = step else { return Err(format!("there is no step {name}")) };
        if step.approval == Approval::NotRequired {
            return Err(format!("{name} needs no approval"));
        }
        if !self.approval_missing(step) {
            return Ok((self.status, format!("{name} was approved before")));
        }
        let at = self.now.into();
        let by = cause.by.clone();
        self.status.approvals.push(ApprovalStatus { phase: approve.phase, step: approve.step, by, at });
        let excess = self.status.approvals.len().saturating_sub(MOST_RECORDS);
        self.status.approvals.drain(..excess);
        let message = format!("approved {name}: {}", cause.message);
        self.record(Reason::Approved, &cause.by, super::report::short(&message));
        Ok((self.status, format!("approved {name}")))
    }

    fn retry(mut self, request: &Request<'_>, cause: &Cause) -> Judgement {
        if !wants_retry(&self.status) {
            return Err(
                "there is nothing to retry: no rollback is in force, and no recovery pause".to_owned()
            );
        }
        let from = request.spec.retry.clone().unwrap_or_default().from;
        let phase = match from {
            RetryFrom::Start => None,
            RetryFrom::Phase => self.status.position.as_ref().map(|position| position.phase.clone()),
        };
        if let Some(phase) =
            phase.as_ref().filter(|phase| !self.plan.steps.iter().any(|step| step.phase == **phase))
        {
            return Err(format!("phase {phase} is no longer in the plan: retry from the start"));
        }
        let overrides = std::mem::take(&mut self.overrides);
        let from = phase.as_ref().map_or("the start".to_owned(), |phase| format!("phase {phase}"));
        restart(&mut self.status, phase, overrides, self.now);
        let message = format!("starts again from {from}: {}", cause.message);
        self.record(Reason::Retried, &cause.by, super::report::short(&message));
        Ok((self.status, format!("starts again from {from}")))
    }
}

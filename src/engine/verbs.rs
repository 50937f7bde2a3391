//! What each verb does to a rollout, or why it is rejected. `docs/actions.md` has the table of verbs and states.

use super::actions::{Judgement, Request, held};
use super::checks::Raise;
use super::missing::forget_missing;
use super::pauses::add_pause;
use super::retry::{ended_with_it, restart, wants_retry};
use super::rollback::{Cause, skip_rungs};
use super::text::{decided_line, second, short};
use super::triggers::{Watch, forget_pausing_levels};
use super::{Metrics, Run, record};
use crate::api::rolloutaction::{Action, RetryFrom, RollbackHow};
use crate::api::status::{ApprovalStatus, FeatureRolloutStatus, PauseCause};
use crate::api::{MicroTime, Reason, RollbackMode};
use crate::plan::{Approval, Guard};

/// Most approvals that status remembers.
const MOST_APPROVALS: usize = 64;

/// Why an action is not about this state at all: another object, another generation, or nothing has begun.
pub(super) fn unlike(status: &FeatureRolloutStatus, request: &Request<'_>) -> Option<String> {
    let spec = request.spec;
    if let Some(uid) = spec.rollout_ref.uid.as_deref().filter(|uid| *uid != request.rollout_uid) {
        return Some(format!("it is for the rollout with UID {uid}, which is not this one"));
    }
    if let Some(expected) = spec.expected_generation.filter(|expected| *expected != request.generation) {
        let generation = request.generation;
        return Some(format!("it is for generation {expected} of the spec, which is at {generation}"));
    }
    (status.uid.as_deref() != Some(request.rollout_uid)).then(|| "the rollout has not begun".to_owned())
}

/// What stops and lowers: it needs no plan.
pub(super) fn lower(
    guard: &Guard,
    mut status: FeatureRolloutStatus,
    request: &Request<'_>,
    now: MicroTime,
) -> Judgement {
    let cause = request.cause();
    let message = match request.spec.action {
        Action::Pause => {
            let message = format!("paused by {}: {}", cause.by, cause.message);
            add_pause(&mut status, PauseCause::Person, &message, now);
            record(&mut status, now, Reason::Paused, &cause.by, short(&message));
            "paused".to_owned()
        }
        Action::Acknowledge => acknowledge(guard, &mut status, &cause, now)?,
        Action::SetPercent => set_percent(&mut status, request, now)?,
        Action::Rollback => roll_back(guard, &mut status, request, now)?,
        Action::Resume | Action::Approve | Action::Promote | Action::Retry => {
            return Err("needs a valid spec".to_owned());
        }
    };
    Ok((status, message))
}

/// Notes that somebody has seen what Sluice did by itself: a rollback, a pause, or what a trigger told; or has reviewed a
/// finished rollout where that is expected.
fn acknowledge(
    guard: &Guard,
    status: &mut FeatureRolloutStatus,
    cause: &Cause,
    now: MicroTime,
) -> Result<String, String> {
    let is_reviewed = status.completed_at.is_some()
        && guard.care(status.completed_at, now).is_some_and(|care| care.has_reviews);
    let answers = status.response.take().is_some();
    let by_itself = |cause: PauseCause| cause == PauseCause::Trigger || cause.is_recovery();
    let fired = status.triggers.iter().flat_map(|known| &known.levels).filter_map(|level| level.acted_at);
    let paused = status.pauses.iter().filter(|pause| by_itself(pause.cause)).map(|pause| pause.since);
    let newest = fired.chain(paused).max();
    match &mut status.rollback {
        Some(rollback) => {
            if let Some(at) = rollback.acknowledged_at.filter(|_| !answers) {
                return Err(format!("the rollback was acknowledged at {}", second(at)));
            }
            rollback.acknowledged_at = Some(now);
        }
        None if newest.is_some() => {
            // Once is enough: whoever has seen it again tells nobody anything.
            let is_known = |at: &MicroTime| newest <= Some(*at) && !is_reviewed && !answers;
            if let Some(at) = status.acknowledged_at.filter(is_known) {
                return Err(format!("it was acknowledged at {}, and nothing has happened since", second(at)));
            }
            status.acknowledged_at = Some(now);
        }
        None if is_reviewed || answers => status.acknowledged_at = Some(now),
        None => {
            return Err(
                "there is nothing to acknowledge: no rollback is in force, and neither a trigger nor \
                        a recovery has stopped anything"
                    .to_owned(),
            );
        }
    }
    let message = format!("acknowledged: {}", cause.message);
    record(status, now, Reason::Acknowledged, &cause.by, short(&message));
    Ok("acknowledged".to_owned())
}

/// A rollback that a person asks for. One that would change nothing is rejected with the reason.
fn roll_back(
    guard: &Guard,
    status: &mut FeatureRolloutStatus,
    request: &Request<'_>,
    now: MicroTime,
) -> Result<String, String> {
    let how = request.spec.rollback.clone().unwrap_or_default();
    let names = rollback_names(guard, status, &how)?;
    let nothing_to_do = |status: &FeatureRolloutStatus| {
        let rollback = status.rollback.as_ref()?;
        let (mode, by, at) = (rollback.mode.as_str(), &rollback.by, second(rollback.at));
        let known = format!("the {} rollback by {by} of {at}", mode.to_lowercase());
        Some(match super::wake::next_rung(status) {
            Some(next) => format!(
                "{known} is on its way down already, with the next rung at {}; an immediate one is stronger",
                second(next)
            ),
            None => format!("{known} has taken {} to control already", names.join(", ")),
        })
    };
    let all_at_control = names.iter().all(|name| {
        let cohort = status.cohort(name);
        cohort.is_none_or(|cohort| {
            cohort.decided().is_zero() && cohort.restore.is_none() && cohort.pending.is_none()
        })
    });
    let known = status.rollback.as_ref();
    if known.is_some_and(|known| names.iter().all(|name| known.cohorts.contains(name))) && all_at_control {
        return Err(nothing_to_do(&*status).unwrap_or_default());
    }
    let why = nothing_to_do(&*status);
    // Nothing is measured here: people ask.
    let mut watch = Watch { guard, status, metrics: &Metrics::AllWell, now };
    let done = watch.roll_back_cohorts(how.mode, names.clone(), request.cause());
    match done {
        Some(done) => Ok(format!("{done}; decided {}", decided_line(&status.cohorts))),
        None => Err(why.unwrap_or_default()),
    }
}

/// The cohorts that a person's rollback takes to control.
fn rollback_names(
    guard: &Guard,
    status: &FeatureRolloutStatus,
    how: &RollbackHow,
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

/// Serves what somebody says, and holds the schedule. What was asked, and the position, stay; raises that had not come
/// yet are dropped.
fn set_percent(
    status: &mut FeatureRolloutStatus,
    request: &Request<'_>,
    now: MicroTime,
) -> Result<String, String> {
    let percents = request.spec.set_percent.clone().unwrap_or_default();
    if let Some(unknown) = percents.keys().find(|name| status.cohort(name).is_none()) {
        return Err(unknown_cohort(status, unknown));
    }
    let emergency = status.pause(PauseCause::Emergency).is_some();
    let ladder = status.rollback.as_ref().map(|rollback| rollback.ladder.clone());
    let mut changes = Vec::new();
    for (name, percent) in &percents {
        changes.push(format!("{name} {} → {percent}", held(status, name)));
        let Some(cohort) = status.cohort_mut(name) else { continue };
        cohort.pending = None;
        cohort.tier_refused = false;
        if emergency {
            // Everybody has control until the emergency is over; this is what comes back then.
            cohort.restore = Some(*percent).filter(|percent| !percent.is_zero());
            continue;
        }
        cohort.decide(*percent);
        cohort.restore = None;
        skip_rungs(cohort, ladder.as_deref().unwrap_or_default());
    }
    let cause = request.cause();
    let changes = changes.join(", ");
    if status.rollback.is_none() {
        // The latch of a rollback holds the schedule already, and a resume would not end it.
        add_pause(status, PauseCause::SetPercent, &format!("{} set {changes}", cause.by), now);
    }
    let later = if emergency { " for after the emergency" } else { "" };
    let message = format!("set {changes}{later}: {}", cause.message);
    record(status, now, Reason::PercentSet, &cause.by, short(&message));
    Ok(format!("set {changes}{later}"))
}

/// What a cohort is not given although a step asked for it: somebody set another percentage since.
fn dropped_asks(status: &FeatureRolloutStatus) -> String {
    status
        .cohorts
        .iter()
        .filter(|cohort| {
            cohort.asked > held(status, &cohort.name) && cohort.pending.is_none() && !cohort.tier_refused
        })
        .map(|cohort| {
            let (name, served, asked) = (&cohort.name, held(status, &cohort.name), cohort.asked);
            format!("; {name} stays at {served} of the {asked} asked for, until a later step asks for more")
        })
        .collect()
}

impl Run<'_> {
    /// Does what the action asks, or says why not.
    pub(super) fn carry_out(mut self, request: &Request<'_>) -> Judgement {
        let spec = request.spec;
        let cause = request.cause();
        self.overrides = spec.overrides.clone().unwrap_or_default();
        match spec.action {
            Action::Pause | Action::Rollback | Action::Acknowledge => {
                lower(&self.plan.guard, self.status, request, self.now)
            }
            Action::SetPercent => {
                let raises = self.may_set(request)?;
                let message = set_percent(&mut self.status, request, self.now)?;
                if raises {
                    self.status.started_at.get_or_insert(self.now);
                }
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
                if let Some(refusal) = self.refused(raise) {
                    return Err(refusal.message);
                }
                let message = self.enter(entry, Reason::Promoted, &cause.by, Some(&cause.message));
                Ok((self.status, message))
            }
            Action::Retry => self.retry(request, &cause),
        }
    }

    /// Whether each of the percentages that raise passes its checks; all or none. Says whether any raises.
    fn may_set(&self, request: &Request<'_>) -> Result<bool, String> {
        let mut raises = false;
        for (name, percent) in request.spec.set_percent.iter().flatten() {
            let Some(cohort) = self.status.cohort(name) else { continue };
            if *percent <= held(&self.status, name) {
                continue;
            }
            raises = true;
            match self.plan.cohort(name) {
                None => return Err(format!("cohort {name} is no longer in the spec, and is raised no more")),
                Some(declared) if !self.plan.admits(declared) => {
                    return Err(format!("cohort {name} does not admit the tier of the feature"));
                }
                Some(_) => {}
            }
            if let Some(step) = self.approval_ahead(cohort, *percent) {
                let step = super::position::describe_step(step);
                return Err(format!(
                    "{name} at {percent} is past {step}, which waits for approval: approve it first"
                ));
            }
            if let Some(why) = self.above_policy(cohort, *percent) {
                return Err(why);
            }
            if let Some(refusal) = self.refused(Raise::SetPercent(name)) {
                return Err(refusal.message);
            }
        }
        Ok(raises)
    }

    fn resume(mut self, cause: &Cause) -> Judgement {
        let from_git = |cause| matches!(cause, PauseCause::Suspended | PauseCause::Emergency);
        if let Some(rollback) = &self.status.rollback {
            let at = second(rollback.at);
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
        forget_missing(&mut self.status);
        for trigger in &mut self.status.triggers {
            // A policy for missing data has acted once until data is there again.
            trigger.missing_acted &= trigger.verdict.is_missing();
        }
        self.status.metrics_from = Some(self.now);
        let message = format!("resumed: {}", cause.message);
        self.record(Reason::Resumed, &cause.by, short(&message));
        let dropped = dropped_asks(&self.status);
        Ok((self.status, format!("resumed{dropped}")))
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
        if !self.lacks_approval(step) {
            let known = |given: &&ApprovalStatus| given.phase == approve.phase && given.step == approve.step;
            let by = self.status.approvals.iter().find(known).map_or("git", |given| given.by.as_str());
            return Err(format!("{name} is approved already, by {by}"));
        }
        let at = self.now;
        let by = cause.by.clone();
        self.status.approvals.push(ApprovalStatus { phase: approve.phase, step: approve.step, by, at });
        let excess = self.status.approvals.len().saturating_sub(MOST_APPROVALS);
        self.status.approvals.drain(..excess);
        let message = format!("approved {name}: {}", cause.message);
        self.record(Reason::Approved, &cause.by, short(&message));
        Ok((self.status, format!("approved {name}")))
    }

    fn retry(mut self, request: &Request<'_>, cause: &Cause) -> Judgement {
        if !wants_retry(&self.status) {
            return Err(
                "there is nothing to retry: no rollback is in force, and no recovery pause".to_owned()
            );
        }
        if let Some(why) = self.ladder_goes_on() {
            return Err(why);
        }
        let phase = match request.spec.retry.clone().unwrap_or_default().from {
            RetryFrom::Start => None,
            RetryFrom::Phase => self.phase_to_retry(),
        };
        if let Some(phase) =
            phase.as_ref().filter(|phase| !self.plan.steps.iter().any(|step| step.phase == **phase))
        {
            return Err(format!("phase {phase} is no longer in the plan: retry from the start"));
        }
        let overrides = std::mem::take(&mut self.overrides);
        let from = phase.as_ref().map_or("the start".to_owned(), |phase| format!("phase {phase}"));
        let ended = ended_with_it(&restart(&mut self.status, phase, overrides, self.now));
        let message = format!("starts again from {from}: {}{ended}", cause.message);
        self.record(Reason::Retried, &cause.by, short(&message));
        Ok((self.status, format!("starts again from {from}{ended}")))
    }

    /// The phase that the rollout was in, also where an earlier retry has not entered it again yet; `None` before the
    /// first step.
    fn phase_to_retry(&self) -> Option<String> {
        let position = self.status.position.as_ref().map(|position| position.phase.clone());
        let rolled_back = self.status.rollback.as_ref().and_then(|rollback| rollback.phase.clone());
        let waiting = self.status.retry.as_ref().and_then(|retry| retry.phase.clone());
        position.or(rolled_back).or(waiting)
    }
}

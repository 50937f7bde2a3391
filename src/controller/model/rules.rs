//! What must hold of every write, and of what is stored after it. These rules know nothing of the engine but its statuses.

use std::rc::Rc;

use super::real::{COHORT, HOLD, Real};
use super::search::Broken;
use super::state::{File, Id, Spec, State, Stored, Verb};
use crate::api::status::{HistoryEntry, PauseCause};
use crate::api::{FeatureRolloutStatus, MicroTime, Percent, Reason};

/// What a stored status is judged by.
pub(super) struct Before<'a> {
    pub(super) status: &'a FeatureRolloutStatus,
    /// The status that was in force and not stored, where there was one: what it raises was judged when it came into force.
    pub(super) in_force: Option<Rc<FeatureRolloutStatus>>,
    /// The spec that is stored by then.
    pub(super) spec: Spec,
    /// The revision that the file holds.
    pub(super) in_file: i64,
    pub(super) now: MicroTime,
    /// The actions that are carried out by this write.
    pub(super) carried_out: &'a [Verb],
}

/// Whether a status may come after another one.
pub(super) fn status(before: &Before<'_>, after: &FeatureRolloutStatus) -> Result<(), Broken> {
    let old = before.status;
    let retried = before.carried_out.contains(&Verb::Retry);
    let raised_attempt = after.attempt > old.attempt && old.rollback.is_some();
    let starts_again = retried || raised_attempt;
    if old.rollback.is_some() && after.rollback.is_none() && !starts_again {
        return Err("a rollback is undone without a retry".to_owned());
    }
    let is_told = |told: &HistoryEntry| {
        let same = |entry: &HistoryEntry| {
            entry.seq == told.seq && entry.reason == told.reason && entry.message == told.message
        };
        after.history.iter().any(same)
    };
    if let Some(lost) = old.history.iter().find(|entry| !is_told(entry)) {
        return Err(format!("entry {} of the history is undone: {}", lost.seq, lost.message));
    }
    let mut causes = after.pauses.iter().map(|pause| pause.cause);
    if let Some(cause) = causes.find(|cause| cause.is_recovery() || *cause == PauseCause::PositionLost) {
        return Err(format!("{cause:?}, though nothing was lost"));
    }
    revisions(old, after)?;
    let from = before.in_force.as_deref().unwrap_or(old);
    if decided(after) <= decided(from) {
        return Ok(());
    }
    raise(before, from, after, starts_again)
}

/// Revisions only grow, and each stands for one fragment.
fn revisions(old: &FeatureRolloutStatus, after: &FeatureRolloutStatus) -> Result<(), Broken> {
    if after.revision < old.revision {
        return Err(format!("revision {} comes after {}", after.revision, old.revision));
    }
    let known = |revision| {
        let announced = old.announced.as_ref().filter(|next| next.revision == revision);
        let now = old.fragment.as_ref().filter(|_| old.revision == revision);
        now.or(announced.map(|next| &next.fragment))
    };
    let announced = after.announced.as_ref().map(|next| (next.revision, &next.fragment));
    let now = after.fragment.as_ref().map(|fragment| (after.revision, fragment));
    for (revision, fragment) in now.into_iter().chain(announced) {
        if known(revision).is_some_and(|known| known != fragment) {
            return Err(format!("revision {revision} stands for two fragments"));
        }
    }
    Ok(())
}

/// Nothing is raised without its checks.
fn raise(
    before: &Before<'_>,
    old: &FeatureRolloutStatus,
    after: &FeatureRolloutStatus,
    starts_again: bool,
) -> Result<(), Broken> {
    let ends_a_pause = starts_again || before.carried_out.contains(&Verb::Resume);
    if old.rollback.is_some() && !starts_again {
        return Err("raised while it is rolled back".to_owned());
    }
    if before.spec.suspended {
        return Err("raised while it is suspended".to_owned());
    }
    let is_paused = old.pauses.iter().any(|pause| pause.cause == PauseCause::Person);
    if (is_paused && !ends_a_pause) || !after.pauses.is_empty() || after.rollback.is_some() {
        return Err("raised while it is paused or rolled back".to_owned());
    }
    if before.in_file < old.revision {
        return Err("raised before the last decision was delivered".to_owned());
    }
    let first = Percent::from_whole(super::first_step(before.spec.first_step)).unwrap_or_default();
    let may = match old.position.as_ref().filter(|_| !starts_again) {
        None => first,
        Some(position) if is_over(position.entered_at, before.now) => Percent::FULL,
        Some(position) if position.number == 1 => first,
        Some(_) => Percent::FULL,
    };
    if decided(after) > may.max(decided(old)) {
        return Err(format!("raised to {} before its time, when it may have {may}", decided(after)));
    }
    Ok(())
}

fn is_over(entered: MicroTime, now: MicroTime) -> bool {
    now.duration_since(entered) >= HOLD
}

fn decided(status: &FeatureRolloutStatus) -> Percent {
    status.cohort(COHORT).map_or(Percent::ZERO, |cohort| cohort.decided())
}

/// Whether a step that was announced may go into the file now, by what is stored now.
pub(super) fn ahead(
    real: &mut Real,
    rollout: usize,
    stored: Stored,
    status: Id,
    now: u8,
) -> Result<(), Broken> {
    let (old, after) = (real.status(stored.status), real.status(status));
    let announced = old.announced.as_ref().map(|next| (next.revision, Some(&next.fragment)));
    if announced != Some((after.revision, after.fragment.as_ref())) {
        return Err(format!("the file of rollout {rollout} goes ahead to what is not announced"));
    }
    let before = Before {
        status: &old,
        in_force: None,
        spec: stored.spec,
        in_file: old.delivered_revision,
        now: Real::at(now),
        carried_out: &[],
    };
    if old.rollback.is_some() || !old.pauses.is_empty() || stored.spec.suspended {
        return Err("the file goes ahead although the rollout is stopped".to_owned());
    }
    raise(&before, &old, &after, false)
}

/// Whether a file may come after another one.
pub(super) fn file(
    real: &mut Real,
    rollouts: usize,
    before: Option<File>,
    after: File,
) -> Result<(), Broken> {
    let Some(before) = before else { return Ok(()) };
    for rollout in 0..rollouts {
        let Some(old) = real.member(before.text, rollout) else { continue };
        let Some(new) = real.member(after.text, rollout) else {
            return Err(format!("the flag of rollout {rollout} is taken out of the file"));
        };
        if new.live.revision < old.live.revision {
            let (from, to) = (old.live.revision, new.live.revision);
            return Err(format!("the file goes back from revision {from} to {to} of rollout {rollout}"));
        }
        if new.live.revision == old.live.revision && new.digest != old.digest {
            return Err(format!("the file changes rollout {rollout} without a new revision"));
        }
    }
    Ok(())
}

/// How file and status must stand to each other, whatever was written last.
pub(super) fn agreement(real: &mut Real, state: &State) -> Result<(), Broken> {
    for (rollout, versions) in state.rollouts.iter().enumerate() {
        let status = real.status(versions.current().status);
        let member = state.file.current().and_then(|file| real.member(file.text, rollout));
        let in_file = member.as_ref().map_or(0, |member| member.live.revision);
        if status.delivered_revision > in_file {
            return Err(format!("status says that revision {} is delivered", status.delivered_revision));
        }
        let Some(member) = member else { continue };
        let announced = status.announced.as_ref().map_or(0, |next| next.revision);
        if in_file > status.revision.max(announced) {
            return Err(format!(
                "the file is ahead of status by revision {in_file}, which was not announced"
            ));
        }
        let now = status.fragment.as_ref().filter(|_| status.revision == in_file);
        let next = status.announced.as_ref().filter(|next| next.revision == in_file);
        let expected = now.or(next.map(|next| &next.fragment));
        if expected.is_some_and(|digest| *digest != member.digest) {
            return Err(format!("revision {in_file} says another thing in the file than in the status"));
        }
    }
    Ok(())
}

/// What must be so once nobody disturbs any more.
pub(super) fn rest(real: &mut Real, state: &State) -> Result<(), Broken> {
    agreement(real, state)?;
    if state.actions.iter().any(|action| !action.answered) {
        return Err("an action has no answer".to_owned());
    }
    for (rollout, versions) in state.rollouts.iter().enumerate() {
        let stored = versions.current();
        let status = real.status(stored.status);
        let member = state.file.current().and_then(|file| real.member(file.text, rollout));
        let Some(member) = member else { return Err("the file has no flag of it".to_owned()) };
        let served = member.live.served.first().map(|(_, percent)| *percent);
        if !status.is_delivered()
            || member.live.revision != status.revision
            || served != Some(decided(&status))
        {
            return Err(format!("file and status do not agree: {served:?}, {status:#?}"));
        }
        if status.observed_generation != i64::from(stored.generation) {
            return Err(format!("generation {} is not observed", stored.generation));
        }
        let is_stopped = status.rollback.is_some() || !status.pauses.is_empty();
        let is_ready = status.conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True");
        if is_ready != status.rollback.is_none() {
            return Err(format!("it is not Ready: {:#?}", status.conditions));
        }
        if stored.spec.suspended != status.pause(PauseCause::Suspended).is_some() {
            return Err("it is not paused as its spec says".to_owned());
        }
        let is_completed = status.completed_at.is_some() && decided(&status) == Percent::FULL;
        if !is_stopped && !is_completed {
            return Err(format!("it has stopped before its end: {:#?}", status.waiting_for));
        }
        let again = |reason: Reason| status.history.iter().filter(|entry| entry.reason == reason).count();
        if again(Reason::Completed) > 1 && again(Reason::Retried) + again(Reason::AttemptStarted) == 0 {
            return Err("it has completed twice".to_owned());
        }
    }
    Ok(())
}

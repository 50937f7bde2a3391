//! Starting again, after a rollback or a recovery pause.

use jiff::SignedDuration;

use super::Run;
use super::checks::Raise;
use super::quiet::check_triggers;
use super::text::second;
use crate::api::rolloutaction::Override;
use crate::api::status::{FeatureRolloutStatus, Pause, PauseCause, RetryStatus};
use crate::api::{MicroTime, Percent, RollbackMode};

/// Whether there is anything to start again from: a rollback in force, or a recovery pause.
pub fn wants_retry(status: &FeatureRolloutStatus) -> bool {
    status.rollback.is_some() || status.pauses.iter().any(|pause| pause.cause.is_recovery())
}

/// Clears the latch, the times in breach and all pauses but those of git, and goes back to before the first step, or
/// before the first step of `phase`. It raises nothing, and lowers nobody who kept the feature.
///
/// Returns the pauses that ended with it, which others may have asked for: whoever starts again is told.
pub(super) fn restart(
    status: &mut FeatureRolloutStatus,
    phase: Option<String>,
    overrides: Vec<Override>,
    now: MicroTime,
) -> Vec<Pause> {
    let (kept, ended): (Vec<Pause>, Vec<Pause>) = std::mem::take(&mut status.pauses)
        .into_iter()
        .partition(|pause| matches!(pause.cause, PauseCause::Suspended | PauseCause::Emergency));
    status.pauses = kept;
    let rolled_back = status.rollback.take().is_some();
    status.triggers.clear();
    status.metrics_from = Some(now);
    // Whoever starts again has responded.
    status.response = None;
    status.position = None;
    status.first_exposure = None;
    status.completed_at = None;
    status.dependencies_met = false;
    status.considered = None;
    // An approval is for one entry of one attempt. A rollback has ended the last one: what was given since is for this one.
    if !rolled_back {
        status.approvals.clear();
    }
    for cohort in &mut status.cohorts {
        cohort.asked = Percent::ZERO;
        cohort.asked_by = None;
        cohort.pending = None;
        cohort.descent = None;
        cohort.tier_refused = false;
    }
    status.retry = Some(RetryStatus { at: now, phase, overrides });
    ended
}

/// The pauses that ended with a new start, in words to append: what somebody else has stopped goes on.
pub(super) fn ended_with_it(ended: &[Pause]) -> String {
    ended.iter().map(|pause| format!("; this ends a pause: {}", pause.message)).collect()
}

impl Run<'_> {
    /// Why a rollout on its way down a ladder cannot start again yet: that would leave people half-way down with what
    /// still hurts them. `None` where no ladder is under way, or its triggers are quiet by now.
    pub(super) fn ladder_goes_on(&self) -> Option<String> {
        let rollback = self.status.rollback.as_ref()?;
        let rungs = self.status.cohorts.iter().filter_map(|cohort| cohort.descent);
        let next = rungs.map(|descent| descent.next).min();
        // The last rung is decided and not yet in the file: the ladder has not ended.
        if next.is_none() && (rollback.mode != RollbackMode::Gradual || rollback.ended_at.is_some()) {
            return None;
        }
        let refusal = check_triggers(self, Raise::Edit(None))?;
        let next = next.map(|at| format!(", with the next rung at {}", second(at))).unwrap_or_default();
        Some(format!(
            "a gradual rollback is on its way down, and {}: it goes on{next}; retry when it has ended or its triggers are quiet",
            refusal.message,
        ))
    }
}

/// Stops the rollout clock with the first pause, and moves what counts on it with the last one's end.
pub(super) fn keep_the_clock(status: &mut FeatureRolloutStatus, now: MicroTime) {
    let paused = !status.pauses.is_empty();
    match (status.paused_since, paused) {
        (None, true) => status.paused_since = Some(now),
        (Some(since), false) => {
            // Another leader's clock may run behind: nothing is due earlier for that.
            let paused_for = now.duration_since(since).max(SignedDuration::ZERO);
            let moved = |time: MicroTime| time.saturating_add(paused_for);
            if let Some(position) = &mut status.position {
                position.hold_from = moved(position.hold_from);
            }
            if let Some(exposure) = &mut status.first_exposure {
                exposure.delay_from = moved(exposure.delay_from);
            }
            for pending in status.cohorts.iter_mut().filter_map(|cohort| cohort.pending.as_mut()) {
                pending.due = moved(pending.due);
            }
            status.paused_since = None;
        }
        (None, false) | (Some(_), true) => {}
    }
}

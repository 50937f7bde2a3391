//! Starting again, after a rollback or a recovery pause.

use jiff::SignedDuration;

use crate::api::rolloutaction::Override;
use crate::api::status::{FeatureRolloutStatus, PauseCause, RetryStatus};
use crate::api::{MicroTime, Percent};

/// Whether there is anything to start again from: a rollback in force, or a recovery pause.
pub fn wants_retry(status: &FeatureRolloutStatus) -> bool {
    status.rollback.is_some() || status.pauses.iter().any(|pause| pause.cause.is_recovery())
}

/// Clears the latch, the times in breach and all pauses but those of git, and goes back to before the first step, or
/// before the first step of `phase`. It raises nothing, and lowers nobody who kept the feature.
pub(super) fn restart(
    status: &mut FeatureRolloutStatus,
    phase: Option<String>,
    overrides: Vec<Override>,
    now: MicroTime,
) {
    status.rollback = None;
    status.triggers.clear();
    status.metrics_from = Some(now);
    status.pauses.retain(|pause| matches!(pause.cause, PauseCause::Suspended | PauseCause::Emergency));
    status.position = None;
    status.first_exposure = None;
    status.completed_at = None;
    status.dependencies_met = false;
    status.considered = None;
    if phase.is_none() {
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

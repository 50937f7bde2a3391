//! How soon somebody responds to a critical issue: a clock that each of them starts, and an Acknowledge action stops.

use super::history::record_entry;
use super::text::{second, short};
use crate::api::record::{HistoryEntry, ResponseStatus};
use crate::api::status::FeatureRolloutStatus;
use crate::api::{MicroTime, Reason, Severity};
use crate::plan::Guard;

/// Starts the clock at what a decision has added that is critical, and says once that nobody responded in time. `before` is the
/// number of the last entry before the decision.
pub(super) fn follow(guard: &Guard, status: &mut FeatureRolloutStatus, before: i64, now: MicroTime) {
    let within = guard.care(status.completed_at, now).and_then(|care| care.respond_within);
    let is_critical = |entry: &&HistoryEntry| {
        entry.seq > before
            && entry.severity == Some(Severity::Critical)
            && !matches!(
                entry.reason,
                Reason::ResponseOverdue
                    | Reason::RollbackVerified
                    | Reason::RollbackEnded
                    | Reason::RungEntered
            )
    };
    // One that runs goes on: who responds to the first of several has responded.
    let runs = status.response.as_ref().is_some_and(|response| response.missed_at.is_none());
    let issue = status.history.iter().find(is_critical).filter(|_| !runs);
    if let (Some(issue), Some(within)) = (issue, within) {
        let (at, trigger) = (issue.at, issue.trigger.clone());
        status.response =
            Some(ResponseStatus { at, until: at.saturating_add(within), trigger, missed_at: None });
    }
    let Some(response) = status.response.as_mut().filter(|response| is_overdue(response, now)) else {
        return;
    };
    response.missed_at = Some(now);
    let about = response.trigger.as_ref().map(|trigger| format!(" of {trigger}")).unwrap_or_default();
    let message = format!(
        "nobody has acknowledged the critical issue{about} of {} by {}",
        second(response.at),
        second(response.until)
    );
    let trigger = response.trigger.clone();
    let entry = HistoryEntry {
        seq: 0,
        at: now,
        reason: Reason::ResponseOverdue,
        message: short(&message),
        who: "schedule".to_owned(),
        trigger,
        severity: Some(Severity::Critical),
        revision: None,
    };
    record_entry(status, entry);
}

fn is_overdue(response: &ResponseStatus, now: MicroTime) -> bool {
    response.missed_at.is_none() && response.until <= now
}

/// When that is to be said.
pub(super) fn wake_at(status: &FeatureRolloutStatus) -> Option<MicroTime> {
    status.response.as_ref().filter(|response| response.missed_at.is_none()).map(|response| response.until)
}

//! What the file holds of a state, told apart from what is decided, and said where the two differ.
//!
//! A decision sets `decided`. `served` is what the file gives, and only what its writer says changes it: so a rollback that
//! cannot be written is never shown as one that has reached anybody.

use super::text::short;
use super::{record, rollback};
use crate::api::status::{CohortStatus, FeatureRolloutStatus, Undelivered};
use crate::api::{MicroTime, Percent, Reason};

/// How the file stands to the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The file holds it.
    Done,
    /// The file does not hold it yet, and that is no news.
    UnderWay,
    /// The file has not held it for 10 seconds, or an error is being retried.
    Late(String),
    /// The file will not hold it until somebody acts.
    Failed(Reason, String),
}

/// Who says so in the history.
const WHO: &str = "delivery";

/// Takes note that the file holds all that is decided.
pub fn deliver(status: &mut FeatureRolloutStatus, now: MicroTime) {
    // Read back, the state must equal this one.
    status.delivered_revision = status.revision;
    for cohort in &mut status.cohorts {
        cohort.note_served(cohort.decided());
    }
    if status.undelivered.take().is_some() && is_told(status) {
        let served = line(&status.cohorts, |cohort| cohort.served.percent());
        record(
            status,
            now,
            Reason::Delivered,
            WHO,
            short(&format!("the file holds what is decided: {served}")),
        );
    }
    rollback::end_rollback(status, now, true);
}

/// Takes note of what was seen in a file that does not hold all that is decided. Cohorts that it does not name are left as
/// they are.
pub fn note_file(status: &mut FeatureRolloutStatus, in_file: &[(String, Percent)]) {
    for (name, percent) in in_file {
        if let Some(cohort) = status.cohort_mut(name) {
            cohort.note_served(*percent);
        }
    }
}

/// Notes which revision brings about what was added to the history after `told`.
pub fn mark_entries(status: &mut FeatureRolloutStatus, told: i64) {
    let revision = status.revision;
    for entry in status.history.iter_mut().filter(|entry| entry.seq > told) {
        entry.revision = Some(revision);
    }
}

/// Takes note of how the delivery stands: in the history, where it has come to a stand or goes on again.
pub fn note_delivery(status: &mut FeatureRolloutStatus, delivery: &Delivery, now: MicroTime) {
    let (reason, why) = match delivery {
        Delivery::Done => return deliver(status, now),
        Delivery::UnderWay => return,
        Delivery::Late(why) => (Reason::Retrying, why),
        Delivery::Failed(reason, why) => (*reason, why),
    };
    let known = status.undelivered.take();
    // A raise that is only late harms nobody, and the conditions have it.
    let is_grave = reason != Reason::Retrying || lowers(status);
    // Somebody who was told that it is retried has to hear that this will not help; nobody has to hear the opposite.
    let is_other =
        known.as_ref().is_none_or(|known| known.reason == Reason::Retrying && reason != Reason::Retrying);
    let is_news = is_grave && (is_other || !is_told(status));
    status.undelivered = Some(Undelivered {
        since: known.map_or_else(|| now, |known| known.since),
        reason,
        message: short(why),
    });
    if is_news {
        let message = undelivered_message(status).unwrap_or_default();
        record(status, now, Reason::NotDelivered, WHO, message);
    }
}

/// Whether apps still get more than is decided.
pub fn lowers(status: &FeatureRolloutStatus) -> bool {
    status.cohorts.iter().any(|cohort| cohort.decided() < cohort.served.percent())
}

/// Whether the history says last of a delivery that it has come to a stand.
fn is_told(status: &FeatureRolloutStatus) -> bool {
    let of_delivery = |reason| matches!(reason, Reason::NotDelivered | Reason::Delivered);
    let last = status.history.iter().rev().find(|entry| of_delivery(entry.reason));
    last.is_some_and(|entry| entry.reason == Reason::NotDelivered)
}

/// What is decided, what apps get instead, and why, in words; `None` where the file holds it or is just being written.
pub fn undelivered_message(status: &FeatureRolloutStatus) -> Option<String> {
    let undelivered = status.undelivered.as_ref()?;
    let gap = gap(status).unwrap_or_else(|| "the file does not hold what is decided".to_owned());
    Some(short(&format!("{gap}: {}", undelivered.message)))
}

/// What is decided and not in the file, and what apps get instead; `None` where no percentage differs.
pub fn gap(status: &FeatureRolloutStatus) -> Option<String> {
    let differs = |cohort: &&CohortStatus| cohort.decided() != cohort.served.percent();
    let cohorts: Vec<CohortStatus> = status.cohorts.iter().filter(differs).cloned().collect();
    if cohorts.is_empty() {
        return None;
    }
    let decided = line(&cohorts, CohortStatus::decided);
    let served = line(&cohorts, |cohort| cohort.served.percent());
    Some(format!("decided {decided}; apps still get {served}"))
}

/// What the file gives, in words, and what it is to give where that differs.
pub(super) fn standing(status: &FeatureRolloutStatus) -> String {
    gap(status).unwrap_or_else(|| format!("serving {}", line(&status.cohorts, CohortStatus::decided)))
}

fn line(cohorts: &[CohortStatus], percent: impl Fn(&CohortStatus) -> Percent) -> String {
    let parts: Vec<String> =
        cohorts.iter().map(|cohort| format!("{} {}", cohort.name, percent(cohort))).collect();
    parts.join(", ")
}

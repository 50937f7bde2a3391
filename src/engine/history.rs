//! The history of a rollout: what is added, and what gives way when it is full.
//!
//! Whoever asks what happened to users has to find it, however much of less weight came after it.

use crate::api::status::{FeatureRolloutStatus, HISTORY, HistoryEntry};
use crate::api::{MicroTime, Reason};

/// Rollbacks that give way after everything else: the newest ones.
const ROLLBACKS: usize = 4;

/// How much an entry tells of what users got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Nothing was changed for users by itself.
    Lesser,
    /// Users got something else, or a run began or ended.
    Change,
    /// The feature was taken away.
    TakenAway,
}

/// Whether an entry of this reason may tell of a change of what users get.
pub fn changes_what_is_served(reason: Reason) -> bool {
    weight(reason) != Weight::Lesser
}

fn weight(reason: Reason) -> Weight {
    match reason {
        Reason::RolledBack | Reason::RollbackEscalated | Reason::EmergencyControl | Reason::Deleting => {
            Weight::TakenAway
        }
        Reason::Started
        | Reason::StepEntered
        | Reason::CohortRaised
        | Reason::EditApplied
        | Reason::AudienceChanged
        | Reason::Completed
        | Reason::AttemptStarted
        | Reason::EmergencyLifted
        | Reason::StatusLost
        | Reason::Restored
        | Reason::Adopted
        | Reason::RollingBack
        | Reason::RungEntered
        | Reason::RollbackEnded
        | Reason::Retried
        | Reason::Promoted
        | Reason::PercentSet => Weight::Change,
        _ => Weight::Lesser,
    }
}

pub(super) fn record(
    status: &mut FeatureRolloutStatus,
    now: MicroTime,
    reason: Reason,
    who: &str,
    message: String,
) {
    let entry = HistoryEntry {
        seq: 0,
        at: now,
        reason,
        message,
        who: who.to_owned(),
        trigger: None,
        severity: None,
        revision: None,
    };
    record_entry(status, entry);
}

/// Adds an entry to the history, under the next number.
pub(super) fn record_entry(status: &mut FeatureRolloutStatus, entry: HistoryEntry) {
    let seq = status.last_seq().saturating_add(1);
    status.history.push(HistoryEntry { seq, ..entry });
    while status.history.len() > HISTORY {
        give_way(&mut status.history);
    }
}

/// Drops the entry that tells least: of those that are not among the newest third the oldest of the least weight.
pub(super) fn give_way(history: &mut Vec<HistoryEntry>) {
    let old = history.len().saturating_sub((history.len() / 3).max(1));
    let mut rollbacks = 0;
    let mut least: Option<(Weight, usize)> = None;
    for (i, entry) in history.iter().enumerate().rev() {
        let mut weight = weight(entry.reason);
        if weight == Weight::TakenAway {
            rollbacks += 1;
            if rollbacks > ROLLBACKS {
                weight = Weight::Change;
            }
        }
        if i < old && least.is_none_or(|(least, _)| weight <= least) {
            least = Some((weight, i));
        }
    }
    if let Some((_, i)) = least {
        history.remove(i);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> MicroTime {
        MicroTime::UNIX_EPOCH
    }

    fn with(reasons: &[(Reason, usize)]) -> FeatureRolloutStatus {
        let mut status = FeatureRolloutStatus::default();
        for (reason, times) in reasons {
            for _ in 0..*times {
                record(&mut status, at(), *reason, "ada", String::new());
            }
        }
        status
    }

    fn count(status: &FeatureRolloutStatus, reason: Reason) -> usize {
        status.history.iter().filter(|entry| entry.reason == reason).count()
    }

    #[test]
    fn a_flood_of_lesser_entries_leaves_what_users_got() {
        for lesser in [Reason::Acknowledged, Reason::Paused, Reason::Approved, Reason::TriggerFired] {
            let status = with(&[
                (Reason::Started, 1),
                (Reason::StepEntered, 5),
                (Reason::RolledBack, 1),
                (lesser, 500),
            ]);
            let kept = [Reason::Started, Reason::StepEntered, Reason::RolledBack, lesser];
            assert_eq!(kept.map(|reason| count(&status, reason)), [1, 5, 1, 13], "{lesser:?}");
            assert_eq!(status.last_seq(), 507, "the newest is always there");
            assert!(status.history.is_sorted_by_key(|entry| entry.seq));
        }
    }

    #[test]
    fn a_flood_of_changes_leaves_the_last_rollbacks_and_no_more_of_them() {
        let status = with(&[(Reason::RolledBack, 6), (Reason::PercentSet, 500)]);
        assert_eq!([count(&status, Reason::RolledBack), count(&status, Reason::PercentSet)], [4, 16]);
        let numbers: Vec<i64> = status.history.iter().take(5).map(|entry| entry.seq).collect();
        assert_eq!(numbers, [3, 4, 5, 6, 491]);
    }

    #[test]
    fn what_is_newest_stays_whatever_it_is() {
        let status = with(&[(Reason::StepEntered, 20), (Reason::Acknowledged, 3)]);
        assert_eq!(count(&status, Reason::Acknowledged), 3);
        let status = with(&[(Reason::StepEntered, 20), (Reason::Acknowledged, 3), (Reason::StepEntered, 20)]);
        assert_eq!(count(&status, Reason::Acknowledged), 0);
        let mut one = with(&[(Reason::Paused, 2)]).history;
        give_way(&mut one);
        assert_eq!(one.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [2]);
    }
}

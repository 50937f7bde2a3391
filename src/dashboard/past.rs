//! What a rollout has served, read back from its history.
//!
//! The history says in words what each entry changed: `regular 50% → 75%`. Read from the present backwards, each change has to
//! lead to what is known of the time after it, so that a text that only looks like one, such as a reason that somebody
//! wrote, is passed over.

use crate::api::status::HistoryEntry;
use crate::api::{FeatureRolloutStatus, MicroTime, Percent, Reason};
use crate::engine::changes_what_is_served;

/// What was decided for every cohort from an instant on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// From when.
    pub at: MicroTime,
    /// The percentage of each cohort, in the order of the status.
    pub percents: Vec<Percent>,
}

/// What a mark on the time line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A rollback, or a rung of one.
    Rollback,
    /// The schedule was stopped.
    Pause,
    /// A person did something else.
    Person,
    /// An edit in git.
    Edit,
}

impl Mark {
    /// The mark of an entry, if it has one: steps show in the lines themselves.
    pub fn of(entry: &HistoryEntry) -> Option<Mark> {
        match entry.reason {
            Reason::RolledBack
            | Reason::RollbackEscalated
            | Reason::RollingBack
            | Reason::EmergencyControl
            | Reason::Deleting => Some(Mark::Rollback),
            Reason::Paused
            | Reason::PositionLost
            | Reason::StatusLost
            | Reason::Restored
            | Reason::Adopted => Some(Mark::Pause),
            Reason::Resumed
            | Reason::Promoted
            | Reason::Approved
            | Reason::PercentSet
            | Reason::Retried
            | Reason::Acknowledged => Some(Mark::Person),
            Reason::EditApplied | Reason::AudienceChanged | Reason::AttemptStarted => Some(Mark::Edit),
            _ => None,
        }
    }
}

/// What was served, oldest first, up to the present state; the first point is the oldest that the history tells of.
pub fn past(status: &FeatureRolloutStatus) -> Vec<Point> {
    let names: Vec<&str> = status.cohorts.iter().map(|cohort| cohort.name.as_str()).collect();
    let mut now: Vec<Percent> = status.cohorts.iter().map(|cohort| cohort.decided()).collect();
    let mut points: Vec<Point> = Vec::new();
    for entry in status.history.iter().rev() {
        // What other entries say may have any words of others in it.
        if !changes_what_is_served(entry.reason) {
            continue;
        }
        let after = now.clone();
        let mut told = changes(&entry.message);
        if Mark::of(entry) != Some(Mark::Rollback) {
            // What somebody wrote stands before the effect of a rollback, and behind that of everything else.
            told.reverse();
        }
        for (name, before, then) in told {
            let Some(i) = names.iter().position(|known| *known == name) else { continue };
            if let (Some(value), Some(known)) = (now.get_mut(i), after.get(i))
                && *known == then
            {
                *value = before;
            }
        }
        if now != after {
            points.push(Point { at: entry.at, percents: after });
        }
    }
    let oldest = status.history.first().map(|entry| entry.at).or(status.first_seen);
    if let Some(at) = oldest
        && points.last().is_none_or(|point| point.at > at)
    {
        points.push(Point { at, percents: now });
    }
    points.reverse();
    points
}

/// The changes that a text tells of: cohort, before, after.
fn changes(message: &str) -> Vec<(&str, Percent, Percent)> {
    let mut found = Vec::new();
    let parts: Vec<&str> = message.split(" → ").collect();
    for pair in parts.windows(2) {
        let [left, right] = pair else { continue };
        let mut words = left.rsplitn(3, ' ');
        let before = words.next().and_then(|word| word.parse::<Percent>().ok());
        let name = words.next().map(|word| word.trim_start_matches(['(', ',', ';']));
        let after =
            right.split([' ', ',', ';', ':', ')']).next().and_then(|word| word.parse::<Percent>().ok());
        if let (Some(name), Some(before), Some(after)) = (name, before, after) {
            found.push((name, before, after));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn percent(text: &str) -> Percent {
        text.parse().unwrap()
    }

    #[test]
    fn changes_are_read_as_the_engine_writes_them() {
        let told = |message: &str| -> Vec<String> {
            changes(message).iter().map(|(name, before, after)| format!("{name} {before} {after}")).collect()
        };
        assert_eq!(
            told("entered ga/half: a 0% → 50%, b-c 12.5% → 50%; why not"),
            ["a 0% 50%", "b-c 12.5% 50%"]
        );
        assert_eq!(told("immediate rollback: 12 above 10; regular 100% → 0%"), ["regular 100% 0%"]);
        assert_eq!(told("raised regular 5% → 10%"), ["regular 5% 10%"]);
        assert_eq!(told("entered x; a → 50% pending until 2025-09-08T09:00:00Z"), [""; 0]);
        for odd in ["", " → ", "→ → →", "a → b", "a 5% →", "a 500% → 5%", "5% → 6%"] {
            assert_eq!(told(odd), [""; 0], "{odd}");
        }
    }

    fn status(now: &[(&str, &str)], history: &[(&str, &str)]) -> FeatureRolloutStatus {
        let cohorts: Vec<_> =
            now.iter().map(|(name, served)| json!({"name": name, "served": served})).collect();
        let history: Vec<_> = history
            .iter()
            .enumerate()
            .map(|(i, (at, message))| {
                json!({"seq": i + 1, "at": at, "reason": "StepEntered", "message": message, "who": "schedule"})
            })
            .collect();
        serde_json::from_value(json!({"uid": "1", "cohorts": cohorts, "history": history})).unwrap()
    }

    #[test]
    fn the_past_is_read_back_from_the_present() {
        let status = status(
            &[("a", "0%"), ("b", "50%")],
            &[
                ("2025-09-01T00:00:00.000000Z", "first seen; every cohort starts at control"),
                ("2025-09-02T00:00:00.000000Z", "entered ga/half: a 0% → 50%, b 0% → 50%"),
                ("2025-09-03T00:00:00.000000Z", "set a 50% → 75%: they ask for it"),
                ("2025-09-04T00:00:00.000000Z", "partial rollback: no; a 75% → 0%"),
            ],
        );
        let told: Vec<(String, Vec<String>)> = past(&status)
            .iter()
            .map(|p| (p.at.to_string(), p.percents.iter().map(ToString::to_string).collect()))
            .collect();
        let expected = [
            ("2025-09-01T00:00:00Z", ["0%", "0%"]),
            ("2025-09-02T00:00:00Z", ["50%", "50%"]),
            ("2025-09-03T00:00:00Z", ["75%", "50%"]),
            ("2025-09-04T00:00:00Z", ["0%", "50%"]),
        ];
        assert_eq!(told.len(), 4);
        for ((at, percents), (expected_at, expected)) in told.iter().zip(expected) {
            assert_eq!(
                (at.as_str(), percents.as_slice()),
                (expected_at, expected.map(str::to_owned).as_slice())
            );
        }
    }

    #[test]
    fn a_reason_that_looks_like_a_change_changes_nothing() {
        let status = status(
            &[("a", "50%")],
            &[
                ("2025-09-01T00:00:00.000000Z", "entered ga/half: a 0% → 50%"),
                ("2025-09-02T00:00:00.000000Z", "paused: because of a 3% → 100% that nobody saw"),
            ],
        );
        let past = past(&status);
        assert_eq!(past.len(), 1);
        assert_eq!(past[0].percents, [percent("50%")]);
    }

    #[test]
    fn what_git_got_wrong_changes_nothing() {
        let mut status = status(
            &[("a", "50%")],
            &[
                ("2025-09-01T00:00:00.000000Z", "entered ga/half: a 0% → 50%"),
                (
                    "2025-09-02T00:00:00.000000Z",
                    "spec.baseline.x a 100% → 50% as ordered: there is no cohort",
                ),
            ],
        );
        status.history[1].reason = Reason::InvalidSpec;
        let told: Vec<String> = past(&status).iter().map(|point| point.percents[0].to_string()).collect();
        assert_eq!(told, ["50%"]);
    }

    #[test]
    fn the_effect_counts_and_not_what_somebody_wrote_beside_it() {
        let mut status = status(
            &[("a", "0%")],
            &[
                ("2025-09-01T00:00:00.000000Z", "set a 10% → 80%: like a 70% → 80%"),
                ("2025-09-02T00:00:00.000000Z", "immediate rollback: a 3% → 0% by mistake; a 80% → 0%"),
            ],
        );
        status.history[1].reason = Reason::RolledBack;
        let told: Vec<String> = past(&status).iter().map(|point| point.percents[0].to_string()).collect();
        assert_eq!(told, ["80%", "0%"]);
    }

    #[test]
    fn nothing_is_known_of_what_has_no_history() {
        assert_eq!(past(&FeatureRolloutStatus::default()), []);
    }
}

//! Since when a file does not hold what a rollout decides.

use std::time::{Duration, Instant};

/// Decisions that are remembered by themselves; more that are not delivered count from when there is room again.
const MOST: usize = 16;

/// The revisions that a rollout waits for its file to hold, oldest first, each with when it was first waited for.
///
/// An instant, not a time of the schedule: how long the file takes has nothing to do with how fast the schedule's clock
/// runs.
#[derive(Debug, Default)]
pub(super) struct Waiting(Vec<(i64, Instant)>);

impl Waiting {
    /// For how long it has waited, where `revision` is decided and the file is known to hold `delivered`.
    ///
    /// Under load one decision follows another before anybody looks at how the first was delivered. What was waited for
    /// has come then all the same, and the second waits for itself only.
    pub(super) fn go_on(&mut self, revision: i64, delivered: i64, now: Instant) -> Duration {
        self.0.retain(|(of, _)| *of > delivered);
        let is_new = self.0.last().is_none_or(|(last, _)| *last < revision);
        if is_new && self.0.len() < MOST {
            self.0.push((revision, now));
        }
        self.0.first().map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(*since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    /// Seconds waited after each look at a rollout: second, revision decided, revision in the file.
    fn waited(looks: &[(u64, i64, i64)]) -> Vec<u64> {
        let start = monotonic();
        let mut waiting = Waiting::default();
        let each = looks.iter().map(|(second, revision, delivered)| {
            waiting.go_on(*revision, *delivered, start + Duration::from_secs(*second)).as_secs()
        });
        each.collect()
    }

    #[test]
    fn a_decision_that_follows_a_delivered_one_waits_for_itself_only() {
        // Each decision is in the file when the next one comes, and nobody has looked in between.
        assert_eq!(waited(&[(0, 2, 1), (4, 3, 2), (8, 4, 3), (11, 5, 4), (12, 5, 4)]), [0, 0, 0, 0, 1]);
    }

    #[test]
    fn decisions_that_pile_up_wait_since_the_first_that_is_not_there() {
        assert_eq!(waited(&[(0, 2, 1), (4, 3, 1), (11, 4, 1)]), [0, 4, 11]);
        assert_eq!(waited(&[(0, 2, 1), (4, 3, 1), (11, 4, 2), (12, 4, 3)]), [0, 4, 7, 1]);
    }
}

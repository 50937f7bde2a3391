//! When keys that failed are tried again: each once, after a wait that grows with every failure of the same cause.
//!
//! These times are real ones, whatever the schedule's clock shows. Causes are counted apart: what recovers from one does
//! not shorten the waits of another.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Why a key is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Somebody else wrote the object meanwhile: it is read and decided on again almost at once.
    Conflict,
    /// The API server could not be reached. A step follows within 10 s of its return.
    Unreachable,
    /// The API server answered with a failure, or not in time: it, or what it asks, may be down or overloaded.
    Failure,
    /// Somebody must act, and may have acted.
    Refused,
    /// Only an edit helps, of which the watch tells.
    Invalid,
    /// The file's writer could not make sure that a prepared step may be written.
    Unconfirmed,
    /// The file holds a newer revision than the rollout that is known here.
    Outdated,
}

impl Cause {
    /// Every cause of the work on a key itself: it works when that ends well.
    pub const OF_WORK: [Cause; 5] =
        [Cause::Conflict, Cause::Unreachable, Cause::Failure, Cause::Refused, Cause::Invalid];
    /// Every cause that a file's writer knows of.
    pub const OF_FILE: [Cause; 2] = [Cause::Unconfirmed, Cause::Outdated];

    /// The first wait, which doubles with each failure, and the longest.
    const fn waits(self) -> (Duration, Duration) {
        let (first, longest) = match self {
            Cause::Conflict => (20, 500),
            Cause::Unreachable => (200, 5_000),
            Cause::Failure | Cause::Refused => (200, 30_000),
            Cause::Invalid => (60_000, 60_000),
            Cause::Unconfirmed | Cause::Outdated => (200, 30_000),
        };
        (Duration::from_millis(first), Duration::from_millis(longest))
    }

    /// The wait after so many failures in a row.
    pub fn wait(self, failures: u32) -> Duration {
        let (first, longest) = self.waits();
        first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest)
    }
}

/// Keys that failed, and when they are tried again.
pub struct Retries<K> {
    keys: HashMap<K, Failing>,
    order: BTreeSet<(Instant, K)>,
}

#[derive(Default)]
struct Failing {
    /// How often in a row, by cause, and when each is to be tried again, if it has not been since.
    causes: HashMap<Cause, (u32, Option<Instant>)>,
    /// The place in the order: the earliest of those times.
    at: Option<Instant>,
    /// A report was asked for, which comes with the next try.
    asked: bool,
}

impl<K> Default for Retries<K> {
    fn default() -> Retries<K> {
        Retries { keys: HashMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Clone + Eq + Hash + Ord> Retries<K> {
    /// Keys that have failed and not recovered.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Counts a failure and returns the wait after which the key is tried again because of it, which is not shorter than
    /// `least`.
    pub fn failed_for(&mut self, key: &K, cause: Cause, least: Duration, now: Instant) -> Duration {
        let failing = self.keys.entry(key.clone()).or_default();
        let (failures, due) = failing.causes.entry(cause).or_default();
        *failures = failures.saturating_add(1);
        let wait = cause.wait(*failures).max(least);
        *due = now.checked_add(wait);
        self.arrange(key);
        wait
    }

    /// The same where nobody has asked to wait.
    #[cfg(test)]
    fn failed(&mut self, key: &K, cause: Cause, now: Instant) -> Duration {
        self.failed_for(key, cause, Duration::ZERO, now)
    }

    /// Forgets the failures of some causes. Says whether a report that was asked for is due now.
    pub fn recovered(&mut self, key: &K, causes: &[Cause]) -> bool {
        let Some(failing) = self.keys.get_mut(key) else { return false };
        for cause in causes {
            failing.causes.remove(cause);
        }
        if !failing.causes.is_empty() {
            self.arrange(key);
            return false;
        }
        let asked = failing.asked;
        self.forget(key);
        asked
    }

    /// Forgets a key.
    pub fn forget(&mut self, key: &K) {
        if let Some(at) = self.keys.remove(key).and_then(|failing| failing.at) {
            self.order.remove(&(at, key.clone()));
        }
    }

    /// Takes in that a report of a key is asked for, if the key is to be tried again anyhow.
    pub fn absorb(&mut self, key: &K) -> bool {
        let waits = self.keys.get_mut(key).filter(|failing| failing.at.is_some());
        waits.map(|failing| failing.asked = true).is_some()
    }

    /// When the next key is to be tried again, if any is.
    pub fn next_at(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// The next key that is to be tried again now.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        let (at, key) = self.order.first()?.clone();
        if at > now {
            return None;
        }
        if let Some(failing) = self.keys.get_mut(&key) {
            failing.asked = false;
            for (_, due) in failing.causes.values_mut() {
                *due = due.filter(|due| *due > now);
            }
        }
        self.arrange(&key);
        Some(key)
    }

    fn arrange(&mut self, key: &K) {
        let Some(failing) = self.keys.get_mut(key) else { return };
        if let Some(at) = failing.at.take() {
            self.order.remove(&(at, key.clone()));
        }
        failing.at = failing.causes.values().filter_map(|(_, due)| *due).min();
        if let Some(at) = failing.at {
            self.order.insert((at, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_retry_time_whoever_asks_for_it_and_whatever_fails() {
        let mut retries = Retries::default();
        let begun = crate::clock::monotonic();
        for second in 0..3600 {
            // A trigger every second, and each of its decisions fails.
            retries.failed(&"a", Cause::Failure, begun + Duration::from_secs(second));
            retries.failed(&"a", Cause::Outdated, begun + Duration::from_secs(second));
        }
        let last = begun + Duration::from_secs(3599);
        assert_eq!(retries.next_at(), Some(last + Duration::from_secs(30)));
        let after = last + Duration::from_secs(30);
        assert_eq!((retries.pop(after), retries.pop(after)), (Some("a"), None));
        assert_eq!(retries.next_at(), None, "it comes back when it fails again");
    }

    #[test]
    fn waits_grow_by_cause_and_recovering_from_one_does_not_shorten_another() {
        let mut retries = Retries::default();
        let now = crate::clock::monotonic();
        let fail = |retries: &mut Retries<&str>, cause| retries.failed(&"a", cause, now).as_millis();
        let waits: Vec<u128> = (0..10).map(|_| fail(&mut retries, Cause::Failure)).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(fail(&mut retries, Cause::Outdated), 200);
        assert!(!retries.recovered(&"a", &[Cause::Outdated]));
        assert_eq!(fail(&mut retries, Cause::Failure), 30000);
        assert!(!retries.recovered(&"a", &Cause::OF_WORK));
        assert_eq!((fail(&mut retries, Cause::Failure), fail(&mut retries, Cause::Conflict)), (200, 20));
        assert_eq!(Cause::Unreachable.wait(100), Duration::from_secs(5));
    }

    #[test]
    fn a_key_is_not_tried_before_the_api_server_has_asked_for_it() {
        let mut retries = Retries::default();
        let now = crate::clock::monotonic();
        let asked = Duration::from_secs(5);
        assert_eq!(retries.failed_for(&"a", Cause::Failure, asked, now), asked);
        assert_eq!(retries.pop(now + asked - Duration::from_millis(1)), None);
        assert_eq!(retries.pop(now + asked), Some("a"));
        for _ in 0..5 {
            retries.failed(&"a", Cause::Failure, now);
        }
        let wait = retries.failed_for(&"a", Cause::Failure, asked, now);
        assert!(wait > asked, "its own wait is longer by now: {wait:?}");
    }

    #[test]
    fn the_earliest_of_the_causes_counts_and_the_others_stay() {
        let mut retries = Retries::default();
        let now = crate::clock::monotonic();
        retries.failed(&"a", Cause::Invalid, now);
        retries.failed(&"a", Cause::Conflict, now);
        let soon = now + Duration::from_millis(20);
        assert_eq!(retries.next_at(), Some(soon));
        assert_eq!(retries.pop(soon), Some("a"));
        assert_eq!(retries.next_at(), Some(now + Duration::from_secs(60)));
        retries.forget(&"a");
        assert_eq!((retries.next_at(), retries.keys.len()), (None, 0));
    }

    #[test]
    fn a_report_that_came_with_a_retry_is_made_when_the_key_recovers_before() {
        let mut retries = Retries::default();
        let now = crate::clock::monotonic();
        assert!(!retries.absorb(&"a"), "nothing fails");
        retries.failed(&"a", Cause::Failure, now);
        assert!(retries.absorb(&"a"));
        assert!(retries.recovered(&"a", &Cause::OF_WORK));
        assert!(!retries.absorb(&"a"));
        retries.failed(&"a", Cause::Failure, now);
        assert!(retries.absorb(&"a"));
        assert_eq!(retries.pop(now + Duration::from_secs(1)), Some("a"));
        assert!(!retries.recovered(&"a", &Cause::OF_WORK), "the try was the report");
    }
}

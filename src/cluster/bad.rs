//! The objects that cannot be read: counted in a metric and told in the log, each once.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Key;
use crate::clock;
use crate::telemetry::Metrics;

/// Least time between two lines of the log: there may be any number of such objects, made by anybody.
const SPACING: Duration = Duration::from_secs(1);

/// The objects that cannot be read.
pub(super) struct Bad {
    known: Mutex<Known>,
    metrics: Metrics,
}

#[derive(Default)]
struct Known {
    /// A digest of what is wrong with each, by kind and digest of the key: anybody may have any number of them, with long names.
    kinds: BTreeMap<String, HashMap<u64, u64>>,
    digests: RandomState,
    told: Pace,
}

/// When something was told last, and how much was left out since.
#[derive(Default)]
struct Pace {
    last: Option<Instant>,
    left_out: usize,
}

impl Pace {
    /// Whether something may be told now; then how much was left out before it.
    fn may_tell(&mut self, now: Instant) -> Option<usize> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < SPACING) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Bad {
    pub(super) fn new(metrics: Metrics) -> Bad {
        Bad { known: Mutex::default(), metrics }
    }

    /// Notes what is wrong with an object.
    pub(super) fn note(&self, kind: &str, key: &Key, why: &str) {
        let mut known = self.lock();
        let (object, told) = (known.digests.hash_one(key), known.digests.hash_one(why));
        let objects = known.kinds.entry(kind.to_owned()).or_default();
        if objects.insert(object, told) == Some(told) {
            return;
        }
        self.metrics.set_unreadable(kind, objects.len());
        let Some(left_out) = known.told.may_tell(clock::monotonic()) else { return };
        drop(known);
        let (namespace, name) = key;
        let more = if left_out == 0 { String::new() } else { format!(" ({left_out} more were not told of)") };
        tracing::warn!("{kind} {namespace}/{name} cannot be read: {why}; everything else goes on{more}");
    }

    /// Notes that an object can be read, or is gone.
    pub(super) fn clear(&self, kind: &str, key: &Key) {
        let mut known = self.lock();
        let object = known.digests.hash_one(key);
        let Some(objects) = known.kinds.get_mut(kind) else { return };
        if objects.remove(&object).is_some() {
            self.metrics.set_unreadable(kind, objects.len());
        }
    }

    /// Forgets the objects of a kind that are not among these.
    pub(super) fn keep(&self, kind: &str, seen: &HashSet<Key>) {
        let mut known = self.lock();
        let seen: HashSet<u64> = seen.iter().map(|key| known.digests.hash_one(key)).collect();
        let Some(objects) = known.kinds.get_mut(kind) else { return };
        let before = objects.len();
        objects.retain(|object, _| seen.contains(object));
        if objects.len() != before {
            self.metrics.set_unreadable(kind, objects.len());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> Key {
        (namespace.to_owned(), name.to_owned())
    }

    fn count(bad: &Bad) -> usize {
        bad.lock().kinds.values().map(HashMap::len).sum()
    }

    #[test]
    fn what_is_mended_or_gone_is_forgotten() {
        let bad = Bad::new(Metrics::default());
        for name in ["a", "b", "c"] {
            bad.note("FlagSet", &key("x", name), "it is broken");
        }
        bad.note("FlagSet", &key("y", "a"), "it is broken");
        bad.note("FlagSet", &key("y", "a"), "it is broken otherwise");
        bad.note("Pod", &key("x", "a"), "it is broken");
        assert_eq!(count(&bad), 5);
        bad.clear("FlagSet", &key("x", "a"));
        bad.clear("FlagSet", &key("x", "never"));
        bad.keep("FlagSet", &HashSet::from([key("x", "b"), key("x", "never")]));
        assert_eq!(count(&bad), 2, "x/b of one kind, and a Pod");
        bad.keep("FlagSet", &HashSet::new());
        assert_eq!(count(&bad), 1);
    }

    #[test]
    fn a_line_a_second_is_told_and_the_rest_is_counted() {
        let (mut pace, start) = (Pace::default(), clock::monotonic());
        assert_eq!(pace.may_tell(start), Some(0));
        for _ in 0..7 {
            assert_eq!(pace.may_tell(start + SPACING / 2), None);
        }
        assert_eq!(pace.may_tell(start + SPACING), Some(7));
        assert_eq!(pace.may_tell(start + SPACING * 3), Some(0));
    }
}

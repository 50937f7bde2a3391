//! What the shards that a process leads count of objects, added up: a process shows one number of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What one shard counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects known, by kind.
    pub objects: BTreeMap<&'static str, usize>,
    /// Objects that are beyond what their namespace may have in memory, by kind.
    pub beyond: BTreeMap<&'static str, usize>,
    /// Entries kept in memory of single objects, by what they are.
    pub entries: BTreeMap<&'static str, usize>,
    /// Objects that wait to be worked on.
    pub queue: usize,
    /// Events that are still to be published.
    pub events: usize,
}

/// The shards of a process, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Tallies(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    led: BTreeSet<u16>,
    counted: BTreeMap<u16, Tally>,
}

impl Tallies {
    /// Notes whether a shard is led; says whether any is.
    pub fn lead(&self, shard: u16, leads: bool) -> bool {
        let mut known = self.lock();
        if leads {
            known.led.insert(shard);
        } else {
            known.led.remove(&shard);
        }
        !known.led.is_empty()
    }

    /// Takes in what a shard counts, or that it counts nothing any more; returns the sums, and nothing where no shard counts.
    pub fn count(&self, shard: u16, tally: Option<Tally>) -> Option<Tally> {
        let mut known = self.lock();
        match tally {
            Some(tally) => drop(known.counted.insert(shard, tally)),
            None => drop(known.counted.remove(&shard)),
        }
        let mut counted = known.counted.values();
        let first = counted.next().cloned()?;
        Some(counted.fold(first, Tally::plus))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    fn plus(mut self, other: &Tally) -> Tally {
        let Tally { objects, beyond, entries, queue, events } = other;
        for (kind, count) in objects {
            *self.objects.entry(kind).or_default() += count;
        }
        for (kind, count) in beyond {
            *self.beyond.entry(kind).or_default() += count;
        }
        for (of, count) in entries {
            *self.entries.entry(of).or_default() += count;
        }
        self.queue += queue;
        self.events += events;
        self
    }
}

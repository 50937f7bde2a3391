//! The work queue: keys with due times and priorities, never the same key twice at once.
//!
//! kube's own scheduler keeps one order and no per-key state; here deciding goes before reporting, and a key that is
//! asked for while it is being worked on is done once more afterwards.
//!
//! Decisions and reports have pools of their own. Work that has had no answer for a second gives its place back, as it
//! keeps nobody busy: however many calls hang, the next decision begins. What the API server has to answer before an
//! emergency is not more than the pools, however much is due; and while an action is under way, [`Queue::hold`] keeps
//! ordinary work from beginning at all.
//!
//! A key has one due time on the schedule's clock, and one retry time in real time, whatever fails how often and whoever
//! asks for it ([`retry`]).
//!
//! Keys belong to groups, the rollouts of one file. Those that are due together are worked on group by group, so that
//! the first files are complete early instead of all of them late. Namespaces take turns ([`in_turns`]), by what they cost ([`cost`]).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::api::MicroTime;
use crate::clock::{self, Clock};
use crate::fair::HUNG;
pub use cost::{ProcessorCosts, Took, metered};
pub use hold::Held;
use hold::Hold;
pub use in_turns::Tenant;
use inner::Inner;
pub use priority::Priority;
pub use retry::Cause;

mod cost;
mod files;
mod hold;
mod in_turns;
mod inner;
mod priority;
mod retry;

/// How many keys may be worked on at once.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// To be decided on.
    pub deciding: usize,
    /// To be reported on.
    pub reporting: usize,
}

/// Whether the keys of a namespace are worked on.
type IsOurs = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Tells the group of a key, if it has one.
type GroupOf<K, G> = Box<dyn Fn(&K) -> Option<G> + Send + Sync>;

/// A queue of keys of type `K` in groups of type `G`.
pub struct Queue<K, G> {
    inner: Mutex<Inner<K, G>>,
    changed: Notify,
    clock: Clock,
    hold: Hold,
    /// Nothing where all are.
    is_ours: Option<IsOurs>,
}

impl<K: Tenant + Clone + Eq + Hash + Ord, G: Clone + Eq + Hash + Ord> Queue<K, G> {
    /// An empty queue whose due times are of `clock`, and of which no more keys are worked on at once than there are
    /// `places`. `group_of` must not ask the queue anything.
    pub fn new(
        clock: Clock,
        places: Places,
        group_of: impl Fn(&K) -> Option<G> + Send + Sync + 'static,
    ) -> Queue<K, G> {
        let places = Places { deciding: places.deciding.max(1), reporting: places.reporting.max(1) };
        Queue {
            inner: Mutex::new(Inner::new(places, Box::new(group_of))),
            changed: Notify::new(),
            clock,
            hold: Hold::default(),
            is_ours: None,
        }
    }

    /// The same queue, which passes over the keys of other namespaces, whoever asks for them.
    pub fn only_of(self, is_ours: impl Fn(&str) -> bool + Send + Sync + 'static) -> Queue<K, G> {
        Queue { is_ours: Some(Box::new(is_ours)), ..self }
    }

    fn passes_over(&self, key: &K) -> bool {
        self.is_ours.as_ref().is_some_and(|is_ours| !is_ours(key.tenant()))
    }

    /// Asks for a key to be worked on as soon as there is a place. A report of a key that is to be tried again comes
    /// with that try.
    pub fn push(&self, key: K, priority: Priority) {
        if self.passes_over(&key) {
            return;
        }
        let mut inner = self.lock();
        if priority.decides() || !inner.retries.absorb(&key) {
            inner.push(key, priority);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Asks for a key to be worked on at a time. A key has one due time: the last one said.
    pub fn push_at(&self, key: K, at: Option<MicroTime>) {
        if self.passes_over(&key) {
            return;
        }
        let mut inner = self.lock();
        if let Some(before) = inner.due.remove(&key) {
            inner.timers.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            inner.due.insert(key.clone(), at);
            inner.timers.insert((at, key));
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Notes that the work on a key failed, and has it tried again after a growing wait, which is returned. However often
    /// that is said, and for however many causes, one try comes of it.
    pub fn failed(&self, key: &K, cause: Cause) -> Duration {
        self.failed_for(key, cause, Duration::ZERO)
    }

    /// The same where somebody has asked for a wait of `least`.
    pub fn failed_for(&self, key: &K, cause: Cause, least: Duration) -> Duration {
        let wait = self.lock().retries.failed_for(key, cause, least, clock::monotonic());
        self.changed.notify_one();
        wait
    }

    /// Notes that a key does not fail of these causes any more. What else fails goes on as it did.
    pub fn recovered(&self, key: &K, causes: &[Cause]) {
        let mut inner = self.lock();
        if inner.retries.recovered(key, causes) {
            inner.push(key.clone(), Priority::Report);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Forgets when a key is due and how often it failed.
    pub fn forget(&self, key: &K) {
        self.push_at(key.clone(), None);
        self.lock().retries.forget(key);
    }

    /// The next key to work on. Say [`Queue::done`] when it is done.
    pub async fn next(&self) -> K {
        loop {
            let changed = self.changed.notified();
            let now = self.clock.now();
            let started = clock::monotonic();
            let (key, timer, retry, blocked) = {
                let mut inner = self.lock();
                inner.ring(now, started);
                let key = inner.pop(started);
                let blocked = !inner.is_decided() || !inner.report.is_empty();
                (key, inner.timers.first().map(|(at, _)| *at), inner.retries.next_at(), blocked)
            };
            if let Some(key) = key {
                if blocked || timer.is_some() || retry.is_some() {
                    self.changed.notify_one();
                }
                return key;
            }
            let until_retry = retry.unwrap_or(started).saturating_duration_since(started);
            tokio::select! {
                () = changed => {}
                () = self.clock.wait_towards(timer.unwrap_or(now)), if timer.is_some() => {}
                () = clock::sleep(until_retry), if retry.is_some() => {}
                // What hangs gives its place back.
                () = clock::sleep(HUNG), if blocked => {}
            }
        }
    }

    /// Notes that the work on a key took so long.
    pub fn note_cost(&self, key: &K, took: Took) {
        self.lock().costs.note(key.tenant(), took, clock::monotonic());
    }

    /// Says that the work on a key has ended.
    pub fn done(&self, key: &K) {
        let mut inner = self.lock();
        inner.at_work.remove(key);
        let idle = match inner.entries.get_mut(key) {
            Some(entry) => {
                entry.running = false;
                entry.queued
            }
            None => None,
        };
        if !idle.is_some_and(Priority::decides) {
            inner.decided(key);
        }
        match idle {
            Some(priority) => inner.enqueue(key.clone(), priority),
            None => {
                inner.entries.remove(key);
                if inner.entries.is_empty() {
                    // After a thousand at once a table keeps room for a thousand.
                    (inner.entries, inner.deciding) = (HashMap::new(), HashMap::new());
                }
            }
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Keys that wait to be worked on.
    pub fn depth(&self) -> usize {
        let inner = self.lock();
        inner.entries.values().filter(|entry| entry.queued.is_some()).count()
    }

    /// Entries of single keys: that wait, are worked on, have a due time, or are to be tried again.
    pub fn keys(&self) -> usize {
        let inner = self.lock();
        let waiting = inner.entries.len() + inner.due.len() + inner.deciding.len();
        waiting + inner.at_work.len() + inner.retries.len()
    }

    /// Whether a key of the group that `counts` waits to be decided on, or is being decided on.
    pub fn is_deciding(&self, group: &G, counts: impl Fn(&K) -> bool) -> bool {
        self.lock().deciding.get(group).is_some_and(|keys| keys.iter().any(counts))
    }

    /// Keeps ordinary work from beginning until what this returns is dropped; not for long at a stretch.
    pub fn hold(&self) -> Held<'_> {
        self.hold.hold()
    }

    /// Waits until nobody holds ordinary work back, or has done so for long enough.
    pub async fn until_free(&self) {
        self.hold.until_free().await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K, G>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

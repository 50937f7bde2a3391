//! The work queue: keys with due times, two lanes, never the same key twice at once.
//!
//! kube's own scheduler keeps one lane and no per-key state; here deciding goes before publishing, and a key that is
//! asked for while it is being worked on is done once more afterwards.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::clock::Clock;

/// How soon a key should be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Acknowledgements and reports.
    Publish,
    /// Everything that may change what is served.
    Decide,
}

/// A queue of keys.
pub struct Queue<K> {
    inner: Mutex<Inner<K>>,
    changed: Notify,
    clock: Clock,
}

struct Inner<K> {
    decide: VecDeque<K>,
    publish: VecDeque<K>,
    entries: HashMap<K, Entry>,
    timers: BTreeSet<(Timestamp, K)>,
    due: HashMap<K, Timestamp>,
}

#[derive(Clone, Copy)]
struct Entry {
    queued: Option<Lane>,
    running: bool,
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// An empty queue whose due times are of `clock`.
    pub fn new(clock: Clock) -> Queue<K> {
        Queue {
            inner: Mutex::new(Inner {
                decide: VecDeque::new(),
                publish: VecDeque::new(),
                entries: HashMap::new(),
                timers: BTreeSet::new(),
                due: HashMap::new(),
            }),
            changed: Notify::new(),
            clock,
        }
    }

    /// Asks for a key to be worked on as soon as there is a place.
    pub fn push(&self, key: K, lane: Lane) {
        self.lock().push(key, lane);
        self.changed.notify_one();
    }

    /// Asks for a key to be worked on at a time. A key has one due time: the last one said.
    pub fn push_at(&self, key: K, at: Option<Timestamp>) {
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

    /// The next key to work on. Say [`Queue::done`] when it is done.
    pub async fn next(&self) -> K {
        loop {
            let changed = self.changed.notified();
            let now = self.clock.now();
            let (key, more, timer) = {
                let mut inner = self.lock();
                inner.ring(now);
                let key = inner.pop();
                let more = !inner.decide.is_empty() || !inner.publish.is_empty();
                (key, more, inner.timers.first().map(|(at, _)| *at))
            };
            if let Some(key) = key {
                if more || timer.is_some() {
                    self.changed.notify_one();
                }
                return key;
            }
            match timer {
                Some(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = self.clock.wait_towards(at) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// Says that the work on a key has ended.
    pub fn done(&self, key: &K) {
        let mut inner = self.lock();
        let idle = match inner.entries.get_mut(key) {
            Some(entry) => {
                entry.running = false;
                entry.queued
            }
            None => None,
        };
        match idle {
            Some(lane) => inner.enqueue(key.clone(), lane),
            None => {
                inner.entries.remove(key);
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

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash + Ord> Inner<K> {
    fn push(&mut self, key: K, lane: Lane) {
        let entry = self.entries.entry(key.clone()).or_insert(Entry { queued: None, running: false });
        if entry.queued >= Some(lane) {
            return;
        }
        entry.queued = Some(lane);
        if !entry.running {
            self.enqueue(key, lane);
        }
    }

    fn enqueue(&mut self, key: K, lane: Lane) {
        match lane {
            Lane::Decide => self.decide.push_back(key),
            Lane::Publish => self.publish.push_back(key),
        }
    }

    /// Moves the keys whose time has come into their lane.
    fn ring(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            self.due.remove(&key);
            self.push(key, Lane::Decide);
        }
    }

    fn pop(&mut self) -> Option<K> {
        for lane in [Lane::Decide, Lane::Publish] {
            loop {
                let popped = match lane {
                    Lane::Decide => self.decide.pop_front(),
                    Lane::Publish => self.publish.pop_front(),
                };
                let Some(key) = popped else { break };
                // A key that has moved to the other lane meanwhile is still in this one, too.
                if let Some(entry) = self.entries.get_mut(&key)
                    && !entry.running
                    && entry.queued == Some(lane)
                {
                    *entry = Entry { queued: None, running: true };
                    return Some(key);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn next(queue: &Queue<&'static str>) -> Option<&'static str> {
        tokio::time::timeout(Duration::from_millis(20), queue.next()).await.ok()
    }

    #[tokio::test]
    async fn deciding_goes_before_publishing() {
        let queue = Queue::new(Clock::system());
        queue.push("report", Lane::Publish);
        queue.push("step", Lane::Decide);
        queue.push("report", Lane::Publish);
        assert_eq!(next(&queue).await, Some("step"));
        assert_eq!(next(&queue).await, Some("report"));
        assert_eq!(next(&queue).await, None);
    }

    #[tokio::test]
    async fn a_key_is_never_worked_on_twice_at_once_and_never_forgotten() {
        let queue = Queue::new(Clock::system());
        queue.push("a", Lane::Decide);
        assert_eq!(next(&queue).await, Some("a"));
        queue.push("a", Lane::Decide);
        assert_eq!(next(&queue).await, None);
        queue.done(&"a");
        assert_eq!(next(&queue).await, Some("a"));
        queue.done(&"a");
        assert_eq!(next(&queue).await, None);
    }

    #[tokio::test]
    async fn a_key_asked_for_in_both_lanes_is_done_once() {
        let queue = Queue::new(Clock::system());
        queue.push("a", Lane::Publish);
        queue.push("a", Lane::Decide);
        assert_eq!(next(&queue).await, Some("a"));
        queue.done(&"a");
        assert_eq!(next(&queue).await, None);
    }

    #[tokio::test]
    async fn the_last_due_time_counts() {
        let clock = Clock::system();
        let queue = Queue::new(clock.clone());
        let soon = clock.now().saturating_add(jiff::SignedDuration::from_millis(5)).unwrap();
        let late = clock.now().saturating_add(jiff::SignedDuration::from_hours(1)).unwrap();
        queue.push_at("a", Some(soon));
        queue.push_at("a", Some(late));
        assert_eq!(next(&queue).await, None);
        queue.push_at("a", Some(soon));
        assert_eq!(next(&queue).await, Some("a"));
    }
}

//! The work queue: keys with due times, two lanes, never the same key twice at once.
//!
//! kube's own scheduler keeps one lane and no per-key state; here deciding goes before publishing, and a key that is
//! asked for while it is being worked on is done once more afterwards.
//!
//! Only some of what is worked on at once is publishing: what the API server has to answer before an emergency is not more
//! than that, however many reports are due.
//!
//! Keys belong to groups, the rollouts of one file. Those that are due together are worked on group by group, so that
//! the first files are complete early instead of all of them late.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::clock::{self, Clock};

/// How soon a key should be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Acknowledgements and reports.
    Publish,
    /// Everything that may change what is served.
    Decide,
}

/// After how long the publishing of a key does not count any more: it waits for an answer that does not come.
const HUNG: Duration = Duration::from_secs(1);

/// How many times as many as may be published at once are, if some of them hang.
const MOST_HUNG: usize = 2;

/// Tells the group of a key, if it has one.
type GroupOf<K, G> = Box<dyn Fn(&K) -> Option<G> + Send + Sync>;

/// A queue of keys of type `K` in groups of type `G`.
pub struct Queue<K, G> {
    inner: Mutex<Inner<K, G>>,
    changed: Notify,
    clock: Clock,
}

struct Inner<K, G> {
    decide: VecDeque<K>,
    publish: VecDeque<K>,
    entries: HashMap<K, Entry<G>>,
    timers: BTreeSet<(Timestamp, K)>,
    due: HashMap<K, Timestamp>,
    group_of: GroupOf<K, G>,
    /// Keys that wait to be decided on, or are being decided on.
    deciding: HashMap<G, HashSet<K>>,
    /// The keys that are being published and since when, and how many may be.
    publishing: HashMap<K, Instant>,
    most_publishing: usize,
}

struct Entry<G> {
    queued: Option<Lane>,
    running: bool,
    /// The group that counts the key as one that is being decided on.
    group: Option<G>,
}

impl<K: Clone + Eq + Hash + Ord, G: Clone + Eq + Hash + Ord> Queue<K, G> {
    /// An empty queue whose due times are of `clock`, and of which at most `most_publishing` keys are published at once.
    /// `group_of` must not ask the queue anything.
    pub fn new(
        clock: Clock,
        most_publishing: usize,
        group_of: impl Fn(&K) -> Option<G> + Send + Sync + 'static,
    ) -> Queue<K, G> {
        Queue {
            inner: Mutex::new(Inner {
                decide: VecDeque::new(),
                publish: VecDeque::new(),
                entries: HashMap::new(),
                timers: BTreeSet::new(),
                due: HashMap::new(),
                group_of: Box::new(group_of),
                deciding: HashMap::new(),
                publishing: HashMap::new(),
                most_publishing: most_publishing.max(1),
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
            let (key, more, timer, blocked) = {
                let mut inner = self.lock();
                let started = clock::monotonic();
                inner.ring(now);
                let key = inner.pop(started);
                let blocked = !inner.publish.is_empty() && !inner.may_publish(started);
                let more = !inner.decide.is_empty() || (!inner.publish.is_empty() && !blocked);
                (key, more, inner.timers.first().map(|(at, _)| *at), blocked)
            };
            if let Some(key) = key {
                if more || timer.is_some() {
                    self.changed.notify_one();
                }
                return key;
            }
            tokio::select! {
                () = changed => {}
                () = self.clock.wait_towards(timer.unwrap_or(now)), if timer.is_some() => {}
                () = clock::sleep(HUNG), if blocked => {}
            }
        }
    }

    /// Says that the work on a key has ended.
    pub fn done(&self, key: &K) {
        let mut inner = self.lock();
        inner.publishing.remove(key);
        let idle = match inner.entries.get_mut(key) {
            Some(entry) => {
                entry.running = false;
                entry.queued
            }
            None => None,
        };
        if idle != Some(Lane::Decide) {
            inner.decided(key);
        }
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

    /// Keys that anything is known of: that wait, are worked on, or have a due time.
    pub fn keys(&self) -> usize {
        let inner = self.lock();
        inner.entries.len() + inner.due.len() + inner.deciding.len() + inner.publishing.len()
    }

    /// Whether a key of the group that `counts` waits to be decided on, or is being decided on.
    pub fn is_deciding(&self, group: &G, counts: impl Fn(&K) -> bool) -> bool {
        self.lock().deciding.get(group).is_some_and(|keys| keys.iter().any(counts))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K, G>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash + Ord, G: Clone + Eq + Hash + Ord> Inner<K, G> {
    fn push(&mut self, key: K, lane: Lane) {
        let new = Entry { queued: None, running: false, group: None };
        let entry = self.entries.entry(key.clone()).or_insert(new);
        if entry.queued >= Some(lane) {
            return;
        }
        entry.queued = Some(lane);
        if lane == Lane::Decide && entry.group.is_none() {
            entry.group = (self.group_of)(&key);
            if let Some(group) = entry.group.clone() {
                self.deciding.entry(group).or_default().insert(key.clone());
            }
        }
        if !entry.running {
            self.enqueue(key, lane);
        }
    }

    /// Forgets that a key is being decided on.
    fn decided(&mut self, key: &K) {
        let Some(group) = self.entries.get_mut(key).and_then(|entry| entry.group.take()) else { return };
        if let Some(keys) = self.deciding.get_mut(&group) {
            keys.remove(key);
            if keys.is_empty() {
                self.deciding.remove(&group);
            }
        }
    }

    fn enqueue(&mut self, key: K, lane: Lane) {
        match lane {
            Lane::Decide => self.decide.push_back(key),
            Lane::Publish => self.publish.push_back(key),
        }
    }

    /// Moves the keys whose time has come into their lane, group by group.
    fn ring(&mut self, now: Timestamp) {
        let mut ringing = Vec::new();
        while let Some((at, key)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            self.due.remove(&key);
            ringing.push(((self.group_of)(&key), key));
        }
        // Within a group the order stays that of the due times.
        ringing.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (_, key) in ringing {
            self.push(key, Lane::Decide);
        }
    }

    fn may_publish(&self, now: Instant) -> bool {
        let answered = |since: &&Instant| now.duration_since(**since) < HUNG;
        // However many hang, some workers are left for deciding.
        self.publishing.values().filter(answered).count() < self.most_publishing
            && self.publishing.len() < MOST_HUNG * self.most_publishing
    }

    fn pop(&mut self, now: Instant) -> Option<K> {
        for lane in [Lane::Decide, Lane::Publish] {
            if lane == Lane::Publish && !self.may_publish(now) {
                return None;
            }
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
                    entry.queued = None;
                    entry.running = true;
                    if lane == Lane::Publish {
                        self.publishing.insert(key.clone(), now);
                    }
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

    fn queue(clock: Clock) -> Queue<&'static str, char> {
        Queue::new(clock, 1, |key: &&'static str| key.chars().next())
    }

    async fn next(queue: &Queue<&'static str, char>) -> Option<&'static str> {
        tokio::time::timeout(Duration::from_millis(20), queue.next()).await.ok()
    }

    #[tokio::test]
    async fn deciding_goes_before_publishing() {
        let queue = queue(Clock::system());
        queue.push("report", Lane::Publish);
        queue.push("step", Lane::Decide);
        queue.push("report", Lane::Publish);
        assert_eq!(next(&queue).await, Some("step"));
        assert_eq!(next(&queue).await, Some("report"));
        assert_eq!(next(&queue).await, None);
    }

    #[tokio::test]
    async fn a_key_is_never_worked_on_twice_at_once_and_never_forgotten() {
        let queue = queue(Clock::system());
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
        let queue = queue(Clock::system());
        queue.push("a", Lane::Publish);
        queue.push("a", Lane::Decide);
        assert_eq!(next(&queue).await, Some("a"));
        queue.done(&"a");
        assert_eq!(next(&queue).await, None);
    }

    #[tokio::test]
    async fn no_more_than_its_part_is_publishing_and_deciding_goes_on() {
        let queue = queue(Clock::system());
        for report in ["a", "b"] {
            queue.push(report, Lane::Publish);
        }
        assert_eq!(next(&queue).await, Some("a"));
        assert_eq!(next(&queue).await, None);
        queue.push("step", Lane::Decide);
        assert_eq!(next(&queue).await, Some("step"));
        queue.done(&"step");
        assert_eq!(next(&queue).await, None);
        queue.done(&"a");
        assert_eq!(next(&queue).await, Some("b"));
        // What turns into a decision is one.
        queue.push("b", Lane::Decide);
        queue.done(&"b");
        assert_eq!(next(&queue).await, Some("b"));
        queue.push("c", Lane::Publish);
        assert_eq!(next(&queue).await, Some("c"));
    }

    #[tokio::test]
    async fn one_that_hangs_gives_its_place_back() {
        let queue = queue(Clock::system());
        for report in ["a", "b"] {
            queue.push(report, Lane::Publish);
        }
        assert_eq!(next(&queue).await, Some("a"));
        assert_eq!(next(&queue).await, None);
        assert_eq!(tokio::time::timeout(HUNG * 2, queue.next()).await.ok(), Some("b"));
    }

    #[tokio::test]
    async fn the_last_due_time_counts() {
        let clock = Clock::system();
        let queue = queue(clock.clone());
        let soon = clock.now().saturating_add(jiff::SignedDuration::from_millis(5)).unwrap();
        let late = clock.now().saturating_add(jiff::SignedDuration::from_hours(1)).unwrap();
        queue.push_at("a", Some(soon));
        queue.push_at("a", Some(late));
        assert_eq!(next(&queue).await, None);
        queue.push_at("a", Some(soon));
        assert_eq!(next(&queue).await, Some("a"));
    }

    #[tokio::test]
    async fn what_is_due_together_is_done_group_by_group() {
        let clock = Clock::system();
        let queue = queue(clock.clone());
        let before = clock.now().saturating_sub(jiff::SignedDuration::from_secs(1)).unwrap();
        for key in ["a2", "b1", "a1", "c1", "b2"] {
            queue.push_at(key, Some(before));
        }
        for expected in ["a1", "a2", "b1", "b2", "c1"] {
            assert_eq!(next(&queue).await, Some(expected));
        }
    }

    #[tokio::test]
    async fn a_key_is_being_decided_on_from_when_it_waits_until_it_is_done() {
        let queue = queue(Clock::system());
        let deciding = || queue.is_deciding(&'a', |_| true);
        queue.push("a", Lane::Publish);
        assert!(!deciding());
        queue.push("a", Lane::Decide);
        assert!(
            deciding() && !queue.is_deciding(&'a', |key| *key != "a") && !queue.is_deciding(&'b', |_| true)
        );
        assert_eq!(next(&queue).await, Some("a"));
        assert!(deciding());
        queue.push("a", Lane::Decide);
        queue.done(&"a");
        assert!(deciding());
        assert_eq!(next(&queue).await, Some("a"));
        queue.push("a", Lane::Publish);
        queue.done(&"a");
        assert!(!deciding());
    }
}

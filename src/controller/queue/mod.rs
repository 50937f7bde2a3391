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
//! the first files are complete early instead of all of them late. Namespaces take turns ([`in_turns`]).

use crate::api::MicroTime;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::clock::{self, Clock};
pub use hold::Held;
use hold::Hold;
use in_turns::InTurns;
pub use in_turns::Tenant;
pub use priority::Priority;
pub use retry::Cause;
use retry::Retries;

mod files;
mod hold;
mod in_turns;
mod priority;
mod retry;

/// After how long work does not count any more: it waits for an answer that does not come.
const HUNG: Duration = Duration::from_secs(1);

/// How many times as many keys of a pool as it has places are worked on, if some of them hang.
const MOST_HUNG: usize = 16;

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
    /// No key waits to be decided on.
    decided: Notify,
    clock: Clock,
    hold: Hold,
    /// Nothing where all are.
    is_ours: Option<IsOurs>,
}

struct Inner<K, G> {
    urgent: InTurns<K>,
    decide: InTurns<K>,
    report: InTurns<K>,
    entries: HashMap<K, Entry<G>>,
    timers: BTreeSet<(MicroTime, K)>,
    due: HashMap<K, MicroTime>,
    retries: Retries<K>,
    group_of: GroupOf<K, G>,
    /// Keys that wait to be decided on, or are being decided on.
    deciding: HashMap<G, HashSet<K>>,
    /// The keys that are worked on: whether they are decided on, and since when.
    at_work: HashMap<K, (bool, Instant)>,
    places: Places,
    /// Files that wait to be written.
    files_waiting: usize,
}

struct Entry<G> {
    queued: Option<Priority>,
    running: bool,
    /// The group that counts the key as one that is being decided on.
    group: Option<G>,
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
            inner: Mutex::new(Inner {
                urgent: InTurns::of(in_turns::FILE),
                decide: InTurns::of(in_turns::FILE),
                report: InTurns::of(in_turns::FEW),
                entries: HashMap::new(),
                timers: BTreeSet::new(),
                due: HashMap::new(),
                retries: Retries::default(),
                group_of: Box::new(group_of),
                deciding: HashMap::new(),
                at_work: HashMap::new(),
                places,
                files_waiting: 0,
            }),
            changed: Notify::new(),
            decided: Notify::new(),
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
            let (key, timer, retry, blocked, decided) = {
                let mut inner = self.lock();
                inner.ring(now, started);
                let key = inner.pop(started);
                let decided = inner.is_decided();
                let blocked = !decided || !inner.report.is_empty();
                (key, inner.timers.first().map(|(at, _)| *at), inner.retries.next_at(), blocked, decided)
            };
            if decided {
                self.decided.notify_waiters();
            }
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

impl<K: Tenant + Clone + Eq + Hash + Ord, G: Clone + Eq + Hash + Ord> Inner<K, G> {
    fn push(&mut self, key: K, priority: Priority) {
        let new = Entry { queued: None, running: false, group: None };
        let entry = self.entries.entry(key.clone()).or_insert(new);
        if entry.queued >= Some(priority) {
            return;
        }
        entry.queued = Some(priority);
        if priority.decides() && entry.group.is_none() {
            entry.group = (self.group_of)(&key);
            if let Some(group) = entry.group.clone() {
                self.deciding.entry(group).or_default().insert(key.clone());
            }
        }
        if !entry.running {
            self.enqueue(key, priority);
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

    fn enqueue(&mut self, key: K, priority: Priority) {
        self.waiting(priority).push_back(key);
    }

    fn waiting(&mut self, priority: Priority) -> &mut InTurns<K> {
        match priority {
            Priority::Urgent => &mut self.urgent,
            Priority::Decide => &mut self.decide,
            Priority::Report => &mut self.report,
        }
    }

    /// Moves the keys whose time has come among those that wait, group by group.
    fn ring(&mut self, now: MicroTime, real: Instant) {
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
            self.push(key, Priority::Decide);
        }
        while let Some(key) = self.retries.pop(real) {
            self.push(key, Priority::Decide);
        }
    }

    /// Whether no key waits to be decided on, and no file to be written.
    fn is_decided(&self) -> bool {
        self.urgent.is_empty() && self.decide.is_empty() && self.files_waiting == 0
    }

    /// Whether there is a place for one more key of a pool.
    fn has_place(&self, deciding: bool, now: Instant) -> bool {
        let of_pool = || self.at_work.values().filter(|(decides, _)| *decides == deciding);
        let answered = of_pool().filter(|(_, since)| now.duration_since(*since) < HUNG).count();
        let places = match deciding {
            true => self.places.deciding,
            // While decisions or files wait one report at a time goes on, so that none waits for ever.
            false if self.is_decided() => self.places.reporting,
            false => 1,
        };
        answered < places && of_pool().count() < MOST_HUNG * places
    }

    fn pop(&mut self, now: Instant) -> Option<K> {
        for priority in Priority::FIRST_TO_LAST {
            if !self.has_place(priority.decides(), now) {
                continue;
            }
            while let Some(key) = self.waiting(priority).pop_front() {
                // A key that has been given another priority meanwhile still waits under this one, too.
                if let Some(entry) = self.entries.get_mut(&key)
                    && !entry.running
                    && entry.queued == Some(priority)
                {
                    entry.queued = None;
                    entry.running = true;
                    self.at_work.insert(key.clone(), (priority.decides(), now));
                    return Some(key);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;

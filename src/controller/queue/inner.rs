//! What a queue knows, and which key comes next by it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::time::Instant;

use super::cost::Costs;
use super::in_turns::{self, InTurns, Tenant};
use super::priority::Priority;
use super::retry::Retries;
use super::{GroupOf, Places};
use crate::api::MicroTime;
use crate::fair::HUNG;

/// How many times as many keys of a pool as it has places are worked on, if some of them hang.
const MOST_HUNG: usize = 16;

pub(super) struct Inner<K, G> {
    pub(super) urgent: InTurns<K>,
    pub(super) decide: InTurns<K>,
    pub(super) report: InTurns<K>,
    pub(super) entries: HashMap<K, Entry<G>>,
    pub(super) timers: BTreeSet<(MicroTime, K)>,
    pub(super) due: HashMap<K, MicroTime>,
    pub(super) retries: Retries<K>,
    pub(super) group_of: GroupOf<K, G>,
    /// Keys that wait to be decided on, or are being decided on.
    pub(super) deciding: HashMap<G, HashSet<K>>,
    /// The keys that are worked on: whether they are decided on, and since when.
    pub(super) at_work: HashMap<K, (bool, Instant)>,
    pub(super) costs: Costs,
    pub(super) places: Places,
    /// How many files wait to be written, by namespace.
    pub(super) files_waiting: HashMap<String, usize>,
}

pub(super) struct Entry<G> {
    pub(super) queued: Option<Priority>,
    pub(super) running: bool,
    /// The group that counts the key as one that is being decided on.
    pub(super) group: Option<G>,
}

impl<K: Tenant + Clone + Eq + Hash + Ord, G: Clone + Eq + Hash + Ord> Inner<K, G> {
    /// Nothing waits.
    pub(super) fn new(places: Places, group_of: GroupOf<K, G>) -> Inner<K, G> {
        Inner {
            urgent: InTurns::of(in_turns::FILE),
            decide: InTurns::of(in_turns::FILE),
            report: InTurns::of(in_turns::FEW),
            entries: HashMap::new(),
            timers: BTreeSet::new(),
            due: HashMap::new(),
            retries: Retries::default(),
            group_of,
            deciding: HashMap::new(),
            at_work: HashMap::new(),
            costs: Costs::default(),
            places,
            files_waiting: HashMap::new(),
        }
    }

    pub(super) fn push(&mut self, key: K, priority: Priority) {
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
    pub(super) fn decided(&mut self, key: &K) {
        let Some(group) = self.entries.get_mut(key).and_then(|entry| entry.group.take()) else { return };
        if let Some(keys) = self.deciding.get_mut(&group) {
            keys.remove(key);
            if keys.is_empty() {
                self.deciding.remove(&group);
            }
        }
    }

    pub(super) fn enqueue(&mut self, key: K, priority: Priority) {
        let waiting = match priority {
            Priority::Urgent => &mut self.urgent,
            Priority::Decide => &mut self.decide,
            Priority::Report => &mut self.report,
        };
        waiting.push_back(key);
    }

    /// Moves the keys whose time has come among those that wait, group by group.
    pub(super) fn ring(&mut self, now: MicroTime, real: Instant) {
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
    pub(super) fn is_decided(&self) -> bool {
        self.urgent.is_empty() && self.decide.is_empty() && self.files_waiting.is_empty()
    }

    /// The same of one namespace.
    pub(super) fn is_decided_in(&self, namespace: &str) -> bool {
        let waits = self.urgent.is_waiting(namespace) || self.decide.is_waiting(namespace);
        !waits && !self.files_waiting.contains_key(namespace)
    }

    /// The next key that waits under a priority, of a namespace that is not worked on by as many as it may be.
    fn pop_of(&mut self, priority: Priority, now: Instant) -> Option<K> {
        let Inner { urgent, decide, report, at_work, costs, places, files_waiting, .. } = self;
        let mut at_once: HashMap<&str, usize> = HashMap::new();
        for (key, (decides, since)) in at_work.iter() {
            // What hangs keeps no processor busy.
            if *decides == priority.decides() && now.duration_since(*since) < HUNG {
                *at_once.entry(key.tenant()).or_default() += 1;
            }
        }
        let most = if priority.decides() { places.deciding } else { places.reporting };
        let may_begin =
            |tenant: &str| at_once.get(tenant).is_none_or(|many| *many < costs.at_once(tenant, most));
        match priority {
            // What takes something away waits for none of the others.
            Priority::Urgent => urgent.pop_front(costs, |_| true),
            Priority::Decide => decide.pop_front(costs, may_begin),
            Priority::Report => {
                let decides = |tenant: &str| {
                    urgent.is_waiting(tenant)
                        || decide.is_waiting(tenant)
                        || files_waiting.contains_key(tenant)
                };
                // Of namespaces where decisions or files wait one report at a time goes on, so that none waits for ever.
                let one_goes_on = at_work.iter().any(|(key, (is_decided_on, since))| {
                    !is_decided_on && now.duration_since(*since) < HUNG && decides(key.tenant())
                });
                report.pop_front(costs, |tenant| may_begin(tenant) && !(one_goes_on && decides(tenant)))
            }
        }
    }

    /// Whether there is a place for one more key of a pool.
    fn has_place(&self, deciding: bool, now: Instant) -> bool {
        let of_pool = || self.at_work.values().filter(|(decides, _)| *decides == deciding);
        let answered = of_pool().filter(|(_, since)| now.duration_since(*since) < HUNG).count();
        let places = if deciding { self.places.deciding } else { self.places.reporting };
        answered < places && of_pool().count() < MOST_HUNG * places
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<K> {
        for priority in Priority::FIRST_TO_LAST {
            if !self.has_place(priority.decides(), now) {
                continue;
            }
            while let Some(key) = self.pop_of(priority, now) {
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

//! What the objects of one namespace may take of memory, so that whoever may write in one namespace does not fill what all share.
//!
//! The oldest objects of a namespace are kept, whatever order they are heard of in, so that no new object takes the place of
//! one that is worked on and every process keeps the same ones. Of those beyond the share only the name is known.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::core::DeserializeGuard;
use kube::{Resource, ResourceExt};
use tokio::sync::Notify;

use super::ObjectKey;

/// What a namespace may have of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// What its objects may cost together, in bytes.
    pub limit: usize,
    /// What one of them costs besides its text.
    pub each: usize,
    /// How many times as much as its text, as it is written, is in memory, at the most: an object becomes part of a file, which is
    /// kept as well. All of that is compressed, by how much depends on the text that a process happens to hear of first, and
    /// every process has to keep the same objects.
    pub times: usize,
    /// What becomes of those beyond it.
    pub beyond: Beyond,
}

/// What is known of an object beyond the share of its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// That nothing is raised by it, which is said on it. What lowers reads it.
    Stalled,
    /// That it exists. Whoever needs one reads it.
    Aside,
}

impl Share {
    /// What an object costs whose text has so many bytes.
    pub fn cost(&self, length: usize) -> usize {
        self.each.saturating_add(length.saturating_mul(self.times))
    }

    /// Whether this much more is let in again. A little less than the limit, or an object at the limit would come and go with
    /// each change of another.
    fn has_room(&self, taken: usize, cost: usize) -> bool {
        taken.saturating_add(cost) <= self.limit - self.limit / 16
    }

    /// Why an object is not worked on.
    pub(super) fn refusal(&self, kind: &str, namespace: &str) -> String {
        format!(
            "the {kind} objects of namespace {namespace} need more than the {} MiB of memory that they may have together, and this \
             is one of the youngest: only what lowers is done for it until older ones are deleted or smaller, or --namespace-memory is \
             raised",
            self.limit / (1024 * 1024)
        )
    }
}

/// The order in which objects of a namespace are kept: the older first, of one second by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    created: i64,
    name: Box<str>,
}

impl Rank {
    /// Where an object stands, which was created at this second.
    pub fn new(created: i64, name: &str) -> Rank {
        Rank { created, name: name.into() }
    }

    /// The second that an object was created in.
    pub(super) fn created<K: Resource>(object: &DeserializeGuard<K>) -> i64 {
        object.creation_timestamp().map_or(i64::MAX, |time| time.0.as_second())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What the objects of each namespace cost.
#[derive(Default)]
pub struct Ledger(HashMap<Box<str>, Space>);

#[derive(Default)]
struct Space {
    taken: usize,
    kept: BTreeMap<Rank, usize>,
    beyond: BTreeMap<Rank, usize>,
}

impl Ledger {
    /// Takes in an object that was not in here, or that was taken out to be put in again, when it may have been beyond the share;
    /// returns those that are beyond it from now on, this one perhaps among them.
    pub fn add(
        &mut self,
        share: &Share,
        namespace: &str,
        rank: Rank,
        cost: usize,
        was_beyond: bool,
    ) -> Vec<Rank> {
        let space = self.0.entry(namespace.into()).or_default();
        // Small ones do not come before older ones that wait for room: it would never be enough. And what is said on an object that
        // is left out may be shorter than what is said on it when it is let in: it would come and go with each.
        let waits = space.beyond.first_key_value().is_some_and(|(oldest, _)| *oldest < rank);
        if waits || (was_beyond && !share.has_room(space.taken, cost)) {
            space.note_beyond(share, rank.clone(), cost);
            return vec![rank];
        }
        space.taken = space.taken.saturating_add(cost);
        space.kept.insert(rank, cost);
        let mut displaced = Vec::new();
        while space.taken > share.limit
            && let Some((youngest, cost)) = space.kept.pop_last()
        {
            space.taken -= cost;
            space.note_beyond(share, youngest.clone(), cost);
            displaced.push(youngest);
        }
        displaced
    }

    /// Takes out an object, if it is in here.
    pub fn remove(&mut self, namespace: &str, rank: &Rank) {
        let Some(space) = self.0.get_mut(namespace) else { return };
        if let Some(cost) = space.kept.remove(rank) {
            space.taken -= cost;
        }
        space.beyond.remove(rank);
        if space.kept.is_empty() && space.beyond.is_empty() {
            self.0.remove(namespace);
        }
    }

    /// The oldest object that is beyond the share, where there is room for it by now.
    pub fn next(&self, share: &Share, namespace: &str) -> Option<&Rank> {
        let space = self.0.get(namespace)?;
        let (rank, cost) = space.beyond.first_key_value()?;
        share.has_room(space.taken, *cost).then_some(rank)
    }

    /// How many objects are beyond the share of their namespace, in the namespaces that are `wanted`.
    pub fn beyond_of(&self, wanted: impl Fn(&str) -> bool) -> usize {
        let of = self.0.iter().filter(|(namespace, _)| wanted(namespace));
        of.map(|(_, space)| space.beyond.len()).sum()
    }
}

impl Space {
    fn note_beyond(&mut self, share: &Share, rank: Rank, cost: usize) {
        if share.beyond == Beyond::Stalled {
            self.beyond.insert(rank, cost);
        }
    }
}

/// What follows for an object from another one's coming or going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is beyond the share from now on.
    Displaced(ObjectKey),
    /// There may be room for it: it is to be read.
    Readmitted(ObjectKey),
}

/// What follows for others, until somebody sees to it.
#[derive(Default)]
pub(super) struct Effects {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    displaced: VecDeque<ObjectKey>,
    to_read: VecDeque<ObjectKey>,
    /// The same: however often that is found, each is read once.
    is_to_read: HashSet<ObjectKey>,
}

impl Effects {
    /// Notes that an object is beyond the share from now on.
    pub fn displace(&self, key: ObjectKey) {
        self.lock().displaced.push_back(key);
        self.news.notify_one();
    }

    /// Notes that there may be room for an object.
    pub fn readmit(&self, key: ObjectKey) {
        let mut waiting = self.lock();
        if waiting.is_to_read.insert(key.clone()) {
            waiting.to_read.push_back(key);
            self.news.notify_one();
        }
    }

    /// Waits for the next one. Those that cost no read come first.
    pub async fn next(&self) -> Effect {
        loop {
            let effect = self.take();
            match effect {
                Some(effect) => return effect,
                None => self.news.notified().await,
            }
        }
    }

    fn take(&self) -> Option<Effect> {
        let mut waiting = self.lock();
        if let Some(key) = waiting.displaced.pop_front() {
            return Some(Effect::Displaced(key));
        }
        let key = waiting.to_read.pop_front()?;
        waiting.is_to_read.remove(&key);
        Some(Effect::Readmitted(key))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const SHARE: Share = Share { limit: 1000, each: 10, times: 2, beyond: Beyond::Stalled };

    fn names<'a>(ranks: impl IntoIterator<Item = &'a Rank>) -> BTreeSet<String> {
        ranks.into_iter().map(|rank| rank.name().to_owned()).collect()
    }

    /// Objects by age and size: `o3` is no older than `o2`.
    fn objects() -> impl Strategy<Value = Vec<(i64, usize)>> {
        prop::collection::vec((0..20_i64, 0..400_usize), 0..40).prop_map(|mut objects| {
            objects.sort_by_key(|(created, _)| *created);
            objects
        })
    }

    proptest! {
        /// A process that starts anew hears of objects in the order of their names, and must keep those that it kept before.
        #[test]
        fn the_oldest_that_have_room_are_kept_whatever_order_they_come_in(
            (objects, order) in objects().prop_flat_map(|objects| {
                let order: Vec<usize> = (0..objects.len()).collect();
                (Just(objects), Just(order).prop_shuffle())
            }),
        ) {
            let mut ledger = Ledger::default();
            let mut kept = BTreeSet::new();
            for index in order {
                let (created, size) = objects[index];
                let rank = Rank::new(created, &format!("o{index:02}"));
                kept.insert(rank.clone());
                for displaced in ledger.add(&SHARE, "ns", rank, SHARE.cost(size), false) {
                    prop_assert!(kept.remove(&displaced), "one that was here");
                }
            }
            let mut taken = 0;
            let fits = |(_, (_, size)): &(usize, &(i64, usize))| {
                taken += SHARE.cost(*size);
                taken <= SHARE.limit
            };
            let oldest = objects.iter().enumerate().take_while(fits).map(|(index, _)| format!("o{index:02}"));
            prop_assert_eq!(names(&kept), oldest.collect());
            prop_assert_eq!(ledger.beyond_of(|_| true), objects.len() - kept.len());
        }

        #[test]
        fn nothing_is_left_of_objects_that_are_gone_and_all_the_others_come_back(objects in objects()) {
            let (mut ledger, mut there) = (Ledger::default(), BTreeMap::new());
            for (index, (created, size)) in objects.iter().enumerate() {
                let rank = Rank::new(*created, &format!("o{index:02}"));
                ledger.add(&SHARE, "ns", rank.clone(), SHARE.cost(*size), false);
                there.insert(rank, SHARE.cost(*size));
            }
            // The oldest goes, until none is left: whoever has room then is let in, and in the end all have been worked on.
            let mut worked_on = BTreeSet::new();
            while let Some((oldest, _)) = there.pop_first() {
                worked_on.insert(oldest.clone());
                ledger.remove("ns", &oldest);
                while let Some(next) = ledger.next(&SHARE, "ns").cloned() {
                    ledger.remove("ns", &next);
                    let displaced = ledger.add(&SHARE, "ns", next.clone(), there[&next], true);
                    prop_assert_eq!(displaced, Vec::new(), "there is room");
                    worked_on.insert(next);
                }
                prop_assert!(there.first_key_value().is_none_or(|(next, _)| !ledger.0["ns"].beyond.contains_key(next)));
            }
            prop_assert_eq!(worked_on.len(), objects.len());
            prop_assert!(ledger.0.is_empty());
        }
    }

    #[test]
    fn a_namespace_that_is_full_takes_nothing_from_others() {
        let mut ledger = Ledger::default();
        for index in 0..100 {
            ledger.add(&SHARE, "full", Rank::new(index, "o"), 300, false);
        }
        assert_eq!(ledger.beyond_of(|_| true), 97);
        assert_eq!(ledger.add(&SHARE, "other", Rank::new(1000, "o"), 1000, false), Vec::new());
        assert_eq!(ledger.beyond_of(|namespace| namespace == "other"), 0);
    }

    #[test]
    fn whoever_comes_and_goes_at_the_limit_stays_out() {
        let mut ledger = Ledger::default();
        let (a, b) = (Rank::new(1, "a"), Rank::new(2, "b"));
        assert!(ledger.add(&SHARE, "ns", a.clone(), 900, false).is_empty());
        assert_eq!(ledger.add(&SHARE, "ns", b.clone(), 110, false), std::slice::from_ref(&b));
        // The older is smaller by a little: there would be room, and none with its next change.
        ledger.remove("ns", &a);
        ledger.add(&SHARE, "ns", a.clone(), 880, false);
        assert_eq!(ledger.next(&SHARE, "ns"), None);
        // Nor does it come in by what it says itself, be that a little shorter.
        ledger.remove("ns", &b);
        assert_eq!(ledger.add(&SHARE, "ns", b.clone(), 100, true), std::slice::from_ref(&b));
        ledger.remove("ns", &a);
        ledger.add(&SHARE, "ns", a.clone(), 800, false);
        assert_eq!(ledger.next(&SHARE, "ns"), Some(&b));
        ledger.remove("ns", &b);
        assert_eq!(ledger.add(&SHARE, "ns", b, 100, true), []);
        // One that is in stays to the limit.
        ledger.remove("ns", &a);
        assert_eq!(ledger.add(&SHARE, "ns", a, 900, false), []);
    }

    #[tokio::test]
    async fn who_is_left_out_is_heard_of_before_anybody_is_read() {
        let effects = Effects::default();
        let key = |name: &str| ("ns".to_owned(), name.to_owned());
        effects.readmit(key("a"));
        effects.readmit(key("a"));
        effects.readmit(key("b"));
        effects.displace(key("c"));
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.push(effects.next().await);
        }
        let expected =
            [Effect::Displaced(key("c")), Effect::Readmitted(key("a")), Effect::Readmitted(key("b"))];
        assert_eq!(heard, expected);
        assert_eq!(effects.take(), None);
    }
}

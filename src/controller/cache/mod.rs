//! What the watches have told, and what our own writes have answered: the newer of both.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use kept::{Kept, Shelf};
use lists::Lists;
use share::Effects;

pub use kept::cut;
pub use packer::{Packed, Packer};
pub use share::{Beyond, Effect, Ledger, Rank, Share};

mod kept;
mod known;
mod lists;
mod packer;
mod share;

/// Namespace and name of an object.
pub type ObjectKey = (String, String);

/// An object as stored: readable, or why it is not.
pub type Stored<K> = Arc<DeserializeGuard<K>>;

/// How many deleted objects are remembered: more than our own writes that are under way at once.
const DELETED: usize = 256;

/// What an event tells that was not known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing: this version or a newer one is known, mostly from our own write's answer.
    Nothing,
    /// The same spec with another status or other metadata.
    Status,
    /// A spec, or the object's coming or going.
    Spec,
}

/// What can be kept: an object that is read from the API server and is the same again after it was written down.
pub trait Object: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned {}

impl<K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned> Object for K {}

/// Objects of one kind by namespace and name.
pub struct Cache<K> {
    objects: RwLock<HashMap<ObjectKey, Kept<K>>>,
    shelf: Shelf<K>,
    /// Objects that exist and are not kept here. Who needs one reads it.
    aside: Mutex<HashSet<ObjectKey>>,
    /// The last objects that were deleted, and their versions then: the answer to our own write may come after that.
    deleted: Mutex<VecDeque<(ObjectKey, u64)>>,
    /// Keys seen since a list began; what is not among them at its end has gone.
    listing: RwLock<Option<HashSet<ObjectKey>>>,
    /// What a namespace may have of the kind, where anybody may write in it.
    share: Option<Share>,
    /// What each has. Locked after the objects, where both are.
    ledger: Mutex<Ledger>,
    effects: Effects,
    /// When the watch listed.
    pub lists: Lists,
}

impl<K> Default for Cache<K> {
    fn default() -> Cache<K> {
        Cache {
            objects: RwLock::default(),
            shelf: Shelf::default(),
            aside: Mutex::default(),
            deleted: Mutex::default(),
            listing: RwLock::default(),
            share: None,
            ledger: Mutex::default(),
            effects: Effects::default(),
            lists: Lists::default(),
        }
    }
}

impl<K: Object> Cache<K> {
    /// Keeps of each namespace what it may have, and no more.
    pub fn with_share(share: Share) -> Cache<K> {
        Cache { share: Some(share), ..Cache::default() }
    }

    /// The object, if it is known.
    pub fn get(&self, key: &ObjectKey) -> Option<Stored<K>> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(key).map(|kept| self.shelf.object(key, kept))
    }

    /// The object, if it is known and readable.
    pub fn readable(&self, key: &ObjectKey) -> Option<K> {
        self.get(key).and_then(|stored| stored.0.as_ref().ok().cloned())
    }

    /// As much of the object as `T` has, without the rest being decoded; nothing of one that is not known or cannot be read.
    pub fn glance<T: DeserializeOwned>(&self, key: &ObjectKey) -> Option<T> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(key).and_then(|kept| self.shelf.glance(kept))
    }

    /// Waits for an object that another one's coming or going has let in or left out.
    pub async fn effect(&self) -> Effect {
        self.effects.next().await
    }

    /// Has an object read that may have room and could not be read.
    pub fn read_again(&self, key: ObjectKey) {
        self.effects.readmit(key);
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts in an object, in the place of the one of its name. What is beyond the share of the namespace then is let go.
    fn put(&self, objects: &mut HashMap<ObjectKey, Kept<K>>, key: &ObjectKey, kept: Kept<K>) {
        let rank = kept.rank(&key.1);
        let cost = self.share.as_ref().map_or(0, |share| kept.cost(share));
        let before = objects.insert(key.clone(), kept);
        let Some(share) = &self.share else { return };
        let was_beyond = before.as_ref().is_some_and(Kept::is_beyond);
        let was_kept = before.is_some() && !was_beyond;
        let mut ledger = self.ledger();
        if let Some(before) = before {
            ledger.remove(&key.0, &before.rank(&key.1));
        }
        for displaced in ledger.add(share, &key.0, rank, cost, was_beyond) {
            let other = (key.0.clone(), displaced.name().to_owned());
            match share.beyond {
                Beyond::Aside => {
                    objects.remove(&other);
                    self.aside().insert(other);
                }
                Beyond::Stalled => {
                    if let Some(kept) = objects.get_mut(&other) {
                        kept.put_beyond(*share);
                    }
                    // Also of one that its own write has left out: to the watch that is no news.
                    if other != *key || was_kept {
                        self.effects.displace(other);
                    }
                }
            }
        }
        self.readmit(share, &ledger, &key.0);
    }

    /// Takes out an object. Another one may have room then.
    fn take_out(&self, objects: &mut HashMap<ObjectKey, Kept<K>>, key: &ObjectKey) -> bool {
        let Some(kept) = objects.remove(key) else { return false };
        if let Some(share) = &self.share {
            let mut ledger = self.ledger();
            ledger.remove(&key.0, &kept.rank(&key.1));
            self.readmit(share, &ledger, &key.0);
        }
        true
    }

    fn readmit(&self, share: &Share, ledger: &Ledger, namespace: &str) {
        if let Some(next) = ledger.next(share, namespace) {
            self.effects.readmit((namespace.to_owned(), next.name().to_owned()));
        }
    }

    /// Keeps an object no longer, although it exists.
    pub fn put_aside(&self, key: &ObjectKey) {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        if self.take_out(&mut objects, key) {
            self.aside().insert(key.clone());
        }
    }

    /// Whether an object exists that is not kept here.
    pub fn is_aside(&self, key: &ObjectKey) -> bool {
        self.aside().contains(key)
    }

    fn aside(&self) -> MutexGuard<'_, HashSet<ObjectKey>> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an object of this name was deleted at this version or a later one.
    fn was_deleted(&self, key: &ObjectKey, version: u64) -> bool {
        let deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        deleted.iter().any(|(of, at)| of == key && *at >= version)
    }

    /// The objects of a namespace, readable or not.
    pub fn in_namespace(&self, namespace: &str) -> Vec<(ObjectKey, Stored<K>)> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let of = objects.iter().filter(|((of, _), _)| of == namespace);
        of.map(|(key, kept)| (key.clone(), self.shelf.object(key, kept))).collect()
    }

    /// Whether everything is known that a list has found at a version, each object in the version that it had then or a newer
    /// one, and nothing besides.
    pub fn is_as_new_as(&self, stored: &HashMap<ObjectKey, u64>, at: u64) -> bool {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let knows = |(key, stored): (&ObjectKey, &u64)| match objects.get(key) {
            Some(known) => known.version >= *stored,
            None => self.was_deleted(key, *stored),
        };
        stored.iter().all(knows)
            && objects.iter().all(|(key, known)| stored.contains_key(key) || known.version > at)
    }

    /// Takes in an object, unless a newer version of it is known. Says whether it was news.
    pub fn apply(&self, object: DeserializeGuard<K>) -> bool {
        self.take_in(object) != News::Nothing
    }

    /// Takes in an object that a read has just found, also one that the watch told the end of: a watch by label ends for an
    /// object whose label somebody took away, and the object is still there. Says whether it was news.
    pub fn apply_found(&self, object: DeserializeGuard<K>) -> bool {
        let key = key_of(&object);
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _)| *of != key);
        self.apply(object)
    }

    fn take_in(&self, mut object: DeserializeGuard<K>) -> News {
        object.meta_mut().managed_fields = None;
        let key = key_of(&object);
        if let Some(seen) = self.listing.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            seen.insert(key.clone());
        }
        // Most of what our own writes have answered is told again. Writing down what is kept takes long enough that nobody else
        // waits for it.
        let is_known = {
            let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
            objects.get(&key).is_some_and(|known| known.supersedes(version(&object)))
        };
        if is_known {
            return News::Nothing;
        }
        let kept = self.shelf.keep(object);
        let stored = kept.version;
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let before = match objects.get(&key) {
            Some(known) if known.supersedes(stored) => return News::Nothing,
            None if self.was_deleted(&key, stored) => return News::Nothing,
            Some(known) => Some((known.version, known.is_same_spec(&kept), known.is_beyond())),
            None => None,
        };
        self.aside().remove(&key);
        self.put(&mut objects, &key, kept);
        let is_beyond = objects.get(&key).is_some_and(Kept::is_beyond);
        match before {
            // Read again, and there is no room for it.
            Some((version, _, true)) if is_beyond && version == stored => News::Nothing,
            Some((_, true, was_beyond)) if was_beyond == is_beyond => News::Status,
            _ => News::Spec,
        }
    }

    /// Takes note of an object that exists and is not to be kept.
    pub fn pass_over(&self, object: &DeserializeGuard<K>) {
        let key = key_of(object);
        if let Some(seen) = self.listing.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            seen.insert(key.clone());
        }
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        self.take_out(&mut objects, &key);
        self.aside().insert(key);
    }

    /// Forgets an object that was deleted, unless a newer one of its name is known.
    pub fn delete(&self, object: &DeserializeGuard<K>) {
        let key = key_of(object);
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        if objects.get(&key).is_some_and(|known| known.version <= version(object)) {
            self.take_out(&mut objects, &key);
        }
        self.aside().remove(&key);
        let mut deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        deleted.push_back((key, version(object)));
        if deleted.len() > DELETED {
            deleted.pop_front();
        }
    }

    /// Forgets an object that a read did not find, if it is still the version known `before` that read: one that was
    /// told of meanwhile is another object of the name. Says whether it was there.
    pub fn forget(&self, key: &ObjectKey, before: u64) -> bool {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        self.aside().remove(key);
        let is_same = objects.get(key).is_some_and(|known| known.version == before);
        is_same && self.take_out(&mut objects, key)
    }

    /// Takes in an event of the watch; returns the keys it concerns and whether a list has just been completed.
    pub fn event(&self, event: Event<DeserializeGuard<K>>) -> (Vec<(ObjectKey, News)>, bool) {
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                let key = key_of(&object);
                match self.take_in(object) {
                    News::Nothing => (Vec::new(), false),
                    news => (vec![(key, news)], false),
                }
            }
            Event::Delete(object) => {
                let key = key_of(&object);
                self.delete(&object);
                (vec![(key, News::Spec)], false)
            }
            Event::Init => {
                self.lists.begin();
                *self.listing.write().unwrap_or_else(PoisonError::into_inner) = Some(HashSet::new());
                (Vec::new(), false)
            }
            Event::InitDone => {
                let seen = self.listing.write().unwrap_or_else(PoisonError::into_inner).take();
                let seen = seen.unwrap_or_default();
                let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
                let gone: Vec<ObjectKey> =
                    objects.keys().filter(|key| !seen.contains(*key)).cloned().collect();
                for key in &gone {
                    self.take_out(&mut objects, key);
                }
                self.aside().retain(|key| seen.contains(key));
                drop(objects);
                self.lists.end();
                (gone.into_iter().map(|key| (key, News::Spec)).collect(), true)
            }
        }
    }
}

/// Namespace and name of an object.
pub fn key_of<K: kube::Resource>(object: &K) -> ObjectKey {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// The resource version as a number: comparable within one kind (KEP-5504). 0 where there is none.
pub fn version<K: kube::Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;

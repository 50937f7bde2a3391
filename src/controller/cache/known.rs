//! What is known of objects without decoding any.

use std::sync::PoisonError;

use super::kept::Kept;
use super::{Cache, Object, ObjectKey};

impl<K: Object> Cache<K> {
    /// The version known of an object; 0 where it is not known.
    pub fn version_of(&self, key: &ObjectKey) -> u64 {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(key).map_or(0, |kept| kept.version)
    }

    /// Every key known.
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The keys of a namespace.
    pub fn keys_in(&self, namespace: &str) -> Vec<ObjectKey> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.keys().filter(|(of, _)| of == namespace).cloned().collect()
    }

    /// Name and UID of the objects of a namespace that cannot be read: they live all the same.
    pub fn unreadable(&self, namespace: &str) -> Vec<(String, String)> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let of = objects.iter().filter(|((of, _), _)| of == namespace);
        of.filter_map(|((_, name), kept)| Some((name.clone(), kept.unreadable()?.to_owned()))).collect()
    }

    /// Whether an object is beyond what its namespace may have, and therefore told of as one that cannot be read.
    pub fn is_beyond(&self, key: &ObjectKey) -> bool {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(key).is_some_and(Kept::is_beyond)
    }

    /// Why only what lowers is done for an object, where it is beyond what its namespace may have.
    pub fn refusal(&self, key: &ObjectKey) -> Option<String> {
        let stored = if self.is_beyond(key) { self.get(key)? } else { return None };
        stored.0.as_ref().err().map(|invalid| invalid.error.clone())
    }

    /// How many objects are beyond what their namespace may have, in the namespaces that are `wanted`.
    pub fn beyond_of(&self, wanted: impl Fn(&str) -> bool) -> usize {
        self.ledger().beyond_of(wanted)
    }

    /// How many objects of a namespace are known.
    pub fn len_in(&self, namespace: &str) -> usize {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.keys().filter(|(of, _)| of == namespace).count()
    }

    /// How many objects are known of the namespaces that are `wanted`.
    pub fn len_of(&self, wanted: impl Fn(&str) -> bool) -> usize {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.keys().filter(|(namespace, _)| wanted(namespace)).count()
    }

    /// How many objects are known.
    pub fn len(&self) -> usize {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many bytes of memory an object takes while it is worked on; none of one that is not known.
    pub fn decoded(&self, key: &ObjectKey) -> usize {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(key).map_or(0, |kept| self.shelf.decoded(kept))
    }

    /// Whether an object is there and cannot be read, or is beyond what its namespace may have.
    pub fn is_unreadable(&self, key: &ObjectKey) -> bool {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(key).is_some_and(|kept| kept.unreadable().is_some())
    }
}

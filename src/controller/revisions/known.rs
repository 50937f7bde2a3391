//! What was read or written of the stored revisions, so that it need not be read again.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::controller::cache::ObjectKey;

/// Revisions that are known to be stored, by namespace and name.
pub struct Known<T>(Mutex<BTreeMap<ObjectKey, Arc<T>>>);

impl<T> Default for Known<T> {
    fn default() -> Known<T> {
        Known(Mutex::default())
    }
}

impl<T> Known<T> {
    /// The revision of this name.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.lock().get(key).cloned()
    }

    /// Takes one in.
    pub fn put(&self, key: ObjectKey, revision: Arc<T>) {
        self.lock().insert(key, revision);
    }

    /// Forgets one; says whether it was known.
    pub fn forget(&self, key: &ObjectKey) -> bool {
        self.lock().remove(key).is_some()
    }

    /// Forgets those in a namespace whose names are this prefix and a digest: those of one owner.
    pub fn forget_owner(&self, namespace: &str, prefix: &str) {
        let mut known = self.lock();
        let from = (namespace.to_owned(), prefix.to_owned());
        let its: Vec<ObjectKey> = known
            .range(from..)
            .map(|(key, _)| key)
            .take_while(|(of, name)| of == namespace && name.starts_with(prefix))
            .filter(|(_, name)| !name.trim_start_matches(prefix).contains('-'))
            .cloned()
            .collect();
        for key in its {
            known.remove(&key);
        }
    }

    /// Forgets those of `before` that are not `stored` any more: somebody else deleted them.
    pub fn keep_stored(&self, before: &HashSet<ObjectKey>, stored: &HashSet<ObjectKey>) {
        self.lock().retain(|key, _| stored.contains(key) || !before.contains(key));
    }

    /// The names of all of them.
    pub fn keys(&self) -> HashSet<ObjectKey> {
        self.lock().keys().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Arc<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ("ns".to_owned(), name.to_owned())
    }

    #[test]
    fn what_a_rollout_owned_is_forgotten_with_it_and_nothing_else() {
        let known = Known::default();
        let names =
            ["web-0123456789", "web-abcdef0123", "web-2-0123456789", "web-guard-0123456789", "we-0123456789"];
        for name in names {
            known.put(key(name), Arc::new(()));
        }
        known.put(("other".to_owned(), "web-0123456789".to_owned()), Arc::new(()));
        known.forget_owner("ns", "web-");
        assert!(known.get(&key("web-0123456789")).is_none() && known.get(&key("web-abcdef0123")).is_none());
        assert_eq!(known.len(), 4, "those of web-2, of we and of another namespace, and the guards, stay");
        known.forget_owner("ns", "web-guard-");
        assert_eq!(known.len(), 3);
    }

    #[test]
    fn what_came_while_the_stored_ones_were_listed_is_kept() {
        let known = Known::default();
        known.put(key("a-1"), Arc::new(()));
        known.put(key("b-1"), Arc::new(()));
        let before = known.keys();
        known.put(key("c-1"), Arc::new(()));
        known.keep_stored(&before, &HashSet::from([key("a-1")]));
        assert_eq!(known.keys(), HashSet::from([key("a-1"), key("c-1")]));
    }
}

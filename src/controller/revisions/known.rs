//! What was read or written of the stored revisions, so that it need not be read again. There is one for each rollout, and most
//! are asked for nothing but whether they are there: they are kept as compressed text.

use std::collections::{BTreeMap, HashSet};
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::controller::cache::{ObjectKey, Packed, Packer};

/// Revisions that are known to be stored, by namespace and name.
pub struct Known<T> {
    packed: Mutex<BTreeMap<ObjectKey, Packed>>,
    packer: Packer,
    of: PhantomData<fn() -> T>,
}

impl<T> Default for Known<T> {
    fn default() -> Known<T> {
        Known { packed: Mutex::default(), packer: Packer::default(), of: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Known<T> {
    /// The revision of this name.
    pub fn get(&self, key: &ObjectKey) -> Option<T> {
        let packed = self.lock().get(key).cloned()?;
        serde_json::from_slice(&self.packer.unpack(&packed).ok()?).ok()
    }

    /// Takes one in. What cannot be written down is read again.
    pub fn put(&self, key: ObjectKey, revision: &T) {
        let Ok(text) = serde_json::to_vec(revision) else { return };
        let packed = self.packer.pack(&text);
        self.lock().insert(key, packed);
    }
}

impl<T> Known<T> {
    /// Whether the revision of this name is known.
    pub fn holds(&self, key: &ObjectKey) -> bool {
        self.lock().contains_key(key)
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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Packed>> {
        self.packed.lock().unwrap_or_else(PoisonError::into_inner)
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
            known.put(key(name), &());
        }
        known.put(("other".to_owned(), "web-0123456789".to_owned()), &());
        known.forget_owner("ns", "web-");
        assert!(!known.holds(&key("web-0123456789")) && known.get(&key("web-abcdef0123")).is_none());
        assert_eq!(known.len(), 4, "those of web-2, of we and of another namespace, and the guards, stay");
        known.forget_owner("ns", "web-guard-");
        assert_eq!(known.len(), 3);
    }

    #[test]
    fn what_came_while_the_stored_ones_were_listed_is_kept() {
        let known = Known::default();
        known.put(key("a-1"), &"a".to_owned());
        known.put(key("b-1"), &"b".to_owned());
        let before = known.keys();
        known.put(key("c-1"), &"c".to_owned());
        assert_eq!(known.get(&key("b-1")).as_deref(), Some("b"));
        known.keep_stored(&before, &HashSet::from([key("a-1")]));
        assert_eq!(known.keys(), HashSet::from([key("a-1"), key("c-1")]));
    }
}

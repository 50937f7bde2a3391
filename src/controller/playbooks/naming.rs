//! Which playbooks name a rollout, be it there or not.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use crate::controller::cache::ObjectKey;

/// The playbooks by the rollouts that they name. By a digest of namespace and name, as anybody may name hundreds of long names
/// of nobody: whoever has the same digest is looked at in vain.
#[derive(Default)]
pub struct Naming {
    playbooks: HashMap<u64, Vec<Arc<ObjectKey>>>,
    digests: RandomState,
}

impl Naming {
    /// Notes that a playbook names rollouts of its namespace.
    pub fn add<'n>(&mut self, playbook: &ObjectKey, names: impl Iterator<Item = &'n str>) {
        let shared = Arc::new(playbook.clone());
        for name in names {
            let digest = self.digest(&playbook.0, name);
            let known = self.playbooks.entry(digest).or_insert_with(|| Vec::with_capacity(1));
            if let Err(place) = known.binary_search(&shared) {
                known.insert(place, shared.clone());
            }
        }
    }

    /// Notes that a playbook does not name them any more.
    pub fn remove<'n>(&mut self, playbook: &ObjectKey, names: impl Iterator<Item = &'n str>) {
        for name in names {
            let digest = self.digest(&playbook.0, name);
            let Some(known) = self.playbooks.get_mut(&digest) else { continue };
            if let Ok(place) = known.binary_search_by(|one| (**one).cmp(playbook)) {
                known.remove(place);
            }
            if known.is_empty() {
                self.playbooks.remove(&digest);
            }
        }
    }

    /// The playbooks that name a rollout.
    pub fn of(&self, rollout: &ObjectKey) -> impl Iterator<Item = &ObjectKey> {
        let known = self.playbooks.get(&self.digest(&rollout.0, &rollout.1));
        known.into_iter().flatten().map(AsRef::as_ref)
    }

    /// How many rollouts are named.
    pub fn len(&self) -> usize {
        self.playbooks.len()
    }

    fn digest(&self, namespace: &str, name: &str) -> u64 {
        self.digests.hash_one((namespace, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ("maya".to_owned(), name.to_owned())
    }

    #[test]
    fn the_playbooks_that_name_a_rollout_are_found_until_they_name_it_no_more() {
        let mut naming = Naming::default();
        naming.add(&key("two"), ["dreams", "voice", "dreams"].into_iter());
        naming.add(&key("one"), ["dreams"].into_iter());
        let of = |naming: &Naming, name: &str| -> Vec<String> {
            naming.of(&key(name)).map(|playbook| playbook.1.clone()).collect()
        };
        assert_eq!(of(&naming, "dreams"), ["one", "two"]);
        assert_eq!(of(&naming, "voice"), ["two"]);
        assert!(naming.of(&("other".to_owned(), "dreams".to_owned())).next().is_none());
        naming.remove(&key("two"), ["dreams", "voice", "dreams"].into_iter());
        assert_eq!((of(&naming, "dreams"), of(&naming, "voice")), (vec!["one".to_owned()], vec![]));
        naming.remove(&key("one"), ["dreams", "nobody"].into_iter());
        assert_eq!(naming.len(), 0);
    }
}

//! Rollouts whose entries found no room among the events that wait.

use std::collections::{BTreeMap, BTreeSet};

use super::ObjectKey;

/// By namespace.
#[derive(Default)]
pub(super) struct LeftOut(BTreeMap<String, BTreeSet<String>>);

impl LeftOut {
    pub fn add(&mut self, (namespace, name): ObjectKey) {
        self.0.entry(namespace).or_default().insert(name);
    }

    pub fn forget(&mut self, (namespace, name): &ObjectKey) {
        if let Some(names) = self.0.get_mut(namespace) {
            names.remove(name);
            if names.is_empty() {
                self.0.remove(namespace);
            }
        }
    }

    /// Takes out those of the namespaces that have room by now.
    pub fn take(&mut self, has_room: impl Fn(&str) -> bool) -> Vec<ObjectKey> {
        let taken: Vec<_> = self.0.extract_if(.., |namespace, _| has_room(namespace)).collect();
        let keys = taken
            .into_iter()
            .flat_map(|(namespace, names)| names.into_iter().map(move |name| (namespace.clone(), name)));
        keys.collect()
    }
}

//! Files that wait to be written: they go before reports and events, as decisions do, for they are what users get.

use std::hash::Hash;

use super::{Queue, Tenant};

/// A file of a namespace that waits to be written, until this is dropped.
pub struct FileWaits<'a, K: Tenant + Clone + Eq + Hash + Ord, G: Clone + Eq + Hash + Ord> {
    queue: &'a Queue<K, G>,
    namespace: String,
}

impl<K: Tenant + Clone + Eq + Hash + Ord, G: Clone + Eq + Hash + Ord> Drop for FileWaits<'_, K, G> {
    fn drop(&mut self) {
        let mut inner = self.queue.lock();
        let left = inner.files_waiting.get(&self.namespace).map_or(0, |waiting| waiting.saturating_sub(1));
        match left {
            0 => inner.files_waiting.remove(&self.namespace),
            left => inner.files_waiting.insert(self.namespace.clone(), left),
        };
        let was_last = left == 0;
        drop(inner);
        if was_last {
            self.queue.changed.notify_one();
        }
    }
}

impl<K: Tenant + Clone + Eq + Hash + Ord, G: Clone + Eq + Hash + Ord> Queue<K, G> {
    /// Says that a file of a namespace waits to be written. Until what this returns is dropped one report at a time goes on of the
    /// namespaces where something waits.
    pub fn file_waits(&self, namespace: &str) -> FileWaits<'_, K, G> {
        *self.lock().files_waiting.entry(namespace.to_owned()).or_default() += 1;
        FileWaits { queue: self, namespace: namespace.to_owned() }
    }

    /// Whether no key of a namespace waits to be decided on, and no file of it to be written.
    pub fn is_decided(&self, namespace: &str) -> bool {
        self.lock().is_decided_in(namespace)
    }
}

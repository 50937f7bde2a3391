//! Files that wait to be written: they go before reports and events, as decisions do, for they are what users get.

use std::hash::Hash;
use std::time::Duration;

use super::{Queue, Tenant};

/// A file that waits to be written, until this is dropped.
pub struct FileWaits<'a, K: Tenant + Clone + Eq + Hash + Ord, G: Clone + Eq + Hash + Ord>(&'a Queue<K, G>);

impl<K: Tenant + Clone + Eq + Hash + Ord, G: Clone + Eq + Hash + Ord> Drop for FileWaits<'_, K, G> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.files_waiting = inner.files_waiting.saturating_sub(1);
        let was_last = inner.files_waiting == 0;
        drop(inner);
        if was_last {
            self.0.changed.notify_one();
        }
    }
}

impl<K: Tenant + Clone + Eq + Hash + Ord, G: Clone + Eq + Hash + Ord> Queue<K, G> {
    /// Says that a file waits to be written. Until what this returns is dropped one report at a time goes on.
    pub fn file_waits(&self) -> FileWaits<'_, K, G> {
        self.lock().files_waiting += 1;
        FileWaits(self)
    }

    /// Waits until no key waits to be decided on and no file to be written, for `longest` at most.
    pub async fn until_decided(&self, longest: Duration) {
        let decided = async {
            loop {
                let decided = self.decided.notified();
                if self.lock().is_decided() {
                    return;
                }
                decided.await;
            }
        };
        // Whoever has waited long enough goes on all the same.
        let _late = tokio::time::timeout(longest, decided).await;
    }
}

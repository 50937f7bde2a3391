//! How many writes of files are under way at once. However many files change in the same second, the API server has only the ordinary
//! ones before it when something urgent comes, which takes none of their places.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::Monotonic;
use crate::fair::{Place, Turns};

/// Ordinary writes under way at once.
const WRITES: usize = 16;
/// Urgent writes under way at once, which namespaces share: somebody may take all FlagSets of a namespace to control in one second.
const URGENT: usize = 16;
/// Writes under way at once, urgent ones among them, of FlagSets that take much memory: each is there three times while it is merged.
const HEAVY: usize = 4;
/// From how many bytes of memory on that is so, as [`crate::bounds::json::decoded`] tells them.
pub(super) const HEAVY_FROM: usize = 256 * 1024;
/// Files whose prepared steps have been looked at, or are being looked at, and are not written yet. Each waits for the writes
/// of the others, about a millisecond each: so long may its look be ago when it is written.
const LOOKS: usize = 256;
/// After how long a write does not count any more: it waits for an answer that does not come.
const HUNG: Duration = Duration::from_secs(1);

/// The places of all writers.
pub struct Places {
    writes: Semaphore,
    looks: Semaphore,
    urgent: Turns,
    heavy: Turns,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            writes: Semaphore::new(WRITES),
            looks: Semaphore::new(LOOKS),
            urgent: Turns::new(URGENT, None, Monotonic::default()),
            heavy: Turns::new(HEAVY, None, Monotonic::default()),
        }
    }
}

impl Places {
    /// A place for looking at prepared steps and then writing them; `None` never comes while the process lives.
    pub(super) async fn look(&self) -> Option<SemaphorePermit<'_>> {
        self.looks.acquire().await.ok()
    }

    /// A place for an ordinary write; `None` never comes while the process lives.
    pub(super) async fn write(&self) -> Option<SemaphorePermit<'_>> {
        self.writes.acquire().await.ok()
    }

    /// A place for an urgent write of a file of this namespace.
    pub(super) async fn urgent(&self, namespace: &str) -> Place {
        self.urgent.take(namespace, 0).await
    }

    /// A place for what takes much memory in this namespace, where it does; what is urgent goes first.
    pub(super) async fn heavy(&self, namespace: &str, bytes: usize, is_urgent: bool) -> Option<Place> {
        if bytes < HEAVY_FROM {
            return None;
        }
        Some(self.heavy.take(namespace, u8::from(!is_urgent)).await)
    }
}

/// Does what places are for, and gives them back when it is done, or hangs.
pub(super) async fn hold<P, T>(places: P, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    match tokio::time::timeout(HUNG, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            drop(places);
            work.await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn writes_that_get_no_answer_keep_nobody_waiting_for_longer_than_a_second() {
        let places = Places::default();
        let write = async |work| {
            let place = places.write().await;
            hold(place, work).await;
        };
        let hanging = futures::future::join_all((0..3 * WRITES).map(|_| write(pending().boxed())));
        let last = tokio::time::timeout(HUNG * 4, write(ready(()).boxed()));
        tokio::select! {
            biased;
            _ = hanging => unreachable!("they hang"),
            ended = last => assert!(ended.is_ok(), "it still waits behind three rounds of them"),
        }
    }

    #[tokio::test]
    async fn no_more_ordinary_writes_are_under_way_than_there_are_places() {
        let places = Places::default();
        let mut held = Vec::new();
        for _ in 0..WRITES {
            held.push(places.write().await);
        }
        assert!(places.write().now_or_never().is_none());
        held.pop();
        assert!(places.write().now_or_never().is_some());
    }
}

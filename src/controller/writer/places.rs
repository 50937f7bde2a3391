//! How many writes of files are under way at once. However many files change in the same second, the API server has only the ordinary
//! ones before it when something urgent comes, which takes none of their places. Namespaces share all of these.

use crate::controller::queue::{ProcessorCosts, Took};
use crate::fair::{Place, Turns};

/// Ordinary writes under way at once; of one namespace three quarters of these.
const WRITES: usize = 20;
/// Urgent writes under way at once: somebody may take all FlagSets of a namespace to control in one second.
const URGENT: usize = 16;
/// Writes under way at once, urgent ones among them, of FlagSets that take much memory, each of which is there three times while it is
/// merged; and ordinary ones of a namespace whose files take much processor time.
const HEAVY: usize = 4;
/// From how many bytes of memory on that is so, as [`crate::bounds::json::decoded`] tells them.
pub(super) const HEAVY_FROM: usize = 256 * 1024;
/// Files that are made anew from the stored statuses at once, of one namespace three quarters of these: for each a namespace's rollouts
/// are read, and its members kept until they are rendered.
const REBUILDS: usize = 4;
/// Files whose prepared steps have been looked at, or are being looked at, and are not written yet. Each waits for the writes
/// of the others, about a millisecond each: so long may its look be ago when it is written.
const LOOKS: usize = 256;

/// The places of all writers.
pub struct Places {
    writes: Turns,
    looks: Turns,
    urgent: Turns,
    heavy: Turns,
    rebuilds: Turns,
    costs: ProcessorCosts,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            writes: Turns::of(WRITES),
            looks: Turns::of(LOOKS),
            urgent: Turns::of(URGENT),
            heavy: Turns::of(HEAVY),
            rebuilds: Turns::of(REBUILDS),
            costs: ProcessorCosts::default(),
        }
    }
}

impl Places {
    /// A place for looking at prepared steps of a file of this namespace and then writing them.
    pub(super) async fn look(&self, namespace: &str) -> Place {
        self.looks.take(namespace, 0).await
    }

    /// A place for an ordinary write of a file of this namespace.
    pub(super) async fn write(&self, namespace: &str) -> Place {
        self.writes.take(namespace, 0).await
    }

    /// A place for an urgent write of a file of this namespace.
    pub(super) async fn urgent(&self, namespace: &str) -> Place {
        self.urgent.take(namespace, 0).await
    }

    /// A place for making a file of this namespace anew from what is stored; what is urgent goes first.
    pub(super) async fn rebuild(&self, namespace: &str, is_urgent: bool) -> Place {
        self.rebuilds.take(namespace, u8::from(!is_urgent)).await
    }

    /// A place for what takes much memory, or much processor time, in this namespace, where it does; what is urgent goes first.
    pub(super) async fn heavy(&self, namespace: &str, bytes: usize, is_urgent: bool) -> Option<Place> {
        // What is urgent waits for no processor time of others.
        let is_dear = !is_urgent && self.costs.is_dear(namespace, WRITES, HEAVY);
        if bytes < HEAVY_FROM && !is_dear {
            return None;
        }
        Some(self.heavy.take(namespace, u8::from(!is_urgent)).await)
    }

    /// Notes that a write of a file of this namespace took so long.
    pub(super) fn note_cost(&self, namespace: &str, took: Took) {
        self.costs.note(namespace, took);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;
    use crate::fair::{HUNG, hold};

    #[tokio::test(start_paused = true)]
    async fn writes_that_get_no_answer_keep_nobody_waiting_for_longer_than_a_second() {
        let places = Places::default();
        let write = async |namespace, work| {
            let place = places.write(namespace).await;
            hold(place, work).await;
        };
        let hanging =
            futures::future::join_all((0..3 * WRITES).map(|i| write(["a", "b"][i % 2], pending().boxed())));
        let last = tokio::time::timeout(HUNG * 4, write("a", ready(()).boxed()));
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
        for i in 0..WRITES {
            held.push(places.write(["a", "b"][i % 2]).await);
        }
        assert!(places.write("a").now_or_never().is_none());
        held.pop();
        assert!(places.write("a").now_or_never().is_some());
    }

    #[tokio::test]
    async fn however_many_files_of_a_namespace_wait_another_ones_is_written_and_looked_at() {
        let places = Places::default();
        for i in 0.. {
            let Some(rebuild) = places.rebuild("a", true).now_or_never() else {
                assert!(i > 0);
                break;
            };
            std::mem::forget(rebuild);
        }
        assert!(places.rebuild("b", false).now_or_never().is_some());
        for i in 0.. {
            let (Some(write), Some(look)) =
                (places.write("a").now_or_never(), places.look("a").now_or_never())
            else {
                assert!(i > 0);
                break;
            };
            // They are under way for as long as this test runs.
            std::mem::forget((write, look));
        }
        assert!(places.write("b").now_or_never().is_some() && places.look("b").now_or_never().is_some());
    }

    #[tokio::test]
    async fn files_that_take_much_processor_time_take_a_place_of_the_heavy_ones() {
        let places = Places::default();
        let of = |processor| Took { processor, ..Took::default() };
        places.note_cost("dear", of(Duration::from_millis(50)));
        places.note_cost("cheap", of(Duration::from_millis(1)));
        assert!(places.heavy("cheap", 0, false).await.is_none());
        assert!(places.heavy("cheap", HEAVY_FROM, false).await.is_some());
        assert!(places.heavy("dear", 0, true).await.is_none(), "what is urgent does not wait for them");
        let held = [
            places.heavy("dear", 0, false).await,
            places.heavy("dear", 0, false).await,
            places.heavy("dear", 0, false).await,
        ];
        assert!(held.iter().all(Option::is_some));
        assert!(places.heavy("dear", 0, false).now_or_never().is_none(), "of one namespace three");
        assert!(places.heavy("other", HEAVY_FROM, false).now_or_never().is_some());
    }
}

//! Places that namespaces share, so that none of them can take another's: the metrics of a source, the work on actions, the
//! writing of files.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::{self, Monotonic};

mod bucket;
mod line;

pub use bucket::Bucket;
use line::{Line, Ticket};

/// Places that are given in turns. Cheap to clone.
#[derive(Clone)]
pub struct Turns(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    monotonic: Monotonic,
}

struct Inner {
    line: Line,
    waiting: HashMap<u64, oneshot::Sender<()>>,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turns")
    }
}

/// A place, or the wait for one; free again when dropped.
pub struct Place {
    turns: Turns,
    ticket: Ticket,
}

impl Turns {
    /// So many places at once, and so many given a second if that is limited. Of four and more one namespace has three quarters
    /// at the most.
    pub fn new(places: usize, per_second: Option<u32>, monotonic: Monotonic) -> Turns {
        let line = Line::new(places, per_second, monotonic.now());
        Turns(Arc::new(Shared { inner: Mutex::new(Inner { line, waiting: HashMap::new() }), monotonic }))
    }

    /// So many places at once, given as fast as they become free.
    pub fn of(places: usize) -> Turns {
        Turns::new(places, None, Monotonic::default())
    }

    /// Waits for a place. Of one namespace the lower rank goes first, then whoever came first.
    pub async fn take(&self, namespace: &str, rank: u8) -> Place {
        let (place, mut given) = self.ask(namespace, rank);
        loop {
            let now = self.0.monotonic.now();
            let ready_at = {
                let mut inner = self.inner();
                inner.admit(&self.0.monotonic);
                inner.line.ready_at(now)
            };
            let wait = ready_at.map(|at| at.saturating_duration_since(now));
            tokio::select! {
                biased;
                // The other end is dropped only with this wait.
                _ = &mut given => return place,
                () = clock::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    fn ask(&self, namespace: &str, rank: u8) -> (Place, oneshot::Receiver<()>) {
        let (give, given) = oneshot::channel();
        let mut inner = self.inner();
        let ticket = inner.line.ask(namespace, rank);
        inner.waiting.insert(ticket.number, give);
        drop(inner);
        (Place { turns: self.clone(), ticket }, given)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After how long work does not count any more: it waits for an answer that does not come.
pub const HUNG: Duration = Duration::from_secs(1);

/// Does what places are for, and gives them back when it is done, or hangs.
pub async fn hold<P, T>(places: P, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    match tokio::time::timeout(HUNG, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            drop(places);
            work.await
        }
    }
}

impl Inner {
    /// Lets in whoever may be let in now.
    fn admit(&mut self, monotonic: &Monotonic) {
        while let Some(number) = self.line.admit(monotonic.now()) {
            if let Some(give) = self.waiting.remove(&number) {
                // Whoever has gone meanwhile gives its place back by itself.
                let _gone = give.send(());
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.turns.inner();
        inner.waiting.remove(&self.ticket.number);
        inner.line.leave(&self.ticket);
        inner.admit(&self.turns.0.monotonic);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_place_goes_to_the_next_when_it_is_dropped_and_past_those_that_went_away() {
        let turns = Turns::of(1);
        let first = turns.take("a", 0).await;
        let mut goes = Box::pin(turns.take("a", 0));
        let mut stays = Box::pin(turns.take("b", 0));
        assert!(goes.as_mut().now_or_never().is_none() && stays.as_mut().now_or_never().is_none());
        drop(goes);
        drop(first);
        assert!(stays.as_mut().now_or_never().is_some());
        assert!(turns.take("c", 0).now_or_never().is_some(), "the wait that ended took no place along");
    }

    #[tokio::test]
    async fn one_that_was_let_in_and_never_looked_gives_its_place_back() {
        let turns = Turns::of(1);
        let first = turns.take("a", 0).await;
        let mut unaware = Box::pin(turns.take("b", 0));
        assert!(unaware.as_mut().now_or_never().is_none());
        drop(first);
        drop(unaware);
        assert!(turns.take("c", 0).now_or_never().is_some());
    }
}

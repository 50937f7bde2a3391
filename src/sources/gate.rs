//! What stands before a source: its circuit, its rate and its number of places. Each source has its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::api::metricsource::Circuit;
use crate::clock;

use super::Monotonic;
use super::breaker::Breaker;
use super::bucket::Bucket;
use super::failure::Failure;
use super::resolved::Parts;

/// Longest wait for a place and a token.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The gates of all sources, by UID.
#[derive(Debug, Default)]
pub(super) struct Gates(Mutex<HashMap<String, Arc<Gate>>>);

#[derive(Debug)]
struct Gate {
    generation: i64,
    places: Semaphore,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    breaker: Breaker,
    bucket: Bucket,
}

impl Gates {
    /// Does something with a source when it may be asked, within its timeout, and takes note of whether it is ill.
    pub async fn pass<T>(
        &self,
        source: &Parts,
        monotonic: &Monotonic,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let gate = self.gate(source, monotonic.now());
        // Nobody queues for a source that is left alone.
        if gate.inner().breaker.is_shut(monotonic.now()) {
            return Err(Failure::Open);
        }
        let place = tokio::time::timeout(LONGEST_WAIT, gate.places.acquire()).await;
        let _place = place.ok().and_then(Result::ok).ok_or(Failure::Limited)?;
        let wait = gate.inner().bucket.take(monotonic.now(), LONGEST_WAIT).ok_or(Failure::Limited)?;
        if !wait.is_zero() {
            clock::sleep(wait).await;
        }
        let ticket = gate.inner().breaker.ask(monotonic.now()).ok_or(Failure::Open)?;
        let result = tokio::time::timeout(source.timeout, work).await;
        let result = result.unwrap_or(Err(Failure::TimedOut(source.timeout)));
        let failure = result.as_ref().err();
        if !failure.is_some_and(|failure| failure.was_not_asked()) {
            let well = failure.is_none_or(|failure| !failure.is_the_sources());
            gate.inner().breaker.answered(ticket, well, monotonic.now());
        }
        result
    }

    /// The circuit of a source; closed when it has not been asked yet.
    pub fn circuit(&self, uid: &str) -> Circuit {
        self.map().get(uid).map(|gate| gate.inner().breaker.circuit()).unwrap_or_default()
    }

    /// Forgets all but these.
    pub fn retain(&self, uids: &BTreeSet<String>) {
        self.map().retain(|uid, _| uids.contains(uid));
    }

    fn map(&self) -> MutexGuard<'_, HashMap<String, Arc<Gate>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gate of a source; an edited source gets a new one, for it may be well now.
    fn gate(&self, source: &Parts, now: Instant) -> Arc<Gate> {
        let mut map = self.map();
        match map.get(&source.uid) {
            Some(gate) if gate.generation >= source.generation => Arc::clone(gate),
            _ => {
                let gate = Arc::new(Gate::new(source, now));
                map.insert(source.uid.clone(), Arc::clone(&gate));
                gate
            }
        }
    }
}

impl Gate {
    fn new(source: &Parts, now: Instant) -> Gate {
        let limits = source.limits;
        let places = usize::try_from(limits.concurrency).unwrap_or(1).clamp(1, 64);
        let rate = u32::try_from(limits.requests_per_second).unwrap_or(1).clamp(1, 1000);
        let inner = Inner { breaker: Breaker::default(), bucket: Bucket::new(rate, now) };
        Gate { generation: source.generation, places: Semaphore::new(places), inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

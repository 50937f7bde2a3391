//! What stands before a source: its circuits, its rate and its number of places. Each source has its own, and within it
//! each namespace has its part.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::metricsource::Circuit;
use crate::fair::Turns;

use super::Monotonic;
use super::circuits::Circuits;
use super::failure::Failure;
use super::request::Query;
use super::resolved::Parts;

/// Longest wait for a place and a token.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The limits of all sources, by UID.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<HashMap<String, Arc<SourceLimits>>>);

#[derive(Debug)]
struct SourceLimits {
    generation: i64,
    turns: Turns,
    circuits: Mutex<Circuits>,
}

impl Limits {
    /// Does something with a source when its query may be asked, within the source's timeout, and takes note of whether
    /// that failed.
    pub async fn pass<T>(
        &self,
        source: &Parts,
        query: &Query,
        monotonic: &Monotonic,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let limits = self.limits(source, monotonic);
        // Nobody queues for what is left alone.
        if let Some(why) = limits.circuits().shut(query, monotonic.now()) {
            return Err(why);
        }
        let turn = tokio::time::timeout(LONGEST_WAIT, limits.turns.take(&query.namespace, 0)).await;
        let _place = turn.map_err(|_| Failure::Limited)?;
        let tickets = limits.circuits().ask(query, monotonic.now())?;
        let result = tokio::time::timeout(source.timeout, work).await;
        let result = result.unwrap_or(Err(Failure::TimedOut(source.timeout)));
        let failure = result.as_ref().err();
        if !failure.is_some_and(|failure| failure.was_not_asked()) {
            limits.circuits().answered(query, tickets, failure.copied(), monotonic.now());
        }
        result
    }

    /// The circuit of a source, as it is for all who ask; closed when it has not been asked yet.
    pub fn circuit(&self, uid: &str, monotonic: &Monotonic) -> Circuit {
        self.map().get(uid).map(|limits| limits.circuits().circuit(monotonic.now())).unwrap_or_default()
    }

    /// Why a source is left alone, where it is.
    pub fn cause(&self, uid: &str, monotonic: &Monotonic) -> Option<&'static str> {
        self.map().get(uid).and_then(|limits| limits.circuits().cause(monotonic.now()))
    }

    /// Forgets all but these.
    pub fn retain(&self, uids: &BTreeSet<String>) {
        self.map().retain(|uid, _| uids.contains(uid));
    }

    fn map(&self) -> MutexGuard<'_, HashMap<String, Arc<SourceLimits>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limits of a source; an edited source gets new ones, for it may be well now.
    fn limits(&self, source: &Parts, monotonic: &Monotonic) -> Arc<SourceLimits> {
        let mut map = self.map();
        match map.get(&source.uid) {
            Some(limits) if limits.generation >= source.generation => Arc::clone(limits),
            _ => {
                let limits = Arc::new(SourceLimits::new(source, monotonic));
                map.insert(source.uid.clone(), Arc::clone(&limits));
                limits
            }
        }
    }
}

impl SourceLimits {
    fn new(source: &Parts, monotonic: &Monotonic) -> SourceLimits {
        let limits = source.limits;
        let places = usize::try_from(limits.concurrency).unwrap_or(1).clamp(1, 64);
        let rate = u32::try_from(limits.requests_per_second).unwrap_or(1).clamp(1, 1000);
        let turns = Turns::new(places, Some(rate), monotonic.clone());
        SourceLimits { generation: source.generation, turns, circuits: Mutex::default() }
    }

    fn circuits(&self) -> MutexGuard<'_, Circuits> {
        self.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

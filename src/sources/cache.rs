//! Equal questions of one namespace and one slot of time are asked once, and all who ask share the answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tokio::sync::OnceCell;

use super::request::{Query, Readings, Request};
use super::resolved::Parts;
use crate::api::MicroTime;

/// Longest slot: a check an hour apart must not be given the answer of half an hour ago.
const LONGEST_SLOT: SignedDuration = SignedDuration::from_secs(30);
/// How long an answer is kept: a slot, and the time that an answer takes.
const KEPT: Duration = Duration::from_secs(60);

/// What makes two questions equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    uid: String,
    generation: i64,
    query: Query,
    per_cohort: Option<String>,
    /// Length of the slot in milliseconds, and which one it is.
    slot: (i64, i64),
}

impl Key {
    pub fn new(source: &Parts, request: &Request) -> Key {
        Key {
            uid: source.uid.clone(),
            generation: source.generation,
            query: request.query.clone(),
            per_cohort: request.per_cohort.clone(),
            slot: slot(request.interval, request.at),
        }
    }
}

fn slot(interval: SignedDuration, at: MicroTime) -> (i64, i64) {
    let length = interval.clamp(SignedDuration::from_millis(1), LONGEST_SLOT).as_millis();
    let length = i64::try_from(length).unwrap_or(1);
    (length, at.as_millisecond().div_euclid(length))
}

/// One question's answer, there or under way.
pub(super) type Cell = Arc<OnceCell<Readings>>;

/// The answers of the present.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    answers: BTreeMap<Key, (Instant, Cell)>,
    swept: Option<Instant>,
}

impl Cache {
    /// The cell of a question, new or shared.
    pub fn cell(&self, key: &Key, now: Instant) -> Cell {
        let mut kept = self.kept();
        if kept.swept.is_none_or(|swept| now.saturating_duration_since(swept) > KEPT) {
            kept.swept = Some(now);
            kept.answers.retain(|_, (since, _)| now.saturating_duration_since(*since) <= KEPT);
        }
        let (_, cell) = kept.answers.entry(key.clone()).or_insert_with(|| (now, Cell::default()));
        Arc::clone(cell)
    }

    /// Forgets an answer, unless another has come in its place.
    pub fn forget(&self, key: &Key, cell: &Cell) {
        let mut kept = self.kept();
        if kept.answers.get(key).is_some_and(|(_, other)| Arc::ptr_eq(other, cell)) {
            kept.answers.remove(key);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> MicroTime {
        MicroTime::from_second(seconds).unwrap()
    }

    #[test]
    fn a_slot_is_the_interval_and_half_a_minute_at_most() {
        let every = SignedDuration::from_secs;
        assert_eq!(slot(every(10), at(100)), slot(every(10), at(109)));
        assert_ne!(slot(every(10), at(109)), slot(every(10), at(110)));
        assert_eq!(slot(every(3600), at(0)), slot(every(3600), at(29)));
        assert_ne!(slot(every(3600), at(0)), slot(every(3600), at(30)));
        assert_ne!(slot(every(10), at(0)), slot(every(20), at(0)), "another interval, another slot");
        assert_eq!(slot(every(0), at(5)).0, 1, "no division by zero");
        assert_ne!(slot(every(10), at(-1)), slot(every(10), at(1)));
    }
}

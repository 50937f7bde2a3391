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
/// How long an answer is kept after two slots, since a check may come late to its own: what is under way is shared by those who wait
/// for it all the same. Whoever edits a query has another question with each edit.
const KEPT: Duration = Duration::from_secs(5);

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

    fn slot_length(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.slot.0).unwrap_or(0))
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
    /// With the time until which they are kept.
    answers: BTreeMap<Key, (Instant, Cell)>,
    swept: Option<Instant>,
}

impl Cache {
    /// The cell of a question, new or shared.
    pub fn cell(&self, key: &Key, now: Instant) -> Cell {
        let mut kept = self.kept();
        if kept.swept.is_none_or(|swept| now.saturating_duration_since(swept) > KEPT) {
            kept.swept = Some(now);
            kept.answers.retain(|_, (until, _)| now <= *until);
        }
        let until = now + key.slot_length().saturating_mul(2) + KEPT;
        let (_, cell) = kept.answers.entry(key.clone()).or_insert_with(|| (until, Cell::default()));
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
    use crate::api::metrictemplate::Reducer;
    use crate::sources::request::Ask;

    fn at(seconds: i64) -> MicroTime {
        MicroTime::from_second(seconds).unwrap()
    }

    #[test]
    fn an_answer_is_kept_for_its_slot_and_somewhat_longer() {
        let now = crate::clock::monotonic();
        let key = |second: i64, every: i64| Key {
            uid: "u".to_owned(),
            generation: 1,
            query: Query {
                namespace: "ns".to_owned(),
                ask: Ask::Promql { query: "up".to_owned(), count: None },
                tenant: None,
                reducer: Reducer::One,
                max_age: SignedDuration::ZERO,
            },
            per_cohort: None,
            slot: slot(SignedDuration::from_secs(every), at(second)),
        };
        let (cache, later) = (Cache::default(), |seconds| now + Duration::from_secs(seconds));
        let (short, long) = (cache.cell(&key(0, 1), now), cache.cell(&key(0, 30), now));
        assert!(Arc::ptr_eq(&short, &cache.cell(&key(0, 1), later(2))), "shared");
        for second in 3..60 {
            cache.cell(&key(second, 1), later(u64::try_from(second).unwrap()));
        }
        assert!(cache.kept().answers.len() < 20, "{}", cache.kept().answers.len());
        assert!(Arc::ptr_eq(&long, &cache.cell(&key(29, 30), later(60))), "another interval, another time");
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

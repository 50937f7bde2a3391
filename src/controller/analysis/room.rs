//! How much may be watched over in one namespace. What is measured is kept for each trigger and criterion, and of some for each
//! cohort, of which anybody may write as many as there is room for in the API server.
//!
//! The oldest rollouts are measured. Of the youngest beyond that nothing is raised, and they say why.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::samples::series_bytes;
use crate::controller::cache::{Ledger, ObjectKey, Rank, Share};
use crate::plan::Guard;
use crate::plan::guard::CriterionSource;

/// What there is room for.
pub struct Room {
    share: Share,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    ledger: Ledger,
    rollouts: HashMap<ObjectKey, Entry>,
}

struct Entry {
    rank: Rank,
    cost: usize,
    has_room: bool,
}

/// What follows for other rollouts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// They are not measured any more.
    pub displaced: Vec<ObjectKey>,
    /// It may have room by now.
    pub next: Option<ObjectKey>,
}

impl Room {
    /// Nothing is watched over yet.
    pub fn new(share: Share) -> Room {
        Room { share, inner: Mutex::default() }
    }

    /// Takes room for so many bytes of a rollout that was created at this second, in the place of what it had; whether there is
    /// any, [`Room::refusal`] says.
    pub fn take(&self, key: &ObjectKey, created: i64, bytes: usize) -> Others {
        let (rank, cost) = (Rank::new(created, &key.1), self.share.cost(bytes));
        let mut inner = self.lock();
        let Inner { ledger, rollouts } = &mut *inner;
        let before = rollouts.get(key);
        if before.is_some_and(|before| before.has_room && before.rank == rank && before.cost == cost) {
            return Others::default();
        }
        let was_beyond = before.is_some_and(|before| !before.has_room);
        if let Some(before) = before {
            ledger.remove(&key.0, &before.rank);
        }
        rollouts.insert(key.clone(), Entry { rank: rank.clone(), cost, has_room: true });
        let mut displaced = Vec::new();
        for beyond in ledger.add(&self.share, &key.0, rank, cost, was_beyond) {
            let other = (key.0.clone(), beyond.name().to_owned());
            if let Some(entry) = rollouts.get_mut(&other) {
                entry.has_room = false;
            }
            displaced.extend((other != *key).then_some(other));
        }
        let next = ledger.next(&self.share, &key.0).map(|rank| (key.0.clone(), rank.name().to_owned()));
        Others { displaced, next: next.filter(|next| next != key) }
    }

    /// Why a rollout is not measured, where it asked for room and there was none.
    pub fn refusal(&self, key: &ObjectKey) -> Option<String> {
        if self.lock().rollouts.get(key)?.has_room {
            return None;
        }
        Some(format!(
            "its triggers and criteria are not measured: those of the rollouts of namespace {} need more than the {} MiB of memory \
             that they may have together, and this is one of the youngest; delete older ones or triggers of theirs, or raise \
             --namespace-memory",
            key.0,
            self.share.limit / (1024 * 1024)
        ))
    }

    /// Gives back what a rollout had.
    pub fn leave(&self, key: &ObjectKey) -> Others {
        let mut inner = self.lock();
        let Some(entry) = inner.rollouts.remove(key) else { return Others::default() };
        inner.ledger.remove(&key.0, &entry.rank);
        let next = inner.ledger.next(&self.share, &key.0);
        Others { displaced: Vec::new(), next: next.map(|rank| (key.0.clone(), rank.name().to_owned())) }
    }

    /// How many rollouts there is no room for.
    pub fn beyond(&self) -> usize {
        self.lock().ledger.beyond_of(|_| true)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About how many bytes of memory it takes to watch over a rollout of so many cohorts.
pub fn bytes(guard: &Guard, cohorts: usize) -> usize {
    let of_triggers =
        guard.triggers.iter().map(|trigger| if trigger.per_cohort.is_some() { cohorts.max(1) } else { 1 });
    let is_measured = |source: &CriterionSource| matches!(source, CriterionSource::Metric(_));
    let criteria = guard.criteria.iter().filter(|criterion| is_measured(&criterion.source)).count();
    let series = of_triggers.sum::<usize>().saturating_add(criteria);
    written(guard).saturating_add(series.saturating_mul(series_bytes(series)))
}

/// How long a value is in words, without writing them down: about as much as it takes of memory.
pub fn written(value: &impl fmt::Debug) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.saturating_add(text.len());
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting never fails.
    let _never = write!(count, "{value:?}");
    count.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::cache::Beyond;

    fn room() -> Room {
        Room::new(Share { limit: 1600, each: 100, times: 1, beyond: Beyond::Stalled })
    }

    fn key(name: &str) -> ObjectKey {
        ("ns".to_owned(), name.to_owned())
    }

    fn displaced(names: &[&str]) -> Others {
        Others { displaced: names.iter().map(|name| key(name)).collect(), next: None }
    }

    fn next(name: &str) -> Others {
        Others { displaced: Vec::new(), next: Some(key(name)) }
    }

    #[test]
    fn the_oldest_are_measured_and_the_others_say_why_they_are_not_and_follow() {
        let room = room();
        assert_eq!(room.take(&key("young"), 9, 700), Others::default());
        assert_eq!(room.take(&key("old"), 1, 600), Others::default());
        assert_eq!((room.refusal(&key("young")), room.beyond()), (None, 0));
        // Another one of the oldest comes, and grows with an edit.
        assert_eq!(room.take(&key("older"), 0, 500), displaced(&["young"]));
        let why = room.refusal(&key("young")).unwrap();
        assert!(why.contains("namespace ns") && why.contains("not measured"), "{why}");
        assert_eq!(room.take(&key("young"), 9, 700), Others::default(), "no room still");
        assert_eq!(room.take(&key("older"), 0, 900), displaced(&["old"]));
        assert_eq!(room.take(&key("older"), 0, 500), next("old"));
        // Whoever is asked takes the room, and the one after it is asked.
        assert_eq!(room.take(&key("old"), 1, 600), Others::default());
        assert_eq!((room.refusal(&key("old")), room.beyond()), (None, 1));
        assert_eq!(room.leave(&key("older")), next("young"));
        assert_eq!(room.take(&key("young"), 9, 700), Others::default());
        assert_eq!((room.refusal(&key("young")), room.beyond()), (None, 0));
        for name in ["old", "young", "young"] {
            assert_eq!(room.leave(&key(name)), Others::default());
        }
        assert!(room.lock().rollouts.is_empty());
    }

    #[test]
    fn one_that_is_created_again_under_its_name_is_young() {
        let room = room();
        room.take(&key("a"), 1, 700);
        room.take(&key("b"), 2, 600);
        assert_eq!(room.take(&key("a"), 3, 700), Others::default());
        assert_eq!(room.take(&key("b"), 2, 900), displaced(&["a"]));
    }

    #[test]
    fn a_series_of_each_cohort_costs_as_many_times() {
        let guard = |per_cohort: &str| {
            let spec = format!(
                "{{triggers: [{{name: a, {per_cohort} metric: {{templateRef: {{name: t}}}}, interval: 30s, levels: [{{severity: \
                 Critical, above: '1', for: 1m, action: ImmediateRollback}}]}}]}}"
            );
            let spec: crate::plan::GuardSpec = serde_saphyr::from_str(&spec).unwrap();
            let mut errors = Vec::new();
            let guard = crate::plan::guard(&spec, &["all".to_owned()], &mut errors);
            assert!(errors.is_empty(), "{errors:?}");
            guard
        };
        let whole = bytes(&guard(""), 4) - written(&guard(""));
        let each = guard("perCohort: {label: cohort},");
        assert_eq!(bytes(&each, 4) - written(&each), 4 * whole);
        assert!((2_000..8_000).contains(&whole), "{whole}");
    }
}

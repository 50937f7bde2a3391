//! How many measurements may be under way at once: few enough of one source that it cannot take the places of all others,
//! and few enough of one namespace that it cannot take those of another.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use kube::ResourceExt;

use crate::api::MetricSource;
use crate::fair::{self, Turns};

/// Measurements under way at once.
const ALL: usize = 256;
/// Measurements of one source under way at once, where its own limits allow no more queries. Those that wait for their place
/// here are late; those that wait too long at the source's limits fail.
const OF_ONE: usize = 16;
/// Measurements of one source under way at once for each query a second that it may be asked.
const FOR_EACH_A_SECOND: usize = 4;

/// The places of all sources.
pub struct Limits {
    all: Turns,
    sources: Mutex<HashMap<String, Share>>,
}

struct Share {
    places: usize,
    turns: Turns,
}

/// A place, free again when dropped.
pub struct Place {
    _of_source: fair::Place,
    _of_all: fair::Place,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { all: turns(ALL), sources: Mutex::default() }
    }
}

/// Where places are waited for.
pub struct Line {
    of_source: Turns,
    of_all: Turns,
}

impl Line {
    /// Waits for a place, of a source and of all.
    pub async fn take(self, namespace: &str) -> Place {
        // First its own: who waits for a crowded source holds nothing that others need.
        let of_source = self.of_source.take(namespace, 0).await;
        let of_all = self.of_all.take(namespace, 0).await;
        Place { _of_source: of_source, _of_all: of_all }
    }
}

impl Limits {
    /// Where places for asking a source are waited for.
    pub fn line(&self, source: &MetricSource) -> Line {
        let uid = source.uid().unwrap_or_default();
        Line { of_source: self.share(&uid, source), of_all: self.all.clone() }
    }

    /// Forgets the sources that are not among these.
    pub fn retain(&self, uids: &BTreeSet<String>) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| uids.contains(uid));
    }

    fn share(&self, uid: &str, source: &MetricSource) -> Turns {
        let places = places(source);
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        match sources.get(uid) {
            Some(share) if share.places == places => share.turns.clone(),
            _ => {
                let turns = turns(places);
                sources.insert(uid.to_owned(), Share { places, turns: turns.clone() });
                turns
            }
        }
    }
}

fn turns(places: usize) -> Turns {
    Turns::of(places)
}

fn places(source: &MetricSource) -> usize {
    let limits = source.spec.limits;
    let count = |limit: i32| usize::try_from(limit).unwrap_or(1).clamp(1, ALL);
    let by_rate = count(limits.requests_per_second).saturating_mul(FOR_EACH_A_SECOND);
    by_rate.min(OF_ONE).max(count(limits.concurrency).min(OF_ONE * 4))
}

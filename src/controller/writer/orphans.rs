//! The order in which a file's orphans are listed: the newest first.

use std::collections::{HashMap, HashSet};

use crate::api::flagset::Orphan;

/// Orphans that were not there before, then the others in the order in which they were.
pub(super) fn newest_first(before: &[Orphan], orphans: Vec<Orphan>) -> Vec<Orphan> {
    let known: HashSet<&Orphan> = before.iter().collect();
    let (old, mut all): (Vec<Orphan>, Vec<Orphan>) =
        orphans.into_iter().partition(|orphan| known.contains(orphan));
    all.extend(in_order(before, old));
    all
}

/// Orphans in the order of `listed`; those that are not listed come last.
pub(super) fn in_order(listed: &[Orphan], mut orphans: Vec<Orphan>) -> Vec<Orphan> {
    let places: HashMap<&Orphan, usize> = listed.iter().enumerate().map(|(i, orphan)| (orphan, i)).collect();
    orphans.sort_by_key(|orphan| places.get(orphan).copied().unwrap_or(usize::MAX));
    orphans
}

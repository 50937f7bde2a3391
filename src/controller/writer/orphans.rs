//! What is kept of a file's orphans. Whoever may edit the file may write thousands, so that most of them are kept as digests.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::api::flagset::Orphan;

/// Orphans that are kept as they are, of as many as there are: a status lists no more.
pub const MOST_LISTED: usize = 64;
/// The same of a FlagSet that its namespace has no room for.
pub(super) const FEW_LISTED: usize = 4;

/// The orphans of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Those that are listed, the newest first.
    listed: Vec<Orphan>,
    /// Digests of the keys of all, in order.
    keys: Box<[u32]>,
    /// Digests of all, in order: those that are not among them are new.
    known: Box<[u32]>,
}

impl Orphans {
    /// Those that were found in a file.
    pub fn found(listed: Vec<Orphan>) -> Orphans {
        let sorted = |mut all: Vec<u32>| {
            all.sort_unstable();
            all.into_boxed_slice()
        };
        Orphans {
            keys: sorted(listed.iter().map(|orphan| digest(&orphan.key)).collect()),
            known: sorted(listed.iter().map(digest).collect()),
            listed,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The newest of them.
    pub fn newest(&self) -> &[Orphan] {
        &self.listed
    }

    /// Whether one of them has a key.
    pub fn have(&self, key: &str) -> bool {
        self.keys.binary_search(&digest(key)).is_ok()
    }

    /// These after those that were known `before`, else after those that the status has `listed`: those that were not there before come
    /// first, then the others in the order in which they were. `most` are kept as they are.
    pub(super) fn after(self, before: Option<&Orphans>, listed: &[Orphan], most: usize) -> Orphans {
        let (old, new): (Vec<Orphan>, Vec<Orphan>) = match before {
            Some(before) => self.listed.into_iter().partition(|orphan| before.knows(orphan)),
            // Those that a status does not name are older than those that it does.
            None => (self.listed, Vec::new()),
        };
        let mut newest = new;
        newest.extend(in_order(before.map_or(listed, Orphans::newest), old));
        newest.truncate(most);
        newest.shrink_to_fit();
        Orphans { listed: newest, ..self }
    }

    fn knows(&self, orphan: &Orphan) -> bool {
        self.known.binary_search(&digest(orphan)).is_ok()
    }
}

/// A few bytes that stand for a value.
#[allow(clippy::cast_possible_truncation, reason = "any bits of it will do")]
fn digest(value: &(impl Hash + ?Sized)) -> u32 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish() as u32
}

/// Orphans in the order of `listed`; those that are not listed come last.
fn in_order(listed: &[Orphan], mut orphans: Vec<Orphan>) -> Vec<Orphan> {
    let places: HashMap<&Orphan, usize> = listed.iter().enumerate().map(|(i, orphan)| (orphan, i)).collect();
    orphans.sort_by_key(|orphan| places.get(orphan).copied().unwrap_or(usize::MAX));
    orphans
}

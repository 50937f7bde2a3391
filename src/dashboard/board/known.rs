//! What a board knows, and in which order it came to know that.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::{Scope, Shown, Standing};
use crate::dashboard::row::Id;

/// How many changes are remembered: whoever has missed more looks at everything again.
const REMEMBERED: usize = 1_024;

/// What is known.
pub struct Known<R> {
    /// What is shown of each object, and the scope that it is known by.
    pub rows: BTreeMap<Id, (Scope, Arc<R>)>,
    /// The watches.
    pub watches: BTreeMap<Scope, Watching>,
    /// How it stands as long as nothing was found to be watched: `None` before the first answer, too.
    pub before: Option<Standing>,
    /// Grows with each change.
    pub version: u64,
    changes: VecDeque<(u64, Id)>,
}

/// A watch under way; it ends with this.
pub struct Watching {
    /// How it stands.
    pub standing: Standing,
    /// What keeps it.
    pub task: AbortHandle,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<R> Default for Known<R> {
    fn default() -> Known<R> {
        Known {
            rows: BTreeMap::new(),
            watches: BTreeMap::new(),
            before: None,
            version: 0,
            changes: VecDeque::new(),
        }
    }
}

impl<R: Shown> Known<R> {
    /// Notes how a watch stands.
    pub fn stand(&mut self, scope: &Scope, standing: Standing) {
        if let Some(watching) = self.watches.get_mut(scope) {
            if let (Standing::Lost(..), Standing::Lost(..)) = (&watching.standing, &standing) {
                return;
            }
            if watching.standing != standing {
                watching.standing = standing;
                self.version += 1;
            }
        }
    }

    fn note(&mut self, id: Id) {
        self.version += 1;
        self.changes.push_back((self.version, id));
        while self.changes.len() > REMEMBERED {
            self.changes.pop_front();
        }
    }

    /// Notes what is shown of an object by now.
    pub fn put(&mut self, scope: &Scope, row: R) {
        let id = row.id().clone();
        if self.rows.get(&id).is_some_and(|(_, known)| **known == row) {
            return;
        }
        self.rows.insert(id.clone(), (scope.clone(), Arc::new(row)));
        self.note(id);
    }

    /// Forgets an object.
    pub fn remove(&mut self, id: &Id) {
        if self.rows.remove(id).is_some() {
            self.note(id.clone());
        }
    }

    /// Forgets whatever was known of a scope.
    pub fn forget(&mut self, scope: &Scope) {
        let gone: Vec<Id> =
            self.rows.iter().filter(|(_, (of, _))| of == scope).map(|(id, _)| id.clone()).collect();
        for id in &gone {
            self.remove(id);
        }
    }

    /// Takes a whole list for what there is.
    pub fn replace(&mut self, scope: &Scope, listed: BTreeMap<Id, R>) {
        let gone: Vec<Id> = self
            .rows
            .iter()
            .filter(|(id, (of, _))| of == scope && !listed.contains_key(*id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in &gone {
            self.remove(id);
        }
        for row in listed.into_values() {
            self.put(scope, row);
        }
    }

    /// What has changed after a version; `None` where that is not known any more, so that all may have.
    pub fn since(&self, version: u64) -> Option<Vec<Id>> {
        let forgotten = self.version - self.changes.len() as u64;
        let oldest = self.changes.front().map_or(forgotten, |(at, _)| at.saturating_sub(1));
        if version < oldest && self.version > version {
            return None;
        }
        let mut ids: Vec<Id> =
            self.changes.iter().filter(|(at, _)| *at > version).map(|(_, id)| id.clone()).collect();
        ids.sort();
        ids.dedup();
        Some(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::row::Row;

    fn row(namespace: &str, name: &str, title: &str) -> Row {
        let id = Id { namespace: namespace.to_owned(), name: name.to_owned() };
        Row { id, title: title.to_owned(), ..Row::default() }
    }

    fn scope(name: &str) -> Scope {
        Scope::Namespace(name.to_owned())
    }

    fn titles(known: &Known<Row>) -> Vec<&str> {
        known.rows.values().map(|(_, row)| row.title.as_str()).collect()
    }

    #[test]
    fn a_list_takes_the_place_of_what_was_known_of_its_scope_only() {
        let mut known = Known::<Row>::default();
        let (one, two) = (scope("one"), scope("two"));
        known.put(&one, row("one", "a", "A"));
        known.put(&one, row("one", "b", "B"));
        known.put(&two, row("two", "c", "C"));
        let before = known.version;
        let listed = [row("one", "b", "B2")].map(|row| (row.id.clone(), row)).into();
        known.replace(&one, listed);
        assert_eq!(titles(&known), ["B2", "C"]);
        assert_eq!(known.version, before + 2, "one is gone, and one is another");
        known.put(&one, row("one", "b", "B2"));
        assert_eq!(known.version, before + 2, "the same again is no change");
        known.forget(&two);
        assert_eq!(titles(&known), ["B2"]);
    }
}

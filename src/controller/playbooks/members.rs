//! What playbooks look at of rollouts, taken from each version of a rollout once.
//!
//! A rollout is decoded for whoever looks at it, and a playbook that a thousand rollouts join is looked at for each of them. What is
//! kept here is a part of the rollout's own text, so the room that its namespace has for rollouts bounds it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::controller::cache::ObjectKey;
use crate::playbook::{Reach, Seen};

/// The rollouts that playbooks look at.
#[derive(Default)]
pub struct Members(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    namespaces: HashMap<String, Namespace>,
    /// Counts the changes of all, so that no number comes twice.
    changes: u64,
}

struct Namespace {
    rollouts: HashMap<String, Kept>,
    stamp: Stamp,
}

struct Kept {
    version: u64,
    seen: Arc<Seen>,
}

/// Up to which change of the rollouts of a namespace something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    required: u64,
    circles: u64,
}

impl Stamp {
    /// Whether what phases require is still what was found then, with phases that wait for themselves or without any.
    pub fn holds(self, now: Stamp, in_circles: bool) -> bool {
        self.required == now.required && (!in_circles || self.circles == now.circles)
    }
}

/// A rollout, and what it was when it was looked at last.
#[derive(Debug)]
pub struct Looked {
    /// What it was, where that is something else.
    pub before: Option<Arc<Seen>>,
    /// What it is; nothing where it is not there or cannot be read.
    pub now: Option<Arc<Seen>>,
    /// How far the change reaches.
    pub reach: Reach,
}

impl Looked {
    fn unchanged(now: Option<Arc<Seen>>) -> Looked {
        Looked { before: None, now, reach: Reach::Nobody }
    }
}

impl Members {
    /// A rollout that is known in a version; 0 where it is not known. It is read where that is another version than the one
    /// that was looked at last, while nobody waits for it.
    pub fn look(
        &self,
        key: &ObjectKey,
        version: u64,
        is_named: impl FnOnce() -> bool,
        read: impl FnOnce() -> Option<(u64, Seen)>,
    ) -> Looked {
        if version == 0 {
            return self.forget(key);
        }
        if let Some(known) = self.lock().kept(key).filter(|known| known.version == version) {
            return Looked::unchanged(Some(known.seen.clone()));
        }
        match read() {
            Some((version, seen)) => self.keep(key, version, seen, is_named()),
            None => self.forget(key),
        }
    }

    fn keep(&self, key: &ObjectKey, version: u64, seen: Seen, is_named: bool) -> Looked {
        let mut inner = self.lock();
        let before = inner.kept(key).map(|kept| (kept.version, kept.seen.clone()));
        let looked = match before {
            // Somebody else has read a newer version meanwhile.
            Some((known, before)) if known >= version => return Looked::unchanged(Some(before)),
            Some((_, before)) => match before.reach(&seen, is_named) {
                Reach::Nobody => Looked::unchanged(Some(before)),
                reach => Looked { before: Some(before), now: Some(Arc::new(seen)), reach },
            },
            None => Looked { before: None, now: Some(Arc::new(seen)), reach: Reach::Required },
        };
        let stamp = inner.stamped(&key.0, looked.reach);
        let namespace = inner
            .namespaces
            .entry(key.0.clone())
            .or_insert_with(|| Namespace { rollouts: HashMap::new(), stamp });
        namespace.stamp = stamp;
        if let Some(seen) = looked.now.clone() {
            namespace.rollouts.insert(key.1.clone(), Kept { version, seen });
        }
        looked
    }

    /// Forgets a rollout. Whoever looks at it again reads it.
    pub fn forget(&self, key: &ObjectKey) -> Looked {
        let mut inner = self.lock();
        let stamp = inner.stamped(&key.0, Reach::Required);
        let Some(namespace) = inner.namespaces.get_mut(&key.0) else { return Looked::unchanged(None) };
        let Some(gone) = namespace.rollouts.remove(&key.1) else { return Looked::unchanged(None) };
        namespace.stamp = stamp;
        if namespace.rollouts.is_empty() {
            inner.namespaces.remove(&key.0);
        }
        Looked { before: Some(gone.seen), now: None, reach: Reach::Required }
    }

    /// Whether anything is kept of a rollout.
    pub fn knows(&self, key: &ObjectKey) -> bool {
        self.lock().kept(key).is_some()
    }

    /// How far the rollouts of a namespace have changed; nothing where none is kept.
    pub fn stamp(&self, namespace: &str) -> Option<Stamp> {
        self.lock().namespaces.get(namespace).map(|namespace| namespace.stamp)
    }

    /// How many rollouts are kept.
    pub fn len(&self) -> usize {
        self.lock().namespaces.values().map(|namespace| namespace.rollouts.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn kept(&self, key: &ObjectKey) -> Option<&Kept> {
        self.namespaces.get(&key.0)?.rollouts.get(&key.1)
    }

    /// The stamp of a namespace after a change.
    fn stamped(&mut self, namespace: &str, reach: Reach) -> Stamp {
        self.changes += 1;
        let change = self.changes;
        let new = Stamp { required: change, circles: change };
        let known = self.namespaces.get(namespace).map_or(new, |namespace| namespace.stamp);
        match reach {
            Reach::Nobody | Reach::Shown => known,
            Reach::Circles => Stamp { circles: change, ..known },
            Reach::Required => new,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn seen(completed: bool) -> Seen {
        let mut rollout = crate::api::FeatureRollout::new("dreams", Default::default());
        rollout.metadata.namespace = Some("maya".to_owned());
        Seen { completed, ..Seen::of(&rollout) }
    }

    fn key() -> ObjectKey {
        ("maya".to_owned(), "dreams".to_owned())
    }

    #[test]
    fn the_facts_of_a_member_are_read_again_only_when_its_version_is_another() {
        let (members, reads) = (Members::default(), Cell::new(0));
        let look = |version: u64, completed: bool| {
            let read = || {
                reads.set(reads.get() + 1);
                Some((version, seen(completed)))
            };
            let looked = members.look(&key(), version, || false, read);
            (looked.reach, reads.get())
        };
        assert_eq!(look(1, false), (Reach::Required, 1));
        assert_eq!(look(1, false), (Reach::Nobody, 1));
        assert_eq!(look(2, false), (Reach::Nobody, 2), "another version of the same");
        assert_eq!(look(2, false), (Reach::Nobody, 2));
        assert_eq!(look(3, true), (Reach::Required, 3));
        assert_eq!((look(0, true), members.len()), ((Reach::Required, 3), 0));
        assert_eq!(look(0, true), (Reach::Nobody, 3), "it has been forgotten");
        assert_eq!(look(4, true), (Reach::Required, 4), "it came again");
    }

    #[test]
    fn what_was_found_holds_until_a_change_that_reaches_it() {
        let members = Members::default();
        let put = |version: u64, seen: Seen| {
            members.look(&key(), version, || false, || Some((version, seen)));
            members.stamp("maya").unwrap()
        };
        let first = put(1, seen(false));
        let held = Seen { held: Some(("Paused".to_owned(), "why".to_owned())), ..seen(false) };
        assert!(first.holds(put(2, held.clone()), true), "what is only shown");
        let started = put(3, Seen { started: true, ..held.clone() });
        assert!(first.holds(started, false) && !first.holds(started, true), "a start ends circles");
        assert!(!started.holds(put(4, Seen { completed: true, ..held }), false));

        // What is forgotten and comes again is another one, whatever it was before.
        let last = members.stamp("maya").unwrap();
        members.forget(&key());
        assert_eq!(members.stamp("maya"), None);
        let again = put(1, seen(false));
        assert!(!first.holds(again, false) && !last.holds(again, false));
        assert!(members.stamp("other").is_none());
    }

    #[test]
    fn a_rollout_that_is_gone_while_it_is_read_is_not_kept() {
        let members = Members::default();
        assert!(members.look(&key(), 5, || false, || None).now.is_none());
        assert!(!members.knows(&key()));
        // Whoever read an older version meanwhile takes the newer one.
        members.look(&key(), 7, || false, || Some((7, seen(true))));
        let late = members.look(&key(), 6, || false, || Some((6, seen(false))));
        assert!(late.now.unwrap().completed && late.reach == Reach::Nobody);
    }
}

//! How many actions without an answer are kept of one namespace: whoever may ask for one may ask for tens of thousands. Those beyond that
//! are read again once there is room.

use std::collections::{BTreeSet, HashMap};

use super::pending::Order;

/// Actions that are kept of one namespace.
pub(super) const MOST: usize = 1024;

/// Who has a place, by namespace.
#[derive(Default)]
pub(super) struct Room(HashMap<String, Space>);

#[derive(Default)]
struct Space {
    /// What stops or lowers, then the rest, each the eldest first.
    kept: BTreeSet<(bool, Order, String)>,
    /// Whether there are others.
    has_left_out: bool,
}

impl Room {
    /// Gives an action a place. Returns the name of the one that has none any more, which may be the same.
    pub fn add(&mut self, namespace: &str, is_ordinary: bool, order: &Order, name: &str) -> Option<String> {
        let space = self.0.entry(namespace.to_owned()).or_default();
        space.kept.insert((is_ordinary, order.clone(), name.to_owned()));
        if space.kept.len() <= MOST {
            return None;
        }
        space.has_left_out = true;
        space.kept.pop_last().map(|(_, _, name)| name)
    }

    /// Takes the place of an action back.
    pub fn remove(&mut self, namespace: &str, is_ordinary: bool, order: &Order, name: &str) {
        let Some(space) = self.0.get_mut(namespace) else { return };
        space.kept.remove(&(is_ordinary, order.clone(), name.to_owned()));
        if space.kept.is_empty() && !space.has_left_out {
            self.0.remove(namespace);
        }
    }

    /// The namespaces where some were left out and half of the places are free. They are told once.
    pub fn take_free(&mut self) -> Vec<String> {
        let is_free = |space: &Space| space.has_left_out && space.kept.len() <= MOST / 2;
        let free = self.0.iter_mut().filter(|(_, space)| is_free(space));
        let names = free.map(|(name, space)| {
            space.has_left_out = false;
            name.clone()
        });
        let names = names.collect();
        self.0.retain(|_, space| space.has_left_out || !space.kept.is_empty());
        names
    }

    /// Notes that there are others in a namespace than those that have a place.
    pub fn leave_out(&mut self, namespace: &str) {
        self.0.entry(namespace.to_owned()).or_default().has_left_out = true;
    }

    /// How many places are taken.
    pub fn len(&self) -> usize {
        self.0.values().map(|space| space.kept.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(index: usize) -> Order {
        (None, u64::try_from(index).unwrap(), format!("a{index}"))
    }

    fn full() -> Room {
        let mut room = Room::default();
        for index in 0..MOST {
            assert_eq!(room.add("ns", true, &order(index * 2), &format!("a{}", index * 2)), None);
        }
        room
    }

    #[test]
    fn the_youngest_of_those_that_neither_stop_nor_lower_has_no_place_first() {
        let mut room = full();
        let youngest = format!("a{}", MOST * 2 - 2);
        assert_eq!(room.add("ns", true, &order(1), "elder").as_ref(), Some(&youngest));
        assert_eq!(room.add("ns", true, &order(MOST * 2), "younger").as_deref(), Some("younger"));
        let next = format!("a{}", MOST * 2 - 4);
        assert_eq!(room.add("ns", false, &order(MOST * 2), "rollback").as_ref(), Some(&next));
        assert_eq!(room.add("other", true, &order(0), "a"), None, "each namespace has places of its own");
        assert_eq!(room.len(), MOST + 1);
    }

    #[test]
    fn what_was_left_out_is_read_again_once_half_of_the_places_are_free() {
        let mut room = full();
        assert_eq!(room.add("ns", true, &order(MOST * 2), "younger").as_deref(), Some("younger"));
        for index in 0..MOST / 2 {
            assert_eq!(room.take_free(), Vec::<String>::new());
            room.remove("ns", true, &order(index * 2), &format!("a{}", index * 2));
        }
        assert_eq!(room.take_free(), ["ns"]);
        assert_eq!(room.take_free(), Vec::<String>::new(), "it is told once");
        room.leave_out("ns");
        assert_eq!(room.take_free(), ["ns"], "the read has failed");
        for index in MOST / 2..MOST {
            room.remove("ns", true, &order(index * 2), &format!("a{}", index * 2));
        }
        assert!(room.0.is_empty(), "nothing is kept of a namespace without actions");
    }
}

//! Keys that wait, in turns: however many wait of one namespace, those of another wait for one turn of it.

use std::collections::{HashMap, VecDeque};

/// Keys of a turn of those to be decided on: more than the members of most files, so that a file is still complete early.
pub(super) const FILE: usize = 64;
/// Keys of a turn of those that wait for a report, which go on one by one while anything is decided on: nobody waits for many of others.
pub(super) const FEW: usize = 4;

/// Belongs to a namespace.
pub trait Tenant {
    /// The namespace.
    fn tenant(&self) -> &str;
}

/// Keys that wait.
#[derive(Debug)]
pub(super) struct InTurns<K> {
    waiting: HashMap<String, VecDeque<K>>,
    /// The namespaces of which keys wait, the one whose turn it is first.
    turns: VecDeque<String>,
    /// Keys of a turn.
    turn: usize,
    /// Keys that are left of the first one's.
    left: usize,
}

impl<K> InTurns<K> {
    /// Nobody waits; `turn` keys of a namespace come before those of the next one.
    pub fn of(turn: usize) -> InTurns<K> {
        InTurns { waiting: HashMap::new(), turns: VecDeque::new(), turn, left: turn }
    }
}

impl<K: Tenant> InTurns<K> {
    /// Adds a key behind those of its namespace.
    pub fn push_back(&mut self, key: K) {
        if let Some(keys) = self.waiting.get_mut(key.tenant()) {
            return keys.push_back(key);
        }
        let tenant = key.tenant().to_owned();
        self.turns.push_back(tenant.clone());
        self.waiting.insert(tenant, VecDeque::from([key]));
    }

    /// Takes the next key.
    pub fn pop_front(&mut self) -> Option<K> {
        let keys = self.waiting.get_mut(self.turns.front()?)?;
        let key = keys.pop_front();
        let is_empty = keys.is_empty();
        self.left = self.left.saturating_sub(1);
        if is_empty || self.left == 0 {
            self.left = self.turn;
            let tenant = self.turns.pop_front()?;
            match is_empty {
                true => drop(self.waiting.remove(&tenant)),
                false => self.turns.push_back(tenant),
            }
        }
        key
    }

    /// Whether no key waits.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Of(&'static str, usize);

    impl Tenant for Of {
        fn tenant(&self) -> &str {
            self.0
        }
    }

    #[test]
    fn a_flood_of_one_namespace_lets_another_in_after_one_turn() {
        let mut in_turns = InTurns::of(FILE);
        (0..1000).for_each(|i| in_turns.push_back(Of("greedy", i)));
        assert_eq!(in_turns.pop_front(), Some(Of("greedy", 0)));
        (0..3).for_each(|i| in_turns.push_back(Of("maya", i)));
        let order: Vec<Of> = std::iter::from_fn(|| in_turns.pop_front()).collect();
        let at = |of: &Of| order.iter().position(|other| other == of).unwrap();
        assert_eq!([0, 1, 2].map(|i| at(&Of("maya", i))), [63, 64, 65]);
        let greedy: Vec<usize> = order.iter().filter(|of| of.0 == "greedy").map(|of| of.1).collect();
        assert_eq!(greedy, (1..1000).collect::<Vec<_>>(), "in their order");
        assert!(in_turns.is_empty() && in_turns.waiting.is_empty());
    }

    #[test]
    fn whoever_comes_back_waits_for_its_turn() {
        let mut in_turns = InTurns::of(FILE);
        in_turns.push_back(Of("a", 0));
        in_turns.push_back(Of("b", 0));
        assert_eq!(in_turns.pop_front(), Some(Of("a", 0)));
        in_turns.push_back(Of("a", 1));
        assert_eq!(in_turns.pop_front(), Some(Of("b", 0)));
        assert_eq!(in_turns.pop_front(), Some(Of("a", 1)));
        assert_eq!(in_turns.pop_front(), None);
    }
}

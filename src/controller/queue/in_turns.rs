//! Keys that wait, in turns: however many wait of one namespace, those of another wait for one turn of it. How long a turn is, and
//! how many of a namespace may be worked on at once, is told by what they cost ([`super::cost`]).

use std::collections::{HashMap, VecDeque};

use super::cost::Costs;

/// Most keys of a turn of those to be decided on: more than the members of most files, so that a file is still complete early.
pub(super) const FILE: usize = 64;
/// Most keys of a turn of those that wait for a report, which go on one by one while anything of their namespace is decided on: nobody
/// waits for many of others.
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
    /// Most keys of a turn.
    turn: usize,
    /// Keys of the first one's turn that have been taken.
    taken: usize,
}

impl<K> InTurns<K> {
    /// Nobody waits; at most `turn` keys of a namespace come before those of the next one.
    pub fn of(turn: usize) -> InTurns<K> {
        InTurns { waiting: HashMap::new(), turns: VecDeque::new(), turn, taken: 0 }
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

    /// Takes the next key of a namespace that `may_begin` another one. Where a turn has begun, and its namespace may not go on, the turn
    /// is over; whoever has not begun keeps its place.
    pub fn pop_front(&mut self, costs: &Costs, may_begin: impl Fn(&str) -> bool) -> Option<K> {
        if self.taken > 0 && self.turns.front().is_some_and(|tenant| !may_begin(tenant)) {
            self.turns.rotate_left(1);
            self.taken = 0;
        }
        let next = self.turns.iter().position(|tenant| may_begin(tenant))?;
        if next > 0 {
            let tenant = self.turns.remove(next)?;
            self.turns.push_front(tenant);
        }
        let tenant = self.turns.front()?;
        let keys = self.waiting.get_mut(tenant)?;
        let key = keys.pop_front();
        let is_empty = keys.is_empty();
        self.taken += 1;
        if is_empty || self.taken >= costs.turn(tenant, self.turn) {
            self.taken = 0;
            let tenant = self.turns.pop_front()?;
            match is_empty {
                true => drop(self.waiting.remove(&tenant)),
                false => self.turns.push_back(tenant),
            }
        }
        key
    }

    /// Whether a key of a namespace waits.
    pub fn is_waiting(&self, tenant: &str) -> bool {
        self.waiting.contains_key(tenant)
    }

    /// Whether no key waits.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::cost::Took;
    use super::*;
    use crate::clock;

    #[derive(Debug, PartialEq, Eq)]
    struct Of(&'static str, usize);

    impl Tenant for Of {
        fn tenant(&self) -> &str {
            self.0
        }
    }

    fn pop(in_turns: &mut InTurns<Of>) -> Option<Of> {
        in_turns.pop_front(&Costs::default(), |_| true)
    }

    #[test]
    fn a_flood_of_one_namespace_lets_another_in_after_one_turn() {
        let mut in_turns = InTurns::of(FILE);
        (0..1000).for_each(|i| in_turns.push_back(Of("greedy", i)));
        assert_eq!(pop(&mut in_turns), Some(Of("greedy", 0)));
        assert!(in_turns.is_waiting("greedy") && !in_turns.is_waiting("maya"));
        (0..3).for_each(|i| in_turns.push_back(Of("maya", i)));
        let order: Vec<Of> = std::iter::from_fn(|| pop(&mut in_turns)).collect();
        let at = |of: &Of| order.iter().position(|other| other == of).unwrap();
        assert_eq!([0, 1, 2].map(|i| at(&Of("maya", i))), [63, 64, 65]);
        let greedy: Vec<usize> = order.iter().filter(|of| of.0 == "greedy").map(|of| of.1).collect();
        assert_eq!(greedy, (1..1000).collect::<Vec<_>>(), "in their order");
        assert!(in_turns.is_empty() && in_turns.waiting.is_empty());
    }

    #[test]
    fn dear_keys_make_short_turns_and_whoever_may_not_begin_is_passed_over() {
        let mut costs = Costs::default();
        let took = Took { processor: Duration::from_millis(50), ..Took::default() };
        costs.note("dear", took, clock::monotonic());
        let mut in_turns = InTurns::of(FILE);
        (0..4).for_each(|i| in_turns.push_back(Of("dear", i)));
        (0..3).for_each(|i| in_turns.push_back(Of("maya", i)));
        let mut next = |may_begin: fn(&str) -> bool| in_turns.pop_front(&costs, may_begin);
        assert_eq!(next(|_| true), Some(Of("dear", 0)));
        assert_eq!(next(|_| true), Some(Of("dear", 1)));
        assert_eq!(next(|_| true), Some(Of("maya", 0)), "two of them are a turn");
        assert_eq!(next(|of| of != "maya"), Some(Of("dear", 2)));
        assert_eq!(next(|of| of != "dear"), Some(Of("maya", 1)));
        assert_eq!(next(|_| false), None);
        let left: Vec<Of> = std::iter::from_fn(|| next(|_| true)).collect();
        assert_eq!(left.len(), 2, "nothing is lost: {left:?}");
    }

    #[test]
    fn whoever_comes_back_waits_for_its_turn() {
        let mut in_turns = InTurns::of(FILE);
        in_turns.push_back(Of("a", 0));
        in_turns.push_back(Of("b", 0));
        assert_eq!(pop(&mut in_turns), Some(Of("a", 0)));
        in_turns.push_back(Of("a", 1));
        assert_eq!(pop(&mut in_turns), Some(Of("b", 0)));
        assert_eq!(pop(&mut in_turns), Some(Of("a", 1)));
        assert_eq!(pop(&mut in_turns), None);
    }
}

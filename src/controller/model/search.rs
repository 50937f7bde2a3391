//! Every state that a world can come to, the nearest first: the way to a broken rule is a shortest one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is not as it must be, in words.
pub(super) type Broken = String;
/// The state after a step, or the rule that it has broken.
pub(super) type After<S> = Result<S, Broken>;

/// Most steps that a world may take to come to rest.
const REST: usize = 400;

/// Something that goes from state to state by steps.
pub(super) trait World {
    /// All that decides what may happen next.
    type State: Clone + Eq + Hash;
    /// What happens.
    type Step: Clone + Debug;

    /// All that may happen next, and what comes of it.
    fn steps(&mut self, state: &Self::State) -> Vec<(Self::Step, After<Self::State>)>;

    /// What happens next where nobody disturbs; `None` at rest.
    fn undisturbed(&mut self, state: &Self::State) -> Option<(Self::Step, After<Self::State>)>;

    /// What is not as it must be at rest.
    fn rest(&mut self, state: &Self::State) -> Result<(), Broken>;
}

/// What a search has seen without a broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Searched {
    /// Different states.
    pub(super) states: usize,
    /// Steps between them.
    pub(super) steps: usize,
    /// Most steps from the beginning to a state.
    pub(super) depth: usize,
}

/// A way to a broken rule.
#[derive(Debug)]
pub(super) struct Counterexample {
    /// The rule.
    pub(super) broken: Broken,
    /// What happened.
    pub(super) path: Vec<String>,
}

/// Looks at every state that can be reached from `start`. States are known again by 64 bits of hash: of ten million, two have
/// the same with a chance of one in 400,000.
///
/// # Panics
/// When there are more than `most` states: what was not looked at is not held.
pub(super) fn search<W: World>(
    world: &mut W,
    start: W::State,
    most: usize,
) -> Result<Searched, Counterexample> {
    let mut known = HashMap::from([(hash(&start), 0)]);
    // From which state each was reached first, by what, and how many steps from the beginning.
    let mut came: Vec<(usize, Option<W::Step>, usize)> = vec![(0, None, 0)];
    let mut at_rest = HashSet::new();
    let mut queue = VecDeque::from([(0, start)]);
    let (mut steps, mut depth) = (0, 0);
    while let Some((at, state)) = queue.pop_front() {
        let way = |came: &Vec<(usize, Option<W::Step>, usize)>, last: Vec<String>, broken| {
            let mut path: Vec<String> = last.into_iter().rev().collect();
            let mut at = at;
            while let (from, Some(step), _) = &came[at] {
                path.push(format!("{step:?}"));
                at = *from;
            }
            path.reverse();
            Counterexample { broken, path }
        };
        if let Err((last, broken)) = comes_to_rest(world, &state, &mut at_rest) {
            return Err(way(&came, last, broken));
        }
        let distance = came[at].2 + 1;
        for (step, after) in world.steps(&state) {
            steps += 1;
            let next = after.map_err(|broken| way(&came, vec![format!("{step:?}")], broken))?;
            let new = came.len();
            if *known.entry(hash(&next)).or_insert(new) == new {
                assert!(new < most, "more than {most} states");
                depth = depth.max(distance);
                came.push((at, Some(step), distance));
                queue.push_back((new, next));
            }
        }
    }
    Ok(Searched { states: came.len(), steps, depth })
}

/// Lets a state go on without disturbances until it is at rest, or where another one has come to rest before.
fn comes_to_rest<W: World>(
    world: &mut W,
    state: &W::State,
    at_rest: &mut HashSet<u64>,
) -> Result<(), (Vec<String>, Broken)> {
    let mut state = state.clone();
    let (mut passed, mut path) = (Vec::new(), Vec::new());
    loop {
        let here = hash(&state);
        if at_rest.contains(&here) {
            break;
        }
        passed.push(here);
        let Some((step, after)) = world.undisturbed(&state) else {
            world.rest(&state).map_err(|broken| (path, broken))?;
            break;
        };
        path.push(format!("{step:?}, undisturbed"));
        state = after.map_err(|broken| (path.clone(), broken))?;
        if passed.len() > REST {
            return Err((path, "it never comes to rest".to_owned()));
        }
    }
    at_rest.extend(passed);
    Ok(())
}

fn hash(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number below seven that may go up by one or two; undisturbed it goes down.
    struct Numbers {
        forbidden: u8,
        rests_at: u8,
    }

    impl World for Numbers {
        type State = u8;
        type Step = u8;

        fn steps(&mut self, state: &u8) -> Vec<(u8, After<u8>)> {
            let next = [1, 2].into_iter().map(|by| (by, *state + by)).filter(|(_, next)| *next < 7);
            let after =
                |next: u8| if next == self.forbidden { Err("forbidden".to_owned()) } else { Ok(next) };
            next.map(|(by, next)| (by, after(next))).collect()
        }

        fn undisturbed(&mut self, state: &u8) -> Option<(u8, After<u8>)> {
            (*state > self.rests_at).then(|| (0, Ok(*state - 1)))
        }

        fn rest(&mut self, state: &u8) -> Result<(), Broken> {
            if *state == self.rests_at { Ok(()) } else { Err(format!("rests at {state}")) }
        }
    }

    #[test]
    fn every_state_is_looked_at_once_and_a_broken_rule_has_a_shortest_way() {
        let found = search(&mut Numbers { forbidden: 9, rests_at: 0 }, 0, 10).unwrap();
        assert_eq!(found, Searched { states: 7, steps: 11, depth: 3 });
        let broken = search(&mut Numbers { forbidden: 5, rests_at: 0 }, 0, 10).unwrap_err();
        assert_eq!((broken.broken.as_str(), broken.path.len()), ("forbidden", 3));
        let broken = search(&mut Numbers { forbidden: 9, rests_at: 3 }, 0, 10).unwrap_err();
        assert_eq!((broken.broken.as_str(), broken.path.len()), ("rests at 0", 0));
    }

    #[test]
    #[should_panic = "more than 3 states"]
    fn a_search_that_is_cut_off_does_not_pass() {
        let _cut = search(&mut Numbers { forbidden: 9, rests_at: 0 }, 0, 3);
    }
}

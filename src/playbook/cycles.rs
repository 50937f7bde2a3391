//! Phases that wait for each other in a circle.

use std::collections::{BTreeMap, VecDeque};

use super::{Book, Needed, World};
use crate::plan::{FieldError, dependency_cycle};

/// The circle that a phase is part of, in words, beginning and ending with it; `None` when there is none.
///
/// A phase opens after what it requires; a milestone comes after the rollout or the phase that it is reached by; a phase is
/// finished after its rollouts, and after it is open; and a rollout starts after its phase is open and after the rollouts that it
/// depends on.
pub fn cycle_of(book: &Book, phase: &str, world: &dyn World) -> Option<Vec<String>> {
    Waits::of(book, [phase], world).circle(phase)
}

/// Every circle, once, at the first phase that is part of it.
pub fn cycle_errors(book: &Book, world: &dyn World) -> Vec<FieldError> {
    let waits = Waits::of(book, book.phases.iter().map(|phase| phase.declared.name.as_str()), world);
    let mut told: Vec<Vec<String>> = Vec::new();
    let mut errors = Vec::new();
    for (i, phase) in book.phases.iter().enumerate() {
        let Some(circle) = waits.circle(&phase.declared.name) else { continue };
        let mut members = circle.clone();
        members.sort();
        members.dedup();
        if told.contains(&members) {
            continue;
        }
        told.push(members);
        let message = format!("waits for itself: {}", circle.join(" → "));
        errors.push(FieldError::new(format!("spec.phases[{i}].requires"), message));
    }
    errors
}

const FINISHED: &str = " finished";

fn open(phase: &str) -> String {
    format!("phase {phase}")
}

fn finished(phase: &str) -> String {
    format!("phase {phase}{FINISHED}")
}

/// How many times it is followed that something waits for a rollout. Whoever has thousands of them wait for each other, each for
/// sixteen, has everybody wait for the search otherwise. A circle that is not found within that is not told: what is in it waits for
/// each other all the same.
const MOST_EDGES: usize = 4096;

/// What each thing waits for, as far as it can be reached from some phases.
pub(super) struct Waits(BTreeMap<String, Vec<String>>);

impl Waits {
    /// Of these phases.
    pub(super) fn of<'p>(book: &Book, phases: impl IntoIterator<Item = &'p str>, world: &dyn World) -> Waits {
        let mut waits: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // What the playbook itself says goes first: that is little.
        let mut of_plan: Vec<Node> = phases.into_iter().map(|phase| Node::Open(phase.to_owned())).collect();
        let mut rollouts: VecDeque<Node> = VecDeque::new();
        let mut followed = 0;
        while let Some(node) = of_plan.pop().or_else(|| rollouts.pop_front()) {
            let name = node.name();
            if waits.contains_key(&name) {
                continue;
            }
            let mut after = node.waits_for(book, world);
            after.retain(|next| {
                let is_followed = !matches!(next, Node::Rollout(_)) || followed < MOST_EDGES;
                followed += usize::from(matches!(next, Node::Rollout(_)));
                is_followed
            });
            waits.insert(name, after.iter().map(Node::name).collect());
            for next in after {
                match next {
                    Node::Rollout(_) => rollouts.push_back(next),
                    Node::Open(_) | Node::Finished(_) | Node::Milestone(_) => of_plan.push(next),
                }
            }
        }
        Waits(waits)
    }

    /// The circle that one of the phases is part of, in words.
    pub(super) fn circle(&self, phase: &str) -> Option<Vec<String>> {
        let start = open(phase);
        let circle =
            dependency_cycle(&start, |node| self.0.get(node).into_iter().flatten().map(String::as_str))?;
        // That a phase is finished after it is open goes without saying.
        let mut words: Vec<String> =
            circle.iter().map(|node| node.trim_end_matches(FINISHED).to_owned()).collect();
        words.dedup();
        Some(words)
    }
}

enum Node {
    Open(String),
    Finished(String),
    Milestone(String),
    Rollout(String),
}

impl Node {
    fn name(&self) -> String {
        match self {
            Node::Open(phase) => open(phase),
            Node::Finished(phase) => finished(phase),
            Node::Milestone(name) => format!("milestone {name}"),
            Node::Rollout(name) => format!("rollout {name}"),
        }
    }

    fn waits_for(&self, book: &Book, world: &dyn World) -> Vec<Node> {
        let of = |needed: &[Needed]| -> Vec<Node> { needed.iter().filter_map(node_of).collect() };
        match self {
            Node::Open(phase) => book.phase(phase).map(|phase| of(&phase.requires)).unwrap_or_default(),
            Node::Milestone(name) => book.milestone(name).map(|goal| of(&goal.needs)).unwrap_or_default(),
            Node::Finished(phase) => {
                // One that waits for no other leads to its own phase at the most, and so does the phase.
                let waiting = world.members(phase).iter();
                let waiting = waiting.filter(|seen| !seen.started && !seen.depends_on.is_empty());
                let members = waiting.map(|seen| Node::Rollout(seen.name.clone()));
                members.chain([Node::Open(phase.clone())]).collect()
            }
            Node::Rollout(name) => {
                // One that has started waits for its phase no more.
                let Some(seen) = world.rollout(name).filter(|seen| !seen.started) else { return Vec::new() };
                let joins = seen.joins.as_ref().filter(|joins| joins.name == book.name);
                let open = joins.map(|joins| Node::Open(joins.phase.clone()));
                seen.depends_on.iter().cloned().map(Node::Rollout).chain(open).collect()
            }
        }
    }
}

fn node_of(needed: &Needed) -> Option<Node> {
    match needed {
        Needed::Task(_) => None,
        Needed::Rollout(dependency) => Some(Node::Rollout(dependency.name.clone())),
        Needed::Milestone(name) => Some(Node::Milestone(name.clone())),
        Needed::Criterion(criterion) => criterion.rollout.clone().map(Node::Rollout),
        Needed::Finished(phase) => Some(Node::Finished(phase.clone())),
    }
}

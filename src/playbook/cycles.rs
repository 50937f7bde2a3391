//! Phases that wait for each other in a circle.

use std::collections::BTreeMap;

use super::{Book, Needed, World};
use crate::plan::{FieldError, dependency_cycle};

/// The circle that a phase is part of, in words, beginning and ending with it; `None` when there is none.
///
/// A phase opens after what it requires; a milestone comes after the rollout or the phase that it is reached by; a phase is
/// finished after its rollouts, and after it is open; and a rollout starts after its phase is open and after the rollouts that it
/// depends on.
pub fn cycle_of(book: &Book, phase: &str, world: &dyn World) -> Option<Vec<String>> {
    let graph = graph(book, phase, world);
    let start = open(phase);
    let circle = dependency_cycle(&start, |node| graph.get(node).into_iter().flatten().map(String::as_str))?;
    // That a phase is finished after it is open goes without saying.
    let mut words: Vec<String> =
        circle.iter().map(|node| node.trim_end_matches(FINISHED).to_owned()).collect();
    words.dedup();
    Some(words)
}

/// Every circle, once, at the first phase that is part of it.
pub fn cycle_errors(book: &Book, world: &dyn World) -> Vec<FieldError> {
    let mut told: Vec<Vec<String>> = Vec::new();
    let mut errors = Vec::new();
    for (i, phase) in book.phases.iter().enumerate() {
        let Some(circle) = cycle_of(book, &phase.declared.name, world) else { continue };
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

/// What each thing waits for, as far as it can be reached from a phase.
fn graph(book: &Book, phase: &str, world: &dyn World) -> BTreeMap<String, Vec<String>> {
    let mut graph: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut left = vec![Node::Open(phase.to_owned())];
    while let Some(node) = left.pop() {
        let name = node.name();
        if graph.contains_key(&name) {
            continue;
        }
        let after = node.waits_for(book, world);
        graph.insert(name, after.iter().map(Node::name).collect());
        left.extend(after);
    }
    graph
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
                let members = world.members(phase).iter().map(|seen| Node::Rollout(seen.name.clone()));
                members.chain([Node::Open(phase.clone())]).collect()
            }
            Node::Rollout(name) => {
                // One that has started waits for its phase no more.
                let Some(seen) = world.rollout(name).filter(|seen| !seen.started) else { return Vec::new() };
                let joins = seen.joins.filter(|joins| joins.name == book.name);
                let open = joins.map(|joins| Node::Open(joins.phase));
                seen.depends_on.into_iter().map(Node::Rollout).chain(open).collect()
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

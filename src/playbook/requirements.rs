//! What a phase requires that is not so.

use super::cycles::Waits;
use super::{Book, Goal, Needed, Phase, World, cycle_of};
use crate::api::featurerollout::Dependency;
use crate::api::playbook::CriterionRef;
use crate::engine::{Requirement, short};

/// Most bytes of what is told of a phase: no message in a status is half as long.
const MOST_TOLD: usize = 1024;

/// What each phase of a playbook requires that is not so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unmet {
    /// In the order of the phases.
    pub phases: Vec<Vec<Requirement>>,
    /// Whether any phase waits for itself. Where none does, none comes to that by rollouts that start.
    pub in_circles: bool,
}

impl Unmet {
    /// As much of it as a message ever says, for whoever keeps it: a short plan may require much that has long titles.
    pub fn as_told(self) -> Unmet {
        let told = |all: Vec<Requirement>| -> Vec<Requirement> {
            let mut before = 0;
            let fits = all.into_iter().take_while(|unmet| {
                let fits = before < MOST_TOLD;
                before += unmet.message.len();
                fits
            });
            fits.map(|unmet| Requirement { message: short(&unmet.message), ..unmet }).collect()
        };
        Unmet { phases: self.phases.into_iter().map(told).collect(), ..self }
    }
}

/// What a phase of the playbook requires that is not so, in the order of its list. A phase that waits for itself
/// never opens.
pub fn unmet(book: &Book, phase: &str, world: &dyn World) -> Vec<Requirement> {
    match book.phase(phase) {
        Some(declared) => unmet_of(book, declared, world, || cycle_of(book, phase, world)),
        None => no_phase(book, phase),
    }
}

/// The same of each phase. What they wait for is followed once for all of them.
pub fn unmet_of_all(book: &Book, world: &dyn World) -> Unmet {
    let waits = Waits::of(book, book.phases.iter().map(|phase| phase.declared.name.as_str()), world);
    let mut in_circles = false;
    let mut of_phase = |phase: &Phase| {
        let circle = || waits.circle(&phase.declared.name).inspect(|_| in_circles = true);
        unmet_of(book, phase, world, circle)
    };
    let phases = book.phases.iter().map(&mut of_phase).collect();
    Unmet { phases, in_circles }
}

/// What a phase requires that the playbook does not have.
pub fn no_phase(book: &Book, phase: &str) -> Vec<Requirement> {
    let message = format!("phase {phase}, which playbook {} does not have", book.name);
    vec![Requirement { which: phase.to_owned(), message }]
}

fn unmet_of(
    book: &Book,
    phase: &Phase,
    world: &dyn World,
    circle: impl FnOnce() -> Option<Vec<String>>,
) -> Vec<Requirement> {
    if phase.requires.is_empty() {
        return Vec::new();
    }
    if let Some(circle) = circle() {
        let message = format!("itself ({})", circle.join(" → "));
        return vec![Requirement { which: phase.declared.name.clone(), message }];
    }
    let asking = Asking { book, world };
    phase.requires.iter().filter_map(|needed| asking.lacks(needed)).collect()
}

/// What is not so of one thing that is needed; `None` where it is so.
pub(super) fn lacking(book: &Book, needed: &Needed, world: &dyn World) -> Option<Requirement> {
    Asking { book, world }.lacks(needed)
}

/// Whether a milestone is reached.
pub(super) fn is_reached(book: &Book, goal: &Goal, world: &dyn World) -> bool {
    let asking = Asking { book, world };
    goal.needs.iter().all(|needed| asking.lacks(needed).is_none())
}

/// Whether a phase is finished: its tasks are done, and its rollouts completed. One without either never is.
pub(super) fn is_finished(book: &Book, phase: &str, world: &dyn World) -> bool {
    lacks_to_finish(book, phase, world).is_none()
}

/// The first task or rollout of a phase that is not done.
fn lacks_to_finish(book: &Book, phase: &str, world: &dyn World) -> Option<String> {
    let Some(declared) = book.phase(phase) else { return Some("it is not there".to_owned()) };
    let members = world.members(phase);
    if let Some(task) = declared.tasks().find(|task| !task.done) {
        return Some(format!("task {} is open", task.id));
    }
    if let Some(seen) = members.iter().find(|seen| !seen.completed) {
        return Some(format!("rollout {} is not completed", seen.name));
    }
    let is_empty = members.is_empty() && declared.tasks().next().is_none();
    is_empty.then(|| "it has neither tasks nor rollouts".to_owned())
}

struct Asking<'a> {
    book: &'a Book,
    world: &'a dyn World,
}

impl Asking<'_> {
    /// What is lacking; nothing where it is so.
    fn lacks(&self, needed: &Needed) -> Option<Requirement> {
        let (which, message) = match needed {
            Needed::Task(id) => {
                let task = self.book.task(id);
                if task.is_some_and(|task| task.done) {
                    return None;
                }
                let title = task.map(|task| format!(" ({})", task.title)).unwrap_or_default();
                (id.clone(), format!("task {id}{title} to be done"))
            }
            Needed::Rollout(dependency) => (dependency.name.clone(), self.lacks_rollout(dependency)?),
            Needed::Criterion(criterion) => (criterion.name.clone(), self.lacks_criterion(criterion)?),
            Needed::Finished(phase) => {
                let lacks = lacks_to_finish(self.book, phase, self.world)?;
                (phase.clone(), format!("phase {phase} to be finished: {lacks}"))
            }
            Needed::Milestone(name) => {
                // A milestone never needs another one, so this ends.
                let needs = self.book.milestone(name).map_or(&[][..], |goal| &goal.needs);
                let first = needs.iter().find_map(|needed| self.lacks(needed))?;
                (name.clone(), format!("milestone {name}: {}", first.message))
            }
        };
        Some(Requirement { which, message })
    }

    fn lacks_rollout(&self, dependency: &Dependency) -> Option<String> {
        let name = &dependency.name;
        let Some(seen) = self.world.rollout(name) else {
            return Some(format!("rollout {name}, which does not exist"));
        };
        if seen.has_reached(dependency) {
            return None;
        }
        Some(match &dependency.phase {
            Some(phase) => format!("rollout {name} to enter phase {phase}"),
            None => format!("rollout {name} to be completed"),
        })
    }

    fn lacks_criterion(&self, criterion: &CriterionRef) -> Option<String> {
        let name = &criterion.name;
        let Some(rollout) = &criterion.rollout else {
            return (!self.world.passes(name)).then(|| format!("criterion {name} to pass"));
        };
        match self.world.rollout(rollout) {
            None => Some(format!("criterion {name} of rollout {rollout}, which does not exist")),
            Some(seen) if seen.passes(name) => None,
            Some(_) => Some(format!("criterion {name} of rollout {rollout} to pass")),
        }
    }
}

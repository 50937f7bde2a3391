//! The plan of a product by weeks: what of it is wrong, what its phases still require, and where it stands.
//!
//! Nothing here reads a clock or talks to anybody. What a playbook looks at of rollouts comes in as values.

use std::sync::Arc;

use crate::api::featurerollout::Dependency;
use crate::api::playbook::{CriterionRef, Milestone, PlaybookPhase, Task};
use crate::plan::Weeks;
use crate::plan::guard::Criterion;

pub mod business;
mod compile;
mod cycles;
mod fit;
mod overview;
pub mod picture;
mod reach;
mod requirements;
mod seen;
mod standing;

pub use compile::{compile, missing};
pub use cycles::{cycle_errors, cycle_of};
pub use overview::{Course, Met, Overview, Referred, Required, cluster_policies, met};
pub use reach::Reach;
pub use requirements::{Unmet, no_phase, unmet, unmet_of_all};
pub use seen::{Measured, Rollouts, Seen};
pub use standing::{Standing, standing};

/// A playbook that holds together by itself.
#[derive(Clone, Debug)]
pub struct Book {
    /// Name of the playbook.
    pub name: String,
    /// When its weeks begin.
    pub weeks: Weeks,
    /// Its phases, in order.
    pub phases: Vec<Phase>,
    /// Its milestones, in order.
    pub milestones: Vec<Goal>,
    /// Its own criteria.
    pub criteria: Vec<Criterion>,
    /// The last week of any phase, at least 1.
    pub last_week: i32,
    /// Risks with nothing in place against them.
    pub open_risks: i32,
}

/// A phase, with what it requires.
#[derive(Clone, Debug)]
pub struct Phase {
    /// As it is declared.
    pub declared: PlaybookPhase,
    /// What must be so before a rollout starts in it.
    pub requires: Vec<Needed>,
}

impl Phase {
    /// Its tasks, of all sections.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.declared.sections.iter().flat_map(|section| &section.tasks)
    }
}

/// A milestone, with what it takes to reach it.
#[derive(Clone, Debug)]
pub struct Goal {
    /// As it is declared.
    pub declared: Milestone,
    /// What must be so; all of it.
    pub needs: Vec<Needed>,
}

/// One thing that must be so.
#[derive(Clone, Debug, PartialEq)]
pub enum Needed {
    /// A task is done.
    Task(String),
    /// A rollout has come far enough.
    Rollout(Dependency),
    /// A milestone is reached.
    Milestone(String),
    /// A criterion passes.
    Criterion(CriterionRef),
    /// A phase is finished.
    Finished(String),
}

impl Needed {
    /// What must be so, in words.
    pub fn words(&self, book: &Book) -> String {
        match self {
            Needed::Task(id) => match book.task(id) {
                Some(task) => format!("task {id} ({}) is done", task.title),
                None => format!("task {id} is done"),
            },
            Needed::Rollout(Dependency { name, phase: Some(phase), .. }) => {
                format!("rollout {name} has entered phase {phase}")
            }
            Needed::Rollout(Dependency { name, .. }) => format!("rollout {name} is completed"),
            Needed::Milestone(name) => format!("milestone {name} is reached"),
            Needed::Criterion(CriterionRef { name, rollout: Some(rollout) }) => {
                format!("criterion {name} of rollout {rollout} passes")
            }
            Needed::Criterion(CriterionRef { name, rollout: None }) => format!("criterion {name} passes"),
            Needed::Finished(name) => format!("phase {name} is finished"),
        }
    }
}

impl Book {
    /// The phase of this name.
    pub fn phase(&self, name: &str) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.declared.name == name)
    }

    /// The milestone of this name.
    pub fn milestone(&self, name: &str) -> Option<&Goal> {
        self.milestones.iter().find(|goal| goal.declared.name == name)
    }

    /// The task of this id.
    pub fn task(&self, id: &str) -> Option<&Task> {
        self.phases.iter().flat_map(Phase::tasks).find(|task| task.id == id)
    }

    /// The rollouts that anything of the playbook names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let of_phases = self.phases.iter().flat_map(|phase| &phase.requires);
        let needed = of_phases.chain(self.milestones.iter().flat_map(|goal| &goal.needs));
        needed.filter_map(|needed| match needed {
            Needed::Rollout(dependency) => Some(dependency.name.as_str()),
            Needed::Criterion(criterion) => criterion.rollout.as_deref(),
            Needed::Task(_) | Needed::Milestone(_) | Needed::Finished(_) => None,
        })
    }
}

/// What a playbook looks at.
pub trait World {
    /// A rollout of the namespace, if there is one that can be read.
    fn rollout(&self, name: &str) -> Option<Arc<Seen>>;

    /// The rollouts that join a phase of the playbook, by name.
    fn members(&self, phase: &str) -> &[Arc<Seen>];

    /// Whether a criterion of the playbook itself passes.
    fn passes(&self, criterion: &str) -> bool;
}

#[cfg(test)]
mod tests;

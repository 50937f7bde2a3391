//! A spec compiled into a [`Book`], or into every error with its path.

use std::collections::{BTreeMap, BTreeSet};

use super::{Book, Goal, Needed, Phase, World};
use crate::api::featurerollout::Dependency;
use crate::api::playbook::{LAST_WEEK, Milestone, PlaybookPhase, PlaybookSpec, Requirement};
use crate::plan::{self, FieldError, GuardSpec, Weeks};

/// Compiles a playbook by itself.
///
/// # Errors
/// All that is wrong with the spec and that only an edit of it ends. Circles and names of rollouts are for
/// [`super::cycle_errors`] and [`missing`], which know the rollouts.
pub fn compile(name: &str, spec: &PlaybookSpec) -> Result<Book, Vec<FieldError>> {
    let mut errors = Vec::new();
    let weeks = Weeks::of(spec, &mut errors);
    if spec.phases.is_empty() {
        errors.push(FieldError::new("spec.phases", "is empty: a playbook has at least one phase"));
    }
    let known = Known::of(spec, &mut errors);
    let phases: Vec<Phase> =
        spec.phases.iter().enumerate().map(|(i, phase)| known.phase(i, phase, &mut errors)).collect();
    let last_week = spec.phases.iter().map(|phase| phase.weeks.to).max().unwrap_or(1).max(1);
    let milestones = spec
        .milestones
        .iter()
        .enumerate()
        .map(|(i, milestone)| known.milestone(i, milestone, last_week, &mut errors))
        .collect();
    let guard = GuardSpec { criteria: spec.criteria.clone(), ..GuardSpec::default() };
    let criteria = plan::guard(&guard, &[], &mut errors).criteria;
    let open_risks = spec.risks.iter().filter(|risk| !risk.done).count();
    match weeks.filter(|_| errors.is_empty()) {
        Some(weeks) => Ok(Book {
            name: name.to_owned(),
            weeks,
            phases,
            milestones,
            criteria,
            last_week,
            open_risks: i32::try_from(open_risks).unwrap_or(i32::MAX),
        }),
        None => Err(errors),
    }
}

/// The names of what a playbook has.
struct Known<'a> {
    phases: BTreeSet<&'a str>,
    milestones: BTreeSet<&'a str>,
    tasks: BTreeSet<&'a str>,
    /// Criteria, and whether they have a bound.
    criteria: BTreeMap<&'a str, bool>,
}

impl<'a> Known<'a> {
    /// Names that stand twice are errors.
    fn of(spec: &'a PlaybookSpec, errors: &mut Vec<FieldError>) -> Known<'a> {
        let mut known = Known {
            phases: BTreeSet::new(),
            milestones: BTreeSet::new(),
            tasks: BTreeSet::new(),
            criteria: spec
                .criteria
                .iter()
                .map(|criterion| (criterion.name.as_str(), criterion.has_bound()))
                .collect(),
        };
        let mut twice = |path: String, what: &str, name: &str| {
            errors.push(FieldError::new(path, format!("is the {what} too")).with_value(name));
        };
        for (p, phase) in spec.phases.iter().enumerate() {
            if !known.phases.insert(&phase.name) {
                twice(format!("spec.phases[{p}].name"), "name of another phase", &phase.name);
            }
            for (s, section) in phase.sections.iter().enumerate() {
                for (t, task) in section.tasks.iter().enumerate() {
                    if !known.tasks.insert(&task.id) {
                        let path = format!("spec.phases[{p}].sections[{s}].tasks[{t}].id");
                        twice(path, "id of another task", &task.id);
                    }
                }
            }
        }
        for (m, milestone) in spec.milestones.iter().enumerate() {
            if !known.milestones.insert(&milestone.name) {
                twice(format!("spec.milestones[{m}].name"), "name of another milestone", &milestone.name);
            }
        }
        known
    }

    fn phase(&self, i: usize, declared: &PlaybookPhase, errors: &mut Vec<FieldError>) -> Phase {
        let path = format!("spec.phases[{i}]");
        let weeks = declared.weeks;
        if weeks.from < 1 || weeks.to < weeks.from {
            let error = FieldError::new(
                format!("{path}.weeks"),
                "is no range: weeks count from 1, and from must not come after to",
            );
            errors.push(error.with_value(format!("{} to {}", weeks.from, weeks.to)));
        } else if weeks.to > LAST_WEEK {
            let error =
                FieldError::new(format!("{path}.weeks.to"), format!("is not between 1 and {LAST_WEEK}"));
            errors.push(error.with_value(weeks.to));
        }
        let needed = |(r, requirement): (usize, &Requirement)| {
            self.requirement(&format!("{path}.requires[{r}]"), requirement, errors)
        };
        let requires = declared.requires.iter().enumerate().filter_map(needed).collect();
        Phase { declared: declared.clone(), requires }
    }

    fn requirement(
        &self,
        path: &str,
        requirement: &Requirement,
        errors: &mut Vec<FieldError>,
    ) -> Option<Needed> {
        let Requirement { task, rollout, milestone, criterion } = requirement;
        let given = [task.is_some(), rollout.is_some(), milestone.is_some(), criterion.is_some()];
        if given.into_iter().filter(|given| *given).count() != 1 {
            let message = "give exactly one of task, rollout, milestone and criterion";
            errors.push(FieldError::new(path, message));
            return None;
        }
        if let Some(task) = task {
            return self.task(&format!("{path}.task"), task, errors);
        }
        if let Some(dependency) = rollout {
            return rollout_needed(&format!("{path}.rollout"), dependency, errors);
        }
        if let Some(milestone) = milestone {
            if !self.milestones.contains(milestone.as_str()) {
                let error =
                    FieldError::new(format!("{path}.milestone"), "is no milestone of spec.milestones");
                errors.push(error.with_value(milestone));
            }
            return Some(Needed::Milestone(milestone.clone()));
        }
        let criterion = criterion.as_ref()?;
        if criterion.rollout.is_none() {
            let what = match self.criteria.get(criterion.name.as_str()) {
                None => Some("is no criterion of spec.criteria"),
                Some(false) => Some("is a criterion without a bound, which never passes"),
                Some(true) => None,
            };
            errors.extend(what.map(|what| {
                FieldError::new(format!("{path}.criterion.name"), what).with_value(&criterion.name)
            }));
        }
        Some(Needed::Criterion(criterion.clone()))
    }

    fn task(&self, path: &str, id: &str, errors: &mut Vec<FieldError>) -> Option<Needed> {
        if !self.tasks.contains(id) {
            errors.push(FieldError::new(path, "is the id of no task of the playbook").with_value(id));
        }
        Some(Needed::Task(id.to_owned()))
    }

    fn milestone(
        &self,
        i: usize,
        declared: &Milestone,
        last_week: i32,
        errors: &mut Vec<FieldError>,
    ) -> Goal {
        let path = format!("spec.milestones[{i}]");
        if !(1..=last_week).contains(&declared.week) {
            let message = format!("is outside of the plan: its phases have the weeks 1 to {last_week}");
            errors.push(FieldError::new(format!("{path}.week"), message).with_value(declared.week));
        }
        let when = &declared.when;
        let mut needs: Vec<Needed> = Vec::new();
        match (&when.rollout, &when.phase, &when.tasks) {
            (Some(dependency), None, None) => {
                needs.extend(rollout_needed(&format!("{path}.when.rollout"), dependency, errors));
            }
            (None, Some(phase), None) => {
                if !self.phases.contains(phase.as_str()) {
                    let error = FieldError::new(format!("{path}.when.phase"), "is no phase of the playbook");
                    errors.push(error.with_value(phase));
                }
                needs.push(Needed::Finished(phase.clone()));
            }
            (None, None, Some(tasks)) if !tasks.is_empty() => {
                let each = tasks.iter().enumerate();
                let needed =
                    each.filter_map(|(t, id)| self.task(&format!("{path}.when.tasks[{t}]"), id, errors));
                needs.extend(needed);
            }
            (None, None, Some(_)) => {
                let message = "is empty: name at least one task";
                errors.push(FieldError::new(format!("{path}.when.tasks"), message));
            }
            _ => {
                let message = "give exactly one of rollout, phase and tasks";
                errors.push(FieldError::new(format!("{path}.when"), message));
            }
        }
        Goal { declared: declared.clone(), needs }
    }
}

fn rollout_needed(path: &str, dependency: &Dependency, errors: &mut Vec<FieldError>) -> Option<Needed> {
    if dependency.condition.is_some() == dependency.phase.is_some() {
        errors.push(FieldError::new(path, "give exactly one of condition and phase"));
        return None;
    }
    Some(Needed::Rollout(dependency.clone()))
}

/// The rollouts that a playbook names and that are not there, the phases that they do not have, and the criteria that they do
/// not have or that never pass. They are waited for: they may still come.
pub fn missing(book: &Book, world: &dyn World) -> Vec<FieldError> {
    let of_phases = book.phases.iter().enumerate().flat_map(|(p, phase)| {
        let each = phase.declared.requires.iter().enumerate();
        each.map(move |(r, requirement)| {
            let path = format!("spec.phases[{p}].requires[{r}]");
            (path, requirement.rollout.as_ref(), requirement.criterion.as_ref())
        })
    });
    let of_milestones =
        book.milestones.iter().enumerate().map(|(m, goal)| {
            (format!("spec.milestones[{m}].when"), goal.declared.when.rollout.as_ref(), None)
        });
    let mut missing = Vec::new();
    for (path, rollout, criterion) in of_phases.chain(of_milestones) {
        if let Some(dependency) = rollout {
            let path = format!("{path}.rollout");
            match (world.rollout(&dependency.name), &dependency.phase) {
                (None, _) => missing.push(no_rollout(format!("{path}.name"), &dependency.name)),
                (Some(seen), Some(phase)) if !seen.phases.contains(phase) => {
                    let message = format!("is no phase of rollout {}", dependency.name);
                    missing.push(FieldError::missing(format!("{path}.phase"), message).with_value(phase));
                }
                (Some(_), _) => {}
            }
        }
        let Some((rollout, criterion)) =
            criterion.and_then(|criterion| Some((criterion.rollout.as_ref()?, criterion)))
        else {
            continue;
        };
        let path = format!("{path}.criterion");
        match world.rollout(rollout) {
            None => missing.push(no_rollout(format!("{path}.rollout"), rollout)),
            Some(seen) if !seen.criteria.iter().any(|c| c.name == criterion.name && c.target.is_some()) => {
                let message = format!("is no criterion with a bound of rollout {rollout}");
                missing
                    .push(FieldError::missing(format!("{path}.name"), message).with_value(&criterion.name));
            }
            Some(_) => {}
        }
    }
    missing
}

fn no_rollout(path: String, name: &str) -> FieldError {
    FieldError::missing(path, "there is no such FeatureRollout").with_value(name)
}

//! Checks of Playbooks, and of the rollouts that join them.

use super::{missing, sets};
use crate::api::{FeatureRollout, Playbook};
use crate::cli::files::problem::{Problem, Severity};
use crate::cli::files::typed::{Item, Typed};
use crate::cli::files::{Input, Kind};
use crate::plan::FieldError;
use crate::playbook::{self, Rollouts, Seen};

/// Checks everything about playbooks.
pub fn check(input: &Input, typed: &Typed<'_>, problems: &mut Vec<Problem>) {
    for ((namespace, _), item) in &typed.rollouts {
        check_reference(input, typed, namespace, item, problems);
    }
    for ((namespace, name), item) in &typed.playbooks {
        let book = match playbook::compile(name, &item.typed.spec) {
            Ok(book) => book,
            Err(errors) => {
                sets::add(item, errors, problems);
                continue;
            }
        };
        let of_namespace = typed.rollouts.iter().filter(|((of, _), _)| of == namespace);
        let world = Rollouts::new(name, of_namespace.map(|(_, item)| Seen::of(&item.typed)), Vec::new());
        sets::add(item, playbook::cycle_errors(&book, &world), problems);
        for error in playbook::missing(&book, &world) {
            check_missing(typed, namespace, item, error, problems);
        }
    }
}

/// A rollout that none of the files has may be in the cluster; what one that is there does not have never comes.
fn check_missing(
    typed: &Typed<'_>,
    namespace: &str,
    item: &Item<'_, Playbook>,
    error: FieldError,
    problems: &mut Vec<Problem>,
) {
    let name = error.value.clone().unwrap_or_default();
    if error.path.ends_with("rollout.name") || error.path.ends_with("criterion.rollout") {
        // One that is there and cannot be read has errors of its own.
        if !typed.rollouts.contains_key(&(namespace, name.as_str())) {
            let message =
                format!("{name:?}: there is no such rollout in the files: it must be in the cluster");
            problems.push(item.object.problem(Severity::Warning, &error.path, message));
        }
        return;
    }
    sets::add(item, vec![error], problems);
}

fn check_reference(
    input: &Input,
    typed: &Typed<'_>,
    namespace: &str,
    item: &Item<'_, FeatureRollout>,
    problems: &mut Vec<Problem>,
) {
    let Some(reference) = &item.typed.spec.playbook_ref else { return };
    let name = &reference.name;
    problems.extend(missing(input, item.object, Kind::Playbook, namespace, name, "spec.playbookRef.name"));
    let Some(playbook) = typed.playbooks.get(&(namespace, name.as_str())) else { return };
    let phases: Vec<&str> = playbook.typed.spec.phases.iter().map(|phase| phase.name.as_str()).collect();
    if !phases.contains(&reference.phase.as_str()) {
        let message = format!(
            "{:?}: playbook {name} has no such phase: its phases are {}",
            reference.phase,
            phases.join(", ")
        );
        problems.push(item.object.problem(Severity::Error, "spec.playbookRef.phase", message));
    }
}

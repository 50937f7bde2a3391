//! What is worth a word about announcements and changelogs that are not wrong.

use crate::cli::files::problem::{Problem, Severity};
use crate::cli::files::typed::Typed;

/// Checks that what is announced is kept somewhere, and that a changelog has something to say.
pub fn check(typed: &Typed<'_>, problems: &mut Vec<Problem>) {
    for ((namespace, name), set) in &typed.flag_sets {
        if set.typed.spec.changelog.is_none() {
            continue;
        }
        let mut members = typed.rollouts.values().filter(|item| {
            let reference = item.typed.spec.flag_set_ref.as_ref();
            item.object.namespace == *namespace && reference.is_some_and(|reference| reference.name == *name)
        });
        if !members.any(|item| item.typed.spec.announcement.is_some()) {
            let message = "no rollout of the set in these files has an announcement: it would stay empty";
            problems.push(set.object.problem(Severity::Warning, "spec.changelog", message));
        }
    }
}

//! Places for values that no value goes to: what a template or a policy writes in one way, and other tools in another.

use super::metrics::asked_by_criteria;
use crate::api::trigger::{Criterion, Metric, Trigger};
use crate::cli::files::Object;
use crate::cli::files::problem::{Problem, Severity};
use crate::cli::files::typed::Typed;
use crate::sources;

/// Checks the arguments of templates, and what policies, rollouts and playbooks give for them.
pub fn check(typed: &Typed<'_>, problems: &mut Vec<Problem>) {
    for item in typed.templates.values() {
        for i in sources::unused_args(&item.typed.spec) {
            let Some(arg) = item.typed.spec.args.get(i) else { continue };
            let message =
                format!("the query has no {{{{{}}}}}: whatever is given for it changes nothing", arg.name);
            problems.push(item.object.problem(Severity::Warning, &format!("spec.args[{i}]"), message));
        }
    }
    for item in typed.policies.values() {
        check_values(item.object, of_triggers(&item.typed.spec.triggers), true, problems);
    }
    for item in typed.rollouts.values() {
        let spec = &item.typed.spec;
        let metrics = of_triggers(&spec.triggers).chain(of_criteria(&spec.criteria));
        check_values(item.object, metrics, false, problems);
    }
    for item in typed.playbooks.values() {
        check_values(item.object, of_criteria(&item.typed.spec.criteria), false, problems);
    }
}

fn of_triggers(triggers: &[Trigger]) -> impl Iterator<Item = (String, &Metric)> {
    triggers.iter().enumerate().map(|(i, trigger)| (format!("spec.triggers[{i}]"), &trigger.metric))
}

fn of_criteria(criteria: &[Criterion]) -> impl Iterator<Item = (String, &Metric)> {
    asked_by_criteria(criteria).map(|(path, metric, ..)| (path, metric))
}

/// Values that look as if something were to be put in there, where nothing is: no series has such a label, and without data
/// nothing is raised.
fn check_values<'a>(
    object: &Object,
    metrics: impl Iterator<Item = (String, &'a Metric)>,
    of_policy: bool,
    problems: &mut Vec<Problem>,
) {
    for (path, metric) in metrics {
        for (name, value) in &metric.args {
            let is_place = value.contains("{{") || value.starts_with('$');
            let is_filled = of_policy && value.contains("$(");
            if !is_place || is_filled {
                continue;
            }
            let meant = value.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            let message = match of_policy {
                true => format!(
                    "{value:?} is taken as it stands: write $({meant}) for what the rollouts give in `policyArgs`"
                ),
                false => format!(
                    "{value:?} is taken as it stands, as nothing is put in here: write the value itself"
                ),
            };
            problems.push(object.problem(Severity::Warning, &format!("{path}.metric.args.{name}"), message));
        }
    }
}

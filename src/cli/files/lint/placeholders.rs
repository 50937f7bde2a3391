//! Places for values that no value goes to: what a template or a policy writes in one way, and other tools in another.

use crate::api::trigger::Metric;
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
        for (i, trigger) in item.typed.spec.triggers.iter().enumerate() {
            check_values(item.object, &format!("spec.triggers[{i}]"), &trigger.metric, true, problems);
        }
    }
    for item in typed.rollouts.values() {
        for (i, trigger) in item.typed.spec.triggers.iter().enumerate() {
            check_values(item.object, &format!("spec.triggers[{i}]"), &trigger.metric, false, problems);
        }
        for (i, criterion) in item.typed.spec.criteria.iter().enumerate() {
            let Some(metric) = &criterion.metric else { continue };
            check_values(item.object, &format!("spec.criteria[{i}]"), metric, false, problems);
        }
    }
    for item in typed.playbooks.values() {
        for (i, criterion) in item.typed.spec.criteria.iter().enumerate() {
            let Some(metric) = &criterion.metric else { continue };
            check_values(item.object, &format!("spec.criteria[{i}]"), metric, false, problems);
        }
    }
}

/// Values that look as if something were to be put in there, where nothing is: no series has such a label, and without data
/// nothing is raised.
fn check_values(object: &Object, path: &str, metric: &Metric, of_policy: bool, problems: &mut Vec<Problem>) {
    for (name, value) in &metric.args {
        let is_filled =
            of_policy && (value.contains("$(") || !value.contains("{{") && !value.starts_with('$'));
        if is_filled || !value.contains("{{") && !value.starts_with('$') {
            continue;
        }
        let meant = value.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let message = match of_policy {
            true => format!(
                "{value:?} is taken as it stands: write $({meant}) for what the rollouts give in `policyArgs`"
            ),
            false => {
                format!("{value:?} is taken as it stands, as nothing is put in here: write the value itself")
            }
        };
        problems.push(object.problem(Severity::Warning, &format!("{path}.metric.args.{name}"), message));
    }
}

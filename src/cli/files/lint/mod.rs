//! Everything that can be said of a set of files: form, plan, and what the objects are to each other.

use std::collections::BTreeMap;

use super::object::{Kind, Object};
use super::problem::{Problem, Severity, sorted};
use super::read::Input;
use super::typed::{Item, Typed, typed};
use super::wording::{instead, near};
use crate::api::featurerollout::CohortPolicy;
use crate::api::{FeatureRollout, FlagSet, Percent};
use crate::cli::output::{self, Failure};
use crate::plan::policy::Bound;
use crate::plan::{self, FieldError, Plan, Refs};
use crate::visible::line;

mod announcements;
mod channels;
mod meant;
mod metrics;
mod placeholders;
mod playbooks;
mod policies;
mod reach;
mod sets;

/// The files, checked.
pub struct Checked<'a> {
    /// The objects by kind and name.
    pub typed: Typed<'a>,
    /// The plan of every rollout that has one, by namespace and name.
    pub plans: BTreeMap<(&'a str, &'a str), Plan>,
    /// All that is wrong, sorted.
    pub problems: Vec<Problem>,
}

/// Checks everything.
pub fn check(input: &Input) -> Checked<'_> {
    let mut problems = input.problems.clone();
    let typed = typed(input, &mut problems);
    let mut plans = BTreeMap::new();
    for (key, item) in &typed.rollouts {
        let bound = policies::bound(input, &typed, key.0, &item.typed, flag_set(&typed, key.0, &item.typed));
        let references = refs(&typed, key.0, &item.typed, &bound);
        policies::check_args(item, references, &mut problems);
        match plan::compile(&item.typed, references) {
            Ok(plan) => {
                check_tiers(item, &plan, &mut problems);
                check_guard(item, &mut problems);
                reach::check_steps(item, &plan, &mut problems);
                reach::check_end(item, &plan, &mut problems);
                meant::check_approvals(item, &plan, &mut problems);
                meant::check_zone(item, flag_set(&typed, key.0, &item.typed), &mut problems);
                reach::check_exposure(&typed, item, &plan, &mut problems);
                plans.insert(*key, plan);
            }
            Err(errors) => {
                let problem = |error: &FieldError| of_plan(input, &typed, item, key.0, error);
                problems.extend(errors.iter().filter_map(problem));
            }
        }
        check_approvals(item, &mut problems);
        check_dependencies(&typed, key.0, item, &mut problems);
        if let Some(cohorts) = &item.typed.spec.cohorts {
            sets::check_cohorts(item.object, cohorts, &mut problems);
        }
        let bucket_by = item.typed.spec.feature.as_ref().and_then(|feature| feature.bucket_by.as_deref());
        if let Some(remark) = bucket_by.and_then(plan::matching::remark_on_key) {
            problems.push(item.object.problem(Severity::Warning, "spec.feature.bucketBy", remark));
        }
    }
    sets::check(input, &typed, &mut problems);
    policies::check(input, &typed, &mut problems);
    for object in &input.objects {
        check_words(object, &mut problems);
    }
    playbooks::check(input, &typed, &mut problems);
    metrics::check(&typed, &plans, &mut problems);
    placeholders::check(&typed, &mut problems);
    channels::check(&typed, &mut problems);
    Checked { typed, plans, problems: sorted(problems) }
}

impl Checked<'_> {
    /// Stops at errors, all of them printed to standard error.
    ///
    /// # Errors
    /// When anything but warnings was found.
    pub fn or_report(self) -> Result<Self, Failure> {
        let errors: Vec<String> = self
            .problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| line(&problem.to_string()).into_owned())
            .collect();
        if errors.is_empty() {
            return Ok(self);
        }
        output::complain(&errors.join("\n"));
        Err(Failure::Reported)
    }
}

fn flag_set<'t>(
    typed: &'t Typed<'_>,
    namespace: &'t str,
    rollout: &'t FeatureRollout,
) -> Option<&'t FlagSet> {
    let reference = rollout.spec.flag_set_ref.as_ref()?;
    typed.flag_sets.get(&(namespace, reference.name.as_str())).map(|item| &item.typed)
}

fn refs<'t>(
    typed: &'t Typed<'_>,
    namespace: &'t str,
    rollout: &'t FeatureRollout,
    policies: &'t [Bound<'t>],
) -> Refs<'t> {
    let flag_set = flag_set(typed, namespace, rollout);
    let cohort_set = plan::cohort_set_name(rollout, flag_set)
        .and_then(|name| typed.cohort_sets.get(&(namespace, name)))
        .map(|item| &item.typed);
    let playbook = rollout.spec.playbook_ref.as_ref();
    let playbook = playbook.and_then(|reference| typed.playbooks.get(&(namespace, reference.name.as_str())));
    Refs { cohort_set, flag_set, playbook: playbook.map(|item| &item.typed), policies }
}

/// An error of the plan as a problem; `None` where it is said elsewhere: by the schema, or of the set itself.
fn of_plan(
    input: &Input,
    typed: &Typed<'_>,
    item: &Item<'_, FeatureRollout>,
    namespace: &str,
    error: &FieldError,
) -> Option<Problem> {
    if error.path.starts_with("CohortSet ")
        || error.path.starts_with("FlagSet ")
        || item.is_known(&error.path)
    {
        return None;
    }
    if let Some(title) = error.path.strip_prefix("RolloutPolicy ") {
        return policies::of_plan(typed, item, title, error);
    }
    let value = error.value.as_deref().unwrap_or_default();
    if error.missing {
        // An object that is there but cannot be read has errors of its own.
        let kind = match &error.path {
            path if path.contains("flagSetRef") => Kind::FlagSet,
            path if path.contains("policyRef") => Kind::RolloutPolicy,
            _ => Kind::CohortSet,
        };
        return missing(input, item.object, kind, namespace, value, &error.path);
    }
    Some(item.object.problem(Severity::Error, &error.path, error.words()))
}

/// The problem of a name that none of the files has.
pub fn missing(
    input: &Input,
    object: &Object,
    kind: Kind,
    namespace: &str,
    name: &str,
    path: &str,
) -> Option<Problem> {
    if input.by_name().contains_key(&(kind, namespace, name)) {
        return None;
    }
    let beside = input.objects.iter().filter(|other| other.kind == kind && other.namespace == namespace);
    let known: Vec<&str> = beside.map(|other| other.name.as_str()).collect();
    let elsewhere = input.objects.iter().find(|other| other.kind == kind && other.name == name);
    let instead = match elsewhere {
        Some(other) => format!(
            ": the one in {} is of no use here, as it is looked for beside the object",
            other.namespace
        ),
        None => instead(name, known.iter().copied()),
    };
    let message = format!(
        "{name:?}: there is no {} of this name in namespace {namespace} of the files{instead}",
        kind.as_str()
    );
    Some(object.problem(Severity::Error, path, message))
}

/// An approval of a step that does not exist approves nothing.
fn check_approvals(item: &Item<'_, FeatureRollout>, problems: &mut Vec<Problem>) {
    let spec = &item.typed.spec;
    for (i, approval) in spec.approvals.iter().enumerate() {
        let phase = spec.phases.iter().find(|phase| phase.name == approval.phase);
        let names_step = phase.is_some_and(|phase| {
            let steps = phase.steps.iter().flatten().filter_map(|step| step.name.clone());
            let ramp = phase.ramp.iter().flat_map(|ramp| &ramp.percents).map(Percent::to_string);
            steps.chain(ramp).any(|name| name == approval.step)
        });
        if !names_step {
            let path = format!("spec.approvals[{i}]");
            let message = format!("there is no step {}/{} to approve", approval.phase, approval.step);
            problems.push(item.object.problem(Severity::Warning, &path, message));
        }
    }
}

/// What triggers say that is valid, and hardly meant.
fn check_guard(item: &Item<'_, FeatureRollout>, problems: &mut Vec<Problem>) {
    for remark in plan::guard::remarks(&plan::GuardSpec::of(&item.typed.spec)) {
        let value = remark.value.map(|value| format!("{value}: ")).unwrap_or_default();
        let message = format!("{value}{}", remark.message);
        problems.push(item.object.problem(Severity::Warning, &remark.path, message));
    }
}

/// A cohort that does not admit the rollout's tier stays at its baseline, whatever the steps ask.
fn check_tiers(item: &Item<'_, FeatureRollout>, plan: &Plan, problems: &mut Vec<Problem>) {
    if plan.cohort_policy == CohortPolicy::Ignore {
        return;
    }
    for cohort in plan.cohorts.iter().filter(|cohort| !plan.admits(cohort)) {
        let baseline = plan.baseline.get(&cohort.name).copied().unwrap_or_default();
        let asks = |step: &&plan::Step| step.asks.get(&cohort.name).is_some_and(|ask| *ask > baseline);
        let Some(step) = plan.steps.iter().find(asks) else { continue };
        let path = reach::path(item, step, &cohort.name);
        let message = format!(
            "cohort {} does not admit tier {:?}: it stays at {baseline}",
            cohort.name, plan.feature.tier
        );
        problems.push(item.object.problem(Severity::Warning, &path, message));
    }
}

/// Dependencies that no file has may be in the cluster; those that form a circle never end.
fn check_dependencies(
    typed: &Typed<'_>,
    namespace: &str,
    item: &Item<'_, FeatureRollout>,
    problems: &mut Vec<Problem>,
) {
    let edges = |name| {
        let other = typed.rollouts.get(&(namespace, name));
        let depends_on = other.into_iter().flat_map(|other| &other.typed.spec.depends_on);
        depends_on.map(|dependency| dependency.name.as_str())
    };
    let name = item.object.name.as_str();
    let cycle = plan::dependency_cycle(name, edges).filter(|cycle| cycle.len() > 2);
    for (i, dependency) in item.typed.spec.depends_on.iter().enumerate() {
        let path = format!("spec.dependsOn[{i}]");
        let Some(other) = typed.rollouts.get(&(namespace, dependency.name.as_str())) else {
            let names = typed.rollouts.keys().filter(|key| key.0 == namespace).map(|key| key.1);
            let meant = near(&dependency.name, names.filter(|other| *other != name));
            let meant = meant.map(|meant| format!(", or did you mean {meant}?")).unwrap_or_default();
            let message = format!(
                "{:?}: there is no such rollout in the files: it must be in the cluster{meant}",
                dependency.name
            );
            problems.push(item.object.problem(Severity::Warning, &format!("{path}.name"), message));
            continue;
        };
        if let Some(phase) = &dependency.phase
            && !other.typed.spec.phases.iter().any(|other| other.name == *phase)
        {
            let message =
                format!("{phase:?}: rollout {} has no such phase: this would wait for ever", dependency.name);
            problems.push(item.object.problem(Severity::Error, &format!("{path}.phase"), message));
        }
        if let Some(cycle) = &cycle
            && cycle.get(1) == Some(&dependency.name)
        {
            let message = format!("the rollouts wait for each other in a circle: {}", cycle.join(" → "));
            problems.push(item.object.problem(Severity::Error, &path, message));
        }
    }
}

/// Words that kubectl reads as booleans where any value is allowed: nothing refuses them, and hardly anybody means it.
fn check_words(object: &Object, problems: &mut Vec<Problem>) {
    for path in object.bare_paths() {
        let known = problems.iter().any(|p| p.object == object.title() && p.path == path);
        let any_value =
            path.ends_with(".value") || path.starts_with("spec.flags.") || path.starts_with("spec.metadata.");
        if any_value && !known {
            let word = object.bare(path).unwrap_or_default();
            let message = format!("{word} is read as a boolean by kubectl: quote it, or write true or false");
            problems.push(object.problem(Severity::Warning, path, message));
        }
    }
}

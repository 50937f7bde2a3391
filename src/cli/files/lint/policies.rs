//! Policies in files: which of them bind a rollout, and what is wrong with them.

use std::collections::BTreeMap;

use super::{meant, missing, sets};
use crate::api::rolloutpolicy::Binding;
use crate::api::{FeatureRollout, FlagSet, RolloutPolicy};
use crate::cli::files::problem::{Problem, Severity};
use crate::cli::files::typed::{Item, Typed};
use crate::cli::files::{Input, Kind};
use crate::controller::NAMESPACE;
use crate::plan::policy::{Bound, Found, names, unused_args};
use crate::plan::{FieldError, Refs, check_policy};

/// The label by which every namespace has its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The policies of the files that bind a rollout. Which namespace is the operator's no file says: every policy with a
/// selector is taken for one of it.
pub fn bound<'t>(
    input: &Input,
    typed: &'t Typed<'_>,
    namespace: &'t str,
    rollout: &'t FeatureRollout,
    flag_set: Option<&'t FlagSet>,
) -> Vec<Bound<'t>> {
    let named = names(rollout, flag_set).map(|(binding, name)| {
        let policy = typed.policies.get(&(namespace, name));
        let found = policy.map_or(Found::Missing, |item| Found::Spec(&item.typed.spec));
        Bound { binding, namespace, name, found }
    });
    let labels = labels_of(input, namespace);
    let matching = typed.policies.iter().filter_map(|(&(namespace, name), item)| {
        let selector = item.typed.spec.namespace_selector.as_ref()?;
        let binding = Binding::Cluster;
        selector.matches(&labels).then_some(Bound {
            binding,
            namespace,
            name,
            found: Found::Spec(&item.typed.spec),
        })
    });
    named.chain(matching).collect()
}

/// The labels of a namespace: what the files say of it, and its name.
fn labels_of(input: &Input, namespace: &str) -> BTreeMap<String, String> {
    let mut labels = input.namespaces.get(namespace).cloned().unwrap_or_default();
    labels.insert(NAME_LABEL.to_owned(), namespace.to_owned());
    labels
}

/// Checks the policies by themselves, and that those that FlagSets name are there.
pub fn check(input: &Input, typed: &Typed<'_>, problems: &mut Vec<Problem>) {
    for item in typed.policies.values() {
        let mut errors = Vec::new();
        check_policy(&item.typed.spec, &mut errors);
        sets::add(item, errors, problems);
        if item.typed.spec.namespace_selector.is_some() && item.object.namespace != NAMESPACE {
            let message = format!(
                "binds the rollouts of other namespaces only where {} is the operator's own namespace",
                item.object.namespace
            );
            problems.push(item.object.problem(Severity::Warning, "spec.namespaceSelector", message));
        }
        if item.typed.spec.time_zone.is_none() {
            let (windows, freezes) = (&item.typed.spec.windows, &item.typed.spec.freezes);
            meant::check_local(item.object, "spec", windows, freezes, problems);
        }
        check_use(item, problems);
    }
    for ((namespace, _), item) in &typed.flag_sets {
        if let Some(reference) = &item.typed.spec.policy_ref {
            let path = "spec.policyRef.name";
            problems.extend(missing(
                input,
                item.object,
                Kind::RolloutPolicy,
                namespace,
                &reference.name,
                path,
            ));
        }
    }
}

/// An argument that nothing stands for changes nothing.
fn check_use(item: &Item<'_, RolloutPolicy>, problems: &mut Vec<Problem>) {
    let spec = &item.typed.spec;
    for (i, arg) in spec.args.iter().enumerate() {
        let placeholder = format!("$({})", arg.name);
        let mut values = spec.triggers.iter().flat_map(|trigger| trigger.metric.args.values());
        if !values.any(|value| value.contains(&placeholder)) {
            let message = format!("no metric's argument has {placeholder}: it changes nothing");
            problems.push(item.object.problem(Severity::Warning, &format!("spec.args[{i}]"), message));
        }
    }
}

/// What a rollout gives that no policy asks for.
pub fn check_args(item: &Item<'_, FeatureRollout>, refs: Refs<'_>, problems: &mut Vec<Problem>) {
    for error in unused_args(&item.typed, refs) {
        problems.push(item.object.problem(Severity::Warning, &error.path, error.words()));
    }
}

/// An error of a plan that lies in a policy: said of the policy where it is its own, and of the rollout where it comes of
/// their meeting.
pub fn of_plan(
    typed: &Typed<'_>,
    item: &Item<'_, FeatureRollout>,
    title: &str,
    error: &FieldError,
) -> Option<Problem> {
    let name = title.split(' ').next().unwrap_or_default();
    let (namespace, name) = name.split_once('/').unwrap_or((&item.object.namespace, name));
    let policy = typed.policies.get(&(namespace, name))?;
    let mut own = Vec::new();
    check_policy(&policy.typed.spec, &mut own);
    let message = format!("{}: {}", error.path, error.words());
    own.is_empty().then(|| item.object.problem(Severity::Error, "spec.policyRef", message))
}

//! What the policies that bind a rollout add to it: one composition of them all, or every error with its path.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::calendar::{self, WindowList};
use super::freeze::FreezeSpan;
use super::guard::GuardTrigger;
use super::{FieldError, GuardSpec, Refs};
use crate::api::rollback::{Partial, Rollback};
use crate::api::rolloutpolicy::{Binding, BoundPolicy, MAX_POLICIES};
use crate::api::trigger::{MonitoringPeriod, Trigger};
use crate::api::{FeatureRollout, FlagSet, Freeze, Percent, RolloutPolicySpec};

mod args;
mod check;

pub use check::check_policy;

/// A policy that binds a rollout, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// How it binds.
    pub binding: Binding,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What it says, or why nobody knows.
    pub found: Found<'a>,
}

/// What is known of a policy.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// What it says.
    Spec(&'a RolloutPolicySpec),
    /// There is no such policy.
    Missing,
    /// It is there and cannot be read, for this reason.
    Unreadable(&'a str),
}

/// The percentage above which a raise needs an approval, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalAbove {
    /// The percentage: what is not above it needs none.
    pub percent: Percent,
    /// The policy, as its rules are named.
    pub policy: String,
}

/// What all policies of a rollout and its own spec say together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Composed {
    /// What watches: the rollout's own, and what the policies add.
    pub guard: GuardSpec,
    /// The window lists of the policies.
    pub windows: Vec<WindowList>,
    /// The freezes of the policies, named `POLICY/FREEZE`.
    pub freezes: Vec<FreezeSpan>,
    /// The lowest percentage above which a raise needs an approval.
    pub approval_above: Option<ApprovalAbove>,
    /// Who binds, the nearest first.
    pub bound: Vec<BoundPolicy>,
    /// Whether every policy with local times has them in UTC.
    pub in_utc: bool,
}

/// Puts the policies and the rollout's own spec together. `cohorts` are the names of the declared cohorts, empty where they
/// are not known.
pub(super) fn compose(
    rollout: &FeatureRollout,
    refs: Refs<'_>,
    cohorts: &[String],
    errors: &mut Vec<FieldError>,
) -> Composed {
    let mut composed = Composed { guard: GuardSpec::of(&rollout.spec), in_utc: true, ..Composed::default() };
    let policies = bound(rollout, refs);
    if policies.len() > MAX_POLICIES {
        let names: Vec<String> = policies.iter().map(|policy| policy.title(rollout)).collect();
        let message = format!(
            "{} policies bind the rollout, at most {MAX_POLICIES} may: {}",
            names.len(),
            names.join(", ")
        );
        errors.push(FieldError::new("spec.policyRef", message));
        return composed;
    }
    let mut wanted = BTreeMap::new();
    for policy in &policies {
        let spec = match policy.found {
            Found::Spec(spec) => spec,
            Found::Missing => {
                errors.push(
                    FieldError::missing(policy.path(), "there is no such RolloutPolicy")
                        .with_value(policy.name),
                );
                continue;
            }
            Found::Unreadable(why) => {
                let message = format!("cannot be read: {why}");
                errors.push(FieldError::new(policy.title(rollout), message));
                continue;
            }
        };
        let mut wrong = Vec::new();
        check_policy(spec, &mut wrong);
        if !wrong.is_empty() {
            let title = policy.title(rollout);
            errors.extend(wrong.into_iter().map(|e| FieldError { path: format!("{title} {}", e.path), ..e }));
            continue;
        }
        let label = policy.label(&policies);
        add_times(&mut composed, spec, &label);
        add_guard(&mut composed, rollout, policy, (spec, &label), cohorts, &mut wanted);
        let above = spec.approval_above.map(|percent| ApprovalAbove { percent, policy: label });
        composed.approval_above =
            composed.approval_above.into_iter().chain(above).min_by_key(|above| above.percent);
        composed.bound.push(BoundPolicy {
            name: policy.name.to_owned(),
            namespace: policy.foreign(rollout).map(str::to_owned),
            binding: policy.binding,
        });
    }
    for (name, policies) in wanted {
        let message =
            format!("is needed by RolloutPolicy {}, which has no default for it", policies.join(", "));
        errors.push(FieldError::new(format!("spec.policyArgs.{name}"), message));
    }
    composed
}

/// The policies that bind, each once, the nearest first; one that is named and was not looked up is missing.
fn bound<'a>(rollout: &'a FeatureRollout, refs: Refs<'a>) -> Vec<Bound<'a>> {
    let namespace = rollout.metadata.namespace.as_deref().unwrap_or_default();
    let named = names(rollout, refs.flag_set).map(|(binding, name)| {
        let known = refs.policies.iter().find(|policy| policy.binding == binding && policy.name == name);
        known.copied().unwrap_or(Bound { binding, namespace, name, found: Found::Missing })
    });
    let mut cluster: Vec<Bound<'a>> =
        refs.policies.iter().filter(|policy| policy.binding == Binding::Cluster).copied().collect();
    cluster.sort_by_key(|policy| policy.name);
    let mut seen = BTreeSet::new();
    named.chain(cluster).filter(|policy| seen.insert((policy.namespace, policy.name))).collect()
}

impl Bound<'_> {
    /// The field that names it.
    fn path(&self) -> &'static str {
        match self.binding {
            Binding::Rollout => "spec.policyRef.name",
            Binding::FlagSet => "FlagSet spec.policyRef.name",
            // It was found by its labels.
            Binding::Cluster => "RolloutPolicy metadata.name",
        }
    }

    /// Its namespace, where that is not the rollout's.
    fn foreign(&self, rollout: &FeatureRollout) -> Option<&str> {
        (rollout.metadata.namespace.as_deref() != Some(self.namespace)).then_some(self.namespace)
    }

    /// The policy in words, as paths begin with it.
    fn title(&self, rollout: &FeatureRollout) -> String {
        match self.foreign(rollout) {
            Some(namespace) => format!("RolloutPolicy {namespace}/{}", self.name),
            None => format!("RolloutPolicy {}", self.name),
        }
    }

    /// What the names of its rules begin with: its own name. Where another one of that name binds the cluster it says its
    /// namespace too, since names of rules must differ and those of the cluster's policies must not change by what tenants do.
    fn label(&self, all: &[Bound<'_>]) -> String {
        let other = |other: &Bound<'_>| other.name == self.name && other.namespace != self.namespace;
        match self.binding != Binding::Cluster && all.iter().any(other) {
            true => format!("{}/{}", self.namespace, self.name),
            false => self.name.to_owned(),
        }
    }
}

fn add_times(composed: &mut Composed, spec: &RolloutPolicySpec, label: &str) {
    let zone = spec.time_zone.as_deref().and_then(calendar::zone).unwrap_or(TimeZone::UTC);
    let named = |freeze: &Freeze| Freeze { name: format!("{label}/{}", freeze.name), ..freeze.clone() };
    let spans = spec.freezes.iter().filter_map(|freeze| FreezeSpan::new(&named(freeze), &zone).ok());
    composed.freezes.extend(spans);
    if !spec.windows.is_empty() || !spec.freezes.is_empty() {
        composed.in_utc &= zone == TimeZone::UTC;
    }
    if !spec.windows.is_empty() {
        let policy = Some(label.to_owned());
        composed.windows.push(WindowList { zone, windows: spec.windows.clone(), policy });
    }
}

fn add_guard(
    composed: &mut Composed,
    rollout: &FeatureRollout,
    policy: &Bound<'_>,
    (spec, label): (&RolloutPolicySpec, &str),
    cohorts: &[String],
    wanted: &mut BTreeMap<String, Vec<String>>,
) {
    let given = &rollout.spec.policy_args;
    let title = policy.title(rollout);
    for (i, declared) in spec.triggers.iter().enumerate() {
        let mut trigger = Trigger { name: format!("{label}/{}", declared.name), ..declared.clone() };
        for value in trigger.metric.args.values_mut() {
            match args::fill(value, &spec.args, given) {
                Ok(filled) => *value = filled,
                Err(missing) => {
                    for name in missing {
                        let policies = wanted.entry(name).or_default();
                        if policies.last().is_none_or(|last| *last != policy.name) {
                            policies.push(policy.name.to_owned());
                        }
                    }
                }
            }
        }
        composed.guard.triggers.push(GuardTrigger {
            trigger,
            template_namespace: policy.foreign(rollout).map(str::to_owned),
            path: format!("{title} spec.triggers[{i}]"),
        });
    }
    if let Some(theirs) = &spec.rollback {
        let ours = composed.guard.rollback.get_or_insert_with(Rollback::default);
        if ours.gradual.is_none() {
            ours.gradual.clone_from(&theirs.gradual);
        }
        if ours.partial.is_none() {
            let known = |name: &&String| cohorts.is_empty() || cohorts.contains(name);
            ours.partial = theirs
                .partial
                .as_ref()
                .map(|partial| Partial { keep: partial.keep.iter().filter(known).cloned().collect() });
        }
    }
    if composed.guard.monitoring.is_empty() {
        composed.guard.monitoring.clone_from(&spec.monitoring);
    }
}

/// The care after the release that a rollout is held to: its own, else that of the nearest policy that has any. `policies` are
/// those that bind it, the nearest first.
pub fn monitoring<'a>(
    rollout: &'a FeatureRollout,
    policies: impl IntoIterator<Item = &'a RolloutPolicySpec>,
) -> &'a [MonitoringPeriod] {
    let of_policies = policies.into_iter().map(|policy| policy.monitoring.as_slice());
    std::iter::once(rollout.spec.monitoring.as_slice())
        .chain(of_policies)
        .find(|monitoring| !monitoring.is_empty())
        .unwrap_or_default()
}

/// The arguments that a rollout gives and no policy that binds it has: hardly what was meant.
pub fn unused_args(rollout: &FeatureRollout, refs: Refs<'_>) -> Vec<FieldError> {
    let policies = bound(rollout, refs);
    let known = |name: &String| {
        policies.iter().any(|policy| match policy.found {
            Found::Spec(spec) => spec.args.iter().any(|arg| arg.name == *name),
            Found::Missing | Found::Unreadable(_) => true,
        })
    };
    let unused = rollout.spec.policy_args.keys().filter(|name| !known(name));
    unused
        .map(|name| {
            let path = format!("spec.policyArgs.{name}");
            FieldError::new(path, "is an argument of no policy that binds the rollout")
        })
        .collect()
}

/// The names of the policies that a rollout and its FlagSet name, the nearer first.
pub fn names<'a>(
    rollout: &'a FeatureRollout,
    flag_set: Option<&'a FlagSet>,
) -> impl Iterator<Item = (Binding, &'a str)> {
    let own = rollout.spec.policy_ref.as_ref().map(|reference| (Binding::Rollout, reference.name.as_str()));
    let set = flag_set.and_then(|set| set.spec.policy_ref.as_ref());
    own.into_iter().chain(set.map(|reference| (Binding::FlagSet, reference.name.as_str())))
}

#[cfg(test)]
mod tests;

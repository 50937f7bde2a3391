//! `sluice plan --live`: from what a cluster serves now, what these files would change.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::flagset::Emergency;
use crate::api::rolloutpolicy::Binding;
use crate::api::{
    CohortSet, FeatureRollout, FeatureRolloutStatus, FlagSet, GROUP, MicroTime, Playbook, RolloutPolicy,
    VERSION,
};
use crate::cli::cluster::{self, Cluster, ClusterArgs, schedule_clock};
use crate::cli::files::lint::{self, Checked};
use crate::cli::files::{Input, Kind};
use crate::cli::output::{self, Failure};
use crate::cli::plan::live_text;
use crate::cluster as reading;
use crate::engine::forecast::edit::{Edit, Effect, edit};
use crate::engine::forecast::stored::measured;
use crate::engine::{Facts, Metrics, Other, unmet};
use crate::plan::Plan;

/// What stands for the cluster in the place of a file's name.
const CLUSTER: &str = "the cluster";

/// What makes a pipeline fail.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOn {
    /// Somebody loses the feature, at once or later
    #[value(name = "Lowers")]
    Lowers,
    /// A schedule stands still
    #[value(name = "Pauses")]
    Pauses,
    /// Somebody gets the feature at once
    #[value(name = "Raises")]
    Raises,
    /// Anything changes, or a rollout is new
    #[value(name = "Changes")]
    Changes,
    /// Nothing of it
    #[value(name = "Never")]
    Never,
}

/// What a cluster has of the namespaces of the files.
#[derive(Default)]
pub struct Stored {
    rollouts: BTreeMap<(String, String), FeatureRollout>,
    /// Its rollouts and what they refer to, without their statuses, as they could be read from files.
    objects: Vec<Value>,
    /// Labels of the namespaces whose policies of the cluster are known, by name.
    labels: BTreeMap<String, BTreeMap<String, String>>,
}

/// What would become of one rollout.
pub enum Outlook<'a> {
    /// It is not in the cluster: its plan.
    New(&'a Plan),
    /// It is, and would go on like this.
    Edited(Box<Edit>),
    /// What is stored or what would be is invalid.
    Unknown(String),
}

/// Prints what would change, and fails where that is asked for.
pub fn run(
    input: Input,
    args: &ClusterArgs,
    fail_on: &[FailOn],
    as_json: bool,
    now: Option<MicroTime>,
) -> Result<(), Failure> {
    let namespaces: BTreeSet<String> = input.objects.iter().map(|object| object.namespace.clone()).collect();
    let (stored, now) = cluster::with(args, async |cluster| {
        let stored = read(&cluster, namespaces).await?;
        // Schedules may run on a clock of their own.
        let now = if let Some(now) = now { now } else { schedule_clock::now(&cluster).await };
        Ok((stored, now))
    })?;
    let known = |object: &Value, input: &Input| {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        input.objects.iter().any(|other| {
            other.kind.as_str() == text("/kind")
                && other.namespace == text("/metadata/namespace")
                && other.name == text("/metadata/name")
        })
    };
    let mut merged = input.clone();
    for object in stored.objects.iter().filter(|object| !known(object, &input)) {
        merged.add(CLUSTER, &object.to_string());
    }
    for (namespace, labels) in &stored.labels {
        merged.namespaces.entry(namespace.clone()).or_insert_with(|| labels.clone());
    }
    let before = stored.input();
    let (mut after, before) = (lint::check(&merged), lint::check(&before));
    // What is stored may be invalid; that is said of its rollout, and stops no other.
    after.problems.retain(|problem| problem.file != CLUSTER);
    let after = after.or_report()?;
    let outlooks: Vec<(String, Outlook<'_>)> = after
        .typed
        .rollouts
        .keys()
        .map(|key| (format!("{}/{}", key.0, key.1), outlook(*key, &before, &after, &stored, now)))
        .collect();
    match as_json {
        true => output::print_json(&json!({
            "rollouts": outlooks.iter().map(|(name, outlook)| live_text::to_json(name, outlook)).collect::<Vec<_>>()
        }))?,
        false => output::print(&live_text::to_text(&outlooks, now))?,
    }
    if outlooks.iter().any(|(_, outlook)| fails(outlook, fail_on)) { Err(Failure::No) } else { Ok(()) }
}

/// Reads the rollouts of some namespaces and what they refer to; objects that cannot be read are left out, which is said. Where policies of the
/// cluster bind the rollouts and may not be read, that is said.
///
/// # Errors
/// The cluster cannot be reached, or refuses.
pub async fn read(cluster: &Cluster, namespaces: BTreeSet<String>) -> Result<Stored, Failure> {
    let mut stored = Stored::default();
    for namespace in namespaces {
        let objects = [
            bare_of::<FlagSet>(cluster, Kind::FlagSet, &namespace).await?,
            bare_of::<CohortSet>(cluster, Kind::CohortSet, &namespace).await?,
            bare_of::<Playbook>(cluster, Kind::Playbook, &namespace).await?,
            bare_of::<RolloutPolicy>(cluster, Kind::RolloutPolicy, &namespace).await?,
        ];
        stored.objects.extend(objects.into_iter().flatten());
        let rollouts: Vec<FeatureRollout> = cluster.list(&namespace).await?;
        stored.objects.extend(rollouts.iter().map(|rollout| bare(Kind::FeatureRollout, rollout)));
        let binding = rollouts.iter().flat_map(of_the_cluster).collect();
        if let Err(Failure::Cluster(why)) = stored.add_binding(cluster, &namespace, binding).await {
            output::complain(&format!(
                "what policies of the cluster hold back in namespace {namespace} is left out: {why}"
            ));
        }
        stored
            .rollouts
            .extend(rollouts.into_iter().map(|rollout| ((namespace.clone(), rollout.name_any()), rollout)));
    }
    Ok(stored)
}

/// Namespace and name of the policies that bind a rollout by its namespace's labels, by its status.
fn of_the_cluster(rollout: &FeatureRollout) -> impl Iterator<Item = (String, String)> {
    let policies = rollout.status.iter().flat_map(|status| &status.policies);
    let policies = policies.filter(|policy| policy.binding == Binding::Cluster);
    policies.map(|policy| {
        let own = || rollout.namespace().unwrap_or_default();
        (policy.namespace.clone().unwrap_or_else(own), policy.name.clone())
    })
}

impl Stored {
    /// Reads the policies that bind a namespace by its labels, and those labels.
    async fn add_binding(
        &mut self,
        cluster: &Cluster,
        namespace: &str,
        policies: BTreeSet<(String, String)>,
    ) -> Result<(), Failure> {
        if policies.is_empty() {
            return Ok(());
        }
        let found: Option<Namespace> = cluster.get(None, namespace).await?;
        let labels = found.and_then(|found| found.metadata.labels);
        self.labels.insert(namespace.to_owned(), labels.unwrap_or_default());
        for (of, name) in policies {
            let policy: Option<RolloutPolicy> = cluster.get(Some(&of), &name).await?;
            let object = policy.map(|policy| bare(Kind::RolloutPolicy, &policy));
            self.objects.extend(object.filter(|object| !self.objects.contains(object)));
        }
        Ok(())
    }

    /// Its objects and the labels of its namespaces, as if they were read from files.
    fn input(&self) -> Input {
        let mut input = Input { namespaces: self.labels.clone(), ..Input::default() };
        self.objects.iter().for_each(|object| input.add(CLUSTER, &object.to_string()));
        input
    }
}

async fn bare_of<K: reading::Kind + Serialize>(
    cluster: &Cluster,
    kind: Kind,
    namespace: &str,
) -> Result<Vec<Value>, Failure> {
    Ok(cluster.list::<K>(namespace).await?.iter().map(|object| bare(kind, object)).collect())
}

/// The plan of a rollout as it is stored, and what the controller knows besides, as far as the objects tell it; `None`
/// where the spec is invalid.
pub fn plan_and_facts(stored: &Stored, rollout: &FeatureRollout, now: MicroTime) -> Option<(Plan, Facts)> {
    let input = stored.input();
    let checked = lint::check(&input);
    let metadata = &rollout.metadata;
    let key =
        (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default());
    let plan = checked.plans.get(&key)?.clone();
    let status = rollout.status.clone().unwrap_or_default();
    let facts = facts(rollout, &status, &plan, is_emergency(&checked, key), stored, now);
    Some((plan, facts))
}

fn bare(kind: Kind, object: &(impl kube::ResourceExt + Serialize)) -> Value {
    let spec = serde_json::to_value(object).ok().and_then(|mut object| Some(object.get_mut("spec")?.take()));
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": kind.as_str(),
        "metadata": {"namespace": object.namespace(), "name": object.name_any()},
        "spec": spec,
    })
}

fn outlook<'a>(
    key: (&'a str, &'a str),
    before: &Checked<'_>,
    after: &'a Checked<'_>,
    stored: &Stored,
    now: MicroTime,
) -> Outlook<'a> {
    let Some(plan) = after.plans.get(&key) else {
        return Outlook::Unknown("what is stored is invalid, and the files do not put it right".to_owned());
    };
    let rollout = stored.rollouts.get(&(key.0.to_owned(), key.1.to_owned()));
    let Some(rollout) = rollout.filter(|rollout| rollout.status.as_ref().is_some_and(|s| s.is_begun()))
    else {
        return Outlook::New(plan);
    };
    let status = rollout.status.clone().unwrap_or_default();
    let facts = |checked: &Checked<'_>, plan: &Plan| {
        facts(rollout, &status, plan, is_emergency(checked, key), stored, now)
    };
    let now_plan = before.plans.get(&key);
    let now_facts = now_plan.map(|plan| facts(before, plan));
    let after_facts = facts(after, plan);
    Outlook::Edited(Box::new(edit(now_plan.zip(now_facts.as_ref()), (plan, &after_facts), &status, now)))
}

fn is_emergency(checked: &Checked<'_>, key: (&str, &str)) -> bool {
    let rollout = checked.typed.rollouts.get(&key).map(|item| &item.typed);
    let set = rollout.and_then(|rollout| rollout.spec.flag_set_ref.as_ref());
    let set = set.and_then(|set| checked.typed.flag_sets.get(&(key.0, set.name.as_str())));
    set.is_some_and(|set| set.typed.spec.emergency == Some(Emergency::Control))
}

/// What the controller knows besides plan and state, as far as the objects tell it.
fn facts(
    rollout: &FeatureRollout,
    status: &FeatureRolloutStatus,
    plan: &Plan,
    emergency: bool,
    stored: &Stored,
    now: MicroTime,
) -> Facts {
    let other = |name: &str| stored.rollouts.get(&(plan.namespace.clone(), name.to_owned()));
    Facts {
        uid: rollout.metadata.uid.clone().unwrap_or_default(),
        deleting: rollout.metadata.deletion_timestamp.is_some(),
        delivered: status.is_delivered(),
        emergency,
        unmet: unmet(plan, |name| other(name).map_or(Other::Missing, Other::Known)),
        // They are asked at the first start only; what is judged here has begun.
        requirements: Vec::new(),
        no_room: None,
        live: None,
        metrics: Metrics::Measured(measured(status, now)),
    }
}

fn fails(outlook: &Outlook<'_>, fail_on: &[FailOn]) -> bool {
    let effects = match outlook {
        Outlook::New(_) => return fail_on.contains(&FailOn::Changes),
        Outlook::Unknown(_) => return true,
        Outlook::Edited(edit) => edit.effects(),
    };
    effects.iter().any(|effect| match effect {
        Effect::Refused => true,
        Effect::Lowers => fail_on.contains(&FailOn::Lowers) || fail_on.contains(&FailOn::Changes),
        Effect::Pauses => fail_on.contains(&FailOn::Pauses) || fail_on.contains(&FailOn::Changes),
        Effect::Raises => fail_on.contains(&FailOn::Raises) || fail_on.contains(&FailOn::Changes),
        Effect::Resumes | Effect::ChangesLater => fail_on.contains(&FailOn::Changes),
    })
}

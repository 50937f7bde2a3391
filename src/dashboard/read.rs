//! What a page reads of the cluster, with the person's own client.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::DeserializeGuard;
use kube::{Client, ResourceExt};

use super::preview::Basis;
use super::row::Row;
use crate::api::flagset::Emergency;
use crate::api::rolloutpolicy::Binding;
use crate::api::status::Check;
use crate::api::{
    CohortSet, FeatureRollout, FeatureRolloutStatus, FlagSet, MicroTime, Playbook, RolloutPolicy,
};
use crate::cluster::{Cluster, Kind, Scope};
use crate::engine::forecast::stored::measured;
use crate::engine::{Facts, Metrics};
use crate::error::Fault;
use crate::plan::policy::{Bound, Found, unused_args};
use crate::plan::{self, GuardSpec, Plan, Refs, compile, guard, join_errors};

mod playbook;

pub use playbook::{PlaybookSeen, playbook};

/// Key of a file where nothing else is said.
const FILE_KEY: &str = "flags.json";

/// A rollout with what it refers to, as far as the person may read that.
pub struct Seen {
    /// The rollout.
    pub rollout: FeatureRollout,
    /// The FlagSet that it names.
    pub flag_set: Option<FlagSet>,
    /// The compiled spec, or what is wrong with it.
    pub plan: Result<Plan, String>,
    /// What could not be read, and why.
    pub unread: Vec<String>,
    /// What the spec says that nothing makes use of.
    pub unused: Vec<String>,
}

/// A rollout that is there, and cannot be read as one.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The API server says no, has no such object, or cannot be asked.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The object is of another form.
    #[error("the object cannot be read: {0}")]
    Unreadable(String),
}

impl Seen {
    /// What its status says; empty before the first decision.
    pub fn status(&self) -> FeatureRolloutStatus {
        self.rollout.status.clone().unwrap_or_default()
    }

    /// The rollout as a row of the list.
    pub fn row(&self) -> Row {
        Row::of_rollout(&self.rollout)
    }

    /// Name of the zone that its local times are in.
    pub fn zone(&self) -> String {
        let own = self.rollout.spec.schedule.as_ref().and_then(|schedule| schedule.time_zone.clone());
        let of_set = || self.flag_set.as_ref().and_then(|set| set.spec.time_zone.clone());
        own.or_else(of_set).unwrap_or_else(|| "UTC".to_owned())
    }

    /// What an action on it would be judged by, as far as that can be known here.
    pub fn basis(&self, now: MicroTime) -> Basis {
        let status = self.status();
        match &self.plan {
            Ok(plan) => {
                let waiting =
                    status.waiting_for.as_ref().filter(|waiting| waiting.check == Check::Dependencies);
                let emergency = |set: &FlagSet| set.spec.emergency == Some(Emergency::Control);
                let facts = Facts {
                    deleting: self.rollout.metadata.deletion_timestamp.is_some(),
                    delivered: status.is_delivered(),
                    emergency: self.flag_set.as_ref().is_some_and(emergency),
                    unmet: waiting.map(|waiting| waiting.message.clone()).into_iter().collect(),
                    metrics: Metrics::Measured(measured(&status, now)),
                    ..Facts::favourable(&self.rollout.uid().unwrap_or_default())
                };
                Basis::Plan(Box::new(plan.clone()), Box::new(facts))
            }
            Err(why) => {
                let guard = guard(&GuardSpec::of(&self.rollout.spec), &[], &mut Vec::new());
                Basis::Invalid(Box::new(guard), why.clone())
            }
        }
    }
}

/// Reads a rollout and what it refers to.
///
/// # Errors
/// The rollout itself cannot be read. What it refers to may be missing.
pub async fn rollout(client: &Client, namespace: &str, name: &str) -> Result<Seen, ReadError> {
    Ok(with_references(client, own(client, namespace, name).await?).await)
}

/// Reads what a page is about.
///
/// # Errors
/// It is not there, not to be read, or the API server does not give it.
pub async fn own<K: Kind>(client: &Client, namespace: &str, name: &str) -> Result<K, ReadError> {
    let scope = Scope::of::<K>(Some(namespace));
    let object: DeserializeGuard<K> = Cluster::of_person(client.clone()).send(scope.named(name)).await?;
    object.0.map_err(|invalid| ReadError::Unreadable(invalid.error))
}

/// Reads what a rollout refers to, of one that is not in the cluster, too.
pub async fn with_references(client: &Client, rollout: FeatureRollout) -> Seen {
    let namespace = rollout.namespace().unwrap_or_default();
    let mut unread = Vec::new();
    let flag_set: Option<FlagSet> = match &rollout.spec.flag_set_ref {
        Some(reference) => noted(read(client, &namespace, "FlagSet", &reference.name).await, &mut unread),
        None => None,
    };
    let cohort_set: Option<CohortSet> = match plan::cohort_set_name(&rollout, flag_set.as_ref()) {
        Some(name) => noted(read(client, &namespace, "CohortSet", name).await, &mut unread),
        None => None,
    };
    let joined: Option<Playbook> = match &rollout.spec.playbook_ref {
        Some(reference) => noted(read(client, &namespace, "Playbook", &reference.name).await, &mut unread),
        None => None,
    };
    let policies = bound(client, &rollout, flag_set.as_ref(), &mut unread).await;
    let policies: Vec<Bound<'_>> = policies
        .iter()
        .map(|(binding, namespace, name, policy)| {
            let found = match policy {
                Ok(Some(policy)) => Found::Spec(&policy.spec),
                Ok(None) => Found::Missing,
                Err(why) => Found::Unreadable(why),
            };
            Bound { binding: *binding, namespace, name, found }
        })
        .collect();
    let refs = Refs {
        cohort_set: cohort_set.as_ref(),
        flag_set: flag_set.as_ref(),
        playbook: joined.as_ref(),
        policies: &policies,
    };
    let plan = compile(&rollout, refs).map_err(|errors| join_errors(&errors));
    let unused = unused_args(&rollout, refs).iter().map(ToString::to_string).collect();
    Seen { plan, rollout, flag_set, unread, unused }
}

/// A policy that binds: how, its namespace and name, and what it says, or why the person cannot read that.
type BoundBy = (Binding, String, String, Result<Option<RolloutPolicy>, String>);

/// The policies that bind a rollout: those that it and its FlagSet name, and those of the cluster that its status tells of.
async fn bound(
    client: &Client,
    rollout: &FeatureRollout,
    flag_set: Option<&FlagSet>,
    unread: &mut Vec<String>,
) -> Vec<BoundBy> {
    let namespace = rollout.namespace().unwrap_or_default();
    let named = plan::policy::names(rollout, flag_set);
    let mut all: Vec<(Binding, String, String)> =
        named.into_iter().map(|(binding, name)| (binding, namespace.clone(), name.to_owned())).collect();
    let told = rollout.status.iter().flat_map(|status| &status.policies);
    all.extend(told.filter(|policy| policy.binding == Binding::Cluster).map(|policy| {
        let of = policy.namespace.clone().unwrap_or_else(|| namespace.clone());
        (policy.binding, of, policy.name.clone())
    }));
    let mut found = Vec::new();
    for (binding, namespace, name) in all {
        let policy = read(client, &namespace, "RolloutPolicy", &name).await;
        unread.extend(policy.as_ref().err().cloned());
        found.push((binding, namespace, name, policy));
    }
    found
}

/// What was read; where it could not be, why is noted. What is missing the plan says itself.
fn noted<K>(read: Result<Option<K>, String>, unread: &mut Vec<String>) -> Option<K> {
    read.unwrap_or_else(|why| {
        unread.push(why);
        None
    })
}

/// What is there, or why that cannot be read.
pub(super) async fn read<K: Kind>(
    client: &Client,
    namespace: &str,
    kind: &str,
    name: &str,
) -> Result<Option<K>, String> {
    let found = Cluster::of_person(client.clone()).get(&(namespace.to_owned(), name.to_owned())).await;
    let found = found.map_err(|fault| format!("{kind} {name}: {}", said(&fault)))?;
    let Some(DeserializeGuard(found)) = found else { return Ok(None) };
    found.map(Some).map_err(|invalid| format!("{kind} {name} cannot be read: {}", invalid.error))
}

/// Where a file is: name of the ConfigMap, and the key in it.
pub fn place(flag_set: Option<&FlagSet>, owner: &str) -> (String, String) {
    let output = flag_set.and_then(|set| set.spec.outputs.as_ref()).and_then(|outputs| outputs.first());
    match output {
        Some(output) => (output.config_map.clone(), output.key.clone()),
        None => (owner.to_owned(), FILE_KEY.to_owned()),
    }
}

/// The text of a file; `None` where there is no such ConfigMap or no such key.
///
/// # Errors
/// The API server says no, or cannot be asked.
pub async fn file(
    client: &Client,
    namespace: &str,
    (config_map, key): &(String, String),
) -> Result<Option<String>, Fault> {
    let found = Cluster::of_person(client.clone()).get(&(namespace.to_owned(), config_map.clone())).await?;
    let map: Option<ConfigMap> = found.and_then(|map| map.0.ok());
    Ok(map.and_then(|map| map.data).and_then(|mut data| data.remove(key)))
}

/// What went wrong, as the API server said it where it did.
pub fn said(fault: &Fault) -> String {
    fault.status().map_or_else(|| crate::error::chain(fault), |status| status.message.clone())
}

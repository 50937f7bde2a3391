//! What the page of a playbook reads: the plan, the rollouts of its namespace, and what those refer to.

use kube::Client;
use kube::core::DeserializeGuard;
use serde_json::Value;

use super::{ReadError, noted, own, read, said};
use crate::api::{FeatureRollout, FlagSet, MicroTime, Playbook, RolloutPolicy};
use crate::cluster::{Cluster, Kind, Scope};
use crate::error::Fault;
use crate::plan::FieldError;
use crate::playbook::{Overview, Referred, cluster_policies};

/// Objects that are asked for at once.
const PAGE: u32 = 500;

/// A playbook as far as the person may read what belongs to it.
pub struct PlaybookSeen {
    /// The playbook.
    pub playbook: Playbook,
    /// The plan and where it stands, or everything that is wrong with it.
    pub overview: Result<Overview, Vec<FieldError>>,
    /// What could not be read, and why.
    pub unread: Vec<String>,
}

/// Reads a playbook and what belongs to it.
///
/// # Errors
/// The playbook itself cannot be read. What belongs to it may be missing.
pub async fn playbook(
    client: &Client,
    namespace: &str,
    name: &str,
    now: MicroTime,
) -> Result<PlaybookSeen, ReadError> {
    let playbook: Playbook = own(client, namespace, name).await?;
    let mut unread = Vec::new();
    let overview = match list(client, namespace, &mut unread, without_values).await {
        Ok(rollouts) => {
            let joins = |rollout: &FeatureRollout| {
                rollout.spec.playbook_ref.as_ref().is_some_and(|joins| joins.name == name)
            };
            let referred = match rollouts.iter().any(joins) {
                true => referred(client, namespace, &rollouts, &mut unread).await,
                false => Referred::default(),
            };
            let planned = |rollout: FeatureRollout| {
                let plan = joins(&rollout).then(|| referred.plan(&playbook, &rollout)).flatten();
                (rollout, plan)
            };
            let planned: Vec<_> = rollouts.into_iter().map(planned).collect();
            Overview::of(playbook.clone(), &planned, now)
        }
        Err(fault) => {
            unread.push(format!(
                "The rollouts of {namespace} cannot be listed, so where the plan stands is what its own status says, \
                 and the steps of its rollouts are left out: {}",
                said(&fault)
            ));
            Overview::told(playbook.clone(), now)
        }
    };
    Ok(PlaybookSeen { playbook, overview, unread })
}

/// What rollouts refer to, as far as the person may read it.
async fn referred(
    client: &Client,
    namespace: &str,
    rollouts: &[FeatureRollout],
    unread: &mut Vec<String>,
) -> Referred {
    let mut referred = Referred {
        flag_sets: listed(client, namespace, "FlagSets", unread, without_flags).await,
        cohort_sets: listed(client, namespace, "CohortSets", unread, |_| {}).await,
        policies: listed(client, namespace, "RolloutPolicies", unread, |_| {}).await,
    };
    let mut of_cluster: Vec<(&str, &str)> = rollouts.iter().flat_map(cluster_policies).collect();
    of_cluster.sort_unstable();
    of_cluster.dedup();
    for (namespace, name) in of_cluster {
        let policy: Option<RolloutPolicy> =
            noted(read(client, namespace, "RolloutPolicy", name).await, unread);
        referred.policies.extend(policy);
    }
    referred
}

/// The objects of a kind; where they cannot be listed, why is noted.
async fn listed<K: Kind>(
    client: &Client,
    namespace: &str,
    what: &str,
    unread: &mut Vec<String>,
    thin: impl Fn(&mut K) + Send + Sync,
) -> Vec<K> {
    list(client, namespace, unread, thin).await.unwrap_or_else(|fault| {
        unread.push(format!(
            "{what} cannot be listed, so rollouts that use one are shown without their steps: {}",
            said(&fault)
        ));
        Vec::new()
    })
}

/// Takes the values of a rollout's variants away, but for their types: a plan looks at no more of them, and they may take a hundred times
/// their text.
fn without_values(rollout: &mut FeatureRollout) {
    let feature = rollout.spec.feature.iter_mut();
    for variant in feature.flat_map(|feature| feature.variants.iter_mut().flatten()) {
        variant.value = match &variant.value {
            Value::Array(_) => Value::Array(Vec::new()),
            Value::Object(_) => Value::Object(serde_json::Map::new()),
            Value::String(_) => Value::String(String::new()),
            plain => plain.clone(),
        };
    }
}

/// Takes a FlagSet's own flags and metadata away, for the same reason.
fn without_flags(flag_set: &mut FlagSet) {
    flag_set.spec.flags.clear();
    flag_set.spec.metadata.clear();
}

/// The objects of a kind in a namespace, each thinned as it arrives; those that cannot be read are noted.
async fn list<K: Kind>(
    client: &Client,
    namespace: &str,
    unread: &mut Vec<String>,
    thin: impl Fn(&mut K) + Send + Sync,
) -> Result<Vec<K>, Fault> {
    let mut all = Vec::new();
    let take = |object: DeserializeGuard<K>| match object.0 {
        Ok(mut object) => {
            thin(&mut object);
            all.push(object);
        }
        Err(invalid) => {
            let name = invalid.metadata.name.unwrap_or_default();
            unread.push(format!("{} {name} cannot be read: {}", K::kind(&()), invalid.error));
        }
    };
    let scope = Scope::of::<K>(Some(namespace)).pages_of(PAGE);
    Cluster::of_person(client.clone()).all(&scope, take).await?;
    Ok(all)
}

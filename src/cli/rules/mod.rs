//! What holds a rollout besides its own spec, as far as whoever asks may read it: the policies that bind it, what watches over
//! it with theirs, and the units of what is measured.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::ControllerRevision;

use crate::api::{FeatureRollout, MetricTemplate, RolloutPolicy};
use crate::plan::GuardSpec;

use crate::cli::cluster::Cluster;
use crate::cli::output::table::table;

pub mod policies;

/// Units of values, by the name of the MetricTemplate that measures them.
pub type Units = BTreeMap<String, String>;

/// What was read beside the rollout.
#[derive(Debug, Default)]
pub struct Rules {
    /// Its triggers and criteria, with what policies add where that could be read.
    pub watching: Option<GuardSpec>,
    /// Units, as far as they could be read: without them values stand bare.
    pub units: Units,
    /// What each policy of its status holds it to, in the order there; those that could not be read have none.
    pub policies: Vec<Option<String>>,
}

impl Rules {
    /// Reads what can be read.
    pub async fn read(cluster: &Cluster, rollout: &FeatureRollout) -> Rules {
        let watching = watching(cluster, rollout).await;
        let spec = watching.clone().unwrap_or_else(|| GuardSpec::of(&rollout.spec));
        let (units, policies) = futures::join!(units(cluster, &spec), policies_of(cluster, rollout));
        Rules { watching, units, policies }
    }

    /// What watches, by what could be read.
    pub fn watching(&self, rollout: &FeatureRollout) -> GuardSpec {
        self.watching.clone().unwrap_or_else(|| GuardSpec::of(&rollout.spec))
    }

    /// The policies that bind the rollout, and what each holds it to; empty where there are none.
    pub fn table(&self, rollout: &FeatureRollout) -> String {
        let bound = rollout.status.iter().flat_map(|status| &status.policies);
        let rows: Vec<Vec<String>> = bound
            .enumerate()
            .map(|(i, policy)| {
                let holds = self.policies.get(i).cloned().flatten();
                let holds = holds.unwrap_or_else(|| "not to be read by you".to_owned());
                vec![policies::title(policy), policy.binding.as_str().to_owned(), holds]
            })
            .collect();
        if rows.is_empty() { String::new() } else { table(&["POLICY", "BOUND BY", "HOLDS"], &rows) }
    }
}

/// What watched when the spec and its policies were last valid, from where the controller keeps it. Where no policy binds the
/// spec says it all.
async fn watching(cluster: &Cluster, rollout: &FeatureRollout) -> Option<GuardSpec> {
    let status = rollout.status.as_ref().filter(|status| !status.policies.is_empty())?;
    let name = status.guard.as_ref()?;
    let revision: ControllerRevision = cluster.get(Some(&cluster.namespace), name).await.ok()??;
    serde_json::from_value(revision.data?.0).ok()
}

async fn units(cluster: &Cluster, spec: &GuardSpec) -> Units {
    let triggers = spec.triggers.iter().map(|declared| {
        (declared.template_namespace.as_deref(), declared.trigger.metric.template_ref.name.as_str())
    });
    let criteria = spec.criteria.iter().filter_map(|criterion| criterion.metric.as_ref());
    let criteria = criteria.map(|metric| (None, metric.template_ref.name.as_str()));
    let names: BTreeSet<(Option<&str>, &str)> = triggers.chain(criteria).collect();
    let unit = |(namespace, name): (Option<&str>, &str)| {
        let (namespace, name) = (namespace.unwrap_or(&cluster.namespace).to_owned(), name.to_owned());
        async move {
            let template: MetricTemplate = cluster.get(Some(&namespace), &name).await.ok()??;
            Some((name, template.spec.unit?))
        }
    };
    futures::future::join_all(names.into_iter().map(unit)).await.into_iter().flatten().collect()
}

async fn policies_of(cluster: &Cluster, rollout: &FeatureRollout) -> Vec<Option<String>> {
    let bound = rollout.status.iter().flat_map(|status| &status.policies);
    let read = |policy: &crate::api::rolloutpolicy::BoundPolicy| {
        let namespace = policy.namespace.as_deref().unwrap_or(&cluster.namespace).to_owned();
        let name = policy.name.clone();
        async move {
            let found: Option<RolloutPolicy> = cluster.get(Some(&namespace), &name).await.ok()?;
            Some(found.map_or_else(|| "gone".to_owned(), |policy| policies::holds(&policy.spec)))
        }
    };
    futures::future::join_all(bound.map(read)).await
}

//! Metric sources that are servers of the benchmark, and rollouts that a trigger watches by them.

use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use sluice::api::{FeatureRollout, MetricSource, MetricTemplate};

use crate::hostile::Hostile;

/// The operator's own namespace.
const SYSTEM: &str = "sluice-system";

/// Creates a source for a namespace, and a template of the same name there. `limits` are those
/// of the source that are not to be the defaults.
pub async fn create(client: &Client, namespace: &str, name: &str, server: &Hostile, limits: Value) {
    let source: MetricSource = serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "MetricSource",
        "metadata": {"name": name, "namespace": SYSTEM},
        "spec": {
            "prometheus": {"url": format!("http://{}", server.address)},
            "allowAddresses": ["127.0.0.1"],
            "allowedNamespaces": [namespace],
            "limits": limits,
        },
    }))
    .unwrap();
    Api::namespaced(client.clone(), SYSTEM).create(&PostParams::default(), &source).await.unwrap();
    let template: MetricTemplate = serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "MetricTemplate",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "sourceRef": {"name": name},
            // A query of its own for each: none shares another's answer.
            "promql": "sum(errors{rollout=\"{{rollout}}\"})",
        },
    }))
    .unwrap();
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &template).await.unwrap();
}

/// The rollout with a trigger that looks so often, and rolls back after so long in breach.
pub fn watched(
    mut rollout: FeatureRollout,
    template: &str,
    interval: &str,
    breach_for: &str,
) -> FeatureRollout {
    let triggers = json!([{
        "name": "errors",
        "metric": {"templateRef": {"name": template}},
        "interval": interval,
        "levels": [{"severity": "Critical", "above": "10", "for": breach_for, "action": "ImmediateRollback"}],
    }]);
    rollout.spec.triggers = serde_json::from_value(triggers).unwrap();
    rollout
}

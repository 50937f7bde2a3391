//! What is only read by its name.

use http::Method;
use serde_json::json;
use sluice::api::{FeatureRollout, FlagSet};

use super::stored;
use crate::support::poisons::{OURS, request};
use crate::support::{Space, eventually, is_ready};

/// Stores who names what is only read by its name: a set with the poisoned FeatureFlag, a source with the poisoned Secret.
pub async fn read_by_name(tenant: &Space, operator: &Space) {
    let set = "{metadata: {name: app}, spec: {featureFlag: {name: writers}}}";
    tenant.apply::<FlagSet>(set).await.unwrap();
    let rollout = "{metadata: {name: one}, spec: {flagSetRef: {name: app}, cohorts: [{name: all}],
        phases: [{name: ga, steps: [{cohorts: {all: 5}, hold: 1000h}]}]}}";
    tenant.apply::<FeatureRollout>(rollout).await.unwrap();
    let source = json!({
        "apiVersion": OURS, "kind": "MetricSource", "metadata": {"name": "named"},
        "spec": {"prometheus": {"url": "http://10.9.9.9"},
            "auth": {"bearer": {"secretRef": {"name": "writers", "key": "token"}}}},
    });
    let path = format!("/apis/{OURS}/namespaces/{}/metricsources", operator.name);
    assert!(request(&operator.client, Method::POST, &path, source.to_string().into_bytes()).await);
}

/// What is only read by its name was read.
pub async fn assert_read_by_name(tenant: &Space, operator: &Space) {
    let path = format!("/apis/{OURS}/namespaces/{}/metricsources/named", operator.name);
    eventually("the source may be asked", async || stored(operator, &path).await.contains("it may be asked"))
        .await;
    // The FeatureFlag is somebody else's, which only whoever could read it can say.
    tenant
        .until("one", "told of the other's FeatureFlag", |status| {
            !is_ready(status) && format!("{:?}", status.conditions).contains("FeatureFlag writers")
        })
        .await;
}

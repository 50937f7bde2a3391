//! What MetricSources and MetricTemplates say of themselves.

use k8s_openapi::api::core::v1::Secret;
use sluice::api::metricsource::Circuit;
use sluice::api::{Condition, MetricSource, MetricTemplate};

use crate::support::metrics::{Measured, verdict};
use crate::support::{eventually, pause};

#[tokio::test]
async fn sources_and_templates_say_what_is_wrong_with_them_and_write_it_once() {
    let world = Measured::start("checks-statuses").await;
    let controller = world.controller();
    let source = |name: &'static str| {
        let api = world.space.api::<MetricSource>();
        async move { api.get(name).await.unwrap().status.unwrap_or_default() }
    };
    let template = |name: &'static str| {
        let api = world.space.api::<MetricTemplate>();
        async move { said(&api.get(name).await.unwrap().status.unwrap_or_default().conditions) }
    };
    eventually("the source is ready", async || said(&source("prometheus").await.conditions).0 == "Valid")
        .await;
    eventually("the template is ready", async || template("errors").await.0 == "Valid").await;

    world.apply_template("odd", "sum(rate(http_requests_total))").await;
    eventually("an invalid query is said", async || {
        let (reason, message) = template("odd").await;
        reason == "InvalidSpec" && message.contains("promql")
    })
    .await;
    let lost = "{metadata: {name: lost}, spec: {sourceRef: {name: nowhere}, promql: up}}";
    world.space.apply::<MetricTemplate>(lost).await.unwrap();
    eventually("a missing source is said", async || {
        let (reason, message) = template("lost").await;
        reason == "ReferenceNotFound" && message.contains("nowhere")
    })
    .await;

    let secret = r#"{metadata: {name: nowhere}, spec: {prometheus: {url: "http://127.0.0.1:9"},
        allowAddresses: ["127.0.0.1"], timeout: 1s, auth: {bearer: {secretRef: {name: token, key: token}}}}}"#;
    world.space.apply::<MetricSource>(secret).await.unwrap();
    eventually("a missing secret is said", async || {
        let (reason, message) = said(&source("nowhere").await.conditions);
        reason == "ReferenceNotFound" && message.contains("\"token\"")
    })
    .await;
    eventually("the template's source is there", async || template("lost").await.0 == "Valid").await;
    world.space.apply::<Secret>("{metadata: {name: token}, stringData: {token: abc}}").await.unwrap();
    // A Secret is in no watch; an edit of its source has it read again.
    world.space.apply::<MetricSource>(&secret.replace("timeout: 1s", "timeout: 2s")).await.unwrap();
    eventually("the secret is found", async || said(&source("nowhere").await.conditions).0 == "Valid").await;

    // Nobody listens on port 9: five errors open the circuit, and that is written once.
    world
        .apply_rollout(
            "
  triggers:
  - name: dead
    metric: {templateRef: {name: lost}}
    interval: 1s
    levels: [{severity: Critical, above: '10', action: ImmediateRollback}]
",
        )
        .await;
    eventually("the circuit is open", async || source("nowhere").await.circuit == Some(Circuit::Open)).await;
    let status = world.until("an error", |status| verdict(status, "dead", "") == Some("ProviderError")).await;
    assert!(status.rollback.is_none());
    // Whoever is on call sees what to mend, at the source and at what waits for it.
    let (reason, message) = said(&source("nowhere").await.conditions);
    assert!(
        reason == "Retrying" && message.ends_with("while: the source refuses the connection"),
        "{message}"
    );
    let why = status.triggers.iter().find(|trigger| trigger.name == "dead").unwrap().message.clone();
    assert_eq!(why.as_deref(), Some("the source refuses the connection"));
    let writes = world.proxy.writes().len();
    pause(12_000).await;
    assert_eq!(world.proxy.writes()[writes..], Vec::<String>::new(), "probes that fail are no news");
    controller.stop().await;
}

/// Reason and message of Ready.
fn said(conditions: &[Condition]) -> (String, String) {
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    ready.map(|ready| (ready.reason.clone(), ready.message.clone())).unwrap_or_default()
}

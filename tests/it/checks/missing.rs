//! Missing data: no fault before anybody is exposed, and no raise afterwards.

use sluice::api::{FeatureRollout, MetricSource};

use crate::support::metrics::{Measured, verdict};
use crate::support::{condition, is_ready};

#[tokio::test]
async fn missing_data_blocks_nothing_at_nought_and_holds_once_exposed() {
    let world = Measured::start("checks-missing").await;
    let controller = world.controller();
    let rollout = "
metadata: {name: dreams}
spec:
  cohorts: [{name: all, share: 100}]
  phases: [{name: ga, steps: [{name: half, cohorts: {all: 50}, hold: 2s}, {name: full, cohorts: {all: 100}}]}]
  triggers:
  - name: traffic
    metric: {templateRef: {name: nothing}}
    interval: 1s
    levels: [{severity: Critical, below: '1', for: 1h, action: ImmediateRollback}]
";
    world.space.apply::<FeatureRollout>(rollout).await.unwrap();
    let held = world
        .until("held by its trigger", |status| {
            let waiting = status.waiting_for.as_ref();
            waiting.is_some_and(|waiting| waiting.message == "traffic has no data: no series")
        })
        .await;
    assert_eq!(held.served.as_deref(), Some("all=50%"), "the first step needs no data");
    assert_eq!(verdict(&held, "traffic", ""), Some("NoData"));
    assert!(held.rollback.is_none() && is_ready(&held), "{held:#?}");

    // The next check uses what the template says now.
    world.apply_template("nothing", "sum(rate(http_requests_total{service=\"dreams\"}[2s]))").await;
    let gone_on = world.until("complete", |status| status.served.as_deref() == Some("all=100%")).await;
    assert_eq!(verdict(&gone_on, "traffic", ""), Some("Pass"));
    controller.stop().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_an_error_of_its_provider_and_not_of_the_rollout() {
    let world = Measured::start("checks-unasked").await;
    let controller = world.controller();
    let rollout = |template: &str| {
        format!(
            "
  triggers:
  - name: error-rate
    metric: {{templateRef: {{name: {template}}}, args: {{service: dreams}}}}
    interval: 1s
    levels: [{{severity: Critical, above: '10', for: 5s, action: ImmediateRollback}}]
"
        )
    };
    let says = async |what: &str, words: &str| {
        let status = world
            .until(what, |status| {
                let message = status.triggers.first().and_then(|trigger| trigger.message.as_deref());
                let is_served = status.served.as_deref() == Some("early=100%,all=50%");
                is_served && message.is_some_and(|message| message.contains(words))
            })
            .await;
        assert_eq!(verdict(&status, "error-rate", ""), Some("ProviderError"), "{what}");
        assert_eq!(condition(&status, "Stalled"), None, "{what}");
        assert!(status.rollback.is_none(), "{what}");
    };
    let passes = async || {
        world.until("passing", |status| verdict(status, "error-rate", "") == Some("Pass")).await;
    };
    let plain = |template: &str| rollout(template).replace(", args: {service: dreams}", "");
    // Why there is no data is said when data ends to be there, so each time it has to be there first.
    world.apply_rollout(&plain("absent")).await;
    says("without a template", "there is no MetricTemplate \"absent\"").await;
    let query = "sum(rate(http_requests_total{service=\"dreams\"}[2s])) * 0";
    world.apply_template("absent", query).await;
    passes().await;

    world.apply_rollout(&rollout("absent")).await;
    says("with an argument that the template does not have", "service").await;
    world.apply_rollout(&plain("absent")).await;
    passes().await;

    world.space.api::<MetricSource>().delete("prometheus", &Default::default()).await.unwrap();
    says("without a source", "there is no MetricSource \"prometheus\"").await;
    world.apply_template("absent", &query.replace("dreams", "{{namespace}}")).await;
    world.apply_source(world.prometheus.url()).await;
    world.until("without series", |status| verdict(status, "error-rate", "") == Some("NoData")).await;
    world.apply_template("absent", query).await;
    passes().await;
    controller.stop().await;
}

#[tokio::test]
async fn a_source_must_allow_the_namespace() {
    let world = Measured::start("checks-namespace").await;
    let tenant = crate::support::Space::on(world.space.client.clone(), "checks-namespace-tenant").await;
    let proxy = crate::support::proxy::Proxy::start(world.space.client.clone(), &tenant.name).await;
    let controller = crate::support::bare::Running::as_told(proxy.config(), world.options());
    let template = "{metadata: {name: up}, spec: {sourceRef: {name: prometheus}, promql: 'sum(up)'}}";
    tenant.apply::<sluice::api::MetricTemplate>(template).await.unwrap();
    let rollout = "
metadata: {name: dreams}
spec:
  cohorts: [{name: all, share: 100}]
  phases: [{name: ga, ramp: {percents: [5, 100], every: 1h}}]
  triggers:
  - name: up
    metric: {templateRef: {name: up}}
    interval: 1s
    levels: [{severity: Critical, below: '1', for: 1h, action: ImmediateRollback}]
";
    tenant.apply::<FeatureRollout>(rollout).await.unwrap();
    let refused = tenant.until("dreams", "refused", |status| !status.triggers.is_empty()).await;
    let message = refused.triggers[0].message.clone().unwrap();
    assert!(message.contains("does not allow the namespace"), "{message}");
    assert_eq!(verdict(&refused, "up", ""), Some("ProviderError"));

    let url = world.prometheus.url();
    let allows = format!(
        r#"{{metadata: {{name: prometheus}}, spec: {{prometheus: {{url: "{url}"}}, allowAddresses: ["127.0.0.1"],
            allowedNamespaces: [{}]}}}}"#,
        tenant.name
    );
    world.space.apply::<MetricSource>(&allows).await.unwrap();
    tenant.until("dreams", "passing", |status| verdict(status, "up", "") == Some("Pass")).await;
    controller.stop().await;
}

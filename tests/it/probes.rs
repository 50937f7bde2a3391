//! What a cluster's kubelet asks of the controller's process, and how it is ended.

use std::net::SocketAddr;

use sluice::api::{FeatureRollout, MetricSource, MetricTemplate};

use crate::support::bare::bare_space;
use crate::support::process::ControllerProcess;
use crate::support::proxy::Proxy;
use crate::support::{eventually, is_ready};

/// Everything that has to be known. What is measured, and actions, hold nobody else up.
const LISTED: [(&str, &str); 12] = [
    ("featurerollouts", "FeatureRollout"),
    ("flagsets", "FlagSet"),
    ("cohortsets", "CohortSet"),
    ("configmaps", "ConfigMap"),
    ("controllerrevisions", "ControllerRevision"),
    ("metricsources", "MetricSource"),
    ("metrictemplates", "MetricTemplate"),
    ("notificationchannels", "NotificationChannel"),
    ("playbooks", "Playbook"),
    ("rolloutactions", "RolloutAction"),
    ("rolloutpolicies", "RolloutPolicy"),
    ("namespaces", "Namespace"),
];

const ONE: &str = "{metadata: {name: one}, spec: {cohorts: [{name: everyone}],
    phases: [{name: ga, steps: [{cohorts: {everyone: 50}, hold: 1h}]}]}}";

/// Code and text of a probe.
async fn probe(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_ready_once_every_kind_is_listed_and_sigterm_ends_it_in_order_whenever_that_comes() {
    let space = bare_space("probes").await;
    space.apply::<FeatureRollout>(ONE).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (plural, kind) in LISTED {
        let proxy = Proxy::start(space.client.clone(), &space.name).await;
        let kubeconfig = folder.path().join(plural);
        std::fs::write(&kubeconfig, proxy.kubeconfig()).unwrap();
        let log = folder.path().join(format!("{plural}.log"));
        proxy.hang_on_lists_of(plural);
        let process = ControllerProcess::start(&kubeconfig, &log);
        let address = process.address().await;
        eventually("the list is asked for", async || proxy.lists_that_hung() > 0).await;
        assert_eq!(probe(address, "/livez").await, (200, "ok".to_owned()), "{plural}");
        eventually("it says what it waits for", async || {
            let (code, said) = probe(address, "/readyz").await;
            assert_eq!(code, 503, "{plural}");
            // Files are looked for when it is known whose they may be.
            let alone = said == format!("still listing {kind}");
            alone || (said.starts_with("still listing ") && said.contains(kind) && said.contains("ConfigMap"))
        })
        .await;
        let metrics = probe(address, "/metrics").await;
        assert!(metrics.0 == 200 && metrics.1.contains("# TYPE sluice_"), "{metrics:?}");

        // One is ended while it lists, the others when they are at work.
        if plural != LISTED[0].0 {
            proxy.stop_hanging();
            eventually("it is ready", async || probe(address, "/readyz").await == (200, "ok".to_owned()))
                .await;
            space.until("one", "served", is_ready).await;
        }
        let ended = process.terminate().await;
        assert_eq!(ended.code(), Some(0), "{plural}: {}", process.log());
        assert!(!process.log().contains("cut off"), "nothing was under way: {}", process.log());
    }
}

/// Whoever may write MetricSources could ask the API server in the operator's name otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_asks_no_source_that_is_its_own_api_server() {
    let space = bare_space("probes-source").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let folder = tempfile::tempdir().unwrap();
    let (kubeconfig, log) = (folder.path().join("kubeconfig"), folder.path().join("log"));
    std::fs::write(&kubeconfig, proxy.kubeconfig()).unwrap();
    let url = proxy.config().cluster_url;
    let source = format!(
        r#"{{metadata: {{name: own}}, spec: {{prometheus: {{url: "{url}"}}, allowAddresses: ["127.0.0.0/8"]}}}}"#
    );
    space.apply::<MetricSource>(&source).await.unwrap();
    let template = "{metadata: {name: up}, spec: {sourceRef: {name: own}, promql: 'sum(up)'}}";
    space.apply::<MetricTemplate>(template).await.unwrap();
    let trigger = "triggers: [{name: up, metric: {templateRef: {name: up}}, interval: 1s,
        levels: [{severity: Critical, below: '1', for: 1h, action: ImmediateRollback}]}], cohorts";
    space.apply::<FeatureRollout>(&ONE.replacen("cohorts", trigger, 1)).await.unwrap();

    let _process = ControllerProcess::start_with(&kubeconfig, &log, &["--namespace", &space.name]);
    let status = space.until("one", "measured", |status| !status.triggers.is_empty()).await;
    let message = status.triggers[0].message.clone().unwrap_or_default();
    assert!(message.contains("the source's address may not be reached"), "{message}");
}

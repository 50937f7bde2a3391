//! A rollout is deleted while the API server comes and goes.

use kube::Api;
use kube::api::DeleteParams;
use sluice::api::FeatureRollout;

use crate::support::bare::{Recorded, Running, bare_space};
use crate::support::proxy::{Moment, Proxy};
use crate::support::{Space, eventually, is_ready, pause};

/// How long it is away each time, in milliseconds.
const AWAY: u64 = 150;

async fn begin(space: &Space, name: &str) {
    let yaml = format!(
        "{{metadata: {{name: {name}}}, spec: {{deletionPolicy: Control, cohorts: [{{name: everyone}}],
          phases: [{{name: ga, ramp: {{percents: [60, 100], every: 1000h}}}}]}}}}"
    );
    space.apply::<FeatureRollout>(&yaml).await.unwrap();
    let settled = |status: &sluice::api::FeatureRolloutStatus| {
        is_ready(status) && status.published_seq == status.last_seq() && status.announced.is_some()
    };
    space.until(name, "served", settled).await;
    // Whatever is still on its way would be counted.
    pause(200).await;
}

/// Deletes a rollout and waits until it is gone; its flag is at control then, and stays there.
async fn delete(space: &Space, name: &str) {
    let recorded = Recorded::start(space, name);
    assert!(!recorded.all_of(name).await.is_empty());
    let rollouts: Api<FeatureRollout> = space.api();
    rollouts.delete(name, &DeleteParams::default()).await.unwrap();
    eventually("the rollout is gone", async || rollouts.get_opt(name).await.unwrap().is_none()).await;
    let percents: Vec<(i64, f64)> = recorded
        .all_of(name)
        .await
        .into_iter()
        .map(|(revision, served)| (revision, served["everyone"]))
        .collect();
    let (before, after) =
        percents.split_at(percents.iter().take_while(|(_, percent)| *percent > 59.0).count());
    assert!(!before.is_empty() && !after.is_empty(), "{name}: {percents:?}");
    assert!(after.iter().all(|(_, percent)| *percent < 0.001), "{name} is served again: {percents:?}");
    assert!(
        after.iter().all(|(revision, _)| *revision == after[0].0),
        "{name} was lowered twice: {percents:?}"
    );
}

/// At each write of the deletion, before and after it, the API server goes away for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_40_a_deletion_while_the_api_server_comes_and_goes_cleans_up_once() {
    let space = bare_space("faults-deletion").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::over(&proxy);
    begin(&space, "undisturbed").await;
    let before = proxy.writes().len();
    delete(&space, "undisturbed").await;
    pause(300).await;
    let writes = proxy.writes()[before..].to_vec();
    assert!(writes.len() >= 3, "a status, a file and the finalizer: {writes:#?}");

    for write in 1..=writes.len() {
        for moment in [Moment::Before, Moment::After] {
            let name = format!("r{write}-{moment:?}").to_lowercase();
            begin(&space, &name).await;
            let (away, back) = (proxy.clone(), proxy.clone());
            let number = proxy.writes().len() + write;
            proxy.at_write(number, moment, move || {
                away.go_away();
                tokio::spawn(async move {
                    pause(AWAY).await;
                    back.come_back();
                });
            });
            delete(&space, &name).await;
        }
    }
    controller.stop().await;
}

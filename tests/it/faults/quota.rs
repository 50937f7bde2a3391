//! A namespace that may have no more ConfigMaps.

use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{apply, is_completed, names, until_begun};
use crate::support::bare::{Running, bare_space};
use crate::support::proxy::Proxy;
use crate::support::{Space, condition, eventually, is_ready, is_stalled, pause};

/// Lets a namespace have this many ConfigMaps, and waits until the API server holds to that.
async fn limit(space: &Space, config_maps: usize) {
    let hard = json!({"configmaps": config_maps.to_string()});
    let quota = json!({"metadata": {"name": "few"}, "spec": {"hard": hard}});
    let quotas = space.api::<ResourceQuota>();
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    // What counts is the status, which a controller of the cluster keeps elsewhere.
    let status = json!({"status": {"hard": hard, "used": {"configmaps": config_maps.to_string()}}});
    quotas.patch_status("few", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let probe: ConfigMap = serde_json::from_value(json!({"metadata": {"generateName": "probe-"}})).unwrap();
    let maps = space.api::<ConfigMap>();
    eventually("the quota is in force", async || match maps.create(&PostParams::default(), &probe).await {
        Ok(made) => {
            maps.delete(&made.metadata.name.unwrap(), &DeleteParams::default()).await.unwrap();
            false
        }
        Err(_) => true,
    })
    .await;
}

#[tokio::test]
async fn case_31_a_used_up_quota_is_said_and_asked_about_seldom_and_what_is_there_goes_on() {
    let space = bare_space("faults-quota").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::over(&proxy);
    apply(&space, &names(1), "2s").await;
    until_begun(&space, &names(1)).await;
    limit(&space, 1).await;
    let late = "{metadata: {name: late}, spec: {cohorts: [{name: everyone}], phases: [{name: ga, ramp: {percents: [5], every: 1h}}]}}";
    space.apply::<sluice::api::FeatureRollout>(late).await.unwrap();
    let is_refused =
        |status: &sluice::api::FeatureRolloutStatus| is_stalled(status, "Forbidden", "exceeded quota");
    space.until("late", "refused", is_refused).await;
    // The file that is there already is written on, and its rollout goes to its end.
    space.until("r0", "completed", is_completed).await;
    let before = proxy.asked("/configmaps").len();
    pause(2_000).await;
    let tried = proxy.asked("/configmaps").len() - before;
    assert!(tried <= 4, "{tried} tries in two seconds");
    let status = space.status("late").await;
    assert_eq!(status.delivered_revision, 0, "it does not say that anybody gets it");
    assert!(space.file("late").await.is_none());

    space.api::<ResourceQuota>().delete("few", &DeleteParams::default()).await.unwrap();
    let status = space.until("late", "delivered", is_ready).await;
    assert!(condition(&status, "Stalled").is_none());
    assert!(space.file("late").await.is_some());
    controller.stop().await;
}

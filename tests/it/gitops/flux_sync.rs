//! Syncs of Flux, by the code that its kustomize-controller applies and waits with, on the real API server and beside the
//! real controller.

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sluice::api::status::PauseCause;
use sluice::api::{FeatureRollout, State};

use super::files::kubectl;
use super::{ask_about, live};
use crate::actions::applied;
use crate::support::bare::{Running, bare, bare_space};
use crate::support::raw::object;
use crate::support::{Space, is_ready};

/// What is in git: half of everybody for a week, and then the rest.
fn in_git(space: &Space, more: &str) -> Value {
    let spec = "{cohorts: [{name: all, share: 100}], phases: [{name: ga, ramp: {percents: [50, 100], every: 168h}}]}";
    let mut rollout = object("FeatureRollout", "one", spec);
    let more: Value = serde_saphyr::from_str(more).unwrap();
    rollout["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rollout["metadata"]["namespace"] = json!(space.name);
    rollout
}

/// A sync with `wait: true`: what was done to the rollout, or how the Kustomization fails.
async fn sync(rollout: &Value, timeout: &str, expressions: Option<&str>) -> Result<String, String> {
    let args: Vec<&str> = ["flux", "sync", timeout].into_iter().chain(expressions).collect();
    let answers = ask_about(Some(bare().kubeconfig_path()), &args, std::slice::from_ref(rollout)).await?;
    Ok(answers[0].as_str().unwrap().to_owned())
}

async fn version(space: &Space) -> Option<String> {
    space.api::<FeatureRollout>().get("one").await.unwrap().resource_version()
}

#[tokio::test]
async fn a_sync_of_flux_waits_for_no_hold_and_what_it_takes_back_changes_nothing_that_is_served() {
    let space = bare_space("gitops-flux").await;
    let controller = Running::in_space(&space).await;
    let rollout = in_git(&space, "{}");
    assert_eq!(sync(&rollout, "60s", None).await.as_deref(), Ok("created"));
    let status = space.status("one").await;
    assert!(is_ready(&status), "a sync that has ended means that the file holds it: {status:#?}");
    assert_eq!(status.served.as_deref(), Some("all=50%"));

    space.until("one", "published", |s| s.published_seq == s.last_seq()).await;
    let before = version(&space).await;
    assert_eq!(sync(&rollout, "60s", None).await.as_deref(), Ok("unchanged"));
    assert_eq!(version(&space).await, before, "a sync without news writes nothing");
    let late = sync(&rollout, "3s", Some("deploy/flux/until-complete.yaml")).await.unwrap_err();
    // A look that is under way when the patience ends says so in its own words.
    let says = ["FeatureRollout/gitops-flux/one status: 'InProgress'", "context deadline exceeded"];
    assert!(says.iter().any(|words| late.contains(words)), "{late}");

    // What people write with kubectl is taken back; what others have added, and git does not say, stays.
    kubectl(&["annotate", "--namespace", &space.name, "featurerollout/one", "note=seen"]).await.unwrap();
    let suspend = r#"--patch={"spec": {"suspend": true}}"#;
    kubectl(&["patch", "--namespace", &space.name, "featurerollout/one", "--type=merge", suspend])
        .await
        .unwrap();
    space.until("one", "suspended", |s| s.pause(PauseCause::Suspended).is_some() && is_ready(s)).await;
    let ops = PatchParams { field_manager: Some("ops".to_owned()), ..PatchParams::default() };
    let title = json!({"spec": {"feature": {"title": "Search"}}});
    space.api::<FeatureRollout>().patch("one", &ops, &Patch::Merge(&title)).await.unwrap();
    applied(&space, "one", "pause", json!({"action": "Pause"})).await;
    let paused = space.until("one", "paused", |s| s.pause(PauseCause::Person).is_some() && is_ready(s)).await;
    assert_eq!(sync(&rollout, "60s", None).await.as_deref(), Ok("configured"));
    let after =
        space.until("one", "synced", |s| s.pause(PauseCause::Suspended).is_none() && is_ready(s)).await;
    let object = live(&space, "FeatureRollout", "one").await;
    assert_eq!(
        (&object["spec"]["suspend"], &object["metadata"]["annotations"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(object["spec"]["feature"]["title"], "Search");
    assert!(after.pause(PauseCause::Person).is_some(), "a pause by an action outlives a sync");
    assert_eq!((&after.served, after.revision), (&paused.served, paused.revision));
    controller.stop().await;
}

#[tokio::test]
async fn a_rollback_fails_a_sync_until_a_retry_and_a_reverted_retry_changes_nothing() {
    let space = bare_space("gitops-flux-back").await;
    let controller = Running::in_space(&space).await;
    let rollout = in_git(&space, "{rollback: {gradual: {ladder: [20, 0], every: 1h}}}");
    assert_eq!(sync(&rollout, "60s", None).await.as_deref(), Ok("created"));
    let gradual = json!({"action": "Rollback", "rollback": {"mode": "Gradual"}});
    applied(&space, "one", "down-the-ladder", gradual).await;
    let failed = sync(&rollout, "10m", Some("deploy/flux/fail-on-rollback.yaml")).await.unwrap_err();
    assert!(failed.contains("FeatureRollout/gitops-flux-back/one status: 'Failed'"), "{failed}");
    assert_eq!(space.status("one").await.state, Some(State::RollingBack), "it fails before the ladder ends");
    applied(&space, "one", "at-once", json!({"action": "Rollback"})).await;
    let failed = sync(&rollout, "10m", None).await.unwrap_err();
    assert!(failed.contains("failed early") && failed.contains("status: 'Failed'"), "{failed}");
    let back = space.status("one").await;
    assert_eq!((back.state, back.served.as_deref()), (Some(State::RolledBack), Some("all=0%")));

    let retry = in_git(&space, "{attempt: 2, rollback: {gradual: {ladder: [20, 0], every: 1h}}}");
    assert_eq!(sync(&retry, "60s", None).await.as_deref(), Ok("configured"));
    let again = space.status("one").await;
    assert_eq!((again.rollback.is_none(), again.served.as_deref()), (true, Some("all=50%")));
    // A revert of that commit.
    assert_eq!(sync(&rollout, "60s", None).await.as_deref(), Ok("configured"));
    let reverted = space.status("one").await;
    assert_eq!((reverted.rollback.is_none(), reverted.served.as_deref()), (true, Some("all=50%")));
    assert_eq!((reverted.last_seq(), reverted.position), (again.last_seq(), again.position));
    controller.stop().await;
}

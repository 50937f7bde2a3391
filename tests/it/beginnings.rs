//! What a rollout begins from: nothing, its baseline, the file, a backup.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use sluice::api::status::PauseCause;
use sluice::api::{FeatureRollout, FeatureRolloutStatus};

use crate::support::bare::{Recorded, Running, assert_never_fell, bare_space, events, served, told};
use crate::support::{Space, eventually, is_ready, pause, ready_reason};

/// Holds after its first step.
const HALF: &str = r#"
metadata: {name: half}
spec:
  cohorts: [{name: everyone, share: 100}]
  phases: [{name: ga, ramp: {percents: [50, 100], every: "1h"}}]
"#;

/// The same, asked to start again.
fn half_again() -> String {
    HALF.replace("spec:", "spec:\n  attempt: 2")
}

async fn begun(space: &Space) -> FeatureRolloutStatus {
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    space.until("half", "at 50 %", |status| half(status) && is_ready(status) && published(status)).await
}

fn half(status: &FeatureRolloutStatus) -> bool {
    status.served.as_deref() == Some("everyone=50%")
}

fn published(status: &FeatureRolloutStatus) -> bool {
    status.published_seq == status.last_seq()
}

fn paused_by(status: &FeatureRolloutStatus, cause: PauseCause) -> bool {
    status.pause(cause).is_some() && is_ready(status) && published(status)
}

async fn replace_status(space: &Space, status: Value) {
    let api = space.api::<FeatureRollout>();
    // The controller writes, too: over what is there now, as often as it takes.
    for _ in 0..20 {
        let mut object = serde_json::to_value(api.get("half").await.unwrap()).unwrap();
        object["status"] = status.clone();
        let object = serde_json::from_value(object).unwrap();
        match api.replace_status("half", &PostParams::default(), &object).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the status could not be replaced");
}

/// As a careless tool does: on the wire the status has nothing in it.
async fn wipe_status(space: &Space) {
    let object = space.api::<FeatureRollout>().get("half").await.unwrap();
    let body = json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "FeatureRollout",
        "metadata": {"name": "half", "namespace": space.name, "resourceVersion": object.resource_version()},
        "spec": object.spec,
        "status": {},
    });
    let path = format!("/apis/sluice.dev/v1alpha1/namespaces/{}/featurerollouts/half/status", space.name);
    let request = http::Request::put(path).header("content-type", "application/json");
    let request = request.body(body.to_string().into_bytes()).unwrap();
    space.client.request::<Value>(request).await.unwrap();
}

fn targeting(file: &Value) -> &Value {
    &file["flags"]["half"]["targeting"]
}

#[tokio::test]
async fn a_wiped_status_is_rebuilt_from_the_file_and_waits_for_a_person() {
    let space = bare_space("begin-wiped").await;
    let controller = Running::in_space(&space).await;
    let before = begun(&space).await;
    let file = space.file("half").await.unwrap();
    let said_before = events(&space, "half").await.len();
    let recorded = Recorded::start(&space, "half");

    wipe_status(&space).await;
    let lost = space.until("half", "StatusLost", |status| paused_by(status, PauseCause::StatusLost)).await;
    assert!(half(&lost), "{lost:#?}");
    assert!(lost.revision > before.revision, "{} after {}", lost.revision, before.revision);
    assert_eq!(lost.position.as_ref().map(|position| position.phase.as_str()), Some("ga"));
    assert_eq!(ready_reason(&lost), "Paused");
    assert_eq!(targeting(&space.file("half").await.unwrap()), targeting(&file));
    eventually("an event says so", async || {
        let events = events(&space, "half").await;
        events.len() == said_before + 1 && events.iter().any(|event| event.starts_with("StatusLost"))
    })
    .await;

    // Nothing but a raised attempt ends it.
    space.apply::<FeatureRollout>(&HALF.replace("1h", "1s")).await.unwrap();
    pause(1500).await;
    assert!(paused_by(&space.status("half").await, PauseCause::StatusLost));
    space.apply::<FeatureRollout>(&half_again().replace("1h", "1s")).await.unwrap();
    let done = space.until("half", "completed", |status| status.completed_at.is_some() && published(status));
    let done = done.await;
    let reasons: Vec<&str> = done.history.iter().map(|entry| entry.reason.as_str()).collect();
    assert_eq!(reasons, ["StatusLost", "AttemptStarted", "StepEntered", "StepEntered", "Completed"]);
    assert_never_fell(&recorded.all_of("half").await);
    eventually("every entry has its event", async || {
        events(&space, "half").await.len() == said_before + told(&done).len()
    })
    .await;
    controller.stop().await;
}

#[tokio::test]
async fn a_status_from_a_backup_serves_no_more_than_it_and_the_file_agree_on() {
    for (backup, expected) in [(20_000, "everyone=20%"), (90_000, "everyone=50%")] {
        let space = bare_space(&format!("begin-restored-{backup}")).await;
        let controller = Running::in_space(&space).await;
        let before = begun(&space).await;
        controller.stop().await;

        let api = space.api::<FeatureRollout>();
        let mut saved = serde_json::to_value(&before).unwrap();
        saved["cohorts"][0]["served"] = json!(format!("{}%", backup / 1000));
        saved["revision"] = json!(before.revision + 5);
        api.delete("half", &DeleteParams::default()).await.unwrap();
        let created = space.apply::<FeatureRollout>(HALF).await.unwrap();
        assert_ne!(created.uid(), before.uid);
        replace_status(&space, saved).await;

        let controller = Running::in_space(&space).await;
        let restored =
            space.until("half", "Restored", |status| paused_by(status, PauseCause::Restored)).await;
        assert_eq!(restored.served.as_deref(), Some(expected));
        assert!(restored.revision > before.revision + 5, "{}", restored.revision);
        assert_eq!(restored.uid, created.uid());
        let (revision, now) = served(&space.file("half").await.unwrap(), "half").unwrap();
        assert_eq!(revision, restored.revision);
        assert_eq!(format!("everyone={}%", now["everyone"]), expected);

        space.apply::<FeatureRollout>(&half_again()).await.unwrap();
        let again = |status: &FeatureRolloutStatus| half(status) && status.pauses.is_empty();
        space.until("half", "at 50 % again", again).await;
        controller.stop().await;
    }
}

#[tokio::test]
async fn a_recreated_rollout_adopts_its_flag_and_changes_nothing_for_users() {
    let space = bare_space("begin-adopted").await;
    let controller = Running::in_space(&space).await;
    let before = begun(&space).await;
    let file = space.file("half").await.unwrap();
    let recorded = Recorded::start(&space, "half");
    space.api::<FeatureRollout>().delete("half", &DeleteParams::default()).await.unwrap();
    let created = space.apply::<FeatureRollout>(HALF).await.unwrap();

    let adopted = space.until("half", "Adopted", |status| paused_by(status, PauseCause::Adopted)).await;
    assert_eq!(adopted.uid, created.uid());
    assert!(half(&adopted) && adopted.revision > before.revision, "{adopted:#?}");
    assert_eq!(targeting(&space.file("half").await.unwrap()), targeting(&file));
    assert_never_fell(&recorded.all_of("half").await);
    space.apply::<FeatureRollout>(&half_again().replace("1h", "1s")).await.unwrap();
    space.until("half", "completed", |status| status.completed_at.is_some() && is_ready(status)).await;
    assert_never_fell(&recorded.all_of("half").await);
    controller.stop().await;
}

#[tokio::test]
async fn a_fresh_object_starts_at_its_baseline_and_its_steps_lower_nobody() {
    let space = bare_space("begin-baseline").await;
    let controller = Running::in_space(&space).await;
    let recorded = Recorded::start(&space, "half");
    let yaml = HALF.replace("spec:", "spec:\n  baseline: {everyone: 75}").replace("1h", "1s");
    space.apply::<FeatureRollout>(&yaml).await.unwrap();
    space.until("half", "completed", |status| status.completed_at.is_some() && is_ready(status)).await;
    let versions = recorded.all_of("half").await;
    assert_never_fell(&versions);
    assert!((versions[0].1["everyone"] - 75.0).abs() < 0.001, "{versions:?}");
    controller.stop().await;
}

#[tokio::test]
async fn a_file_without_its_rollout_is_no_reason_to_ship_when_both_are_gone() {
    // A rebuilt cluster: neither status nor file.
    let space = bare_space("begin-rebuilt").await;
    let controller = Running::in_space(&space).await;
    begun(&space).await;
    controller.stop().await;
    space.api::<FeatureRollout>().delete("half", &DeleteParams::default()).await.unwrap();
    space.api::<ConfigMap>().delete("half", &DeleteParams::default()).await.unwrap();
    let yaml = HALF.replace("spec:", "spec:\n  suspend: true");
    space.apply::<FeatureRollout>(&yaml).await.unwrap();
    let controller = Running::in_space(&space).await;
    let fresh = space.until("half", "ready", is_ready).await;
    assert_eq!(fresh.served.as_deref(), Some("everyone=0%"));
    assert_eq!(fresh.history.first().map(|entry| entry.reason.as_str()), Some("Started"));
    controller.stop().await;
}

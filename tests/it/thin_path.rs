//! From a rollout on the API server to the file an app reads.

use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use sluice::api::FeatureRollout;

use crate::support::{Space, eventually, is_ready, ready_reason};

const FAST: &str = r"
metadata: {name: fast}
spec:
  cohorts: [{name: everyone, share: 100}]
  phases: [{name: ga, ramp: {percents: [5, 25, 100], every: 1s}}]
";

#[tokio::test]
async fn a_ramp_reaches_the_file_step_by_step_and_says_so() {
    let space = Space::shared("thin-path").await;
    space.apply::<FeatureRollout>(FAST).await.unwrap();
    let first = space.until("fast", "ready", is_ready).await;
    assert_eq!(first.served.as_deref(), Some("everyone=5%"));
    assert_eq!(ready_reason(&first), "Holding");
    let file = space.file("fast").await.unwrap();
    assert!(file["flags"]["fast"]["targeting"].to_string().contains(r#"["enabled",5000]"#), "{file:#}");

    let done =
        space.until("fast", "completed", |status| status.completed_at.is_some() && is_ready(status)).await;
    assert_eq!(done.exposure.as_deref(), Some("100%"));
    assert_eq!(done.state.as_deref(), Some("Completed"));
    let reasons: Vec<&str> = done.history.iter().map(|entry| entry.reason.as_str()).collect();
    assert_eq!(reasons, ["Started", "StepEntered", "StepEntered", "StepEntered", "Completed"]);

    let events = space.api::<Event>();
    eventually("one event per history entry", async || {
        events.list(&ListParams::default()).await.unwrap().items.len() == done.history.len()
    })
    .await;
}

//! From a rollout on the API server to the file an app reads.

use sluice::api::{FeatureRollout, State};

use crate::support::bare::{Recorded, events, told};
use crate::support::{Space, eventually, is_ready, ready_reason};

fn ramp(name: &str, every: &str) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{cohorts: [{{name: everyone, share: 100}}],
          phases: [{{name: ga, ramp: {{percents: [5, 25, 100], every: {every}}}}}]}}}}"
    )
}

#[tokio::test]
async fn a_rollout_holds_its_first_step_in_the_file() {
    let space = Space::shared("thin-path-holds").await;
    space.apply::<FeatureRollout>(&ramp("slow", "1h")).await.unwrap();
    let first = space.until("slow", "ready", is_ready).await;
    assert_eq!(first.served.as_deref(), Some("everyone=5%"));
    assert_eq!(ready_reason(&first), "Holding");
    let file = space.file("slow").await.unwrap();
    assert!(file["flags"]["slow"]["targeting"].to_string().contains(r#"["enabled",5000]"#), "{file:#}");
}

#[tokio::test]
async fn a_ramp_reaches_the_file_step_by_step_and_says_so() {
    let space = Space::shared("thin-path").await;
    // A step lasts a second only: whoever looks now and then may miss it, the watch tells of each.
    let recorded = Recorded::start(&space, "fast");
    space.apply::<FeatureRollout>(&ramp("fast", "1s")).await.unwrap();

    let done =
        space.until("fast", "completed", |status| status.completed_at.is_some() && is_ready(status)).await;
    assert_eq!(done.exposure.as_deref(), Some("100%"));
    assert_eq!(done.state.map(State::as_str), Some("Completed"));
    let reasons: Vec<&str> = done.history.iter().map(|entry| entry.reason.as_str()).collect();
    assert_eq!(reasons, ["Started", "StepEntered", "StepEntered", "StepEntered", "Completed"]);

    let served: Vec<f64> =
        recorded.all_of("fast").await.into_iter().map(|(_, served)| served["everyone"]).collect();
    assert_eq!(served, [5.0, 25.0, 100.0]);

    eventually("the history is told", async || events(&space, "fast").await == told(&done)).await;
}

//! Triggers that pause, and resume by themselves where they say so.

use crate::support::metrics::{Measured, reasons, verdict};

#[tokio::test]
async fn a_trigger_pauses_and_resumes_after_it_was_quiet() {
    let world = Measured::start("checks-pause").await;
    let controller = world.controller();
    world
        .apply_rollout(
            r#"
  triggers:
  - name: error-rate
    metric: {templateRef: {name: errors}}
    interval: 1s
    levels: [{severity: Warning, above: "1", for: 2s, action: Pause, resumeAfter: 3s}]
"#,
        )
        .await;
    world.until("passing", |status| verdict(status, "error-rate", "") == Some("Pass")).await;
    world.app.set_error_percent(5.0);
    let paused = world.until("paused", |status| !status.pauses.is_empty()).await;
    assert_eq!(paused.pauses[0].cause, sluice::api::status::PauseCause::Trigger);
    assert_eq!(paused.served.as_deref(), Some("early=100%,all=50%"), "nobody loses anything by a pause");

    world.app.set_error_percent(0.0);
    let resumed = world.until("resumed", |status| status.pauses.is_empty()).await;
    assert_eq!(reasons(&resumed), ["Started", "StepEntered", "Paused", "Resumed"]);
    let moved = resumed.position.unwrap().hold_from.duration_since(paused.position.unwrap().hold_from);
    assert!(moved >= jiff::SignedDuration::from_secs(3), "the hold does not count the pause: {moved:#}");
    controller.stop().await;
}

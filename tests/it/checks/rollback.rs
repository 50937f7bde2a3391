//! What a breach leads to.

use crate::support::eventually;
use crate::support::metrics::{Measured, reasons, verdict};

const ERRORS: &str = r#"
  triggers:
  - name: error-rate
    metric: {templateRef: {name: errors}}
    interval: 1s
    levels: [{severity: Critical, above: "10", for: 5s, action: ImmediateRollback}]
"#;

#[tokio::test]
async fn errors_take_every_cohort_to_control_within_an_interval_after_their_time() {
    let world = Measured::start("checks-errors").await;
    let controller = world.controller();
    world.apply_rollout(ERRORS).await;
    world.until("passing", |status| verdict(status, "error-rate", "") == Some("Pass")).await;
    eventually("the step is in the file", async || world.file().await == (100.0, 50.0)).await;

    world.app.set_error_percent(20.0);
    let status = world.until("rolled back", |status| status.rollback.is_some()).await;
    assert_eq!(reasons(&status).last(), Some(&"RolledBack"), "{:#?}", status.history);
    let entry = status.history.last().unwrap();
    assert_eq!(entry.who, "trigger/error-rate");
    assert!(
        entry.message.starts_with("immediate rollback: error-rate was above 10 for 5s"),
        "{}",
        entry.message
    );
    // Six samples, the first of which begins the time: 5 s, and not one interval more.
    let breach = status.triggers[0].levels[0].breach.unwrap();
    assert!((5000..=6000).contains(&breach.milliseconds), "{breach:?}");
    eventually("the file is at control", async || world.file().await == (0.0, 0.0)).await;
    controller.stop().await;
}

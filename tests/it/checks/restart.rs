//! A controller that is restarted in the middle of a breach neither forgets it nor hurries.

use jiff::SignedDuration;

use crate::support::metrics::{Measured, verdict};
use crate::support::pause;

#[tokio::test]
async fn peers_4_a_restart_in_a_breach_neither_forgets_nor_hurries() {
    let world = Measured::start("checks-restart").await;
    let controller = world.controller();
    // Long enough that the pause below, more than three intervals, makes a difference.
    world
        .apply_rollout(
            r#"
  triggers:
  - name: error-rate
    metric: {templateRef: {name: errors}}
    interval: 1s
    levels: [{severity: Critical, above: "10", for: 15s, action: ImmediateRollback}]
"#,
        )
        .await;
    world.until("passing", |status| verdict(status, "error-rate", "") == Some("Pass")).await;
    world.app.set_error_percent(20.0);
    let counted = |status: &sluice::api::FeatureRolloutStatus| {
        let level = status.triggers.first().and_then(|trigger| trigger.levels.first());
        level.and_then(|level| level.breach).map_or(0, |breach| breach.milliseconds)
    };
    world.until("some time in breach", |status| counted(status) >= 2000).await;
    controller.stop().await;
    let before = world.space.status("dreams").await;
    pause(6000).await;
    let controller = world.controller();
    let after = world.until("counted on", |status| counted(status) > counted(&before)).await;
    assert!(after.rollback.is_none() && counted(&after) < 15_000, "hurried: {:#?}", after.triggers);

    let status = world.until("rolled back", |status| status.rollback.is_some()).await;
    let trigger = &status.triggers[0];
    let breach = trigger.levels[0].breach.unwrap();
    let took = breach.last.duration_since(trigger.since);
    assert!(breach.milliseconds >= 15_000, "hurried: {trigger:#?}");
    // Without what was measured backwards, the six seconds of the pause would not be counted.
    let uncounted = took - SignedDuration::from_millis(breach.milliseconds);
    assert!(uncounted < SignedDuration::from_secs(6), "forgot {uncounted:#}: {trigger:#?}");
    assert_eq!(trigger.since, before.triggers[0].since, "it is the same breach");
    controller.stop().await;
}

//! An invalid edit stops raises only.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;
use kube::api::ListParams;

use crate::support::metrics::{Measured, reasons, seen, verdict};
use crate::support::{eventually, is_stalled};

#[tokio::test]
async fn the_last_valid_triggers_stay_in_force_while_the_spec_is_invalid() {
    let world = Measured::start("checks-invalid").await;
    let controller = world.controller();
    let guard = r#"
  triggers:
  - name: error-rate
    metric: {templateRef: {name: errors}}
    interval: 1s
    levels: [{severity: Critical, above: "10", for: 2s, action: GradualRollback}]
  rollback: {gradual: {ladder: [50, 20, 0], every: 2s}}
"#;
    world.apply_rollout(guard).await;
    let valid = world.until("passing", |status| verdict(status, "error-rate", "") == Some("Pass")).await;
    let kept = world.space.api::<ControllerRevision>().list(&ListParams::default()).await.unwrap().items;
    let pinned = valid.guard.clone().unwrap();
    assert!(kept.iter().any(|revision| revision.name_any() == pinned), "{pinned} is stored");
    eventually("the step is in the file", async || world.file().await == Some((100.0, 50.0))).await;

    // A baseline of no cohort cannot be followed; the triggers that come with it are not in force.
    let invalid = r#"
  baseline: {nobody: 5}
  triggers:
  - name: another
    metric: {templateRef: {name: nothing}}
    levels: [{severity: Info, above: "99", action: Notify}]
"#;
    world.apply_rollout(invalid).await;
    let stalled = world.until("stalled", |status| is_stalled(status, "InvalidSpec", "nobody")).await;
    assert_eq!(stalled.guard.as_ref(), Some(&pinned));

    // The new process has to read what is kept.
    controller.stop().await;
    let controller = world.controller();
    let recorded = crate::support::bare::Recorded::start(&world.space, "dreams");
    world.app.set_error_percent(20.0);
    let ended = world
        .until("rolled back", |status| {
            status.rollback.as_ref().is_some_and(|rollback| rollback.ended_at.is_some())
        })
        .await;
    assert!(is_stalled(&ended, "InvalidSpec", "nobody"), "{:#?}", ended.conditions);
    eventually("the file is at control", async || world.file().await == Some((0.0, 0.0))).await;
    let mut served = seen(&recorded).await;
    served.dedup();
    assert_eq!(served, [(100.0, 50.0), (50.0, 20.0), (20.0, 0.0), (0.0, 0.0)]);
    eventually("every entry is published", async || {
        let status = world.space.status("dreams").await;
        status.published_seq == status.last_seq()
    })
    .await;

    // Valid again, it stays rolled back.
    world.apply_rollout(guard).await;
    let valid = world.until("valid again", |status| !is_stalled(status, "InvalidSpec", "")).await;
    assert!(valid.rollback.is_some());
    assert_eq!(reasons(&valid).iter().filter(|reason| **reason == "RolledBack").count(), 1);
    controller.stop().await;
}

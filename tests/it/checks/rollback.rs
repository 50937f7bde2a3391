//! What a breach leads to, and what it takes to start again.

use jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use sluice::api::{FeatureRollout, MetricSource, MetricTemplate};

use crate::support::hostile::{Hostile, Reply};
use crate::support::metrics::{Measured, reasons, seen, verdict};
use crate::support::{eventually, pause};

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
    eventually("the step is in the file", async || world.file().await == Some((100.0, 50.0))).await;

    world.app.set_error_percent(20.0);
    let status = world.until("rolled back", |status| status.rollback.is_some()).await;
    assert_eq!(reasons(&status).last(), Some(&"RolledBack"), "{:#?}", status.history);
    let entry = status.history.last().unwrap();
    assert_eq!(entry.who, "trigger/error-rate");
    let message = &entry.message;
    assert!(message.starts_with("immediate rollback: error-rate was above 10 for 5s"), "{message}");
    // Six samples, the first of which begins the time. Where a busy machine has left some out, the last one counts for
    // three intervals at most.
    let breach = status.triggers[0].levels[0].breach.unwrap();
    assert!((5000..8000).contains(&breach.milliseconds), "{breach:?}");
    eventually("the file is at control", async || world.file().await == Some((0.0, 0.0))).await;
    controller.stop().await;
}

#[tokio::test]
async fn slow_answers_take_the_ladder_and_its_rungs_keep_their_times() {
    let world = Measured::start("checks-ladder").await;
    world.apply_template("slowest", "1000 * max(histogram_quantile(0.95, sum by (cohort, le) (rate(http_request_duration_seconds_bucket[2s]))))").await;
    let controller = world.controller();
    world
        .apply_rollout(
            r#"
  triggers:
  - name: latency
    metric: {templateRef: {name: slowest}}
    interval: 1s
    levels: [{severity: Critical, above: "4000", for: 2s, action: GradualRollback}]
  rollback: {gradual: {ladder: [50, 20, 0], every: 3s}}
"#,
        )
        .await;
    world.until("passing", |status| verdict(status, "latency", "") == Some("Pass")).await;
    eventually("the step is in the file", async || world.file().await == Some((100.0, 50.0))).await;
    let recorded = crate::support::bare::Recorded::start(&world.space, "dreams");
    world.app.set_latency_p95("early", 5.0);
    let status = world
        .until("at the end of the ladder", |status| {
            status.rollback.as_ref().is_some_and(|rollback| rollback.ended_at.is_some())
        })
        .await;
    eventually("the file is at control", async || world.file().await == Some((0.0, 0.0))).await;
    let mut served = seen(&recorded).await;
    served.dedup();
    // The first rung changes nothing for `all`, which is at 50 % already: its own first one is 20 %.
    assert_eq!(served, [(100.0, 50.0), (50.0, 20.0), (20.0, 0.0), (0.0, 0.0)]);
    let reasons = reasons(&status);
    let began = reasons.iter().position(|reason| *reason == "RolledBack").unwrap();
    assert_eq!(reasons[began..], ["RolledBack", "RungEntered", "RungEntered", "RollbackEnded"]);
    let start = status.rollback.as_ref().unwrap().at;
    for (i, entry) in status.history[began + 1..=began + 2].iter().enumerate() {
        let after = entry.at.duration_since(start);
        let due = SignedDuration::from_secs(3 * i64::try_from(i + 1).unwrap());
        assert!(after >= due, "rung {i} after {after:#}");
    }
    controller.stop().await;
}

#[tokio::test]
async fn a_breach_of_one_cohort_touches_that_cohort_only() {
    let world = Measured::start("checks-cohort").await;
    let controller = world.controller();
    world
        .apply_rollout(
            r#"
  triggers:
  - name: latency
    perCohort: {label: cohort}
    metric: {templateRef: {name: latency}}
    interval: 1s
    levels: [{severity: Critical, above: "4000", for: 2s, action: ImmediateRollback}]
"#,
        )
        .await;
    let passes =
        |status: &_| ["early", "all"].iter().all(|cohort| verdict(status, "latency", cohort) == Some("Pass"));
    world.until("passing", passes).await;
    world.app.set_latency_p95("all", 5.0);
    let status = world.until("rolled back", |status| status.rollback.is_some()).await;
    assert_eq!(status.rollback.as_ref().unwrap().cohorts, ["all"]);
    assert!(status.history.last().unwrap().message.contains("for cohort all"), "{:#?}", status.history);
    assert_eq!(verdict(&status, "latency", "early"), Some("Pass"));
    eventually("the file has one cohort at control", async || world.file().await == Some((100.0, 0.0))).await;
    controller.stop().await;
}

#[tokio::test]
async fn only_a_retry_starts_again_and_the_rollback_is_verified_when_the_app_is_well() {
    let world = Measured::start("checks-latch").await;
    let controller = world.controller();
    let triggers = ERRORS.replace("for: 5s", "for: 2s");
    world.apply_rollout(&triggers).await;
    world.until("passing", |status| verdict(status, "error-rate", "") == Some("Pass")).await;
    world.app.set_error_percent(20.0);
    world.until("rolled back", |status| status.rollback.is_some()).await;
    eventually("the file is at control", async || world.file().await == Some((0.0, 0.0))).await;
    let recorded = crate::support::bare::Recorded::start(&world.space, "dreams");

    world.app.set_error_percent(0.0);
    let verified = world.until("verified", |status| reasons(status).contains(&"RollbackVerified")).await;
    assert!(verified.rollback.unwrap().verified_at.is_some());

    // A restart, and edits of everything but the attempt.
    controller.stop().await;
    let controller = world.controller();
    let titled = format!("{triggers}  feature: {{title: Dreams}}\n  suspend: false\n");
    world.apply_rollout(&titled).await;
    let label = json!({"metadata": {"labels": {"resync": "now"}}});
    let api = world.space.api::<FeatureRollout>();
    api.patch("dreams", &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    world.until("seen again", |status| status.observed_generation == 2).await;
    pause(2500).await;
    let status = world.until("still rolled back", |status| status.rollback.is_some()).await;
    assert!(!status.exposed(), "{:#?}", status.cohorts);
    let still = seen(&recorded).await;
    assert!(still.iter().all(|served| *served == (0.0, 0.0)), "{still:?}");

    world.apply_rollout(&format!("{titled}  attempt: 2\n")).await;
    world.until("started again", |status| status.rollback.is_none() && status.attempt == 2).await;
    eventually("the step is in the file again", async || world.file().await == Some((100.0, 50.0))).await;
    controller.stop().await;
}

#[tokio::test]
async fn a_source_that_hangs_holds_up_no_other() {
    let world = Measured::start("checks-hang").await;
    let hangs = Hostile::always(Reply::Hang).await;
    let address = hangs.address;
    let source = format!(
        r#"{{metadata: {{name: hangs}}, spec: {{prometheus: {{url: "http://{address}"}}, allowAddresses: ["127.0.0.1"]}}}}"#
    );
    world.space.apply::<MetricSource>(&source).await.unwrap();
    let template = "{metadata: {name: hangs}, spec: {sourceRef: {name: hangs}, promql: 'sum(up)'}}";
    world.space.apply::<MetricTemplate>(template).await.unwrap();
    let controller = world.controller();
    let hanging = "  - {name: hangs, metric: {templateRef: {name: hangs}}, interval: 1s, levels: [{severity: Critical, above: '1', action: ImmediateRollback}]}\n";
    world.apply_rollout(&format!("{ERRORS}{hanging}")).await;
    world.until("passing", |status| verdict(status, "error-rate", "") == Some("Pass")).await;
    world.app.set_error_percent(20.0);
    let status = world.until("rolled back", |status| status.rollback.is_some()).await;
    assert_eq!(status.rollback.as_ref().unwrap().trigger.as_deref(), Some("error-rate"));
    let breach =
        status.triggers.iter().find(|trigger| trigger.name == "error-rate").unwrap().levels[0].breach;
    assert!((5000..8000).contains(&breach.unwrap().milliseconds), "{breach:?}");
    assert!(!hangs.asked().is_empty(), "it was asked");
    assert_eq!(verdict(&status, "hangs", ""), Some("ProviderError"));
    controller.stop().await;
}

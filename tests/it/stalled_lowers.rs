//! What lowers a rollout goes on while nobody can decide on it, and stays.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::DeleteParams;
use sluice::api::{FeatureRollout, FeatureRolloutStatus, FlagSet, RolloutAction};
use sluice::clock::{Clock, real_now};
use sluice::controller::Options;

use crate::support::bare::{Recorded, Running, bare_space};
use crate::support::proxy::Proxy;
use crate::support::{Space, condition, eventually};

/// A rollout that stands at 100 % for a long time, with more of a spec.
fn full(more: &str) -> String {
    format!(
        "{{metadata: {{name: full}}, spec: {{cohorts: [{{name: everyone}}], {more}
          phases: [{{name: ga, steps: [{{name: all, cohorts: {{everyone: 100}}, hold: 10000h}}]}}]}}}}"
    )
}

/// The API server takes a baseline of a cohort that nobody has.
const INVALID: &str = "baseline: {nobody: 5},";

fn is_stalled(status: &FeatureRolloutStatus) -> bool {
    // A rollback alone is Stalled, too.
    condition(status, "Stalled").is_some_and(|(_, reason, _)| reason != "RolledBack")
}

fn has_ended(status: &FeatureRolloutStatus) -> bool {
    status.rollback.as_ref().is_some_and(|rollback| rollback.ended_at.is_some())
}

async fn until_full(space: &Space) -> FeatureRolloutStatus {
    let at_full = |status: &FeatureRolloutStatus| {
        status.cohorts.iter().all(|cohort| cohort.served.to_string() == "100%")
            && !status.cohorts.is_empty()
            && status.delivered_revision == status.revision
    };
    space.until("full", "at 100 %", at_full).await
}

async fn roll_back(space: &Space, mode: &str) {
    let action = format!(
        "{{metadata: {{name: down}}, spec: {{rolloutRef: {{name: full}}, action: Rollback, reason: because,
          rollback: {{mode: {mode}}}}}}}"
    );
    space.apply::<RolloutAction>(&action).await.unwrap();
    space.until("full", "rolled back", |status| status.rollback.is_some()).await;
}

async fn fast(space: &Space) -> Running {
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    // Ten minutes, from one rung to the next, in two seconds.
    let clock = Clock::accelerated(real_now(), 300);
    Running::as_told(proxy.config(), Options { clock, ..Options::default() })
}

fn served(recorded: &Recorded) -> Vec<f64> {
    let mut served: Vec<f64> =
        recorded.of("full").into_iter().map(|(_, served)| served["everyone"]).collect();
    served.dedup();
    served
}

#[tokio::test]
async fn the_default_ladder_goes_down_where_no_guard_was_ever_kept() {
    let space = bare_space("lowers-unguarded").await;
    let controller = fast(&space).await;
    let recorded = Recorded::start(&space, "full");
    space.apply::<FeatureRollout>(&full("")).await.unwrap();
    assert_eq!(until_full(&space).await.guard, None);
    space.apply::<FeatureRollout>(&full(INVALID)).await.unwrap();
    space.until("full", "stalled", is_stalled).await;
    roll_back(&space, "Gradual").await;
    let ended = space.until("full", "at control", has_ended).await;
    assert!(is_stalled(&ended));
    eventually("the file is at control", async || served(&recorded).last() == Some(&0.0)).await;
    assert!(served(&recorded).ends_with(&[100.0, 50.0, 25.0, 0.0]), "{:?}", served(&recorded));
    space.until("full", "published", |status| status.published_seq == status.last_seq()).await;
    controller.stop().await;
}

#[tokio::test]
async fn a_ladder_goes_down_while_there_is_no_file_to_show_it() {
    let space = bare_space("lowers-fileless").await;
    let controller = fast(&space).await;
    let set = "{metadata: {name: app}, spec: {}}";
    space.apply::<FlagSet>(set).await.unwrap();
    space.apply::<FeatureRollout>(&full("flagSetRef: {name: app},")).await.unwrap();
    until_full(&space).await;
    roll_back(&space, "Gradual").await;
    space.api::<FlagSet>().delete("app", &DeleteParams::default()).await.unwrap();
    let ended = space.until("full", "at control", has_ended).await;
    assert!(is_stalled(&ended), "{:#?}", ended.conditions);
    space.apply::<FlagSet>(set).await.unwrap();
    eventually("the file is at control", async || {
        let file = space.file("app").await.unwrap_or_default();
        crate::support::bare::served(&file, "full").is_some_and(|(_, served)| served["everyone"] == 0.0)
    })
    .await;
    controller.stop().await;
}

#[tokio::test]
async fn a_ladder_goes_down_when_what_was_kept_of_its_guard_is_gone() {
    let space = bare_space("lowers-lost").await;
    let controller = Running::in_space(&space).await;
    let guard = "rollback: {gradual: {ladder: [60, 30, 0], every: 4s}},";
    space.apply::<FeatureRollout>(&full(guard)).await.unwrap();
    let kept = until_full(&space).await.guard.unwrap();
    space.apply::<FeatureRollout>(&full(INVALID)).await.unwrap();
    space.until("full", "stalled", is_stalled).await;
    roll_back(&space, "Gradual").await;
    controller.stop().await;
    assert!(!has_ended(&space.status("full").await));
    space.api::<ControllerRevision>().delete(&kept, &DeleteParams::default()).await.unwrap();
    let controller = Running::in_space(&space).await;
    let ended = space.until("full", "at control", has_ended).await;
    assert!(is_stalled(&ended));
    assert_eq!(ended.guard, Some(kept));
    controller.stop().await;
}

#[tokio::test]
async fn an_attempt_that_came_before_the_rollback_does_not_end_it() {
    let space = bare_space("lowers-attempt").await;
    let controller = Running::in_space(&space).await;
    space.apply::<FeatureRollout>(&full("")).await.unwrap();
    until_full(&space).await;
    space.apply::<FeatureRollout>(&full(&format!("{INVALID} attempt: 2,"))).await.unwrap();
    space.until("full", "stalled", is_stalled).await;
    roll_back(&space, "Immediate").await;
    let mended = space.apply::<FeatureRollout>(&full("attempt: 2,")).await.unwrap();
    let generation = mended.metadata.generation.unwrap();
    let decided =
        |status: &FeatureRolloutStatus| status.observed_generation == generation && !is_stalled(status);
    let status = space.until("full", "valid again", decided).await;
    assert!(status.rollback.is_some(), "{:#?}", status.history);
    assert_eq!(status.attempt, 2);

    // A later one that is first seen in an invalid spec still starts again, once that is valid.
    space.apply::<FeatureRollout>(&full(&format!("{INVALID} attempt: 3,"))).await.unwrap();
    space.until("full", "stalled", is_stalled).await;
    space.apply::<FeatureRollout>(&full("attempt: 3,")).await.unwrap();
    space.until("full", "started again", |status| status.rollback.is_none() && status.attempt == 3).await;
    controller.stop().await;
}

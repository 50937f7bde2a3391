//! Steps that were announced: in the file at their time, before the status says so, and only if nobody touched the rollout.

use serde_json::json;
use sluice::api::{FeatureRollout, FeatureRolloutStatus};

use crate::actions::applied;
use crate::support::bare::{Recorded, Running, bare_space, events, served, told};
use crate::support::process::ControllerProcess;
use crate::support::proxy::Proxy;
use crate::support::{Space, eventually, is_ready, is_stalled, pause};

/// Two steps, the second one some seconds after the first.
const TWO: &str = r"
metadata: {name: two}
spec:
  suspend: false
  cohorts: [{name: all}]
  phases: [{name: ga, steps: [{cohorts: {all: 10}, hold: 6s}, {cohorts: {all: 50}, hold: 1h}]}]
";

fn suspended() -> String {
    TWO.replace("suspend: false", "suspend: true")
}

/// Whether the first step is served and the second one announced.
fn is_announced(status: &FeatureRolloutStatus) -> bool {
    let next = status.announced.as_ref().map(|announced| announced.revision);
    is_ready(status) && next == Some(status.revision + 1)
}

/// Whether the status says of a later revision that it is served.
fn is_said(status: &FeatureRolloutStatus, before: &FeatureRolloutStatus) -> bool {
    status.revision > before.revision && is_ready(status) && status.published_seq == status.last_seq()
}

async fn in_file(space: &Space) -> Option<(i64, f64)> {
    let (revision, served) = served(&space.file("two").await?, "two")?;
    Some((revision, served["all"]))
}

/// Runs until the second step is in the file and its status cannot be written. Returns the status before it.
async fn until_ahead(space: &Space, proxy: &Proxy) -> FeatureRolloutStatus {
    space.apply::<FeatureRollout>(TWO).await.unwrap();
    let before = space.until("two", "announced", is_announced).await;
    proxy.hang_on(&["featurerollouts/two/status"]);
    eventually("the second step is in the file", async || {
        in_file(space).await == Some((before.revision + 1, 50.0))
    })
    .await;
    eventually("its status is being written", async || proxy.hung() > 0).await;
    let status = space.status("two").await;
    assert_eq!((status.revision, status.cohorts.clone()), (before.revision, before.cohorts.clone()));
    status
}

/// A rollout whose second step is in the file and not in its status, with a controller that goes on trying.
async fn ahead(name: &str) -> (Space, Recorded, Proxy, Running, FeatureRolloutStatus) {
    let space = bare_space(name).await;
    let recorded = Recorded::start(&space, "two");
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let running = Running::over(&proxy);
    let before = until_ahead(&space, &proxy).await;
    (space, recorded, proxy, running, before)
}

#[tokio::test]
async fn an_announced_step_is_in_the_file_at_its_time_and_its_status_follows() {
    let (space, recorded, proxy, running, before) = ahead("announced-goes").await;
    assert_eq!(events(&space, "two").await.len(), 1, "no event of what no status says");

    proxy.stop_hanging();
    let status = space.until("two", "said", |s| is_said(s, &before)).await;
    assert_eq!(status.served.as_deref(), Some("all=50%"));
    assert_eq!((status.revision, status.delivered_revision), (before.revision + 1, before.revision + 1));
    assert_eq!(status.history.len(), before.history.len() + 1);
    eventually("one event each", async || events(&space, "two").await == told(&status)).await;
    assert_eq!(recorded.all_of("two").await.len(), 2, "each step is one write of the file");
    running.stop().await;
}

#[tokio::test]
async fn a_suspension_that_the_controller_has_not_heard_of_stops_an_announced_step() {
    let space = bare_space("announced-unheard").await;
    let recorded = Recorded::start(&space, "two");
    let late = std::time::Duration::from_secs(12);
    let proxy = Proxy::with_watch_delay(space.client.clone(), &space.name, late).await;
    let running = Running::over(&proxy);
    space.apply::<FeatureRollout>(TWO).await.unwrap();
    let before = space.until("two", "announced", is_announced).await;
    space.apply::<FeatureRollout>(&suspended()).await.unwrap();

    let status =
        space.until("two", "suspended", |status| !status.pauses.is_empty() && is_ready(status)).await;
    assert_eq!(status.cohorts, before.cohorts, "{:#?}", status.history);
    pause(1000).await;
    let raised: Vec<_> =
        recorded.all_of("two").await.into_iter().filter(|(_, served)| served["all"] > 10.0).collect();
    assert!(raised.is_empty(), "{raised:?}");
    running.stop().await;
}

#[tokio::test]
async fn an_action_between_file_and_status_goes_on_from_what_the_file_holds() {
    let (space, recorded, proxy, running, before) = ahead("announced-action").await;
    proxy.stop_hanging();
    applied(&space, "two", "stop", json!({"action": "Pause"})).await;
    let status = space.status("two").await;
    assert_eq!(status.revision, before.revision + 1, "{:#?}", status.history);
    let reasons: Vec<&str> = status.history.iter().rev().take(2).map(|entry| entry.reason.as_str()).collect();
    assert_eq!(reasons, ["Paused", "StepEntered"]);
    space.until("two", "settled", is_ready).await;
    assert_eq!(recorded.all_of("two").await.last().unwrap().1["all"], 50.0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_between_file_and_status_the_step_is_taken_once() {
    let (space, recorded, before, restart) = crashed("announced-crash").await;
    let process = restart();
    let status = space.until("two", "said", |s| is_said(s, &before)).await;
    assert_eq!((status.revision, status.served.as_deref()), (before.revision + 1, Some("all=50%")));
    assert_eq!(events(&space, "two").await, told(&status));
    assert_eq!(recorded.all_of("two").await.len(), 2, "{:?}", recorded.all_of("two").await);
    process.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_between_file_and_status_a_suspension_wins() {
    let (space, recorded, before, restart) = crashed("announced-undone").await;
    space.apply::<FeatureRollout>(&suspended()).await.unwrap();
    let process = restart();
    let status = space.until("two", "settled", |s| is_said(s, &before)).await;
    assert_eq!(status.cohorts, before.cohorts);
    assert!(!status.pauses.is_empty());
    assert_eq!(in_file(&space).await, Some((before.revision + 2, 10.0)));
    let percents: Vec<f64> = recorded.all_of("two").await.iter().map(|(_, served)| served["all"]).collect();
    assert_eq!(percents, [10.0, 50.0, 10.0]);
    process.kill();
}

/// A rollout whose second step is in the file and not in its status, its controller killed; and how to start another.
async fn crashed(name: &str) -> (Space, Recorded, FeatureRolloutStatus, impl Fn() -> ControllerProcess) {
    let space = bare_space(name).await;
    let recorded = Recorded::start(&space, "two");
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, proxy.kubeconfig()).unwrap();
    let start = move || ControllerProcess::start(&kubeconfig, &folder.path().join("log"));
    let process = start();
    let before = until_ahead(&space, &proxy).await;
    process.kill();
    proxy.stop_hanging();
    (space, recorded, before, start)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_between_file_and_status_an_edit_of_what_was_to_come_wins() {
    let (space, recorded, before, restart) = crashed("announced-edited").await;
    // What comes next is another step than the one that is in the file.
    let edited = TWO.replace("hold: 6s", "hold: 2h").replace("all: 50", "all: 60");
    space.apply::<FeatureRollout>(&edited).await.unwrap();
    let process = restart();
    let status = space.until("two", "settled", |s| is_said(s, &before)).await;
    assert_eq!(status.cohorts, before.cohorts);
    assert_eq!(in_file(&space).await, Some((status.revision, 10.0)));
    let percents: Vec<f64> = recorded.all_of("two").await.iter().map(|(_, served)| served["all"]).collect();
    assert_eq!(percents, [10.0, 50.0, 10.0]);
    process.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_between_file_and_status_an_invalid_edit_keeps_what_status_says() {
    let (space, _recorded, before, restart) = crashed("announced-invalid").await;
    space.apply::<FeatureRollout>(&TWO.replace("{all: 50}", "{nobody: 50}")).await.unwrap();
    let process = restart();
    space.until("two", "stalled", |s| is_stalled(s, "InvalidSpec", "nobody")).await;
    eventually("the file says what status says", async || {
        in_file(&space)
            .await
            .is_some_and(|(revision, served)| revision > before.revision + 1 && served == 10.0)
    })
    .await;
    process.kill();
}

/// Waits for the phase that the first one enters as announced.
const WITHIN: &str = r"
metadata: {name: within}
spec:
  cohorts: [{name: all}]
  dependsOn: [{name: first, phase: ga}]
  phases: [{name: only, steps: [{cohorts: {all: 10}, hold: 1h}]}]
";
const FIRST: &str = r"
metadata: {name: first}
spec:
  cohorts: [{name: all}]
  phases:
  - {name: beta, steps: [{cohorts: {all: 10}, hold: 3s}]}
  - {name: ga, steps: [{cohorts: {all: 50}, hold: 1h}]}
";

#[tokio::test]
async fn a_dependent_hears_of_a_phase_that_was_entered_as_announced() {
    let space = bare_space("announced-dependent").await;
    // By the watch it would hear too late for this test.
    let late = std::time::Duration::from_secs(45);
    let proxy = Proxy::with_watch_delay(space.client.clone(), &space.name, late).await;
    space.apply::<FeatureRollout>(WITHIN).await.unwrap();
    space.apply::<FeatureRollout>(FIRST).await.unwrap();
    let running = Running::over(&proxy);
    space.until("first", "in its second phase", |s| s.phase.as_deref() == Some("ga") && is_ready(s)).await;
    space.until("within", "raised", |s| s.exposed()).await;
    running.stop().await;
}

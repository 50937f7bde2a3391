//! What an API server and the network before it do to a controller: versions that are gone, conflicts, refusals, slowness,
//! rights that were taken away. Each time the schedule goes on as it was asked for, once, and a rollback takes effect.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use jiff::SignedDuration;
use sluice::api::{FeatureRollout, FeatureRolloutStatus};
use sluice::controller;

use crate::events::roll_back;
use crate::support::bare::{Recorded, Running, assert_never_fell, bare_space, events};
use crate::support::proxy::Proxy;
use crate::support::{Space, eventually, is_ready, options, pause};

mod coming_and_going;
mod full_etcd;
mod quota;
mod token;

fn ramp(name: &str, every: &str) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{cohorts: [{{name: everyone}}],
          phases: [{{name: ga, ramp: {{percents: [5, 50, 100], every: {every}}}}}]}}}}"
    )
}

async fn apply(space: &Space, names: &[String], every: &str) {
    futures::stream::iter(names)
        .for_each_concurrent(8, async |name| {
            space.apply::<FeatureRollout>(&ramp(name, every)).await.unwrap();
        })
        .await;
}

async fn until_begun(space: &Space, names: &[String]) {
    for name in names {
        space.until(name, "begun", is_ready).await;
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("r{i}")).collect()
}

fn is_rolled_back(status: &FeatureRolloutStatus) -> bool {
    status.rollback.is_some() && status.is_delivered()
}

fn is_completed(status: &FeatureRolloutStatus) -> bool {
    status.completed_at.is_some() && is_ready(status)
}

/// Each of the three steps was entered once, and told once.
async fn assert_stepped_once(space: &Space, name: &str) {
    let status = space.until(name, "completed", is_completed).await;
    let reasons: Vec<&str> = status.history.iter().map(|entry| entry.reason.as_str()).collect();
    assert_eq!(reasons, ["Started", "StepEntered", "StepEntered", "StepEntered", "Completed"], "{name}");
    space.until(name, "published", |status| status.published_seq == status.last_seq()).await;
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for event in events(space, name).await {
        *told.entry(event).or_default() += 1;
    }
    assert!(told.values().all(|times| *times == 1) && told.len() == 4, "{name}: {told:#?}");
}

/// Watches stay open and tell nothing any more, as behind a router that has forgotten their connections.
#[tokio::test]
async fn case_7_a_watch_that_has_gone_silent_is_begun_anew_and_repeats_nothing() {
    let space = bare_space("faults-silent").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let told = controller::Options { watch_silence: Duration::from_secs(3), ..options() };
    let controller = Running::as_told(proxy.config(), told);
    let names = names(2);
    apply(&space, &names, "1000h").await;
    until_begun(&space, &names).await;
    let version = async |name: &str| space.api::<FeatureRollout>().get(name).await.unwrap().metadata;
    let before = version("r1").await.resource_version;
    proxy.fall_silent();
    space.merge("FeatureRollout", "r0", &serde_json::json!({"spec": {"suspend": true}})).await;
    pause(500).await;
    assert!(space.status("r0").await.pauses.is_empty(), "nobody could have heard of it");
    let paused = space.until("r0", "paused", |status| !status.pauses.is_empty() && is_ready(status)).await;
    let reasons: Vec<&str> = paused.history.iter().map(|entry| entry.reason.as_str()).collect();
    assert_eq!(reasons, ["Started", "StepEntered", "Paused"]);
    assert_eq!(version("r1").await.resource_version, before, "the other one is left as it was");
    controller.stop().await;
}

/// The version from which a watch is to go on is gone: everything is listed anew, and nothing is done twice.
#[tokio::test]
async fn case_8_a_watch_whose_version_is_gone_lists_again_and_repeats_nothing() {
    let space = bare_space("faults-gone").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::over(&proxy);
    let names = names(3);
    apply(&space, &names, "3s").await;
    until_begun(&space, &names).await;
    roll_back(&space, "r2").await;
    space.until("r2", "rolled back", is_rolled_back).await;
    let before = space.status("r2").await;
    proxy.compact();
    eventually("watches were refused", async || proxy.expired() > 8).await;
    // What happens meanwhile is found by lists.
    space.merge("FeatureRollout", "r1", &serde_json::json!({"spec": {"suspend": true}})).await;
    space.until("r1", "paused", |status| !status.pauses.is_empty()).await;
    proxy.let_watch();
    space.merge("FeatureRollout", "r1", &serde_json::json!({"spec": {"suspend": false}})).await;
    assert_stepped_once(&space, "r0").await;
    let after = space.status("r2").await;
    assert_eq!((after.revision, after.last_seq()), (before.revision, before.last_seq()));
    controller.stop().await;
}

/// A list of many pages is told in its middle to begin anew, as after a compaction.
#[tokio::test]
async fn case_9_a_list_that_expires_in_the_middle_begins_anew_and_misses_nothing() {
    let space = bare_space("faults-pages").await;
    let names = names(12);
    apply(&space, &names, "1000h").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    proxy.expire_pages(5, 4);
    let controller = Running::over(&proxy);
    until_begun(&space, &names).await;
    assert_eq!(proxy.expired(), 4, "later pages were refused");
    controller.stop().await;
}

/// Every other write of ours meets a conflict.
#[tokio::test]
async fn case_10_conflicts_at_every_other_write_cost_few_tries_and_no_step() {
    let space = bare_space("faults-conflicts").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    proxy.refuse_every_other(&["/featurerollouts/", "/configmaps"], 409);
    let controller = Running::over(&proxy);
    let recorded = Recorded::start(&space, "r0");
    apply(&space, &names(1), "2s").await;
    assert_stepped_once(&space, "r0").await;
    assert_never_fell(&recorded.all_of("r0").await);
    // Three steps of three writes each and the completion, each tried twice, and what the announcements of steps add.
    let tried = proxy.asked("").len();
    assert!(tried <= 48, "{tried} writes were tried");
    controller.stop().await;
}

/// The API server says that it is busy, and when to come again.
#[tokio::test]
async fn case_11_a_busy_api_server_is_left_alone_for_as_long_as_it_asks_and_the_step_follows() {
    let space = bare_space("faults-busy").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::over(&proxy);
    // Long enough that a busy machine does not have all steps behind it before the second half begins.
    apply(&space, &names(4), "3s").await;
    until_begun(&space, &names(4)).await;
    let refused = ["/featurerollouts/", "/configmaps", "/events"];
    proxy.ask_to_wait(4);
    for code in [429, 503] {
        proxy.refuse(&refused, code);
        let before = proxy.asked("").len();
        // A step is due in three seconds at most; the first try of each write, and no second one before four more have passed.
        pause(6_500).await;
        let mut tried: BTreeMap<String, usize> = BTreeMap::new();
        for write in proxy.asked("").into_iter().skip(before) {
            *tried.entry(write).or_default() += 1;
        }
        assert!(tried.len() >= 4, "{code}: each of them was due: {tried:#?}");
        assert!(tried.values().all(|times| *times <= 2), "{code}: {tried:#?}");
        proxy.stop_hanging();
        for name in names(4) {
            let steps = if code == 429 { 2 } else { 3 };
            let at = |status: &FeatureRolloutStatus| {
                let of =
                    |reason: &str| status.history.iter().filter(|it| it.reason.as_str() == reason).count();
                of("StepEntered") >= steps && is_ready(status)
            };
            space.until(&name, "a step further", at).await;
        }
    }
    for name in names(4) {
        assert_stepped_once(&space, &name).await;
    }
    controller.stop().await;
}

/// Every answer comes two seconds late.
#[tokio::test]
async fn case_13_on_a_slow_network_no_step_is_early_and_none_is_taken_twice() {
    let space = bare_space("faults-slow").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    proxy.slow_down(Duration::from_secs(2));
    let controller = Running::over(&proxy);
    apply(&space, &names(1), "4s").await;
    assert_stepped_once(&space, "r0").await;
    let status = space.status("r0").await;
    let entered: Vec<_> = status
        .history
        .iter()
        .filter(|entry| entry.reason.as_str() == "StepEntered")
        .map(|entry| entry.at)
        .collect();
    assert!(entered.windows(2).all(|two| two[1].duration_since(two[0]) >= SignedDuration::from_secs(4)));
    controller.stop().await;
}

/// The right to read one kind that rollouts may refer to is taken away: a rollback does not need it.
#[tokio::test]
async fn case_15_without_the_right_to_read_another_kind_a_rollback_takes_effect() {
    let space = bare_space("faults-blind").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::over(&proxy);
    apply(&space, &names(2), "1000h").await;
    until_begun(&space, &names(2)).await;
    proxy.forbid_reading("cohortsets");
    pause(1_000).await;
    roll_back(&space, "r0").await;
    space.until("r0", "rolled back", is_rolled_back).await;
    let file = space.file("r0").await.unwrap();
    assert!(!file["flags"]["r0"]["targeting"].to_string().contains("enabled"), "{file:#}");
    proxy.forbid_reading("");
    space.merge("FeatureRollout", "r1", &serde_json::json!({"spec": {"suspend": true}})).await;
    space.until("r1", "paused", |status| !status.pauses.is_empty()).await;
    controller.stop().await;
}

//! Many rollouts of one file at the same instant, and what a step costs the API server.

use std::collections::BTreeSet;

use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use serde_json::Value;
use sluice::api::{FeatureRollout, FlagSet, MicroTime};
use sluice::controller;
use sluice::sandbox::{ControlPlane, Options, install_crds};
use tokio_util::sync::CancellationToken;

use crate::flag_sets::create;
use crate::support::raw::object;
use crate::support::{Space, eventually, is_ready, pause};

const MANY: usize = 100;

fn now() -> MicroTime {
    sluice::clock::real_now()
}

#[tokio::test]
async fn a_hundred_steps_of_one_second_take_a_handful_of_writes_and_none_is_early() {
    // How long it takes until all wait in the file is the machine's business.
    for margin in [14, 30, 90, 240] {
        if together(margin).await {
            return;
        }
    }
    panic!("the machine is too slow even for the longest margin");
}

/// Whether all waited in the file before their time, which is `margin` seconds from now.
async fn together(margin: i64) -> bool {
    let space = Space::shared(&format!("together-{margin}")).await;
    create(&space, &[object("FlagSet", "app", "{}")]).await;
    let start = now() + SignedDuration::from_secs(margin);
    // As the spec says it: to the second.
    let due: MicroTime = format!("{start:.0}").parse().unwrap();
    let spec = format!(
        "flagSetRef: {{name: app}}\ncohorts: [{{name: all}}]\nphases: [{{name: ga, steps: [{{at: '{due}', cohorts: {{all: 50}}}}]}}]"
    );
    let objects: Vec<Value> =
        (0..MANY).map(|i| object("FeatureRollout", &format!("r{i:03}"), &spec)).collect();
    join_all(objects.chunks(25).map(|chunk| create(&space, chunk))).await;
    eventually("all wait in the file", async || {
        space.file("app").await.is_some_and(|file| file["flags"].as_object().unwrap().len() == MANY)
    })
    .await;
    if now() >= due {
        return false;
    }

    let api = space.api::<ConfigMap>();
    let listed = api.list(&ListParams::default().fields("metadata.name=app")).await.unwrap();
    let from = listed.metadata.resource_version.unwrap();
    let mut events =
        api.watch(&WatchParams::default().fields("metadata.name=app"), &from).await.unwrap().boxed();
    let mut versions = BTreeSet::new();
    let served =
        |map: &ConfigMap| map.data.as_ref().unwrap()["flags.json"].matches("\"served\":\"all=50%\"").count();
    while let Some(event) = events.try_next().await.unwrap() {
        let WatchEvent::Modified(map) = event else { continue };
        let count = served(&map);
        if count > 0 {
            assert!(now() >= due, "early");
            versions.insert(map.resource_version().unwrap());
        }
        if count == MANY {
            break;
        }
    }
    assert!(versions.len() <= 10, "{} writes", versions.len());
    eventually("all say so", async || {
        let rollouts = space.api::<FeatureRollout>().list(&ListParams::default()).await.unwrap().items;
        rollouts.iter().all(|rollout| {
            let status = rollout.status.clone().unwrap_or_default();
            let entered = status.position.as_ref().map(|position| position.entered_at);
            assert!(entered.is_none_or(|entered| entered >= due), "early: {entered:?}");
            is_ready(&status) && entered.is_some()
        })
    })
    .await;
    true
}

fn requests(audit: &str, verb: &str, resource: &str, sub: &str) -> usize {
    audit
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| {
            let object = &event["objectRef"];
            event["stage"] == "ResponseComplete"
                && event["verb"] == verb
                && object["resource"] == resource
                && object["subresource"].as_str().unwrap_or_default() == sub
                && object["namespace"] == "counted"
        })
        .count()
}

#[tokio::test]
async fn a_step_costs_two_status_writes_a_file_write_and_an_event_and_quiet_costs_nothing() {
    let plane = ControlPlane::start(Options { audit_log: true, ..Options::default() }).await.unwrap();
    let client = plane.client().unwrap();
    install_crds(&client).await.unwrap();
    let stop = CancellationToken::new();
    let own: Client = controller::client(plane.client_config()).unwrap();
    let running = tokio::spawn(controller::run(own, controller::Options::default(), stop.clone()));
    let space = Space::on(client, "counted").await;
    let steps = 4;
    create(
        &space,
        &[object(
            "FeatureRollout",
            "one",
            "cohorts: [{name: all}]\nphases: [{name: ga, ramp: {percents: [5, 25, 50, 100], every: 1s}}]",
        )],
    )
    .await;
    space
        .until("one", "completed", |s| {
            is_ready(s) && s.completed_at.is_some() && s.published_seq == s.last_seq()
        })
        .await;
    let read = || std::fs::read_to_string(plane.audit_log_path().unwrap()).unwrap();
    let audit = read();
    let status = requests(&audit, "update", "featurerollouts", "status");
    let files = requests(&audit, "update", "configmaps", "") + requests(&audit, "create", "configmaps", "");
    let events = requests(&audit, "create", "events", "");
    // The beginning and the completion are an entry of history each, without a file write of their own; the event of the
    // first step tells of the beginning, too.
    assert!(status <= 2 * steps + 2, "{status} status writes");
    assert!(files <= steps + 1, "{files} file writes");
    assert_eq!(events, steps + 1, "events");

    // Neither an edit of something else nor time makes a quiet rollout write.
    let version = space.api::<FeatureRollout>().get("one").await.unwrap().resource_version();
    space.apply::<FlagSet>("metadata: {name: other}\nspec: {}").await.unwrap();
    space
        .apply::<sluice::api::CohortSet>("metadata: {name: other}\nspec: {cohorts: [{name: a}]}")
        .await
        .unwrap();
    pause(1500).await;
    assert_eq!(space.api::<FeatureRollout>().get("one").await.unwrap().resource_version(), version);
    let audit = read();
    assert_eq!(requests(&audit, "update", "featurerollouts", "status"), status);
    assert_eq!(requests(&audit, "create", "events", ""), events);
    stop.cancel();
    running.await.unwrap().unwrap();
    plane.stop().await.unwrap();
}

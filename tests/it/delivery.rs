//! What apps get, told apart from what is decided: where a decision cannot reach the file, nothing says that it has.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use sluice::api::status::Check;
use sluice::api::{FeatureRollout, FeatureRolloutStatus, FlagSet, RolloutAction, State};
use sluice::clock::{Clock, real_now};
use sluice::controller::Options;

use crate::cli::act::ask;
use crate::support::bare::{Running, bare_space, events};
use crate::support::proxy::Proxy;
use crate::support::{Space, condition, eventually, is_ready};

/// A rollout that gives the feature to all staff and to half of the others, for a long time.
fn half(more: &str) -> String {
    format!(
        "{{metadata: {{name: half}}, spec: {{{more}
          cohorts: [{{name: staff, share: 10, match: {{attributes: {{group: staff}}}}}}, {{name: all, share: 90}}],
          phases: [{{name: ga, steps: [{{name: some, cohorts: {{staff: 100, all: 50}}, hold: 10000h}}]}}]}}}}"
    )
}

async fn until_half(space: &Space, spec: &str) {
    space.apply::<FeatureRollout>(spec).await.unwrap();
    space.until("half", "served", |status| is_ready(status) && status.exposed()).await;
}

async fn served(space: &Space, config_map: &str) -> String {
    let file = space.file(config_map).await.unwrap_or_default();
    crate::flag_sets::served(&file, "half")
}

fn decided(status: &FeatureRolloutStatus) -> Vec<String> {
    status.cohorts.iter().map(|cohort| cohort.decided().to_string()).collect()
}

fn reasons(status: &FeatureRolloutStatus) -> Vec<&str> {
    status.history.iter().map(|entry| entry.reason.as_str()).collect()
}

async fn patch(space: &Space, config_map: &str, patch: Value) {
    let api = space.api::<ConfigMap>();
    api.patch(config_map, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// Asserts that whoever looks at the rollout sees that all staff and half of the others have the feature, although control
/// is decided, and why.
fn assert_undelivered(status: &FeatureRolloutStatus, why: &str) {
    assert_eq!(status.served.as_deref(), Some("staff=100%,all=50%"));
    assert_eq!(status.exposure.as_deref(), Some("55%"));
    assert_eq!(decided(status), ["0%", "0%"]);
    assert!(status.delivered_revision < status.revision);
    let said = "decided staff 0%, all 0%; apps still get staff 100%, all 50%";
    let (ready, _, message) = condition(status, "Ready").unwrap();
    assert_eq!(ready, "False");
    assert!(message.contains(said) && message.contains(why), "{message}");
    assert!(condition(status, "RolledBack").unwrap().2.contains(said), "{:#?}", status.conditions);
    assert!(status.rollback.as_ref().unwrap().ended_at.is_none(), "at control, it says");
    assert_eq!(status.state.map(State::as_str), Some("RollingBack"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_an_immutable_config_map_refuses_is_not_told_as_done() {
    let space = bare_space("delivery-immutable").await;
    let name = space.name.clone();
    let controller = Running::in_space(&space).await;
    until_half(&space, &half("")).await;
    patch(&space, "half", json!({"immutable": true})).await;

    let down = ask(&["rollback", "half", "--reason", "it hurts"], &name).await;
    assert_eq!(down.code, 5, "{} {}", down.out, down.err);
    let not = "\nNot delivered: decided staff 0%, all 0%; apps still get staff 100%, all 50%: ConfigMap half is immutable";
    assert!(
        down.out.starts_with(
            "Applied: immediate rollback: staff 100% → 0%, all 50% → 0%; decided staff 0%, all 0%"
        ),
        "{}",
        down.out
    );
    assert!(!down.out.contains("serving"), "{}", down.out);
    assert!(down.out.contains(not), "{}", down.out);
    let status = space
        .until("half", "told", |status| {
            status.published_seq == status.last_seq() && status.undelivered.is_some()
        })
        .await;
    assert_undelivered(&status, "ConfigMap half is immutable");
    let told = status.history.iter().find(|entry| entry.reason.as_str() == "NotDelivered").unwrap();
    assert!(
        told.message
            .starts_with("decided staff 0%, all 0%; apps still get staff 100%, all 50%: ConfigMap half"),
        "{}",
        told.message
    );
    assert_eq!(served(&space, "half").await, "staff=100%,all=50%");
    let told = events(&space, "half").await;
    let note = |reason: &str| {
        let event = told.iter().find(|event| event.starts_with(&format!("{reason}: ")));
        event.unwrap_or_else(|| panic!("no event {reason}: {told:?}")).clone()
    };
    assert!(
        note("RolledBack").ends_with("(decided; the file does not hold it yet)"),
        "{}",
        note("RolledBack")
    );
    assert!(note("NotDelivered").contains("apps still get staff 100%, all 50%"), "{}", note("NotDelivered"));

    let set = ask(&["set-percent", "half", "all=0", "--reason", "sure", "-o", "json"], &name).await;
    assert_eq!((set.code, &set.json()["delivery"]["delivered"]), (5, &json!(false)), "{}", set.out);
    let described = ask(&["describe", "half"], &name).await.out;
    assert!(described.contains("Not delivered: decided staff 0%, all 0%; apps still get"), "{described}");
    assert!(described.contains("(decided; the file does not hold it yet)"), "{described}");

    // Once the file can be written it is, and that is said.
    space.api::<ConfigMap>().delete("half", &DeleteParams::default()).await.unwrap();
    let done = space.until("half", "delivered", FeatureRolloutStatus::is_delivered).await;
    assert_eq!((done.served.as_deref(), done.exposure.as_deref()), (Some("staff=0%,all=0%"), Some("0%")));
    assert!(done.rollback.unwrap().ended_at.is_some() && done.undelivered.is_none());
    assert_eq!(done.history.last().unwrap().reason.as_str(), "Delivered");
    assert_eq!(done.state.map(State::as_str), Some("RolledBack"));
    assert_eq!(served(&space, "half").await, "staff=0%,all=0%");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_reaches_the_file_of_a_flag_set_that_is_gone() {
    let space = bare_space("delivery-set-gone").await;
    let name = space.name.clone();
    let controller = Running::in_space(&space).await;
    let set = "{metadata: {name: app}, spec: {outputs: [{configMap: web, key: my.json}, {configMap: copy}], flags: {banner: {state: ENABLED, variants: {a: blue, b: red}, defaultVariant: a}}}}";
    space.apply::<FlagSet>(set).await.unwrap();
    until_half(&space, &half("flagSetRef: {name: app},")).await;
    space.api::<FlagSet>().delete("app", &DeleteParams::default()).await.unwrap();
    space
        .until("half", "stalled", |s| condition(s, "Stalled").is_some_and(|c| c.1 == "ReferenceNotFound"))
        .await;

    // One lowering by the controller that knew the set, one by another that never did.
    let down = ask(&["set-percent", "half", "all=20", "--reason", "it hurts"], &name).await;
    assert_eq!(down.code, 0, "{} {}", down.out, down.err);
    assert!(down.out.ends_with("Delivered: apps get staff 100%, all 20%\n"), "{}", down.out);
    let file = async |map: &str, key: &str| {
        let map = space.api::<ConfigMap>().get(map).await.unwrap();
        serde_json::from_str::<Value>(&map.data.unwrap()[key]).unwrap()
    };
    assert_eq!(crate::flag_sets::served(&file("web", "my.json").await, "half"), "staff=100%,all=20%");
    controller.stop().await;
    let controller = Running::in_space(&space).await;
    let down = ask(&["rollback", "half", "--reason", "it hurts"], &name).await;
    assert_eq!(down.code, 0, "{} {}", down.out, down.err);
    for (map, key) in [("web", "my.json"), ("copy", "flags.json")] {
        let file = file(map, key).await;
        assert_eq!(crate::flag_sets::served(&file, "half"), "staff=0%,all=0%", "{map}");
        assert_eq!(file["flags"]["banner"]["defaultVariant"], "a", "what else was in it stays");
    }
    let status =
        space.until("half", "ended", |s| s.rollback.as_ref().is_some_and(|r| r.ended_at.is_some())).await;
    assert_eq!((status.served.as_deref(), status.exposure.as_deref()), (Some("staff=0%,all=0%"), Some("0%")));
    assert_eq!(condition(&status, "Stalled").unwrap().1, "ReferenceNotFound");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_nobody_may_write_is_not_told_as_done() {
    let space = bare_space("delivery-forbidden").await;
    let name = space.name.clone();
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::over(&proxy);
    until_half(&space, &half("")).await;
    proxy.forbid(&["/configmaps"]);
    let down = ask(&["rollback", "half", "--reason", "it hurts", "--mode", "gradual"], &name).await;
    assert_eq!(down.code, 5, "{} {}", down.out, down.err);
    let status = space.until("half", "told", |status| status.undelivered.is_some()).await;
    assert_eq!(status.served.as_deref(), Some("staff=100%,all=50%"));
    assert_eq!(decided(&status), ["50%", "25%"]);
    assert_eq!(condition(&status, "Ready").unwrap().1, "Forbidden");
    let down = ask(&["rollback", "half", "--reason", "it hurts"], &name).await;
    assert_eq!(down.code, 5, "{} {}", down.out, down.err);
    // What was said of the first rung stands until the file has refused the second decision, too.
    let is_told = |status: &FeatureRolloutStatus| {
        condition(status, "Ready").is_some_and(|(_, _, message)| message.contains("decided staff 0%"))
    };
    let status = space.until("half", "told", is_told).await;
    assert_undelivered(&status, "ConfigMap half");
    assert!(!reasons(&status).contains(&"RollbackEnded"), "{:?}", reasons(&status));
    proxy.forbid(&[]);
    let done = space.until("half", "delivered", FeatureRolloutStatus::is_delivered).await;
    assert_eq!(done.served.as_deref(), Some("staff=0%,all=0%"));
    assert!(reasons(&done).contains(&"Delivered"), "{:?}", reasons(&done));
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_moved_to_binary_data_by_hand_is_put_right() {
    let space = bare_space("delivery-binary").await;
    let name = space.name.clone();
    let controller = Running::in_space(&space).await;
    until_half(&space, &half("")).await;
    patch(
        &space,
        "half",
        json!({"data": {"flags.json": null}, "binaryData": {"flags.json": "AAAA", "other": "AAAA"}}),
    )
    .await;
    let down = ask(&["rollback", "half", "--reason", "it hurts"], &name).await;
    assert_eq!(down.code, 0, "{} {}", down.out, down.err);
    let map = space.api::<ConfigMap>().get("half").await.unwrap();
    let binary: Vec<String> = map.binary_data.unwrap_or_default().into_keys().collect();
    assert_eq!(binary, ["other"], "what is not ours stays");
    assert_eq!(served(&space, "half").await, "staff=0%,all=0%");
    controller.stop().await;
}

#[tokio::test]
async fn what_is_shown_of_an_invalid_rollout_follows_what_lowers_it() {
    let space = bare_space("delivery-invalid").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    // Ten minutes, from one rung to the next, in two seconds.
    let clock = Clock::accelerated(real_now(), 300);
    let controller = Running::as_told(proxy.config(), Options { clock, ..Options::default() });
    until_half(&space, &half("")).await;
    // The API server takes a baseline of a cohort that nobody has.
    space.apply::<FeatureRollout>(&half("baseline: {nobody: 5},")).await.unwrap();
    let stalled = |status: &FeatureRolloutStatus| {
        condition(status, "Stalled").is_some_and(|(_, reason, _)| reason == "InvalidSpec")
    };
    let held = space.until("half", "stalled", stalled).await;
    assert_eq!((held.served.as_deref(), held.exposure.as_deref()), (Some("staff=100%,all=50%"), Some("55%")));
    let waiting = held.waiting_for.unwrap();
    assert_eq!(
        (waiting.check, held.next.as_deref(), held.state.map(State::as_str)),
        (Check::Valid, None, Some("Stalled"))
    );
    let action = "{metadata: {name: down}, spec: {rolloutRef: {name: half}, action: Rollback, reason: because, rollback: {mode: Gradual}}}";
    space.apply::<RolloutAction>(action).await.unwrap();
    let rung = space.until("half", "first rung", |s| s.served.as_deref() == Some("staff=50%,all=25%")).await;
    assert_eq!(rung.exposure.as_deref(), Some("27.5%"));
    assert_eq!(rung.state.map(State::as_str), Some("RollingBack"));
    assert!(rung.next.is_some() && stalled(&rung), "{rung:#?}");
    let ended = space.until("half", "at control", |s| s.served.as_deref() == Some("staff=0%,all=0%")).await;
    assert_eq!((ended.exposure.as_deref(), ended.state.map(State::as_str)), (Some("0%"), Some("RolledBack")));
    assert_eq!(ended.next, None);
    // What takes milliseconds of real time is not late because the schedule's clock runs fast.
    assert!(!reasons(&ended).contains(&"NotDelivered"), "{:#?}", ended.history);
    eventually("the file is at control", async || served(&space, "half").await == "staff=0%,all=0%").await;
    controller.stop().await;
}

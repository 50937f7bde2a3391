//! Actions on a real API server: done once, in order, at once, with who and why; and refused with a reason.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::PostParams;
use serde_json::{Value, json};
use sluice::api::rolloutaction::Answer;
use sluice::api::{FeatureRollout, FeatureRolloutStatus, RolloutAction};

use crate::support::bare::{Running, bare_space, events, served, told};
use crate::support::{Space, condition, eventually};

mod disturbed;
mod overtaking;

/// The user of the tests' clients.
const ADMIN: &str = "sluice-sandbox-admin";

/// A rollout that stands at 50 % of everyone and 100 % of staff for a long time.
const HALF: &str = r"
metadata: {name: half}
spec:
  cohorts:
  - {name: staff, match: {attributes: {group: staff}}}
  - {name: everyone}
  phases:
  - name: ga
    steps:
    - {name: first, cohorts: {staff: 100, everyone: 50}, hold: 1000h}
    - {name: second, cohorts: {everyone: 75}, hold: 1000h}
    - {name: third, cohorts: {everyone: 100}, hold: 1000h, approval: Required}
";

/// An action for a rollout.
fn action(rollout: &str, name: &str, more: Value) -> RolloutAction {
    let mut spec = json!({"rolloutRef": {"name": rollout}, "reason": "because"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let object = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "RolloutAction",
        "metadata": {"name": name}, "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

/// Creates an action, and waits for its answer.
async fn act(space: &Space, rollout: &str, name: &str, more: Value) -> (Answer, String) {
    space.api::<RolloutAction>().create(&PostParams::default(), &action(rollout, name, more)).await.unwrap();
    answer(space, name).await
}

/// The answer of an action, when it has come.
async fn answer(space: &Space, name: &str) -> (Answer, String) {
    let mut found = None;
    eventually(&format!("{name} is answered"), async || {
        let action = space.api::<RolloutAction>().get(name).await.unwrap();
        let status = action.status.unwrap_or_default();
        found = status.answer.map(|answer| {
            let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
            assert_eq!(ready.status == "True", answer == Answer::Applied);
            assert!(status.answered_at.is_some() && status.observed_generation == 1);
            (answer, status.message.unwrap())
        });
        found.is_some()
    })
    .await;
    found.unwrap()
}

pub async fn applied(space: &Space, rollout: &str, name: &str, more: Value) -> String {
    let (answer, message) = act(space, rollout, name, more).await;
    assert_eq!(answer, Answer::Applied, "{name}: {message}");
    message
}

async fn rejected(space: &Space, rollout: &str, name: &str, more: Value) -> String {
    let (answer, message) = act(space, rollout, name, more).await;
    assert_eq!(answer, Answer::Rejected, "{name}: {message}");
    message
}

fn percents(status: &FeatureRolloutStatus) -> BTreeMap<String, String> {
    status.cohorts.iter().map(|cohort| (cohort.name.clone(), cohort.served.to_string())).collect()
}

/// Waits until a rollout serves these percentages, and its file says the same.
async fn until_served(space: &Space, rollout: &str, staff: &str, everyone: &str) -> FeatureRolloutStatus {
    let wanted = BTreeMap::from([
        ("everyone".to_owned(), everyone.to_owned()),
        ("staff".to_owned(), staff.to_owned()),
    ]);
    let status = space
        .until(rollout, &format!("{staff} and {everyone}"), |status| {
            percents(status) == wanted && status.delivered_revision == status.revision
        })
        .await;
    let file = space.file(rollout).await.unwrap();
    let (revision, in_file) = served(&file, rollout).unwrap();
    let as_number = |text: &str| text.trim_end_matches('%').parse::<f64>().unwrap();
    assert_eq!(revision, status.revision);
    assert_eq!((in_file["staff"], in_file["everyone"]), (as_number(staff), as_number(everyone)));
    status
}

/// What the history says last: reason, who and message.
fn last(status: &FeatureRolloutStatus) -> (&str, &str, &str) {
    let entry = status.history.last().unwrap();
    (entry.reason.as_str(), &entry.who, &entry.message)
}

#[tokio::test]
async fn each_verb_does_what_it_says_with_who_and_why() {
    let space = bare_space("act-verbs").await;
    let controller = Running::in_space(&space).await;
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    until_served(&space, "half", "100%", "50%").await;

    applied(&space, "half", "pause", json!({"action": "Pause", "reason": "lunch"})).await;
    let status = space.until("half", "paused", |status| condition(status, "Paused").is_some()).await;
    let entry = status.history.iter().find(|entry| entry.reason.as_str() == "Paused").unwrap();
    assert_eq!(entry.who, ADMIN);
    assert!(entry.message.contains("lunch"), "{}", entry.message);
    // A paused one is not promoted.
    let why = rejected(&space, "half", "too-early", json!({"action": "Promote"})).await;
    assert!(why.contains("paused by"), "{why}");

    applied(&space, "half", "resume", json!({"action": "Resume"})).await;
    let status = space.until("half", "resumed", |status| condition(status, "Paused").is_none()).await;
    assert_eq!(last(&status), ("Resumed", ADMIN, "resumed: because"));

    applied(&space, "half", "promote", json!({"action": "Promote", "reason": "all is well"})).await;
    let status = until_served(&space, "half", "100%", "75%").await;
    assert!(status.history.iter().any(|entry| entry.reason.as_str() == "Promoted"
        && entry.who == ADMIN
        && entry.message.contains("all is well")));

    let why = rejected(&space, "half", "unapproved", json!({"action": "Promote"})).await;
    assert!(why.contains("approval"), "{why}");
    let approve = json!({"action": "Approve", "approve": {"phase": "ga", "step": "third"}});
    applied(&space, "half", "approve", approve).await;
    // The hold goes on: an approval enters nothing by itself.
    until_served(&space, "half", "100%", "75%").await;
    applied(&space, "half", "promote-again", json!({"action": "Promote"})).await;
    until_served(&space, "half", "100%", "100%").await;

    let set = json!({"action": "SetPercent", "setPercent": {"everyone": "12.5%"}});
    let message = applied(&space, "half", "set", set).await;
    assert!(message.starts_with("set everyone 100% → 12.5%; next: "), "{message}");
    assert!(message.contains("; the file "), "{message}");
    until_served(&space, "half", "100%", "12.5%").await;

    let message =
        applied(&space, "half", "rollback", json!({"action": "Rollback", "reason": "crashes"})).await;
    assert!(message.contains("immediate rollback"), "{message}");
    let status = until_served(&space, "half", "0%", "0%").await;
    let rollback = status.rollback.as_ref().unwrap();
    assert!(serde_json::to_string(rollback).unwrap().contains(ADMIN), "{rollback:?}");

    applied(&space, "half", "ack", json!({"action": "Acknowledge"})).await;
    let status = space.status("half").await;
    assert!(status.rollback.unwrap().acknowledged_at.is_some());

    let why = rejected(&space, "half", "resume-it", json!({"action": "Resume"})).await;
    assert!(why.contains("retry"), "{why}");
    applied(&space, "half", "retry", json!({"action": "Retry"})).await;
    until_served(&space, "half", "100%", "50%").await;

    let status = space.until("half", "published", |s| s.published_seq == s.last_seq()).await;
    let mut published = events(&space, "half").await;
    published.sort();
    let mut said = told(&status);
    said.sort();
    assert_eq!(published, said);
    controller.stop().await;
}

#[tokio::test]
async fn what_may_not_be_done_is_rejected_with_a_reason_and_changes_nothing() {
    let space = bare_space("act-refused").await;
    let controller = Running::in_space(&space).await;
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    until_served(&space, "half", "100%", "50%").await;
    space.until("half", "published", |s| s.published_seq == s.last_seq()).await;
    let before = space.api::<FeatureRollout>().get("half").await.unwrap();

    let why = rejected(&space, "nobody", "no-rollout", json!({"action": "Pause"})).await;
    assert!(why.contains("there is no FeatureRollout nobody"), "{why}");
    let other = json!({"action": "Pause", "rolloutRef": {"name": "half", "uid": "another"}});
    let why = rejected(&space, "half", "other-uid", other).await;
    assert!(why.contains("another"), "{why}");
    let why =
        rejected(&space, "half", "other-spec", json!({"action": "Pause", "expectedGeneration": 7})).await;
    assert!(why.contains("generation 7"), "{why}");
    let cohort = json!({"action": "SetPercent", "setPercent": {"nobody": 5}});
    let why = rejected(&space, "half", "no-cohort", cohort).await;
    assert!(why.contains("no cohort \"nobody\""), "{why}");
    let (answer, why) = act(&space, "half", "late", json!({"action": "Pause", "expiresAfter": "0s"})).await;
    assert_eq!(answer, Answer::Expired, "{why}");

    for mark in ["argocd.argoproj.io/tracking-id", "kustomize.toolkit.fluxcd.io/name"] {
        let name = format!("tracked-{}", mark.len());
        let mut tracked = action("half", &name, json!({"action": "Rollback"}));
        match mark.starts_with("argocd") {
            true => tracked.annotations_mut().insert(mark.to_owned(), "app:x".to_owned()),
            false => tracked.labels_mut().insert(mark.to_owned(), "app".to_owned()),
        };
        space.api::<RolloutAction>().create(&PostParams::default(), &tracked).await.unwrap();
        let (answer, why) = self::answer(&space, &name).await;
        assert_eq!(answer, Answer::Rejected);
        assert!(why.contains(mark), "{why}");
    }
    let after = space.api::<FeatureRollout>().get("half").await.unwrap();
    assert_eq!(
        after.resource_version(),
        before.resource_version(),
        "a refusal writes nothing to the rollout"
    );
    controller.stop().await;
}

/// The API server takes specs that hold no water: a cohort nobody has.
#[tokio::test]
async fn an_invalid_spec_can_be_paused_and_rolled_back_but_not_raised() {
    let space = bare_space("act-invalid").await;
    let controller = Running::in_space(&space).await;
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    until_served(&space, "half", "100%", "50%").await;
    space.apply::<FeatureRollout>(&HALF.replace("everyone: 75", "strangers: 75")).await.unwrap();
    space.until("half", "stalled", |status| condition(status, "Stalled").is_some()).await;

    let why = rejected(&space, "half", "promote", json!({"action": "Promote"})).await;
    assert!(why.contains("the spec is invalid"), "{why}");
    let set = json!({"action": "SetPercent", "setPercent": {"everyone": 60}});
    let why = rejected(&space, "half", "raise", set).await;
    assert!(why.contains("the spec is invalid"), "{why}");
    applied(&space, "half", "pause", json!({"action": "Pause"})).await;
    applied(&space, "half", "lower", json!({"action": "SetPercent", "setPercent": {"everyone": 20}})).await;
    until_served(&space, "half", "100%", "20%").await;
    applied(&space, "half", "rollback", json!({"action": "Rollback"})).await;
    let status = until_served(&space, "half", "0%", "0%").await;
    assert!(condition(&status, "Stalled").is_some());
    controller.stop().await;
}

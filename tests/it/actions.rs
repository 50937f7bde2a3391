//! Actions on a real API server: done once, in order, at once, with who and why; and refused with a reason.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sluice::api::rolloutaction::Answer;
use sluice::api::{FeatureRollout, FeatureRolloutStatus, RolloutAction};

use crate::support::bare::{Recorded, Running, bare_space, events, served};
use crate::support::process::ControllerProcess;
use crate::support::proxy::{Moment, Proxy};
use crate::support::{Space, condition, eventually, is_ready, pause};

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

async fn applied(space: &Space, rollout: &str, name: &str, more: Value) -> String {
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
    assert_eq!(message, "set everyone 100% → 12.5%");
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
    let said = status.history.iter().map(|entry| format!("{}: {}", entry.reason.as_str(), entry.message));
    let mut said: Vec<String> = said.collect();
    said.sort();
    assert_eq!(published, said, "one event an entry");
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

/// While steps fall due all the time, a rollback comes between, and 100 more actions with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_38_a_rollback_racing_a_step_wins_and_100_actions_are_ordered_each_once() {
    let space = bare_space("act-case-38").await;
    let controller = Running::in_space(&space).await;
    let climbing = r"
        metadata: {name: climbing}
        spec:
          cohorts: [{name: everyone}]
          phases: [{name: ga, ramp: {percents: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], every: 60ms}}]";
    for round in 0..5 {
        let name = format!("climbing-{round}");
        let recorded = Recorded::start(&space, &name);
        space.apply::<FeatureRollout>(&climbing.replace("climbing", &name)).await.unwrap();
        space.until(&name, "climbing", |status| status.revision > 2 + round).await;
        applied(&space, &name, &format!("rollback-{round}"), json!({"action": "Rollback"})).await;
        let done = space.until(&name, "rolled back", |s| s.delivered_revision == s.revision).await;
        pause(300).await;
        let status = space.status(&name).await;
        assert_eq!(
            (status.revision, &status.cohorts),
            (done.revision, &done.cohorts),
            "no step came after it"
        );
        assert!(status.rollback.is_some() && !status.exposed());
        let versions = recorded.of(&name);
        assert_eq!(versions.last().unwrap().1["everyone"], 0.0);
        assert!(versions.windows(2).all(|pair| pair[0].0 <= pair[1].0), "no older revision: {versions:?}");
    }

    space.apply::<FeatureRollout>(HALF).await.unwrap();
    until_served(&space, "half", "100%", "50%").await;
    // Of falling percentages, each is a change that none of the others repeats. The names say nothing of the order.
    let api = space.api::<RolloutAction>();
    let params = PostParams::default();
    for i in 0..100_u32 {
        let more = json!({"action": "SetPercent", "setPercent": {"everyone": format!("{}.5%", 49 - i / 4)},
            "reason": format!("number {i}")});
        let name = format!("burst-{:03}", (i * 37) % 100);
        api.create(&params, &action("half", &name, more)).await.unwrap();
    }
    eventually("all are answered", async || {
        let all = api.list(&ListParams::default()).await.unwrap().items;
        all.iter().all(|action| action.status.as_ref().is_some_and(|status| status.answer.is_some()))
    })
    .await;
    let all = api.list(&ListParams::default()).await.unwrap().items;
    let mut burst: Vec<&RolloutAction> = all.iter().filter(|a| a.name_any().starts_with("burst")).collect();
    let number =
        |action: &RolloutAction| action.spec.reason.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
    burst.sort_by_key(|action| action.status.as_ref().unwrap().answered_at.unwrap().timestamp());
    let order: Vec<u32> = burst.iter().map(|action| number(action)).collect();
    assert_eq!(order, (0..100).collect::<Vec<_>>());
    assert!(burst.iter().all(|action| action.status.as_ref().unwrap().answer == Some(Answer::Applied)));
    let status = until_served(&space, "half", "100%", "25.5%").await;
    let numbers: Vec<&str> = status.history.iter().map(|entry| entry.message.as_str()).collect();
    let set: Vec<_> =
        numbers.iter().filter_map(|m| m.rsplit_once("number ")).map(|(_, n)| n.to_owned()).collect();
    let expected: Vec<String> = (100 - set.len()..100).map(|n| n.to_string()).collect();
    assert_eq!(set, expected, "each once, in order: {numbers:#?}");
    assert!(set.len() >= 19, "{}", set.len());
    controller.stop().await;
}

/// Killed at each of the writes that an action causes: it is done once and answered once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_an_action_and_its_answer_does_it_once() {
    for (write, moment) in
        [(1, Moment::Before), (1, Moment::After), (2, Moment::Before), (2, Moment::After), (3, Moment::After)]
    {
        let name = format!("act-crash-{write}-{moment:?}").to_lowercase();
        let space = bare_space(&name).await;
        let proxy = Proxy::start(space.client.clone(), &name).await;
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, proxy.kubeconfig()).unwrap();
        let start = || ControllerProcess::start(&kubeconfig, &folder.path().join("log"));
        let first = start();
        space.apply::<FeatureRollout>(HALF).await.unwrap();
        until_served(&space, "half", "100%", "50%").await;
        space.until("half", "published", |s| is_ready(s) && s.published_seq == s.last_seq()).await;

        let victim = first.clone();
        proxy.at_write(proxy.writes().len() + write, moment, move || victim.kill());
        let promote = action("half", "promote", json!({"action": "Promote"}));
        space.api::<RolloutAction>().create(&PostParams::default(), &promote).await.unwrap();
        eventually("the controller is killed", async || !first.runs()).await;
        let second = start();
        let (answered, message) = answer(&space, "promote").await;
        assert_eq!(answered, Answer::Applied, "{message}");
        let status = until_served(&space, "half", "100%", "75%").await;
        let promoted = status.history.iter().filter(|entry| entry.reason.as_str() == "Promoted").count();
        assert_eq!(promoted, 1, "killed {moment:?} write {write}: {:#?}", status.history);
        second.kill();
    }
}

/// A controller that cannot list the rollouts yet carries out a rollback all the same.
#[tokio::test]
async fn a_rollback_does_not_wait_for_the_caches_of_a_controller_that_starts() {
    let space = bare_space("act-starting").await;
    let controller = Running::in_space(&space).await;
    let shared = HALF.replace("spec:", "spec:\n  flagSetRef: {name: app}");
    space.apply::<sluice::api::FlagSet>("{metadata: {name: app}, spec: {}}").await.unwrap();
    space.apply::<FeatureRollout>(&shared).await.unwrap();
    space.apply::<FeatureRollout>(&shared.replace("half", "other")).await.unwrap();
    for name in ["half", "other"] {
        space.until(name, "served", |s| is_ready(s) && s.exposed() && s.published_seq == s.last_seq()).await;
    }
    controller.stop().await;

    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    proxy.hang_on_lists_of("featurerollouts");
    let controller = Running::over(&proxy);
    let message = applied(&space, "half", "rollback", json!({"action": "Rollback"})).await;
    assert!(message.contains("immediate rollback"), "{message}");
    let status = space.status("half").await;
    eventually("the file follows", async || {
        let file = space.file("app").await.unwrap();
        served(&file, "half").unwrap()
            == (status.revision, BTreeMap::from([("everyone".to_owned(), 0.0), ("staff".to_owned(), 0.0)]))
    })
    .await;
    let file = space.file("app").await.unwrap();
    assert_eq!(served(&file, "other").unwrap().1["everyone"], 50.0, "the neighbour stays as it is");
    // What the list brings later goes on from there, although the rollout is no news by then.
    proxy.stop_hanging();
    let status = space.until("half", "reported", |s| s.delivered_revision == s.revision).await;
    assert!(status.rollback.is_some() && !status.exposed());
    space.until("half", "published", |s| s.published_seq == s.last_seq()).await;
    controller.stop().await;
}

/// A label that is edited while an action waits changes nothing, and its answer stays.
#[tokio::test]
async fn an_action_that_is_touched_is_still_done_once() {
    let space = bare_space("act-touched").await;
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    let api = space.api::<RolloutAction>();
    let controller = Running::in_space(&space).await;
    until_served(&space, "half", "100%", "50%").await;
    applied(&space, "half", "promote", json!({"action": "Promote"})).await;
    let label = json!({"metadata": {"labels": {"touched": "yes"}}});
    api.patch("promote", &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    controller.stop().await;
    let controller = Running::in_space(&space).await;
    applied(&space, "half", "pause", json!({"action": "Pause"})).await;
    let status = until_served(&space, "half", "100%", "75%").await;
    assert_eq!(status.history.iter().filter(|entry| entry.reason.as_str() == "Promoted").count(), 1);
    controller.stop().await;
}

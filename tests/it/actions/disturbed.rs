//! Actions among steps, crashes, starts and API calls that hang: each is still done once, in order.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use sluice::api::policies::PERMISSION;
use sluice::api::rolloutaction::Answer;
use sluice::api::{FeatureRollout, FlagSet, RolloutAction};

use super::{HALF, action, answer, applied, rejected, until_served};
use crate::support::bare::{Recorded, Running, bare_space, served};
use crate::support::process::ControllerProcess;
use crate::support::proxy::{Moment, Proxy};
use crate::support::{eventually, is_ready, is_stalled, pause};

/// The rollout's watch is far behind: neither a refusal nor an effect comes from a version that is no longer the stored one.
#[tokio::test]
async fn an_action_is_judged_by_the_stored_rollout_not_by_the_one_that_was_heard_of() {
    let space = bare_space("act-unheard").await;
    let late = std::time::Duration::from_secs(6);
    let proxy = Proxy::with_watch_delay_of(space.client.clone(), &space.name, "featurerollouts", late).await;
    let controller = Running::over(&proxy);
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    until_served(&space, "half", "100%", "50%").await;
    space.until("half", "settled", is_ready).await;

    // The version that is known would have it refused.
    space.apply::<FeatureRollout>(&HALF.replace("second", "next")).await.unwrap();
    let more = json!({"action": "SetPercent", "setPercent": {"everyone": 40}, "expectedGeneration": 2});
    applied(&space, "half", "heard-of-later", more).await;
    until_served(&space, "half", "100%", "40%").await;

    // The version that is known would have it carried out.
    space.apply::<FeatureRollout>(&HALF.replace("second", "other")).await.unwrap();
    let more = json!({"action": "Rollback", "expectedGeneration": 2});
    let message = rejected(&space, "half", "too-late", more).await;
    assert!(message.contains("generation 2 of the spec, which is at 3"), "{message}");
    let status = until_served(&space, "half", "100%", "40%").await;
    assert!(status.rollback.is_none(), "{:#?}", status.history);
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
        let versions = recorded.all_of(&name).await;
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
    burst.sort_by_key(|action| action.status.as_ref().unwrap().answered_at.unwrap());
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
    // A key that is pruned stays as long as its rollout lives, even where nobody knows yet that it does.
    space.apply::<FlagSet>("{metadata: {name: app}, spec: {prune: [other]}}").await.unwrap();
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

    // What is answered and what is not can be told apart by whoever lists.
    let named = async |selector: &str| -> Vec<String> {
        let params = ListParams::default().fields(selector);
        api.list(&params).await.unwrap().items.iter().map(ResourceExt::name_any).collect()
    };
    assert_eq!(named("status.answer!=").await, ["pause", "promote"]);
    assert_eq!(named("status.answer=Applied").await, ["pause", "promote"]);
    assert_eq!(named("status.answer=").await, [""; 0]);
    controller.stop().await;
}

/// An answer that the API server does not take in holds up no emergency, and comes when it can.
#[tokio::test]
async fn an_answer_that_cannot_be_given_holds_up_nobody() {
    let space = bare_space("act-unanswered").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::over(&proxy);
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    until_served(&space, "half", "100%", "50%").await;

    proxy.hang_on(&["rolloutactions"]);
    let api = space.api::<RolloutAction>();
    for (name, verb) in [("pause", "Pause"), ("rollback", "Rollback")] {
        api.create(&PostParams::default(), &action("half", name, json!({"action": verb}))).await.unwrap();
    }
    let status = until_served(&space, "half", "0%", "0%").await;
    let known: Vec<bool> = status.actions.iter().map(|known| known.message.is_some()).collect();
    assert_eq!(known, [true, true], "their words are kept until they are said");
    eventually("both answers are on their way", async || proxy.hung() >= 2).await;
    for name in ["pause", "rollback"] {
        assert!(api.get(name).await.unwrap().status.is_none_or(|status| status.answer.is_none()));
    }
    proxy.stop_hanging();
    for name in ["pause", "rollback"] {
        assert_eq!(answer(&space, name).await.0, Answer::Applied);
    }
    applied(&space, "half", "ack", json!({"action": "Acknowledge"})).await;
    let status = space.status("half").await;
    let known: Vec<bool> = status.actions.iter().map(|known| known.message.is_some()).collect();
    assert_eq!(known[..2], [false, false], "said, and forgotten with the next write");
    controller.stop().await;
}

/// What raises waits for the file to hold the decision before; what stops does not, and ends that waiting.
#[tokio::test]
async fn what_raises_waits_for_the_file_and_what_stops_does_not() {
    let space = bare_space("act-delivered").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::over(&proxy);
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    until_served(&space, "half", "100%", "50%").await;
    let api = space.api::<RolloutAction>();
    let create = async |name: &str, more: serde_json::Value| {
        api.create(&PostParams::default(), &action("half", name, more)).await.unwrap();
    };
    let raise = |percent: u32| json!({"action": "SetPercent", "setPercent": {"everyone": percent}});
    for (name, percent) in [("to-55", 55), ("to-60", 60), ("to-65", 65)] {
        create(name, raise(percent)).await;
    }
    for name in ["to-55", "to-60", "to-65"] {
        let (answered, message) = answer(&space, name).await;
        assert_eq!(answered, Answer::Applied, "{name}: {message}");
    }
    until_served(&space, "half", "100%", "65%").await;

    proxy.hang_on(&["configmaps"]);
    create("to-70", raise(70)).await;
    assert_eq!(answer(&space, "to-70").await.0, Answer::Applied);
    create("to-75", raise(75)).await;
    create("stop", json!({"action": "Pause"})).await;
    let (answered, message) = answer(&space, "to-75").await;
    assert_eq!(answered, Answer::Rejected);
    assert!(message.contains("does not hold the previous decision"), "{message}");
    assert_eq!(answer(&space, "stop").await.0, Answer::Applied);
    proxy.stop_hanging();
    until_served(&space, "half", "100%", "70%").await;
    controller.stop().await;
}

/// While nobody can find out who asks, what raises waits, and expires; what stops does not wait behind it.
#[tokio::test]
async fn what_cannot_be_judged_gives_way_to_what_stops_and_expires() {
    let space = bare_space("act-unjudged").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::over(&proxy);
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    until_served(&space, "half", "100%", "50%").await;

    proxy.hang_on_lists_of(&format!("validatingadmissionpolicies/{PERMISSION}"));
    let api = space.api::<RolloutAction>();
    let create = async |name: &str, more: serde_json::Value| {
        api.create(&PostParams::default(), &action("half", name, more)).await.unwrap();
    };
    create("late", json!({"action": "Promote", "expiresAfter": "1s"})).await;
    let (answered, message) = answer(&space, "late").await;
    assert_eq!(answered, Answer::Expired, "{message}");

    create("promote", json!({"action": "Promote"})).await;
    create("stop", json!({"action": "Rollback"})).await;
    let (answered, message) = answer(&space, "promote").await;
    assert_eq!(answered, Answer::Rejected);
    assert!(message.contains("could not be judged"), "{message}");
    assert_eq!(answer(&space, "stop").await.0, Answer::Applied);
    proxy.stop_hanging();
    until_served(&space, "half", "0%", "0%").await;
    controller.stop().await;
}

/// A rollout whose status was lost is served by its file alone: a rollback that comes first waits for its first turn.
#[tokio::test]
async fn a_rollback_before_the_first_turn_takes_effect_on_what_the_file_serves() {
    let space = bare_space("act-begins").await;
    let controller = Running::in_space(&space).await;
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    until_served(&space, "half", "100%", "50%").await;
    controller.stop().await;
    let lost = json!({"status": null});
    let rollouts = space.api::<FeatureRollout>();
    rollouts.patch_status("half", &PatchParams::default(), &Patch::Merge(&lost)).await.unwrap();

    // The lane works before anything is listed, and so before the first turn.
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    proxy.hang_on_lists_of("featurerollouts");
    let controller = Running::over(&proxy);
    let rollback = action("half", "rollback", json!({"action": "Rollback"}));
    let api = space.api::<RolloutAction>();
    api.create(&PostParams::default(), &rollback).await.unwrap();
    pause(500).await;
    assert!(api.get("rollback").await.unwrap().status.is_none_or(|status| status.answer.is_none()));
    proxy.stop_hanging();
    let (answered, message) = answer(&space, "rollback").await;
    assert_eq!(answered, Answer::Applied, "{message}");
    until_served(&space, "half", "0%", "0%").await;
    controller.stop().await;
}

/// Where the pinned audience is gone nothing can be rendered; what stops and lowers is carried out all the same.
#[tokio::test]
async fn what_stops_and_lowers_works_without_the_pinned_audience() {
    let space = bare_space("act-audience").await;
    let controller = Running::in_space(&space).await;
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    let status = until_served(&space, "half", "100%", "50%").await;
    controller.stop().await;
    // Suspended, it keeps the audience that it has, although another is declared.
    let edited = HALF.replace("group: staff", "group: colleagues").replace("spec:", "spec:\n  suspend: true");
    space.apply::<FeatureRollout>(&edited).await.unwrap();
    let revisions = space.api::<ControllerRevision>();
    revisions.delete(&status.audience.unwrap().name, &DeleteParams::default()).await.unwrap();

    let controller = Running::in_space(&space).await;
    space.until("half", "stalled", |status| is_stalled(status, "ReferenceNotFound", "is gone")).await;
    let message = rejected(
        &space,
        "half",
        "raise",
        json!({"action": "Approve",
        "approve": {"phase": "ga", "step": "third"}}),
    )
    .await;
    assert!(message.contains("is gone"), "{message}");
    applied(&space, "half", "stop", json!({"action": "Pause"})).await;
    applied(&space, "half", "rollback", json!({"action": "Rollback"})).await;
    let status = space.status("half").await;
    assert!(status.rollback.is_some() && !status.exposed());
    controller.stop().await;
}

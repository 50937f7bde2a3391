//! Nothing of an object outlives it in the controller's memory, and what others still need of it outlives it in the cluster.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use sluice::api::{FeatureRollout, FeatureRolloutStatus};
use sluice::controller::{Housekeeping, Options};

use crate::flag_sets::{create, served};
use crate::support::bare::{Running, audited_writes, bare, bare_space};
use crate::support::proxy::Proxy;
use crate::support::raw::object;
use crate::support::{Space, eventually, is_ready, is_stalled, pause};

/// Housekeeping in the time of a test.
const QUICK: Housekeeping = Housekeeping {
    count: Duration::from_millis(50),
    collection: Duration::from_millis(300),
    kept: Duration::from_millis(300),
    crowded: Duration::from_millis(300),
    actions: Duration::from_secs(3600),
};

/// A controller of one namespace, and where it serves its metrics.
async fn quick(space: &Space) -> (Running, SocketAddr) {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let options = Options { address: Some(address), housekeeping: QUICK, ..Options::default() };
    let config = Proxy::start(space.client.clone(), &space.name).await.config();
    (Running::as_told(config, options), address)
}

/// How many entries are kept, by what they are; nothing while nothing is served.
async fn entries(address: SocketAddr) -> BTreeMap<String, u64> {
    let Ok(answer) = reqwest::get(format!("http://{address}/metrics")).await else { return BTreeMap::new() };
    let text = answer.text().await.unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("sluice_entries{of=\""));
    lines
        .filter_map(|line| line.split_once("\"} "))
        .map(|(of, count)| (of.to_owned(), count.parse().unwrap()))
        .collect()
}

fn rollout(i: usize, set: bool) -> Value {
    let set = if set { "flagSetRef: {name: app}\n" } else { "" };
    let policy = ["Retain", "Control", "Remove"][i % 3];
    // A trigger whose template is missing is measured all the same.
    let trigger = "triggers: [{name: errors, metric: {templateRef: {name: none}}, interval: 1s, onProviderError: Ignore, levels: [{severity: Critical, above: '1', action: Pause}]}]";
    let depends = if i > 0 {
        format!("dependsOn: [{{name: r{}, condition: Completed}}]\n", i - 1)
    } else {
        String::new()
    };
    object(
        "FeatureRollout",
        &format!("r{i}"),
        &format!(
            "{set}{depends}deletionPolicy: {policy}\nbaseline: {{all: 5}}\ncohorts: [{{name: all, share: 100, match: {{attributes: {{plan: gold}}}}}}]\n{trigger}\nphases: [{{name: ga, ramp: {{percents: [50, 100], every: 1h}}}}]"
        ),
    )
}

/// Rollouts, with an action each, come and go.
async fn round(space: &Space, address: SocketAddr, rollouts: usize) {
    create(space, &[object("FlagSet", "app", "{}")]).await;
    for i in 0..rollouts {
        create(space, &[rollout(i, i % 2 == 0)]).await;
    }
    for i in 0..rollouts {
        space.until(&format!("r{i}"), "ready", is_ready).await;
        let mut action = object(
            "RolloutAction",
            "none",
            &format!("rolloutRef: {{name: r{i}}}\naction: Pause\nreason: a test"),
        );
        action["metadata"] = json!({"generateName": "pause-"});
        create(space, &[action]).await;
    }
    for i in 0..rollouts {
        let is_paused = |status: &FeatureRolloutStatus| !status.pauses.is_empty() && is_ready(status);
        space.until(&format!("r{i}"), "paused", is_paused).await;
    }
    eventually("everything is counted", async || {
        let seen = entries(address).await;
        let all =
            ["writers", "outputs", "answers", "rollouts_by_name", "audiences", "guards", "measured_rollouts"];
        all.iter().all(|of| seen.get(*of).is_some_and(|count| *count >= rollouts as u64 / 2))
    })
    .await;
    for i in 0..rollouts {
        assert_eq!(space.delete("FeatureRollout", &format!("r{i}")).await.code, 200);
    }
    eventually("they are gone", async || {
        let left = space.api::<FeatureRollout>().list_metadata(&Default::default()).await.unwrap();
        left.items.is_empty()
    })
    .await;
    assert_eq!(space.delete("FlagSet", "app").await.code, 200);
}

#[tokio::test]
async fn nothing_of_rollouts_and_sets_that_are_gone_is_kept_in_memory() {
    let space = bare_space("lives-census").await;
    let (controller, address) = quick(&space).await;
    eventually("it counts", async || !entries(address).await.is_empty()).await;
    let before = entries(address).await;
    for _ in 0..3 {
        round(&space, address, 6).await;
        let mut after = BTreeMap::new();
        for _ in 0..300 {
            after = entries(address).await;
            if after == before {
                break;
            }
            pause(50).await;
        }
        assert_eq!(after, before);
        // The files stay: four of them hold flags of rollouts that are gone.
        assert!(space.file("app").await.is_some() && space.file("r3").await.is_some());
    }
    controller.stop().await;
}

/// A cohort of the users with one plan.
fn cohorts(plan: &str) -> String {
    format!("cohorts: [{{name: some, share: 100, match: {{attributes: {{plan: {plan}}}}}}}]")
}

/// A rollout for them, in a file of its own.
fn web(plan: &str) -> Value {
    let phases = "phases: [{name: ga, ramp: {percents: [50, 100], every: 1h}}]";
    object("FeatureRollout", "web", &format!("{}\n{phases}", cohorts(plan)))
}

async fn lose(space: &Space, name: &str) {
    space.api::<ControllerRevision>().delete(name, &DeleteParams::default()).await.unwrap();
}

async fn revision(space: &Space, name: &str) -> Option<ControllerRevision> {
    space.api::<ControllerRevision>().get_opt(name).await.unwrap()
}

/// Waits until everything that nobody has pinned for a while has been collected: the name of a decoy tells.
async fn collected(space: &Space, decoy: &str) {
    let decoy: ControllerRevision = serde_json::from_value(json!({
        "metadata": {"name": decoy, "labels": {"app.kubernetes.io/managed-by": "sluice"}},
        "revision": 1, "data": {"name": decoy, "cohorts": []},
    }))
    .unwrap();
    space.api::<ControllerRevision>().create(&PostParams::default(), &decoy).await.unwrap();
    eventually("the decoy is collected", async || revision(space, &decoy.name_any()).await.is_none()).await;
}

fn pinned(status: &FeatureRolloutStatus) -> String {
    status.audience.as_ref().map(|audience| audience.name.clone()).unwrap_or_default()
}

fn targeting(file: &Value) -> String {
    file["flags"]["web"]["targeting"].to_string()
}

#[tokio::test]
async fn what_a_status_pins_outlives_collections_and_restarts_so_that_it_can_still_be_lowered() {
    let space = bare_space("lives-pinned").await;
    let (controller, _) = quick(&space).await;
    let frozen =
        "schedule: {freezes: [{name: calm, from: '2020-01-01T00:00:00Z', to: '2100-01-01T00:00:00Z'}]}";
    let trigger = "triggers: [{name: errors, metric: {templateRef: {name: none}}, onProviderError: Ignore, levels: [{severity: Critical, above: '1', action: Pause}]}]";
    let spec = format!(
        "cohortSetRef: {{name: users}}\nbaseline: {{some: 50}}\n{frozen}\n{trigger}\nphases: [{{name: ga, ramp: {{percents: [50, 100], every: 1h}}}}]"
    );
    let set = object("CohortSet", "users", &cohorts("gold"));
    create(&space, &[set, object("FeatureRollout", "web", &spec)]).await;
    let status = space.until("web", "ready", is_ready).await;
    let (audience, guard) = (pinned(&status), status.guard.clone().unwrap());
    // The set now says something else, and the freeze keeps the rollout from moving there; its spec is invalid besides, so
    // that the guard is in use.
    let edited = object("CohortSet", "users", &cohorts("silver"));
    let patch = json!({"spec": edited["spec"]});
    assert_eq!(space.merge("CohortSet", "users", &patch).await.code, 200);
    space.until("web", "waiting", |s| s.pending_audience.is_some()).await;
    let broken = json!({"spec": {"baseline": {"nobody": 1}, "triggers": null}});
    assert_eq!(space.merge("FeatureRollout", "web", &broken).await.code, 200);
    space.until("web", "stalled", |s| is_stalled(s, "InvalidSpec", "nobody")).await;

    collected(&space, "decoy-one").await;
    controller.stop().await;
    let (controller, _) = quick(&space).await;
    collected(&space, "decoy-two").await;
    for name in [&audience, &guard] {
        assert!(revision(&space, name).await.is_some(), "{name} is in use");
    }
    controller.stop().await;
    // A process that remembers nothing.
    let (controller, _) = quick(&space).await;
    let rollback = "rolloutRef: {name: web}\naction: Rollback\nreason: it is broken";
    create(&space, &[object("RolloutAction", "back", rollback)]).await;
    eventually("the file is at control", async || {
        served(&space.file("web").await.unwrap(), "web") == "some=0%"
    })
    .await;
    assert!(targeting(&space.file("web").await.unwrap()).contains("gold"), "for those whom it was served to");
    controller.stop().await;
}

#[tokio::test]
async fn an_orphan_without_a_flag_set_keeps_its_audience_and_is_adopted_with_it() {
    let space = bare_space("lives-orphan").await;
    let (controller, _) = quick(&space).await;
    create(&space, &[web("gold")]).await;
    let audience = pinned(&space.until("web", "ready", is_ready).await);
    let before = space.file("web").await.unwrap();
    assert_eq!(space.delete("FeatureRollout", "web").await.code, 200);
    // With the process that knew it, and with one that has never seen it.
    collected(&space, "decoy-one").await;
    controller.stop().await;
    let (controller, _) = quick(&space).await;
    collected(&space, "decoy-two").await;
    assert!(revision(&space, &audience).await.is_some(), "the flag in the file is rendered from it");

    // The same cohort by name, and other people.
    create(&space, &[web("silver")]).await;
    let adopted = space.until("web", "adopted", |s| is_ready(s) && !s.pauses.is_empty()).await;
    assert_eq!(pinned(&adopted), audience);
    assert_eq!(adopted.served.as_deref(), Some("some=50%"));
    assert!(adopted.pending_audience.is_some(), "other people are a raise, which waits");
    assert_eq!(targeting(&space.file("web").await.unwrap()), targeting(&before));

    // Without a file nobody needs it, and the next rollout of the name is new.
    assert_eq!(space.delete("FeatureRollout", "web").await.code, 200);
    collected(&space, "decoy-three").await;
    space.api::<ConfigMap>().delete("web", &DeleteParams::default()).await.unwrap();
    eventually("it is collected", async || revision(&space, &audience).await.is_none()).await;
    create(&space, &[web("silver")]).await;
    let fresh = space.until("web", "ready", is_ready).await;
    assert!(fresh.pauses.is_empty() && pinned(&fresh) != audience, "{fresh:#?}");
    controller.stop().await;
}

#[tokio::test]
async fn where_the_definition_of_an_audience_is_lost_lowering_works_and_nobody_else_gets_the_feature() {
    let space = bare_space("lives-lost").await;
    let controller = Running::in_space(&space).await;
    create(&space, &[web("gold")]).await;
    let audience = pinned(&space.until("web", "ready", is_ready).await);
    controller.stop().await;
    // Somebody deletes it by hand, and the spec says something else by now.
    lose(&space, &audience).await;
    let silver = json!({"spec": {"cohorts": web("silver")["spec"]["cohorts"], "suspend": true}});
    assert_eq!(space.merge("FeatureRollout", "web", &silver).await.code, 200);
    let controller = Running::in_space(&space).await;
    space.until("web", "stalled", |s| is_stalled(s, "ReferenceNotFound", &audience)).await;
    let rollback = "rolloutRef: {name: web}\naction: Rollback\nreason: it is broken";
    create(&space, &[object("RolloutAction", "back", rollback)]).await;
    eventually("the file is at control", async || {
        served(&space.file("web").await.unwrap(), "web") == "some=0%"
    })
    .await;
    controller.stop().await;

    // The same, found by a rollout that is created again.
    let space = bare_space("lives-lost-orphan").await;
    let controller = Running::in_space(&space).await;
    create(&space, &[web("gold")]).await;
    let audience = pinned(&space.until("web", "ready", is_ready).await);
    assert_eq!(space.delete("FeatureRollout", "web").await.code, 200);
    controller.stop().await;
    lose(&space, &audience).await;
    create(&space, &[web("silver")]).await;
    let controller = Running::in_space(&space).await;
    let adopted = space.until("web", "adopted", |s| is_ready(s) && !s.pauses.is_empty()).await;
    assert_eq!(adopted.served.as_deref(), Some("some=0%"), "the others are other people");
    assert_eq!(served(&space.file("web").await.unwrap(), "web"), "some=0%");
    let again = json!({"spec": {"attempt": 2}});
    assert_eq!(space.merge("FeatureRollout", "web", &again).await.code, 200);
    space.until("web", "going on", |s| is_ready(s) && s.served.as_deref() == Some("some=50%")).await;
    controller.stop().await;
}

/// Guards that a rollout may have besides the one in use, and one that is about to be deleted.
const GUARDS: usize = 8 + 2;

#[tokio::test]
async fn edits_at_full_speed_leave_a_handful_of_guards_and_the_last_valid_one_in_force() {
    let space = bare_space("lives-guards").await;
    let controller = Running::in_space(&space).await;
    let trigger = |above: usize| {
        json!([{"name": "errors", "metric": {"templateRef": {"name": "none"}}, "onProviderError": "Ignore",
            "levels": [{"severity": "Critical", "above": above.to_string(), "action": "Pause"}]}])
    };
    let mut rollout = web("gold");
    rollout["spec"]["triggers"] = trigger(0);
    create(&space, &[rollout]).await;
    space.until("web", "ready", is_ready).await;
    let guards = async || -> Vec<ControllerRevision> {
        let all = space.api::<ControllerRevision>().list(&ListParams::default()).await.unwrap().items;
        all.into_iter().filter(|revision| revision.name_any().starts_with("web-guard-")).collect()
    };
    let last = 400;
    for above in 1..=last {
        let edit = json!({"spec": {"triggers": trigger(above)}});
        assert_eq!(space.merge("FeatureRollout", "web", &edit).await.code, 200);
        if above % 50 == 0 {
            assert!(guards().await.len() <= GUARDS, "after {above} edits");
        }
    }
    let generation = space.api::<FeatureRollout>().get("web").await.unwrap().metadata.generation;
    let status = space.until("web", "at the last edit", |s| Some(s.observed_generation) == generation).await;
    let made = audited_writes(bare(), &space.name).into_iter();
    let made =
        made.filter(|(verb, resource, ..)| verb == "create" && resource == "controllerrevisions").count();
    assert!(made > 3 * GUARDS, "only {made} were made, so that nothing is shown");
    assert!(guards().await.len() <= GUARDS);

    // An invalid edit, and a process that remembers nothing.
    let broken = json!({"spec": {"baseline": {"nobody": 1}, "triggers": null}});
    assert_eq!(space.merge("FeatureRollout", "web", &broken).await.code, 200);
    let stalled = space.until("web", "stalled", |s| is_stalled(s, "InvalidSpec", "nobody")).await;
    assert_eq!(stalled.guard, status.guard);
    let kept = guards().await.into_iter().find(|revision| Some(revision.name_any()) == status.guard).unwrap();
    let content = kept.data.unwrap().0.to_string();
    assert!(content.contains(&format!("\"above\":\"{last}\"")), "{content}");
    controller.stop().await;
}

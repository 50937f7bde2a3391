//! Flags whose rollout is gone, names that come back, and keys that two rollouts want.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;
use sluice::api::FeatureRollout;

use crate::flag_sets::{create, map, member, served, set_status};
use crate::support::raw::object;
use crate::support::{Space, condition, eventually, is_ready, is_stalled, pause};

async fn gone(space: &Space, name: &str) {
    assert_eq!(space.delete("FeatureRollout", name).await.code, 200);
    eventually(&format!("{name} is gone"), async || {
        space.api::<FeatureRollout>().get_opt(name).await.unwrap().is_none()
    })
    .await;
}

async fn orphans(space: &Space, wanted: &[&str]) {
    eventually(&format!("orphans {wanted:?}"), async || {
        let status = set_status(space, "app").await;
        let mut keys: Vec<&str> = status.orphans.iter().map(|orphan| orphan.key.as_str()).collect();
        keys.sort_unstable();
        keys == wanted
    })
    .await;
}

#[tokio::test]
async fn an_orphan_is_frozen_until_it_is_pruned_and_its_key_goes_to_the_next_by_itself() {
    let space = Space::shared("orphans-prune").await;
    create(&space, &[object("FlagSet", "app", "{}"), member("old", "feature: {key: k}")]).await;
    space.until("old", "ready", is_ready).await;
    let before = space.file("app").await.unwrap();
    gone(&space, "old").await;
    orphans(&space, &["k"]).await;
    assert_eq!(space.file("app").await.unwrap()["flags"]["k"], before["flags"]["k"], "frozen as it is");

    create(&space, &[member("new", "feature: {key: k}")]).await;
    space
        .until("new", "in conflict", |s| is_stalled(s, "KeyConflict", "name it in spec.prune of FlagSet app"))
        .await;
    // The file lost: members and orphans come back.
    space.api::<ConfigMap>().delete("app", &DeleteParams::default()).await.unwrap();
    eventually("the file is back", async || {
        space.file("app").await.is_some_and(|file| file["flags"]["k"] == before["flags"]["k"])
    })
    .await;

    assert_eq!(space.merge("FlagSet", "app", &json!({"spec": {"prune": ["k"]}})).await.code, 200);
    space.until("new", "ready", is_ready).await;
    let file = space.file("app").await.unwrap();
    assert_eq!(file["flags"]["k"]["metadata"]["rollout"], "orphans-prune/new");
    orphans(&space, &[]).await;
    // With the key still named in prune, a living rollout keeps its flag.
    pause(300).await;
    assert_eq!(served(&space.file("app").await.unwrap(), "k"), "all=50%");
}

#[tokio::test]
async fn the_elder_of_two_has_the_key_and_the_younger_follows_when_it_leaves() {
    let space = Space::shared("orphans-elder").await;
    create(
        &space,
        &[object("FlagSet", "app", "{}"), member("a-elder", "feature: {key: k}\ndeletionPolicy: Remove")],
    )
    .await;
    space.until("a-elder", "ready", is_ready).await;
    create(&space, &[member("b-younger", "feature: {key: k}")]).await;
    space.until("b-younger", "in conflict", |s| is_stalled(s, "KeyConflict", "older rollout a-elder")).await;
    gone(&space, "a-elder").await;
    space.until("b-younger", "ready", is_ready).await;
    assert_eq!(
        space.file("app").await.unwrap()["flags"]["k"]["metadata"]["rollout"],
        "orphans-elder/b-younger"
    );

    // Where the elder's flag stays, the message changes to what helps now.
    create(&space, &[member("c-third", "feature: {key: k}")]).await;
    space.until("c-third", "in conflict", |s| is_stalled(s, "KeyConflict", "older rollout b-younger")).await;
    gone(&space, "b-younger").await;
    space.until("c-third", "told of prune", |s| is_stalled(s, "KeyConflict", "spec.prune")).await;
}

#[tokio::test]
async fn the_same_name_adopts_what_it_left_and_waits_for_a_person() {
    let space = Space::shared("orphans-adopt").await;
    create(&space, &[object("FlagSet", "app", "{}"), member("one", "")]).await;
    let first = space.until("one", "ready", is_ready).await;
    gone(&space, "one").await;
    orphans(&space, &["one"]).await;
    create(&space, &[member("one", "")]).await;
    let status = space.until("one", "adopted", |s| is_ready(s) && !s.pauses.is_empty()).await;
    assert_eq!(status.served.as_deref(), Some("all=50%"), "served on as it is");
    assert_eq!(condition(&status, "Paused").unwrap().1, "Adopted");
    assert!(status.revision > first.revision);
    orphans(&space, &[]).await;
    assert_eq!(space.merge("FeatureRollout", "one", &json!({"spec": {"attempt": 2}})).await.code, 200);
    space.until("one", "going on", |s| is_ready(s) && s.pauses.is_empty() && s.position.is_some()).await;
    assert_eq!(served(&space.file("app").await.unwrap(), "one"), "all=50%", "nobody was lowered on the way");
}

#[tokio::test]
async fn a_flag_set_that_comes_back_adopts_its_config_map() {
    let space = Space::shared("orphans-set").await;
    create(&space, &[object("FlagSet", "app", "{}"), member("one", "")]).await;
    space.until("one", "ready", is_ready).await;
    let before = map(&space, "app").await;
    assert_eq!(space.delete("FlagSet", "app").await.code, 200);
    space
        .until("one", "without its set", |s| is_stalled(s, "ReferenceNotFound", "spec.flagSetRef.name"))
        .await;
    pause(300).await;
    assert_eq!(
        map(&space, "app").await.resource_version(),
        before.resource_version(),
        "the file stays as it is"
    );

    create(&space, &[object("FlagSet", "app", "{metadata: {back: true}}")]).await;
    space.until("one", "ready", is_ready).await;
    eventually("the new set's part is in the file and in its status", async || {
        let status = set_status(&space, "app").await;
        let digest = map(&space, "app").await.annotations().get("sluice.dev/sha256").cloned();
        let file = space.file("app").await.unwrap();
        file["metadata"]["back"] == true
            && served(&file, "one") == "all=50%"
            && status.sha256 == digest
            && status.flags == 1
    })
    .await;
    assert_eq!(map(&space, "app").await.uid(), before.uid(), "the same ConfigMap");
}

#[tokio::test]
async fn peers_4_deletion_policies_do_what_they_say_and_never_hang() {
    let space = Space::shared("orphans-policy").await;
    create(&space, &[object("FlagSet", "app", "{}")]).await;
    for (name, policy) in
        [("control", "Control"), ("remove", "Remove"), ("retain", "Retain"), ("lost", "Control")]
    {
        create(&space, &[member(name, &format!("deletionPolicy: {policy}"))]).await;
    }
    for name in ["control", "remove", "retain", "lost"] {
        space.until(name, "ready", is_ready).await;
        let object = space.api::<FeatureRollout>().get(name).await.unwrap();
        assert_eq!(object.finalizers().len(), usize::from(name != "retain"), "{name}");
    }
    // An invalid edit stops raises only: what deletion lowers, it lowers all the same.
    for name in ["control", "remove"] {
        let broken = json!({"spec": {"baseline": {"nobody": 1}}});
        assert_eq!(space.merge("FeatureRollout", name, &broken).await.code, 200);
        space.until(name, "stalled", |s| is_stalled(s, "InvalidSpec", "nobody")).await;
    }
    for name in ["control", "remove", "retain"] {
        gone(&space, name).await;
    }
    let file = space.file("app").await.unwrap();
    assert_eq!(served(&file, "control"), "all=0%");
    assert!(!file["flags"]["control"]["targeting"].to_string().contains("enabled"));
    assert!(file["flags"].get("remove").is_none());
    assert_eq!(served(&file, "retain"), "all=50%");
    orphans(&space, &["control", "retain"]).await;

    assert_eq!(space.delete("FlagSet", "app").await.code, 200);
    space
        .until("lost", "without its set", |s| is_stalled(s, "ReferenceNotFound", "spec.flagSetRef.name"))
        .await;
    gone(&space, "lost").await;
}

//! What is believed of what others can write: of a file only what Sluice has signed, and of a stored revision only what its
//! name stands for. Whoever may write a ConfigMap can compute a digest.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use sluice::api::{FeatureRollout, FlagSet};
use sluice::flags::{LiveFlag, sha256_hex};

use crate::cli::act::ask;
use crate::flag_sets::{create, edit_map, map, member, served, set_condition, set_status};
use crate::support::bare::{Running, bare_space, events};
use crate::support::proxy::Proxy;
use crate::support::raw::object;
use crate::support::{Space, condition, eventually, is_ready, pause};

mod keys;
mod left;

const SIGNATURE: &str = "sluice.dev/signature";
const SHA256: &str = "sluice.dev/sha256";

/// At 50 % for a long time, in a file of its own.
const HALF: &str = "{metadata: {name: half}, spec: {cohorts: [{name: all, share: 100}],
    phases: [{name: ga, steps: [{name: some, cohorts: {all: 50}, hold: 10000h}]}]}}";

async fn until_half(space: &Space) -> String {
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    space.until("half", "at 50 %", |status| is_ready(status) && status.exposed()).await;
    text(space, "half").await
}

async fn text(space: &Space, name: &str) -> String {
    let map = space.api::<ConfigMap>().get_opt(name).await.unwrap().unwrap_or_default();
    map.data.unwrap_or_default().remove("flags.json").unwrap_or_default()
}

/// Gives a flag to everybody, as the same revision or as a later one.
fn to_everybody(file: &mut Value, flag: &str, revision: impl Fn(i64) -> i64) {
    let flag = &mut file["flags"][flag];
    flag["targeting"] = json!({"if": [true, "enabled", "disabled"]});
    flag["metadata"]["served"] = json!("all=100%");
    flag["metadata"]["revision"] = json!(revision(flag["metadata"]["revision"].as_i64().unwrap()));
}

/// Changes a file and computes its digest anew, as everybody can who may write the ConfigMap.
async fn forge(space: &Space, name: &str, change: impl FnOnce(&mut Value)) {
    let mut file = serde_json::from_str(&text(space, name).await).unwrap();
    change(&mut file);
    let text = sluice::flags::compose(&sluice::flags::parse(&file.to_string()).unwrap());
    let digest = sha256_hex(text.as_bytes());
    let annotations = json!({SHA256: digest});
    edit_map(space, name, json!({"data": {"flags.json": text}, "metadata": {"annotations": annotations}}))
        .await;
}

async fn until_text(space: &Space, name: &str, wanted: &str) {
    eventually("the file is put right", async || text(space, name).await == wanted).await;
}

async fn restored(space: &Space, of: &str) -> usize {
    let told = events(space, of).await;
    told.iter().filter(|event| event.starts_with("FileRestored")).count()
}

/// Waits until an event tells of what was done to a file, and for the next second: two damages of one are told as one.
async fn until_restored(space: &Space, of: &str, times: usize) {
    eventually(&format!("event {times} of {of}"), async || restored(space, of).await == times).await;
    pause(1100).await;
}

fn live(file: &Value, flag: &str) -> LiveFlag {
    sluice::flags::parse(&file.to_string()).unwrap().live(flag).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_with_its_own_digest_is_put_right_at_once_whatever_its_revision() {
    let space = bare_space("belief-edit").await;
    let controller = Running::in_space(&space).await;
    create(&space, &[object("FlagSet", "app", "{}"), member("one", "")]).await;
    space.until("one", "ready", is_ready).await;
    let alone = until_half(&space).await;
    let shared = text(&space, "app").await;
    // The same revision, a later one, and the last that there is.
    let edits: [fn(i64) -> i64; 3] = [|revision| revision, |revision| revision + 7, |_| i64::MAX];
    for (i, revision) in edits.into_iter().enumerate() {
        forge(&space, "app", |file| to_everybody(file, "one", revision)).await;
        forge(&space, "half", |file| to_everybody(file, "half", revision)).await;
        until_text(&space, "app", &shared).await;
        until_text(&space, "half", &alone).await;
        until_restored(&space, "app", i + 1).await;
        until_restored(&space, "half", i + 1).await;
    }
    // What somebody does then reaches the file, too.
    forge(&space, "half", |file| to_everybody(file, "half", |revision| revision + 1000)).await;
    let down = ask(&["rollback", "half", "--reason", "it hurts"], &space.name).await;
    assert_eq!(down.code, 0, "{} {}", down.out, down.err);
    assert_eq!(served(&space.file("half").await.unwrap(), "half"), "all=0%");
    let status = space.until("half", "at control", |status| status.is_delivered()).await;
    assert!(status.revision < 1000, "{}", status.revision);
    controller.stop().await;
}

#[tokio::test]
async fn an_edit_while_nobody_looked_is_put_right_and_an_emergency_reaches_it() {
    let space = bare_space("belief-down").await;
    let controller = Running::in_space(&space).await;
    create(&space, &[object("FlagSet", "app", "{}"), member("one", "")]).await;
    space.until("one", "ready", is_ready).await;
    let good = text(&space, "app").await;
    controller.stop().await;
    for (i, ahead) in [0, 1000].into_iter().enumerate() {
        forge(&space, "app", |file| to_everybody(file, "one", |revision| revision + ahead)).await;
        let controller = Running::in_space(&space).await;
        until_text(&space, "app", &good).await;
        until_restored(&space, "app", i + 1).await;
        let status = space.status("one").await;
        assert!(is_ready(&status) && status.pauses.is_empty(), "{status:#?}");
        controller.stop().await;
    }
    forge(&space, "app", |file| to_everybody(file, "one", |revision| revision + 1000)).await;
    space.apply::<FlagSet>("{metadata: {name: app}, spec: {emergency: Control}}").await.unwrap();
    let controller = Running::in_space(&space).await;
    eventually("it is at control", async || served(&space.file("app").await.unwrap(), "one") == "all=0%")
        .await;
    space.until("one", "at control", |status| is_ready(status) && !status.exposed()).await;
    controller.stop().await;
}

/// Whoever keeps a copy of a file has its signature as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_file_that_is_put_back_with_its_signature_is_put_right() {
    let space = bare_space("belief-replay").await;
    let controller = Running::in_space(&space).await;
    until_half(&space).await;
    let old = map(&space, "half").await;
    let annotations = old.metadata.annotations.clone().unwrap();
    let replay = json!({"data": old.data, "metadata": {"annotations": annotations}});
    let down = ask(&["rollback", "half", "--reason", "it hurts"], &space.name).await;
    assert_eq!(down.code, 0, "{} {}", down.out, down.err);
    let good = text(&space, "half").await;
    edit_map(&space, "half", replay.clone()).await;
    until_text(&space, "half", &good).await;
    until_restored(&space, "half", 1).await;
    // Of a file that was deleted meanwhile, too.
    space.api::<ConfigMap>().delete("half", &DeleteParams::default()).await.unwrap();
    until_text(&space, "half", &good).await;
    edit_map(&space, "half", replay.clone()).await;
    until_text(&space, "half", &good).await;
    controller.stop().await;
    edit_map(&space, "half", replay).await;
    let controller = Running::in_space(&space).await;
    until_text(&space, "half", &good).await;
    controller.stop().await;
}

/// A ConfigMap as somebody would make it who knows Sluice well.
async fn squat(space: &Space, name: &str, owner: &str, flags: &[(&str, i64)]) {
    let flag = |flag: &str, revision: i64| {
        json!({
            "state": "ENABLED",
            "variants": {"enabled": true, "disabled": false},
            "defaultVariant": "disabled",
            "targeting": {"if": [true, "enabled", "disabled"]},
            "metadata": {
                "managedBy": "sluice.dev", "rollout": format!("{}/{flag}", space.name), "uid": format!("invented-{flag}"),
                "revision": revision, "attempt": 1, "phase": "ga", "step": "some", "served": "all=100%",
                "audience": "invented",
            },
        })
    };
    let flags: serde_json::Map<String, Value> =
        flags.iter().map(|(name, revision)| ((*name).to_owned(), flag(name, *revision))).collect();
    let text = json!({"flags": flags}).to_string();
    let annotations = json!({
        "sluice.dev/owner": owner, SHA256: sha256_hex(text.as_bytes()),
        SIGNATURE: "v1.00000000.1.00000000",
    });
    let labels = json!({"app.kubernetes.io/managed-by": "sluice"});
    let map: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels, "annotations": annotations}, "data": {"flags.json": text},
    }))
    .unwrap();
    space.api::<ConfigMap>().create(&PostParams::default(), &map).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_somebody_made_beforehand_starts_nobody_above_control() {
    let space = bare_space("belief-squat").await;
    let controller = Running::in_space(&space).await;
    let suspended = HALF.replace("spec: {", "spec: {suspend: true, ");
    squat(&space, "half", "FeatureRollout/belief-squat/half", &[("half", i64::MAX)]).await;
    squat(&space, "app", "FlagSet/belief-squat/app", &[("one", 41), ("stray", 7)]).await;
    space.apply::<FeatureRollout>(&suspended).await.unwrap();
    create(&space, &[object("FlagSet", "app", "{}")]).await;
    eventually("the set has its file", async || {
        set_condition(&set_status(&space, "app").await, "Ready").starts_with("True Written")
    })
    .await;
    create(&space, &[member("one", "suspend: true")]).await;
    for (name, file) in [("half", "half"), ("one", "app")] {
        let status = space.until(name, "ready", is_ready).await;
        assert_eq!(status.served.as_deref(), Some("all=0%"), "{name}");
        assert_eq!(status.history[0].reason.as_str(), "Started", "{name}: nothing is adopted");
        assert_eq!(status.revision, 1, "{name}");
        let file = space.file(file).await.unwrap();
        assert_eq!(served(&file, name), "all=0%");
        assert!(!file["flags"][name]["targeting"].to_string().contains("enabled"), "{file:#}");
    }
    let file = space.file("app").await.unwrap();
    assert_eq!(file["flags"]["stray"]["targeting"], json!({}), "control for everybody");
    eventually("it can be pruned", async || {
        let orphans = set_status(&space, "app").await.orphans;
        orphans.iter().map(|orphan| orphan.key.as_str()).eq(["stray"])
    })
    .await;
    // A rollback is as good as anywhere.
    let go = json!({"spec": {"suspend": false}});
    assert_eq!(space.merge("FeatureRollout", "half", &go).await.code, 200);
    space.until("half", "at 50 %", |status| is_ready(status) && status.exposed()).await;
    let down = ask(&["rollback", "half", "--reason", "it hurts"], &space.name).await;
    assert_eq!(down.code, 0, "{} {}", down.out, down.err);
    assert_eq!(served(&space.file("half").await.unwrap(), "half"), "all=0%");
    controller.stop().await;
}

#[tokio::test]
async fn an_orphan_is_adopted_out_of_a_file_that_somebody_vouches_for_and_out_of_no_other() {
    let space = bare_space("belief-orphan").await;
    let controller = Running::in_space(&space).await;
    let names = ["stays", "two"];
    create(&space, &[object("FlagSet", "app", "{}"), member("kept", "")]).await;
    for name in names {
        create(&space, &[member(name, "")]).await;
        space.until(name, "ready", is_ready).await;
        assert_eq!(space.delete("FeatureRollout", name).await.code, 200);
    }
    eventually("both are orphans", async || set_status(&space, "app").await.orphans.len() == 2).await;
    let digest = map(&space, "app").await.annotations()[SHA256].clone();
    eventually("the status tells of the file", async || {
        set_status(&space, "app").await.sha256.as_ref() == Some(&digest)
    })
    .await;
    let good = text(&space, "app").await;
    controller.stop().await;

    // As an earlier version wrote it, and as one whose key is lost: the set's status vouches for the bytes.
    for signature in [json!(null), json!("v1.00000000.1.00000000")] {
        edit_map(&space, "app", json!({"metadata": {"annotations": {SIGNATURE: signature}}})).await;
        let controller = Running::in_space(&space).await;
        eventually("it is signed", async || {
            let signature =
                map(&space, "app").await.annotations().get(SIGNATURE).cloned().unwrap_or_default();
            signature.starts_with("v1.") && !signature.starts_with("v1.00000000.")
        })
        .await;
        assert_eq!(text(&space, "app").await, good);
        assert_eq!(restored(&space, "app").await, 0, "nothing was damaged");
        controller.stop().await;
    }
    let controller = Running::in_space(&space).await;
    create(&space, &[member("stays", "")]).await;
    let status = space.until("stays", "adopted", |s| is_ready(s) && !s.pauses.is_empty()).await;
    assert_eq!(status.served.as_deref(), Some("all=50%"));
    controller.stop().await;

    forge(&space, "app", |file| to_everybody(file, "two", |revision| revision + 1)).await;
    let controller = Running::in_space(&space).await;
    eventually("it is at control", async || {
        space.file("app").await.unwrap()["flags"]["two"]["targeting"] == json!({})
    })
    .await;
    let file = space.file("app").await.unwrap();
    assert!(live(&file, "two").served.is_empty());
    assert_eq!(served(&file, "kept"), "all=50%", "what has a status is rendered from it");
    create(&space, &[member("two", "suspend: true")]).await;
    let status = space.until("two", "begun", |s| s.revision > 0 && s.is_delivered()).await;
    assert_eq!(status.history[0].reason.as_str(), "Started", "not adopted");
    assert_eq!(served(&space.file("app").await.unwrap(), "two"), "all=0%");
    controller.stop().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_put_right_is_told_as_not_delivered_at_once() {
    let space = bare_space("belief-immutable").await;
    let controller = Running::in_space(&space).await;
    let good = until_half(&space).await;
    let edit = json!({"immutable": true, "data": {"flags.json": good.replace("50000", "99999")}});
    edit_map(&space, "half", edit).await;
    let status = space.until("half", "told", |status| status.undelivered.is_some()).await;
    assert!(!status.is_delivered());
    let (ready, reason, message) = condition(&status, "Ready").unwrap();
    assert_eq!((ready, reason), ("False", "Conflict"));
    assert!(message.contains("ConfigMap half is immutable: delete it"), "{message}");
    space.api::<ConfigMap>().delete("half", &DeleteParams::default()).await.unwrap();
    let status = space.until("half", "well again", is_ready).await;
    assert_eq!(text(&space, "half").await, good);
    let reasons: Vec<&str> = status.history.iter().map(|entry| entry.reason.as_str()).collect();
    assert!(reasons.ends_with(&["NotDelivered", "Delivered"]), "{reasons:?}");

    // Where nothing is to be written yet, the set says that nothing could be.
    create(&space, &[object("FlagSet", "app", "{}"), member("one", "")]).await;
    space.until("one", "ready", is_ready).await;
    edit_map(&space, "app", json!({"immutable": true})).await;
    eventually("the set says so", async || {
        set_condition(&set_status(&space, "app").await, "Stalled").contains("ConfigMap app is immutable")
    })
    .await;
    controller.stop().await;
}

#[tokio::test]
async fn a_file_whose_writes_fail_for_now_is_told_as_not_delivered() {
    let space = bare_space("belief-failing").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::over(&proxy);
    let good = until_half(&space).await;
    proxy.refuse(&["/configmaps"], 500);
    let moved = json!({"data": {"flags.json": null}, "binaryData": {"flags.json": "AAAA"}});
    edit_map(&space, "half", moved).await;
    let status = space.until("half", "told", |status| status.undelivered.is_some()).await;
    assert!(!status.is_delivered());
    assert_eq!(condition(&status, "Reconciling").unwrap().1, "Retrying", "{:#?}", status.conditions);
    proxy.refuse(&[], 500);
    space.until("half", "well again", is_ready).await;
    assert_eq!(text(&space, "half").await, good);
    controller.stop().await;
}

/// Stores another audience under the name of one, as whoever may write ControllerRevisions can while nobody looks.
#[tokio::test]
async fn a_stored_audience_is_believed_only_under_its_own_name() {
    let space = bare_space("belief-audience").await;
    let controller = Running::in_space(&space).await;
    let spec = "cohorts: [{name: staff, match: {attributes: {group: staff}}}]";
    create(&space, &[object("FlagSet", "app", "{}"), member("one", spec)]).await;
    let patch = json!({"spec": {"phases": [{"name": "ga", "steps": [{"cohorts": {"staff": 100}, "hold": "10000h"}]}]}});
    assert_eq!(space.merge("FeatureRollout", "one", &patch).await.code, 200);
    let status =
        space.until("one", "at 100 %", |s| is_ready(s) && s.served.as_deref() == Some("staff=100%")).await;
    let good = text(&space, "app").await;
    controller.stop().await;

    let name = status.audience.unwrap().name;
    let api = space.api::<ControllerRevision>();
    let stored = api.get(&name).await.unwrap();
    let mut evil = stored.clone();
    evil.metadata = serde_json::from_value(json!({"name": name, "labels": stored.metadata.labels})).unwrap();
    evil.data.as_mut().unwrap().0["cohorts"][0]["match"] = json!({});
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    api.create(&PostParams::default(), &evil).await.unwrap();
    // The file is to be rendered from it.
    forge(&space, "app", |file| to_everybody(file, "one", |revision| revision)).await;
    let controller = Running::in_space(&space).await;
    until_text(&space, "app", &good).await;
    eventually("the audience is put right", async || {
        api.get_opt(&name).await.unwrap().is_some_and(|found| found.data == stored.data)
    })
    .await;
    controller.stop().await;
}

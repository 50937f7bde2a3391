//! One file for several rollouts: what is in it, who may touch it, and an emergency that reaches everyone.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sluice::api::rolloutaction::RolloutAction;
use sluice::api::status::PauseCause;
use sluice::api::{CohortSet, FeatureRollout, FlagSet, FlagSetStatus};
use tokio::time::Instant;

use crate::support::raw::object;
use crate::support::{Space, condition, eventually, is_ready, is_stalled};

pub async fn set_status(space: &Space, name: &str) -> FlagSetStatus {
    space.api::<FlagSet>().get(name).await.unwrap().status.unwrap_or_default()
}

pub fn set_condition(status: &FlagSetStatus, type_: &str) -> String {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_);
    found.map(|c| format!("{} {} {}", c.status, c.reason, c.message)).unwrap_or_default()
}

/// A member of FlagSet `app`, at 50 % for an hour.
pub fn member(name: &str, more: &str) -> Value {
    let cohorts = if more.contains("cohort") { "" } else { "cohorts: [{name: all, share: 100}]\n" };
    let phases = "phases: [{name: ga, ramp: {percents: [50, 100], every: 1h}}]";
    object("FeatureRollout", name, &format!("flagSetRef: {{name: app}}\n{cohorts}{phases}\n{more}\n"))
}

pub async fn create(space: &Space, objects: &[Value]) {
    for object in objects {
        let answer = space.create(object).await;
        assert_eq!(answer.code, 201, "{}", answer.message());
    }
}

pub async fn map(space: &Space, name: &str) -> ConfigMap {
    space.api::<ConfigMap>().get(name).await.unwrap()
}

pub async fn edit_map(space: &Space, name: &str, patch: Value) -> ConfigMap {
    space.api::<ConfigMap>().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap()
}

pub fn served(file: &Value, flag: &str) -> String {
    file["flags"][flag]["metadata"]["served"].as_str().unwrap_or("no such flag").to_owned()
}

#[tokio::test]
async fn one_file_holds_the_rollouts_the_static_flags_and_the_metadata() {
    let space = Space::shared("sets-one-file").await;
    space.apply::<CohortSet>("metadata: {name: users}\nspec: {cohorts: [{name: staff, match: {attributes: {role: staff}}}, {name: rest}]}").await.unwrap();
    let set = object(
        "FlagSet",
        "app",
        "{outputs: [{configMap: app-flags, key: my.flags.json}, {configMap: app-copy}], cohortSetRef: {name: users}, metadata: {team: web}, flags: {banner: {state: ENABLED, variants: {a: blue, b: red}, defaultVariant: a}}}",
    );
    create(
        &space,
        &[
            set,
            member("one", "cohortSetRef: {name: users}"),
            member("two", "feature: {key: two.flag}\ncohortPolicy: Ignore"),
        ],
    )
    .await;
    for name in ["one", "two"] {
        let status = space.until(name, "ready", is_ready).await;
        assert_eq!(status.served.as_deref(), Some("staff=50%,rest=50%"), "the set's default CohortSet");
    }
    let first = map(&space, "app-flags").await.data.unwrap()["my.flags.json"].clone();
    let copy = map(&space, "app-copy").await.data.unwrap()["flags.json"].clone();
    assert_eq!(first, copy, "both outputs hold the same bytes");
    let file: Value = serde_json::from_str(&first).unwrap();
    let keys: Vec<&String> = file["flags"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["banner", "one", "two.flag"]);
    assert_eq!(file["metadata"]["team"], "web");
    let digest = map(&space, "app-flags").await.metadata.annotations.unwrap()["sluice.dev/sha256"].clone();
    eventually("the set's status says what the file holds", async || {
        let status = set_status(&space, "app").await;
        status.sha256.as_ref() == Some(&digest)
            && status.flags == 3
            && usize::try_from(status.size) == Ok(first.len())
            && status.revision > 0
            && status.orphans.is_empty()
            && status.observed_generation == 1
            && set_condition(&status, "Ready").starts_with("True Written 3 flags")
    })
    .await;
}

#[tokio::test]
async fn shared_windows_and_freezes_hold_every_member() {
    let space = Space::shared("sets-times").await;
    let set = object(
        "FlagSet",
        "app",
        "{timeZone: Europe/Berlin, freezes: [{name: holidays, from: '2020-01-01T00:00:00Z', to: '2100-01-01T00:00:00Z'}]}",
    );
    create(&space, &[set, member("one", "")]).await;
    let status = space.until("one", "ready", is_ready).await;
    assert_eq!(status.served.as_deref(), Some("all=0%"));
    let waiting = status.waiting_for.unwrap();
    assert!(waiting.message.contains("freeze holidays"), "{}", waiting.message);
    assert_eq!(waiting.until.unwrap().to_string(), "2100-01-01T00:00:00Z");
    assert_eq!(status.next.as_deref(), Some("2100-01-01T00:00:00Z"));
    assert_eq!(space.merge("FlagSet", "app", &json!({"spec": {"freezes": null}})).await.code, 200);
    space.until("one", "thawed", |status| status.served.as_deref() == Some("all=50%")).await;
    // A zone that does not exist is the set's fault, said on both.
    assert_eq!(space.merge("FlagSet", "app", &json!({"spec": {"timeZone": "Mars/Olympus"}})).await.code, 200);
    space.until("one", "stalled", |status| is_stalled(status, "InvalidSpec", "FlagSet spec.timeZone")).await;
    eventually("the set says so too", async || {
        set_condition(&set_status(&space, "app").await, "Stalled").contains("spec.timeZone")
    })
    .await;
}

#[tokio::test]
async fn what_is_edited_by_hand_is_put_right_and_what_is_others_stays() {
    let space = Space::shared("sets-hand").await;
    create(&space, &[object("FlagSet", "app", "{}"), member("one", ""), member("two", "")]).await;
    for name in ["one", "two"] {
        space.until(name, "ready", is_ready).await;
    }
    let good = map(&space, "app").await;
    let bytes = good.data.clone().unwrap()["flags.json"].clone();
    edit_map(&space, "app", json!({"data": {"notes": "ours"}, "metadata": {"labels": {"team": "web"}, "annotations": {"x": "y"}}})).await;
    let edits = [
        json!({"data": {"flags.json": bytes.replace("50000", "99999")}}),
        json!({"data": {"flags.json": "{}"}}),
        json!({"data": {"flags.json": null}}),
        json!({"metadata": {"annotations": {"sluice.dev/sha256": "0000"}}}),
        json!({"metadata": {"annotations": {"sluice.dev/owner": null}}}),
        json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}),
        json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}}),
    ];
    for edit in edits {
        let started = Instant::now();
        edit_map(&space, "app", edit.clone()).await;
        let marks = |map: &ConfigMap| {
            let annotations = map.metadata.annotations.clone().unwrap_or_default();
            let manager =
                map.metadata.labels.clone().unwrap_or_default().remove("app.kubernetes.io/managed-by");
            (
                annotations.get("sluice.dev/sha256").cloned(),
                annotations.get("sluice.dev/owner").cloned(),
                manager,
            )
        };
        eventually(&format!("put right after {edit}"), async || {
            let now = map(&space, "app").await;
            now.data.clone().unwrap_or_default().get("flags.json") == Some(&bytes)
                && marks(&now) == marks(&good)
        })
        .await;
        assert!(started.elapsed().as_millis() <= 2000, "{edit}: {:?}", started.elapsed());
    }
    eventually("it is said that the file was put right", async || {
        let told = crate::support::bare::events(&space, "app").await;
        told.iter()
            .any(|event| event.starts_with("FileRestored: ConfigMap app was edited by hand and is put right"))
    })
    .await;
    let now = map(&space, "app").await;
    assert_eq!(now.data.unwrap()["notes"], "ours");
    assert_eq!(now.metadata.labels.unwrap()["team"], "web");
    assert_eq!(now.metadata.annotations.unwrap()["x"], "y");
}

#[tokio::test]
async fn a_strangers_config_map_is_never_taken_and_its_going_is_noticed() {
    let space = Space::shared("sets-stranger").await;
    let strangers: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "app"}, "data": {"flags.json": "theirs"}}))
            .unwrap();
    let theirs = space.api::<ConfigMap>().create(&PostParams::default(), &strangers).await.unwrap();
    create(
        &space,
        &[object("FlagSet", "app", "{}"), member("one", ""), member("going", "deletionPolicy: Control")],
    )
    .await;
    let conflict = "ConfigMap app belongs to nobody that Sluice knows";
    space.until("one", "in conflict", |status| is_stalled(status, "Conflict", conflict)).await;
    eventually("the set says so", async || {
        set_condition(&set_status(&space, "app").await, "Stalled").contains(conflict)
    })
    .await;
    // Deletion does not wait for a file that will not come.
    space.until("going", "in conflict", |status| is_stalled(status, "Conflict", conflict)).await;
    space.delete("FeatureRollout", "going").await;
    eventually("going is gone", async || {
        space.api::<FeatureRollout>().get_opt("going").await.unwrap().is_none()
    })
    .await;
    let now = map(&space, "app").await;
    assert_eq!(now.metadata.resource_version, theirs.metadata.resource_version, "untouched");

    space.api::<ConfigMap>().delete("app", &DeleteParams::default()).await.unwrap();
    space.until("one", "delivered", is_ready).await;
    eventually("the set is well", async || {
        set_condition(&set_status(&space, "app").await, "Ready").starts_with("True Written")
    })
    .await;
}

#[tokio::test]
async fn what_is_no_output_any_more_is_lowered_all_the_same_until_somebody_deletes_it() {
    let space = Space::shared("sets-former").await;
    let set = object("FlagSet", "app", "{outputs: [{configMap: old}]}");
    create(&space, &[set, member("one", "")]).await;
    space.until("one", "at 50 %", |s| is_ready(s) && s.served.as_deref() == Some("all=50%")).await;
    eventually("it says where the file is", async || set_status(&space, "app").await.outputs.len() == 1)
        .await;
    let key = json!({"spec": {"outputs": [{"configMap": "old", "key": "other.json"}]}});
    let refused = space.merge("FlagSet", "app", &key).await;
    assert_eq!(refused.code, 422, "{}", refused.message());
    assert!(
        refused.message().contains("the key of a ConfigMap that holds the file is immutable"),
        "{}",
        refused.message()
    );

    let renamed = json!({"spec": {"outputs": [{"configMap": "new"}]}});
    assert_eq!(space.merge("FlagSet", "app", &renamed).await.code, 200);
    let outputs = async || -> Vec<(Option<String>, bool)> {
        let outputs = set_status(&space, "app").await.outputs;
        outputs.into_iter().map(|output| (output.config_map, output.former)).collect()
    };
    let both = [(Some("new".to_owned()), false), (Some("old".to_owned()), true)];
    eventually("both are known", async || outputs().await == both).await;
    let said = set_condition(&set_status(&space, "app").await, "Ready");
    assert!(said.contains("ConfigMap old is no output any more"), "{said}");
    let serves = async |map: &str| served(&space.file(map).await.unwrap(), "one");
    assert_eq!([serves("old").await, serves("new").await], ["all=50%", "all=50%"]);

    // An edit by hand is put right there, too, and a rollback is in it before it is answered.
    edit_map(&space, "old", json!({"data": {"flags.json": "{}"}})).await;
    eventually("it is put right", async || space.file("old").await.is_some_and(|file| file != json!({})))
        .await;
    let spec = "rolloutRef: {name: one}\naction: Rollback\nreason: a test";
    create(&space, &[object("RolloutAction", "back", spec)]).await;
    let answered =
        async || space.api::<RolloutAction>().get("back").await.unwrap().status.unwrap_or_default().message;
    eventually("it is answered", async || answered().await.is_some()).await;
    if answered().await.unwrap().ends_with("the file holds it") {
        assert_eq!([serves("old").await, serves("new").await], ["all=0%", "all=0%"]);
    }
    eventually("both are lowered", async || {
        [serves("old").await, serves("new").await] == ["all=0%", "all=0%"]
    })
    .await;

    // Nothing else is written there as long as it holds the flags.
    let changelog = json!({"spec": {"changelog": {"configMap": "old"}}});
    assert_eq!(space.merge("FlagSet", "app", &changelog).await.code, 200);
    let told = async || set_condition(&set_status(&space, "app").await, "Changelog");
    eventually("the changelog waits", async || told().await.contains("ConfigMap old holds the flags")).await;
    let none = json!({"spec": {"changelog": null}});
    assert_eq!(space.merge("FlagSet", "app", &none).await.code, 200);

    space.api::<ConfigMap>().delete("old", &DeleteParams::default()).await.unwrap();
    eventually("it is forgotten", async || outputs().await == both[..1]).await;
    assert!(space.file("old").await.is_none(), "and not made anew");
    assert_eq!(space.merge("FlagSet", "app", &changelog).await.code, 200);
    eventually("the name is free", async || told().await.starts_with("True Written")).await;
    assert!(set_condition(&set_status(&space, "app").await, "Ready").starts_with("True Written"));
}

#[tokio::test]
async fn an_emergency_takes_everyone_to_control_and_its_end_is_a_raise() {
    let space = Space::shared("sets-emergency").await;
    let cycle = "dependsOn: [{name: one, condition: Completed}]";
    let set =
        object("FlagSet", "app", "{flags: {banner: {state: ENABLED, variants: {a: x}, defaultVariant: a}}}");
    create(&space, &[set, member("one", ""), member("two", ""), member("invalid", ""), member("looped", "")])
        .await;
    for name in ["one", "two", "invalid", "looped"] {
        space.until(name, "at 50 %", |s| is_ready(s) && s.served.as_deref() == Some("all=50%")).await;
    }
    // One is broken by an edit, one is in a circle: an emergency has to reach both.
    let broken = json!({"spec": {"baseline": {"nobody": 5}}});
    assert_eq!(space.merge("FeatureRollout", "invalid", &broken).await.code, 200);
    space.until("invalid", "stalled", |s| is_stalled(s, "InvalidSpec", "spec.baseline.nobody")).await;
    let depends: Value = serde_saphyr::from_str(cycle).unwrap();
    assert_eq!(space.merge("FeatureRollout", "looped", &json!({"spec": depends})).await.code, 200);
    let back = json!({"spec": {"dependsOn": [{"name": "looped", "condition": "Completed"}]}});
    assert_eq!(space.merge("FeatureRollout", "one", &back).await.code, 200);
    space.until("looped", "stalled", |s| is_stalled(s, "DependencyCycle", "looped → one → looped")).await;

    assert_eq!(space.merge("FlagSet", "app", &json!({"spec": {"emergency": "Control"}})).await.code, 200);
    eventually("every member is at control in the file", async || {
        let file = space.file("app").await.unwrap();
        ["one", "two", "invalid", "looped"].iter().all(|flag| served(&file, flag) == "all=0%")
    })
    .await;
    let file = space.file("app").await.unwrap();
    assert!(!file["flags"]["two"]["targeting"].to_string().contains("enabled"), "{file:#}");
    assert_eq!(file["flags"]["banner"]["defaultVariant"], "a", "static flags stay");
    let two = space.until("two", "paused", |s| is_ready(s) && s.pause(PauseCause::Emergency).is_some()).await;
    assert_eq!(two.cohorts[0].restore.unwrap().to_string(), "50%");
    assert_eq!(condition(&two, "Paused").unwrap().1, "Emergency");
    let invalid = space.until("invalid", "lowered", |s| s.delivered_revision == s.revision).await;
    assert!(is_stalled(&invalid, "InvalidSpec", "nobody"), "{invalid:#?}");
    assert_eq!(invalid.cohorts[0].restore.unwrap().to_string(), "50%");

    // Lifted in a freeze: it stays at control until the freeze goes.
    let lifted = json!({"spec": {"emergency": null, "freezes": [{"name": "calm", "from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}]}});
    assert_eq!(space.merge("FlagSet", "app", &lifted).await.code, 200);
    let two = space.until("two", "lifted", |s| is_ready(s) && s.pauses.is_empty()).await;
    assert_eq!(
        (two.served.as_deref(), two.cohorts[0].restore.map(|r| r.to_string()).as_deref()),
        (Some("all=0%"), Some("50%"))
    );
    assert!(two.waiting_for.unwrap().message.contains("freeze calm"));
    assert_eq!(space.merge("FlagSet", "app", &json!({"spec": {"freezes": null}})).await.code, 200);
    space.until("two", "back", |s| is_ready(s) && s.served.as_deref() == Some("all=50%")).await;
    // The broken one comes back when it is mended, not before.
    assert_eq!(space.status("invalid").await.cohorts[0].served.to_string(), "0%");
    assert_eq!(
        space.merge("FeatureRollout", "invalid", &json!({"spec": {"baseline": null}})).await.code,
        200
    );
    space.until("invalid", "back", |s| is_ready(s) && s.served.as_deref() == Some("all=50%")).await;
}

#[tokio::test]
async fn what_does_not_fit_stays_out_and_lowering_still_works() {
    let space = Space::shared("sets-large").await;
    create(&space, &[object("FlagSet", "app", "{}")]).await;
    let large = |name: &str| {
        let mut rollout = member(name, "");
        let value = |c: &str| json!({"text": c.repeat(100_000)});
        rollout["spec"]["feature"] = json!({"variants": [
            {"name": "enabled", "value": value("e")}, {"name": "disabled", "value": value("d")},
        ]});
        rollout
    };
    for name in ["a", "b", "c", "d"] {
        create(&space, &[large(name)]).await;
        space.until(name, "ready", is_ready).await;
    }
    create(&space, &[large("much"), member("small", "")]).await;
    space.until("much", "too large", |s| is_stalled(s, "PayloadTooLarge", "split the FlagSet")).await;
    space.until("small", "ready", is_ready).await;
    let lower = json!({"spec": {"phases": [{"name": "ga", "ramp": {"percents": [50], "every": "1h"}}], "feature": {"title": "t"}}});
    assert_eq!(space.merge("FeatureRollout", "a", &lower).await.code, 200);
    assert_eq!(space.merge("FlagSet", "app", &json!({"spec": {"emergency": "Control"}})).await.code, 200);
    for name in ["a", "b", "c", "d", "small"] {
        space.until(name, "lowered", |s| is_ready(s) && s.served.as_deref() == Some("all=0%")).await;
    }
    // A neighbour that goes makes room, and the one that waited gets in by itself.
    space.delete("FeatureRollout", "a").await;
    let patch = json!({"spec": {"emergency": null, "prune": ["a"]}});
    assert_eq!(space.merge("FlagSet", "app", &patch).await.code, 200);
    space.until("much", "in", |s| is_ready(s) && s.served.as_deref() == Some("all=50%")).await;
}

#[tokio::test]
async fn no_file_is_made_under_a_name_that_others_of_the_namespace_trust() {
    let space = Space::shared("sets-names").await;
    let outputs = "{outputs: [{configMap: istio-ca-root-cert, key: root-cert.json}]}";
    let alone = object(
        "FeatureRollout",
        "kube-flags",
        "cohorts: [{name: all}]\nphases: [{name: ga, ramp: {percents: [50, 100], every: 1h}}]",
    );
    create(&space, &[object("FlagSet", "app", outputs), member("one", ""), alone]).await;
    for (rollout, map) in [("one", "istio-ca-root-cert"), ("kube-flags", "kube-flags")] {
        let says = format!("ConfigMap {map} may not be made");
        space.until(rollout, "stalled", |status| is_stalled(status, "Forbidden", &says)).await;
        assert!(space.api::<ConfigMap>().get_opt(map).await.unwrap().is_none(), "{map}");
    }
    // Another name is all it takes.
    let renamed = json!({"spec": {"outputs": [{"configMap": "app-flags", "key": "flags.json"}]}});
    assert_eq!(space.merge("FlagSet", "app", &renamed).await.code, 200);
    space.until("one", "ready", is_ready).await;
    assert_eq!(served(&space.file("app-flags").await.unwrap(), "one"), "all=50%");
}

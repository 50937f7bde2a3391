//! What users are told of a feature: by a flag beside the feature's, and in the changelog when the rollout is completed.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use sluice::api::FeatureRollout;
use sluice::flags::{self, File};

use crate::actions::applied;
use crate::flag_sets::{create, edit_map, map, member, set_condition, set_status};
use crate::support::bare::{Running, bare_space};
use crate::support::raw::object;
use crate::support::{Space, eventually, is_ready, is_stalled};

const WORDS: &str = "announcement: {title: Dreams is here, body: Write one down., banner: true}";
const USERS: usize = 300;

fn words() -> Value {
    json!({"title": "Dreams is here", "body": "Write one down.", "banner": true})
}

async fn file(space: &Space) -> File {
    let map = map(space, "app").await;
    flags::parse(&map.data.unwrap()["flags.json"]).unwrap()
}

/// How many users a file gives the feature, each of whom it tells of the feature, and nobody else.
fn told(file: &File) -> usize {
    let users = (0..USERS).map(|user| json!({"targetingKey": format!("user-{user}")}));
    let has = |user: Value| {
        let value = |key| flags::evaluate(file, key, user.as_object().unwrap(), None).unwrap().value;
        let has = value("dreams") == json!(true);
        assert_eq!(value("dreams.announcement"), if has { words() } else { json!({}) }, "{user}");
        has
    };
    users.filter(|user| has(user.clone())).count()
}

fn revisions(raw: &Value) -> (Value, Value) {
    let of = |key: &str| raw["flags"][key]["metadata"]["revision"].clone();
    (of("dreams"), of("dreams.announcement"))
}

async fn served(space: &Space, percentages: &str) -> sluice::api::FeatureRolloutStatus {
    space
        .until("dreams", percentages, |status| {
            status.is_delivered() && status.served.as_deref() == Some(percentages)
        })
        .await
}

#[tokio::test]
async fn a_banner_is_shown_to_those_who_have_the_feature_and_goes_with_it() {
    let space = Space::shared("announced-ramp").await;
    let ramp = "cohorts: [{name: all}]\nphases: [{name: ga, ramp: {percents: [25, 60, 100], every: 1h}}]";
    let dreams = object("FeatureRollout", "dreams", &format!("flagSetRef: {{name: app}}\n{ramp}\n{WORDS}"));
    create(&space, &[object("FlagSet", "app", "{}"), dreams]).await;
    served(&space, "all=25%").await;
    let quarter = told(&file(&space).await);
    assert!((1..USERS).contains(&quarter), "{quarter}");
    applied(&space, "dreams", "on", json!({"action": "Promote"})).await;
    served(&space, "all=60%").await;
    assert!(told(&file(&space).await) > quarter);
    applied(&space, "dreams", "all", json!({"action": "Promote"})).await;
    let full = served(&space, "all=100%").await;
    assert_eq!(told(&file(&space).await), USERS);
    eventually("the set counts it", async || set_status(&space, "app").await.flags == 2).await;

    // Other words are an edit of a text: nobody is raised and nothing begins anew.
    let edit = json!({"spec": {"announcement": {"title": "Dreams, now for all"}}});
    assert_eq!(space.merge("FeatureRollout", "dreams", &edit).await.code, 200);
    let edited = space.until("dreams", "said", |s| is_ready(s) && s.revision > full.revision).await;
    assert_eq!(
        (edited.position, edited.attempt, edited.cohorts),
        (full.position, full.attempt, full.cohorts)
    );
    let raw = space.file("app").await.unwrap();
    assert_eq!(raw["flags"]["dreams.announcement"]["variants"]["enabled"]["title"], "Dreams, now for all");
    let back = json!({"spec": {"announcement": {"title": "Dreams is here"}}});
    assert_eq!(space.merge("FeatureRollout", "dreams", &back).await.code, 200);
    space.until("dreams", "said", |s| is_ready(s) && s.revision > edited.revision).await;

    applied(&space, "dreams", "back", json!({"action": "Rollback"})).await;
    let status = served(&space, "all=0%").await;
    assert_eq!(told(&file(&space).await), 0);
    let raw = space.file("app").await.unwrap();
    assert_eq!(revisions(&raw), (json!(status.revision), json!(status.revision)), "by one revision");

    let none = json!({"spec": {"announcement": null}});
    assert_eq!(space.merge("FeatureRollout", "dreams", &none).await.code, 200);
    space.until("dreams", "silent", |s| s.is_delivered() && s.revision > status.revision).await;
    let raw = space.file("app").await.unwrap();
    assert!(raw["flags"].as_object().unwrap().keys().eq(["dreams"]));
}

#[tokio::test]
async fn an_announcements_key_is_refused_where_it_is_another_flags() {
    let space = Space::shared("announced-keys").await;
    create(&space, &[object("FlagSet", "app", "{}"), member("dreams", WORDS)]).await;
    space.until("dreams", "ready", is_ready).await;
    create(&space, &[member("later", "feature: {key: dreams.announcement}")]).await;
    let says = "is the key of the announcement of the older rollout dreams";
    space.until("later", "stalled", |status| is_stalled(status, "KeyConflict", says)).await;
    // The announcement goes, and the key is free.
    let none = json!({"spec": {"announcement": null}});
    assert_eq!(space.merge("FeatureRollout", "dreams", &none).await.code, 200);
    space.until("later", "ready", is_ready).await;
    // It comes back to find users on that flag: they keep it, and a rollback of the feature does not wait for words.
    let again = json!({"spec": {"announcement": {"title": "Dreams is here"}}});
    assert_eq!(space.merge("FeatureRollout", "dreams", &again).await.code, 200);
    let says = "spec.announcement: its flag \"dreams.announcement\" belongs to rollout later of FlagSet app";
    space.until("dreams", "stalled", |status| is_stalled(status, "KeyConflict", says)).await;
    space.until("later", "ready", is_ready).await;
    applied(&space, "dreams", "back", json!({"action": "Rollback"})).await;
    let dreams =
        space.until("dreams", "at control", |status| status.served.as_deref() == Some("all=0%")).await;
    assert_eq!(dreams.delivered_revision, dreams.revision);
    let raw = space.file("app").await.unwrap();
    assert_eq!(raw["flags"]["dreams.announcement"]["metadata"]["rollout"], "announced-keys/later");
    assert_eq!(space.delete("FeatureRollout", "later").await.code, 200);
    let says = "is in the file as the flag of rollout later, which is gone: name it in spec.prune";
    space.until("dreams", "stalled", |status| is_stalled(status, "KeyConflict", says)).await;
    let prune = json!({"spec": {"prune": ["dreams.announcement"]}});
    assert_eq!(space.merge("FlagSet", "app", &prune).await.code, 200);
    eventually("the announcement is in the file", async || {
        let raw = space.file("app").await.unwrap();
        raw["flags"]["dreams.announcement"]["metadata"]["announces"] == "dreams"
    })
    .await;

    let fixed = json!({"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"});
    let flags = json!({"spec": {"prune": null, "flags": {"dreams.announcement": fixed}}});
    assert_eq!(space.merge("FlagSet", "app", &flags).await.code, 200);
    let says = "spec.announcement: its flag \"dreams.announcement\" is a static flag of FlagSet app";
    space.until("dreams", "stalled", |status| is_stalled(status, "KeyConflict", says)).await;
    eventually("the static flag is served", async || {
        space.file("app").await.unwrap()["flags"]["dreams.announcement"]["variants"]["a"] == 1
    })
    .await;
}

/// A member of FlagSet `app` that is completed a second after it began.
fn quick(name: &str) -> Value {
    let phases = "phases: [{name: ga, ramp: {percents: [100], every: 1s}}]";
    let told = format!("announcement: {{title: {name} is here, link: 'https://example.com/{name}'}}");
    let spec = format!("flagSetRef: {{name: app}}\ncohorts: [{{name: all}}]\n{phases}\n{told}");
    object("FeatureRollout", name, &spec)
}

const SET: &str = "{changelog: {configMap: app-news, title: What is new}}";

/// The titles of the changelog, the newest first, each with whether it was taken back; nothing while there is none.
async fn titles(space: &Space) -> Option<Vec<(String, bool)>> {
    let map = space.api::<ConfigMap>().get_opt("app-news").await.unwrap()?;
    let data = map.data?;
    let json: Value = serde_json::from_str(data.get("changelog.json")?).ok()?;
    let entries = json["entries"].as_array()?;
    let titles: Vec<(String, bool)> = entries
        .iter()
        .map(|entry| (entry["title"].as_str().unwrap().to_owned(), entry.get("withdrawnAt").is_some()))
        .collect();
    assert_eq!(data["changelog.atom"].matches("<entry>").count(), titles.len());
    assert!(data["changelog.md"].starts_with("# What is new\n"));
    assert!(titles.iter().all(|(title, _)| data["changelog.md"].contains(title)));
    Some(titles)
}

async fn until_told(space: &Space, expected: &[(&str, bool)]) {
    let expected: Vec<(String, bool)> =
        expected.iter().map(|(name, gone)| (format!("{name} is here"), *gone)).collect();
    eventually(&format!("{expected:?}"), async || titles(space).await.as_ref() == Some(&expected)).await;
}

#[tokio::test]
async fn the_changelog_grows_once_for_each_completion_and_outlives_controllers_and_edits() {
    let space = bare_space("announced-changelog").await;
    let controller = Running::in_space(&space).await;
    create(&space, &[object("FlagSet", "app", SET)]).await;
    until_told(&space, &[]).await;
    create(&space, &[quick("first")]).await;
    until_told(&space, &[("first", false)]).await;
    eventually("the set says so", async || {
        let said = set_condition(&set_status(&space, "app").await, "Changelog");
        said == "True Written 1 entries in ConfigMap app-news"
    })
    .await;
    controller.stop().await;

    let before = map(&space, "app-news").await;
    let controller = Running::in_space(&space).await;
    create(&space, &[quick("second")]).await;
    until_told(&space, &[("second", false), ("first", false)]).await;
    let atom = |map: &ConfigMap| map.data.clone().unwrap()["changelog.atom"].clone();
    let entry =
        |atom: &str| atom.split("<entry>").find(|entry| entry.contains("first is here")).unwrap().to_owned();
    let now = map(&space, "app-news").await;
    let is_same = entry(&atom(&now))
        .trim_end()
        .starts_with(entry(&atom(&before)).trim_end().trim_end_matches("</feed>").trim_end());
    assert!(is_same, "the first one's entry has stayed as it was");

    // Whoever edits or deletes it gets what the living rollouts tell; what others keep there stays.
    edit_map(&space, "app-news", json!({"data": {"changelog.json": "{}", "notes": "ours"}})).await;
    until_told(&space, &[("second", false), ("first", false)]).await;
    assert_eq!(map(&space, "app-news").await.data.unwrap()["notes"], "ours");
    space.api::<ConfigMap>().delete("app-news", &DeleteParams::default()).await.unwrap();
    until_told(&space, &[("second", false), ("first", false)]).await;

    // One that is gone keeps its entry, one that is taken back says so, and comes back when it is completed again.
    assert_eq!(space.delete("FeatureRollout", "first").await.code, 200);
    eventually("first is gone", async || {
        space.api::<FeatureRollout>().get_opt("first").await.unwrap().is_none()
    })
    .await;
    applied(&space, "second", "back", json!({"action": "Rollback"})).await;
    until_told(&space, &[("second", true), ("first", false)]).await;
    applied(&space, "second", "again", json!({"action": "Retry"})).await;
    until_told(&space, &[("second", false), ("first", false)]).await;

    // Nothing to say is nothing to write.
    let settled = map(&space, "app-news").await;
    create(&space, &[member("other", "")]).await;
    space.until("other", "ready", is_ready).await;
    create(&space, &[quick("third")]).await;
    until_told(&space, &[("third", false), ("second", false), ("first", false)]).await;
    let now = map(&space, "app-news").await;
    let fields = |map: &ConfigMap| map.metadata.resource_version.clone();
    assert_ne!(fields(&settled), fields(&now));
    controller.stop().await;
}

#[tokio::test]
async fn a_strangers_config_map_is_no_changelog_and_holds_nothing_up() {
    let space = Space::shared("announced-stranger").await;
    let strangers: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "app-news"}, "data": {"changelog.md": "theirs"}}))
            .unwrap();
    let theirs = space.api::<ConfigMap>().create(&PostParams::default(), &strangers).await.unwrap();
    create(&space, &[object("FlagSet", "app", SET), quick("first")]).await;
    let said = async || set_condition(&set_status(&space, "app").await, "Changelog");
    eventually("the set says so", async || {
        said().await.starts_with("False Conflict ConfigMap app-news belongs to nobody that Sluice knows")
    })
    .await;
    space.until("first", "completed", |status| is_ready(status) && status.completed_at.is_some()).await;
    eventually("the set is well otherwise", async || {
        set_condition(&set_status(&space, "app").await, "Ready").starts_with("True Written")
    })
    .await;
    let now = map(&space, "app-news").await;
    assert_eq!(now.metadata.resource_version, theirs.metadata.resource_version, "untouched");
    space.api::<ConfigMap>().delete("app-news", &DeleteParams::default()).await.unwrap();
    until_told(&space, &[("first", false)]).await;

    // The flags' own ConfigMap is none, either, nor one under a name that others trust.
    for (name, says) in [
        ("app", "False InvalidSpec spec.changelog.configMap: ConfigMap app holds the flags"),
        ("kube-news", "False Forbidden ConfigMap kube-news may not be made"),
    ] {
        let renamed = json!({"spec": {"changelog": {"configMap": name}}});
        assert_eq!(space.merge("FlagSet", "app", &renamed).await.code, 200);
        eventually(says, async || said().await.starts_with(says)).await;
    }
    assert!(map(&space, "app").await.data.unwrap().keys().eq(["flags.json"]));
    let none = json!({"spec": {"changelog": null}});
    assert_eq!(space.merge("FlagSet", "app", &none).await.code, 200);
    eventually("nothing is said of none", async || said().await.is_empty()).await;
    assert_eq!(titles(&space).await.map(|titles| titles.len()), Some(1), "what was written stays");
}

#[tokio::test]
async fn words_that_cannot_be_shown_are_refused() {
    let space = Space::shared("announced-refused").await;
    for (words, says) in [
        (json!({"title": ""}), "title"),
        (json!({"title": "a\nb"}), "title"),
        (json!({"title": "x".repeat(201)}), "title"),
        (json!({"title": "a", "body": "x".repeat(2001)}), "body"),
        (json!({"title": "a", "link": "javascript:alert(1)"}), "link"),
        (json!({"title": "a", "link": "https://a b"}), "link"),
        (json!({"body": "a"}), "title"),
    ] {
        let mut rollout = quick("words");
        rollout["spec"]["announcement"] = words.clone();
        let answer = space.create(&rollout).await;
        assert_eq!(answer.code, 422, "{words}");
        assert!(answer.message().contains(&format!("spec.announcement.{says}")), "{}", answer.message());
    }
    let own = "{outputs: [{configMap: news}], changelog: {configMap: news}}";
    let answer = space.create(&object("FlagSet", "own", own)).await;
    assert!(
        answer.code == 422 && answer.message().contains("a ConfigMap of its own"),
        "{}",
        answer.message()
    );
}

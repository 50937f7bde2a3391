//! Whoever may write in one namespace fills no more memory than that namespace may take: the oldest objects are worked on, the youngest
//! beyond that say why they are not, and everybody else goes on.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use sluice::api::{FeatureRollout, FlagSet};
use sluice::controller::{Housekeeping, Options};

use crate::flag_sets::{create, edit_map, served, set_condition, set_status};
use crate::support::bare::{Running, bare_space};
use crate::support::proxy::Proxy;
use crate::support::raw::object;
use crate::support::{LOOKS, Space, eventually, is_ready, is_stalled, pause};

mod beyond;

/// MiB for each namespace: a quarter of one for FlagSets, a half for files, one and a half for rollouts, three quarters for what is measured.
const MEMORY: u32 = 4;

async fn controller(space: &Space) -> Running {
    let options = Options { namespace_memory: MEMORY, ..Options::default() };
    Running::as_told(Proxy::start(space.client.clone(), &space.name).await.config(), options)
}

/// Text that does not compress.
fn noise(seed: u64, bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.alphanumeric()).take(bytes).collect()
}

/// A FlagSet of so many bytes.
fn full(name: &str, seed: u64, bytes: usize) -> Value {
    let flags =
        json!({"noise": {"state": "ENABLED", "variants": {"a": noise(seed, bytes)}, "defaultVariant": "a"}});
    let mut set = object("FlagSet", name, "{}");
    set["spec"] = json!({"flags": flags});
    set
}

/// A rollout with an annotation of so many bytes.
fn large(name: &str, seed: u64, bytes: usize, more: &str) -> Value {
    let mut rollout = object(
        "FeatureRollout",
        name,
        &format!(
            "{more}\ncohorts: [{{name: all}}]\nphases: [{{name: ga, steps: [{{cohorts: {{all: 50}}, hold: 1000h}}]}}]"
        ),
    );
    rollout["metadata"]["annotations"] = json!({"example.com/noise": noise(seed, bytes)});
    rollout
}

async fn until_beyond(space: &Space, names: &[&str]) {
    for name in names {
        eventually(&format!("{name} is beyond the share"), async || {
            let status = set_status(space, name).await;
            set_condition(&status, "Stalled").contains("NamespaceFull")
        })
        .await;
    }
}

async fn roll_back(space: &Space, rollout: &str) {
    let action = object(
        "RolloutAction",
        &format!("back-{rollout}"),
        &format!("rolloutRef: {{name: {rollout}}}\naction: Rollback\nreason: a test"),
    );
    create(space, &[action]).await;
}

async fn until_serves(space: &Space, file: &str, flag: &str, what: &str) {
    let mut last = String::new();
    for _ in 0..LOOKS {
        last = served(&space.file(file).await.unwrap_or_default(), flag);
        if last.contains(what) {
            return;
        }
        pause(50).await;
    }
    panic!("{flag} in {file} never served {what}, but {last}");
}

#[tokio::test]
async fn the_youngest_flag_sets_beyond_the_share_of_their_namespace_wait_and_the_others_go_on() {
    let space = bare_space("share-of-sets").await;
    let running = controller(&space).await;
    let names = ["set-0", "set-1", "set-2", "set-3", "set-4"];
    // Each costs some 76 KB of 262.
    for (seed, name) in (0_u64..).zip(names) {
        let member = large(&format!("of-{name}"), seed, 10, &format!("flagSetRef: {{name: {name}}}"));
        create(&space, &[full(name, seed, 22_000), member]).await;
    }
    for name in &names[..3] {
        space.until(&format!("of-{name}"), "ready", is_ready).await;
    }
    until_beyond(&space, &names[3..]).await;
    let stalled = set_condition(&set_status(&space, "set-4").await, "Stalled");
    assert!(stalled.contains("FlagSet objects of namespace share-of-sets need more than"), "{stalled}");
    // Their rollouts say so, and nothing is served that nobody keeps.
    space.until("of-set-4", "stalled", |status| is_stalled(status, "NamespaceFull", "FlagSet set-4: ")).await;
    assert_eq!(space.file("set-4").await, None);
    // A rollback of an older one is in its file.
    roll_back(&space, "of-set-0").await;
    space.until("of-set-0", "rolled back", |status| status.rollback.is_some()).await;

    // Another process keeps the same ones, whatever it hears of first.
    let mut before = BTreeSet::new();
    eventually("all is written", async || {
        let now = versions(&space).await;
        let is_quiet = std::mem::replace(&mut before, now.clone()) == now;
        pause(1_000).await;
        is_quiet
    })
    .await;
    running.stop().await;
    let running = controller(&space).await;
    pause(2_000).await;
    assert_eq!(versions(&space).await, before, "nothing is news to it");

    // One that goes makes room for the oldest that waits, and for its rollout.
    assert_eq!(space.delete("FeatureRollout", "of-set-1").await.code, 200);
    assert_eq!(space.delete("FlagSet", "set-1").await.code, 200);
    space.until("of-set-3", "ready", is_ready).await;
    assert!(served(&space.file("set-3").await.unwrap(), "of-set-3").contains("all=50%"));
    until_beyond(&space, &["set-4"]).await;
    // One that was beyond and becomes small is worked on.
    assert_eq!(space.merge("FlagSet", "set-4", &json!({"spec": {"flags": {"noise": null}}})).await.code, 200);
    space.until("of-set-4", "ready", is_ready).await;
    running.stop().await;
}

/// The versions of all FlagSets and rollouts.
async fn versions(space: &Space) -> BTreeSet<Option<String>> {
    let sets = space.api::<FlagSet>().list_metadata(&Default::default()).await.unwrap();
    let rollouts = space.api::<FeatureRollout>().list_metadata(&Default::default()).await.unwrap();
    let sets = sets.items.into_iter().map(|set| set.metadata.resource_version);
    sets.chain(rollouts.items.into_iter().map(|rollout| rollout.metadata.resource_version)).collect()
}

#[tokio::test]
async fn a_rollout_beyond_the_share_is_stalled_goes_when_it_is_deleted_and_goes_on_when_there_is_room() {
    let space = bare_space("share-of-rollouts").await;
    let running = controller(&space).await;
    // Each costs some 420 KB of 1,570: twice its text.
    for index in 0..3 {
        create(&space, &[large(&format!("r{index}"), index, 200_000, "")]).await;
    }
    for name in ["r0", "r1", "r2"] {
        space.until(name, "ready", is_ready).await;
    }
    create(&space, &[large("r3", 3, 200_000, ""), large("r4", 4, 200_000, "deletionPolicy: Remove")]).await;
    for name in ["r3", "r4"] {
        let status = space
            .until(name, "stalled", |status| is_stalled(status, "NamespaceFull", "--namespace-memory"))
            .await;
        assert_eq!((status.revision, space.file(name).await), (0, None));
    }
    // Nothing holds the deletion of one back that is not worked on.
    assert_eq!(
        space
            .merge(
                "FeatureRollout",
                "r4",
                &json!({"metadata": {"finalizers": ["sluice.dev/flag", "example.com/other"]}})
            )
            .await
            .code,
        200
    );
    assert_eq!(space.delete("FeatureRollout", "r4").await.code, 200);
    eventually("only the finalizer of somebody else is left", async || {
        let left = space.api::<FeatureRollout>().get("r4").await.unwrap().metadata.finalizers;
        left.is_some_and(|left| left == ["example.com/other"])
    })
    .await;
    assert_eq!(
        space.merge("FeatureRollout", "r4", &json!({"metadata": {"finalizers": null}})).await.code,
        200
    );
    // A rollback of an older one is done as ever.
    roll_back(&space, "r1").await;
    until_serves(&space, "r1", "r1", "all=0%").await;
    // So is that of one that serves something and is beyond the share since others grew.
    for (seed, name) in [(10, "r0"), (11, "r1"), (12, "r2")] {
        let larger = json!({"metadata": {"annotations": {"example.com/noise": noise(seed, 255_000)}}});
        assert_eq!(space.merge("FeatureRollout", name, &larger).await.code, 200);
    }
    space.until("r2", "stalled", |status| is_stalled(status, "NamespaceFull", "")).await;
    until_serves(&space, "r2", "r2", "all=50%").await;
    roll_back(&space, "r2").await;
    until_serves(&space, "r2", "r2", "all=0%").await;
    // The older ones become smaller, and the youngest begins.
    let smaller = json!({"metadata": {"annotations": {"example.com/noise": null}}});
    for name in ["r0", "r1", "r2"] {
        assert_eq!(space.merge("FeatureRollout", name, &smaller).await.code, 200);
    }
    space.until("r3", "ready", is_ready).await;
    until_serves(&space, "r3", "r3", "all=50%").await;
    running.stop().await;
}

#[tokio::test]
async fn files_beyond_the_share_are_read_when_they_are_needed() {
    let space = bare_space("share-of-files").await;
    let running = controller(&space).await;
    let names: Vec<String> = (0..6).map(|index| format!("f{index}")).collect();
    for (seed, name) in (0_u64..).zip(&names) {
        create(&space, &[large(name, seed, 10, "")]).await;
        space.until(name, "ready", is_ready).await;
        // What somebody else keeps in the same ConfigMap stays there.
        edit_map(&space, name, json!({"data": {"other": noise(seed, 200_000)}})).await;
    }
    for name in &names {
        // An edit by hand is put right, and a rollback arrives, whether there is room for the file or not.
        edit_map(&space, name, json!({"data": {"flags.json": "{}"}})).await;
        until_serves(&space, name, name, "all=50%").await;
        roll_back(&space, name).await;
        until_serves(&space, name, name, "all=0%").await;
        let map = space.api::<ConfigMap>().get(name).await.unwrap();
        assert_eq!(map.data.unwrap()["other"].len(), 200_000);
    }
    running.stop().await;
}

/// A rollout in the FlagSet with as many conditions as it may have, which take more than a hundred KB of memory where they are rendered.
fn wordy(name: &str) -> Value {
    let attributes = |group: usize, count: usize| -> serde_json::Map<String, Value> {
        (0..count).map(|a| (format!("a{group}x{a}"), json!("v"))).collect()
    };
    let groups: Vec<Value> = (0..6).map(|group| json!({"attributes": attributes(group, 8)})).collect();
    let cohorts = json!([{"name": "c0", "match": {"attributes": attributes(9, 16), "anyOf": groups}}]);
    let mut rollout = object(
        "FeatureRollout",
        name,
        "flagSetRef: {name: app}\nphases: [{name: ga, steps: [{cohorts: {c0: 50}, hold: 1000h}]}]",
    );
    rollout["spec"]["cohorts"] = cohorts;
    rollout
}

#[tokio::test]
async fn of_many_flags_that_find_no_room_in_their_file_few_wait_and_all_come_in_when_there_is_room() {
    let space = bare_space("share-of-waiting").await;
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let count = Duration::from_millis(100);
    let housekeeping = Housekeeping { count, ..Housekeeping::default() };
    let options = Options { address: Some(address), housekeeping, ..Options::default() };
    let running = Running::as_told(Proxy::start(space.client.clone(), &space.name).await.config(), options);
    let mut set = object("FlagSet", "app", "{}");
    let flag = json!({"state": "ENABLED", "variants": {"a": noise(1, 993_000)}, "defaultVariant": "a"});
    set["spec"] = json!({"flags": {"noise": flag}});
    create(&space, &[set]).await;
    let names: Vec<String> = (0..40).map(|index| format!("w{index:02}")).collect();
    for name in &names {
        create(&space, &[wordy(name)]).await;
    }
    for name in &names {
        space.until(name, "without room", |status| is_stalled(status, "PayloadTooLarge", "")).await;
    }
    let put_off = async || {
        let answer = reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap();
        let line = answer.lines().find_map(|line| line.strip_prefix("sluice_entries{of=\"put_off\"} "));
        line.map_or(0, |count| count.parse::<usize>().unwrap())
    };
    eventually("most are put off", async || put_off().await >= 5).await;
    // What lowers goes on, and so do those that wait.
    assert_eq!(space.merge("FlagSet", "app", &json!({"spec": {"flags": {"noise": null}}})).await.code, 200);
    for name in &names {
        space.until(name, "ready", is_ready).await;
    }
    let file = space.file("app").await.unwrap();
    assert!(names.iter().all(|name| served(&file, name).contains("c0=50%")), "{file:#}");
    eventually("nobody is put off any more", async || put_off().await == 0).await;
    running.stop().await;
}

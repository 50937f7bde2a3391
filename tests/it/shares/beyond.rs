//! What lowers a rollout is done although its namespace has more objects than it may have in memory; nothing is raised.

use std::time::Duration;

use serde_json::{Value, json};
use sluice::api::rolloutaction::Answer;
use sluice::api::{FeatureRollout, RolloutAction, RolloutActionStatus};
use sluice::controller::Options;

use super::{MEMORY, controller, full, large, noise, roll_back, until_beyond, until_serves};
use crate::flag_sets::{create, edit_map};
use crate::support::bare::{Recorded, Running, bare_space};
use crate::support::metrics::{Measured, verdict};
use crate::support::raw::object;
use crate::support::{Space, eventually, is_ready, is_stalled, pause};

/// A rollout of a few hundred bytes at 50 % of everybody.
fn small(name: &str, more: &str) -> Value {
    large(name, 0, 10, more)
}

fn fillers() -> [&'static str; 3] {
    ["a0", "a1", "a2"]
}

/// Makes the oldest rollouts so large that every other one is beyond the share, or small again.
async fn fill(space: &Space, bytes: usize) {
    for (seed, name) in (100_u64..).zip(fillers()) {
        let filled = json!({"metadata": {"annotations": {"example.com/noise": noise(seed, bytes)}}});
        assert_eq!(space.merge("FeatureRollout", name, &filled).await.code, 200);
    }
}

async fn until_beyond_share(space: &Space, names: &[&str]) {
    for name in names {
        let stalled = |status: &_| is_stalled(status, "NamespaceFull", "only what lowers is done");
        space.until(name, "beyond the share", stalled).await;
    }
}

/// The answer to an action.
async fn ask(space: &Space, name: &str, spec: &str) -> RolloutActionStatus {
    create(space, &[object("RolloutAction", name, &format!("{spec}\nreason: a test"))]).await;
    let mut status = RolloutActionStatus::default();
    eventually("it is answered", async || {
        status = space.api::<RolloutAction>().get(name).await.unwrap().status.unwrap_or_default();
        status.answer.is_some()
    })
    .await;
    status
}

async fn edit(space: &Space, name: &str, percent: u32) {
    let phases = json!([{"name": "ga", "steps": [{"cohorts": {"all": percent}, "hold": "1000h"}]}]);
    let answer = space.merge("FeatureRollout", name, &json!({"spec": {"phases": phases}})).await;
    assert_eq!(answer.code, 200, "{}", answer.message());
}

#[tokio::test]
async fn triggers_edits_actions_and_deletions_lower_what_is_beyond_the_share() {
    let world = Measured::start("share-lowers").await;
    let space = &world.space;
    let options = || Options { namespace_memory: MEMORY, policy_settling: Duration::ZERO, ..world.options() };
    let running = Running::as_told(world.proxy.config(), options());
    for name in fillers() {
        create(space, &[small(name, "")]).await;
    }
    world
        .apply_rollout(
            r#"
  triggers:
  - name: error-rate
    metric: {templateRef: {name: errors}}
    interval: 1s
    levels: [{severity: Critical, above: "10", for: 3s, action: ImmediateRollback}]
"#,
        )
        .await;
    create(space, &[small("edited", ""), small("left", "deletionPolicy: Control"), small("set", "")]).await;
    for name in ["edited", "left", "set"] {
        space.until(name, "ready", is_ready).await;
    }
    world.until("passing", |status| verdict(status, "error-rate", "") == Some("Pass")).await;
    eventually("the step is in the file", async || world.file().await == Some((100.0, 50.0))).await;

    fill(space, 255_000).await;
    until_beyond_share(space, &["dreams", "edited", "left", "set"]).await;
    let seen = Recorded::start(space, "edited");
    // In git: down at once, and up not at all.
    edit(space, "edited", 20).await;
    until_serves(space, "edited", "edited", "all=20%").await;
    edit(space, "edited", 90).await;
    // By people.
    let of_set = "rolloutRef: {name: set}\naction: SetPercent";
    let raised = ask(space, "up", &format!("{of_set}\nsetPercent: {{all: 60}}")).await;
    assert_eq!(raised.answer, Some(Answer::Rejected), "{raised:?}");
    assert!(raised.message.as_deref().unwrap_or_default().contains("need more than"), "{raised:?}");
    let lowered = ask(space, "down", &format!("{of_set}\nsetPercent: {{all: 5}}")).await;
    assert_eq!(lowered.answer, Some(Answer::Applied), "{lowered:?}");
    // An answer that speaks of percentages comes once apps have them.
    assert!(lowered.message.unwrap_or_default().ends_with("the file holds it"));
    until_serves(space, "set", "set", "all=5%").await;
    // By deletion, which ends.
    assert_eq!(space.delete("FeatureRollout", "left").await.code, 200);
    until_serves(space, "left", "left", "all=0%").await;
    eventually("it is gone", async || space.api::<FeatureRollout>().get_opt("left").await.unwrap().is_none())
        .await;
    // By metrics, also for a process that has never known it otherwise.
    running.stop().await;
    let running = Running::as_told(world.proxy.config(), options());
    world.app.set_error_percent(20.0);
    world.until("rolled back", |status| status.rollback.is_some()).await;
    eventually("the file is at control", async || world.file().await == Some((0.0, 0.0))).await;
    let status = space.status("dreams").await;
    assert_eq!(status.history.last().unwrap().who, "trigger/error-rate");
    assert_eq!(seen.of("edited").last().unwrap().1["all"], 20.0, "nothing was raised");

    // Where there is room again all of it is done.
    fill(space, 10).await;
    until_serves(space, "edited", "edited", "all=90%").await;
    for name in ["edited", "set"] {
        space.until(name, "ready", is_ready).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn an_emergency_of_a_flag_set_that_is_beyond_the_share_takes_its_rollouts_to_control() {
    let space = bare_space("share-emergency").await;
    let running = controller(&space).await;
    let static_flag = json!({"state": "ENABLED", "variants": {"a": true, "b": false}, "defaultVariant": "a"});
    for name in ["s0", "s1", "s2", "s3"] {
        let mut set = object("FlagSet", name, "{}");
        set["spec"] = json!({"flags": {"always": static_flag}});
        create(&space, &[set, small(&format!("of-{name}"), &format!("flagSetRef: {{name: {name}}}"))]).await;
    }
    space.until("of-s3", "ready", is_ready).await;
    // The older ones grow.
    for (seed, name) in [(1, "s0"), (2, "s1"), (3, "s2")] {
        let grown = json!({"spec": full(name, seed, 35_000)["spec"]});
        assert_eq!(space.merge("FlagSet", name, &grown).await.code, 200);
    }
    until_beyond(&space, &["s3"]).await;
    space
        .until("of-s3", "told", |status| is_stalled(status, "NamespaceFull", "FlagSet s3: the FlagSet"))
        .await;
    // What somebody edits by hand is put right all the same.
    edit_map(&space, "s3", json!({"data": {"flags.json": "{}"}})).await;
    until_serves(&space, "s3", "of-s3", "all=50%").await;
    assert_eq!(space.file("s3").await.unwrap()["flags"]["always"]["defaultVariant"], "a");

    let emergency = |value: Value| json!({"spec": {"emergency": value}});
    assert_eq!(space.merge("FlagSet", "s3", &emergency(json!("Control"))).await.code, 200);
    until_serves(&space, "s3", "of-s3", "all=0%").await;
    // Its end raises, which has to wait for room.
    assert_eq!(space.merge("FlagSet", "s3", &emergency(Value::Null)).await.code, 200);
    pause(1_500).await;
    until_serves(&space, "s3", "of-s3", "all=0%").await;
    assert_eq!(space.file("s3").await.unwrap()["flags"]["always"]["defaultVariant"], "a");
    for name in ["s0", "s1"] {
        assert_eq!(
            space.merge("FlagSet", name, &json!({"spec": {"flags": {"noise": null}}})).await.code,
            200
        );
    }
    until_serves(&space, "s3", "of-s3", "all=50%").await;
    running.stop().await;
}

/// A rollout with as many triggers as it may have, of which nothing can be measured.
fn measured(name: &str) -> Value {
    let triggers: Vec<Value> = (0..16)
        .map(|index| {
            json!({
                "name": format!("t{index}"),
                "metric": {"templateRef": {"name": "nothing"}},
                "interval": "1h",
                "levels": [{"severity": "Critical", "above": "10", "for": "3h", "action": "ImmediateRollback"}],
            })
        })
        .collect();
    let mut rollout = small(name, "");
    rollout["spec"]["triggers"] = json!(triggers);
    rollout
}

#[tokio::test]
async fn of_triggers_beyond_the_share_the_youngest_are_not_measured_and_their_rollouts_say_so() {
    let space = bare_space("share-of-triggers").await;
    let running = controller(&space).await;
    // Sixteen series take some 75 KB of the 786.
    let names: Vec<String> = (0..16).map(|index| format!("m{index:02}")).collect();
    create(&space, &[small("m", "")]).await;
    for name in &names {
        create(&space, &[measured(name)]).await;
    }
    for name in ["m00", "m05"] {
        space.until(name, "begun", |status| status.revision > 0).await;
    }
    let why = "its triggers and criteria are not measured";
    for name in ["m14", "m15"] {
        let status = space.until(name, "told", |status| is_stalled(status, "NamespaceFull", why)).await;
        assert_eq!((status.revision, space.file(name).await), (0, None));
    }
    // One that has begun stays where it is when an older one takes its room, and can be rolled back.
    let kept: Vec<&String> = {
        let mut kept = Vec::new();
        for name in &names {
            if space.status(name).await.revision > 0 {
                kept.push(name);
            }
        }
        kept
    };
    let last = kept[kept.len() - 1].as_str();
    let triggers = json!({"spec": {"triggers": measured("x")["spec"]["triggers"]}});
    let answer = space.merge("FeatureRollout", "m", &triggers).await;
    assert_eq!(answer.code, 200, "{}", answer.message());
    space.until(last, "told", |status| is_stalled(status, "NamespaceFull", why)).await;
    roll_back(&space, last).await;
    until_serves(&space, last, last, "all=0%").await;
    // Room for everybody.
    for name in &names[..8] {
        assert_eq!(space.delete("FeatureRollout", name).await.code, 200);
    }
    for name in ["m14", "m15"] {
        space.until(name, "begun", |status| status.revision > 0).await;
    }
    running.stop().await;
}

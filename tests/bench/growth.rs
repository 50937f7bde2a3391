//! What one edit costs the controller, by the number of flags in its file, of cohorts, and of entries in its history.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sluice::api::FeatureRollout;
use sluice::clock;

use crate::controller::Controller;
use crate::figures::Figures;
use crate::steps::number;
use crate::thousand::until_ready;
use crate::world::{World, rollout};

/// What is drawn.
pub const DRAWN: &[&str] = &[CPU];
const CPU: &str = "CPU of an edit until it is Ready";
/// Flags in a file.
const FLAGS: [usize; 5] = [1, 50, 100, 200, 400];
/// Cohorts of a rollout; the schema admits no more.
const COHORTS: [usize; 5] = [1, 4, 8, 12, 16];
/// Entries of a history, each of which an edit has added. It has no more than the last.
const ENTRIES: [usize; 5] = [1, 5, 10, 15, 20];
/// Edits for a figure: the kernel counts CPU in hundredths of a second.
const EDITS: usize = 40;
/// From one edit to the next in one file: longer than the spacing of its writes; and of files of their own.
const APART: Duration = Duration::from_millis(250);
const APART_ALONE: Duration = Duration::from_millis(50);
/// Until the controller has nothing left to do.
const SETTLED: Duration = Duration::from_secs(3);

/// Measures.
pub async fn run(world: &World, figures: &mut Figures) {
    let controller = world.controller().await;
    let mut created = 0;
    for cohorts in COHORTS {
        let names: Vec<String> = (0..EDITS).map(|index| format!("cohorts-{cohorts}-{index:02}")).collect();
        world.create(names.iter().map(|name| with_cohorts(name, cohorts))).await;
        created += EDITS;
        settle(world, created).await;
        let cost = edits(world, &controller, &names, APART_ALONE, |_| 2).await;
        note(figures, "cohorts", cohorts, cost);
    }
    let names: Vec<String> = (0..EDITS).map(|index| format!("history-{index:02}")).collect();
    world.create(names.iter().map(|name| rollout(name, None, &steps(1)))).await;
    created += EDITS;
    settle(world, created).await;
    let mut entries = entries_of(world, &names[0]).await;
    let mut percent = 1;
    for wanted in ENTRIES {
        // The one that makes the last of them is measured.
        let cost = loop {
            percent += 1;
            let cost = edits(world, &controller, &names, APART_ALONE, |_| percent).await;
            let before = std::mem::replace(&mut entries, entries_of(world, &names[0]).await);
            if entries >= wanted || entries == before {
                break cost;
            }
        };
        note(figures, "entries in the history", entries, cost);
    }
    for flags in FLAGS {
        let set = format!("flags-{flags}");
        world.create_flag_set(&set).await;
        let name = |index: usize| format!("{set}-{index:03}");
        world.create((0..flags).map(|index| rollout(&name(index), Some(&set), &steps(1)))).await;
        created += flags;
        settle(world, created).await;
        let edited: Vec<String> = (0..EDITS).map(|index| name(index % flags)).collect();
        let cost = edits(world, &controller, &edited, APART, |nth| 2 + nth / flags).await;
        note(figures, "flags in a file", flags, cost);
    }
    figures.of_nothing();
}

fn note(figures: &mut Figures, what: &'static str, count: usize, cost: f64) {
    eprintln!("growth: {count} {what}: {cost:.2} ms");
    figures.of(what, count);
    figures.add("growth", CPU, None, cost, "ms");
}

async fn settle(world: &World, rollouts: usize) {
    until_ready(world, rollouts).await;
    clock::sleep(SETTLED).await;
}

/// Milliseconds of CPU for each edit of these, one after the other, to a percentage each.
async fn edits(
    world: &World,
    controller: &Controller,
    names: &[String],
    apart: Duration,
    percent: impl Fn(usize) -> usize,
) -> f64 {
    let before = controller.cpu_seconds();
    for (nth, name) in names.iter().enumerate() {
        let spec = json!({"spec": {"phases": [{"name": "ga", "steps": steps(percent(nth))}]}});
        world.rollouts().patch(name, &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
        clock::sleep(apart).await;
    }
    clock::sleep(SETTLED).await;
    (controller.cpu_seconds() - before) * 1000.0 / number(names.len())
}

fn steps(percent: usize) -> [Value; 1] {
    [json!({"cohorts": {"everyone": percent}, "hold": "1000h"})]
}

/// One with a file of its own, whose cohorts before the last have a condition each.
fn with_cohorts(name: &str, cohorts: usize) -> FeatureRollout {
    let mut object = serde_json::to_value(rollout(name, None, &steps(1))).unwrap();
    let named = (1..cohorts).map(|nth| {
        json!({"name": format!("cohort-{nth}"), "share": 1, "match": {"expressions": [
            {"key": "segment", "operator": "In", "values": [format!("a{nth}"), format!("b{nth}")]},
            {"key": "plan", "operator": "NotIn", "values": ["free"]},
        ]}})
    });
    let last = json!({"name": "everyone", "share": 101 - cohorts});
    object["spec"]["cohorts"] = Value::Array(named.chain([last]).collect());
    serde_json::from_value(object).unwrap()
}

async fn entries_of(world: &World, name: &str) -> usize {
    world.rollouts().get(name).await.unwrap().status.unwrap_or_default().history.len()
}

//! A thousand rollouts in twenty FlagSets: created, verified after a restart, stepping at once.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use jiff::SignedDuration;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::json;
use sluice::api::{FeatureRollout, FeatureRolloutStatus, MicroTime};
use sluice::clock;

use crate::audit::{Calls, count};
use crate::controller::Controller;
use crate::figures::{Figures, quantile};
use crate::steps::{lateness, number, step, wait_past};
use crate::world::{World, rollout};

const ROLLOUTS: usize = 1000;
const SETS: usize = 20;
/// From the first create to the steps: enough for the creation, the restart and two times of quiet.
const LEAD: SignedDuration = SignedDuration::from_secs(90);
const QUIET: Duration = Duration::from_secs(20);
/// Revisions that a file was written with, or found to hold.
const DELIVERIES: &str = "sluice_deliveries_total";

/// Creates, restarts, steps.
pub async fn run(world: &World, figures: &mut Figures) {
    let mut controller = world.controller().await;
    figures.add("thousand", "memory, no objects", None, controller.resident_mib(), "MiB");
    let sets: Vec<String> = (0..SETS).map(|index| format!("set-{index:02}")).collect();
    for set in &sets {
        world.create_flag_set(set).await;
    }
    let names: Vec<String> = (0..ROLLOUTS).map(|index| format!("rollout-{index:04}")).collect();
    let due = clock::real_now() + LEAD;
    let first = json!({"cohorts": {"everyone": 10}, "hold": "1ms"});
    let rollouts = names.iter().enumerate().map(|(index, name)| {
        // Neighbours by name are in different files, as they would be.
        rollout(name, Some(&sets[index % SETS]), &[first.clone(), step(due, 50, "1000h")])
    });

    let audit = world.audit();
    let begun = clock::monotonic();
    world.create(rollouts).await;
    figures.add("thousand", "all created", None, begun.elapsed().as_secs_f64(), "s");
    until_ready(world, ROLLOUTS).await;
    figures.add("thousand", "all Ready", Some("< 15"), begun.elapsed().as_secs_f64(), "s");
    clock::sleep(QUIET).await;
    print(figures, "creation", &audit.writes());
    memory(figures, &controller, "after the creation", Some("< 60"));

    let audit = world.audit();
    controller.kill().await;
    let mut controller = world.unready_controller();
    let verified = controller.until(DELIVERIES, number(ROLLOUTS)).await;
    figures.add("thousand", "restart to all verified", Some("< 2"), verified.as_secs_f64(), "s");
    clock::sleep(QUIET).await;
    let writes = audit.writes();
    figures.add("thousand", "writes of the restart", Some("0"), number(writes.values().sum()), "");
    print(figures, "restart", &writes);
    memory(figures, &controller, "after the restart", Some("< 60"));

    steps(world, figures, &names, due).await;
    memory(figures, &controller, "after the steps", Some("< 60"));
    controller.kill().await;
}

async fn steps(world: &World, figures: &mut Figures, names: &[String], due: MicroTime) {
    let recorder = world.recorder().await;
    let audit = world.audit();
    let spare = due.duration_since(clock::real_now()).as_secs_f64();
    if spare <= 0.0 {
        // Some have stepped by now, and nobody has looked.
        eprintln!("the steps cannot be measured: what goes before them took {:.1} s too long", -spare);
        return;
    }
    wait_past(due, QUIET).await;
    let wanted: BTreeMap<_, _> = names.iter().map(|name| ((name.clone(), 50_000), due)).collect();
    let found = lateness(&recorder.since(0), &wanted);
    let missing = found.iter().filter(|late| late.is_none()).count();
    let mut late: Vec<f64> = found.into_iter().flatten().map(|late| late / 1000.0).collect();
    let early = late.iter().filter(|late| **late < 0.0).count();
    figures.add("thousand", "steps never seen", Some("0"), number(missing), "");
    figures.add("thousand", "steps early", Some("0"), number(early), "");
    figures.add("thousand", "step lateness, median", Some("< 0.7"), quantile(&mut late, 0.5), "s");
    figures.add("thousand", "step lateness, p99", Some("< 1.5"), quantile(&mut late, 0.99), "s");
    figures.add("thousand", "step lateness, most", None, quantile(&mut late, 1.0), "s");
    let writes = audit.writes();
    let a_step = number(count(&writes, "featurerollouts/status")) / number(ROLLOUTS);
    figures.add("thousand", "status writes a step", Some("<= 2"), a_step, "");
    print(figures, "steps", &writes);
}

/// Waits until this many rollouts say that they are delivered.
///
/// By a watch: a list of a thousand rollouts, twice a second, took a tenth of the API server's work away from
/// what is measured.
pub async fn until_ready(world: &World, rollouts: usize) {
    let mut ready = BTreeSet::new();
    let everywhere: Api<FeatureRollout> = Api::all(world.client.clone());
    let mut events = pin!(watcher::watcher(everywhere, watcher::Config::default()).touched_objects());
    let all = async {
        while ready.len() < rollouts {
            let rollout = events.next().await.unwrap().unwrap();
            match rollout.status.as_ref().is_some_and(is_ready) {
                true => ready.insert(rollout.name_any()),
                false => ready.remove(&rollout.name_any()),
            };
        }
    };
    let patience = Duration::from_secs(120 + u64::try_from(rollouts / 20).unwrap());
    let waited = tokio::time::timeout(patience, all).await;
    assert!(waited.is_ok(), "only {} rollouts became Ready", ready.len());
}

fn is_ready(status: &FeatureRolloutStatus) -> bool {
    status.delivered_revision == status.revision
        && status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn print(figures: &mut Figures, phase: &str, writes: &Calls) {
    for (what, count) in writes {
        figures.add("thousand", format!("  {phase}: {what}"), None, number(*count), "");
    }
}

fn memory(figures: &mut Figures, controller: &Controller, when: &str, bar: Option<&'static str>) {
    let what = format!("memory {when} and 20 s");
    figures.add("thousand", what, bar, controller.resident_mib(), "MiB");
}

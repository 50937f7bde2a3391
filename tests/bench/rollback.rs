//! From the creation of a Rollback action to the ConfigMap, among a thousand rollouts: idle, in a burst of steps, and on a
//! controller that is still reading.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use sluice::api::{MicroTime, RolloutAction};
use sluice::clock;

use crate::figures::{Figures, quantile};
use crate::recorder::{Recorder, Seen};
use crate::steps::{number, step, wait_past};
use crate::thousand::until_ready;
use crate::world::{NAMESPACE, World, rollout};

const ROLLOUTS: usize = 1000;
const SETS: usize = 20;
/// Rollbacks of each kind, each of a rollout of its own.
const TRIALS: usize = 200;
/// Starts of a controller, with as many rollbacks each as make up the trials.
const STARTS: usize = 10;
/// From the first create to the steps.
const LEAD: SignedDuration = SignedDuration::from_secs(75);
/// Instants at which all thousand step, with as many rollbacks each as make up the trials.
const BURSTS: usize = 10;
/// From one such instant to the next: the steps of one are done by then.
const BETWEEN: SignedDuration = SignedDuration::from_secs(15);
/// From one rollback in a burst of steps to the next: all of them within the second.
const APART: Duration = Duration::from_millis(50);
/// Longer than the writer's spacing, so that a rollback finds the controller idle.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the last rollback may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Creates a thousand rollouts and rolls six hundred of them back.
pub async fn run(world: &World, figures: &mut Figures) {
    let mut controller = world.controller().await;
    let sets: Vec<String> = (0..SETS).map(|index| format!("set-{index:02}")).collect();
    for set in &sets {
        world.create_flag_set(set).await;
    }
    let names: Vec<String> = (0..ROLLOUTS).map(|index| format!("rollout-{index:04}")).collect();
    let due = clock::real_now() + LEAD;
    let mut steps = vec![json!({"cohorts": {"everyone": 10}, "hold": "1ms"})];
    let mut dates = Vec::new();
    for burst in 0..BURSTS {
        let date = due + BETWEEN * i32::try_from(burst).unwrap();
        let hold = if burst + 1 == BURSTS { "1000h" } else { "1ms" };
        steps.push(step(date, 11 + u32::try_from(burst).unwrap(), hold));
        dates.push(date);
    }
    world
        .create(
            names.iter().enumerate().map(|(index, name)| rollout(name, Some(&sets[index % SETS]), &steps)),
        )
        .await;
    until_ready(world, ROLLOUTS).await;
    if due <= clock::real_now() {
        eprintln!("the creation took too long: the rollbacks come after the steps, not among them");
    }
    let (burst, rest) = names.split_at(TRIALS);
    let (idle, rest) = rest.split_at(TRIALS);
    let (reading, _) = rest.split_at(TRIALS);

    let recorder = world.recorder().await;
    let mut created = BTreeMap::new();
    for (names, date) in burst.chunks(TRIALS / BURSTS).zip(&dates) {
        wait_past(*date, Duration::ZERO).await;
        for name in names {
            let at = roll_back(world, name).await;
            created.insert(name.clone(), at);
            clock::sleep(APART).await;
        }
    }
    report(figures, ("among 1,000 steps", None, "< 500"), &recorder, 0, &created).await;

    if let Some(last) = dates.last() {
        wait_past(*last, Duration::from_secs(20)).await;
    }
    let first = recorder.len();
    let mut created = BTreeMap::new();
    for name in idle {
        clock::sleep(PAUSE).await;
        let at = roll_back(world, name).await;
        created.insert(name.clone(), at);
    }
    report(figures, ("idle", Some("< 25"), "< 100"), &recorder, first, &created).await;

    let first = recorder.len();
    let mut created = BTreeMap::new();
    for names in reading.chunks(TRIALS / STARTS) {
        controller.kill().await;
        controller = world.unready_controller();
        let started = clock::real_now();
        for name in names {
            // What was asked for before the process was there counts from its start.
            let at = roll_back(world, name).await.max(started);
            created.insert(name.clone(), at);
        }
        controller.until_ready().await;
    }
    report(figures, ("on a controller that starts", None, "< 500"), &recorder, first, &created).await;
    controller.kill().await;
}

/// Creates the action; returns when it was sent.
pub async fn roll_back(world: &World, name: &str) -> MicroTime {
    roll_back_in(world, NAMESPACE, name).await
}

/// Creates the action in one of many namespaces; returns when it was sent.
pub async fn roll_back_in(world: &World, namespace: &str, name: &str) -> MicroTime {
    let action: RolloutAction = serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "RolloutAction",
        "metadata": {"name": format!("back-{name}"), "namespace": namespace},
        "spec": {"rolloutRef": {"name": name}, "action": "Rollback", "reason": "benchmark"},
    }))
    .unwrap();
    let actions: Api<RolloutAction> = Api::namespaced(world.client.clone(), namespace);
    let sent = clock::real_now();
    actions.create(&PostParams::default(), &action).await.unwrap();
    sent
}

/// Waits until every file says so, and notes how long after the creation that was, next to the bars for the median and the 99th of
/// a hundred.
async fn report(
    figures: &mut Figures,
    (when, median, bar): (&str, Option<&'static str>, &'static str),
    recorder: &Recorder,
    first: usize,
    created: &BTreeMap<String, MicroTime>,
) {
    let begun = clock::monotonic();
    let mut seen = seen_at_control(&recorder.since(first), created);
    while seen.len() < created.len() && begun.elapsed() < PATIENCE {
        clock::sleep(Duration::from_millis(200)).await;
        seen = seen_at_control(&recorder.since(first), created);
    }
    let mut late: Vec<f64> = seen
        .iter()
        .filter_map(|(name, at)| Some(at.duration_since(*created.get(name)?).as_secs_f64() * 1000.0))
        .collect();
    let missing = number(created.len() - seen.len());
    figures.add("rollback", format!("{when}: never seen"), Some("0"), missing, "");
    figures.add("rollback", format!("{when}: median"), median, quantile(&mut late, 0.5), "ms");
    figures.add("rollback", format!("{when}: p99"), Some(bar), quantile(&mut late, 0.99), "ms");
    figures.add("rollback", format!("{when}: most"), None, quantile(&mut late, 1.0), "ms");
}

/// When each of these flags was first seen at 0 %.
pub fn seen_at_control(
    versions: &[Seen],
    wanted: &BTreeMap<String, MicroTime>,
) -> BTreeMap<String, MicroTime> {
    let mut found = BTreeMap::new();
    for version in versions {
        for (name, served) in version.served() {
            if served == 0 && wanted.contains_key(&name) {
                found.entry(name).or_insert(version.at);
            }
        }
    }
    found
}

//! What many rollouts cost, in both shapes: in FlagSets of fifty, and with a ConfigMap each. Created, at rest, after a restart,
//! edited one after the other, all due in one second with emergencies among them, and overdue after the controller was away.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;
use futures::StreamExt;
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ConfigMap, Event};
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use sluice::api::{FeatureRollout, MicroTime};
use sluice::clock;

use crate::audit::Calls;
use crate::controller::Controller;
use crate::figures::{Figures, quantile};
use crate::recorder::Seen;
use crate::rollback::{roll_back_in, seen_at_control};
use crate::steps::{lateness, number, step, wait_past};
use crate::thousand::until_ready;
use crate::world::{CLIENTS, World, rollout};

const DELIVERIES: &str = "sluice_deliveries_total";
/// Rollouts of a FlagSet.
const OF_A_SET: usize = 50;
/// Rollouts of a namespace: ten FlagSets, which is within what a namespace may have in memory.
const OF_A_NAMESPACE: usize = 500;
/// Edits one after the other, and from one to the next.
const EDITS: usize = 200;
const EDITS_APART: Duration = Duration::from_millis(20);
/// Rollbacks by an action among the steps.
const EMERGENCIES: usize = 20;
const EMERGENCIES_APART: Duration = Duration::from_millis(100);
/// Rollouts that are due once more while the controller is away.
const OVERDUE: usize = 1000;
/// In how many seconds: longer than it takes to say so.
const OVERDUE_IN: i64 = 60;
const AWAY: Duration = Duration::from_secs(60);
/// How long nothing happens, to see what that costs.
const REST: Duration = Duration::from_secs(60);
/// How long the creation and what comes before the steps may take: so many milliseconds a rollout, and as many seconds besides.
const LEAD_EACH: usize = 32;
const LEAD: usize = 150;

/// Where the flags of the rollouts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// Fifty in a file
    Sets,
    /// A file each
    Alone,
}

/// The measures that are drawn by the number of rollouts.
pub const DRAWN: &[&str] = &[
    "all Ready",
    "memory after the creation, settled",
    "memory after the restart, peak so far",
    "restart to all verified",
    "edit to ConfigMap, p99",
    "step in the ConfigMap, last",
    "emergency among the steps, p99",
];

/// The shapes that are measured.
pub const SHAPES: [Shape; 2] = [Shape::Sets, Shape::Alone];

/// Measures one shape, each part on a control plane of its own.
pub async fn measure(concurrency: Option<u16>, figures: &mut Figures, shape: Shape, rollouts: usize) {
    let world = World::start(concurrency, false).await;
    let sample = run(&world, figures, shape, rollouts).await;
    world.stop().await;
    let world = World::start(concurrency, false).await;
    bare(&world, figures, shape, rollouts, &sample).await;
    world.stop().await;
}

/// What the controller has made of one rollout.
struct Sample {
    rollout: FeatureRollout,
    map: Option<ConfigMap>,
    revision: Option<ControllerRevision>,
    event: Event,
}

impl Sample {
    async fn of(world: &World, name: &str) -> Sample {
        let namespace = namespace_of(name);
        let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &namespace);
        let events: Api<Event> = Api::namespaced(world.client.clone(), &namespace);
        let revisions: Api<ControllerRevision> = Api::namespaced(world.client.clone(), &namespace);
        let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let of_it = |revision: &ControllerRevision| revision.name_any().contains(name);
        Sample {
            rollout: world.rollouts_in(&namespace).get(name).await.unwrap(),
            map: maps.get_opt(name).await.unwrap(),
            revision: revisions.list(&ListParams::default()).await.unwrap().into_iter().find(of_it),
            event: events.list(&about).await.unwrap().into_iter().next().unwrap(),
        }
    }

    /// Writes the same for another rollout.
    async fn write(&self, client: &Client, name: &str) {
        let namespace = &namespace_of(name);
        let rollouts: Api<FeatureRollout> = Api::namespaced(client.clone(), namespace);
        let params = PostParams::default();
        let mut rollout = self.rollout.clone();
        rollout.metadata = named(namespace, name);
        let mut stored = rollouts.create(&params, &rollout).await.unwrap();
        if let Some(mut revision) = self.revision.clone() {
            revision.metadata = named(namespace, &format!("{name}-audience"));
            Api::namespaced(client.clone(), namespace).create(&params, &revision).await.unwrap();
        }
        stored.status = self.rollout.status.clone();
        let mut stored = rollouts.replace_status(name, &params, &stored).await.unwrap();
        if let Some(mut map) = self.map.clone() {
            map.metadata = ObjectMeta { annotations: map.metadata.annotations, ..named(namespace, name) };
            Api::namespaced(client.clone(), namespace).create(&params, &map).await.unwrap();
        }
        // The second status differs from the first in a word.
        if let Some(status) = &mut stored.status {
            status.revision += 1;
        }
        rollouts.replace_status(name, &params, &stored).await.unwrap();
        let mut event = self.event.clone();
        event.metadata = named(namespace, &format!("{name}-event"));
        event.involved_object.namespace = Some(namespace.clone());
        Api::namespaced(client.clone(), namespace).create(&params, &event).await.unwrap();
    }
}

fn named(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), namespace: Some(namespace.to_owned()), ..ObjectMeta::default() }
}

/// The writes of the creation alone, by a bare client: what the API server needs for them.
async fn bare(world: &World, figures: &mut Figures, shape: Shape, rollouts: usize, sample: &Sample) {
    create_namespaces(world, rollouts).await;
    let clients: Vec<Client> = (0..CLIENTS).map(|_| world.plane().client().unwrap()).collect();
    let begun = clock::monotonic();
    futures::stream::iter(0..rollouts)
        .for_each_concurrent(CLIENTS, |index| {
            let client = &clients[index % CLIENTS];
            async move { sample.write(client, &name(index)).await }
        })
        .await;
    let took = begun.elapsed().as_secs_f64();
    figures.add(scenario(shape), "the writes of the creation by a bare client", None, took, "s");
}

/// Creates, rests, restarts, edits, steps, goes away and comes back.
async fn run(world: &World, figures: &mut Figures, shape: Shape, rollouts: usize) -> Sample {
    let scenario = scenario(shape);
    let mut add = |what: &str, bar, value: f64, unit| {
        // With thousands it takes the better part of an hour.
        eprintln!("{scenario}: {what}: {value:.3} {unit}");
        figures.add(scenario, what, bar, value, unit);
    };
    let controller = world.controller().await;
    add("rollouts", None, number(rollouts), "");
    add("memory, no objects", None, controller.resident_mib(), "MiB");
    prepare(world, shape, rollouts).await;
    let lead = i64::try_from(LEAD + LEAD_EACH * rollouts / 1000).unwrap();
    let due = clock::real_now() + SignedDuration::from_secs(lead);

    let audit = world.audit();
    let begun = clock::monotonic();
    world.create(all(shape, rollouts, due)).await;
    add("all created", None, begun.elapsed().as_secs_f64(), "s");
    until_ready(world, rollouts).await;
    add("all Ready", None, begun.elapsed().as_secs_f64(), "s");
    clock::sleep(Duration::from_secs(20)).await;
    let each = |calls: &Calls| number(calls.values().sum()) / number(rollouts);
    add("writes a new rollout", None, each(&audit.writes()), "");
    add("memory after the creation, settled", None, controller.resident_mib(), "MiB");
    add("memory after the creation, peak so far", None, controller.peak_mib(), "MiB");

    let sample = Sample::of(world, &name(0)).await;
    let mut controller = restart(world, &mut add, controller, rollouts).await;
    let (audit, cpu) = (world.audit(), controller.cpu_seconds());
    clock::sleep(REST).await;
    add("at rest, writes a minute", Some("0"), number(audit.writes().values().sum()), "");
    add("at rest, CPU a minute", Some("< 0.1"), controller.cpu_seconds() - cpu, "s");

    let names: Vec<String> = names(rollouts).collect();
    let (edited, rest) = names.split_at(EDITS.min(rollouts / 4));
    let (emergencies, stepping) = rest.split_at(EMERGENCIES.min(rollouts / 4));
    edits(world, &mut add, edited, due).await;
    let spare = due.duration_since(clock::real_now()).as_secs_f64();
    if spare <= 0.0 {
        eprintln!("the steps cannot be measured: what goes before them took {:.1} s too long", -spare);
        return sample;
    }
    together(world, &mut add, (stepping, emergencies), due).await;
    add("memory after the steps, settled", None, controller.resident_mib(), "MiB");
    add("memory after the steps, peak so far", None, controller.peak_mib(), "MiB");

    let overdue = &stepping[..OVERDUE.min(stepping.len())];
    let again = ask_again(world, overdue).await;
    wait_past(again, Duration::ZERO).await;
    controller.kill().await;
    let recorder = world.recorder().await;
    clock::sleep(AWAY).await;
    let started = clock::real_now();
    let mut controller = world.unready_controller();
    clock::sleep(AWAY / 2).await;
    let wanted = overdue.iter().map(|name| ((name.clone(), 60_000), started)).collect();
    let late = measured(&mut add, "overdue steps", &recorder.since(0), &wanted);
    add("overdue steps after a start, last", Some("< 10"), late.1, "s");
    controller.kill().await;
    sample
}

fn scenario(shape: Shape) -> &'static str {
    match shape {
        Shape::Sets => "sets",
        Shape::Alone => "alone",
    }
}

fn name(index: usize) -> String {
    format!("scale-{index:05}")
}

/// The namespace of the rollout of this name.
fn namespace_of(name: &str) -> String {
    format!("team-{:03}", index_of(name) / OF_A_NAMESPACE)
}

fn set_of(name: &str) -> String {
    format!("set-{:03}", index_of(name) / OF_A_SET)
}

fn index_of(name: &str) -> usize {
    name.rsplit_once('-').unwrap().1.parse().unwrap()
}

async fn create_namespaces(world: &World, rollouts: usize) {
    for index in (0..rollouts).step_by(OF_A_NAMESPACE) {
        world.create_namespace(&namespace_of(&name(index))).await;
    }
}

async fn prepare(world: &World, shape: Shape, rollouts: usize) {
    create_namespaces(world, rollouts).await;
    for index in (0..rollouts).step_by(OF_A_SET) {
        if shape == Shape::Sets {
            let first = name(index);
            world.create_flag_set_in(&namespace_of(&first), &set_of(&first)).await;
        }
    }
}

/// All names; neighbours in this order are in different namespaces and files, as they would be in time.
fn names(rollouts: usize) -> impl Iterator<Item = String> {
    (0..OF_A_SET).flat_map(move |place| (place..rollouts).step_by(OF_A_SET)).map(name)
}

fn all(shape: Shape, rollouts: usize, due: MicroTime) -> impl Iterator<Item = FeatureRollout> {
    names(rollouts).map(move |name| {
        let set = (shape == Shape::Sets).then(|| set_of(&name));
        let mut rollout = rollout(&name, set.as_deref(), &steps(due, 50));
        rollout.metadata.namespace = Some(namespace_of(&name));
        rollout
    })
}

/// Ten per cent at once, and more at the date.
fn steps(due: MicroTime, percent: u32) -> [Value; 2] {
    [json!({"cohorts": {"everyone": percent.min(10)}, "hold": "1ms"}), step(due, percent, "1ms")]
}

async fn restart(
    world: &World,
    add: &mut impl FnMut(&str, Option<&'static str>, f64, &'static str),
    mut controller: Controller,
    rollouts: usize,
) -> Controller {
    let audit = world.audit();
    controller.kill().await;
    let controller = world.unready_controller();
    let verified = controller.until(DELIVERIES, number(rollouts)).await;
    add("restart to all verified", None, verified.as_secs_f64(), "s");
    clock::sleep(Duration::from_secs(20)).await;
    add("writes of the restart", Some("0"), number(audit.writes().values().sum()), "");
    add("memory after the restart, settled", None, controller.resident_mib(), "MiB");
    add("memory after the restart, peak so far", None, controller.peak_mib(), "MiB");
    controller
}

/// Lowers some, one after the other, as edits in git would.
async fn edits(
    world: &World,
    add: &mut impl FnMut(&str, Option<&'static str>, f64, &'static str),
    names: &[String],
    due: MicroTime,
) {
    let recorder = world.recorder().await;
    let spec = json!({"spec": {"phases": [{"name": "ga", "steps": steps(due, 5)}]}});
    let mut wanted = BTreeMap::new();
    for name in names {
        world
            .rollouts_in(&namespace_of(name))
            .patch(name, &PatchParams::default(), &Patch::Merge(&spec))
            .await
            .unwrap();
        wanted.insert((name.clone(), 5_000), clock::real_now());
        clock::sleep(EDITS_APART).await;
    }
    clock::sleep(Duration::from_secs(5)).await;
    let mut late: Vec<f64> = lateness(&recorder.since(0), &wanted).into_iter().flatten().collect();
    add("edits never seen in a ConfigMap", Some("0"), number(names.len() - late.len()), "");
    add("edit to ConfigMap, median", Some("<= 25"), quantile(&mut late, 0.5), "ms");
    add("edit to ConfigMap, p99", Some("<= 150"), quantile(&mut late, 0.99), "ms");
}

/// All step at one date but for those that are rolled back just then.
async fn together(
    world: &World,
    add: &mut impl FnMut(&str, Option<&'static str>, f64, &'static str),
    (stepping, emergencies): (&[String], &[String]),
    due: MicroTime,
) {
    let recorder = world.recorder().await;
    let audit = world.audit();
    wait_past(due, Duration::ZERO).await;
    let mut acted = BTreeMap::new();
    for name in emergencies {
        acted.insert(name.clone(), roll_back_in(world, &namespace_of(name), name).await);
        clock::sleep(EMERGENCIES_APART).await;
    }
    // A second for a hundred of them.
    wait_past(due, Duration::from_secs(30 + u64::try_from(stepping.len() / 100).unwrap())).await;
    let seen = recorder.since(0);
    let wanted = stepping.iter().map(|name| ((name.clone(), 50_000), due)).collect();
    let (mut late, last) = measured(add, "steps", &seen, &wanted);
    add("steps early", Some("0"), number(late.iter().filter(|late| **late < 0.0).count()), "");
    add("step in the ConfigMap, median", None, quantile(&mut late, 0.5), "s");
    add("step in the ConfigMap, p99", None, quantile(&mut late, 0.99), "s");
    add("step in the ConfigMap, last", None, last, "s");
    let back = seen_at_control(&seen, &acted);
    let mut late: Vec<f64> = back
        .iter()
        .filter_map(|(name, at)| Some(at.duration_since(*acted.get(name)?).as_secs_f64()))
        .collect();
    add("emergencies never seen in a ConfigMap", Some("0"), number(acted.len() - late.len()), "");
    add("emergency among the steps, p99", Some("< 1"), quantile(&mut late, 0.99), "s");
    let writes: usize =
        audit.writes().iter().filter(|(what, _)| !what.contains("rolloutactions")).map(|(_, n)| n).sum();
    add("writes a step", Some("<= 4"), number(writes) / number(stepping.len()), "");
}

/// Asks for one more step of each, at a time that is not far off; returns it.
async fn ask_again(world: &World, names: &[String]) -> MicroTime {
    let due = clock::real_now() + SignedDuration::from_secs(OVERDUE_IN);
    let steps = json!([{"cohorts": {"everyone": 50}, "hold": "1ms"}, step(due, 60, "1000h")]);
    let spec = json!({"spec": {"phases": [{"name": "ga", "steps": steps}]}});
    for name in names {
        world
            .rollouts_in(&namespace_of(name))
            .patch(name, &PatchParams::default(), &Patch::Merge(&spec))
            .await
            .unwrap();
    }
    due
}

/// Seconds until each was seen, and the most of them; those never seen are counted.
fn measured(
    add: &mut impl FnMut(&str, Option<&'static str>, f64, &'static str),
    what: &str,
    seen: &[Seen],
    wanted: &BTreeMap<(String, u32), MicroTime>,
) -> (Vec<f64>, f64) {
    let found = lateness(seen, wanted);
    let missing = found.iter().filter(|late| late.is_none()).count();
    add(&format!("{what} never seen in a ConfigMap"), Some("0"), number(missing), "");
    let mut late: Vec<f64> = found.into_iter().flatten().map(|late| late / 1000.0).collect();
    let last = quantile(&mut late, 1.0);
    (late, last)
}

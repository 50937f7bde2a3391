//! A thousand rollouts without a FlagSet, a ConfigMap each: created, at rest, after a restart, and stepping at one date with
//! actions and lowering edits among them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use sluice::api::{FeatureRollout, MicroTime};
use sluice::clock;
use tokio::task::JoinHandle;

use crate::audit::{Calls, failed};
use crate::controller::Controller;
use crate::figures::{Figures, quantile};
use crate::recorder::Seen;
use crate::rollback::roll_back;
use crate::steps::{lateness, number, step, wait_past};
use crate::thousand::until_ready;
use crate::world::{CLIENTS, NAMESPACE, World, rollout};

const ROLLOUTS: usize = 1000;
/// Rollbacks by an action, and as many lowering edits, in the second after the date.
const TRIALS: usize = 50;
const APART: Duration = Duration::from_millis(20);
/// From the first create to the date: enough for the creation, the restart and two times of quiet.
const LEAD: SignedDuration = SignedDuration::from_secs(100);
const QUIET: Duration = Duration::from_secs(20);
/// How long the statuses are looked at after the date.
const SETTLED: Duration = Duration::from_secs(30);
const DELIVERIES: &str = "sluice_deliveries_total";

/// Creates, restarts, steps.
pub async fn run(world: &World, figures: &mut Figures) {
    let mut controller = world.controller().await;
    let names: Vec<String> = (0..ROLLOUTS).map(|index| format!("alone-{index:04}")).collect();
    let due = clock::real_now() + LEAD;

    let audit = world.audit();
    let begun = clock::monotonic();
    world.create(names.iter().map(|name| rollout(name, None, &steps(due, 50)))).await;
    figures.add("alone", "all created", None, begun.elapsed().as_secs_f64(), "s");
    until_ready(world, ROLLOUTS).await;
    figures.add("alone", "all Ready", Some("< 15"), begun.elapsed().as_secs_f64(), "s");
    clock::sleep(QUIET).await;
    let (writes, reads) = (audit.writes(), audit.reads());
    let each = |calls: &Calls| number(calls.values().sum()) / number(ROLLOUTS);
    figures.add("alone", "writes a new rollout", Some("<= 4"), each(&writes), "");
    figures.add("alone", "reads a new rollout", None, each(&reads), "");
    print(figures, "creation", &writes, &reads);
    memory(figures, &controller, "after the creation");

    let audit = world.audit();
    controller.kill().await;
    let mut controller = world.unready_controller();
    let verified = controller.until(DELIVERIES, number(ROLLOUTS)).await;
    figures.add("alone", "restart to all verified", Some("< 2"), verified.as_secs_f64(), "s");
    clock::sleep(QUIET).await;
    figures.add("alone", "writes of the restart", Some("0"), number(audit.writes().values().sum()), "");
    print(figures, "restart", &audit.writes(), &audit.reads());
    memory(figures, &controller, "after the restart");

    if due <= clock::real_now() {
        eprintln!("the steps cannot be measured: what goes before them took too long");
        return;
    }
    burst(world, figures, &names, due).await;
    memory(figures, &controller, "after the steps");
    controller.kill().await;
    floor(world, figures, &names).await;
}

/// What the same ConfigMaps take a bare client, which knows what it writes and writes nothing else: the API server's part of
/// [`burst`], on this machine and now. As many are under way at once as the controller's writers have.
async fn floor(world: &World, figures: &mut Figures, names: &[String]) {
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), NAMESPACE);
    let maps: Vec<ConfigMap> = futures::stream::iter(names)
        .map(|name| async { api.get(name).await.unwrap() })
        .buffer_unordered(CLIENTS)
        .collect()
        .await;
    let (begun, writer) = (clock::monotonic(), &api);
    let mut late: Vec<f64> = futures::stream::iter(maps)
        .map(|mut map| async move {
            for text in map.data.iter_mut().flat_map(BTreeMap::values_mut) {
                text.push(' ');
            }
            writer.replace(&map.name_any(), &PostParams::default(), &map).await.unwrap();
            begun.elapsed().as_secs_f64()
        })
        .buffer_unordered(CLIENTS)
        .collect()
        .await;
    figures.add("alone", "bare: ConfigMap written, median", None, quantile(&mut late, 0.5), "s");
    figures.add("alone", "bare: ConfigMap written, p99", None, quantile(&mut late, 0.99), "s");
}

/// Ten per cent at once, and more at the date.
fn steps(due: MicroTime, percent: u32) -> [Value; 2] {
    [json!({"cohorts": {"everyone": percent.min(10)}, "hold": "1ms"}), step(due, percent, "1000h")]
}

/// All step at one date, but for those that are rolled back and those that are lowered in git just then.
async fn burst(world: &World, figures: &mut Figures, names: &[String], due: MicroTime) {
    let recorder = world.recorder().await;
    let statuses = Statuses::watch(world, due).await;
    let audit = world.audit();
    let (by_action, rest) = names.split_at(TRIALS);
    let (by_edit, stepping) = rest.split_at(TRIALS);
    wait_past(due, Duration::ZERO).await;
    let (mut acted, mut edited) = (BTreeMap::new(), BTreeMap::new());
    for (action, edit) in by_action.iter().zip(by_edit) {
        acted.insert((action.clone(), 0), roll_back(world, action).await);
        edited.insert((edit.clone(), 5_000), lower(world, edit, due).await);
        clock::sleep(APART).await;
    }
    wait_past(due, SETTLED).await;

    let seen = recorder.since(0);
    let wanted = stepping.iter().map(|name| ((name.clone(), 50_000), due)).collect();
    let mut late = seconds(figures, "steps", &seen, &wanted);
    let early = late.iter().filter(|late| **late < 0.0).count();
    figures.add("alone", "steps early", Some("0"), number(early), "");
    figures.add("alone", "step in the ConfigMap, median", Some("< 1.0"), quantile(&mut late, 0.5), "s");
    figures.add("alone", "step in the ConfigMap, p99", Some("< 2.0"), quantile(&mut late, 0.99), "s");
    let mut late = statuses.lateness(due, &stepping.iter().cloned().collect());
    let missing = stepping.len() - late.len();
    figures.add("alone", "steps never seen in a status", Some("0"), number(missing), "");
    figures.add("alone", "step in the status, median", None, quantile(&mut late, 0.5), "s");
    figures.add("alone", "step in the status, p99", Some("< 6"), quantile(&mut late, 0.99), "s");
    for (what, when) in [("action", &acted), ("lowering edit", &edited)] {
        let mut late = seconds(figures, what, &seen, when);
        figures.add("alone", format!("{what} in the burst, median"), None, quantile(&mut late, 0.5), "s");
        let p99 = quantile(&mut late, 0.99);
        figures.add("alone", format!("{what} in the burst, p99"), Some("< 0.5"), p99, "s");
    }
    let (writes, reads) = (audit.writes(), audit.reads());
    figures.add("alone", "failed calls", Some("0"), number(failed(&writes) + failed(&reads)), "");
    print(figures, "steps", &writes, &reads);
}

/// Seconds until each was seen in its ConfigMap; those never seen are counted.
fn seconds(
    figures: &mut Figures,
    what: &str,
    seen: &[Seen],
    wanted: &BTreeMap<(String, u32), MicroTime>,
) -> Vec<f64> {
    let found = lateness(seen, wanted);
    let missing = found.iter().filter(|late| late.is_none()).count();
    figures.add("alone", format!("{what}: never seen in a ConfigMap"), Some("0"), number(missing), "");
    found.into_iter().flatten().map(|late| late / 1000.0).collect()
}

/// Asks five per cent from all steps, as an edit in git would; returns when that was sent.
async fn lower(world: &World, name: &str, due: MicroTime) -> MicroTime {
    let spec = json!({"spec": {"phases": [{"name": "ga", "steps": steps(due, 5)}]}});
    let sent = clock::real_now();
    world.rollouts().patch(name, &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
    sent
}

/// When the status of each rollout first said that it entered a step at or after an instant.
struct Statuses {
    entered: Arc<Mutex<BTreeMap<String, MicroTime>>>,
    task: JoinHandle<()>,
}

impl Drop for Statuses {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Statuses {
    async fn watch(world: &World, since: MicroTime) -> Statuses {
        let entered = Arc::new(Mutex::new(BTreeMap::new()));
        let (listed, heard) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(record(world.rollouts(), since, entered.clone(), listed));
        heard.await.unwrap();
        Statuses { entered, task }
    }

    /// Seconds after `due`, for each of these that was seen.
    fn lateness(&self, due: MicroTime, names: &BTreeSet<String>) -> Vec<f64> {
        let entered = self.entered.lock().unwrap();
        let seen = entered.iter().filter(|(name, _)| names.contains(*name));
        seen.map(|(_, at)| at.duration_since(due).as_secs_f64()).collect()
    }
}

async fn record(
    api: Api<FeatureRollout>,
    since: MicroTime,
    entered: Arc<Mutex<BTreeMap<String, MicroTime>>>,
    listed: tokio::sync::oneshot::Sender<()>,
) {
    let mut listed = Some(listed);
    let mut events = pin!(watcher::watcher(api, watcher::Config::default()));
    while let Some(event) = events.next().await {
        let at = clock::real_now();
        match event {
            Ok(Event::Apply(rollout)) => {
                let position = rollout.status.as_ref().and_then(|status| status.position.as_ref());
                if position.is_some_and(|position| position.entered_at >= since) {
                    entered.lock().unwrap().entry(rollout.name_any()).or_insert(at);
                }
            }
            Ok(Event::InitDone) => {
                if let Some(listed) = listed.take() {
                    listed.send(()).unwrap();
                }
            }
            Ok(_) => {}
            Err(error) => eprintln!("the benchmark's watch of the statuses broke: {error}"),
        }
    }
}

fn print(figures: &mut Figures, phase: &str, writes: &Calls, reads: &Calls) {
    for (what, count) in writes.iter().chain(reads) {
        figures.add("alone", format!("  {phase}: {what}"), None, number(*count), "");
    }
}

fn memory(figures: &mut Figures, controller: &Controller, when: &str) {
    figures.add("alone", format!("memory {when}, settled"), Some("< 45"), controller.resident_mib(), "MiB");
    figures.add("alone", format!("memory {when}, peak so far"), Some("< 60"), controller.peak_mib(), "MiB");
}

//! What a tenant at his worst takes from another: rollbacks of the one beside him, by actions and by a trigger, while he creates,
//! edits, acts, measures and stores as much as his rights allow.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use sluice::api::{FeatureRollout, MicroTime, RolloutAction};
use sluice::clock;
use tokio::task::JoinSet;

use crate::figures::{Figures, quantile};
use crate::hostile::{Asked, Hostile, Reply};
use crate::rollback::{roll_back, seen_at_control};
use crate::sources;
use crate::steps::number;
use crate::thousand::until_ready;
use crate::world::{NAMESPACE, World, rollout};

/// The namespace of the one who is at his worst.
const TENANT: &str = "tenant";
/// The neighbour's rollouts: those that are rolled back by an action, and those that a trigger watches.
const BY_ACTION: usize = 100;
const BY_TRIGGER: usize = 20;
/// How often the neighbour's triggers look.
const INTERVAL: Duration = Duration::from_secs(5);
/// From one rollback of the neighbour to the next: all of them in the time in which the tenant is at his worst.
const APART: Duration = Duration::from_millis(900);
/// What the tenant does.
const ROLLOUTS: usize = 1000;
const ACTIONS: usize = 500;
const EDITORS: usize = 4;
const MAPS: usize = 60;
const MEGABYTE: usize = 1_000_000;

/// Measures.
pub async fn run(world: &World, figures: &mut Figures) {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": TENANT}})).unwrap();
    Api::all(world.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    let neighbour = Neighbour::create(world).await;
    let hanging = Hostile::always(Reply::Hang).await;
    let quick = Hostile::start(None, |asked: &Asked| Reply::now(asked, "0.5")).await;
    for (name, server) in [("hanging", &hanging), ("quick", &quick)] {
        sources::create(&world.client, TENANT, name, server, json!({})).await;
    }
    let controller = world.controller().await;
    until_ready(world, BY_ACTION + BY_TRIGGER).await;
    let idle = controller.resident_mib();

    let mut tenant = JoinSet::new();
    let client = world.client.clone();
    tenant.spawn(async move { create(&client).await });
    let client = world.client.clone();
    tenant.spawn(async move { act(&client).await });
    let client = world.client.clone();
    tenant.spawn(async move { store(&client).await });
    let edits: Arc<Mutex<usize>> = Arc::default();
    let mut editors = JoinSet::new();
    for editor in 0..EDITORS {
        let (client, edits) = (world.client.clone(), edits.clone());
        editors.spawn(async move { edit(&client, editor, &edits).await });
    }
    neighbour.measure(world, figures).await;
    editors.abort_all();
    figures.add("tenant", "edits in that time", None, number(*edits.lock().unwrap()), "");
    let unfinished = number(tenant.len() - tenant_finished(&mut tenant));
    figures.add("tenant", "of creations, actions and ConfigMaps, not done by then", None, unfinished, "");
    figures.add("tenant", "memory before", None, idle, "MiB");
    figures.add("tenant", "memory at the peak", Some("< 128"), controller.peak_mib(), "MiB");
}

fn tenant_finished(tenant: &mut JoinSet<()>) -> usize {
    std::iter::from_fn(|| tenant.try_join_next()).inspect(|ended| assert!(ended.is_ok(), "{ended:?}")).count()
}

/// The one beside, and what his metrics say.
struct Neighbour {
    /// The rollouts whose errors are beyond the bound, and when the first answer said so.
    failing: Arc<Mutex<BTreeMap<String, Option<MicroTime>>>>,
    _source: Hostile,
}

impl Neighbour {
    async fn create(world: &World) -> Neighbour {
        let failing: Arc<Mutex<BTreeMap<String, Option<MicroTime>>>> = Arc::default();
        let known = failing.clone();
        let source = Hostile::start(None, move |asked: &Asked| {
            let query = asked.parameter("query").unwrap_or_default();
            let mut failing = known.lock().unwrap();
            match failing.iter_mut().find(|(name, _)| query.contains(&format!("\"{name}\""))) {
                Some((_, first)) => {
                    first.get_or_insert_with(clock::real_now);
                    Reply::now(asked, "50")
                }
                None => Reply::now(asked, "0.5"),
            }
        })
        .await;
        sources::create(&world.client, NAMESPACE, "neighbour", &source, json!({})).await;
        let steps = [json!({"cohorts": {"everyone": 10}, "hold": "1000h"})];
        let plain = (0..BY_ACTION).map(|i| rollout(&acted(i), None, &steps));
        let watched = (0..BY_TRIGGER).map(|i| watched(rollout(&measured(i), None, &steps), "neighbour"));
        world.create(plain.chain(watched)).await;
        Neighbour { failing, _source: source }
    }

    /// Rolls back one after the other, by actions and by the trigger.
    async fn measure(&self, world: &World, figures: &mut Figures) {
        let recorder = world.recorder().await;
        let (mut created, mut turned) = (BTreeMap::new(), BTreeMap::new());
        for index in 0..BY_ACTION {
            created.insert(acted(index), roll_back(world, &acted(index)).await);
            if index % (BY_ACTION / BY_TRIGGER) == 0 {
                let name = measured(index / (BY_ACTION / BY_TRIGGER));
                self.failing.lock().unwrap().insert(name.clone(), None);
                turned.insert(name, clock::real_now());
            }
            clock::sleep(APART).await;
        }
        clock::sleep(INTERVAL * 4).await;
        let seen = recorder.since(0);
        report(figures, "rollback by an action", "< 1", &seen_at_control(&seen, &created), &created);
        let after = seen_at_control(&seen, &turned);
        report(figures, "rollback by a trigger, from the change of the metric", "< 10", &after, &turned);
        let asked = self.failing.lock().unwrap();
        let asked = asked.iter().filter_map(|(name, first)| Some((name.clone(), (*first)?))).collect();
        report(figures, "rollback by a trigger, from the answer that said so", "< 5", &after, &asked);
    }
}

/// How many seconds later each was seen at control.
fn report(
    figures: &mut Figures,
    what: &str,
    bar: &'static str,
    seen: &BTreeMap<String, MicroTime>,
    since: &BTreeMap<String, MicroTime>,
) {
    let late = since.iter().filter_map(|(name, at)| Some(seen.get(name)?.duration_since(*at).as_secs_f64()));
    let mut late: Vec<f64> = late.collect();
    let missing = number(since.len() - late.len());
    figures.add("tenant", format!("{what}: never seen"), Some("0"), missing, "");
    figures.add("tenant", format!("{what}: median"), None, quantile(&mut late, 0.5), "s");
    figures.add("tenant", format!("{what}: p99"), Some(bar), quantile(&mut late, 0.99), "s");
    figures.add("tenant", format!("{what}: most"), None, quantile(&mut late, 1.0), "s");
}

fn acted(index: usize) -> String {
    format!("acted-{index:03}")
}

fn measured(index: usize) -> String {
    format!("measured-{index:03}")
}

fn own(index: usize) -> String {
    format!("own-{index:04}")
}

fn watched(rollout: FeatureRollout, template: &str) -> FeatureRollout {
    sources::watched(rollout, template, &format!("{}s", INTERVAL.as_secs()), "0s")
}

/// A thousand rollouts, a third of which asks a source that never answers, and a third one that does.
async fn create(client: &Client) {
    let api: Api<FeatureRollout> = Api::namespaced(client.clone(), TENANT);
    for index in 0..ROLLOUTS {
        let steps =
            [json!({"cohorts": {"everyone": 10}, "hold": "1s"}), json!({"cohorts": {"everyone": 20}})];
        let mut own = rollout(&own(index), None, &steps);
        own.metadata.namespace = Some(TENANT.to_owned());
        let own = match index % 3 {
            0 => watched(own, "hanging"),
            1 => watched(own, "quick"),
            _ => own,
        };
        api.create(&PostParams::default(), &own).await.unwrap();
    }
}

/// Edits one after the other, as fast as the API server takes it, for as long as it is let.
async fn edit(client: &Client, editor: usize, edits: &Mutex<usize>) {
    let api: Api<FeatureRollout> = Api::namespaced(client.clone(), TENANT);
    let mut round = 0;
    loop {
        let name = own((round * EDITORS + editor) % ROLLOUTS);
        let percent = 11 + round % 80;
        let phases = json!([{"name": "ga", "steps": [{"cohorts": {"everyone": percent}, "hold": "1s"}]}]);
        let patch = Patch::Merge(json!({"spec": {"phases": phases}}));
        match api.patch(&name, &PatchParams::default(), &patch).await {
            Ok(_) => *edits.lock().unwrap() += 1,
            // It is not created yet.
            Err(_) => clock::sleep(Duration::from_millis(20)).await,
        }
        round += 1;
    }
}

async fn act(client: &Client) {
    let api: Api<RolloutAction> = Api::namespaced(client.clone(), TENANT);
    for (index, verb) in ["Pause", "Resume", "Rollback"].iter().cycle().take(ACTIONS).enumerate() {
        let action: RolloutAction = serde_json::from_value(json!({
            "apiVersion": "sluice.dev/v1alpha1",
            "kind": "RolloutAction",
            "metadata": {"name": format!("act-{index}"), "namespace": TENANT},
            "spec": {"rolloutRef": {"name": own(index)}, "action": verb, "reason": "benchmark"},
        }))
        .unwrap();
        api.create(&PostParams::default(), &action).await.unwrap();
    }
}

/// Large files that claim to be the controller's.
async fn store(client: &Client) {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), TENANT);
    for index in 0..MAPS {
        let map: Value = json!({
            "metadata": {"name": format!("large-{index}"), "labels": {"app.kubernetes.io/managed-by": "sluice"},
                "annotations": {"sluice.dev/owner": format!("FeatureRollout/{TENANT}/{}", own(index))}},
            "data": {"flags.json": "x".repeat(MEGABYTE)},
        });
        api.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
    }
}

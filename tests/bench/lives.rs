//! Five thousand rollouts that come and go in turns: what of them stays in memory.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use sluice::clock;

use crate::controller::Controller;
use crate::figures::Figures;
use crate::steps::number;
use crate::thousand::until_ready;
use crate::world::{World, rollout};

const ROLLOUTS: usize = 5000;
const AT_ONCE: usize = 100;
/// After that the allocator has given back what it does not need.
const REST: Duration = Duration::from_secs(30);

/// Creates and deletes, a hundred at a time, half of them in a FlagSet. Their files stay, as they would.
pub async fn run(world: &World, figures: &mut Figures) {
    let mut controller = world.controller().await;
    world.create_flag_set("app").await;
    // What the first ones bring about once is not of any object: connections, buffers, the runtime's own.
    turn(world, 0).await;
    let before = settled(&controller).await;
    figures.add("lives", "memory after a first turn", None, before, "MiB");
    let mut most = before;
    for number in 1..=ROLLOUTS / AT_ONCE {
        turn(world, number).await;
        most = most.max(controller.resident_mib());
    }
    figures.add("lives", "memory, most on the way", None, most, "MiB");
    let after = settled(&controller).await;
    figures.add("lives", "memory after 5,000 more", None, after, "MiB");
    figures.add("lives", "more than before", Some("< 3"), after - before, "MiB");
    figures.add("lives", "files without a rollout", None, number(files(world).await), "");
    controller.kill().await;
}

async fn settled(controller: &Controller) -> f64 {
    clock::sleep(REST).await;
    controller.resident_mib()
}

async fn turn(world: &World, turn: usize) {
    let step = json!({"cohorts": {"everyone": 10}, "hold": "1000h"});
    // Those of a FlagSet come back under their names, as a file has room for so many orphans only.
    let names = (0..AT_ONCE).map(|i| match i % 2 {
        0 => (format!("own-{turn}-{i}"), None),
        _ => (format!("member-{i}"), Some("app")),
    });
    let names: Vec<(String, Option<&str>)> = names.collect();
    world.create(names.iter().map(|(name, set)| rollout(name, *set, std::slice::from_ref(&step)))).await;
    until_ready(world, AT_ONCE).await;
    let api = world.rollouts();
    futures::stream::iter(&names)
        .for_each_concurrent(16, async |(name, _)| {
            api.delete(name, &DeleteParams::default()).await.unwrap();
        })
        .await;
}

async fn files(world: &World) -> usize {
    let api = kube::Api::<k8s_openapi::api::core::v1::ConfigMap>::all(world.client.clone());
    let maps = api.list_metadata(&ListParams::default().labels("app.kubernetes.io/managed-by=sluice")).await;
    maps.unwrap().items.iter().map(ResourceExt::name_any).collect::<BTreeSet<_>>().len()
}

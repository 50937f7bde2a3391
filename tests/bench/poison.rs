//! A controller that starts among everything that anybody can store and no decoder takes.

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use sluice::clock;
use sluice::sandbox::{install_crds, install_policies};

use crate::figures::{Figures, quantile};
use crate::pause;
use crate::poisons::{OPERATOR, TENANT, install_feature_flag, is_strict, loosen, poisons, store};
use crate::rollback::{roll_back, seen_at_control};
use crate::steps::number;
use crate::thousand::until_ready;
use crate::world::{NAMESPACE, World, rollout};

/// The neighbour's rollouts.
const ROLLOUTS: usize = 20;
const STARTS: usize = 5;

/// Measures.
pub async fn run(world: &World, figures: &mut Figures) {
    let client = &world.client;
    install_feature_flag(client).await;
    for name in [TENANT, OPERATOR] {
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    }
    loosen(client).await;
    let all = poisons();
    for poison in &all {
        while !store(client, poison).await {
            pause(100).await;
        }
    }
    install_crds(client).await.unwrap();
    install_policies(client).await.unwrap();
    while !is_strict(client, NAMESPACE).await {
        pause(100).await;
    }
    figures.add("poison", "objects of the tenant", None, number(all.len()), "");

    let mut started = Vec::new();
    for _ in 0..STARTS {
        let mut controller = world.unready_controller();
        controller.until_ready().await;
        started.push(controller.started.elapsed().as_secs_f64());
        controller.kill().await;
    }
    figures.add("poison", "start to ready, median", None, quantile(&mut started, 0.5), "s");
    figures.add("poison", "start to ready, most", Some("< 5"), quantile(&mut started, 1.0), "s");

    let _controller = world.controller().await;
    let names: Vec<String> = (0..ROLLOUTS).map(|index| format!("beside-{index:02}")).collect();
    let steps = [json!({"cohorts": {"everyone": 10}, "hold": "1000h"})];
    let begun = clock::monotonic();
    world.create(names.iter().map(|name| rollout(name, None, &steps))).await;
    until_ready(world, ROLLOUTS).await;
    figures.add("poison", "20 of a neighbour created to Ready", None, begun.elapsed().as_secs_f64(), "s");
    let recorder = world.recorder().await;
    let mut created = std::collections::BTreeMap::new();
    for name in &names {
        created.insert(name.clone(), roll_back(world, name).await);
        pause(250).await;
    }
    pause(2000).await;
    let seen = seen_at_control(&recorder.since(0), &created);
    let late =
        created.iter().filter_map(|(name, at)| Some(seen.get(name)?.duration_since(*at).as_secs_f64()));
    let mut late: Vec<f64> = late.collect();
    figures.add("poison", "rollbacks never seen", Some("0"), number(created.len() - late.len()), "");
    figures.add("poison", "rollback by an action, most", Some("< 1"), quantile(&mut late, 1.0), "s");
}

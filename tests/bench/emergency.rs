//! From an emergency in git to what an app reads inside of its container, on a real kubelet.

use sluice::clock;

use crate::figures::{Figures, ms, quantile};
use crate::node::{self, Node};
use crate::world::{NAMESPACE, World, rollout};

const TRIALS: usize = 100;
const SET: &str = "app";
const FLAG: &str = "emergency";

/// Takes a FlagSet to control and back.
pub async fn run(world: &World, figures: &mut Figures) {
    let node = Node::join(world.plane()).await;
    let _controller = world.controller().await;
    world.create_flag_set(SET).await;
    let step = serde_json::json!({"cohorts": {"everyone": 50}, "hold": "1000h"});
    world.create([rollout(FLAG, Some(SET), &[step])]).await;
    // The ConfigMap may come after the pod: its kubelet waits for it.
    let app = node.run(&world.client, NAMESPACE, "app", SET, false).await;
    app.until("the flag is served", |file| !node::is_at_control(file, FLAG)).await;
    let begun = clock::monotonic();
    let mut took = Vec::new();
    for _ in 0..TRIALS {
        took.push(ms(node::emergency(&world.client, NAMESPACE, SET, FLAG, &app).await));
        node::lift(&world.client, NAMESPACE, SET, FLAG, &app).await;
    }
    eprintln!("{TRIALS} emergencies in {} s", begun.elapsed().as_secs());
    figures.add(
        "emergency",
        "edit answered to read in the container, median",
        None,
        quantile(&mut took, 0.5),
        "ms",
    );
    figures.add(
        "emergency",
        "edit answered to read in the container, p99",
        Some("< 2000"),
        quantile(&mut took, 0.99),
        "ms",
    );
    figures.add(
        "emergency",
        "edit answered to read in the container, last",
        None,
        quantile(&mut took, 1.0),
        "ms",
    );
}

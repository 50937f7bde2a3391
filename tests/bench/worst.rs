//! What the largest rollouts that the schema admits cost: once, and whoever is in the same file with them.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::json;
use sluice::api::FeatureRollout;
use sluice::clock;

use crate::controller::Controller;
use crate::figures::Figures;
use crate::largest::largest;
use crate::steps::number;
use crate::thousand::until_ready;
use crate::world::{World, rollout};

/// How many of them.
const OBJECTS: usize = 10;
/// The file that they share with a small rollout.
const SET: &str = "worst";
const SMALL: &str = "small";
/// Edits of the small one.
const EDITS: usize = 40;
/// Until the controller has nothing left to do.
const SETTLED: Duration = Duration::from_secs(3);
/// From one edit to the next: longer than the spacing of a file's writes.
const APART: Duration = Duration::from_millis(300);

/// Measures.
pub async fn run(world: &World, figures: &mut Figures) {
    let controller = world.controller().await;
    world.create_flag_set(SET).await;
    world.create([rollout(SMALL, Some(SET), &[json!({"cohorts": {"everyone": 10}, "hold": "1000h"})])]).await;
    until_ready(world, 1).await;
    clock::sleep(SETTLED).await;
    let alone = edits(world, &controller, 0).await;

    let (cpu, memory) = (controller.cpu_seconds(), controller.resident_mib());
    let all = (0..OBJECTS).map(|index| {
        let mut object = largest(&format!("worst-{index}"));
        object["metadata"]["namespace"] = json!(crate::world::NAMESPACE);
        object["spec"]["flagSetRef"] = json!({"name": SET});
        serde_json::from_value::<FeatureRollout>(object).unwrap()
    });
    world.create(all).await;
    until_ready(world, OBJECTS + 1).await;
    clock::sleep(SETTLED).await;
    let each = (controller.cpu_seconds() - cpu) * 1000.0 / number(OBJECTS);
    figures.add("worst", "CPU of one, created until it is Ready", Some("< 50"), each, "ms");
    let each = (controller.resident_mib() - memory) / number(OBJECTS);
    figures.add("worst", "memory of one", Some("< 8"), each, "MiB");
    let beside = edits(world, &controller, EDITS).await;
    figures.add("worst", "CPU of an edit of a small one, alone in the file", None, alone, "ms");
    figures.add("worst", "CPU of an edit of a small one, beside ten of them", Some("< 50"), beside, "ms");
}

/// Milliseconds of CPU that an edit of the small rollout costs.
async fn edits(world: &World, controller: &Controller, first: usize) -> f64 {
    let before = controller.cpu_seconds();
    for index in first..first + EDITS {
        let phases =
            json!([{"name": "ga", "steps": [{"cohorts": {"everyone": 11 + index}, "hold": "1000h"}]}]);
        let patch = Patch::Merge(json!({"spec": {"phases": phases}}));
        world.rollouts().patch(SMALL, &PatchParams::default(), &patch).await.unwrap();
        clock::sleep(APART).await;
    }
    clock::sleep(SETTLED).await;
    (controller.cpu_seconds() - before) * 1000.0 / number(EDITS)
}

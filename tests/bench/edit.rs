//! From the PUT of an edited spec to the ConfigMap, on a controller that has nothing else to do.

use std::time::Duration;

use kube::api::PostParams;
use serde_json::json;
use sluice::api::FeatureRollout;
use sluice::clock;

use crate::figures::{Figures, ms, quantile};
use crate::world::{World, rollout};

const TRIALS: u32 = 200;
/// Longer than the writer's spacing, so that an edit never waits for the one before.
const PAUSE: Duration = Duration::from_millis(300);

/// Raises and lowers one rollout in turn.
pub async fn run(world: &World, figures: &mut Figures) {
    let _controller = world.controller().await;
    let recorder = world.recorder().await;
    world.create([spec(10)]).await;
    recorder.until(0, |seen| seen.served().get("edit") == Some(&10_000)).await.unwrap();
    let (mut from_sent, mut from_answered) = (Vec::new(), Vec::new());
    for trial in 0..TRIALS {
        clock::sleep(PAUSE).await;
        let percent = if trial % 2 == 0 { 20 } else { 10 };
        let mut object = world.rollouts().get("edit").await.unwrap();
        object.spec = spec(percent).spec;
        let first = recorder.len();
        let sent = clock::real_now();
        world.rollouts().replace("edit", &PostParams::default(), &object).await.unwrap();
        let answered = clock::real_now();
        let wanted = percent * 1000;
        match recorder.until(first, |seen| seen.served().get("edit") == Some(&wanted)).await {
            Some(at) => {
                from_sent.push(ms(at.duration_since(sent).unsigned_abs()));
                from_answered.push(at.duration_since(answered).as_secs_f64() * 1000.0);
            }
            None => eprintln!("edit {trial} never reached the ConfigMap"),
        }
    }
    figures.add("edit", "trials", None, f64::from(u32::try_from(from_sent.len()).unwrap()), "");
    figures.add("edit", "PUT sent to ConfigMap, median", Some("< 40"), quantile(&mut from_sent, 0.5), "ms");
    figures.add("edit", "PUT sent to ConfigMap, p99", None, quantile(&mut from_sent, 0.99), "ms");
    figures.add("edit", "PUT answered to ConfigMap, median", None, quantile(&mut from_answered, 0.5), "ms");
    figures.add("edit", "PUT answered to ConfigMap, p99", None, quantile(&mut from_answered, 0.99), "ms");
}

fn spec(percent: u32) -> FeatureRollout {
    rollout("edit", None, &[json!({"cohorts": {"everyone": percent}, "hold": "1000h"})])
}

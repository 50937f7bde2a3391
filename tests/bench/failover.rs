//! From the end of the process that leads to an edit in the ConfigMap, by the one that stood by, at the default lease.

use kube::api::PostParams;
use serde_json::json;
use sluice::api::FeatureRollout;
use sluice::clock;

use crate::controller::Controller;
use crate::figures::{Figures, quantile};
use crate::pause;
use crate::world::{World, rollout};

const TRIALS: u32 = 20;
const ROLLOUTS: u32 = 200;
/// The edited rollout.
const EDITED: &str = "edited";
/// How often the Lease is renewed: ends are spread over that.
const RENEWED: u32 = 2000;

/// Kills the leader, then asks it to end, as often as that.
pub async fn run(world: &World, figures: &mut Figures) {
    let mut leader = world.candidate();
    leader.until("sluice_leader", 1.0).await;
    leader.until_ready().await;
    let others = (0..ROLLOUTS).map(|i| rollout(&format!("other-{i}"), None, &[step(5)]));
    let recorder = world.recorder().await;
    world.create(others.chain([edited(10)])).await;
    recorder.until(0, |seen| seen.served().get(EDITED) == Some(&10_000)).await.unwrap();
    let mut percent = 10;
    for (kill, bar) in [(true, "< 17"), (false, "< 2")] {
        let mut taken = Vec::new();
        for trial in 0..TRIALS {
            let standby = world.candidate();
            standby.until_ready().await;
            pause(1000 + u64::from(trial * RENEWED / TRIALS)).await;
            percent = 30 - percent;
            let first = recorder.len();
            let begun = clock::real_now();
            end(&mut leader, kill).await;
            edit(world, percent).await;
            let wanted = percent * 1000;
            match recorder.until(first, |seen| seen.served().get(EDITED) == Some(&wanted)).await {
                Some(at) => taken.push(at.duration_since(begun).as_secs_f64()),
                None => eprintln!("trial {trial}: the edit never reached the ConfigMap"),
            }
            leader = standby;
        }
        let how = if kill { "kill -9" } else { "SIGTERM" };
        let count = f64::from(u32::try_from(taken.len()).unwrap());
        figures.add("failover", format!("{how}: trials"), None, count, "");
        figures.add(
            "failover",
            format!("{how} to an edit in the ConfigMap, median"),
            None,
            quantile(&mut taken, 0.5),
            "s",
        );
        figures.add(
            "failover",
            format!("{how} to an edit in the ConfigMap, longest"),
            Some(bar),
            quantile(&mut taken, 1.0),
            "s",
        );
    }
}

/// Ends it without a word, or asks it to.
async fn end(leader: &mut Controller, kill: bool) {
    if kill {
        leader.kill().await;
    } else {
        leader.terminate();
    }
}

async fn edit(world: &World, percent: u32) {
    let mut object = world.rollouts().get(EDITED).await.unwrap();
    object.spec = edited(percent).spec;
    world.rollouts().replace(EDITED, &PostParams::default(), &object).await.unwrap();
}

fn edited(percent: u32) -> FeatureRollout {
    rollout(EDITED, None, &[step(percent)])
}

fn step(percent: u32) -> serde_json::Value {
    json!({"cohorts": {"everyone": percent}, "hold": "1000h"})
}

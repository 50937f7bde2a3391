//! A thousand rollouts while every event, and every status write of a hundred of them, is refused, gets no answer, or one
//! of both: what that costs in calls, and how soon a rollback of one of the others is in its ConfigMap all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use sluice::clock;

use crate::figures::{Figures, quantile};
use crate::proxy::Proxy;
use crate::rollback::{roll_back, seen_at_control};
use crate::steps::number;
use crate::thousand::until_ready;
use crate::world::{NAMESPACE, World, rollout};

const ROLLOUTS: usize = 1000;
/// For how long writes fail in each way, if `SLUICE_BENCH_FAILING_S` says nothing else: ten minutes.
const FAILING: Duration = Duration::from_secs(600);
/// Rollbacks while writes fail, in each way.
const TRIALS: usize = 20;
/// Clients that edit at the same time.
const CLIENTS: usize = 16;
/// What fails: events, and the status writes of the first hundred rollouts.
const FAILS: [&str; 2] = ["events.k8s.io/", "/featurerollouts/rollout-00"];

/// How writes fail.
#[derive(Clone, Copy)]
enum Way {
    Refused,
    Hanging,
    Both,
}

impl Way {
    fn begin(self, proxy: &Proxy) {
        match self {
            Way::Refused => proxy.refuse(&FAILS, 500),
            Way::Hanging => proxy.hang_on(&FAILS),
            Way::Both => {
                proxy.hang_on(&FAILS);
                proxy.refuse_every_other(&FAILS, 500);
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Way::Refused => "refused",
            Way::Hanging => "no answer",
            Way::Both => "both",
        }
    }
}

/// Creates a thousand rollouts and lets their writes fail in every way.
pub async fn run(world: &World, figures: &mut Figures) {
    let proxy = Proxy::start(world.client.clone(), NAMESPACE).await;
    let kubeconfig = world.plane().data_dir().join("proxy.kubeconfig");
    std::fs::write(&kubeconfig, proxy.kubeconfig()).unwrap();
    let controller = world.controller_with(&kubeconfig);
    controller.until_ready().await;
    let names: Vec<String> = (0..ROLLOUTS).map(|index| format!("rollout-{index:04}")).collect();
    let steps = [json!({"cohorts": {"everyone": 50}, "hold": "1000h"})];
    world.create(names.iter().map(|name| rollout(name, None, &steps))).await;
    until_ready(world, ROLLOUTS).await;
    let failing = std::env::var("SLUICE_BENCH_FAILING_S").ok().and_then(|seconds| seconds.parse().ok());
    let failing = failing.map_or(FAILING, Duration::from_secs);

    for (turn, way) in [Way::Refused, Way::Hanging, Way::Both].into_iter().enumerate() {
        way.begin(&proxy);
        let recorder = world.recorder().await;
        let asked = FAILS.map(|part| proxy.asked(part).len());
        let begun = clock::monotonic();
        // An entry in every history, and a status write of every rollout.
        suspend(world, &names, turn % 2 == 0).await;
        let mut created = BTreeMap::new();
        for name in names.iter().skip(500 + turn * TRIALS).take(TRIALS) {
            let at = roll_back(world, name).await;
            created.insert(name.clone(), at);
            clock::sleep(failing / 100).await;
        }
        clock::sleep(failing.saturating_sub(begun.elapsed())).await;
        let way = way.name();
        for ((part, what), before) in
            FAILS.iter().zip(["events", "status writes of a hundred rollouts"]).zip(asked)
        {
            let calls = proxy.asked(part).len() - before;
            figures.add("refusals", format!("{way}: calls for {what}"), None, number(calls), "");
        }
        let seen = seen_at_control(&recorder.since(0), &created);
        let late = seen.iter().filter_map(|(name, at)| Some(at.duration_since(*created.get(name)?)));
        let mut late: Vec<f64> = late.map(|late| late.as_secs_f64() * 1000.0).collect();
        figures.add(
            "refusals",
            format!("{way}: rollbacks never seen"),
            Some("0"),
            number(created.len() - seen.len()),
            "",
        );
        figures.add("refusals", format!("{way}: rollback, median"), None, quantile(&mut late, 0.5), "ms");
        figures.add(
            "refusals",
            format!("{way}: rollback, most"),
            Some("< 1000"),
            quantile(&mut late, 1.0),
            "ms",
        );
        proxy.stop_hanging();
        let again = clock::monotonic();
        until_published(world).await;
        let again = again.elapsed().as_secs_f64();
        figures.add("refusals", format!("{way}: all is published after the end of it"), None, again, "s");
    }
}

async fn suspend(world: &World, names: &[String], suspend: bool) {
    let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
    futures::stream::iter(names)
        .for_each_concurrent(CLIENTS, async |name| {
            world.rollouts().patch(name, &PatchParams::default(), &patch).await.unwrap();
        })
        .await;
}

async fn until_published(world: &World) {
    for _ in 0..300 {
        let rollouts = world.rollouts().list(&kube::api::ListParams::default()).await.unwrap();
        let is_published =
            |status: &sluice::api::FeatureRolloutStatus| status.published_seq == status.last_seq();
        if rollouts.iter().all(|rollout| rollout.status.as_ref().is_some_and(is_published)) {
            return;
        }
        clock::sleep(Duration::from_secs(1)).await;
    }
    eprintln!("after five minutes not everything is published");
}

//! A thousand checks a minute, of which one in twenty hangs, while another source sends without end: how late the
//! healthy ones are, and what it takes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use sluice::api::FeatureRollout;
use sluice::clock;

use crate::figures::{Figures, quantile};
use crate::hostile::{Asked, Hostile, Reply};
use crate::sources;
use crate::steps::number;
use crate::world::{NAMESPACE, World, rollout};

const HEALTHY: usize = 950;
const HANGING: usize = 50;
/// Every check's interval: a minute.
const ROUND: Duration = Duration::from_secs(60);
/// Rounds with every source, after one with the healthy source alone.
const ROUNDS: usize = 3;

/// Runs the checks.
pub async fn run(world: &World, figures: &mut Figures) {
    let late: Arc<Mutex<Vec<f64>>> = Arc::default();
    let seen = late.clone();
    let healthy = Hostile::start(None, move |asked: &Asked| {
        let slot: f64 = asked.parameter("time").and_then(|time| time.parse().ok()).unwrap_or_default();
        let now = clock::real_now().as_millisecond() as f64 / 1000.0;
        seen.lock().unwrap().push(now - slot);
        Reply::now(asked, "0.5")
    })
    .await;
    let hanging = Hostile::always(Reply::Hang).await;
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n".to_vec();
    let endless = Hostile::always(Reply::Endless(head, vec![b' '; 64 * 1024])).await;
    for (name, server) in [("healthy", &healthy), ("hanging", &hanging), ("endless", &endless)] {
        let limits = json!({"requestsPerSecond": 1000, "concurrency": 64});
        sources::create(&world.client, NAMESPACE, name, server, limits).await;
    }

    let controller = world.controller().await;
    world.create((0..HEALTHY).map(|i| watched(&format!("healthy-{i:04}"), "healthy", "1m"))).await;
    clock::sleep(ROUND * 2).await;
    let before = controller.resident_mib();
    late.lock().unwrap().clear();
    let bad = (0..HANGING).map(|i| watched(&format!("hanging-{i:04}"), "hanging", "1m"));
    world.create(bad.chain([watched("endless", "endless", "5s")])).await;
    clock::sleep(ROUND * u32::try_from(ROUNDS).unwrap()).await;
    let after = controller.resident_mib();

    let mut late = std::mem::take(&mut *late.lock().unwrap());
    let wanted = number(HEALTHY * ROUNDS);
    figures.add("checks", "healthy checks made, of those due", Some("1"), number(late.len()) / wanted, "");
    figures.add("checks", "healthy checks late, median", None, quantile(&mut late, 0.5), "s");
    figures.add("checks", "healthy checks late, p99", Some("< 1"), quantile(&mut late, 0.99), "s");
    figures.add("checks", "memory before", None, before, "MiB");
    figures.add("checks", "memory grown", Some("< 8"), after - before, "MiB");
}

fn watched(name: &str, template: &str, interval: &str) -> FeatureRollout {
    let steps = [json!({"cohorts": {"everyone": 10}, "hold": "1000h"})];
    sources::watched(rollout(name, None, &steps), template, interval, "5m")
}

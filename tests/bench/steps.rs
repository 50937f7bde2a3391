//! How late dated steps are: one at a time, and a hundred of one FlagSet at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use sluice::api::MicroTime;
use sluice::clock;

use crate::audit::count;
use crate::figures::{Figures, quantile};
use crate::recorder::Seen;
use crate::world::{World, rollout};

/// Rollouts that step in turn, and how often each.
const ROLLOUTS: u32 = 10;
const STEPS: u32 = 20;
/// From one step to the next, of whichever rollout.
const APART: i64 = 237;

/// A step with a date.
pub fn step(at: MicroTime, percent: u32, hold: &str) -> Value {
    json!({"at": at.to_string(), "cohorts": {"everyone": percent}, "hold": hold})
}

/// Lateness in milliseconds of each (flag, thousandths of a percent) that was due; `None` where it was never seen.
pub fn lateness(seen: &[Seen], due: &BTreeMap<(String, u32), MicroTime>) -> Vec<Option<f64>> {
    let mut first: BTreeMap<(String, u32), MicroTime> = BTreeMap::new();
    for version in seen {
        for served in version.served() {
            first.entry(served).or_insert(version.at);
        }
    }
    due.iter().map(|(what, due)| Some(first.get(what)?.duration_since(*due).as_secs_f64() * 1000.0)).collect()
}

/// Waits until it is some time after an instant.
pub async fn wait_past(at: MicroTime, more: Duration) {
    let left = Duration::try_from(at.duration_since(clock::real_now())).unwrap_or_default();
    clock::sleep(left + more).await;
}

/// Steps spread over time, so that each finds the controller idle.
pub async fn single(world: &World, figures: &mut Figures) {
    let _controller = world.controller().await;
    let recorder = world.recorder().await;
    let begin = clock::real_now() + SignedDuration::from_secs(3);
    let mut due = BTreeMap::new();
    let rollouts: Vec<_> = (0..ROLLOUTS)
        .map(|index| {
            let name = format!("single-{index}");
            let steps: Vec<Value> = (0..STEPS)
                .map(|number| {
                    let at =
                        begin + SignedDuration::from_millis(i64::from(number * ROLLOUTS + index) * APART);
                    due.insert((name.clone(), (number + 1) * 1000), at);
                    step(at, number + 1, "1ms")
                })
                .collect();
            rollout(&name, None, &steps)
        })
        .collect();
    world.create(rollouts).await;
    let last = *due.values().max().unwrap();
    wait_past(last, Duration::from_secs(2)).await;

    let found = lateness(&recorder.since(0), &due);
    let missing = found.iter().filter(|late| late.is_none()).count();
    let mut late: Vec<f64> = found.into_iter().flatten().collect();
    let early = late.iter().filter(|late| **late < 0.0).count();
    figures.add("step", "steps", None, number(due.len()), "");
    figures.add("step", "never seen", Some("0"), number(missing), "");
    figures.add("step", "early", Some("0"), number(early), "");
    figures.add("step", "lateness, median", Some("< 50"), quantile(&mut late, 0.5), "ms");
    figures.add("step", "lateness, p99", None, quantile(&mut late, 0.99), "ms");
    figures.add("step", "lateness, most", None, quantile(&mut late, 1.0), "ms");
}

/// A hundred rollouts of one file that step at the same instant.
pub async fn together(world: &World, figures: &mut Figures) {
    let _controller = world.controller().await;
    let recorder = world.recorder().await;
    world.create_flag_set("together").await;
    let at = clock::real_now() + SignedDuration::from_secs(12);
    let names: BTreeSet<String> = (0..100).map(|index| format!("together-{index:03}")).collect();
    let first = json!({"cohorts": {"everyone": 10}, "hold": "1ms"});
    world
        .create(
            names.iter().map(|name| rollout(name, Some("together"), &[first.clone(), step(at, 50, "1000h")])),
        )
        .await;
    wait_past(at, Duration::from_millis(0)).await;
    // The first step of each has long been delivered by now.
    let early_versions = recorder.len();
    let early =
        recorder.since(0).iter().flat_map(Seen::served).filter(|(_, served)| *served == 50_000).count();
    let audit = world.audit();
    wait_past(at, Duration::from_secs(8)).await;

    let due = names.iter().map(|name| ((name.clone(), 50_000), at)).collect();
    let found = lateness(&recorder.since(early_versions), &due);
    let missing = found.iter().filter(|late| late.is_none()).count();
    let mut late: Vec<f64> = found.into_iter().flatten().collect();
    let writes = audit.writes();
    figures.add("together", "never seen", Some("0"), number(missing), "");
    figures.add("together", "early", Some("0"), number(early), "");
    figures.add("together", "lateness, median", None, quantile(&mut late, 0.5), "ms");
    figures.add("together", "lateness, most", Some("< 2000"), quantile(&mut late, 1.0), "ms");
    figures.add(
        "together",
        "ConfigMap writes",
        Some("<= 10"),
        number(count(&writes, "update configmaps")),
        "",
    );
    for (what, count) in &writes {
        figures.add("together", format!("  {what}"), None, number(*count), "");
    }
}

/// A count as a figure.
pub fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

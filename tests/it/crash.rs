//! kill -9 after, or before, any single write leads to the same end as no crash at all.

use std::path::Path;

use futures::StreamExt;
use serde_json::Value;
use sluice::api::{FeatureRollout, FeatureRolloutStatus};

use crate::support::bare::{Recorded, assert_never_fell, bare_space, events, told};
use crate::support::process::ControllerProcess;
use crate::support::proxy::{Moment, Proxy};
use crate::support::{eventually, is_ready, pause};

mod lowered;

/// Seven steps, a finalizer, two cohorts: every kind of write that a rollout of its own causes.
const SEVEN_STEPS: &str = r"
metadata: {name: seven}
spec:
  deletionPolicy: Control
  cohorts:
  - {name: beta, share: 10, match: {attributes: {segment: beta}}}
  - {name: everyone, share: 90}
  phases: [{name: ga, ramp: {percents: [1, 5, 10, 25, 50, 75, 100], every: 400ms}}]
";

/// Runs at once; each is a controller process, mostly waiting.
const AT_ONCE: usize = 10;

/// What a run led to, without instants and names of its own.
#[derive(Debug, PartialEq)]
struct End {
    status: Value,
    file: Value,
    events: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_4_side_effects_a_crash_at_any_write_changes_nothing() {
    let (undisturbed, writes, _) = run("crash-never", None).await;
    let per_step = (writes.len() - 3) as f64 / 8.0;
    assert!(per_step <= 4.0, "two status writes, one of the file and one event a step: {writes:#?}");
    assert_eq!(undisturbed.events.len(), 8, "{:#?}", undisturbed.events);

    sweep("crash", &undisturbed, &writes, async |name, crash| run(&name, Some(crash)).await).await;
}

/// Has a run crash after and before each of the writes that an undisturbed one took; each comes to the same end. A run gets a name
/// and its crash, and returns its end, its writes, and whether it crashed.
async fn sweep<E: PartialEq + std::fmt::Debug>(
    story: &str,
    undisturbed: &E,
    writes: &[String],
    run: impl AsyncFn(String, (usize, Moment)) -> (E, Vec<String>, bool),
) {
    let crashes = (1..=writes.len()).flat_map(|n| [(n, Moment::After), (n, Moment::Before)]);
    let mut ends = futures::stream::iter(crashes)
        .map(async |(n, moment)| {
            let name = format!("{story}-{n}-{moment:?}").to_lowercase();
            let (end, its_writes, crashed) = run(name, (n, moment)).await;
            (n, moment, end, crashed || its_writes.len() <= n)
        })
        .buffer_unordered(AT_ONCE);
    while let Some((n, moment, end, crashed_or_ended)) = ends.next().await {
        assert_eq!(end, *undisturbed, "killed {moment:?} write {n}, {}", writes[n - 1]);
        // A busy machine may join two writes into one, so that the last ones never come.
        assert!(crashed_or_ended, "write {n} was made and nobody was killed {moment:?} it");
    }
}

/// Runs the seven steps to their end, with one crash at most. Returns what came of it, the writes it took, and
/// whether it crashed.
async fn run(name: &str, crash: Option<(usize, Moment)>) -> (End, Vec<String>, bool) {
    let space = bare_space(name).await;
    let proxy = Proxy::start(space.client.clone(), name).await;
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, proxy.kubeconfig()).unwrap();
    let recorded = Recorded::start(&space, "seven");
    space.apply::<FeatureRollout>(SEVEN_STEPS).await.unwrap();

    let mut crashed = false;
    let process = match crash {
        None => start(folder.path()),
        Some((write, moment)) => {
            let first = start(folder.path());
            let victim = first.clone();
            proxy.at_write(write, moment, move || victim.kill());
            // Where a busy machine has joined two writes into one, the last ones never come.
            eventually("the controller is killed, or done", async || {
                !first.runs() || is_done(&space.status("seven").await)
            })
            .await;
            crashed = !first.runs();
            first.kill();
            start(folder.path())
        }
    };
    let done = space.until("seven", "completed", is_done).await;
    assert!(process.runs(), "{}", process.log());
    let count = told(&done).len();
    eventually("what is told of the history", async || events(&space, "seven").await.len() >= count).await;
    // Whatever is still on its way would show.
    pause(300).await;
    process.kill();
    assert_never_fell(&recorded.all_of("seven").await);
    let file = space.file("seven").await.unwrap();
    let end = End {
        status: without_instants(serde_json::to_value(space.status("seven").await).unwrap(), name),
        file: without_instants(file, name),
        events: events(&space, "seven").await.iter().map(|event| without_time(event)).collect(),
    };
    (end, proxy.writes(), crashed)
}

fn start(folder: &Path) -> ControllerProcess {
    ControllerProcess::start(&folder.join("kubeconfig"), &folder.join("log"))
}

fn is_done(status: &FeatureRolloutStatus) -> bool {
    status.completed_at.is_some() && is_ready(status) && status.published_seq == status.last_seq()
}

/// Takes out what differs between any two runs: instants, UIDs and digests of them, the namespace.
fn without_instants(value: Value, namespace: &str) -> Value {
    const OWN: [&str; 10] = [
        "at",
        "since",
        "uid",
        "fragment",
        "firstSeen",
        "enteredAt",
        "holdFrom",
        "firstExposure",
        "completedAt",
        "lastTransitionTime",
    ];
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(key, _)| !OWN.contains(&key.as_str()))
            .map(|(key, value)| (key, without_instants(value, namespace)))
            .collect(),
        Value::Array(list) => list.into_iter().map(|value| without_instants(value, namespace)).collect(),
        Value::String(text) => Value::String(without_time(&text.replace(namespace, "NAMESPACE"))),
        other => other,
    }
}

/// Takes out the words that are instants.
fn without_time(text: &str) -> String {
    let is_instant = |word: &str| word.starts_with("20") && word.ends_with('Z');
    text.split(' ').filter(|word| !is_instant(word)).collect::<Vec<_>>().join(" ")
}

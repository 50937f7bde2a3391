//! The same where two rollouts share a file, one is lowered by an edit and the other by its trigger.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use sluice::api::{FeatureRollout, FeatureRolloutStatus, FlagSet, MetricSource, MetricTemplate};
use tempfile::TempDir;

use super::sweep;
use crate::support::bare::{Recorded, bare_space, events};
use crate::support::hostile::{Hostile, Reply};
use crate::support::metrics::verdict;
use crate::support::process::ControllerProcess;
use crate::support::proxy::{Moment, Proxy};
use crate::support::{LOOKS, Space, is_ready, pause};

/// A member of FlagSet `app` that stands at a percentage for a long time, with more of a spec.
fn member(name: &str, percent: u32, more: &str) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{flagSetRef: {{name: app}}, cohorts: [{{name: all}}], {more}
          phases: [{{name: ga, steps: [{{cohorts: {{all: {percent}}}, hold: 10000h}}]}}]}}}}"
    )
}

const TRIGGER: &str = "triggers: [{name: errors, metric: {templateRef: {name: errors}}, interval: 1s,
    levels: [{severity: Critical, above: '10', for: 0s, action: ImmediateRollback}]}],";

/// What a run led to, without instants and names of its own.
#[derive(Debug, PartialEq)]
struct End {
    /// What the file serves, by flag.
    file: BTreeMap<String, String>,
    /// State and history of each rollout.
    rollouts: BTreeMap<String, (String, Vec<String>)>,
    /// Reasons of what was told of each.
    events: BTreeMap<String, Vec<String>>,
}

const NAMES: [&str; 2] = ["edited", "watched"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lowers_the_members_of_one_file_comes_to_the_same_end_after_a_crash_at_any_write() {
    let (undisturbed, writes, _) = run("lowered-never", None).await;
    let served = [("edited", "all=20%"), ("watched", "all=0%")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(undisturbed.file, BTreeMap::from(served), "{undisturbed:#?}");
    sweep("lowered", &undisturbed, &writes, async |name, crash| run(&name, Some(crash)).await).await;
}

/// A controller that is started again whenever it was killed.
struct Kept {
    space: Space,
    folder: TempDir,
    process: ControllerProcess,
    crashes: usize,
}

impl Kept {
    fn start(space: &Space, folder: TempDir) -> Kept {
        let process = Kept::begin(&folder.path().join("kubeconfig"), space);
        Kept { space: space.clone(), folder, process, crashes: 0 }
    }

    fn begin(kubeconfig: &std::path::Path, space: &Space) -> ControllerProcess {
        let log: PathBuf = kubeconfig.with_file_name("log");
        ControllerProcess::start_with(kubeconfig, &log, &["--namespace", &space.name])
    }

    /// Waits until both rollouts are as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&str, &FeatureRolloutStatus) -> bool) {
        for _ in 0..LOOKS {
            if !self.process.runs() {
                self.crashes += 1;
                self.process = Kept::begin(&self.folder.path().join("kubeconfig"), &self.space);
            }
            let mut all = true;
            for name in NAMES {
                all &= wanted(name, &self.space.status(name).await);
            }
            if all {
                return;
            }
            pause(50).await;
        }
        for name in NAMES {
            eprintln!("{name}: {:#?}", self.space.status(name).await);
        }
        panic!("{}: never {what}: {}", self.space.name, self.process.log());
    }
}

async fn run(name: &str, crash: Option<(usize, Moment)>) -> (End, Vec<String>, bool) {
    let space = bare_space(name).await;
    let fails = Arc::new(AtomicBool::new(false));
    let failing = fails.clone();
    let server = Hostile::start(None, move |asked| {
        Reply::now(asked, if failing.load(Ordering::Relaxed) { "99" } else { "1" })
    })
    .await;
    let source = format!(
        "{{metadata: {{name: prometheus}}, spec: {{prometheus: {{url: 'http://{}'}}, allowAddresses: ['127.0.0.1'],
          timeout: 1s, limits: {{requestsPerSecond: 100, concurrency: 16}}}}}}",
        server.address
    );
    space.apply::<MetricSource>(&source).await.unwrap();
    let template = "{metadata: {name: errors}, spec: {sourceRef: {name: prometheus}, promql: errors}}";
    space.apply::<MetricTemplate>(template).await.unwrap();
    space.apply::<FlagSet>("{metadata: {name: app}, spec: {}}").await.unwrap();
    let recorded = Recorded::start(&space, "app");
    space.apply::<FeatureRollout>(&member("edited", 60, "")).await.unwrap();
    space.apply::<FeatureRollout>(&member("watched", 40, TRIGGER)).await.unwrap();

    let proxy = Proxy::start(space.client.clone(), name).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kubeconfig"), proxy.kubeconfig()).unwrap();
    let mut kept = Kept::start(&space, folder);
    if let Some((write, moment)) = crash {
        let victim = kept.process.clone();
        proxy.at_write(write, moment, move || victim.kill());
    }
    let is_measured = |name: &str, status: &FeatureRolloutStatus| {
        name == "edited" || verdict(status, "errors", "") == Some("Pass")
    };
    kept.until("begun", |name, status| is_ready(status) && status.exposed() && is_measured(name, status))
        .await;
    fails.store(true, Ordering::Relaxed);
    let phases = json!([{"name": "ga", "steps": [{"cohorts": {"all": 20}, "hold": "10000h"}]}]);
    assert_eq!(space.merge("FeatureRollout", "edited", &json!({"spec": {"phases": phases}})).await.code, 200);
    let is_done = |name: &str, status: &FeatureRolloutStatus| {
        let is_lowered = match name {
            "edited" => is_ready(status) && status.cohorts.iter().all(|c| c.served.to_string() == "20%"),
            _ => status.rollback.as_ref().is_some_and(|rollback| rollback.ended_at.is_some()),
        };
        let is_told = status.published_seq == status.last_seq();
        is_lowered && is_told && status.delivered_revision == status.revision
    };
    kept.until("lowered", is_done).await;
    // Whatever is still on its way would show.
    pause(300).await;
    // A write that came only now may have been the one that it is killed at.
    kept.until("lowered and still running", is_done).await;
    kept.process.kill();

    let file = space.file("app").await.unwrap();
    let mut end = End { file: BTreeMap::new(), rollouts: BTreeMap::new(), events: BTreeMap::new() };
    for name in NAMES {
        assert_never_rose_again(&recorded.all_of(name).await);
        let status = space.status(name).await;
        let reasons = status.history.iter().map(|entry| format!("{} by {}", entry.reason, entry.who));
        let state = format!("{:?} {:?}", status.state, status.served);
        end.file.insert(name.to_owned(), crate::flag_sets::served(&file, name));
        end.rollouts.insert(name.to_owned(), (state, reasons.collect()));
        let told = events(&space, name).await;
        let told = told.iter().map(|event| event.split(':').next().unwrap_or_default().to_owned());
        end.events.insert(name.to_owned(), told.collect());
    }
    (end, proxy.writes(), kept.crashes > 0)
}

/// Once lowered, nobody gets more again.
fn assert_never_rose_again(versions: &[(i64, BTreeMap<String, f64>)]) {
    let served: Vec<f64> = versions.iter().map(|(_, served)| served["all"]).collect();
    let fell = served.windows(2).position(|two| two[1] < two[0]).expect("it was lowered");
    assert!(served[fell..].is_sorted_by(|before, after| after <= before), "{served:?}");
    assert!(versions.is_sorted_by(|(before, _), (after, _)| before <= after), "{versions:?}");
}

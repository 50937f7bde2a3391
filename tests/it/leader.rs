//! Several processes, of which one decides: who does, and that nothing of another one comes after the first write of the next.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sluice::api::{FeatureRollout, FlagSet};
use sluice::clock;
use sluice::controller::SIGNING_SECRET;
use tokio::task::JoinHandle;

use crate::support::bare::{Recorded, bare, bare_space};
use crate::support::process::ControllerProcess;
use crate::support::proxy::Proxy;
use crate::support::{Space, eventually, is_ready, pause};

mod shards;

/// Name of the Lease.
const LEASE: &str = "sluice-controller";
/// Times with which a leader that was killed is followed soon.
const SHORT: [&str; 3] = [
    "--leader-elect-lease-duration=3s",
    "--leader-elect-renew-deadline=2s",
    "--leader-elect-retry-period=500ms",
];

/// How often a leader is lost in one test; the bar of no write out of turn is over 50 of them.
fn rounds() -> usize {
    std::env::var("SLUICE_TEST_FAILOVERS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4)
}

/// A process that stands for election, behind a proxy of its own.
struct Candidate {
    proxy: Proxy,
    process: ControllerProcess,
}

impl Candidate {
    /// Two, of which either may come to lead.
    async fn two(space: &Space, folder: &Path, args: &[&str]) -> (Candidate, Candidate) {
        (Candidate::start(space, folder, args).await, Candidate::start(space, folder, args).await)
    }

    async fn start(space: &Space, folder: &Path, args: &[&str]) -> Candidate {
        let proxy = Proxy::start(space.client.clone(), &space.name).await;
        Candidate::behind(proxy, space, folder, args)
    }

    fn behind(proxy: Proxy, space: &Space, folder: &Path, args: &[&str]) -> Candidate {
        let file = folder.join(proxy.agent());
        std::fs::write(&file, proxy.kubeconfig()).unwrap();
        let own = ["--leader-elect=true", "--namespace", &space.name];
        let args: Vec<&str> = own.iter().chain(args).copied().collect();
        let process = ControllerProcess::start_with(&file, &file.with_extension("log"), &args);
        Candidate { proxy, process }
    }

    /// What it serves at a path: the code and the text.
    async fn serves(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.process.address().await);
        match reqwest::get(url).await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
            // It was killed.
            Err(_) => (0, String::new()),
        }
    }

    /// What it has asked to be written, besides the Lease.
    fn writes(&self) -> Vec<String> {
        self.proxy.asked("").into_iter().filter(|write| !write.contains("/leases")).collect()
    }

    /// Whether it says of itself that it leads.
    async fn leads(&self) -> bool {
        self.serves("/metrics").await.1.contains("\nsluice_leader 1\n")
    }

    async fn until_ready(&self) {
        eventually("it is ready", async || self.serves("/readyz").await.0 == 200).await;
    }
}

/// Which of two leads, once one does; then the other.
async fn leader(two: [&Candidate; 2]) -> [&Candidate; 2] {
    let mut found = None;
    eventually("one of them leads", async || {
        let leads = [two[0].leads().await, two[1].leads().await];
        assert!(leads != [true, true], "both lead: {} {}", two[0].process.log(), two[1].process.log());
        found = leads.iter().position(|leads| *leads);
        found.is_some()
    })
    .await;
    if found == Some(0) { two } else { [two[1], two[0]] }
}

/// A Lease that somebody has released, so that nobody waits for a leader that may have been there.
async fn released(space: &Space) {
    let lease = format!("{{metadata: {{name: {LEASE}}}, spec: {{leaseDurationSeconds: 1}}}}");
    space.apply::<Lease>(&lease).await.unwrap();
}

async fn edit(space: &Space, spec: Value) {
    let patch = Patch::Merge(json!({"spec": spec}));
    space.api::<Lease>().patch(LEASE, &PatchParams::default(), &patch).await.unwrap();
}

async fn holder(space: &Space) -> Option<String> {
    space.api::<Lease>().get_opt(LEASE).await.unwrap()?.spec?.holder_identity
}

/// Who has written anything but Leases in the namespace, in the order in which the API server heard of it, each as often as
/// another one came in between; with every write as evidence.
fn writers(space: &Space) -> (Vec<String>, Vec<String>) {
    let log = std::fs::read_to_string(bare().audit_log_path().unwrap()).unwrap();
    let needle = format!("\"namespace\":\"{}\"", space.name);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut writes: Vec<(String, String, String)> = log
        .lines()
        .filter(|line| line.contains(&needle))
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| !["get", "list", "watch"].contains(&event["verb"].as_str().unwrap_or_default()))
        .filter(|event| event["objectRef"]["resource"] != "leases")
        .map(|event| {
            let object = &event["objectRef"];
            let what = format!("{} {} {}", event["verb"], object["resource"], object["name"]);
            (text(&event["requestReceivedTimestamp"]), text(&event["userAgent"]), what)
        })
        .filter(|(_, agent, _)| agent.starts_with("proxy-"))
        .collect();
    writes.sort();
    let mut agents: Vec<String> = writes.iter().map(|(_, agent, _)| agent.clone()).collect();
    agents.dedup();
    (agents, writes.into_iter().map(|(at, agent, what)| format!("{at} {agent} {what}")).collect())
}

#[track_caller]
fn assert_written_by(space: &Space, expected: &[String]) {
    let (agents, writes) = writers(space);
    assert_eq!(agents, expected, "{writes:#?}");
}

/// Rollouts that are created one after the other, so that there is always something to write.
struct Busy {
    ended: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Busy {
    fn start(space: &Space) -> Busy {
        let (space, ended) = (space.clone(), Arc::new(AtomicBool::new(false)));
        let is_over = ended.clone();
        let task = tokio::spawn(async move {
            let mut count = 0;
            while !is_over.load(Ordering::SeqCst) {
                rollout(&space, &format!("busy-{count}")).await;
                count += 1;
                pause(200).await;
            }
            count
        });
        Busy { ended, task }
    }

    /// Ends it, and waits until all are served.
    async fn end(self, space: &Space) {
        self.ended.store(true, Ordering::SeqCst);
        for i in 0..self.task.await.unwrap() {
            space.until(&format!("busy-{i}"), "served", is_ready).await;
        }
    }
}

async fn rollout(space: &Space, name: &str) {
    let yaml = format!(
        "{{metadata: {{name: {name}}}, spec: {{cohorts: [{{name: everyone}}],
          phases: [{{name: ga, steps: [{{cohorts: {{everyone: 50}}, hold: 1h}}]}}]}}}}"
    );
    space.apply::<FeatureRollout>(&yaml).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_decides_and_when_it_is_ended_the_other_does_at_once() {
    let space = bare_space("leader-sigterm").await;
    released(&space).await;
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = Candidate::two(&space, folder.path(), &[]).await;
    let [first, second] = leader([&a, &b]).await;
    second.until_ready().await;
    let busy = Busy::start(&space);
    // Long enough for a look at the Lease, at what is due and at what nobody needs any more.
    pause(5_000).await;
    assert!(!second.leads().await);
    assert_written_by(&space, &[first.proxy.agent()]);
    assert_eq!(second.writes(), [] as [String; 0], "a process that stands by writes nothing");

    let ended = clock::monotonic();
    assert_eq!(first.process.terminate().await.code(), Some(0), "{}", first.process.log());
    eventually("the other one decides", async || !second.writes().is_empty()).await;
    let took = ended.elapsed();
    println!("the other one decided {} ms after SIGTERM", took.as_millis());
    // The lease is 15 s: it was told.
    assert!(took < Duration::from_secs(8), "{took:?}");
    busy.end(&space).await;
    assert_written_by(&space, &[first.proxy.agent(), second.proxy.agent()]);
    assert_eq!(second.process.terminate().await.code(), Some(0));
    assert_eq!(holder(&space).await, None, "released");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_is_followed_after_its_lease_and_by_nobody_before() {
    let space = bare_space("leader-kill").await;
    released(&space).await;
    let folder = tempfile::tempdir().unwrap();
    let busy = Busy::start(&space);
    let mut first = Candidate::start(&space, folder.path(), &SHORT).await;
    eventually("it leads", async || first.leads().await).await;
    let mut wrote = Vec::new();
    for _ in 0..rounds() {
        let second = Candidate::start(&space, folder.path(), &SHORT).await;
        second.until_ready().await;
        wrote.push(first.proxy.agent());
        let killed = clock::monotonic();
        first.process.kill();
        eventually("the other one decides", async || !second.writes().is_empty()).await;
        println!(
            "the other one decided {} ms after kill -9, with a lease of 3 s",
            killed.elapsed().as_millis()
        );
        first = second;
    }
    wrote.push(first.proxy.agent());
    busy.end(&space).await;
    assert_written_by(&space, &wrote);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_stops_writing_before_the_next_begins_and_may_lead_again() {
    let space = bare_space("leader-cut").await;
    released(&space).await;
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = Candidate::two(&space, folder.path(), &SHORT).await;
    let busy = Busy::start(&space);
    let [mut first, mut second] = leader([&a, &b]).await;
    let mut wrote = Vec::new();
    for round in 0..rounds() {
        second.until_ready().await;
        // It decides, in this round.
        rollout(&space, &format!("round-{round}")).await;
        space.until(&format!("round-{round}"), "served", is_ready).await;
        wrote.push(first.proxy.agent());
        first.proxy.cut();
        eventually("the other one leads", async || second.leads().await).await;
        assert!(!first.leads().await, "{}", first.process.log());
        assert!(first.process.runs(), "it stays a candidate");
        rollout(&space, &format!("after-{round}")).await;
        space.until(&format!("after-{round}"), "served", is_ready).await;
        first.proxy.mend();
        // What it had still wanted to write would come now.
        pause(1_000).await;
        (first, second) = (second, first);
    }
    wrote.push(first.proxy.agent());
    busy.end(&space).await;
    assert_written_by(&space, &wrote);
    for candidate in [&a, &b] {
        assert!(candidate.process.log().contains("does not lead any more"), "{}", candidate.process.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stood_still_writes_nothing_when_it_goes_on() {
    let space = bare_space("leader-stop").await;
    released(&space).await;
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = Candidate::two(&space, folder.path(), &SHORT).await;
    let [first, second] = leader([&a, &b]).await;
    second.until_ready().await;
    let busy = Busy::start(&space);
    rollout(&space, "before").await;
    space.until("before", "served", is_ready).await;
    // In the middle of its work.
    first.process.signal("STOP");
    eventually("the other one leads", async || second.leads().await).await;
    rollout(&space, "after").await;
    space.until("after", "served", is_ready).await;
    first.process.signal("CONT");
    eventually("it knows that it does not lead", async || !first.leads().await).await;
    pause(1_000).await;
    busy.end(&space).await;
    assert_written_by(&space, &[first.proxy.agent(), second.proxy.agent()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_done_to_the_lease_by_hand_there_is_one_leader_and_then_one_again() {
    let space = bare_space("leader-hand").await;
    released(&space).await;
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = Candidate::two(&space, folder.path(), &SHORT).await;
    let busy = Busy::start(&space);
    let [first, second] = leader([&a, &b]).await;
    second.until_ready().await;
    let before = holder(&space).await;

    // Deleted, it is made again by its leader, who goes on.
    space.api::<Lease>().delete(LEASE, &Default::default()).await.unwrap();
    eventually("it is there again", async || holder(&space).await.is_some()).await;
    assert_eq!(holder(&space).await, before);
    // What makes no sense is written over.
    edit(&space, json!({"leaseDurationSeconds": 1, "leaseTransitions": null, "renewTime": null})).await;
    pause(1_500).await;
    assert_eq!(holder(&space).await, before);
    rollout(&space, "same").await;
    space.until("same", "served", is_ready).await;
    assert_written_by(&space, &[first.proxy.agent()]);

    // Given to somebody who does not exist, it is nobody's for as long as that one might lead.
    for edited in [json!({"holderIdentity": "somebody.else"}), json!({"holderIdentity": null})] {
        edit(&space, edited).await;
        eventually("neither leads", async || !first.leads().await && !second.leads().await).await;
        leader([first, second]).await;
    }
    busy.end(&space).await;
    let (agents, writes) = writers(&space);
    assert!(agents.len() <= 3, "one after the other, once a term: {writes:#?}");
}

/// What only a leader needs keeps nobody from standing by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_is_ready_once_it_has_keys_and_one_that_stands_by_without() {
    let space = bare_space("leader-keys").await;
    released(&space).await;
    let folder = tempfile::tempdir().unwrap();
    let first = Candidate::start(&space, folder.path(), &SHORT).await;
    first.until_ready().await;
    let second = Candidate::start(&space, folder.path(), &SHORT).await;
    second.until_ready().await;
    let keys: Api<Secret> = space.api();
    let good = keys.get(SIGNING_SECRET).await.unwrap();
    let none = Patch::Merge(json!({"data": {"key": null}}));
    keys.patch(SIGNING_SECRET, &PatchParams::default(), &none).await.unwrap();
    assert_eq!(first.serves("/readyz").await.0, 200, "it goes on with what it has");

    first.process.kill();
    eventually("the other one says what it lacks", async || {
        let (code, why) = second.serves("/readyz").await;
        code == 503 && why.contains(&format!("Secret {}/{SIGNING_SECRET}, cannot be used", space.name))
    })
    .await;
    let third = Candidate::start(&space, folder.path(), &SHORT).await;
    third.until_ready().await;
    assert!(second.leads().await && !third.leads().await);
    assert_eq!(third.writes(), [] as [String; 0]);
    let back = Patch::Merge(json!({"data": good.data}));
    keys.patch(SIGNING_SECRET, &PatchParams::default(), &back).await.unwrap();
    second.until_ready().await;
    rollout(&space, "after").await;
    space.until("after", "served", is_ready).await;
    assert_written_by(&space, &[first.proxy.agent(), second.proxy.agent()]);
}

const SET: &str = "{metadata: {name: app}, spec: {timeZone: UTC}}";
const STOPPED: &str = "{metadata: {name: app}, spec: {timeZone: UTC, emergency: Control}}";
const CLIMBING: &str = "
metadata: {name: climbing}
spec:
  flagSetRef: {name: app}
  cohorts: [{name: everyone}]
  phases: [{name: ga, ramp: {percents: [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 70, 80, 90, 100], every: 1500ms}}]
";

/// A process that stands by may be behind the times: its watches are ten seconds late here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_decision_of_a_new_leader_knows_what_is_stored() {
    let space = bare_space("leader-late").await;
    released(&space).await;
    space.apply::<FlagSet>(SET).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let first = Candidate::start(&space, folder.path(), &SHORT).await;
    eventually("it leads", async || first.leads().await).await;
    let late = Proxy::with_watch_delay(space.client.clone(), &space.name, Duration::from_secs(10)).await;
    let second = Candidate::behind(late, &space, folder.path(), &SHORT);
    second.until_ready().await;
    let recorded = Recorded::start(&space, "app");
    space.apply::<FeatureRollout>(CLIMBING).await.unwrap();
    space
        .until("climbing", "at its second step", |status| status.served.as_deref() == Some("everyone=10%"))
        .await;

    first.proxy.cut();
    first.process.kill();
    let before = recorded.all_of("climbing").await.len();
    let served = recorded.of("climbing").last().unwrap().1["everyone"];
    space.apply::<FlagSet>(STOPPED).await.unwrap();
    let at_control = |status: &sluice::api::FeatureRolloutStatus| {
        status.served.as_deref() == Some("everyone=0%") && is_ready(status)
    };
    space.until("climbing", "at control", at_control).await;
    for (revision, now) in recorded.all_of("climbing").await.into_iter().skip(before) {
        assert!(now["everyone"] <= served, "revision {revision} raises it in the emergency: {now:?}");
    }
    assert!(second.process.log().contains("begins anew"), "{}", second.process.log());
}

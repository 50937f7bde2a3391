//! Several processes that share the namespaces of a cluster: each namespace is decided on by one of them, whoever comes and goes, and
//! whatever number of shards they want.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sluice::api::NotificationChannel;
use sluice::controller::Shards;
use sluice::sandbox::{ControlPlane, Options, install_crds, install_policies};

use super::*;
use crate::notifications::receiver::Receiver;

/// Times with which somebody who was killed is followed soon, and a machine with much to do loses no lead.
const TIMES: [&str; 3] = [
    "--leader-elect-lease-duration=6s",
    "--leader-elect-renew-deadline=5s",
    "--leader-elect-retry-period=1s",
];
/// The operator's own namespace.
const OWN: &str = "sluice-system";

/// A cluster of its own, as its processes look after everything that is in it.
struct Cluster {
    plane: ControlPlane,
    own: Space,
    spaces: Vec<Space>,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// One in which so many shards are in force, and nobody leads any.
    async fn start(shards: u16) -> Cluster {
        let plane = ControlPlane::start(Options { audit_log: true, ..Options::default() }).await.unwrap();
        let client = plane.client().unwrap();
        install_crds(&client).await.unwrap();
        install_policies(&client).await.unwrap();
        // It came with the kinds.
        let own = Space { client: client.clone(), name: OWN.to_owned() };
        let lease = format!(
            "{{metadata: {{name: {LEASE}, annotations: {{sluice.dev/shards: '{shards}'}}}}, spec: {{leaseDurationSeconds: 1}}}}"
        );
        own.apply::<Lease>(&lease).await.unwrap();
        let mut spaces = Vec::new();
        for name in ["maya", "shop", "search", "team-1", "team-2", "team-3"] {
            spaces.push(Space::on(client.clone(), name).await);
        }
        for count in [2, 3] {
            let of = spaces.iter().map(|space| index(count, &space.name)).collect::<BTreeSet<_>>();
            assert_eq!(of.len(), usize::from(count), "each of {count} shards has a namespace");
        }
        Cluster { plane, own, spaces, folder: tempfile::tempdir().unwrap() }
    }

    /// Starts a process that wants so many shards.
    async fn candidate(&self, shards: u16) -> Candidate {
        let proxy = Proxy::start(self.own.client.clone(), "").await;
        let shards = format!("--shards={shards}");
        let args: Vec<&str> = TIMES.iter().copied().chain([shards.as_str()]).collect();
        Candidate::behind(proxy, &self.own, self.folder.path(), &args)
    }

    /// Who has written anything but Leases in a namespace, in the order in which the API server heard of it, each as often as
    /// another one came in between; with when each of these stretches began and ended.
    fn stretches(&self, namespace: &str) -> Vec<(String, String, String)> {
        let log = std::fs::read_to_string(self.plane.audit_log_path().unwrap()).unwrap();
        let needle = format!("\"namespace\":\"{namespace}\"");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut writes: Vec<(String, String)> = log
            .lines()
            .filter(|line| line.contains(&needle))
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|event| event["objectRef"]["namespace"] == namespace)
            .filter(|event| !["get", "list", "watch"].contains(&event["verb"].as_str().unwrap_or_default()))
            .filter(|event| event["objectRef"]["resource"] != "leases")
            .map(|event| (text(&event["requestReceivedTimestamp"]), text(&event["userAgent"])))
            .filter(|(_, agent)| agent.starts_with("proxy-"))
            .collect();
        writes.sort();
        let mut stretches: Vec<(String, String, String)> = Vec::new();
        for (at, agent) in writes {
            match stretches.last_mut().filter(|(last, ..)| *last == agent) {
                Some((_, _, end)) => *end = at,
                None => stretches.push((agent, at.clone(), at)),
            }
        }
        stretches
    }

    /// The same without the times.
    fn writers(&self, namespace: &str) -> Vec<String> {
        self.stretches(namespace).into_iter().map(|(agent, ..)| agent).collect()
    }

    /// Creates a rollout in each namespace, and waits until all are served.
    async fn rollouts(&self, name: &str) {
        for space in &self.spaces {
            rollout(space, name).await;
        }
        for space in &self.spaces {
            space.until(name, "served", is_ready).await;
        }
    }
}

fn index(shards: u16, namespace: &str) -> u16 {
    Shards::new(shards).unwrap().of(namespace).index()
}

/// The numbers of the shards that a process says it leads.
async fn led(candidate: &Candidate) -> BTreeSet<u16> {
    let text = candidate.serves("/metrics").await.1;
    let shard =
        |line: &str| line.strip_prefix("sluice_shard_leader{shard=\"")?.strip_suffix("\"} 1")?.parse().ok();
    text.lines().filter_map(shard).collect()
}

/// Who leads which of so many shards, once each is led: the place in `candidates` by shard.
async fn leaders(candidates: &[&Candidate], shards: u16) -> BTreeMap<u16, usize> {
    let mut leaders = BTreeMap::new();
    eventually("each shard is led", async || {
        leaders.clear();
        for (i, candidate) in candidates.iter().enumerate() {
            for shard in led(candidate).await {
                assert_eq!(leaders.insert(shard, i), None, "two lead shard {shard}");
            }
        }
        leaders.len() == usize::from(shards)
    })
    .await;
    leaders
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_shard_is_decided_on_by_one_process_and_everything_is_told_once() {
    let cluster = Cluster::start(2).await;
    let (a, b) = (cluster.candidate(2).await, cluster.candidate(2).await);
    let both = [&a, &b];
    let leaders = leaders(&both, 2).await;
    assert_ne!(leaders[&0], leaders[&1], "each leads one: {} {}", a.process.log(), b.process.log());
    for candidate in both {
        candidate.until_ready().await;
    }
    let receiver = Receiver::start().await;
    let channel = json!({
        "metadata": {"name": "all"},
        "spec": {"allowAddresses": ["127.0.0.1"], "webhook": {"url": receiver.url("/all")}, "allowedNamespaces": ["*"]},
    });
    cluster.own.apply::<NotificationChannel>(&channel.to_string()).await.unwrap();
    eventually("the channel is known", async || {
        let stored = cluster.own.api::<NotificationChannel>().get("all").await.unwrap();
        stored.status.is_some_and(|status| status.since.is_some())
    })
    .await;
    cluster.rollouts("first").await;
    for space in &cluster.spaces {
        let leader = both[leaders[&index(2, &space.name)]].proxy.agent();
        assert_eq!(cluster.writers(&space.name), [leader], "{}", space.name);
    }
    // What there is once is seen to by whoever leads where it is.
    let home = both[leaders[&index(2, OWN)]];
    assert_eq!(cluster.writers(OWN), [home.proxy.agent()]);
    let subjects = || -> BTreeMap<String, usize> {
        let mut told = BTreeMap::new();
        for taken in receiver.taken("/all") {
            *told.entry(taken.id()).or_default() += 1;
        }
        told
    };
    let mut expected = 0;
    for space in &cluster.spaces {
        expected += space.status("first").await.history.len();
    }
    eventually("everything is told", async || subjects().len() >= expected).await;
    pause(1_000).await;
    let told = subjects();
    assert_eq!(told.len(), expected, "{told:?}");
    assert!(told.values().all(|times| *times == 1), "{told:?}");

    // One is killed: the other takes over what was its, and goes on with its own.
    let (gone, rest) = (leaders[&1], leaders[&0]);
    both[gone].process.kill();
    cluster.rollouts("second").await;
    for space in &cluster.spaces {
        let mut writers = vec![both[leaders[&index(2, &space.name)]].proxy.agent()];
        writers.push(both[rest].proxy.agent());
        writers.dedup();
        assert_eq!(cluster.writers(&space.name), writers, "{}", space.name);
    }
    assert_eq!(led(both[rest]).await, BTreeSet::from([0, 1]));

    // One that comes back finds everything led.
    let c = cluster.candidate(2).await;
    c.until_ready().await;
    cluster.rollouts("third").await;
    assert_eq!(led(&c).await, BTreeSet::new());
    assert_eq!(c.writes(), [] as [String; 0], "a process that stands by writes nothing");
    assert_eq!(both[rest].process.terminate().await.code(), Some(0));
    eventually("it leads both", async || led(&c).await.len() == 2).await;
    cluster.rollouts("fourth").await;
    assert_eq!(c.process.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_loses_one_of_its_shards_goes_on_with_the_other() {
    let cluster = Cluster::start(2).await;
    let a = cluster.candidate(2).await;
    let both = BTreeSet::from([0, 1]);
    eventually("it leads both shards", async || led(&a).await == both).await;
    cluster.rollouts("first").await;
    let of = |shard: u16| cluster.spaces.iter().find(|space| index(2, &space.name) == shard).unwrap();
    let written = || {
        let of_second = |write: &String| {
            let namespace = write.split("/namespaces/").nth(1).and_then(|rest| rest.split('/').next());
            namespace.is_some_and(|namespace| index(2, namespace) == 1)
        };
        a.writes().into_iter().filter(of_second).count()
    };

    let taken = Patch::Merge(json!({"spec": {"holderIdentity": "somebody.else"}}));
    let second = format!("{LEASE}-1");
    cluster.own.api::<Lease>().patch(&second, &PatchParams::default(), &taken).await.unwrap();
    let first = BTreeSet::from([0]);
    eventually("it leads one", async || led(&a).await == first).await;
    let log = a.process.log();
    assert!(
        log.contains("does not lead shard 1 of 2 any more") && !log.contains("does not lead shard 0"),
        "{log}"
    );
    let before = written();
    for shard in [0, 1] {
        rollout(of(shard), "second").await;
    }
    of(0).until("second", "served", is_ready).await;
    // Nobody leads the other one for a lease.
    loop {
        let now = written();
        if led(&a).await != first {
            break;
        }
        assert_eq!(now, before, "{:?}", a.writes());
        pause(50).await;
    }
    of(1).until("second", "served", is_ready).await;
    assert_eq!(led(&a).await, both);
}

const RAMP: &str = "
metadata: {name: climbing}
spec:
  cohorts: [{name: everyone}]
  phases: [{name: ga, ramp: {percents: [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 70, 80, 90, 100], every: 1500ms}}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_number_of_shards_in_the_middle_of_ramps_gives_no_namespace_two_writers_and_every_ramp_goes_on()
 {
    let cluster = Cluster::start(2).await;
    let (a, b) = (cluster.candidate(2).await, cluster.candidate(2).await);
    let old = [&a, &b];
    let before = leaders(&old, 2).await;
    let recorded: Vec<Recorded> =
        cluster.spaces.iter().map(|space| Recorded::start(space, "climbing")).collect();
    for space in &cluster.spaces {
        space.apply::<FeatureRollout>(RAMP).await.unwrap();
    }
    let begun = |status: &sluice::api::FeatureRolloutStatus| status.served.as_deref() != Some("everyone=0%");
    for space in &cluster.spaces {
        space.until("climbing", "begun", begun).await;
    }
    // Both generations run, and the old number stays in force.
    let (c, d, e) = (cluster.candidate(3).await, cluster.candidate(3).await, cluster.candidate(3).await);
    let new = [&c, &d, &e];
    for candidate in new {
        candidate.until_ready().await;
    }
    assert_eq!(leaders(&old, 2).await, before);
    // An update ends the old ones, one after the other.
    let first = before[&0];
    assert_eq!(old[first].process.terminate().await.code(), Some(0), "{}", old[first].process.log());
    let other = old[1 - first];
    // Whoever takes the first shard brings its number along: a new one, or the old one that is left.
    eventually("it leads everything, or nothing any more", async || led(other).await.len() != 1).await;
    assert!(other.process.runs(), "{}", other.process.log());
    assert_eq!(other.process.terminate().await.code(), Some(0));
    leaders(&new, 3).await;

    for space in &cluster.spaces {
        let completed = |s: &sluice::api::FeatureRolloutStatus| s.completed_at.is_some() && is_ready(s);
        space.until("climbing", "completed", completed).await;
    }
    for recorded in &recorded {
        let versions = recorded.all_of("climbing").await;
        crate::support::bare::assert_never_fell(&versions);
        assert!(versions.len() >= 16, "each step is served: {versions:?}");
    }
    // All that the old ones have written came before anything that a new one has.
    let is_old = |agent: &str| old.iter().any(|candidate| candidate.proxy.agent() == agent);
    let (mut last, mut next) = (String::new(), None::<String>);
    for space in &cluster.spaces {
        let stretches = cluster.stretches(&space.name);
        let agents: BTreeSet<&String> = stretches.iter().map(|(agent, ..)| agent).collect();
        assert_eq!(stretches.len(), agents.len(), "one after the other: {stretches:?}");
        for (agent, begin, end) in stretches {
            match is_old(&agent) {
                true => last = last.max(end),
                false => next = Some(next.map_or(begin.clone(), |next| next.min(begin))),
            }
        }
    }
    let next = next.unwrap();
    assert!(last < next, "the old ones wrote until {last}, the new ones from {next} on");
    println!("with 2 shards the last write came at {last}, with 3 the first at {next}");
    let lease = cluster.own.api::<Lease>().get(LEASE).await.unwrap();
    assert_eq!(lease.metadata.annotations.unwrap()["sluice.dev/shards"], "3");
}

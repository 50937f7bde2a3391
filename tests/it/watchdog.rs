//! Parts of the process that fall or are stuck, one after the other: each is named by a probe, and what can go on does.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluice::api::{FeatureRollout, NotificationChannel};
use sluice::controller;
use sluice::watchdog::{Drill, Watchdog};

use crate::events::roll_back;
use crate::support::bare::{Running, bare_space};
use crate::support::proxy::Proxy;
use crate::support::{Space, eventually, is_ready, options, pause};

/// How fast the heart beats here: a part is stuck after seconds, and begun again at once.
const BEAT: Duration = Duration::from_millis(20);

/// The parts that there are while a process leads, besides the work on single objects. The last is there while a file is to be
/// written, the others always.
const PARTS: [&str; 19] = [
    "the housekeeping",
    "the look at the signing keys",
    "the publishing of events",
    "the queue",
    "the schedule of checks",
    "the telling of channels",
    "the watch of CohortSet",
    "the watch of ConfigMap",
    "the watch of FeatureRollout",
    "the watch of FlagSet",
    "the watch of MetricSource",
    "the watch of MetricTemplate",
    "the watch of Namespace",
    "the watch of NotificationChannel",
    "the watch of Playbook",
    "the watch of RolloutAction",
    "the watch of RolloutPolicy",
    "the work on actions",
    WRITER,
];
const WRITER: &str = "the writer of FeatureRollout";

/// What a part is to do next.
#[derive(Clone, Debug)]
enum Order {
    /// Fall, once.
    Fall(String),
    /// Not go on until there is another order.
    Stand(String),
}

#[derive(Clone, Default)]
struct Instructor(Arc<Mutex<Option<Order>>>);

impl Instructor {
    fn order(&self, order: Option<Order>) {
        *self.0.lock().unwrap() = order;
    }

    fn is_done(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }

    fn watchdog(&self, beat: Duration) -> Watchdog {
        let orders = self.0.clone();
        Watchdog::drilled(beat, move |part| {
            let mut order = orders.lock().unwrap();
            match &*order {
                Some(Order::Fall(name)) if part.starts_with(name.as_str()) => {
                    *order = None;
                    drop(order);
                    // What a test has fall is no fault of the program: unwinds without telling anybody.
                    std::panic::resume_unwind(Box::new("a drill"));
                }
                Some(Order::Stand(name)) if part.starts_with(name.as_str()) => Drill::Stand,
                _ => Drill::Work,
            }
        })
    }
}

/// A port that nobody has.
fn port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn probe(address: SocketAddr, path: &str) -> (u16, String) {
    match reqwest::get(format!("http://{address}{path}")).await {
        Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap()),
        Err(_) => (0, String::new()),
    }
}

struct World {
    space: Space,
    instructor: Instructor,
    watchdog: Watchdog,
    address: SocketAddr,
    proxy: Proxy,
    controller: Running,
}

async fn world(name: &str, beat: Duration) -> World {
    let space = bare_space(name).await;
    let channel = "{metadata: {name: ops}, spec: {webhook: {url: 'http://192.0.2.1/'}}}";
    space.apply::<NotificationChannel>(channel).await.unwrap();
    apply(&space, "one").await;
    let instructor = Instructor::default();
    let (watchdog, address) = (instructor.watchdog(beat), port());
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let options = controller::Options {
        probes_address: Some(address),
        namespace: space.name.clone(),
        watchdog: watchdog.clone(),
        ..options()
    };
    let controller = Running::as_told(proxy.config(), options);
    space.until("one", "served", is_ready).await;
    eventually("it is ready", async || probe(address, "/readyz").await.0 == 200).await;
    World { space, instructor, watchdog, address, proxy, controller }
}

async fn apply(space: &Space, name: &str) {
    let rollout = format!(
        "{{metadata: {{name: {name}}}, spec: {{cohorts: [{{name: everyone}}],
          phases: [{{name: ga, steps: [{{cohorts: {{everyone: 50}}, hold: 1h}}]}}]}}}}"
    );
    space.apply::<FeatureRollout>(&rollout).await.unwrap();
}

/// Everything that has to do with a new rollout, its file and its actions works.
async fn assert_works(world: &World, name: &str) {
    apply(&world.space, name).await;
    world.space.until(name, "served", is_ready).await;
    roll_back(&world.space, name).await;
    let told = |status: &sluice::api::FeatureRolloutStatus| {
        status.rollback.is_some() && status.is_delivered() && status.published_seq == status.last_seq()
    };
    world.space.until(name, "rolled back and told of", told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_part_that_falls_is_begun_again_and_the_steps_go_on() {
    let world = world("watchdog-falls", BEAT).await;
    let one =
        |name: &String| PARTS.iter().find(|part| name.starts_with(*part)).map(|part| (*part).to_owned());
    let lasting = BTreeSet::from_iter(PARTS.into_iter().filter(|part| *part != WRITER).map(str::to_owned));
    eventually("the writer of a file that is written has ended, and nothing else", async || {
        world.watchdog.names().iter().filter_map(one).collect::<BTreeSet<_>>() == lasting
    })
    .await;
    // Where the queue falls, so does the process.
    for (i, part) in PARTS.into_iter().filter(|part| *part != "the queue").enumerate() {
        world.instructor.order(Some(Order::Fall(part.to_owned())));
        let is_of_one = part == WRITER;
        let name = format!("r{i}");
        if is_of_one {
            apply(&world.space, &name).await;
        }
        eventually(&format!("{part} falls"), async || world.instructor.is_done()).await;
        let said = format!("{part} has ended by a fault of this program and is begun again");
        eventually(&format!("{part} is named"), async || {
            let (code, text) = probe(world.address, "/readyz").await;
            is_of_one || code == 503 && text.contains(&said)
        })
        .await;
        assert_eq!(probe(world.address, "/livez").await.0, 200, "{part}: a restart would not help");
        if !is_of_one {
            apply(&world.space, &name).await;
        }
        world.space.until(&name, "served", is_ready).await;
    }
    assert_works(&world, "last").await;
    eventually("all is well again", async || probe(world.address, "/readyz").await.0 == 200).await;
    world.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_part_that_is_stuck_fails_livez_by_name_until_it_goes_on() {
    let world = world("watchdog-stuck", BEAT).await;
    world.instructor.order(Some(Order::Stand("the writer".to_owned())));
    apply(&world.space, "two").await;
    eventually("it is named", async || {
        let (code, text) = probe(world.address, "/livez").await;
        code == 503
            && text.contains("the writer of FeatureRollout/watchdog-stuck/two has not been heard of for")
    })
    .await;
    world.instructor.order(None);
    world.space.until("two", "served", is_ready).await;
    assert_eq!(probe(world.address, "/livez").await, (200, "ok".to_owned()));
    world.controller.stop().await;
}

/// Longer than a part may be silent, with something to do all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_api_server_that_is_away_and_a_quiet_night_fail_no_livez() {
    // No call may take as long as a part may be silent.
    let beat = Duration::from_millis(80);
    let world = world("watchdog-night", beat).await;
    world.proxy.cut();
    world.space.merge("FeatureRollout", "one", &serde_json::json!({"spec": {"suspend": true}})).await;
    let until = sluice::clock::monotonic() + beat * 160;
    while sluice::clock::monotonic() < until {
        assert_eq!(probe(world.address, "/livez").await, (200, "ok".to_owned()));
        pause(200).await;
    }
    world.proxy.mend();
    assert_works(&world, "two").await;
    assert_eq!(probe(world.address, "/livez").await.0, 200);
    world.controller.stop().await;
}

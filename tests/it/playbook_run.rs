//! The plan of a real product, from its first week to its thirteenth, on a real API server: who is asked to get what at the
//! end of each week, and who is served.

use std::collections::BTreeMap;

use axum::Router;
use axum::routing::any;
use jiff::SignedDuration;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use sluice::api::status::Check;
use sluice::api::{FeatureRollout, MicroTime, Playbook};
use sluice::clock::Clock;
use sluice::controller::Options;

use crate::support::bare::{Running, bare_space};
use crate::support::proxy::Proxy;
use crate::support::{Space, eventually, is_ready, options};

/// How often triggers and criteria are measured: each minute, as in the example, is more often than the days of this test.
const INTERVAL: &str = "168h";
const WEEKS: i32 = 13;

/// Percentages of staff and of the segments A to D.
type Shares = [u32; 5];

const COHORTS: [&str; 5] = ["internal", "early-adopters", "regular", "casual", "new"];

/// What the plan says: the week, the rollout, what is asked by the end of it, and what is served where the segments' delays
/// and tiers apply. Written by hand from the plan; what a week does not name stays as it was.
const PLAN: &[(i32, &str, Shares, Shares)] = &[
    // 2.1: week 3 all beta users, week 4 50 % GA, week 5 100 % GA.
    (3, "dreams", [100, 100, 0, 0, 0], [100, 100, 0, 0, 0]),
    (4, "dreams", [100, 100, 50, 50, 50], [100, 100, 50, 50, 50]),
    (5, "dreams", [100; 5], [100; 5]),
    // 2.2: week 3 internal testing, weeks 4, 5 and 6 25 %, 75 % and 100 % of the beta.
    (3, "whispers", [100, 0, 0, 0, 0], [100, 0, 0, 0, 0]),
    (4, "whispers", [100, 25, 0, 0, 0], [100, 25, 0, 0, 0]),
    (5, "whispers", [100, 75, 0, 0, 0], [100, 75, 0, 0, 0]),
    (6, "whispers", [100, 100, 0, 0, 0], [100, 100, 0, 0, 0]),
    // 3.1: week 5 English 100 %, week 6 ambient for beta users, week 7 Spanish 10 %, week 8 multilingual 50 %.
    (5, "voice-english", [100; 5], [100; 5]),
    (6, "voice-ambient", [100, 100, 0, 0, 0], [100, 100, 0, 0, 0]),
    (7, "voice-spanish", [10; 5], [10; 5]),
    (8, "voice-multilingual", [50; 5], [50; 5]),
    // 3.2: week 5 roles, week 6 real-time testing, week 7 mobile beta, week 8 full GA.
    (5, "admin-roles", [100, 0, 0, 0, 0], [100, 0, 0, 0, 0]),
    (6, "admin-realtime", [100, 0, 0, 0, 0], [100, 0, 0, 0, 0]),
    (7, "admin-mobile", [100, 100, 0, 0, 0], [100, 100, 0, 0, 0]),
    (8, "admin-roles", [100; 5], [100; 5]),
    (8, "admin-realtime", [100; 5], [100; 5]),
    (8, "admin-mobile", [100; 5], [100; 5]),
    (8, "admin-panel", [100; 5], [100; 5]),
    // Matrix: A 100, B 75, C 0, D 0, after 5, 10, 25, 50 and 100 % of A in the week after Dreams is out; B a week after A.
    (6, "dreams-advanced", [0, 100, 75, 0, 0], [0, 100, 0, 0, 0]),
    (7, "dreams-advanced", [0, 100, 75, 0, 0], [0, 100, 75, 0, 0]),
    // Matrix: A 100, B 25, C 0, D 0, once every beta user has Whispers; B a week after A.
    (7, "whispers-voice-capture", [0, 100, 25, 0, 0], [0, 100, 0, 0, 0]),
    (8, "whispers-voice-capture", [0, 100, 25, 0, 0], [0, 100, 25, 0, 0]),
];

/// Each day comes when everything of the day before is done, however long this machine takes for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_of_each_week_everybody_is_asked_and_served_what_the_plan_says() {
    let space = bare_space("playbook-run").await;
    let url = healthy_prometheus().await;
    let start: MicroTime = "2025-09-08T16:00:00Z".parse().unwrap();
    let (clock, mover) = Clock::moved_by_hand(start);
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let options = Options { namespace: space.name.clone(), clock: clock.clone(), ..options() };
    let running = Running::as_told(proxy.config(), options);
    for object in example(&space, &url) {
        apply(&space, object).await;
    }

    for day in 0..i64::from(WEEKS) * 7 {
        // Two hours after the plan's days begin, so that one is left where clocks go back, and a minute more each day, as a
        // step that is entered later keeps its hold.
        let at = start.saturating_add(SignedDuration::from_mins((24 * day + 2) * 60 + day));
        mover.move_to(at);
        eventually(&format!("everything of day {day} is done"), async || is_done(&space, &clock).await).await;
        if day % 7 == 6 {
            let week = i32::try_from(day / 7 + 1).unwrap();
            assert_eq!(served(&space).await, at_the_end_of(week), "at the end of week {week}");
        }
    }

    let rollouts = space.api::<FeatureRollout>();
    for (_, name, ..) in PLAN {
        eventually(&format!("{name} is completed"), async || {
            rollouts.get(name).await.unwrap().status.is_some_and(|status| status.completed_at.is_some())
        })
        .await;
        let history = rollouts.get(name).await.unwrap().status.unwrap().history;
        assert!(history.iter().all(|entry| entry.reason.as_str() != "RolledBack"), "{name}: {history:#?}");
    }
    let books = space.api::<Playbook>();
    eventually("the playbook tells of the last week", async || {
        let status = books.get("maya-2025").await.unwrap().status.unwrap_or_default();
        let reached: Vec<&str> = status
            .milestones
            .iter()
            .filter(|milestone| milestone.reached_at.is_some())
            .map(|m| m.name.as_str())
            .collect();
        // The last one takes the tasks of phase 4, which nobody has ticked.
        reached == ["security-audit", "dreams-ga", "whispers-beta", "admin-panel-ga"]
    })
    .await;
    running.stop().await;
}

/// Whether nothing of the example is due any more: each rollout is delivered, and finished or waits for a time that is to come or
/// for another rollout.
async fn is_done(space: &Space, clock: &Clock) -> bool {
    let rollouts = space.api::<FeatureRollout>().list(&ListParams::default()).await.unwrap().items;
    let now = clock.now();
    let is_done = |rollout: &FeatureRollout| {
        let Some(status) = &rollout.status else { return false };
        let rests = status.waiting_for.as_ref().is_none_or(|waiting| match waiting.until {
            Some(until) => until > now,
            None => [Check::Dependencies, Check::Playbook].contains(&waiting.check),
        });
        let is_over = status.completed_at.is_some();
        let is_pending = status
            .cohorts
            .iter()
            .any(|cohort| cohort.pending.as_ref().is_some_and(|pending| pending.due <= now));
        is_ready(status) && !is_pending && (is_over || status.waiting_for.is_some() && rests)
    };
    rollouts.len() == at_the_end_of(1).len() && rollouts.iter().all(is_done)
}

/// What each rollout is asked and serves at the end of a week, by the plan.
fn at_the_end_of(week: i32) -> BTreeMap<&'static str, (Shares, Shares)> {
    let mut all: BTreeMap<&str, (Shares, Shares)> =
        PLAN.iter().map(|(_, name, ..)| (*name, ([0; 5], [0; 5]))).collect();
    for until in 1..=week {
        let changes = PLAN.iter().filter(|(of, ..)| *of == until);
        all.extend(changes.map(|(_, name, asked, served)| (*name, (*asked, *served))));
    }
    all
}

/// What each rollout is asked and serves now, by its status.
async fn served(space: &Space) -> BTreeMap<&'static str, (Shares, Shares)> {
    let rollouts = space.api::<FeatureRollout>().list(&ListParams::default()).await.unwrap().items;
    assert!(rollouts.iter().all(|rollout| PLAN.iter().any(|(_, name, ..)| *name == rollout.name_any())));
    let of = |rollout: &FeatureRollout| -> (Shares, Shares) {
        let status = rollout.status.clone().unwrap_or_default();
        let share = |cohort: &str, asked: bool| {
            let Some(cohort) = status.cohort(cohort) else { return 0 };
            let percent = if asked { cohort.asked } else { cohort.served.percent() };
            assert_eq!(percent.thousandths() % 1000, 0);
            percent.thousandths() / 1000
        };
        (COHORTS.map(|cohort| share(cohort, true)), COHORTS.map(|cohort| share(cohort, false)))
    };
    let named = |rollout: &FeatureRollout| {
        let name = rollout.name_any();
        PLAN.iter().map(|(_, known, ..)| *known).find(|known| *known == name)
    };
    rollouts.iter().filter_map(|rollout| Some((named(rollout)?, of(rollout)))).collect()
}

/// The objects of the example in a namespace of the tests, measured once a week by this Prometheus.
fn example(space: &Space, url: &str) -> Vec<Value> {
    let mut files: Vec<_> =
        std::fs::read_dir("examples/playbook").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    let documents = files.iter().flat_map(|file| {
        let text = std::fs::read_to_string(file).unwrap();
        let documents: Vec<Value> =
            text.split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap()).collect();
        documents
    });
    let mut objects: Vec<Value> = documents.filter(|object| object["kind"] != "Namespace").collect();
    for object in &mut objects {
        object["metadata"]["namespace"] = json!(space.name);
        let spec = object["spec"].as_object_mut().unwrap();
        for measured in ["triggers", "criteria"] {
            for metric in spec.get_mut(measured).and_then(Value::as_array_mut).into_iter().flatten() {
                metric["interval"] = json!(INTERVAL);
            }
        }
        if spec.contains_key("allowedNamespaces") {
            spec.insert("allowedNamespaces".to_owned(), json!([space.name]));
        }
        if spec.contains_key("prometheus") {
            spec.insert("prometheus".to_owned(), json!({"url": url}));
            spec.insert("allowAddresses".to_owned(), json!(["127.0.0.1"]));
        }
    }
    objects
}

async fn apply(space: &Space, object: Value) {
    let kind = object["kind"].as_str().unwrap().to_owned();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("sluice.dev", "v1alpha1", &kind));
    let api: Api<DynamicObject> = Api::namespaced_with(space.client.clone(), &space.name, &resource);
    let name = object["metadata"]["name"].as_str().unwrap();
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
}

/// A Prometheus of a product that is well: a thousand samples of everything, and nothing to complain of. Returns its address.
async fn healthy_prometheus() -> String {
    let answer = async |body: String| {
        let value = if body.contains("query=sum%28increase%28") { "1000" } else { "0" };
        let result = json!([{"metric": {}, "value": [sluice::clock::real_now().as_second(), value]}]);
        json!({"status": "success", "data": {"resultType": "vector", "result": result}}).to_string()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        axum::serve(listener, Router::new().fallback(any(answer))).await.unwrap();
    });
    url
}

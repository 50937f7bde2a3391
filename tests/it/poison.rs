//! Nothing that anybody stores stops a list or a watch: of every kind that is read, objects that no decoder takes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use sluice::api::rolloutaction::Answer;
use sluice::api::{FeatureRollout, FlagSet, RolloutAction};
use sluice::sandbox::{ControlPlane, Options, install_crds, install_policies};

use crate::support::bare::served;
use crate::support::poisons::{self, BODY, KINDS, OPERATOR, Poison, TENANT};
use crate::support::process::ControllerProcess;
use crate::support::{Space, eventually, is_ready, pause};

mod kinds;

/// Where somebody just wants to go on.
const NEIGHBOUR: &str = "poison-neighbour";

async fn metrics(address: SocketAddr) -> String {
    reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap()
}

/// How many objects of each kind cannot be read, as the metrics say.
async fn unreadable(address: SocketAddr) -> BTreeMap<String, i64> {
    let found = metrics(address).await;
    let lines = found.lines().filter_map(|line| line.strip_prefix("sluice_unreadable_objects{kind=\""));
    let counts = lines.filter_map(|line| {
        let (kind, count) = line.split_once("\"} ")?;
        Some((kind.to_owned(), count.parse().unwrap()))
    });
    counts.filter(|(_, count)| *count > 0).collect()
}

async fn ready(address: SocketAddr) -> (u16, String) {
    let answer = reqwest::get(format!("http://{address}/readyz")).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// An object as stored, whatever it is; nothing of it is decoded that is nested.
async fn stored(space: &Space, path: &str) -> String {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    space.client.request_text(request).await.unwrap()
}

/// Whether an object says of itself that it is stalled, or an event says so where the API server lets nobody write to it.
async fn says_so(space: &Space, poison: &Poison) -> bool {
    let text = stored(space, &poison.path).await;
    if text.contains("cannot be read") {
        return text.contains("\"type\":\"Stalled\"") || text.contains("\"answer\":\"Rejected\"");
    }
    let events = format!("/apis/events.k8s.io/v1/namespaces/{}/events", space.name);
    let events: Value = serde_json::from_str(&stored(space, &events).await).unwrap();
    events["items"].as_array().unwrap().iter().any(|event| {
        event["regarding"]["name"] == poison.name.as_str()
            && event["note"].as_str().unwrap_or_default().contains("cannot be read")
    })
}

async fn answer(space: &Space, name: &str) -> Answer {
    let mut found = None;
    eventually(&format!("{name} is answered"), async || {
        found = space.api::<RolloutAction>().get(name).await.unwrap().status.and_then(|status| status.answer);
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// A rollout of the neighbour steps, and its action is answered.
async fn goes_on(space: &Space, name: &str) {
    let yaml = format!(
        "{{metadata: {{name: {name}}}, spec: {{cohorts: [{{name: everyone}}],
            phases: [{{name: ga, steps: [{{cohorts: {{everyone: 5}}, hold: 1s}}, {{cohorts: {{everyone: 50}}, hold: 1000h}}]}}]}}}}"
    );
    space.apply::<FeatureRollout>(&yaml).await.unwrap();
    space.until(name, "at its second step", |status| status.revision >= 2 && is_ready(status)).await;
    let action = format!(
        "{{metadata: {{name: {name}}}, spec: {{rolloutRef: {{name: {name}}}, action: Rollback, reason: test}}}}"
    );
    space.apply::<RolloutAction>(&action).await.unwrap();
    assert_eq!(answer(space, name).await, Answer::Applied);
    eventually("the rollback is in the file", async || {
        let file = space.file(name).await.unwrap_or_default();
        served(&file, name).is_some_and(|(_, served)| served["everyone"] == 0.0)
    })
    .await;
}

/// Every line is short and in words, and what cannot be read is told of at most once a second.
fn assert_calm(log: &std::path::Path) {
    let text = std::fs::read_to_string(log).unwrap();
    let mut told = BTreeMap::<String, usize>::new();
    for line in text.lines() {
        assert!(line.len() <= 4096, "{} bytes: {}", line.len(), &line[..400]);
        assert!(!line.contains(BODY), "a body is in the log: {line}");
        let line: Value = serde_json::from_str(line).unwrap();
        if line["fields"]["message"].as_str().unwrap_or_default().contains("everything else goes on") {
            *told.entry(line["timestamp"].as_str().unwrap()[..19].to_owned()).or_default() += 1;
        }
    }
    assert!(!told.is_empty(), "the log tells of nothing");
    // Two may fall into one second of the clock, a second apart from those beside them.
    assert!(told.values().all(|lines| *lines <= 2), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_stored_of_any_kind_the_others_go_on_and_it_is_named() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let client = plane.client().unwrap();
    install_crds(&client).await.unwrap();
    poisons::install_feature_flag(&client).await;
    let tenant = Space::on(client.clone(), TENANT).await;
    let operator = Space::on(client.clone(), OPERATOR).await;
    let neighbour = Space::on(client.clone(), NEIGHBOUR).await;
    poisons::loosen(&client).await;
    let all: Vec<Poison> = poisons::poisons();
    let space_of = |poison: &Poison| if poison.namespace == OPERATOR { &operator } else { &tenant };
    for poison in &all {
        eventually(&format!("{} is taken", poison.path), async || poisons::store(&client, poison).await)
            .await;
        let text = stored(space_of(poison), &poison.path).await;
        assert!(poison.is_in(&text), "{}: it is not stored as it was sent: {:.600}", poison.path, text);
    }
    assert_eq!(all.iter().map(|poison| poison.kind).collect::<BTreeSet<_>>(), BTreeSet::from(KINDS));
    install_crds(&client).await.unwrap();
    install_policies(&client).await.unwrap();
    eventually("the real schema is served", async || poisons::is_strict(&client, NEIGHBOUR).await).await;
    kinds::read_by_name(&tenant, &operator).await;

    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let process = ControllerProcess::start_with(
        plane.kubeconfig_path(),
        &log,
        &["--namespace", OPERATOR, "--nudge-pods"],
    );
    let address = process.address().await;
    eventually("it is ready", async || ready(address).await == (200, "ok".to_owned())).await;
    goes_on(&neighbour, "first").await;
    kinds::assert_read_by_name(&tenant, &operator).await;

    let mut wanted = BTreeMap::<String, i64>::new();
    for poison in all.iter().filter(|poison| poison.unreadable) {
        *wanted.entry(poison.kind.to_owned()).or_default() += 1;
        if poison.has_status {
            eventually(&format!("{} is said to be stalled", poison.path), async || {
                says_so(space_of(poison), poison).await
            })
            .await;
        }
    }
    // Its answer is all that an action is read for, and of FeatureFlags nothing but the metadata is.
    wanted.remove("RolloutAction");
    let counts = async || {
        let mut found = unreadable(address).await;
        found.remove("RolloutAction");
        found
    };
    let mut found = BTreeMap::new();
    for _ in 0..100 {
        found = counts().await;
        if found == wanted {
            break;
        }
        pause(100).await;
    }
    assert_eq!(found, wanted, "each is counted: {}", process.log());

    // While it watches, an object becomes unreadable, is mended, becomes so again and goes.
    neighbour.apply::<FlagSet>("{metadata: {name: app}, spec: {}}").await.unwrap();
    let deep = poisons::deep_flags();
    let live = Poison::at("FlagSet", "sluice.dev/v1alpha1", NEIGHBOUR, "app");
    let set = async |flags: &Value| {
        let patch = json!({"spec": {"flags": flags}});
        assert!(poisons::request(&client, Method::PATCH, &live.path, patch.to_string().into_bytes()).await);
    };
    let is_counted =
        async |more: i64| counts().await.get("FlagSet").copied().unwrap_or(0) == wanted["FlagSet"] + more;
    for _ in 0..2 {
        set(&deep).await;
        eventually("it is stalled", async || says_so(&neighbour, &live).await && is_counted(1).await).await;
        set(&Value::Null).await;
        eventually("it is well again", async || {
            !stored(&neighbour, &live.path).await.contains("cannot be read") && is_counted(0).await
        })
        .await;
    }
    set(&deep).await;
    eventually("it is counted", async || is_counted(1).await).await;
    assert!(poisons::request(&client, Method::DELETE, &live.path, Vec::new()).await);
    eventually("it is forgotten", async || is_counted(0).await).await;
    goes_on(&neighbour, "second").await;

    assert_eq!(process.terminate().await.code(), Some(0), "{}", process.log());
    assert_calm(&log);
    plane.stop().await.unwrap();
}

/// Size of one of many ConfigMaps, and how many there are.
const MEGABYTE: usize = 1_000_000;
const MANY: usize = 60;

/// Anybody may put the label on a ConfigMap of a namespace of his own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_nobodys_cost_no_memory_however_many_and_large_they_are() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let client = plane.client().unwrap();
    install_crds(&client).await.unwrap();
    let tenant = Space::on(client.clone(), TENANT).await;
    let neighbour = Space::on(client.clone(), NEIGHBOUR).await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let process = ControllerProcess::start(plane.kubeconfig_path(), &log);
    let address = process.address().await;
    eventually("it is ready", async || ready(address).await.0 == 200).await;
    goes_on(&neighbour, "before").await;
    let (_, without) = process.memory();

    tenant.apply::<FeatureRollout>("{metadata: {name: mine}, spec: {cohorts: [{name: a}], phases: [{name: ga, steps: [{cohorts: {a: 5}, hold: 1000h}]}]}}").await.unwrap();
    tenant.until("mine", "ready", is_ready).await;
    for i in 0..MANY {
        // Some say that they are somebody's: of nobody that is there, of another's, of one's own under another name.
        let owner = [
            "",
            "FeatureRollout/poison-tenant/gone",
            "FlagSet/poison-neighbour/app",
            "FeatureRollout/poison-tenant/mine",
        ][i % 4];
        let map = json!({
            "metadata": {"name": format!("m{i}"), "labels": {"app.kubernetes.io/managed-by": "sluice"},
                "annotations": {"sluice.dev/owner": owner}},
            "data": {"flags.json": "x".repeat(MEGABYTE)},
        });
        let map: ConfigMap = serde_json::from_value(map).unwrap();
        tenant.api::<ConfigMap>().create(&Default::default(), &map).await.unwrap();
    }
    goes_on(&neighbour, "beside").await;
    let (_, beside) = process.memory();
    assert!(beside < without + 24 * 1024, "{without} KiB without, {beside} KiB with them");
    assert_eq!(process.terminate().await.code(), Some(0));

    let process = ControllerProcess::start(plane.kubeconfig_path(), &log);
    let address = {
        eventually("it is ready", async || {
            let address = process.address().await;
            reqwest::get(format!("http://{address}/readyz")).await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        process.address().await
    };
    goes_on(&neighbour, "after").await;
    let (_, after) = process.memory();
    assert!(after < without + 24 * 1024, "{without} KiB without, {after} KiB after a start with them");
    let found = metrics(address).await;
    let kept = found.lines().find_map(|line| line.strip_prefix("sluice_entries{of=\"config_maps\"} "));
    assert!(kept.is_none_or(|kept| kept.parse::<usize>().unwrap() <= 5), "{kept:?} ConfigMaps are kept");
    plane.stop().await.unwrap();
}

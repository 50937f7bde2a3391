//! Objects that were stored before the schema was tightened: said to be stalled once, and harmless to the others.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, PostParams};
use serde_json::{Value, json};
use sluice::api::{FeatureRollout, FlagSet, all_crds};
use sluice::sandbox::{ControlPlane, Options, install_crds};

use crate::support::bare::{Running, audited_writes, events};
use crate::support::{Space, eventually, is_ready, pause};

/// Name, spec (null: none at all), status, and what the message must name.
fn bad() -> Vec<(&'static str, Value, Value, &'static str)> {
    let set = json!({"name": "app"});
    let cohorts = json!([{"name": "everyone"}]);
    let ramp = json!([{"name": "ga", "ramp": {"percents": [5, 100], "every": "1s"}}]);
    let with = |field: &str, value: Value| {
        let mut spec = json!({"flagSetRef": set, "cohorts": cohorts, "phases": ramp});
        spec[field] = value;
        spec
    };
    let percent = json!([{"name": "ga", "steps": [{"cohorts": {"everyone": 250}}]}]);
    let text = json!([{"name": "ga", "steps": [{"cohorts": {"everyone": "lots"}}]}]);
    vec![
        ("unknown-enum", with("deletionPolicy", json!("Shred")), Value::Null, "spec.deletionPolicy"),
        ("percent", with("phases", percent), Value::Null, "spec.phases"),
        ("text-percent", with("phases", text), Value::Null, "spec.phases"),
        ("no-phases", json!({"flagSetRef": set, "cohorts": cohorts}), Value::Null, "phases"),
        ("empty", json!({}), Value::Null, "phases"),
        ("no-spec", Value::Null, Value::Null, "spec"),
        ("wrong-type", with("phases", json!("soon")), Value::Null, "spec.phases"),
        ("bad-date", with("schedule", json!({"startAt": "tomorrow"})), Value::Null, "startAt"),
        ("two-answers", with("cohortSetRef", json!({"name": "x"})), Value::Null, "cohort"),
        (
            "newer-status",
            with("flagSetRef", set.clone()),
            json!({"uid": "x", "waitingFor": {"check": "Stars", "message": "m"}, "state": "Odd"}),
            "status",
        ),
    ]
}

#[tokio::test]
async fn a_stored_invalid_object_is_stalled_once_and_its_neighbours_go_on() {
    let plane = ControlPlane::start(Options { audit_log: true, ..Options::default() }).await.unwrap();
    let client = plane.client().unwrap();
    install_crds(&client).await.unwrap();
    loosen(&Api::all(client.clone())).await;
    let space = Space::on(client.clone(), "stored").await;
    let kind = ApiResource::erase::<FeatureRollout>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &space.name, &kind);
    eventually("the loosened schema is served", async || create(&api, "probe", &json!({}), true).await).await;
    for (name, spec, status, _) in &bad() {
        assert!(create(&api, name, spec, false).await, "{name} can be stored");
        if !status.is_null() {
            let mut object = api.get(name).await.unwrap();
            object.data["status"] = status.clone();
            api.replace_status(name, &PostParams::default(), &object).await.unwrap();
        }
    }
    let long =
        json!([{"name": "ga", "goal": "x".repeat(1_000_000), "ramp": {"percents": [5], "every": "1s"}}]);
    let long = json!({"flagSetRef": {"name": "app"}, "cohorts": [{"name": "everyone"}], "phases": long});
    assert!(create(&api, "megabyte", &long, false).await);
    install_crds(&client).await.unwrap();
    eventually("the real schema is served", async || !create(&api, "probe", &json!({}), true).await).await;

    space.apply::<FlagSet>("{metadata: {name: app}, spec: {}}").await.unwrap();
    let before = audited_writes(&plane, &space.name).len();
    let controller = Running::with(plane.client_config());
    // What is merely too long for the present schema can still be read, and goes on.
    let good = "{metadata: {name: good}, spec: {flagSetRef: {name: app}, cohorts: [{name: everyone}],
        phases: [{name: ga, ramp: {percents: [5, 100], every: 1s}}]}}";
    space.apply::<FeatureRollout>(good).await.unwrap();
    space.until("good", "completed", |status| status.completed_at.is_some() && is_ready(status)).await;
    assert!(space.file("app").await.unwrap()["flags"]["good"].is_object());
    space.until("megabyte", "completed", |status| status.completed_at.is_some() && is_ready(status)).await;

    let mut wrong = Vec::new();
    for (name, _, _, path) in &bad() {
        let stalled = said(&space, &api, name).await;
        if !stalled
            .as_ref()
            .is_some_and(|(reason, message)| reason == "InvalidSpec" && message.contains(path))
        {
            wrong.push(format!("{name}, where {path} is wrong: {stalled:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    pause(10_000).await;
    let mut writes: BTreeMap<String, usize> = BTreeMap::new();
    for (_, resource, name, _) in audited_writes(&plane, &space.name).split_off(before) {
        if resource.starts_with("featurerollouts") && !["good", "megabyte"].contains(&name.as_str()) {
            *writes.entry(name).or_default() += 1;
        }
    }
    let mut expected: BTreeMap<String, usize> =
        bad().iter().map(|(name, ..)| ((*name).to_owned(), 1)).collect();
    // What can be read has a history, which an event tells, and then the status that it was told.
    expected.insert("two-answers".to_owned(), 2);
    assert_eq!(writes, expected, "{:?}", audited_writes(&plane, &space.name));
    controller.stop().await;
    plane.stop().await.unwrap();
}

/// Takes the schema away from FeatureRollouts, as if it had never said much.
async fn loosen(crds: &Api<CustomResourceDefinition>) {
    let ours = all_crds().into_iter().find(|crd| crd.spec.names.kind == "FeatureRollout").unwrap();
    let name = ours.metadata.name.unwrap();
    let mut crd = serde_json::to_value(crds.get(&name).await.unwrap()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    // Fields of a schema that does not name them cannot be selected.
    crd["spec"]["versions"][0]["selectableFields"] = json!([]);
    let crd = serde_json::from_value(crd).unwrap();
    crds.replace(&name, &PostParams::default(), &crd).await.unwrap();
}

/// Whether the API server takes an object with this spec.
async fn create(api: &Api<DynamicObject>, name: &str, spec: &Value, dry_run: bool) -> bool {
    let mut object = DynamicObject::new(name, &ApiResource::erase::<FeatureRollout>(&()));
    object.data = if spec.is_null() { json!({}) } else { json!({"spec": spec}) };
    api.create(&PostParams { dry_run, ..PostParams::default() }, &object).await.is_ok()
}

/// Reason and message of Stalled; of a warning where the API server lets no status be written for such a spec.
async fn said(space: &Space, api: &Api<DynamicObject>, name: &str) -> Option<(String, String)> {
    for _ in 0..60 {
        let object = api.get(name).await.unwrap();
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if let Some(stalled) = conditions.iter().find(|condition| condition["type"] == "Stalled") {
            let text = |field: &str| stalled[field].as_str().unwrap_or_default().to_owned();
            return Some((text("reason"), text("message").chars().take(600).collect()));
        }
        if let Some(event) = events(space, name).await.first() {
            let (reason, note) = event.split_once(": ").unwrap();
            return Some((reason.to_owned(), note.to_owned()));
        }
        pause(100).await;
    }
    None
}

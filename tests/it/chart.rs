//! What people install Sluice with: the chart, by real Helm on a real API server, and all that it brings along.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Config};
use serde_json::{Value, json};
use sluice::sandbox::ControlPlane;

use crate::support::go_tools::Helm;

mod alerts;
mod image;
mod install;
mod metrics;
mod rights;
mod values;

pub use install::next_version;

/// Where the pages tell people to install it.
pub const NAMESPACE: &str = "sluice-system";

/// What `helm template` makes of the chart, or says against it.
fn render(helm: Helm, args: &[&str]) -> Result<Vec<Value>, String> {
    let home = tempfile::tempdir().unwrap();
    let output = helm
        .command(home.path())
        .args(["template", "sluice", "charts/sluice", "--namespace", NAMESPACE])
        .args(args)
        .output()
        .unwrap();
    let said = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(documents(&said(output.stdout))) } else { Err(said(output.stderr)) }
}

/// What the chart renders with these `--set`s.
pub fn rendered(set: &[&str]) -> Vec<Value> {
    let args: Vec<&str> = set.iter().flat_map(|set| ["--set", *set]).collect();
    render(Helm::Four, &args).unwrap_or_else(|said| panic!("{set:?}: {said}"))
}

/// The objects in a stream of YAML.
pub fn documents(text: &str) -> Vec<Value> {
    let documents = format!("\n{text}");
    let documents = documents.split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap());
    documents.filter(|value: &Value| !value.is_null()).collect()
}

/// The one object of a kind and name.
fn one<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<&Value> =
        objects.iter().filter(|o| o["kind"] == kind && o["metadata"]["name"] == name).collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

/// How many objects there are of each kind.
fn kinds(objects: &[Value]) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    for object in objects {
        *kinds.entry(object["kind"].as_str().unwrap()).or_default() += 1;
    }
    kinds
}

/// A kubeconfig for the service account that the chart has made, with a token as a pod has it.
async fn as_service_account(plane: &ControlPlane) -> Kubeconfig {
    let accounts: Api<ServiceAccount> = Api::namespaced(plane.client().unwrap(), NAMESPACE);
    let request = TokenRequest::default();
    let token = accounts.create_token_request("sluice", &PostParams::default(), &request).await.unwrap();
    let mut kubeconfig = serde_json::to_value(plane.kubeconfig()).unwrap();
    kubeconfig["users"][0]["user"] = json!({"token": token.status.unwrap().token});
    serde_json::from_value(kubeconfig).unwrap()
}

/// A client's configuration for that.
async fn config_of(kubeconfig: Kubeconfig) -> Config {
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}

/// What somebody has asked of an API server, by its audit log: verb, group with resource and subresource, and code.
fn asked(plane: &ControlPlane, user: &str) -> Vec<(String, String, i64)> {
    let log = std::fs::read_to_string(plane.audit_log_path().unwrap()).unwrap();
    let needle = format!("\"username\":\"{user}\"");
    let events = log.lines().filter(|line| line.contains(&needle));
    let events = events.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events = events.filter(|event| event["user"]["username"] == user && event["objectRef"].is_object());
    events
        .map(|event| {
            let verb = event["verb"].as_str().unwrap().to_owned();
            (verb, resource(&event["objectRef"]), event["responseStatus"]["code"].as_i64().unwrap_or(0))
        })
        .collect()
}

/// Group, resource and subresource, such as `sluice.dev/flagsets/status`.
fn resource(reference: &Value) -> String {
    let parts = ["apiGroup", "resource", "subresource"].map(|field| reference[field].as_str());
    parts.into_iter().flatten().collect::<Vec<_>>().join("/")
}

/// The user that the service account is to the API server.
fn service_account() -> String {
    format!("system:serviceaccount:{NAMESPACE}:sluice")
}

/// Asserts that nothing that the service account has asked for was forbidden to it.
fn assert_nothing_was_forbidden(plane: &ControlPlane) {
    let asked = asked(plane, &service_account());
    assert!(asked.len() > 20, "it was at work: {asked:?}");
    let forbidden: Vec<_> = asked.into_iter().filter(|(_, _, code)| [401, 403].contains(code)).collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
}

/// A copy of a folder of the repository, so that nothing that a test does stays there.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let into = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &into);
        } else {
            std::fs::copy(entry.path(), into).unwrap();
        }
    }
}

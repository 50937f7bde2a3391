//! What Argo CD and Flux make of Sluice's objects, by their own code and of real objects: the table in `docs/gitops.md`, the
//! files in `deploy/argocd` and `deploy/flux`, and what that page says of differences.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use http::Request;
use serde_json::Value;

use crate::support::Space;
use crate::support::go_tools::gitops_clients;

mod actions;
mod differences;
mod files;
mod flux_sync;
mod kinds;
mod kustomize_controller;
mod odd;
mod situations;

/// The customizations of Argo CD that people apply.
const ARGOCD_CM: &str = "deploy/argocd/argocd-cm.yaml";

/// What a tool says of an object.
#[derive(Debug, serde::Deserialize)]
struct Health {
    status: String,
    #[serde(default)]
    message: String,
    /// Why the tool could not tell.
    #[serde(default)]
    error: String,
}

/// What Argo CD says of objects.
async fn argocd(objects: &[Value]) -> Vec<Health> {
    healths(&["argocd", "health", ARGOCD_CM], objects).await
}

/// What Flux says of objects, by kstatus, or by the expressions in a file.
async fn flux(expressions: Option<&str>, objects: &[Value]) -> Vec<Health> {
    let args: Vec<&str> = ["flux", "health"].into_iter().chain(expressions).collect();
    healths(&args, objects).await
}

async fn healths(args: &[&str], objects: &[Value]) -> Vec<Health> {
    let answers = ask(args, objects).await.unwrap_or_else(|said| panic!("{args:?}: {said}"));
    answers.into_iter().map(|answer| serde_json::from_value(answer).unwrap()).collect()
}

/// Asks the tools' code; an answer for each object, or what it says against the question.
async fn ask(args: &[&str], objects: &[Value]) -> Result<Vec<Value>, String> {
    ask_about(None, args, objects).await
}

/// The same with a cluster to ask, by its kubeconfig.
async fn ask_about(cluster: Option<&Path>, args: &[&str], objects: &[Value]) -> Result<Vec<Value>, String> {
    let cluster = cluster.map(Path::to_owned).unwrap_or_default();
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let input = serde_json::to_vec(objects).unwrap();
    let count = objects.len();
    let run = move || {
        let mut child = Command::new(gitops_clients())
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("KUBECONFIG", cluster)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that does not understand its arguments reads nothing.
        let _sent = child.stdin.take().unwrap().write_all(&input);
        child.wait_with_output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers.len(), count, "an answer for each");
    Ok(answers)
}

/// An object of our group as the API server gives it.
async fn live(space: &Space, kind: &str, name: &str) -> Value {
    let request = Request::get(space.path(kind, Some(name))).body(Vec::new()).unwrap();
    serde_json::from_str(&space.client.request_text(request).await.unwrap()).unwrap()
}

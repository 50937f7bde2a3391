//! Argo CD finds no difference between git and what the API server and the controller have made of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sluice::api::FeatureRollout;
use sluice::controller::Options;

use super::files::kubectl;
use super::{ARGOCD_CM, ask, live};
use crate::support::bare::{Running, bare_space};
use crate::support::proxy::Proxy;
use crate::support::raw::object;
use crate::support::{Space, eventually, options};

/// The objects of our group in these files, for a namespace.
fn manifests(files: &[PathBuf], namespace: &str) -> Vec<Value> {
    let text = |file: &PathBuf| std::fs::read_to_string(file).unwrap();
    let objects = files.iter().flat_map(|file| crate::chart::documents(&text(file)));
    let ours = objects.filter(|object| object["apiVersion"] == "sluice.dev/v1alpha1");
    ours.map(|mut object| {
        object["metadata"]["namespace"] = json!(namespace);
        object
    })
    .collect()
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

/// Applies manifests as a sync of Argo CD does by default, and waits until the controller has looked at all of them.
async fn sync(space: &Space, folder: &Path, manifests: &[Value]) {
    let file = folder.join("manifests.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests});
    std::fs::write(&file, list.to_string()).unwrap();
    kubectl(&["apply", "--field-manager", "argocd-controller", "--filename", file.to_str().unwrap()])
        .await
        .unwrap();
    for (kind, name) in names(manifests) {
        eventually(&format!("{kind} {name} is looked at"), async || {
            let object = live(space, kind, name).await;
            object["status"]["observedGeneration"] == object["metadata"]["generation"]
        })
        .await;
    }
}

fn names(manifests: &[Value]) -> Vec<(&str, &str)> {
    manifests
        .iter()
        .map(|object| (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap()))
        .collect()
}

/// The objects that Argo CD calls out of sync, with what it would change.
async fn out_of_sync(space: &Space, folder: &Path, manifests: &[Value]) -> Vec<(String, Value)> {
    let file = folder.join("desired.json");
    std::fs::write(&file, json!(manifests).to_string()).unwrap();
    let mut objects = Vec::new();
    for (kind, name) in names(manifests) {
        objects.push(live(space, kind, name).await);
    }
    let answers = ask(&["argocd", "diff", ARGOCD_CM, file.to_str().unwrap()], &objects).await.unwrap();
    let named = names(manifests).into_iter().map(|(kind, name)| format!("{kind}/{name}"));
    named.zip(answers).filter(|(_, answer)| *answer != json!({})).collect()
}

#[tokio::test]
async fn the_examples_are_in_sync_after_the_controller_has_worked_on_them() {
    let space = bare_space("gitops-differences").await;
    // Sources are looked at in the controller's own namespace only.
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::as_told(proxy.config(), Options { namespace: space.name.clone(), ..options() });
    let files =
        [yaml_files("examples/playbook"), yaml_files("examples/metrics"), yaml_files("examples")].concat();
    let mut manifests = manifests(&files, &space.name);
    let mut known = BTreeSet::new();
    manifests
        .retain(|object| known.insert((object["kind"].to_string(), object["metadata"]["name"].to_string())));
    // The API server fills in two fields of the item.
    manifests.push(object("FlagSet", "elsewhere", "{outputs: [{configMap: elsewhere}]}"));
    manifests.last_mut().unwrap()["metadata"]["namespace"] = json!(space.name);
    assert!(manifests.len() > 12, "{}", manifests.len());
    let folder = tempfile::tempdir().unwrap();
    sync(&space, folder.path(), &manifests).await;
    assert_eq!(out_of_sync(&space, folder.path(), &manifests).await, []);

    // The comparison is one that finds something: values in git count, and what only others have added does not.
    let mut edited = manifests.clone();
    let at = edited.iter().position(|object| object["metadata"]["name"] == "new-search").unwrap();
    edited[at]["spec"]["suspend"] = json!(true);
    let found = out_of_sync(&space, folder.path(), &edited).await;
    assert_eq!(
        found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["FeatureRollout/new-search"]
    );
    let added = json!({"metadata": {"annotations": {"example.com/note": "seen"}}, "spec": {"feature": {"title": "Search"}}});
    let api = space.api::<FeatureRollout>();
    api.patch("new-search", &Default::default(), &kube::api::Patch::Merge(&added)).await.unwrap();
    assert_eq!(out_of_sync(&space, folder.path(), &manifests).await, []);
    controller.stop().await;
}

//! The files that people apply are made from the Lua files beside them, and do what is said of them.

use std::path::Path;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use sluice::api::all_crds;

use super::ARGOCD_CM;
use crate::support::bare::bare;

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_customizations_of_argo_cd_are_made_from_the_lua_files() {
    let folder = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("deploy/argocd/generate").arg(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for file in ["argocd-cm.yaml", "values.yaml"] {
        let kept = std::fs::read_to_string(Path::new("deploy/argocd").join(file)).unwrap();
        let new = std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(new == kept, "deploy/argocd/{file} is out of date: run deploy/argocd/generate");
    }
    assert_eq!(yaml(ARGOCD_CM)["data"], yaml("deploy/argocd/values.yaml")["configs"]["cm"]);
}

#[test]
fn every_kind_with_a_status_has_a_health() {
    let cm = yaml(ARGOCD_CM);
    let lua = std::fs::read_to_string("deploy/argocd/health.lua").unwrap();
    for crd in all_crds() {
        assert!(crd.spec.versions.iter().all(|version| {
            version.subresources.as_ref().is_some_and(|subresources| subresources.status.is_some())
        }));
        let key = format!("resource.customizations.health.sluice.dev_{}", crd.spec.names.kind);
        assert_eq!(cm["data"][&key].as_str(), Some(lua.as_str()), "{key}");
    }
}

/// By kubectl, as the page says: what others have in the ConfigMap stays theirs.
#[tokio::test]
async fn applying_the_customizations_leaves_the_rest_of_argo_cds_settings() {
    let plane = bare();
    let client = plane.client().unwrap();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let argocd = serde_json::from_value(json!({"metadata": {"name": "argocd"}})).unwrap();
    // Another test has it, too.
    let _there = namespaces.create(&PostParams::default(), &argocd).await;
    let maps: Api<ConfigMap> = Api::namespaced(client, "argocd");
    let settings = json!({
        "metadata": {"name": "argocd-cm", "labels": {"app.kubernetes.io/part-of": "argocd"}},
        "data": {"url": "https://argocd.example.com"},
    });
    maps.create(&PostParams::default(), &serde_json::from_value(settings).unwrap()).await.unwrap();
    let page = std::fs::read_to_string("docs/gitops.md").unwrap();
    let command = "kubectl apply --server-side --field-manager sluice-customizations --filename deploy/argocd/argocd-cm.yaml";
    assert!(page.contains(command), "the page gives this command");
    for _ in 0..2 {
        let ran = kubectl(&command.split(' ').skip(1).collect::<Vec<_>>()).await;
        assert!(ran.is_ok(), "{ran:?}");
    }
    let map = maps.get("argocd-cm").await.unwrap();
    let data = map.data.unwrap();
    assert_eq!(data["url"], "https://argocd.example.com");
    assert_eq!(map.metadata.labels.unwrap()["app.kubernetes.io/part-of"], "argocd");
    assert!(data.contains_key("resource.customizations.actions.sluice.dev_FeatureRollout"));
}

#[tokio::test]
async fn the_folder_is_a_component_for_an_installation_of_argo_cd_by_kustomize() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
    crate::chart::copy(Path::new("deploy/argocd"), &folder.path().join("sluice"));
    write("kustomization.yaml", "resources: [argocd.yaml]\ncomponents: [sluice]\n");
    write(
        "argocd.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm, namespace: argocd}\ndata: {url: 'https://argocd.example.com'}\n",
    );
    let made = kubectl(&["kustomize", folder.path().to_str().unwrap()]).await.unwrap();
    let objects = crate::chart::documents(&made);
    let kinds: Vec<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ClusterRole", "ClusterRoleBinding", "ConfigMap"]);
    assert_eq!(objects[2]["data"]["url"], "https://argocd.example.com");
    assert_eq!(objects[2]["data"].as_object().unwrap().len(), all_crds().len() + 2);
}

/// What kubectl prints, or says against it.
pub async fn kubectl(args: &[&str]) -> Result<String, String> {
    let plane = bare();
    let program = plane.kubectl_path().expect("kubectl is among the programs of the control plane");
    let output = tokio::process::Command::new(program)
        .args(args)
        .env("KUBECONFIG", plane.kubeconfig_path())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .await
        .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}

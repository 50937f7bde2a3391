//! The sandbox is a real control plane, and leaves nothing behind.

use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use sluice::sandbox::{Binaries, ControlPlane, Options};

use crate::support::running::{path_without, running_with, wait_until};

/// Set for the process that `a_killed_parent_leaves_nothing_running` kills.
const HANG_IN: &str = "SLUICE_TEST_HANG_IN";

#[tokio::test]
async fn data_and_port_survive_a_restart_of_the_api_server() {
    let mut plane = ControlPlane::start(Options { audit_log: true, ..Options::default() }).await.unwrap();
    let data_dir = plane.data_dir().to_path_buf();
    let client = plane.client().unwrap();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "restart");
    let create = PostParams::default();

    let namespace = named("restart");
    namespaces.create(&create, &namespace).await.unwrap();
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "kept"}, "data": {"a": "1"}})).unwrap();
    maps.create(&create, &map).await.unwrap();

    let url = plane.url().to_owned();
    plane.stop_api_server();
    assert!(maps.get("kept").await.is_err(), "the API server is down");
    plane.start_api_server().await.unwrap();
    assert_eq!(plane.url(), url);
    let kept = maps.get("kept").await.unwrap();
    assert_eq!(kept.data.unwrap()["a"], "1");

    let audit = std::fs::read_to_string(plane.audit_log_path().unwrap()).unwrap();
    assert_eq!(creations(&audit, "namespaces", "restart"), 1);
    assert_eq!(creations(&audit, "configmaps", "kept"), 1);

    assert!(!running_with(&data_dir).is_empty(), "it runs from its data folder");
    plane.stop().await.unwrap();
    assert_eq!(running_with(&data_dir), Vec::<String>::new());
    assert!(!data_dir.exists(), "a temporary folder goes with its sandbox");
}

#[tokio::test]
async fn dropping_a_control_plane_kills_it() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let data_dir = plane.data_dir().to_path_buf();
    drop(plane);
    assert_eq!(running_with(&data_dir), Vec::<String>::new());
    assert!(!data_dir.exists());
}

#[tokio::test]
async fn a_data_folder_goes_on_from_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { data_dir: Some(folder.path().to_path_buf()), ..Options::default() };
    let plane = ControlPlane::start(options.clone()).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(plane.client().unwrap());
    let create = PostParams::default();
    namespaces.create(&create, &named("stays")).await.unwrap();

    let taken = ControlPlane::start(options.clone()).await.unwrap_err();
    assert!(taken.to_string().contains("another sandbox"), "{taken}");
    plane.stop().await.unwrap();

    let plane = ControlPlane::start(options).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(plane.client().unwrap());
    namespaces.get("stays").await.unwrap();
    plane.stop().await.unwrap();
}

#[tokio::test]
async fn the_controller_manager_works_and_other_users_have_no_rights() {
    let plane =
        ControlPlane::start(Options { controller_manager: true, ..Options::default() }).await.unwrap();
    let client = plane.client().unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    accounts.get("default").await.unwrap();

    // Only the controller manager finishes the deletion of a namespace.
    let namespaces: Api<Namespace> = Api::all(client);
    let create = PostParams::default();
    namespaces.create(&create, &named("gone")).await.unwrap();
    namespaces.delete("gone", &DeleteParams::default()).await.unwrap();
    let gone = async {
        let mut poll = tokio::time::interval(Duration::from_millis(100));
        while namespaces.get_opt("gone").await.unwrap().is_some() {
            poll.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("the namespace's deletion finishes");

    let kubeconfig = plane.user_kubeconfig("ann", &["devs", "ops"]).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let ann = Client::try_from(config).unwrap();
    let refused = Api::<Namespace>::all(ann.clone()).get("default").await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("\"ann\""), "{refused}");
    let review: Value = ann
        .request(
            http::Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
                .header("content-type", "application/json")
                .body(br#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#.to_vec())
                .unwrap(),
        )
        .await
        .unwrap();
    assert_eq!(review["status"]["userInfo"]["groups"], json!(["devs", "ops", "system:authenticated"]));
    plane.stop().await.unwrap();
}

#[tokio::test]
async fn an_early_exit_shows_the_end_of_the_log() {
    let error = ControlPlane::start(Options {
        extra_api_server_args: vec!["--no-such-flag".to_owned()],
        ..Options::default()
    })
    .await
    .unwrap_err()
    .to_string();
    assert!(error.contains("kube-apiserver ended too early"), "{error}");
    assert!(error.contains("unknown flag: --no-such-flag"), "{error}");
}

#[tokio::test]
async fn a_killed_parent_leaves_nothing_running() {
    // Only the programs of the cache have a supervisor; here they get built
    // while there is no other clock running.
    Binaries::find(true).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sandbox::parent_to_be_killed"])
        .env(HANG_IN, folder.path())
        .env_remove("KUBEBUILDER_ASSETS")
        .env("PATH", path_without("kube-apiserver"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = wait_until(|| folder.path().join("kubeconfig").exists()).await;
    let before = running_with(folder.path());
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(started, "the control plane started");
    assert!(before.len() >= 3, "{before:?}");
    let gone = wait_until(|| running_with(folder.path()).is_empty()).await;
    assert!(gone, "still running: {:?}", running_with(folder.path()));
}

/// Not a test of its own: another one runs it in a process that it kills.
#[tokio::test]
async fn parent_to_be_killed() {
    let Some(folder) = std::env::var_os(HANG_IN) else {
        return;
    };
    let _plane =
        ControlPlane::start(Options { data_dir: Some(folder.into()), ..Options::default() }).await.unwrap();
    std::future::pending::<()>().await;
}

fn named(name: &str) -> Namespace {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.to_owned());
    namespace
}

/// How many audit events say that this object was created.
fn creations(audit: &str, resource: &str, name: &str) -> usize {
    audit
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| {
            event["verb"] == "create"
                && event["responseStatus"]["code"] == 201
                && event["objectRef"]["resource"] == resource
                && event["objectRef"]["name"] == name
        })
        .count()
}

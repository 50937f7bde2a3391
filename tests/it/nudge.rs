//! The nudge, as far as an API server without nodes shows it: which pods are annotated when, and what is said of those
//! that no update reaches.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, PostParams};
use kube::config::KubeConfigOptions;
use kube::{Client, Config, ResourceExt};
use serde_json::{Value, json};
use sluice::controller::Options;

use crate::flag_sets::{create, map, member, served, set_condition, set_status};
use crate::support::bare::{Running, audited_writes, bare, bare_space, events, let_read_namespaces};
use crate::support::proxy::Proxy;
use crate::support::raw::object;
use crate::support::{Space, eventually, is_ready, options, pause};

const ANNOTATION: &str = "sluice.dev/flags-revision";

/// A scheduled pod with a volume that one container mounts; both as YAML.
async fn pod(space: &Space, name: &str, volume: &str, mount: &str) {
    let mut volume: Value = serde_saphyr::from_str(volume).unwrap();
    volume["name"] = json!("flags");
    let mut mount: Value = serde_saphyr::from_str(mount).unwrap();
    mount["name"] = json!("flags");
    mount["mountPath"] = json!("/flags");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "nodeName": "nowhere",
            "volumes": [volume],
            "containers": [{"name": "app", "image": "app", "volumeMounts": [mount]}],
        },
    }))
    .unwrap();
    space.api::<Pod>().create(&PostParams::default(), &pod).await.unwrap();
}

async fn emergency(space: &Space, on: bool) {
    let emergency = if on { json!("Control") } else { Value::Null };
    let answer = space.merge("FlagSet", "app", &json!({"spec": {"emergency": emergency}})).await;
    assert_eq!(answer.code, 200, "{}", answer.message());
}

/// The annotation without the time, which is 1 or 2.
async fn annotated(space: &Space, pod: &str) -> Option<(String, String)> {
    let pod = space.api::<Pod>().get(pod).await.unwrap();
    let (digest, time) = pod.annotations().get(ANNOTATION)?.rsplit_once('.')?;
    Some((digest.to_owned(), time.to_owned()))
}

/// Waits until a pod has been annotated for the file of `app` as it is, for the second time.
async fn until_annotated_twice(space: &Space, pod: &str) {
    eventually(&format!("{pod} is annotated again"), async || {
        let digest = map(space, "app").await.annotations()["sluice.dev/sha256"].clone();
        annotated(space, pod).await == Some((digest[..12].to_owned(), "2".to_owned()))
    })
    .await;
}

fn pod_patches(space: &Space) -> Vec<String> {
    let mut pods: Vec<String> = audited_writes(bare(), &space.name)
        .into_iter()
        .filter(|(verb, resource, _, code)| verb == "patch" && resource == "pods" && *code == 200)
        .map(|(_, _, name, _)| name)
        .collect();
    pods.sort();
    pods
}

#[tokio::test]
async fn an_emergency_annotates_the_pods_that_mount_the_folder_twice_and_no_others() {
    let space = bare_space("nudge-who").await;
    for (name, volume, mount) in [
        ("folder", "{configMap: {name: app}}", "{}"),
        ("projected", "{projected: {sources: [{configMap: {name: app}}]}}", "{}"),
        ("sub-path", "{configMap: {name: app}}", "{subPath: flags.json}"),
        ("others", "{configMap: {name: other}}", "{}"),
    ] {
        pod(&space, name, volume, mount).await;
    }
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let _running = Running::nudging(proxy.config());
    create(&space, &[object("FlagSet", "app", "{}"), member("one", "")]).await;
    space.until("one", "ready", is_ready).await;
    eventually("the set warns of subPath, which takes a look at the pods", async || {
        set_condition(&set_status(&space, "app").await, "StaleMounts")
            .starts_with("True SubPathMount mounted by subPath")
    })
    .await;
    assert_eq!(pod_patches(&space), Vec::<String>::new(), "a raise is no emergency");

    emergency(&space, true).await;
    until_annotated_twice(&space, "folder").await;
    until_annotated_twice(&space, "projected").await;
    assert_eq!(served(&space.file("app").await.unwrap(), "one"), "all=0%");
    assert_eq!(pod_patches(&space), ["folder", "folder", "projected", "projected"]);
}

#[tokio::test]
async fn a_restart_in_an_emergency_repeats_nothing() {
    let space = bare_space("nudge-restart").await;
    pod(&space, "old", "{configMap: {name: app}}", "{}").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let running = Running::nudging(proxy.config());
    create(&space, &[object("FlagSet", "app", "{}"), member("one", "")]).await;
    space.until("one", "ready", is_ready).await;
    emergency(&space, true).await;
    until_annotated_twice(&space, "old").await;
    running.stop().await;
    // That the next process has looked shows by a pod that is new.
    pod(&space, "new", "{configMap: {name: app}}", "{}").await;
    let _running = Running::nudging(proxy.config());
    until_annotated_twice(&space, "new").await;
    assert_eq!(pod_patches(&space), ["new", "new", "old", "old"]);
}

#[tokio::test]
async fn sub_path_is_warned_of_until_it_is_gone() {
    let space = bare_space("nudge-sub-path").await;
    pod(&space, "stuck", "{configMap: {name: app}}", "{subPath: flags.json}").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let _running = Running::nudging(proxy.config());
    create(&space, &[object("FlagSet", "app", "{}"), member("one", "")]).await;
    let warned =
        "True SubPathMount mounted by subPath, where no update ever arrives: ConfigMap app in Pod/stuck";
    eventually("the set says so", async || {
        set_condition(&set_status(&space, "app").await, "StaleMounts").starts_with(warned)
    })
    .await;
    let said = events(&space, "app").await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("SubPathMount: mounted by subPath"), "{said:?}");
    // The file itself is as it should be.
    space.until("one", "ready", is_ready).await;
    assert!(set_condition(&set_status(&space, "app").await, "Ready").starts_with("True"));

    // A rollout that is its own set has an event only.
    pod(&space, "lone-pod", "{configMap: {name: lone}}", "{subPath: flags.json}").await;
    let lone = "{cohorts: [{name: all}], phases: [{name: ga, ramp: {percents: [100], every: 1h}}]}";
    create(&space, &[object("FeatureRollout", "lone", lone)]).await;
    eventually("the rollout's event", async || {
        events(&space, "lone").await.iter().any(|event| event.contains("ConfigMap lone in Pod/lone-pod"))
    })
    .await;

    space.api::<Pod>().delete("stuck", &DeleteParams::default().grace_period(0)).await.unwrap();
    emergency(&space, true).await;
    eventually("the set says no more of it", async || {
        set_condition(&set_status(&space, "app").await, "StaleMounts").is_empty()
    })
    .await;
}

#[tokio::test]
async fn nobody_is_annotated_unless_it_was_asked_for() {
    let space = bare_space("nudge-off").await;
    pod(&space, "folder", "{configMap: {name: app}}", "{}").await;
    pod(&space, "stuck", "{configMap: {name: app}}", "{subPath: flags.json}").await;
    let _running = Running::in_space(&space).await;
    create(&space, &[object("FlagSet", "app", "{}"), member("one", "")]).await;
    space.until("one", "ready", is_ready).await;
    emergency(&space, true).await;
    eventually("the file is at control", async || {
        space.file("app").await.is_some_and(|file| served(&file, "one") == "all=0%")
    })
    .await;
    pause(1000).await;
    assert_eq!(pod_patches(&space), Vec::<String>::new());
    assert_eq!(set_condition(&set_status(&space, "app").await, "StaleMounts"), "");
}

/// The table of docs/operations.md.
const ROLE: &str = r#"
metadata: {name: sluice}
rules:
- {apiGroups: [sluice.dev], resources: [featurerollouts, cohortsets, flagsets, playbooks, rolloutpolicies], verbs: [get, list, watch]}
- {apiGroups: [sluice.dev], resources: [featurerollouts], verbs: [patch]}
- {apiGroups: [sluice.dev], resources: [featurerollouts/status, cohortsets/status, flagsets/status], verbs: [update, patch]}
- {apiGroups: [""], resources: [configmaps], verbs: [get, list, watch, create, update]}
- {apiGroups: [apps], resources: [controllerrevisions], verbs: [get, list, create, delete]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create]}
- {apiGroups: [""], resources: [secrets], resourceNames: [sluice-file-signing], verbs: [get]}
- {apiGroups: [""], resources: [secrets], verbs: [create]}
"#;
const NUDGE_ROLE: &str = r#"
metadata: {name: sluice-nudge}
rules:
- {apiGroups: [""], resources: [pods], verbs: [list, patch]}
"#;

async fn grant(space: &Space, role: &str) {
    let_read_namespaces(space).await;
    let name = space.apply::<Role>(role).await.unwrap().name_any();
    let binding = format!(
        "{{metadata: {{name: {name}}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}, \
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {}}}]}}",
        space.name
    );
    space.apply::<RoleBinding>(&binding).await.unwrap();
}

#[tokio::test]
async fn without_permission_everything_else_goes_on_and_with_it_the_next_emergency_is_fast() {
    let space = bare_space("nudge-forbidden").await;
    pod(&space, "folder", "{configMap: {name: app}}", "{}").await;
    grant(&space, ROLE).await;
    let kubeconfig = bare().user_kubeconfig(&space.name, &[]).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let proxy = Proxy::start(Client::try_from(config).unwrap(), &space.name).await;
    let namespace = space.name.clone();
    let _running = Running::as_told(proxy.config(), Options { nudge_pods: true, namespace, ..options() });
    create(&space, &[object("FlagSet", "app", "{}"), member("one", "")]).await;
    space.until("one", "ready", is_ready).await;
    emergency(&space, true).await;
    space.until("one", "at control", |status| is_ready(status) && !status.pauses.is_empty()).await;
    assert_eq!(served(&space.file("app").await.unwrap(), "one"), "all=0%");

    grant(&space, NUDGE_ROLE).await;
    emergency(&space, false).await;
    space.until("one", "back", |status| is_ready(status) && status.pauses.is_empty()).await;
    assert_eq!(pod_patches(&space), Vec::<String>::new());
    emergency(&space, true).await;
    until_annotated_twice(&space, "folder").await;
}

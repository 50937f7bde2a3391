//! Where the API server says no, or nothing: it is said, the others go on, and it ends by itself.

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, PostParams};
use kube::config::KubeConfigOptions;
use kube::{Client, Config};
use serde_json::{Value, json};
use sluice::api::{FeatureRollout, FeatureRolloutStatus};
use sluice::controller::Options;

use crate::support::bare::{
    Recorded, Running, assert_never_fell, bare, bare_space, events, let_read_namespaces,
};
use crate::support::proxy::Proxy;
use crate::support::{Space, eventually, is_ready, options, pause, ready_reason};

fn ramp(name: &str, every: &str) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{cohorts: [{{name: everyone}}],
          phases: [{{name: ga, ramp: {{percents: [5, 50, 100], every: {every}}}}}]}}}}"
    )
}

fn completed(status: &FeatureRolloutStatus) -> bool {
    status.completed_at.is_some() && is_ready(status)
}

fn stalled(status: &FeatureRolloutStatus) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == "Stalled" && condition.status == "True")
}

fn ready_message(status: &FeatureRolloutStatus) -> String {
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    ready.map(|condition| condition.message.clone()).unwrap_or_default()
}

/// A controller of a user who may do what it needs in a namespace, but for what is left out.
pub async fn limited(space: &Space) -> Running {
    let kubeconfig = bare().user_kubeconfig(&space.name, &[]).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let proxy = Proxy::start(Client::try_from(config).unwrap(), &space.name).await;
    Running::as_told(proxy.config(), Options { namespace: space.name.clone(), ..options() })
}

pub async fn grant(space: &Space, map_verbs: &[&str], event_verbs: &[&str]) {
    let_read_namespaces(space).await;
    let all = json!(["get", "list", "watch", "create", "update", "patch", "delete"]);
    let rule = |group: &str, resource: &str, verbs: Value| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    let mut rules = vec![
        rule("sluice.dev", "*", all.clone()),
        rule("apps", "controllerrevisions", all),
        rule("", "secrets", json!(["get", "create"])),
    ];
    if !map_verbs.is_empty() {
        rules.push(rule("", "configmaps", json!(map_verbs)));
    }
    if !event_verbs.is_empty() {
        rules.push(rule("events.k8s.io", "events", json!(event_verbs)));
    }
    let role: Role =
        serde_json::from_value(json!({"metadata": {"name": "controller"}, "rules": rules})).unwrap();
    let roles = space.api::<Role>();
    if roles.get_opt("controller").await.unwrap().is_some() {
        roles.replace("controller", &PostParams::default(), &role).await.unwrap();
        return;
    }
    roles.create(&PostParams::default(), &role).await.unwrap();
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "controller"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "controller"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": space.name}],
    }))
    .unwrap();
    space.api::<RoleBinding>().create(&PostParams::default(), &binding).await.unwrap();
}

pub const READ: [&str; 3] = ["get", "list", "watch"];
const READ_WRITE: [&str; 5] = ["get", "list", "watch", "create", "update"];

#[tokio::test]
async fn a_forbidden_file_stalls_its_rollout_until_it_is_allowed_again() {
    let space = bare_space("dead-forbidden").await;
    grant(&space, &READ_WRITE, &["create"]).await;
    let controller = limited(&space).await;
    let recorded = Recorded::start(&space, "gone-on");
    space.apply::<FeatureRollout>(&ramp("gone-on", "2s")).await.unwrap();
    space.until("gone-on", "ready", is_ready).await;

    grant(&space, &READ, &["create"]).await;
    let said = space.until("gone-on", "stalled", stalled).await;
    assert_eq!(ready_reason(&said), "Forbidden");
    assert!(ready_message(&said).contains("configmaps"), "{}", ready_message(&said));
    // A rollout that is new has not even a ConfigMap to be written over.
    space.apply::<FeatureRollout>(&ramp("new", "1s")).await.unwrap();
    let new = space.until("new", "stalled", stalled).await;
    assert_eq!(ready_reason(&new), "Forbidden");
    // Longer than anything that goes on by itself for a while.
    pause(11_000).await;
    let said = space.status("gone-on").await;
    // Which step that is depends on when it was forbidden.
    assert_eq!(said.revision, said.delivered_revision + 1, "one step ahead of the file: {said:#?}");

    grant(&space, &READ_WRITE, &["create"]).await;
    space.until("gone-on", "completed", completed).await;
    space.until("new", "completed", completed).await;
    assert_never_fell(&recorded.all_of("gone-on").await);
    controller.stop().await;
}

#[tokio::test]
async fn an_unreadable_file_stalls_its_rollout_until_it_can_be_read() {
    let space = bare_space("dead-unreadable").await;
    // Listing is what the controller needs to begin at all.
    grant(&space, &["list", "watch"], &["create"]).await;
    let controller = limited(&space).await;
    space.apply::<FeatureRollout>(&ramp("hidden", "1s")).await.unwrap();
    let said = space.until("hidden", "stalled", stalled).await;
    assert_eq!(ready_reason(&said), "Forbidden");
    grant(&space, &READ_WRITE, &["create"]).await;
    space.until("hidden", "completed", completed).await;
    controller.stop().await;
}

#[tokio::test]
async fn case_37_forbidden_events_do_not_hold_the_steps() {
    let space = bare_space("dead-events").await;
    grant(&space, &READ_WRITE, &[]).await;
    let controller = limited(&space).await;
    space.apply::<FeatureRollout>(&ramp("mute", "1s")).await.unwrap();
    let done = space.until("mute", "completed", completed).await;
    assert_eq!(done.history.len(), 5);
    assert_eq!(events(&space, "mute").await, Vec::<String>::new());
    controller.stop().await;
}

#[tokio::test]
async fn a_strangers_config_map_is_never_taken_and_its_end_is_noticed() {
    let space = bare_space("dead-stranger").await;
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "taken"}, "data": {"flags.json": "mine"}}))
            .unwrap();
    let maps = space.api::<ConfigMap>();
    maps.create(&PostParams::default(), &map).await.unwrap();
    let controller = Running::in_space(&space).await;
    space.apply::<FeatureRollout>(&ramp("taken", "1s")).await.unwrap();
    let said = space.until("taken", "stalled", stalled).await;
    assert_eq!(ready_reason(&said), "Conflict");
    pause(11_000).await;
    assert_eq!(maps.get("taken").await.unwrap().data.unwrap()["flags.json"], "mine");
    maps.delete("taken", &DeleteParams::default()).await.unwrap();
    space.until("taken", "completed", completed).await;
    controller.stop().await;
}

#[tokio::test]
async fn a_write_that_is_never_answered_is_given_up_and_holds_nobody_else() {
    let space = bare_space("dead-silent").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::over(&proxy);
    for name in ["file", "status", "event"] {
        space.apply::<FeatureRollout>(&ramp(name, "4s")).await.unwrap();
    }
    for name in ["file", "status", "event"] {
        space.until(name, "ready", |status| is_ready(status) && status.published_seq > 0).await;
    }
    proxy.hang_on(&["/configmaps/file", "/featurerollouts/status/status"]);
    eventually("both writes hang", async || proxy.hung() >= 2).await;
    // Meanwhile another one runs from its beginning to its end: it has its file before either write is given up.
    let before = proxy.asked("").len();
    let other = ramp("other", "1ms");
    space.apply::<FeatureRollout>(&other).await.unwrap();
    space.until("other", "completed", completed).await;
    // Told by their order: on a busy machine it all takes longer than a write is waited for.
    let asked = proxy.asked("").split_off(before);
    let first = |is: fn(&str) -> bool| asked.iter().position(|write| is(write)).unwrap_or(asked.len());
    let others = first(|write| write.ends_with("/configmaps"));
    for again in
        [first(|write| write.contains("/configmaps/file")), first(|write| write.contains("/status/status"))]
    {
        assert!(others < again, "the others do not wait for them: {asked:#?}");
    }
    let late = space.until("file", "said to be late", |status| ready_reason(status) == "Retrying").await;
    assert!(!is_ready(&late));
    eventually("each is given up and tried again", async || proxy.hung() >= 4).await;
    proxy.stop_hanging();
    for name in ["file", "status", "event"] {
        let done = space.until(name, "completed", completed).await;
        let seqs: Vec<i64> = done.history.iter().map(|entry| entry.seq).collect();
        assert_eq!(seqs, [1, 2, 3, 4, 5], "{name}");
    }
    controller.stop().await;
}

#[tokio::test]
async fn a_dependent_goes_on_when_what_it_waits_for_is_completed() {
    let space = bare_space("dead-dependent").await;
    // With watches that lag, the controller's own writes are never news to it.
    let lag = std::time::Duration::from_secs(1);
    let controller = Running::over(&Proxy::with_watch_delay(space.client.clone(), &space.name, lag).await);
    let waits =
        ramp("second", "1s").replace("spec: {", "spec: {dependsOn: [{name: first, condition: Completed}], ");
    space.apply::<FeatureRollout>(&waits).await.unwrap();
    space.until("second", "waiting", |status| ready_reason(status) == "Waiting").await;
    space.apply::<FeatureRollout>(&ramp("first", "1s")).await.unwrap();
    space.until("second", "completed", completed).await;
    controller.stop().await;
}

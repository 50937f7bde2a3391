//! Guardrails that are written once: whom they bind, and that nobody they bind gets past them.

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use sluice::api::rolloutpolicy::Binding;
use sluice::api::status::Check;
use sluice::api::{FeatureRolloutStatus, RolloutPolicy};

use crate::flag_sets::create;
use crate::support::metrics::{Measured, reasons, verdict};
use crate::support::raw::object;
use crate::support::{Space, eventually, is_ready, is_stalled, ready_reason};

/// The namespace of the operator that the tests share.
fn operators(space: &Space) -> Space {
    Space { client: space.client.clone(), name: "sluice-system".to_owned() }
}

fn rollout(name: &str, more: &str) -> Value {
    let phases = "phases: [{name: ga, ramp: {percents: [40, 100], every: 1s}}]";
    let phases = if more.contains("phases:") { "" } else { phases };
    object("FeatureRollout", name, &format!("cohorts: [{{name: all, share: 100}}]\n{phases}\n{more}\n"))
}

fn waits_for(status: &FeatureRolloutStatus, check: Check, which: &str) -> bool {
    let waiting = status.waiting_for.as_ref();
    waiting.is_some_and(|waiting| waiting.check == check && waiting.which.as_deref() == Some(which))
}

async fn policy_says(space: &Space, name: &str, rollouts: i64, ready: &str) -> bool {
    let status = space.api::<RolloutPolicy>().get(name).await.unwrap().status.unwrap_or_default();
    let condition = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    status.rollouts == rollouts
        && condition.is_some_and(|c| format!("{} {} {}", c.status, c.reason, c.message).contains(ready))
}

#[tokio::test]
async fn a_freeze_of_the_cluster_said_once_holds_matching_namespaces_and_no_others() {
    let (held, free) = (Space::shared("policies-held").await, Space::shared("policies-free").await);
    let operator = operators(&held);
    let freeze = "freezes: [{name: winter, from: '2020-01-01', to: '2099-12-31'}]";
    let policy = |names: &str| {
        let expression = format!("{{key: kubernetes.io/metadata.name, operator: In, values: [{names}]}}");
        object(
            "RolloutPolicy",
            "stop-the-line",
            &format!("namespaceSelector: {{matchExpressions: [{expression}]}}\n{freeze}"),
        )
    };
    create(&operator, &[policy("policies-held")]).await;
    eventually("it is valid", async || policy_says(&operator, "stop-the-line", 0, "True Valid").await).await;
    let hold = "phases: [{name: ga, ramp: {percents: [40, 100], every: 1h}}]";
    create(&held, &[rollout("one", hold)]).await;
    create(&free, &[rollout("one", hold), rollout("two", hold)]).await;
    let status = held.until("one", "held", |status| is_ready(status) && status.waiting_for.is_some()).await;
    assert!(waits_for(&status, Check::Freeze, "stop-the-line/winter"), "{:?}", status.waiting_for);
    assert_eq!(status.served.as_deref(), Some("all=0%"));
    assert_eq!(status.waiting_for.unwrap().until.unwrap().to_string(), "2100-01-01T00:00:00Z");
    let bound = &status.policies[0];
    assert_eq!(
        (bound.name.as_str(), bound.namespace.as_deref(), bound.binding),
        ("stop-the-line", Some("sluice-system"), Binding::Cluster)
    );
    for name in ["one", "two"] {
        let status =
            free.until(name, "served", |s| is_ready(s) && s.served.as_deref() == Some("all=40%")).await;
        assert_eq!(status.policies, []);
    }
    eventually("it says whom it binds", async || policy_says(&operator, "stop-the-line", 1, "True").await)
        .await;

    // An edit of the policy is an edit of those that it binds: it holds at once, and moves nobody.
    let both = json!({"spec": policy("policies-held, policies-free")["spec"]});
    assert_eq!(operator.merge("RolloutPolicy", "stop-the-line", &both).await.code, 200);
    for name in ["one", "two"] {
        let before = free.status(name).await;
        let after =
            free.until(name, "held", |status| waits_for(status, Check::Freeze, "stop-the-line/winter")).await;
        assert_eq!((&after.served, after.revision), (&before.served, before.revision));
        assert_eq!(after.position, before.position);
    }
    eventually("it binds three", async || policy_says(&operator, "stop-the-line", 3, "True").await).await;

    // A broken edit stops raises where it binds, and is said on both.
    let broken = json!({"spec": {"timeZone": "Mars/Olympus"}});
    assert_eq!(operator.merge("RolloutPolicy", "stop-the-line", &broken).await.code, 200);
    let says = "RolloutPolicy sluice-system/stop-the-line spec.timeZone";
    held.until("one", "stalled", |status| is_stalled(status, "InvalidSpec", says)).await;
    eventually("the policy says so too", async || {
        policy_says(&operator, "stop-the-line", 3, "False InvalidSpec spec.timeZone").await
    })
    .await;

    // Without it everybody goes on.
    operator.api::<RolloutPolicy>().delete("stop-the-line", &DeleteParams::default()).await.unwrap();
    held.until("one", "raised", |status| is_ready(status) && status.served.as_deref() == Some("all=40%"))
        .await;
    free.until("two", "free again", |status| is_ready(status) && status.policies.is_empty()).await;
}

#[tokio::test]
async fn a_namespace_that_gets_the_label_is_held_and_one_that_loses_it_goes_on() {
    let space = Space::shared("policies-labels").await;
    let operator = operators(&space);
    let policy = "namespaceSelector: {matchLabels: {policies-labels: calm}}\napprovalAbove: 0";
    create(&operator, &[object("RolloutPolicy", "by-label", policy)]).await;
    create(&space, &[rollout("one", "schedule: {startAt: '2100-01-01T00:00:00Z'}")]).await;
    let label = async |value: Value| {
        let api: Api<Namespace> = Api::all(space.client.clone());
        let patch = Patch::Merge(json!({"metadata": {"labels": {"policies-labels": value}}}));
        api.patch(&space.name, &PatchParams::default(), &patch).await.unwrap();
    };
    space.until("one", "waiting", |status| is_ready(status) && status.policies.is_empty()).await;
    label(json!("calm")).await;
    space.until("one", "bound", |status| status.policies.len() == 1).await;
    label(json!(null)).await;
    space.until("one", "free", |status| status.policies.is_empty()).await;
    operator.api::<RolloutPolicy>().delete("by-label", &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn a_flag_sets_policy_cannot_be_weakened_by_a_member() {
    let space = Space::shared("policies-set").await;
    create(
        &space,
        &[
            object("RolloutPolicy", "strict", "approvalAbove: 50"),
            object("RolloutPolicy", "lax", "approvalAbove: 100"),
            object("FlagSet", "app", "policyRef: {name: strict}"),
            rollout("one", "flagSetRef: {name: app}\npolicyRef: {name: lax}"),
        ],
    )
    .await;
    let waits = |status: &FeatureRolloutStatus| waits_for(status, Check::Approval, "ga/100%");
    let status = space.until("one", "held", |status| is_ready(status) && waits(status)).await;
    assert_eq!((status.served.as_deref(), ready_reason(&status)), (Some("all=40%"), "AwaitingApproval"));
    let waiting = status.waiting_for.unwrap().message;
    assert!(waiting.contains("above the 50% of policy strict"), "{waiting}");
    let bound: Vec<_> = status.policies.iter().map(|p| (p.name.as_str(), p.binding)).collect();
    assert_eq!(bound, [("lax", Binding::Rollout), ("strict", Binding::FlagSet)]);
    // Whatever the member says: no policy, another ask of the step that it stands at.
    let edit = json!({"spec": {"policyRef": null, "phases": [{"name": "ga", "ramp": {"percents": [40, 90], "every": "1s"}}]}});
    assert_eq!(space.merge("FeatureRollout", "one", &edit).await.code, 200);
    let status = space.until("one", "held", |s| s.observed_generation == 2 && is_ready(s)).await;
    assert!(waits_for(&status, Check::Approval, "ga/90%"), "{:?}", status.waiting_for);
    assert_eq!(status.served.as_deref(), Some("all=40%"));
    // The way on.
    let approved = json!({"spec": {"approvals": [{"phase": "ga", "step": "90%"}]}});
    assert_eq!(space.merge("FeatureRollout", "one", &approved).await.code, 200);
    space
        .until("one", "raised", |status| is_ready(status) && status.served.as_deref() == Some("all=90%"))
        .await;
}

#[tokio::test]
async fn a_missing_argument_is_named_and_its_neighbour_goes_on() {
    let space = Space::shared("policies-args").await;
    let trigger = "{name: errors, metric: {templateRef: {name: none}, args: {service: $(service)}}, levels: [{severity: Info, above: '1', action: Notify}]}";
    let named = "flagSetRef: {name: app}\npolicyRef: {name: standard}";
    create(
        &space,
        &[
            object("RolloutPolicy", "standard", &format!("args: [{{name: service}}]\ntriggers: [{trigger}]")),
            object("FlagSet", "app", "{}"),
            rollout("one", named),
            rollout("two", &format!("{named}\npolicyArgs: {{service: two}}")),
        ],
    )
    .await;
    let says = "spec.policyArgs.service: is needed by RolloutPolicy standard";
    space.until("one", "stalled", |status| is_stalled(status, "InvalidSpec", says)).await;
    let full = |status: &FeatureRolloutStatus| status.served.as_deref() == Some("all=100%");
    let two = space.until("two", "raised", |status| is_ready(status) && full(status)).await;
    assert_eq!(two.policies.len(), 1);
    eventually("the policy counts both", async || policy_says(&space, "standard", 2, "True Valid").await)
        .await;
    let given = json!({"spec": {"policyArgs": {"service": "one"}}});
    assert_eq!(space.merge("FeatureRollout", "one", &given).await.code, 200);
    space.until("one", "raised", |status| is_ready(status) && full(status)).await;
}

#[tokio::test]
async fn a_deleted_policy_stops_raises_and_its_triggers_still_roll_back() {
    let world = Measured::start("policies-deleted").await;
    let controller = world.controller();
    let calm = "metadata: {name: calm}
spec:
  triggers:
  - name: errors
    metric: {templateRef: {name: errors}}
    interval: 1s
    levels: [{severity: Critical, above: '10', for: 2s, action: ImmediateRollback}]";
    world.space.apply::<RolloutPolicy>(calm).await.unwrap();
    world.apply_rollout("  policyRef: {name: calm}\n").await;
    world.until("passing", |status| verdict(status, "calm/errors", "") == Some("Pass")).await;
    eventually("the step is in the file", async || world.file().await == Some((100.0, 50.0))).await;

    world.space.api::<RolloutPolicy>().delete("calm", &DeleteParams::default()).await.unwrap();
    let says = "spec.policyRef.name";
    let gone = world.until("stalled", |status| is_stalled(status, "ReferenceNotFound", says)).await;
    assert_eq!(gone.served.as_deref(), Some("early=100%,all=50%"), "nobody is lowered by it");
    world.app.set_error_percent(20.0);
    let status = world.until("rolled back", |status| status.rollback.is_some()).await;
    assert_eq!(status.history.last().unwrap().who, "trigger/calm/errors", "{:#?}", status.history);
    eventually("the file is at control", async || world.file().await == Some((0.0, 0.0))).await;

    // Restored, it is as if it had never been away; what it rolled back waits for a retry as ever.
    world.app.set_error_percent(0.0);
    world.space.apply::<RolloutPolicy>(calm).await.unwrap();
    world.until("verified", |status| reasons(status).contains(&"RollbackVerified")).await;
    world.apply_rollout("  policyRef: {name: calm}\n  attempt: 2\n").await;
    world.until("started again", |status| status.rollback.is_none() && status.attempt == 2).await;
    eventually("the step is in the file again", async || world.file().await == Some((100.0, 50.0))).await;
    controller.stop().await;
}

//! The actions that Argo CD offers of a rollout: which of them when, and each carried out once, as the account that Argo CD
//! has.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use sluice::api::rolloutaction::Answer;
use sluice::api::status::PauseCause;
use sluice::api::{FeatureRollout, FeatureRolloutStatus, RolloutAction, State};

use super::{ARGOCD_CM, argocd, ask, live};
use crate::support::bare::{Running, bare, bare_space};
use crate::support::{Space, condition, eventually, is_ready, ready_reason};

/// By name.
pub const NAMES: [&str; 6] = ["approve", "pause", "promote", "resume", "retry", "rollback"];
/// The account of Argo CD's API server.
const ACCOUNT: &str = "system:serviceaccount:argocd:argocd-server";

/// A rollout as Argo CD syncs it: with its mark, and the label that it may track by.
const SYNCED: &str = r"
metadata:
  name: half
  labels: {app.kubernetes.io/instance: shop}
  annotations: {argocd.argoproj.io/tracking-id: 'shop:sluice.dev/FeatureRollout:shop/half'}
spec:
  cohorts: [{name: everyone}]
  phases:
  - name: ga
    steps:
    - {name: first, cohorts: {everyone: 50}, hold: 1000h}
    - {name: second, cohorts: {everyone: 75}, hold: 0s}
    - {name: third, cohorts: {everyone: 100}, hold: 1000h, approval: Required}
";

/// A sync of Argo CD: the rollout is applied again.
async fn sync(space: &Space) {
    space.apply::<FeatureRollout>(SYNCED).await.unwrap();
}

/// The account of Argo CD with the rights in `deploy/argocd/rbac.yaml`, and no others.
async fn account() -> Client {
    let client = bare().client().unwrap();
    let text = std::fs::read_to_string("deploy/argocd/rbac.yaml").unwrap();
    let objects = crate::chart::documents(&text);
    let params = PatchParams::apply("test").force();
    let name = "argocd-server-sluice-actions";
    let roles: Api<ClusterRole> = Api::all(client.clone());
    roles.patch(name, &params, &Patch::Apply(&objects[0])).await.unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(client);
    bindings.patch(name, &params, &Patch::Apply(&objects[1])).await.unwrap();
    let mut config = bare().client_config();
    config.auth_info.impersonate = Some(ACCOUNT.to_owned());
    Client::try_from(config).unwrap()
}

/// The actions that are not greyed out.
async fn offered(rollout: &Value) -> BTreeSet<String> {
    let answer =
        ask(&["argocd", "actions", ARGOCD_CM], std::slice::from_ref(rollout)).await.unwrap().remove(0);
    let actions = answer.as_array().unwrap().clone();
    let names: Vec<&str> = actions.iter().map(|action| action["name"].as_str().unwrap()).collect();
    assert_eq!(names, NAMES);
    for action in &actions {
        assert_eq!(action["params"], json!([{"name": "reason"}]), "people are asked why");
        assert!(action["displayName"].is_string() && action["iconClass"].is_string(), "{action}");
    }
    let enabled = actions.iter().filter(|action| action["disabled"] != true);
    enabled.map(|action| action["name"].as_str().unwrap().to_owned()).collect()
}

/// What Argo CD would create.
async fn created(rollout: &Value, args: &[&str]) -> Result<Value, String> {
    let args = [&["argocd", "run", ARGOCD_CM][..], args].concat();
    let impacted = ask(&args, std::slice::from_ref(rollout)).await?.remove(0);
    assert_eq!(impacted.as_array().unwrap().len(), 1);
    assert_eq!(impacted[0]["operation"], "create", "nothing that is in git is changed");
    Ok(impacted[0]["resource"].clone())
}

/// An app of Argo CD, and somebody who clicks.
struct Clicks {
    space: Space,
    account: Client,
}

impl Clicks {
    /// The rollout, once the actions that are offered of it are these.
    async fn until_offered(&self, names: &[&str]) -> Value {
        let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let rollout = live(&self.space, "FeatureRollout", "half").await;
        assert_eq!(offered(&rollout).await, wanted, "{:#}", rollout["status"]);
        rollout
    }

    /// Carries out an action as Argo CD's API server does: it tries it without storing anything, and then creates it.
    /// Returns its answer, which syncs do not change.
    async fn click(&self, args: &[&str]) -> RolloutAction {
        let rollout = live(&self.space, "FeatureRollout", "half").await;
        let object = created(&rollout, args).await.unwrap();
        let action: RolloutAction = serde_json::from_value(object).unwrap();
        assert_eq!(action.metadata.labels, None);
        assert_eq!(action.metadata.annotations, None, "a tracked action is rejected");
        let api: Api<RolloutAction> = Api::namespaced(self.account.clone(), &self.space.name);
        api.create(&PostParams { dry_run: true, ..PostParams::default() }, &action).await.unwrap();
        let name = api.create(&PostParams::default(), &action).await.unwrap().name_any();
        let answered = self.answered(&name).await;
        let status = answered.status.clone().unwrap();
        assert_eq!(status.answer, Some(Answer::Applied), "{args:?}: {:?}", status.message);
        assert_eq!(answered.spec.requested_by.as_deref(), Some(ACCOUNT));
        let seen = live(&self.space, "RolloutAction", &name).await;
        assert_eq!(argocd(&[seen]).await[0].status, "Healthy", "below the rollout");
        sync(&self.space).await;
        assert_eq!(self.answered(&name).await.status, Some(status), "{args:?} after a sync");
        answered
    }

    async fn answered(&self, name: &str) -> RolloutAction {
        let mut found = None;
        eventually(&format!("{name} is answered"), async || {
            let action = self.space.api::<RolloutAction>().get(name).await.unwrap();
            found = Some(action).filter(|action| action.status.as_ref().is_some_and(|s| s.answer.is_some()));
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&FeatureRolloutStatus) -> bool,
    ) -> FeatureRolloutStatus {
        self.space.until("half", what, |status| wanted(status) && status.is_delivered()).await
    }
}

fn serves(status: &FeatureRolloutStatus, percent: &str) -> bool {
    status.served.as_deref() == Some(&format!("everyone={percent}"))
}

#[tokio::test]
async fn each_action_of_argo_cd_is_offered_when_it_can_be_done_and_is_done_once() {
    let space = bare_space("gitops-actions").await;
    let clicks = Clicks { space: space.clone(), account: account().await };
    sync(&space).await;
    let fresh = live(&space, "FeatureRollout", "half").await;
    assert_eq!(offered(&fresh).await, BTreeSet::new(), "nobody has looked at it yet");
    let controller = Running::in_space(&space).await;
    clicks.until("holding", |s| is_ready(s) && serves(s, "50%")).await;
    clicks.until_offered(&["pause", "promote", "rollback"]).await;

    // No tool takes the file for one of its own, so none prunes it.
    let file = space.api::<ConfigMap>().get("half").await.unwrap();
    assert_eq!(file.owner_references(), []);
    let marks = file.labels().keys().chain(file.annotations().keys());
    let strange: Vec<&String> = marks.filter(|mark| !is_ours(mark)).collect();
    assert!(strange.is_empty(), "{strange:?}");

    let paused = clicks.click(&["pause", "reason=the shop is busy"]).await;
    assert_eq!(paused.spec.reason, "the shop is busy");
    let status = clicks.until("paused", |s| s.pause(PauseCause::Person).is_some() && is_ready(s)).await;
    assert!(condition(&status, "Paused").unwrap().2.contains("the shop is busy"));
    clicks.until_offered(&["resume", "rollback"]).await;

    let resumed = clicks.click(&["resume"]).await;
    assert_eq!(
        resumed.spec.reason, "asked for in Argo CD",
        "where nobody says why, as the command line cannot"
    );
    clicks.until("resumed", |s| s.pauses.is_empty() && is_ready(s)).await;
    clicks.until_offered(&["pause", "promote", "rollback"]).await;

    clicks.click(&["promote", "reason="]).await;
    clicks.until("awaiting", |s| serves(s, "75%") && ready_reason(s) == "AwaitingApproval").await;
    let waiting = clicks.until_offered(&["approve", "pause", "rollback"]).await;
    let refused = created(&fresh, &["approve"]).await.unwrap_err();
    assert!(refused.contains("no step with a name waits"), "{refused}");
    assert_eq!(
        created(&waiting, &["approve"]).await.unwrap()["spec"]["approve"],
        json!({"phase": "ga", "step": "third"})
    );
    clicks.click(&["approve", "reason=reviewed"]).await;
    clicks.until("full", |s| serves(s, "100%") && is_ready(s)).await;
    clicks.until_offered(&["pause", "rollback"]).await;

    clicks.click(&["rollback", "reason=it crashes"]).await;
    clicks.until("rolled back", |s| serves(s, "0%") && s.state == Some(State::RolledBack)).await;
    clicks.until_offered(&["pause", "retry"]).await;

    clicks.click(&["retry", "reason=it is mended"]).await;
    clicks.until("again", |s| serves(s, "50%") && is_ready(s)).await;
    clicks.until_offered(&["pause", "promote", "rollback"]).await;

    // What an action owns goes with the rollout, and a sync has repeated none.
    let actions = space.api::<RolloutAction>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(actions.len(), NAMES.len());
    for action in &actions {
        assert_eq!(action.owner_references()[0].uid, live_uid(&space).await);
    }
    let by = |reason: &str| {
        let told = space.clone();
        let reason = reason.to_owned();
        async move {
            let status = told.status("half").await;
            status
                .history
                .iter()
                .filter(|entry| entry.reason.as_str() == reason && entry.who == ACCOUNT)
                .count()
        }
    };
    for reason in ["Paused", "Resumed", "Promoted", "Approved", "RolledBack", "Retried"] {
        assert_eq!(by(reason).await, 1, "{reason}");
    }
    controller.stop().await;
}

/// Whether a label or annotation of a file is one that Sluice gives it.
fn is_ours(mark: &str) -> bool {
    mark.starts_with("sluice.dev/") || mark == "app.kubernetes.io/managed-by"
}

async fn live_uid(space: &Space) -> String {
    space.api::<FeatureRollout>().get("half").await.unwrap().uid().unwrap()
}

#[tokio::test]
async fn what_would_be_rejected_is_not_offered() {
    let space = bare_space("gitops-not-offered").await;
    let controller = Running::in_space(&space).await;
    sync(&space).await;
    space.until("half", "holding", |s| is_ready(s) && serves(s, "50%")).await;
    let now =
        async || offered(&live(&space, "FeatureRollout", "half").await).await.into_iter().collect::<Vec<_>>();

    let merge = async |spec: Value| {
        let answer = space.merge("FeatureRollout", "half", &json!({"spec": spec})).await;
        assert_eq!(answer.code, 200, "{}", answer.message());
    };
    merge(json!({"suspend": true})).await;
    space.until("half", "suspended", |s| s.pause(PauseCause::Suspended).is_some() && is_ready(s)).await;
    assert_eq!(now().await, ["pause", "rollback"], "only git ends this pause");
    merge(json!({"suspend": false, "baseline": {"nobody": 5}})).await;
    space.until("half", "invalid", |s| condition(s, "Stalled").is_some()).await;
    assert_eq!(now().await, ["pause", "rollback"], "what lowers needs no valid spec");
    merge(json!({"baseline": null, "rollback": {"gradual": {"ladder": [30, 0], "every": "1h"}}})).await;
    space.until("half", "mended", is_ready).await;
    let gradual = json!({"action": "Rollback", "rollback": {"mode": "Gradual"}});
    crate::actions::applied(&space, "half", "gradual", gradual).await;
    space.until("half", "on the ladder", |s| s.state == Some(State::RollingBack) && serves(s, "30%")).await;
    assert_eq!(now().await, ["pause", "retry", "rollback"], "at once is stronger than the ladder");
    controller.stop().await;
}

/// A ramp's steps are named by their percentages, which are numbers or texts.
#[tokio::test]
async fn a_step_of_a_ramp_is_approved_by_its_percentage() {
    let rollout = |which: &str| {
        json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout",
            "metadata": {"name": "half", "namespace": "shop", "uid": "u", "generation": 1},
            "spec": {"phases": [
                {"name": "beta", "ramp": {"percents": [5, "12.5%"]}},
                {"name": "ga", "steps": [{"cohorts": {"all": 5}}, {"name": "full", "cohorts": {"all": 100}}]},
            ]},
            "status": {"uid": "u", "waitingFor": {"check": "Approval", "which": which, "message": "m"}},
        })
    };
    for (which, phase, step) in
        [("beta/5%", "beta", "5%"), ("beta/12.5%", "beta", "12.5%"), ("ga/full", "ga", "full")]
    {
        let action = created(&rollout(which), &["approve"]).await.unwrap();
        assert_eq!(action["spec"]["approve"], json!({"phase": phase, "step": step}));
    }
    // A step without a name cannot be approved.
    assert!(created(&rollout("ga/1"), &["approve"]).await.is_err());
}

//! Who asks for an action is not theirs to say, and each action is an RBAC verb on the rollout: by admission policy alone.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use sluice::api::policies::PERMISSION;
use sluice::api::{FeatureRollout, RolloutAction};
use sluice::sandbox::{ControlPlane, Options, install_crds, install_policies};

use crate::support::bare::{Running, bare, bare_space};
use crate::support::process::sluice_binary;
use crate::support::{Space, eventually, is_ready};

const HALF: &str = r"
metadata: {name: half}
spec:
  cohorts: [{name: everyone}]
  phases: [{name: ga, steps: [{name: first, cohorts: {everyone: 50}, hold: 1000h}]}]
";

/// Each action with its verb, as small as the schema takes it.
fn every_action() -> Vec<(&'static str, Value)> {
    vec![
        ("pause", json!({"action": "Pause"})),
        ("resume", json!({"action": "Resume"})),
        ("approve", json!({"action": "Approve", "approve": {"phase": "ga", "step": "full"}})),
        ("promote", json!({"action": "Promote"})),
        ("setpercent", json!({"action": "SetPercent", "setPercent": {"everyone": 5}})),
        ("rollback", json!({"action": "Rollback"})),
        ("retry", json!({"action": "Retry"})),
        ("acknowledge", json!({"action": "Acknowledge"})),
    ]
}

fn action(rollout: &str, more: &Value) -> RolloutAction {
    let mut spec = json!({"rolloutRef": {"name": rollout}, "reason": "because"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "RolloutAction",
        "metadata": {"generateName": "try-"}, "spec": spec,
    }))
    .unwrap()
}

async fn client(kubeconfig: Kubeconfig) -> Client {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// A user who may create actions, and has these verbs on one rollout.
async fn user(space: &Space, name: &str, rollout: &str, verbs: &[&str]) -> Api<RolloutAction> {
    let rule = |group_resource: &str, verbs: &[&str], names: Option<&str>| PolicyRule {
        api_groups: Some(vec!["sluice.dev".to_owned()]),
        resources: Some(vec![group_resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        resource_names: names.map(|name| vec![name.to_owned()]),
        ..PolicyRule::default()
    };
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let mut rules = vec![rule("rolloutactions", &["create"], None)];
    if !verbs.is_empty() {
        rules.push(rule("featurerollouts", verbs, Some(rollout)));
    }
    let role = Role { metadata: metadata.clone(), rules: Some(rules) };
    let group = "rbac.authorization.k8s.io".to_owned();
    let binding = RoleBinding {
        metadata,
        role_ref: RoleRef { api_group: Some(group.clone()), kind: "Role".to_owned(), name: name.to_owned() },
        subjects: Some(vec![Subject {
            api_group: Some(group),
            kind: "User".to_owned(),
            name: name.to_owned(),
            namespace: None,
        }]),
    };
    space.api::<Role>().create(&PostParams::default(), &role).await.unwrap();
    space.api::<RoleBinding>().create(&PostParams::default(), &binding).await.unwrap();
    let client = client(bare().user_kubeconfig(name, &[]).unwrap()).await;
    Api::namespaced(client, &space.name)
}

async fn try_it(api: &Api<RolloutAction>, rollout: &str, more: &Value) -> Result<RolloutAction, String> {
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&dry_run, &action(rollout, more)).await.map_err(|error| error.to_string())
}

/// Waits until the API server has heard of a user's roles.
async fn until_allowed(api: &Api<RolloutAction>, rollout: &str, more: &Value) -> RolloutAction {
    let mut last = None;
    eventually("the roles are in force", async || {
        last = Some(try_it(api, rollout, more).await);
        last.as_ref().unwrap().is_ok()
    })
    .await;
    last.unwrap().unwrap()
}

#[tokio::test]
async fn each_verb_is_allowed_and_refused_by_rbac_on_one_rollout_only() {
    let space = bare_space("policy-verbs").await;
    let actions = every_action();
    for (i, (verb, more)) in actions.iter().enumerate() {
        let name = format!("may-{verb}");
        let api = user(&space, &name, "mine", &[verb]).await;
        let created = until_allowed(&api, "mine", more).await;
        assert_eq!(created.spec.requested_by.as_deref(), Some(name.as_str()));

        let other = try_it(&api, "other", more).await.unwrap_err();
        assert!(
            other.contains(PERMISSION) && other.contains(&format!("{name} may not {verb} the rollout other")),
            "{other}"
        );
        let (another, more) = &actions[(i + 1) % actions.len()];
        let refused = try_it(&api, "mine", more).await.unwrap_err();
        assert!(
            refused.contains(&format!("takes the verb {another} on featurerollouts.sluice.dev")),
            "{refused}"
        );
    }
    // The right to write the rollout itself is not the right to act on it.
    let api = user(&space, "may-edit", "mine", &["get", "update", "patch", "delete", "pause"]).await;
    until_allowed(&api, "mine", &actions[0].1).await;
    let refused = try_it(&api, "mine", &json!({"action": "Promote"})).await.unwrap_err();
    assert!(refused.contains("may not promote"), "{refused}");
}

#[tokio::test]
async fn passing_over_checks_takes_a_verb_of_its_own() {
    let space = bare_space("policy-override").await;
    let plain = json!({"action": "Promote"});
    let over = json!({"action": "Promote", "override": ["Window"]});
    let careful = user(&space, "careful", "mine", &["promote"]).await;
    until_allowed(&careful, "mine", &plain).await;
    let refused = try_it(&careful, "mine", &over).await.unwrap_err();
    assert!(refused.contains("careful may not pass over checks of the rollout mine"), "{refused}");
    let bold = user(&space, "bold", "mine", &["promote", "override"]).await;
    until_allowed(&bold, "mine", &over).await;
}

#[tokio::test]
async fn a_forged_name_is_written_over_and_a_forged_answer_is_dropped() {
    let space = bare_space("policy-identity").await;
    let api = user(&space, "mallory", "mine", &["rollback"]).await;
    let forged = json!({"action": "Rollback", "requestedBy": "root"});
    let created = until_allowed(&api, "mine", &forged).await;
    assert_eq!(created.spec.requested_by.as_deref(), Some("mallory"));

    let mut answered = action("mine", &forged);
    answered.status = Some(serde_json::from_value(json!({"answer": "Applied", "message": "by me"})).unwrap());
    let created = api.create(&PostParams::default(), &answered).await.unwrap();
    assert_eq!(created.status.and_then(|status| status.answer), None);
}

/// As before Kubernetes 1.36: nobody writes the name, so that whoever gives another's is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_mutating_policies_a_forged_name_is_refused() {
    let off = ["v1", "v1beta1"].map(|version| {
        format!(
            "admissionregistration.k8s.io/{version}/mutatingadmissionpolicies=false,\
                 admissionregistration.k8s.io/{version}/mutatingadmissionpolicybindings=false"
        )
    });
    let options = Options {
        extra_api_server_args: vec![
            format!("--runtime-config={}", off.join(",")),
            "--feature-gates=MutatingAdmissionPolicy=false".to_owned(),
        ],
        ..Options::default()
    };
    let plane = ControlPlane::start(options).await.unwrap();
    let admin = plane.client().unwrap();
    install_crds(&admin).await.unwrap();
    let space = Space::on(admin.clone(), "old").await;
    let api = space.api::<RolloutAction>();
    let controller = Running::in_space(&space).await;
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    space.until("half", "served", |status| is_ready(status) && status.exposed()).await;

    // Without any policy nobody knows who asks: what stops works, what raises does not.
    let forged = json!({"action": "Pause", "requestedBy": "somebody-else"});
    api.create(&PostParams::default(), &action("half", &forged)).await.unwrap();
    let paused = space.until("half", "paused", |status| !status.pauses.is_empty()).await;
    assert_eq!(paused.history.last().unwrap().who, "unverified");
    let (code, answered) = resume(&plane).await;
    assert_eq!((code, &answered["answer"]), (4, &json!("Rejected")), "{answered}");
    assert!(answered["message"].as_str().unwrap().contains("not verified"), "{answered}");

    install_policies(&admin).await.unwrap();
    let pause = json!({"action": "Pause"});
    for forged in [pause.clone(), json!({"action": "Pause", "requestedBy": "somebody-else"})] {
        let refused = try_it(&api, "half", &forged).await.unwrap_err();
        assert!(refused.contains("spec.requestedBy has to be sluice-sandbox-admin"), "{refused}");
    }
    // The command line finds out who asks, and the controller believes it.
    let (code, answered) = resume(&plane).await;
    assert_eq!((code, &answered["answer"]), (0, &json!("Applied")), "{answered}");
    assert_eq!(answered["requestedBy"], json!("sluice-sandbox-admin"));
    let resumed = space.status("half").await;
    assert_eq!(resumed.history.last().unwrap().who, "sluice-sandbox-admin");
    // Not if the policy leaves requests out, whatever its name is and whatever else it says.
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(admin.clone());
    let condition = json!([{"name": "not-admins", "expression": "request.userInfo.username != 'root'"}]);
    // Put right, it is believed again, and the action is rejected because nothing is paused.
    for (conditions, is_unverified) in [(condition, true), (Value::Null, false)] {
        let edited = json!({"spec": {"matchConditions": conditions}});
        policies.patch(PERMISSION, &PatchParams::default(), &Patch::Merge(&edited)).await.unwrap();
        let (code, answered) = resume(&plane).await;
        assert_eq!((code, &answered["answer"]), (4, &json!("Rejected")), "{answered}");
        let message = answered["message"].as_str().unwrap();
        assert_eq!(message.contains("not verified"), is_unverified, "{message}");
    }
    // And believes it no longer than it is so.
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(admin);
    bindings.delete(PERMISSION, &DeleteParams::default()).await.unwrap();
    let (code, answered) = resume(&plane).await;
    assert_eq!((code, &answered["answer"]), (4, &json!("Rejected")), "{answered}");
    assert!(answered["message"].as_str().unwrap().contains("not verified"), "{answered}");
    controller.stop().await;
    plane.stop().await.unwrap();
}

/// `sluice resume half`: its exit code and what it printed.
async fn resume(plane: &ControlPlane) -> (i32, Value) {
    let kubeconfig = plane.kubeconfig_path().to_str().unwrap().to_owned();
    let ran = tokio::task::spawn_blocking(move || {
        let args =
            ["resume", "half", "--reason", "why not", "-n", "old", "-o", "json", "--kubeconfig", &kubeconfig];
        std::process::Command::new(sluice_binary()).args(args).output().unwrap()
    })
    .await
    .unwrap();
    let answered = serde_json::from_slice(&ran.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&ran.stderr)));
    (ran.status.code().unwrap(), answered)
}

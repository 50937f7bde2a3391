//! The FeatureFlag output: what the ConfigMap holds, under the same rules, where the kind is installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use sluice::api::FeatureRolloutStatus;
use sluice::sandbox::{ControlPlane, Options, install_crds};

use crate::flag_sets::{create, member, served, set_condition, set_status};
use crate::support::bare::{Running, audited_writes, bare, bare_space};
use crate::support::proxy::Proxy;
use crate::support::raw::object;
use crate::support::{Space, eventually, is_ready, is_stalled};

/// As much of the kind as its own definition says of its content.
const CRD: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: featureflags.core.openfeature.dev}
spec:
  group: core.openfeature.dev
  scope: Namespaced
  names: {kind: FeatureFlag, plural: featureflags}
  versions:
  - name: v1beta1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              flagSpec:
                type: object
                required: [flags]
                properties:
                  $evaluators: {type: object, x-kubernetes-preserve-unknown-fields: true}
                  metadata: {type: object, x-kubernetes-preserve-unknown-fields: true}
                  flags:
                    type: object
                    additionalProperties:
                      type: object
                      required: [state, variants, defaultVariant]
                      properties:
                        state: {type: string, enum: [ENABLED, DISABLED]}
                        variants: {type: object, x-kubernetes-preserve-unknown-fields: true}
                        defaultVariant: {type: string}
                        targeting: {type: object, x-kubernetes-preserve-unknown-fields: true}
                        metadata: {type: object, x-kubernetes-preserve-unknown-fields: true}
"#;

pub async fn install(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let crd: Value = serde_saphyr::from_str(CRD).unwrap();
    let name = "featureflags.core.openfeature.dev";
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&crd)).await.unwrap();
    await_condition(api, name, conditions::is_crd_established()).await.unwrap();
}

fn api(space: &Space) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("core.openfeature.dev", "v1beta1", "FeatureFlag");
    Api::namespaced_with(space.client.clone(), &space.name, &ApiResource::from_gvk(&kind))
}

async fn flag(space: &Space) -> Option<DynamicObject> {
    api(space).get_opt("app").await.unwrap()
}

async fn flag_spec(space: &Space) -> Value {
    flag(space).await.map(|flag| flag.data["spec"]["flagSpec"].clone()).unwrap_or_default()
}

/// What the FeatureFlag should hold: the ConfigMap's file without what its schema does not know.
async fn file(space: &Space) -> Value {
    let mut file = space.file("app").await.unwrap();
    file.as_object_mut().unwrap().remove("$schema");
    file
}

async fn until_equal(space: &Space) {
    eventually("the FeatureFlag holds what the ConfigMap holds", async || {
        flag_spec(space).await == file(space).await
    })
    .await;
}

/// Another FlagSet that named the object kept its writer from hearing of edits, and for good once that set was gone.
#[tokio::test]
async fn a_set_that_names_anothers_flag_keeps_it_from_nothing() {
    let space = bare_space("ff-named-twice").await;
    install(&space.client).await;
    let _running = Running::in_space(&space).await;
    create(&space, &[object("FlagSet", "app", "{featureFlag: {name: app}}"), member("one", "")]).await;
    space.until("one", "ready", is_ready).await;
    let before = flag_spec(&space).await;
    create(&space, &[object("FlagSet", "other", "{featureFlag: {name: app}}")]).await;
    eventually("the other one has looked", async || {
        set_condition(&set_status(&space, "other").await, "Stalled").contains("Conflict")
    })
    .await;

    let raise = json!({"spec": {"flagSpec": {"flags": {"one": {"targeting": {"if": [true, "enabled"]}}}}}});
    api(&space).patch("app", &PatchParams::default(), &Patch::Merge(&raise)).await.unwrap();
    eventually("an edit is undone", async || flag_spec(&space).await == before).await;
    assert_eq!(space.delete("FlagSet", "other").await.code, 200);
    api(&space).patch("app", &PatchParams::default(), &Patch::Merge(&raise)).await.unwrap();
    eventually("an edit is undone when the other set is gone", async || flag_spec(&space).await == before)
        .await;
}

/// Apps that ask flagd read it on; and whoever takes the right away together with the output has to be able to go on.
#[tokio::test]
async fn one_that_is_no_output_any_more_is_lowered_too_and_keeps_nobody_waiting_whom_it_may_not_tell() {
    let space = bare_space("ff-former").await;
    install(&space.client).await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let running = Running::over(&proxy);
    let names = ["one", "two"];
    create(&space, &[object("FlagSet", "app", "{featureFlag: {name: live}}")]).await;
    create(&space, &names.map(|name| member(name, ""))).await;
    for name in names {
        space.until(name, "ready", is_ready).await;
    }
    eventually("it says where the file is", async || set_status(&space, "app").await.outputs.len() == 2)
        .await;
    assert_eq!(space.merge("FlagSet", "app", &json!({"spec": {"featureFlag": null}})).await.code, 200);
    eventually("it says that it is no output any more", async || {
        set_condition(&set_status(&space, "app").await, "Ready")
            .contains("FeatureFlag live is no output any more")
    })
    .await;
    let back = |name: &str| {
        let spec = format!("rolloutRef: {{name: {name}}}\naction: Rollback\nreason: a test");
        object("RolloutAction", &format!("back-{name}"), &spec)
    };
    create(&space, &[back("one")]).await;
    eventually("it is lowered", async || {
        let live = api(&space).get("live").await.unwrap();
        served(&live.data["spec"]["flagSpec"], "one") == "all=0%"
    })
    .await;

    // While it can be seen that it gives more, that is said; where it may not be looked at, it may be gone.
    proxy.forbid(&["/featureflags/live"]);
    create(&space, &[back("two")]).await;
    let why = "FeatureFlag live, which is no output any more";
    let says = |status: &FeatureRolloutStatus| {
        status.undelivered.as_ref().is_some_and(|it| it.message.contains(why))
    };
    space.until("two", "not delivered", says).await;
    assert_eq!(
        served(&space.file("app").await.unwrap(), "two"),
        "all=0%",
        "the ConfigMap does not wait for it"
    );
    proxy.forbid_reading("live");
    let is_there = |status: &FeatureRolloutStatus| status.delivered_revision == status.revision;
    space.until("two", "delivered", is_there).await;
    eventually("the set says what it may not do", async || {
        let said = set_condition(&set_status(&space, "app").await, "Stalled");
        said.contains("Forbidden") && said.contains(why)
    })
    .await;
    proxy.forbid_reading("");
    api(&space).delete("live", &DeleteParams::default()).await.unwrap();
    eventually("that is the way out", async || {
        let status = set_status(&space, "app").await;
        status.outputs.len() == 1 && set_condition(&status, "Ready").starts_with("True Written")
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn it_holds_what_the_config_map_holds_and_is_put_right() {
    let space = bare_space("ff-same").await;
    install(&space.client).await;
    let _running = Running::in_space(&space).await;
    let set = "{featureFlag: {name: app}, metadata: {team: web, limit: 2.0}, \
                flags: {banner: {state: ENABLED, variants: {a: 1.0, b: 1.5}, defaultVariant: a}}}";
    create(&space, &[object("FlagSet", "app", set), member("one", ""), member("two", "")]).await;
    for name in ["one", "two"] {
        space.until(name, "ready", is_ready).await;
    }
    let flags = flag_spec(&space).await;
    assert_eq!(served(&flags, "one"), "all=50%");
    assert_eq!(flags["flags"]["banner"]["variants"]["b"], 1.5);
    assert_eq!(flags["metadata"]["team"], "web");
    assert_eq!(flag(&space).await.unwrap().annotations()["sluice.dev/owner"], "FlagSet/ff-same/app");

    let answer = space.merge("FlagSet", "app", &json!({"spec": {"emergency": "Control"}})).await;
    assert_eq!(answer.code, 200);
    for name in ["one", "two"] {
        space.until(name, "at control", |status| is_ready(status) && !status.pauses.is_empty()).await;
    }
    assert_eq!(served(&flag_spec(&space).await, "one"), "all=0%");
    assert_eq!(served(&flag_spec(&space).await, "two"), "all=0%");

    // What the ConfigMap alone needs is no write of the FeatureFlag.
    let before = flag(&space).await.unwrap().resource_version();
    let broken = json!({"data": {"flags.json": "{}"}});
    crate::flag_sets::edit_map(&space, "app", broken).await;
    eventually("the ConfigMap is put right", async || {
        space.file("app").await.is_some_and(|file| file.get("flags").is_some())
    })
    .await;
    assert_eq!(flag(&space).await.unwrap().resource_version(), before);

    let before = flag_spec(&space).await;
    let raise = json!({"spec": {"flagSpec": {"flags": {"one": {"targeting": {"if": [true, "enabled"]}}}}}});
    api(&space).patch("app", &PatchParams::default(), &Patch::Merge(&raise)).await.unwrap();
    eventually("an edit by hand is undone", async || {
        flag_spec(&space).await["flags"]["one"] == before["flags"]["one"]
    })
    .await;
    // The digest of what somebody wrote there is no signature of it.
    let mut forged = before.clone();
    forged["flags"]["one"]["targeting"] = json!({"if": [true, "enabled", "disabled"]});
    let digest =
        sluice::flags::sha256_hex(sluice::flags::feature_flag::read(forged.clone()).unwrap().as_bytes());
    let forged = json!({
        "metadata": {"annotations": {"sluice.dev/sha256": digest}}, "spec": {"flagSpec": forged},
    });
    api(&space).patch("app", &PatchParams::default(), &Patch::Merge(&forged)).await.unwrap();
    eventually("a forged one is put right", async || flag_spec(&space).await == before).await;
    api(&space).delete("app", &DeleteParams::default()).await.unwrap();
    eventually("a deleted one comes back", async || served(&flag_spec(&space).await, "two") == "all=0%")
        .await;
    let writes = audited_writes(bare(), &space.name);
    let refused: Vec<_> =
        writes.iter().filter(|(_, resource, _, code)| resource == "featureflags" && *code >= 400).collect();
    assert!(refused.iter().all(|(.., code)| *code == 409), "{refused:?}");
}

#[tokio::test]
async fn a_kind_that_is_missing_keeps_nothing_waiting_and_is_used_when_it_comes() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let client = plane.client().unwrap();
    install_crds(&client).await.unwrap();
    let space = Space::on(client, "ff-missing").await;
    let _running = Running::in_space(&space).await;
    create(&space, &[object("FlagSet", "app", "{featureFlag: {name: app}}"), member("one", "")]).await;
    space.until("one", "ready", is_ready).await;
    assert_eq!(served(&space.file("app").await.unwrap(), "one"), "all=50%");
    eventually("the set says what is missing", async || {
        set_condition(&set_status(&space, "app").await, "Stalled")
            .starts_with("True ReferenceNotFound FeatureFlag app: the cluster does not know the kind")
    })
    .await;
    install(&space.client).await;
    eventually("the kind is noticed", async || {
        set_condition(&set_status(&space, "app").await, "Ready").starts_with("True")
    })
    .await;
    until_equal(&space).await;
}

#[tokio::test]
async fn a_strangers_is_never_taken() {
    let space = bare_space("ff-stranger").await;
    install(&space.client).await;
    let kind = GroupVersionKind::gvk("core.openfeature.dev", "v1beta1", "FeatureFlag");
    let theirs = json!({"flags": {"x": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}}});
    let stranger =
        DynamicObject::new("app", &ApiResource::from_gvk(&kind)).data(json!({"spec": {"flagSpec": theirs}}));
    api(&space).create(&PostParams::default(), &stranger).await.unwrap();
    let _running = Running::in_space(&space).await;
    create(&space, &[object("FlagSet", "app", "{featureFlag: {name: app}}"), member("one", "")]).await;
    space
        .until("one", "in conflict", |s| is_stalled(s, "Conflict", "FeatureFlag app belongs to nobody"))
        .await;
    eventually("the set says so", async || {
        set_condition(&set_status(&space, "app").await, "Stalled").contains("in the FlagSet's featureFlag")
    })
    .await;
    assert_eq!(flag_spec(&space).await, theirs);
    assert_eq!(served(&space.file("app").await.unwrap(), "one"), "all=50%", "the ConfigMap does not wait");
    api(&space).delete("app", &DeleteParams::default()).await.unwrap();
    space.until("one", "ready", is_ready).await;
    until_equal(&space).await;
}

#[tokio::test]
async fn a_static_flag_that_it_cannot_hold_is_named_and_left_out() {
    let space = bare_space("ff-default").await;
    install(&space.client).await;
    let _running = Running::in_space(&space).await;
    let set = "{featureFlag: {name: app}, flags: {code: {state: ENABLED, variants: {a: blue}}}}";
    create(&space, &[object("FlagSet", "app", set), member("one", "")]).await;
    space.until("one", "ready", is_ready).await;
    eventually("the set names it", async || {
        set_condition(&set_status(&space, "app").await, "Stalled")
            .contains("spec.flags[code]: without a default")
    })
    .await;
    assert!(file(&space).await["flags"].get("code").is_some());
    let flags = flag_spec(&space).await;
    assert!(flags["flags"].get("code").is_none());
    assert_eq!(served(&flags, "one"), "all=50%");
}

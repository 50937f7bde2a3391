//! Deletion ends, whatever else is deleted with it and whatever has become of the file, and says what it left behind.

use std::sync::{LazyLock, OnceLock};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use sluice::api::FeatureRollout;
use sluice::sandbox::{ControlPlane, Options, install_crds, install_policies};
use tokio::runtime::Runtime;

use crate::flag_sets::{create, edit_map, map, served};
use crate::support::bare::{Running, bare_space, events};
use crate::support::proxy::Proxy;
use crate::support::raw::object;
use crate::support::{Space, eventually, is_ready, is_stalled};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static PLANE: OnceLock<ControlPlane> = OnceLock::new();
/// Held by whoever runs a controller on that control plane: it sees every namespace.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A control plane with the namespace controller, whose FeatureRollouts know a value more than this program does.
fn plane() -> &'static ControlPlane {
    PLANE.get_or_init(|| std::thread::spawn(|| RUNTIME.block_on(start())).join().expect("it starts"))
}

async fn start() -> ControlPlane {
    let plane =
        ControlPlane::start(Options { controller_manager: true, ..Options::default() }).await.unwrap();
    let client = plane.client().unwrap();
    install_crds(&client).await.unwrap();
    install_policies(&client).await.unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(client);
    let mut crd = serde_json::to_value(crds.get("featurerollouts.sluice.dev").await.unwrap()).unwrap();
    let policy = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/cohortPolicy/enum";
    crd.pointer_mut(policy).unwrap().as_array_mut().unwrap().push(json!("Newer"));
    let crd = serde_json::from_value(crd).unwrap();
    crds.replace("featurerollouts.sluice.dev", &PostParams::default(), &crd).await.unwrap();
    plane
}

/// What becomes of the ConfigMap in a namespace that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Map {
    /// It is gone before the rollout is deleted.
    First,
    /// It stays until the rollout is gone.
    Last,
}

/// A namespace with a rollout at 50 %.
struct Case {
    space: Space,
    map: &'static str,
    policy: &'static str,
    when: Map,
    readable: bool,
}

async fn cases(prefix: &str, whens: &[Map]) -> Vec<Case> {
    let mut cases = Vec::new();
    for policy in ["Control", "Remove"] {
        for map in ["app", "web"] {
            for when in whens {
                for readable in [true, false] {
                    let name = format!("{prefix}-{policy}-{map}-{when:?}-{readable}").to_lowercase();
                    let space = Space::on(plane().client().unwrap(), &name).await;
                    cases.push(Case { space, map, policy, when: *when, readable });
                }
            }
        }
    }
    for case in &cases {
        let set = if case.map == "app" { "flagSetRef: {name: app}\n" } else { "" };
        create(&case.space, &[object("FlagSet", "app", "{}")]).await;
        let spec = format!(
            "{set}deletionPolicy: {}\ncohorts: [{{name: all, share: 100}}]\nphases: [{{name: ga, ramp: {{percents: [50, 100], every: 1h}}}}]",
            case.policy
        );
        create(&case.space, &[object("FeatureRollout", "web", &spec)]).await;
    }
    for case in &cases {
        case.space.until("web", "ready", is_ready).await;
        if !case.readable {
            let newer = json!({"spec": {"cohortPolicy": "Newer"}});
            assert_eq!(case.space.merge("FeatureRollout", "web", &newer).await.code, 200);
        }
        if case.when == Map::Last {
            hold_map(case, &json!(["test/hold"])).await;
        }
    }
    for case in cases.iter().filter(|case| !case.readable) {
        let name = &case.space.name;
        let status = async || {
            let path = case.space.path("FeatureRollout", Some("web"));
            crate::support::raw::send(&case.space.client, http::Method::GET, &path, &json!({})).await.body
        };
        eventually(&format!("{name} cannot be read"), async || {
            status().await["status"]["conditions"].to_string().contains("cannot be read")
        })
        .await;
    }
    cases
}

async fn hold_map(case: &Case, finalizers: &Value) {
    let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    case.space.api::<ConfigMap>().patch(case.map, &PatchParams::default(), &patch).await.unwrap();
}

async fn delete_namespaces(cases: &[Case]) {
    let namespaces: Api<Namespace> = Api::all(plane().client().unwrap());
    for case in cases {
        namespaces.delete(&case.space.name, &DeleteParams::default()).await.unwrap();
    }
}

async fn all_end(prefix: &str) {
    let namespaces: Api<Namespace> = Api::all(plane().client().unwrap());
    let left = async || -> Vec<String> {
        let all = namespaces.list(&ListParams::default()).await.unwrap();
        let ours = all.items.iter().filter(|namespace| namespace.name_any().starts_with(prefix));
        ours.map(|namespace| {
            let conditions = namespace.status.iter().flat_map(|status| status.conditions.iter().flatten());
            let why: Vec<String> = conditions.filter_map(|condition| condition.message.clone()).collect();
            format!("{}: {}", namespace.name_any(), why.join("; "))
        })
        .collect()
    };
    for _ in 0..1200 {
        if left().await.is_empty() {
            return;
        }
        crate::support::pause(100).await;
    }
    panic!("namespaces hang:\n{}", left().await.join("\n"));
}

#[tokio::test]
async fn namespaces_end_with_the_controller_up_whichever_object_goes_first() {
    let _alone = ALONE.lock().await;
    let controller = Running::with(plane().client_config());
    let cases = cases("end-up", &[Map::First, Map::Last]).await;
    delete_namespaces(&cases).await;
    for case in cases.iter().filter(|case| case.when == Map::Last) {
        let api = case.space.api::<FeatureRollout>();
        eventually(&format!("{} has no rollout", case.space.name), async || {
            api.get_metadata_opt("web").await.unwrap().is_none()
        })
        .await;
        // Nobody can say of one that cannot be read what it was to serve. A FlagSet may go before its rollout.
        let expected = match (case.readable, case.policy) {
            (false, _) => "all=50%",
            (true, "Control") => "all=0%",
            (true, _) => "no such flag",
        };
        let file = case.space.file(case.map).await.unwrap();
        if case.map == "web" {
            assert_eq!(served(&file, "web"), expected, "{}", case.space.name);
        }
        hold_map(case, &Value::Null).await;
    }
    all_end("end-up-").await;
    controller.stop().await;
}

#[tokio::test]
async fn namespaces_end_once_the_controller_is_back() {
    let _alone = ALONE.lock().await;
    let controller = Running::with(plane().client_config());
    let cases = cases("end-down", &[Map::First]).await;
    controller.stop().await;
    delete_namespaces(&cases).await;
    for case in &cases {
        let maps = case.space.api::<ConfigMap>();
        eventually(&format!("{} has no file", case.space.name), async || {
            maps.get_opt(case.map).await.unwrap().is_none()
        })
        .await;
        let rollouts = case.space.api::<FeatureRollout>();
        eventually("it waits for the controller", async || {
            rollouts.get_metadata("web").await.unwrap().metadata.deletion_timestamp.is_some()
        })
        .await;
    }
    let controller = Running::with(plane().client_config());
    all_end("end-down-").await;
    controller.stop().await;
}

/// What a rollout is in when it is deleted, and how it comes there.
const STATES: [&str; 6] = ["served", "nobody", "invalid", "rolled-back", "foreign", "immutable"];

/// Deletion policy, state, what the file says of the flag afterwards, and whether an event says that it was left.
fn table() -> Vec<(&'static str, &'static str, &'static str, bool)> {
    let mut table = Vec::new();
    for state in STATES {
        let before = match state {
            "nobody" | "rolled-back" => "all=0%",
            "foreign" => "no such flag",
            _ => "all=50%",
        };
        // What cannot be written stays, and a deletion does not wait for what somebody may never do.
        let is_writable = !["foreign", "immutable"].contains(&state);
        table.push(("Retain", state, before, false));
        table.push(("Control", state, if is_writable { "all=0%" } else { before }, !is_writable));
        table.push(("Remove", state, if is_writable { "no such flag" } else { before }, !is_writable));
    }
    table
}

#[tokio::test]
async fn a_rollout_alone_ends_in_every_state_and_leaves_what_its_policy_says() {
    let space = Space::shared("end-alone").await;
    let name = |policy: &str, state: &str| format!("{policy}-{state}").to_lowercase();
    for (policy, state, ..) in table() {
        let name = name(policy, state);
        if state == "foreign" {
            let map = json!({"metadata": {"name": name}, "data": {"flags.json": "{\"flags\": {}}"}});
            let map: ConfigMap = serde_json::from_value(map).unwrap();
            space.api::<ConfigMap>().create(&PostParams::default(), &map).await.unwrap();
        }
        let start = if state == "nobody" { "schedule: {startAt: '2099-01-01T00:00:00Z'}\n" } else { "" };
        let spec = format!(
            "{start}deletionPolicy: {policy}\ncohorts: [{{name: all, share: 100}}]\nphases: [{{name: ga, ramp: {{percents: [50, 100], every: 1h}}}}]"
        );
        create(&space, &[object("FeatureRollout", &name, &spec)]).await;
    }
    for (policy, state, ..) in table() {
        let name = name(policy, state);
        if state == "foreign" {
            space.until(&name, "in conflict", |s| is_stalled(s, "Conflict", "belongs to nobody")).await;
            continue;
        }
        space.until(&name, "ready", is_ready).await;
        match state {
            "invalid" => {
                let broken = json!({"spec": {"baseline": {"nobody": 1}}});
                assert_eq!(space.merge("FeatureRollout", &name, &broken).await.code, 200);
                space.until(&name, "stalled", |s| is_stalled(s, "InvalidSpec", "nobody")).await;
            }
            "rolled-back" => {
                let spec = format!("rolloutRef: {{name: {name}}}\naction: Rollback\nreason: it is broken");
                create(&space, &[object("RolloutAction", &name, &spec)]).await;
                space.until(&name, "at control", |s| s.rollback.is_some() && !s.exposed()).await;
                eventually("the file is at control", async || {
                    served(&space.file(&name).await.unwrap(), &name) == "all=0%"
                })
                .await;
            }
            "immutable" => drop(edit_map(&space, &name, json!({"immutable": true})).await),
            _ => {}
        }
    }
    for (policy, state, ..) in table() {
        assert_eq!(space.delete("FeatureRollout", &name(policy, state)).await.code, 200);
    }
    let mut wrong = Vec::new();
    for (policy, state, expected, is_said) in table() {
        let name = name(policy, state);
        eventually(&format!("{name} is gone"), async || {
            space.api::<FeatureRollout>().get_opt(&name).await.unwrap().is_none()
        })
        .await;
        let text = map(&space, &name).await.data.unwrap_or_default()["flags.json"].clone();
        let left = served(&serde_json::from_str(&text).unwrap(), &name);
        if left != expected {
            wrong.push(format!("{policy} × {state}: {left} instead of {expected}"));
        }
        let mut said = false;
        for _ in 0..if is_said { 100 } else { 1 } {
            said =
                events(&space, &name).await.iter().any(|event| event.contains("its flag stays in the file"));
            if said {
                break;
            }
            crate::support::pause(50).await;
        }
        if said != is_said {
            wrong.push(format!("{policy} × {state}: an event says so: {said}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn a_policy_that_was_taken_back_holds_nothing_up() {
    let space = bare_space("end-taken-back").await;
    // No file is ever written, as the API server does not answer.
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    proxy.hang_on(&["/configmaps"]);
    let controller = Running::over(&proxy);
    let spec = "deletionPolicy: Control\nbaseline: {all: 50}\ncohorts: [{name: all}]\nphases: [{name: ga, ramp: {percents: [50, 100], every: 1h}}]";
    create(&space, &[object("FeatureRollout", "web", spec)]).await;
    space.until("web", "decided", |status| status.exposed()).await;
    controller.stop().await;
    let finalizers = space.api::<FeatureRollout>().get("web").await.unwrap().finalizers().to_vec();
    assert_eq!(finalizers, ["sluice.dev/flag"]);
    let retain = json!({"spec": {"deletionPolicy": "Retain"}});
    assert_eq!(space.merge("FeatureRollout", "web", &retain).await.code, 200);
    assert_eq!(space.delete("FeatureRollout", "web").await.code, 200);
    let controller = Running::over(&proxy);
    eventually("it is gone", async || space.api::<FeatureRollout>().get_opt("web").await.unwrap().is_none())
        .await;
    controller.stop().await;
}

//! The chart's roles are enough for everything that the controller does, and not more.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::flowcontrol::v1::FlowSchema;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use sluice::api::{
    CohortSet, FeatureRollout, FlagSet, MetricSource, MetricTemplate, NotificationChannel, Playbook,
    RolloutAction, RolloutPolicy,
};
use sluice::controller::{self, Housekeeping, MeasurementsListening};
use sluice::sandbox::{ControlPlane, Options};

use super::{
    NAMESPACE, as_service_account, asked, assert_nothing_was_forbidden, config_of, metrics, one, rendered,
    service_account,
};
use crate::feature_flag;
use crate::support::bare::Running;
use crate::support::go_tools::Helm;
use crate::support::measurements::{certificates, listening, told};
use crate::support::raw::object;
use crate::support::{Space, eventually, is_ready};

/// What opens every right that the chart can give.
const EVERYTHING: [&str; 5] = [
    "openFeatureOperator.enabled=true",
    "nudgePods.enabled=true",
    "metricSources.secrets={prometheus}",
    "measurements.enabled=true",
    "metrics.protected=true",
];

/// What the roles give, and where the code needs it.
const NEEDED: [(&str, &[(&str, &str)]); 28] = [
    (
        "sluice.dev/featurerollouts",
        &[
            ("get", "src/controller/persist.rs"),
            ("list", "src/controller/watch.rs"),
            ("watch", "src/controller/watch.rs"),
            ("patch", "src/controller/finalizer.rs"),
        ],
    ),
    ("sluice.dev/featurerollouts/status", &OF_A_STATUS),
    ("sluice.dev/cohortsets", &READ_IN_SETS),
    ("sluice.dev/flagsets", &READ_IN_SETS),
    ("sluice.dev/metrictemplates", &READ_IN_SETS),
    ("sluice.dev/metricsources", &READ_IN_SETS),
    ("sluice.dev/playbooks", &READ_IN_SETS),
    ("sluice.dev/playbooks/status", &OF_A_STATUS),
    ("sluice.dev/rolloutpolicies", &READ_IN_SETS),
    ("sluice.dev/rolloutpolicies/status", &OF_A_STATUS),
    (
        "namespaces",
        &[
            ("get", "src/controller/policies.rs"),
            ("list", "src/controller/watch.rs"),
            ("watch", "src/controller/watch.rs"),
        ],
    ),
    ("sluice.dev/cohortsets/status", &OF_A_STATUS),
    ("sluice.dev/flagsets/status", &OF_A_STATUS),
    ("sluice.dev/metrictemplates/status", &OF_A_STATUS),
    ("sluice.dev/metricsources/status", &OF_A_STATUS),
    (
        "sluice.dev/notificationchannels",
        &[
            ("get", "src/controller/channels/keep.rs"),
            ("list", "src/controller/watch.rs"),
            ("watch", "src/controller/watch.rs"),
        ],
    ),
    (
        "sluice.dev/notificationchannels/status",
        &[("update", "src/controller/channels/keep.rs"), ("patch", "src/controller/persist.rs")],
    ),
    (
        "sluice.dev/rolloutactions",
        &[
            ("get", "src/controller/actions/answer.rs"),
            ("list", "src/controller/actions/mod.rs"),
            ("watch", "src/controller/actions/mod.rs"),
            ("delete", "src/controller/actions/clean_up.rs"),
        ],
    ),
    ("sluice.dev/rolloutactions/status", &[("update", "src/controller/persist.rs")]),
    (
        "configmaps",
        &[
            ("get", "src/controller/writer/config_map.rs"),
            ("list", "src/controller/watch.rs"),
            ("watch", "src/controller/watch.rs"),
            ("create", "src/controller/writer/config_map.rs"),
            ("update", "src/controller/writer/config_map.rs"),
        ],
    ),
    (
        "apps/controllerrevisions",
        &[
            ("get", "src/controller/revisions/audiences.rs"),
            ("list", "src/controller/revisions/mod.rs"),
            ("create", "src/controller/revisions/mod.rs"),
            ("delete", "src/controller/revisions/mod.rs"),
        ],
    ),
    ("events.k8s.io/events", &[("create", "src/controller/events/mod.rs")]),
    (
        "core.openfeature.dev/featureflags",
        &[
            ("get", "src/controller/writer/feature_flag.rs"),
            ("list", "src/controller/writer/feature_flag.rs"),
            ("watch", "src/controller/writer/feature_flag.rs"),
            ("create", "src/controller/writer/feature_flag.rs"),
            ("update", "src/controller/writer/feature_flag.rs"),
        ],
    ),
    ("pods", &[("list", "src/controller/nudge/pods.rs"), ("patch", "src/controller/nudge/touch.rs")]),
    (
        "coordination.k8s.io/leases",
        &[
            ("get", "src/controller/leader/lease.rs"),
            ("create", "src/controller/leader/lease.rs"),
            ("update", "src/controller/leader/lease.rs"),
            ("list", "src/controller/leader/elector.rs"),
            ("watch", "src/controller/leader/elector.rs"),
        ],
    ),
    ("secrets", &[("get", "src/controller/signing.rs"), ("create", "src/controller/signing.rs")]),
    ("authentication.k8s.io/tokenreviews", &[("create", "src/controller/reviews.rs")]),
    ("authorization.k8s.io/subjectaccessreviews", &[("create", "src/controller/reviews.rs")]),
];

/// Those of one name only.
const OF_THE_POLICY: [(&str, &str); 2] = [
    ("admissionregistration.k8s.io/validatingadmissionpolicies", "get"),
    ("admissionregistration.k8s.io/validatingadmissionpolicybindings", "get"),
];

/// A status is replaced, or patched where the rest of it cannot be read.
const OF_A_STATUS: [(&str, &str); 2] =
    [("update", "src/controller/persist.rs"), ("patch", "src/controller/persist.rs")];

/// Sets, sources and templates are watched, and read again where somebody else has written their status.
const READ_IN_SETS: [(&str, &str); 3] = [
    ("get", "src/controller/sets.rs"),
    ("list", "src/controller/watch.rs"),
    ("watch", "src/controller/watch.rs"),
];

/// What ordinary life does not ask for, and when it is asked for.
const RARELY: [(&str, &str, &str); 17] = [
    ("sluice.dev/featurerollouts", "get", "a status that somebody else has written"),
    ("sluice.dev/featurerollouts/status", "patch", "a rollout that cannot be read as a whole"),
    ("sluice.dev/cohortsets/status", "patch", "the same"),
    ("sluice.dev/flagsets/status", "patch", "the same"),
    ("sluice.dev/metrictemplates/status", "patch", "the same"),
    ("sluice.dev/playbooks/status", "patch", "the same"),
    (
        "sluice.dev/cohortsets",
        "get",
        "a set that the cache does not know yet, and its status that somebody else has written",
    ),
    ("sluice.dev/flagsets", "get", "the same"),
    ("sluice.dev/playbooks", "get", "the same"),
    ("sluice.dev/metrictemplates", "get", "a status that somebody else has written"),
    ("sluice.dev/rolloutpolicies", "get", "a policy that the cache does not know yet"),
    ("sluice.dev/rolloutpolicies/status", "patch", "a policy that cannot be read as a whole"),
    ("namespaces", "get", "labels that the cache does not know yet"),
    ("sluice.dev/metricsources", "get", "the same"),
    ("sluice.dev/rolloutactions", "get", "an action that was edited while it was answered"),
    ("sluice.dev/rolloutactions", "delete", "a week after the answer"),
    ("apps/controllerrevisions", "get", "an audience that was pinned by another process"),
];

/// Every pair of resource and verb in the controller's roles.
fn granted() -> BTreeSet<(String, String)> {
    let objects = rendered(&EVERYTHING);
    let roles = [one(&objects, "ClusterRole", "sluice"), one(&objects, "Role", "sluice")];
    let strings = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut granted = BTreeSet::new();
    for rule in roles.iter().flat_map(|role| role["rules"].as_array().unwrap()) {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                let resource = if group.is_empty() { resource } else { format!("{group}/{resource}") };
                for verb in strings(&rule["verbs"]) {
                    assert!(granted.insert((resource.clone(), verb.clone())), "{resource} {verb} twice");
                }
            }
        }
        let named =
            ["secrets", "leases", "validatingadmissionpolicies"].iter().any(|r| rule["resources"][0] == *r)
                && rule["verbs"] != json!(["create"]);
        assert_eq!(rule["resourceNames"].is_array(), named, "{rule}");
    }
    granted
}

#[test]
fn every_right_is_needed_by_a_file_that_says_so() {
    let mut needed = BTreeSet::new();
    let policies =
        OF_THE_POLICY.map(|(resource, verb)| (resource, verb, "src/controller/actions/policies.rs"));
    let table = NEEDED
        .iter()
        .flat_map(|(resource, verbs)| verbs.iter().map(|(verb, file)| (*resource, *verb, *file)));
    for (resource, verb, file) in table.chain(policies) {
        needed.insert((resource.to_owned(), verb.to_owned()));
        let text = std::fs::read_to_string(file).unwrap();
        let calls: &[&str] = match verb {
            "get" => &["get_opt(", ".get(", ".get::<", ".get_in::<", "once(ctx", ".named("],
            "list" => &["watch::follow(", ".follow(", "watcher::watcher(", ".list(", ".each("],
            "watch" => &["watch::follow(", ".follow(", "watcher::watcher("],
            "create" => &[".create("],
            "update" => &[".replace(", "replace_subresource("],
            "patch" => &[".patch(", "patch_subresource("],
            "delete" => &[".delete("],
            other => panic!("{other}"),
        };
        assert!(calls.iter().any(|call| text.contains(call)), "{file} does not {verb} {resource}");
    }
    assert_eq!(granted(), needed);
}

#[test]
fn the_page_tells_every_right_and_no_other() {
    let page = std::fs::read_to_string("docs/operations.md").unwrap();
    let table = page.split("| group | resource | verbs |").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut told = BTreeSet::new();
    for row in table.lines().skip(2) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        // What is in brackets says when.
        let words = |cell: &str| -> Vec<String> {
            let plain: String = cell
                .split('(')
                .enumerate()
                .map(
                    |(i, part)| if i == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) },
                )
                .collect();
            plain.split(',').map(|word| word.trim().to_owned()).collect()
        };
        for resource in words(cells[1]) {
            let group = cells[0];
            let resource = if group == "(core)" { resource } else { format!("{group}/{resource}") };
            for verb in words(cells[2]) {
                told.insert((resource.clone(), verb));
            }
        }
    }
    assert_eq!(told, granted());
}

const ONE: &str = "flagSetRef: {name: app}
playbookRef: {name: plan, phase: ga}
cohortSetRef: {name: users}
deletionPolicy: Control
triggers:
- {name: errors, metric: {templateRef: {name: up}}, interval: 1s, onNoData: Ignore, onProviderError: Ignore,
   levels: [{severity: Critical, above: '1', action: Pause}]}
phases: [{name: ga, steps: [{cohorts: {everyone: 10}, hold: 1s}, {cohorts: {everyone: 50}, hold: 1000h}]}]";

/// All that a controller does, by one that has nothing but what the chart gives it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_does_its_work_with_them_and_uses_them_all() {
    let plane = ControlPlane::start(Options { audit_log: true, ..Options::default() }).await.unwrap();
    feature_flag::install(&plane.client().unwrap()).await;
    install(&plane).await;
    let kubeconfig = as_service_account(&plane).await;
    let token =
        serde_json::to_value(&kubeconfig).unwrap()["users"][0]["user"]["token"].as_str().unwrap().to_owned();
    let config = config_of(kubeconfig).await;
    let moment = Duration::from_millis(300);
    let housekeeping =
        Housekeeping { count: moment, collection: moment, kept: moment, crowded: moment, actions: moment };
    let second = Duration::from_secs(1);
    let timing = controller::Timing::new(second * 3, second * 2, second / 2).unwrap();
    let election = controller::Election {
        client: controller::election_client(config.clone(), &timing).unwrap(),
        namespace: NAMESPACE.to_owned(),
        name: controller::LEASE.to_owned(),
        identity: controller::identity("sluice"),
        timing,
        shards: controller::Shards::ONE,
    };
    let (election, given) = (Some(election), crate::support::options());
    let listening = MeasurementsListening { tells_metrics: true, ..listening() };
    let (address, measurements) = (listening.address, Some(listening));
    let options = controller::Options { nudge_pods: true, housekeeping, election, measurements, ..given };
    let controller = Running::as_told(config.clone(), options);
    let own = Space { client: plane.client().unwrap(), name: NAMESPACE.to_owned() };
    let space = Space::on(plane.client().unwrap(), "shop").await;
    live(&own, &space).await;
    // Whoever it is, the controller has to ask who that is and what they may; here it is its own account.
    let ca = certificates(&own).await;
    told(&ca, address, &token, "shop/one").await;
    metrics::are_told_to_their_readers_alone(&plane, &ca, address, &token).await;

    let ours = || asked(&plane, &service_account());
    eventually("what nobody has pinned any more is deleted", async || {
        ours().iter().any(|(verb, what, _)| verb == "delete" && what == "apps/controllerrevisions")
    })
    .await;
    assert_nothing_was_forbidden(&plane);
    let seen: BTreeSet<(String, String)> = ours().into_iter().map(|(verb, what, _)| (what, verb)).collect();
    let rarely: BTreeSet<(String, String)> =
        RARELY.iter().map(|(what, verb, _)| ((*what).to_owned(), (*verb).to_owned())).collect();
    assert!(rarely.is_subset(&granted()), "not granted at all");
    let unused: Vec<_> =
        granted().into_iter().filter(|right| !seen.contains(right) && !rarely.contains(right)).collect();
    assert!(unused.is_empty(), "granted, and not used: {unused:?}");
    has_a_priority_of_its_own(&plane, config).await;
    controller.stop().await;
    plane.stop().await.unwrap();
}

/// `helm install`, without waiting for pods that nobody would run.
async fn install(plane: &ControlPlane) {
    let kubeconfig = plane.kubeconfig_path().to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let home = tempfile::tempdir().unwrap();
        let mut command = Helm::Four.command(home.path());
        command.args(["install", "sluice", "charts/sluice", "--create-namespace", "--namespace", NAMESPACE]);
        command.arg("--kubeconfig").arg(kubeconfig);
        let more = ["flowSchema.enabled=true", "networkPolicy.enabled=true", "grafanaDashboard.enabled=true"];
        command.args(EVERYTHING.iter().chain(&more).flat_map(|set| ["--set", *set]));
        command.output().unwrap()
    })
    .await
    .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// By what the API server says of each request: the FlowSchema that it was under.
async fn has_a_priority_of_its_own(plane: &ControlPlane, config: kube::Config) {
    let schemas: Api<FlowSchema> = Api::all(plane.client().unwrap());
    let ours = schemas.get("sluice").await.unwrap().metadata.uid.unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let under = async |path: &str| {
        let request = http::Request::get(path).body(Vec::new().into()).unwrap();
        let response = client.send(request).await.unwrap();
        response.headers()["x-kubernetes-pf-flowschema-uid"].to_str().unwrap() == ours
    };
    let maps = "/api/v1/namespaces/shop/configmaps";
    eventually("a file is read before other workloads", async || under(&format!("{maps}/app")).await).await;
    assert!(!under(maps).await, "lists stay where they were");
}

/// A rollout steps, is measured, is paused and resumed by people, meets an emergency, and is deleted.
async fn live(own: &Space, space: &Space) {
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": "prometheus"}, "stringData": {"token": "t"}}))
            .unwrap();
    own.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    own.apply::<MetricSource>(
        "{metadata: {name: prometheus}, spec: {prometheus: {url: 'https://192.0.2.1'}, timeout: 1s,
        auth: {bearer: {secretRef: {name: prometheus, key: token}}}, allowedNamespaces: ['*']}}",
    )
    .await
    .unwrap();
    space
        .apply::<MetricTemplate>(
            "{metadata: {name: up}, spec: {sourceRef: {name: prometheus}, promql: 'sum(up)'}}",
        )
        .await
        .unwrap();
    let channel = "{metadata: {name: releases}, spec: {webhook: {url: 'https://192.0.2.1'}, timeout: 1s, allowedNamespaces: ['*']}}";
    own.apply::<NotificationChannel>(channel).await.unwrap();
    // In the wrong place they say so.
    space.apply::<NotificationChannel>(channel).await.unwrap();
    space
        .apply::<MetricSource>("{metadata: {name: stray}, spec: {prometheus: {url: 'https://192.0.2.1'}}}")
        .await
        .unwrap();
    space.apply::<CohortSet>("{metadata: {name: users}, spec: {cohorts: [{name: everyone}]}}").await.unwrap();
    space.apply::<FlagSet>("{metadata: {name: app}, spec: {featureFlag: {name: app}}}").await.unwrap();
    space
        .apply::<Playbook>(
            "{metadata: {name: plan}, spec: {startDate: '2020-01-06', phases: [{name: ga, weeks: {from: 1, to: 2}}]}}",
        )
        .await
        .unwrap();
    space.apply::<RolloutPolicy>("{metadata: {name: calm}, spec: {approvalAbove: 60}}").await.unwrap();
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "app"},
        "spec": {
            "nodeName": "nowhere",
            "volumes": [{"name": "flags", "configMap": {"name": "app"}}],
            "containers": [{"name": "app", "image": "app", "volumeMounts": [{"name": "flags", "mountPath": "/flags"}]}],
        },
    }))
    .unwrap();
    space.api::<Pod>().create(&PostParams::default(), &pod).await.unwrap();
    let answer = space.create(&object("FeatureRollout", "one", ONE)).await;
    assert_eq!(answer.code, 201, "{}", answer.message());
    space
        .until("one", "at its second step", |s| is_ready(s) && s.served.as_deref() == Some("everyone=50%"))
        .await;
    space.until("one", "measured", |status| !status.triggers.is_empty()).await;

    for action in ["Pause", "Resume"] {
        let of_one = format!("rolloutRef: {{name: one}}\naction: {action}\nreason: a test");
        let mut object = object("RolloutAction", "none", &of_one);
        object["metadata"] = json!({"name": action.to_lowercase()});
        let answer = space.create(&object).await;
        assert_eq!(answer.code, 201, "{}", answer.message());
        let actions: Api<RolloutAction> = space.api();
        eventually(&format!("{action} is answered"), async || {
            let status = actions.get(&action.to_lowercase()).await.unwrap().status.unwrap_or_default();
            let answer =
                status.answer.map(|answer| format!("{answer:?} {}", status.message.unwrap_or_default()));
            assert!(answer.as_ref().is_none_or(|answer| answer.starts_with("Applied")), "{answer:?}");
            answer.is_some()
        })
        .await;
    }
    let emergency = json!({"spec": {"emergency": "Control"}});
    assert_eq!(space.merge("FlagSet", "app", &emergency).await.code, 200);
    eventually("the pod is told of it", async || {
        let pod = space.api::<Pod>().get("app").await.unwrap();
        pod.metadata.annotations.is_some_and(|all| all.contains_key("sluice.dev/flags-revision"))
    })
    .await;
    assert_eq!(space.delete("FeatureRollout", "one").await.code, 200);
    eventually("the rollout is gone", async || {
        space.api::<FeatureRollout>().get_opt("one").await.unwrap().is_none()
    })
    .await;
    // With its flag and its set nobody is left who has pinned the audience.
    assert_eq!(space.merge("FlagSet", "app", &json!({"spec": {"prune": ["one"]}})).await.code, 200);
    assert_eq!(space.delete("CohortSet", "users").await.code, 200);
}

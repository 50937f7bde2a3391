//! The other kinds: what is valid is well, what is not is said to have failed, and both tools agree.

use serde_json::Value;
use sluice::api::all_crds;
use sluice::controller::Options;

use super::{argocd, flux, live};
use crate::flag_sets::create;
use crate::support::bare::{Running, bare_space};
use crate::support::proxy::Proxy;
use crate::support::raw::object;
use crate::support::{Space, eventually, options};

/// Of each kind a name, a spec, and whether it is valid.
const SPECS: [(&str, &str, &str, bool); 18] = [
    ("MetricSource", "source", "{prometheus: {url: 'http://10.9.9.9'}}", true),
    (
        "MetricSource",
        "secretless",
        "{prometheus: {url: 'http://10.9.9.9'}, auth: {bearer: {secretRef: {name: none, key: token}}}}",
        false,
    ),
    ("MetricTemplate", "template", "{sourceRef: {name: source}, promql: sum(up)}", true),
    ("MetricTemplate", "broken", "{sourceRef: {name: source}, promql: 'sum('}", false),
    ("CohortSet", "users", "{cohorts: [{name: all}]}", true),
    (
        "CohortSet",
        "nobody",
        "{cohorts: [{name: all, match: {expressions: [{key: a.__proto__, operator: Exists}]}}]}",
        false,
    ),
    ("FlagSet", "file", "{}", true),
    ("FlagSet", "nowhere", "{timeZone: Nowhere/Atall}", false),
    ("RolloutPolicy", "hours", "{windows: [{days: [Mon], from: '09:00', to: '10:00'}]}", true),
    (
        "RolloutPolicy",
        "timeless",
        "{timeZone: Nowhere/Atall, windows: [{days: [Mon], from: '09:00', to: '10:00'}]}",
        false,
    ),
    ("Playbook", "plan", "{startDate: '2025-09-08', phases: [{name: ga, weeks: {from: 1, to: 2}}]}", true),
    (
        "Playbook",
        "timeless",
        "{startDate: '2025-09-08', timeZone: Nowhere/Atall, phases: [{name: ga, weeks: {from: 1, to: 2}}]}",
        false,
    ),
    (
        "NotificationChannel",
        "hook",
        "{webhook: {url: 'http://10.9.9.9'}, filter: {reasons: [Completed]}}",
        true,
    ),
    (
        "NotificationChannel",
        "broken",
        "{webhook: {url: 'http://10.9.9.9'}, templates: [{reason: Completed, text: '{{ nothing | of the kind }}'}]}",
        false,
    ),
    (
        "FeatureRollout",
        "one",
        "{cohorts: [{name: all}], phases: [{name: ga, ramp: {percents: [5, 100], every: 168h}}]}",
        true,
    ),
    (
        "FeatureRollout",
        "broken",
        "{cohorts: [{name: all}], phases: [{name: ga, steps: [{cohorts: {nobody: 5}}]}]}",
        false,
    ),
    ("RolloutAction", "pause", "{rolloutRef: {name: one}, action: Pause, reason: try}", true),
    ("RolloutAction", "stray", "{rolloutRef: {name: nobody}, action: Pause, reason: try}", false),
];

/// Whether an object says that it is as it should be, or that it is not.
async fn has_settled(space: &Space, kind: &str, name: &str, valid: bool) -> bool {
    let object = live(space, kind, name).await;
    let wanted = if valid { "Ready" } else { "Stalled" };
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
        && object["status"]["conditions"].as_array().is_some_and(|conditions| {
            conditions.iter().any(|condition| condition["type"] == wanted && condition["status"] == "True")
        })
}

#[tokio::test]
async fn argo_cd_and_flux_agree_about_every_kind() {
    let space = bare_space("gitops-kinds").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::as_told(proxy.config(), Options { namespace: space.name.clone(), ..options() });
    let mut objects: Vec<Value> = Vec::new();
    for (kind, name, spec, valid) in SPECS {
        create(&space, &[object(kind, name, spec)]).await;
        eventually(&format!("{kind} {name} says what it is"), async || {
            has_settled(&space, kind, name, valid).await
        })
        .await;
        objects.push(live(&space, kind, name).await);
    }
    // The pause of the last but one makes it so.
    objects.retain(|object| object["metadata"]["name"] != "one");
    let specs = SPECS.iter().filter(|(_, name, ..)| *name != "one");
    let (by_argocd, by_flux) = (argocd(&objects).await, flux(None, &objects).await);
    for ((((kind, name, _, valid), object), argocd), flux) in specs.zip(&objects).zip(by_argocd).zip(by_flux)
    {
        let wanted = if *valid { ("Healthy", "Current") } else { ("Degraded", "Failed") };
        assert_eq!((argocd.status.as_str(), flux.status.as_str()), wanted, "{kind} {name}: {object:#}");
        assert!(argocd.error.is_empty() && flux.error.is_empty(), "{argocd:?} {flux:?}");
        assert!(*valid || !argocd.message.is_empty(), "{kind} {name} says why");
    }
    for crd in all_crds() {
        let kind = crd.spec.names.kind.as_str();
        for valid in [true, false] {
            assert!(SPECS.iter().any(|(known, .., is)| *known == kind && *is == valid), "{kind}: {valid}");
        }
    }
    controller.stop().await;
}

/// Before Sluice has seen an object, neither tool takes it for one that is well.
#[tokio::test]
async fn what_nobody_has_looked_at_yet_is_in_progress() {
    let space = bare_space("gitops-unseen").await;
    let mut objects = Vec::new();
    for (kind, name, spec, _) in SPECS.iter().filter(|(.., valid)| *valid) {
        create(&space, &[object(kind, name, spec)]).await;
        objects.push(live(&space, kind, name).await);
    }
    for ((object, argocd), flux) in objects.iter().zip(argocd(&objects).await).zip(flux(None, &objects).await)
    {
        let said = (argocd.status.as_str(), flux.status.as_str());
        assert_eq!(said, ("Progressing", "InProgress"), "{object:#}");
    }
}

/// Some kinds count in Sluice's own namespace alone. One in another place would be waited for for ever if it said nothing.
#[tokio::test]
async fn what_is_in_the_wrong_namespace_has_failed_and_says_where_it_belongs() {
    let space = Space::shared("gitops-strays").await;
    let strays = [
        ("MetricSource", "{prometheus: {url: 'http://10.9.9.9'}}"),
        ("NotificationChannel", "{webhook: {url: 'http://10.9.9.9'}}"),
        ("RolloutPolicy", "{namespaceSelector: {}, approvalAbove: 50}"),
    ];
    let says_so = async |kind: &str| {
        eventually(&format!("the {kind} says so"), async || has_settled(&space, kind, "stray", false).await)
            .await;
        live(&space, kind, "stray").await
    };
    let mut objects = Vec::new();
    for (kind, spec) in strays {
        create(&space, &[object(kind, "stray", spec)]).await;
        objects.push(says_so(kind).await);
    }
    for ((object, argocd), flux) in objects.iter().zip(argocd(&objects).await).zip(flux(None, &objects).await)
    {
        assert_eq!((argocd.status.as_str(), flux.status.as_str()), ("Degraded", "Failed"), "{object:#}");
        assert!(argocd.message.contains("sluice-system"), "where it belongs: {}", argocd.message);
        let reasons: Vec<&Value> =
            object["status"]["conditions"].as_array().unwrap().iter().map(|c| &c["reason"]).collect();
        assert_eq!(reasons, ["WrongNamespace", "WrongNamespace"]);
    }
    // It is said again of another generation, and never twice of the same.
    for (kind, more) in [("MetricSource", "timeout"), ("NotificationChannel", "timeout")] {
        let edit = serde_json::json!({"spec": {more: "2s"}});
        assert_eq!(space.merge(kind, "stray", &edit).await.code, 200);
        let said = says_so(kind).await;
        assert_eq!(said["metadata"]["generation"], 2);
        let label = serde_json::json!({"metadata": {"labels": {"a": "b"}}});
        assert_eq!(space.merge(kind, "stray", &label).await.code, 200);
        let labelled = live(&space, kind, "stray").await;
        crate::support::pause(500).await;
        let later = live(&space, kind, "stray").await;
        assert_eq!(later["metadata"]["resourceVersion"], labelled["metadata"]["resourceVersion"], "{kind}");
    }
    // Where it names no namespaces a policy of any namespace is as it should be.
    let edit = serde_json::json!({"spec": {"namespaceSelector": null}});
    assert_eq!(space.merge("RolloutPolicy", "stray", &edit).await.code, 200);
    eventually("the policy is well", async || has_settled(&space, "RolloutPolicy", "stray", true).await)
        .await;
}

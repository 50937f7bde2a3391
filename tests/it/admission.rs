//! What the API server itself refuses, what only the controller can, and what must pass at the size bounds.

use serde_json::{Value, json};
use sluice::api::{FeatureRollout, FlagSet, State, all_crds};

use crate::support::raw::object;
use crate::support::{Space, is_ready, is_stalled, shared};

const PHASES: &str = "phases: [{name: ga, ramp: {percents: [5, 100]}}]";

/// A rollout with everything it needs and these lines on top.
fn rollout(name: &str, more: &str) -> Value {
    let cohorts =
        if more.contains("cohorts:") && !more.contains("phases") { "" } else { "cohorts: [{name: all}]" };
    let cohorts = if more.starts_with("cohort") { "" } else { cohorts };
    let phases = if more.contains("phases:") { "" } else { PHASES };
    object("FeatureRollout", name, &format!("{cohorts}\n{phases}\n{more}\n"))
}

/// Lines of a spec, and what the refusal must name.
const REFUSED: &[(&str, &str)] = &[
    (
        "cohorts: [{name: all, match: {expressions: [{key: a..b, operator: Exists}]}}]",
        "spec.cohorts[0].match.expressions[0].key",
    ),
    (
        "cohorts: [{name: all, match: {anyOf: [{}]}}]",
        "spec.cohorts[0].match.anyOf[0]: Invalid value: a group needs attributes or expressions",
    ),
    (
        "cohorts: [{name: all, match: {anyOf: [{expressions: [{key: a, operator: NotContains}]}]}}]",
        "spec.cohorts[0].match.anyOf[0].expressions[0]",
    ),
    ("feature: {bucketBy: org.}", "spec.feature.bucketBy"),
    (
        "feature: {variants: [{name: 'a\"b', value: 1}, {name: b, value: 2}], control: b, treatment: 'a\"b'}",
        "spec.feature.variants[0].name",
    ),
    ("suspended: true", "unknown field \"spec.suspended\""),
    ("phases: [{name: a, ramp: {percents: [5], evry: 1h}}]", "spec.phases[0].ramp.evry"),
    ("suspend: 'yes'", "spec.suspend"),
    ("attempt: 0", "spec.attempt"),
    ("attempt: '2'", "spec.attempt"),
    ("phases: []", "spec.phases"),
    ("phases: [{name: a, steps: []}]", "spec.phases[0].steps"),
    ("phases: [{name: a, ramp: {percents: []}}]", "spec.phases[0].ramp.percents"),
    ("phases: [{name: a}]", "spec.phases[0]: Invalid value: give exactly one of steps and ramp"),
    (
        "phases: [{name: a, steps: [{cohorts: {all: 5}}], ramp: {percents: [5]}}]",
        "spec.phases[0]: Invalid value: give exactly one of steps and ramp",
    ),
    (
        "phases: [{name: a, ramp: {percents: [5]}}, {name: a, ramp: {percents: [5]}}]",
        "spec.phases: Invalid value: phase names must be unique",
    ),
    ("phases: [{name: A_b, ramp: {percents: [5]}}]", "spec.phases[0].name"),
    (
        "phases: [{name: a, steps: [{name: s, cohorts: {all: 5}}, {name: s, cohorts: {all: 6}}]}]",
        "spec.phases[0].steps: Invalid value: step names must be unique",
    ),
    ("phases: [{name: a, steps: [{cohorts: {}}]}]", "spec.phases[0].steps[0].cohorts"),
    ("phases: [{name: a, steps: [{cohorts: {all: 101}}]}]", "spec.phases[0].steps[0].cohorts.all"),
    ("phases: [{name: a, steps: [{cohorts: {all: -1}}]}]", "spec.phases[0].steps[0].cohorts.all"),
    ("phases: [{name: a, steps: [{cohorts: {all: 0.5}}]}]", "spec.phases[0].steps[0].cohorts.all"),
    ("phases: [{name: a, steps: [{cohorts: {all: '50'}}]}]", "spec.phases[0].steps[0].cohorts.all"),
    ("phases: [{name: a, steps: [{cohorts: {all: '100.001%'}}]}]", "spec.phases[0].steps[0].cohorts.all"),
    ("phases: [{name: a, steps: [{cohorts: {all: '0.0001%'}}]}]", "spec.phases[0].steps[0].cohorts.all"),
    ("phases: [{name: a, ramp: {percents: ['1e1%']}}]", "spec.phases[0].ramp.percents[0]"),
    ("phases: [{name: a, steps: [{cohorts: {all: 5}, hold: 1w}]}]", "spec.phases[0].steps[0].hold"),
    ("phases: [{name: a, steps: [{cohorts: {all: 5}, hold: -1s}]}]", "spec.phases[0].steps[0].hold"),
    ("phases: [{name: a, steps: [{cohorts: {all: 5}, at: tomorrow}]}]", "spec.phases[0].steps[0].at"),
    (
        "schedule: {startAt: '2025-09-08T09:00:00Z'}\nphases: [{name: a, steps: [{cohorts: {all: 5}, week: 2, at: '2025-09-08T09:00:00Z'}]}]",
        "spec.phases[0].steps[0]: Invalid value: give at or week, not both",
    ),
    (
        "phases: [{name: a, steps: [{cohorts: {all: 5}, week: 2}]}]",
        "schedule.startAt or a playbook must say when week 1 starts",
    ),
    ("phases: [{name: a, steps: [{cohorts: {all: 5}, week: 0}]}]", "spec.phases[0].steps[0].week"),
    (
        "phases: [{name: a, steps: [{cohorts: {all: 5}, approval: Required}]}]",
        "spec.phases[0].steps[0]: Invalid value: a step that requires approval needs a name",
    ),
    ("phases: [{name: a, steps: [{cohorts: {all: 5}, approval: Yes}]}]", "spec.phases[0].steps[0].approval"),
    ("approvals: [{phase: ga}]", "spec.approvals[0].step"),
    ("cohorts: [{name: a}, {name: a}]", "spec.cohorts: Invalid value: cohort names must be unique"),
    ("cohorts: []", "spec.cohorts"),
    ("cohorts: [{name: a, share: 50.5}]", "spec.cohorts[0].share"),
    ("cohorts: [{name: a, admits: [Stable, Stable]}]", "spec.cohorts[0].admits[1]"),
    (
        "cohorts: [{name: a, match: {expressions: [{key: k, operator: In}]}}]",
        "spec.cohorts[0].match.expressions[0]: Invalid value: Exists and DoesNotExist take no values",
    ),
    (
        "cohorts: [{name: a, match: {expressions: [{key: k, operator: Gt, values: ['1', '2']}]}}]",
        "spec.cohorts[0].match.expressions[0]: Invalid value: Gt, Gte, Lt, Lte and SemVer take exactly one",
    ),
    (
        "cohortSetRef: {name: x}\ncohorts: [{name: a}]",
        "spec: Invalid value: give cohorts or cohortSetRef, not both",
    ),
    ("cohortSetRef: {}", "spec.cohortSetRef.name"),
    ("baseline: {all: 101}", "spec.baseline.all"),
    ("deletionPolicy: Delete", "spec.deletionPolicy"),
    ("schedule: {onMissed: Skip}", "spec.schedule.onMissed"),
    (
        "schedule: {windows: [{from: '09:00', to: '09:00'}]}",
        "spec.schedule.windows[0]: Invalid value: from must come before to",
    ),
    (
        "schedule: {windows: [{from: '16:00', to: '09:00'}]}",
        "spec.schedule.windows[0]: Invalid value: from must come before to",
    ),
    ("schedule: {windows: [{from: '9:00', to: '10:00'}]}", "spec.schedule.windows[0].from"),
    ("schedule: {windows: [{from: '09:00', to: '24:01'}]}", "spec.schedule.windows[0].to"),
    (
        "schedule: {windows: [{days: [Mon, Mon], from: '09:00', to: '10:00'}]}",
        "spec.schedule.windows[0].days[1]",
    ),
    ("schedule: {windows: [{days: [], from: '09:00', to: '10:00'}]}", "spec.schedule.windows[0].days"),
    (
        "schedule: {freezes: [{name: f, from: '2025-12-01T00:00:00Z', to: '2025-12-01T00:00:00Z'}]}",
        "spec.schedule.freezes[0]: Invalid value: from must come before to",
    ),
    ("phases: [{name: a, steps: [{cohorts: {all: 5}, hold: 0d}]}]", "spec.phases[0].steps[0].hold"),
    ("phases: [{name: a, ramp: {percents: [5], every: 1d12h}}]", "spec.phases[0].ramp.every"),
    (
        "schedule: {freezes: [{name: f, from: '2025-12-02', to: '2025-12-01'}]}",
        "spec.schedule.freezes[0]: Invalid value: from must not come after to",
    ),
    (
        "schedule: {freezes: [{name: f, from: '2025-12-02', to: '2025-12-03T00:00:00Z'}]}",
        "spec.schedule.freezes[0]: Invalid value: from and to must have one form",
    ),
    (
        "schedule: {freezes: [{name: f, from: '12-20', to: '01-02'}]}",
        "spec.schedule.freezes[0]: Invalid value: from and to must have one form",
    ),
    (
        "schedule: {freezes: [{name: f, from: '2025-12-02', to: '2025-12-03', yearly: true}]}",
        "spec.schedule.freezes[0]: Invalid value: from and to must have one form",
    ),
    ("schedule: {freezes: [{name: f, from: '2025-02-29', to: '2025-03-03'}]}", "spec.schedule.freezes[0]"),
    (
        "schedule: {freezes: [{name: f, from: '02-30', to: '03-03', yearly: true}]}",
        "spec.schedule.freezes[0].from",
    ),
    (
        "schedule: {freezes: [{name: f, from: '2025-12-01T00:00:00Z', to: '2025-12-02T00:00:00Z'}, {name: f, from: '2025-12-03T00:00:00Z', to: '2025-12-04T00:00:00Z'}]}",
        "spec.schedule.freezes[1]",
    ),
    (
        "dependsOn: [{name: other}]",
        "spec.dependsOn[0]: Invalid value: give exactly one of condition and phase",
    ),
    (
        "dependsOn: [{name: other, phase: a, condition: Completed}]",
        "spec.dependsOn[0]: Invalid value: give exactly one",
    ),
    ("dependsOn: [{name: bad, condition: Completed}]", "spec.dependsOn names the rollout itself"),
    (
        "feature: {control: enabled}",
        "spec.feature: Invalid value: control and treatment must be two variants",
    ),
    ("feature: {treatment: blue}", "spec.feature: Invalid value: treatment must be the name of a variant"),
    ("feature: {control: blue}", "spec.feature: Invalid value: control must be the name of a variant"),
    (
        "feature: {variants: [{name: enabled, value: 1}, {name: enabled, value: 2}]}",
        "spec.feature.variants: Invalid value: variant names must be unique",
    ),
    ("feature: {variants: [{name: enabled, value: 1}]}", "spec.feature.variants"),
    (
        "feature: {variants: [{name: true, value: 1}, {name: false, value: 2}]}",
        "spec.feature.variants[0].name",
    ),
    (
        "feature: {variants: [{name: enabled, value: null}, {name: disabled, value: null}]}",
        "spec.feature.variants[0].value: Required value",
    ),
    ("feature: {key: 'a key'}", "spec.feature.key"),
    ("feature: {tier: Beta}", "spec.feature.tier"),
];

#[tokio::test]
async fn the_api_server_refuses_what_is_wrong_and_names_the_path() {
    let space = Space::shared("admission-refused").await;
    let mut wrong = Vec::new();
    for (lines, says) in REFUSED {
        let answer = space.create(&rollout("bad", lines)).await;
        if ![400, 422].contains(&answer.code) || !answer.message().contains(says) {
            wrong.push(format!("{lines}\n   wanted {says}\n   {} {}", answer.code, answer.message()));
        }
        if answer.code == 201 {
            space.delete("FeatureRollout", "bad").await;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn sets_are_refused_likewise() {
    let space = Space::shared("admission-sets").await;
    for (kind, spec, says) in [
        ("CohortSet", "cohorts: []", "spec.cohorts"),
        (
            "CohortSet",
            "cohorts: [{name: a}, {name: a}]",
            "spec.cohorts: Invalid value: cohort names must be unique",
        ),
        ("CohortSet", "cohort: [{name: a}]", "unknown field \"spec.cohort\""),
        ("FlagSet", "emergency: Off", "spec.emergency"),
        ("FlagSet", "emergency: false", "spec.emergency"),
        (
            "FlagSet",
            "outputs: [{configMap: a}, {configMap: a}]",
            "spec.outputs: Invalid value: each output needs a ConfigMap",
        ),
        ("FlagSet", "outputs: [{configMap: a, key: flags.yaml}]", "spec.outputs[0].key"),
        ("FlagSet", "outputs: [{configMap: a, key: ...json}]", "spec.outputs[0].key"),
        ("FlagSet", "outputs: [{configMap: a..b}]", "spec.outputs[0].configMap"),
        ("FlagSet", "outputs: [{configMap: a.-b}]", "spec.outputs[0].configMap"),
        ("FlagSet", "featureFlag: {name: a..b}", "spec.featureFlag.name"),
        ("FlagSet", "flags: {a: true}", "spec.flags.a"),
        (
            "FlagSet",
            "windows: [{from: '10:00', to: '09:00'}]",
            "spec.windows[0]: Invalid value: from must come",
        ),
        ("FlagSet", "prune: [a, a]", "spec.prune[1]"),
    ] {
        let answer = space.create(&object(kind, "bad", spec)).await;
        assert!([400, 422].contains(&answer.code), "{spec}: {}", answer.code);
        assert!(answer.message().contains(says), "{spec}: wanted {says}: {}", answer.message());
    }
}

#[tokio::test]
async fn what_a_flag_is_cannot_change_but_may_be_written_out() {
    let space = Space::shared("admission-immutable").await;
    assert_eq!(space.create(&rollout("plain", "")).await.code, 201);
    let defaults = json!({"spec": {"feature": {
        "key": "plain", "control": "disabled", "treatment": "enabled", "bucketBy": "targetingKey", "salt": "plain",
        "variants": [{"name": "enabled", "value": true}, {"name": "disabled", "value": false}],
    }}});
    for (field, other) in [
        ("key", json!("other")),
        ("control", json!("enabled")),
        ("bucketBy", json!("email")),
        ("salt", json!("pepper")),
        ("variants", json!([{"name": "enabled", "value": false}, {"name": "disabled", "value": true}])),
    ] {
        let patch = json!({"spec": {"feature": {field: other.clone()}}});
        let answer = space.merge("FeatureRollout", "plain", &patch).await;
        assert_eq!(answer.code, 422, "absent to another {field}");
        if field == "control" {
            // Another control alone also meets the treatment; with both swapped, immutability says no.
            let swap = json!({"spec": {"feature": {"control": "enabled", "treatment": "disabled"}}});
            let answer = space.merge("FeatureRollout", "plain", &swap).await;
            assert!(answer.message().contains("spec.feature.control is immutable"), "{}", answer.message());
            assert!(answer.message().contains("spec.feature.treatment is immutable"), "{}", answer.message());
        } else {
            assert!(
                answer.message().contains(&format!("spec.feature.{field} is immutable")),
                "{}",
                answer.message()
            );
        }
    }
    let set = json!({"spec": {"flagSetRef": {"name": "x"}}});
    let answer = space.merge("FeatureRollout", "plain", &set).await;
    assert!(answer.message().contains("spec.flagSetRef is immutable"), "{}", answer.message());

    let answer = space.merge("FeatureRollout", "plain", &defaults).await;
    assert_eq!(answer.code, 200, "absent to the default written out: {}", answer.message());
    let answer = space.merge("FeatureRollout", "plain", &json!({"spec": {"feature": null}})).await;
    assert_eq!(answer.code, 200, "and back: {}", answer.message());
}

#[tokio::test]
async fn what_the_schema_cannot_see_stalls_with_its_path_and_harms_nobody() {
    let space = Space::shared("admission-stalled").await;
    let cases = [
        (
            "cohort",
            "phases: [{name: a, steps: [{cohorts: {nobody: 5}}]}]",
            "InvalidSpec",
            "spec.phases[0].steps[0].cohorts.nobody",
        ),
        ("baseline", "baseline: {nobody: 5}", "InvalidSpec", "spec.baseline.nobody"),
        ("zone", "schedule: {timeZone: Mars/Olympus}", "InvalidSpec", "spec.schedule.timeZone"),
        (
            "falling",
            "phases: [{name: a, ramp: {percents: [50, 5]}}]",
            "InvalidSpec",
            "spec.phases[0].ramp.percents[1]",
        ),
        (
            "closed",
            "schedule: {startAt: '2030-01-01T00:00:00Z', freezes: [{name: ever, from: '2029-01-01T00:00:00Z', to: '9999-01-01T00:00:00Z'}], windows: [{from: '09:00', to: '10:00'}]}",
            "",
            "",
        ),
        (
            "mixed",
            "feature: {variants: [{name: enabled, value: 1}, {name: disabled, value: 'no'}]}",
            "InvalidSpec",
            "spec.feature.variants[1].value",
        ),
        (
            "nothing",
            "feature: {variants: [{name: enabled, value: []}, {name: disabled, value: []}]}",
            "InvalidSpec",
            "spec.feature.variants[0].value",
        ),
        ("a", "dependsOn: [{name: b, condition: Completed}]", "DependencyCycle", "a → b → c → a"),
        ("b", "dependsOn: [{name: c, condition: Completed}]", "DependencyCycle", "b → c → a → b"),
        ("c", "dependsOn: [{name: a, condition: Completed}]", "DependencyCycle", "c → a → b → c"),
        ("set", "flagSetRef: {name: nowhere}", "ReferenceNotFound", "spec.flagSetRef.name"),
        ("healthy", "", "", ""),
    ];
    for (name, lines, ..) in &cases {
        let answer = space.create(&rollout(name, lines)).await;
        assert_eq!(answer.code, 201, "{name}: {}", answer.message());
    }
    for (name, _, reason, says) in &cases {
        if reason.is_empty() {
            space.until(name, "ready", is_ready).await;
        } else {
            let status = space.until(name, says, |status| is_stalled(status, reason, says)).await;
            assert_eq!(status.observed_generation, 1, "{name}");
            assert_eq!(status.state.map(State::as_str), Some("Stalled"));
        }
    }
    // Mending one member of the circle frees all three.
    let none = json!({"spec": {"dependsOn": null}});
    assert_eq!(space.merge("FeatureRollout", "c", &none).await.code, 200);
    for name in ["a", "b", "c"] {
        space.until(name, "freed", is_ready).await;
    }
}

#[tokio::test]
async fn the_kinds_are_small_established_and_without_warnings() {
    let space = Space::shared("admission-kinds").await;
    for crd in all_crds() {
        let bytes = serde_json::to_vec(&crd).unwrap().len();
        assert!(bytes < 200_000, "{:?} has {bytes} bytes", crd.metadata.name);
        let path =
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All&fieldValidation=Strict";
        let mut fresh = serde_json::to_value(&crd).unwrap();
        // A dry run of the same kinds under another group: nothing of them is there yet.
        let text = fresh.to_string().replace("sluice.dev", "sluice.example");
        fresh = serde_json::from_str(&text).unwrap();
        let answer = crate::support::raw::send(&space.client, http::Method::POST, path, &fresh).await;
        assert_eq!(answer.code, 201, "{}", answer.message());
        assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
    }
    for (kind, spec) in [
        ("FlagSet", "timeZone: UTC"),
        ("CohortSet", "cohorts: [{name: a}]"),
        (
            "FeatureRollout",
            "flagSetRef: {name: x}\ncohortSetRef: {name: x}\nphases: [{name: a, ramp: {percents: [5]}}]",
        ),
    ] {
        let answer = space.create(&object(kind, "x", spec)).await;
        assert_eq!(
            (answer.code, answer.warnings.as_slice()),
            (201, [].as_slice()),
            "{kind}: {}",
            answer.message()
        );
        assert_eq!(
            answer.body["status"]["observedGeneration"], -1,
            "{kind}: as created, before any controller"
        );
    }
}

#[tokio::test]
async fn a_megabyte_is_refused_where_it_is_text_and_harms_nobody_where_it_is_a_value() {
    let space = Space::shared("admission-megabyte").await;
    let mut large = rollout("large", "flagSetRef: {name: set}");
    large["spec"]["phases"][0]["goal"] = json!("g".repeat(1_000_000));
    let answer = space.create(&large).await;
    assert_eq!(answer.code, 422);
    assert!(answer.message().contains("spec.phases[0].goal"), "{:.300}", answer.message());
    space.apply::<FlagSet>("metadata: {name: set}\nspec: {}").await.unwrap();
    large["spec"]["phases"][0]["goal"] = json!("short");
    large["spec"]["feature"] = json!({"variants": [{"name": "enabled", "value": "v".repeat(1_000_000)}, {"name": "disabled", "value": ""}]});
    assert_eq!(space.create(&large).await.code, 201);
    assert_eq!(space.create(&rollout("small", "flagSetRef: {name: set}")).await.code, 201);
    space
        .until("large", "too large", |status| is_stalled(status, "InvalidSpec", "256 KiB in the file"))
        .await;
    space.until("small", "ready", is_ready).await;
}

#[tokio::test]
async fn kubectl_shows_what_is_served_and_what_is_next() {
    let space = Space::shared("admission-columns").await;
    let kubectl = shared().plane.kubectl_path().expect("kubectl comes with the control plane");
    space.apply::<FeatureRollout>("metadata: {name: shown}\nspec: {cohorts: [{name: all, share: 50}], phases: [{name: beta, ramp: {percents: [5, 100]}}]}").await.unwrap();
    space.until("shown", "ready", is_ready).await;
    let output = tokio::process::Command::new(kubectl)
        .arg("--kubeconfig")
        .arg(shared().plane.kubeconfig_path())
        .args(["-n", &space.name, "get", "frol", "-o", "wide"])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(
        head,
        [
            "NAME", "READY", "STATE", "PHASE", "STEP", "EXPOSURE", "NEXT", "REASON", "AGE", "SERVED",
            "FLAGSET", "MESSAGE"
        ]
    );
    let row = lines.next().unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[..6], ["shown", "True", "Holding", "beta", "1/2", "2.5%"], "{text}");
    assert!(cells[6].ends_with('Z'), "NEXT is absolute and UTC: {text}");
    assert_eq!(cells[7], "Hold", "REASON says which check says no: {text}");
    assert!(row.contains("all=5%"), "{text}");
}

//! Whatever is wrong with a file is said at once, with file, line and field path.

use rstest::rstest;
use serde_json::json;

use super::{sluice, sluice_with, write};

const HEAD: &str = "apiVersion: sluice.dev/v1alpha1\nkind: FeatureRollout\nmetadata: {name: a}\nspec:\n";

/// The output without its summary, for a rollout with this spec, which begins at line 5.
fn lint(spec: &str) -> (i32, Vec<String>) {
    let ran = sluice_with(&["lint", "-f", "-"], &format!("{HEAD}{spec}"));
    assert_eq!(ran.err, "");
    let mut lines: Vec<String> = ran.out.lines().map(str::to_owned).collect();
    lines.pop();
    (ran.code, lines)
}

const COHORTS: &str = "  cohorts: [{name: all}]\n";
const PHASES: &str = "  phases: [{name: ga, ramp: {percents: [100]}}]\n";

#[rstest]
#[case::unknown_field("  cohort: [{name: all}]\n  cohorts: [{name: all}]\n", PHASES, &["5: error: spec.cohort: there is no such field: did you mean cohorts?"])]
#[case::deep_unknown_field(COHORTS, "  phases:\n  - name: ga\n    steps:\n    - cohorts: {all: 5}\n      Hold: 1h\n", &["10: error: spec.phases[0].steps[0].Hold: there is no such field: did you mean hold?"])]
#[case::wrong_type(COHORTS, "  attempt: two\n  phases: {}\n", &[
    "6: error: spec.attempt: \"two\" is a string where a whole number is needed",
    "7: error: spec.phases: {} is a map where a list is needed",
])]
#[case::missing(COHORTS, "", &["4: error: spec.phases: is missing"])]
#[case::empty_phases(COHORTS, "  phases: []\n", &["6: error: spec.phases: is empty: at least one is needed"])]
#[case::empty_steps(COHORTS, "  phases: [{name: ga, steps: []}, {name: b, ramp: {percents: []}}]\n", &[
    "6: error: spec.phases[0].steps: is empty: at least one is needed",
    "6: error: spec.phases[1].ramp.percents: is empty: at least one is needed",
])]
#[case::neither_steps_nor_ramp(COHORTS, "  phases: [{name: ga}]\n", &["6: error: spec.phases[0]: has neither steps nor a ramp: give exactly one"])]
#[case::duplicate_names("  cohorts: [{name: all, match: {attributes: {plan: gold}}}, {name: all}]\n", "  phases:\n  - {name: ga, ramp: {percents: [5]}}\n  - {name: ga, ramp: {percents: [6]}}\n", &[
    "5: error: spec.cohorts[1].name: \"all\": is the name of another cohort too",
    "8: error: spec.phases[1].name: \"ga\": is the name of another phase too",
])]
#[case::unknown_cohort(COHORTS, "  phases: [{name: ga, ramp: {cohorts: [some], percents: [100]}}]\n", &["6: error: spec.phases[0].ramp.cohorts[0]: there is no cohort \"some\": the cohorts are all"])]
#[case::percentages(COHORTS, "  baseline: {all: \"100.001%\"}\n  phases: [{name: ga, ramp: {percents: [101, \"0.0001%\", 0.5, \"75\", -1]}}]\n", &[
    "6: error: spec.baseline.all: 100.001% is not between 0 and 100 per cent",
    "7: error: spec.phases[0].ramp.percents[0]: 101 is not between 0 and 100 per cent",
    "7: error: spec.phases[0].ramp.percents[1]: \"0.0001%\" is finer than 0.001%",
    "7: error: spec.phases[0].ramp.percents[2]: 0.5 is no percentage: write a whole number such as 75, or a string such as \"0.5%\"",
    "7: error: spec.phases[0].ramp.percents[3]: \"75\" is no percentage: write a whole number such as 75, or a string such as \"0.5%\"",
    "7: error: spec.phases[0].ramp.percents[4]: -1 is not between 0 and 100 per cent",
])]
#[case::zone(COHORTS, "  schedule: {timeZone: Mars/Base}\n  phases: [{name: ga, ramp: {percents: [100]}}]\n", &["6: error: spec.schedule.timeZone: \"Mars/Base\": is no time zone of the IANA database, such as America/Los_Angeles"])]
#[case::windows(COHORTS, "  schedule:\n    windows:\n    - {from: \"09:00\", to: \"09:00\"}\n    - {from: \"16:00\", to: \"9:00\"}\n    - {from: \"16:00\", to: \"09:00\"}\n  phases: [{name: ga, ramp: {percents: [100]}}]\n", &[
    "8: error: spec.schedule.windows[0]: \"09:00 to 09:00\": from must come before to; a window does not cross midnight: write two",
    "9: error: spec.schedule.windows[1].to: \"9:00\" is no time of day: write one from \"00:00\" to \"24:00\"",
    "10: error: spec.schedule.windows[2]: \"16:00 to 09:00\": from must come before to; a window does not cross midnight: write two",
])]
#[case::week_without_a_start(COHORTS, "  phases: [{name: ga, steps: [{week: 2, cohorts: {all: 5}}]}]\n", &["6: error: spec.phases[0].steps[0].week: \"2\": needs a start: set spec.schedule.startAt, or join a playbook by spec.playbookRef"])]
#[case::times(COHORTS, "  schedule: {startAt: \"2025-09-08T09:00\"}\n  phases: [{name: ga, steps: [{week: 2, hold: 7w, cohorts: {all: 5}}]}]\n", &[
    "6: error: spec.schedule.startAt: \"2025-09-08T09:00\" is no instant: write one such as 2025-09-08T09:00:00Z",
    "7: error: spec.phases[0].steps[0].hold: \"7w\" is no duration: write one such as 90s, 10m, 168h or 1h30m, or whole days such as 7d",
])]
#[case::mixed_variants("  cohorts: [{name: all}]\n  feature: {variants: [{name: enabled, value: true}, {name: disabled, value: blue}]}\n", PHASES, &["6: error: spec.feature.variants[1].value: \"\\\"blue\\\"\": is a string where the first variant is a boolean: all variants are of one type"])]
#[case::treatment_no_variant("  cohorts: [{name: all}]\n  feature: {treatment: blue}\n", PHASES, &["6: error: spec.feature.treatment: \"blue\": is no variant: name one of enabled, disabled"])]
#[case::bare_words("  cohorts: [{name: all}]\n  feature:\n    control: off\n    treatment: on\n    variants: [{name: on, value: yes}, {name: off, value: false}]\n", PHASES, &[
    "7: error: spec.feature.control: off is read as a boolean by kubectl: quote it",
    "8: error: spec.feature.treatment: on is read as a boolean by kubectl: quote it",
    "9: error: spec.feature.variants[0].name: on is read as a boolean by kubectl: quote it",
    "9: error: spec.feature.variants[1].name: off is read as a boolean by kubectl: quote it",
    "9: warning: spec.feature.variants[0].value: yes is read as a boolean by kubectl: quote it, or write true or false",
])]
#[case::no_cohorts("", PHASES, &["4: error: spec.cohorts: there are no cohorts: give cohorts or cohortSetRef, or a FlagSet that names a CohortSet"])]
#[case::references("  flagSetRef: {name: x}\n  cohortSetRef: {name: z}\n", PHASES, &[
    "5: error: spec.flagSetRef.name: \"x\": there is no FlagSet of this name in namespace default of the files",
    "6: error: spec.cohortSetRef.name: \"z\": there is no CohortSet of this name in namespace default of the files",
])]
#[case::approvals("  cohorts: [{name: all}]\n  approvals: [{phase: ga, step: 100%}, {phase: ga, step: full}]\n", PHASES, &[
    "6: warning: spec.approvals[0]: approves ga/100%, which asks for no approval; to have it wait for one, write `approval: Required` in the step and leave this out until it is approved",
    "6: warning: spec.approvals[1]: there is no step ga/full to approve",
])]
#[case::an_approval_of_what_all_have("  cohorts: [{name: all}]\n", "  phases:\n  - {name: ga, ramp: {percents: [50, 100]}}\n  - name: end\n    steps: [{name: full, approval: Required, cohorts: {all: 100}}]\n", &["9: warning: spec.phases[1].steps[0].approval: guards nothing: what comes before the step has given all that it asks; let the steps before ask for less, or ask for the approval where the percentage is reached"])]
#[case::a_lowering_for_good("  cohorts: [{name: a, match: {attributes: {plan: gold}}}, {name: b}]\n", "  phases: [{name: ga, steps: [{cohorts: {a: 10}}, {cohorts: {b: 5, a: 0}}]}]\n", &["6: warning: spec.phases[0].steps[1].cohorts.a: takes the feature from users of a, 10% → 0%, and no later step gives it back: leave a out here to keep 10%"])]
#[case::windows_of_no_zone("  cohorts: [{name: all}]\n  schedule: {windows: [{from: \"10:00\", to: \"16:00\"}]}\n", PHASES, &["6: warning: spec.schedule.windows: are in UTC, as no zone is named: write `timeZone` beside them, such as Europe/Berlin, or UTC if that is meant"])]
#[case::a_part_of_an_address("  cohorts: [{name: staff, match: {attributes: {email: \"@example.com\"}}}, {name: b, match: {expressions: [{key: plan, operator: In, values: [\"gold-*\"]}]}}]\n", PHASES, &[
    "5: warning: spec.cohorts[0].match.attributes.email: \"@example.com\" is compared with the whole value, so it matches hardly anybody: use an expression with EndsWith",
    "5: warning: spec.cohorts[1].match.expressions[0].values: \"gold-*\" is compared with the whole value, so it matches hardly anybody: use an expression with StartsWith, EndsWith or Contains, without the star",
])]
#[case::shares("  cohorts: [{name: a, share: 100, match: {attributes: {plan: gold}}}, {name: b, share: \"0.5%\"}]\n", PHASES, &["5: warning: spec.cohorts: the shares add up to 100.5%: exposures will be too high"])]
#[case::dotted_names("  cohorts: [{name: all, match: {attributes: {cloud.region: eu}}}]\n  feature: {bucketBy: organisation.id}\n", PHASES, &[
    "5: warning: spec.cohorts[0].match.attributes: \"cloud.region\" is the field \"region\" of the structured attribute \"cloud\": apps give it nested, and an attribute named \"cloud.region\" itself is never found",
    "6: warning: spec.feature.bucketBy: \"organisation.id\" is the field \"id\" of the structured attribute \"organisation\": apps give it nested, and an attribute named \"organisation.id\" itself is never found",
])]
#[case::tiers("  cohorts:\n  - {name: a, match: {attributes: {plan: gold}}}\n  - {name: b, admits: [Core]}\n", PHASES, &["8: warning: spec.phases[0].ramp: cohort b does not admit tier Stable: it stays at 0%"])]
#[case::itself("  cohorts: [{name: all}]\n  dependsOn: [{name: a, condition: Completed}, {name: gone, phase: ga}]\n", PHASES, &[
    "6: error: spec.dependsOn[0].name: \"a\": is the rollout itself",
    "6: warning: spec.dependsOn[1].name: \"gone\": there is no such rollout in the files: it must be in the cluster",
])]
fn says_what_is_wrong_and_where(#[case] before: &str, #[case] after: &str, #[case] expected: &[&str]) {
    let (code, lines) = lint(&format!("{before}{after}"));
    let expected: Vec<String> = expected.iter().map(|line| format!("-:{line}")).collect();
    assert_eq!(lines, expected);
    assert_eq!(code, i32::from(expected.iter().any(|line| line.contains(": error: "))));
}

const SETS: &str = r#"apiVersion: sluice.dev/v1alpha1
kind: FlagSet
metadata: {name: app, namespace: x}
spec:
  cohortSetRef: {name: users}
  timeZone: Mars/Base
  windows: [{from: "09:00", to: "10:00"}]
  metadata: {sluice.dev/mine: 1, list: [1]}
  flags:
    banner: {state: ENABLED, variants: {a: true}, defaultVariant: b}
    search: {state: ENABLED, variants: {a: true}, defaultVariant: a}
  prune: [other]
---
apiVersion: sluice.dev/v1alpha1
kind: CohortSet
metadata: {name: users, namespace: x}
spec:
  cohorts:
  - {name: all, share: 60, match: {expressions: [{key: age, operator: Gt, values: [ten]}]}}
  - {name: all, share: 60}
---
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: search, namespace: x}
spec:
  flagSetRef: {name: app}
  dependsOn: [{name: second, phase: beta}]
  phases: [{name: ga, ramp: {percents: [100]}}]
---
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: second, namespace: x}
spec:
  feature: {key: search}
  flagSetRef: {name: app}
  dependsOn: [{name: search, condition: Completed}]
  phases: [{name: ga, ramp: {percents: [100]}}]
---
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: second, namespace: x}
spec: {cohorts: [{name: all}], phases: [{name: ga, ramp: {percents: [100]}}]}
---
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: app, namespace: x}
spec:
  cohorts: [{name: all}]
  schedule:
    windows: [{days: [Mon], from: "09:00", to: "10:00"}]
    freezes: [{name: f, from: "2025-01-02T00:00:00Z", to: "2025-01-01T00:00:00Z"}]
  phases: [{name: ga, ramp: {percents: [100]}}]
---
apiVersion: sluice.dev/v1alpha1
kind: Sluice
metadata: {name: unknown}
---
apiVersion: example.com/v1
kind: Anything
spec: {on: off}
---
spec: {}
---
a: [
---
apiVersion: v1
kind: List
items:
- apiVersion: sluice.dev/v1alpha1
  kind: CohortSet
  metadata: {name: Upper, namespace: x}
  spec:
    cohorts:
    - name: on
"#;

/// Severity by file, line and path; the messages are tested where they are made.
const EXPECTED: &[(usize, &str, &str)] = &[
    (6, "error", "spec.timeZone"),
    (8, "error", "spec.metadata.list"),
    (8, "error", "spec.metadata.sluice.dev/mine"),
    (10, "error", "spec.flags.banner"),
    (11, "error", "spec.flags.search"),
    (18, "warning", "spec.cohorts"),
    (19, "error", "spec.cohorts[0].match.expressions[0]"),
    (20, "error", "spec.cohorts[1].name"),
    (27, "error", "spec.dependsOn[0]"),
    (27, "error", "spec.dependsOn[0].phase"),
    (34, "error", "spec.feature.key"),
    (36, "error", "spec.dependsOn[0]"),
    (41, "error", "metadata.name"),
    (46, "error", "metadata.name"),
    (51, "error", "spec.schedule.freezes[0]"),
    (54, "error", ""),
    (62, "error", ""),
    (64, "error", ""),
    (71, "error", "metadata.name"),
    (74, "error", "spec.cohorts[0].name"),
];

#[test]
fn objects_are_checked_against_each_other_all_in_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "sets.yaml", SETS);
    let ran = sluice(&["lint", "-f", &file, "-o", "json"]);
    assert_eq!(ran.code, 1);
    let problems = ran.json();
    let found: Vec<(usize, &str, &str)> = problems
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            assert_eq!(p["file"], json!(file));
            assert!(p["object"].is_string() && !p["message"].as_str().unwrap().is_empty());
            (
                p["line"].as_u64().unwrap() as usize,
                p["severity"].as_str().unwrap(),
                p["path"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(found, EXPECTED, "{}", ran.out);
    let cycle = problems.as_array().unwrap().iter().find(|p| p["line"] == json!(36)).unwrap();
    assert_eq!(cycle["object"], json!("FeatureRollout x/second"));
    assert_eq!(
        cycle["message"],
        json!("the rollouts wait for each other in a circle: second → search → second")
    );

    let text = sluice(&["lint", "-f", &file]);
    assert_eq!(text.out.lines().count(), EXPECTED.len() + 1);
    assert!(text.out.ends_with("19 errors and 1 warning in 7 objects of 1 file\n"), "{}", text.out);
}

#[test]
fn windows_that_never_open_are_found() {
    let set = "apiVersion: sluice.dev/v1alpha1\nkind: FlagSet\nmetadata: {name: s}\nspec:\n  timeZone: UTC\n  windows: [{days: [Tue], from: \"09:00\", to: \"10:00\"}]\n---\n";
    let spec = "  flagSetRef: {name: s}\n  cohorts: [{name: all}]\n  schedule: {windows: [{days: [Mon], from: \"09:00\", to: \"10:00\"}]}\n";
    let ran = sluice_with(&["lint", "-f", "-"], &format!("{set}{HEAD}{spec}{PHASES}"));
    let first = ran.out.lines().next().unwrap();
    assert!(first.starts_with("-:14: error: spec.schedule.windows: never open"), "{}", ran.out);
    assert_eq!(ran.code, 1);
}

#[test]
fn a_feature_flag_has_one_owner_and_holds_what_it_can() {
    let set = |name: &str, more: &str| {
        format!(
            "apiVersion: sluice.dev/v1alpha1\nkind: FlagSet\nmetadata: {{name: {name}}}\nspec:\n  featureFlag: {{name: ff}}\n{more}---\n"
        )
    };
    let flag = "  flags:\n    banner: {state: ENABLED, variants: {a: blue}}\n";
    let ran = sluice_with(&["lint", "-f", "-"], &(set("a", "") + &set("b", flag)));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "-:11: error: spec.featureFlag.name: FeatureFlag ff is written by FlagSet default/a already",
            "-:13: error: spec.flags.banner: without a defaultVariant it cannot be in a FeatureFlag",
        ]
    );
    assert_eq!(ran.code, 1);
    let alone = flag.replace("}}", "}, defaultVariant: a}");
    assert_eq!(sluice_with(&["lint", "-f", "-"], &set("a", &alone)).code, 0);
}

#[test]
fn a_clean_file_says_so_and_a_key_may_not_stand_twice() {
    let (code, lines) = lint(&format!("{COHORTS}{PHASES}"));
    assert_eq!((code, lines), (0, vec![]));
    let (code, lines) = lint(&format!("{COHORTS}{PHASES}  suspend: yes\n  suspend: no\n"));
    assert_eq!(code, 1);
    assert_eq!(lines, ["-:8: error: spec.suspend: stands twice: the last one would win unseen"]);
}

/// Each ended the program, or took all memory of its machine, and would have done so in the cluster.
#[test]
fn what_nests_without_end_is_refused_with_its_field() {
    let nested = |open: &str, close: &str| format!("$[?{}@.a{}]", open.repeat(1000), close.repeat(1000));
    let tree = (0..10).fold(json!({"nope": 1}), |below, _| json!({"and": [below, below]}));
    let deep = (0..50).fold(json!(true), |below, _| json!({"!": [below]}));
    let flag = |targeting| json!({"state": "ENABLED", "variants": {"a": true}, "defaultVariant": "a", "targeting": targeting});
    let template = |name: &str, spec: serde_json::Value| json!({"apiVersion": "sluice.dev/v1alpha1", "kind": "MetricTemplate", "metadata": {"name": name}, "spec": spec});
    let source = json!({"name": "s"});
    let objects = [
        template("a", json!({"sourceRef": source, "jsonPath": "$", "sampleCount": nested("(", ")")})),
        template("b", json!({"sourceRef": source, "jsonPath": nested("!(", ")").get(..1000)})),
        template(
            "c",
            json!({"sourceRef": source, "promql": "-".repeat(1000) + "1", "sampleCount": "up{x=~'a{100}{100}{100}'}"}),
        ),
        json!({"apiVersion": "sluice.dev/v1alpha1", "kind": "FlagSet", "metadata": {"name": "app"},
            "spec": {"flags": {"tree": flag(tree), "deep": flag(deep), "fine": flag(json!({}))}}}),
    ];
    let text: String = objects.iter().map(|object| format!("{object}\n")).collect();
    let ran = sluice_with(&["lint", "-f", "-"], &text);
    let said: Vec<&str> = ran.out.lines().collect();
    let expected = [
        "-:1: error: spec.sampleCount: it has more than 1024 characters",
        "-:2: error: spec.jsonPath: it has more than 32 brackets",
        "-:3: error: spec.promql: line 1, column 401, at ",
        "-:3: error: spec.sampleCount: the regular expressions have too large",
        "-:4: error: spec.flags.deep: has lists and objects nested more than 40 deep",
        "-:4: error: spec.flags.tree.targeting.and[0].and[0].and[0].and[0].and[0].and[0].and[0].and[0].and[0].and[0]: ",
        "6 errors",
    ];
    assert_eq!(said.len(), expected.len(), "{}", ran.out);
    for (said, expected) in said.iter().zip(&expected[..6]) {
        assert!(said.starts_with(expected) && said.len() < 800, "{said}");
    }
    assert_eq!(ran.code, 1);
}

/// What is valid, and cannot be meant.
#[test]
fn what_can_never_be_reached_or_seen_is_a_warning() {
    let files = r#"
apiVersion: sluice.dev/v1alpha1
kind: MetricTemplate
metadata: {name: http-errors}
spec:
  sourceRef: {name: prometheus}
  unit: "%"
  promql: sum(rate(errors_total[5m])) / sum(rate(requests_total[5m])) > 0.1
---
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: menu}
spec:
  cohorts:
  - {name: staff, share: "0.4%", match: {attributes: {staff: "true"}}}
  - {name: everyone, share: "99.6%"}
  - {name: germany, share: 0, match: {attributes: {country: DE}}}
  dependsOn: [{name: serch, condition: Completed}]
  phases:
  - name: beta
    steps: [{name: all, cohorts: {staff: 100}}]
  - name: ga
    steps:
    - {name: some, cohorts: {staff: 5, everyone: 5}}
    - {name: full, cohorts: {staff: 100, everyone: 100}}
  triggers:
  - name: errors
    metric: {templateRef: {name: http-errors}}
    levels: [{severity: Critical, above: "10", for: 5m, action: ImmediateRollback}]
  - name: slow
    metric: {templateRef: {name: http-erors}}
    levels: [{severity: Critical, above: "10", for: 5m, action: ImmediateRollback}]
---
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: search}
spec:
  cohortSetRef: {name: user}
  phases: [{name: ga, ramp: {percents: [100]}}]
---
apiVersion: sluice.dev/v1alpha1
kind: CohortSet
metadata: {name: users}
spec: {cohorts: [{name: all}]}
"#;
    let ran = sluice_with(&["lint", "-", "-o", "json"], files);
    let found = ran.json();
    let said: Vec<(String, String)> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| {
            let text = |key: &str| problem[key].as_str().unwrap().to_owned();
            (format!("{} {}", text("severity"), text("path")), text("message"))
        })
        .collect();
    let expect = |place: &str, words: &str| {
        let found = said.iter().find(|(at, message)| at == place && message.contains(words));
        assert!(found.is_some(), "{place}: {words}: {said:#?}");
    };
    expect("warning spec.promql", "compares by itself");
    expect("warning spec.cohorts[2]", "can never be reached: everyone stands before germany");
    expect(
        "warning spec.phases[1].steps[0].cohorts.staff",
        "staff, 100% → 5%, and step ga/full gives it back",
    );
    expect("warning spec.triggers[0].levels[0]", "0.4% of all users");
    expect("warning spec.triggers[1].metric.templateRef.name", "did you mean http-errors?");
    expect("warning spec.dependsOn[0].name", "did you mean search?");
    expect("error spec.cohortSetRef.name", "did you mean users?");
}

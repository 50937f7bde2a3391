//! What is valid and hardly meant, as people write it who know other tools: a warning, or an error with the way it is said here.

use rstest::rstest;

use super::sluice_with;

/// The problems of files, each without the name of the file and the line.
fn said(files: &str) -> Vec<String> {
    let ran = sluice_with(&["lint", "-"], files);
    assert_eq!(ran.err, "");
    let mut lines: Vec<&str> = ran.out.lines().collect();
    lines.pop();
    lines.iter().map(|line| line.splitn(3, ':').nth(2).unwrap_or_default().trim().to_owned()).collect()
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: sluice.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{spec}---\n")
}

fn rollout(spec: &str) -> String {
    object("FeatureRollout", "a", spec)
}

const ALL: &str = "  cohorts: [{name: all}]\n";
const RAMP: &str = "  phases: [{name: ga, ramp: {percents: [50, 100]}}]\n";
const TEMPLATE: &str = "  sourceRef: {name: prometheus}\n  unit: \"%\"\n  args: [{name: service}]\n";

#[rstest]
#[case::an_approval_in_a_ramp(&format!("{ALL}  phases: [{{name: ga, ramp: {{percents: [50, 100], approval: Required}}}}]\n"), "error: spec.phases[0].ramp.approval: there is no such field: for an approval write the phase as `steps`, with `approval: Required` in the one that needs it")]
#[case::labels_of_kubernetes(&format!("  cohorts: [{{name: a, match: {{matchLabels: {{plan: gold}}, attributes: {{a: b}}}}}}, {{name: b}}]\n{RAMP}"), "error: spec.cohorts[0].match.matchLabels: there is no such field: did you mean attributes?")]
#[case::windows_outside_of_the_schedule(&format!("{ALL}{RAMP}  windows: [{{from: \"10:00\", to: \"16:00\"}}]\n"), "error: spec.windows: there is no such field here: did you mean schedule.windows?")]
#[case::a_field_of_two(&format!("{ALL}{RAMP}  title: New\n"), "error: spec.title: there is no such field here: did you mean announcement.title or feature.title?")]
#[case::a_query_in_a_trigger(&format!("{ALL}{RAMP}  triggers:\n  - {{name: e, metric: {{templateRef: {{name: t}}, query: up}}, levels: [{{severity: Info, above: \"1\", action: Notify}}]}}\n"), "error: spec.triggers[0].metric.query: there is no such field: a query is in a MetricTemplate, which `templateRef` names")]
fn a_field_that_does_not_exist_leads_to_the_one_that_does(#[case] spec: &str, #[case] expected: &str) {
    assert_eq!(said(&rollout(spec)), [expected]);
}

/// In UTC a day in Europe or America begins and ends hours off, and nobody sees it in the file.
#[rstest]
#[case::windows_of_a_policy(
    "RolloutPolicy",
    "  windows: [{from: \"10:00\", to: \"16:00\"}]\n",
    Some("spec.windows")
)]
#[case::dates_of_a_policy(
    "RolloutPolicy",
    "  freezes: [{name: winter, from: \"12-20\", to: \"01-02\", yearly: true}]\n",
    Some("spec.freezes")
)]
#[case::instants(
    "RolloutPolicy",
    "  freezes: [{name: f, from: \"2025-01-01T00:00:00Z\", to: \"2025-01-02T00:00:00Z\"}]\n",
    None
)]
#[case::windows_of_a_set(
    "FlagSet",
    "  windows: [{from: \"10:00\", to: \"16:00\"}]\n  freezes: [{name: f, from: \"2025-01-01\", to: \"2025-01-02\"}]\n",
    Some("spec.windows")
)]
#[case::named("FlagSet", "  timeZone: UTC\n  windows: [{from: \"10:00\", to: \"16:00\"}]\n", None)]
fn local_times_without_a_zone_are_utc(#[case] kind: &str, #[case] spec: &str, #[case] path: Option<&str>) {
    let expected: Vec<String> = path
        .iter()
        .map(|path| format!("warning: {path}: are in UTC, as no zone is named: write `timeZone` beside them, such as Europe/Berlin, or UTC if that is meant"))
        .collect();
    assert_eq!(said(&object(kind, "s", spec)), expected);
}

/// A query that selects nothing has no data, and without data nothing is raised: it looks like a rollout that hangs.
#[test]
fn places_that_no_value_goes_to_are_named() {
    let template =
        |query: &str| object("MetricTemplate", "errors", &format!("{TEMPLATE}  promql: {query}\n"));
    let good = "sum(rate(errors{service=\"{{service}}\"}[5m]))";
    assert_eq!(said(&template(good)), [""; 0]);
    assert_eq!(
        said(&template("sum(rate(errors{service=\"$service\"}[5m]))")),
        ["warning: spec.args[0]: the query has no {{service}}: whatever is given for it changes nothing"]
    );

    let policy = |value: &str| {
        let triggers = |name: &str, value: &str| {
            format!(
                "  - {{name: {name}, metric: {{templateRef: {{name: errors}}, args: {{service: \"{value}\"}}}}, levels: [{{severity: Info, above: \"1\", action: Notify}}]}}\n"
            )
        };
        let triggers = triggers("one", "$(service)") + &triggers("two", value);
        template(good)
            + &object("RolloutPolicy", "p", &format!("  args: [{{name: service}}]\n  triggers:\n{triggers}"))
    };
    let literal = |value: &str| {
        vec![format!(
            "warning: spec.triggers[1].metric.args.service: {value:?} is taken as it stands: write $(service) for what the rollouts give in `policyArgs`"
        )]
    };
    assert_eq!(said(&policy("shop")), [""; 0]);
    assert_eq!(said(&policy("x-$(service)")), [""; 0]);
    for value in ["{{service}}", "$service", "${service}"] {
        assert_eq!(said(&policy(value)), literal(value));
    }
    let trigger = "  triggers:\n  - {name: e, metric: {templateRef: {name: errors}, args: {service: $(service)}}, levels: [{severity: Info, above: \"1\", action: Notify}]}\n";
    assert_eq!(
        said(&(template(good) + &rollout(&format!("{ALL}{RAMP}{trigger}")))),
        [
            "warning: spec.triggers[0].metric.args.service: \"$(service)\" is taken as it stands, as nothing is put in here: write the value itself"
        ]
    );
}

/// An app that has never failed has no series of failures.
#[rstest]
#[case::failures("100 * sum(rate(r{code=~\"5..\"}[5m])) / sum(rate(r[5m]))", true)]
#[case::in_brackets(
    "(sum(rate(r{code=\"500\",s=\"{{service}}\"}[5m]))) / (sum(rate(r{s=\"{{service}}\"}[5m])))",
    true
)]
#[case::filled_in("(sum(rate(r{code=~\"5..\"}[5m])) or 0 * sum(rate(r[5m]))) / sum(rate(r[5m]))", false)]
#[case::filled_in_from_nothing("(sum(rate(r{code=~\"5..\"}[5m])) or vector(0)) / sum(rate(r[5m]))", false)]
#[case::filled_in_as_a_whole("sum(rate(r{code=~\"5..\"}[5m])) / sum(rate(r[5m])) or vector(0)", false)]
#[case::all_but_some("sum(rate(r{code!~\"5..\"}[5m])) / sum(rate(r[5m]))", false)]
#[case::a_counter_of_its_own("sum(rate(failures[5m])) / sum(rate(r[5m]))", false)]
fn a_share_that_has_no_number_at_first_is_named(#[case] query: &str, #[case] is_silent: bool) {
    let template = object(
        "MetricTemplate",
        "t",
        &format!(
            "  sourceRef: {{name: prometheus}}\n  args: [{{name: service, default: x}}]\n  promql: '{query}'\n"
        ),
    );
    let warned =
        said(&template).iter().any(|line| line.starts_with("warning: spec.promql: gives no number until"));
    assert_eq!(warned, is_silent, "{:?}", said(&template));
}

/// `plan` shows such a rollout as completed, and half of the cohort never gets the feature.
#[rstest]
#[case::left_behind(
    "everyone: 100",
    Some("leaves a at 50% for good: name a beside everyone if it is to have the feature, too")
)]
#[case::named("a: 100, everyone: 100", None)]
#[case::kept_back_on_purpose("a: 95, everyone: 100", None)]
#[case::nobody_has_everything("everyone: 90", None)]
fn a_cohort_that_the_last_step_leaves_half_way_is_named(#[case] last: &str, #[case] expected: Option<&str>) {
    let spec = format!(
        "  cohorts: [{{name: a, match: {{attributes: {{plan: gold}}}}}}, {{name: everyone}}]\n  phases:\n  - {{name: ramp, ramp: {{percents: [5, 50]}}}}\n  - name: full\n    steps: [{{cohorts: {{{last}}}}}]\n"
    );
    let expected: Vec<String> = expected
        .iter()
        .map(|words| format!("warning: spec.phases[1].steps[0].cohorts: is the last step, and {words}"))
        .collect();
    assert_eq!(said(&rollout(&spec)), expected);
}

/// A limit of 5 % on everybody's errors, while 1 % have the feature: it could fail for all of them unseen. One of a policy is
/// also for the others and for later, so it is named only where nothing could show.
#[rstest]
#[case::of_the_rollout(true, "1%", Some(("spec.triggers[0].levels[0]", "errors")))]
#[case::of_more_users(true, "3%", None)]
#[case::of_a_policy(false, "0.2%", Some(("spec.phases", "p/errors")))]
#[case::of_a_policy_and_more_users(false, "1%", None)]
fn a_limit_that_a_few_users_cannot_reach_is_named(
    #[case] own: bool,
    #[case] share: &str,
    #[case] expected: Option<(&str, &str)>,
) {
    let trigger = "  triggers: [{name: errors, metric: {templateRef: {name: errors}, args: {service: shop}}, levels: [{severity: Critical, above: \"5\", for: 5m, action: ImmediateRollback}]}]\n";
    let spec = format!(
        "  cohorts: [{{name: staff, share: \"{share}\", match: {{attributes: {{staff: \"true\"}}}}}}, {{name: everyone, share: 90}}]\n  phases: [{{name: staff, steps: [{{cohorts: {{staff: 100}}}}]}}, {{name: ga, ramp: {{percents: [10, 100]}}}}]\n"
    );
    let query = "  promql: sum(rate(errors{service=\"{{service}}\"}[5m]))\n";
    let template = object("MetricTemplate", "errors", &format!("{TEMPLATE}{query}"));
    let files = match own {
        true => template + &rollout(&(spec + trigger)),
        false => {
            template + &object("RolloutPolicy", "p", trigger) + &rollout(&(spec + "  policyRef: {name: p}\n"))
        }
    };
    let few = share.trim_end_matches('%');
    let expected: Vec<String> = expected
        .iter()
        .map(|(path, name)| format!("warning: {path}: above 5 cannot tell at first: {share} of all users have the feature then, and were every request of theirs to fail, {name} would rise by about {few}; measure each cohort by itself with perCohort, or begin with more users"))
        .collect();
    assert_eq!(said(&files), expected);
}

/// One of the same name is there, and a newcomer sees it.
#[test]
fn what_is_in_another_namespace_is_said_to_be_there() {
    let policy = "apiVersion: sluice.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: p, namespace: guard}\nspec: {approvalAbove: 50}\n---\n";
    assert_eq!(
        said(&(policy.to_owned() + &rollout(&format!("{ALL}{RAMP}  policyRef: {{name: p}}\n")))),
        [
            "error: spec.policyRef.name: \"p\": there is no RolloutPolicy of this name in namespace default of the files: the one in guard is of no use here, as it is looked for beside the object"
        ]
    );
}

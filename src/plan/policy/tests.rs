//! What holds of a rollout that policies bind.

use rstest::rstest;

use super::*;
use crate::api::{FlagSetSpec, MicroTime};
use crate::plan::calendar::Closed;
use crate::plan::{Approval, Plan, compile};

const ROLLOUT: &str = "
cohorts: [{name: staff}, {name: all}]
phases:
- {name: beta, steps: [{name: one, cohorts: {staff: 100}}]}
- {name: ga, ramp: {cohorts: [all], percents: [10, 50, 100]}}";

fn policy(spec: &str) -> RolloutPolicySpec {
    serde_saphyr::from_str(spec).unwrap()
}

fn rollout(more: &str) -> FeatureRollout {
    let mut rollout =
        FeatureRollout::new("r", serde_saphyr::from_str(&format!("{ROLLOUT}\n{more}")).unwrap());
    rollout.metadata.namespace = Some("shop".to_owned());
    rollout
}

/// The plan of a rollout of namespace `shop` that names policy `own`, in a set that names `set`, with `cluster` of another
/// namespace; each where it is given.
fn composed(
    more: &str,
    own: Option<&str>,
    set: Option<&str>,
    cluster: Option<&str>,
) -> Result<Plan, Vec<FieldError>> {
    let names = [own.map(|_| "policyRef: {name: own}"), set.map(|_| "flagSetRef: {name: s}")];
    let names = names.into_iter().flatten().collect::<Vec<_>>().join("\n");
    let rollout = rollout(&format!("{names}\n{more}"));
    let specs = [own, set, cluster].map(|spec| spec.map(policy));
    let places = [
        (Binding::Rollout, "shop", "own"),
        (Binding::FlagSet, "shop", "set"),
        (Binding::Cluster, "ops", "cluster"),
    ];
    let policies: Vec<Bound<'_>> = specs
        .iter()
        .zip(places)
        .filter_map(|(spec, (binding, namespace, name))| {
            Some(Bound { binding, namespace, name, found: Found::Spec(spec.as_ref()?) })
        })
        .collect();
    let flag_set =
        FlagSet::new("s", serde_saphyr::from_str::<FlagSetSpec>("policyRef: {name: set}").unwrap());
    compile(&rollout, Refs { flag_set: set.map(|_| &flag_set), policies: &policies, ..Refs::default() })
}

fn errors(result: Result<Plan, Vec<FieldError>>) -> Vec<String> {
    result.unwrap_err().iter().map(FieldError::to_string).collect()
}

fn trigger(name: &str, more: &str) -> String {
    format!(
        "{{name: {name}, metric: {{templateRef: {{name: m}}{more}}}, \
         levels: [{{severity: Critical, above: '1', action: ImmediateRollback}}]}}"
    )
}

fn t(text: &str) -> MicroTime {
    text.parse().unwrap()
}

#[test]
fn triggers_add_up_under_the_names_of_their_policies() {
    let one = format!("triggers: [{}]", trigger("errors", ""));
    let plan = composed(&one, Some(&one), Some(&one), Some(&one)).unwrap();
    let names: Vec<&str> = plan.guard.triggers.iter().map(|trigger| trigger.name.as_str()).collect();
    assert_eq!(names, ["errors", "own/errors", "set/errors", "cluster/errors"]);
    // The template of a cluster's policy is that of the operator's namespace, which tenants cannot write.
    let templates: Vec<Option<&str>> =
        plan.guard.triggers.iter().map(|trigger| trigger.template_namespace.as_deref()).collect();
    assert_eq!(templates, [None, None, None, Some("ops")]);
    let bound: Vec<_> =
        plan.policies.iter().map(|p| (p.name.as_str(), p.namespace.as_deref(), p.binding)).collect();
    assert_eq!(
        bound,
        [
            ("own", None, Binding::Rollout),
            ("set", None, Binding::FlagSet),
            ("cluster", Some("ops"), Binding::Cluster)
        ]
    );
    // What is kept for when the spec is invalid is all of it, and reads back the same.
    let kept = serde_json::to_string(&plan.guard_spec).unwrap();
    let read: GuardSpec = serde_json::from_str(&kept).unwrap();
    assert_eq!(crate::plan::guard(&read, &[], &mut Vec::new()), plan.guard);
}

#[test]
fn what_is_kept_of_a_rollout_without_policies_is_written_as_it_always_was() {
    let plan = composed(&format!("triggers: [{}]", trigger("errors", "")), None, None, None).unwrap();
    assert_eq!(
        serde_json::to_string(&plan.guard_spec).unwrap(),
        r#"{"triggers":[{"name":"errors","metric":{"templateRef":{"name":"m"}},"levels":[{"severity":"Critical","above":"1","action":"ImmediateRollback"}]}]}"#
    );
}

#[test]
fn a_policy_that_is_named_twice_binds_once_and_as_the_nearest() {
    let spec = policy(&format!("triggers: [{}]", trigger("errors", "")));
    let found = Found::Spec(&spec);
    let policies = [
        Bound { binding: Binding::Rollout, namespace: "shop", name: "p", found },
        Bound { binding: Binding::FlagSet, namespace: "shop", name: "p", found },
        Bound { binding: Binding::Cluster, namespace: "shop", name: "p", found },
    ];
    let set = FlagSet::new("s", serde_saphyr::from_str::<FlagSetSpec>("policyRef: {name: p}").unwrap());
    let rollout = rollout("policyRef: {name: p}\nflagSetRef: {name: s}");
    let plan =
        compile(&rollout, Refs { flag_set: Some(&set), policies: &policies, ..Refs::default() }).unwrap();
    assert_eq!(plan.guard.triggers.len(), 1);
    assert_eq!(plan.policies.len(), 1);
    assert_eq!(plan.policies[0].binding, Binding::Rollout);
}

#[test]
fn a_tenants_policy_of_the_name_of_the_clusters_takes_no_name_from_it() {
    let spec = policy(&format!("triggers: [{}]", trigger("errors", "")));
    let found = Found::Spec(&spec);
    let policies = [
        Bound { binding: Binding::Rollout, namespace: "shop", name: "p", found },
        Bound { binding: Binding::Cluster, namespace: "ops", name: "p", found },
    ];
    let rollout = rollout("policyRef: {name: p}");
    let plan = compile(&rollout, Refs { policies: &policies, ..Refs::default() }).unwrap();
    let names: Vec<&str> = plan.guard.triggers.iter().map(|trigger| trigger.name.as_str()).collect();
    assert_eq!(names, ["shop/p/errors", "p/errors"]);
}

#[test]
fn windows_must_all_allow_and_freezes_add_up() {
    let plan = composed(
        "schedule: {windows: [{from: '08:00', to: '12:00'}]}",
        Some("windows: [{days: [Mon, Tue], from: '09:00', to: '18:00'}]"),
        Some("freezes: [{name: audit, from: '2025-09-09', to: '2025-09-09'}]"),
        // In Berlin, at +02:00, whatever the rollout's zone is.
        Some("{timeZone: Europe/Berlin, freezes: [{name: winter, from: '12-20', to: '01-02', yearly: true}], windows: [{from: '10:00', to: '13:30'}]}"),
    )
    .unwrap();
    let closed = |at: &str| plan.calendar.closed(t(at));
    let window = |policy: Option<&str>| Some(Closed::Window(policy.map(str::to_owned)));
    assert_eq!(closed("2025-09-08T09:30:00Z"), None);
    assert_eq!(closed("2025-09-08T12:30:00Z"), window(None));
    assert_eq!(closed("2025-09-08T08:30:00Z"), window(Some("own")));
    assert_eq!(closed("2025-09-08T11:45:00Z"), window(Some("cluster")));
    assert_eq!(closed("2025-09-09T09:30:00Z"), Some(Closed::Freeze("set/audit".to_owned())));
    assert_eq!(closed("2025-12-22T09:30:00Z"), Some(Closed::Freeze("cluster/winter".to_owned())));
    assert!(plan.zone_data.is_some(), "the zone of a policy counts");
}

#[rstest]
#[case::own("rollback: {gradual: {ladder: [40, 0], every: 1m}}", 40)]
#[case::of_the_named_one("", 30)]
fn the_nearest_rollback_and_monitoring_win(#[case] own: &str, #[case] first: u32) {
    let of = |rung: u32| {
        format!(
            "{{rollback: {{gradual: {{ladder: [{rung}, 0], every: 1m}}, partial: {{keep: [staff, nobody]}}}}, \
             monitoring: [{{name: m{rung}, interval: {rung}m}}]}}"
        )
    };
    let plan = composed(own, Some(&of(30)), Some(&of(20)), Some(&of(10))).unwrap();
    assert_eq!(plan.guard.ladder[0], Percent::from_whole(first).unwrap());
    // Each part by itself; a cohort that the rollout does not have means nothing.
    assert_eq!(plan.guard.keep, ["staff"]);
    assert_eq!(plan.guard.monitoring, [(None, jiff::SignedDuration::from_mins(30))]);
    let plan = composed(own, None, Some("{}"), Some(&of(10))).unwrap();
    assert_eq!(plan.guard.monitoring, [(None, jiff::SignedDuration::from_mins(10))]);
}

#[test]
fn the_lowest_approval_above_counts_and_marks_the_steps_that_raise_over_it() {
    let plan = composed(
        "approvals: [{phase: ga, step: 50%}]",
        Some("approvalAbove: 80"),
        Some("approvalAbove: 20"),
        None,
    )
    .unwrap();
    let above = plan.approval_above.clone().unwrap();
    assert_eq!((above.percent, above.policy.as_str()), (Percent::from_whole(20).unwrap(), "set"));
    let approvals: Vec<(Approval, bool)> =
        plan.steps.iter().map(|step| (step.approval, step.approval_by_policy)).collect();
    assert_eq!(
        approvals,
        [
            (Approval::Missing, true),
            (Approval::NotRequired, false),
            (Approval::Given(None), true),
            (Approval::Missing, true)
        ]
    );
}

#[test]
fn arguments_come_from_the_rollout_or_their_defaults_and_missing_ones_are_named() {
    let args = ", args: {service: $(service), zone: eu-$(zone)}";
    let spec = format!(
        "{{args: [{{name: service}}, {{name: zone, default: west}}], triggers: [{}, {}]}}",
        trigger("errors", args),
        trigger("latency", args)
    );
    let plan = composed("policyArgs: {service: dreams}", Some(&spec), None, None).unwrap();
    let given = &plan.guard.triggers[0].metric.args;
    assert_eq!((given["service"].as_str(), given["zone"].as_str()), ("dreams", "eu-west"));
    assert_eq!(
        errors(composed("", Some(&spec), Some(&spec), None)),
        ["spec.policyArgs.service: is needed by RolloutPolicy own, set, which has no default for it"]
    );
    let spec = policy(&spec);
    let policies =
        [Bound { binding: Binding::Rollout, namespace: "shop", name: "own", found: Found::Spec(&spec) }];
    let unused = rollout("policyRef: {name: own}\npolicyArgs: {service: a, sevrice: b}");
    let unused = unused_args(&unused, Refs { policies: &policies, ..Refs::default() });
    assert_eq!(unused.len(), 1);
    assert_eq!(unused[0].path, "spec.policyArgs.sevrice");
}

#[test]
fn a_missing_policy_may_still_come_and_an_unreadable_one_is_named() {
    let named = rollout("policyRef: {name: p}");
    let missing = compile(&named, Refs::default()).unwrap_err();
    assert_eq!(missing.len(), 1);
    assert!(missing[0].missing);
    assert_eq!(missing[0].to_string(), "spec.policyRef.name: \"p\": there is no such RolloutPolicy");
    let set = FlagSet::new("s", serde_saphyr::from_str::<FlagSetSpec>("policyRef: {name: p}").unwrap());
    let member = rollout("flagSetRef: {name: s}");
    let missing = compile(&member, Refs { flag_set: Some(&set), ..Refs::default() }).unwrap_err();
    assert_eq!(missing[0].path, "FlagSet spec.policyRef.name");
    let found = Found::Unreadable("unknown variant");
    let policies = [Bound { binding: Binding::Cluster, namespace: "ops", name: "winter", found }];
    let unreadable = compile(&rollout(""), Refs { policies: &policies, ..Refs::default() });
    assert_eq!(errors(unreadable), ["RolloutPolicy ops/winter: cannot be read: unknown variant"]);
}

#[rstest]
#[case::zone("timeZone: Mars/Base", "spec.timeZone")]
#[case::window("windows: [{from: '10:00', to: '09:00'}]", "spec.windows[0]")]
#[case::freeze("freezes: [{name: x, from: '2025-01-02', to: '2025-01-01'}]", "spec.freezes[0]")]
#[case::ladder("rollback: {gradual: {ladder: [50, 10], every: 10m}}", "spec.rollback.gradual.ladder")]
#[case::monitoring("monitoring: [{name: a, interval: 0s}]", "spec.monitoring[0].interval")]
#[case::argument_twice("args: [{name: a}, {name: a}]", "spec.args[1].name")]
#[case::selector(
    "namespaceSelector: {matchExpressions: [{key: a, operator: In}]}",
    "spec.namespaceSelector.matchExpressions[0].values"
)]
#[case::unknown_argument(
    "triggers: [{name: e, metric: {templateRef: {name: m}, args: {a: $(b)}}, levels: [{severity: Info, above: '1', action: Notify}]}]",
    "spec.triggers[0].metric.args.a"
)]
#[case::open_bracket(
    "triggers: [{name: e, metric: {templateRef: {name: m}, args: {a: '$(b'}}, levels: [{severity: Info, above: '1', action: Notify}]}]",
    "spec.triggers[0].metric.args.a"
)]
#[case::no_bound(
    "triggers: [{name: e, metric: {templateRef: {name: m}}, levels: [{severity: Info, action: Notify}]}]",
    "spec.triggers[0].levels[0]"
)]
fn a_policy_that_is_wrong_by_itself_is_wrong_where_it_binds(#[case] spec: &str, #[case] path: &str) {
    let mut own = Vec::new();
    check_policy(&policy(spec), &mut own);
    assert_eq!(own.iter().map(|error| error.path.as_str()).collect::<Vec<_>>(), [path]);
    let bound = composed("", None, None, Some(spec)).unwrap_err();
    assert_eq!(bound[0].path, format!("RolloutPolicy ops/cluster {path}"));
}

#[test]
fn a_partial_rollback_of_a_policy_needs_somebody_to_say_what_it_leaves() {
    let spec = "triggers: [{name: e, metric: {templateRef: {name: m}}, levels: [{severity: Info, above: '1', action: PartialRollback}]}]";
    let mut own = Vec::new();
    check_policy(&policy(spec), &mut own);
    assert_eq!(own, [], "the rollouts may say it");
    let without = errors(composed("", None, Some(spec), None));
    assert!(without[0].starts_with("RolloutPolicy set spec.triggers[0].levels[0].action"), "{without:?}");
    assert!(composed("rollback: {partial: {keep: [staff]}}", None, Some(spec), None).is_ok());
}

#[test]
fn there_is_an_end_to_how_much_binds() {
    let spec = RolloutPolicySpec::default();
    let names: Vec<String> = (0..9).map(|i| format!("p{i}")).collect();
    let bound = |count: usize| -> Vec<Bound<'_>> {
        let found = Found::Spec(&spec);
        let policies = names.iter().take(count);
        policies.map(|name| Bound { binding: Binding::Cluster, namespace: "ops", name, found }).collect()
    };
    assert!(compile(&rollout(""), Refs { policies: &bound(8), ..Refs::default() }).is_ok());
    let many = errors(compile(&rollout(""), Refs { policies: &bound(9), ..Refs::default() }));
    assert!(many[0].starts_with("spec.policyRef: 9 policies bind the rollout, at most 8 may: "), "{many:?}");
    // Pairs of trigger and cohort, those of all policies together.
    let sixteen: Vec<String> = (0..16)
        .map(|i| trigger(&format!("t{i}"), "").replace("levels", "perCohort: {label: c}, levels"))
        .collect();
    let sixteen = format!("triggers: [{}]", sixteen.join(", "));
    assert!(composed("", Some(&sixteen), Some(&sixteen), None).is_ok(), "64 pairs");
    let more = format!("triggers: [{}]", trigger("one", ""));
    let many = errors(composed(&more, Some(&sixteen), Some(&sixteen), None));
    assert!(many[0].starts_with("spec.triggers: watch 65 pairs"), "{many:?}");
}

/// What watches is stored and kept for each rollout that a policy binds, and no schema bounds the keys of a map.
#[test]
fn no_argument_has_a_name_that_no_template_can_have() {
    let long = "n".repeat(900);
    let spec = format!("triggers: [{}]", trigger("errors", &format!(", args: {{{long}: a, fine: b}}")));
    for result in [composed(&spec, None, None, None), composed("", Some(&spec), None, None)] {
        let errors = errors(result);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("no template has an argument of that name") && errors[0].len() < 300);
    }
    let mut wrong = Vec::new();
    check_policy(&policy(&spec), &mut wrong);
    assert_eq!(wrong.len(), 1);
}

#[test]
fn however_long_what_is_wrong_it_is_a_line_of_bounded_length() {
    let error = |path: &str| FieldError::new(path, "is unknown");
    assert_eq!(crate::plan::join_errors(&[error("a"), error("b")]), "a: is unknown; b: is unknown");
    let long: Vec<FieldError> = (0..100).map(|_| error(&"k".repeat(300))).collect();
    assert!(crate::plan::join_errors(&long).len() <= 4096);
    assert!(crate::plan::join_errors(&[error(&"k".repeat(300_000))]).len() <= 4096);
}

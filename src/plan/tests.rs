//! What is wrong with a spec is said at its path, and all of it at once.

use rstest::rstest;

use super::{FieldError, Refs, compile};
use crate::api::featurerollout::FeatureRolloutSpec;
use crate::api::{CohortSet, CohortSetSpec, FeatureRollout, FlagSet, FlagSetSpec};

fn rollout(spec: &str) -> FeatureRollout {
    FeatureRollout::new("r", serde_saphyr::from_str::<FeatureRolloutSpec>(spec).unwrap())
}

fn paths(errors: &[FieldError]) -> Vec<&str> {
    errors.iter().map(|error| error.path.as_str()).collect()
}

const COHORTS: &str = "cohorts: [{name: a}, {name: b}]";
const PHASES: &str = "phases: [{name: ga, ramp: {percents: [100]}}]";

#[rstest]
#[case::no_phases("phases: []", &["spec.phases"])]
#[case::same_phase_twice(
    "phases: [{name: x, ramp: {percents: [1]}}, {name: y, ramp: {percents: [1]}}, {name: x, ramp: {percents: [1]}}]",
    &["spec.phases[2].name"]
)]
#[case::same_step_twice(
    "phases: [{name: x, steps: [{name: s, cohorts: {a: 1}}, {name: s, cohorts: {a: 2}}]}]",
    &["spec.phases[0].steps[1].name"]
)]
#[case::same_step_in_two_phases(
    "phases: [{name: x, steps: [{name: s, cohorts: {a: 1}}]}, {name: y, steps: [{name: s, cohorts: {a: 2}}]}]",
    &[]
)]
#[case::steps_and_ramp(
    "phases: [{name: x, steps: [{cohorts: {a: 1}}], ramp: {percents: [1]}}]",
    &["spec.phases[0]"]
)]
#[case::neither_steps_nor_ramp("phases: [{name: x}]", &["spec.phases[0]"])]
#[case::no_steps("phases: [{name: x, steps: []}]", &["spec.phases[0].steps"])]
#[case::no_percents("phases: [{name: x, ramp: {percents: []}}]", &["spec.phases[0].ramp.percents"])]
#[case::falling_ramp("phases: [{name: x, ramp: {percents: [5, 10, 10]}}]", &["spec.phases[0].ramp.percents[2]"])]
#[case::no_cohorts_in_step("phases: [{name: x, steps: [{cohorts: {}}]}]", &["spec.phases[0].steps[0].cohorts"])]
#[case::unknown_cohort_in_step(
    "phases: [{name: x, steps: [{cohorts: {a: 1}}, {cohorts: {z: 1, a: 2, y: 1}}]}]",
    &["spec.phases[0].steps[1].cohorts.y", "spec.phases[0].steps[1].cohorts.z"]
)]
#[case::unknown_cohort_in_ramp(
    "phases: [{name: x, ramp: {cohorts: [a, z], percents: [1]}}]",
    &["spec.phases[0].ramp.cohorts[1]"]
)]
#[case::week_without_start("phases: [{name: x, steps: [{cohorts: {a: 1}, week: 2}]}]", &["spec.phases[0].steps[0].week"])]
#[case::week_and_at(
    "phases: [{name: x, steps: [{cohorts: {a: 1}, week: 2, at: '2025-01-01T00:00:00Z'}]}]",
    &["spec.phases[0].steps[0]"]
)]
#[case::week_0(
    "{schedule: {startAt: '2025-01-01T00:00:00Z'}, phases: [{name: x, steps: [{cohorts: {a: 1}, week: 0}]}]}",
    &["spec.phases[0].steps[0].week"]
)]
#[case::approval_without_name(
    "phases: [{name: x, steps: [{cohorts: {a: 1}, approval: Required}]}]",
    &["spec.phases[0].steps[0].name"]
)]
fn phases_and_steps(#[case] rest: &str, #[case] expected: &[&str]) {
    let spec = if let Some(inner) = rest.strip_prefix('{') {
        format!("{{{}, {inner}", COHORTS)
    } else {
        format!("{COHORTS}\n{rest}")
    };
    let errors = compile(&rollout(&spec), Refs::default()).err().unwrap_or_default();
    assert_eq!(paths(&errors), expected, "{errors:?}");
}

#[rstest]
#[case::same_cohort_twice("cohorts: [{name: a}, {name: b}, {name: a}]", &["spec.cohorts[2].name"])]
#[case::empty("cohorts: []", &["spec.cohorts"])]
#[case::none("{}", &["spec.cohorts"])]
#[case::baseline("{cohorts: [{name: a}], baseline: {z: 1}}", &["spec.baseline.z"])]
#[case::attempt("{cohorts: [{name: a}], attempt: 0}", &["spec.attempt"])]
#[case::itself(
    "{cohorts: [{name: a}], dependsOn: [{name: x, condition: Completed}, {name: r, phase: ga}]}",
    &["spec.dependsOn[1].name"]
)]
#[case::dependency_on_both(
    "{cohorts: [{name: a}], dependsOn: [{name: x, condition: Completed, phase: ga}]}",
    &["spec.dependsOn[0]"]
)]
#[case::dependency_on_nothing("{cohorts: [{name: a}], dependsOn: [{name: x}]}", &["spec.dependsOn[0]"])]
#[case::zone("{cohorts: [{name: a}], schedule: {timeZone: Mars/Olympus}}", &["spec.schedule.timeZone"])]
#[case::window_of_nothing(
    "{cohorts: [{name: a}], schedule: {windows: [{from: '09:00', to: '16:00'}, {from: '09:00', to: '09:00'}]}}",
    &["spec.schedule.windows[1]"]
)]
#[case::window_reversed(
    "{cohorts: [{name: a}], schedule: {windows: [{from: '22:00', to: '06:00'}]}}",
    &["spec.schedule.windows[0]"]
)]
#[case::window_without_days(
    "{cohorts: [{name: a}], schedule: {windows: [{from: '22:00', to: '24:00'}, {days: [], from: '01:00', to: '06:00'}]}}",
    &["spec.schedule.windows[1].days"]
)]
#[case::freeze_reversed(
    "{cohorts: [{name: a}], schedule: {freezes: [{name: x, from: '2025-01-02T00:00:00Z', to: '2025-01-01T00:00:00Z'}]}}",
    &["spec.schedule.freezes[0]"]
)]
#[case::variants_of_mixed_types(
    "{cohorts: [{name: a}], feature: {variants: [{name: enabled, value: true}, {name: disabled, value: 'no'}, {name: c, value: 3}]}}",
    &["spec.feature.variants[1].value", "spec.feature.variants[2].value"]
)]
#[case::variant_null(
    "{cohorts: [{name: a}], feature: {variants: [{name: enabled, value: true}, {name: disabled, value: null}]}}",
    &["spec.feature.variants[1].value"]
)]
#[case::same_variant_twice(
    "{cohorts: [{name: a}], feature: {variants: [{name: enabled, value: true}, {name: disabled, value: false}, {name: enabled, value: true}]}}",
    &["spec.feature.variants[0].name", "spec.feature.variants[2].name"]
)]
#[case::variant_that_go_does_not_find(
    "{cohorts: [{name: a}], feature: {variants: [{name: 'a\"b', value: 1}, {name: 'a<b', value: 2}], control: 'a\"b', treatment: 'a<b'}}",
    &["spec.feature.variants[0].name", "spec.feature.variants[1].name"]
)]
#[case::bucket_by_no_name("{cohorts: [{name: a}], feature: {bucketBy: org.}}", &["spec.feature.bucketBy"])]
#[case::group_without_conditions(
    "{cohorts: [{name: a, match: {anyOf: [{attributes: {a: b}}, {}]}}]}",
    &["spec.cohorts[0].match.anyOf[1]"]
)]
#[case::at_sign_where_the_cohort_follows(
    "{cohorts: [{name: a}], feature: {variantNames: WithCohort, variants: [{name: a@b, value: 1}, {name: x, value: 2}], control: x, treatment: a@b}}",
    &["spec.feature.variants[0].name"]
)]
#[case::treatment_no_variant("{cohorts: [{name: a}], feature: {treatment: blue}}", &["spec.feature.treatment"])]
#[case::control_no_variant("{cohorts: [{name: a}], feature: {control: red}}", &["spec.feature.control"])]
#[case::control_is_treatment("{cohorts: [{name: a}], feature: {control: enabled}}", &["spec.feature.treatment"])]
fn the_rest_of_a_spec(#[case] rest: &str, #[case] expected: &[&str]) {
    let spec = match rest.strip_suffix('}') {
        Some("{") => format!("{{{PHASES}}}"),
        Some(inner) if rest.starts_with('{') => format!("{inner}, {PHASES}}}"),
        _ => format!("{rest}\n{PHASES}"),
    };
    let errors = compile(&rollout(&spec), Refs::default()).err().unwrap_or_default();
    assert_eq!(paths(&errors), expected, "{errors:?}");
    assert!(errors.iter().all(|error| !error.missing && !error.message.is_empty()));
}

#[test]
fn all_of_it_at_once() {
    let errors = compile(
        &rollout(
            "
feature: {variants: [{name: enabled, value: true}, {name: disabled, value: 0}], treatment: disabled}
cohorts: [{name: a}, {name: a}]
cohortSetRef: {name: s}
baseline: {z: 5}
attempt: 0
schedule:
  timeZone: Mars/Olympus
  windows: [{from: '10:00', to: '09:00'}]
  freezes: [{name: x, from: '2025-01-01T00:00:00Z', to: '2025-01-01T00:00:00Z'}]
dependsOn: [{name: r, condition: Completed}]
phases:
- {name: x, steps: [{cohorts: {z: 1}, week: 1}], ramp: {percents: [1]}}
- {name: x, steps: [{name: s, cohorts: {z: 1}, week: 1}, {name: s, cohorts: {a: 1}}]}
- {name: y}",
        ),
        Refs::default(),
    )
    .unwrap_err();
    let mut found = paths(&errors);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "spec.attempt",
            "spec.baseline.z",
            "spec.cohortSetRef",
            "spec.cohorts[1].name",
            "spec.dependsOn[0].name",
            "spec.feature.treatment",
            "spec.feature.variants[1].value",
            "spec.phases[0]",
            "spec.phases[1].name",
            "spec.phases[1].steps[0].cohorts.z",
            "spec.phases[1].steps[0].week",
            "spec.phases[1].steps[1].name",
            "spec.phases[2]",
            "spec.schedule.freezes[0]",
            "spec.schedule.timeZone",
            "spec.schedule.windows[0]",
        ]
    );
}

#[test]
fn a_value_is_shown_where_it_helps() {
    let spec = format!("{COHORTS}\nschedule: {{timeZone: Mars/Olympus}}\n{PHASES}");
    let errors = compile(&rollout(&spec), Refs::default()).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "spec.schedule.timeZone: \"Mars/Olympus\": is no time zone of the IANA database, such as America/Los_Angeles"
    );
}

#[rstest]
// 09-10 and 10-11 of one zone never meet.
#[case::never("{windows: [{from: '10:00', to: '11:00'}]}", &["spec.schedule.windows"])]
#[case::other_days("{windows: [{days: [Tue], from: '09:00', to: '10:00'}]}", &["spec.schedule.windows"])]
// 10:00-11:00 in Berlin is 09-10 UTC in winter, and never in summer: that is some time.
#[case::some_time("{timeZone: Europe/Berlin, windows: [{from: '10:00', to: '11:00'}]}", &[])]
#[case::zone_of_the_set("{timeZone: Mars/Olympus}", &["FlagSet spec.timeZone"])]
#[case::window_of_the_set("{windows: [{from: '10:00', to: '09:00'}]}", &["FlagSet spec.windows[0]"])]
#[case::freeze_of_the_set(
    "{freezes: [{name: x, from: '2025-01-02T00:00:00Z', to: '2025-01-01T00:00:00Z'}]}",
    &["FlagSet spec.freezes[0]"]
)]
fn with_a_flag_set(#[case] set: &str, #[case] expected: &[&str]) {
    let set = FlagSet::new("s", serde_saphyr::from_str::<FlagSetSpec>(set).unwrap());
    let spec = format!(
        "
flagSetRef: {{name: s}}
schedule: {{timeZone: UTC, windows: [{{days: [Mon], from: '09:00', to: '10:00'}}]}}
{COHORTS}
{PHASES}"
    );
    let refs = Refs { flag_set: Some(&set), ..Refs::default() };
    let errors = compile(&rollout(&spec), refs).err().unwrap_or_default();
    assert_eq!(paths(&errors), expected, "{errors:?}");
}

#[test]
fn objects_that_are_missing_may_still_come() {
    let spec = format!("flagSetRef: {{name: s}}\ncohortSetRef: {{name: c}}\n{PHASES}");
    let errors = compile(&rollout(&spec), Refs::default()).unwrap_err();
    assert_eq!(paths(&errors), ["spec.flagSetRef.name", "spec.cohortSetRef.name"]);
    assert!(errors.iter().all(|error| error.missing));
    // Through the FlagSet's default.
    let set = FlagSet::new("s", serde_saphyr::from_str("cohortSetRef: {name: c}").unwrap());
    let spec = format!("flagSetRef: {{name: s}}\n{PHASES}");
    let refs = Refs { flag_set: Some(&set), ..Refs::default() };
    let errors = compile(&rollout(&spec), refs).unwrap_err();
    assert_eq!(paths(&errors), ["FlagSet spec.cohortSetRef.name"]);
    let cohorts = CohortSet::new(
        "c",
        serde_saphyr::from_str::<CohortSetSpec>("cohorts: [{name: a}, {name: a}]").unwrap(),
    );
    let refs = Refs { flag_set: Some(&set), cohort_set: Some(&cohorts), ..Refs::default() };
    let errors = compile(&rollout(&spec), refs).unwrap_err();
    assert_eq!(paths(&errors), ["CohortSet c spec.cohorts[1].name"]);
}

/// What is valid, and makes no sense, is remarked on at its place.
#[rstest]
#[case::levels_that_only_notify("action: Notify", "missingFor: 2m", Some("has no effect"))]
#[case::ignored(
    "action: Pause",
    "missingFor: 2m, onNoData: Ignore, onProviderError: Ignore",
    Some("has no effect")
)]
#[case::one_of_two_ignored("action: Pause", "missingFor: 2m, onNoData: Ignore", None)]
#[case::a_trial_that_may_stop_raises("action: Notify", "missingFor: 2m, onNoData: Hold", None)]
#[case::a_week("action: Pause", "missingFor: 168h", Some("is longer than a day"))]
#[case::a_day("action: Pause", "missingFor: 24h", None)]
#[case::none_of_it("action: Notify", "interval: 1m", None)]
fn missing_for_where_it_makes_no_sense(
    #[case] action: &str,
    #[case] fields: &str,
    #[case] remark: Option<&str>,
) {
    let spec = rollout(&format!(
        "
{COHORTS}
{PHASES}
triggers: [{{name: t, metric: {{templateRef: {{name: m}}}}, levels: [{{severity: Info, above: '1', {action}}}], {fields}}}]"
    ));
    let remarks = super::guard::remarks(&super::GuardSpec::of(&spec.spec));
    assert_eq!(remarks.len(), usize::from(remark.is_some()), "{remarks:?}");
    for (found, expected) in remarks.iter().zip(remark) {
        assert_eq!(found.path, "spec.triggers[0].missingFor");
        assert!(found.message.starts_with(expected), "{found}");
    }
}

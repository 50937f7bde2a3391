//! Steps, ramps, holds, dates, baselines, lowering, exposure: expected instants worked out by hand.

use rstest::rstest;

use super::support::{assert_timeline, lines, plan, plan_of_objects};

#[test]
fn a_ramp_takes_a_percentage_every_so_often() {
    // 8 + 2 days, 10 + 2, and the last hold 12 + 2.
    assert_timeline(
        &plan(
            "
cohorts: [{name: all, share: 100}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, ramp: {percents: [5, '25.5%', 100], every: 48h}}]",
        ),
        &[
            "2025-09-08T09:00:00Z ga/1 Step all=5% 5%",
            "2025-09-10T09:00:00Z ga/2 Step all=25.5% 25.5%",
            "2025-09-12T09:00:00Z ga/3 Step all=100% 100%",
            "2025-09-14T09:00:00Z completed",
        ],
    );
}

#[test]
fn a_rollout_without_a_start_begins_now_and_a_ramp_holds_a_day() {
    let plan = plan("{cohorts: [{name: all}], phases: [{name: ga, ramp: {percents: [1, 2]}}]}");
    assert_eq!(
        lines(&plan, "2025-01-31T23:30:00Z"),
        [
            "2025-01-31T23:30:00Z ga/1 Step all=1% 1%",
            "2025-02-01T23:30:00Z ga/2 Step all=2% 2%",
            "2025-02-02T23:30:00Z completed",
        ]
    );
}

#[test]
fn phases_follow_each_other_and_steps_name_some_of_the_cohorts() {
    // early 168h (default holds 24h elsewhere): 8 + 7 = 15; 15 + 1 = 16; 16 + 12h = 16T21; + 24h.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a, share: 10}, {name: b, share: 90}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases:
- name: beta
  steps: [{cohorts: {a: 100}, hold: 168h}]
- name: ga
  steps: [{cohorts: {b: 10}}, {cohorts: {b: 50}, hold: 12h}]
- {name: tail, ramp: {cohorts: [b], percents: [100]}}",
        ),
        &[
            "2025-09-08T09:00:00Z beta/1 Step a=100% b=0% 10%",
            "2025-09-15T09:00:00Z ga/1 Step a=100% b=10% 19%",
            "2025-09-16T09:00:00Z ga/2 Step a=100% b=50% 55%",
            "2025-09-16T21:00:00Z tail/1 Step a=100% b=100% 100%",
            "2025-09-17T21:00:00Z completed",
        ],
    );
}

/// The steps stand after a start of 2025-09-08T09:00Z and each asks one per cent more.
#[rstest]
// No dates: 24h.
#[case::undated("[{}, {}]", &["08T09", "09T09"], "10T09")]
// 10:00 and 16:00 are 6h apart, shorter than 24h; the last has no next and keeps 24h.
#[case::two_dates_close("[{at: 08T10}, {at: 08T16}]", &["08T10", "08T16"], "09T16")]
// 12 days apart: 24h, then the date.
#[case::two_dates_far("[{at: 08T10}, {at: 20T10}]", &["08T10", "20T10"], "21T10")]
// Only one of two neighbours dated: 24h.
#[case::one_date("[{at: 08T10}, {}]", &["08T10", "09T10"], "10T10")]
// An undated one between two dated ones: 24h after the first, 24h after it, though the date is 12h off.
#[case::undated_between("[{at: 08T10}, {}, {at: 08T22}]", &["08T10", "09T10", "10T10"], "11T10")]
// A hold that is given counts, even beyond the next date.
#[case::hold_beyond_date("[{at: 08T10, hold: 12h}, {at: 08T16}]", &["08T10", "08T22"], "09T22")]
// A date before the hold is over waits for it; a date before the start waits for the start.
#[case::date_before_start("[{at: 01T00}, {at: 08T00, hold: 1h}]", &["08T09", "09T09"], "09T10")]
// The same date twice: distance 0, so both at once: one entry with what the last asked.
#[case::same_date("[{at: 08T10}, {at: 08T10}]", &["08T10#2"], "09T10")]
// Dates in the wrong order: the distance is no less than nothing.
#[case::dates_reversed("[{at: 08T16}, {at: 08T10}]", &["08T16#2"], "09T16")]
// A hold of nothing: both at once.
#[case::no_hold("[{hold: 0s}, {hold: 0s}]", &["08T09#2"], "08T09")]
// week 1 is the start itself, week 2 seven days on: more than 24h apart.
#[case::weeks("[{week: 1}, {week: 2}]", &["08T09", "15T09"], "16T09")]
// A week and an instant are dates alike: 15T09 to 15T12 is 3h.
#[case::week_and_at("[{week: 2}, {at: 15T12}]", &["15T09", "15T12"], "16T12")]
fn holds_and_dates(#[case] steps: &str, #[case] entries: &[&str], #[case] completed: &str) {
    let mut yaml = String::new();
    for (i, step) in steps.trim_matches(['[', ']']).split("}, ").enumerate() {
        let step = step.trim_matches(['{', '}']);
        let comma = if step.is_empty() { "" } else { ", " };
        yaml.push_str(&format!("  - {{cohorts: {{a: {}}}{comma}{}}}\n", i + 1, dated(step)));
    }
    let plan = plan(&format!(
        "
cohorts: [{{name: a}}]
schedule: {{startAt: '2025-09-08T09:00:00Z'}}
phases:
- name: ga
  steps:
{yaml}"
    ));
    let mut expected: Vec<String> = entries
        .iter()
        .enumerate()
        .map(|(i, entry)| {
            let (at, number) = entry.split_once('#').unwrap_or((entry, ""));
            let number = if number.is_empty() { (i + 1).to_string() } else { number.to_owned() };
            format!("2025-09-{at}:00:00Z ga/{number} Step a={number}% {number}%")
        })
        .collect();
    expected.push(format!("2025-09-{completed}:00:00Z completed"));
    assert_eq!(lines(&plan, "2025-01-01T00:00:00Z"), expected);
}

/// `at: 08T10` as `at: '2025-09-08T10:00:00Z'`.
fn dated(step: &str) -> String {
    let fields = step.split(", ").map(|field| match field.strip_prefix("at: ") {
        Some(at) => format!("at: '2025-09-{at}:00:00Z'"),
        None => field.to_owned(),
    });
    fields.collect::<Vec<_>>().join(", ")
}

#[test]
fn a_hold_counts_from_the_entry_not_from_the_date() {
    // The first step's window opens at 15:00, five hours after its date; its hold is the distance of the dates, 6h:
    // 15:00 + 6h = 21:00 is outside of 15-20, so the next day's 15:00; the last hold is a day.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}]
schedule: {startAt: '2025-09-08T09:00:00Z', windows: [{from: '15:00', to: '20:00'}]}
phases:
- name: ga
  steps:
  - {cohorts: {a: 1}, at: '2025-09-08T10:00:00Z'}
  - {cohorts: {a: 2}, at: '2025-09-08T16:00:00Z'}",
        ),
        &[
            "2025-09-08T15:00:00Z ga/1 Step a=1% 1%",
            "2025-09-09T15:00:00Z ga/2 Step a=2% 2%",
            "2025-09-10T15:00:00Z completed",
        ],
    );
}

#[test]
fn a_baseline_is_no_entry_and_its_steps_lower_nobody() {
    // 25 asks less than the 50 served: nothing changes at the start; 75 comes a day later.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a, share: 100}]
baseline: {a: 50}
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, ramp: {percents: [25, 75]}}]",
        ),
        &["2025-09-09T09:00:00Z ga/2 Step a=75% 75%", "2025-09-10T09:00:00Z completed"],
    );
}

#[test]
fn a_graduated_feature_completes_without_an_entry() {
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}]
baseline: {a: 100}
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, ramp: {percents: [25, 100]}}]",
        ),
        &["2025-09-10T09:00:00Z completed"],
    );
}

#[test]
fn a_lowering_step_goes_down_and_waits_for_no_window() {
    // The window is Monday's only; 8 September 2025 is a Monday. Lowering on Tuesday; the raise of b in the third
    // step waits from Wednesday to Monday the 15th, and takes a down only then: a step is entered as a whole.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}, {name: b}]
schedule: {startAt: '2025-09-08T09:00:00Z', windows: [{days: [Mon], from: '09:00', to: '10:00'}]}
phases:
- name: ga
  steps: [{cohorts: {a: 100}}, {cohorts: {a: 20}}, {cohorts: {a: 10, b: 5}}]",
        ),
        &[
            "2025-09-08T09:00:00Z ga/1 Step a=100% b=0%",
            "2025-09-09T09:00:00Z ga/2 Step a=20% b=0%",
            "2025-09-15T09:00:00Z ga/3 Step a=10% b=5%",
            "2025-09-16T09:00:00Z completed",
        ],
    );
}

#[test]
fn a_step_that_changes_nothing_is_no_entry_but_keeps_its_hold() {
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, steps: [{cohorts: {a: 10}}, {cohorts: {a: 10}, hold: 48h}, {cohorts: {a: 20}}]}]",
        ),
        &[
            "2025-09-08T09:00:00Z ga/1 Step a=10% 10%",
            "2025-09-11T09:00:00Z ga/3 Step a=20% 20%",
            "2025-09-12T09:00:00Z completed",
        ],
    );
}

/// Exposure is Σ share × served, rounded half up to 0.001 % once, at the end.
#[rstest]
// 33.333 % × 33.333 % = 11.1108…%.
#[case("'33.333%'", "'33.333%'", "0", "11.111%")]
// 0.5 % × 0.1 % = 0.0005 %: half goes up.
#[case("'0.5%'", "'0.1%'", "0", "0.001%")]
// 0.5 % × 0.099 % = 0.000495 %: below half.
#[case("'0.5%'", "'0.099%'", "0", "0%")]
// Two halves are a whole one, not two rounded ones.
#[case("'0.5%'", "'0.1%'", "'0.1%'", "0.001%")]
#[case("50", "75", "10", "42.5%")]
fn exposure_rounds_half_up(#[case] share: &str, #[case] a: &str, #[case] b: &str, #[case] exposure: &str) {
    let plan = plan(&format!(
        "
cohorts: [{{name: a, share: {share}}}, {{name: b, share: {share}}}]
phases: [{{name: ga, steps: [{{cohorts: {{a: {a}, b: {b}}}}}]}}]"
    ));
    let timeline =
        crate::engine::forecast::timeline::timeline(&plan, super::support::t("2025-09-08T09:00:00Z"));
    assert_eq!(timeline.entries[0].exposure.unwrap().to_string(), exposure);
}

#[test]
fn exposure_is_unknown_without_a_share() {
    let plan = plan(
        "{cohorts: [{name: a, share: 50}, {name: b}], phases: [{name: ga, steps: [{cohorts: {a: 10}}]}]}",
    );
    assert_eq!(lines(&plan, "2025-09-08T09:00:00Z")[0], "2025-09-08T09:00:00Z ga/1 Step a=10% b=0%");
}

#[rstest]
#[case::catch_all("{name: a}", " 10%")]
#[case::written_out("{name: a, match: {}}", " 10%")]
#[case::some("{name: a, match: {attributes: {group: staff}}}", "")]
#[case::said_otherwise("{name: a, share: 50}", " 5%")]
fn a_single_cohort_that_takes_in_everyone_is_the_whole_audience(
    #[case] cohort: &str,
    #[case] exposure: &str,
) {
    let plan =
        plan(&format!("{{cohorts: [{cohort}], phases: [{{name: ga, steps: [{{cohorts: {{a: 10}}}}]}}]}}"));
    let expected = format!("2025-09-08T09:00:00Z ga/1 Step a=10%{exposure}");
    assert_eq!(lines(&plan, "2025-09-08T09:00:00Z")[0], expected);
}

#[test]
fn offline_approvals_are_given_and_nothing_is_suspended() {
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}]
suspend: true
schedule: {startAt: '2025-09-08T09:00:00Z'}
dependsOn: [{name: other, condition: Completed}]
phases: [{name: ga, steps: [{name: x, cohorts: {a: 10}, approval: Required}]}]",
        ),
        &["2025-09-08T09:00:00Z ga/1 Step a=10% 10%", "2025-09-09T09:00:00Z completed"],
    );
}

#[test]
fn whole_objects_with_a_cohort_set() {
    let plan = plan_of_objects(
        "
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: dreams, namespace: maya}
spec:
  cohortSetRef: {name: users}
  schedule: {startAt: '2025-09-08T09:00:00Z'}
  phases: [{name: ga, ramp: {percents: [50, 100]}}]",
        "
apiVersion: sluice.dev/v1alpha1
kind: CohortSet
metadata: {name: users, namespace: maya}
spec:
  cohorts: [{name: early, share: 20, match: {attributes: {segment: A}}}, {name: rest, share: 80, delay: 36h}]",
    );
    // rest: 8T09 + 36h = 9T21, by when 100 is asked.
    assert_timeline(
        &plan,
        &[
            "2025-09-08T09:00:00Z ga/1 Step early=50% rest=0% 10%",
            "2025-09-09T09:00:00Z ga/2 Step early=100% rest=0% 20%",
            "2025-09-09T21:00:00Z ga/2 CohortDelay early=100% rest=100% 100%",
            "2025-09-10T09:00:00Z completed",
        ],
    );
}

#[test]
fn a_ramp_for_everybody_takes_nothing_from_the_staff_who_had_it_first() {
    // Also where what was asked before lies between two percentages, or was lowered again by a step before the ramp.
    assert_timeline(
        &plan(
            "
cohorts: [{name: staff, share: 1}, {name: beta, share: 9}, {name: rest, share: 90}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases:
- name: staff-first
  steps:
  - {cohorts: {staff: 100, beta: 50}, hold: 24h}
  - {cohorts: {beta: 30}, hold: 24h}
- name: everybody
  ramp: {percents: ['0.5%', 40, 100], every: 24h}",
        ),
        &[
            "2025-09-08T09:00:00Z staff-first/1 Step staff=100% beta=50% rest=0% 5.5%",
            "2025-09-09T09:00:00Z staff-first/2 Step staff=100% beta=30% rest=0% 3.7%",
            "2025-09-10T09:00:00Z everybody/1 Step staff=100% beta=30% rest=0.5% 4.15%",
            "2025-09-11T09:00:00Z everybody/2 Step staff=100% beta=40% rest=40% 40.6%",
            "2025-09-12T09:00:00Z everybody/3 Step staff=100% beta=100% rest=100% 100%",
            "2025-09-13T09:00:00Z completed",
        ],
    );
}

#[test]
fn a_second_ramp_goes_on_from_the_first() {
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: one, ramp: {percents: [20, 60]}}, {name: two, ramp: {percents: [5, 60, 80]}}]",
        ),
        &[
            "2025-09-08T09:00:00Z one/1 Step a=20% 20%",
            "2025-09-09T09:00:00Z one/2 Step a=60% 60%",
            // Two of its steps ask for what is there.
            "2025-09-12T09:00:00Z two/3 Step a=80% 80%",
            "2025-09-13T09:00:00Z completed",
        ],
    );
}

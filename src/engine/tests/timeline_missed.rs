//! Dated steps that windows and holds push past their dates, one at a time or the latest: worked out by hand.

use rstest::rstest;

use super::support::{assert_timeline, plan};

/// Mondays 09-10; 2025-09-08 is one. The first step comes at the start, on Monday the 8th.
fn mondays(on_missed: &str, steps: &str) -> crate::plan::Plan {
    plan(&format!(
        "
cohorts: [{{name: a}}, {{name: b}}]
schedule:
  startAt: '2025-09-08T09:00:00Z'
  windows: [{{days: [Mon], from: '09:00', to: '10:00'}}]
  onMissed: {on_missed}
phases:
- name: ga
  steps:
  - {{cohorts: {{a: 10}}}}
{steps}"
    ))
}

const DATED: &str = "
  - {cohorts: {a: 30}, at: '2025-09-10T09:00:00Z'}
  - {cohorts: {a: 50}, at: '2025-09-12T09:00:00Z'}
  - {cohorts: {a: 100}}";

#[rstest]
// Wednesday's waits for the 15th. Friday's could be entered a day later, on Tuesday the 16th: Monday the 22nd. The
// last a day after that: the 29th.
#[case::one_at_a_time("OneAtATime", &[
    "2025-09-08T09:00:00Z ga/1 Step a=10% b=0%",
    "2025-09-15T09:00:00Z ga/2 Step a=30% b=0%",
    "2025-09-22T09:00:00Z ga/3 Step a=50% b=0%",
    "2025-09-29T09:00:00Z ga/4 Step a=100% b=0%",
    "2025-09-30T09:00:00Z completed",
])]
// On the 15th Friday's date has come too: both. The last one has no date and comes a day later: the 22nd.
#[case::latest("Latest", &[
    "2025-09-08T09:00:00Z ga/1 Step a=10% b=0%",
    "2025-09-15T09:00:00Z ga/3 Step a=50% b=0%",
    "2025-09-22T09:00:00Z ga/4 Step a=100% b=0%",
    "2025-09-23T09:00:00Z completed",
])]
fn dates_that_windows_missed(#[case] on_missed: &str, #[case] expected: &[&str]) {
    assert_timeline(&mondays(on_missed, DATED), expected);
}

#[test]
fn latest_takes_undated_steps_between_and_the_last_hold_counts() {
    // On the 15th: the second, the undated third, the fourth of Friday the 12th, whose hold of 13 days and 12 hours
    // ends on Sunday the 28th at 21:00; then Monday the 29th.
    assert_timeline(
        &mondays(
            "Latest",
            "
  - {cohorts: {a: 30}, at: '2025-09-10T09:00:00Z', hold: 2h}
  - {cohorts: {b: 30}, hold: 3h}
  - {cohorts: {a: 40}, at: '2025-09-12T09:00:00Z', hold: 324h}
  - {cohorts: {b: 40}}",
        ),
        &[
            "2025-09-08T09:00:00Z ga/1 Step a=10% b=0%",
            "2025-09-15T09:00:00Z ga/4 Step a=40% b=30%",
            "2025-09-29T09:00:00Z ga/5 Step a=40% b=40%",
            "2025-09-30T09:00:00Z completed",
        ],
    );
}

#[test]
fn latest_names_the_step_that_asked_though_a_later_one_was_entered_with_it() {
    // The third asks what is served already: only the second changed something, by being entered.
    assert_timeline(
        &mondays(
            "Latest",
            "
  - {cohorts: {b: 30}, at: '2025-09-10T09:00:00Z'}
  - {cohorts: {a: 10}, at: '2025-09-12T09:00:00Z'}",
        ),
        &[
            "2025-09-08T09:00:00Z ga/1 Step a=10% b=0%",
            "2025-09-15T09:00:00Z ga/2 Step a=10% b=30%",
            "2025-09-16T09:00:00Z completed",
        ],
    );
}

#[test]
fn latest_stops_before_a_date_to_come() {
    // The third is due on the 17th: after the 15th's entry, the 22nd. The fourth's date, the 12th, does not pull it.
    assert_timeline(
        &mondays(
            "Latest",
            "
  - {cohorts: {a: 30}, at: '2025-09-10T09:00:00Z'}
  - {cohorts: {a: 40}, at: '2025-09-17T09:00:00Z'}
  - {cohorts: {a: 50}, at: '2025-09-12T09:00:00Z'}",
        ),
        &[
            "2025-09-08T09:00:00Z ga/1 Step a=10% b=0%",
            "2025-09-15T09:00:00Z ga/2 Step a=30% b=0%",
            "2025-09-22T09:00:00Z ga/4 Step a=50% b=0%",
            "2025-09-23T09:00:00Z completed",
        ],
    );
}

#[test]
fn latest_with_nothing_missed_is_one_at_a_time() {
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}]
schedule: {startAt: '2025-09-08T09:00:00Z', onMissed: Latest}
phases:
- name: ga
  steps:
  - {cohorts: {a: 10}}
  - {cohorts: {a: 20}}
  - {cohorts: {a: 30}, week: 2}
  - {cohorts: {a: 40}}",
        ),
        &[
            "2025-09-08T09:00:00Z ga/1 Step a=10% 10%",
            "2025-09-09T09:00:00Z ga/2 Step a=20% 20%",
            "2025-09-15T09:00:00Z ga/3 Step a=30% 30%",
            "2025-09-16T09:00:00Z ga/4 Step a=40% 40%",
            "2025-09-17T09:00:00Z completed",
        ],
    );
}

#[test]
fn latest_is_what_a_hold_past_a_date_misses_too() {
    // The first is held to Wednesday the 17th at 09:00; by then the dates of the 10th and the 12th have passed.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}]
schedule: {startAt: '2025-09-08T09:00:00Z', onMissed: Latest}
phases:
- name: ga
  steps:
  - {cohorts: {a: 10}, hold: 216h}
  - {cohorts: {a: 30}, at: '2025-09-10T09:00:00Z'}
  - {cohorts: {a: 20}, at: '2025-09-12T09:00:00Z', hold: 1h}",
        ),
        // Later asks win: 20.
        &[
            "2025-09-08T09:00:00Z ga/1 Step a=10% 10%",
            "2025-09-17T09:00:00Z ga/3 Step a=20% 20%",
            "2025-09-17T10:00:00Z completed",
        ],
    );
}

#[test]
fn a_start_before_now_is_no_miss() {
    // The plan of a rollout that started long ago is the one it had then.
    let plan = plan(
        "
cohorts: [{name: a}]
schedule: {startAt: '2025-09-08T09:00:00Z', onMissed: Latest}
phases: [{name: ga, steps: [{cohorts: {a: 10}, week: 1}, {cohorts: {a: 20}, week: 2}]}]",
    );
    assert_eq!(
        super::support::lines(&plan, "2027-01-01T00:00:00Z"),
        [
            "2025-09-08T09:00:00Z ga/1 Step a=10% 10%",
            "2025-09-15T09:00:00Z ga/2 Step a=20% 20%",
            "2025-09-16T09:00:00Z completed",
        ]
    );
}

#[test]
fn latest_while_a_lower_ask_comes_due_still_waits_for_the_window() {
    // The second raises, so it waits for the 15th; the third, due on the 12th, asks less than is served. Entered
    // together on the 15th, the later ask wins.
    assert_timeline(
        &mondays(
            "Latest",
            "
  - {cohorts: {a: 30}, at: '2025-09-10T09:00:00Z'}
  - {cohorts: {a: 5}, at: '2025-09-12T09:00:00Z'}",
        ),
        &[
            "2025-09-08T09:00:00Z ga/1 Step a=10% b=0%",
            "2025-09-15T09:00:00Z ga/3 Step a=5% b=0%",
            "2025-09-16T09:00:00Z completed",
        ],
    );
}

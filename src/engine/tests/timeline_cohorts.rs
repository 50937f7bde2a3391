//! Delays and tiers judge each cohort by itself: expected instants worked out by hand.

use rstest::rstest;

use super::support::{assert_timeline, plan};

#[test]
fn several_cohorts_come_after_their_delays() {
    // b 8 + 7 = 15, c and d 8 + 14 = 22. The hold was over on the 9th: completed when the last pending one comes.
    assert_timeline(
        &plan(
            "
cohorts:
- {name: a, share: 10}
- {name: b, share: 20, delay: 168h}
- {name: c, share: 30, delay: 336h}
- {name: d, share: 40, delay: 336h}
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, steps: [{cohorts: {a: 100, b: 100, c: 50, d: 50}}]}]",
        ),
        &[
            "2025-09-08T09:00:00Z ga/1 Step a=100% b=0% c=0% d=0% 10%",
            "2025-09-15T09:00:00Z ga/1 CohortDelay a=100% b=100% c=0% d=0% 30%",
            "2025-09-22T09:00:00Z ga/1 CohortDelay a=100% b=100% c=50% d=50% 65%",
            "2025-09-22T09:00:00Z completed",
        ],
    );
}

#[test]
fn a_delay_counts_from_the_first_exposure_not_from_the_step() {
    // First exposure 8T09, due 15T09. The step that names b is entered at 8 + 10 = 18: at once.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}, {name: b, delay: 168h}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, steps: [{cohorts: {a: 50}, hold: 240h}, {cohorts: {b: 50}}]}]",
        ),
        &[
            "2025-09-08T09:00:00Z ga/1 Step a=50% b=0%",
            "2025-09-18T09:00:00Z ga/2 Step a=50% b=50%",
            "2025-09-19T09:00:00Z completed",
        ],
    );
}

#[test]
fn a_delay_of_the_only_cohort_counts_from_the_entry_of_the_step() {
    // Entering the first raising step is the first exposure, though nobody is served yet: 8T09 + 24h.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a, delay: 24h}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, ramp: {percents: [10, 20], every: 12h}}]",
        ),
        &[
            // 20 is asked at 8T21 and is the latest ask when the delay is over.
            "2025-09-09T09:00:00Z ga/2 CohortDelay a=20% 20%",
            "2025-09-09T09:00:00Z completed",
        ],
    );
}

#[test]
fn a_step_that_raises_nothing_is_no_first_exposure() {
    // The first step asks a for what its baseline is: no raise. First exposure is the second's entry, 9T09; b comes
    // a day after that, 10T09, together with the third step, which takes c.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}, {name: b, delay: 24h}, {name: c}]
baseline: {a: 10}
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, steps: [{cohorts: {a: 10}}, {cohorts: {b: 50, c: 5}, hold: 48h}, {cohorts: {c: 6}}]}]",
        ),
        &[
            "2025-09-09T09:00:00Z ga/2 Step a=10% b=0% c=5%",
            "2025-09-10T09:00:00Z ga/2 CohortDelay a=10% b=50% c=5%",
            "2025-09-11T09:00:00Z ga/3 Step a=10% b=50% c=6%",
            "2025-09-12T09:00:00Z completed",
        ],
    );
}

#[test]
fn a_delay_ends_in_a_window_only() {
    // Tuesdays 10-12. Start Tuesday 9T10; due Wednesday 10T10; next Tuesday 16T10.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}, {name: b, delay: 24h}]
schedule: {startAt: '2025-09-09T10:00:00Z', windows: [{days: [Tue], from: '10:00', to: '12:00'}]}
phases: [{name: ga, steps: [{cohorts: {a: 100, b: 100}}]}]",
        ),
        &[
            "2025-09-09T10:00:00Z ga/1 Step a=100% b=0%",
            "2025-09-16T10:00:00Z ga/1 CohortDelay a=100% b=100%",
            "2025-09-16T10:00:00Z completed",
        ],
    );
}

#[test]
fn a_delay_ends_outside_of_freezes_only() {
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}, {name: b, delay: 24h}]
schedule:
  startAt: '2025-09-09T10:00:00Z'
  freezes: [{name: x, from: '2025-09-10T10:00:00Z', to: '2025-09-12T13:00:00Z'}]
phases: [{name: ga, steps: [{cohorts: {a: 100, b: 100}}]}]",
        ),
        &[
            "2025-09-09T10:00:00Z ga/1 Step a=100% b=0%",
            "2025-09-12T13:00:00Z ga/1 CohortDelay a=100% b=100%",
            "2025-09-12T13:00:00Z completed",
        ],
    );
}

#[test]
fn only_the_latest_ask_is_pending() {
    // Asks at 8T00, 9T00 and 10T00; b is due at 8T00 + 60h = 10T12, when 100 is asked. Completed at 10T00 + 24h.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}, {name: b, delay: 60h}]
schedule: {startAt: '2025-09-08T00:00:00Z'}
phases: [{name: ga, ramp: {percents: [10, 50, 100]}}]",
        ),
        &[
            "2025-09-08T00:00:00Z ga/1 Step a=10% b=0%",
            "2025-09-09T00:00:00Z ga/2 Step a=50% b=0%",
            "2025-09-10T00:00:00Z ga/3 Step a=100% b=0%",
            "2025-09-10T12:00:00Z ga/3 CohortDelay a=100% b=100%",
            "2025-09-11T00:00:00Z completed",
        ],
    );
}

#[rstest]
// The second step takes b itself on the instant its delay is over.
#[case::same_cohort("{b: 50}", "ga/2 Step a=10% b=50%")]
// It takes a while b comes by its delay: both, named by the last step.
#[case::other_cohort("{a: 20}", "ga/2 Step a=20% b=10%")]
// It changes nothing: only b comes, asked for by the first.
#[case::nothing("{a: 10}", "ga/1 CohortDelay a=10% b=10%")]
// It lowers a while b comes.
#[case::lowers("{a: 5}", "ga/2 Step a=5% b=10%")]
fn a_delay_over_at_the_entry_of_a_step(#[case] asks: &str, #[case] entry: &str) {
    let entry = format!("2025-09-09T00:00:00Z {entry}");
    assert_timeline(
        &plan(&format!(
            "
cohorts: [{{name: a}}, {{name: b, delay: 24h}}]
schedule: {{startAt: '2025-09-08T00:00:00Z'}}
phases: [{{name: ga, steps: [{{cohorts: {{a: 10, b: 10}}}}, {{cohorts: {asks}}}]}}]"
        )),
        &["2025-09-08T00:00:00Z ga/1 Step a=10% b=0%", &entry, "2025-09-10T00:00:00Z completed"],
    );
}

#[rstest]
// Less than asked drops what is pending; the lower ask is pending instead, with the same delay.
#[case::lower("{b: 20}", &["2025-09-22T00:00:00Z ga/2 CohortDelay a=10% b=20%", "2025-09-22T00:00:00Z completed"])]
// Nothing asked: nothing pending; completed with the second's hold.
#[case::nothing("{b: 0}", &["2025-09-10T00:00:00Z completed"])]
// More: the later ask, still after the delay.
#[case::higher("{b: 60}", &["2025-09-22T00:00:00Z ga/2 CohortDelay a=10% b=60%", "2025-09-22T00:00:00Z completed"])]
// As much: the second asked last.
#[case::equal("{b: 50}", &["2025-09-22T00:00:00Z ga/2 CohortDelay a=10% b=50%", "2025-09-22T00:00:00Z completed"])]
fn an_ask_while_one_is_pending(#[case] asks: &str, #[case] rest: &[&str]) {
    let mut expected = vec!["2025-09-08T00:00:00Z ga/1 Step a=10% b=0%"];
    expected.extend(rest);
    assert_timeline(
        &plan(&format!(
            "
cohorts: [{{name: a}}, {{name: b, delay: 336h}}]
schedule: {{startAt: '2025-09-08T00:00:00Z'}}
phases: [{{name: ga, steps: [{{cohorts: {{a: 10, b: 50}}}}, {{cohorts: {asks}}}]}}]"
        )),
        &expected,
    );
}

#[test]
fn a_step_that_asks_no_more_than_is_pending_waits_for_no_window() {
    // Mondays 00-01. b is pending with 50 until 22T00, a Monday. The second step asks b 50: no raise, entered at
    // 9T00, a Tuesday; the third asks 40: no raise either, entered at 10T00 and it is the ask that comes.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}, {name: b, delay: 336h}]
schedule: {startAt: '2025-09-08T00:00:00Z', windows: [{days: [Mon], from: '00:00', to: '01:00'}]}
phases: [{name: ga, steps: [{cohorts: {a: 10, b: 50}}, {cohorts: {b: 50}}, {cohorts: {b: 40}}]}]",
        ),
        &[
            "2025-09-08T00:00:00Z ga/1 Step a=10% b=0%",
            "2025-09-22T00:00:00Z ga/3 CohortDelay a=10% b=40%",
            "2025-09-22T00:00:00Z completed",
        ],
    );
}

#[rstest]
// c admits Preview only and the tier is Stable by default: it stays at its baseline.
#[case::refused("", &["2025-09-08T00:00:00Z ga/1 Step a=50% c=5%", "2025-09-09T00:00:00Z ga/2 Step a=100% c=5%"])]
#[case::admitted(
    "feature: {tier: Preview}",
    &["2025-09-08T00:00:00Z ga/1 Step a=50% c=50%", "2025-09-09T00:00:00Z ga/2 Step a=100% c=100%"]
)]
#[case::ignored(
    "cohortPolicy: Ignore",
    &["2025-09-08T00:00:00Z ga/1 Step a=50% c=50%", "2025-09-09T00:00:00Z ga/2 Step a=100% c=100%"]
)]
fn tiers(#[case] more: &str, #[case] entries: &[&str]) {
    let mut expected = entries.to_vec();
    expected.push("2025-09-10T00:00:00Z completed");
    assert_timeline(
        &plan(&format!(
            "
cohorts: [{{name: a}}, {{name: c, admits: [Preview]}}]
baseline: {{c: 5}}
schedule: {{startAt: '2025-09-08T00:00:00Z'}}
{more}
phases: [{{name: ga, ramp: {{percents: [50, 100]}}}}]"
        )),
        &expected,
    );
}

#[test]
fn a_cohort_that_admits_nothing_is_never_raised() {
    assert_timeline(
        &plan(
            "
cohorts: [{name: a, admits: []}]
schedule: {startAt: '2025-09-08T00:00:00Z'}
phases: [{name: ga, ramp: {percents: [50, 100]}}]",
        ),
        &["2025-09-10T00:00:00Z completed"],
    );
}

#[test]
fn a_step_for_a_refused_cohort_is_entered_and_exposes_nobody() {
    // c alone is asked first: no raise, so it does not wait for Monday's window on Sunday the 7th, and the delay of b
    // counts from the second step's entry, Monday 8T00: 9T00.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}, {name: b, delay: 24h}, {name: c, admits: [Core]}]
schedule: {startAt: '2025-09-07T00:00:00Z', windows: [{days: [Mon, Tue], from: '00:00', to: '01:00'}]}
phases: [{name: ga, steps: [{cohorts: {c: 50}}, {cohorts: {a: 10, b: 10}}]}]",
        ),
        &[
            "2025-09-08T00:00:00Z ga/2 Step a=10% b=0% c=0%",
            "2025-09-09T00:00:00Z ga/2 CohortDelay a=10% b=10% c=0%",
            "2025-09-09T00:00:00Z completed",
        ],
    );
}

#[test]
fn ignoring_the_cohorts_ignores_their_delays() {
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}, {name: b, delay: 336h}]
cohortPolicy: Ignore
schedule: {startAt: '2025-09-08T00:00:00Z'}
phases: [{name: ga, ramp: {percents: [100]}}]",
        ),
        &["2025-09-08T00:00:00Z ga/1 Step a=100% b=100%", "2025-09-09T00:00:00Z completed"],
    );
}

//! Windows and freezes: raises come at the first allowed instant, worked out by hand.

use rstest::rstest;

use super::support::{assert_timeline, lines, plan, plan_in_set};

#[test]
fn working_days_in_los_angeles() {
    // 2025-09-05 is a Friday, 10:00 PDT = 17:00Z: the next window is Monday 09:00 PDT = 16:00Z. Then a day each,
    // Thursday's to the minute; the fifth is due on Friday and waits for Monday the 15th; held to the 16th.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}]
schedule:
  startAt: '2025-09-05T17:00:00Z'
  timeZone: America/Los_Angeles
  windows: [{days: [Mon, Tue, Wed, Thu], from: '09:00', to: '16:00'}]
phases: [{name: ga, ramp: {percents: [5, 10, 25, 50, 100]}}]",
        ),
        &[
            "2025-09-08T16:00:00Z ga/1 Step a=5% 5%",
            "2025-09-09T16:00:00Z ga/2 Step a=10% 10%",
            "2025-09-10T16:00:00Z ga/3 Step a=25% 25%",
            "2025-09-11T16:00:00Z ga/4 Step a=50% 50%",
            "2025-09-15T16:00:00Z ga/5 Step a=100% 100%",
            "2025-09-16T16:00:00Z completed",
        ],
    );
}

#[test]
fn a_hold_ends_on_the_clock_that_turns_within_a_window() {
    // Saturday 2025-11-01 09:00 PDT = 16:00Z; + 24h = Sunday 08:00 PST, an hour before the window: 09:00 PST = 17:00Z.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}]
schedule:
  startAt: '2025-11-01T10:00:00Z'
  timeZone: America/Los_Angeles
  windows: [{from: '09:00', to: '16:00'}]
phases: [{name: ga, ramp: {percents: [5, 10]}}]",
        ),
        &[
            "2025-11-01T16:00:00Z ga/1 Step a=5% 5%",
            "2025-11-02T17:00:00Z ga/2 Step a=10% 10%",
            "2025-11-03T17:00:00Z completed",
        ],
    );
}

/// One step with a hold of nothing: when does it come?
#[rstest]
// `from` is inside, `to` is not.
#[case::from_inside("UTC", "{from: '09:00', to: '10:00'}", "2025-09-08T09:00:00Z", "2025-09-08T09:00:00Z")]
#[case::last_second("UTC", "{from: '09:00', to: '10:00'}", "2025-09-08T09:59:59Z", "2025-09-08T09:59:59Z")]
#[case::to_outside("UTC", "{from: '09:00', to: '10:00'}", "2025-09-08T10:00:00Z", "2025-09-09T09:00:00Z")]
// 24:00 is the day's end: inside up to midnight, outside at it.
#[case::midnight_before(
    "UTC",
    "{from: '22:00', to: '24:00'}",
    "2025-09-08T23:59:59Z",
    "2025-09-08T23:59:59Z"
)]
#[case::midnight("UTC", "{from: '22:00', to: '24:00'}", "2025-09-09T00:00:00Z", "2025-09-09T22:00:00Z")]
#[case::whole_days(
    "UTC",
    "{days: [Sat], from: '00:00', to: '24:00'}",
    "2025-09-14T00:00:00Z",
    "2025-09-20T00:00:00Z"
)]
// Any window of the list: two that touch are one.
#[case::any(
    "UTC",
    "{from: '22:00', to: '24:00'}, {from: '00:00', to: '02:00'}",
    "2025-09-09T00:00:00Z",
    "2025-09-09T00:00:00Z"
)]
#[case::the_sooner(
    "UTC",
    "{days: [Thu], from: '01:00', to: '02:00'}, {days: [Wed], from: '05:00', to: '06:00'}",
    "2025-09-08T00:00:00Z",
    "2025-09-10T05:00:00Z"
)]
// 2025-03-09 has no 02:30 in Los Angeles: 03:30 to 03:45 PDT, 10:30Z to 10:45Z.
#[case::gap(
    "America/Los_Angeles",
    "{from: '02:30', to: '02:45'}",
    "2025-03-09T08:00:00Z",
    "2025-03-09T10:30:00Z"
)]
#[case::gap_over(
    "America/Los_Angeles",
    "{from: '02:30', to: '02:45'}",
    "2025-03-09T10:45:00Z",
    "2025-03-10T09:30:00Z"
)]
// 02:00 and 03:00 are one instant on that day: nothing; the next day's 02:00 PDT is 09:00Z.
#[case::gap_swallows(
    "America/Los_Angeles",
    "{from: '02:00', to: '03:00'}",
    "2025-03-09T08:00:00Z",
    "2025-03-10T09:00:00Z"
)]
// 01:15 to 01:45 comes twice on 2025-11-02; the first is the window: 08:15Z to 08:45Z. Next day 01:15 PST = 09:15Z.
#[case::overlap_first(
    "America/Los_Angeles",
    "{from: '01:15', to: '01:45'}",
    "2025-11-02T07:00:00Z",
    "2025-11-02T08:15:00Z"
)]
#[case::overlap_second(
    "America/Los_Angeles",
    "{from: '01:15', to: '01:45'}",
    "2025-11-02T09:15:00Z",
    "2025-11-03T09:15:00Z"
)]
// A window over the overlap is open through both passes: 00:30 PDT (07:30Z) to 02:30 PST (10:30Z).
#[case::over_overlap(
    "America/Los_Angeles",
    "{from: '00:30', to: '02:30'}",
    "2025-11-02T10:29:00Z",
    "2025-11-02T10:29:00Z"
)]
// Lord Howe 2025-10-05 has no 02:10: 02:40 +11:00 = 10-04T15:40Z.
#[case::lord_howe(
    "Australia/Lord_Howe",
    "{from: '02:10', to: '02:50'}",
    "2025-10-04T15:00:00Z",
    "2025-10-04T15:40:00Z"
)]
// Monday 09:00 in Auckland (+12:00 in September) is Sunday 21:00Z.
#[case::auckland_days(
    "Pacific/Auckland",
    "{days: [Mon], from: '09:00', to: '10:00'}",
    "2025-09-06T00:00:00Z",
    "2025-09-07T21:00:00Z"
)]
fn opens(#[case] zone: &str, #[case] windows: &str, #[case] start: &str, #[case] entry: &str) {
    let spec = format!(
        "
cohorts: [{{name: a}}]
schedule: {{startAt: '{start}', timeZone: {zone}, windows: [{windows}]}}
phases: [{{name: ga, steps: [{{cohorts: {{a: 50}}, hold: 0s}}]}}]"
    );
    assert_eq!(
        lines(&plan(&spec), "2010-01-01T00:00:00Z"),
        [format!("{entry} ga/1 Step a=50% 50%"), format!("{entry} completed")]
    );
}

/// The rollout's lists and the FlagSet's must both allow.
#[rstest]
// 09-16Z and 10:00-12:00 EDT, which is 14-16Z.
#[case::both(
    "{startAt: '2025-09-08T00:00:00Z', timeZone: UTC, windows: [{from: '09:00', to: '16:00'}]}",
    "{timeZone: America/New_York, windows: [{from: '10:00', to: '12:00'}]}",
    "2025-09-08T14:00:00Z"
)]
// Without a zone of its own the rollout's windows are in the FlagSet's: 09:00 EDT = 13:00Z.
#[case::zone_of_the_set(
    "{startAt: '2025-09-08T00:00:00Z', windows: [{from: '09:00', to: '16:00'}]}",
    "{timeZone: America/New_York}",
    "2025-09-08T13:00:00Z"
)]
// The FlagSet's windows stay in its own zone, UTC, whatever the rollout's is.
#[case::zone_of_the_rollout(
    "{startAt: '2025-09-08T00:00:00Z', timeZone: America/New_York}",
    "{windows: [{from: '09:00', to: '16:00'}]}",
    "2025-09-08T09:00:00Z"
)]
// Tuesdays and Thursdays, and Wednesdays and Thursdays: Thursday the 11th.
#[case::days(
    "{startAt: '2025-09-08T00:00:00Z', windows: [{days: [Tue, Thu], from: '09:00', to: '16:00'}]}",
    "{windows: [{days: [Wed, Thu], from: '10:00', to: '24:00'}]}",
    "2025-09-11T10:00:00Z"
)]
// Freezes of both, end to end.
#[case::freezes(
    "{startAt: '2025-09-08T12:00:00Z', freezes: [{name: x, from: '2025-09-08T00:00:00Z', to: '2025-09-09T00:00:00Z'}]}",
    "{freezes: [{name: y, from: '2025-09-09T00:00:00Z', to: '2025-09-10T12:00:00Z'}]}",
    "2025-09-10T12:00:00Z"
)]
fn both_lists_count(#[case] schedule: &str, #[case] set: &str, #[case] entry: &str) {
    let spec = format!(
        "
cohorts: [{{name: a}}]
flagSetRef: {{name: s}}
schedule: {schedule}
phases: [{{name: ga, steps: [{{cohorts: {{a: 50}}, hold: 0s}}]}}]"
    );
    assert_eq!(
        lines(&plan_in_set(&spec, set), "2010-01-01T00:00:00Z")[0],
        format!("{entry} ga/1 Step a=50% 50%")
    );
}

#[test]
fn a_freeze_holds_raises_from_its_first_instant_to_its_end() {
    // The second is due at 9T09, the freeze's first instant; it ends at 10T09, which is outside of it. The third is
    // due at 11T09, the end of the other freeze. The last hold runs on through a freeze.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}]
schedule:
  startAt: '2025-09-08T09:00:00Z'
  freezes:
  - {name: one, from: '2025-09-09T09:00:00Z', to: '2025-09-10T09:00:00Z'}
  - {name: two, from: '2025-09-11T08:00:00Z', to: '2025-09-11T09:00:00Z'}
  - {name: three, from: '2025-09-12T00:00:00Z', to: '2025-09-30T00:00:00Z'}
phases: [{name: ga, ramp: {percents: [5, 10, 25]}}]",
        ),
        &[
            "2025-09-08T09:00:00Z ga/1 Step a=5% 5%",
            "2025-09-10T09:00:00Z ga/2 Step a=10% 10%",
            "2025-09-11T09:00:00Z ga/3 Step a=25% 25%",
            "2025-09-12T09:00:00Z completed",
        ],
    );
}

#[test]
fn a_freeze_that_ends_outside_of_a_window_waits_for_it() {
    // Thanksgiving ends on Monday 2025-12-01 at 00:00Z, which is Sunday 16:00 PST; the window opens on Monday 09:00
    // PST = 17:00Z.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}]
schedule:
  startAt: '2025-11-26T12:00:00Z'
  timeZone: America/Los_Angeles
  windows: [{days: [Mon, Tue, Wed, Thu], from: '09:00', to: '16:00'}]
  freezes: [{name: thanksgiving, from: '2025-11-26T00:00:00Z', to: '2025-12-01T00:00:00Z'}]
phases: [{name: ga, ramp: {percents: [100]}}]",
        ),
        &["2025-12-01T17:00:00Z ga/1 Step a=100% 100%", "2025-12-02T17:00:00Z completed"],
    );
}

#[test]
fn steps_that_raise_nothing_do_not_wait_for_a_window() {
    // Mondays only. The second step repeats the first: entered on Tuesday, so that its hold of 6 days is over on
    // Monday the 15th, when the third raises.
    assert_timeline(
        &plan(
            "
cohorts: [{name: a}]
schedule: {startAt: '2025-09-08T09:00:00Z', windows: [{days: [Mon], from: '09:00', to: '10:00'}]}
phases:
- name: ga
  steps: [{cohorts: {a: 10}}, {cohorts: {a: 10}, hold: 144h}, {cohorts: {a: 20}}]",
        ),
        &[
            "2025-09-08T09:00:00Z ga/1 Step a=10% 10%",
            "2025-09-15T09:00:00Z ga/3 Step a=20% 20%",
            "2025-09-16T09:00:00Z completed",
        ],
    );
}

#[test]
fn public_holidays_are_local_dates_of_the_set() {
    // Thanksgiving to Saturday in New York (-05:00), then Sunday, which has no window: the second step is due on Thursday at
    // 15:00Z, and comes on Monday at 10:00 local.
    let set = "
timeZone: America/New_York
windows: [{days: [Mon, Tue, Wed, Thu, Fri], from: '10:00', to: '15:00'}]
freezes:
- {name: day-after-thanksgiving, from: '2026-11-26', to: '2026-11-28'}
- {name: winter, from: '12-01', to: '01-02', yearly: true}";
    let spec = "
flagSetRef: {name: s}
cohorts: [{name: a}]
schedule: {startAt: '2026-11-25T15:00:00Z'}
phases: [{name: ga, ramp: {percents: [10, 50, 100], every: 24h}}]";
    assert_timeline(
        &plan_in_set(spec, set),
        &[
            "2026-11-25T15:00:00Z ga/1 Step a=10% 10%",
            "2026-11-30T15:00:00Z ga/2 Step a=50% 50%",
            // 2027-01-02 is a Saturday.
            "2027-01-04T15:00:00Z ga/3 Step a=100% 100%",
            "2027-01-05T15:00:00Z completed",
        ],
    );
}

//! The weeks in which London's clocks change: 2026-03-29 01:00Z to +01:00, and 2026-10-25 01:00Z back to +00:00.

use super::support::{Life, lines, plan};

fn entries(spec: &str) -> Vec<String> {
    let spec = format!("cohorts: [{{name: all}}]\n{spec}");
    let lines = lines(&plan(&spec), "2010-01-01T00:00:00Z");
    lines.iter().filter(|line| line.contains("all=")).map(|line| line.chars().take(20).collect()).collect()
}

#[test]
fn weeks_keep_their_local_time() {
    // 08:30 is 07:30Z in summer and 08:30Z in winter.
    let spec = "
schedule: {startAt: '2026-10-22T07:30:00Z', timeZone: Europe/London}
phases:
- name: ga
  steps:
  - {name: w1, week: 1, cohorts: {all: 10}}
  - {name: w2, week: 2, cohorts: {all: 50}}
  - {name: w3, week: 3, cohorts: {all: 100}}";
    assert_eq!(entries(spec), ["2026-10-22T07:30:00Z", "2026-10-29T08:30:00Z", "2026-11-05T08:30:00Z"]);
}

#[test]
fn a_daily_ramp_from_the_opening_on_stays_at_the_opening_in_autumn() {
    // On the 25th 24 hours are over at 08:00 local, an hour before the window opens.
    let spec = "
schedule: {startAt: '2026-10-22T08:00:00Z', timeZone: Europe/London, windows: [{from: '09:00', to: '17:00'}]}
phases: [{name: ga, ramp: {percents: [10, 20, 30, 40, 50, 100], every: 24h}}]";
    assert_eq!(
        entries(spec),
        [
            "2026-10-22T08:00:00Z",
            "2026-10-23T08:00:00Z",
            "2026-10-24T08:00:00Z",
            "2026-10-25T09:00:00Z",
            "2026-10-26T09:00:00Z",
            "2026-10-27T09:00:00Z",
        ]
    );
}

#[test]
fn twenty_four_hours_are_no_civil_day_in_spring() {
    // From 16:30 on Saturday 24 hours end at 17:30 on Sunday, when the window is over; Monday's opens at 15:00Z.
    let spec = "
schedule: {startAt: '2026-03-26T16:30:00Z', timeZone: Europe/London, windows: [{from: '16:00', to: '17:00'}]}
phases: [{name: ga, ramp: {percents: [10, 20, 30, 40, 50, 100], every: 24h}}]";
    assert_eq!(
        entries(spec),
        [
            "2026-03-26T16:30:00Z",
            "2026-03-27T16:30:00Z",
            "2026-03-28T16:30:00Z",
            "2026-03-30T15:00:00Z",
            "2026-03-31T15:00:00Z",
            "2026-04-01T15:00:00Z",
        ]
    );
    // A little less than a day keeps to the day, over the change of clocks too.
    let spec = spec.replace("every: 24h", "every: 22h");
    let days: Vec<String> = entries(&spec).iter().map(|at| at.chars().take(10).collect()).collect();
    assert_eq!(days, ["2026-03-26", "2026-03-27", "2026-03-28", "2026-03-29", "2026-03-30", "2026-03-31"]);
}

#[test]
fn a_hold_in_days_ends_at_the_same_local_time() {
    // 16:30 in London is 16:30Z until 2026-03-29 and 15:30Z from then on, back to 16:30Z from 2026-10-25 on.
    let spec = "
schedule: {startAt: '2026-03-27T16:30:00Z', timeZone: Europe/London, windows: [{from: '16:00', to: '17:00'}]}
phases: [{name: ga, ramp: {percents: [10, 20, 30, 40, 100], every: 1d}}]";
    assert_eq!(
        entries(spec),
        [
            "2026-03-27T16:30:00Z",
            "2026-03-28T16:30:00Z",
            "2026-03-29T15:30:00Z",
            "2026-03-30T15:30:00Z",
            "2026-03-31T15:30:00Z",
        ]
    );
    let spec = "
schedule: {startAt: '2026-10-22T15:30:00Z', timeZone: Europe/London}
phases:
- {name: ga, steps: [{cohorts: {all: 10}, hold: 7d}, {cohorts: {all: 50}, hold: 168h}, {cohorts: {all: 100}, hold: 7d}]}";
    let week = ["2026-10-22T15:30:00Z", "2026-10-29T16:30:00Z", "2026-11-05T16:30:00Z"];
    assert_eq!(entries(spec), week);
}

#[test]
fn a_pause_moves_a_hold_in_days_on_by_its_length() {
    let spec = "
cohorts: [{name: all}]
schedule: {startAt: '2026-03-27T16:30:00Z', timeZone: Europe/London}
phases: [{name: ga, steps: [{cohorts: {all: 10}, hold: 2d}, {cohorts: {all: 100}}]}]";
    let mut life = Life::begin(spec, "2026-03-27T16:30:00Z");
    life.pass(1).tweak(|plan| plan.suspend = true).pass(24).tweak(|plan| plan.suspend = false);
    // From 16:30 on Saturday, 24 hours after the entry, two days are over at 16:30 on Monday, which is 15:30Z.
    assert_eq!(life.wake_at.map(|at| at.to_string()).as_deref(), Some("2026-03-30T15:30:00Z"));
}

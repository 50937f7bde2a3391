//! Weeks on the civil calendar, across changes of the clock. Offsets and changes are from the zones' laws:
//!
//! - Los Angeles: PST -08:00, PDT -07:00; 2025-03-09 02:00 → 03:00 and 2025-11-02 02:00 → 01:00.
//! - Berlin: CET +01:00, CEST +02:00; 2025-03-30 02:00 → 03:00 and 2025-10-26 03:00 → 02:00.
//! - Lord Howe: +10:30, summer +11:00; 2025-10-05 02:00 → 02:30 and 2026-04-05 02:00 → 01:30.
//! - Auckland: +12:00, summer +13:00; 2025-09-28 02:00 → 03:00 and 2026-04-05 03:00 → 02:00.
//! - São Paulo: -03:00 and no summer time now; 2018-11-04 00:00 → 01:00.
//! - Kolkata: +05:30 always.

use rstest::rstest;

use super::support::{lines, plan, plan_in_set};

#[rstest]
// 2025-10-20 09:00 PDT is 16:00Z; 10-27 still PDT; 11-03 09:00 PST is 17:00Z.
#[case::la_autumn("America/Los_Angeles", "2025-10-20T16:00:00Z", 2, "2025-10-27T16:00:00Z")]
#[case::la_autumn_after("America/Los_Angeles", "2025-10-20T16:00:00Z", 3, "2025-11-03T17:00:00Z")]
// 2025-03-03 09:00 PST is 17:00Z; 03-10 09:00 PDT is 16:00Z.
#[case::la_spring("America/Los_Angeles", "2025-03-03T17:00:00Z", 2, "2025-03-10T16:00:00Z")]
// 02:30 PST is 10:30Z; 03-09 has no 02:30: 03:30 PDT, 10:30Z; 03-16 02:30 PDT is 09:30Z.
#[case::la_into_gap("America/Los_Angeles", "2025-03-02T10:30:00Z", 2, "2025-03-09T10:30:00Z")]
#[case::la_past_gap("America/Los_Angeles", "2025-03-02T10:30:00Z", 3, "2025-03-16T09:30:00Z")]
// 01:30 PDT is 08:30Z; 11-02 has two 01:30, the first is 08:30Z; 11-09 01:30 PST is 09:30Z.
#[case::la_into_overlap("America/Los_Angeles", "2025-10-26T08:30:00Z", 2, "2025-11-02T08:30:00Z")]
#[case::la_past_overlap("America/Los_Angeles", "2025-10-26T08:30:00Z", 3, "2025-11-09T09:30:00Z")]
// A start in the second 01:30 (PST, 09:30Z): week 1 is the first one, before the start, so it waits for the start.
#[case::la_from_overlap_first_week("America/Los_Angeles", "2025-11-02T09:30:00Z", 1, "2025-11-02T09:30:00Z")]
#[case::la_from_overlap("America/Los_Angeles", "2025-11-02T09:30:00Z", 2, "2025-11-09T09:30:00Z")]
// A start in the first 01:30 (PDT, 08:30Z): a week later it is PST.
#[case::la_from_first_pass("America/Los_Angeles", "2025-11-02T08:30:00Z", 2, "2025-11-09T09:30:00Z")]
// The instant of the gap itself, 10:00Z, is 03:00 PDT; a week later 03:00 PDT is 10:00Z again.
#[case::la_from_gap("America/Los_Angeles", "2025-03-09T10:00:00Z", 2, "2025-03-16T10:00:00Z")]
// 09:00 CET is 08:00Z, 09:00 CEST 07:00Z.
#[case::berlin_spring("Europe/Berlin", "2025-03-24T08:00:00Z", 2, "2025-03-31T07:00:00Z")]
// 02:30 CET is 01:30Z; 03-30 has none: 03:30 CEST is 01:30Z.
#[case::berlin_gap("Europe/Berlin", "2025-03-23T01:30:00Z", 2, "2025-03-30T01:30:00Z")]
// 02:30 CEST is 00:30Z; 10-26's first 02:30 too; 11-02 02:30 CET is 01:30Z.
#[case::berlin_overlap("Europe/Berlin", "2025-10-19T00:30:00Z", 2, "2025-10-26T00:30:00Z")]
#[case::berlin_past_overlap("Europe/Berlin", "2025-10-19T00:30:00Z", 3, "2025-11-02T01:30:00Z")]
// 2025-09-30 09:00 +10:30 is 09-29T22:30Z; 10-07 09:00 +11:00 is 10-06T22:00Z: half an hour.
#[case::lord_howe_spring("Australia/Lord_Howe", "2025-09-29T22:30:00Z", 2, "2025-10-06T22:00:00Z")]
// 09-28 02:15 +10:30 is 09-27T15:45Z; 10-05 has no 02:15: 02:45 +11:00 is 10-04T15:45Z; then 02:15 +11:00, 15:15Z.
#[case::lord_howe_gap("Australia/Lord_Howe", "2025-09-27T15:45:00Z", 2, "2025-10-04T15:45:00Z")]
#[case::lord_howe_past_gap("Australia/Lord_Howe", "2025-09-27T15:45:00Z", 3, "2025-10-11T15:15:00Z")]
// 03-29 01:45 +11:00 is 03-28T14:45Z; the first 01:45 of 04-05 is 04-04T14:45Z; 04-12 01:45 +10:30 is 04-11T15:15Z.
#[case::lord_howe_overlap("Australia/Lord_Howe", "2026-03-28T14:45:00Z", 2, "2026-04-04T14:45:00Z")]
#[case::lord_howe_past_overlap("Australia/Lord_Howe", "2026-03-28T14:45:00Z", 3, "2026-04-11T15:15:00Z")]
// 2025-09-23 09:00 +12:00 is 09-22T21:00Z; 09-30 09:00 +13:00 is 09-29T20:00Z; back at 04-07 09:00 +12:00, which is
// 196 days or 28 weeks after 09-23: week 29.
#[case::auckland_spring("Pacific/Auckland", "2025-09-22T21:00:00Z", 2, "2025-09-29T20:00:00Z")]
#[case::auckland_half_a_year("Pacific/Auckland", "2025-09-22T21:00:00Z", 29, "2026-04-06T21:00:00Z")]
// 2025-10-06 09:00 -03:00 and four weeks later the same.
#[case::sao_paulo("America/Sao_Paulo", "2025-10-06T12:00:00Z", 5, "2025-11-03T12:00:00Z")]
// 2018-10-28 00:00 -03:00; 11-04 begins at 01:00 -02:00, 03:00Z; 11-11 00:00 -02:00 is 02:00Z.
#[case::sao_paulo_midnight_gap("America/Sao_Paulo", "2018-10-28T03:00:00Z", 2, "2018-11-04T03:00:00Z")]
#[case::sao_paulo_past_it("America/Sao_Paulo", "2018-10-28T03:00:00Z", 3, "2018-11-11T02:00:00Z")]
// 09:00 +05:30.
#[case::kolkata("Asia/Kolkata", "2025-03-03T03:30:00Z", 4, "2025-03-24T03:30:00Z")]
fn weeks_are_civil(#[case] zone: &str, #[case] start: &str, #[case] week: i32, #[case] entry: &str) {
    let spec = format!(
        "
cohorts: [{{name: a}}]
schedule: {{startAt: '{start}', timeZone: {zone}}}
phases: [{{name: ga, steps: [{{cohorts: {{a: 50}}, week: {week}, hold: 0s}}]}}]"
    );
    assert_eq!(
        lines(&plan(&spec), "2010-01-01T00:00:00Z"),
        [format!("{entry} ga/1 Step a=50% 50%"), format!("{entry} completed")]
    );
}

#[test]
fn weeks_count_in_the_zone_of_the_flag_set_when_the_rollout_has_none() {
    // As above: Los Angeles, 09:00 PDT to 09:00 PST.
    let spec = "
cohorts: [{name: a}]
flagSetRef: {name: s}
schedule: {startAt: '2025-10-20T16:00:00Z'}
phases: [{name: ga, steps: [{cohorts: {a: 50}, week: 3, hold: 0s}]}]";
    let entry = |set| lines(&plan_in_set(spec, set), "2010-01-01T00:00:00Z")[0].clone();
    assert_eq!(entry("{timeZone: America/Los_Angeles}"), "2025-11-03T17:00:00Z ga/1 Step a=50% 50%");
    // And in UTC when neither has one.
    assert_eq!(entry("{}"), "2025-11-03T16:00:00Z ga/1 Step a=50% 50%");
}

#[test]
fn the_default_hold_between_weeks_is_a_day_even_over_a_change_of_the_clock() {
    // Weeks 2 and 3 are 7 days and an hour apart; a ramp follows week 3 after 24 hours, not after a civil day:
    // 11-01 (Saturday) 09:00 PDT = 16:00Z, + 24h = 11-02T16:00Z, which is 08:00 PST.
    let spec = "
cohorts: [{name: a}]
schedule: {startAt: '2025-10-25T16:00:00Z', timeZone: America/Los_Angeles}
phases:
- {name: ga, steps: [{cohorts: {a: 1}, week: 1}, {cohorts: {a: 2}, week: 2}]}
- {name: tail, ramp: {percents: [3, 4]}}";
    assert_eq!(
        lines(&plan(spec), "2010-01-01T00:00:00Z"),
        [
            "2025-10-25T16:00:00Z ga/1 Step a=1% 1%",
            "2025-11-01T16:00:00Z ga/2 Step a=2% 2%",
            "2025-11-02T16:00:00Z tail/1 Step a=3% 3%",
            "2025-11-03T16:00:00Z tail/2 Step a=4% 4%",
            "2025-11-04T16:00:00Z completed",
        ]
    );
}

use rstest::rstest;

use super::*;
use crate::plan::calendar::zone;

fn t(text: &str) -> MicroTime {
    text.parse().unwrap()
}

fn axis(zone_name: &str, from: &str, to: &str) -> TimeAxis {
    TimeAxis::new(t(from), t(to), zone(zone_name).unwrap())
}

#[rstest]
#[case::hours(
    "UTC",
    "2025-09-08T09:00:00Z",
    "2025-09-08T14:00:00Z",
    6,
    "8 Sep 09:00|10:00|11:00|12:00|13:00|14:00"
)]
#[case::midnight_is_a_date(
    "UTC",
    "2025-09-08T18:00:00Z",
    "2025-09-09T06:00:00Z",
    3,
    "8 Sep 18:00|9 Sep|06:00"
)]
#[case::summer_time(
    "Europe/Berlin",
    "2026-03-28T23:00:00Z",
    "2026-03-29T21:00:00Z",
    4,
    "29 Mar|06:00|12:00|18:00"
)]
#[case::days("UTC", "2025-09-08T09:00:00Z", "2025-09-12T09:00:00Z", 5, "9 Sep|10 Sep|11 Sep|12 Sep")]
#[case::mondays(
    "America/Los_Angeles",
    "2025-09-08T16:00:00Z",
    "2025-10-07T16:00:00Z",
    6,
    "15 Sep|22 Sep|29 Sep|6 Oct"
)]
#[case::months("UTC", "2025-10-20T00:00:00Z", "2026-03-02T00:00:00Z", 6, "Nov 2025|Dec|Jan 2026|Feb|Mar")]
#[case::years("UTC", "2025-10-20T00:00:00Z", "2029-03-02T00:00:00Z", 5, "2026|2027|2028|2029")]
fn ticks_are_what_people_think_in(
    #[case] zone: &str,
    #[case] from: &str,
    #[case] to: &str,
    #[case] most: usize,
    #[case] labels: &str,
) {
    let ticks = axis(zone, from, to).ticks(most);
    let found: Vec<&str> = ticks.iter().map(|tick| tick.label.as_str()).collect();
    assert_eq!(found.join("|"), labels);
}

#[test]
fn a_tick_is_at_the_zones_own_midnight() {
    // Clocks in Berlin go back on 26 October 2025: the days before begin at 22:00Z, those after at 23:00Z.
    let ticks = axis("Europe/Berlin", "2025-10-25T10:00:00Z", "2025-10-28T10:00:00Z").ticks(4);
    let at: Vec<String> = ticks.iter().map(|tick| tick.at.to_string()).collect();
    assert_eq!(at, ["2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z", "2025-10-27T23:00:00Z"]);
}

#[test]
fn weeks_keep_their_local_time() {
    let axis = axis("Europe/Berlin", "2025-10-15T00:00:00Z", "2025-11-05T00:00:00Z");
    let weeks = axis.weeks(t("2025-10-13T07:00:00Z"));
    let weeks: Vec<String> = weeks.iter().map(|week| format!("{} {}", week.label, week.at)).collect();
    assert_eq!(
        weeks,
        ["week 2 2025-10-20T07:00:00Z", "week 3 2025-10-27T08:00:00Z", "week 4 2025-11-03T08:00:00Z"]
    );
}

#[test]
fn never_more_ticks_than_there_is_room_for() {
    for days in [0, 1, 3, 9, 40, 200, 3000, 90_000] {
        for most in [1, 2, 5, 12, 50] {
            let to = t("2025-01-01T00:30:00Z") + SignedDuration::from_hours(24 * days + 1);
            let axis = TimeAxis::new(t("2025-01-01T00:30:00Z"), to, TimeZone::UTC);
            assert!(axis.ticks(most).len() <= most, "{days} days, {most}");
        }
    }
}

#[test]
fn what_lies_outside_is_at_the_edge_and_no_length_is_an_hour() {
    let axis = axis("UTC", "2025-09-08T00:00:00Z", "2025-09-08T00:00:00Z");
    assert_eq!(axis.to(), t("2025-09-08T01:00:00Z"));
    assert_eq!(axis.position(t("2025-09-08T00:15:00Z")), 0.25);
    assert_eq!((axis.position(MicroTime::MIN), axis.position(MicroTime::MAX)), (0.0, 1.0));
}

#[rstest]
#[case(&[0.4, 12.5], 5, "0|2.5|5|7.5|10|12.5")]
#[case(&[0.4, 3.0], 3, "0|1|2|3")]
#[case(&[-3.0, 7.0], 5, "-4|-2|0|2|4|6|8")]
#[case(&[f64::NAN, f64::INFINITY], 2, "0|0.5|1")]
#[case(&[0.0003], 3, "0|0.0001|0.0002|0.0003")]
#[case(&[4.1e9], 2, "0|2.5e9|5.0e9")]
fn values_have_round_lines(#[case] values: &[f64], #[case] lines: usize, #[case] labels: &str) {
    let axis = ValueAxis::of(values.iter().copied(), lines);
    let found: Vec<String> = axis.ticks().into_iter().map(ValueAxis::label).collect();
    assert_eq!(found.join("|"), labels);
}

#[test]
fn the_largest_numbers_have_an_axis() {
    let axis = ValueAxis::of([f64::MAX, f64::MIN], 4);
    assert!((0.0..=1.0).contains(&axis.position(f64::MAX)) && axis.ticks().len() < 60, "{axis:?}");
    assert_eq!(axis.position(f64::NAN), 0.0);
}

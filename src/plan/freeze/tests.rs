//! Offsets and changes are from the zones' laws; instants worked out by hand.

use rstest::rstest;

use super::*;
use crate::plan::calendar::zone;

fn freeze(from: &str, to: &str, yearly: bool) -> Freeze {
    Freeze { name: "f".to_owned(), from: from.parse().unwrap(), to: to.parse().unwrap(), yearly }
}

fn span(zone_name: &str, from: &str, to: &str) -> FreezeSpan {
    FreezeSpan::new(&freeze(from, to, from.len() == 5), &zone(zone_name).unwrap()).unwrap()
}

fn t(text: &str) -> MicroTime {
    text.parse().unwrap()
}

// The last instant before the freeze and the first one, the last one and the first after it.
#[rstest]
// New York at -05:00: the 26th begins at 05:00Z, the 29th too.
#[case::dates("America/New_York", "2026-11-26", "2026-11-28", "2026-11-26T05:00:00Z", "2026-11-29T05:00:00Z")]
#[case::one_date("UTC", "2026-11-26", "2026-11-26", "2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z")]
// 2025-11-02 has 25 hours in New York: from 04:00Z (-04:00) to 05:00Z (-05:00) of the next day.
#[case::long_day(
    "America/New_York",
    "2025-11-02",
    "2025-11-02",
    "2025-11-02T04:00:00Z",
    "2025-11-03T05:00:00Z"
)]
// In Havana 2026-03-08 begins at 01:00, as its midnight is in the gap (-05:00 to -04:00): 05:00Z.
#[case::midnight_in_a_gap(
    "America/Havana",
    "2026-03-08",
    "2026-03-08",
    "2026-03-08T05:00:00Z",
    "2026-03-09T04:00:00Z"
)]
// And 2025-11-02 has two midnights, 04:00Z and 05:00Z: it begins with the first.
#[case::two_midnights(
    "America/Havana",
    "2025-11-02",
    "2025-11-02",
    "2025-11-02T04:00:00Z",
    "2025-11-03T05:00:00Z"
)]
// Samoa left out 2011-12-30: a freeze to it ends when the 29th does (-10:00), one from it begins with the 31st (+14:00).
#[case::to_a_date_that_never_was(
    "Pacific/Apia",
    "2011-12-28",
    "2011-12-30",
    "2011-12-28T10:00:00Z",
    "2011-12-30T10:00:00Z"
)]
#[case::from_a_date_that_never_was(
    "Pacific/Apia",
    "2011-12-30",
    "2011-12-31",
    "2011-12-30T10:00:00Z",
    "2011-12-31T10:00:00Z"
)]
#[case::instants(
    "Asia/Tokyo",
    "2025-12-20T00:00:00Z",
    "2025-12-21T00:00:00Z",
    "2025-12-20T00:00:00Z",
    "2025-12-21T00:00:00Z"
)]
// Berlin at +01:00.
#[case::yearly("Europe/Berlin", "12-20", "01-02", "2025-12-19T23:00:00Z", "2026-01-02T23:00:00Z")]
#[case::yearly_again("Europe/Berlin", "12-20", "01-02", "2033-12-19T23:00:00Z", "2034-01-02T23:00:00Z")]
#[case::yearly_within_a_year("UTC", "07-04", "07-06", "2027-07-04T00:00:00Z", "2027-07-07T00:00:00Z")]
#[case::yearly_one_day("UTC", "01-01", "01-01", "2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z")]
#[case::to_a_leap_day("UTC", "02-20", "02-29", "2025-02-20T00:00:00Z", "2025-03-01T00:00:00Z")]
#[case::to_a_leap_day_that_is("UTC", "02-20", "02-29", "2028-02-20T00:00:00Z", "2028-03-01T00:00:00Z")]
#[case::from_a_leap_day("UTC", "02-29", "03-02", "2025-03-01T00:00:00Z", "2025-03-03T00:00:00Z")]
#[case::new_year_far_east(
    "Pacific/Kiritimati",
    "01-01",
    "01-01",
    "2025-12-31T10:00:00Z",
    "2026-01-01T10:00:00Z"
)]
fn begins_and_ends(
    #[case] zone: &str,
    #[case] from: &str,
    #[case] to: &str,
    #[case] begins: &str,
    #[case] ends: &str,
) {
    let span = span(zone, from, to);
    let moment = jiff::SignedDuration::from_micros(1);
    let (begins, ends) = (t(begins), t(ends));
    assert_eq!(span.end_at(begins - moment), None);
    assert_eq!(span.next_begin(begins - moment), Some(begins));
    assert_eq!(span.end_at(begins), Some(ends));
    assert_eq!(span.end_at(ends - moment), Some(ends));
    assert_eq!(span.end_at(ends), None);
}

#[test]
fn a_leap_day_alone_is_frozen_in_leap_years() {
    let span = span("UTC", "02-29", "02-29");
    assert_eq!(span.end_at(t("2028-02-29T12:00:00Z")), Some(t("2028-03-01T00:00:00Z")));
    for day in ["2027-02-28T12:00:00Z", "2027-03-01T12:00:00Z"] {
        assert_eq!(span.end_at(t(day)), None, "{day}");
        assert_eq!(span.next_begin(t(day)), Some(t("2028-02-29T00:00:00Z")), "{day}");
    }
}

// The clocks of St John's went back at 00:01 on 2010-11-07, from -02:30 to -03:30: 00:00 comes at 02:30Z and again at 03:30Z.
#[rstest]
#[case::ends("2010-11-05", "2010-11-06", "2010-11-07T02:29:00Z", "2010-11-07T02:30:00Z")]
#[case::ends_yearly("11-05", "11-06", "2010-11-07T02:29:00Z", "2010-11-07T02:30:00Z")]
#[case::begins("2010-11-07", "2010-11-07", "2010-11-07T03:00:00Z", "2010-11-08T03:30:00Z")]
#[case::begins_yearly("11-07", "11-07", "2010-11-07T03:00:00Z", "2010-11-08T03:30:00Z")]
fn a_day_that_comes_twice_begins_the_first_time(
    #[case] from: &str,
    #[case] to: &str,
    #[case] frozen: &str,
    #[case] end: &str,
) {
    let span = span("America/St_Johns", from, to);
    assert_eq!(span.end_at(t(frozen)), Some(t(end)));
    assert_eq!(span.end_at(t(end)), None);
}

#[rstest]
#[case::reversed("2025-01-02T00:00:00Z", "2025-01-01T00:00:00Z", false, "must come before")]
#[case::of_no_length("2025-01-02T00:00:00Z", "2025-01-02T00:00:00Z", false, "must come before")]
#[case::reversed_dates("2025-01-02", "2025-01-01", false, "must not come after")]
#[case::mixed("2025-01-02", "2025-01-03T00:00:00Z", false, "one form")]
#[case::days_without_yearly("12-20", "12-21", false, "one form")]
#[case::yearly_dates("2025-01-02", "2025-01-03", true, "one form")]
#[case::day_and_date("12-20", "2025-12-21", true, "one form")]
fn what_is_no_span_is_refused(
    #[case] from: &str,
    #[case] to: &str,
    #[case] yearly: bool,
    #[case] message: &str,
) {
    let refused = FreezeSpan::new(&freeze(from, to, yearly), &TimeZone::UTC).unwrap_err();
    assert!(refused.contains(message), "{refused}");
}

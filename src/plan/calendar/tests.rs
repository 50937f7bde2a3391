use super::*;
use crate::api::{Day, Freeze, FreezeTime};
use rstest::rstest;

fn calendar(zone: &str, days: Option<Vec<Day>>, from: &str, to: &str) -> Calendar {
    let list = WindowList {
        zone: super::zone(zone).unwrap(),
        windows: vec![Window { days, from: from.parse().unwrap(), to: to.parse().unwrap() }],
        policy: None,
    };
    Calendar::new(vec![list], vec![])
}

fn t(text: &str) -> MicroTime {
    text.parse().unwrap()
}

fn freeze(name: &str, from: &str, to: &str) -> FreezeSpan {
    let (from, to): (FreezeTime, FreezeTime) = (from.parse().unwrap(), to.parse().unwrap());
    let yearly = matches!(from, FreezeTime::Day(_));
    FreezeSpan::new(&Freeze { name: name.to_owned(), from, to, yearly }, &TimeZone::UTC).unwrap()
}

// 2025-03-09 is the spring gap in New York (02:00 EST -> 03:00 EDT at 07:00Z), 2025-11-02 the autumn overlap
// (02:00 EDT -> 01:00 EST at 06:00Z). Instants worked out by hand from the offsets -05:00 and -04:00.
#[rstest]
#[case::open_stays("UTC", "09:00", "16:00", "2025-09-08T09:00:00Z", "2025-09-08T09:00:00Z")]
#[case::to_is_outside("UTC", "09:00", "16:00", "2025-09-08T16:00:00Z", "2025-09-09T09:00:00Z")]
#[case::before("UTC", "09:00", "16:00", "2025-09-08T03:00:00Z", "2025-09-08T09:00:00Z")]
#[case::gap_moves_from_on(
    "America/New_York",
    "02:30",
    "05:00",
    "2025-03-09T05:30:00Z",
    "2025-03-09T07:30:00Z"
)]
#[case::gap_swallows("America/New_York", "02:15", "02:45", "2025-03-09T05:30:00Z", "2025-03-09T07:15:00Z")]
#[case::overlap_takes_first(
    "America/New_York",
    "01:30",
    "05:00",
    "2025-11-02T04:00:00Z",
    "2025-11-02T05:30:00Z"
)]
#[case::end_of_day("UTC", "22:00", "24:00", "2025-09-08T23:59:59Z", "2025-09-08T23:59:59Z")]
#[case::half_hour_zone("Asia/Kolkata", "09:00", "10:00", "2025-09-08T00:00:00Z", "2025-09-08T03:30:00Z")]
fn opens_next(
    #[case] zone: &str,
    #[case] from: &str,
    #[case] to: &str,
    #[case] at: &str,
    #[case] open: &str,
) {
    assert_eq!(calendar(zone, None, from, to).next_open(t(at)), Some(t(open)));
}

// Samoa and Tokelau left out 30 December 2011, Kwajalein 21 August 1993, Kiritimati 31 December 1994: each crossed the date
// line with the midnight before. The next date begins at the instant at which the one before it ended.
#[rstest]
#[case::samoa("Pacific/Apia", "2011-12-29T20:00:00Z", "2011-12-30T19:00:00Z")]
#[case::tokelau("Pacific/Fakaofo", "2011-12-29T21:00:00Z", "2011-12-30T20:00:00Z")]
#[case::kwajalein("Pacific/Kwajalein", "1993-08-20T22:00:00Z", "1993-08-21T21:00:00Z")]
#[case::kiritimati("Pacific/Kiritimati", "1994-12-30T20:00:00Z", "1994-12-31T19:00:00Z")]
fn a_date_that_never_was_has_no_window(#[case] zone: &str, #[case] closed: &str, #[case] opens: &str) {
    // Open at 09:00 on every date: after the last one before the gap, next on the first one after it.
    let calendar = calendar(zone, None, "09:00", "10:00");
    assert_eq!(calendar.next_open(t(closed)), Some(t(opens)));
    // A window on the weekday that was left out does not move to the day after.
    let skipped = t(opens).to_zoned(super::zone(zone).unwrap()).date().yesterday().unwrap().weekday();
    let all = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
    let days = all.into_iter().filter(|day| jiff::civil::Weekday::from(*day) == skipped).collect();
    let mut weekly = calendar.clone();
    weekly.lists[0].windows[0].days = Some(days);
    assert_eq!(weekly.next_open(t(closed)), Some(t(opens) + SignedDuration::from_hours(6 * 24)));
}

#[test]
fn names_are_those_of_the_bundled_iana_data() {
    for name in ["UTC", "America/Los_Angeles", "europe/berlin", "Asia/Calcutta", "EST"] {
        assert!(super::zone(name).is_some(), "{name}");
    }
    for name in ["localtime", "posixrules", "right/UTC", "posix/UTC", "Etc/Unknown", "", "UTC+3", "../UTC"] {
        assert!(super::zone(name).is_none(), "{name}");
    }
    assert!(super::zone_data() >= "2026c", "{}", super::zone_data());
}

#[test]
fn morocco_is_at_utc_since_september_2026() {
    // By release 2026c; older data has +01:00.
    let calendar = calendar("Africa/Casablanca", None, "09:00", "17:00");
    assert_eq!(calendar.next_open(t("2026-12-01T00:00:00Z")), Some(t("2026-12-01T09:00:00Z")));
}

#[test]
fn days_are_local_dates() {
    // Sunday 20:00Z is Monday 09:00 in Auckland (+13:00 in December).
    let calendar = calendar("Pacific/Auckland", Some(vec![Day::Mon]), "09:00", "10:00");
    assert_eq!(calendar.next_open(t("2025-12-06T00:00:00Z")), Some(t("2025-12-07T20:00:00Z")));
}

#[test]
fn a_freeze_ends_outside_of_it_and_windows_still_count() {
    let mut calendar = calendar("UTC", None, "09:00", "16:00");
    calendar.freezes.push(freeze("thanksgiving", "2025-11-26T00:00:00Z", "2025-12-01T00:00:00Z"));
    assert_eq!(calendar.closed(t("2025-11-27T10:00:00Z")), Some(Closed::Freeze("thanksgiving".into())));
    assert_eq!(calendar.next_open(t("2025-11-27T10:00:00Z")), Some(t("2025-12-01T09:00:00Z")));
    assert_eq!(calendar.closed(t("2025-12-01T08:00:00Z")), Some(Closed::Window(None)));
}

#[test]
fn closures_say_what_is_in_the_way_and_until_when() {
    let mut calendar = calendar("UTC", None, "09:00", "16:00");
    calendar.freezes.push(freeze("move", "2025-11-26T12:00:00Z", "2025-11-27T10:00:00Z"));
    calendar.freezes.push(freeze("yearly", "11-29", "11-30"));
    let closure = |from: &str, to: &str, why: Closed| Closure { from: t(from), to: t(to), why };
    let freeze = || Closed::Freeze("move".into());
    let all = [
        closure("2025-11-25T16:00:00Z", "2025-11-26T09:00:00Z", Closed::Window(None)),
        closure("2025-11-26T12:00:00Z", "2025-11-27T10:00:00Z", freeze()),
        closure("2025-11-27T16:00:00Z", "2025-11-28T00:00:00Z", Closed::Window(None)),
    ];
    let (from, to) = (t("2025-11-25T10:00:00Z"), t("2025-11-28T00:00:00Z"));
    assert_eq!(calendar.closures(from, to, 9), all);
    assert_eq!(calendar.closures(from, to, 2), all[..2]);
    assert_eq!(Calendar::default().closures(from, to, 9), []);
}

#[test]
fn lists_that_never_overlap_never_open() {
    let mut both = calendar("UTC", None, "09:00", "10:00");
    both.lists.extend(calendar("UTC", None, "10:00", "11:00").lists);
    assert_eq!(both.next_open(t("2025-09-08T00:00:00Z")), None);
}

#[test]
fn lists_that_overlap_only_while_summer_times_differ_are_found() {
    // 13:00-13:30 in New York is 17:00Z in summer and 18:00Z in winter; 18:00-18:30 in London is 17:00Z and
    // 18:00Z too. 12:00-12:30 New York meets 17:00-17:30 London in both; 12:00 New York meets 16:00 London
    // only between the two changes: from 2025-10-26 to 2025-11-02.
    let mut both = calendar("America/New_York", None, "12:00", "12:30");
    both.lists.extend(calendar("Europe/London", None, "16:00", "16:30").lists);
    assert_eq!(both.next_open(t("2025-06-01T00:00:00Z")), Some(t("2025-10-26T16:00:00Z")));
}

#[test]
fn freezes_that_meet_are_one_and_windows_come_after_them() {
    let mut calendar = calendar("UTC", None, "09:00", "16:00");
    calendar.freezes = vec![
        freeze("winter", "12-20", "01-02"),
        freeze("inventory", "2026-01-03", "2026-01-05"),
        freeze("audit", "2026-01-05", "2026-01-06"),
    ];
    assert_eq!(calendar.closed(t("2026-01-05T10:00:00Z")), Some(Closed::Freeze("inventory".into())));
    assert_eq!(calendar.next_open(t("2025-12-20T00:00:00Z")), Some(t("2026-01-07T09:00:00Z")));
    assert_eq!(calendar.next_open(t("2026-12-31T12:00:00Z")), Some(t("2027-01-03T09:00:00Z")));
}

#[test]
fn what_is_frozen_all_year_never_opens() {
    let calendar = Calendar::new(vec![], vec![freeze("ever", "03-01", "02-29")]);
    assert_eq!(calendar.next_open(t("2025-09-08T00:00:00Z")), None);
    let calendar = Calendar::new(vec![], vec![freeze("leap-day", "03-01", "02-28")]);
    assert_eq!(calendar.next_open(t("2027-09-08T00:00:00Z")), Some(t("2028-02-29T00:00:00Z")));
    assert_eq!(calendar.next_open(t("2025-09-08T00:00:00Z")), None, "none within 400 days");
}

#[test]
fn a_search_beyond_many_freezes_ends() {
    let mut never = calendar("UTC", None, "09:00", "10:00");
    never.lists.extend(calendar("UTC", None, "10:00", "11:00").lists);
    never.freezes = (0..128i32)
        .map(|year| {
            let year = 2027 + year;
            freeze("x", &format!("{year}-01-01"), &format!("{year}-01-02"))
        })
        .collect();
    assert_eq!(never.next_open(t("2026-09-08T00:00:00Z")), None);
    let mut never = never.clone();
    never.lists.truncate(1);
    assert_eq!(never.next_open(t("2027-01-01T00:00:00Z")), Some(t("2027-01-03T09:00:00Z")));
}

/// The next opening by looking at every freeze and every window anew each time.
fn slowly(calendar: &Calendar, t: MicroTime) -> Option<MicroTime> {
    let mut at = t;
    let mut horizon = t.saturating_add(HORIZON);
    'search: for _ in 0..8192 {
        if at > horizon {
            return None;
        }
        if let Some((freeze, end)) = calendar.freeze_at(at) {
            at = end;
            if freeze.once().is_some() {
                horizon = horizon.max(end.saturating_add(HORIZON));
            }
            continue;
        }
        for list in &calendar.lists {
            if !list.is_open(at) {
                at = list.next_opening(at)?;
                continue 'search;
            }
        }
        return Some(at);
    }
    None
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    const ZONES: [&str; 7] = [
        "UTC",
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Casablanca",
        "Asia/Kolkata",
        "Pacific/Kiritimati",
    ];

    fn window() -> impl Strategy<Value = Window> {
        let days = proptest::option::of(proptest::sample::subsequence(
            vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun],
            1..=3,
        ));
        (days, 0..1440u16, 1..180u16).prop_map(|(days, from, long)| {
            let text = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
            let to = (from + long).min(1440);
            Window { days, from: text(from).parse().unwrap(), to: text(to).parse().unwrap() }
        })
    }

    fn list() -> impl Strategy<Value = WindowList> {
        (0..ZONES.len(), proptest::collection::vec(window(), 1..5)).prop_map(|(zone, windows)| WindowList {
            zone: super::super::zone(ZONES[zone]).unwrap(),
            windows,
            policy: None,
        })
    }

    fn a_freeze() -> impl Strategy<Value = FreezeSpan> {
        let day = (1..=12u8, 1..=29u8).prop_map(|(month, day)| {
            let day = if month == 2 { day } else { day.min(28) };
            format!("{month:02}-{day:02}")
        });
        let date = (2010..2013i32, 0..365i64).prop_map(|(year, days)| {
            Date::new(year.try_into().unwrap(), 1, 1).unwrap().checked_add(days.days()).unwrap()
        });
        let instant = (1_280_000_000..1_360_000_000i64, 0..400_000i64);
        let declared = prop_oneof![
            (day.clone(), day).prop_map(|(from, to)| (from, to, true)),
            (date, 0..40i64).prop_map(|(from, long)| {
                (from.to_string(), from.checked_add(long.days()).unwrap().to_string(), false)
            }),
            instant.prop_map(|(from, long)| {
                let at = |second| MicroTime::from_second(second).unwrap().to_string();
                (at(from), at(from + long + 1), false)
            }),
        ];
        (declared, 0..ZONES.len()).prop_map(|((from, to, yearly), zone)| {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            let freeze = Freeze { name: "some".to_owned(), from, to, yearly };
            FreezeSpan::new(&freeze, &super::super::zone(ZONES[zone]).unwrap()).unwrap()
        })
    }

    proptest! {
        #[test]
        fn the_search_finds_what_looking_at_everything_finds_in_whatever_order_it_is_asked(
            lists in proptest::collection::vec(list(), 0..4),
            freezes in proptest::collection::vec(a_freeze(), 0..12),
            asked in proptest::collection::vec((1_280_000_000..1_370_000_000i64, 0..1_000_000i64), 1..12),
        ) {
            let calendar = Calendar::new(lists, freezes);
            for (second, micro) in asked {
                let t = MicroTime::from_second(second).unwrap() + SignedDuration::from_micros(micro);
                let (found, expected) = (calendar.next_open(t), slowly(&calendar, t));
                match expected {
                    Some(_) => prop_assert_eq!(found, expected),
                    // It may know of more freezes, and so look further.
                    None => prop_assert!(found.is_none_or(|found| found > t + HORIZON), "{:?}", found),
                }
                if let Some(found) = found {
                    prop_assert_eq!(calendar.closed(found), None);
                }
            }
        }
    }
}

#[test]
fn an_opening_behind_thousands_that_another_list_or_a_freeze_shuts_is_found() {
    // Sixteen minutes of each of six days and one more on Mondays, in two lists that meet on Mondays alone, which are frozen: it takes
    // thousands of moves to the opening in the next year.
    let windows = |minute: u16| -> Vec<Window> {
        let at = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60).parse().unwrap();
        let days = Some(vec![Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun]);
        let often = (0..15).map(|i| Window {
            days: days.clone(),
            from: at(90 * i + minute),
            to: at(90 * i + minute + 1),
        });
        let monday = Window { days: Some(vec![Day::Mon]), from: at(720), to: at(721) };
        often.chain([monday]).collect()
    };
    let list = |minute| WindowList { zone: TimeZone::UTC, windows: windows(minute), policy: None };
    let first: Date = "2026-01-05".parse().unwrap();
    let mondays = (0..40i64).map(|week| {
        let date = first.checked_add((7 * week).days()).unwrap().to_string();
        freeze("monday", &date, &date)
    });
    let leaps = (0..88).map(|_| freeze("leap", "02-29", "02-29"));
    let calendar = Calendar::new(vec![list(0), list(45)], mondays.chain(leaps).collect());
    let opens = calendar.next_open(t("2026-01-05T13:00:00Z"));
    assert_eq!(opens, Some(t("2026-10-12T12:00:00Z")));
}

//! Windows and freezes: when raises may happen.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::api::{Freeze, Window};

/// How far a search for the next opening looks beyond the last freeze: over a year, because two lists in two
/// zones may overlap only while their summer times differ.
const HORIZON: SignedDuration = SignedDuration::from_hours(24 * 400);

/// The windows that must be open and the freezes that must be over before anything is raised.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeGate {
    /// One list each of the rollout and its FlagSet: any window of a list will do, and every list must allow.
    pub lists: Vec<WindowList>,
    /// The freezes of both.
    pub freezes: Vec<Freeze>,
}

/// Windows of one owner, in that owner's zone.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowList {
    /// Zone of the local times.
    pub zone: TimeZone,
    /// At least one window.
    pub windows: Vec<Window>,
}

/// Why nothing may be raised at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// No window of a list is open.
    Window,
    /// The freeze of this name is in force.
    Freeze(String),
}

impl TimeGate {
    /// What closes the gate at `t`; `None` when it is open.
    pub fn closed(&self, t: Timestamp) -> Option<Closed> {
        if let Some(freeze) = self.freeze_at(t) {
            return Some(Closed::Freeze(freeze.name.clone()));
        }
        (!self.lists.iter().all(|list| list.is_open(t))).then_some(Closed::Window)
    }

    /// The gate without its windows, without its freezes, or without both.
    pub fn without(&self, windows: bool, freezes: bool) -> TimeGate {
        TimeGate {
            lists: if windows { Vec::new() } else { self.lists.clone() },
            freezes: if freezes { Vec::new() } else { self.freezes.clone() },
        }
    }

    /// The first instant from `t` on at which the gate is open; `None` when there is none within 400 days of
    /// the last freeze.
    pub fn next_open(&self, t: Timestamp) -> Option<Timestamp> {
        let mut at = t;
        let last_freeze = self.freezes.iter().map(|freeze| freeze.to.timestamp()).max();
        let horizon = last_freeze.map_or(t, |end| end.max(t)).saturating_add(HORIZON).ok()?;
        'search: while at <= horizon {
            if let Some(freeze) = self.freeze_at(at) {
                at = freeze.to.timestamp();
                continue;
            }
            for list in &self.lists {
                if !list.is_open(at) {
                    at = list.next_opening(at)?;
                    continue 'search;
                }
            }
            return Some(at);
        }
        None
    }

    fn freeze_at(&self, t: Timestamp) -> Option<&Freeze> {
        self.freezes.iter().find(|freeze| freeze.from.timestamp() <= t && t < freeze.to.timestamp())
    }
}

impl WindowList {
    fn is_open(&self, t: Timestamp) -> bool {
        let date = t.to_zoned(self.zone.clone()).date();
        // An end of 24:00 that falls into a gap ends on the next date's clock.
        [date.yesterday().ok(), Some(date)]
            .into_iter()
            .flatten()
            .flat_map(|date| self.on(date))
            .any(|(from, to)| from <= t && t < to)
    }

    /// The first opening after `t`. Two weeks hold every weekday twice, so a gap cannot hide them all.
    fn next_opening(&self, t: Timestamp) -> Option<Timestamp> {
        let mut date = t.to_zoned(self.zone.clone()).date();
        for _ in 0..15 {
            let opening = self.on(date).map(|(from, _)| from).filter(|from| *from > t).min();
            if opening.is_some() {
                return opening;
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// The windows of a local date, each an interval of instants; one that a gap swallows is left out.
    fn on(&self, date: Date) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        self.windows
            .iter()
            .filter(move |window| {
                window.days.as_ref().is_none_or(|days| {
                    days.iter().any(|day| jiff::civil::Weekday::from(*day) == date.weekday())
                })
            })
            .filter_map(move |window| {
                let from = self.instant(date, window.from.minutes())?;
                let to = self.instant(date, window.to.minutes())?;
                (from < to).then_some((from, to))
            })
    }

    fn instant(&self, date: Date, minutes: u16) -> Option<Timestamp> {
        let (date, minutes) =
            if minutes >= 1440 { (date.checked_add(1.day()).ok()?, minutes - 1440) } else { (date, minutes) };
        let hour = i8::try_from(minutes / 60).ok()?;
        let minute = i8::try_from(minutes % 60).ok()?;
        let local = date.at(hour, minute, 0, 0);
        // `compatible` is what to_zoned does: a gap moves on, an overlap takes the earlier instant.
        Some(local.to_zoned(self.zone.clone()).ok()?.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Day;
    use rstest::rstest;

    fn gate(zone: &str, days: Option<Vec<Day>>, from: &str, to: &str) -> TimeGate {
        TimeGate {
            lists: vec![WindowList {
                zone: TimeZone::get(zone).unwrap(),
                windows: vec![Window { days, from: from.parse().unwrap(), to: to.parse().unwrap() }],
            }],
            freezes: vec![],
        }
    }

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
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
    #[case::gap_swallows(
        "America/New_York",
        "02:15",
        "02:45",
        "2025-03-09T05:30:00Z",
        "2025-03-09T07:15:00Z"
    )]
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
        assert_eq!(gate(zone, None, from, to).next_open(t(at)), Some(t(open)));
    }

    #[test]
    fn days_are_local_dates() {
        // Sunday 20:00Z is Monday 09:00 in Auckland (+13:00 in December).
        let gate = gate("Pacific/Auckland", Some(vec![Day::Mon]), "09:00", "10:00");
        assert_eq!(gate.next_open(t("2025-12-06T00:00:00Z")), Some(t("2025-12-07T20:00:00Z")));
    }

    #[test]
    fn a_freeze_ends_outside_of_it_and_windows_still_count() {
        let mut gate = gate("UTC", None, "09:00", "16:00");
        gate.freezes.push(Freeze {
            name: "thanksgiving".into(),
            from: t("2025-11-26T00:00:00Z").into(),
            to: t("2025-12-01T00:00:00Z").into(),
        });
        assert_eq!(gate.closed(t("2025-11-27T10:00:00Z")), Some(Closed::Freeze("thanksgiving".into())));
        assert_eq!(gate.next_open(t("2025-11-27T10:00:00Z")), Some(t("2025-12-01T09:00:00Z")));
        assert_eq!(gate.closed(t("2025-12-01T08:00:00Z")), Some(Closed::Window));
    }

    #[test]
    fn lists_that_never_overlap_never_open() {
        let mut both = gate("UTC", None, "09:00", "10:00");
        both.lists.extend(gate("UTC", None, "10:00", "11:00").lists);
        assert_eq!(both.next_open(t("2025-09-08T00:00:00Z")), None);
    }

    #[test]
    fn lists_that_overlap_only_while_summer_times_differ_are_found() {
        // 13:00-13:30 in New York is 17:00Z in summer and 18:00Z in winter; 18:00-18:30 in London is 17:00Z and
        // 18:00Z too. 12:00-12:30 New York meets 17:00-17:30 London in both; 12:00 New York meets 16:00 London
        // only between the two changes: from 2025-10-26 to 2025-11-02.
        let mut both = gate("America/New_York", None, "12:00", "12:30");
        both.lists.extend(gate("Europe/London", None, "16:00", "16:30").lists);
        assert_eq!(both.next_open(t("2025-06-01T00:00:00Z")), Some(t("2025-10-26T16:00:00Z")));
    }
}

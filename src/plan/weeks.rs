//! Weeks of a plan: each begins at the local time at which the first began, so many weeks later on the calendar.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span};

use super::FieldError;
use super::compile::zone;
use crate::api::MicroTime;
use crate::api::playbook::{LAST_WEEK, PlaybookSpec};

const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The weeks that are counted from one local date and time.
#[derive(Clone, Debug, PartialEq)]
pub struct Weeks {
    start: DateTime,
    zone: TimeZone,
}

impl Weeks {
    /// The weeks of a playbook; what is wrong with its date, time and zone is added to `errors`.
    pub fn of(spec: &PlaybookSpec, errors: &mut Vec<FieldError>) -> Option<Weeks> {
        let zone = match &spec.time_zone {
            Some(name) => zone(name, "spec.timeZone", errors)?,
            None => TimeZone::UTC,
        };
        let minutes = spec.start_time.map_or(0, crate::api::TimeOfDay::minutes);
        let midnight = spec.start_date.date().to_datetime(jiff::civil::Time::midnight());
        let start = midnight.checked_add(SignedDuration::from_mins(i64::from(minutes))).ok();
        let weeks = start.map(|start| Weeks { start, zone });
        // Then each week that can be planned for has a beginning.
        let weeks = weeks.filter(|weeks| weeks.begins(LAST_WEEK).is_some());
        if weeks.is_none() {
            let error = FieldError::new("spec.startDate", "is too late: its weeks are beyond the calendar");
            errors.push(error.with_value(spec.start_date));
        }
        weeks
    }

    /// The weeks from an instant on, counted in a zone.
    pub fn since(start: MicroTime, zone: TimeZone) -> Weeks {
        Weeks { start: start.to_zoned(zone.clone()).datetime(), zone }
    }

    /// When a week begins; the first one is 1. `None` where that is outside of the years −9999 to 9999.
    pub fn begins(&self, week: i32) -> Option<MicroTime> {
        let weeks = Span::new().try_weeks(i64::from(week).saturating_sub(1)).ok()?;
        let local = self.start.checked_add(weeks).ok()?;
        Some(local.to_zoned(self.zone.clone()).ok()?.timestamp().into())
    }

    /// The week that an instant is in; 0 and less before the first.
    pub fn week_at(&self, at: MicroTime) -> i32 {
        let local = at.to_zoned(self.zone.clone()).datetime();
        let passed = local.duration_since(self.start).as_secs().div_euclid(WEEK.as_secs());
        let mut week = i32::try_from(passed).unwrap_or(i32::MAX - 1).saturating_add(1);
        // Where the local time of the beginning does not exist, or exists twice, the instant decides.
        if self.begins(week).is_some_and(|begins| begins > at) {
            week = week.saturating_sub(1);
        } else if self.begins(week.saturating_add(1)).is_some_and(|begins| begins <= at) {
            week = week.saturating_add(1);
        }
        week
    }

    /// The zone of the weeks.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::calendar;

    fn weeks(spec: &str) -> Weeks {
        let mut errors = Vec::new();
        let weeks = Weeks::of(&serde_saphyr::from_str(spec).unwrap(), &mut errors);
        assert_eq!(errors, []);
        weeks.unwrap()
    }

    #[test]
    fn a_week_begins_at_the_same_local_time_over_a_change_of_clocks() {
        let weeks =
            weeks("{startDate: '2025-10-20', startTime: '09:00', timeZone: America/Los_Angeles, phases: []}");
        let begins = |week| weeks.begins(week).unwrap().to_string();
        assert_eq!(
            [1, 2, 3].map(begins),
            ["2025-10-20T16:00:00Z", "2025-10-27T16:00:00Z", "2025-11-03T17:00:00Z"]
        );
        let at = |text: &str| weeks.week_at(text.parse().unwrap());
        assert_eq!(at("2025-10-20T15:59:59Z"), 0);
        assert_eq!(at("2025-10-20T16:00:00Z"), 1);
        assert_eq!(at("2025-11-03T16:59:59Z"), 2);
        assert_eq!(at("2025-11-03T17:00:00Z"), 3);
        assert_eq!(at("2025-10-12T00:00:00Z"), -1);
        assert_eq!([i32::MIN, 2_000_000, i32::MAX].map(|week| weeks.begins(week)), [None; 3]);
    }

    #[test]
    fn without_a_time_and_a_zone_it_is_midnight_utc() {
        assert_eq!(
            weeks("{startDate: '2025-09-08', phases: []}").begins(2).unwrap().to_string(),
            "2025-09-15T00:00:00Z"
        );
    }

    #[test]
    fn a_zone_that_is_none_is_named() {
        let mut errors = Vec::new();
        let spec = serde_saphyr::from_str("{startDate: '2025-09-08', timeZone: Mars/Base, phases: []}");
        assert!(Weeks::of(&spec.unwrap(), &mut errors).is_none());
        assert!(errors[0].to_string().contains("spec.timeZone: \"Mars/Base\""), "{errors:?}");
    }

    proptest! {
        #[test]
        fn every_instant_is_in_the_week_that_begins_at_or_before_it(
            start in 0..4_000_000_000_i64, after in 0..300_000_000_i64, zone in 0..4_usize
        ) {
            let zone = ["UTC", "America/Sao_Paulo", "Australia/Lord_Howe", "Africa/Cairo"][zone];
            let weeks = Weeks::since(MicroTime::from_second(start).unwrap(), calendar::zone(zone).unwrap());
            let at = MicroTime::from_second(start + after).unwrap();
            let week = weeks.week_at(at);
            prop_assert!(weeks.begins(week).unwrap() <= at && at < weeks.begins(week + 1).unwrap(), "{week}");
        }
    }
}

//! When the hold of a step is over.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};

use crate::api::{self, MicroTime};

/// How long a step is kept at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// A length of time.
    Time(SignedDuration),
    /// Whole days of the calendar.
    Days(u16),
}

impl Hold {
    /// The first instant at which a hold that began at `from` is over.
    ///
    /// One in days ends at the local time of `zone` at which it began; where a change of clocks leaves that out or has it
    /// twice, by the rule of every local time: later by the gap, or at the first of both.
    pub fn end(self, from: MicroTime, zone: &TimeZone) -> MicroTime {
        match self {
            Hold::Time(length) => from.saturating_add(length),
            Hold::Days(days) => {
                let local = from.to_zoned(zone.clone()).datetime();
                let end = local.checked_add(i64::from(days).days());
                end.and_then(|end| end.to_zoned(zone.clone()))
                    .map_or(MicroTime::MAX, |end| end.timestamp().into())
            }
        }
    }
}

impl From<api::Hold> for Hold {
    fn from(hold: api::Hold) -> Hold {
        match hold {
            api::Hold::Time(length) => Hold::Time(length.signed()),
            api::Hold::Days(days) => Hold::Days(days),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::calendar::zone;
    use rstest::rstest;

    #[rstest]
    // New York: -05:00 to -04:00 on 2025-03-09 at 02:00, and back on 2025-11-02 at 02:00.
    #[case::spring("America/New_York", "2025-03-08T14:00:00Z", 1, "2025-03-09T13:00:00Z")]
    #[case::autumn("America/New_York", "2025-11-01T13:00:00Z", 1, "2025-11-02T14:00:00Z")]
    #[case::over_the_week("America/New_York", "2025-03-05T14:00:00Z", 7, "2025-03-12T13:00:00Z")]
    #[case::into_the_gap("America/New_York", "2025-03-08T07:30:00Z", 1, "2025-03-09T07:30:00Z")]
    #[case::into_the_overlap("America/New_York", "2025-11-01T05:30:00Z", 1, "2025-11-02T05:30:00Z")]
    // From the second 01:30, at -05:00.
    #[case::from_the_overlap("America/New_York", "2025-11-02T06:30:00Z", 1, "2025-11-03T06:30:00Z")]
    #[case::half_an_hour("Australia/Lord_Howe", "2025-10-03T22:30:00Z", 2, "2025-10-05T22:00:00Z")]
    // Samoa left out 2011-12-30: the day after the 29th is the 31st, 24 hours later.
    #[case::a_day_that_never_was("Pacific/Apia", "2011-12-29T19:00:00Z", 1, "2011-12-30T19:00:00Z")]
    #[case::utc("UTC", "2025-03-08T14:00:00.000001Z", 1, "2025-03-09T14:00:00.000001Z")]
    #[case::beyond_time("UTC", "9999-12-30T00:00:00Z", 9999, "9999-12-30T22:00:00.999999Z")]
    fn days_end_at_the_same_local_time(
        #[case] zone_name: &str,
        #[case] from: &str,
        #[case] days: u16,
        #[case] end: &str,
    ) {
        let zone = zone(zone_name).unwrap();
        assert_eq!(Hold::Days(days).end(from.parse().unwrap(), &zone).to_string(), end);
    }
}

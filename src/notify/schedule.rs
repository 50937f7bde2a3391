//! When digests come, by cron and time zone.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Zoned};

use crate::api::MicroTime;

/// The least time from one to the next.
const LEAST: SignedDuration = SignedDuration::from_mins(15);
/// How many are looked at to know that.
const LOOKED_AT: usize = 100;

/// Times of a digest.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// By minute, hour, day of the month, month and day of the week; UTC without a zone.
    ///
    /// # Errors
    /// The field that is wrong, and what is wrong with it: one that never comes, or too often, is.
    pub fn new(schedule: &str, zone: Option<&str>) -> Result<Schedule, (&'static str, String)> {
        let zone = match zone {
            None => TimeZone::UTC,
            Some(name) => crate::plan::calendar::zone(name)
                .ok_or_else(|| ("timeZone", format!("{} is no time zone", crate::visible::line(name))))?,
        };
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let wrong = |error: String| ("schedule", error);
        let cron =
            parser.parse(schedule).map_err(|error| wrong(super::text::line(&error.to_string(), 200)))?;
        let schedule = Schedule { cron, zone };
        // Any time will do: what comes once comes again.
        let mut at = MicroTime::from_second(1_767_225_600).unwrap_or(MicroTime::UNIX_EPOCH);
        for i in 0..LOOKED_AT {
            let next = schedule.next(at).ok_or_else(|| wrong("it never comes".to_owned()))?;
            if i > 0 && next.duration_since(at) < LEAST {
                return Err(wrong("it comes more often than every quarter of an hour".to_owned()));
            }
            at = next;
        }
        Ok(schedule)
    }

    /// The first time after an instant.
    pub fn next(&self, after: MicroTime) -> Option<MicroTime> {
        let found = self.cron.find_next_occurrence(&self.local(after), false).ok()?;
        Some(found.timestamp().into())
    }

    /// The last time up to an instant.
    pub fn last(&self, until: MicroTime) -> Option<MicroTime> {
        let found = self.cron.find_previous_occurrence(&self.local(until), true).ok()?;
        Some(found.timestamp().into())
    }

    /// The zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    fn local(&self, at: MicroTime) -> Zoned {
        at.to_zoned(self.zone.clone())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0 9 * * *", "UTC", "2026-03-01T08:00:00Z", "2026-03-01T09:00:00Z")]
    #[case("0 9 * * *", "UTC", "2026-03-01T09:00:00Z", "2026-03-02T09:00:00Z")]
    #[case("0 9 * * MON-FRI", "America/Los_Angeles", "2026-03-06T18:00:00Z", "2026-03-09T16:00:00Z")]
    #[case("30 8 1 * *", "Europe/Berlin", "2026-03-01T08:00:00Z", "2026-04-01T06:30:00Z")]
    // An hour that is skipped: just after it.
    #[case("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z")]
    fn times(#[case] cron: &str, #[case] zone: &str, #[case] after: &str, #[case] next: &str) {
        let schedule = Schedule::new(cron, Some(zone)).unwrap();
        assert_eq!(schedule.next(after.parse().unwrap()), Some(next.parse().unwrap()));
        let next: MicroTime = next.parse().unwrap();
        assert_eq!(schedule.last(next), Some(next), "up to and including");
    }
}

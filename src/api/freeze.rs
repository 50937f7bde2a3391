//! Freezes: spans of time in which nothing is raised, between instants or by the calendar.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::MicroTime;

/// Highest number of freezes in a list: a few years of public holidays.
pub const MAX_FREEZES: usize = 128;

/// A day of some year, with or without the year, or an instant of RFC 3339. That a year has no 29 February is left to rules.
pub const PATTERN: &str = concat!(
    r"^(([0-9]{4}-)?((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|[12][0-9]))",
    r"|[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
    r"[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?([Zz]|[-+]([01][0-9]|2[0-3]):[0-5][0-9]))$"
);

/// A span of time in which nothing is raised: between two instants, over whole local days, or over the same days of every
/// year. What is lowered, rollbacks too, is never held back by one.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.yearly) && self.yearly) == (size(self.from) == 5) && (size(self.from) == 5) == (size(self.to) == 5) && (size(self.from) == 10) == (size(self.to) == 10)").message("from and to must have one form: two instants, two dates such as 2025-12-20, or with yearly: true two days such as 12-20"))]
#[x_kube(validation = Rule::new("size(self.from) < 11 || size(self.to) < 11 || timestamp(self.from) < timestamp(self.to)").message("from must come before to"))]
#[x_kube(validation = Rule::new("size(self.from) != 10 || size(self.to) != 10 || timestamp(self.from + 'T00:00:00Z') <= timestamp(self.to + 'T00:00:00Z')").message("from must not come after to"))]
pub struct Freeze {
    /// Name, unique in its list, shown while the freeze holds a raise back.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// When the freeze begins: an instant such as `2025-12-19T17:00:00Z`, which is its first; a local date such as
    /// `2025-12-20`, frozen from its midnight on; or, with `yearly: true`, a day such as `12-20`.
    pub from: FreezeTime,
    /// When the freeze ends, in the form of `from`: the first instant after it, or the last day of it, which is frozen as a
    /// whole. With `yearly: true` a day before that of `from` is one of the next year: `12-20` to `01-02`.
    pub to: FreezeTime,
    /// Whether the freeze comes back every year; `from` and `to` are days without a year then. A freeze to `02-29` ends with
    /// February every year. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yearly: bool,
}

/// One end of a freeze.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum FreezeTime {
    /// An instant.
    Instant(MicroTime),
    /// A local date.
    Date(Date),
    /// A local day of every year.
    Day(YearDay),
}

/// A day of the year, `01-01` to `12-31`; `02-29` is one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct YearDay {
    month: i8,
    day: i8,
}

/// A text that is no end of a freeze.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no end of a freeze: write an instant such as 2025-12-20T00:00:00Z, a date such as 2025-12-20, or with yearly: \
     true a day such as 12-20"
)]
pub struct FreezeTimeError(String);

impl YearDay {
    /// The day of a date.
    pub fn of(date: Date) -> YearDay {
        YearDay { month: date.month(), day: date.day() }
    }

    /// The first date of a year that is not before this day: itself, or in most years 1 March for `02-29`. None outside of
    /// the years that dates have.
    pub fn first_from(self, year: i16) -> Option<Date> {
        Date::new(year, self.month, self.day).or_else(|_| Date::new(year, self.month + 1, 1)).ok()
    }

    /// The first date that is after this day of a year: the next day, or in most years 1 March for `02-29`. None outside of
    /// the years that dates have.
    pub fn first_after(self, year: i16) -> Option<Date> {
        match Date::new(year, self.month, self.day) {
            Ok(date) => date.tomorrow().ok(),
            Err(_) => self.first_from(year),
        }
    }
}

/// In a leap year, which has every day.
const LEAP_YEAR: i16 = 2024;

impl FromStr for YearDay {
    type Err = FreezeTimeError;

    fn from_str(text: &str) -> Result<YearDay, FreezeTimeError> {
        let error = || FreezeTimeError(text.to_owned());
        let (month, day) = text.split_once('-').ok_or_else(error)?;
        let number = |s: &str| -> Option<i8> {
            (s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse().ok()).flatten()
        };
        let (month, day) = number(month).zip(number(day)).ok_or_else(error)?;
        Date::new(LEAP_YEAR, month, day).map(YearDay::of).map_err(|_| error())
    }
}

impl fmt::Display for YearDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}-{:02}", self.month, self.day)
    }
}

impl FromStr for FreezeTime {
    type Err = FreezeTimeError;

    fn from_str(text: &str) -> Result<FreezeTime, FreezeTimeError> {
        let error = || FreezeTimeError(crate::bounds::cut(text).into_owned());
        match text.len() {
            5 => text.parse().map(FreezeTime::Day),
            // Jiff reads more forms of a date than the schema lets through.
            10 if text.bytes().filter(|b| *b == b'-').count() == 2 => {
                text.parse().map(FreezeTime::Date).map_err(|_| error())
            }
            _ => text.parse().map(FreezeTime::Instant).map_err(|_| error()),
        }
    }
}

impl fmt::Display for FreezeTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FreezeTime::Instant(at) => at.fmt(f),
            FreezeTime::Date(date) => date.fmt(f),
            FreezeTime::Day(day) => day.fmt(f),
        }
    }
}

impl fmt::Debug for FreezeTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for YearDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<MicroTime> for FreezeTime {
    fn from(at: MicroTime) -> FreezeTime {
        FreezeTime::Instant(at)
    }
}

impl Serialize for FreezeTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            FreezeTime::Instant(at) => at.serialize(serializer),
            FreezeTime::Date(_) | FreezeTime::Day(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for FreezeTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FreezeTime, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for FreezeTime {
    fn schema_name() -> Cow<'static, str> {
        "FreezeTime".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 40, "pattern": PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("2025-12-20", "\"2025-12-20\"")]
    #[case("12-20", "\"12-20\"")]
    #[case("02-29", "\"02-29\"")]
    #[case("2025-12-20T01:00:00+01:00", "\"2025-12-20T00:00:00.000000Z\"")]
    fn reads_and_writes(#[case] text: &str, #[case] written: &str) {
        let time: FreezeTime = text.parse().unwrap();
        assert_eq!(serde_json::to_string(&time).unwrap(), written);
        assert_eq!(serde_json::from_str::<FreezeTime>(written).unwrap(), time);
    }

    #[rstest]
    #[case("2025-02-29")]
    #[case("02-30")]
    #[case("13-01")]
    #[case("1-2")]
    #[case("20251220")]
    #[case("2025-W10-1")]
    #[case("2025-12-20T00:00:00")]
    #[case("tomorrow")]
    #[case("ä-ä")]
    fn refuses_what_is_no_end_of_a_freeze(#[case] text: &str) {
        assert!(text.parse::<FreezeTime>().is_err());
    }

    #[test]
    fn a_leap_day_stands_for_the_end_of_february_in_other_years() {
        let leap: YearDay = "02-29".parse().unwrap();
        let date = |text: &str| text.parse::<Date>().ok();
        assert_eq!(leap.first_from(2024), date("2024-02-29"));
        assert_eq!(leap.first_after(2024), date("2024-03-01"));
        assert_eq!(leap.first_from(2025), date("2025-03-01"));
        assert_eq!(leap.first_after(2025), date("2025-03-01"));
    }
}

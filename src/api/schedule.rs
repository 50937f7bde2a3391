//! When raises may happen: windows of local time, as rollouts and FlagSets declare them.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Weekday;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::written::written_as_text;

/// A recurring span of local time in which raises may happen.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.from < self.to").message("from must come before to; a window does not cross midnight"))]
pub struct Window {
    /// Days of the week on which the window opens, by the local date, such as `[Mon, Tue, Wed, Thu]`. Default: every
    /// day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 7), extend("x-kubernetes-list-type" = "set"))]
    pub days: Option<Vec<Day>>,
    /// Local time at which the window opens, in the time zone of the list that it is in. It comes before `to`: a window
    /// does not cross midnight.
    pub from: TimeOfDay,
    /// Local time at which the window closes; that minute is not in it any more. `24:00` is the end of the day.
    pub to: TimeOfDay,
}

/// A day of the week.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Day {
    /// The window opens on Monday.
    Mon,
    /// The window opens on Tuesday.
    Tue,
    /// The window opens on Wednesday.
    Wed,
    /// The window opens on Thursday.
    Thu,
    /// The window opens on Friday.
    Fri,
    /// The window opens on Saturday.
    Sat,
    /// The window opens on Sunday.
    Sun,
}

impl From<Day> for Weekday {
    fn from(day: Day) -> Weekday {
        match day {
            Day::Mon => Weekday::Monday,
            Day::Tue => Weekday::Tuesday,
            Day::Wed => Weekday::Wednesday,
            Day::Thu => Weekday::Thursday,
            Day::Fri => Weekday::Friday,
            Day::Sat => Weekday::Saturday,
            Day::Sun => Weekday::Sunday,
        }
    }
}

/// The pattern of a time of day.
pub const TIME_OF_DAY: &str = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$";

/// A local time of day to the minute, `00:00` to `24:00`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(u16);

/// A text that is no time of day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time of day: write one from \"00:00\" to \"24:00\"")]
pub struct TimeOfDayError(String);

impl TimeOfDay {
    /// Minutes since midnight by the clock on the wall, 0 to 1440.
    pub const fn minutes(self) -> u16 {
        self.0
    }
}

impl FromStr for TimeOfDay {
    type Err = TimeOfDayError;

    fn from_str(text: &str) -> Result<TimeOfDay, TimeOfDayError> {
        let error = || TimeOfDayError(text.to_owned());
        let (hour, minute) = text.split_once(':').ok_or_else(error)?;
        let number = |s: &str| -> Option<u16> {
            (s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse().ok()).flatten()
        };
        let (hour, minute) = number(hour).zip(number(minute)).ok_or_else(error)?;
        if hour > 24 || minute > 59 || (hour == 24 && minute > 0) {
            return Err(error());
        }
        Ok(TimeOfDay(hour * 60 + minute))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl fmt::Debug for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

written_as_text!(TimeOfDay, {
    "type": "string",
    "maxLength": 5,
    "pattern": TIME_OF_DAY
});

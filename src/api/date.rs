//! Dates of the civil calendar, as people write them: they are in no time zone by themselves.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;

use super::written::written_as_text;

/// A date such as `2025-09-08`, of the years 0 to 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CivilDate(Date);

impl CivilDate {
    /// The date as the calendar computes with it.
    pub const fn date(self) -> Date {
        self.0
    }
}

impl FromStr for CivilDate {
    type Err = CivilDateError;

    fn from_str(text: &str) -> Result<CivilDate, CivilDateError> {
        let error = || CivilDateError(text.chars().take(40).collect());
        let shape: Vec<&str> = text.split('-').collect();
        let digits =
            |part: &&str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
        match shape.as_slice() {
            [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2) => {
                text.parse().map(CivilDate).map_err(|_| error())
            }
            _ => Err(error()),
        }
    }
}

/// A text that is no date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no date: write one such as \"2025-09-08\"")]
pub struct CivilDateError(String);

impl fmt::Display for CivilDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

written_as_text!(CivilDate, {
    "type": "string",
    "maxLength": 10,
    "pattern": r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
});

#[cfg(test)]
mod tests {
    use super::CivilDate;

    #[test]
    fn a_date_is_read_as_it_is_written_and_nothing_else_is_one() {
        assert_eq!("2025-09-08".parse::<CivilDate>().unwrap().to_string(), "2025-09-08");
        for wrong in ["2025-02-30", "2025-9-8", "20250908", "2025-09-08T00:00", "+002025-09-08", "today", ""]
        {
            let error = wrong.parse::<CivilDate>().unwrap_err().to_string();
            assert!(error.contains("write one such as"), "{error}");
        }
    }
}

//! How long a step is kept: for a length of time, or for whole days of the calendar.

use std::fmt;
use std::str::FromStr;

use super::Duration;
use super::written::written_as_text;

/// How long a step is kept at least.
///
/// `24h` is a length of time as GEP-2257 writes it, and ends an hour earlier or later by the clock on the wall when that
/// changes in between. `1d` is not in GEP-2257: whole days of the calendar, which end at the same local time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// A length of time.
    Time(Duration),
    /// Whole days of the calendar, 1 to 9999.
    Days(u16),
}

/// A text that is no hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration: write one such as 90s, 10m, 168h or 1h30m, or whole days such as 7d")]
pub struct HoldError(String);

/// The pattern of GEP-2257, or whole days.
pub const PATTERN: &str = r"^(([0-9]{1,5}(h|m|s|ms)){1,4}|[1-9][0-9]{0,3}d)$";

impl FromStr for Hold {
    type Err = HoldError;

    fn from_str(text: &str) -> Result<Hold, HoldError> {
        let error = || HoldError(crate::bounds::cut(text).into_owned());
        let Some(days) = text.strip_suffix('d') else {
            return text.parse().map(Hold::Time).map_err(|_| error());
        };
        let is_number = (1..=4).contains(&days.len()) && days.bytes().all(|b| b.is_ascii_digit());
        let days = days.parse().ok().filter(|_| is_number && !days.starts_with('0'));
        days.map(Hold::Days).ok_or_else(error)
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::Time(length) => length.fmt(f),
            Hold::Days(days) => write!(f, "{days}d"),
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Duration> for Hold {
    fn from(length: Duration) -> Hold {
        Hold::Time(length)
    }
}

written_as_text!(Hold, {"type": "string", "maxLength": 32, "pattern": PATTERN});

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("1d", Hold::Days(1))]
    #[case("14d", Hold::Days(14))]
    #[case("9999d", Hold::Days(9999))]
    #[case("168h", Hold::Time(Duration::from_hours(168)))]
    #[case("0s", Hold::Time(Duration::ZERO))]
    fn reads_and_prints(#[case] text: &str, #[case] hold: Hold) {
        assert_eq!(text.parse(), Ok(hold));
        assert_eq!(hold.to_string(), text);
    }

    #[rstest]
    #[case("0d")]
    #[case("01d")]
    #[case("d")]
    #[case("10000d")]
    #[case("-1d")]
    #[case("+1d")]
    #[case("1.5d")]
    #[case("1d12h")]
    #[case("1w")]
    #[case("")]
    fn refuses_what_is_no_hold(#[case] text: &str) {
        assert!(text.parse::<Hold>().is_err());
    }
}

//! Durations as Gateway API writes them (GEP-2257): `90s`, `168h`, `1h30m`.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;

use super::written::written_as_text;

/// A length of time of at least zero, in the string form of GEP-2257.
///
/// One to four parts of up to five digits and a unit of `h`, `m`, `s` or `ms`, together less than 100000h: a longer one could
/// not be written in parts of five digits again.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(SignedDuration);

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration: write one such as 90s, 10m, 168h or 1h30m, of less than 100000h")]
pub struct DurationError(String);

/// What is no duration any more, in milliseconds: six digits of hours.
const TOO_LONG: i64 = 100_000 * 3_600_000;

/// The pattern of GEP-2257.
pub const PATTERN: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration(SignedDuration::ZERO);

    /// From whole hours.
    pub const fn from_hours(hours: i64) -> Duration {
        Duration(SignedDuration::from_hours(hours))
    }

    /// From whole seconds.
    pub const fn from_secs(seconds: i64) -> Duration {
        Duration(SignedDuration::from_secs(seconds))
    }

    /// The same length from jiff's, to the millisecond.
    pub const fn from_signed(length: SignedDuration) -> Duration {
        Duration(SignedDuration::from_millis(length.as_millis() as i64))
    }

    /// The same length as jiff has it.
    pub const fn signed(self) -> SignedDuration {
        self.0
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Duration, DurationError> {
        let error = || DurationError(text.to_owned());
        let mut rest = text;
        let mut millis: i64 = 0;
        let mut parts = 0;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
            let (number, tail) = rest.split_at_checked(end).ok_or_else(error)?;
            if number.is_empty() || number.len() > 5 {
                return Err(error());
            }
            let (unit, tail) = if let Some(tail) = tail.strip_prefix("ms") {
                (1, tail)
            } else if let Some(tail) = tail.strip_prefix('h') {
                (3_600_000, tail)
            } else if let Some(tail) = tail.strip_prefix('m') {
                (60_000, tail)
            } else if let Some(tail) = tail.strip_prefix('s') {
                (1000, tail)
            } else {
                return Err(error());
            };
            let number: i64 = number.parse().map_err(|_| error())?;
            millis += number * unit;
            parts += 1;
            rest = tail;
        }
        if parts == 0 || parts > 4 || millis >= TOO_LONG {
            return Err(error());
        }
        Ok(Duration(SignedDuration::from_millis(millis)))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        let parts = [
            (millis / 3_600_000, "h"),
            (millis / 60_000 % 60, "m"),
            (millis / 1000 % 60, "s"),
            (millis % 1000, "ms"),
        ];
        for (number, unit) in parts {
            if number != 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

written_as_text!(Duration, {"type": "string", "maxLength": 32, "pattern": PATTERN});

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("90s", 90_000, "1m30s")]
    #[case("168h", 604_800_000, "168h")]
    #[case("1h30m", 5_400_000, "1h30m")]
    #[case("250ms", 250, "250ms")]
    #[case("0s", 0, "0s")]
    #[case("1h99998h59m", 359_999_940_000, "99999h59m")]
    fn reads_and_prints(#[case] text: &str, #[case] millis: i128, #[case] shown: &str) {
        let duration: Duration = text.parse().unwrap();
        assert_eq!(duration.signed().as_millis(), millis);
        assert_eq!(duration.to_string(), shown);
    }

    #[rstest]
    #[case("")]
    #[case("7d")]
    #[case("90")]
    #[case("-1h")]
    #[case("123456h")]
    #[case("1h1h1h1h1h")]
    #[case("1h99999h")]
    #[case("99999h99999m")]
    fn refuses_what_is_no_duration(#[case] text: &str) {
        assert!(text.parse::<Duration>().is_err());
    }
}

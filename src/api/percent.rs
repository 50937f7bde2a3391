//! Percentages in thousandths of a per cent, written `75` or `"0.5%"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A share of a cohort or of the audience, from 0 % to 100 % in steps of 0.001 %.
///
/// In YAML and JSON a whole number of per cent (`75`) or a string with its sign (`"0.5%"`).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u32);

/// Why a text is no [`Percent`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PercentError {
    /// The number is below 0 or above 100.
    #[error("{0} is not between 0 and 100 per cent")]
    OutOfRange(String),
    /// More than three decimals.
    #[error("{0:?} is finer than 0.001%")]
    TooFine(String),
    /// Not a number of per cent at all.
    #[error("{0:?} is no percentage: write a whole number such as 75, or a string such as \"0.5%\"")]
    Malformed(String),
}

impl Percent {
    /// Nobody.
    pub const ZERO: Percent = Percent(0);
    /// Everybody.
    pub const FULL: Percent = Percent(100_000);

    /// From thousandths of a per cent; `None` above 100 000.
    pub const fn from_thousandths(thousandths: u32) -> Option<Percent> {
        if thousandths <= Self::FULL.0 { Some(Percent(thousandths)) } else { None }
    }

    /// From whole per cent; `None` above 100.
    pub const fn from_whole(percent: u32) -> Option<Percent> {
        if percent <= 100 { Some(Percent(percent * 1000)) } else { None }
    }

    /// Thousandths of a per cent, 0 to 100 000.
    pub const fn thousandths(self) -> u32 {
        self.0
    }

    /// Whether nobody is meant.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return f.pad(&format!("{whole}%"));
        }
        let decimals = format!("{rest:03}");
        f.pad(&format!("{whole}.{}%", decimals.trim_end_matches('0')))
    }
}

impl fmt::Debug for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Percent {
    type Err = PercentError;

    fn from_str(text: &str) -> Result<Percent, PercentError> {
        let malformed = || PercentError::Malformed(text.to_owned());
        let number = text.strip_suffix('%').ok_or_else(malformed)?;
        let (whole, decimals) = match number.split_once('.') {
            Some((whole, decimals)) if !decimals.is_empty() => (whole, decimals),
            Some(_) => return Err(malformed()),
            None => (number, ""),
        };
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(decimals) {
            return Err(malformed());
        }
        if decimals.len() > 3 {
            return Err(PercentError::TooFine(text.to_owned()));
        }
        let out_of_range = || PercentError::OutOfRange(text.to_owned());
        let whole: u32 = whole.parse().map_err(|_| out_of_range())?;
        let decimals: u32 = format!("{decimals:0<3}").parse().map_err(|_| malformed())?;
        whole
            .checked_mul(1000)
            .and_then(|thousandths| thousandths.checked_add(decimals))
            .and_then(Percent::from_thousandths)
            .ok_or_else(out_of_range)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1000) {
            serializer.serialize_u32(self.0 / 1000)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Percent, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Percent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 0 to 100, or a string such as \"0.5%\"")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Percent, E> {
                u32::try_from(value)
                    .ok()
                    .and_then(Percent::from_whole)
                    .ok_or_else(|| E::custom(PercentError::OutOfRange(value.to_string())))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Percent, E> {
                u64::try_from(value)
                    .map_err(|_| E::custom(PercentError::OutOfRange(value.to_string())))
                    .and_then(|value| self.visit_u64(value))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Percent, E> {
                value.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The bounds apply to numbers and the pattern to strings, so no `oneOf` is needed:
        // validation ratchets only outside of those.
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "minimum": 0,
            "maximum": 100,
            "maxLength": 8,
            "pattern": r"^(100(\.0{1,3})?|[0-9]{1,2}(\.[0-9]{1,3})?)%$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0%", 0)]
    #[case("0.5%", 500)]
    #[case("0.001%", 1)]
    #[case("75%", 75_000)]
    #[case("99.999%", 99_999)]
    #[case("100.000%", 100_000)]
    fn reads_strings_with_their_sign(#[case] text: &str, #[case] thousandths: u32) {
        assert_eq!(text.parse::<Percent>().unwrap().thousandths(), thousandths);
    }

    #[rstest]
    #[case("0.0001%", PercentError::TooFine("0.0001%".into()))]
    #[case("100.001%", PercentError::OutOfRange("100.001%".into()))]
    #[case("75", PercentError::Malformed("75".into()))]
    #[case("-1%", PercentError::Malformed("-1%".into()))]
    #[case("1.%", PercentError::Malformed("1.%".into()))]
    #[case("99999999999%", PercentError::OutOfRange("99999999999%".into()))]
    fn refuses_what_is_no_percentage(#[case] text: &str, #[case] error: PercentError) {
        assert_eq!(text.parse::<Percent>(), Err(error));
    }

    #[rstest]
    #[case(500, "0.5%", r#""0.5%""#)]
    #[case(75_000, "75%", "75")]
    #[case(1, "0.001%", r#""0.001%""#)]
    #[case(12_340, "12.34%", r#""12.34%""#)]
    fn prints_without_trailing_zeros(#[case] t: u32, #[case] shown: &str, #[case] json: &str) {
        let percent = Percent::from_thousandths(t).unwrap();
        assert_eq!(percent.to_string(), shown);
        assert_eq!(serde_json::to_string(&percent).unwrap(), json);
        assert_eq!(serde_json::from_str::<Percent>(json).unwrap(), percent);
    }
}

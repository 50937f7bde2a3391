//! Decimal numbers as strings: bounds of metrics and what people measured. The API has no floats.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How a decimal is written: at most 15 digits before the point and 9 after it.
pub const PATTERN: &str = r"^-?[0-9]{1,15}(\.[0-9]{1,9})?$";

/// A decimal number that keeps how it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal(String);

/// Text that is no decimal number.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no decimal number such as \"10\" or \"0.5\"")]
pub struct DecimalError(String);

impl Decimal {
    /// The number, as near as a double comes to it.
    pub fn value(&self) -> f64 {
        self.0.parse().unwrap_or(0.0)
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Decimal, DecimalError> {
        let error = || DecimalError(text.chars().take(40).collect());
        let digits = |part: &str, most: usize| {
            (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let well_formed = match unsigned.split_once('.') {
            Some((whole, fraction)) => digits(whole, 15) && digits(fraction, 9),
            None => digits(unsigned, 15),
        };
        if well_formed { Ok(Decimal(text.to_owned())) } else { Err(error()) }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Decimal {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Decimal".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 26, "pattern": PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10", 10.0)]
    #[case("-0.5", -0.5)]
    #[case("99.9", 99.9)]
    #[case("123456789012345.123456789", 123_456_789_012_345.12)]
    fn decimals_are_read(#[case] text: &str, #[case] value: f64) {
        assert_eq!(text.parse::<Decimal>().map(|decimal| decimal.value()), Ok(value));
    }

    #[rstest]
    #[case("")]
    #[case("NaN")]
    #[case("1e3")]
    #[case(".5")]
    #[case("5.")]
    #[case("+1")]
    #[case("1,5")]
    #[case("1234567890123456")]
    fn everything_else_is_refused(#[case] text: &str) {
        assert!(text.parse::<Decimal>().is_err());
    }
}

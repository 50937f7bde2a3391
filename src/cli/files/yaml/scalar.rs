//! What a scalar is by YAML 1.1, as kubectl reads it.

use std::borrow::Cow;

use serde_json::{Number, Value};

/// The value of a scalar by kubectl's rules.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Result<Value, String> {
    let string = || Ok(Value::String(text.to_owned()));
    match tag {
        Some("tag:yaml.org,2002:str") => return string(),
        None if !plain => return string(),
        // `!` alone says: no resolution.
        Some("!") => return string(),
        _ => {}
    }
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(Value::Bool(false));
        }
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        _ => {}
    }
    let starts_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    if !starts_number {
        return string();
    }
    if matches!(text.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return Err(format!("{text} is no number that JSON can hold"));
    }
    let digits = text.replace('_', "");
    if let Some(integer) = integer(&digits) {
        return Ok(integer);
    }
    let float_like =
        digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'))
            && digits.bytes().any(|b| b.is_ascii_digit());
    match digits.parse::<f64>() {
        Ok(number) if float_like => Ok(float(number).unwrap_or(Value::Null)),
        _ => string(),
    }
}

/// An integer as Go's `ParseInt` with base 0 reads it: decimal, `0x`, `0o`, `0b`, and octal after a bare `0`.
fn integer(digits: &str) -> Option<Value> {
    let (negative, rest) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let lower: Cow<'_, str> = rest.to_ascii_lowercase().into();
    let (base, body) = [("0x", 16), ("0o", 8), ("0b", 2)]
        .iter()
        .find_map(|(prefix, base)| lower.strip_prefix(prefix).map(|body| (*base, body)))
        .unwrap_or_else(|| match lower.strip_prefix('0') {
            Some(body) if !body.is_empty() => (8, body),
            _ => (10, lower.as_ref()),
        });
    if body.starts_with(['+', '-']) {
        return None;
    }
    let number = u64::from_str_radix(body, base).ok()?;
    if negative {
        return i64::try_from(-i128::from(number)).ok().map(Value::from);
    }
    Some(Value::from(number))
}

/// A whole float becomes an integer, as on the way through JSON.
fn float(number: f64) -> Option<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[allow(clippy::cast_possible_truncation)]
        return Some(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number)
}

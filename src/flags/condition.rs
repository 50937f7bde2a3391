//! A cohort's match as a JSONLogic condition that the Rust, Python and Node evaluators read alike.
//!
//! The evaluators coerce differently: `null < 5` holds in all of them, `"abc" > 5` is an error in Node, `True == 1` in
//! Python. So conditions use strict comparison and guard what they compare:
//!
//! * A value is compared with the attribute's text. The value `"5"` accepts the string `"5"` and the number 5, the value
//!   `"true"` the string and the boolean; any other value accepts that string only. (Python does not tell `True` from 1.)
//! * `Gt`, `Gte`, `Lt`, `Lte` hold for JSON numbers only: a numeric *string* is no number.
//! * `StartsWith`, `EndsWith` and `SemVer` hold for strings only. Node and Python also accept `v2.1.0` and `2.1` as versions.
//! * A key with dots such as `device.os` reads the field `os` of the structured attribute `device`; an attribute whose own
//!   name has a dot cannot be reached.

use serde_json::{Number, Value, json};

use crate::api::{Expression, Match, Operator};

/// Numbers beyond this (2⁵³) are not exact in every evaluator.
const EXACT: i64 = 9_007_199_254_740_992;

/// What `sem_ver` accepts as comparison, longest first so that `>=` is not read as `>`.
const VERSION_OPERATORS: [&str; 8] = [">=", "<=", "!=", "=", ">", "<", "~", "^"];

/// The condition that holds for the users of `matches`: literal `true` when it is empty.
///
/// Values that [`validate`] refuses give a condition that holds for nobody.
pub fn condition(matches: &Match) -> Value {
    let attributes =
        matches.attributes.iter().map(|(key, value)| one_of(&var(key), std::slice::from_ref(value)));
    let expressions = matches.expressions.iter().map(expression);
    all(attributes.chain(expressions).collect())
}

/// Whether the expression's values suit its operator, and what would be right if not.
///
/// Takes the counts that the API's schema demands for granted only where that does no harm.
pub fn validate(expression: &Expression) -> Result<(), String> {
    let values = &expression.values;
    if expression.key.is_empty() {
        return Err("an attribute needs a name".to_owned());
    }
    match expression.operator {
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            Err("Exists and DoesNotExist take no values".to_owned())
        }
        Operator::Exists | Operator::DoesNotExist => Ok(()),
        _ if values.is_empty() => Err("at least one value is needed".to_owned()),
        Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte => match values.as_slice() {
            [value] => number(value)
                .map(drop)
                .ok_or_else(|| format!("{value:?} is no number: write one such as 18 or 2.5")),
            _ => Err("exactly one number is needed".to_owned()),
        },
        Operator::SemVer => match values.as_slice() {
            [value] => version(value).map(drop),
            _ => Err("exactly one comparison such as \">= 2.1.0\" is needed".to_owned()),
        },
        Operator::StartsWith | Operator::EndsWith if values.iter().any(String::is_empty) => {
            Err("every string begins and ends with the empty one: use Exists".to_owned())
        }
        Operator::In | Operator::NotIn | Operator::StartsWith | Operator::EndsWith => Ok(()),
    }
}

fn expression(expression: &Expression) -> Value {
    let var = var(&expression.key);
    let values = &expression.values;
    match expression.operator {
        Operator::In => one_of(&var, values),
        Operator::NotIn => not(one_of(&var, values)),
        Operator::Exists => json!({"!==": [var, null]}),
        Operator::DoesNotExist => json!({"===": [var, null]}),
        Operator::StartsWith => any(values.iter().map(|v| json!({"starts_with": [var, v]})).collect()),
        Operator::EndsWith => any(values.iter().map(|v| json!({"ends_with": [var, v]})).collect()),
        Operator::Gt => compare(&var, ">", values),
        Operator::Gte => compare(&var, ">=", values),
        Operator::Lt => compare(&var, "<", values),
        Operator::Lte => compare(&var, "<=", values),
        Operator::SemVer => match values.first().map(|value| version(value)) {
            Some(Ok((operator, version))) => string_and(&var, json!({"sem_ver": [var, operator, version]})),
            _ => Value::Bool(false),
        },
    }
}

fn var(key: &str) -> Value {
    json!({ "var": key })
}

fn not(condition: Value) -> Value {
    json!({ "!": [condition] })
}

fn all(mut conditions: Vec<Value>) -> Value {
    match conditions.len() {
        0 => Value::Bool(true),
        1 => conditions.remove(0),
        _ => json!({ "and": conditions }),
    }
}

fn any(mut conditions: Vec<Value>) -> Value {
    match conditions.len() {
        0 => Value::Bool(false),
        1 => conditions.remove(0),
        _ => json!({ "or": conditions }),
    }
}

fn one_of(var: &Value, values: &[String]) -> Value {
    let mut accepted: Vec<Value> = Vec::with_capacity(values.len());
    for value in values {
        accepted.push(Value::String(value.clone()));
        accepted.extend(literal(value));
    }
    match accepted.as_slice() {
        [only] => json!({"===": [var, only]}),
        _ => json!({"in": [var, accepted]}),
    }
}

/// The boolean or number that is written exactly like this text.
pub(super) fn literal(text: &str) -> Option<Value> {
    match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ => number(text).filter(|number| number.to_string() == text).map(Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let number: Number = serde_json::from_str(text).ok()?;
    let exact = match number.as_i64() {
        Some(integer) => integer.unsigned_abs() <= EXACT.unsigned_abs(),
        None => number.as_f64().is_some_and(|float| float.abs() <= EXACT as f64),
    };
    exact.then_some(number)
}

/// A comparison that holds for numbers only, and makes no evaluator fail on anything else.
fn compare(var: &Value, operator: &str, values: &[String]) -> Value {
    let Some(bound) = values.first().and_then(|value| number(value)) else {
        return Value::Bool(false);
    };
    let text = json!({"cat": [var]});
    all(vec![
        json!({"!==": [var, null]}),
        // Merging flattens a list, so it is not in its own merge; any other value is.
        json!({"in": [var, {"merge": [var]}]}),
        // Only a string is its own text, and of the rest only a number's text begins like this.
        json!({"!==": [text, var]}),
        json!({"in": [{"substr": [text, 0, 1]}, "-0123456789"]}),
        json!({operator: [var, bound]}),
    ])
}

/// A condition that is asked for strings only. Python makes a version of the number 5, and logs a stack trace for every
/// user whose attribute is absent.
fn string_and(var: &Value, condition: Value) -> Value {
    // Only a string is its own text.
    all(vec![json!({"===": [{"cat": [var]}, var]}), condition])
}

fn version(value: &str) -> Result<(&str, &str), String> {
    let value = value.trim();
    let found = VERSION_OPERATORS
        .iter()
        .find_map(|operator| value.strip_prefix(operator).map(|rest| (*operator, rest.trim())));
    match found {
        Some((operator, version)) if is_version(version) => Ok((operator, version)),
        _ => Err(format!(
            "{value:?} is no comparison of versions: write one of {} and a full version without build metadata, such as \">= 2.1.0\"",
            VERSION_OPERATORS.join(" ")
        )),
    }
}

/// Whether the text is a semantic version without build metadata (which has no order).
fn is_version(text: &str) -> bool {
    let (core, pre) = match text.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (text, None),
    };
    let numeric = |part: &str| {
        // Longer ones overflow in some evaluator.
        (1..=15).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    let identifier = |part: &str| {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && (!digits || numeric(part))
    };
    core.split('.').count() == 3
        && core.split('.').all(numeric)
        && pre.is_none_or(|pre| pre.split('.').all(identifier))
}

#[cfg(test)]
mod tests;

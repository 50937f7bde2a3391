//! What a cohort's conditions mean, as `docs/conditions.md` says it, told without flagd: the second opinion that whatever is
//! rendered is checked against.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::api::{Expression, Match, Operator};
use crate::plan::matching::{TARGETING_KEY, literal};
use crate::plan::version::{Version, comparisons};

/// Whether a match takes in a user with these attributes; an attribute that is null counts as absent.
pub fn takes_in(matches: &Match, context: &Map<String, Value>) -> bool {
    all_hold(&matches.attributes, &matches.expressions, context)
        && (matches.any_of.is_empty()
            || matches.any_of.iter().any(|group| all_hold(&group.attributes, &group.expressions, context)))
}

fn all_hold(
    attributes: &BTreeMap<String, String>,
    expressions: &[Expression],
    context: &Map<String, Value>,
) -> bool {
    attributes.iter().all(|(key, value)| is_one(read(context, key), std::slice::from_ref(value)))
        && expressions.iter().all(|expression| holds(expression, read(context, &expression.key)))
}

fn holds(expression: &Expression, attribute: Option<&Value>) -> bool {
    let values = expression.values.as_slice();
    let has_part = |test: fn(&str, &str) -> bool| {
        elements(attribute).filter_map(Value::as_str).any(|text| values.iter().any(|value| test(text, value)))
    };
    let starts_with = |text: &str, value: &str| text.starts_with(value);
    let ends_with = |text: &str, value: &str| text.ends_with(value);
    let contains = |text: &str, value: &str| text.contains(value);
    match expression.operator {
        Operator::In => is_one(attribute, values),
        Operator::NotIn => !is_one(attribute, values),
        Operator::Exists => exists(&expression.key, attribute),
        Operator::DoesNotExist => !exists(&expression.key, attribute),
        Operator::StartsWith => has_part(starts_with),
        Operator::NotStartsWith => !has_part(starts_with),
        Operator::EndsWith => has_part(ends_with),
        Operator::NotEndsWith => !has_part(ends_with),
        Operator::Contains => has_part(contains),
        Operator::NotContains => !has_part(contains),
        Operator::Gt => compares(attribute, values, Ordering::is_gt),
        Operator::Gte => compares(attribute, values, Ordering::is_ge),
        Operator::Lt => compares(attribute, values, Ordering::is_lt),
        Operator::Lte => compares(attribute, values, Ordering::is_le),
        Operator::SemVer => has_version(attribute, values),
    }
}

/// What conditions look at: an attribute by itself, or each element of a list.
fn elements(attribute: Option<&Value>) -> impl Iterator<Item = &Value> {
    match attribute {
        Some(Value::Array(items)) => items.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[],
    }
    .iter()
}

/// An empty targeting key is none.
fn exists(key: &str, attribute: Option<&Value>) -> bool {
    attribute.is_some_and(|value| key != TARGETING_KEY || value != "")
}

fn is_one(attribute: Option<&Value>, values: &[String]) -> bool {
    elements(attribute).any(|element| values.iter().any(|value| is_written(element, value)))
}

/// Whether an attribute is written like this text.
fn is_written(attribute: &Value, text: &str) -> bool {
    match attribute {
        Value::String(found) => found == text,
        Value::Bool(found) => literal(text) == Some(Value::Bool(*found)),
        Value::Number(found) => {
            literal(text).is_some_and(|number| number.is_number() && number.as_f64() == found.as_f64())
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

fn compares(attribute: Option<&Value>, values: &[String], accepted: fn(Ordering) -> bool) -> bool {
    let [value] = values else { return false };
    let Ok(bound) = value.parse::<f64>() else { return false };
    elements(attribute)
        .filter_map(Value::as_f64)
        .filter_map(|number| number.partial_cmp(&bound))
        .any(accepted)
}

fn has_version(attribute: Option<&Value>, values: &[String]) -> bool {
    let version = attribute.and_then(Value::as_str).and_then(|text| text.parse::<Version>().ok());
    let ([value], Some(version)) = (values, version) else { return false };
    comparisons(value).is_ok_and(|comparisons| comparisons.iter().all(|test| test.accepts(&version)))
}

/// The attribute that a key names, dots leading into structures; null counts as absent.
pub(super) fn read<'a>(context: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    let mut path = key.split('.');
    let mut value = context.get(path.next()?)?;
    for field in path {
        value = value.as_object()?.get(field)?;
    }
    (!value.is_null()).then_some(value)
}

/// Whether this attribute can decide a user's bucket: a text or number, and neither empty nor 0.
pub(super) fn decides_bucket(attribute: &Value) -> bool {
    match attribute {
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        _ => false,
    }
}

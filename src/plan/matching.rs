//! What the conditions of cohorts may say, and how their texts are read. Lint, the controller and the renderer of flags
//! all read them here.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

use super::FieldError;
use super::version::comparisons;
use crate::api::cohort::Cohort;
use crate::api::{Expression, Match, Operator};

/// Numbers beyond this (2⁵³) are not exact in every evaluator.
const EXACT: i64 = 9_007_199_254_740_992;

/// The attribute that OpenFeature itself names; empty counts as absent there.
pub const TARGETING_KEY: &str = "targetingKey";

/// Checks a cohort's match; `path` is where it stands.
pub fn check_match(path: &str, matches: &Match, errors: &mut Vec<FieldError>) {
    for (part, (attributes, expressions)) in matches.parts().enumerate() {
        let path = match part.checked_sub(1) {
            None => path.to_owned(),
            Some(group) => format!("{path}.anyOf[{group}]"),
        };
        if part > 0 && attributes.is_empty() && expressions.is_empty() {
            errors
                .push(FieldError::new(&path, "is empty: a group without conditions would take in everyone"));
        }
        check_attributes(&path, attributes, errors);
        for (e, expression) in expressions.iter().enumerate() {
            if let Err(message) = validate(expression) {
                errors.push(
                    FieldError::new(format!("{path}.expressions[{e}]"), message).with_value(&expression.key),
                );
            }
        }
    }
}

fn check_attributes(path: &str, attributes: &BTreeMap<String, String>, errors: &mut Vec<FieldError>) {
    for (key, value) in attributes {
        let checked =
            check_key(key).and_then(|()| check_texts(key, Operator::In, std::slice::from_ref(value)));
        if let Err(message) = checked {
            errors.push(FieldError::new(format!("{path}.attributes"), message).with_value(key));
        }
    }
}

/// Whether the expression's key is a name and its values suit its operator.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn validate(expression: &Expression) -> Result<(), String> {
    let values = &expression.values;
    check_key(&expression.key)?;
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
            [value] => comparisons(value).map(drop),
            _ => Err("exactly one value such as \">= 2.1.0\" is needed".to_owned()),
        },
        operator => check_texts(&expression.key, operator, values),
    }
}

fn check_texts(key: &str, operator: Operator, values: &[String]) -> Result<(), String> {
    if !values.iter().any(String::is_empty) {
        return Ok(());
    }
    match operator {
        Operator::In | Operator::NotIn if key != TARGETING_KEY => Ok(()),
        Operator::In | Operator::NotIn => {
            Err("an empty targeting key counts as absent: use DoesNotExist".to_owned())
        }
        _ => Err("every text begins with, ends with and contains the empty one: use Exists".to_owned()),
    }
}

/// Whether every evaluator finds an attribute by this name.
///
/// # Errors
/// What is wrong with the name.
pub fn check_key(key: &str) -> Result<(), String> {
    let mut names = key.split('.');
    if key.is_empty() {
        return Err("an attribute needs a name".to_owned());
    }
    if names.clone().any(str::is_empty) {
        return Err(
            "a dot leads into a structured attribute: there is a name on both of its sides".to_owned()
        );
    }
    if names.clone().any(|name| name == "__proto__") {
        return Err(
            "JavaScript reads __proto__ in a way of its own: give the attribute another name".to_owned()
        );
    }
    if names.next() == Some("$flagd") {
        return Err("the attribute $flagd is flagd's own".to_owned());
    }
    if names.any(|name| name == "0") {
        return Err("a field named 0 cannot be told from the first element of a list: give it another name"
            .to_owned());
    }
    Ok(())
}

/// What is worth a word about a name that leads into a structured attribute; `None` for a plain name.
pub fn remark_on_key(key: &str) -> Option<String> {
    let (attribute, field) = key.rsplit_once('.')?;
    Some(format!(
        "{key:?} is the field {field:?} of the structured attribute {attribute:?}: apps give it nested, and an attribute \
         named {key:?} itself is never found"
    ))
}

/// The names in a list of cohorts that lead into structured attributes: where each stands, and what is worth a word.
pub fn remarks(path: &str, cohorts: &[Cohort]) -> Vec<FieldError> {
    let mut found = Vec::new();
    for (i, cohort) in cohorts.iter().enumerate() {
        for (part, (attributes, expressions)) in cohort.matches.iter().flat_map(Match::parts).enumerate() {
            let path = match part.checked_sub(1) {
                None => format!("{path}[{i}].match"),
                Some(group) => format!("{path}[{i}].match.anyOf[{group}]"),
            };
            for (key, value) in attributes {
                let remark = remark_on_whole(value);
                found
                    .extend(remark.map(|remark| FieldError::new(format!("{path}.attributes.{key}"), remark)));
            }
            for (e, expression) in expressions.iter().enumerate() {
                let path = format!("{path}.expressions[{e}].values");
                let whole = matches!(expression.operator, Operator::In | Operator::NotIn);
                let values = expression.values.iter().filter(|_| whole);
                found.extend(
                    values
                        .filter_map(|value| remark_on_whole(value))
                        .map(|r| FieldError::new(path.clone(), r)),
                );
            }
            let attributes = attributes.keys().map(|key| (format!("{path}.attributes"), key));
            let expressions = expressions.iter().enumerate();
            let expressions =
                expressions.map(|(e, expression)| (format!("{path}.expressions[{e}].key"), &expression.key));
            for (path, key) in attributes.chain(expressions) {
                found.extend(remark_on_key(key).map(|remark| FieldError::new(path, remark)));
            }
        }
    }
    found
}

/// What to say of a text that is compared with a whole value and looks like a part of one, or like a pattern.
fn remark_on_whole(value: &str) -> Option<String> {
    let better = match value {
        _ if value.starts_with('@') && value.len() > 1 => "EndsWith",
        _ if value.len() > 1 && value.contains('*') => "StartsWith, EndsWith or Contains, without the star",
        _ => return None,
    };
    Some(format!(
        "{value:?} is compared with the whole value, so it matches hardly anybody: use an expression with {better}"
    ))
}

/// The boolean or number that is written exactly like this text. A whole number is written without a fraction.
pub fn literal(text: &str) -> Option<Value> {
    match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ if text.ends_with(".0") => None,
        _ => number(text).filter(|number| number.to_string() == text).map(Value::Number),
    }
}

/// The number that a text is, where every evaluator knows it exactly.
pub fn number(text: &str) -> Option<Number> {
    let number: Number = serde_json::from_str(text).ok()?;
    let exact = match number.as_i64() {
        Some(integer) => integer.unsigned_abs() <= EXACT.unsigned_abs(),
        None => number.as_f64().is_some_and(|float| float.abs() <= EXACT as f64),
    };
    exact.then_some(number)
}

#[cfg(test)]
mod tests;

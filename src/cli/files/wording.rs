//! The words for what a schema refuses.

use jsonschema::error::ValidationErrorKind;
use serde_json::{Value, json};

use super::schema::NAME;
use crate::api::flagset::{FILE_KEY, OBJECT_NAME};
use crate::api::rolloutaction::NOT_BLANK;
use crate::api::{Decimal, Duration, FreezeTime, Hold, Percent, duration, freeze, hold};

/// What people write by the habits of other kinds and tools, with a field that stands where they write it, and the way it
/// is said here.
const HABITS: [(&str, &str, &str); 8] = [
    (
        "approval",
        "percents",
        "for an approval write the phase as `steps`, with `approval: Required` in the one that needs it",
    ),
    (
        "approval",
        "approvalAbove",
        "write `approvalAbove`, or `approval: Required` in the steps of the rollouts",
    ),
    (
        "approvals",
        "approvalAbove",
        "write `approvalAbove`, or `approval: Required` in the steps of the rollouts",
    ),
    ("matchLabels", "attributes", "did you mean attributes?"),
    ("matchExpressions", "attributes", "did you mean expressions?"),
    ("promql", "templateRef", "a query is in a MetricTemplate, which `templateRef` names"),
    ("query", "templateRef", "a query is in a MetricTemplate, which `templateRef` names"),
    ("query", "promql", "did you mean promql?"),
];

/// Says that a field does not exist, and which one may be meant: one of `known`, which stand beside it, or one of this name
/// in another that stands there.
pub fn unknown_field(name: &str, known: &[&str], within: &[&str]) -> String {
    const NONE: &str = "there is no such field";
    if let Some(near) = near(name, known.iter().copied()) {
        return format!("{NONE}: did you mean {near}?");
    }
    let habit = HABITS.iter().find(|(written, beside, _)| *written == name && known.contains(beside));
    match (habit, within) {
        (Some((_, _, way)), _) => format!("{NONE}: {way}"),
        (None, []) => NONE.to_owned(),
        (None, within) => {
            let places: Vec<String> = within.iter().map(|field| format!("{field}.{name}")).collect();
            format!("{NONE} here: did you mean {}?", places.join(" or "))
        }
    }
}

/// The name that may be meant by one that does not exist: two letters away at the most.
pub fn near<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let near = known.into_iter().min_by_key(|other| distance(name, other))?;
    (distance(name, near) <= 2 || near.eq_ignore_ascii_case(name)).then_some(near)
}

/// What there is in the place of a name that does not exist: `: did you mean this?`, or all of them.
pub fn instead<'n>(name: &str, known: impl IntoIterator<Item = &'n str> + Clone) -> String {
    if let Some(near) = near(name, known.clone()) {
        return format!(": did you mean {near}?");
    }
    let known: Vec<&str> = known.into_iter().take(8).collect();
    if known.is_empty() { String::new() } else { format!(": there are {}", known.join(", ")) }
}

/// How many letters must be put in, left out or changed to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (j, y) in b.iter().enumerate() {
            let Some(above) = row.get(j + 1).copied() else { continue };
            left = (diagonal + usize::from(x != *y)).min(left + 1).min(above + 1);
            diagonal = above;
            if let Some(cell) = row.get_mut(j + 1) {
                *cell = left;
            }
        }
    }
    row.last().copied().unwrap_or_default()
}

/// The message for a value that a keyword refuses; `None` leaves it to the validator.
pub fn message(
    bare: Option<&str>,
    value: &Value,
    schema: &Value,
    kind: &ValidationErrorKind,
) -> Option<String> {
    if let Some(word) = bare {
        return Some(format!("{word} is read as a boolean by kubectl: quote it"));
    }
    if schema.get("x-percent").is_some() {
        return match value {
            Value::String(_) => {
                serde_json::from_value::<Percent>(value.clone()).err().map(|error| error.to_string())
            }
            Value::Number(number) if !number.is_f64() => {
                Some(format!("{value} is not between 0 and 100 per cent"))
            }
            _ => Some(format!(
                "{} is no percentage: write a whole number such as 75, or a string such as \"0.5%\"",
                shown(value)
            )),
        };
    }
    Some(match kind {
        ValidationErrorKind::Type { .. } => {
            let want = match schema.get("type") {
                Some(Value::Array(some)) => some.first(),
                one => one,
            };
            let want = want.and_then(Value::as_str).unwrap_or("string");
            let pattern = schema.get("pattern").and_then(Value::as_str);
            let is_duration = pattern == Some(duration::PATTERN) || pattern == Some(hold::PATTERN);
            let plain_string = want == "string" && !is_duration;
            let quote =
                if plain_string && (value.is_number() || value.is_boolean()) { ": quote it" } else { "" };
            let want = if is_duration { "a duration such as 24h" } else { article(want) };
            format!("{} is {} where {want} is needed{quote}", shown(value), article(type_of(value)))
        }
        ValidationErrorKind::Enum { .. } => {
            let options = schema.get("enum").and_then(Value::as_array);
            let options = options.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
            format!("{} is none of {}", shown(value), options.join(", "))
        }
        ValidationErrorKind::Pattern { pattern } => match pattern.as_str() {
            NOT_BLANK => "is blank: say why".to_owned(),
            duration::PATTERN => value.as_str().unwrap_or_default().parse::<Duration>().err()?.to_string(),
            hold::PATTERN => value.as_str().unwrap_or_default().parse::<Hold>().err()?.to_string(),
            freeze::PATTERN => value.as_str().unwrap_or_default().parse::<FreezeTime>().err()?.to_string(),
            NAME => format!("{} may hold lower-case letters, digits and dashes only", shown(value)),
            OBJECT_NAME => {
                format!(
                    "{} may hold lower-case letters, digits, dashes and single dots only, no dash beside a dot",
                    shown(value)
                )
            }
            FILE_KEY => {
                format!(
                    "{} ends in .json, holds letters, digits and -_. only, and does not begin with two dots",
                    shown(value)
                )
            }
            _ if schema.get("maxLength") == Some(&json!(5)) => {
                value.as_str().unwrap_or_default().parse::<crate::api::TimeOfDay>().err()?.to_string()
            }
            crate::api::decimal::PATTERN => {
                value.as_str().unwrap_or_default().parse::<Decimal>().err()?.to_string()
            }
            _ => format!("{} does not match {pattern}", shown(value)),
        },
        ValidationErrorKind::Format { .. } => {
            format!("{} is no instant: write one such as 2025-09-08T09:00:00Z", shown(value))
        }
        ValidationErrorKind::MinItems { limit: 1 } | ValidationErrorKind::MinProperties { limit: 1 } => {
            "is empty: at least one is needed".to_owned()
        }
        ValidationErrorKind::MinLength { limit: 1 } => "is empty".to_owned(),
        ValidationErrorKind::MinItems { limit } => format!("has fewer than {limit} items"),
        ValidationErrorKind::MaxItems { limit } => format!("has more than {limit} items"),
        ValidationErrorKind::MaxProperties { limit } => format!("has more than {limit} entries"),
        ValidationErrorKind::MaxLength { limit } => format!("is longer than {limit} characters"),
        ValidationErrorKind::Minimum { limit } => format!("{} is less than {limit}", shown(value)),
        ValidationErrorKind::Maximum { limit } => format!("{} is more than {limit}", shown(value)),
        _ => return None,
    })
}

/// A value, shortened.
pub fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 { format!("{}…", text.chars().take(59).collect::<String>()) } else { text }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

fn article(kind: &str) -> &str {
    match kind {
        "boolean" => "a boolean",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a string",
        "list" | "array" => "a list",
        "map" | "object" => "a map",
        other => other,
    }
}

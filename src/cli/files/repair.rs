//! Puts harmless values where an object's form is wrong, so that the rest of it can be checked in the same run.

use serde_json::{Map, Value, json};

use super::schema::{Finding, schema_at};
use crate::api;

/// The object with a value of the right form at every finding.
pub fn repaired(
    value: &Value,
    schema: &Value,
    findings: &[Finding],
    bare: impl Fn(&str) -> Option<String>,
) -> Value {
    let mut value = value.clone();
    for finding in findings {
        let Some(schema) = schema_at(schema, &finding.pointer) else { continue };
        let found = value.pointer(&finding.pointer).cloned();
        let stand_in = match bare(&finding.path) {
            Some(word) => Value::String(word),
            None => stand_in(schema, found.as_ref()),
        };
        put(&mut value, &finding.pointer, stand_in);
    }
    value
}

fn put(value: &mut Value, pointer: &str, stand_in: Value) {
    if let Some(found) = value.pointer_mut(pointer) {
        *found = stand_in;
        return;
    }
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    if let Some(Value::Object(parent)) = value.pointer_mut(parent) {
        parent.insert(key.replace("~1", "/").replace("~0", "~"), stand_in);
    }
}

/// A value of the right form; as near to what was found as can be.
fn stand_in(schema: &Value, found: Option<&Value>) -> Value {
    let kind = match schema.get("type") {
        Some(Value::Array(some)) => some.first(),
        one => one,
    };
    match kind.and_then(Value::as_str) {
        _ if schema.get("x-percent").is_some() => json!(0),
        Some("string") => string(schema, found),
        Some("integer") => schema.get("minimum").and_then(Value::as_f64).map_or(json!(1), |_| json!(1)),
        Some("boolean") => json!(false),
        Some("array") => found.filter(|found| found.is_array()).cloned().unwrap_or_else(|| json!([])),
        Some("object") => {
            let mut map = match found {
                Some(Value::Object(map)) => map.clone(),
                _ => Map::new(),
            };
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            for key in required.filter_map(Value::as_str) {
                let inner = schema.get("properties").and_then(|properties| properties.get(key));
                if let Some(inner) = inner {
                    map.entry(key).or_insert_with(|| stand_in(inner, None));
                }
            }
            Value::Object(map)
        }
        _ => found.cloned().unwrap_or_default(),
    }
}

fn string(schema: &Value, found: Option<&Value>) -> Value {
    if let Some(first) = schema.get("enum").and_then(|options| options.get(0)) {
        return first.clone();
    }
    if schema.get("format") == Some(&json!("date-time")) {
        return json!("2025-01-01T00:00:00Z");
    }
    let pattern = schema.get("pattern").and_then(Value::as_str);
    if pattern == Some(api::duration::PATTERN) || pattern == Some(api::hold::PATTERN) {
        return json!("24h");
    }
    if pattern == Some(api::freeze::PATTERN) {
        return json!("2025-01-01");
    }
    if pattern == Some(api::decimal::PATTERN) {
        let number = found.filter(|found| found.is_number()).map(Value::to_string);
        let read = |text: &String| text.parse::<api::Decimal>().is_ok();
        return json!(number.filter(read).unwrap_or_else(|| "0".to_owned()));
    }
    if schema.get("maxLength") == Some(&json!(5)) {
        return json!("00:00");
    }
    match found {
        Some(Value::String(text)) => json!(text),
        Some(number @ (Value::Number(_) | Value::Bool(_))) => json!(number.to_string()),
        _ => json!("unnamed"),
    }
}

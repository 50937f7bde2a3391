//! Tests of one value: a lone attribute, or an element of a list.

use serde_json::{Value, json};

use super::{all, any, not, var};
use crate::plan::matching::{literal, number};

/// From this number of texts on, one list of them takes fewer bytes than a comparison with each.
const MANY: usize = 8;

/// Whether the test holds for the attribute, or for any of its elements where it is a list.
pub(super) fn any_element(key: &str, test: Value) -> Value {
    match test {
        Value::Bool(false) => test,
        _ => json!({"some": [{"merge": [var(key)]}, test]}),
    }
}

/// Whether the element is one of the values: the same text, or the number or boolean that is written like it.
pub(super) fn is_one(values: &[String]) -> Value {
    let mut tests = Vec::with_capacity(values.len());
    if values.len() >= MANY {
        let mut test = is_text();
        test.push(json!({"in": [element(), values]}));
        tests.push(all(test));
    } else {
        tests.extend(values.iter().map(|value| is(&json!(value))));
    }
    tests.extend(values.iter().filter_map(|value| literal(value)).map(|value| is_literal(&value)));
    any(tests)
}

fn is_literal(value: &Value) -> Value {
    let is_it = is(value);
    // Where 1 is true, what the text of the value begins with tells them apart.
    let distinct = |test: Value| any(vec![json!({"!==": [1, true]}), test]);
    match value {
        Value::Bool(_) => all(vec![is_it, distinct(not(begins_as_number(&element())))]),
        _ if value.as_f64().is_some_and(|number| number == 0.0 || number == 1.0) => {
            all(vec![is_it, distinct(begins_as_number(&element()))])
        }
        _ => is_it,
    }
}

/// Whether the element is a text for which `test` holds with one of the values.
pub(super) fn has_part(values: &[String], test: fn(&str) -> Value) -> Value {
    let mut conditions = is_text();
    conditions.push(any(values.iter().map(|value| test(value)).collect()));
    all(conditions)
}

pub(super) fn starts_with(value: &str) -> Value {
    any(lengths(value).map(|length| json!({"===": [{"substr": [element(), 0, length]}, value]})).collect())
}

pub(super) fn ends_with(value: &str) -> Value {
    any(lengths(value).map(|length| json!({"===": [{"substr": [element(), -length]}, value]})).collect())
}

pub(super) fn contains(value: &str) -> Value {
    json!({"in": [value, element()]})
}

/// The length of a text as evaluators count it: in characters, or in units of UTF-16.
fn lengths(text: &str) -> impl Iterator<Item = i64> {
    let characters = text.chars().count();
    let units = text.encode_utf16().count();
    let other = (units != characters).then_some(units);
    std::iter::once(characters).chain(other).filter_map(|length| i64::try_from(length).ok())
}

/// Whether the element is a number that compares as `operator` says; holds for nobody where the value is no number.
pub(super) fn is_compared(operator: &str, values: &[String]) -> Value {
    let [value] = values else { return Value::Bool(false) };
    let Some(bound) = number(value) else { return Value::Bool(false) };
    let mut conditions = vec![json!({"!==": [element(), null]})];
    conditions.extend(is_number(&element()));
    // Last, as it fails on a text in Node.
    conditions.push(json!({operator: [element(), bound]}));
    all(conditions)
}

/// Tests that hold together for a number only. Null must be excluded before.
fn is_number(value: &Value) -> Vec<Value> {
    vec![
        // Python's True is 1, which is no boolean elsewhere; what passes here by mistake has another text than a number.
        any(vec![
            json!({"===": [value, 0]}),
            json!({"===": [value, 1]}),
            all(vec![json!({"!==": [value, true]}), json!({"!==": [value, false]})]),
        ]),
        // Go has no text of an object, and no object is equal to itself there.
        json!({"===": [value, value]}),
        json!({"!==": [{"cat": [value]}, value]}),
        begins_as_number(value),
    ]
}

/// Whether an attribute that is neither empty nor 0 is a number.
pub(super) fn is_present_number(value: &Value) -> Value {
    let mut conditions = is_number(value);
    // A list of one number has the number's text in Node; unlike a lone value it is not in its own merge.
    conditions.insert(2, json!({"in": [value, {"merge": [value]}]}));
    all(conditions)
}

/// Tests that hold together for a text only: only a text is its own text.
fn is_text() -> Vec<Value> {
    let element = element();
    vec![
        json!({"!==": [element, null]}),
        json!({"!==": [element, true]}),
        json!({"!==": [element, false]}),
        json!({"===": [element, element]}),
        json!({"===": [{"cat": [element]}, element]}),
    ]
}

fn begins_as_number(value: &Value) -> Value {
    json!({"in": [{"substr": [{"cat": [value]}, 0, 1]}, "-0123456789"]})
}

fn is(value: &Value) -> Value {
    json!({"===": [element(), value]})
}

/// The element that a test looks at.
pub(super) fn element() -> Value {
    var("")
}

//! Tests of versions.
//!
//! `sem_ver` reads "5.3" in some evaluators and not in others, likewise "v5.3.0", "V5.3.0", " 5.3.0" and "5.3-rc.1"; all of them
//! read three plain numbers with what may follow. flagd's schema wants an attribute there, so a text that was made from one
//! has to be the element of a list. Node has no `sem_ver` within lists, but reads "v5.3" by itself. Of its operators only `>=`
//! and `<` are used: in Rust, build metadata counts for the others.

use serde_json::{Value, json};

use super::element::element;
use super::{all, any, not};
use crate::plan::version::{Comparison, Version, VersionOperator, comparisons};

/// Whether the attribute is a text with a version that passes the comparisons in all values; holds for nobody where one of
/// them is no comparison.
pub(super) fn accepted(var: &Value, values: &[&str]) -> Value {
    let mut tests = Vec::new();
    for value in values {
        match comparisons(value) {
            Ok(comparisons) => tests.extend(comparisons),
            Err(_) => return Value::Bool(false),
        }
    }
    let is_digit = |character: Value| json!({"in": [character, "0123456789"]});
    let begins_with_v = json!({"starts_with": [var, "v"]});
    // In JavaScript nothing is in an empty text.
    let has_operators_in_lists = json!({"in": ["", ""]});
    all(vec![
        // Java fails on a null.
        json!({"!==": [var, null]}),
        json!({"starts_with": [var, ""]}),
        not(json!({"in": [" ", var]})),
        any(vec![
            is_digit(json!({"substr": [var, 0, 1]})),
            all(vec![begins_with_v.clone(), is_digit(json!({"substr": [var, 1, 1]}))]),
        ]),
        json!({"if": [has_operators_in_lists, spelt_out(var, &begins_with_v, &tests), passes_all(var, &tests)]}),
    ])
}

/// The tests of the version without a leading `v`, or of what it is with its missing numbers.
fn spelt_out(var: &Value, begins_with_v: &Value, tests: &[Comparison]) -> Value {
    let element = element();
    let stripped = json!({"if": [begins_with_v, {"substr": [var, 1]}, var]});
    // After a pre-release, one more number would be part of it.
    let candidates = json!({"if": [
        {"in": ["-", element]},
        {"merge": [element]},
        {"merge": [element, {"cat": [element, ".0"]}, {"cat": [element, ".0.0"]}]},
    ]});
    // With one more number before it, a text is a version exactly where a number is missing after it.
    let is_whole = not(json!({"some": [
        {"merge": [{"cat": ["0.", element]}, {"cat": ["0.0.", element]}]},
        {"sem_ver": [element, ">=", "0.0.0-0"]},
    ]}));
    let test = all(vec![is_whole, passes_all(&element, tests)]);
    json!({"some": [{"merge": [stripped]}, {"some": [candidates, test]}]})
}

fn passes_all(text: &Value, tests: &[Comparison]) -> Value {
    all(tests.iter().map(|test| passes(text, test)).collect())
}

fn passes(text: &Value, test: &Comparison) -> Value {
    let at_least = |version: &Version| json!({"sem_ver": [text, ">=", version.to_string()]});
    let below = |version: &Version| json!({"sem_ver": [text, "<", version.to_string()]});
    let version = &test.version;
    let within = |low: &Version, end: &Version| all(vec![at_least(low), below(end)]);
    match test.operator {
        VersionOperator::AtLeast => at_least(version),
        VersionOperator::Below => below(version),
        VersionOperator::Above => at_least(&version.next()),
        VersionOperator::AtMost => below(&version.next()),
        VersionOperator::Equal => within(version, &version.next()),
        VersionOperator::NotEqual => any(vec![below(version), at_least(&version.next())]),
        VersionOperator::SameMajor => within(&version.lowest_of_major(), &version.lowest_of_next_major()),
        VersionOperator::SameMinor => within(&version.lowest_of_minor(), &version.lowest_of_next_minor()),
    }
}

//! A cohort's match as a JSONLogic condition that flagd's evaluators read alike, whatever an app passes as attribute.
//!
//! The published evaluators (Rust, Go, Node, Python, Java) differ in nearly everything that JSONLogic leaves open, and some
//! fail where others answer; a failing rule gives the app its own default value. What [`super::meaning`] documents is
//! therefore written with the few tests on which all of them agree:
//!
//! * `===` and `!==` tell texts, numbers and null apart everywhere. Python takes `True` for 1 and `False` for 0.
//! * `in` finds a text in a list or a text everywhere, but Go finds the number 0 in any list of texts.
//! * `<` and its like fail on texts in Node; `cat` fails on booleans and objects in Go.
//! * `some` over `merge` visits a lone value as well as each element of a list. Inside of it Node has no operators of flagd
//!   itself (`starts_with`, `ends_with`, `sem_ver`).
//! * A path into something that is no object is found in a text or list by some and fails in others.
//!
//! `tests/it/evaluators` asks the published evaluators; whatever is changed here has to pass there.

use serde_json::{Value, json};

mod element;
mod version;

use std::collections::BTreeMap;

use crate::api::{Expression, Match, Operator};
use crate::plan::matching::TARGETING_KEY;
use element::any_element;

/// The condition that holds for the users of `matches`: literal `true` when it is empty.
///
/// Values that [`crate::plan::matching::validate`] refuses give a condition that holds for nobody.
pub fn condition(matches: &Match) -> Value {
    let mut conditions = part(&matches.attributes, &matches.expressions);
    if !matches.any_of.is_empty() {
        let groups = matches.any_of.iter().map(|group| all(part(&group.attributes, &group.expressions)));
        conditions.push(any(groups.collect()));
    }
    all(conditions)
}

/// The condition that holds where an attribute can decide a user's bucket: a text or number, and neither empty nor 0.
pub(super) fn has_bucket(key: &str) -> Value {
    let var = var(key);
    let present = json!({"!!": [var]});
    if key == TARGETING_KEY {
        // OpenFeature knows no targeting key but a text.
        return present;
    }
    let mut conditions = path_is_open(key);
    conditions.push(present);
    conditions.push(any(vec![json!({"starts_with": [var, ""]}), element::is_present_number(&var)]));
    all(conditions)
}

fn part(attributes: &BTreeMap<String, String>, expressions: &[Expression]) -> Vec<Value> {
    let mut conditions: Vec<Value> = attributes
        .iter()
        .map(|(key, value)| holds(key, any_element(key, element::is_one(std::slice::from_ref(value)))))
        .collect();
    let mut versions: Vec<(&str, Vec<&str>)> = Vec::new();
    for expression in expressions {
        let key = expression.key.as_str();
        match (expression.operator, expression.values.as_slice()) {
            // Reading a version takes many bytes, so that all comparisons of one attribute share it.
            (Operator::SemVer, [value]) => match versions.iter_mut().find(|(other, _)| *other == key) {
                Some((_, values)) => values.push(value),
                None => versions.push((key, vec![value])),
            },
            _ => conditions.push(condition_of(expression)),
        }
    }
    for (key, values) in versions {
        conditions.push(holds(key, version::accepted(&var(key), &values)));
    }
    conditions
}

fn condition_of(expression: &Expression) -> Value {
    let key = expression.key.as_str();
    let values = expression.values.as_slice();
    let some = |test: Value| holds(key, any_element(key, test));
    let none = |test: Value| fails(key, any_element(key, test));
    let compared = |operator| element::is_compared(operator, values);
    match expression.operator {
        Operator::In => some(element::is_one(values)),
        Operator::NotIn => none(element::is_one(values)),
        Operator::Exists => holds(key, exists(key)),
        Operator::DoesNotExist => fails(key, exists(key)),
        Operator::StartsWith => some(element::has_part(values, element::starts_with)),
        Operator::NotStartsWith => none(element::has_part(values, element::starts_with)),
        Operator::EndsWith => some(element::has_part(values, element::ends_with)),
        Operator::NotEndsWith => none(element::has_part(values, element::ends_with)),
        Operator::Contains => some(element::has_part(values, element::contains)),
        Operator::NotContains => none(element::has_part(values, element::contains)),
        Operator::Gt => some(compared(">")),
        Operator::Gte => some(compared(">=")),
        Operator::Lt => some(compared("<")),
        Operator::Lte => some(compared("<=")),
        Operator::SemVer => Value::Bool(false),
    }
}

/// Python's provider leaves an empty targeting key out.
fn exists(key: &str) -> Value {
    match key {
        TARGETING_KEY => json!({"!!": [var(key)]}),
        _ => json!({"!==": [var(key), null]}),
    }
}

/// The test, which reads the attribute, where the way to it leads through objects only.
fn holds(key: &str, test: Value) -> Value {
    let mut conditions = path_is_open(key);
    conditions.push(test);
    all(conditions)
}

/// The opposite of [`holds`].
fn fails(key: &str, test: Value) -> Value {
    let mut conditions: Vec<Value> = structures(key)
        .flat_map(|path| [json!({"!": [var(path)]}), json!({"!==": [first(path), null]})])
        .collect();
    conditions.push(not(test));
    any(conditions)
}

/// Whether each structure on the way to the attribute is an object: a text or list has something at 0.
fn path_is_open(key: &str) -> Vec<Value> {
    structures(key)
        .flat_map(|path| [json!({"!!": [var(path)]}), json!({"===": [first(path), null]})])
        .collect()
}

/// The paths of the structures that an attribute lies in, outermost first.
fn structures(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('.').filter_map(|(dot, _)| key.get(..dot))
}

fn first(path: &str) -> Value {
    json!({"var": format!("{path}.0")})
}

fn var(key: &str) -> Value {
    json!({ "var": key })
}

fn not(condition: Value) -> Value {
    json!({ "!": [condition] })
}

/// All of the conditions, each of them said once.
fn all(conditions: Vec<Value>) -> Value {
    let mut flat: Vec<Value> = Vec::with_capacity(conditions.len());
    for condition in conditions {
        match condition {
            Value::Object(mut object) if object.len() == 1 && object.contains_key("and") => {
                if let Some(Value::Array(parts)) = object.remove("and") {
                    parts.into_iter().for_each(|part| add(part, &mut flat));
                }
            }
            condition => add(condition, &mut flat),
        }
    }
    joined("and", flat, true)
}

fn add(condition: Value, to: &mut Vec<Value>) {
    if condition != Value::Bool(true) && !to.contains(&condition) {
        to.push(condition);
    }
}

fn any(conditions: Vec<Value>) -> Value {
    joined("or", conditions, false)
}

fn joined(operator: &str, mut conditions: Vec<Value>, of_none: bool) -> Value {
    match conditions.len() {
        0 => Value::Bool(of_none),
        1 => conditions.remove(0),
        _ => json!({ operator: conditions }),
    }
}

#[cfg(test)]
mod tests;

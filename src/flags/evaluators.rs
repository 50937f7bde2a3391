//! Conditions that several flags share, written once as `$evaluators` of the file.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::canonical;
use crate::bounds;

/// Letters and digits only, as some reader may take the name for a word.
const PREFIX: char = 'c';
/// Hexadecimal digits of the content's digest in a name.
const DIGITS: usize = 10;

/// The conditions worth sharing: by their canonical text, the evaluator's name.
#[derive(Default)]
pub(super) struct Evaluators {
    names: BTreeMap<String, String>,
    by_name: BTreeMap<String, String>,
}

impl Evaluators {
    /// Finds the conditions that take fewer bytes as evaluators: first whole ones, then parts of those that are not shared
    /// whole, since an evaluator cannot refer to another one.
    pub(super) fn shared_by<'a>(members: impl Iterator<Item = &'a Value>) -> Evaluators {
        let mut evaluators = Evaluators::default();
        let wholes: Vec<(&Value, String)> =
            members.flat_map(conditions).map(|condition| (condition, canonical::text(condition))).collect();
        evaluators.share(wholes.iter().map(|(_, text)| text.clone()));
        let rest = wholes.iter().filter(|(_, text)| !evaluators.names.contains_key(text));
        let parts: Vec<String> =
            rest.flat_map(|(condition, _)| parts(condition)).map(canonical::text).collect();
        evaluators.share(parts.into_iter());
        evaluators
    }

    fn share(&mut self, texts: impl Iterator<Item = String>) {
        let mut uses: BTreeMap<String, usize> = BTreeMap::new();
        for text in texts {
            *uses.entry(text).or_default() += 1;
        }
        for (text, uses) in uses {
            let name = name(&text);
            let shared = uses * reference(&name).len() + name.len() + text.len() + "\"\":,\n".len();
            // Equal names of different contents are next to impossible; the later one is then written out.
            if is_plain(&text) && shared < uses * text.len() && !self.by_name.contains_key(&name) {
                self.names.insert(text.clone(), name.clone());
                self.by_name.insert(name, text);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Names and conditions, sorted.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_name.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The canonical text of a member, shared conditions replaced by references.
    pub(super) fn write(&self, body: &Value) -> String {
        if self.is_empty() {
            return canonical::text(body);
        }
        let mut body = body.clone();
        if let Some(branches) = body.pointer_mut("/targeting/if").and_then(Value::as_array_mut) {
            for [condition, outcome] in branches.as_chunks_mut::<2>().0 {
                if !self.refer(condition)
                    && let Some(parts) = parts_mut(condition)
                {
                    parts.iter_mut().for_each(|part| {
                        self.refer(part);
                    });
                }
                if let Some(guard) = outcome.pointer_mut("/if/0") {
                    self.refer(guard);
                }
            }
        }
        canonical::text(&body)
    }

    /// Puts a reference in the place of a shared condition; false for one that is not shared.
    fn refer(&self, condition: &mut Value) -> bool {
        let name = condition.is_object().then(|| self.names.get(&canonical::text(condition))).flatten();
        if let Some(name) = name {
            *condition = serde_json::json!({ "$ref": name });
        }
        name.is_some()
    }
}

/// The conditions of a rendered flag that may become evaluators: who is in a cohort, and who has a bucket.
fn conditions(body: &Value) -> impl Iterator<Item = &Value> {
    body.pointer("/targeting/if")
        .and_then(Value::as_array)
        .map_or([].as_slice(), Vec::as_slice)
        .as_chunks::<2>()
        .0
        .iter()
        .flat_map(|[condition, outcome]| {
            // The guard of a targeting key is hardly longer than a reference.
            let guard = outcome.pointer("/if/0").filter(|guard| guard.get("and").is_some());
            std::iter::once(condition).chain(guard)
        })
        .filter(|condition| condition.is_object())
}

/// The conditions that a condition joins.
fn parts(condition: &Value) -> impl Iterator<Item = &Value> {
    let parts = condition.get("and").or_else(|| condition.get("or")).and_then(Value::as_array);
    parts.map_or([].as_slice(), Vec::as_slice).iter().filter(|part| part.is_object())
}

fn parts_mut(condition: &mut Value) -> Option<&mut Vec<Value>> {
    let operator = ["and", "or"].into_iter().find(|operator| condition.get(operator).is_some())?;
    condition.get_mut(operator)?.as_array_mut()
}

/// Node puts evaluators in place as text with `$` patterns, Python with backslash patterns after escaping whatever is not
/// ASCII: a condition with any of these would be garbled, or fail the whole file.
fn is_plain(text: &str) -> bool {
    text.is_ascii() && !text.contains(['$', '\\'])
}

fn name(text: &str) -> String {
    let digest = canonical::sha256_hex(text.as_bytes());
    std::iter::once(PREFIX).chain(digest.chars().take(DIGITS)).collect()
}

fn reference(name: &str) -> String {
    format!("{{\"$ref\":\"{name}\"}}")
}

/// Why a reference is not replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unexpanded {
    /// The evaluator of this name does not exist, or holds a reference itself.
    Unknown(String),
    /// More bytes of memory would come of it than there may.
    TooHeavy,
}

/// Replaces the references in a flag's targeting. Their rules may take as many bytes of memory as are `left`.
///
/// # Errors
/// When one cannot be replaced.
pub(super) fn expand(
    body: &mut Value,
    evaluators: &Map<String, Value>,
    left: &mut usize,
) -> Result<(), Unexpanded> {
    match body.get_mut("targeting") {
        Some(targeting) => replace(targeting, evaluators, left),
        None => Ok(()),
    }
}

/// Whether a flag's targeting holds a reference.
pub(super) fn has_reference(body: &Value) -> bool {
    body.get("targeting").is_some_and(refers)
}

fn refers(value: &Value) -> bool {
    referred(value).is_some()
        || match value {
            Value::Array(items) => items.iter().any(refers),
            Value::Object(object) => object.values().any(refers),
            _ => false,
        }
}

fn replace(value: &mut Value, evaluators: &Map<String, Value>, left: &mut usize) -> Result<(), Unexpanded> {
    if let Some(name) = referred(value) {
        let rule = evaluators.get(name).filter(|rule| !refers(rule));
        let rule = rule.ok_or_else(|| Unexpanded::Unknown(name.to_owned()))?;
        let bytes = bounds::json::decoded_value(rule);
        *left = left.checked_sub(bytes).ok_or(Unexpanded::TooHeavy)?;
        *value = rule.clone();
        return Ok(());
    }
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| replace(item, evaluators, left)),
        Value::Object(object) => object.values_mut().try_for_each(|item| replace(item, evaluators, left)),
        _ => Ok(()),
    }
}

fn referred(value: &Value) -> Option<&str> {
    let object = value.as_object()?;
    (object.len() == 1).then(|| object.get("$ref")?.as_str())?
}

//! What one user gets from a file, by the official engine.

use serde::Serialize;
use serde_json::{Map, Value};

use super::bucket::{self, Hash};
use super::condition::condition;
use super::file::File;
use super::{canonical, engine, meaning};
use crate::api::Percent;
use crate::plan::Audience;

/// What a user gets, in OpenFeature's words.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Flag key.
    pub flag: String,
    /// The variant's value; null where the app's own default applies.
    pub value: Value,
    /// Name of the variant; absent where the app's own default applies.
    pub variant: Option<String>,
    /// First cohort that takes the user in; absent when none does, or the audience is unknown.
    pub cohort: Option<String>,
    /// Why.
    pub reason: Reason,
}

/// OpenFeature's reasons, as far as flagd gives them.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// The targeting rule named the variant.
    TargetingMatch,
    /// The targeting rule named none, so the default variant applies.
    Default,
    /// There is no targeting rule.
    Static,
    /// The flag is disabled: the app's own default applies.
    Disabled,
}

/// Why a flag has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// The file has no flag of this key.
    #[error("there is no flag {0:?}")]
    FlagNotFound(String),
    /// The engine cannot evaluate the targeting rule or a cohort's condition.
    #[error("flag {flag:?} cannot be evaluated: {message}")]
    Engine {
        /// Flag key.
        flag: String,
        /// What the engine says.
        message: String,
    },
    /// The rule has a split of a form that rollouts do not have, or by a number, or for Node by a text beyond ASCII.
    #[error("flag {0:?} has a split that can only be told for the evaluators of Rust and Python")]
    Split(String),
    /// The rule or the default names a variant that the flag has not.
    #[error("flag {flag:?} has no variant {variant:?}")]
    UnknownVariant {
        /// Flag key.
        flag: String,
        /// The variant that was named.
        variant: String,
    },
}

/// Evaluates the flag `key` for a user as the official engine does: `context` holds the attributes, `targetingKey` among
/// them. An attribute that is null counts as absent.
///
/// # Errors
/// The flag does not exist or is broken; see [`EvaluateError`].
pub fn evaluate(
    file: &File,
    key: &str,
    context: &Map<String, Value>,
    audience: Option<&Audience>,
) -> Result<Evaluation, EvaluateError> {
    evaluate_as(Hash::default(), file, key, context, audience)
}

/// The same, with splits as the evaluators with this hash tell them.
///
/// # Errors
/// The flag does not exist or is broken, or has a split that only the engine itself can tell.
pub fn evaluate_as(
    hash: Hash,
    file: &File,
    key: &str,
    context: &Map<String, Value>,
    audience: Option<&Audience>,
) -> Result<Evaluation, EvaluateError> {
    let attributes = context;
    let body = file.flag(key).ok_or_else(|| EvaluateError::FlagNotFound(key.to_owned()))?;
    let broken = |message: String| EvaluateError::Engine { flag: key.to_owned(), message };
    let context = engine::context(context);
    let mut cohort = None;
    for candidate in audience.map_or([].as_slice(), |audience| &audience.cohorts) {
        let holds = engine::holds(key, &condition(&candidate.matches), &context);
        if holds.map_err(|error| broken(error.to_string()))? {
            cohort = Some(candidate.name.clone());
            break;
        }
    }
    let answer = |value, variant, reason| Evaluation { flag: key.to_owned(), value, variant, cohort, reason };
    if body.get("state").and_then(Value::as_str) == Some("DISABLED") {
        return Ok(answer(Value::Null, None, Reason::Disabled));
    }
    let told = |rule: &Value| -> Result<Value, EvaluateError> {
        let mut rule = rule.clone();
        match hash == Hash::Cbor || tell_splits(&mut rule, hash, attributes) {
            true => Ok(rule),
            false => Err(EvaluateError::Split(key.to_owned())),
        }
    };
    let (named, reason) = match body.get("targeting").filter(|rule| !is_empty(rule)) {
        None => (None, Reason::Static),
        Some(rule) => match engine::apply(key, &canonical::text(&told(rule)?), &context) {
            Ok(Some(variant)) => (Some(variant), Reason::TargetingMatch),
            Ok(None) => (None, Reason::Default),
            Err(error) => return Err(broken(error.to_string())),
        },
    };
    let default = || body.get("defaultVariant").and_then(Value::as_str);
    let Some(variant) = named.or_else(|| default().map(str::to_owned)) else {
        return Ok(answer(Value::Null, None, Reason::Default));
    };
    let value = body.get("variants").and_then(|variants| variants.get(&variant)).cloned();
    match value {
        Some(value) => Ok(answer(value, Some(variant), reason)),
        None => Err(EvaluateError::UnknownVariant { flag: key.to_owned(), variant }),
    }
}

/// Puts the variant that a user gets in the place of each split by two variants; false where a split has another form, or
/// goes by a number, of which evaluators make different texts.
fn tell_splits(rule: &mut Value, hash: Hash, context: &Map<String, Value>) -> bool {
    if let Some(split) = rule.get("fractional") {
        let Some(variant) = tell(split, hash, context) else { return false };
        *rule = variant;
        return true;
    }
    match rule {
        Value::Array(items) => items.iter_mut().all(|item| tell_splits(item, hash, context)),
        Value::Object(object) => object.values_mut().all(|item| tell_splits(item, hash, context)),
        _ => true,
    }
}

fn tell(split: &Value, hash: Hash, context: &Map<String, Value>) -> Option<Value> {
    let [text, first, second] = split.as_array()?.as_slice() else { return None };
    let [salt, separator, attribute] = text.get("cat")?.as_array()?.as_slice() else { return None };
    let part = |part: &Value| Some((part.get(0)?.clone(), u32::try_from(part.get(1)?.as_u64()?).ok()?));
    let ((treatment, weight), (control, rest)) = (part(first)?, part(second)?);
    if separator != ":" || weight.checked_add(rest)? != Percent::FULL.thousandths() {
        return None;
    }
    match meaning::read(context, attribute.get("var")?.as_str()?) {
        Some(Value::String(user)) => {
            let has = bucket::has_feature(hash, salt.as_str()?, user, weight)?;
            Some(if has { treatment } else { control })
        }
        Some(Value::Number(_)) => None,
        // Nobody is asked who has neither.
        _ => Some(control),
    }
}

/// flagd takes an empty rule for none.
fn is_empty(rule: &Value) -> bool {
    rule.is_null() || rule.as_object().is_some_and(Map::is_empty)
}

#[cfg(test)]
mod tests;

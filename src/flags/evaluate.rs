//! What one user gets from a file, by the official engine.

use serde::Serialize;
use serde_json::{Map, Value};

use super::condition::condition;
use super::file::File;
use super::generation::{Generation, settled};
use super::{canonical, engine};
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
    /// The rule or the default names a variant that the flag has not.
    #[error("flag {flag:?} has no variant {variant:?}")]
    UnknownVariant {
        /// Flag key.
        flag: String,
        /// The variant that was named.
        variant: String,
    },
}

/// Evaluates the flag `key` for a user: `context` holds the attributes, `targetingKey` among them. An attribute
/// that is null counts as absent.
///
/// # Errors
/// The flag does not exist or is broken; see [`EvaluateError`].
pub fn evaluate(
    file: &File,
    key: &str,
    context: &Map<String, Value>,
    audience: Option<&Audience>,
) -> Result<Evaluation, EvaluateError> {
    evaluate_as(file, key, context, audience, Generation::default())
}

/// As [`evaluate`], with users in the buckets of a generation of evaluators.
///
/// # Errors
/// As there, and where that generation has no common answer.
pub fn evaluate_as(
    file: &File,
    key: &str,
    context: &Map<String, Value>,
    audience: Option<&Audience>,
    generation: Generation,
) -> Result<Evaluation, EvaluateError> {
    let body = file
        .members
        .get(key)
        .or_else(|| file.statics.get(key))
        .ok_or_else(|| EvaluateError::FlagNotFound(key.to_owned()))?;
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
    let of = |rule: &Value| match generation {
        Generation::Third => Ok(rule.clone()),
        Generation::Second => settled(rule, key, &context).map_err(broken),
    };
    let (named, reason) = match body.get("targeting").filter(|rule| !is_empty(rule)) {
        None => (None, Reason::Static),
        Some(rule) => match engine::apply(key, &canonical::text(&of(rule)?), &context) {
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

/// flagd takes an empty rule for none.
fn is_empty(rule: &Value) -> bool {
    rule.is_null() || rule.as_object().is_some_and(Map::is_empty)
}

#[cfg(test)]
mod tests;

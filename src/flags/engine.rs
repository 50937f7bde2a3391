//! The official flagd engine, fed with JSON contexts.

use std::sync::{Arc, LazyLock};

use flagd_evaluation_engine::{FlagdEvaluationError, Operator};
use open_feature::{EvaluationContext, EvaluationContextFieldValue, StructValue};
use serde_json::{Map, Value};

/// Building one costs more than an evaluation, so one serves all.
static ENGINE: LazyLock<Operator> = LazyLock::new(Operator::new);

/// Evaluates a targeting rule without `$ref`s; `None` is the rule's own null.
///
/// # Errors
/// What the engine says of a rule that it cannot compile or evaluate.
pub(super) fn apply(
    key: &str,
    rule: &str,
    context: &EvaluationContext,
) -> Result<Option<String>, FlagdEvaluationError> {
    ENGINE.apply(key, rule, context)
}

/// Whether a condition holds, by JSONLogic's idea of truth.
pub(super) fn holds(
    key: &str,
    condition: &Value,
    context: &EvaluationContext,
) -> Result<bool, FlagdEvaluationError> {
    match condition {
        Value::Bool(literal) => Ok(*literal),
        _ => {
            let rule = serde_json::json!({"if": [condition, "yes", "no"]}).to_string();
            Ok(apply(key, &rule, context)?.as_deref() == Some("yes"))
        }
    }
}

/// The OpenFeature context of a JSON object; a string `targetingKey` is the targeting key, a null is left out.
pub(super) fn context(object: &Map<String, Value>) -> EvaluationContext {
    let mut context = EvaluationContext::default();
    for (key, value) in object {
        match value {
            Value::String(text) if key == "targetingKey" => {
                context.targeting_key = Some(text.clone())
            }
            _ => {
                if let Some(value) = field(value) {
                    context.custom_fields.insert(key.clone(), value);
                }
            }
        }
    }
    context
}

fn field(value: &Value) -> Option<EvaluationContextFieldValue> {
    Some(match value {
        Value::Null => return None,
        // A context has no lists, but the engine reads an OpenFeature value wherever a structure may stand.
        Value::Array(_) => EvaluationContextFieldValue::Struct(Arc::new(nested(value)?)),
        Value::Bool(value) => EvaluationContextFieldValue::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => EvaluationContextFieldValue::Int(integer),
            None => EvaluationContextFieldValue::Float(number.as_f64()?),
        },
        Value::String(text) => EvaluationContextFieldValue::String(text.clone()),
        Value::Object(object) => EvaluationContextFieldValue::Struct(Arc::new(structure(object))),
    })
}

fn structure(object: &Map<String, Value>) -> StructValue {
    StructValue {
        fields: object
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), nested(value)?)))
            .collect(),
    }
}

fn nested(value: &Value) -> Option<open_feature::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => open_feature::Value::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => open_feature::Value::Int(integer),
            None => open_feature::Value::Float(number.as_f64()?),
        },
        Value::String(text) => open_feature::Value::String(text.clone()),
        Value::Array(items) => {
            open_feature::Value::Array(items.iter().filter_map(nested).collect())
        }
        Value::Object(object) => open_feature::Value::Struct(structure(object)),
    })
}

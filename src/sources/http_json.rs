//! Numbers out of any JSON answer.

use serde_json::Value;

use super::failure::Failure;
use super::json_path;
use super::reduce::{Answer, Sample};
use crate::bounds;

/// What the path finds; with a label, objects that have it beside a `value`.
pub(super) fn answer(body: &Value, path: &str, label: Option<&str>) -> Result<Answer, Failure> {
    let path = json_path::parse(path).map_err(|_| Failure::Query)?;
    Ok(path.query(body).all().into_iter().map(|node| sample(node, label)).collect())
}

/// The body as JSON. One that would take too much memory is not decoded.
pub(super) fn parse(body: &[u8]) -> Result<Value, Failure> {
    if bounds::json::decoded(body) > bounds::json::ANSWER_DECODED {
        return Err(Failure::TooLarge);
    }
    serde_json::from_slice(body).map_err(|_| Failure::Json)
}

fn sample(node: &Value, label: Option<&str>) -> Sample {
    let Some(label) = label else {
        return Sample { label: None, value: number(node), at: None };
    };
    Sample {
        label: node.get(label).and_then(Value::as_str).map(str::to_owned),
        value: node.get("value").map_or(Err("the object has no value"), number),
        at: None,
    }
}

fn number(node: &Value) -> Result<f64, &'static str> {
    match node {
        Value::Number(number) => number.as_f64().ok_or("the value is not a number"),
        Value::String(_) => Err("the value is a string"),
        Value::Null => Err("the value is null"),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err("the value is not a number"),
    }
}

//! Answers of Prometheus' HTTP API, read strictly.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::failure::Failure;
use super::http_json;
use super::reduce::{Answer, Sample};
use crate::api::MicroTime;

#[derive(Deserialize)]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    result_type: String,
    result: Value,
}

/// A time in seconds and a value, as text.
type Point = (f64, String);

#[derive(Deserialize)]
struct Instant {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<Point>,
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<Point>,
}

/// The answer to an instant query; `label` is the one whose values tell the series apart.
pub(super) fn instant(body: &[u8], label: Option<&str>) -> Result<Answer, Failure> {
    let data = data(body)?;
    match data.result_type.as_str() {
        "scalar" => {
            let point: Point = form(data.result)?;
            Ok(vec![sample(&point, None)?])
        }
        "string" => {
            let (at, _): Point = form(data.result)?;
            Ok(vec![Sample { label: None, value: Err("the answer is a string"), at: Some(time(at)?) }])
        }
        "vector" => {
            let series: Vec<Instant> = form(data.result)?;
            let read = |mut series: Instant| {
                let label = label.and_then(|label| series.metric.remove(label));
                match series.value {
                    Some(point) => sample(&point, label),
                    None => Ok(Sample { label, value: Err("the answer is a histogram"), at: None }),
                }
            };
            series.into_iter().map(read).collect()
        }
        _ => Err(Failure::Form),
    }
}

/// The answer to a range query: what an instant query would have answered at each of its instants.
pub(super) fn range(body: &[u8], label: Option<&str>) -> Result<BTreeMap<MicroTime, Answer>, Failure> {
    let data = data(body)?;
    if data.result_type != "matrix" {
        return Err(Failure::Form);
    }
    let mut answers: BTreeMap<MicroTime, Answer> = BTreeMap::new();
    for mut series in form::<Vec<Range>>(data.result)? {
        let label = label.and_then(|label| series.metric.remove(label));
        for point in &series.values {
            let sample = sample(point, label.clone())?;
            answers.entry(time(point.0)?).or_default().push(sample);
        }
    }
    Ok(answers)
}

fn data(body: &[u8]) -> Result<Data, Failure> {
    let value = http_json::parse(body)?;
    let envelope: Envelope = form(value)?;
    match envelope.status.as_str() {
        "success" => envelope.data.ok_or(Failure::Form),
        "error" => Err(Failure::Reported),
        _ => Err(Failure::Form),
    }
}

fn form<T: for<'de> Deserialize<'de>>(value: Value) -> Result<T, Failure> {
    T::deserialize(value).map_err(|_| Failure::Form)
}

fn sample((at, value): &Point, label: Option<String>) -> Result<Sample, Failure> {
    let value: f64 = value.parse().map_err(|_| Failure::Form)?;
    Ok(Sample { label, value: Ok(value), at: Some(time(*at)?) })
}

fn time(seconds: f64) -> Result<MicroTime, Failure> {
    // A cast of a float saturates, and then it is no time.
    MicroTime::from_millisecond((seconds * 1000.0).round() as i64).map_err(|_| Failure::Form)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn leaf() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<f64>().prop_map(|number| json!(number)),
            any::<i64>().prop_map(|number| json!(number)),
            prop_oneof![Just("7"), Just("NaN"), Just("-Inf"), Just("success"), Just("")]
                .prop_map(|text| json!(text)),
        ]
    }

    fn anything() -> impl Strategy<Value = Value> {
        leaf().prop_recursive(4, 32, 4, |inner| {
            let key = prop_oneof![
                Just("metric"),
                Just("value"),
                Just("values"),
                Just("result"),
                Just("resultType")
            ];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((key, inner), 0..4).prop_map(|pairs| pairs
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(result in anything(), data in anything(), bytes in any::<Vec<u8>>()) {
            let kinds = ["scalar", "string", "vector", "matrix", "other"];
            let typed = kinds.map(|kind| json!({"status": "success", "data": {"resultType": kind, "result": result}}));
            let wild = json!({"status": "success", "data": data});
            for value in typed.iter().chain([&wild]) {
                let body = serde_json::to_vec(value).unwrap();
                for sample in instant(&body, Some("x")).unwrap_or_default() {
                    prop_assert!(sample.at.is_some() || sample.value.is_err());
                }
                let _ = range(&body, Some("x"));
            }
            prop_assert!(instant(&bytes, None).is_err());
        }
    }
}

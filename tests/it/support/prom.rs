//! Queries to a Prometheus.

use serde_json::Value;

/// The series of an instant query: their labels and values.
pub async fn series(url: &str, query: &str) -> Vec<(Value, f64)> {
    let request = reqwest::Client::new().get(format!("{url}/api/v1/query")).query(&[("query", query)]);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    answer["data"]["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| (series["metric"].clone(), series["value"][1].as_str().unwrap().parse().unwrap()))
        .collect()
}

/// The value of a query that gives one series; `None` if there is none.
pub async fn value(url: &str, query: &str) -> Option<f64> {
    let series = series(url, query).await;
    assert!(series.len() <= 1, "{query}: {series:?}");
    series.first().map(|(_, value)| *value)
}

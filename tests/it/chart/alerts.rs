//! Alerts and the dashboard ask for metrics that exist, in queries that Prometheus takes, and lead to pages that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use sluice::api::FeatureRollout;
use sluice::api::metricsource::Circuit;
use sluice::sandbox::{Prometheus, PrometheusOptions, ScrapeTarget};
use sluice::telemetry::{Metrics, Tally};

use super::{one, rendered};
use crate::support::bare::bare_space;
use crate::support::go_tools::promtool;
use crate::support::process::ControllerProcess;
use crate::support::prom::series;
use crate::support::proxy::Proxy;
use crate::support::{eventually, is_ready};

/// The rules of the rendered PrometheusRule.
fn rules(set: &[&str]) -> Vec<Value> {
    let set: Vec<&str> = ["prometheusRule.enabled=true"].iter().chain(set).copied().collect();
    let objects = rendered(&set);
    let groups = one(&objects, "PrometheusRule", "sluice")["spec"]["groups"].clone();
    groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn dashboard() -> Value {
    let objects = rendered(&["grafanaDashboard.enabled=true"]);
    let map = one(&objects, "ConfigMap", "sluice-dashboard");
    serde_json::from_str(map["data"]["sluice.json"].as_str().unwrap()).unwrap()
}

/// Every query of alerts and dashboard, by the name of what asks.
fn queries() -> BTreeMap<String, String> {
    let mut queries = BTreeMap::new();
    for rule in rules(&[]) {
        queries.insert(rule["alert"].as_str().unwrap().to_owned(), rule["expr"].as_str().unwrap().to_owned());
    }
    for panel in dashboard()["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let name = format!("{} {}", panel["title"].as_str().unwrap(), target["refId"].as_str().unwrap());
            queries.insert(name, target["expr"].as_str().unwrap().to_owned());
        }
    }
    assert!(queries.len() > 30, "{queries:?}");
    queries
}

/// The names of series, by the types that the program says its metrics have.
fn existing() -> BTreeSet<String> {
    let metrics = Metrics::default();
    // What has labels that are not known from the start is told only when there is one.
    let [objects, beyond, entries] =
        ["FeatureRollout", "FlagSet", "writers"].map(|name| BTreeMap::from([(name, 1)]));
    metrics.count(0, Tally { objects, beyond, entries, ..Tally::default() });
    metrics.set_leads(0, true);
    metrics.checks.circuit("prometheus", Circuit::Closed);
    metrics.checks.value(&("shop".to_owned(), "one".to_owned()), "errors", None, Some(1.0));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &metrics.registry()).unwrap();
    let mut names = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        match kind {
            "counter" => drop(names.insert(format!("{name}_total"))),
            "info" => drop(names.insert(format!("{name}_info"))),
            "histogram" => names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}"))),
            _ => drop(names.insert(name.to_owned())),
        }
    }
    names
}

/// What a query takes for metrics of ours.
fn named(query: &str) -> Vec<&str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("sluice_")).collect()
}

#[test]
fn every_metric_that_is_asked_for_exists_and_every_metric_is_shown() {
    let existing = existing();
    let mut shown = BTreeSet::new();
    for (name, query) in queries() {
        let names = named(&query);
        assert!(!names.is_empty(), "{name}: {query}");
        for metric in names {
            assert!(existing.contains(metric), "{name} asks for {metric}, which there is not");
            shown.insert(metric.to_owned());
        }
    }
    let unseen: Vec<&String> = existing
        .iter()
        .filter(|name| !name.ends_with("_sum") && !name.ends_with("_count") && !shown.contains(*name))
        .collect();
    assert_eq!(unseen, ["sluice_trigger_values_left_out_total"]);
}

/// `increase` of a series that begins with its first count is 0, so that an alert would miss the first rollback.
#[test]
fn what_alerts_count_begins_at_zero() {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &Metrics::default().registry()).unwrap();
    for series in [
        "sluice_rollbacks_total{mode=\"Immediate\"} 0",
        "sluice_file_writes_total{outcome=\"Error\"} 0",
        "sluice_reconciles_total{outcome=\"Ok\"} 0",
        "sluice_checks_total{verdict=\"ProviderError\"} 0",
        "sluice_actions_total{answer=\"Expired\"} 0",
    ] {
        assert!(text.lines().any(|line| line == series), "{series} is not in\n{text}");
    }
}

#[test]
fn every_alert_has_a_section_of_its_own_and_leads_to_it() {
    let page = std::fs::read_to_string("docs/alerts.md").unwrap();
    let sections: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut alerts = BTreeSet::new();
    let published = rules(&["prometheusRule.docsUrl=https://wiki.test/sluice/"]);
    for (rule, published) in rules(&[]).into_iter().zip(published) {
        let alert = rule["alert"].as_str().unwrap().to_owned();
        let anchor = format!("alerts.md#{}", alert.to_lowercase());
        assert_eq!(rule["annotations"]["runbook"], format!("docs/{anchor}"));
        assert_eq!(published["annotations"]["runbook_url"], format!("https://wiki.test/sluice/{anchor}"));
        for annotation in ["summary", "description"] {
            assert!(rule["annotations"][annotation].is_string(), "{alert} has no {annotation}");
        }
        assert!(["critical", "warning", "info"].contains(&rule["labels"]["severity"].as_str().unwrap()));
        assert!(sections.contains(alert.as_str()), "docs/alerts.md has no section {alert}");
        alerts.insert(alert);
    }
    assert_eq!(sections.len(), alerts.len(), "{sections:?}");
}

#[test]
fn every_alert_is_set_off_by_what_it_is_for_and_by_nothing_less() {
    let cases = std::fs::read_to_string("tests/it/chart/alerts.yaml").unwrap();
    for rule in rules(&[]) {
        let alert = rule["alert"].as_str().unwrap();
        assert!(cases.contains(&format!("alertname=\"{alert}\"")), "{alert} is never set off there");
    }
    let ran =
        Command::new(promtool()).args(["test", "rules", "tests/it/chart/alerts.yaml"]).output().unwrap();
    assert!(
        ran.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// A real Prometheus with a real controller's metrics answers every one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_answers_every_query_of_alerts_and_dashboard() {
    let space = bare_space("chart-alerts").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let folder = tempfile::tempdir().unwrap();
    let (kubeconfig, log) = (folder.path().join("kubeconfig"), folder.path().join("log"));
    std::fs::write(&kubeconfig, proxy.kubeconfig()).unwrap();
    let process = ControllerProcess::start(&kubeconfig, &log);
    let target = ScrapeTarget::new("sluice", process.address().await);
    let options = PrometheusOptions { targets: vec![target], ..PrometheusOptions::default() };
    let prometheus = Prometheus::start(options).await.unwrap();
    let url = prometheus.url();
    let queries = queries();
    eventually("it is scraped", async || !series(url, "sluice_build_info").await.is_empty()).await;
    // From here on whatever is counted is seen to grow.
    let one = "{metadata: {name: one}, spec: {cohorts: [{name: everyone}],
        phases: [{name: ga, ramp: {percents: [5, 10, 15, 20, 25, 30], every: 1s}}]}}";
    space.apply::<FeatureRollout>(one).await.unwrap();
    space.until("one", "served", is_ready).await;

    let fill = |query: &str| {
        query.replace("$__rate_interval", "5m").replace("$namespace", ".*").replace("$rollout", ".*")
    };
    for query in queries.values() {
        series(url, &fill(query)).await;
    }
    // Where it has something to show, it shows it.
    for name in [
        "Rollouts A",
        "Controllers A",
        "Version A",
        "Deliveries A",
        "Status writes A",
        "Objects A",
        "How long a write of a file takes B",
    ] {
        let query = fill(&queries[name]);
        eventually(&format!("{name} shows something: {query}"), async || {
            series(url, &query).await.iter().any(|(_, value)| *value > 0.0)
        })
        .await;
    }
    // What is well sets off nothing.
    for (name, query) in queries.iter().filter(|(name, _)| name.starts_with("Sluice")) {
        assert_eq!(series(url, query).await, [], "{name} is set off");
    }
    process.stop().await;
    let absent = &queries["SluiceAbsent"];
    eventually("its absence is noticed", async || !series(url, absent).await.is_empty()).await;
    prometheus.stop().await;
}

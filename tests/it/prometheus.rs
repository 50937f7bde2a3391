//! The sandbox's Prometheus is a real one, reports what the scripted app does, and leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use sluice::sandbox::{Prometheus, PrometheusOptions, ScrapeTarget, ScriptedApp};

use crate::support::eventually;
use crate::support::process::sluice_binary;
use crate::support::prom::{series, value};
use crate::support::running::{path_without, running_with, wait_until};

/// Set for the process that `a_killed_parent_leaves_nothing_running` kills.
const HANG_IN: &str = "SLUICE_TEST_PROMETHEUS_IN";

const ERRORS: &str =
    "100 * sum(rate(http_requests_total{code=\"500\"}[2s])) / sum(rate(http_requests_total[2s]))";
const LATENCY: &str =
    "histogram_quantile(0.95, sum by (cohort, le) (rate(http_request_duration_seconds_bucket[2s])))";
const CRASHES: &str = "100 * sum(rate(app_crashes_total[2s])) / sum(rate(app_sessions_total[2s]))";

#[tokio::test]
async fn queries_report_what_the_app_is_told_to_do() {
    let app = ScriptedApp::start("dreams", &["early", "all"]).await.unwrap();
    let mut target = ScrapeTarget::new("app", app.address());
    target.labels.insert("tenant".to_owned(), "maya".to_owned());
    let prometheus = scraping(vec![target]).await;
    let url = prometheus.url();

    for (errors, crashes, early, all) in [(12.5, 0.0, 0.3, 0.2), (40.0, 2.0, 1.7, 5.0), (0.0, 0.5, 0.2, 0.01)]
    {
        app.set_error_percent(errors);
        app.set_crash_percent(crashes);
        app.set_latency_p95("early", early);
        app.set_latency_p95("all", all);
        becomes(url, ERRORS, errors).await;
        becomes(url, CRASHES, crashes).await;
        becomes(
            url,
            &format!("sum({LATENCY} and on (cohort) http_requests_total{{cohort=\"early\"}})"),
            early,
        )
        .await;
        becomes(
            url,
            &format!("max({LATENCY} unless on (cohort) http_requests_total{{cohort=\"early\"}})"),
            all,
        )
        .await;
    }

    let served = series(url, "http_requests_total{cohort=\"all\",code=\"200\"}").await;
    let labels = json!({
        "__name__": "http_requests_total", "instance": app.address().to_string(), "job": "app",
        "tenant": "maya", "service": "dreams", "cohort": "all", "code": "200",
    });
    assert_eq!(served.into_iter().map(|(labels, _)| labels).collect::<Vec<_>>(), [labels]);

    app.set_silent(true);
    becomes(url, "up{job=\"app\"}", 0.0).await;
    assert_eq!(series(url, "{service=\"dreams\"}").await, []);
    app.set_silent(false);
    becomes(url, ERRORS, 0.0).await;
    prometheus.stop().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_prometheus_that_was_stopped_or_dropped() {
    for drop_it in [false, true] {
        let prometheus = scraping(Vec::new()).await;
        let folder = prometheus.data_dir().to_path_buf();
        assert!(!running_with(&folder).is_empty(), "it runs from its data folder");
        if drop_it {
            drop(prometheus);
        } else {
            prometheus.stop().await;
        }
        assert_eq!(running_with(&folder), Vec::<String>::new());
        assert!(!folder.exists(), "a temporary folder goes with its Prometheus");
    }
}

#[tokio::test]
async fn a_data_folder_goes_on_from_its_data() {
    let app = ScriptedApp::start("dreams", &["all"]).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = PrometheusOptions {
        data_dir: Some(folder.path().to_path_buf()),
        targets: vec![ScrapeTarget::new("app", app.address())],
        scrape_interval: Duration::from_millis(200),
    };
    let prometheus = Prometheus::start(options.clone()).await.unwrap();
    becomes(prometheus.url(), "count(app_sessions_total)", 1.0).await;
    let taken = Prometheus::start(options.clone()).await.unwrap_err().to_string();
    assert!(taken.contains("another sandbox"), "{taken}");
    prometheus.stop().await;

    let prometheus = Prometheus::start(PrometheusOptions { targets: Vec::new(), ..options }).await.unwrap();
    let kept = "count(last_over_time(app_sessions_total[1h]))";
    assert_eq!(value(prometheus.url(), kept).await, Some(1.0));
    prometheus.stop().await;
}

#[tokio::test]
async fn an_early_exit_shows_the_end_of_the_log() {
    let targets = vec![ScrapeTarget::new("app", "http://127.0.0.1/")];
    let error = Prometheus::start(PrometheusOptions { targets, ..PrometheusOptions::default() })
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("prometheus ended too early"), "{error}");
    assert!(error.contains("is not a valid hostname"), "{error}");
}

#[tokio::test]
async fn a_killed_parent_leaves_nothing_running() {
    // Only one from the cache has a supervisor.
    let folder = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "prometheus::parent_to_be_killed"])
        .env(HANG_IN, folder.path())
        .env("PATH", path_without("prometheus"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = folder.path().join("started");
    let mut poll = tokio::time::interval(Duration::from_millis(50));
    // It may have to build first, which takes minutes.
    while !started.exists() && parent.try_wait().unwrap().is_none() {
        poll.tick().await;
    }
    let before = running_with(folder.path());
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(started.exists(), "the Prometheus started");
    assert!(before.len() >= 2, "program and supervisor: {before:?}");
    let gone = wait_until(|| running_with(folder.path()).is_empty()).await;
    assert!(gone, "still running: {:?}", running_with(folder.path()));
}

/// Not a test of its own: another one runs it in a process that it kills.
#[tokio::test]
async fn parent_to_be_killed() {
    let Some(folder) = std::env::var_os(HANG_IN) else {
        return;
    };
    let options = PrometheusOptions { data_dir: Some(folder.clone().into()), ..PrometheusOptions::default() };
    let _prometheus = Prometheus::start(options).await.unwrap();
    fs::write(Path::new(&folder).join("started"), "").unwrap();
    std::future::pending::<()>().await;
}

#[test]
fn a_prometheus_on_the_path_is_used_from_version_3_on() {
    let folder = tempfile::tempdir().unwrap();
    let missing = dev_with_path(folder.path(), folder.path());
    assert!(missing.contains("no Prometheus to run"), "{missing}");
    assert!(missing.contains("`go` is not on PATH"), "{missing}");

    let program = folder.path().join("prometheus");
    for (version, said) in [("2.55.1", "no Prometheus to run"), ("3.1.0", "ended too early")] {
        let text = format!("#!/bin/sh\necho 'prometheus, version {version} (branch: HEAD)'\nexit 0\n");
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let output = dev_with_path(folder.path(), folder.path());
        assert!(output.contains(said), "{version}: {output}");
    }
}

/// What `sluice dev --with-prometheus` complains about with these folders as `PATH` and cache.
fn dev_with_path(path: &Path, cache: &Path) -> String {
    let kubeconfig = cache.join("kubeconfig");
    let nobody = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "nobody",
        "clusters": [{"name": "nobody", "cluster": {"server": "http://127.0.0.1:9"}}],
        "contexts": [{"name": "nobody", "context": {"cluster": "nobody", "user": "nobody"}}],
        "users": [{"name": "nobody", "user": {}}],
    });
    fs::write(&kubeconfig, nobody.to_string()).unwrap();
    let output = Command::new(sluice_binary())
        .args(["dev", "--with-prometheus", "--kubeconfig"])
        .arg(kubeconfig)
        .env("PATH", path)
        .env("SLUICE_CACHE", cache)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn scraping(targets: Vec<ScrapeTarget>) -> Prometheus {
    let scrape_interval = Duration::from_millis(200);
    Prometheus::start(PrometheusOptions { data_dir: None, targets, scrape_interval }).await.unwrap()
}

async fn becomes(url: &str, query: &str, wanted: f64) {
    eventually(&format!("{query} is {wanted}"), async || {
        value(url, query).await.is_some_and(|value| (value - wanted).abs() < 1e-6)
    })
    .await;
}

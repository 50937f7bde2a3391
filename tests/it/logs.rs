//! What the controller logs: one line of words an event, and nothing to worry about where there is nothing.

use serde_json::Value;
use sluice::api::FeatureRollout;
use sluice::sandbox::{ControlPlane, Options, install_crds, install_policies};

use crate::support::process::ControllerProcess;
use crate::support::{Space, is_ready, is_stalled};

/// Forms that only a debug dump has.
const DUMPS: [&str; 9] = [
    "{ code:",
    "Some(",
    "None,",
    "Status {",
    "Rollout((",
    "Err(",
    "Error(",
    "ObjectMeta",
    "\\\"kind\\\":\\\"Status\\\"",
];

/// Two warnings with a dump of the API server's answer came at every first start, as it asks for patience then.
#[tokio::test]
async fn an_ordinary_start_run_and_stop_has_no_warning_and_no_dump_in_its_log() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    // The kinds are so new that the API server refuses to list them for a moment.
    install_crds(&plane.client().unwrap()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let logs = ["json", "text"].map(|format| (format, folder.path().join(format)));
    for (format, log) in &logs {
        let controller =
            ControllerProcess::start_with(plane.kubeconfig_path(), log, &["--log-format", *format]);
        let space = Space::on(plane.client().unwrap(), &format!("logs-{format}")).await;
        let yaml = "{metadata: {name: one}, spec: {cohorts: [{name: everyone}],
            phases: [{name: ga, ramp: {percents: [50, 100], every: 1s}}]}}";
        space.apply::<FeatureRollout>(yaml).await.unwrap();
        space.until("one", "completed", |status| status.completed_at.is_some() && is_ready(status)).await;
        install_policies(&plane.client().unwrap()).await.unwrap();
        assert!(controller.stop().await.success(), "{}", controller.log());
    }
    for (format, log) in &logs {
        let text = std::fs::read_to_string(log).unwrap();
        assert!(text.lines().count() >= 1, "{format}: nothing is logged");
        for line in text.lines() {
            let level = match *format {
                "json" => serde_json::from_str::<Value>(line).unwrap()["level"].as_str().unwrap().to_owned(),
                _ => line.split_whitespace().nth(1).unwrap_or_default().to_owned(),
            };
            assert!(["INFO", "DEBUG", "TRACE"].contains(&level.as_str()), "{format}: {line}");
            assert!(!line.contains('\u{1b}'), "{format}: colours in a file: {line}");
        }
        assert_no_dump(&text);
    }
    plane.stop().await.unwrap();
}

/// The client library logs the bodies that it cannot read, whatever they are.
#[tokio::test]
async fn trouble_is_logged_in_words_and_no_body_of_an_answer_gets_into_the_log() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    install_crds(&plane.client().unwrap()).await.unwrap();
    let space = Space::on(plane.client().unwrap(), "logs-trouble").await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    // A user who may do nothing but read rollouts: everything else is refused.
    let nobody = serde_json::to_vec(&plane.user_kubeconfig("nobody", &[]).unwrap()).unwrap();
    let kubeconfig = folder.path().join("nobody");
    std::fs::write(&kubeconfig, nobody).unwrap();
    let controller = ControllerProcess::start_traced(&kubeconfig, &log);
    crate::support::eventually("it says that it may not list", async || {
        std::fs::read_to_string(&log).unwrap_or_default().contains("is forbidden")
    })
    .await;
    controller.kill();
    let controller = ControllerProcess::start_traced(plane.kubeconfig_path(), &log);
    let secret = "s3cr3t-title";
    let yaml = format!(
        "{{metadata: {{name: one}}, spec: {{feature: {{title: {secret}}}, cohorts: [{{name: everyone}}],
            baseline: {{nobody: 5}}, phases: [{{name: ga, ramp: {{percents: [50], every: 1h}}}}]}}}}"
    );
    space.apply::<FeatureRollout>(&yaml).await.unwrap();
    space.until("one", "stalled", |status| is_stalled(status, "InvalidSpec", "nobody")).await;
    controller.kill();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains(secret), "a body is in the log");
    assert_no_dump(&text);
    plane.stop().await.unwrap();
}

fn assert_no_dump(text: &str) {
    for line in text.lines() {
        for dump in DUMPS {
            assert!(!line.contains(dump), "{dump:?} in {line}");
        }
    }
}

/// Every log line of the source: none asks for the debug form of anything.
#[test]
fn no_log_line_asks_for_a_debug_form() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut looked_at = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for call in text.split("tracing::").skip(1) {
                let Some((level, arguments)) = call.split_once("!(") else { continue };
                if !["trace", "debug", "info", "warn", "error"].contains(&level) {
                    continue;
                }
                let arguments = arguments.split(");").next().unwrap_or_default();
                looked_at += 1;
                // The words are the message, and JSON with two fields of one name is read in several ways.
                assert!(!arguments.contains("message ="), "{}: {arguments}", path.display());
                for debug in [":?}", "(?", ", ?", "= ?", " ?"] {
                    assert!(!arguments.contains(debug), "{}: {arguments}", path.display());
                }
            }
        }
    }
    assert!(looked_at > 30, "only {looked_at} log lines were found");
}

//! `sluice dev --with-prometheus`: a Prometheus, and an app for it that goes from good to bad and back.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cli::output::{Failure, print};
use crate::clock::sleep;
use crate::error::chain;
use crate::sandbox::{ControlPlane, Prometheus, PrometheusOptions, SandboxError, ScrapeTarget, ScriptedApp};

/// The label `service` of the app's metrics, and their job.
const SERVICE: &str = "dreams";
/// Those of the playbook example.
const COHORTS: [&str; 5] = ["internal", "early-adopters", "regular", "casual", "new"];
/// How long the app is good at first, in real time.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// How long it is bad then: long enough for a rollback, and short enough for somebody to wait for the retry.
const BAD_FOR: Duration = Duration::from_secs(90);
const GOOD_ERROR_PERCENT: f64 = 0.5;
const BAD_ERROR_PERCENT: f64 = 20.0;

/// Starts both; the app ends with `shutdown`. The data is in the control plane's folder if there is one.
pub async fn start(plane: Option<&ControlPlane>, shutdown: CancellationToken) -> Result<Prometheus, Failure> {
    start_both(plane, shutdown).await.map_err(|error| Failure::Cluster(chain(&error)))
}

async fn start_both(
    plane: Option<&ControlPlane>,
    shutdown: CancellationToken,
) -> Result<Prometheus, SandboxError> {
    let app = ScriptedApp::start(SERVICE, &COHORTS).await?;
    let prometheus = Prometheus::start(PrometheusOptions {
        data_dir: plane.map(|plane| plane.data_dir().join("prometheus")),
        targets: vec![ScrapeTarget::new(SERVICE, app.address())],
        ..PrometheusOptions::default()
    })
    .await?;
    // The minute begins only now, as Prometheus may have had to be built.
    tokio::spawn(async move {
        shutdown.run_until_cancelled(play(&app, say)).await;
        shutdown.cancelled().await;
    });
    Ok(prometheus)
}

/// What the app is told to do in the course of time, and what people are told of it.
async fn play(app: &ScriptedApp, say: impl Fn(String)) {
    app.set_error_percent(GOOD_ERROR_PERCENT);
    sleep(GOOD_FOR).await;
    app.set_error_percent(BAD_ERROR_PERCENT);
    say(format!("The app has become bad: {BAD_ERROR_PERCENT} % of its requests fail."));
    sleep(BAD_FOR).await;
    app.set_error_percent(GOOD_ERROR_PERCENT);
    say(format!("{WELL_AGAIN}, and stays so: what was rolled back can be retried."));
}

/// How people are told that the errors have ended.
const WELL_AGAIN: &str = "The app is well again";

/// Where nobody reads it, nobody needs it.
fn say(text: String) {
    let _unread = print(&format!("{text}\n"));
}

/// What will happen and when, and what to do about it.
pub fn script(rollout: &str, namespace: &str) -> String {
    let (good, bad) = (GOOD_FOR.as_secs(), BAD_FOR.as_secs());
    format!(
        "The app that Prometheus scrapes is good for {good} s of real time, then {BAD_ERROR_PERCENT} % of its requests fail for {bad} s, \
         then it is well again and stays so.\nThe errors roll back what watches them; when it is said here that they have \
         ended, start again with\n\n  \
         sluice retry {rollout} -n {namespace} --reason 'the app is well again'\n\n"
    )
}

/// A command that prints the app's error rate, in per cent.
pub fn example(url: &str) -> String {
    let requests =
        |labels: &str| format!("sum(rate(http_requests_total{{service=\"{SERVICE}\"{labels}}}[15s]))");
    let query = format!("100 * {} / {}", requests(",code=\"500\""), requests(""));
    format!("curl -s {url}/api/v1/query --data-urlencode 'query={query}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_app_is_bad_for_a_while_and_says_when_that_begins_and_ends() {
        let app = ScriptedApp::start(SERVICE, &COHORTS).await.unwrap();
        let said = std::sync::Mutex::new(Vec::new());
        let playing = play(&app, |text| said.lock().unwrap().push(text));
        tokio::pin!(playing);
        let mut errors = Vec::new();
        for seconds in [59, 2, 88] {
            tokio::select! {
                () = &mut playing => panic!("too early"),
                () = sleep(Duration::from_secs(seconds)) => {}
            }
            errors.push((app.error_percent(), said.lock().unwrap().len()));
        }
        playing.await;
        errors.push((app.error_percent(), said.lock().unwrap().len()));
        assert_eq!(errors, [(0.5, 0), (20.0, 1), (20.0, 1), (0.5, 2)]);
        assert!(said.lock().unwrap()[1].starts_with(WELL_AGAIN));
        let script = script("dreams", "maya");
        assert!(script.contains("good for 60 s") && script.contains("fail for 90 s"), "{script}");
        assert!(script.contains("sluice retry dreams -n maya --reason"), "{script}");
    }
}

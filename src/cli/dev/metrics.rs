//! `sluice dev --with-prometheus`: a Prometheus, and an app for it that goes from good to bad.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cli::Failure;
use crate::clock::sleep;
use crate::error::chain;
use crate::sandbox::{ControlPlane, Prometheus, PrometheusOptions, SandboxError, ScrapeTarget, ScriptedApp};

/// The label `service` of the app's metrics, and their job.
const SERVICE: &str = "dreams";
/// Those of the playbook example.
const COHORTS: [&str; 5] = ["internal", "early-adopters", "regular", "casual", "new"];
/// How long the app is good, in real time.
const GOOD_FOR: Duration = Duration::from_secs(60);
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
        shutdown.run_until_cancelled(go_bad(&app)).await;
        shutdown.cancelled().await;
    });
    Ok(prometheus)
}

/// What the app is told to do in the course of time.
async fn go_bad(app: &ScriptedApp) {
    app.set_error_percent(GOOD_ERROR_PERCENT);
    sleep(GOOD_FOR).await;
    app.set_error_percent(BAD_ERROR_PERCENT);
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
    async fn the_app_is_good_for_a_minute_and_bad_from_then_on() {
        let app = ScriptedApp::start(SERVICE, &COHORTS).await.unwrap();
        let going_bad = go_bad(&app);
        tokio::pin!(going_bad);
        tokio::select! {
            () = &mut going_bad => panic!("too early"),
            () = sleep(Duration::from_secs(59)) => {}
        }
        assert_eq!(app.error_percent(), 0.5);
        going_bad.await;
        assert_eq!(app.error_percent(), 20.0);
    }
}

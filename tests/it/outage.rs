//! The API server is away over a due step: the step follows its return, and the controller is not restarted.

use sluice::api::FeatureRollout;
use sluice::sandbox::{ControlPlane, Options, install_crds};

use crate::support::bare::{Recorded, Running, assert_never_fell};
use crate::support::{Space, is_ready, pause};

/// The bar says a minute. Waits between tries are at most 5 s, so 20 s already meet the longest of them.
const AWAY_MS: u64 = 20_000;
/// Within which the step follows the return.
const CATCH_UP_S: i64 = 10;

#[tokio::test]
async fn an_overdue_step_follows_the_return_of_the_api_server() {
    let away = std::env::var("SLUICE_TEST_OUTAGE_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(AWAY_MS);
    let mut plane = ControlPlane::start(Options::default()).await.unwrap();
    install_crds(&plane.client().unwrap()).await.unwrap();
    let space = Space::on(plane.client().unwrap(), "outage").await;
    let controller = Running::with(plane.client_config());
    for name in ["one", "two", "three"] {
        let yaml = format!(
            "{{metadata: {{name: {name}}}, spec: {{cohorts: [{{name: everyone}}],
              phases: [{{name: ga, ramp: {{percents: [5, 50, 100], every: 4s}}}}]}}}}"
        );
        space.apply::<FeatureRollout>(&yaml).await.unwrap();
    }
    for name in ["one", "two", "three"] {
        space.until(name, "at its first step", |status| status.position.is_some() && is_ready(status)).await;
    }
    let recorded = ["one", "two", "three"].map(|name| Recorded::start(&space, name));
    for (name, recorded) in ["one", "two", "three"].iter().zip(&recorded) {
        assert!(!recorded.all_of(name).await.is_empty(), "{name} is recorded before the API server goes");
    }
    plane.stop_api_server();
    pause(away).await;
    plane.start_api_server().await.unwrap();
    let back = sluice::clock::real_now();

    for (name, recorded) in ["one", "two", "three"].iter().zip(&recorded) {
        let status = space
            .until(name, "at its second step", |status| served(status) >= 50.0 && is_ready(status))
            .await;
        let entered = status.history.iter().find(|entry| entry.message.contains("(2/3)")).unwrap();
        let after = entered.at.duration_since(back).as_secs();
        assert!(after <= CATCH_UP_S, "{name} was entered {after} s after the return");
        assert_never_fell(&recorded.all_of(name).await);
    }
    for name in ["one", "two", "three"] {
        let done = space.until(name, "completed", |status| status.completed_at.is_some() && is_ready(status));
        let reasons: Vec<String> =
            done.await.history.iter().map(|entry| entry.reason.as_str().to_owned()).collect();
        assert_eq!(reasons, ["Started", "StepEntered", "StepEntered", "StepEntered", "Completed"], "{name}");
    }
    controller.stop().await;
    plane.stop().await.unwrap();
}

fn served(status: &sluice::api::FeatureRolloutStatus) -> f64 {
    status.cohorts.first().map_or(0.0, |cohort| f64::from(cohort.served.percent().thousandths()) / 1000.0)
}

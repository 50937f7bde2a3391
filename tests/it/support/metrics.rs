//! A namespace with an app whose metrics follow a script, a real Prometheus that scrapes it, and what asks it.

use std::time::Duration;

use sluice::api::{FeatureRollout, FeatureRolloutStatus, MetricSource, MetricTemplate};
use sluice::controller::Options;
use sluice::sandbox::{Prometheus, PrometheusOptions, ScrapeTarget, ScriptedApp};

use super::Space;
use super::bare::{Recorded, Running, bare_space, served};
use super::proxy::Proxy;

/// Everything that a check needs. The operator's namespace is the test's own, so that tests share nothing.
pub struct Measured {
    pub space: Space,
    pub app: ScriptedApp,
    pub prometheus: Prometheus,
    pub proxy: Proxy,
}

impl Measured {
    /// Starts app and Prometheus and applies a source and templates: `errors` (per cent of all requests that fail),
    /// `latency` (95th percentile by cohort, in milliseconds) and `nothing` (no series at all).
    pub async fn start(name: &str) -> Measured {
        Measured::scraping(name, Vec::new()).await
    }

    /// The same with more that is scraped.
    pub async fn scraping(name: &str, more: Vec<ScrapeTarget>) -> Measured {
        let space = bare_space(name).await;
        let app = ScriptedApp::start("dreams", &["early", "all"]).await.unwrap();
        let prometheus = Prometheus::start(PrometheusOptions {
            targets: [vec![ScrapeTarget::new("dreams", app.address())], more].concat(),
            scrape_interval: Duration::from_millis(200),
            ..PrometheusOptions::default()
        })
        .await
        .unwrap();
        let proxy = Proxy::start(space.client.clone(), &space.name).await;
        let measured = Measured { space, app, prometheus, proxy };
        measured.apply_source(measured.prometheus.url()).await;
        measured
            .apply_template(
                "errors",
                "100 * sum(rate(http_requests_total{service=\"dreams\",code=\"500\"}[2s])) / sum(rate(http_requests_total{service=\"dreams\"}[2s]))",
            )
            .await;
        measured
            .apply_template(
                "latency",
                "1000 * histogram_quantile(0.95, sum by (cohort, le) (rate(http_request_duration_seconds_bucket{service=\"dreams\"}[2s])))",
            )
            .await;
        measured.apply_template("nothing", "sum(rate(http_requests_total{service=\"whispers\"}[2s]))").await;
        measured
    }

    /// Applies the source `prometheus` with a URL.
    pub async fn apply_source(&self, url: &str) {
        let source = format!(
            r#"{{metadata: {{name: prometheus}}, spec: {{prometheus: {{url: "{url}"}}, allowAddresses: ["127.0.0.1"],
                timeout: 1s, limits: {{requestsPerSecond: 100, concurrency: 16}}}}}}"#
        );
        self.space.apply::<MetricSource>(&source).await.unwrap();
    }

    /// Applies a template of the source.
    pub async fn apply_template(&self, name: &str, promql: &str) {
        self.apply_template_in(name, promql, None).await;
    }

    /// The same with a unit.
    pub async fn apply_template_in(&self, name: &str, promql: &str, unit: Option<&str>) {
        let unit = unit.map_or_else(String::new, |unit| format!(", unit: '{unit}'"));
        let template = format!(
            "metadata: {{name: {name}}}\nspec: {{sourceRef: {{name: prometheus}}, promql: {}{unit}}}",
            serde_json::to_string(promql).unwrap()
        );
        self.space.apply::<MetricTemplate>(&template).await.unwrap();
    }

    /// Applies the rollout `dreams` with 100 % for `early` and 50 % for `all`, held for an hour, and more of a spec.
    pub async fn apply_rollout(&self, more: &str) {
        let rollout = format!(
            "metadata: {{name: dreams}}\nspec:\n  cohorts: [{{name: early, share: 10, match: {{attributes: {{segment: early}}}}}}, {{name: all, share: 90}}]\n  phases: [{{name: ga, steps: [{{name: half, cohorts: {{early: 100, all: 50}}, hold: 1h}}, {{name: full, cohorts: {{all: 100}}}}]}}]\n{more}"
        );
        self.space.apply::<FeatureRollout>(&rollout).await.unwrap();
    }

    /// A controller whose namespace this is.
    pub fn controller(&self) -> Running {
        Running::as_told(self.proxy.config(), self.options())
    }

    /// How that controller is run.
    pub fn options(&self) -> Options {
        Options { namespace: self.space.name.clone(), ..Options::default() }
    }

    /// Waits until the rollout's status is as wanted.
    pub async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&FeatureRolloutStatus) -> bool,
    ) -> FeatureRolloutStatus {
        self.space.until("dreams", what, wanted).await
    }

    /// What the file serves to `early` and `all`; `None` where there is no file, or no such flag in it: an app that finds none
    /// does not get control but an error.
    pub async fn file(&self) -> Option<(f64, f64)> {
        let (_, served) = served(&self.space.file("dreams").await?, "dreams")?;
        Some((served["early"], served["all"]))
    }
}

/// Everything that the file has served to `early` and `all`, in order, up to now.
pub async fn seen(recorded: &Recorded) -> Vec<(f64, f64)> {
    let versions = recorded.all_of("dreams").await.into_iter();
    versions.map(|(_, served)| (served["early"], served["all"])).collect()
}

/// The reasons of the history, oldest first.
pub fn reasons(status: &FeatureRolloutStatus) -> Vec<&str> {
    status.history.iter().map(|entry| entry.reason.as_str()).collect()
}

/// What a trigger's status says, for a cohort or the whole rollout: its verdict.
pub fn verdict<'a>(status: &'a FeatureRolloutStatus, trigger: &str, cohort: &str) -> Option<&'a str> {
    let known = status.triggers.iter().find(|known| known.name == trigger && known.cohort == cohort);
    known.map(|known| known.verdict.as_str())
}

//! An app whose metrics say what a script wants them to say.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::error::SandboxError;

/// Requests of each cohort, and sessions of the app, between two scrapes.
const PER_SCRAPE: f64 = 1000.0;
/// Upper bounds of the latency histogram, in seconds; the last is infinity.
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Latency at the beginning, in seconds.
const LATENCY: f64 = 0.2;

/// An HTTP server on the loopback whose `/metrics`, in the Prometheus text
/// format, grow by the same amount with every scrape: 1000 requests of each
/// cohort and 1000 sessions, of which the parts set here fail, are slow or
/// crash. So what a query says depends on the script alone and not on time.
///
/// - `http_requests_total{service, cohort, code}`, code 200 or 500
/// - `http_request_duration_seconds_bucket{service, cohort, le}` and `…_count`
/// - `app_sessions_total{service}` and `app_crashes_total{service}`
///
/// At first nothing fails or crashes and every 95th percentile is 0.2 s. What
/// is set outside of its range counts as the nearest value inside.
/// Dropping it ends the server.
#[derive(Debug)]
pub struct ScriptedApp {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    _server: DropGuard,
}

impl ScriptedApp {
    /// Starts one on a free port; the names are used as labels.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Io`] if there is no port to listen on.
    pub async fn start(service: &str, cohorts: &[&str]) -> Result<Self, SandboxError> {
        let failed = |source| SandboxError::io("listen on", Path::new("127.0.0.1"))(source);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let script = Arc::new(Mutex::new(Script::new(service, cohorts)));
        let app = Router::new().route("/metrics", get(metrics)).with_state(script.clone());
        let shutdown = CancellationToken::new();
        let server = axum::serve(listener, app).with_graceful_shutdown(shutdown.clone().cancelled_owned());
        tokio::spawn(server.into_future());
        Ok(Self { address, script, _server: shutdown.drop_guard() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The part of all requests that fail from now on, in per cent, 0 to 100.
    pub fn set_error_percent(&self, percent: f64) {
        locked(&self.script).errors = percent.clamp(0.0, 100.0);
    }

    /// The part of all requests that fail at present, in per cent.
    pub fn error_percent(&self) -> f64 {
        locked(&self.script).errors
    }

    /// The 95th percentile of a cohort's latencies from now on, in seconds,
    /// 0.005 to 10. A cohort that the app does not have is left alone.
    pub fn set_latency_p95(&self, cohort: &str, seconds: f64) {
        for known in locked(&self.script).cohorts.iter_mut().filter(|known| known.name == cohort) {
            known.p95 = seconds.clamp(BOUNDS[0], BOUNDS[BOUNDS.len() - 1]);
        }
    }

    /// The part of all sessions that crash from now on, in per cent, 0 to 100.
    pub fn set_crash_percent(&self, percent: f64) {
        locked(&self.script).crashes = percent.clamp(0.0, 100.0);
    }

    /// Whether `/metrics` answers with status 500 and no metrics from now on.
    pub fn set_silent(&self, silent: bool) {
        locked(&self.script).silent = silent;
    }
}

async fn metrics(State(script): State<Arc<Mutex<Script>>>) -> Response {
    let mut script = locked(&script);
    if script.silent {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    script.advance();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], script.text()).into_response()
}

fn locked(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    // Every setting is one assignment: none is ever seen half done.
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is set, and the counters that came of it.
#[derive(Debug)]
struct Script {
    service: String,
    cohorts: Vec<Cohort>,
    /// In per cent, as are the crashes.
    errors: f64,
    crashes: f64,
    silent: bool,
    sessions: f64,
    crashed: f64,
}

#[derive(Debug)]
struct Cohort {
    name: String,
    p95: f64,
    served: f64,
    failed: f64,
    /// How many requests took as long as a bound or less.
    within: [f64; BOUNDS.len()],
}

impl Script {
    fn new(service: &str, cohorts: &[&str]) -> Self {
        let cohort = |name: &&str| Cohort {
            name: (*name).to_owned(),
            p95: LATENCY,
            served: 0.0,
            failed: 0.0,
            within: [0.0; BOUNDS.len()],
        };
        Self {
            service: service.to_owned(),
            cohorts: cohorts.iter().map(cohort).collect(),
            errors: 0.0,
            crashes: 0.0,
            silent: false,
            sessions: 0.0,
            crashed: 0.0,
        }
    }

    /// What happens between two scrapes.
    fn advance(&mut self) {
        for cohort in &mut self.cohorts {
            cohort.failed += PER_SCRAPE * self.errors / 100.0;
            cohort.served += PER_SCRAPE * (100.0 - self.errors) / 100.0;
            for (count, part) in cohort.within.iter_mut().zip(parts_within(cohort.p95)) {
                *count += PER_SCRAPE * part;
            }
        }
        self.sessions += PER_SCRAPE;
        self.crashed += PER_SCRAPE * self.crashes / 100.0;
    }

    fn text(&self) -> String {
        let service = &self.service;
        let mut text = String::new();
        let mut line = |metric: &str, labels: &str, value: f64| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{metric}{{service=\"{service}\"{labels}}} {value}");
        };
        for Cohort { name, served, failed, within, .. } in &self.cohorts {
            let of = format!(",cohort=\"{name}\"");
            line("http_requests_total", &format!("{of},code=\"200\""), *served);
            line("http_requests_total", &format!("{of},code=\"500\""), *failed);
            let bucket = "http_request_duration_seconds_bucket";
            for (bound, count) in BOUNDS.iter().zip(within) {
                line(bucket, &format!("{of},le=\"{bound}\""), *count);
            }
            line(bucket, &format!("{of},le=\"+Inf\""), served + failed);
            line("http_request_duration_seconds_count", &of, served + failed);
        }
        line("app_sessions_total", "", self.sessions);
        line("app_crashes_total", "", self.crashed);
        text
    }
}

/// The part of requests within each bound, such that the 95th percentile is
/// `p95` where it is taken as `histogram_quantile` does: on a straight line
/// between the bounds next to it.
fn parts_within(p95: f64) -> [f64; BOUNDS.len()] {
    let upper = BOUNDS.iter().copied().find(|bound| *bound >= p95).unwrap_or(f64::INFINITY);
    let lower = BOUNDS.iter().copied().rfind(|bound| *bound < p95).unwrap_or(0.0);
    // How far between its two bounds it lies.
    let place = (p95 - lower) / (upper - lower);
    let (below, up_to) =
        if place < 0.95 { ((0.95 - place) / (1.0 - place), 1.0) } else { (0.0, 0.95 / place) };
    BOUNDS.map(|bound| {
        if bound < lower {
            0.0
        } else if bound < upper {
            below
        } else if bound > upper {
            1.0
        } else {
            up_to
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_within_make_the_percentile_and_never_fall() {
        for p95 in [0.006, 0.01, 0.2, 0.249, 0.25, 0.3, 1.0, 1.7, 4.99, 5.0, 5.5, 10.0] {
            let parts = parts_within(p95);
            assert!(parts.is_sorted() && parts.iter().all(|part| (0.0..=1.0).contains(part)), "{parts:?}");
            let above = parts.iter().position(|part| *part >= 0.95 - 1e-12).unwrap();
            let (lower, below) = if above == 0 { (0.0, 0.0) } else { (BOUNDS[above - 1], parts[above - 1]) };
            let quantile = lower + (BOUNDS[above] - lower) * (0.95 - below) / (parts[above] - below);
            assert!((quantile - p95).abs() < 1e-9, "{p95}: {quantile} of {parts:?}");
        }
    }
}

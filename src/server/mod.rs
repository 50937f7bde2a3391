//! The probes and metrics of the controller.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::watchdog::Watchdog;

pub mod bounded;
#[cfg(test)]
pub mod stub;

/// What the probes say.
#[derive(Clone, Default)]
pub struct Health {
    known: Arc<Mutex<Known>>,
    watchdog: Watchdog,
}

#[derive(Default)]
struct Known {
    works: bool,
    /// What keeps the work from beginning, where that is something else than a list that takes its time.
    waits_for: Option<String>,
    /// Whether each kind that has to be known is.
    kinds: BTreeMap<String, bool>,
}

impl Health {
    /// One that also says which parts of the process do not do what they are there for.
    pub fn new(watchdog: Watchdog) -> Health {
        Health { known: Arc::default(), watchdog }
    }

    /// Who watches over the parts of the process.
    pub fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    /// Says whether work has begun.
    pub fn set_ready(&self, ready: bool) {
        self.state().works = ready;
    }

    /// Says what keeps the work from beginning, where that is something else than a list that takes its time.
    pub fn set_waiting(&self, why: Option<String>) {
        self.state().waits_for = why;
    }

    /// Says that a kind has to be known before all is well. It is not yet.
    pub fn expect(&self, kind: &str) {
        self.state().kinds.insert(kind.to_owned(), false);
    }

    /// Says that a kind need not be known any more.
    pub fn expect_no_more(&self, kind: &str) {
        self.state().kinds.remove(kind);
    }

    /// Says whether the objects of a kind are known as they are now. One that nobody expects is of no account.
    pub fn set_known(&self, kind: &str, known: bool) {
        if let Some(state) = self.state().kinds.get_mut(kind) {
            *state = known;
        }
    }

    /// Why not all is well, where it is not.
    fn trouble(&self) -> Option<String> {
        let troubles: Vec<String> = self.unknown().into_iter().chain(self.watchdog.fallen()).collect();
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }

    fn unknown(&self) -> Option<String> {
        let state = self.state();
        if let Some(why) = &state.waits_for {
            return Some(why.clone());
        }
        let unknown: Vec<&str> =
            state.kinds.iter().filter(|(_, known)| !**known).map(|(kind, _)| kind.as_str()).collect();
        match unknown.is_empty() {
            true => (!state.works).then(|| "still listing".to_owned()),
            false => Some(format!("still listing {}", unknown.join(", "))),
        }
    }

    fn state(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves `/metrics`, and `/livez` and `/readyz` beside it, until `shutdown`. Returns the address it listens on.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    health: Health,
    registry: Registry,
    shutdown: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let app = probes(health).route("/metrics", get(metrics).with_state(Arc::new(registry)));
    listen(address, app, shutdown).await
}

/// Serves `/livez` and `/readyz` until `shutdown`: whoever fills the port of the metrics takes no probe along. Returns the
/// address it listens on.
///
/// `/livez` says that the runtime turns and no part of the process is stuck, not that the API server can be reached: a restart
/// repairs only the former.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve_probes(
    address: SocketAddr,
    health: Health,
    shutdown: CancellationToken,
) -> std::io::Result<SocketAddr> {
    listen(address, probes(health), shutdown).await
}

fn probes(health: Health) -> Router {
    Router::new().route("/livez", get(live)).route("/readyz", get(ready)).with_state(health)
}

async fn listen(
    address: SocketAddr,
    app: Router,
    shutdown: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    tokio::spawn(bounded::serve(listener, app, bounded::PROBES, shutdown));
    Ok(bound)
}

async fn live(State(health): State<Health>) -> impl IntoResponse {
    answer(health.watchdog.stuck())
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    answer(health.trouble())
}

fn answer(trouble: Option<String>) -> (StatusCode, String) {
    match trouble {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, trouble),
    }
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    in_words(&registry)
}

/// The metrics in OpenMetrics' text format.
pub fn in_words(registry: &Registry) -> Response {
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            let kind = "text/plain";
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, kind)], error.to_string())
                .into_response()
        }
    }
}

#[cfg(test)]
mod tests;

//! The probes and metrics of the controller.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the probes say.
#[derive(Clone, Default)]
pub struct Health(Arc<AtomicBool>, Arc<Mutex<Option<String>>>);

impl Health {
    /// Says whether every kind has been listed, so that work has begun.
    pub fn set_ready(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    /// Says what keeps the work from beginning, where that is something else than a list that takes its time.
    pub fn set_waiting(&self, why: Option<String>) {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Why work has not begun, if it has not.
    fn waits_for(&self) -> Option<String> {
        if self.0.load(Ordering::Relaxed) {
            return None;
        }
        let why = self.1.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(why.unwrap_or_else(|| "still listing".to_owned()))
    }
}

/// Serves `/livez`, `/readyz` and `/metrics` until `shutdown`. Returns the address it listens on.
///
/// `/livez` says that the runtime turns, not that the API server can be reached: a restart mends only the former.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    health: Health,
    registry: Registry,
    shutdown: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let app = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state(health)
        .route("/metrics", get(metrics).with_state(Arc::new(registry)));
    tokio::spawn(async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(shutdown.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!("probes and metrics at {bound} are no longer served: {error}");
        }
    });
    Ok(bound)
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    match health.waits_for() {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn metrics(State(registry): State<Arc<Registry>>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(header::CONTENT_TYPE, kind)], text)
        }
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], error.to_string())
        }
    }
}

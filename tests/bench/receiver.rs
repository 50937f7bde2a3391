//! A real HTTP server that takes messages and counts them by their ids.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use sluice::api::MicroTime;
use sluice::clock;

use crate::pause;

/// How often a message came, and when first.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub count: usize,
    /// How long after what it tells, in seconds.
    pub behind: f64,
}

#[derive(Default)]
struct Inner {
    taken: Mutex<BTreeMap<String, Taken>>,
    hangs: AtomicBool,
}

/// A server on the loopback, for as long as the benchmark's runtime.
pub struct Receiver {
    address: SocketAddr,
    inner: Arc<Inner>,
}

impl Receiver {
    /// Starts one that takes everything.
    pub async fn start() -> Receiver {
        let inner = Arc::new(Inner::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Receiver { address, inner }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/messages", self.address)
    }

    /// Whether it answers nobody from now on, and takes nothing.
    pub fn hang(&self, hangs: bool) {
        self.inner.hangs.store(hangs, Ordering::SeqCst);
    }

    /// What came, by id.
    pub fn taken(&self) -> BTreeMap<String, Taken> {
        self.inner.taken.lock().unwrap().clone()
    }
}

async fn answer(State(inner): State<Arc<Inner>>, raw: Bytes) -> StatusCode {
    if inner.hangs.load(Ordering::SeqCst) {
        // Longer than any message may take.
        pause(600_000).await;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let now = clock::real_now();
    let event: Value = serde_json::from_slice(&raw).unwrap_or_default();
    let id = event["id"].as_str().unwrap_or_default().to_owned();
    let at: Option<MicroTime> = event["time"].as_str().and_then(|at| at.parse().ok());
    let behind = at.map_or(f64::NAN, |at| now.duration_since(at).as_secs_f64());
    let mut all = inner.taken.lock().unwrap();
    all.entry(id).or_insert(Taken { count: 0, behind }).count += 1;
    StatusCode::ACCEPTED
}

//! A real HTTP server that takes messages, and remembers them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::support::pause;

/// What was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Where it was sent to.
    pub path: String,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its bytes.
    pub raw: Vec<u8>,
    /// The same as JSON.
    pub body: Value,
}

impl Taken {
    /// The id of a CloudEvent.
    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_default().to_owned()
    }
}

/// What is done with what comes.
pub enum Behaviour {
    /// It is taken.
    Take,
    /// It is taken, and answered as Slack does.
    Slack,
    /// It is not taken.
    Refuse(u16, Option<&'static str>),
    /// It is never answered.
    Hang,
    /// It is taken, and before it is answered somebody is called with how many there are.
    Call(Box<dyn Fn(usize) + Send + Sync>),
}

#[derive(Default)]
struct Inner {
    taken: Mutex<Vec<Taken>>,
    /// How many came, whatever was done with them.
    asked: Mutex<Vec<Instant>>,
    behaviour: Mutex<Option<Arc<Behaviour>>>,
}

/// A server on the loopback, for as long as the test's runtime.
#[derive(Clone)]
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

    /// Its URL, with a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Does this from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.inner.behaviour.lock().unwrap() = Some(Arc::new(behaviour));
    }

    /// What was taken at a path and below it, in order.
    pub fn taken(&self, path: &str) -> Vec<Taken> {
        let taken = self.inner.taken.lock().unwrap();
        taken.iter().filter(|taken| taken.path.starts_with(path)).cloned().collect()
    }

    /// How many times each id was taken.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for taken in self.taken("/") {
            *counts.entry(taken.id()).or_default() += 1;
        }
        counts
    }

    /// When something came, whatever was done with it.
    pub fn asked(&self) -> Vec<Instant> {
        self.inner.asked.lock().unwrap().clone()
    }
}

async fn answer(State(inner): State<Arc<Inner>>, uri: Uri, headers: HeaderMap, raw: Bytes) -> Response {
    inner.asked.lock().unwrap().push(Instant::now());
    let behaviour = inner.behaviour.lock().unwrap().clone().unwrap_or(Arc::new(Behaviour::Take));
    if let Behaviour::Refuse(status, retry_after) = &*behaviour {
        let status = StatusCode::from_u16(*status).unwrap();
        return match retry_after {
            Some(after) => (status, [("retry-after", *after)]).into_response(),
            None => status.into_response(),
        };
    }
    if let Behaviour::Hang = &*behaviour {
        pause(600_000).await;
    }
    let taken = Taken {
        path: uri.path().to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect(),
        body: serde_json::from_slice(&raw).unwrap_or_default(),
        raw: raw.to_vec(),
    };
    let count = {
        let mut all = inner.taken.lock().unwrap();
        all.push(taken);
        all.len()
    };
    match &*behaviour {
        Behaviour::Slack => {
            let body = json!({"ok": true, "channel": "C0RELEASES", "ts": format!("{count}.000100")});
            (StatusCode::OK, body.to_string()).into_response()
        }
        Behaviour::Call(call) => {
            call(count);
            StatusCode::OK.into_response()
        }
        _ => StatusCode::ACCEPTED.into_response(),
    }
}

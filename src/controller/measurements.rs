//! What was measured lately, for people at the panel: over TLS, to whoever the API server says may read the rollout.
//!
//! A person's token comes along with the request, so nothing is answered in plain text: this process makes itself a certificate with the
//! key of an authority that whoever asks finds in a ConfigMap (`authority.rs`), and asks the API server whose token it is and
//! whether that person may read the rollout (`reviews.rs`). Only whoever leads has measured anything; another process says
//! that it stands by, and the next address is asked.
//!
//! Where the metrics are protected they are told here, too, and nowhere else: to whoever may `get` the path `/metrics`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::process::Process;
use super::reviews::{Answer, Reviews, Wanted};
use super::{ControllerError, analysis, authority};
use crate::api::measured::Measured;
use crate::server::bounded::{self, Bounds, Transport};
use crate::server::in_words;

/// Connections: of panels, which ask for each page that somebody looks at.
const PANELS: Bounds = Bounds {
    what: "the measurements",
    most: 64,
    head: Duration::from_secs(5),
    whole: Some(Duration::from_secs(15)),
    keep_alive: false,
    read_ahead: 32 * 1024,
    ending: None,
};
/// Longest name of an object or a namespace.
const LONGEST_NAME: usize = 253;
/// Longest token that is looked at.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Where measurements are told.
#[derive(Clone, Debug)]
pub struct Listening {
    /// The address that is listened on.
    pub address: SocketAddr,
    /// The name by which whoever asks knows this process: what its certificate is made for.
    pub name: String,
    /// Whether the metrics are told here, too.
    pub tells_metrics: bool,
}

/// Reads measurements of a controller in the same process, for whoever has seen to it that the person may see them.
#[derive(Clone, Default)]
pub struct Reader(Arc<OnceLock<Weak<Process>>>);

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl Reader {
    /// What was measured lately of a rollout; `None` where the controller does not lead or has not begun.
    pub fn read(&self, namespace: &str, name: &str) -> Option<Measured> {
        let ctx = self.0.get()?.upgrade()?.present_of(namespace);
        ctx.is_listed().then(|| analysis::measured(&ctx, &(namespace.to_owned(), name.to_owned())))
    }

    /// Reads from this process from now on.
    pub(super) fn begin(&self, process: &Arc<Process>) {
        // One that belongs to another controller stays with it.
        let _first = self.0.set(Arc::downgrade(process));
    }
}

struct Told {
    process: Arc<Process>,
    reviews: Reviews,
    /// The metrics, where they are told here.
    metrics: Option<Registry>,
}

/// Tells measurements until the shutdown, and the metrics where that is wanted.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(process: Arc<Process>, listening: Listening) -> Result<SocketAddr, ControllerError> {
    let Listening { address, name, tells_metrics } = listening;
    let failure = |source| ControllerError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failure)?;
    let bound = listener.local_addr().map_err(failure)?;
    let certificate = watch::Sender::new(None);
    let transport = Transport::Tls(certificate.subscribe());
    tokio::spawn(authority::keep(process.clone(), name, certificate));
    let shutdown = process.shutdown().clone();
    let metrics = tells_metrics.then(|| process.metrics.registry());
    let told = Arc::new(Told { process, reviews: Reviews::default(), metrics });
    let app = Router::new()
        .route("/measurements/{namespace}/{name}", get(measured))
        .route("/metrics", get(protected_metrics))
        .with_state(told);
    tokio::spawn(bounded::serve_over(transport, listener, app, PANELS, shutdown));
    Ok(bound)
}

async fn measured(
    State(told): State<Arc<Told>>,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let ctx = told.process.present_of(&namespace);
    if !ctx.is_listed() {
        return problem(StatusCode::MISDIRECTED_REQUEST, "this process stands by, another one measures");
    }
    if namespace.len() > LONGEST_NAME || name.len() > LONGEST_NAME {
        return problem(StatusCode::FORBIDDEN, "no object has such a name");
    }
    let wanted = Wanted::Rollout { namespace: &namespace, name: &name };
    if let Some(refusal) = told.refuses(&headers, wanted, "you may not get this FeatureRollout").await {
        return refusal;
    }
    match serde_json::to_vec(&analysis::measured(&ctx, &(namespace, name))) {
        Ok(body) => {
            let head = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
            (StatusCode::OK, head, body).into_response()
        }
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the measurements cannot be written as JSON"),
    }
}

/// The metrics. A process that stands by tells its own, too.
async fn protected_metrics(State(told): State<Arc<Told>>, headers: HeaderMap) -> Response {
    let Some(registry) = &told.metrics else {
        return problem(StatusCode::NOT_FOUND, "the metrics are told at another address");
    };
    match told.refuses(&headers, Wanted::Metrics, "you may not get the path /metrics").await {
        Some(refusal) => refusal,
        None => in_words(registry),
    }
}

impl Told {
    /// What is answered to whoever may not read what is wanted.
    async fn refuses(
        &self,
        headers: &HeaderMap,
        wanted: Wanted<'_>,
        refusal: &'static str,
    ) -> Option<Response> {
        let Some(token) = bearer(headers) else {
            return Some(problem(StatusCode::UNAUTHORIZED, "a bearer token is wanted"));
        };
        match self.reviews.may_read(&self.process.home(), token, wanted).await {
            Ok(Answer::Yes) => None,
            Ok(Answer::No) => Some(problem(StatusCode::FORBIDDEN, refusal)),
            Ok(Answer::Nobody) => {
                Some(problem(StatusCode::UNAUTHORIZED, "the API server does not accept the token"))
            }
            Err(why) => Some(problem(StatusCode::SERVICE_UNAVAILABLE, why)),
        }
    }
}

fn problem(status: StatusCode, why: &'static str) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], why).into_response()
}

/// The token of a request that has one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (word, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let is_sound = word.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= LONGEST_TOKEN;
    is_sound.then_some(token)
}

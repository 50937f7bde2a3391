//! What was measured lately, for people at the panel: over TLS, to whoever the API server says may read the rollout.
//!
//! A person's token comes along with the request, so nothing is answered in plain text: this process makes itself a certificate with the
//! key of an authority that whoever asks finds in a ConfigMap (`authority.rs`), and asks the API server whose token it is and
//! whether that person may read the rollout (`reviews.rs`). Only whoever leads has measured anything; another process says
//! that it stands by, and the next address is asked.

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
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::process::Process;
use super::reviews::{Answer, Reviews};
use super::{ControllerError, analysis, authority};
use crate::api::measured::Measured;
use crate::server::bounded::{self, Bounds, Transport};

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
}

/// Tells measurements until the shutdown.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(process: Arc<Process>, listening: Listening) -> Result<SocketAddr, ControllerError> {
    let Listening { address, name } = listening;
    let failure = |source| ControllerError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failure)?;
    let bound = listener.local_addr().map_err(failure)?;
    let certificate = watch::Sender::new(None);
    let transport = Transport::Tls(certificate.subscribe());
    tokio::spawn(authority::keep(process.clone(), name, certificate));
    let shutdown = process.shutdown().clone();
    let told = Arc::new(Told { process, reviews: Reviews::default() });
    let app = Router::new().route("/measurements/{namespace}/{name}", get(measured)).with_state(told);
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
    let Some(token) = bearer(&headers) else {
        return problem(StatusCode::UNAUTHORIZED, "a bearer token is wanted");
    };
    if namespace.len() > LONGEST_NAME || name.len() > LONGEST_NAME {
        return problem(StatusCode::FORBIDDEN, "no object has such a name");
    }
    match told.reviews.may_get(&ctx, token, &namespace, &name).await {
        Ok(Answer::Yes) => {}
        Ok(Answer::No) => return problem(StatusCode::FORBIDDEN, "you may not get this FeatureRollout"),
        Ok(Answer::Nobody) => {
            return problem(StatusCode::UNAUTHORIZED, "the API server does not accept the token");
        }
        Err(why) => return problem(StatusCode::SERVICE_UNAVAILABLE, why),
    }
    match serde_json::to_vec(&analysis::measured(&ctx, &(namespace, name))) {
        Ok(body) => {
            let head = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
            (StatusCode::OK, head, body).into_response()
        }
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the measurements cannot be written as JSON"),
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

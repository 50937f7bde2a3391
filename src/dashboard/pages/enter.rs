//! Signing in and out.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::{Problem, base, checked, lead, link, oidc, query, show};
use crate::dashboard::app::{App, Visitor, Way, local_path};
use crate::dashboard::form::Fields;
use crate::dashboard::person::{Person, Unknown};
use crate::dashboard::text::context;

/// The page that signs in, in place of the one that was wanted.
pub fn sign_in_page(app: &App, wrong: Option<String>, wanted: &str) -> Response {
    let next = local_path(wanted);
    let provider = match &app.way {
        Way::Oidc(_, provider) => Some(provider.name().to_owned()),
        Way::Local(..) | Way::Token(_) | Way::Header(..) => None,
    };
    let begin = link(oidc::BEGIN, &[("next", next)]);
    let values = context! { way => app.way.name(), wrong, next, provider, begin, ..base(app, None, "") };
    (StatusCode::UNAUTHORIZED, show(app, "enter.html", values)).into_response()
}

/// Opens a session by the one-time address, and leads away from it: the token stays in no address.
pub async fn open(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Response {
    let fields = query(&uri);
    let Some(token) = fields.text("token") else {
        if let (Way::Oidc(_, provider), Some(_)) = (&app.way, fields.text("left")) {
            return oidc::left(&app, provider).await;
        }
        return sign_in_page(&app, None, fields.text("next").unwrap_or("/"));
    };
    match &app.way {
        Way::Local(person, launch) if launch.opens(token) => begin(&app, &headers, person.clone(), "/"),
        Way::Local(..) => {
            let why = "this address has been used already, or was made by another start of the command";
            sign_in_page(&app, Some(why.to_owned()), "/")
        }
        // Elsewhere a token in an address is one too many: it would stand in the logs of proxies.
        Way::Token(_) | Way::Header(..) | Way::Oidc(..) => sign_in_page(&app, None, "/"),
    }
}

/// Opens a session by a token that was pasted in.
pub async fn sign_in(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let fields = Fields::read(&body);
    let next = fields.text("next").unwrap_or("/");
    let Way::Token(config) = &app.way else { return sign_in_page(&app, None, next) };
    match app.by_token(config, fields.text("token").unwrap_or_default()).await {
        Ok(person) => begin(&app, &headers, person, local_path(next)),
        Err(unknown @ Unknown::Unreachable(_)) => Problem::Later(unknown.to_string()).page(&app, None),
        Err(unknown) => sign_in_page(&app, Some(unknown.to_string()), next),
    }
}

/// Ends the session of the form.
pub async fn leave(State(app): State<Arc<App>>, visitor: Visitor, body: Bytes) -> Response {
    if let Err(problem) = checked(&app, &visitor, &body) {
        return problem.page(&app, Some(&visitor));
    }
    if let Some(session) = &visitor.session {
        app.sessions.end(session);
        visitor.person.leave();
    }
    let mut response = match &app.way {
        Way::Oidc(..) => lead("/enter?left=here"),
        Way::Local(..) | Way::Token(_) | Way::Header(..) => lead("/enter"),
    };
    response.headers_mut().append(header::SET_COOKIE, app.forget_cookie());
    response
}

/// Begins a session and leads to a page of this panel.
pub(super) fn begin(app: &App, headers: &HeaderMap, person: Arc<Person>, to: &str) -> Response {
    match app.begin_session(headers, person) {
        Ok(cookie) => {
            let mut response = lead(to);
            response.headers_mut().append(header::SET_COOKIE, cookie);
            response
        }
        Err(error) => Problem::Later(error.to_string()).page(app, None),
    }
}

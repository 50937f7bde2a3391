//! The pages: which address shows what, and what every answer has.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::header::{self, HeaderValue};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use minijinja::Value;

use super::app::{App, Visitor, local_path};
use super::form::Fields;
use super::oidc::CALLBACK;
use super::origin::HEADERS;
use super::person::Unknown;
use super::read::{ReadError, said};
use super::row::Row;
use super::text::{context, value};
use crate::error::{Fault, chain};

mod act;
mod assets;
mod breach;
mod compress;
mod courses;
mod enter;
mod files;
mod line;
mod list;
mod live;
mod oidc;
mod playbook;
mod playbooks;
mod rollout;
mod trial;
mod watched;

/// Most bytes of a form: a spec, spelt as forms spell it.
const MOST_FORM: usize = 1024 * 1024;

/// Every page.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(list::page))
        .route("/rollouts/{namespace}/{name}", get(rollout::page))
        .route("/rollouts/{namespace}/{name}/{verb}", get(act::page).post(act::submit))
        .route("/playbooks", get(playbooks::page))
        .route("/playbooks/{namespace}/{name}", get(playbook::page))
        .route("/files", get(files::all))
        .route("/files/{namespace}/{kind}/{name}", get(files::page))
        .route("/try", get(trial::page).post(trial::submit))
        .route("/live", get(live::stream))
        .route("/enter", get(enter::open).post(enter::sign_in))
        .route(oidc::BEGIN, get(oidc::begin))
        .route(CALLBACK, get(oidc::callback))
        .route("/leave", post(enter::leave))
        .route("/assets/{version}/{name}", get(assets::serve))
        .fallback(async |visitor: Visitor, State(app): State<Arc<App>>| {
            Problem::Missing("there is no such page".to_owned()).page(&app, Some(&visitor))
        })
        .layer(DefaultBodyLimit::max(MOST_FORM))
        .layer(middleware::from_fn_with_state(app.clone(), guarded))
        .with_state(app)
}

/// Looks at no request that comes from elsewhere, and gives every answer its headers.
async fn guarded(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let may_compress = compress::is_accepted(request.headers());
    let mut response = match app.origins.check(request.method(), request.uri(), request.headers()) {
        Ok(()) if may_compress => compress::compressed(next.run(request).await).await,
        Ok(()) => next.run(request).await,
        Err(refusal) => (refusal.status(), refusal.to_string()).into_response(),
    };
    for (name, value) in HEADERS {
        // What never changes says itself that it may be kept.
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// Why a page is another one than was asked for.
pub enum Problem {
    /// There is no such thing.
    Missing(String),
    /// Somebody says no, for this reason.
    Refused(String),
    /// The request makes no sense.
    Bad(String),
    /// It cannot be said now.
    Later(String),
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Problem {
        match &fault {
            Fault::NotFound(_) => Problem::Missing(said(&fault)),
            Fault::Forbidden(_) => Problem::Refused(said(&fault)),
            Fault::Invalid(_) => Problem::Bad(said(&fault)),
            _ => Problem::Later(format!("the API server cannot be asked: {}", chain(&fault))),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        match error {
            ReadError::Fault(fault) => fault.into(),
            ReadError::Unreadable(_) => Problem::Later(error.to_string()),
        }
    }
}

impl Problem {
    /// The page that says so.
    pub fn page(&self, app: &App, visitor: Option<&Visitor>) -> Response {
        let (status, title, message) = match self {
            Problem::Missing(message) => (StatusCode::NOT_FOUND, "Not found", message),
            Problem::Refused(message) => (StatusCode::FORBIDDEN, "Not allowed", message),
            Problem::Bad(message) => (StatusCode::BAD_REQUEST, "That makes no sense", message),
            Problem::Later(message) => (StatusCode::BAD_GATEWAY, "Not now", message),
        };
        let values = context! { title, message, ..base(app, visitor, "") };
        (status, show(app, "problem.html", values)).into_response()
    }
}

/// What every page has.
pub fn base(app: &App, visitor: Option<&Visitor>, here: &str) -> Value {
    context! {
        here,
        cluster => app.cluster,
        assets => assets::links(),
        who => visitor.map(|visitor| visitor.person.name.clone()),
        csrf => visitor.map(|visitor| visitor.csrf(app)),
        may_sign_out => visitor.is_some_and(|visitor| visitor.session.is_some()),
        now => app.clock.now().to_string(),
        beat => live::BEAT.as_secs(),
    }
}

/// A page.
pub fn show(app: &App, template: &str, values: Value) -> Response {
    let rendered = app.templates.get_template(template).and_then(|template| template.render(values));
    match rendered {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            // Nothing of the values is in it.
            tracing::error!("the page {template} cannot be made: {}", error.kind());
            (StatusCode::INTERNAL_SERVER_ERROR, "this page cannot be made: that is a fault of the panel")
                .into_response()
        }
    }
}

/// An answer that leads to another page of this panel.
pub fn lead(to: &str) -> Response {
    let to = HeaderValue::try_from(to).unwrap_or_else(|_| HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Visitor, Response> {
        let wrong = match app.visitor(&parts.headers).await {
            Ok(Some(visitor)) => return Ok(visitor),
            Ok(None) => None,
            Err(unknown @ Unknown::Unreachable(_)) => {
                return Err(Problem::Later(unknown.to_string()).page(app, None));
            }
            Err(unknown) => Some(unknown.to_string()),
        };
        let wanted = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        // The cookie is sent with no request that another site began, such as a link in a chat. From a page of this panel
        // the same request has it.
        let followed = parts
            .headers
            .get("sec-fetch-site")
            .is_some_and(|site| site == "cross-site" || site == "same-site");
        if followed && wrong.is_none() {
            let values = context! { next => local_path(wanted), ..base(app, None, "") };
            return Err((StatusCode::UNAUTHORIZED, show(app, "again.html", values)).into_response());
        }
        let is_over = "your session has ended: sign in again";
        let wrong = wrong.or_else(|| app.names_session(&parts.headers).then(|| is_over.to_owned()));
        Err(enter::sign_in_page(app, wrong, wanted))
    }
}

/// What was filled in, by somebody whose form it is.
///
/// # Errors
/// The form was made for somebody else, or not here.
pub fn checked(app: &App, visitor: &Visitor, body: &Bytes) -> Result<Fields, Problem> {
    let fields = Fields::read(body);
    match fields.whole("csrf").is_some_and(|given| visitor.has_made(app, given)) {
        true => Ok(fields),
        false => Err(Problem::Refused(
            "this form was not made for your session: go back, load the page again and repeat it".to_owned(),
        )),
    }
}

/// The fields of an address.
pub fn query(uri: &Uri) -> Fields {
    Fields::read(uri.query().unwrap_or_default().as_bytes())
}

/// An address of this panel with fields; those without a value are left out.
pub fn link(path: &str, fields: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    match query.finish().as_str() {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// The address of a rollout's page.
pub fn rollout_link(namespace: &str, name: &str) -> String {
    format!("/rollouts/{}/{}", segment(namespace), segment(name))
}

/// The address of a playbook's page.
pub fn playbook_link(namespace: &str, name: &str) -> String {
    format!("/playbooks/{}/{}", segment(namespace), segment(name))
}

/// The address of a file's page.
pub fn file_link(namespace: &str, kind: &str, name: &str) -> String {
    format!("/files/{}/{kind}/{}", segment(namespace), segment(name))
}

/// A name as part of an address.
fn segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A row as templates read it.
pub fn row_values(row: &Row) -> Value {
    context! {
        link => rollout_link(&row.id.namespace, &row.id.name),
        namespace_link => link("/", &[("namespace", &row.id.namespace)]),
        ..value(row)
    }
}

//! Signing in by an identity provider: to it, and back from it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;

use super::enter::{begin as begin_session, sign_in_page};
use super::{Problem, base, lead, query, show};
use crate::clock::real_now;
use crate::dashboard::app::{App, Way};
use crate::dashboard::oidc::attempt::Attempt;
use crate::dashboard::oidc::credential::Credential;
use crate::dashboard::oidc::provider::Provider;
use crate::dashboard::oidc::refusal::{ProviderError, said};
use crate::dashboard::person::{Person, Unknown};
use crate::dashboard::text::context;

/// Where a sign-in begins.
pub const BEGIN: &str = "/enter/begin";

/// Sends somebody to the provider.
pub async fn begin(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let fields = query(&uri);
    let next = fields.text("next").unwrap_or("/");
    let Way::Oidc(_, provider) = &app.way else { return sign_in_page(&app, None, next) };
    let attempt = match Attempt::begin(next, real_now().as_second()) {
        Ok(attempt) => attempt,
        Err(error) => return Problem::Later(error.to_string()).page(&app, None),
    };
    match provider.begin(&attempt, &app.key).await {
        Ok(address) => {
            let mut response = lead(address.as_str());
            response.headers_mut().append(header::SET_COOKIE, app.keep_attempt(Some(&attempt)));
            response
        }
        Err(error) => Problem::Later(error.to_string()).page(&app, None),
    }
}

/// Takes somebody back from the provider.
pub async fn callback(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Response {
    let Way::Oidc(config, provider) = &app.way else { return sign_in_page(&app, None, "/") };
    let fields = query(&uri);
    let (cookie, state) = (app.attempt_of(&headers).unwrap_or_default(), fields.text("state"));
    let attempt = Attempt::of(&cookie, &app.key, state.unwrap_or_default(), real_now().as_second());
    let mut response = match attempt {
        // Whatever else the address says was not asked for by this browser.
        Err(stale) => return sign_in_page(&app, Some(stale.to_string()), "/"),
        Ok(attempt) => {
            let given = Given {
                error: fields.text("error"),
                description: fields.text("error_description"),
                code: fields.text("code"),
                issuer: fields.text("iss"),
            };
            match person(&app, config, provider, &attempt, given).await {
                Ok(person) => begin_session(&app, &headers, person, attempt.next()),
                Err(Unentered::Refused(why)) => sign_in_page(&app, Some(why), attempt.next()),
                Err(Unentered::Later(why)) => Problem::Later(why).page(&app, None),
            }
        }
    };
    // It is used up, whatever came of it.
    response.headers_mut().append(header::SET_COOKIE, app.keep_attempt(None));
    response
}

/// What the address says that a provider has sent somebody back to.
struct Given<'a> {
    error: Option<&'a str>,
    description: Option<&'a str>,
    code: Option<&'a str>,
    issuer: Option<&'a str>,
}

/// Why somebody is not let in.
enum Unentered {
    /// Somebody says no.
    Refused(String),
    /// Somebody cannot be asked.
    Later(String),
}

impl From<ProviderError> for Unentered {
    fn from(error: ProviderError) -> Unentered {
        match error.is_final() {
            true => Unentered::Refused(error.to_string()),
            false => Unentered::Later(error.to_string()),
        }
    }
}

async fn person(
    app: &App,
    config: &kube::Config,
    provider: &Arc<Provider>,
    attempt: &Attempt,
    given: Given<'_>,
) -> Result<Arc<Person>, Unentered> {
    let (issuer, client_id) = provider.trusted();
    if given.issuer.is_some_and(|other| other != issuer) {
        return Err(Unentered::Refused("another identity provider has answered".to_owned()));
    }
    if let Some(error) = given.error {
        return Err(ProviderError::Said(said(error, given.description)).into());
    }
    let Some(code) = given.code else {
        return Err(Unentered::Refused("the identity provider has sent no code".to_owned()));
    };
    let tokens = provider.redeem(attempt, &app.key, code).await?;
    let Some(credential) = Credential::begin(provider.clone(), tokens) else {
        return Err(Unentered::Refused("the ID token is none that a request can carry".to_owned()));
    };
    match Person::bearing(credential, config, &app.circles).await {
        Ok(person) => Ok(person),
        Err(unknown @ Unknown::Unreachable(_)) => Err(Unentered::Later(unknown.to_string())),
        Err(Unknown::NoToken | Unknown::Refused) => Err(Unentered::Refused(format!(
            "the API server does not accept ID tokens of {issuer} for the client {client_id}: its structured authentication has \
             to name both, and to find a name of yours in the token"
        ))),
    }
}

/// The page of somebody who has signed out here: the provider may know the person still.
pub async fn left(app: &App, provider: &Provider) -> Response {
    let out = match &app.public {
        Some(public) => provider.leave(public).await.map(|address| address.to_string()),
        None => None,
    };
    let values = context! { out, provider => provider.name(), ..base(app, None, "") };
    show(app, "left.html", values)
}

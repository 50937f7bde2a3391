//! The ID token of somebody who has signed in: shown to the API server with each request, and replaced before it is
//! over.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::http::header::{AUTHORIZATION, HeaderValue};
use axum::http::{Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tower_service::Service;

use super::provider::{Given, Provider};
use crate::clock::{monotonic, real_now, sleep};
use crate::sources::Secret;
use crate::visible::line;

/// How long is waited after a refresh that failed and may work again.
const AGAIN: Duration = Duration::from_secs(5);
/// A token is not replaced more often than this.
const SHORTEST: Duration = Duration::from_secs(1);

/// A token that is kept fresh for as long as this lives.
pub struct Credential {
    provider: Arc<Provider>,
    current: Arc<Current>,
    keeper: Option<AbortHandle>,
}

struct Current {
    state: RwLock<State>,
    /// Told whenever there is another token.
    renewed: Arc<Notify>,
    /// What the provider is asked for the next one with.
    refresh: Mutex<Option<Secret>>,
}

struct State {
    header: HeaderValue,
    ends: Instant,
}

impl Drop for Credential {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

impl Credential {
    /// Begins with what the provider has given; with a refresh token the provider is asked for the next one in time.
    /// `None` where the token is none that a request can carry.
    pub fn begin(provider: Arc<Provider>, given: Given) -> Option<Credential> {
        let current = Arc::new(Current {
            state: RwLock::new(State::of(&given)?),
            renewed: Arc::default(),
            refresh: Mutex::new(given.refresh),
        });
        let is_renewed = current.refresh().is_some();
        let keeping = keep(provider.clone(), current.clone(), given.claims.subject);
        let keeper = is_renewed.then(|| tokio::spawn(keeping).abort_handle());
        Some(Credential { provider, current, keeper })
    }

    /// Ends it for good: no other token is asked for, and the provider hears that there is no use for the refresh token.
    pub async fn end(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
        self.current.end();
        let Some(refresh) = self.current.refresh.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        if let Err(error) = self.provider.revoke(&refresh).await {
            tracing::warn!("a refresh token could not be given back: {}", line(&error.to_string()));
        }
    }

    /// A client that shows the token of the moment.
    pub fn client(&self, without: Client) -> Client {
        let namespace = without.default_namespace().to_owned();
        Client::new(Bearing { client: without, token: Token::Current(self.current.clone()) }, namespace)
    }

    /// A client that shows the token of now, and that one only: whom the API server takes it for does not change.
    pub fn client_of_now(&self, without: &Client) -> Client {
        let namespace = without.default_namespace().to_owned();
        Client::new(Bearing { client: without.clone(), token: Token::Fixed(self.header()) }, namespace)
    }

    /// Tells whenever there is another token.
    pub fn renewed(&self) -> Arc<Notify> {
        self.current.renewed.clone()
    }

    /// The token of the moment, as a header has it.
    pub fn header(&self) -> HeaderValue {
        self.current.read().header.clone()
    }

    /// Whether there is no valid token any more.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.current.read().ends
    }

    /// How long it lasts: `None` where it is renewed.
    pub fn lasts(&self, now: Instant) -> Option<Duration> {
        self.keeper.is_none().then(|| self.current.read().ends.saturating_duration_since(now))
    }
}

impl State {
    fn of(given: &Given) -> Option<State> {
        let mut header = HeaderValue::try_from(format!("Bearer {}", given.token.as_str())).ok()?;
        header.set_sensitive(true);
        let left = given.claims.expires.saturating_sub(real_now().as_second());
        let left = Duration::from_secs(u64::try_from(left).unwrap_or_default());
        // No clock of a provider makes a token last for years.
        let ends = monotonic() + left.min(super::LONGEST);
        Some(State { header, ends })
    }
}

impl Current {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.renewed.notify_one();
    }

    fn refresh(&self) -> Option<Secret> {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end(&self) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).ends = monotonic();
    }
}

/// Asks for another token when most of the time of the present one is over, until there is none.
async fn keep(provider: Arc<Provider>, current: Arc<Current>, subject: String) {
    while let Some(refresh) = current.refresh() {
        let left = current.read().ends.saturating_duration_since(monotonic());
        sleep((left * 4 / 5).max(SHORTEST)).await;
        loop {
            match provider.refresh(&refresh, &subject).await {
                Ok(given) => {
                    let Some(state) = State::of(&given) else { return };
                    current.set(state);
                    let next = given.refresh.unwrap_or(refresh);
                    *current.refresh.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
                    break;
                }
                Err(error) if error.is_final() => {
                    tracing::info!("a session of the panel ends: {}", line(&error.to_string()));
                    current.end();
                    return;
                }
                Err(error) => {
                    tracing::warn!("a session of the panel is not renewed yet: {}", line(&error.to_string()));
                    if current.read().ends <= monotonic() {
                        return;
                    }
                    sleep(AGAIN).await;
                }
            }
        }
    }
}

/// A client that shows a token with each request.
struct Bearing {
    client: Client,
    token: Token,
}

enum Token {
    /// That of the moment.
    Current(Arc<Current>),
    /// Always this one.
    Fixed(HeaderValue),
}

impl Service<Request<Body>> for Bearing {
    type Response = Response<Body>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The client waits for itself when it sends.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let client = self.client.clone();
        let header = match &self.token {
            Token::Current(current) => current.read().header.clone(),
            Token::Fixed(header) => header.clone(),
        };
        request.headers_mut().insert(AUTHORIZATION, header);
        Box::pin(async move { Ok(client.send(request).await?) })
    }
}

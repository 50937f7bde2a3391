//! A person: a client of the API server with the person's own identity, and all that is known by it.
//!
//! The panel has no identity of its own that it would use: whatever is shown was given to the person, and whatever is done
//! is done by the person.

use std::future::{Ready, ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::http::header::{AUTHORIZATION, HeaderValue};
use axum::http::{Request, Response};
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use kube::api::PostParams;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use tokio::sync::Notify;
use tower_service::Service;

use super::access::Access;
use super::circle::{Circle, Circles, Identity, Membership, nobody};
use super::oidc::credential::Credential;
use crate::clock::sleep;
use crate::error::{Fault, call, chain};

/// Longer than a watch is silent: the API server ends each after a minute.
const SILENCE: Duration = Duration::from_secs(90);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(4);

/// A person, or the identity of a kubeconfig.
pub struct Person {
    /// The name that the API server knows.
    pub name: String,
    /// Calls with this identity.
    pub client: Client,
    /// What may be done.
    pub access: Access,
    /// With whom the person shares watches.
    member: RwLock<Membership>,
    circles: Arc<Circles>,
    /// A token that is kept fresh, and a client that shows none.
    credential: Option<(Credential, Client)>,
    /// Says which token the API server is shown; none where that is something else, such as a certificate.
    shown: Option<Client>,
    /// Whether the API server does not know the person any more.
    is_unknown: AtomicBool,
}

/// Why somebody is nobody that the API server knows.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// The token is none that a request can carry.
    #[error("that is no token")]
    NoToken,
    /// The API server does not accept it.
    #[error("the API server does not accept the token: it is wrong, expired, or of another cluster")]
    Refused,
    /// The API server cannot be asked.
    #[error("the API server cannot be asked: {0}")]
    Unreachable(String),
}

/// A configuration with times within which somebody at a page waits.
pub fn bounded(mut config: Config) -> Config {
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    config.default_retry = false;
    config
}

/// The same cluster with a token, and nothing of the identity that the configuration had.
///
/// # Errors
/// The token is none that a request can carry.
pub fn with_token(base: &Config, token: &str) -> Result<Config, Unknown> {
    let is_sound =
        !token.is_empty() && token.len() <= 16 * 1024 && token.bytes().all(|b| b.is_ascii_graphic());
    if !is_sound {
        return Err(Unknown::NoToken);
    }
    let mut config = bounded(base.clone());
    config.auth_info = serde_json::from_value::<AuthInfo>(serde_json::json!({"token": token}))
        .map_err(|_| Unknown::NoToken)?;
    Ok(config)
}

impl Person {
    /// Asks the API server who the identity of this machine's kubeconfig is. It is nobody else's.
    ///
    /// # Errors
    /// The API server does not know the identity, or cannot be asked.
    pub async fn local(config: Config, circles: &Arc<Circles>) -> Result<Arc<Person>, Unknown> {
        let shown = echo(&config);
        let client = Client::try_from(config).map_err(|error| Unknown::Unreachable(chain(&error)))?;
        let name = name_of(&known(&client).await?);
        let member = circles.apart(client.clone());
        Ok(Arc::new(Person::new(name, client, member, circles, None, shown)))
    }

    /// Asks the API server who has the token of this configuration, which stays the same.
    ///
    /// # Errors
    /// The API server does not know the identity, or cannot be asked.
    pub async fn known(config: Config, circles: &Arc<Circles>) -> Result<Arc<Person>, Unknown> {
        let shown = echo(&config);
        let client = Client::try_from(config).map_err(|error| Unknown::Unreachable(chain(&error)))?;
        let user = known(&client).await?;
        let member = circles.join(Identity::of(&user), client.clone());
        let person = Arc::new(Person::new(name_of(&user), client, member, circles, None, shown));
        tokio::spawn(confirm(Arc::downgrade(&person), circles.watching().ask_again, None));
        Ok(person)
    }

    /// The same by a credential that is kept fresh, at the API server of this configuration.
    ///
    /// # Errors
    /// The API server does not know the identity, or cannot be asked.
    pub async fn bearing(
        credential: Credential,
        base: &Config,
        circles: &Arc<Circles>,
    ) -> Result<Arc<Person>, Unknown> {
        let mut config = bounded(base.clone());
        config.auth_info = AuthInfo::default();
        let without = Client::try_from(config).map_err(|error| Unknown::Unreachable(chain(&error)))?;
        let fixed = credential.client_of_now(&without);
        let user = known(&fixed).await?;
        let member = circles.join(Identity::of(&user), fixed);
        let (client, renewed) = (credential.client(without.clone()), credential.renewed());
        let credential = Some((credential, without));
        let person = Person::new(name_of(&user), client, member, circles, credential, None);
        let person = Arc::new(person);
        tokio::spawn(confirm(Arc::downgrade(&person), circles.watching().ask_again, Some(renewed)));
        Ok(person)
    }

    fn new(
        name: String,
        client: Client,
        member: Membership,
        circles: &Arc<Circles>,
        credential: Option<(Credential, Client)>,
        shown: Option<Client>,
    ) -> Person {
        let access = Access::new(client.clone());
        let (member, circles) = (RwLock::new(member), circles.clone());
        Person {
            name,
            client,
            access,
            member,
            circles,
            credential,
            shown,
            is_unknown: AtomicBool::new(false),
        }
    }

    /// With whom the person shares watches at the moment.
    pub fn circle(&self) -> Arc<Circle> {
        self.member.read().unwrap_or_else(PoisonError::into_inner).circle.clone()
    }

    /// Ends what the person has been given, at whoever has given it, too. Nobody waits for that.
    pub fn leave(self: &Arc<Person>) {
        let person = self.clone();
        tokio::spawn(async move {
            if let Some((credential, _)) = &person.credential {
                credential.end().await;
            }
        });
    }

    /// Asks the API server again who this is. Whoever is another by now shares with others from then on; whoever is nobody,
    /// with nobody.
    async fn confirm(&self) {
        let fixed = match &self.credential {
            Some((credential, without)) => credential.client_of_now(without),
            None => self.client.clone(),
        };
        let member = match known(&fixed).await {
            Ok(user) => self.circles.join(Identity::of(&user), fixed),
            Err(Unknown::Refused | Unknown::NoToken) => {
                self.is_unknown.store(true, Ordering::Release);
                self.circles.apart(nobody())
            }
            // It cannot be asked: the watches know no better either.
            Err(Unknown::Unreachable(_)) => return,
        };
        let mut known = self.member.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *known, member);
        drop(known);
        drop(before);
    }

    /// The token of the moment as a header has it, for whoever asks the API server whose it is; `None` where the API server
    /// knows the person by something else than a token.
    pub async fn bearer(&self) -> Option<HeaderValue> {
        if let Some((credential, _)) = &self.credential {
            return Some(credential.header());
        }
        let request = Request::get("/").body(Body::empty()).ok()?;
        let echoed = self.shown.as_ref()?.send(request).await.ok()?;
        let header = echoed.headers().get(AUTHORIZATION)?;
        let is_token = header.as_bytes().get(..7).is_some_and(|word| word.eq_ignore_ascii_case(b"bearer "));
        is_token.then(|| header.clone())
    }

    /// Whether the API server knows the person no longer, because the token is over.
    pub fn is_over(&self, now: Instant) -> bool {
        self.is_unknown.load(Ordering::Acquire)
            || self.credential.as_ref().is_some_and(|(credential, _)| credential.is_over(now))
    }

    /// How long a session of the person lasts at most, where that is known.
    pub fn lasts(&self, now: Instant) -> Option<Duration> {
        self.credential.as_ref().and_then(|(credential, _)| credential.lasts(now))
    }
}

/// Asks again and again who a person is, until the person is gone: on a timer, and whenever there is another token.
async fn confirm(person: Weak<Person>, ask_again: Duration, renewed: Option<Arc<Notify>>) {
    loop {
        match &renewed {
            Some(renewed) => {
                tokio::select! {
                    () = sleep(ask_again) => {}
                    () = renewed.notified() => {}
                }
            }
            None => sleep(ask_again).await,
        }
        let Some(person) = person.upgrade() else { return };
        person.confirm().await;
        if person.is_unknown.load(Ordering::Acquire) {
            return;
        }
    }
}

/// Whom the API server takes a client for.
async fn known(client: &Client) -> Result<UserInfo, Unknown> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let reviewed = call(reviews.create(&PostParams::default(), &SelfSubjectReview::default())).await;
    match reviewed {
        Ok(review) => {
            let user = review.status.and_then(|status| status.user_info);
            let is_somebody =
                |user: &UserInfo| user.username.as_ref().is_some_and(|name| name != "system:anonymous");
            user.filter(is_somebody).ok_or(Unknown::Refused)
        }
        Err(Fault::Forbidden(_)) => Err(Unknown::Refused),
        Err(fault) => Err(Unknown::Unreachable(chain(&fault))),
    }
}

fn name_of(user: &UserInfo) -> String {
    user.username.clone().unwrap_or_default()
}

/// A client that reaches nobody: what it is sent comes back with the header that the configuration gives each request. So a token is
/// found wherever a kubeconfig has it, in a file or from a program, fresh.
fn echo(config: &Config) -> Option<Client> {
    let layer = config.auth_layer().ok()??;
    Some(ClientBuilder::new(Echo, "").with_layer(&layer).build())
}

#[derive(Clone, Copy)]
struct Echo;

impl Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Ready<Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let mut response = Response::new(Body::empty());
        if let Some(header) = request.headers_mut().remove(AUTHORIZATION) {
            response.headers_mut().insert(AUTHORIZATION, header);
        }
        ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_takes_the_place_of_every_other_identity() {
        let mut base = Config::new("https://10.0.0.1".parse().unwrap());
        base.auth_info = serde_json::from_value(serde_json::json!({
            "token": "of-the-pod", "tokenFile": "/var/run/secrets/token", "client-certificate": "/cert",
            "username": "admin", "password": "secret", "as": "root",
        }))
        .unwrap();
        let config = with_token(&base, "of-ada").unwrap();
        let auth = serde_json::to_value(&config.auth_info).unwrap();
        assert_eq!(auth, serde_json::json!({"token": "of-ada"}));
        assert_eq!(config.cluster_url, base.cluster_url);
    }

    #[tokio::test]
    async fn the_token_of_a_configuration_is_found_and_a_certificate_is_none() {
        let base = Config::new("https://10.0.0.1".parse().unwrap());
        let asked = async |config: &Config| {
            let request = Request::get("/").body(Body::empty()).unwrap();
            let answer = echo(config)?.send(request).await.unwrap();
            answer.headers().get(AUTHORIZATION).cloned()
        };
        let header = asked(&with_token(&base, "of-ada").unwrap()).await.unwrap();
        assert_eq!(header.to_str().unwrap(), "Bearer of-ada");
        assert!(header.is_sensitive(), "it is in no log");
        assert_eq!(asked(&base).await, None);
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_no_token() {
        let base = Config::new("https://10.0.0.1".parse().unwrap());
        for bad in ["", " ", "a b", "a\r\nHost: x", "ä", &"a".repeat(20_000)] {
            assert!(matches!(with_token(&base, bad), Err(Unknown::NoToken)), "{bad:?}");
        }
    }
}

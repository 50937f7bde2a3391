//! A person: a client of the API server with the person's own identity, and all that is known by it.
//!
//! The panel has no identity of its own that it would use: whatever is shown was given to the person, and whatever is done
//! is done by the person.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, PostParams};
use kube::config::AuthInfo;
use kube::{Api, Client, Config, ResourceExt};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::access::Access;
use super::board::{Board, Scope};
use crate::clock::{monotonic, sleep};
use crate::error::{Fault, call, chain};

/// How often the API server is asked where the person may list.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// The same while it cannot be asked.
const ASK_AGAIN_SOON: Duration = Duration::from_secs(3);
/// After so long without a page nothing is watched any more, until there is one again.
const UNUSED: Duration = Duration::from_secs(600);
/// Most namespaces that are watched one by one.
const MOST_NAMESPACES: usize = 32;
/// Most namespaces that are asked about.
const MOST_ASKED: usize = 500;
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
    /// The rollouts that may be listed.
    pub board: Arc<Board>,
    /// What may be done.
    pub access: Access,
    used: Arc<Used>,
    keeper: AbortHandle,
}

#[derive(Default)]
struct Used {
    at: Mutex<Option<Instant>>,
    again: Notify,
}

impl Used {
    fn mark(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(monotonic());
        self.again.notify_one();
    }

    fn is_recent(&self) -> bool {
        let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| at.elapsed() < UNUSED)
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.keeper.abort();
    }
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
    /// Asks the API server who this is, and begins to follow what the person may list.
    ///
    /// # Errors
    /// The API server does not know the identity, or cannot be asked.
    pub async fn known(config: Config, namespaces: Vec<String>) -> Result<Arc<Person>, Unknown> {
        let unreachable = |error: &(dyn std::error::Error + 'static)| Unknown::Unreachable(chain(error));
        let client = Client::try_from(config).map_err(|error| unreachable(&error))?;
        let name = match whoami(&client).await {
            Ok(Some(name)) if name != "system:anonymous" => name,
            Ok(_) | Err(Fault::Forbidden(_)) => return Err(Unknown::Refused),
            Err(fault) => return Err(unreachable(&fault)),
        };
        Ok(Person::begin(client, name, namespaces))
    }

    fn begin(client: Client, name: String, namespaces: Vec<String>) -> Arc<Person> {
        let board = Board::new(client.clone());
        let used = Arc::<Used>::default();
        used.mark();
        let access = Access::new(client.clone());
        let keeping =
            keep(board.clone(), Access::new(client.clone()), client.clone(), namespaces, used.clone());
        let keeper = tokio::spawn(keeping).abort_handle();
        Arc::new(Person { name, client, board, access, used, keeper })
    }

    /// Notes that a page is looked at.
    pub fn mark_used(&self) {
        self.used.mark();
    }
}

async fn whoami(client: &Client) -> Result<Option<String>, Fault> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = call(reviews.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
    Ok(review.status.and_then(|status| status.user_info).and_then(|user| user.username))
}

/// Keeps the board on what the person may list, and asks again on a timer.
async fn keep(board: Arc<Board>, access: Access, client: Client, namespaces: Vec<String>, used: Arc<Used>) {
    loop {
        let pause = match used.is_recent() {
            true => match scopes(&access, &client, &namespaces).await {
                Ok(scopes) => {
                    board.follow(&scopes);
                    ASK_AGAIN
                }
                // What is watched goes on: the watches say themselves that they are lost.
                Err(_) if board.is_followed() => ASK_AGAIN_SOON,
                Err(fault) => {
                    board.cannot_begin(&chain(&fault));
                    ASK_AGAIN_SOON
                }
            },
            false => {
                board.rest();
                used.again.notified().await;
                continue;
            }
        };
        sleep(pause).await;
    }
}

/// Where the person may list: everywhere, else in which of the namespaces that are named or can be listed.
async fn scopes(access: &Access, client: &Client, named: &[String]) -> Result<Vec<Scope>, Fault> {
    if access.may_list(None).await? {
        return Ok(vec![Scope::All]);
    }
    let all: Api<Namespace> = Api::all(client.clone());
    let limit = u32::try_from(MOST_ASKED).unwrap_or(u32::MAX);
    // Whoever may not list namespaces has those that were named.
    let listed = call(all.list_metadata(&ListParams::default().limit(limit))).await;
    let listed = listed.map(|list| list.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
    let mut asked: Vec<String> = named.to_vec();
    for name in listed.unwrap_or_default() {
        if !asked.contains(&name) {
            asked.push(name);
        }
    }
    let may = access.listable(asked).await;
    Ok(may.into_iter().take(MOST_NAMESPACES).map(Scope::Namespace).collect())
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

    #[test]
    fn what_cannot_stand_in_a_header_is_no_token() {
        let base = Config::new("https://10.0.0.1".parse().unwrap());
        for bad in ["", " ", "a b", "a\r\nHost: x", "ä", &"a".repeat(20_000)] {
            assert!(matches!(with_token(&base, bad), Err(Unknown::NoToken)), "{bad:?}");
        }
    }
}

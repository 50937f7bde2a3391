//! A person: a client of the API server with the person's own identity, and all that is known by it.
//!
//! The panel has no identity of its own that it would use: whatever is shown was given to the person, and whatever is done
//! is done by the person.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::config::AuthInfo;
use kube::{Api, Client, Config};

use super::access::Access;
use super::follow::Followed;
use super::oidc::credential::Credential;
use super::playbook_row::PlaybookRow;
use super::row::Row;
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
    /// The rollouts that may be listed.
    pub rollouts: Followed<Row>,
    /// The playbooks that may be listed.
    pub playbooks: Followed<PlaybookRow>,
    /// What may be done.
    pub access: Access,
    credential: Option<Credential>,
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
        let client = Client::try_from(config).map_err(|error| Unknown::Unreachable(chain(&error)))?;
        Person::asked(client, None, namespaces).await
    }

    /// The same by a credential that is kept fresh, at the API server of this configuration.
    ///
    /// # Errors
    /// The API server does not know the identity, or cannot be asked.
    pub async fn bearing(
        credential: Credential,
        base: &Config,
        namespaces: Vec<String>,
    ) -> Result<Arc<Person>, Unknown> {
        let mut config = bounded(base.clone());
        config.auth_info = AuthInfo::default();
        let client = Client::try_from(config).map_err(|error| Unknown::Unreachable(chain(&error)))?;
        Person::asked(credential.client(client), Some(credential), namespaces).await
    }

    /// Whether the API server knows the person no longer, because the token is over.
    pub fn is_over(&self, now: Instant) -> bool {
        self.credential.as_ref().is_some_and(|credential| credential.is_over(now))
    }

    /// How long a session of the person lasts at most, where that is known.
    pub fn lasts(&self, now: Instant) -> Option<Duration> {
        self.credential.as_ref().and_then(|credential| credential.lasts(now))
    }

    async fn asked(
        client: Client,
        credential: Option<Credential>,
        namespaces: Vec<String>,
    ) -> Result<Arc<Person>, Unknown> {
        let unreachable = |error: &(dyn std::error::Error + 'static)| Unknown::Unreachable(chain(error));
        let name = match whoami(&client).await {
            Ok(Some(name)) if name != "system:anonymous" => name,
            Ok(_) | Err(Fault::Forbidden(_)) => return Err(Unknown::Refused),
            Err(fault) => return Err(unreachable(&fault)),
        };
        let rollouts = Followed::begin(client.clone(), namespaces.clone());
        let playbooks = Followed::begin(client.clone(), namespaces);
        let access = Access::new(client.clone());
        Ok(Arc::new(Person { name, client, rollouts, playbooks, access, credential }))
    }
}

async fn whoami(client: &Client) -> Result<Option<String>, Fault> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = call(reviews.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
    Ok(review.status.and_then(|status| status.user_info).and_then(|user| user.username))
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

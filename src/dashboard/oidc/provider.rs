//! The identity provider: what it announces, and what it gives for a code or a refresh token.
//!
//! It is part of the panel's configuration. Each call is bounded in time and size, follows no redirect, and goes to
//! an address that begins with https.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::announced::Announced;
use super::attempt::Attempt;
use super::refusal::{ProviderError, nonsense, refusal};
use super::settings::{BadSettings, Settings};
use super::token::{Claims, Expected, Keys, Wrong, verify};
use crate::clock::{monotonic, real_now};
use crate::sources::Secret;
use crate::sources::outbound::{Outbound, Reply, basic};

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(8);
/// How long what is announced is believed.
const BELIEVED: Duration = Duration::from_secs(600);
/// How long a failure to learn that is believed, so that a provider that does not answer holds up nobody for long.
const FAILED: Duration = Duration::from_secs(3);
/// How long keys are believed before a token that names another one makes us ask again.
const KEYS_AGAIN: Duration = Duration::from_secs(10);
/// Calls at once; others wait.
const AT_ONCE: usize = 16;
/// What was learnt last, and when.
type Learnt<T> = Mutex<Option<(Instant, T)>>;

/// The identity provider.
pub struct Provider {
    settings: Settings,
    redirect: Url,
    outbound: Outbound,
    announced: Learnt<Result<Arc<Announced>, ProviderError>>,
    keys: Learnt<Arc<Keys>>,
    places: Semaphore,
}

/// What a provider has given.
pub struct Given {
    /// The ID token, which is what the API server is shown.
    pub token: Zeroizing<String>,
    /// What it says.
    pub claims: Claims,
    /// What another one is asked for with.
    pub refresh: Option<Secret>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
    refresh_token: Option<String>,
}

impl Provider {
    /// A provider that nobody has asked yet; `public` is the address under which people open the panel.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(settings: Settings, public: &Url) -> Result<Provider, BadSettings> {
        let bad = || BadSettings::Issuer(settings.issuer.clone());
        let issuer = Url::parse(&settings.issuer).map_err(|_| bad())?;
        let has_more =
            issuer.query().is_some() || issuer.fragment().is_some() || !issuer.username().is_empty();
        if issuer.scheme() != "https" || issuer.host().is_none() || has_more {
            return Err(bad());
        }
        if settings.client_id.is_empty() {
            return Err(BadSettings::ClientId);
        }
        let outbound = Outbound::trusting(settings.certificates.as_deref(), &issuer, TIMEOUT)
            .map_err(BadSettings::Certificates)?;
        let mut redirect = public.clone();
        redirect.set_path(super::CALLBACK);
        Ok(Provider {
            settings,
            redirect,
            outbound,
            announced: Mutex::default(),
            keys: Mutex::default(),
            places: Semaphore::new(AT_ONCE),
        })
    }

    /// What people know the provider by.
    pub fn name(&self) -> &str {
        let (_, rest) = self.settings.issuer.split_once("://").unwrap_or_default();
        rest.split('/').next().unwrap_or_default()
    }

    /// Who has to be trusted by the API server, and for which client.
    pub fn trusted(&self) -> (&str, &str) {
        (&self.settings.issuer, &self.settings.client_id)
    }

    /// The address at which somebody signs in.
    ///
    /// # Errors
    /// The provider cannot be asked where that is.
    pub async fn begin(&self, attempt: &Attempt, key: &[u8; 32]) -> Result<Url, ProviderError> {
        let mut url = self.announced().await?.authorization_endpoint.0.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", self.redirect.as_str())
            .append_pair("scope", &self.scope())
            .append_pair("state", &attempt.state(key))
            .append_pair("nonce", &attempt.nonce(key))
            .append_pair("code_challenge", &attempt.challenge(key))
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// What a code is worth.
    ///
    /// # Errors
    /// Why it is worth nothing.
    pub async fn redeem(
        &self,
        attempt: &Attempt,
        key: &[u8; 32],
        code: &str,
    ) -> Result<Given, ProviderError> {
        let nonce = attempt.nonce(key);
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.redirect.as_str()),
            ("code_verifier", &attempt.verifier(key)),
        ];
        self.tokens(&fields, Some(&nonce), None).await
    }

    /// Another token about the same person.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn refresh(&self, refresh: &Secret, subject: &str) -> Result<Given, ProviderError> {
        let text = String::from_utf8_lossy(refresh.bytes());
        let fields = [("grant_type", "refresh_token"), ("refresh_token", &*text)];
        self.tokens(&fields, None, Some(subject)).await
    }

    /// The address at which somebody signs out of the provider, too; `None` where it has none or cannot say.
    pub async fn leave(&self, public: &Url) -> Option<Url> {
        let announced = self.announced().await.ok()?;
        let mut url = announced.end_session_endpoint.clone()?.0;
        // No hint of the token: addresses are kept by browsers and proxies.
        url.query_pairs_mut()
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("post_logout_redirect_uri", public.as_str());
        Some(url)
    }

    /// Tells the provider that a refresh token is of no use any more (RFC 7009), where it wants to hear that.
    ///
    /// # Errors
    /// It could not be told.
    pub async fn revoke(&self, refresh: &Secret) -> Result<(), ProviderError> {
        const WHAT: &str = "the end of a token";
        let announced = self.announced().await?;
        let Some(endpoint) = &announced.revocation_endpoint else { return Ok(()) };
        let text = String::from_utf8_lossy(refresh.bytes());
        let fields = [("token", &*text), ("token_type_hint", "refresh_token")];
        let reply = self.send(&announced, &endpoint.0, &fields, WHAT).await?;
        match reply.status {
            200..300 => Ok(()),
            _ => Err(refusal(&reply, WHAT)),
        }
    }

    fn scope(&self) -> String {
        let others = self.settings.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid");
        std::iter::once("openid").chain(others).collect::<Vec<_>>().join(" ")
    }

    async fn tokens(
        &self,
        fields: &[(&str, &str)],
        nonce: Option<&str>,
        subject: Option<&str>,
    ) -> Result<Given, ProviderError> {
        const WHAT: &str = "a token";
        let announced = self.announced().await?;
        let reply = self.send(&announced, &announced.token_endpoint.0, fields, WHAT).await?;
        if !(200..300).contains(&reply.status) {
            return Err(refusal(&reply, WHAT));
        }
        let tokens = read(&reply, WHAT)?;
        let token = Zeroizing::new(tokens.id_token.ok_or(ProviderError::NoToken)?);
        let claims = self.claims(&token, nonce, subject).await?;
        let refresh = tokens.refresh_token.map(|text| Secret::new(text.into_bytes()));
        Ok(Given { token, claims, refresh })
    }

    /// Sends a form as the client that the provider knows.
    async fn send(
        &self,
        announced: &Announced,
        url: &Url,
        fields: &[(&str, &str)],
        what: &'static str,
    ) -> Result<Reply, ProviderError> {
        let secret = self.secret().await?;
        let ways = &announced.token_endpoint_auth_methods_supported;
        let by_form = !ways.is_empty() && !ways.iter().any(|way| way == "client_secret_basic");
        let (authorization, form) = self.request(fields, secret.as_deref().map(String::as_str), by_form);
        let _place = self.places.acquire().await;
        let reply = self.outbound.form(url, authorization.as_ref(), form).await;
        reply.map_err(|unsent| ProviderError::Unreachable(what, unsent))
    }

    /// What a call for tokens carries: the header that proves which client asks, and the form. In the form goes what
    /// no header says.
    fn request(
        &self,
        fields: &[(&str, &str)],
        secret: Option<&str>,
        by_form: bool,
    ) -> (Option<Secret>, String) {
        let mut form = Serializer::new(String::new());
        form.extend_pairs(fields);
        let authorization = match secret {
            Some(secret) if !by_form => {
                let spelt = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                Some(basic(&spelt(&self.settings.client_id), &spelt(secret)))
            }
            secret => {
                form.append_pair("client_id", &self.settings.client_id);
                if let Some(secret) = secret {
                    form.append_pair("client_secret", secret);
                }
                None
            }
        };
        (authorization, form.finish())
    }

    async fn claims(
        &self,
        token: &str,
        nonce: Option<&str>,
        subject: Option<&str>,
    ) -> Result<Claims, ProviderError> {
        let expected = Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce,
            subject,
            now: real_now().as_second(),
        };
        match verify(token, &*self.keys(BELIEVED).await?, &expected) {
            // The provider may sign with a new one.
            Err(Wrong::UnknownKey | Wrong::Signature) => {
                Ok(verify(token, &*self.keys(KEYS_AGAIN).await?, &expected)?)
            }
            other => Ok(other?),
        }
    }

    async fn announced(&self) -> Result<Arc<Announced>, ProviderError> {
        // Whoever waits here finds what the first one has brought.
        let mut known = self.announced.lock().await;
        if let Some((at, announced)) = &*known
            && at.elapsed() < if announced.is_ok() { BELIEVED } else { FAILED }
        {
            return announced.clone();
        }
        let announced = self.discover().await.map(Arc::new);
        *known = Some((monotonic(), announced.clone()));
        announced
    }

    async fn discover(&self) -> Result<Announced, ProviderError> {
        const WHAT: &str = "what it offers";
        let issuer = self.settings.issuer.trim_end_matches('/');
        let address = format!("{issuer}/.well-known/openid-configuration");
        let address = Url::parse(&address).map_err(|error| nonsense(WHAT, &error))?;
        let announced: Announced = self.get(&address, WHAT).await?;
        if announced.issuer != self.settings.issuer {
            let said = format!("it calls itself {:?} and not {:?}", announced.issuer, self.settings.issuer);
            return Err(ProviderError::Nonsense(WHAT, said));
        }
        Ok(announced)
    }

    /// The provider's keys, not older than this.
    async fn keys(&self, age: Duration) -> Result<Arc<Keys>, ProviderError> {
        const WHAT: &str = "its keys";
        let announced = self.announced().await?;
        let mut known = self.keys.lock().await;
        if let Some((at, keys)) = &*known
            && at.elapsed() < age
        {
            return Ok(keys.clone());
        }
        let reply = self.outbound.get(&announced.jwks_uri.0).await;
        let reply = reply.map_err(|unsent| ProviderError::Unreachable(WHAT, unsent))?;
        if reply.status != 200 {
            return Err(ProviderError::Status(WHAT, reply.status));
        }
        let keys = Keys::read(&reply.body).map_err(|why| ProviderError::Nonsense(WHAT, why))?;
        let keys = Arc::new(keys);
        *known = Some((monotonic(), keys.clone()));
        Ok(keys)
    }

    async fn get<T: for<'a> Deserialize<'a>>(
        &self,
        url: &Url,
        what: &'static str,
    ) -> Result<T, ProviderError> {
        let reply =
            self.outbound.get(url).await.map_err(|unsent| ProviderError::Unreachable(what, unsent))?;
        match reply.status {
            200 => serde_json::from_slice(&reply.body).map_err(|error| nonsense(what, &error)),
            status => Err(ProviderError::Status(what, status)),
        }
    }

    async fn secret(&self) -> Result<Option<Zeroizing<String>>, ProviderError> {
        let Some(file) = &self.settings.client_secret else { return Ok(None) };
        let text = Zeroizing::new(
            tokio::fs::read_to_string(file)
                .await
                .map_err(|error| ProviderError::Secret(error.to_string()))?,
        );
        Ok(Some(Zeroizing::new(text.trim().to_owned())))
    }
}

/// Reads tokens. Of an answer that cannot be read nothing is said but where: there may be tokens in it.
fn read(reply: &Reply, what: &'static str) -> Result<Tokens, ProviderError> {
    serde_json::from_slice(&reply.body).map_err(|error| {
        let place = format!("line {}, column {} is not what is expected there", error.line(), error.column());
        ProviderError::Nonsense(what, place)
    })
}

#[cfg(test)]
mod tests;

//! What all pages share, and how somebody becomes a visitor.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, HeaderName};
use kube::Config;
use minijinja::Environment;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::circle::Circles;
use super::lock;
use super::measured::Measurements;
use super::oidc::attempt::{self, Attempt};
use super::oidc::provider::Provider;
use super::origin::Origins;
use super::person::{Person, Unknown, with_token};
use super::secret::{self, Known, NoRandom};
use super::sessions::{LIFE, Sessions};
use crate::clock::{Clock, monotonic};

/// How long a person that a proxy vouches for is remembered without a request.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Most such people.
const MOST_PEOPLE: usize = 256;

/// What all pages share.
pub struct App {
    /// The templates.
    pub templates: Environment<'static>,
    /// The names under which the panel is reached.
    pub origins: Origins,
    /// Who is signed in.
    pub sessions: Sessions<Person>,
    /// How people sign in.
    pub way: Way,
    /// Where measurements come from.
    pub measurements: Measurements,
    /// Signs forms.
    pub key: [u8; 32],
    /// What the times in statuses are told by.
    pub clock: Clock,
    /// The cluster's name for people.
    pub cluster: String,
    /// Who shares watches with whom.
    pub circles: Arc<Circles>,
    /// Pages that may be kept up to date at once.
    pub streams: Arc<Semaphore>,
    /// Pages with a file that may be made at once.
    pub files: Semaphore,
    /// Pages of a playbook that may be made at once.
    pub playbooks: Semaphore,
    /// Name of the cookie of a session.
    pub cookie: String,
    /// Name of the cookie of a sign-in under way.
    pub attempt_cookie: String,
    /// The address that people open, where that is not the one that is listened on.
    pub public: Option<Url>,
    /// Whether cookies go over TLS only.
    pub is_secure: bool,
    /// Ends the streams, which would go on for ever.
    pub shutdown: CancellationToken,
}

/// How people sign in.
pub enum Way {
    /// By a one-time address, all as one person.
    Local(Arc<Person>, Launch),
    /// By a token that is pasted in.
    Token(Box<Config>),
    /// By a token that a proxy sends along in a header.
    Header(Box<Config>, HeaderName, Mutex<Vec<(Known, Instant, Arc<Person>)>>),
    /// By an identity provider that the API server trusts.
    Oidc(Box<Config>, Arc<Provider>),
}

impl Way {
    /// Its name for the page that signs in.
    pub fn name(&self) -> &'static str {
        match self {
            Way::Local(..) => "local",
            Way::Token(_) => "token",
            Way::Header(..) => "header",
            Way::Oidc(..) => "oidc",
        }
    }
}

/// The address that opens one browser, once.
pub struct Launch {
    origin: String,
    secret: Mutex<String>,
    entrance: watch::Sender<String>,
}

impl Launch {
    /// Makes the first address.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new(origin: String) -> Result<Launch, NoRandom> {
        let launch = Launch { origin, secret: Mutex::default(), entrance: watch::Sender::new(String::new()) };
        launch.renew()?;
        Ok(launch)
    }

    /// The address of the moment, for whoever tells people.
    pub fn entrance(&self) -> watch::Receiver<String> {
        self.entrance.subscribe()
    }

    /// Whether this is the secret of the moment, which is used up by that.
    pub fn opens(&self, given: &str) -> bool {
        let opens = {
            let secret = lock(&self.secret);
            !secret.is_empty() && secret::known(given) == secret::known(&secret)
        };
        // Where there is no other one, nobody else gets in.
        if opens && self.renew().is_err() {
            lock(&self.secret).clear();
        }
        opens
    }

    fn renew(&self) -> Result<(), NoRandom> {
        let secret = secret::random()?;
        let address = format!("{}/enter?token={secret}", self.origin);
        *lock(&self.secret) = secret;
        self.entrance.send_replace(address);
        Ok(())
    }
}

/// Somebody who looks at a page.
#[derive(Clone)]
pub struct Visitor {
    /// Who it is.
    pub person: Arc<Person>,
    /// Name of the session; none where a proxy says with each request who it is.
    pub session: Option<String>,
}

impl Visitor {
    /// What proves that a form was made for this visitor.
    pub fn csrf(&self, app: &App) -> String {
        secret::sign(&app.key, self.subject())
    }

    /// Whether a form was made for this visitor.
    pub fn has_made(&self, app: &App, given: &str) -> bool {
        secret::is_signed(&app.key, self.subject(), given)
    }

    fn subject(&self) -> &[u8] {
        self.session.as_deref().unwrap_or(&self.person.name).as_bytes()
    }
}

impl App {
    /// Who sends a request, if that is known.
    ///
    /// # Errors
    /// A proxy sends a token that the API server does not accept, or it cannot be asked.
    pub async fn visitor(&self, headers: &HeaderMap) -> Result<Option<Visitor>, Unknown> {
        let visitor = match &self.way {
            Way::Header(config, name, people) => {
                let Some(token) = headers.get(name).and_then(|value| value.to_str().ok()) else {
                    return Ok(None);
                };
                let token = bare(token);
                Some(Visitor { person: self.vouched(config, people, token).await?, session: None })
            }
            Way::Local(..) | Way::Token(_) | Way::Oidc(..) => self.in_session(headers),
        };
        if let Some(visitor) = &visitor {
            visitor.person.circle().rollouts.mark_used();
        }
        Ok(visitor)
    }

    fn in_session(&self, headers: &HeaderMap) -> Option<Visitor> {
        let name = self.session_of(headers)?;
        let person = self.sessions.find(&name, monotonic())?;
        if person.is_over(monotonic()) {
            self.sessions.end(&name);
            return None;
        }
        Some(Visitor { person, session: Some(name) })
    }

    /// Whether somebody is signed in still.
    pub fn is_signed_in(&self, visitor: &Visitor) -> bool {
        let session = visitor.session.as_deref();
        session.is_none_or(|name| self.sessions.is_open(name, monotonic()))
            && !visitor.person.is_over(monotonic())
    }

    /// Whether a request names a session, of which nothing has to be known any more.
    pub fn names_session(&self, headers: &HeaderMap) -> bool {
        self.session_of(headers).is_some_and(|name| !name.is_empty())
    }

    /// The sign-in that a browser has begun, as it has kept it.
    pub fn attempt_of(&self, headers: &HeaderMap) -> Option<String> {
        cookie_of(headers, &self.attempt_cookie)
    }

    /// The header that makes a browser keep a sign-in that it has begun; forget it, where there is none.
    ///
    /// The provider sends people back from another site, so this one cookie has to go along with what another site
    /// begins.
    pub fn keep_attempt(&self, attempt: Option<&Attempt>) -> HeaderValue {
        let value = attempt.map(Attempt::cookie).unwrap_or_default();
        let life = attempt.map_or(0, |_| attempt::LIFE);
        let secure = if self.is_secure { "; Secure" } else { "" };
        let name = &self.attempt_cookie;
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={life}{secure}");
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// The session that a request names.
    fn session_of(&self, headers: &HeaderMap) -> Option<String> {
        cookie_of(headers, &self.cookie)
    }

    /// A person that a proxy vouches for: asked of the API server once, then known by the token's digest.
    async fn vouched(
        &self,
        config: &Config,
        people: &Mutex<Vec<(Known, Instant, Arc<Person>)>>,
        token: &str,
    ) -> Result<Arc<Person>, Unknown> {
        let (key, now) = (secret::known(token), monotonic());
        {
            let mut people = lock(people);
            people.retain(|(_, used, person)| {
                now.saturating_duration_since(*used) < REMEMBERED && !person.is_over(now)
            });
            if let Some((_, used, person)) = people.iter_mut().find(|(known, ..)| *known == key) {
                *used = now;
                return Ok(person.clone());
            }
        }
        let person = self.by_token(config, token).await?;
        let mut people = lock(people);
        if people.len() >= MOST_PEOPLE
            && let Some(oldest) = (0..people.len()).min_by_key(|i| people.get(*i).map(|(_, used, _)| *used))
        {
            people.swap_remove(oldest);
        }
        people.push((key, now, person.clone()));
        Ok(person)
    }

    /// The person of a token.
    ///
    /// # Errors
    /// The API server does not accept it, or cannot be asked.
    pub async fn by_token(&self, config: &Config, token: &str) -> Result<Arc<Person>, Unknown> {
        Person::known(with_token(config, bare(token))?, &self.circles).await
    }

    /// Begins a session under a fresh name, and ends the one that the request came with. Returns the header that says
    /// so.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn begin_session(&self, headers: &HeaderMap, person: Arc<Person>) -> Result<HeaderValue, NoRandom> {
        if let Some(old) = self.session_of(headers) {
            self.sessions.end(&old);
        }
        let of = person.name.clone();
        let life = person.lasts(monotonic()).unwrap_or(LIFE);
        let name = self.sessions.begin(person, &of, life, monotonic())?;
        Ok(self.set_cookie(&name, LIFE))
    }

    /// The header that makes a browser forget its session.
    pub fn forget_cookie(&self) -> HeaderValue {
        self.set_cookie("", Duration::ZERO)
    }

    fn set_cookie(&self, value: &str, life: Duration) -> HeaderValue {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let (name, seconds) = (&self.cookie, life.as_secs());
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
        // The name and the value are made here, of letters, digits and dashes.
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// The value of a cookie of this name.
fn cookie_of(headers: &HeaderMap, name: &str) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
}

/// A token without the word that stands before it in a header.
fn bare(token: &str) -> &str {
    let token = token.trim();
    match token.get(..7) {
        Some(word) if word.eq_ignore_ascii_case("bearer ") => token.get(7..).unwrap_or_default().trim(),
        _ => token,
    }
}

/// The path of this panel that somebody wanted before signing in; the list for whatever leads elsewhere.
pub fn local_path(wanted: &str) -> &str {
    let leads_elsewhere = !wanted.starts_with('/')
        || wanted.starts_with("//")
        || wanted.contains('\\')
        || wanted.chars().any(char::is_control)
        || wanted.len() > 2_000;
    if leads_elsewhere || wanted.starts_with("/enter") || wanted.starts_with("/live") { "/" } else { wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_opens_once_and_the_next_one_is_another() {
        let launch = Launch::new("http://127.0.0.1:1".to_owned()).unwrap();
        let entrance = launch.entrance();
        let first = entrance.borrow().clone();
        let secret = first.strip_prefix("http://127.0.0.1:1/enter?token=").unwrap();
        for wrong in ["", "x", &secret[1..], &format!("{secret}x")] {
            assert!(!launch.opens(wrong), "{wrong}");
        }
        assert!(launch.opens(secret) && !launch.opens(secret));
        let second = entrance.borrow().clone();
        assert_ne!(first, second);
        assert!(launch.opens(second.split_once('=').unwrap().1));
    }

    #[test]
    fn after_signing_in_nobody_is_led_elsewhere() {
        for own in ["/", "/rollouts/maya/dreams", "/?q=a&state=b", "/files"] {
            assert_eq!(local_path(own), own);
        }
        for other in [
            "",
            "https://attacker.example",
            "//attacker.example",
            "/\\attacker.example",
            "\\\\attacker.example",
            "/%0d\r\nSet-Cookie: a=b",
            "javascript:alert(1)",
            "rollouts",
            "/enter?token=x",
            "/\t/attacker.example",
        ] {
            assert_eq!(local_path(other), "/", "{other}");
        }
    }

    #[test]
    fn a_token_may_stand_behind_its_word() {
        for given in ["abc", " abc ", "Bearer abc", "bearer  abc"] {
            assert_eq!(bare(given), "abc");
        }
        assert_eq!(bare("Bearerabc"), "Bearerabc");
    }
}

//! The panel: rollouts as pages that show what is served, why it waits and what comes, and from which people act.
//!
//! It has no rights of its own. Every read and every action is done by a client with the identity of the person who looks:
//! that of the kubeconfig on loopback, in a cluster a token that was pasted, that a proxy sends, or that an identity
//! provider gives. So nobody can see or do here what they may not see or do with kubectl, and the API server's audit log
//! names the person.
//!
//! `origin` and `sessions` say who gets in, `person`, `access` and `board` what a person may see, `pages` what is shown, and
//! `ask` is the one place that creates an action. `row`, `past`, `chart`, `form` and `preview` are functions of values.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::HeaderName;
use kube::Config;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

mod access;
mod app;
mod ask;
mod board;
mod chart;
mod circle;
mod follow;
mod form;
mod listen;
mod measured;
mod oidc;
mod origin;
mod pages;
mod past;
mod person;
mod playbook_row;
mod preview;
mod read;
mod row;
mod secret;
mod sessions;
mod text;
mod units;

use app::{App, Launch, Way};
use circle::Circles;
pub use circle::Watching;
pub use measured::{Controller as MeasuringController, Measurements};
use oidc::provider::Provider;
pub use oidc::settings::{BadSettings, Settings as OidcSettings};
use origin::Origins;
pub use person::bounded;
use person::{Person, Unknown};
use sessions::Sessions;

use crate::clock::Clock;
use crate::error::chain;

/// Most pages that are kept up to date at once.
const STREAMS: usize = 512;
/// Most pages with a file that are made at once. A file that somebody has edited takes up to twelve MiB once it is read, and its page some
/// more.
const FILES: usize = 4;
/// Most pages of a playbook that are made at once: each looks at every rollout of a namespace.
const PLAYBOOKS: usize = 2;

/// How people sign in.
pub enum SignIn {
    /// Whoever opens the one-time address acts with the identity of this configuration. For loopback only.
    Kubeconfig(Box<Config>),
    /// By a token that is pasted in; the configuration says where the API server is, its own identity is not used.
    Token(Box<Config>),
    /// A proxy in front sends a token with each request in this header, `Bearer` before it or not.
    Header(Box<Config>, HeaderName),
    /// Each person signs in with an identity provider that the API server trusts.
    Oidc(Box<Config>, Box<OidcSettings>),
}

/// How a panel is run.
pub struct Options {
    /// Where it listens.
    pub address: SocketAddr,
    /// How people sign in.
    pub sign_in: SignIn,
    /// The address that people open, where that is not the one it listens on; `https` makes its cookie a secure one.
    pub public: Option<Url>,
    /// Namespaces that are tried for people who may neither list everywhere nor list namespaces.
    pub namespaces: Vec<String>,
    /// What the times in statuses are told by.
    pub clock: Clock,
    /// The cluster's name for people.
    pub cluster: String,
    /// Where measurements come from.
    pub measurements: Measurements,
    /// How long things are kept up to date.
    pub watching: Watching,
}

/// Why a panel does not begin.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// The address cannot be listened on.
    #[error("{0} cannot be listened on: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// With the identity of a kubeconfig only this machine is served: whoever opens it, is it.
    #[error("{0} is no loopback address: with a kubeconfig's identity the panel serves this machine only")]
    NotLoopback(SocketAddr),
    /// Behind other sign-ins it has to be known what people type.
    #[error("the address that people open is missing")]
    NoPublicAddress,
    /// The API server does not know the identity, or does not answer.
    #[error(transparent)]
    Identity(#[from] UnknownIdentity),
    /// The identity provider cannot be used.
    #[error("the sign-in by OpenID Connect cannot be used: {0}")]
    Oidc(#[from] BadSettings),
    /// There are no random numbers, or a template is broken.
    #[error("it cannot begin: {0}")]
    Broken(String),
}

/// Why an identity is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UnknownIdentity(String);

/// A running panel.
pub struct Panel {
    /// Where it listens.
    pub address: SocketAddr,
    /// The address to open; with a kubeconfig's identity it opens one browser, once, and another one takes its place then.
    pub entrance: watch::Receiver<String>,
    /// Ends with the shutdown.
    pub task: JoinHandle<()>,
}

/// Serves until `shutdown`.
///
/// # Errors
/// When it cannot begin.
pub async fn serve(options: Options, shutdown: CancellationToken) -> Result<Panel, DashboardError> {
    let is_local = matches!(options.sign_in, SignIn::Kubeconfig(_));
    if is_local && !options.address.ip().is_loopback() {
        return Err(DashboardError::NotLoopback(options.address));
    }
    let listener = TcpListener::bind(options.address)
        .await
        .map_err(|error| DashboardError::Listen(options.address, error))?;
    let address = listener.local_addr().map_err(|error| DashboardError::Listen(options.address, error))?;
    let origins = match &options.public {
        _ if is_local => Origins::loopback(address.port()),
        Some(public) => Origins::public(public),
        None => return Err(DashboardError::NoPublicAddress),
    };
    let broken = |error: &(dyn std::error::Error + 'static)| DashboardError::Broken(chain(error));
    let own = format!("http://{address}");
    let circles = Circles::new(options.namespaces, options.watching);
    let (way, entrance) = match options.sign_in {
        SignIn::Kubeconfig(config) => {
            let known = Person::local(bounded(*config), &circles).await;
            let person = known.map_err(|unknown: Unknown| UnknownIdentity(unknown.to_string()))?;
            let launch = Launch::new(own).map_err(|error| broken(&error))?;
            let entrance = launch.entrance();
            (Way::Local(person, launch), entrance)
        }
        SignIn::Token(config) => (Way::Token(config), opened(options.public.as_ref())),
        SignIn::Header(config, name) => {
            (Way::Header(config, name, Mutex::default()), opened(options.public.as_ref()))
        }
        SignIn::Oidc(config, settings) => {
            let public = options.public.as_ref().ok_or(DashboardError::NoPublicAddress)?;
            let provider = Provider::new(*settings, public)?;
            (Way::Oidc(config, Arc::new(provider)), opened(options.public.as_ref()))
        }
    };
    let is_secure = options.public.as_ref().is_some_and(|public| public.scheme() == "https") && !is_local;
    let app = Arc::new(App {
        templates: text::templates().map_err(|error| broken(&error))?,
        origins,
        sessions: Sessions::default(),
        way,
        measurements: options.measurements,
        key: secret::random_key().map_err(|error| broken(&error))?,
        clock: options.clock,
        cluster: options.cluster,
        circles,
        streams: Arc::new(Semaphore::new(STREAMS)),
        files: Semaphore::new(FILES),
        playbooks: Semaphore::new(PLAYBOOKS),
        // Cookies do not know ports: two panels of one machine must not end each other's sessions.
        cookie: match is_secure {
            true => "__Host-sluice".to_owned(),
            false => format!("sluice-{}", address.port()),
        },
        attempt_cookie: match is_secure {
            true => "__Host-sluice-sign-in".to_owned(),
            false => format!("sluice-sign-in-{}", address.port()),
        },
        public: options.public,
        is_secure,
        shutdown: shutdown.clone(),
    });
    let task = tokio::spawn(listen::serve(listener, pages::router(app.clone()), app, shutdown));
    Ok(Panel { address, entrance, task })
}

fn opened(public: Option<&Url>) -> watch::Receiver<String> {
    watch::channel(public.map(Url::to_string).unwrap_or_default()).1
}

/// A value that may be poisoned by a panic elsewhere: it is whole all the same, as each change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! `sluice dashboard`: the panel, on loopback with the kubeconfig's identity, or for the people of a cluster.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::HeaderName;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::cli::cluster::{ClusterArgs, schedule_clock};
use crate::cli::output::{Failure, complain, print};
use crate::cli::process::{end_on_signal, runtime};
use crate::clock::Clock;
use crate::controller::MeasurementsReader;
use crate::dashboard::{
    self, Measurements, MeasuringController, OidcSettings, Options, Panel, SignIn, Watching,
};
use crate::error::chain;
use crate::server::{Health, serve_probes};
use crate::telemetry::{LogFormat, start_logging};

/// Arguments of `sluice dashboard`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Where it listens; with a kubeconfig's identity on loopback only. Port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", env = "SLUICE_DASHBOARD_ADDRESS")]
    address: SocketAddr,
    /// How people sign in
    #[arg(long, value_enum, default_value = "kubeconfig", env = "SLUICE_DASHBOARD_SIGN_IN")]
    sign_in: Way,
    /// Header in which a proxy sends a person's token, for --sign-in header
    #[arg(long, value_name = "NAME", default_value = "authorization", env = "SLUICE_DASHBOARD_TOKEN_HEADER")]
    token_header: HeaderName,
    /// The address that people open, for the sign-ins by token and by header, such as https://sluice.example.com
    #[arg(long, value_name = "URL", env = "SLUICE_DASHBOARD_PUBLIC_URL")]
    public_url: Option<Url>,
    /// Namespaces to look into for people who may not list namespaces
    #[arg(long, value_name = "NAMES", value_delimiter = ',', env = "SLUICE_DASHBOARD_NAMESPACES")]
    namespaces: Vec<String>,
    /// The API server, for the sign-ins by token and by header; default: that of the kubeconfig
    #[arg(long, value_name = "URL", requires = "certificate_authority", env = "SLUICE_DASHBOARD_API_SERVER")]
    api_server: Option<Url>,
    /// File with the certificates that the API server's own is checked by
    #[arg(long, value_name = "FILE", env = "SLUICE_DASHBOARD_CERTIFICATE_AUTHORITY")]
    certificate_authority: Option<PathBuf>,
    /// Where the controller tells what was measured lately, for the charts, such as
    /// https://sluice-measurements.sluice-system.svc:8443; default: nowhere, and there are no charts
    #[arg(
        long,
        value_name = "URL",
        requires = "measurements_certificate_authority",
        env = "SLUICE_DASHBOARD_MEASUREMENTS_URL"
    )]
    measurements_url: Option<Url>,
    /// File with the certificates that the controller's own is checked by: what the ConfigMap sluice-measurements has under ca.crt
    #[arg(long, value_name = "FILE", env = "SLUICE_DASHBOARD_MEASUREMENTS_CERTIFICATE_AUTHORITY")]
    measurements_certificate_authority: Option<PathBuf>,
    #[command(flatten)]
    oidc: OidcArgs,
    /// Where probes are answered; default: nowhere
    #[arg(long, value_name = "ADDRESS", env = "SLUICE_DASHBOARD_PROBES_ADDRESS")]
    probes_address: Option<SocketAddr>,
    /// Form of the logs
    #[arg(long, value_enum, default_value = "text", env = "SLUICE_LOG_FORMAT")]
    log_format: LogFormat,
}

/// How people sign in.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Whoever opens the printed address acts with the kubeconfig's identity
    Kubeconfig,
    /// Each person pastes a token that the API server accepts
    Token,
    /// A proxy in front sends each person's token
    Header,
    /// Each person signs in with an identity provider that the API server trusts
    Oidc,
}

/// What is needed for --sign-in oidc.
#[derive(clap::Args, Debug)]
struct OidcArgs {
    /// The issuer, letter by letter as its tokens and the API server's configuration have it, for --sign-in oidc
    #[arg(long, value_name = "URL", env = "SLUICE_DASHBOARD_OIDC_ISSUER")]
    oidc_issuer: Option<String>,
    /// Name under which the issuer knows the panel, and the audience that the API server accepts
    #[arg(long, value_name = "ID", env = "SLUICE_DASHBOARD_OIDC_CLIENT_ID")]
    oidc_client_id: Option<String>,
    /// File with the client's secret; default: none, for a public client
    #[arg(long, value_name = "FILE", env = "SLUICE_DASHBOARD_OIDC_CLIENT_SECRET_FILE")]
    oidc_client_secret_file: Option<PathBuf>,
    /// What is asked for besides openid; offline_access is what most issuers give refresh tokens for
    #[arg(
        long,
        value_name = "SCOPES",
        value_delimiter = ',',
        default_value = "email,profile,offline_access",
        env = "SLUICE_DASHBOARD_OIDC_SCOPES"
    )]
    oidc_scopes: Vec<String>,
    /// File with the certificates that the issuer's own is checked by; default: those of the system
    #[arg(long, value_name = "FILE", env = "SLUICE_DASHBOARD_OIDC_CERTIFICATE_AUTHORITY")]
    oidc_certificate_authority: Option<PathBuf>,
}

impl OidcArgs {
    fn settings(self) -> Result<OidcSettings, Failure> {
        let missing = |flag: &str| Failure::Input(format!("--sign-in oidc needs {flag}"));
        let read = |file: PathBuf| {
            std::fs::read_to_string(&file)
                .map_err(|error| Failure::Input(format!("{} cannot be read: {error}", file.display())))
        };
        if let Some(file) = &self.oidc_client_secret_file {
            // It is read anew whenever it is needed; a wrong name is said now.
            read(file.clone())?;
        }
        Ok(OidcSettings {
            issuer: self.oidc_issuer.ok_or_else(|| missing("--oidc-issuer"))?,
            client_id: self.oidc_client_id.ok_or_else(|| missing("--oidc-client-id"))?,
            client_secret: self.oidc_client_secret_file,
            scopes: self.oidc_scopes.into_iter().filter(|scope| !scope.is_empty()).collect(),
            certificates: self.oidc_certificate_authority.map(read).transpose()?,
        })
    }
}

/// Serves until Ctrl-C.
pub fn run(args: Args) -> Result<(), Failure> {
    start_logging(args.log_format, "warn,sluice=info,kube_client=off");
    runtime()?.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(end_on_signal(shutdown.clone()));
        let health = Health::default();
        if let Some(address) = args.probes_address {
            let failure = |error| Failure::Cluster(format!("{address} cannot be listened on: {error}"));
            serve_probes(address, health.clone(), shutdown.clone()).await.map_err(failure)?;
        }
        let is_local = args.sign_in == Way::Kubeconfig;
        let panel = start(args, shutdown.clone()).await?;
        health.set_ready(true);
        if is_local {
            print(&format!("Open {}\n\nCtrl-C ends it.\n", panel.entrance.borrow().as_str()))?;
        } else {
            tracing::info!(address = %panel.address, "the panel is served");
        }
        tell(panel, shutdown).await
    })
}

async fn start(args: Args, shutdown: CancellationToken) -> Result<Panel, Failure> {
    let config = match &args.api_server {
        Some(server) => at(server, args.certificate_authority.as_deref()).await?,
        None => args.cluster.config().await?,
    };
    let cluster = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let mut namespaces = args.namespaces;
    let is_local = args.sign_in == Way::Kubeconfig;
    let own = args.cluster.namespace().map(str::to_owned);
    namespaces.extend(own.or_else(|| is_local.then(|| config.default_namespace.clone())));
    let clock = if is_local { clock(&config).await } else { Clock::system() };
    let measurements = match (args.measurements_url, args.measurements_certificate_authority) {
        (Some(url), Some(file)) => {
            let controller = MeasuringController::new(url, file).map_err(Failure::Input)?;
            Measurements::At(Box::new(controller))
        }
        _ => Measurements::Nowhere,
    };
    let config = Box::new(config);
    let sign_in = match args.sign_in {
        Way::Kubeconfig => SignIn::Kubeconfig(config),
        Way::Token => SignIn::Token(config),
        Way::Header => SignIn::Header(config, args.token_header),
        Way::Oidc => SignIn::Oidc(config, Box::new(args.oidc.settings()?)),
    };
    let options = Options {
        address: args.address,
        sign_in,
        public: args.public_url,
        namespaces,
        clock,
        cluster,
        measurements,
        watching: Watching::default(),
    };
    dashboard::serve(options, shutdown).await.map_err(|error| Failure::Cluster(chain(&error)))
}

/// Serves a cluster that is being tried, on loopback with the identity of its configuration. What was measured comes from the
/// controller of this process.
///
/// # Errors
/// When it cannot begin.
pub async fn beside(
    config: Config,
    clock: Clock,
    measurements: MeasurementsReader,
    shutdown: CancellationToken,
) -> Result<Panel, Failure> {
    let options = Options {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        cluster: config.cluster_url.to_string().trim_end_matches('/').to_owned(),
        namespaces: vec![config.default_namespace.clone()],
        sign_in: SignIn::Kubeconfig(Box::new(config)),
        public: None,
        clock,
        measurements: Measurements::Here(Arc::new(move |namespace, name| measurements.read(namespace, name))),
        watching: Watching::default(),
    };
    dashboard::serve(options, shutdown).await.map_err(|error| Failure::Cluster(chain(&error)))
}

/// The clock that the cluster's schedules run on.
async fn clock(config: &Config) -> Clock {
    match Client::try_from(dashboard::bounded(config.clone())) {
        Ok(client) => schedule_clock::read(&client).await,
        // What is wrong with it is said by what comes next.
        Err(_) => Clock::system(),
    }
}

/// An API server, and no identity.
async fn at(server: &Url, authority: Option<&Path>) -> Result<Config, Failure> {
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "panel",
        "clusters": [{"name": "panel", "cluster": {
            "server": server.as_str().trim_end_matches('/'), "certificate-authority": authority,
        }}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "panel", "context": {"cluster": "panel", "user": "nobody"}}],
    });
    let failure = |error: &dyn std::fmt::Display| Failure::Input(format!("{server} is of no use: {error}"));
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig).map_err(|error| failure(&error))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    config.map_err(|error| failure(&chain(&error)))
}

/// Tells the next address whenever one was used, until the end.
async fn tell(mut panel: Panel, shutdown: CancellationToken) -> Result<(), Failure> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            changed = panel.entrance.changed() => match changed {
                Ok(()) => complain(&format!("opened; for another browser: {}", panel.entrance.borrow().as_str())),
                Err(_) => {
                    shutdown.cancelled().await;
                    break;
                }
            },
        }
    }
    panel.task.await.map_err(|error| Failure::Cluster(format!("the panel ended: {error}")))
}

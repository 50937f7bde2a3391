//! `sluice controller`: the operator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Failure;
use super::cluster;
use crate::clock::Clock;
use crate::controller::{self, Housekeeping, Options, OutputNames};
use crate::error::chain;
use crate::telemetry::{LogFormat, start_logging};

/// Arguments of `sluice controller`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Kubeconfig file; default: those of KUBECONFIG, else ~/.kube/config, else the Pod's service account
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Address of /metrics, with /livez and /readyz beside it
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080", env = "SLUICE_ADDRESS")]
    address: SocketAddr,
    /// Address of /livez and /readyz alone, which whoever fills that of the metrics does not reach
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8081", env = "SLUICE_PROBES_ADDRESS")]
    probes_address: SocketAddr,
    /// Objects worked on at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// The operator's own namespace, whose MetricSources are used and which holds the keys that files are signed with
    #[arg(long, value_name = "NAME", default_value = controller::NAMESPACE, env = "POD_NAMESPACE")]
    namespace: String,
    /// The Secret of that namespace with the keys that files are signed with; it is made where it is missing
    #[arg(long, value_name = "NAME", default_value = controller::SIGNING_SECRET, env = "SLUICE_SIGNING_SECRET")]
    signing_secret: String,
    /// Names of ConfigMaps that files may be made under, with `*` for any text and `!` before what is refused
    #[arg(long, value_name = "PATTERNS", default_value_t = OutputNames::default(), env = "SLUICE_OUTPUT_NAMES")]
    output_names: OutputNames,
    /// Annotate the pods that mount a file when something is taken away at once, so that they read it within a second;
    /// needs `list` and `patch` on pods
    #[arg(long, env = "SLUICE_NUDGE_PODS")]
    nudge_pods: bool,
    /// Seconds after the last change of the admission policy of actions from which the names that it vouches for are believed
    #[arg(long, value_name = "SECONDS", default_value_t = 10, env = "SLUICE_POLICY_SETTLING", hide = true)]
    policy_settling: u16,
    /// Form of the logs
    #[arg(long, value_enum, default_value = "json", env = "SLUICE_LOG_FORMAT")]
    log_format: LogFormat,
}

/// Runs the operator until SIGTERM or Ctrl-C.
pub fn run(args: Args) -> Result<(), Failure> {
    start_logging(args.log_format, "info");
    let runtime = runtime()?;
    runtime.block_on(async {
        let config = cluster::config_from(args.kubeconfig.as_deref()).await?;
        let api_server = controller::api_server(&config).await;
        let client = controller::client(config).map_err(|error| Failure::Cluster(chain(&error)))?;
        let shutdown = CancellationToken::new();
        tokio::spawn(end_on_signal(shutdown.clone()));
        let options = Options {
            concurrency: usize::from(args.concurrency),
            address: Some(args.address),
            probes_address: Some(args.probes_address),
            clock: Clock::system(),
            instance: instance(),
            namespace: args.namespace,
            signing_secret: args.signing_secret,
            output_names: args.output_names,
            api_server,
            nudge_pods: args.nudge_pods,
            policy_settling: Duration::from_secs(args.policy_settling.into()),
            housekeeping: Housekeeping::default(),
        };
        controller::run(client, options, shutdown).await.map_err(|error| Failure::Cluster(chain(&error)))
    })
}

/// A runtime for a long-running command.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Cluster(format!("cannot start: {error}")))
}

/// Cancels `shutdown` on SIGTERM or Ctrl-C.
pub async fn end_on_signal(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(error) => {
            tracing::warn!("SIGTERM cannot be heard: {error}; only Ctrl-C ends the process in order");
            // Where Ctrl-C cannot be heard either, the process ends without order.
            let _heard = tokio::signal::ctrl_c().await;
        }
    }
    shutdown.cancel();
}

/// Name of this process in events: the Pod's, else the host's.
pub fn instance() -> String {
    std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| "sluice".to_owned())
        .chars()
        .take(128)
        .collect()
}

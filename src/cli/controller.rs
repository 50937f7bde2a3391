//! `sluice controller`: the operator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::api::Duration as Length;
use crate::cli::cluster;
use crate::cli::output::Failure;
use crate::cli::process::{end_on_signal, instance, runtime};
use crate::clock::Clock;
use crate::controller::{
    self, Election, Housekeeping, MeasurementsListening, MeasurementsReader, Options, OutputNames, Shards,
    Timing,
};
use crate::error::chain;
use crate::telemetry::{LogFormat, start_logging};
use crate::watchdog::Watchdog;

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
    /// Address at which the panel is told what was measured lately, over TLS; default: nowhere. Needs `create` on tokenreviews and
    /// subjectaccessreviews
    #[arg(long, value_name = "ADDRESS", env = "SLUICE_MEASUREMENTS_ADDRESS")]
    measurements_address: Option<SocketAddr>,
    /// Tell the metrics at the address of the measurements alone, over TLS, to whoever may `get` the path /metrics; nothing listens at
    /// `--address` then
    #[arg(long, env = "SLUICE_PROTECT_METRICS", requires = "measurements_address")]
    protect_metrics: bool,
    /// The name by which the panel knows that address; default: sluice-measurements.NAMESPACE.svc
    #[arg(long, value_name = "NAME", env = "SLUICE_MEASUREMENTS_NAME")]
    measurements_name: Option<String>,
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
    /// MiB of memory that the objects of one namespace may take together. Of the youngest beyond that nothing is raised, and whoever may
    /// write in one namespace does not fill what all share
    #[arg(long, value_name = "MIB", default_value_t = controller::NAMESPACE_MEMORY, env = "SLUICE_NAMESPACE_MEMORY",
        value_parser = clap::value_parser!(u32).range(64..=65_536))]
    namespace_memory: u32,
    /// Decide only while this process holds the Lease `sluice-controller` in the operator's own namespace, so that several can run
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, env = "SLUICE_LEADER_ELECT",
        num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    leader_elect: bool,
    /// Over how many shards the namespaces are spread, from 1 to 16: each is decided on by one process, and they can be several. All
    /// processes need the same number, but for the time of an update
    #[arg(long, value_name = "N", default_value_t = 1, env = "SLUICE_SHARDS")]
    shards: u16,
    /// How long others wait for a leader that is not heard of; whole seconds, from 2 to 300
    #[arg(long, value_name = "DURATION", default_value = "15s", env = "SLUICE_LEADER_ELECT_LEASE_DURATION")]
    leader_elect_lease_duration: Length,
    /// After how long a leader that cannot renew its Lease stops
    #[arg(long, value_name = "DURATION", default_value = "10s", env = "SLUICE_LEADER_ELECT_RENEW_DEADLINE")]
    leader_elect_renew_deadline: Length,
    /// How often the Lease is renewed, or looked at
    #[arg(long, value_name = "DURATION", default_value = "2s", env = "SLUICE_LEADER_ELECT_RETRY_PERIOD")]
    leader_elect_retry_period: Length,
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
        let election = election(&args, &config)?;
        let client = controller::client(config).map_err(|error| Failure::Cluster(chain(&error)))?;
        let shutdown = CancellationToken::new();
        tokio::spawn(end_on_signal(shutdown.clone()));
        let name =
            args.measurements_name.unwrap_or_else(|| format!("sluice-measurements.{}.svc", args.namespace));
        let tells_metrics = args.protect_metrics;
        let measurements =
            args.measurements_address.map(|address| MeasurementsListening { address, name, tells_metrics });
        let options = Options {
            concurrency: usize::from(args.concurrency),
            address: (!args.protect_metrics).then_some(args.address),
            probes_address: Some(args.probes_address),
            measurements,
            measurements_reader: MeasurementsReader::default(),
            clock: Clock::system(),
            instance: instance(),
            namespace: args.namespace,
            signing_secret: args.signing_secret,
            output_names: args.output_names,
            api_server,
            nudge_pods: args.nudge_pods,
            namespace_memory: args.namespace_memory,
            policy_settling: Duration::from_secs(args.policy_settling.into()),
            housekeeping: Housekeeping::default(),
            election,
            watchdog: Watchdog::default(),
            ..Options::default()
        };
        controller::run(client, options, shutdown).await.map_err(|error| Failure::Cluster(chain(&error)))
    })
}

/// How this process stands for election, if it does.
fn election(args: &Args, config: &kube::Config) -> Result<Option<Election>, Failure> {
    let shards = Shards::new(args.shards)
        .map_err(|error| Failure::Input(format!("--shards {}: {error}", args.shards)))?;
    if !args.leader_elect {
        return match shards {
            Shards::ONE => Ok(None),
            _ => Err(Failure::Input(format!(
                "--shards {} needs --leader-elect: each shard has a Lease, which says what process decides there",
                args.shards
            ))),
        };
    }
    let length = |length: Length| Duration::try_from(length.signed()).unwrap_or_default();
    let timing = Timing::new(
        length(args.leader_elect_lease_duration),
        length(args.leader_elect_renew_deadline),
        length(args.leader_elect_retry_period),
    )
    .map_err(|error| Failure::Input(error.to_string()))?;
    let client = controller::election_client(config.clone(), &timing)
        .map_err(|error| Failure::Cluster(chain(&error)))?;
    Ok(Some(Election {
        client,
        namespace: args.namespace.clone(),
        name: controller::LEASE.to_owned(),
        identity: controller::identity(&instance()),
        timing,
        shards,
    }))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> Args {
        Command::try_parse_from(["controller"].iter().chain(words)).unwrap().args
    }

    #[test]
    fn one_of_several_processes_decides_unless_somebody_says_that_there_is_one() {
        assert!(args(&[]).leader_elect && args(&["--leader-elect"]).leader_elect);
        assert!(args(&["--leader-elect=true"]).leader_elect);
        assert!(!args(&["--leader-elect=false"]).leader_elect);
        let alone =
            election(&args(&["--leader-elect=false"]), &kube::Config::new("http://x".parse().unwrap()));
        assert!(matches!(alone, Ok(None)));
    }

    #[tokio::test]
    async fn a_number_of_shards_that_there_cannot_be_is_wrong_input() {
        let config = kube::Config::new("http://x".parse().unwrap());
        let shards = |words: &[&str]| match election(&args(words), &config) {
            Ok(election) => election.map(|election| election.shards.count()),
            Err(Failure::Input(why)) => panic!("{why}"),
            Err(_) => panic!("another failure"),
        };
        assert_eq!((shards(&[]), shards(&["--shards=3"])), (Some(1), Some(3)));
        assert_eq!(shards(&["--shards=1", "--leader-elect=false"]), None);
        for words in [&["--shards=0"][..], &["--shards=17"], &["--shards=2", "--leader-elect=false"]] {
            let refused = election(&args(words), &config);
            assert!(matches!(refused, Err(Failure::Input(why)) if why.contains("--shards")), "{words:?}");
        }
    }

    #[test]
    fn times_that_do_not_fit_are_wrong_input() {
        let config = kube::Config::new("http://x".parse().unwrap());
        for word in ["--leader-elect-renew-deadline=15s", "--leader-elect-lease-duration=1s"] {
            let refused = election(&args(&[word]), &config);
            assert!(matches!(refused, Err(Failure::Input(_))), "{word}");
        }
    }
}

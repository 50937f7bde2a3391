//! The operator: watches, the queue, and the pipeline that each object goes through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use kube::{Client, Config};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::{Fault, chain};
use crate::server::{self, Health};
use crate::telemetry::Metrics;
use crate::watchdog::{Name, Watchdog, What, resting};
use context::{Key, Shared};
use leader::{Elector, Gate, Terms};
use process::Process;
use queue::{Cause, metered};

pub use authority::{
    CERTIFICATES as MEASUREMENTS_CERTIFICATES, CONFIG_MAP as MEASUREMENTS_CONFIG_MAP,
    SECRET as MEASUREMENTS_SECRET,
};
pub use client::{client, election_client};
pub use housekeeping::Housekeeping;
pub use leader::{Election, LEASE, Shard, Shards, ShardsError, Timing, TimingError, identity, lease_names};
pub use measurements::{Listening as MeasurementsListening, Reader as MeasurementsReader};
pub use shares::NAMESPACE_MEMORY;
pub use signing::SECRET as SIGNING_SECRET;
pub use writer::OutputNames;

mod actions;
mod ahead;
mod analysis;
mod announce;
mod authority;
mod cache;
mod catch_up;
mod changelog;
mod channels;
mod client;
mod context;
mod events;
mod finalizer;
mod gather;
mod housekeeping;
mod index;
mod keys;
mod leader;
mod measurements;
#[cfg(test)]
mod model;
mod nudge;
mod persist;
mod pins;
mod playbooks;
mod policies;
mod process;
mod queue;
mod reconcile;
mod references;
mod reviews;
mod revisions;
mod rollout;
mod sets;
mod shares;
mod signing;
mod stalled;
mod strays;
mod term;
mod told;
mod watch;
mod writer;

/// The operator's own namespace where nothing else is said.
pub const NAMESPACE: &str = "sluice-system";
/// How long the watches of a process that is just started let its election go first.
const SOON: Duration = Duration::from_millis(500);
/// For one in so many of the objects that may be decided on at once another one may be reported on.
const REPORTING_PART: usize = 4;

/// How a controller is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Objects worked on at once.
    pub concurrency: usize,
    /// Where metrics are served, and probes beside them; nowhere when absent.
    pub address: Option<SocketAddr>,
    /// Where probes alone are served; nowhere when absent.
    pub probes_address: Option<SocketAddr>,
    /// Where people's panels are told what was measured lately; nowhere when absent.
    pub measurements: Option<MeasurementsListening>,
    /// Reads the same in this process.
    pub measurements_reader: MeasurementsReader,
    /// The time.
    pub clock: Clock,
    /// Name of this process in events.
    pub instance: String,
    /// The operator's own namespace: only its MetricSources count, and the keys that sign files are in it.
    pub namespace: String,
    /// Name of the Secret there that holds these keys. It is made where it is missing.
    pub signing_secret: String,
    /// Names of ConfigMaps that files may be made under.
    pub output_names: OutputNames,
    /// Where the API server listens, which no MetricSource may ask.
    pub api_server: Vec<SocketAddr>,
    /// Whether pods may be annotated so that they get their file at once in an emergency: it takes permissions on
    /// pods.
    pub nudge_pods: bool,
    /// How long after the last change of the admission policy that says who asks for actions an API server certainly
    /// enforces it: what was created before is anybody's.
    pub policy_settling: Duration,
    /// How often what nobody needs any more is looked for.
    pub housekeeping: Housekeeping,
    /// After how long without a word a watch is taken to be dead, and begun anew from where it was. API servers give a sign
    /// of life once a minute.
    pub watch_silence: Duration,
    /// What the objects of one namespace may take of memory together, in MiB.
    pub namespace_memory: u32,
    /// How this process and others agree on which of them decides; without it, this one does.
    pub election: Option<Election>,
    /// Sees to it that what must run does.
    pub watchdog: Watchdog,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            concurrency: 16,
            address: None,
            probes_address: None,
            measurements: None,
            measurements_reader: MeasurementsReader::default(),
            clock: Clock::system(),
            instance: "sluice".to_owned(),
            namespace: NAMESPACE.to_owned(),
            signing_secret: signing::SECRET.to_owned(),
            output_names: OutputNames::default(),
            api_server: Vec::new(),
            nudge_pods: false,
            policy_settling: actions::SETTLING,
            housekeeping: Housekeeping::default(),
            watch_silence: crate::cluster::SILENCE,
            namespace_memory: NAMESPACE_MEMORY,
            election: None,
            watchdog: Watchdog::default(),
        }
    }
}

/// Why a controller could not run.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// No client could be made of the configuration.
    #[error("the client configuration cannot be used")]
    Client(#[source] Box<kube::Error>),
    /// An address cannot be listened on.
    #[error("{address} cannot be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The lead is lost, and something of this process may still be writing.
    #[error("a write has not stopped {} s after another process may lead", term::STOP.as_secs())]
    Writing,
    /// Nobody looks after the Lease any more.
    #[error("the election ended by a fault of this program")]
    Election,
}

/// Where the API server of a configuration listens; nowhere known when its name cannot be resolved now.
pub async fn api_server(config: &Config) -> Vec<SocketAddr> {
    let url = &config.cluster_url;
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
    match tokio::net::lookup_host((host.as_str(), port)).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            tracing::warn!(
                "the API server's name {host} cannot be resolved: {error}; MetricSources that name its address are not refused"
            );
            Vec::new()
        }
    }
}

/// Runs the controller until `shutdown`, then lets work under way end.
///
/// # Errors
/// When it cannot begin, and when it must not go on. Other errors are retried and said in status, logs and metrics.
pub async fn run(
    client: Client,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), ControllerError> {
    let metrics = Metrics::default();
    let watchdog = options.watchdog.clone();
    let health = Health::new(watchdog.clone());
    watchdog.start(shutdown.clone(), {
        let metrics = metrics.clone();
        move |what| metrics.part_fell(what)
    });
    if let Some(address) = options.address {
        let registry = metrics.registry();
        let bound = server::serve(address, health.clone(), registry, shutdown.clone())
            .await
            .map_err(|source| ControllerError::Listen { address, source })?;
        tracing::info!(address = %bound, "serving probes and metrics");
    }
    if let Some(address) = options.probes_address {
        let bound = server::serve_probes(address, health.clone(), shutdown.clone())
            .await
            .map_err(|source| ControllerError::Listen { address, source })?;
        tracing::info!(probes = %bound, "serving probes by themselves");
    }
    let election = options.election.clone();
    let (listening, reader) = (options.measurements.clone(), options.measurements_reader.clone());
    let process = Process::new(client, options, metrics, health.clone(), shutdown.clone());
    reader.begin(&process);
    if let Some(listening) = listening {
        let bound = measurements::serve(process.clone(), listening).await?;
        tracing::info!(measurements = %bound, "telling measurements to the panel");
    }
    match election {
        None => {
            process.metrics.set_leads(0, true);
            let gate = Gate::open(None, shutdown.child_token());
            term::lead(&process, &gate, &health).await
        }
        Some(election) => stand(&process, election, &health).await,
    }
}

/// Leads whenever this process is elected, in each shard by itself.
async fn stand(process: &Arc<Process>, election: Election, health: &Health) -> Result<(), ControllerError> {
    let (ended, crew) = (CancellationToken::new(), leader::crew());
    let (mut electing, mut terms) = (Vec::new(), Vec::new());
    for shard in election.shards.each() {
        let (metrics, shutdown) = (process.metrics.clone(), process.shutdown().clone());
        metrics.set_leads(shard.index(), false);
        let (elector, of_shard) = Elector::new(election.clone(), shard, crew.clone(), metrics, shutdown);
        let run = elector.run(ended.clone(), health.watchdog().clone());
        electing.push(tokio::spawn(health.watchdog().watch(Name::of_process(What::Election), run)));
        terms.push(of_shard);
    }
    // What is listed after a gain need not be compared with what is stored then.
    let _late = tokio::time::timeout(SOON, leader::any_term(&terms)).await;
    process.watch();
    let waiting = ready_to_lead(process.clone(), health.clone(), terms.clone());
    tokio::spawn(health.watchdog().watch(Name::of_process(What::Candidate), waiting));
    let leading = terms.into_iter().map(|terms| lead_whenever_elected(process, terms, health));
    let result = try_join_all(leading).await;
    health.set_ready(false);
    ended.cancel();
    for elector in electing {
        // Where it has failed, that is what was returned.
        let _released = elector.await;
    }
    result.map(drop)
}

async fn lead_whenever_elected(
    process: &Arc<Process>,
    mut terms: Terms,
    health: &Health,
) -> Result<(), ControllerError> {
    loop {
        let gate = tokio::select! {
            biased;
            () = process.shutdown().cancelled() => return Ok(()),
            gate = leader::next_term(&mut terms) => gate,
        };
        let Some(gate) = gate else { return Err(ControllerError::Election) };
        term::lead(process, &gate, health).await?;
    }
}

/// Says that a process which stands by is ready once it could take over; one that leads says so when it decides.
async fn ready_to_lead(process: Arc<Process>, health: Health, terms: Vec<Terms>) {
    resting(process.listed()).await;
    if terms.iter().all(|terms| terms.borrow().is_none()) && !process.shutdown().is_cancelled() {
        health.set_ready(true);
    }
}

/// A key that is worked on. It is done when this is dropped, and tried again where that was not said to have ended well:
/// work that panics takes no key along.
struct Work {
    ctx: Shared,
    key: Key,
    has_ended: bool,
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.has_ended {
            self.ctx.queue.failed(&self.key, Cause::Failure);
        }
        self.ctx.queue.done(&self.key);
    }
}

async fn work(ctx: Shared, key: Key) {
    let mut work = Work { ctx, key, has_ended: false };
    let Work { ctx, key, has_ended } = &mut work;
    ctx.queue.until_free().await;
    let reconciled = async {
        match key {
            Key::Rollout(rollout) => rollout::reconcile(ctx, rollout).await,
            Key::FlagSet(set) => sets::flag_set(ctx, set).await,
            Key::CohortSet(set) => sets::cohort_set(ctx, set).await,
            Key::MetricSource(source) => analysis::metric_source(ctx, source).await,
            Key::MetricTemplate(template) => analysis::metric_template(ctx, template).await,
            Key::NotificationChannel(channel) => {
                persist::stall_unreadable(ctx, &ctx.notification_channels, channel).await
            }
            Key::Playbook(playbook) => playbooks::reconcile(ctx, playbook).await,
            Key::RolloutPolicy(policy) => policies::rollout_policy(ctx, policy).await,
            Key::Changelog(set) => changelog::reconcile(ctx, set).await,
            Key::Stray(kind, stray) => strays::say(ctx, *kind, stray).await,
        }
    };
    let (result, took) = metered(reconciled).await;
    ctx.queue.note_cost(key, took);
    ctx.metrics.reconciled(result.is_ok(), took.whole.as_secs_f64());
    match result {
        Ok(()) => ctx.queue.recovered(key, &Cause::OF_WORK),
        Err(fault) => retry(ctx, key, fault).await,
    }
    *has_ended = true;
}

/// Tries an object again: almost at once where somebody else wrote first, else after a growing wait of its own.
async fn retry(ctx: &Shared, key: &Key, fault: Fault) {
    let wait = ctx.queue.failed_for(key, cause(&fault), fault.asks_to_wait());
    let (why, wait) = (chain(&fault), wait.as_millis());
    if let Fault::NamespaceTerminating(_) = fault {
        tracing::debug!("{key} is in a namespace that is being deleted; it is looked at again in {wait} ms");
    } else if matches!(fault, Fault::Conflict(_) | Fault::NotFound(_)) {
        tracing::debug!(
            "{key} was written by somebody else meanwhile ({why}); it is read again in {wait} ms"
        );
    } else {
        tracing::warn!("{key} could not be worked on: {why}; it is tried again in {wait} ms");
    }
    if let Key::Rollout(rollout) = key {
        rollout::note_failure(ctx, rollout, &fault).await;
    }
}

/// What a key is tried again for.
fn cause(fault: &Fault) -> Cause {
    match fault {
        Fault::Conflict(_) | Fault::NotFound(_) => Cause::Conflict,
        Fault::Unreachable(_) => Cause::Unreachable,
        Fault::Busy(_) | Fault::Transient(_) | Fault::TimedOut | Fault::NotLeading => Cause::Failure,
        Fault::Forbidden(_) | Fault::AlreadyExists(_) | Fault::NamespaceTerminating(_) => Cause::Refused,
        Fault::Invalid(_) => Cause::Invalid,
    }
}

/// Notes work that panicked; its key is tried again.
fn note_panic(watchdog: &Watchdog, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        watchdog.note_fault(What::Work);
        tracing::error!("work on an object ended by a fault of this program; it is tried again: {error}");
    }
}

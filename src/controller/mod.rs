//! The operator: watches, the queue, and the pipeline that each object goes through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::{Client, Config};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock};
use crate::error::{Fault, chain};
use crate::server::{self, Health};
use crate::telemetry::Metrics;
use cache::Cache;
use context::{Context, Key, Shared};
use queue::{Cause, Places, Queue};

pub use housekeeping::Housekeeping;
pub use signing::SECRET as SIGNING_SECRET;
pub use writer::OutputNames;

mod actions;
mod ahead;
mod analysis;
mod announce;
mod cache;
mod cluster;
mod context;
mod events;
mod finalizer;
mod gather;
mod housekeeping;
mod index;
mod nudge;
mod persist;
mod queue;
mod revisions;
mod rollout;
mod sets;
mod signing;
mod stalled;
mod watch;
mod writer;

/// The operator's own namespace where nothing else is said.
pub const NAMESPACE: &str = "sluice-system";
/// For one in so many of the objects that may be decided on at once another one may be reported on.
const REPORTING_PART: usize = 4;
/// How long a shutdown waits for work under way.
const DRAIN: Duration = Duration::from_secs(5);

/// How a controller is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Objects worked on at once.
    pub concurrency: usize,
    /// Where metrics are served, and probes beside them; nowhere when absent.
    pub address: Option<SocketAddr>,
    /// Where probes alone are served; nowhere when absent.
    pub probes_address: Option<SocketAddr>,
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
}

impl Default for Options {
    fn default() -> Options {
        Options {
            concurrency: 16,
            address: None,
            probes_address: None,
            clock: Clock::system(),
            instance: "sluice".to_owned(),
            namespace: NAMESPACE.to_owned(),
            signing_secret: signing::SECRET.to_owned(),
            output_names: OutputNames::default(),
            api_server: Vec::new(),
            nudge_pods: false,
            policy_settling: actions::SETTLING,
            housekeeping: Housekeeping::default(),
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

/// A client for the controller: its calls are bounded here and are never silently repeated inside of one.
///
/// # Errors
/// When the configuration cannot be used.
pub fn client(mut config: Config) -> Result<Client, ControllerError> {
    config.default_retry = false;
    Client::try_from(config).map_err(|error| ControllerError::Client(Box::new(error)))
}

/// Runs the controller until `shutdown`, then lets work under way end.
///
/// # Errors
/// When it cannot begin. Later errors are retried and said in status, logs and metrics.
pub async fn run(
    client: Client,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), ControllerError> {
    let metrics = Metrics::default();
    let health = Health::default();
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
    let index = Arc::new(index::Index::default());
    let queue = {
        let index = index.clone();
        let deciding = options.concurrency;
        let places = Places { deciding, reporting: deciding / REPORTING_PART };
        Queue::new(options.clock.clone(), places, move |key| match key {
            Key::Rollout(rollout) => index.set_of(rollout),
            Key::FlagSet(_) | Key::CohortSet(_) | Key::MetricSource(_) | Key::MetricTemplate(_) => None,
        })
    };
    for kind in watch::EXPECTED {
        health.expect(kind);
    }
    let cluster = Arc::new(cluster::Cluster::new(client.clone(), metrics.clone(), health.clone()));
    let ctx: Shared = Arc::new(Context {
        cluster: cluster.clone(),
        client,
        analysis: analysis::Analysis::new(options.clock.clone(), options.api_server),
        clock: options.clock,
        rollouts: Cache::default(),
        cohort_sets: Cache::default(),
        flag_sets: Cache::default(),
        metric_sources: Cache::default(),
        metric_templates: Cache::default(),
        config_maps: Cache::default(),
        index,
        revisions: revisions::Revisions::default(),
        queue,
        events: events::Events::default(),
        signing: signing::Signing::new(options.signing_secret),
        hub: writer::Hub::default(),
        output_names: options.output_names,
        places: writer::Places::default(),
        versions: Arc::new(writer::Versions::new(cluster)),
        ahead: ahead::Ahead::default(),
        nudger: nudge::Nudger::new(options.nudge_pods),
        actions: actions::Actions::new(options.policy_settling),
        listed: AtomicBool::new(false),
        metrics,
        namespace: options.namespace,
        instance: options.instance,
        shutdown: shutdown.clone(),
    });
    // Before anything is listed: an emergency does not wait for a cache.
    let acting = tokio::spawn(actions::run(ctx.clone()));
    tokio::select! {
        // Nothing in a file is believed, and so nothing decided, without the keys.
        _ = async { tokio::join!(listed(&ctx), signing::until_loaded(&ctx, &health)) } => {
            ctx.listed.store(true, Ordering::Release);
        }
        () = shutdown.cancelled() => {
            drain(acting, JoinSet::new()).await;
            return Ok(());
        }
    }
    tracing::info!(rollouts = ctx.rollouts.len(), "every kind is listed; working");
    health.set_ready(true);
    tokio::spawn(housekeeping::run(ctx.clone(), options.housekeeping));
    tokio::spawn(signing::follow(ctx.clone()));
    tokio::spawn(measure(ctx.clone()));
    tokio::spawn(events::run(ctx.clone()));

    let mut at_work = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = at_work.join_next() => note_panic(ended),
            key = ctx.queue.next() => { at_work.spawn(work(ctx.clone(), key)); }
        }
    }
    health.set_ready(false);
    drain(acting, at_work).await;
    Ok(())
}

/// Lets work under way end, for a while.
async fn drain(acting: JoinHandle<()>, mut at_work: JoinSet<()>) {
    let all = async {
        // One that ended before has nothing under way.
        let _ended = acting.await;
        while let Some(ended) = at_work.join_next().await {
            note_panic(ended);
        }
    };
    if tokio::time::timeout(DRAIN, all).await.is_err() {
        tracing::warn!("work under way was cut off; the next start goes on from the statuses");
    }
}

/// Waits until every kind and every pinned audience has been listed.
async fn listed(ctx: &Shared) {
    let lists = watch::start(ctx);
    let mut failures = 0;
    while let Err(fault) = revisions::load(ctx).await {
        failures += 1;
        let wait = Cause::Failure.wait(failures).mul_f64(0.75 + fastrand::f64() / 2.0);
        tracing::warn!(
            "the pinned audiences could not be listed: {}; they are listed again in {} ms",
            chain(&fault),
            wait.as_millis()
        );
        clock::sleep(wait).await;
    }
    for list in lists {
        // A watch ends only with the process.
        let _ended = list.await;
    }
    // These tell whose ConfigMaps are worth keeping.
    let _ended = watch::start_files(ctx).await;
}

/// Makes the checks once sources and templates are known; decisions do not wait for that.
async fn measure(ctx: Shared) {
    for list in watch::start_metrics(&ctx) {
        // A watch ends only with the process.
        let _ended = list.await;
    }
    analysis::run(ctx).await;
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
    let started = clock::monotonic();
    let result = match key {
        Key::Rollout(rollout) => rollout::reconcile(ctx, rollout).await,
        Key::FlagSet(set) => sets::flag_set(ctx, set).await,
        Key::CohortSet(set) => sets::cohort_set(ctx, set).await,
        Key::MetricSource(source) => analysis::metric_source(ctx, source).await,
        Key::MetricTemplate(template) => analysis::metric_template(ctx, template).await,
    };
    ctx.metrics.reconciled(result.is_ok(), started.elapsed().as_secs_f64());
    match result {
        Ok(()) => ctx.queue.recovered(key, &Cause::OF_WORK),
        Err(fault) => retry(ctx, key, fault).await,
    }
    *has_ended = true;
}

/// Tries an object again: almost at once where somebody else wrote first, else after a growing wait of its own.
async fn retry(ctx: &Shared, key: &Key, fault: Fault) {
    let wait = ctx.queue.failed(key, cause(&fault));
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
        Fault::Busy(_) | Fault::Transient(_) | Fault::TimedOut => Cause::Failure,
        Fault::Forbidden(_) | Fault::AlreadyExists(_) | Fault::NamespaceTerminating(_) => Cause::Refused,
        Fault::Invalid(_) => Cause::Invalid,
    }
}

/// Logs work that panicked; its key is tried again.
fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("work on an object ended by a fault of this program; it is tried again: {error}");
    }
}

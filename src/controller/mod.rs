//! The operator: watches, the queue, and the pipeline that each object goes through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::{Client, Config};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock};
use crate::error::{Fault, chain};
use crate::server::{self, Health};
use crate::telemetry::Metrics;
use cache::Cache;
use context::{Backoff, Context, Key, Shared, push_later};
use queue::Queue;

pub use housekeeping::Housekeeping;

mod actions;
mod ahead;
mod announce;
mod cache;
mod checks;
mod context;
mod finalizer;
mod gather;
mod housekeeping;
mod index;
mod nudge;
mod pages;
mod persist;
mod publish;
mod queue;
mod revisions;
mod rollout;
mod sets;
mod stalled;
mod watch;
mod writer;

/// The operator's own namespace where nothing else is said.
pub const NAMESPACE: &str = "sluice-system";
/// One in so many of the objects worked on at once may be one that is only reported on.
const PUBLISHING_PART: usize = 4;
/// How long a write that the API server found invalid is not repeated.
const INVALID_RETRY: Duration = Duration::from_secs(60);
/// How long a shutdown waits for work under way.
const DRAIN: Duration = Duration::from_secs(5);

/// How a controller is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Objects worked on at once.
    pub concurrency: usize,
    /// Where probes and metrics are served; nowhere when absent.
    pub address: Option<SocketAddr>,
    /// The time.
    pub clock: Clock,
    /// Name of this process in events.
    pub instance: String,
    /// The operator's own namespace: only its MetricSources count.
    pub namespace: String,
    /// Where the API server listens, which no MetricSource may ask.
    pub api_server: Vec<SocketAddr>,
    /// Whether pods may be annotated so that they get their file at once in an emergency: it takes permissions on
    /// pods.
    pub nudge_pods: bool,
    /// How often what nobody needs any more is looked for.
    pub housekeeping: Housekeeping,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            concurrency: 16,
            address: None,
            clock: Clock::system(),
            instance: "sluice".to_owned(),
            namespace: NAMESPACE.to_owned(),
            api_server: Vec::new(),
            nudge_pods: false,
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
    /// The probes' address cannot be listened on.
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
    match tokio::net::lookup_host((host, port)).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            tracing::warn!(%error, "the API server's name cannot be resolved; sources may have its address");
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
    let index = Arc::new(index::Index::default());
    let queue = {
        let index = index.clone();
        let publishing = options.concurrency / PUBLISHING_PART;
        Queue::new(options.clock.clone(), publishing, move |key| match key {
            Key::Rollout(rollout) => index.set_of(rollout),
            Key::FlagSet(_) | Key::CohortSet(_) | Key::MetricSource(_) | Key::MetricTemplate(_) => None,
        })
    };
    let ctx: Shared = Arc::new(Context {
        client,
        checks: checks::Checks::new(options.clock.clone(), options.api_server),
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
        backoff: Backoff::default(),
        hub: writer::Hub::default(),
        ahead: ahead::Ahead::default(),
        nudger: nudge::Nudger::new(options.nudge_pods),
        actions: actions::Actions::default(),
        listed: AtomicBool::new(false),
        metrics,
        namespace: options.namespace,
        instance: options.instance,
        shutdown: shutdown.clone(),
    });
    // Before anything is listed: an emergency does not wait for a cache.
    let lane = tokio::spawn(actions::run(ctx.clone()));
    tokio::select! {
        () = listed(&ctx) => ctx.listed.store(true, Ordering::Release),
        () = shutdown.cancelled() => {
            drain(lane, JoinSet::new()).await;
            return Ok(());
        }
    }
    tracing::info!(rollouts = ctx.rollouts.len(), "every kind is listed; working");
    health.set_ready(true);
    tokio::spawn(housekeeping::run(ctx.clone(), options.housekeeping));
    tokio::spawn(measure(ctx.clone()));

    let mut workers = JoinSet::new();
    for _ in 0..options.concurrency.max(1) {
        workers.spawn(work(ctx.clone()));
    }
    shutdown.cancelled().await;
    health.set_ready(false);
    drain(lane, workers).await;
    Ok(())
}

/// Lets work under way end, for a while.
async fn drain(lane: JoinHandle<()>, mut workers: JoinSet<()>) {
    let all = async {
        // A lane that ended before has nothing under way.
        let _ended = lane.await;
        while workers.join_next().await.is_some() {}
    };
    if tokio::time::timeout(DRAIN, all).await.is_err() {
        tracing::warn!("work under way was cut off; the next start goes on from the statuses");
    }
}

/// Waits until every kind and every pinned audience has been listed.
async fn listed(ctx: &Shared) {
    let lists = watch::start(ctx);
    let mut wait = Duration::from_millis(200);
    while let Err(fault) = revisions::load(ctx).await {
        tracing::warn!(fault = chain(&fault), "pinned audiences could not be listed; trying again");
        clock::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(3));
    }
    for list in lists {
        // A watch ends only with the process.
        let _ended = list.await;
    }
}

/// Makes the checks once sources and templates are known; decisions do not wait for that.
async fn measure(ctx: Shared) {
    for list in watch::start_metrics(&ctx) {
        // A watch ends only with the process.
        let _ended = list.await;
    }
    checks::run(ctx).await;
}

async fn work(ctx: Shared) {
    loop {
        let key = tokio::select! {
            biased;
            () = ctx.shutdown.cancelled() => return,
            key = ctx.queue.next() => key,
        };
        ctx.actions.gate.pass().await;
        let started = clock::monotonic();
        let result = match &key {
            Key::Rollout(rollout) => rollout::reconcile(&ctx, rollout).await,
            Key::FlagSet(set) => sets::flag_set(&ctx, set).await,
            Key::CohortSet(set) => sets::cohort_set(&ctx, set).await,
            Key::MetricSource(source) => checks::metric_source(&ctx, source).await,
            Key::MetricTemplate(template) => checks::metric_template(&ctx, template).await,
        };
        ctx.metrics.reconciled(result.is_ok(), started.elapsed().as_secs_f64());
        match result {
            Ok(()) => ctx.backoff.succeeded(&key),
            Err(fault) => retry(&ctx, &key, fault).await,
        }
        ctx.queue.done(&key);
    }
}

/// Tries an object again: at once where somebody else wrote first, else after a growing wait of its own.
async fn retry(ctx: &Shared, key: &Key, fault: Fault) {
    let mut wait = ctx.backoff.failed(key);
    if matches!(fault, Fault::Invalid(_)) {
        // Only an edit helps, and the watch tells of that.
        wait = wait.max(INVALID_RETRY);
    }
    let again = matches!(fault, Fault::Conflict(_) | Fault::NotFound(_));
    if let Fault::NamespaceTerminating(_) = fault {
        tracing::debug!(?key, "its namespace is being deleted");
    } else if again {
        tracing::debug!(?key, fault = chain(&fault), "written by somebody else meanwhile; trying again");
    } else {
        tracing::warn!(?key, fault = chain(&fault), retry_in_ms = wait.as_millis(), "trying again");
    }
    if let Key::Rollout(rollout) = key {
        rollout::note_failure(ctx, rollout, &fault).await;
    }
    push_later(ctx, key.clone(), if again { wait / 10 } else { wait });
}

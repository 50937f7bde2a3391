//! What every part of the controller shares.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use tokio_util::sync::CancellationToken;

use super::actions::Actions;
use super::ahead::Ahead;
use super::cache::{Cache, ObjectKey};
use super::checks::Checks;
use super::index::{Index, SetId};
use super::nudge::Nudger;
use super::queue::{Lane, Queue};
use super::revisions::Revisions;
use super::writer::Hub;
use crate::api::{CohortSet, FeatureRollout, FlagSet, MetricSource, MetricTemplate};
use crate::clock::{self, Clock};
use crate::telemetry::Metrics;

/// What is worked on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A FeatureRollout.
    Rollout(ObjectKey),
    /// A FlagSet.
    FlagSet(ObjectKey),
    /// A CohortSet.
    CohortSet(ObjectKey),
    /// A MetricSource of the operator's namespace.
    MetricSource(ObjectKey),
    /// A MetricTemplate.
    MetricTemplate(ObjectKey),
}

/// The shared parts.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The time.
    pub clock: Clock,
    /// FeatureRollouts as known.
    pub rollouts: Cache<FeatureRollout>,
    /// CohortSets as known.
    pub cohort_sets: Cache<CohortSet>,
    /// FlagSets as known.
    pub flag_sets: Cache<FlagSet>,
    /// MetricSources of the operator's namespace as known.
    pub metric_sources: Cache<MetricSource>,
    /// MetricTemplates as known.
    pub metric_templates: Cache<MetricTemplate>,
    /// Our ConfigMaps as known.
    pub config_maps: Cache<ConfigMap>,
    /// Who concerns whom.
    pub index: Arc<Index>,
    /// Pinned audiences and guards.
    pub revisions: Revisions,
    /// What is measured.
    pub checks: Checks,
    /// What is to be done, grouped by the files that it may change.
    pub queue: Queue<Key, SetId>,
    /// How long to wait after an error, per key.
    pub backoff: Backoff,
    /// The writers of the files.
    pub hub: Hub,
    /// What the files hold before the statuses say so.
    pub ahead: Ahead,
    /// Makes kubelets read a file at once, where that was asked for.
    pub nudger: Nudger,
    /// The lane of the actions.
    pub actions: Actions,
    /// Whether the caches hold every kind: what is not in them does not exist.
    pub listed: AtomicBool,
    /// Counters and timings.
    pub metrics: Metrics,
    /// The operator's own namespace.
    pub namespace: String,
    /// Name of this process in events.
    pub instance: String,
    /// Says that the process is to end.
    pub shutdown: CancellationToken,
}

impl Context {
    /// Whether the caches hold every kind: what is not in them does not exist.
    pub fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }
}

/// Growing waits after consecutive errors, per key.
#[derive(Default)]
pub struct Backoff(Mutex<HashMap<Key, u32>>);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(200);
    /// Short enough that a step follows within 10 s of the API server's return.
    const LONGEST: Duration = Duration::from_secs(5);

    /// The wait after one more error.
    pub fn failed(&self, key: &Key) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key.clone()).or_insert(0);
        let wait = Self::after(*count);
        *count += 1;
        wait
    }

    /// The wait after an error that came after `before` others.
    pub fn after(before: u32) -> Duration {
        Self::FIRST.saturating_mul(1 << before.min(8)).min(Self::LONGEST)
    }

    /// How many keys have failed last.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Forgets the errors of a key.
    pub fn succeeded(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// The shared parts, shared.
pub type Shared = Arc<Context>;

/// Works on a key again after a while of real time.
pub fn push_later(ctx: &Shared, key: Key, wait: Duration) {
    let ctx = ctx.clone();
    tokio::spawn(async move {
        clock::sleep(wait).await;
        ctx.queue.push(key, Lane::Decide);
    });
}

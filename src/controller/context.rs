//! What every part of the controller shares.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Client;
use tokio_util::sync::CancellationToken;

use super::actions::Actions;
use super::ahead::Ahead;
use super::analysis::Analysis;
use super::cache::{Cache, ObjectKey};
use super::changelog::Changelogs;
use super::channels::Channels;
use super::events::Events;
use super::index::{Index, SetId};
use super::keys::Unannounced;
use super::leader::Shard;
use super::nudge::Nudger;
use super::playbooks::Playbooks;
use super::policies::Policies;
use super::queue::{Queue, Tenant};
use super::revisions::Revisions;
use super::shares::NamespaceShares;
use super::signing::Signing;
use super::strays::Stray;
use super::writer::{Hub, OutputNames, Places, Versions};
use crate::api::{
    CohortSet, FeatureRollout, FlagSet, MetricSource, MetricTemplate, NotificationChannel, Playbook,
    RolloutPolicy,
};
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::telemetry::Metrics;
use crate::watchdog::Watchdog;

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
    /// A NotificationChannel of the operator's namespace.
    NotificationChannel(ObjectKey),
    /// A Playbook.
    Playbook(ObjectKey),
    /// A RolloutPolicy.
    RolloutPolicy(ObjectKey),
    /// The changelog of a FlagSet.
    Changelog(ObjectKey),
    /// An object in another namespace than the one where its kind counts.
    Stray(Stray, ObjectKey),
}

impl Tenant for Key {
    fn tenant(&self) -> &str {
        let (Key::Rollout(key)
        | Key::FlagSet(key)
        | Key::CohortSet(key)
        | Key::MetricSource(key)
        | Key::MetricTemplate(key)
        | Key::NotificationChannel(key)
        | Key::Playbook(key)
        | Key::RolloutPolicy(key)
        | Key::Changelog(key)
        | Key::Stray(_, key)) = self;
        &key.0
    }
}

impl Tenant for ObjectKey {
    fn tenant(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, (namespace, name)) = match self {
            Key::Rollout(key) => ("FeatureRollout", key),
            Key::FlagSet(key) => ("FlagSet", key),
            Key::CohortSet(key) => ("CohortSet", key),
            Key::MetricSource(key) => ("MetricSource", key),
            Key::MetricTemplate(key) => ("MetricTemplate", key),
            Key::NotificationChannel(key) => ("NotificationChannel", key),
            Key::Playbook(key) => ("Playbook", key),
            Key::RolloutPolicy(key) => ("RolloutPolicy", key),
            Key::Changelog(key) => ("Changelog of FlagSet", key),
            Key::Stray(kind, key) => (kind.as_str(), key),
        };
        write!(f, "{kind} {namespace}/{name}")
    }
}

/// The objects as known.
#[derive(Clone, Default)]
pub struct Caches {
    /// FeatureRollouts.
    pub rollouts: Arc<Cache<FeatureRollout>>,
    /// CohortSets.
    pub cohort_sets: Arc<Cache<CohortSet>>,
    /// FlagSets.
    pub flag_sets: Arc<Cache<FlagSet>>,
    /// RolloutPolicies.
    pub rollout_policies: Arc<Cache<RolloutPolicy>>,
    /// Namespaces, whose labels say which of the cluster's policies bind there.
    pub namespaces: Arc<Cache<Namespace>>,
    /// MetricSources of the operator's namespace.
    pub metric_sources: Arc<Cache<MetricSource>>,
    /// MetricTemplates.
    pub metric_templates: Arc<Cache<MetricTemplate>>,
    /// NotificationChannels of the operator's namespace.
    pub notification_channels: Arc<Cache<NotificationChannel>>,
    /// Playbooks.
    pub playbooks: Arc<Cache<Playbook>>,
    /// Our ConfigMaps.
    pub config_maps: Arc<Cache<ConfigMap>>,
}

impl Caches {
    /// Empty ones, of kinds that anybody may make in a namespace of theirs with what the namespace may have of each.
    pub fn new(shares: &NamespaceShares) -> Caches {
        Caches {
            rollouts: Arc::new(Cache::with_share(shares.rollouts)),
            flag_sets: Arc::new(Cache::with_share(shares.flag_sets)),
            config_maps: Arc::new(Cache::with_share(shares.config_maps)),
            cohort_sets: Arc::new(Cache::with_share(shares.others)),
            rollout_policies: Arc::new(Cache::with_share(shares.others)),
            metric_templates: Arc::new(Cache::with_share(shares.others)),
            playbooks: Arc::new(Cache::with_share(shares.others)),
            ..Caches::default()
        }
    }
}

/// The shared parts. What is cached outlives a term of leading; everything else is known anew in the next one.
pub struct Context {
    /// The API server. Writes to it pass the gate of the term.
    pub client: Client,
    /// The API server, each object by itself. Writes pass the gate here, too.
    pub cluster: Arc<Cluster>,
    /// The time.
    pub clock: Clock,
    /// FeatureRollouts as known.
    pub rollouts: Arc<Cache<FeatureRollout>>,
    /// CohortSets as known.
    pub cohort_sets: Arc<Cache<CohortSet>>,
    /// FlagSets as known.
    pub flag_sets: Arc<Cache<FlagSet>>,
    /// RolloutPolicies as known.
    pub rollout_policies: Arc<Cache<RolloutPolicy>>,
    /// Namespaces as known.
    pub namespaces: Arc<Cache<Namespace>>,
    /// MetricSources of the operator's namespace as known.
    pub metric_sources: Arc<Cache<MetricSource>>,
    /// MetricTemplates as known.
    pub metric_templates: Arc<Cache<MetricTemplate>>,
    /// NotificationChannels of the operator's namespace as known.
    pub notification_channels: Arc<Cache<NotificationChannel>>,
    /// Playbooks as known.
    pub playbooks: Arc<Cache<Playbook>>,
    /// Our ConfigMaps as known.
    pub config_maps: Arc<Cache<ConfigMap>>,
    /// Who concerns whom.
    pub index: Arc<Index>,
    /// When statuses of policies were written.
    pub policies: Policies,
    /// Pinned audiences and guards.
    pub revisions: Revisions,
    /// What is measured.
    pub analysis: Analysis,
    /// Playbooks, compiled, and what is known of them besides.
    pub plans: Playbooks,
    /// What is to be done, grouped by the files that it may change.
    pub queue: Queue<Key, SetId>,
    /// What is to be published.
    pub events: Events,
    /// Whose announcement has no flag.
    pub unannounced: Unannounced,
    /// What is known of changelogs.
    pub changelogs: Changelogs,
    /// Whom people hear from.
    pub channels: Arc<Channels>,
    /// The keys that the files are signed with.
    pub signing: Signing,
    /// The writers of the files.
    pub hub: Hub,
    /// Names that files may be made under.
    pub output_names: OutputNames,
    /// How many files are written at once.
    pub places: Places,
    /// What the files' writers read past every cache.
    pub versions: Arc<Versions>,
    /// What the files hold before the statuses say so.
    pub ahead: Ahead,
    /// Makes kubelets read a file at once, where that was asked for.
    pub nudger: Nudger,
    /// The actions, which wait for nothing else.
    pub actions: Actions,
    /// Whether the caches hold every kind: what is not in them does not exist.
    pub listed: AtomicBool,
    /// Counters and timings.
    pub metrics: Metrics,
    /// Sees to it that what must run does.
    pub watchdog: Watchdog,
    /// The operator's own namespace.
    pub namespace: String,
    /// Whose namespaces are worked on: nothing is done for others, which are known all the same.
    pub shard: Shard,
    /// Name of this process in events.
    pub instance: String,
    /// Says that the term is to end, by the end of the process or by another's lead.
    pub shutdown: CancellationToken,
}

impl Context {
    /// Whether the caches hold every kind: what is not in them does not exist.
    pub fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    /// Whether a namespace is one of the term's shard.
    pub fn owns(&self, namespace: &str) -> bool {
        self.shard.owns(namespace)
    }

    /// Whether this is the term of the shard with the operator's own namespace, which sees to what there is once.
    pub fn is_home(&self) -> bool {
        self.owns(&self.namespace)
    }
}

/// The shared parts, shared.
pub type Shared = Arc<Context>;

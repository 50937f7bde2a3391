//! Logs and metrics.

use std::ffi::OsStr;
use std::hash::Hash;
use std::io::IsTerminal;
use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::api::rolloutaction::Answer;
use crate::watchdog::What;

mod checks;
mod dropped;
mod log;
mod pace;
mod tally;

pub use checks::CheckMetrics;
pub use dropped::Dropped;
pub use tally::Tally;

use tally::Tallies;

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Text,
}

/// Starts logging to standard error. The level comes from `RUST_LOG`, by default `default`.
pub fn start_logging(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let colours = coloured(std::io::stderr().is_terminal(), std::env::var_os("NO_COLOR").as_deref());
    let filter = filter.and(filter_fn(is_ours)).and(pace::Paced::default());
    let lines = log::lines(format, colours, std::io::stderr).with_filter(filter);
    if let Err(error) = tracing_subscriber::registry().with(lines).try_init() {
        tracing::debug!(%error, "logging had been started before");
    }
}

/// Whether logs have colours: on a terminal, unless somebody asks for none. In a file they are dirt.
fn coloured(terminal: bool, no_color: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty)
}

/// Whether a log line is this program's own. The client library logs the bodies of answers that it cannot read, which may
/// be those of Secrets, and dumps errors; whatever it has to say comes back as an error, too, and is logged here in words.
fn is_ours(line: &Metadata<'_>) -> bool {
    let target = line.target();
    target == "sluice" || target.starts_with("sluice::")
}

/// How a reconcile or a write of a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// As it should.
    Ok,
    /// With an error that is retried.
    Error,
}

/// Labels by outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByOutcome {
    outcome: Outcome,
}

/// Kind of object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByKind {
    kind: &'static str,
}

/// Kind of object, whichever there are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByAnyKind {
    kind: String,
}

/// What entries are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByPlace {
    of: &'static str,
}

/// Number of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByShard {
    shard: u32,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByReason {
    reason: &'static str,
}

/// What a part of the process is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByPart {
    part: &'static str,
}

/// What actions were answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByAnswer {
    answer: &'static str,
}

/// Metrics of the controller. Labels are bounded: no object's name is one, except in [`CheckMetrics`], which are capped.
#[derive(Clone, Debug)]
pub struct Metrics {
    reconciles: Family<ByOutcome, Counter>,
    reconcile_seconds: Histogram,
    status_writes: Counter,
    file_writes: Family<ByOutcome, Counter>,
    file_write_seconds: Histogram,
    deliveries: Counter,
    nudges: Family<ByOutcome, Counter>,
    actions: Family<ByAnswer, Counter>,
    step_lateness_seconds: Histogram,
    objects: Family<ByKind, Gauge<i64, AtomicI64>>,
    objects_beyond_share: Family<ByKind, Gauge<i64, AtomicI64>>,
    unreadable_objects: Family<ByAnyKind, Gauge<i64, AtomicI64>>,
    leads: Gauge,
    shard_leads: Family<ByShard, Gauge<i64, AtomicI64>>,
    tallies: Tallies,
    queue_depth: Gauge,
    events_waiting: Gauge,
    events_dropped: Family<ByReason, Counter>,
    entries: Family<ByPlace, Gauge<i64, AtomicI64>>,
    faults: Family<ByPart, Counter>,
    /// Those of checks, sources and rollbacks.
    pub checks: CheckMetrics,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            reconciles: counters([by(true), by(false)]),
            reconcile_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            status_writes: Counter::default(),
            file_writes: counters([by(true), by(false)]),
            file_write_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            deliveries: Counter::default(),
            nudges: counters([by(true), by(false)]),
            actions: counters(Answer::ALL.map(|answer| ByAnswer { answer: answer.as_str() })),
            step_lateness_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 18)),
            objects: Family::default(),
            objects_beyond_share: Family::default(),
            unreadable_objects: Family::default(),
            leads: Gauge::default(),
            shard_leads: Family::default(),
            tallies: Tallies::default(),
            queue_depth: Gauge::default(),
            events_waiting: Gauge::default(),
            events_dropped: counters(Dropped::ALL.map(|reason| ByReason { reason: reason.as_str() })),
            entries: Family::default(),
            faults: counters(What::ALL.iter().map(|part| ByPart { part: part.as_str() })),
            checks: CheckMetrics::default(),
        }
    }
}

impl Metrics {
    /// A registry that shows these metrics.
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("sluice");
        let versions = vec![
            ("version", env!("CARGO_PKG_VERSION")),
            ("time_zone_data", crate::plan::calendar::zone_data()),
        ];
        registry.register("build", "Version of the program and of its time zone data", Info::new(versions));
        registry.register("reconciles", "Reconciles by outcome", self.reconciles.clone());
        registry.register("reconcile_seconds", "Time of a reconcile", self.reconcile_seconds.clone());
        registry.register("status_writes", "Writes of a FeatureRollout's status", self.status_writes.clone());
        registry.register("file_writes", "Writes of a file by outcome", self.file_writes.clone());
        registry.register("file_write_seconds", "Time of a write of a file", self.file_write_seconds.clone());
        registry.register(
            "deliveries",
            "Revisions of rollouts that a file was written with or, after a start, found to hold",
            self.deliveries.clone(),
        );
        registry.register("actions", "Actions by their answer", self.actions.clone());
        registry.register(
            "nudges",
            "Annotations of pods, so that they read their file at once, by outcome",
            self.nudges.clone(),
        );
        registry.register(
            "step_lateness_seconds",
            "Time from when a step was due until it was decided",
            self.step_lateness_seconds.clone(),
        );
        registry.register("objects", "Objects known by kind", self.objects.clone());
        registry.register(
            "objects_beyond_share",
            "Objects that are not worked on, as their namespace has more than it may have in memory, by kind",
            self.objects_beyond_share.clone(),
        );
        registry.register(
            "unreadable_objects",
            "Objects that cannot be read, by kind; the log names them",
            self.unreadable_objects.clone(),
        );
        registry.register(
            "leader",
            "Whether this process decides: 1, or 0 while it stands by",
            self.leads.clone(),
        );
        registry.register(
            "shard_leader",
            "Whether this process decides in the shard: 1, or 0 while it stands by there",
            self.shard_leads.clone(),
        );
        registry.register("queue_depth", "Objects waiting to be reconciled", self.queue_depth.clone());
        registry.register(
            "events_waiting",
            "Kubernetes events that are still to be published",
            self.events_waiting.clone(),
        );
        registry.register(
            "events_dropped",
            "Kubernetes events that found no room or were refused, by reason; those of histories that found no room are handed \
             over again",
            self.events_dropped.clone(),
        );
        registry.register(
            "entries",
            "Entries kept in memory of single objects, by what they are",
            self.entries.clone(),
        );
        registry.register(
            "faults",
            "Parts of the process that ended by a fault of this program and were begun again, by what they are",
            self.faults.clone(),
        );
        registry.register(
            "log_lines_left_out",
            "Lines of the log that were left out because the same place in the program wrote too many",
            pace::LEFT_OUT.clone(),
        );
        self.checks.register(&mut registry);
        registry
    }

    /// Counts a reconcile that took this many seconds.
    pub fn reconciled(&self, ok: bool, seconds: f64) {
        self.reconciles.get_or_create(&by(ok)).inc();
        self.reconcile_seconds.observe(seconds);
    }

    /// Counts a status write.
    pub fn status_written(&self) {
        self.status_writes.inc();
    }

    /// Counts a write of a file that took this many seconds.
    pub fn file_written(&self, ok: bool, seconds: f64) {
        self.file_writes.get_or_create(&by(ok)).inc();
        self.file_write_seconds.observe(seconds);
    }

    /// Counts a revision that a file is now known to hold.
    pub fn delivered(&self) {
        self.deliveries.inc();
    }

    /// Counts an annotation of a pod.
    pub fn nudged(&self, ok: bool) {
        self.nudges.get_or_create(&by(ok)).inc();
    }

    /// Counts a part of the process that ended by a fault.
    pub fn part_fell(&self, part: What) {
        self.faults.get_or_create(&ByPart { part: part.as_str() }).inc();
    }

    /// Counts an action that was answered.
    pub fn action_answered(&self, answer: &'static str) {
        self.actions.get_or_create(&ByAnswer { answer }).inc();
    }

    /// Notes how many seconds after its due time a step was decided.
    pub fn step_entered(&self, seconds: f64) {
        self.step_lateness_seconds.observe(seconds);
    }

    /// Says whether this process leads in the shard with this number.
    pub fn set_leads(&self, shard: u16, leads: bool) {
        self.shard_leads.get_or_create(&ByShard { shard: shard.into() }).set(i64::from(leads));
        self.leads.set(i64::from(self.tallies.lead(shard, leads)));
    }

    /// Shows what a shard counts, with what the others that this process leads have counted last.
    pub fn count(&self, shard: u16, tally: Tally) {
        if let Some(sums) = self.tallies.count(shard, Some(tally)) {
            self.show(&sums);
        }
    }

    fn show(&self, sums: &Tally) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (kind, count) in &sums.beyond {
            self.objects_beyond_share.get_or_create(&ByKind { kind }).set(number(*count));
        }
        for (kind, count) in &sums.objects {
            self.objects.get_or_create(&ByKind { kind }).set(number(*count));
        }
        for (of, count) in &sums.entries {
            self.entries.get_or_create(&ByPlace { of }).set(number(*count));
        }
        self.queue_depth.set(number(sums.queue));
        self.events_waiting.set(number(sums.events));
    }

    /// Sets the number of objects of a kind that cannot be read.
    pub fn set_unreadable(&self, kind: &str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.unreadable_objects.get_or_create(&ByAnyKind { kind: kind.to_owned() }).set(count);
    }

    /// Counts events that found no room or were refused.
    pub fn events_dropped(&self, reason: Dropped, count: usize) {
        self.events_dropped.get_or_create(&ByReason { reason: reason.as_str() }).inc_by(count as u64);
    }

    /// Shows nothing more of any object of a shard: whoever leads there does, sums over processes would count it twice, and what
    /// waited when the lead was lost would seem to wait for ever.
    pub fn stands_by(&self, shard: u16) {
        let sums = self.tallies.count(shard, None);
        self.objects.clear();
        self.objects_beyond_share.clear();
        self.entries.clear();
        self.show(&sums.unwrap_or_default());
    }
}

/// Counters that begin at 0: where a series comes into being with its first count, Prometheus' `increase` sees none.
fn counters<L: Clone + Eq + Hash>(labels: impl IntoIterator<Item = L>) -> Family<L, Counter> {
    let family = Family::default();
    for labels in labels {
        let _at_zero = family.get_or_create(&labels);
    }
    family
}

fn by(ok: bool) -> ByOutcome {
    ByOutcome { outcome: if ok { Outcome::Ok } else { Outcome::Error } }
}

#[cfg(test)]
mod tests;

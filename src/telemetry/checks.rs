//! Metrics of checks, sources and rollbacks. Where a label names an object, the number of series is capped.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::counters;
use crate::api::metricsource::Circuit;
use crate::api::{RollbackMode, Verdict};

/// Most sources that have a series of their own.
const SOURCES: usize = 64;
/// Most pairs of trigger and cohort whose value is shown. When there are more, each namespace has as many as any other that
/// has more to show.
const VALUES: usize = 2_000;

/// Labels by verdict.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByVerdict {
    verdict: &'static str,
}

/// Labels by mode of rollback.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByMode {
    mode: &'static str,
}

/// Labels by source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySource {
    source: String,
}

/// Labels of a trigger's value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTrigger {
    namespace: String,
    rollout: String,
    trigger: String,
    /// Empty where the trigger is about the whole rollout.
    cohort: String,
}

/// Metrics of checks, sources and rollbacks.
#[derive(Clone, Debug)]
pub struct CheckMetrics {
    checks: Family<ByVerdict, Counter>,
    lateness_seconds: Histogram,
    seconds: Histogram,
    circuits: Family<BySource, Gauge<i64, AtomicI64>>,
    rollbacks: Family<ByMode, Counter>,
    values: Family<ByTrigger, Gauge<f64, AtomicU64>>,
    values_left_out: Counter,
    shown: Arc<Mutex<Shown>>,
}

/// The series that name objects.
#[derive(Debug, Default)]
struct Shown {
    sources: HashSet<BySource>,
    values: HashSet<ByTrigger>,
}

impl Default for CheckMetrics {
    fn default() -> CheckMetrics {
        CheckMetrics {
            checks: counters(Verdict::ALL.map(|verdict| ByVerdict { verdict: verdict.as_str() })),
            lateness_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 18)),
            seconds: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            circuits: Family::default(),
            rollbacks: counters(RollbackMode::ALL.map(|mode| ByMode { mode: mode.as_str() })),
            values: Family::default(),
            values_left_out: Counter::default(),
            shown: Arc::default(),
        }
    }
}

impl CheckMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("checks", "Checks by verdict, the worst of their cohorts", self.checks.clone());
        registry.register(
            "check_lateness_seconds",
            "Time from when a check was due until its source was asked",
            self.lateness_seconds.clone(),
        );
        registry.register("check_seconds", "Time of a check, all waiting included", self.seconds.clone());
        registry.register(
            "source_circuit",
            "Circuit of a source: 0 closed, 1 half open, 2 open",
            self.circuits.clone(),
        );
        registry.register("rollbacks", "Rollbacks that began or became stronger", self.rollbacks.clone());
        registry.register("trigger_value", "What a trigger's metric said last", self.values.clone());
        registry.register(
            "trigger_values_left_out",
            "Values that were not shown because too many series are",
            self.values_left_out.clone(),
        );
    }

    /// Counts a check that said this.
    pub fn said(&self, verdict: Verdict) {
        self.checks.get_or_create(&ByVerdict { verdict: verdict.as_str() }).inc();
    }

    /// Notes how many seconds after its due time a source was asked.
    pub fn asked(&self, seconds: f64) {
        self.lateness_seconds.observe(seconds.max(0.0));
    }

    /// Notes how many seconds a check took.
    pub fn took(&self, seconds: f64) {
        self.seconds.observe(seconds);
    }

    /// Shows the circuit of a source.
    pub fn circuit(&self, source: &str, circuit: Circuit) {
        let labels = BySource { source: source.to_owned() };
        if !admit(&mut self.shown().sources, &labels, SOURCES) {
            return;
        }
        self.circuits.get_or_create(&labels).set(match circuit {
            Circuit::Closed => 0,
            Circuit::HalfOpen => 1,
            Circuit::Open => 2,
        });
    }

    /// Shows nothing more of a source.
    pub fn forget_source(&self, source: &str) {
        let labels = BySource { source: source.to_owned() };
        if self.shown().sources.remove(&labels) {
            self.circuits.remove(&labels);
        }
    }

    /// Counts a rollback.
    pub fn rolled_back(&self, mode: RollbackMode) {
        self.rollbacks.get_or_create(&ByMode { mode: mode.as_str() }).inc();
    }

    /// Shows what a trigger's metric said of the whole rollout or of a cohort; without a value, nothing more.
    pub fn value(&self, rollout: &(String, String), trigger: &str, cohort: Option<&str>, value: Option<f64>) {
        let labels = ByTrigger {
            namespace: rollout.0.clone(),
            rollout: rollout.1.clone(),
            trigger: trigger.to_owned(),
            cohort: cohort.unwrap_or_default().to_owned(),
        };
        let mut shown = self.shown();
        match value {
            Some(value) if admit(&mut shown.values, &labels, VALUES) => {
                self.values.get_or_create(&labels).set(value);
            }
            Some(value) => {
                self.values_left_out.inc();
                // What gives way to it is left out in its place.
                if let Some(instead) = gives_way(&shown.values, &labels.namespace) {
                    shown.values.remove(&instead);
                    self.values.remove(&instead);
                    shown.values.insert(labels.clone());
                    self.values.get_or_create(&labels).set(value);
                }
            }
            None if shown.values.remove(&labels) => drop(self.values.remove(&labels)),
            None => {}
        }
    }

    /// Shows nothing more of a rollout.
    pub fn forget(&self, rollout: &(String, String)) {
        let mut shown = self.shown();
        let is_its = |labels: &ByTrigger| labels.namespace == rollout.0 && labels.rollout == rollout.1;
        for labels in shown.values.extract_if(is_its) {
            self.values.remove(&labels);
        }
    }

    /// Shows nothing more of any object.
    pub fn forget_all(&self) {
        let mut shown = self.shown();
        for labels in shown.values.drain() {
            self.values.remove(&labels);
        }
        for labels in shown.sources.drain() {
            self.circuits.remove(&labels);
        }
    }

    /// How many values are shown.
    pub fn values_shown(&self) -> usize {
        self.shown().values.len()
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A series of the namespace that has the most, where another one has at least two fewer.
fn gives_way(shown: &HashSet<ByTrigger>, namespace: &str) -> Option<ByTrigger> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for labels in shown {
        *counts.entry(&labels.namespace).or_default() += 1;
    }
    let (most, count) = counts.iter().max_by_key(|(_, count)| **count)?;
    let own = counts.get(namespace).copied().unwrap_or_default();
    let has_fewer = *count > own + 1;
    shown.iter().find(|labels| has_fewer && labels.namespace == *most).cloned()
}

/// Whether a series is among those that are shown, or may still join them.
fn admit<L: Clone + Eq + Hash>(shown: &mut HashSet<L>, labels: &L, most: usize) -> bool {
    if shown.contains(labels) {
        return true;
    }
    let room = shown.len() < most;
    if room {
        shown.insert(labels.clone());
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &CheckMetrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    fn count(text: &str, metric: &str) -> usize {
        text.lines().filter(|line| line.starts_with(metric)).count()
    }

    #[test]
    fn one_namespace_leaves_room_for_the_series_of_others() {
        let metrics = CheckMetrics::default();
        let show = |namespace: &str, i: usize| {
            metrics.value(&(namespace.to_owned(), format!("r{i}")), "t", None, Some(1.0));
        };
        let of =
            |namespace: &str| count(&text(&metrics), &format!(r#"trigger_value{{namespace="{namespace}""#));
        (0..2 * VALUES).for_each(|i| show("greedy", i));
        assert_eq!(of("greedy"), VALUES);
        (0..10).for_each(|i| show("maya", i));
        assert_eq!((of("greedy"), of("maya")), (VALUES - 10, 10));
        (0..2 * VALUES).for_each(|i| show("greedy", i));
        assert_eq!(of("maya"), 10, "they stay");
        (0..2 * VALUES).for_each(|i| show("maya", i));
        assert_eq!((of("greedy"), of("maya")), (VALUES / 2, VALUES / 2));
    }

    #[test]
    fn series_that_name_objects_are_capped_and_go_with_them() {
        let metrics = CheckMetrics::default();
        let rollout = |i: usize| ("maya".to_owned(), format!("r{}", i / 2));
        for i in 0..VALUES + 10 {
            metrics.value(&rollout(i), &format!("t{}", i % 2), None, Some(1.5));
        }
        metrics.value(&rollout(0), "t0", None, Some(2.5));
        for i in 0..SOURCES + 10 {
            metrics.circuit(&format!("s{i}"), Circuit::Open);
        }
        let before = text(&metrics);
        assert_eq!(count(&before, "trigger_value{"), VALUES);
        assert!(before.contains("trigger_values_left_out_total 10\n"), "{before}");
        assert!(
            before.contains(r#"trigger_value{namespace="maya",rollout="r0",trigger="t0",cohort=""} 2.5"#)
        );
        assert_eq!(count(&before, "source_circuit{"), SOURCES);

        metrics.forget(&rollout(0));
        metrics.value(&rollout(2), "t0", None, None);
        metrics.forget_source("s0");
        metrics.circuit("new", Circuit::Closed);
        let after = text(&metrics);
        assert_eq!(count(&after, "trigger_value{"), VALUES - 3);
        assert_eq!(count(&after, "source_circuit{"), SOURCES);
        assert!(after.contains(r#"source_circuit{source="new"} 0"#), "a place is free again");

        metrics.forget_all();
        let none = text(&metrics);
        assert_eq!((count(&none, "trigger_value{"), count(&none, "source_circuit{")), (0, 0));
    }
}

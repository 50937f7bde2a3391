//! Triggers: metric rules that notify, pause or roll back; and criteria: metric targets of a feature.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decimal::Decimal;
use super::{Duration, LocalRef, MicroTime};

/// Highest number of triggers in a rollout.
pub const MAX_TRIGGERS: usize = 16;
/// Highest number of criteria in a rollout.
pub const MAX_CRITERIA: usize = 16;
/// Highest number of trigger × cohort pairs: each has a place in status.
pub const MAX_PAIRS: usize = 64;

/// What is measured: a template of the rollout's namespace, and what fills it in.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// The MetricTemplate of this namespace that has the query.
    pub template_ref: LocalRef,
    /// Values of the template's arguments, by name, such as `service: search`. Default: the defaults that the template
    /// gives.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "args_schema")]
    pub args: BTreeMap<String, String>,
}

pub(super) fn args_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 256},
    })
}

/// A metric rule: what is measured, how often, and what follows from it.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// Name of the trigger, unique in the rollout, such as `error-rate`.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What is measured. The result is about whatever the query selects: a query over a whole service hardly moves with
    /// a feature that few users have, so select by a label with the user's cohort or variant where there is one, see
    /// `perCohort`.
    pub metric: Metric,
    /// Measures each cohort by itself: a breach then concerns that cohort only. Default: the trigger is about the whole
    /// rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_cohort: Option<PerCohort>,
    /// How often it is measured, at least 1s. Default: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// How long missing data is no fault after users got the feature for the first time, or for the first time again;
    /// set it to the time that the first samples take to arrive. With `perCohort` it counts for each cohort. Default:
    /// 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<Duration>,
    /// Thresholds, and what follows from each of them. The strongest one that has been in breach for long enough acts.
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    pub levels: Vec<Level>,
    /// What follows when there is no data: no series, more than one, NaN or an infinite value. It follows once the data
    /// has been missing for `missingFor`. Default: `Hold`, or `Ignore` where every level of the trigger only notifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_no_data: Option<MissingPolicy>,
    /// What follows when the source does not answer, answers with an error, or may not be asked. It follows once that
    /// has lasted for `missingFor`. Default: `Hold`, or `Ignore` where every level of the trigger only notifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_provider_error: Option<MissingPolicy>,
    /// How long data must be missing without a break before `onNoData` or `onProviderError` follows. It is counted from
    /// the first measurement without data on. Default: three intervals of the trigger; with the policy `Hold` 0s, as
    /// that only keeps raises back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_for: Option<Duration>,
}

/// How the series of a metric tell the cohorts apart.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PerCohort {
    /// Name of the label whose value is the name of the cohort, such as `cohort`. The app puts it on its own metrics
    /// (the pages in `docs/apps` show how), and the query must keep it, such as by `sum by (cohort) (…)`, with one
    /// series for each cohort.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub label: String,
}

/// One threshold of a trigger. Exactly one of `above`, `below`, `atLeast` and `atMost`.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.above), has(self.below), has(self.atLeast), has(self.atMost)].exists_one(b, b)").message("give exactly one of above, below, atLeast and atMost"))]
#[x_kube(validation = Rule::new("!has(self.resumeAfter) || self.action == 'Pause'").message("resumeAfter belongs to the action Pause"))]
pub struct Level {
    /// How bad a breach of this level is.
    pub severity: Severity,
    /// The level is in breach above this value. Give exactly one of `above`, `below`, `atLeast` and `atMost`; there is
    /// no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Decimal>,
    /// The level is in breach below this value. Give exactly one of `above`, `below`, `atLeast` and `atMost`; there is
    /// no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Decimal>,
    /// The level is in breach at this value and above it. Give exactly one of `above`, `below`, `atLeast` and `atMost`;
    /// there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Decimal>,
    /// The level is in breach at this value and below it. Give exactly one of `above`, `below`, `atLeast` and `atMost`;
    /// there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Decimal>,
    /// How long the level must be in breach before its action follows, counted between samples that are at most three
    /// intervals apart. Default: 0s, so that the first sample in breach acts.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub for_: Option<Duration>,
    /// What follows when the level has been in breach for the time in `for`.
    pub action: LevelAction,
    /// How long the level must have been out of breach for the rollout to resume by itself; only with the action
    /// `Pause`. Default: it stays paused until somebody resumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_after: Option<Duration>,
}

/// How bad a breach is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is worth knowing.
    Info,
    /// It is worth looking at in working hours.
    #[default]
    Warning,
    /// It needs attention now. Triggers with such a level are measured at their own interval for ever.
    Critical,
}

impl Severity {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "Info",
            Severity::Warning => "Warning",
            Severity::Critical => "Critical",
        }
    }
}

/// What follows from a breach, weakest first.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LevelAction {
    /// An event and a history entry say so; nothing else changes.
    #[default]
    Notify,
    /// The schedule stops until somebody resumes it, or `resumeAfter` is over; what is served stays served.
    Pause,
    /// All cohorts but those in `rollback.partial.keep` go to the control variant at once, and stay there until a
    /// retry. With `perCohort`, the cohort in breach.
    PartialRollback,
    /// The cohorts go down `rollback.gradual.ladder` to the control variant, and stay there until a retry. With
    /// `perCohort`, the cohort in breach.
    GradualRollback,
    /// The cohorts go to the control variant at once, and stay there until a retry. With `perCohort`, the cohort in
    /// breach.
    ImmediateRollback,
}

impl LevelAction {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            LevelAction::Notify => "Notify",
            LevelAction::Pause => "Pause",
            LevelAction::PartialRollback => "PartialRollback",
            LevelAction::GradualRollback => "GradualRollback",
            LevelAction::ImmediateRollback => "ImmediateRollback",
        }
    }

    /// How status names a level that does this at a bound, such as `ImmediateRollback above 10`.
    pub fn rule(self, bound: &str) -> String {
        format!("{} {bound}", self.as_str())
    }

    /// The action of a level that status names so; `None` where it is no such name.
    pub fn of_rule(rule: &str) -> Option<LevelAction> {
        use LevelAction::{GradualRollback, ImmediateRollback, Notify, PartialRollback, Pause};
        let (action, _) = rule.split_once(' ')?;
        [Notify, Pause, PartialRollback, GradualRollback, ImmediateRollback]
            .into_iter()
            .find(|known| known.as_str() == action)
    }
}

/// What follows from missing data, where somebody has the feature, the trigger's `initialDelay` is over, and the data has been
/// missing for its `missingFor`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingPolicy {
    /// Nothing is raised while data is missing; it goes on by itself when there is data again.
    #[default]
    Hold,
    /// Nothing follows: raises go on without the data.
    Ignore,
    /// The schedule stops until somebody resumes it.
    Pause,
    /// Every cohort that the trigger is about goes to the control variant at once, and stays there until a retry.
    ImmediateRollback,
}

/// A target that says whether the feature succeeded, and may gate a phase. Exactly one of `metric` and `manual`; at most
/// one bound, and without one the value is only recorded.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.metric) != has(self.manual)").message("give exactly one of metric and manual"))]
#[x_kube(validation = Rule::new("[has(self.above), has(self.below), has(self.atLeast), has(self.atMost)].filter(b, b).size() <= 1").message("give at most one of above, below, atLeast and atMost"))]
#[x_kube(validation = Rule::new("has(self.metric) || !(has(self.interval) || has(self.minSamples))").message("interval and minSamples belong to a metric"))]
pub struct Criterion {
    /// Name of the criterion, unique in the rollout, such as `adoption`.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What is measured. Give this or `manual`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// A number that people measured. Give this or `metric`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<Manual>,
    /// The criterion passes above this value. Give at most one of `above`, `below`, `atLeast` and `atMost`. Default:
    /// none of them, and the value is only recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Decimal>,
    /// The criterion passes below this value. Give at most one of `above`, `below`, `atLeast` and `atMost`. Default:
    /// none of them, and the value is only recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Decimal>,
    /// The criterion passes at this value and above it. Give at most one of `above`, `below`, `atLeast` and `atMost`.
    /// Default: none of them, and the value is only recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Decimal>,
    /// The criterion passes at this value and below it. Give at most one of `above`, `below`, `atLeast` and `atMost`.
    /// Default: none of them, and the value is only recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Decimal>,
    /// Number of samples below which a value counts as no data; the template must have a `sampleCount`. Default: the
    /// number of samples is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_samples: Option<i64>,
    /// How often it is measured, at least 1s. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

impl Criterion {
    /// Whether there is anything to judge.
    pub fn has_bound(&self) -> bool {
        [&self.above, &self.below, &self.at_least, &self.at_most].iter().any(|bound| bound.is_some())
    }
}

/// A number that people measured.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Manual {
    /// The number that was measured, in the unit of the criterion.
    pub value: Decimal,
    /// When the number was measured.
    pub at: MicroTime,
}

/// How closely a finished rollout is watched, for a while. The periods follow each other from the completion on.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MonitoringPeriod {
    /// Name of the period, such as `high-alert`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// How long after the completion the period ends; each ends later than the one before. Default: never; only the
    /// last period may do without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Duration>,
    /// How often criteria, and triggers without a Critical level, are measured in this period, at least 1s. Triggers
    /// with a Critical level keep their own interval.
    pub interval: Duration,
    /// How soon somebody responds to a critical problem: by an Acknowledge action by then, or the history says
    /// `ResponseOverdue`, once. Until the completion that of the first period counts. Optional: without it nobody is
    /// waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond_within: Option<Duration>,
    /// How often people review the rollout: an Acknowledge action says that somebody has, and digests list what is due.
    /// Optional: without it nothing is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_every: Option<Duration>,
}

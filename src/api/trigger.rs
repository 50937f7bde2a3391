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
    /// The MetricTemplate.
    pub template_ref: LocalRef,
    /// Values of the template's arguments, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "args_schema")]
    pub args: BTreeMap<String, String>,
}

fn args_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
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
    /// Name, unique among the rollout's triggers.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What is measured.
    pub metric: Metric,
    /// Measures each cohort by itself: a breach concerns that cohort only. Without it the rule is about the whole rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_cohort: Option<PerCohort>,
    /// How often it is measured; default 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// How long missing data is no fault after the rollout (of a trigger that judges each cohort by itself: the cohort)
    /// was last raised from 0; default 0s. Set it to the time that the first samples take to arrive, such as `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<Duration>,
    /// What follows from which values.
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    pub levels: Vec<Level>,
    /// What follows when there is no data: no series, more than one, NaN, or an infinite value. Default `Hold`; `Ignore`
    /// where every level of the trigger only notifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_no_data: Option<MissingPolicy>,
    /// What follows when the source does not answer, or answers with an error. Default `Hold`; `Ignore` where every level
    /// of the trigger only notifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_provider_error: Option<MissingPolicy>,
    /// How long data must be missing without a break before `onNoData` or `onProviderError` follows, such as `2m`. It is
    /// counted between measurements, from the first one that is missing on; one that is there starts it anew. Default:
    /// three intervals of the trigger, as single scrapes and queries do fail; with the policy `Hold`, 0s: nothing is
    /// raised as soon as one is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_for: Option<Duration>,
}

/// How the series of a metric tell the cohorts apart.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PerCohort {
    /// The label whose value is the cohort's name; one series a cohort.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub label: String,
}

/// One threshold of a trigger. Exactly one of `above`, `below`, `atLeast` and `atMost`.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.above), has(self.below), has(self.atLeast), has(self.atMost)].exists_one(b, b)").message("give exactly one of above, below, atLeast and atMost"))]
#[x_kube(validation = Rule::new("!has(self.resumeAfter) || self.action == 'Pause'").message("resumeAfter belongs to the action Pause"))]
pub struct Level {
    /// How bad it is.
    pub severity: Severity,
    /// In breach above this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Decimal>,
    /// In breach below this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Decimal>,
    /// In breach at this value and above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Decimal>,
    /// In breach at this value and below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Decimal>,
    /// How long it must be in breach before the action follows; default 0s: the first breaching sample does it.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub for_: Option<Duration>,
    /// What follows.
    pub action: LevelAction,
    /// With Pause: resume by itself after the level has been quiet for this long. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_after: Option<Duration>,
}

/// How bad a breach is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth looking at.
    #[default]
    Warning,
    /// Somebody should come.
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
    /// Say so.
    #[default]
    Notify,
    /// Stop the schedule.
    Pause,
    /// Take all cohorts but those of `rollback.partial.keep` to control at once.
    PartialRollback,
    /// Go down `rollback.gradual.ladder` to control.
    GradualRollback,
    /// Go to control at once.
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
    /// No raise while data is missing.
    #[default]
    Hold,
    /// Nothing.
    Ignore,
    /// The schedule stops until somebody resumes it.
    Pause,
    /// Every cohort the trigger is about goes to control at once.
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
    /// Name, unique among the rollout's criteria.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// What people measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<Manual>,
    /// Passes above this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Decimal>,
    /// Passes below this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Decimal>,
    /// Passes at this value and above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Decimal>,
    /// Passes at this value and below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Decimal>,
    /// Samples below which a value counts as no data; the template must count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_samples: Option<i64>,
    /// How often it is measured; default 5m.
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
    /// The number.
    pub value: Decimal,
    /// When it was measured.
    pub at: MicroTime,
}

/// How closely a finished rollout is watched, for a while. The periods follow each other from the completion on.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MonitoringPeriod {
    /// Name.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// How long after the completion it ends; the last period may do without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Duration>,
    /// How often triggers without a Critical level, and criteria, are measured in it.
    pub interval: Duration,
    /// How soon somebody responds to a critical issue, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond_within: Option<Duration>,
    /// How often people review the rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_every: Option<Duration>,
}

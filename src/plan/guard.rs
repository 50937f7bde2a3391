//! What watches over a rollout: triggers, criteria, rollback and monitoring, compiled apart from the rest, because the
//! last valid ones stay in force while the rest of a spec is invalid.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::api::featurerollout::FeatureRolloutSpec;
use crate::api::rollback::Rollback;
use crate::api::trigger::{self as api, LevelAction, Metric, MissingPolicy, MonitoringPeriod, Severity};
use crate::api::{Decimal, Finite, MicroTime, Percent, Verdict};

mod compile;

pub use compile::{arg_path, guard, remarks};

/// The shortest interval: a shorter one says nothing more, and asks the source too often.
pub(super) const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
/// How often a trigger is measured when nothing else is said.
pub const TRIGGER_INTERVAL: SignedDuration = SignedDuration::from_mins(1);
/// How often a criterion is measured when nothing else is said.
pub const CRITERION_INTERVAL: SignedDuration = SignedDuration::from_mins(5);
/// Intervals for which data may be missing when nothing else is said.
const MISSING_INTERVALS: i32 = 3;
/// Time from one rung to the next when nothing else is said.
const LADDER_EVERY: SignedDuration = SignedDuration::from_mins(10);

/// The part of a spec that watches: what is kept of the last valid one.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GuardSpec {
    /// `spec.triggers`, then those of the policies that bind the rollout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<GuardTrigger>,
    /// `spec.rollback`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// `spec.criteria`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<api::Criterion>,
    /// `spec.monitoring`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub monitoring: Vec<MonitoringPeriod>,
    /// How often triggers are measured while a cohort has the feature, by name, where a cohort asks for that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cohorts: BTreeMap<String, crate::api::Duration>,
}

/// A trigger, and where it comes from.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GuardTrigger {
    /// What it says. The name of one of a policy's is `POLICY/TRIGGER`, and its arguments are filled in.
    #[serde(flatten)]
    pub trigger: api::Trigger,
    /// Namespace of its template; absent: the rollout's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_namespace: Option<String>,
    /// Where it is declared, for messages; empty: at its place in `spec.triggers`.
    #[serde(skip)]
    pub path: String,
}

impl From<api::Trigger> for GuardTrigger {
    fn from(trigger: api::Trigger) -> GuardTrigger {
        GuardTrigger { trigger, ..GuardTrigger::default() }
    }
}

impl GuardSpec {
    /// The part of a spec that watches, without what policies add.
    pub fn of(spec: &FeatureRolloutSpec) -> GuardSpec {
        GuardSpec {
            triggers: spec.triggers.iter().cloned().map(GuardTrigger::from).collect(),
            rollback: spec.rollback.clone(),
            criteria: spec.criteria.clone(),
            monitoring: spec.monitoring.clone(),
            cohorts: BTreeMap::new(),
        }
    }
}

/// What watches over a rollout, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// The metric rules.
    pub triggers: Vec<Trigger>,
    /// The way down of a gradual rollback: strictly descending, ending at 0.
    pub ladder: Vec<Percent>,
    /// Time from one rung to the next.
    pub every: SignedDuration,
    /// Cohorts that a partial rollback leaves as they are.
    pub keep: Vec<String>,
    /// The metric targets.
    pub criteria: Vec<Criterion>,
    /// How often what is not critical is measured after the completion: until when, counted from it, and the interval.
    pub monitoring: Vec<(Option<SignedDuration>, SignedDuration)>,
    /// What is expected of people in these periods.
    pub care: Vec<Care>,
    /// How often triggers are measured at the least while these cohorts have the feature.
    pub cohorts: BTreeMap<String, SignedDuration>,
}

/// What is expected of people for a while after the completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Care {
    /// How long after the completion it ends.
    pub until: Option<SignedDuration>,
    /// How soon somebody responds to a critical issue.
    pub respond_within: Option<SignedDuration>,
    /// Whether people review the rollout every so often.
    pub has_reviews: bool,
}

impl Default for Guard {
    fn default() -> Guard {
        Guard {
            triggers: Vec::new(),
            ladder: default_ladder(),
            every: LADDER_EVERY,
            keep: Vec::new(),
            criteria: Vec::new(),
            monitoring: Vec::new(),
            care: Vec::new(),
            cohorts: BTreeMap::new(),
        }
    }
}

impl Guard {
    /// The trigger of this name.
    pub fn trigger(&self, name: &str) -> Option<&Trigger> {
        self.triggers.iter().find(|trigger| trigger.name == name)
    }

    /// What is expected of people now; until the completion what is expected right after it.
    pub fn care(&self, completed: Option<MicroTime>, now: MicroTime) -> Option<&Care> {
        let passed = completed.map_or(SignedDuration::ZERO, |completed| now.duration_since(completed));
        self.care.iter().find(|care| care.until.is_none_or(|until| passed < until))
    }

    /// The criterion of this name.
    pub fn criterion(&self, name: &str) -> Option<&Criterion> {
        self.criteria.iter().find(|criterion| criterion.name == name)
    }
}

/// A metric rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// Name.
    pub name: String,
    /// What is measured.
    pub metric: Metric,
    /// Namespace of the template; `None`: the rollout's.
    pub template_namespace: Option<String>,
    /// The label that tells the cohorts apart, where each is judged by itself.
    pub per_cohort: Option<String>,
    /// How often it is measured, at least a second.
    pub interval: SignedDuration,
    /// How long after the last rise from 0 missing data is no fault.
    pub initial_delay: SignedDuration,
    /// How long data must be missing before a policy follows, where that is declared.
    pub missing_for: Option<SignedDuration>,
    /// What follows from which values.
    pub levels: Vec<Level>,
    /// What follows when there is no data.
    pub on_no_data: MissingPolicy,
    /// What follows when the provider does not answer.
    pub on_provider_error: MissingPolicy,
}

impl Trigger {
    /// What follows from a verdict of missing data; `None` for nothing: it is ignored, or not missing.
    pub fn policy(&self, verdict: Verdict) -> Option<MissingPolicy> {
        let policy = match verdict {
            Verdict::NoData => self.on_no_data,
            Verdict::ProviderError => self.on_provider_error,
            Verdict::Pass | Verdict::Breach | Verdict::Cancelled => return None,
        };
        (policy != MissingPolicy::Ignore).then_some(policy)
    }

    /// How long data must be missing before this policy follows; `interval` is how often the trigger is measured now.
    pub fn missing_for(&self, policy: MissingPolicy, interval: SignedDuration) -> SignedDuration {
        self.missing_for.unwrap_or_else(|| match policy {
            MissingPolicy::Hold => SignedDuration::ZERO,
            _ => interval.saturating_mul(MISSING_INTERVALS),
        })
    }

    /// The most severe of its levels.
    pub fn severity(&self) -> Severity {
        self.levels.iter().map(|level| level.severity).max().unwrap_or_default()
    }
}

/// One threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// How bad it is.
    pub severity: Severity,
    /// What is in breach.
    pub bound: Bound,
    /// How long it must be in breach before the action follows.
    pub for_: SignedDuration,
    /// What follows.
    pub action: LevelAction,
    /// Resume by itself after it has been quiet for this long.
    pub resume_after: Option<SignedDuration>,
    /// The level as status names it: action and bound.
    pub rule: String,
}

/// A comparison with a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: Decimal,
}

/// How a value is compared with a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Above,
    /// `<`
    Below,
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
}

impl Bound {
    /// Whether a value is on the named side of the bound.
    pub fn holds(&self, value: Finite) -> bool {
        let (value, bound) = (value.get(), self.value.value());
        match self.comparison {
            Comparison::Above => value > bound,
            Comparison::Below => value < bound,
            Comparison::AtLeast => value >= bound,
            Comparison::AtMost => value <= bound,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = match self.comparison {
            Comparison::Above => "above",
            Comparison::Below => "below",
            Comparison::AtLeast => "at least",
            Comparison::AtMost => "at most",
        };
        write!(f, "{words} {}", self.value)
    }
}

/// A metric target.
#[derive(Clone, Debug, PartialEq)]
pub struct Criterion {
    /// Name.
    pub name: String,
    /// Where its value comes from.
    pub source: CriterionSource,
    /// What passes; nothing is judged without.
    pub bound: Option<Bound>,
    /// Samples below which a value counts as no data.
    pub min_samples: Option<u64>,
    /// How often it is measured.
    pub interval: SignedDuration,
}

/// Where a criterion's value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum CriterionSource {
    /// A metric.
    Metric(Metric),
    /// People.
    Manual {
        /// What they measured.
        value: Decimal,
        /// When.
        at: MicroTime,
    },
}

fn default_ladder() -> Vec<Percent> {
    [50_000, 25_000, 0].into_iter().filter_map(Percent::from_thousandths).collect()
}

//! What status remembers of triggers and criteria: verdicts, and how long each level has been in breach.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MicroTime;
use super::trigger::LevelAction;

/// What a check says. Unmeasured is never success.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was measured, and no level is in breach; of a criterion, the target is met.
    Pass,
    /// It was measured, and a level is in breach; of a criterion, the target is missed.
    Breach,
    /// The source answered, but not with one finite and recent number.
    NoData,
    /// The source did not answer, answered with an error, or may not be asked.
    ProviderError,
    /// The measurement was stopped before it could say anything.
    Cancelled,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Verdict; 5] =
        [Verdict::Pass, Verdict::Breach, Verdict::NoData, Verdict::ProviderError, Verdict::Cancelled];

    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "Pass",
            Verdict::Breach => "Breach",
            Verdict::NoData => "NoData",
            Verdict::ProviderError => "ProviderError",
            Verdict::Cancelled => "Cancelled",
        }
    }

    /// Whether it was asked and nothing usable was said.
    pub const fn is_missing(self) -> bool {
        matches!(self, Verdict::NoData | Verdict::ProviderError)
    }
}

/// What a trigger said last, for the whole rollout or for one cohort.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TriggerStatus {
    /// Name of the trigger.
    pub name: String,
    /// Name of the cohort; empty where the trigger is about the whole rollout.
    #[serde(default)]
    pub cohort: String,
    /// What the newest measurements say.
    pub verdict: Verdict,
    /// Since when the verdict is this one.
    pub since: MicroTime,
    /// The value as of `at`, when the verdict began: it is not written again while the verdict stays. Current values
    /// are in the metric `sluice_trigger_value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// When that value was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<MicroTime>,
    /// Why there is no value, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The levels that are in breach, or have acted and were not out of breach for long enough since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    pub levels: Vec<LevelStatus>,
    /// Whether `onNoData` or `onProviderError` has acted since there was data last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missing_acted: bool,
    /// The first measurement without data since there was data last, where something may follow from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<MicroTime>,
}

impl TriggerStatus {
    /// The last measurement that is known to have been taken in: none before it counts a second time.
    pub fn seen_until(&self) -> MicroTime {
        let streaks = self.levels.iter().flat_map(|level| [level.breach, level.quiet]).flatten();
        streaks.map(|streak| streak.last).chain(self.at).fold(self.since, std::cmp::max)
    }
}

/// What a level remembers.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LevelStatus {
    /// The level, as its action and bound, such as `ImmediateRollback above 10`. An edit that changes them starts anew.
    pub rule: String,
    /// When its action followed. Absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acted_at: Option<MicroTime>,
    /// How long the level has been in breach. Absent while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breach: Option<Streak>,
    /// How long the level has been out of breach after its action, while something waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Streak>,
}

impl LevelStatus {
    /// What follows from the level.
    pub fn action(&self) -> Option<LevelAction> {
        LevelAction::of_rule(&self.rule)
    }
}

/// Time between consecutive samples that say the same, at most three intervals apart.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Streak {
    /// Time counted so far, in milliseconds.
    #[schemars(range(min = 0))]
    pub milliseconds: i64,
    /// The last sample that was counted.
    pub last: MicroTime,
    /// Number of samples counted, at most 2: more make no difference.
    #[schemars(range(min = 1, max = 2))]
    pub samples: i32,
}

/// What a criterion said last.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CriterionStatus {
    /// Name of the criterion.
    pub name: String,
    /// What the newest measurement says. Absent where the criterion has no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Since when the verdict is this one.
    pub since: MicroTime,
    /// The value as of `at`: it is not written again while the verdict stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// When that value was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<MicroTime>,
    /// Why there is no value, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

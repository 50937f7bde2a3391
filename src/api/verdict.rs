//! What status remembers of triggers and criteria: verdicts, and how long each level has been in breach.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MicroTime;
use super::trigger::LevelAction;

/// What a check says. Unmeasured is never success.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Measured, and no level is in breach; of a criterion: the target is met.
    Pass,
    /// Measured, and a level is in breach; of a criterion: the target is missed.
    Breach,
    /// The provider has no usable number.
    NoData,
    /// The provider does not answer.
    ProviderError,
    /// The check was stopped before it could say anything.
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
    /// The cohort, or empty where the trigger is about the whole rollout.
    #[serde(default)]
    pub cohort: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Since when that is the verdict.
    pub since: MicroTime,
    /// The value, as of `at`: a quiet trigger's status is not written at each check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// When that value was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<MicroTime>,
    /// Why there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Levels that are in breach, or have acted and not been quiet for long enough since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    pub levels: Vec<LevelStatus>,
    /// Whether the policy for missing data has acted since data was there last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missing_acted: bool,
    /// The first measurement without data since there was data last, where a policy may follow from that.
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
    /// The level, as `ImmediateRollback above 10`: an edit that changes it starts anew.
    pub rule: String,
    /// When its action followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acted_at: Option<MicroTime>,
    /// Time in breach, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breach: Option<Streak>,
    /// Time without breach after its action, while something waits for that.
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
    /// Milliseconds counted.
    #[schemars(range(min = 0))]
    pub milliseconds: i64,
    /// The last sample counted.
    pub last: MicroTime,
    /// Samples counted, at most 2: more make no difference.
    #[schemars(range(min = 1, max = 2))]
    pub samples: i32,
}

/// What a criterion said last.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CriterionStatus {
    /// Name of the criterion.
    pub name: String,
    /// The verdict; absent where there is no bound and so nothing to judge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Since when that is the verdict.
    pub since: MicroTime,
    /// The value, as of `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// When that value was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<MicroTime>,
    /// Why there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

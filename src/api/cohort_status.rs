//! What a rollout's status holds of each cohort: what the file gives it, what is decided, asked and promised.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rollback::Descent;
use super::waiting::Check;
use super::{MicroTime, Percent, Reason};

/// A percentage that the file gives to a cohort, as its writer has said. Nothing is decided by setting it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
pub struct Served(Percent);

impl Served {
    /// What was seen in the file.
    pub fn in_file(percent: Percent) -> Served {
        Served(percent)
    }

    /// The percentage.
    pub fn percent(self) -> Percent {
        self.0
    }
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What one cohort is served, what is decided for it, asked and promised.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CohortStatus {
    /// Name of the cohort.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Percentage of the cohort that the file gives the feature now.
    #[serde(default)]
    pub served: Served,
    /// Percentage that is decided, and that the file is not known to give yet. Absent where the file gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decided: Option<Percent>,
    /// When the cohort was last raised from 0: from then on missing data of the cohort counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed_at: Option<MicroTime>,
    /// Percentage that the last entered step that names the cohort asks for it; 0 when an attempt starts.
    #[serde(default)]
    pub asked: Percent,
    /// The step that asked for that percentage. Absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<AskedBy>,
    /// A raise that was asked for and has not passed its checks yet. Absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// Percentage that an emergency took away; it comes back after the emergency, when the checks of a raise allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<Percent>,
    /// Where the cohort is on the ladder of a gradual rollback. Absent where it is on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descent: Option<Descent>,
    /// Whether the cohort does not admit the tier of the feature, so that no step raises it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tier_refused: bool,
    /// Part of all users that is in the cohort, by the last valid spec. Absent where that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Percent>,
}

impl CohortStatus {
    /// A cohort for which nothing is decided but this percentage, which the file does not give yet.
    pub fn deciding(name: &str, percent: Percent) -> CohortStatus {
        let mut cohort = CohortStatus { name: name.to_owned(), ..CohortStatus::default() };
        cohort.decide(percent);
        cohort
    }

    /// A cohort that the file gives this percentage, as is decided.
    pub fn served(name: &str, percent: Percent) -> CohortStatus {
        CohortStatus { name: name.to_owned(), served: Served::in_file(percent), ..CohortStatus::default() }
    }

    /// The percentage that is decided: what the file gives, or is to give. Every decision starts from it.
    pub fn decided(&self) -> Percent {
        self.decided.unwrap_or(self.served.percent())
    }

    /// Decides on a percentage. What the file gives stays what it is until its writer says otherwise.
    pub fn decide(&mut self, percent: Percent) {
        self.decided = Some(percent).filter(|percent| *percent != self.served.percent());
    }

    /// Takes note of what the file gives. What is decided stays decided.
    pub fn note_served(&mut self, percent: Percent) {
        let decided = self.decided();
        self.served = Served::in_file(percent);
        self.decide(decided);
    }

    /// Whether anyone of the cohort gets the treatment, by what the file holds or by what is decided.
    pub fn is_exposed(&self) -> bool {
        !self.decided().is_zero() || !self.served.percent().is_zero()
    }
}

/// Why the file does not hold what is decided.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Undelivered {
    /// Since when this is known.
    pub since: MicroTime,
    /// Why the file does not hold it, in one word; with `Retrying` it is tried again without anybody's help.
    pub reason: Reason,
    /// Why the file does not hold it, in words.
    pub message: String,
}

/// The step that set a cohort's ask.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AskedBy {
    /// Name of the phase that the step is in.
    pub phase: String,
    /// Number of the step in its phase, from 1.
    pub number: i32,
    /// Number of steps that the phase had then.
    pub of: i32,
    /// Name of the step; of a ramp, its percentage. Absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Digest of the percentages that the step asked for.
    pub content: String,
}

/// A raise asked for but not yet let through.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// Percentage that the cohort is to get.
    pub percent: Percent,
    /// The check that last held it back.
    pub check: Check,
    /// Earliest instant at which the raise may come.
    pub due: MicroTime,
    /// What asked for the raise.
    pub cause: RaiseCause,
}

/// What asked for a pending raise.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaiseCause {
    /// A step that was entered asked for it.
    Step,
    /// An edit of the current or an earlier step, of the tier or of the cohorts asked for it.
    Edit,
}

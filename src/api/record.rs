//! What a FeatureRollout's status keeps on record: what happened, what was given and considered, and what comes next.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rolloutaction::{Answer, Override};
use super::trigger::Severity;
use super::{MicroTime, Reason};

/// One thing that happened.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Number of the entry, growing by one for each.
    pub seq: i64,
    /// When it was decided.
    pub at: MicroTime,
    /// What happened, from a closed set.
    pub reason: Reason,
    /// What happened, in words.
    pub message: String,
    /// Who did it: `schedule`, `git`, `recovery`, `delivery`, `trigger/NAME`, or the actor of an action.
    pub who: String,
    /// The trigger it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// How bad that trigger's breach is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Revision of the file's fragment that it brings about; until `status.deliveredRevision` has come to it, it is decided
    /// and apps do not have it. Absent where it changes nothing in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
}

impl HistoryEntry {
    /// What happened, in words, to somebody who knows that the file holds this revision.
    pub fn told(&self, delivered_revision: i64) -> String {
        match self.revision.is_some_and(|revision| revision > delivered_revision) {
            true => format!("{} (decided; the file does not hold it yet)", self.message),
            false => self.message.clone(),
        }
    }
}

/// Which action has stopped or lowered last, by the order of creation.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LastStop {
    /// When it was created.
    pub created: MicroTime,
    /// The resource version that it was created with: creation times have whole seconds.
    pub version: i64,
}

/// An approval given by an action.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStatus {
    /// Phase of the step.
    pub phase: String,
    /// Name of the step.
    pub step: String,
    /// Who approved it.
    pub by: String,
    /// When.
    pub at: MicroTime,
}

/// An approval given in git by which a step was entered.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UsedApproval {
    /// Phase of the step.
    pub phase: String,
    /// Name of the step.
    pub step: String,
    /// The attempt that the approval names, where it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
}

/// A retry whose first step has not been entered yet.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RetryStatus {
    /// When it was asked for.
    pub at: MicroTime,
    /// The phase to start from; absent: from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Checks that the entry passes over.
    #[serde(rename = "override", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "atomic"))]
    pub overrides: Vec<Override>,
}

/// A step whose checks were asked for the first time.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Considered {
    /// Phase of the step.
    pub phase: String,
    /// Number of the step in its phase, from 1.
    #[schemars(range(min = 1))]
    pub number: i32,
    /// Whether it was too late by then.
    pub missed: bool,
}

/// A change of the file that is expected next. At its time it may go into the file before status says so, if nobody has
/// touched the rollout since.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Announced {
    /// Its revision, which nothing else takes.
    pub revision: i64,
    /// Digest of its fragment.
    pub fragment: String,
}

/// An action that was carried out.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ActionRecord {
    /// UID of the RolloutAction.
    pub uid: String,
    /// When the action expires: from then on it cannot be taken for a new one.
    pub until: MicroTime,
    /// What became of it.
    pub answer: Answer,
    /// The answer in words, until it is known to be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

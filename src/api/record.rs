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
    /// Number of the entry; each has one more than the one before.
    pub seq: i64,
    /// When it was decided.
    pub at: MicroTime,
    /// What happened, in one word. Events have the same reason.
    pub reason: Reason,
    /// What happened, in words.
    pub message: String,
    /// Who did it: `schedule`, `git`, `recovery`, `delivery`, `trigger/NAME`, or the name of whoever asked for an
    /// action.
    pub who: String,
    /// Name of the trigger that the entry is about. Absent where it is about none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// How bad the breach of that trigger is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Revision of the flag that the entry brings about: until `status.deliveredRevision` has come to it, apps do not
    /// have it. Absent where it changes nothing in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
}

impl HistoryEntry {
    /// Whether the file is still about to hold what the entry brings about: it is told then. The file is known to hold
    /// `delivered_revision`, and `under_way` says whether a later one is on its way.
    pub fn waits_for_file(&self, delivered_revision: i64, under_way: bool) -> bool {
        under_way && self.revision.is_some_and(|revision| revision > delivered_revision)
    }

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
    /// When the action was created.
    pub created: MicroTime,
    /// Resource version that the action was created with, which tells the order within a second.
    pub version: i64,
}

/// An approval given by an action.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStatus {
    /// Name of the phase that the step is in.
    pub phase: String,
    /// Name of the step.
    pub step: String,
    /// Name of whoever approved it.
    pub by: String,
    /// When it was approved.
    pub at: MicroTime,
}

/// An approval given in git by which a step was entered.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UsedApproval {
    /// Name of the phase that the step is in.
    pub phase: String,
    /// Name of the step.
    pub step: String,
    /// Number of the attempt that the approval names. Absent where it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
}

/// A retry whose first step has not been entered yet.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RetryStatus {
    /// When the retry was asked for.
    pub at: MicroTime,
    /// Name of the phase to start from. Absent where it is the first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Checks that the entry of its first step passes over.
    #[serde(rename = "override", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "atomic"))]
    pub overrides: Vec<Override>,
}

/// A critical issue that somebody is to respond to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ResponseStatus {
    /// When the critical problem began.
    pub at: MicroTime,
    /// Until when somebody is to respond, by `respondWithin` of the monitoring period.
    pub until: MicroTime,
    /// The trigger it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// When it was said that nobody had responded in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_at: Option<MicroTime>,
}

/// A step whose checks were asked for the first time.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Considered {
    /// Name of the phase that the step is in.
    pub phase: String,
    /// Number of the step in its phase, from 1.
    #[schemars(range(min = 1))]
    pub number: i32,
    /// Whether the step was 15 minutes or more too late by then, so that it waits for a Promote.
    pub missed: bool,
}

/// A change of the file that is expected next. At its time it may go into the file before status says so, if nobody has
/// touched the rollout since.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Announced {
    /// Revision of the flag after the change; no other change gets it.
    pub revision: i64,
    /// Digest of the flag after the change, in hexadecimal digits.
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
    /// What became of the action.
    pub answer: Answer,
    /// The answer in words. Absent once it is known to be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

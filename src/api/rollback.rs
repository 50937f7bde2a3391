//! Rollbacks: how a rollout goes back to control, and what status says of one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::trigger::Severity;
use super::{Duration, MicroTime, Percent};

/// How the rollbacks that are not immediate go.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// The ladder of a gradual rollback. Default: 50, 25 and 0 %, ten minutes apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradual: Option<Gradual>,
    /// What a partial rollback leaves as it is. Optional; a level with the action `PartialRollback` needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Partial>,
}

/// The way down of a gradual rollback.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Gradual {
    /// Percentages that strictly descend to 0, such as `[50, 25, 0]`. They are percentages of the cohort, not parts of
    /// what it has: each cohort goes at once to the first of them that is below what it has, and then down one by one.
    /// So with this ladder a cohort at 25 % or less loses the feature at once.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub ladder: Vec<Percent>,
    /// Time from one rung of the ladder to the next, longer than 0s.
    pub every: Duration,
}

/// What a partial rollback leaves as it is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Partial {
    /// Names of the cohorts that keep the feature in a partial rollback; all others go to the control variant at once.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub keep: Vec<String>,
}

/// How a rollback goes, weakest first.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RollbackMode {
    /// The cohorts that it names, by default all but those in `spec.rollback.partial.keep`, go to the control variant
    /// at once.
    Partial,
    /// The cohorts go down the ladder in `spec.rollback.gradual` to the control variant.
    Gradual,
    /// The cohorts go to the control variant at once.
    #[default]
    Immediate,
}

impl RollbackMode {
    /// Every mode, weakest first.
    pub const ALL: [RollbackMode; 3] =
        [RollbackMode::Partial, RollbackMode::Gradual, RollbackMode::Immediate];

    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            RollbackMode::Partial => "Partial",
            RollbackMode::Gradual => "Gradual",
            RollbackMode::Immediate => "Immediate",
        }
    }
}

/// A rollback in force. It stays until an explicit retry.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RollbackStatus {
    /// How it goes. Where it became stronger, this is the strongest mode so far.
    pub mode: RollbackMode,
    /// When the rollback began.
    pub at: MicroTime,
    /// Who began it: `trigger/NAME`, or the name of whoever asked for the action. What made it stronger later is in
    /// `escalations`.
    pub by: String,
    /// Name of the trigger that began it. Absent where a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// How bad the breach of that trigger was. Absent where a person began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Why it began, in words.
    pub message: String,
    /// What made the rollback stronger since it began, oldest first. There are three modes, so there are at most two
    /// entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "atomic"))]
    pub escalations: Vec<Escalation>,
    /// Name of the phase that the rollout was in; a retry from the phase starts there. Absent before the first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub phase: Option<String>,
    /// Names of the cohorts that it takes to the control variant.
    #[schemars(length(max = 16), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub cohorts: Vec<String>,
    /// The ladder that a gradual rollback goes down, as it was when the rollback began: an edit does not change it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub ladder: Vec<Percent>,
    /// Time from one rung of that ladder to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    /// When the file gave the control variant to the last of its cohorts. Absent while it is on its way. The rollback
    /// stays in force after that, until a retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<MicroTime>,
    /// When every trigger that caused it had passed again for the time in its `for`. Absent before, and where a person
    /// began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<MicroTime>,
    /// When somebody said by an Acknowledge action that they have seen it. Absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<MicroTime>,
}

/// What made a rollback under way stronger.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Escalation {
    /// How the rollback went before.
    pub from: RollbackMode,
    /// How the rollback goes since then.
    pub to: RollbackMode,
    /// When it became stronger.
    pub at: MicroTime,
    /// Who made it stronger: `trigger/NAME`, or the name of whoever asked for the action.
    pub by: String,
    /// How bad the breach of that trigger was. Absent where a person made it stronger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Why it became stronger, in words.
    pub message: String,
}

/// Where a cohort stands on the ladder of a gradual rollback.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Descent {
    /// Index, from 0, of the rung of the ladder that comes next.
    #[schemars(range(min = 0, max = 8))]
    pub rung: i32,
    /// When the next rung comes.
    pub next: MicroTime,
}

//! Rollbacks: how a rollout goes back to control, and what status says of one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::trigger::Severity;
use super::{Duration, MicroTime, Percent};

/// How the rollbacks that are not immediate go.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// The way down of a gradual rollback; default: 50, 25, 0, ten minutes apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradual: Option<Gradual>,
    /// What a partial rollback leaves as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Partial>,
}

/// The way down of a gradual rollback.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Gradual {
    /// Percentages, strictly descending to 0. The first is taken at once.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub ladder: Vec<Percent>,
    /// Time from one rung to the next.
    pub every: Duration,
}

/// What a partial rollback leaves as it is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Partial {
    /// Names of the cohorts that keep the feature.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub keep: Vec<String>,
}

/// How a rollback goes, weakest first.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RollbackMode {
    /// Some cohorts keep the feature, the others lose it at once.
    Partial,
    /// Down the ladder.
    Gradual,
    /// To control at once.
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
    /// How it goes; the strongest so far.
    pub mode: RollbackMode,
    /// When it began.
    pub at: MicroTime,
    /// Who began it: `trigger/NAME` or the actor of an action. What makes it stronger later is in `escalations`.
    pub by: String,
    /// The trigger that began it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// How bad the breach of that trigger was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Why it began, in words.
    pub message: String,
    /// What made it stronger since, oldest first. There are three modes, so there are at most two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "atomic"))]
    pub escalations: Vec<Escalation>,
    /// The phase that the rollout was in, from which a retry from the phase starts; absent before the first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub phase: Option<String>,
    /// Names of the cohorts that it takes to control.
    #[schemars(length(max = 16), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub cohorts: Vec<String>,
    /// The way down, where it is gradual: an edit does not change one under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub ladder: Vec<Percent>,
    /// Time from one rung to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    /// When the last of its cohorts reached control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<MicroTime>,
    /// When every trigger that caused it had passed again for its `for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<MicroTime>,
    /// When somebody acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<MicroTime>,
}

/// What made a rollback under way stronger.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Escalation {
    /// How it went before.
    pub from: RollbackMode,
    /// How it goes since.
    pub to: RollbackMode,
    /// When.
    pub at: MicroTime,
    /// Who: `trigger/NAME` or the actor of an action.
    pub by: String,
    /// How bad the breach of that trigger was, where one did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Why, in words.
    pub message: String,
}

/// Where a cohort stands on the ladder of a gradual rollback.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Descent {
    /// Index of the rung that comes next.
    #[schemars(range(min = 0, max = 8))]
    pub rung: i32,
    /// When it comes.
    pub next: MicroTime,
}

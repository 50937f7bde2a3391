//! RolloutAction: what somebody wants done to a rollout now, with who and why. Create-only.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rollback::RollbackMode;
use super::{Condition, Duration, MicroTime, Percent};

/// Pattern of text that is more than spaces.
pub const NOT_BLANK: &str = r"\S";

/// What somebody wants done to a rollout.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "RolloutAction",
    plural = "rolloutactions",
    shortname = "fract",
    category = "sluice",
    namespaced,
    status = "RolloutActionStatus",
    derive = "PartialEq",
    derive = "Default",
    selectable = ".status.answer",
    doc = "A RolloutAction does one thing to a FeatureRollout, once, with who and why on record. It cannot be changed.",
    printcolumn(
        name = "Rollout",
        type_ = "string",
        json_path = ".spec.rolloutRef.name",
        description = "The rollout it is for"
    ),
    printcolumn(
        name = "Action",
        type_ = "string",
        json_path = ".spec.action",
        description = "What is to be done"
    ),
    printcolumn(
        name = "Answer",
        type_ = "string",
        json_path = ".status.answer",
        description = "What became of it"
    ),
    printcolumn(
        name = "By",
        type_ = "string",
        json_path = ".spec.requestedBy",
        description = "Who asked for it"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".spec.reason",
        priority = 1,
        description = "Why"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        priority = 1,
        description = "The answer, in words"
    ),
    validation = Rule::new("self.spec == oldSelf.spec").message("an action cannot be changed: create another")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.approve) == (self.action == 'Approve')").message("approve belongs to the action Approve, which needs it"))]
#[x_kube(validation = Rule::new("has(self.setPercent) == (self.action == 'SetPercent')").message("setPercent belongs to the action SetPercent, which needs it"))]
#[x_kube(validation = Rule::new("!has(self.rollback) || self.action == 'Rollback'").message("rollback belongs to the action Rollback"))]
#[x_kube(validation = Rule::new("!has(self.retry) || self.action == 'Retry'").message("retry belongs to the action Retry"))]
#[x_kube(validation = Rule::new("!has(self.override) || self.action in ['Promote', 'SetPercent', 'Retry']").message("override belongs to the actions Promote, SetPercent and Retry"))]
#[x_kube(validation = Rule::new("!has(self.override) || self.action != 'SetPercent' || !self.override.exists(o, o == 'Gates')").message("SetPercent passes no gates, so there is none to override"))]
pub struct RolloutActionSpec {
    /// The rollout, of the same namespace.
    pub rollout_ref: RolloutRef,
    /// What is to be done.
    pub action: Action,
    /// Why, for the record.
    #[schemars(length(min = 1, max = 512), regex(pattern = NOT_BLANK))]
    pub reason: String,
    /// What is approved; with Approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<Approve>,
    /// Percentage to serve, by cohort; with SetPercent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub set_percent: Option<BTreeMap<String, Percent>>,
    /// How to roll back; with Rollback; default: every cohort at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackHow>,
    /// Where to start again; with Retry; default: from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryHow>,
    /// Generation of the rollout's spec that the action was meant for: with another one it is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub expected_generation: Option<i64>,
    /// Age at which the action counts as come too late when it is first read; default 10m for what raises, else 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after: Option<Duration>,
    /// Checks of a raise that the action passes over. Needs the RBAC verb `override` too.
    #[serde(rename = "override", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub overrides: Option<Vec<Override>>,
    /// Who asked for it. Filled in by admission policy; without one it is `unverified`, which cannot raise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub requested_by: Option<String>,
}

/// The rollout of an action.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRef {
    /// Name of the FeatureRollout.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its UID: with another one the action is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[!-~]+$"))]
    pub uid: Option<String>,
}

/// What can be done to a rollout. Each is an RBAC verb, in lower case, on the rollout.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Stop the schedule.
    #[default]
    Pause,
    /// Let the schedule go on.
    Resume,
    /// Approve a step.
    Approve,
    /// Enter the next step now.
    Promote,
    /// Serve these percentages, and hold the schedule.
    SetPercent,
    /// Go back to control.
    Rollback,
    /// Start again after a rollback or a recovery pause.
    Retry,
    /// Say that somebody has seen it.
    Acknowledge,
}

impl Action {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Pause => "Pause",
            Action::Resume => "Resume",
            Action::Approve => "Approve",
            Action::Promote => "Promote",
            Action::SetPercent => "SetPercent",
            Action::Rollback => "Rollback",
            Action::Retry => "Retry",
            Action::Acknowledge => "Acknowledge",
        }
    }
}

/// The step that is approved.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Approve {
    /// Phase of the step.
    #[schemars(length(min = 1, max = 63))]
    pub phase: String,
    /// Name of the step.
    #[schemars(length(min = 1, max = 63))]
    pub step: String,
}

/// How to roll back.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RollbackHow {
    /// Immediate, gradual or partial; default Immediate.
    #[serde(default)]
    pub mode: RollbackMode,
    /// The cohorts that go to control; default: all, or with Partial all but those of `spec.rollback.partial.keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub cohorts: Option<Vec<String>>,
}

/// Where to start again.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RetryHow {
    /// From the first step, or from the first step of the phase that the rollout was in.
    #[serde(default)]
    pub from: RetryFrom,
}

/// Where a retry starts.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryFrom {
    /// From the first step.
    #[default]
    Start,
    /// From the first step of the phase that the rollout was in.
    Phase,
}

/// A check of a raise that an action passes over.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Override {
    /// Windows.
    Window,
    /// Freezes.
    Freeze,
    /// The gates of the phase.
    Gates,
}

/// What became of an action.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutActionStatus {
    /// Generation that was answered; -1 before.
    #[serde(default = "super::unobserved")]
    pub observed_generation: i64,
    /// The answer; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// The answer, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Revision of the rollout in which it is done: apps have it once the rollout's `status.deliveredRevision` has come to
    /// that. Absent where the file holds it whatever was answered, as nothing in it was to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<MicroTime>,
    /// Ready: true when applied, false when it was not.
    #[serde(default)]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What became of an action.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is decided, and stays decided; the file follows.
    Applied,
    /// It was not done; the message says why.
    Rejected,
    /// It was first read too late, and not done.
    Expired,
}

impl Answer {
    /// Every answer.
    pub const ALL: [Answer; 3] = [Answer::Applied, Answer::Rejected, Answer::Expired];

    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Answer::Applied => "Applied",
            Answer::Rejected => "Rejected",
            Answer::Expired => "Expired",
        }
    }
}

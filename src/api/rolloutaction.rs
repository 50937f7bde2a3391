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
    /// The rollout that the action is for, of the same namespace.
    pub rollout_ref: RolloutRef,
    /// What is to be done. Each action is an RBAC verb on the rollout, in lower case, such as `setpercent`.
    pub action: Action,
    /// Why it is to be done, for the record: the history and the events repeat it.
    #[schemars(length(min = 1, max = 512), regex(pattern = NOT_BLANK))]
    pub reason: String,
    /// The step that is approved. The action Approve needs it, and no other takes it; otherwise absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<Approve>,
    /// Percentage to serve to each named cohort, such as `{regular: 10}`. The action SetPercent needs it, and no other
    /// takes it; otherwise absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub set_percent: Option<BTreeMap<String, Percent>>,
    /// How to roll back. Only the action Rollback takes it. Default: every cohort goes to the control variant at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackHow>,
    /// Where to start again. Only the action Retry takes it. Default: from the first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryHow>,
    /// `metadata.generation` of the rollout that the action was meant for; where the rollout has another one, the
    /// action is rejected. Default: any generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub expected_generation: Option<i64>,
    /// Age at which the action is too late when it is first read; then nothing is done. Default: 10m for what raises
    /// (Approve, Promote, Resume, Retry, and SetPercent above what is served), 1h for everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after: Option<Duration>,
    /// Checks of a raise that the action passes over; it takes the RBAC verb `override` as well. Only Promote,
    /// SetPercent and Retry take it. Default: none.
    #[serde(rename = "override", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub overrides: Option<Vec<Override>>,
    /// Name of whoever asked for it. The admission policy fills it in and refuses another's name. Default:
    /// `unverified`, where that policy is not installed; such an action can stop and lower and cannot raise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub requested_by: Option<String>,
}

/// The rollout of an action.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRef {
    /// Name of the FeatureRollout, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// UID of the FeatureRollout; where the rollout of that name has another one, the action is rejected. Default: any
    /// UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[!-~]+$"))]
    pub uid: Option<String>,
}

/// What can be done to a rollout. Each is an RBAC verb, in lower case, on the rollout.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// The schedule stops; what is served stays served.
    #[default]
    Pause,
    /// The schedule goes on after pauses by people, triggers and recoveries.
    Resume,
    /// The step named in `approve` may be entered in this attempt.
    Approve,
    /// The next step is entered now, without waiting for its hold and its date.
    Promote,
    /// The percentages in `setPercent` are served, and the schedule stops until a Resume.
    SetPercent,
    /// The cohorts go back to the control variant, and stay there until a Retry.
    Rollback,
    /// The schedule starts again after a rollback or a recovery pause (StatusLost, Restored, Adopted, PositionLost).
    Retry,
    /// It is noted that somebody has seen a rollback, or what a trigger or a recovery stopped.
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
    /// Name of the phase that the step is in.
    #[schemars(length(min = 1, max = 63))]
    pub phase: String,
    /// Name of the step that is approved.
    #[schemars(length(min = 1, max = 63))]
    pub step: String,
}

/// How to roll back.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RollbackHow {
    /// How fast the cohorts go, and which of them.
    #[serde(default)]
    pub mode: RollbackMode,
    /// Names of the cohorts that go to the control variant. Default: all of them; with `Partial`, all but those in
    /// `spec.rollback.partial.keep` of the rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub cohorts: Option<Vec<String>>,
}

/// Where to start again.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RetryHow {
    /// The step that the schedule starts from.
    #[serde(default)]
    pub from: RetryFrom,
}

/// Where a retry starts.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryFrom {
    /// It starts from the first step.
    #[default]
    Start,
    /// It starts from the first step of the phase that the rollout was in.
    Phase,
}

/// A check of a raise that an action passes over.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Override {
    /// The action does not wait for a window.
    Window,
    /// The action is carried out in a freeze, too.
    Freeze,
    /// The action is carried out although a gate of the phase does not pass.
    Gates,
}

/// What became of an action.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutActionStatus {
    /// Generation of the action that was answered; -1 before.
    #[serde(default = "super::unobserved")]
    pub observed_generation: i64,
    /// The answer. Absent until there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// The answer in words: what was done, or why nothing was, and what comes next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Revision of the rollout in which it is done: apps have it once the rollout's `status.deliveredRevision` has come
    /// to that. Absent where nothing in the file was to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// When the action was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<MicroTime>,
    /// `Ready` is True when the action was applied and False when it was not; `Stalled` is there, and True, when it was
    /// not.
    #[serde(default)]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What became of an action.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The action is decided, and stays decided; the file follows.
    Applied,
    /// Nothing was done; the message says why.
    Rejected,
    /// Nothing was done, as the action was first read after it had expired.
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

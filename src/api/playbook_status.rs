//! What a Playbook's status holds: where the plan stands, for people.
//!
//! Nothing is decided by it but the verdicts of the playbook's own criteria: all else is worked out anew from the spec and the
//! rollouts.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verdict::{CriterionStatus, Verdict};
use super::{Condition, MicroTime};

/// Where a plan stands. It is written when something of it changes, and at the beginning of a week.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlaybookStatus {
    /// Generation that this status speaks of; -1 before the first.
    #[serde(default = "super::unobserved")]
    pub observed_generation: i64,
    /// The current week of all weeks, such as `3/12`; `0/12` before the start, `13/12` once the last week is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub week: Option<String>,
    /// The phases whose weeks have begun and that are not finished, with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Tasks done and rollouts completed, of all tasks and rollouts, such as `13/69`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// The next milestone that is not reached, and its week, such as `dreams-ga (week 4)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_milestone: Option<String>,
    /// How many phases and rollouts wait for somebody.
    #[serde(default)]
    pub blocked_count: i32,
    /// How many milestones are overdue, and phases late.
    #[serde(default)]
    pub overdue_count: i32,
    /// How many risks have nothing in place against them yet.
    #[serde(default)]
    pub open_risks: i32,
    /// Each phase, in the order of the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub phases: Vec<PlaybookPhaseStatus>,
    /// Each milestone, in the order of the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub milestones: Vec<MilestoneStatus>,
    /// What waits for somebody, and why: phases first, then rollouts by name. At most 32; `blockedCount` counts all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub blocked: Vec<Blocked>,
    /// What the playbook's own criteria said last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub criteria: Vec<CriterionStatus>,
    /// Success by feature: every criterion of every rollout that joins the playbook, by the rollout's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["rollout"]))]
    pub success: Vec<Success>,
    /// How many rollouts have no place in `success`: a status has no more than about 16 KiB.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub success_omitted: i32,
    /// Ready, and Stalled when it is.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(count: &i32) -> bool {
    *count == 0
}

impl Default for PlaybookStatus {
    fn default() -> PlaybookStatus {
        PlaybookStatus {
            observed_generation: super::unobserved(),
            week: None,
            phase: None,
            progress: None,
            next_milestone: None,
            blocked_count: 0,
            overdue_count: 0,
            open_risks: 0,
            phases: Vec::new(),
            milestones: Vec::new(),
            blocked: Vec::new(),
            criteria: Vec::new(),
            success: Vec::new(),
            success_omitted: 0,
            conditions: Vec::new(),
        }
    }
}

/// How a phase stands.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseState {
    /// Its first week has not begun.
    Ahead,
    /// Its weeks have begun, and something that it requires is not so: rollouts that have not started wait.
    Blocked,
    /// Its weeks have begun and it is not finished.
    Open,
    /// Its tasks are done and its rollouts completed.
    Done,
}

impl PhaseState {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            PhaseState::Ahead => "Ahead",
            PhaseState::Blocked => "Blocked",
            PhaseState::Open => "Open",
            PhaseState::Done => "Done",
        }
    }
}

/// Where a phase stands.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlaybookPhaseStatus {
    /// Name of the phase.
    pub name: String,
    /// How far the phase has come.
    pub state: PhaseState,
    /// Whether its weeks are over and it is not finished.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// When its first week begins.
    pub opens_at: MicroTime,
    /// Number of the tasks of the phase.
    #[serde(default)]
    pub tasks: i32,
    /// Number of those tasks that are done.
    #[serde(default)]
    pub tasks_done: i32,
    /// Number of the rollouts that join the phase.
    #[serde(default)]
    pub rollouts: i32,
    /// Number of those rollouts that are completed.
    #[serde(default)]
    pub rollouts_completed: i32,
    /// Number of those rollouts that have started.
    #[serde(default)]
    pub rollouts_started: i32,
}

/// How a milestone stands.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MilestoneState {
    /// Its week has not begun, and it is not reached.
    Ahead,
    /// This is its week, and it is not reached.
    Due,
    /// Its week is over, and it is not reached.
    Overdue,
    /// The milestone is reached.
    Reached,
}

impl MilestoneState {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            MilestoneState::Ahead => "Ahead",
            MilestoneState::Due => "Due",
            MilestoneState::Overdue => "Overdue",
            MilestoneState::Reached => "Reached",
        }
    }
}

/// Where a milestone stands.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MilestoneStatus {
    /// Name of the milestone.
    pub name: String,
    /// The week in which it is expected.
    pub week: i32,
    /// How far the milestone has come.
    pub state: MilestoneState,
    /// When it was seen to be reached. It is forgotten where the milestone is no longer reached, because a task was unticked
    /// or a rollout began another attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached_at: Option<MicroTime>,
}

/// What is blocked.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockedKind {
    /// A phase of the playbook.
    Phase,
    /// A rollout that joins it.
    Rollout,
}

impl BlockedKind {
    /// In the middle of a sentence.
    pub const fn as_word(self) -> &'static str {
        match self {
            BlockedKind::Phase => "phase",
            BlockedKind::Rollout => "rollout",
        }
    }
}

/// Something that waits for somebody.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Blocked {
    /// Whether it is a phase or a rollout.
    pub kind: BlockedKind,
    /// Name of the phase or the rollout.
    pub name: String,
    /// Why, for programs: of a phase the first thing that it waits for, of a rollout what its column REASON says.
    pub reason: String,
    /// Why it waits, in words.
    pub message: String,
}

/// How far a feature is the success that it is meant to be.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Success {
    /// Name of the FeatureRollout.
    pub rollout: String,
    /// Its criteria, in the order of its spec.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub criteria: Vec<SuccessCriterion>,
}

/// One target of a feature.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SuccessCriterion {
    /// Name of the criterion.
    pub name: String,
    /// The target, such as `at least 70`; absent where the value is only recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `Pass` where the target is met; absent where there is none or nothing was measured yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The value that came with that verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Since when that is the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<MicroTime>,
}

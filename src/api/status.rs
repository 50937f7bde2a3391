//! What a FeatureRollout's status holds: the durable state of the rollout, and its report to people.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::cohort_status::{AskedBy, CohortStatus, Pending, RaiseCause, Served, Undelivered};
pub use super::record::{
    ActionRecord, Announced, ApprovalStatus, Considered, HistoryEntry, LastStop, RetryStatus, UsedApproval,
};
use super::rollback::RollbackStatus;
use super::verdict::{CriterionStatus, TriggerStatus};
pub use super::waiting::{Check, WaitingFor};
use super::{Condition, MicroTime};

/// Entries of the history that status keeps.
pub const HISTORY: usize = 20;
/// Highest revision of a fragment, 2^53 - 1: of a higher one readers of JSON may make another number.
pub const HIGHEST_REVISION: i64 = super::crds::LARGEST;

/// State and report of a FeatureRollout.
///
/// The state (what is served, the position, pauses, history) is the write-ahead log: the file is rendered from it.
/// The report (state, phase, step, conditions and so on) is derived from it for people and GitOps tools.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FeatureRolloutStatus {
    /// Generation whose decision is delivered; -1 before the first.
    #[serde(default = "super::unobserved")]
    pub observed_generation: i64,
    /// UID of the object this status was written for; another one tells a restored backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The last `spec.attempt` taken note of.
    #[serde(default)]
    pub attempt: i32,
    /// When the object was first seen; the start of a rollout without `schedule.startAt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<MicroTime>,
    /// The step entered last in this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// First exposure in this attempt: the entry of its first raising step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_exposure: Option<Exposure>,
    /// Per cohort of the pinned audience, in its order: what is served, decided, asked and pending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub cohorts: Vec<CohortStatus>,
    /// The pinned audience: names, order and match of the cohorts that the file serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<AudienceRef>,
    /// The edited audience that waits to replace the pinned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_audience: Option<AudienceRef>,
    /// Why the schedule stands still, by cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cause"]))]
    pub pauses: Vec<Pause>,
    /// Since when the rollout clock stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_since: Option<MicroTime>,
    /// When the first step that raised anybody was entered, in whatever attempt. What a playbook's phase requires is not asked
    /// any more from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,
    /// Whether every dependency has been met once in this attempt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dependencies_met: bool,
    /// When the last hold was over with nothing pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<MicroTime>,
    /// Grows whenever the rollout's fragment of the file changes.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991i64))]
    pub revision: i64,
    /// Digest of the fragment of `revision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment: Option<String>,
    /// The next change of the file, decided on before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<Announced>,
    /// The revision that the file is known to hold; one less than `revision` where somebody else has changed the file. As long
    /// as it is lower than `revision`, what `decided` and the newest history entries say has not reached apps, or not any more.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991i64))]
    pub delivered_revision: i64,
    /// Why the file does not hold what is decided; absent while it does, or while it is just being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<Undelivered>,
    /// The last history entry published as an event.
    #[serde(default)]
    pub published_seq: i64,
    /// Approvals given by actions in this attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub approvals: Vec<ApprovalStatus>,
    /// Approvals given in `spec.approvals` by which a step was entered: each is for one entry. One that is taken out of
    /// the spec is forgotten here, so that it counts again when it is given again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub used_approvals: Vec<UsedApproval>,
    /// The rollback in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackStatus>,
    /// A retry whose first step has not been entered yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryStatus>,
    /// With `onMissed: Hold`, the step that was considered in time, or missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub considered: Option<Considered>,
    /// The ControllerRevision that keeps the last valid triggers and rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
    /// Measurements up to then do not count any more: a retry or a resume began then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_from: Option<MicroTime>,
    /// When somebody got the treatment last after nobody had it: from then on missing data of the rollout counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed_at: Option<MicroTime>,
    /// What the triggers said last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name", "cohort"]))]
    pub triggers: Vec<TriggerStatus>,
    /// What the criteria said last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub criteria: Vec<CriterionStatus>,
    /// Actions that were carried out and could still be read as new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["uid"]))]
    pub actions: Vec<ActionRecord>,
    /// The newest action that has stopped or lowered: what raises and was created before it would undo it, and is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_stop: Option<LastStop>,
    /// When somebody said last that they have seen what a trigger or a recovery did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<MicroTime>,
    /// What the next raise waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// What happened last, oldest first. When it is full, what says little of what users got gives way first, and the last
    /// rollbacks at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub history: Vec<HistoryEntry>,

    /// What the rollout is doing, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Phase of the last entered step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The last entered step of all steps, such as `2/5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Expected part of the whole audience that the file gives the feature; absent when a cohort's share is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<String>,
    /// Percentage that the file gives each cohort, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
    /// Release of the time zone data in use, such as `2026f`; absent for UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone_data: Option<String>,
    /// When something changes next, UTC; absent when nothing is due by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Why it does what `state` says: while it waits the check that says no and what of it, such as `Hold`,
    /// `Freeze:holidays` or `Dependencies:search`; the cause of a pause; what began a rollback, such as
    /// `Trigger:crash-rate`; else the reason of the condition Ready. Absent when it is completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ready and Completed always; Reconciling, Stalled and Paused only while they are true.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Default for FeatureRolloutStatus {
    fn default() -> FeatureRolloutStatus {
        FeatureRolloutStatus {
            observed_generation: super::unobserved(),
            uid: None,
            attempt: 0,
            first_seen: None,
            position: None,
            first_exposure: None,
            cohorts: Vec::new(),
            audience: None,
            pending_audience: None,
            pauses: Vec::new(),
            paused_since: None,
            started_at: None,
            dependencies_met: false,
            completed_at: None,
            revision: 0,
            fragment: None,
            announced: None,
            delivered_revision: 0,
            undelivered: None,
            published_seq: 0,
            approvals: Vec::new(),
            used_approvals: Vec::new(),
            rollback: None,
            retry: None,
            considered: None,
            guard: None,
            metrics_from: None,
            exposed_at: None,
            triggers: Vec::new(),
            criteria: Vec::new(),
            actions: Vec::new(),
            last_stop: None,
            acknowledged_at: None,
            waiting_for: None,
            history: Vec::new(),
            state: None,
            phase: None,
            step: None,
            exposure: None,
            served: None,
            time_zone_data: None,
            next: None,
            reason: None,
            conditions: Vec::new(),
        }
    }
}

impl FeatureRolloutStatus {
    /// The cohort of this name, if the pinned audience has it.
    pub fn cohort(&self, name: &str) -> Option<&CohortStatus> {
        self.cohorts.iter().find(|cohort| cohort.name == name)
    }

    /// The cohort of this name, to be changed.
    pub fn cohort_mut(&mut self, name: &str) -> Option<&mut CohortStatus> {
        self.cohorts.iter_mut().find(|cohort| cohort.name == name)
    }

    /// Whether anyone gets the treatment, by what the file holds or by what is decided and on its way there.
    pub fn exposed(&self) -> bool {
        self.cohorts.iter().any(CohortStatus::is_exposed)
    }

    /// Whether the file is known to hold what is decided.
    pub fn is_delivered(&self) -> bool {
        self.delivered_revision == self.revision
    }

    /// The pause of this cause, if there is one.
    pub fn pause(&self, cause: PauseCause) -> Option<&Pause> {
        self.pauses.iter().find(|pause| pause.cause == cause)
    }

    /// The highest number in the history, 0 when it is empty.
    pub fn last_seq(&self) -> i64 {
        self.history.last().map_or(0, |entry| entry.seq)
    }

    /// Whether a decision has ever been written here.
    pub fn is_begun(&self) -> bool {
        self.uid.is_some()
    }
}

/// The step entered last.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// Phase of the step.
    pub phase: String,
    /// Number of the step in its phase, from 1.
    #[schemars(range(min = 1))]
    pub number: i32,
    /// How many steps the phase had.
    #[schemars(range(min = 1))]
    pub of: i32,
    /// Name of the step, where it has one; in a ramp its percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Digest of what the step asks, which finds an unnamed step again after an edit.
    pub content: String,
    /// When the step was entered.
    pub entered_at: MicroTime,
    /// From when its hold counts: the entry, moved on by pauses and by edits that raised.
    pub hold_from: MicroTime,
}

/// The attempt's first exposure.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// When the attempt's first raising step was entered.
    pub at: MicroTime,
    /// From when the cohorts' delays count: `at`, moved on by pauses.
    pub delay_from: MicroTime,
}

/// The pinned definition of an audience.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AudienceRef {
    /// Name of the ControllerRevision that holds it: the set or rollout, and the content's digest.
    pub name: String,
}

/// One cause for which the schedule stands still.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// What paused it.
    pub cause: PauseCause,
    /// Since when.
    pub since: MicroTime,
    /// Why, and what ends it.
    pub message: String,
}

/// What pauses a rollout.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseCause {
    /// `spec.suspend`.
    Suspended,
    /// The FlagSet's `emergency`.
    Emergency,
    /// The status was empty although the file knows this object.
    StatusLost,
    /// The status came from another object: a restored backup.
    Restored,
    /// The file served the flag of a deleted rollout of the same name.
    Adopted,
    /// After an edit the current step could not be found again.
    PositionLost,
    /// Somebody paused it.
    Person,
    /// Somebody set percentages by hand.
    SetPercent,
    /// A trigger paused it.
    Trigger,
}

impl PauseCause {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            PauseCause::Suspended => "Suspended",
            PauseCause::Emergency => "Emergency",
            PauseCause::StatusLost => "StatusLost",
            PauseCause::Restored => "Restored",
            PauseCause::Adopted => "Adopted",
            PauseCause::PositionLost => "PositionLost",
            PauseCause::Person => "Person",
            PauseCause::SetPercent => "SetPercent",
            PauseCause::Trigger => "Trigger",
        }
    }

    /// Whether a raised `spec.attempt` ends it.
    pub fn is_recovery(self) -> bool {
        matches!(
            self,
            PauseCause::StatusLost | PauseCause::Restored | PauseCause::Adopted | PauseCause::PositionLost
        )
    }
}

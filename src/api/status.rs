//! What a FeatureRollout's status holds: the durable state of the rollout, and its report to people.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::cohort_status::{AskedBy, CohortStatus, Pending, RaiseCause, Served, Undelivered};
pub use super::pause::{Pause, PauseCause};
pub use super::record::{
    ActionRecord, Announced, ApprovalStatus, Considered, HistoryEntry, LastStop, ResponseStatus, RetryStatus,
    UsedApproval,
};
use super::rollback::RollbackStatus;
use super::rolloutpolicy::BoundPolicy;
use super::verdict::{CriterionStatus, TriggerStatus};
pub use super::waiting::{Check, ThenWaitsFor, WaitingFor};
use super::{Condition, MicroTime, State, state};

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
    /// Generation of the spec, `metadata.generation`, whose decision the file holds; -1 before the first one.
    #[serde(default = "super::unobserved")]
    pub observed_generation: i64,
    /// UID of the object that this status was written for. Another UID than that of the object itself means that the
    /// status came from a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The highest `spec.attempt` that was seen, from which a raise is told.
    #[serde(default)]
    pub attempt: i32,
    /// When the object was first seen; a rollout without `schedule.startAt` starts then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<MicroTime>,
    /// The step that was entered last in this attempt. Absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// When users first got the feature in this attempt, by a step. The cohorts' delays count from then. Absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_exposure: Option<Exposure>,
    /// What each cohort is served, what is decided for it, what the steps ask for it, and what is pending, in the order
    /// in which the cohorts match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub cohorts: Vec<CohortStatus>,
    /// The cohorts that the file serves, as they are kept in a ControllerRevision: an edit of them is taken over as a
    /// raise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<AudienceRef>,
    /// The edited cohorts that wait for the checks of a raise. Absent where there is no such edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_audience: Option<AudienceRef>,
    /// Why the rollout is paused, one entry for each cause. Empty while it is not paused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cause"]))]
    pub pauses: Vec<Pause>,
    /// Since when holds and delays do not count down. Absent while the rollout is not paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_since: Option<MicroTime>,
    /// When the first step that raised anybody was entered, in whatever attempt. From then on what a playbook's phase
    /// requires is not asked any more. Absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,
    /// Whether everything in `spec.dependsOn` has been met once in this attempt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dependencies_met: bool,
    /// When the last hold was over with nothing pending. Absent before, and again after a retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<MicroTime>,
    /// Number that grows whenever the flag in the file changes.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991i64))]
    pub revision: i64,
    /// Digest of the flag that belongs to `revision`, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment: Option<String>,
    /// The next change of the flag that comes by the passing of time alone, decided before its time so that it is in
    /// the file at once. Absent where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<Announced>,
    /// The revision that the file is known to hold. It is lower than `revision` while what was decided has not reached
    /// the apps, or not any more because somebody changed the file.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991i64))]
    pub delivered_revision: i64,
    /// Why the file does not hold what is decided. Absent while it does, and while it is just being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<Undelivered>,
    /// Number of the last history entry that was published as an event.
    #[serde(default)]
    pub published_seq: i64,
    /// Approvals that actions gave in this attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub approvals: Vec<ApprovalStatus>,
    /// Approvals of `spec.approvals` by which a step was entered: each is for one entry. One that is taken out of the
    /// spec is forgotten here, so that it counts again when it is given again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub used_approvals: Vec<UsedApproval>,
    /// The rollback in force: nothing is raised until a retry. Absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackStatus>,
    /// A retry whose first step has not been entered yet. Absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryStatus>,
    /// The step whose checks were asked last, and whether it was too late by then; only with `onMissed: Hold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub considered: Option<Considered>,
    /// Name of the ControllerRevision that keeps the last valid triggers and rollback, which stay in force while the
    /// spec is invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
    /// Measurements up to this instant do not count any more, as the rollout was resumed or retried then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_from: Option<MicroTime>,
    /// When somebody got the feature after nobody had had it: from then on missing data of the whole rollout counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed_at: Option<MicroTime>,
    /// What each trigger said last; of one with `perCohort`, for each cohort.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name", "cohort"]))]
    pub triggers: Vec<TriggerStatus>,
    /// What each criterion said last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub criteria: Vec<CriterionStatus>,
    /// Actions that were carried out and have not expired yet, so that none is carried out twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["uid"]))]
    pub actions: Vec<ActionRecord>,
    /// The newest action that stopped or lowered something: an action that raises and was created before it would undo
    /// it, and is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_stop: Option<LastStop>,
    /// When somebody last said that they have seen what a trigger or a recovery stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<MicroTime>,
    /// The critical problem that somebody is to respond to; an Acknowledge action says that somebody has. Absent where
    /// there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ResponseStatus>,
    /// The first check that does not let the next raise through, and until when. Absent where no raise is to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// What happened last, oldest first, at most 20 entries. When it is full, entries that say little about what users
    /// got give way first, and the last rollbacks last. `sluice history` prints it; events repeat it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub history: Vec<HistoryEntry>,

    /// What the rollout is doing, in one word.
    #[serde(default, deserialize_with = "state::known", skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Name of the phase of the step that was entered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Number of the step that was entered last, and how many there are in all phases, such as `2/5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Expected part of all users that has the feature, by the file, such as `42.5%`: the sum over the cohorts of share
    /// × percentage. Absent where the share of a cohort is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<String>,
    /// Percentage that the file gives each cohort, in one line, such as `internal=100%,regular=5%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
    /// The policies that bind the rollout, the nearest first. Absent where none does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub policies: Vec<BoundPolicy>,
    /// Release of the time zone data that the controller uses, such as `2026f`. Absent where only UTC is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone_data: Option<String>,
    /// When something changes next by itself, in UTC, such as `2025-09-29T16:00:00Z`. Absent where nothing does until
    /// somebody acts or something is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Why it does what `state` says: while it waits, the check that does not let the next raise through and what of
    /// it, such as `Hold`, `Freeze:holidays` or `Dependencies:search`, and behind a `+` a later one that would say no
    /// when that is over, such as `Window+Triggers:crash-rate`; while it is paused, the cause; in a rollback,
    /// what began it, such as `Trigger:crash-rate` or `Person`; in an error, the reason of the condition `Ready`.
    /// Absent when it is completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `Ready` is always there: True means that the file holds what the rollout has decided, also while it waits or is
    /// paused. `Completed` is always there, too. Only while they are True there are `Reconciling` (the file is being
    /// written, or an error is retried), `Stalled` (nothing is raised until somebody acts), `Paused`, and `RolledBack`.
    /// `CriteriaMet` says whether all criteria with a bound pass, where there are any.
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
            response: None,
            waiting_for: None,
            history: Vec::new(),
            state: None,
            phase: None,
            step: None,
            exposure: None,
            served: None,
            policies: Vec::new(),
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

    /// Whether anybody has ever been raised. A status of before that was noted still has the exposure of its attempt.
    pub fn has_started(&self) -> bool {
        self.started_at.is_some() || self.first_exposure.is_some()
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
    /// Name of the phase that the step is in.
    pub phase: String,
    /// Number of the step in its phase, from 1.
    #[schemars(range(min = 1))]
    pub number: i32,
    /// Number of steps that the phase had when the step was entered.
    #[schemars(range(min = 1))]
    pub of: i32,
    /// Name of the step; of a ramp, its percentage. Absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Digest of the percentages that the step asks for, by which a step without a name is found again after an edit.
    pub content: String,
    /// When the step was entered.
    pub entered_at: MicroTime,
    /// From when its hold counts: the entry, moved on by the length of pauses, and to the time of an edit that raised.
    pub hold_from: MicroTime,
}

/// The attempt's first exposure.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// When the first step that raises was entered.
    pub at: MicroTime,
    /// From when the cohorts' delays count: the same instant, moved on by the length of pauses.
    pub delay_from: MicroTime,
}

/// The pinned definition of an audience.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AudienceRef {
    /// Name of the ControllerRevision that keeps the cohorts: that of the set or rollout, and a digest of the content.
    pub name: String,
}

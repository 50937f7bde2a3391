//! What a FeatureRollout's status holds: the durable state of the rollout, and its report to people.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::record::{ActionRecord, Announced, ApprovalStatus, Considered, HistoryEntry, RetryStatus};
use super::rollback::{Descent, RollbackStatus};
use super::verdict::{CriterionStatus, TriggerStatus};
use super::{Condition, MicroTime, Percent, Reason};

/// Entries of the history that status keeps.
pub const HISTORY: usize = 20;

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
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cause"]))]
    pub pauses: Vec<Pause>,
    /// Since when the rollout clock stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_since: Option<MicroTime>,
    /// Whether every dependency has been met once in this attempt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dependencies_met: bool,
    /// When the last hold was over with nothing pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<MicroTime>,
    /// Grows whenever the rollout's fragment of the file changes.
    #[serde(default)]
    pub revision: i64,
    /// Digest of the fragment of `revision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment: Option<String>,
    /// The next change of the file, decided on before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<Announced>,
    /// The revision that the file is known to hold. As long as it is lower than `revision`, what `decided` and the newest
    /// history entries say has not reached apps.
    #[serde(default)]
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
    /// What the next raise waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// What happened last, oldest first.
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
    /// When something changes next, UTC; absent when nothing is due by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
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
            dependencies_met: false,
            completed_at: None,
            revision: 0,
            fragment: None,
            announced: None,
            delivered_revision: 0,
            undelivered: None,
            published_seq: 0,
            approvals: Vec::new(),
            rollback: None,
            retry: None,
            considered: None,
            guard: None,
            metrics_from: None,
            triggers: Vec::new(),
            criteria: Vec::new(),
            actions: Vec::new(),
            waiting_for: None,
            history: Vec::new(),
            state: None,
            phase: None,
            step: None,
            exposure: None,
            served: None,
            next: None,
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
    /// Percentage that the file gives the cohort now.
    #[serde(default)]
    pub served: Served,
    /// Percentage that is decided and that the file is not known to give yet; absent where it gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decided: Option<Percent>,
    /// Percentage that the last entered step that names the cohort asks for it.
    #[serde(default)]
    pub asked: Percent,
    /// The step that asked, as `phase/name` or `phase/number`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<AskedBy>,
    /// A raise asked for but not yet let through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// Served before an emergency took it away; comes back, through the door, when the emergency is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<Percent>,
    /// Where the cohort stands on the ladder of a gradual rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descent: Option<Descent>,
    /// True where the cohort does not admit the rollout's tier: no step raises it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tier_refused: bool,
    /// Expected part of the audience that is in the cohort, by the last valid spec; absent where that gives none.
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
    /// Why, for programs; `Retrying` where it is tried again without anybody's help.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
}

/// The step that set a cohort's ask.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AskedBy {
    /// Phase of the step.
    pub phase: String,
    /// Number of the step in its phase, from 1.
    pub number: i32,
    /// How many steps the phase had.
    pub of: i32,
    /// Name of the step, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Digest of what the step asked.
    pub content: String,
}

/// A raise asked for but not yet let through.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// Percentage that the cohort will get.
    pub percent: Percent,
    /// The check of the door that held it back last.
    pub check: Check,
    /// Earliest instant at which it may come.
    pub due: MicroTime,
    /// What asked for it.
    pub cause: RaiseCause,
}

/// What asked for a pending raise.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaiseCause {
    /// A step that was entered.
    Step,
    /// An edit of the current or an earlier step, of the tier or of the cohorts.
    Edit,
}

/// A check of the door, in the order in which they are asked.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// The object is valid and not being deleted.
    Valid,
    /// No rollback is in force.
    RolledBack,
    /// Neither suspended nor paused.
    Paused,
    /// Other rollouts have come far enough.
    Dependencies,
    /// The start has come.
    Start,
    /// The previous hold is over.
    Hold,
    /// The step's own date has come.
    Date,
    /// The step was not missed by 15 minutes or more, with `onMissed: Hold`.
    Missed,
    /// The cohort's delay after first exposure is over.
    CohortDelay,
    /// The step is approved.
    Approval,
    /// A window is open.
    Window,
    /// No freeze is in force.
    Freeze,
    /// The file holds the previous decision.
    Delivered,
    /// No pausing or rollback level is in breach, and no data is missing under Hold.
    Triggers,
    /// The gates of the phase pass.
    Gates,
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
    /// Whether a raised `spec.attempt` ends it.
    pub fn is_recovery(self) -> bool {
        matches!(
            self,
            PauseCause::StatusLost | PauseCause::Restored | PauseCause::Adopted | PauseCause::PositionLost
        )
    }
}

/// What the next raise waits for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WaitingFor {
    /// The check that says no.
    pub check: Check,
    /// Why, in words.
    pub message: String,
    /// When it will say yes, if the plan can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<MicroTime>,
}

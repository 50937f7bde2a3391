//! Reasons of history entries, events and conditions: a closed set.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why something happened or stands as it does.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The rollout was seen for the first time.
    Started,
    /// A step was entered.
    StepEntered,
    /// A cohort's delay was over and its raise came.
    CohortRaised,
    /// An edit of the spec changed what is served.
    EditApplied,
    /// The rollout moved to an edited audience.
    AudienceChanged,
    /// The schedule stands still.
    Paused,
    /// The schedule goes on.
    Resumed,
    /// The last hold is over and nothing is pending.
    Completed,
    /// A new attempt began.
    AttemptStarted,
    /// `spec.attempt` was raised while there was nothing to start again from.
    AttemptNoted,
    /// The FlagSet's emergency took the rollout to control.
    EmergencyControl,
    /// The FlagSet's emergency is over.
    EmergencyLifted,
    /// The status was lost and rebuilt from the file.
    StatusLost,
    /// The status came from another object and was lowered to what the file serves.
    Restored,
    /// The file's flag of a deleted rollout of the same name was taken over.
    Adopted,
    /// After an edit the current step could not be found again.
    PositionLost,
    /// The rollout is being deleted and serves control.
    Deleting,
    /// The file does not hold what is decided: apps still get what they got.
    NotDelivered,
    /// The file holds what is decided, after a time in which it did not.
    Delivered,
    /// A level of a trigger was in breach for its time.
    TriggerFired,
    /// A rollback began.
    RolledBack,
    /// A rollback is on its way down a ladder.
    RollingBack,
    /// A rollback became stronger or took in more cohorts.
    RollbackEscalated,
    /// A gradual rollback went down a rung.
    RungEntered,
    /// Every cohort of a rollback is at control.
    RollbackEnded,
    /// The triggers that caused a rollback have passed again.
    RollbackVerified,
    /// Somebody started again after a rollback or a recovery pause.
    Retried,
    /// Somebody approved a step.
    Approved,
    /// Somebody had the next step entered.
    Promoted,
    /// Somebody set percentages by hand.
    PercentSet,
    /// Somebody has seen it.
    Acknowledged,
    /// A gate does not pass.
    AwaitingGates,
    /// A trigger is in breach, or its data is missing.
    TriggersNotQuiet,
    /// Every criterion with a bound passes.
    CriteriaMet,
    /// A criterion does not pass.
    CriteriaNotMet,
    /// The action was carried out.
    Applied,
    /// The action was not carried out.
    Rejected,
    /// The action was first read too late.
    Expired,
    /// Kept for at least its hold.
    Holding,
    /// Nothing has been entered yet.
    Waiting,
    /// A step waits for approval.
    AwaitingApproval,
    /// The file does not yet hold the decision.
    Delivering,
    /// An error is being retried.
    Retrying,
    /// The spec is invalid.
    InvalidSpec,
    /// Rollouts wait for each other in a circle.
    DependencyCycle,
    /// A named object does not exist.
    ReferenceNotFound,
    /// Another living rollout, or an orphan in the file, has the flag key.
    KeyConflict,
    /// The ConfigMap belongs to somebody else.
    Conflict,
    /// The API server forbids a write.
    Forbidden,
    /// The namespace is being deleted: nothing can be written there any more.
    NamespaceTerminating,
    /// The API server finds what is written invalid.
    Refused,
    /// The file would break its byte budget.
    PayloadTooLarge,
    /// The rendered flag does not say what status says.
    SelfCheckFailed,
    /// Pods mount a file in a way in which no update ever arrives.
    SubPathMount,
    /// All is as it should be.
    Valid,
    /// The file is written.
    Written,
    /// Somebody else had edited or deleted the file, and it is put right.
    FileRestored,
    /// Where messages went says that it takes none any more.
    EndpointGone,
}

impl Reason {
    /// The reason as events and conditions spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Started => "Started",
            Reason::StepEntered => "StepEntered",
            Reason::CohortRaised => "CohortRaised",
            Reason::EditApplied => "EditApplied",
            Reason::AudienceChanged => "AudienceChanged",
            Reason::Paused => "Paused",
            Reason::Resumed => "Resumed",
            Reason::Completed => "Completed",
            Reason::AttemptStarted => "AttemptStarted",
            Reason::AttemptNoted => "AttemptNoted",
            Reason::EmergencyControl => "EmergencyControl",
            Reason::EmergencyLifted => "EmergencyLifted",
            Reason::StatusLost => "StatusLost",
            Reason::Restored => "Restored",
            Reason::Adopted => "Adopted",
            Reason::PositionLost => "PositionLost",
            Reason::Deleting => "Deleting",
            Reason::NotDelivered => "NotDelivered",
            Reason::Delivered => "Delivered",
            Reason::TriggerFired => "TriggerFired",
            Reason::RolledBack => "RolledBack",
            Reason::RollingBack => "RollingBack",
            Reason::RollbackEscalated => "RollbackEscalated",
            Reason::RungEntered => "RungEntered",
            Reason::RollbackEnded => "RollbackEnded",
            Reason::RollbackVerified => "RollbackVerified",
            Reason::Retried => "Retried",
            Reason::Approved => "Approved",
            Reason::Promoted => "Promoted",
            Reason::PercentSet => "PercentSet",
            Reason::Acknowledged => "Acknowledged",
            Reason::AwaitingGates => "AwaitingGates",
            Reason::TriggersNotQuiet => "TriggersNotQuiet",
            Reason::CriteriaMet => "CriteriaMet",
            Reason::CriteriaNotMet => "CriteriaNotMet",
            Reason::Applied => "Applied",
            Reason::Rejected => "Rejected",
            Reason::Expired => "Expired",
            Reason::Holding => "Holding",
            Reason::Waiting => "Waiting",
            Reason::AwaitingApproval => "AwaitingApproval",
            Reason::Delivering => "Delivering",
            Reason::Retrying => "Retrying",
            Reason::InvalidSpec => "InvalidSpec",
            Reason::DependencyCycle => "DependencyCycle",
            Reason::ReferenceNotFound => "ReferenceNotFound",
            Reason::KeyConflict => "KeyConflict",
            Reason::Conflict => "Conflict",
            Reason::Forbidden => "Forbidden",
            Reason::NamespaceTerminating => "NamespaceTerminating",
            Reason::Refused => "Refused",
            Reason::PayloadTooLarge => "PayloadTooLarge",
            Reason::SelfCheckFailed => "SelfCheckFailed",
            Reason::SubPathMount => "SubPathMount",
            Reason::Valid => "Valid",
            Reason::Written => "Written",
            Reason::FileRestored => "FileRestored",
            Reason::EndpointGone => "EndpointGone",
        }
    }

    /// Whether an event of this reason is a warning.
    pub const fn is_warning(self) -> bool {
        matches!(
            self,
            Reason::EmergencyControl
                | Reason::TriggerFired
                | Reason::RolledBack
                | Reason::RollbackEscalated
                | Reason::StatusLost
                | Reason::Restored
                | Reason::Adopted
                | Reason::PositionLost
                | Reason::NotDelivered
                | Reason::Retrying
                | Reason::InvalidSpec
                | Reason::DependencyCycle
                | Reason::ReferenceNotFound
                | Reason::KeyConflict
                | Reason::Conflict
                | Reason::Forbidden
                | Reason::Refused
                | Reason::PayloadTooLarge
                | Reason::SelfCheckFailed
                | Reason::SubPathMount
                | Reason::FileRestored
                | Reason::EndpointGone
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

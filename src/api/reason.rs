//! Reasons of history entries, events and conditions: a closed set.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why something happened or stands as it does.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The rollout was seen for the first time.
    Started,
    /// A step of the schedule was entered.
    StepEntered,
    /// A cohort's delay was over and its raise came.
    CohortRaised,
    /// An edit of the spec changed what is served.
    EditApplied,
    /// The rollout moved to an edited audience.
    AudienceChanged,
    /// The rollout was paused: nothing is raised until the cause ends. What ends it is in `status.pauses`.
    Paused,
    /// The cause of a pause ended, and the schedule goes on.
    Resumed,
    /// The last hold is over and nothing is pending.
    Completed,
    /// A new attempt began by a raised `spec.attempt`.
    AttemptStarted,
    /// `spec.attempt` was raised while there was nothing to start again from.
    AttemptNoted,
    /// The FlagSet's emergency took the rollout to the control variant. Taking `emergency` out of the FlagSet ends it.
    EmergencyControl,
    /// The FlagSet's emergency is over.
    EmergencyLifted,
    /// The status was lost and rebuilt from the file; the rollout is paused. `sluice resume` ends the pause, or a
    /// retry.
    StatusLost,
    /// The status came from another object and was lowered to what the file serves; the rollout is paused. `sluice
    /// resume` ends the pause, or a retry.
    Restored,
    /// The flag of a deleted rollout of the same name was taken over from the file; the rollout is paused. `sluice
    /// resume` ends the pause, or a retry.
    Adopted,
    /// After an edit the current step could not be found again; the rollout is paused. Putting it back ends the pause,
    /// or a retry.
    PositionLost,
    /// The rollout is being deleted and serves control.
    Deleting,
    /// The file does not hold what is decided, so that apps still get what they got before. It ends by itself, as
    /// `Delivered`, when the file can be written.
    NotDelivered,
    /// The file holds what is decided, after a time in which it did not.
    Delivered,
    /// A level of a trigger was in breach for its time.
    TriggerFired,
    /// A rollback of some or all cohorts began, or has ended. It stays in force until a retry: `sluice retry`, or a
    /// raised `spec.attempt`.
    RolledBack,
    /// A rollback is on its way, and some of its cohorts still have the feature. It ends by itself, as `RolledBack`.
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
    /// Somebody approved a step by an action.
    Approved,
    /// Somebody had the next step entered.
    Promoted,
    /// Somebody set percentages by hand.
    PercentSet,
    /// Somebody said that they have seen it.
    Acknowledged,
    /// Nobody has responded to a critical problem in the time that `respondWithin` gives. `sluice ack` says that
    /// somebody has.
    ResponseOverdue,
    /// A gate of the phase does not pass, or was not measured. It ends by itself when the criterion passes.
    AwaitingGates,
    /// A level that pauses or rolls back is in breach, or data of its trigger is missing. It ends by itself when the
    /// metric is good again.
    TriggersNotQuiet,
    /// Every criterion with a bound passes.
    CriteriaMet,
    /// A criterion with a bound does not pass, or was not measured. It ends by itself when all of them pass.
    CriteriaNotMet,
    /// The action was carried out.
    Applied,
    /// The action was not carried out; its message says why.
    Rejected,
    /// The action was not carried out, as it was first read after it had expired.
    Expired,
    /// The file holds what was decided, and no step may be entered yet. It ends by itself.
    Holding,
    /// No step has been entered yet. It ends by itself, when the check in `status.waitingFor` allows the first one.
    Waiting,
    /// The next step has `approval: Required` and is not approved. `sluice approve` ends it, or an entry in
    /// `spec.approvals`.
    AwaitingApproval,
    /// The file is being written. It ends by itself.
    Delivering,
    /// An error is tried again without anybody's help. It ends by itself, when what the message names is over.
    Retrying,
    /// The spec cannot be followed; the message names each field. Correcting them ends it.
    InvalidSpec,
    /// Rollouts wait for each other in a circle, which the message names. Taking one `dependsOn` of it away ends it.
    DependencyCycle,
    /// An object that the spec names does not exist. It ends by itself when the object is there.
    ReferenceNotFound,
    /// Another flag has the key of the feature or of its announcement: that of another rollout, which exists or whose flag
    /// is still in the file, or a static one. Another key ends it, or the key in `prune` of the FlagSet.
    KeyConflict,
    /// The ConfigMap or FeatureFlag belongs to somebody else, or is immutable. Deleting it ends it, or another name in
    /// `outputs`, `featureFlag` or `changelog`.
    Conflict,
    /// The API server forbids a write that is needed. Granting it ends it, see the table of permissions in
    /// operations.md.
    Forbidden,
    /// The namespace is being deleted, and nothing can be written there any more. It ends with the namespace.
    NamespaceTerminating,
    /// The API server, or an admission policy, finds what is written invalid. It ends by itself when what the message
    /// names is corrected.
    Refused,
    /// The file would pass 95 % of 1 MiB; what lowers may use the rest. Splitting the FlagSet ends it, or taking flags
    /// out.
    PayloadTooLarge,
    /// The objects of the namespace need more memory than they may have together, and this one, or a set that it names, is among the
    /// youngest: nothing is raised, and what lowers goes on. It ends by itself when older ones are deleted or smaller, or
    /// `--namespace-memory` is raised.
    NamespaceFull,
    /// The rendered flag does not evaluate to what the status says, so the last good one stays in the file. A corrected
    /// version of Sluice ends it: report it.
    SelfCheckFailed,
    /// Pods mount the file by `subPath`, where no update arrives. Mounting the folder ends it.
    SubPathMount,
    /// The object is valid and can be used.
    Valid,
    /// The file is written and holds what was decided.
    Written,
    /// Somebody else had edited or deleted the file, and it is put right.
    FileRestored,
    /// The object does nothing in its namespace: it counts in Sluice's own one alone, which the message names. Creating it
    /// there ends it, by whoever runs Sluice; this one can be deleted.
    WrongNamespace,
    /// The address that messages of a channel go to says that it takes none any more. Correcting the address ends it.
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
            Reason::ResponseOverdue => "ResponseOverdue",
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
            Reason::NamespaceFull => "NamespaceFull",
            Reason::SelfCheckFailed => "SelfCheckFailed",
            Reason::SubPathMount => "SubPathMount",
            Reason::Valid => "Valid",
            Reason::Written => "Written",
            Reason::FileRestored => "FileRestored",
            Reason::WrongNamespace => "WrongNamespace",
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
                | Reason::ResponseOverdue
                | Reason::Retrying
                | Reason::InvalidSpec
                | Reason::DependencyCycle
                | Reason::ReferenceNotFound
                | Reason::KeyConflict
                | Reason::Conflict
                | Reason::Forbidden
                | Reason::Refused
                | Reason::PayloadTooLarge
                | Reason::NamespaceFull
                | Reason::SelfCheckFailed
                | Reason::SubPathMount
                | Reason::FileRestored
                | Reason::WrongNamespace
                | Reason::EndpointGone
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

//! What each reason says in a few words, how bad it is, and what it means for an incident.

use crate::api::status::HistoryEntry;
use crate::api::{Reason, Severity};

/// What happened, in a few words that follow the name of a feature: `dreams: rolled back`.
pub const fn headline(reason: Reason) -> &'static str {
    match reason {
        Reason::Started => "the rollout has begun",
        Reason::StepEntered => "a step was entered",
        Reason::CohortRaised => "a cohort was raised",
        Reason::EditApplied => "an edit changed what is served",
        Reason::AudienceChanged => "the audience was changed",
        Reason::Paused => "paused",
        Reason::Resumed => "resumed",
        Reason::Completed => "completed",
        Reason::AttemptStarted => "a new attempt has begun",
        Reason::AttemptNoted => "a new attempt was noted",
        Reason::EmergencyControl => "taken to control by an emergency",
        Reason::EmergencyLifted => "the emergency is over",
        Reason::StatusLost => "paused: its status was lost",
        Reason::Restored => "paused: its status came from a backup",
        Reason::Adopted => "paused: it was created anew",
        Reason::PositionLost => "paused: its step was not found after an edit",
        Reason::Deleting => "is being deleted and serves control",
        Reason::NotDelivered => "apps do not get what is decided",
        Reason::Delivered => "apps get what is decided again",
        Reason::TriggerFired => "a trigger has fired",
        Reason::RolledBack => "rolled back",
        Reason::RollingBack => "is being rolled back",
        Reason::RollbackEscalated => "the rollback became stronger",
        Reason::RungEntered => "the rollback went down a rung",
        Reason::RollbackEnded => "the rollback has ended at control",
        Reason::RollbackVerified => "the rollback is verified",
        Reason::Retried => "started again",
        Reason::Approved => "a step was approved",
        Reason::Promoted => "promoted by hand",
        Reason::PercentSet => "percentages were set by hand",
        Reason::Acknowledged => "acknowledged",
        Reason::ResponseOverdue => "nobody has responded in time",
        Reason::AwaitingGates => "waits for a gate",
        Reason::TriggersNotQuiet => "waits for quiet triggers",
        Reason::CriteriaMet => "the criteria are met",
        Reason::CriteriaNotMet => "a criterion is not met",
        Reason::Applied => "an action was carried out",
        Reason::Rejected => "an action was rejected",
        Reason::Expired => "an action came too late",
        Reason::Holding => "holds",
        Reason::Waiting => "waits",
        Reason::AwaitingApproval => "waits for approval",
        Reason::Delivering => "is on its way to apps",
        Reason::Retrying => "an error is being retried",
        Reason::InvalidSpec => "the spec is invalid",
        Reason::DependencyCycle => "waits in a circle",
        Reason::ReferenceNotFound => "a named object is missing",
        Reason::KeyConflict => "another rollout has the flag key",
        Reason::Conflict => "the ConfigMap is somebody else's",
        Reason::Forbidden => "a write is forbidden",
        Reason::NamespaceTerminating => "the namespace is being deleted",
        Reason::Refused => "a write is refused",
        Reason::PayloadTooLarge => "the file has no room",
        Reason::NamespaceFull => "the namespace has too many objects",
        Reason::SelfCheckFailed => "the rendered flag is not what was decided",
        Reason::SubPathMount => "pods get no updates",
        Reason::Valid => "valid",
        Reason::Written => "written",
        Reason::FileRestored => "the file was put right",
        Reason::WrongNamespace => "an object is in the wrong namespace",
        Reason::EndpointGone => "a channel takes no messages any more",
    }
}

/// How bad an entry is: what the trigger says that it is about, else by its reason.
pub fn severity(entry: &HistoryEntry) -> Severity {
    let of_reason = match entry.reason {
        Reason::RolledBack | Reason::RollbackEscalated | Reason::EmergencyControl => Severity::Critical,
        reason if reason.is_warning() => Severity::Warning,
        _ => Severity::Info,
    };
    match entry.reason {
        // That a breach is over is good news, however bad the breach was.
        Reason::RollbackVerified | Reason::RollbackEnded | Reason::Resumed => Severity::Info,
        _ => entry.severity.map_or(of_reason, |said| said.max(of_reason)),
    }
}

/// What a message does to an incident of its rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// Something is wrong: somebody should come.
    Trigger,
    /// Somebody is on it.
    Acknowledge,
    /// It is over.
    Resolve,
}

/// What an entry does to an incident, where what is at least as bad as `from` is one.
///
/// An acknowledged rollback is being worked on until its triggers have passed again; nothing says of anything else that it is
/// over, so there the acknowledgement does.
pub fn incident(
    reason: Reason,
    severity: Severity,
    is_rolled_back: bool,
    from: Severity,
) -> Option<Incident> {
    match reason {
        Reason::Acknowledged if is_rolled_back => Some(Incident::Acknowledge),
        Reason::Acknowledged
        | Reason::RollbackVerified
        | Reason::Retried
        | Reason::AttemptStarted
        | Reason::Deleting => Some(Incident::Resolve),
        _ => (severity >= from).then_some(Incident::Trigger),
    }
}

#[cfg(test)]
mod tests;

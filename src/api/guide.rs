//! Whom to ask about what a status says. What it means and what ends it is in the docstrings of the values themselves.

use super::conditions::types;
use super::reason::Reason;
use super::state::State;
use super::status::{Check, PauseCause};

/// Who can help where something does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// It tells what happened, and nothing has to be done.
    Nobody,
    /// Whoever writes the rollout, its cohorts and its FlagSet, mostly in git.
    Author,
    /// Whoever may approve steps.
    Approver,
    /// Whoever watches over the feature while it is rolled out: the metrics, the alerts, the incidents.
    OnCall,
    /// Whoever runs Sluice: the operator, its rights, its MetricSources, the cluster.
    Platform,
    /// Whoever paused it, or asked for the action: the name is in the history.
    Actor,
}

impl Ask {
    /// In the words of a table.
    pub const fn words(self) -> &'static str {
        match self {
            Ask::Nobody => "nobody",
            Ask::Author => "whoever writes the rollout",
            Ask::Approver => "whoever may approve",
            Ask::OnCall => "whoever is on call for the feature",
            Ask::Platform => "whoever runs Sluice",
            Ask::Actor => "whoever `sluice history` names",
        }
    }
}

/// Whom to ask about a state.
pub const fn of_state(state: State) -> Ask {
    match state {
        State::Waiting | State::Holding | State::Completed => Ask::Nobody,
        State::AwaitingApproval => Ask::Approver,
        State::AwaitingGates | State::TriggersNotQuiet | State::RollingBack | State::RolledBack => {
            Ask::OnCall
        }
        State::Paused => Ask::Actor,
        State::Reconciling => Ask::Platform,
        State::Stalled => Ask::Author,
    }
}

/// Whom to ask about a check that does not let a raise through.
pub const fn of_check(check: Check) -> Ask {
    match check {
        Check::Start | Check::Hold | Check::Date | Check::CohortDelay | Check::Window | Check::Freeze => {
            Ask::Nobody
        }
        Check::Valid | Check::Dependencies | Check::Playbook => Ask::Author,
        Check::Approval => Ask::Approver,
        Check::RolledBack | Check::Missed | Check::Triggers | Check::Gates => Ask::OnCall,
        Check::Paused => Ask::Actor,
        Check::Delivered => Ask::Platform,
    }
}

/// Whom to ask about a pause.
pub const fn of_pause(cause: PauseCause) -> Ask {
    match cause {
        PauseCause::Suspended | PauseCause::PositionLost => Ask::Author,
        PauseCause::Emergency | PauseCause::Trigger => Ask::OnCall,
        PauseCause::StatusLost | PauseCause::Restored | PauseCause::Adopted => Ask::Platform,
        PauseCause::Person | PauseCause::SetPercent => Ask::Actor,
    }
}

/// Whom to ask about a reason.
pub const fn of_reason(reason: Reason) -> Ask {
    match reason {
        Reason::AwaitingApproval => Ask::Approver,
        Reason::Paused | Reason::Rejected | Reason::Expired => Ask::Actor,
        Reason::PositionLost
        | Reason::InvalidSpec
        | Reason::DependencyCycle
        | Reason::ReferenceNotFound
        | Reason::KeyConflict
        | Reason::Conflict
        | Reason::PayloadTooLarge
        | Reason::NamespaceFull
        | Reason::SubPathMount => Ask::Author,
        Reason::EmergencyControl
        | Reason::TriggerFired
        | Reason::RolledBack
        | Reason::RollingBack
        | Reason::RollbackEscalated
        | Reason::AwaitingGates
        | Reason::TriggersNotQuiet
        | Reason::ResponseOverdue
        | Reason::CriteriaNotMet => Ask::OnCall,
        Reason::StatusLost
        | Reason::Restored
        | Reason::Adopted
        | Reason::NotDelivered
        | Reason::Retrying
        | Reason::Forbidden
        | Reason::Refused
        | Reason::SelfCheckFailed
        | Reason::EndpointGone
        | Reason::WrongNamespace
        | Reason::FileRestored => Ask::Platform,
        Reason::Started
        | Reason::StepEntered
        | Reason::CohortRaised
        | Reason::EditApplied
        | Reason::AudienceChanged
        | Reason::Resumed
        | Reason::Completed
        | Reason::AttemptStarted
        | Reason::AttemptNoted
        | Reason::EmergencyLifted
        | Reason::Deleting
        | Reason::Delivered
        | Reason::RungEntered
        | Reason::RollbackEnded
        | Reason::RollbackVerified
        | Reason::Retried
        | Reason::Approved
        | Reason::Promoted
        | Reason::PercentSet
        | Reason::Acknowledged
        | Reason::CriteriaMet
        | Reason::Applied
        | Reason::Holding
        | Reason::Waiting
        | Reason::Delivering
        | Reason::NamespaceTerminating
        | Reason::Valid
        | Reason::Written => Ask::Nobody,
    }
}

/// Each condition: its type, what it means when it is True, what ends that, and whom to ask. Those that say that all is well
/// are asked about when they are False.
pub const CONDITIONS: [(&str, &str, &str, Ask); 10] = [
    (
        types::READY,
        "The file holds what the object asks for now. It is True while a rollout waits or is paused, too.",
        "False ends by itself when the file is written; with `Stalled`, when somebody has acted.",
        Ask::Platform,
    ),
    (
        types::RECONCILING,
        "The file is being written, an error is tried again, or a rollback is on its way.",
        "It ends by itself; it is there only while it is True.",
        Ask::Platform,
    ),
    (
        types::STALLED,
        "Nothing is raised until somebody acts; what lowers goes on.",
        "Correcting what the message names ends it, and after a rollback a retry; it is there only while it is True.",
        Ask::Author,
    ),
    (
        types::PAUSED,
        "The rollout is paused; the reason is the cause.",
        "What ends it depends on the cause; it is there only while it is True.",
        Ask::Actor,
    ),
    (
        types::COMPLETED,
        "The last hold is over and nothing is pending.",
        "An edit that asks for more ends it, and so does a retry.",
        Ask::Nobody,
    ),
    (
        types::ROLLED_BACK,
        "A rollback is in force: the reason says whether it is on its way or at the control variant.",
        "A retry ends it; it is there only while it is True.",
        Ask::OnCall,
    ),
    (
        types::CRITERIA_MET,
        "Every criterion with a bound passes.",
        "False ends by itself when all of them pass; it is there only where the rollout has such criteria.",
        Ask::OnCall,
    ),
    (
        types::EMERGENCY,
        "Of a FlagSet: every rollout of the set serves the control variant.",
        "Taking `emergency` out of the FlagSet ends it; it is there only while it is True.",
        Ask::OnCall,
    ),
    (
        types::STALE_MOUNTS,
        "Of a FlagSet: pods mount the file by `subPath`, where no update arrives.",
        "Mounting the folder ends it; it is there only while it is True.",
        Ask::Author,
    ),
    (
        types::CHANGELOG,
        "Of a FlagSet with a `changelog`: its ConfigMap holds what the rollouts have announced.",
        "False ends by itself when what the message names is corrected; nothing else waits for it.",
        Ask::Author,
    ),
];

//! What the next raise waits for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MicroTime;

/// A check of a raise, in the order in which they are asked.
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
    /// The phase of the playbook is open, at the rollout's first start.
    Playbook,
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

impl Check {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Check::Valid => "Valid",
            Check::RolledBack => "RolledBack",
            Check::Paused => "Paused",
            Check::Dependencies => "Dependencies",
            Check::Playbook => "Playbook",
            Check::Start => "Start",
            Check::Hold => "Hold",
            Check::Date => "Date",
            Check::Missed => "Missed",
            Check::CohortDelay => "CohortDelay",
            Check::Approval => "Approval",
            Check::Window => "Window",
            Check::Freeze => "Freeze",
            Check::Delivered => "Delivered",
            Check::Triggers => "Triggers",
            Check::Gates => "Gates",
        }
    }
}

/// What the next raise waits for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WaitingFor {
    /// The check that says no.
    pub check: Check,
    /// What of it: the name of the step to approve, of the freeze, the gate, the trigger, the dependency or the task; absent where
    /// the check has but one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub which: Option<String>,
    /// Why, in words.
    pub message: String,
    /// When it will say yes, if the plan can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<MicroTime>,
}

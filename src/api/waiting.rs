//! What the next raise waits for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MicroTime;

/// A check of a raise, in the order in which they are asked.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// The spec is valid and the object is not being deleted. Whoever writes the spec ends the wait.
    Valid,
    /// No rollback is in force. A retry ends the wait: `sluice retry`, or a raised `spec.attempt`.
    RolledBack,
    /// The rollout is neither suspended nor paused. What ends it depends on the cause, see `status.pauses`.
    Paused,
    /// The rollouts in `spec.dependsOn` have come far enough. It ends by itself when they have.
    Dependencies,
    /// The phase of the playbook is open, at the rollout's first start. It ends by itself when its weeks have begun and
    /// what it requires is so.
    Playbook,
    /// `schedule.startAt` has come. It ends by itself.
    Start,
    /// The hold of the step before is over. It ends by itself, or by `sluice promote`.
    Hold,
    /// The step's own date, `at` or `week`, has come. It ends by itself, or by `sluice promote`.
    Date,
    /// With `onMissed: Hold`, the step was not missed by 15 minutes or more. `sluice promote` ends the wait.
    Missed,
    /// The cohort's `delay` after the first exposure is over. It ends by itself.
    CohortDelay,
    /// The step is approved. `sluice approve` ends the wait, or an entry in `spec.approvals`.
    Approval,
    /// A window of every list is open. It ends by itself, or by an action with `--override window`.
    Window,
    /// No freeze is in force. It ends by itself, or by an action with `--override freeze`.
    Freeze,
    /// The file holds what was decided before. It ends by itself as soon as the file is written; the condition `Ready`
    /// says what keeps it.
    Delivered,
    /// No level that pauses or rolls back is in breach, and no data is missing under `Hold`. It ends by itself when the
    /// metric is good again, see `status.triggers`.
    Triggers,
    /// The gates of the phase pass. It ends by itself when the criterion passes, see `status.criteria`, or by an action
    /// with `--override gates`.
    Gates,
}

impl Check {
    /// Every check, in the order in which they are asked.
    pub const ALL: [Check; 16] = [
        Check::Valid,
        Check::RolledBack,
        Check::Paused,
        Check::Dependencies,
        Check::Playbook,
        Check::Start,
        Check::Hold,
        Check::Date,
        Check::Missed,
        Check::CohortDelay,
        Check::Approval,
        Check::Window,
        Check::Freeze,
        Check::Delivered,
        Check::Triggers,
        Check::Gates,
    ];

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
    /// The check that does not let it through.
    pub check: Check,
    /// What of the check: the name of the step to approve, or of the freeze, gate, trigger, dependency, task or cause
    /// of the pause. Absent where the check is about one thing only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub which: Option<String>,
    /// Why it waits, in words.
    pub message: String,
    /// When the check will let it through by itself. Absent where that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<MicroTime>,
    /// A later check that would say no at `until`, if things stood then as they stand now: an approval that is missing, a
    /// trigger that is not quiet or without data, a gate that does not pass. Absent where none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<ThenWaitsFor>,
}

/// What the next raise waits for after the check that it waits for now, as things stand.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ThenWaitsFor {
    /// The check that would not let it through then.
    pub check: Check,
    /// What of the check: the name of the step to approve, of the trigger or of the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub which: Option<String>,
}

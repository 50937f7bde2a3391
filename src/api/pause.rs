//! Why the schedule of a rollout stands still.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MicroTime;

/// One cause for which the schedule stands still.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// What paused the rollout, and so what ends the pause.
    pub cause: PauseCause,
    /// Since when the rollout is paused for this cause.
    pub since: MicroTime,
    /// Why it is paused, in words.
    pub message: String,
}

/// What pauses a rollout.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseCause {
    /// `spec.suspend` is true. Taking it away ends the pause.
    Suspended,
    /// The FlagSet has `emergency`. Taking it away ends the pause; what was served comes back when the checks of a
    /// raise allow it.
    Emergency,
    /// The status was empty although the file knows this object, which serves what the file has. `sluice resume` ends
    /// the pause and goes on from there, and so does a retry, which starts again.
    StatusLost,
    /// The status came from another object, such as by a backup, so each cohort is served the lower of status and file.
    /// `sluice resume` ends the pause and goes on from there, and so does a retry, which starts again.
    Restored,
    /// A rollout of the same name was deleted, and this one serves what the file had. `sluice resume` ends the pause
    /// and goes on from there, and so does a retry, which starts again.
    Adopted,
    /// After an edit the current step could not be found again. Putting it back ends the pause, and so does a retry,
    /// which starts again.
    PositionLost,
    /// Somebody paused it, by `sluice pause`. `sluice resume` ends the pause.
    Person,
    /// Somebody set percentages by hand, by `sluice set-percent`. `sluice resume` ends the pause, and the schedule goes
    /// on from its position.
    SetPercent,
    /// A level with the action `Pause` was in breach for its time, or data was missing under the policy `Pause`.
    /// `sluice resume` ends the pause, or the level's `resumeAfter`.
    Trigger,
}

impl PauseCause {
    /// Every cause.
    pub const ALL: [PauseCause; 9] = [
        PauseCause::Suspended,
        PauseCause::Emergency,
        PauseCause::StatusLost,
        PauseCause::Restored,
        PauseCause::Adopted,
        PauseCause::PositionLost,
        PauseCause::Person,
        PauseCause::SetPercent,
        PauseCause::Trigger,
    ];

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

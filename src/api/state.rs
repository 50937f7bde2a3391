//! What a rollout is doing, in one word.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// What a rollout is doing: the column STATE. What it waits for is the column REASON.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No step has been entered yet. What the first one waits for is in `status.reason`.
    Waiting,
    /// The file holds what was decided, and no step may be entered yet. It ends by itself, at the time in
    /// `status.next`, or when what is in `status.reason` allows it.
    Holding,
    /// The next step has `approval: Required` and is not approved. `sluice approve` ends it, or an entry in
    /// `spec.approvals`.
    AwaitingApproval,
    /// A gate of the phase does not pass, or was not measured. It ends by itself when the criterion passes, see
    /// `status.criteria`.
    AwaitingGates,
    /// A level that pauses or rolls back is in breach and has not acted yet, or data of its trigger is missing. It ends
    /// by itself when the metric is good again, see `status.triggers`.
    TriggersNotQuiet,
    /// Nothing is raised and no step is entered; what is served stays served. What ends it depends on the cause, see
    /// `status.pauses`.
    Paused,
    /// The last hold is over and nothing is pending. It stays so until an edit asks for more.
    Completed,
    /// A rollback is on its way, and some of its cohorts still have the feature. It ends by itself, as `RolledBack`.
    RollingBack,
    /// The cohorts of a rollback get the control variant. It ends by a retry only: `sluice retry`, or a raised
    /// `spec.attempt`.
    RolledBack,
    /// The file does not hold yet what was decided, or an error is tried again. It ends by itself; the condition
    /// `Ready` says what keeps it.
    Reconciling,
    /// Nothing is raised until somebody corrects what the condition `Stalled` names; what lowers goes on. It ends by
    /// itself after that.
    Stalled,
}

impl State {
    /// Every state.
    pub const ALL: [State; 11] = [
        State::Waiting,
        State::Holding,
        State::AwaitingApproval,
        State::AwaitingGates,
        State::TriggersNotQuiet,
        State::Paused,
        State::Completed,
        State::RollingBack,
        State::RolledBack,
        State::Reconciling,
        State::Stalled,
    ];

    /// The state of this name, if this version knows it.
    pub fn named(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "Waiting",
            State::Holding => "Holding",
            State::AwaitingApproval => "AwaitingApproval",
            State::AwaitingGates => "AwaitingGates",
            State::TriggersNotQuiet => "TriggersNotQuiet",
            State::Paused => "Paused",
            State::Completed => "Completed",
            State::RollingBack => "RollingBack",
            State::RolledBack => "RolledBack",
            State::Reconciling => "Reconciling",
            State::Stalled => "Stalled",
        }
    }
}

/// Reads a state. A word that this version does not know is none: the state is a report that is made anew, and a status
/// must not become unreadable by it.
pub(super) fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<State>, D::Error> {
    let word = Option::<Value>::deserialize(deserializer)?;
    Ok(word.and_then(|word| State::named(word.as_str()?)))
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::{FeatureRolloutStatus, State};

    #[test]
    fn a_state_of_a_newer_version_makes_no_status_unreadable() {
        let read =
            |state| serde_json::from_value::<FeatureRolloutStatus>(json!({"state": state})).unwrap().state;
        assert_eq!(read(json!("Levitating")), None);
        assert_eq!(read(json!(7)), None);
        for state in State::ALL {
            assert_eq!(read(json!(state)), Some(state));
            assert_eq!(json!(state), state.as_str());
        }
    }
}

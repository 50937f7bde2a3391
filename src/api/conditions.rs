//! Conditions, in the shape and with the manners of the Kubernetes API conventions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::MicroTime;
use crate::visible;

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Condition types that Sluice sets.
pub mod types {
    /// The file holds what the object asks for now.
    pub const READY: &str = "Ready";
    /// Present and true while work is under way or retried.
    pub const RECONCILING: &str = "Reconciling";
    /// Present and true while nothing goes on until somebody acts.
    pub const STALLED: &str = "Stalled";
    /// Present and true while the schedule stands still.
    pub const PAUSED: &str = "Paused";
    /// The last hold is over and nothing is pending.
    pub const COMPLETED: &str = "Completed";
    /// Present and true while a rollback is in force.
    pub const ROLLED_BACK: &str = "RolledBack";
    /// Whether every criterion with a bound passes; absent where there is none.
    pub const CRITERIA_MET: &str = "CriteriaMet";
    /// Present and true while every rollout of a FlagSet is taken to control.
    pub const EMERGENCY: &str = "Emergency";
    /// Present and true while pods mount a file so that no update arrives.
    pub const STALE_MOUNTS: &str = "StaleMounts";
    /// Whether the changelog of a FlagSet is written; absent where it has none.
    pub const CHANGELOG: &str = "Changelog";
}

/// A condition as it should be, before the clock and the past have their say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Type of the condition.
    pub type_: &'static str,
    /// `True` or `False`.
    pub status: bool,
    /// CamelCase, from a closed set.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// The wanted conditions, in their order; `lastTransitionTime` moves only where the status flips.
pub fn merge(prior: &[Condition], want: &[Want], generation: i64, now: MicroTime) -> Vec<Condition> {
    want.iter()
        .map(|want| {
            let status = if want.status { "True" } else { "False" };
            let since = prior
                .iter()
                .find(|condition| condition.type_ == want.type_ && condition.status == status)
                .map_or(Time(now.into()), |condition| condition.last_transition_time.clone());
            Condition {
                type_: want.type_.to_owned(),
                status: status.to_owned(),
                reason: want.reason.to_owned(),
                message: visible::cut(&want.message, MOST_MESSAGE),
                observed_generation: Some(generation),
                last_transition_time: since,
            }
        })
        .collect()
}

/// Most bytes of a message: Kubernetes allows 32 KiB, and whoever reads a status wants less of what somebody else may have put into it.
const MOST_MESSAGE: usize = 4096;

/// Whether the condition of this type is true.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
}

//! Which of several actions of one rollout goes first, and what becomes of those that it overtakes.

use super::actions::{Request, is_raising};
use crate::api::FeatureRolloutStatus;
use crate::api::RollbackMode;
use crate::api::record::LastStop;
use crate::api::rolloutaction::{Action, RolloutActionSpec};

/// What goes first, the strongest of it before the rest; those that are equal go in the order of creation.
///
/// Each of them leads to the same end whether it comes before or after those that are weaker, and so nothing that waits
/// can hold up what takes a feature away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precedence {
    /// An immediate rollback of every cohort.
    RollbackOfAll,
    /// Any other rollback.
    Rollback,
    /// Percentages that raise nobody.
    Lower,
    /// A pause.
    Pause,
    /// What raises, and what changes nothing that is served: in the order of creation.
    Ordinary,
}

/// The precedence of an action in a state.
pub fn precedence(spec: &RolloutActionSpec, status: &FeatureRolloutStatus) -> Precedence {
    match spec.action {
        Action::Rollback => {
            let how = spec.rollback.clone().unwrap_or_default();
            match how.mode == RollbackMode::Immediate && how.cohorts.is_none() {
                true => Precedence::RollbackOfAll,
                false => Precedence::Rollback,
            }
        }
        Action::SetPercent if !is_raising(spec, status) => Precedence::Lower,
        Action::Pause => Precedence::Pause,
        _ => Precedence::Ordinary,
    }
}

/// Notes that an action was carried out that stops or lowers.
pub(super) fn note_stop(status: &mut FeatureRolloutStatus, request: &Request<'_>) {
    let stop = LastStop { created: request.created, version: request.version };
    let newest =
        status.last_stop.is_none_or(|last| (last.created, last.version) < (stop.created, stop.version));
    if newest {
        status.last_stop = Some(stop);
    }
}

/// Why an action that raises is not carried out any more: one that stops or lowers was created after it and went first, and
/// would be undone. An approval undoes nothing.
pub(super) fn overtaken(status: &FeatureRolloutStatus, request: &Request<'_>) -> Option<String> {
    let stop = status.last_stop?;
    // Both have to say so: a clock may have been set, and a cluster may have been rebuilt with smaller versions.
    let is_older = request.created <= stop.created && request.version < stop.version;
    (is_older && request.spec.action != Action::Approve).then(|| {
        "an action that stops or lowers was created after it and carried out first, and this one would undo it: ask again \
         if it is still meant"
            .to_owned()
    })
}

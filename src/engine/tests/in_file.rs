//! The file beside a random rollout.

use crate::api::FeatureRolloutStatus;
use crate::flags::{LiveFlag, LiveRollback};

/// What the file says of a state.
pub fn file(status: &FeatureRolloutStatus) -> LiveFlag {
    let position = status.position.as_ref();
    LiveFlag {
        uid: status.uid.clone().unwrap(),
        revision: status.revision,
        attempt: status.attempt,
        phase: position.map(|position| position.phase.clone()).unwrap_or_default(),
        step: position
            .map(|position| position.step.clone().unwrap_or_else(|| position.number.to_string()))
            .unwrap_or_default(),
        served: status.cohorts.iter().map(|cohort| (cohort.name.clone(), cohort.decided())).collect(),
        audience: status.audience.clone().unwrap().name,
        pending: status
            .cohorts
            .iter()
            .filter_map(|cohort| Some((cohort.name.clone(), cohort.pending.as_ref()?.percent)))
            .collect(),
        rollback: status.rollback.as_ref().map(|rollback| LiveRollback {
            mode: rollback.mode,
            at: rollback.at,
            by: rollback.by.clone(),
            cohorts: rollback.cohorts.clone(),
        }),
        ..LiveFlag::default()
    }
}

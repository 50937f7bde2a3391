//! What a rollout waits for of others.

use std::borrow::Borrow;

use crate::api::conditions::{is_true, types};
use crate::api::featurerollout::DependencyCondition;
use crate::api::{FeatureRollout, FeatureRolloutStatus};
use crate::plan::{Need, Plan};

/// The rollout of a name, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub enum Other<R> {
    /// As it is stored.
    Known(R),
    /// It exists, and what it says is not known.
    Unreadable,
    /// There is none.
    Missing,
}

/// The dependencies that are not met, in words; `other` gives the rollout of a name in the same namespace. What is missing or
/// cannot be read is waited for.
pub fn unmet<R: Borrow<FeatureRollout>>(plan: &Plan, other: impl Fn(&str) -> Other<R>) -> Vec<String> {
    plan.depends_on
        .iter()
        .filter_map(|dependency| {
            let name = &dependency.name;
            let other = match other(name) {
                Other::Known(other) => other,
                Other::Unreadable => return Some(format!("{name}, which cannot be read")),
                Other::Missing => return Some(format!("{name}, which does not exist")),
            };
            let other: &FeatureRollout = other.borrow();
            let status = other.status.as_ref();
            match &dependency.need {
                Need::Condition(DependencyCondition::Completed) => {
                    let completed =
                        status.is_some_and(|status| is_true(&status.conditions, types::COMPLETED));
                    (!completed).then(|| format!("{name} to be completed"))
                }
                Need::Phase(phase) => {
                    let entered = status.is_some_and(|status| phase_entered(other, status, phase));
                    (!entered).then(|| format!("{name} to enter phase {phase}"))
                }
            }
        })
        .collect()
}

/// Whether a rollout stands in a phase or behind it.
fn phase_entered(rollout: &FeatureRollout, status: &FeatureRolloutStatus, phase: &str) -> bool {
    let index = |name: &str| rollout.spec.phases.iter().position(|phase| phase.name == name);
    let Some(position) = &status.position else { return false };
    index(phase).zip(index(&position.phase)).is_some_and(|(wanted, at)| at >= wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_phase_is_entered_where_the_rollout_stands_in_it_or_behind_it() {
        let rollout = |at: Option<&str>| -> FeatureRollout {
            let position = at.map(|phase| {
                json!({"phase": phase, "number": 1, "of": 1, "content": "c",
                    "enteredAt": "2025-09-08T09:00:00.000000Z", "holdFrom": "2025-09-08T09:00:00.000000Z"})
            });
            let phases = ["alpha", "beta", "ga"].map(|name| json!({"name": name}));
            serde_json::from_value(json!({
                "apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout", "metadata": {"name": "first"},
                "spec": {"phases": phases},
                "status": {"position": position},
            }))
            .unwrap()
        };
        let entered = |at: Option<&str>| {
            let rollout = rollout(at);
            let status = rollout.status.clone().unwrap_or_default();
            ["alpha", "beta", "ga", "gone"].map(|phase| phase_entered(&rollout, &status, phase))
        };
        assert_eq!(entered(None), [false; 4]);
        assert_eq!(entered(Some("alpha")), [true, false, false, false]);
        assert_eq!(entered(Some("beta")), [true, true, false, false]);
        assert_eq!(entered(Some("ga")), [true, true, true, false]);
        assert_eq!(entered(Some("renamed")), [false; 4]);
    }
}

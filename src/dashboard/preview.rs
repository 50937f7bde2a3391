//! What an action would do, by the engine that would do it: nothing is sent anywhere.

use serde::Serialize;

use crate::api::rolloutaction::{Answer, RolloutActionSpec};
use crate::api::{FeatureRolloutStatus, MicroTime, Percent};
use crate::engine::forecast::stored::facts_for;
use crate::engine::{Actor, Facts, Ground, Request, act, decide};
use crate::plan::{Guard, Plan};

/// What a rollout is judged by, as far as a person can read it.
pub enum Basis {
    /// The compiled spec and the facts.
    Plan(Box<Plan>, Box<Facts>),
    /// The spec is invalid, for this reason.
    Invalid(Box<Guard>, String),
}

/// What becomes of one cohort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Name of the cohort.
    pub cohort: String,
    /// What it has.
    pub before: String,
    /// What it will have.
    pub after: String,
    /// Whether that is something else.
    pub changes: bool,
    /// Whether it loses the feature for somebody.
    pub lowers: bool,
}

/// What an action would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// Whether it would be applied.
    pub applied: bool,
    /// The answer that it would get, in words.
    pub message: String,
    /// What becomes of the cohorts at once.
    pub changes: Vec<Change>,
}

/// Tries an action out on a state.
///
/// The controller may know more than a person can read, such as a breach that began a second ago: what it answers counts.
pub fn preview(
    basis: &Basis,
    status: &FeatureRolloutStatus,
    spec: &RolloutActionSpec,
    (uid, generation): (&str, i64),
    who: &str,
    now: MicroTime,
) -> Preview {
    let request = Request {
        uid: "preview",
        spec,
        created: now,
        version: i64::MAX,
        actor: Actor::Verified(who.to_owned()),
        tracked_by: None,
        speed: 1,
        rollout_uid: uid,
        generation,
    };
    let known = match basis {
        Basis::Plan(_, facts) => Some(facts_for(spec.action, facts, status, now)),
        Basis::Invalid(..) => None,
    };
    let ground = match basis {
        Basis::Plan(plan, facts) => Ground::Plan(plan, known.as_ref().unwrap_or(facts)),
        Basis::Invalid(guard, why) => Ground::Guard(guard, why),
    };
    let outcome = act(ground, status, &request, now);
    let applied = outcome.answer == Answer::Applied;
    // What the next decision makes of it comes within the same moment: a promoted step is entered by it.
    let after = match basis {
        Basis::Plan(plan, facts) if applied => {
            decide(plan, &outcome.status, known.as_ref().unwrap_or(facts), now).status
        }
        _ => outcome.status,
    };
    Preview { applied, message: outcome.message, changes: changes(status, &after) }
}

/// What each cohort is served after a decision, beside what it was before.
pub fn changes(before: &FeatureRolloutStatus, after: &FeatureRolloutStatus) -> Vec<Change> {
    let change = |cohort: &crate::api::status::CohortStatus| {
        let was = before.cohort(&cohort.name).map_or(Percent::ZERO, |was| was.decided());
        let will = cohort.decided();
        Change {
            cohort: cohort.name.clone(),
            before: was.to_string(),
            after: will.to_string(),
            changes: was != will,
            lowers: will < was,
        }
    };
    after.cohorts.iter().map(change).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::FeatureRollout;
    use crate::plan::{Refs, compile};

    fn rollout() -> (FeatureRollout, FeatureRolloutStatus) {
        let rollout: FeatureRollout = serde_json::from_value(json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout",
            "metadata": {"name": "dreams", "namespace": "maya"},
            "spec": {
                "cohorts": [{"name": "early", "match": {"attributes": {"segment": "A"}}}, {"name": "rest"}],
                "rollback": {"partial": {"keep": ["early"]}},
                "phases": [{"name": "ga", "steps": [
                    {"name": "half", "cohorts": {"early": 100, "rest": 50}, "hold": "24h"},
                    {"name": "full", "cohorts": {"rest": 100}}]}],
            },
        }))
        .unwrap();
        (rollout, FeatureRolloutStatus::default())
    }

    fn tried(of: serde_json::Value) -> Preview {
        let (rollout, status) = rollout();
        let plan = compile(&rollout, Refs::default()).unwrap();
        let facts = Facts::favourable("u1");
        let now: MicroTime = "2025-09-08T09:00:00Z".parse().unwrap();
        let mut status = decide(&plan, &status, &facts, now).status;
        crate::engine::deliver(&mut status, now);
        let mut spec = json!({"rolloutRef": {"name": "dreams"}, "reason": "because"});
        spec.as_object_mut().unwrap().extend(of.as_object().unwrap().clone());
        let spec: RolloutActionSpec = serde_json::from_value(spec).unwrap();
        let basis = Basis::Plan(Box::new(plan), Box::new(facts));
        preview(&basis, &status, &spec, ("u1", 1), "ada", now)
    }

    fn told(preview: &Preview) -> Vec<String> {
        preview.changes.iter().map(|c| format!("{} {} {}", c.cohort, c.before, c.after)).collect()
    }

    #[test]
    fn it_says_what_users_would_get_and_what_comes_next() {
        let all = tried(json!({"action": "Rollback"}));
        assert!(all.applied && all.changes.iter().all(|change| change.lowers), "{all:?}");
        assert_eq!(told(&all), ["early 100% 0%", "rest 50% 0%"]);
        let part = tried(json!({"action": "Rollback", "rollback": {"mode": "Partial"}}));
        assert_eq!(told(&part), ["early 100% 100%", "rest 50% 0%"]);
        let promoted = tried(json!({"action": "Promote"}));
        assert_eq!(told(&promoted), ["early 100% 100%", "rest 50% 100%"]);
        assert!(promoted.message.contains("next"), "{promoted:?}");
    }

    #[test]
    fn it_says_what_would_be_rejected_and_why() {
        let resumed = tried(json!({"action": "Resume"}));
        assert!(!resumed.applied && !resumed.message.is_empty(), "{resumed:?}");
        assert!(resumed.changes.iter().all(|change| !change.changes));
        let unknown = tried(json!({"action": "SetPercent", "setPercent": {"nobody": 5}}));
        assert!(!unknown.applied && unknown.message.contains("nobody"), "{unknown:?}");
    }
}

//! The JSON of `sluice plan`, a stable contract.

use serde::{Serialize, Serializer};

use crate::api::rolloutpolicy::BoundPolicy;
use crate::api::status::WaitingFor;
use crate::api::{MicroTime, Percent};
use crate::engine::forecast::timeline::{Entry, Timeline};
use crate::plan::Plan;

/// The contract of `-o json`, field by field; that of `simulate` too.
#[derive(Serialize)]
pub struct PlanJson<'a> {
    pub rollouts: Vec<RolloutJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutJson<'a> {
    namespace: &'a str,
    name: &'a str,
    flag: &'a str,
    entries: Vec<EntryJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    policies: &'a [BoundPolicy],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transitions: Option<Vec<TransitionJson<'a>>>,
    /// In a simulation: what it waits for at the end, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<&'a WaitingFor>,
}

#[derive(Serialize)]
struct EntryJson<'a> {
    at: String,
    phase: &'a str,
    step: i32,
    cause: &'static str,
    #[serde(serialize_with = "in_order")]
    cohorts: &'a [(String, Percent)],
    #[serde(skip_serializing_if = "Option::is_none")]
    exposure: Option<String>,
}

/// One thing that happened in a simulation.
#[derive(Serialize)]
pub struct TransitionJson<'a> {
    pub at: String,
    pub reason: &'static str,
    pub message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<&'static str>,
}

/// An object whose keys stand in the order of the cohorts, which is the order in which they match.
fn in_order<S: Serializer>(cohorts: &&[(String, Percent)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(cohorts.iter().map(|(name, percent)| (name, percent.to_string())))
}

/// One rollout of the output.
pub fn rollout_json<'a>(
    plan: &'a Plan,
    entries: &'a [Entry],
    completed_at: Option<MicroTime>,
) -> RolloutJson<'a> {
    let entry = |entry: &'a Entry| EntryJson {
        at: entry.at.to_string(),
        phase: &entry.phase,
        step: entry.step,
        cause: entry.cause.as_str(),
        cohorts: &entry.cohorts,
        exposure: entry.exposure.map(|exposure| exposure.to_string()),
    };
    RolloutJson {
        namespace: &plan.namespace,
        name: &plan.name,
        flag: &plan.feature.key,
        entries: entries.iter().map(entry).collect(),
        completed_at: completed_at.map(|at| at.to_string()),
        policies: &plan.policies,
        transitions: None,
        waits_for: None,
    }
}

/// The plans of all rollouts.
pub fn as_json<'a>(plans: &'a [(&Plan, Timeline)]) -> PlanJson<'a> {
    let rollout = |(plan, timeline): &'a (&Plan, Timeline)| {
        rollout_json(plan, &timeline.entries, timeline.completed_at)
    };
    PlanJson { rollouts: plans.iter().map(rollout).collect() }
}

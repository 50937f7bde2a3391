//! The whole course of a rollout if all goes well, by the same decisions that the controller takes.

use jiff::Timestamp;

use super::position::{self, Mark};
use super::{Facts, decide};
use crate::api::featurerollout::OnMissed;
use crate::api::{FeatureRolloutStatus, Percent};
use crate::plan::{Approval, Plan};

/// Decisions after which a plan counts as endless; the largest has 16 × 32 steps and 16 delays.
const MOST_DECISIONS: usize = 4096;

/// One instant at which what is served changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Phase of the step that asked for it.
    pub phase: String,
    /// Number of that step in its phase, from 1.
    pub step: i32,
    /// Name of that step, where it has one.
    pub name: Option<String>,
    /// Whether it came with the step or after the cohort's delay.
    pub cause: Cause,
    /// What every cohort is served from then on, in order.
    pub cohorts: Vec<(String, Percent)>,
    /// Expected part of the audience, where the shares are known.
    pub exposure: Option<Percent>,
}

/// What brought a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A step was entered.
    Step,
    /// A cohort's delay was over.
    CohortDelay,
}

impl Cause {
    /// As the JSON output spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Step => "Step",
            Cause::CohortDelay => "CohortDelay",
        }
    }
}

/// The course of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// The changes in order.
    pub entries: Vec<Entry>,
    /// When the last hold is over with nothing pending.
    pub completed_at: Option<Timestamp>,
}

/// The plan as offline commands take it: approvals given, nothing suspended, a start.
pub fn favourable(plan: &Plan, now: Timestamp) -> Plan {
    let mut plan = plan.clone();
    plan.suspend = false;
    if plan.on_missed == OnMissed::Hold {
        plan.on_missed = OnMissed::OneAtATime;
    }
    plan.start_at = Some(plan.start_at.unwrap_or(now));
    for step in &mut plan.steps {
        if step.approval == Approval::Missing {
            step.approval = Approval::Given;
        }
    }
    plan
}

/// The course of a rollout if all goes well; one without a start begins at `now`.
pub fn timeline(plan: &Plan, now: Timestamp) -> Timeline {
    let mut entries = Vec::new();
    let status = walk(plan, now, None, |entry| entries.push(entry));
    Timeline { entries, completed_at: status.completed_at.map(|at| at.timestamp()) }
}

/// The state of a rollout at `at` if all goes well; before the start it serves its baseline.
pub fn state_at(plan: &Plan, now: Timestamp, at: Timestamp) -> FeatureRolloutStatus {
    walk(plan, now, Some(at), |_| {})
}

fn walk(
    plan: &Plan,
    now: Timestamp,
    until: Option<Timestamp>,
    mut each: impl FnMut(Entry),
) -> FeatureRolloutStatus {
    let plan = favourable(plan, now);
    let facts = Facts::favourable(&plan.name);
    let start = plan.start_at.unwrap_or(now);
    let first = until.map_or(start, |until| until.min(start));
    let mut at = first;
    let mut status = FeatureRolloutStatus::default();
    for _ in 0..MOST_DECISIONS {
        let before = status.clone();
        let wake_at = loop {
            let decision = decide(&plan, &status, &facts, at);
            let stable = decision.status == status;
            status = decision.status;
            if stable {
                break decision.wake_at;
            }
        };
        if before.is_begun() || at >= start {
            each_change(&plan, &before, &status, at, &mut each);
        }
        match wake_at {
            Some(next) if until.is_none_or(|until| next <= until) => at = next,
            _ => break,
        }
    }
    status
}

fn each_change(
    plan: &Plan,
    before: &FeatureRolloutStatus,
    after: &FeatureRolloutStatus,
    at: Timestamp,
    each: &mut impl FnMut(Entry),
) {
    let served_before = |name: &str| {
        if before.is_begun() {
            before.cohort(name).map(|cohort| cohort.served).unwrap_or_default()
        } else {
            plan.baseline.get(name).copied().unwrap_or_default()
        }
    };
    let asked_by_steps: Vec<usize> = after
        .cohorts
        .iter()
        .filter(|cohort| cohort.served != served_before(&cohort.name))
        .filter_map(|cohort| Mark::from(cohort.asked_by.as_ref()?).find(plan))
        .collect();
    let last = asked_by_steps.iter().max();
    let Some(step) = last.and_then(|i| plan.steps.get(*i)) else { return };
    // Every step beyond the one stood at before has been entered now, missed ones in between too.
    let stood_at = before.position.as_ref().and_then(|position| Mark::from(position).find_position(plan));
    let by_step = asked_by_steps.iter().any(|i| stood_at.is_none_or(|stood_at| *i > stood_at));
    each(Entry {
        at,
        phase: step.phase.clone(),
        step: position::asked_by(step).number,
        name: step.name.clone(),
        cause: if by_step { Cause::Step } else { Cause::CohortDelay },
        cohorts: after.cohorts.iter().map(|cohort| (cohort.name.clone(), cohort.served)).collect(),
        exposure: super::report::exposure(plan, after),
    });
}

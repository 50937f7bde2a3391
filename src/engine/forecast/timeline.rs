//! The whole course of a rollout if all goes well, by the same decisions that the controller takes.

use super::late::{Entered, Followed, entered, followed};
use crate::api::featurerollout::OnMissed;
use crate::api::status::PauseCause;
use crate::api::{FeatureRolloutStatus, MicroTime, Percent};
use crate::engine::position::{self, Mark};
use crate::engine::report::exposure;
use crate::engine::{Facts, decide, deliver};
use crate::plan::{Approval, Plan};

/// Decisions after which a plan counts as endless; the largest has 16 × 32 steps and 16 delays.
const MOST_DECISIONS: usize = 4096;

/// One instant at which what is served changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When.
    pub at: MicroTime,
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

impl Entry {
    /// The step that asked for it, as people name it, such as `ga/full`.
    pub fn step_name(&self) -> String {
        position::describe(&self.phase, self.name.as_deref(), self.step)
    }
}

/// What brought a change, the least remarkable first: where several did at one instant, the last of them counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A cohort's delay was over.
    CohortDelay,
    /// A step was entered.
    Step,
    /// An edit of the spec.
    Edit,
    /// A rung of a gradual rollback, after the first.
    Ladder,
    /// Somebody's action.
    Action,
    /// A trigger rolled back.
    Trigger,
}

impl Cause {
    /// As the JSON output spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::CohortDelay => "CohortDelay",
            Cause::Step => "Step",
            Cause::Edit => "Edit",
            Cause::Ladder => "Ladder",
            Cause::Action => "Action",
            Cause::Trigger => "Trigger",
        }
    }
}

/// The course of a rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// The changes in order.
    pub entries: Vec<Entry>,
    /// When the last hold is over with nothing pending.
    pub completed_at: Option<MicroTime>,
    /// Every step that is entered, in order.
    pub steps: Vec<Entered>,
    /// Every raise that comes after the step that asked for it, in order.
    pub followed: Vec<Followed>,
}

/// The plan with every approval given, however often a step is entered.
pub fn approved(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    plan.approval_above = None;
    for step in &mut plan.steps {
        step.approval = Approval::NotRequired;
        step.approval_by_policy = false;
    }
    plan
}

/// The plan as offline commands take it: approvals given, nothing suspended, a start.
pub fn favourable(plan: &Plan, now: MicroTime) -> Plan {
    let mut plan = approved(plan);
    plan.suspend = false;
    if plan.on_missed == OnMissed::Hold {
        plan.on_missed = OnMissed::OneAtATime;
    }
    plan.start_at = Some(plan.start_at.unwrap_or(now));
    plan
}

/// The course of a rollout if all goes well; one without a start begins at `now`.
pub fn timeline(plan: &Plan, now: MicroTime) -> Timeline {
    let approvals: Vec<Approval> = plan.steps.iter().map(|step| step.approval).collect();
    let (mut entries, mut steps, mut later) = (Vec::new(), Vec::new(), Vec::new());
    let status = walk(plan, now, None, |plan, before, after, at| {
        entries.extend(change(plan, before, after, at));
        steps.extend(entered(plan, &approvals, before, after, at));
        later.extend(followed(plan, before, after, at));
    });
    Timeline { entries, completed_at: status.completed_at, steps, followed: later }
}

/// What comes after `now` for a rollout that is as `status` says, if all goes well from then on: approvals are given, but what
/// is paused stays paused, and what was rolled back stays so.
pub fn ahead(plan: &Plan, status: &FeatureRolloutStatus, now: MicroTime) -> Timeline {
    let approvals: Vec<Approval> = plan.steps.iter().map(|step| step.approval).collect();
    let plan = Plan { suspend: plan.suspend, ..favourable(plan, now) };
    let uid = status.uid.clone().unwrap_or_else(|| plan.name.clone());
    let emergency = status.pauses.iter().any(|pause| pause.cause == PauseCause::Emergency);
    let facts = Facts { emergency, ..Facts::favourable(&uid) };
    let mut status = status.clone();
    let mut ahead = Timeline::default();
    let mut at = now;
    for _ in 0..MOST_DECISIONS {
        let before = status.clone();
        let wake_at = settle(&plan, &facts, &mut status, at);
        ahead.entries.extend(change(&plan, &before, &status, at).map(|entry| match status.rollback {
            Some(_) => Entry { cause: Cause::Ladder, ..entry },
            None => entry,
        }));
        ahead.steps.extend(entered(&plan, &approvals, &before, &status, at));
        ahead.followed.extend(followed(&plan, &before, &status, at));
        match wake_at {
            Some(next) if status.completed_at.is_none() => at = next,
            _ => break,
        }
    }
    Timeline { completed_at: status.completed_at.filter(|completed| *completed >= now), ..ahead }
}

/// Decides at one instant until the decision stands; returns when the next one may differ. Where all goes well the file
/// follows at once.
fn settle(plan: &Plan, facts: &Facts, status: &mut FeatureRolloutStatus, at: MicroTime) -> Option<MicroTime> {
    loop {
        let decision = decide(plan, status, facts, at);
        let stable = decision.status == *status;
        *status = decision.status;
        deliver(status, at);
        if stable {
            return decision.wake_at;
        }
    }
}

/// The state of a rollout at `at` if all goes well; before the start it serves its baseline.
pub fn state_at(plan: &Plan, now: MicroTime, at: MicroTime) -> FeatureRolloutStatus {
    walk(plan, now, Some(at), |_, _, _, _| {})
}

fn walk(
    plan: &Plan,
    now: MicroTime,
    until: Option<MicroTime>,
    mut each: impl FnMut(&Plan, &FeatureRolloutStatus, &FeatureRolloutStatus, MicroTime),
) -> FeatureRolloutStatus {
    let plan = favourable(plan, now);
    let facts = Facts::favourable(&plan.name);
    let start = plan.start_at.unwrap_or(now);
    let first = until.map_or(start, |until| until.min(start));
    let mut at = first;
    let mut status = FeatureRolloutStatus::default();
    for _ in 0..MOST_DECISIONS {
        let before = status.clone();
        let wake_at = settle(&plan, &facts, &mut status, at);
        if before.is_begun() || at >= start {
            each(&plan, &before, &status, at);
        }
        match wake_at {
            Some(next) if until.is_none_or(|until| next <= until) => at = next,
            _ => break,
        }
    }
    status
}

/// What a cohort was served before: the state's word, or the baseline of a rollout that has not begun.
pub(super) fn served_before(plan: &Plan, before: &FeatureRolloutStatus, name: &str) -> Percent {
    if before.is_begun() {
        before.cohort(name).map(|cohort| cohort.decided()).unwrap_or_default()
    } else {
        plan.baseline.get(name).copied().unwrap_or_default()
    }
}

/// The change from one state to another, as the schedule makes it; `None` where nothing that is served changes.
pub(super) fn change(
    plan: &Plan,
    before: &FeatureRolloutStatus,
    after: &FeatureRolloutStatus,
    at: MicroTime,
) -> Option<Entry> {
    let asked_by_steps: Vec<usize> = after
        .cohorts
        .iter()
        .filter(|cohort| cohort.decided() != served_before(plan, before, &cohort.name))
        .filter_map(|cohort| Mark::from(cohort.asked_by.as_ref()?).find(plan))
        .collect();
    let step = plan.steps.get(*asked_by_steps.iter().max()?)?;
    // Every step beyond the one stood at before has been entered now, missed ones in between too.
    let stood_at = before.position.as_ref().and_then(|position| Mark::from(position).find_position(plan));
    let by_step = asked_by_steps.iter().any(|i| stood_at.is_none_or(|stood_at| *i > stood_at));
    let by = position::asked_by(step);
    let cause = if by_step { Cause::Step } else { Cause::CohortDelay };
    Some(entry(plan, after, at, cause, (by.phase, by.number, by.step)))
}

/// An entry of what is served from `at` on, named by phase, number and name of a step.
pub(super) fn entry(
    plan: &Plan,
    after: &FeatureRolloutStatus,
    at: MicroTime,
    cause: Cause,
    (phase, step, name): (String, i32, Option<String>),
) -> Entry {
    Entry {
        at,
        phase,
        step,
        name,
        cause,
        cohorts: after.cohorts.iter().map(|cohort| (cohort.name.clone(), cohort.decided())).collect(),
        exposure: exposure(after.cohorts.iter().map(|cohort| {
            let share = plan.cohort(&cohort.name)?.share?;
            Some((share, cohort.decided()))
        })),
    }
}

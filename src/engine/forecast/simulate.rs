//! What would have happened: the decisions of the controller over recorded samples and actions.

use super::timeline::{self, Entry};
use super::walk::Walk;
use crate::api::status::HistoryEntry;
use crate::api::{FeatureRolloutStatus, MicroTime, Reason, Severity};
use crate::plan::Plan;

pub use super::recorded::{Range, Recorded, Sample};

/// Instants after which a course without inputs counts as endless; each action may start all of it again.
const MOST_INSTANTS: usize = 4096;
/// Instants that one sample may bring: it is used by two checks, and a third one finds it too old.
const INSTANTS_A_SAMPLE: usize = 4;
/// Samples that are looked at: a year of one every ten seconds.
const MOST_SAMPLES: usize = 3_200_000;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// When.
    pub at: MicroTime,
    /// What.
    pub reason: Reason,
    /// What and why, in words.
    pub message: String,
    /// Who or what did it.
    pub who: String,
    /// The trigger it is about.
    pub trigger: Option<String>,
    /// How bad that trigger's breach is.
    pub severity: Option<Severity>,
}

impl From<&HistoryEntry> for Transition {
    fn from(entry: &HistoryEntry) -> Transition {
        Transition {
            at: entry.at,
            reason: entry.reason,
            message: entry.message.clone(),
            who: entry.who.clone(),
            trigger: entry.trigger.clone(),
            severity: entry.severity,
        }
    }
}

/// The course of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    /// The changes of what is served, in order; one for each instant.
    pub entries: Vec<Entry>,
    /// What happened, in order.
    pub transitions: Vec<Transition>,
    /// The state at the end.
    pub status: FeatureRolloutStatus,
    /// Why it ends there, where samples go on without end.
    pub stop: Option<Stop>,
}

/// Why nothing later is looked at although samples go on without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nothing has changed since then, and neither time nor more of the same samples will change anything.
    Settled(MicroTime),
    /// So far is looked: the plan would have been completed long ago.
    Far(MicroTime),
}

/// The course of a rollout under what was recorded of it, until `until`; one without a start begins at `now`.
///
/// It is taken as favourable as a plan, but for what the samples say: approvals are given, dependencies met, nothing is
/// suspended, every decision is delivered at once, and a gate whose criterion has no samples at all passes. A trigger
/// without samples has no data. Without `until` it ends with the later of the completion and the last input; where it
/// never completes, a ladder under way at the last input is still gone down. Samples without end are looked at until they
/// change nothing any more, and no further than once more the length of the plan after all else.
pub fn simulate(plan: &Plan, recorded: &Recorded, now: MicroTime, until: Option<MicroTime>) -> Simulation {
    if until.is_some() {
        return walk(plan, recorded, now, until);
    }
    let course = walk(plan, recorded, now, None);
    // All that comes of samples without end has come.
    if course.stop.is_some() {
        return course;
    }
    let Some(last) = recorded.last().filter(|_| course.status.completed_at.is_none()) else { return course };
    let happened = course.transitions.last().map(|transition| transition.at);
    let last = happened.filter(|_| recorded.is_endless()).map_or(last, |happened| happened.max(last));
    let ladder = course.status.rollback.as_ref().filter(|rollback| rollback.at <= last);
    let ended = ladder.and_then(|rollback| rollback.ended_at);
    walk(plan, recorded, now, Some(ended.map_or(last, |ended| ended.max(last))))
}

fn walk(plan: &Plan, recorded: &Recorded, now: MicroTime, until: Option<MicroTime>) -> Simulation {
    let mut walk = Walk::new(plan, recorded, now);
    let start = walk.plan.start_at.unwrap_or(now);
    let mut at = recorded.actions.first().map_or(start, |(first, _)| start.min(*first));
    walk.changed_at = at;
    let last = recorded.last();
    let far = until.is_none().then(|| farthest(plan, recorded, start, now)).flatten();
    let samples = recorded.len(at, until.or(far).or(last).unwrap_or(at)).min(MOST_SAMPLES);
    let most = MOST_INSTANTS * (1 + recorded.actions.len()) + INSTANTS_A_SAMPLE * samples;
    let mut stop = None;
    for _ in 0..most {
        if until.is_some_and(|until| at > until) {
            break;
        }
        let wake_at = walk.instant(at);
        let Some(next) = walk.next(wake_at, at) else { break };
        let over = last.is_none_or(|last| next > last);
        if until.is_none() && over && walk.status.completed_at.is_some() {
            break;
        }
        if far.is_some() && over && wake_at.is_none() && walk.is_settled(at, last) {
            stop = Some(Stop::Settled(walk.changed_at));
            break;
        }
        if let Some(far) = far.filter(|far| next > *far) {
            stop = Some(Stop::Far(far));
            break;
        }
        at = next;
    }
    Simulation { entries: walk.entries, transitions: walk.transitions, status: walk.status, stop }
}

/// How far samples without end are looked at: what a pause or a rollback has put off takes no longer than the plan once
/// more, after its completion or the last input that has an end. `None` where every input has one.
fn farthest(plan: &Plan, recorded: &Recorded, start: MicroTime, now: MicroTime) -> Option<MicroTime> {
    if !recorded.is_endless() {
        return None;
    }
    let completed_at = timeline::timeline(plan, now).completed_at.unwrap_or(start);
    let length = completed_at.duration_since(start);
    Some(recorded.last().map_or(completed_at, |last| last.max(completed_at)).saturating_add(length))
}

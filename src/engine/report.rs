//! What people and GitOps tools see of a state: columns, conditions, and whether all is well.

use super::delivery::{Delivery, note_delivery, standing, undelivered_message};
use super::pauses::pause_words;
use super::text::{decided_line, second, short};
use crate::api::conditions::{Want, is_true, merge, types};
use crate::api::status::{Check, WaitingFor};
use crate::api::{FeatureRolloutStatus, MicroTime, Percent, Reason, State, Verdict};
use crate::plan::Plan;

/// What a report speaks of, besides the state.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// The plan of the state.
    pub plan: &'a Plan,
    /// How the file stands to it.
    pub delivery: Delivery,
    /// When something changes next by itself.
    pub next: Option<MicroTime>,
    /// Why nothing may be raised, where the namespace has more than it may have in memory.
    pub no_room: Option<&'a str>,
    /// `metadata.generation` of the spec that was decided on.
    pub generation: i64,
    /// The time of the report.
    pub now: MicroTime,
}

/// Fills the report part of a status, and takes note of how the file stands to it.
pub fn report(status: &mut FeatureRolloutStatus, report: &Report<'_>) {
    if let Some(why) = report.no_room {
        let (next, why) = (super::wake::next_rung(status), (Reason::NamespaceFull, why));
        return stall(status, why, &report.delivery, next, report.generation, report.now);
    }
    note_delivery(status, &report.delivery, report.now);
    let undelivered = undelivered_message(status);
    columns(status, report);
    let (state, mut want) = match &report.delivery {
        Delivery::Done => {
            status.observed_generation = report.generation;
            settled(status)
        }
        // A rollback is news at once, whether or not the file has it yet.
        Delivery::UnderWay if is_new_rollback(status) => {
            let message = rollback_message(status).unwrap_or_default();
            reconciling(rollback_reason(status), format!("{message}; the file is being written"))
        }
        // A raise that is on its way is no reason to say anything but what was said before.
        Delivery::UnderWay if !status.conditions.is_empty() => {
            status.reason = reason_column(status);
            return;
        }
        Delivery::UnderWay => reconciling(Reason::Delivering, "the file is being written".to_owned()),
        Delivery::Late(message) => {
            reconciling(Reason::Retrying, undelivered.unwrap_or_else(|| message.clone()))
        }
        Delivery::Failed(reason, message) => {
            let message = undelivered.unwrap_or_else(|| message.clone());
            return stalled(status, *reason, &message, report.generation, report.now);
        }
    };
    status.state = Some(rolling_back(status).unwrap_or(state));
    want.extend(criteria_met(report.plan, status));
    finish(status, want, report.generation, report.now);
}

/// How a rollback in force stands, in one word. It has ended once the file is at control.
fn rolling_back(status: &FeatureRolloutStatus) -> Option<State> {
    let rollback = status.rollback.as_ref()?;
    Some(if rollback.ended_at.is_none() { State::RollingBack } else { State::RolledBack })
}

/// Fills the report part of a status that cannot be decided on as a whole: nothing is raised until somebody acts, and
/// what lowers goes on.
///
/// `delivery` is how the file stands to the state, where a rollout has one; `next` is when the next rung comes.
pub fn stall(
    status: &mut FeatureRolloutStatus,
    (reason, message): (Reason, &str),
    delivery: &Delivery,
    next: Option<MicroTime>,
    generation: i64,
    now: MicroTime,
) {
    note_delivery(status, delivery, now);
    note_stall(status, reason, message, now);
    if status.is_begun() {
        let (which, until, then) = (None, None, None);
        status.waiting_for =
            Some(WaitingFor { check: Check::Valid, message: short(message), which, until, then });
    }
    status.next = next.map(second);
    shown(status);
    let message = match undelivered_message(status) {
        Some(undelivered) => format!("{undelivered}; {message}"),
        None => message.to_owned(),
    };
    stalled(status, reason, &message, generation, now);
}

/// Says of a state that nothing more is known of that somebody must act.
pub fn fail(
    status: &mut FeatureRolloutStatus,
    reason: Reason,
    message: &str,
    generation: i64,
    now: MicroTime,
) {
    stalled(status, reason, message, generation, now);
}

/// `observedGeneration` moves here too: kstatus looks at Stalled only once the generation is observed.
fn stalled(
    status: &mut FeatureRolloutStatus,
    reason: Reason,
    message: &str,
    generation: i64,
    now: MicroTime,
) {
    status.observed_generation = generation;
    status.state = Some(rolling_back(status).unwrap_or(State::Stalled));
    let ready = Want { type_: types::READY, status: false, reason: reason.as_str(), message: short(message) };
    let stalled = Want { type_: types::STALLED, status: true, ..ready.clone() };
    finish(status, vec![ready, stalled], generation, now);
}

/// Takes a spec that cannot be followed into the history, once for each thing that is said of it.
fn note_stall(status: &mut FeatureRolloutStatus, reason: Reason, message: &str, now: MicroTime) {
    let of_spec = matches!(
        reason,
        Reason::InvalidSpec | Reason::ReferenceNotFound | Reason::DependencyCycle | Reason::KeyConflict
    );
    let stalled = status.conditions.iter().find(|condition| condition.type_ == types::STALLED);
    let still = stalled.is_some_and(|stalled| stalled.reason == reason.as_str());
    let last = status.history.iter().rev().find(|entry| entry.reason == reason);
    // Where space is short the entry may be cut by now, or gone.
    let said = last.is_none_or(|entry| message.starts_with(entry.message.trim_end_matches('…')));
    if of_spec && !(still && said) {
        super::record(status, now, reason, "git", short(message));
    }
}

/// Whether a rollback is in force that no condition speaks of yet.
fn is_new_rollback(status: &FeatureRolloutStatus) -> bool {
    status.rollback.is_some() && !is_true(&status.conditions, types::ROLLED_BACK)
}

/// How a rollback stands, in one word: it has happened once its cohorts are at control.
fn rollback_reason(status: &FeatureRolloutStatus) -> Reason {
    match rolling_back(status) {
        Some(State::RollingBack) => Reason::RollingBack,
        _ => Reason::RolledBack,
    }
}

/// The column REASON: why the rollout does what STATE says, and what of it, in as little as fits into a column.
fn reason_column(status: &FeatureRolloutStatus) -> Option<String> {
    let ready = status.conditions.iter().find(|condition| condition.type_ == types::READY);
    let failing =
        is_true(&status.conditions, types::STALLED) || is_true(&status.conditions, types::RECONCILING);
    let rolled_back = [Reason::RolledBack.as_str(), Reason::RollingBack.as_str()];
    if let Some(ready) = ready.filter(|ready| failing && !rolled_back.contains(&ready.reason.as_str())) {
        return Some(ready.reason.clone());
    }
    if let Some(rollback) = &status.rollback {
        return Some(match &rollback.trigger {
            Some(trigger) => format!("Trigger:{trigger}"),
            None => "Person".to_owned(),
        });
    }
    if let Some(pause) = status.pauses.first() {
        return Some(pause.cause.as_str().to_owned());
    }
    let waiting = status.waiting_for.as_ref()?;
    let words = |check: Check, which: Option<&String>| match which {
        Some(which) => format!("{}:{which}", check.as_str()),
        None => check.as_str().to_owned(),
    };
    let first = words(waiting.check, waiting.which.as_ref());
    // Beside the date under NEXT, which would be taken for a promise otherwise.
    Some(match &waiting.then {
        Some(then) => format!("{first}+{}", words(then.check, then.which.as_ref())),
        None => first,
    })
}

/// How a rollback stands, in words.
fn rollback_message(status: &FeatureRolloutStatus) -> Option<String> {
    let rollback = status.rollback.as_ref()?;
    let mode = rollback.mode.as_str().to_lowercase();
    let standing = standing(status);
    let next = super::wake::next_rung(status)
        .map(|at| format!("; the next rung comes at {}", second(at)))
        .unwrap_or_default();
    let verified = match rollback.verified_at {
        Some(at) => format!("; its triggers passed again at {}", second(at)),
        None => String::new(),
    };
    Some(format!(
        "{mode} rollback by {} since {}: {}; {standing}{next}{verified}; retry to start again",
        rollback.by,
        second(rollback.at),
        rollback.message
    ))
}

/// Whether every criterion with a bound passes; `None` where there is none.
fn criteria_met(plan: &Plan, status: &FeatureRolloutStatus) -> Option<Want> {
    let judged: Vec<&str> = plan
        .guard
        .criteria
        .iter()
        .filter(|criterion| criterion.bound.is_some())
        .map(|criterion| criterion.name.as_str())
        .collect();
    if judged.is_empty() {
        return None;
    }
    let verdict = |name: &str| {
        let known = status.criteria.iter().find(|criterion| criterion.name == name);
        known.and_then(|criterion| criterion.verdict)
    };
    let not_met: Vec<String> = judged
        .iter()
        .map(|name| (*name, verdict(name)))
        .filter(|(_, verdict)| *verdict != Some(Verdict::Pass))
        .map(|(name, verdict)| format!("{name} {}", verdict.map_or("not measured", Verdict::as_str)))
        .collect();
    let met = not_met.is_empty();
    Some(Want {
        type_: types::CRITERIA_MET,
        status: met,
        reason: if met { Reason::CriteriaMet } else { Reason::CriteriaNotMet }.as_str(),
        message: short(&if met { format!("{} pass", judged.join(", ")) } else { not_met.join(", ") }),
    })
}

fn finish(status: &mut FeatureRolloutStatus, mut want: Vec<Want>, generation: i64, now: MicroTime) {
    if let Some(message) = rollback_message(status) {
        want.push(Want {
            type_: types::ROLLED_BACK,
            status: true,
            reason: rollback_reason(status).as_str(),
            message: short(&message),
        });
    }
    if let Some(pause) = status.pauses.first() {
        want.push(Want {
            type_: types::PAUSED,
            status: true,
            reason: pause.cause.as_str(),
            message: short(&pause_words(status, pause)),
        });
    }
    let completed = status.completed_at.is_some();
    want.push(Want {
        type_: types::COMPLETED,
        status: completed,
        reason: if completed { Reason::Completed.as_str() } else { "InProgress" },
        message: match status.completed_at {
            Some(at) => format!("completed at {}", second(at)),
            None => "not all steps are done".to_owned(),
        },
    });
    status.conditions = merge(&status.conditions, &want, generation, now);
    status.reason = reason_column(status);
}

fn reconciling(reason: Reason, message: String) -> (State, Vec<Want>) {
    let ready =
        Want { type_: types::READY, status: false, reason: reason.as_str(), message: short(&message) };
    let reconciling = Want { type_: types::RECONCILING, status: true, ..ready.clone() };
    (State::Reconciling, vec![ready, reconciling])
}

/// Ready in every state in which the file holds what was decided: a week-long hold must not look in progress.
fn settled(status: &FeatureRolloutStatus) -> (State, Vec<Want>) {
    let served = decided_line(&status.cohorts);
    let waiting = status.waiting_for.as_ref();
    let waits = waiting.map(|waiting| format!("; {}", waiting.message)).unwrap_or_default();
    if let Some((state, message)) = rolling_back(status).zip(rollback_message(status)) {
        let ready = Want {
            type_: types::READY,
            status: false,
            reason: rollback_reason(status).as_str(),
            message: short(&message),
        };
        let type_ = if state == State::RolledBack { types::STALLED } else { types::RECONCILING };
        let other = Want { type_, status: true, ..ready.clone() };
        return (state, vec![ready, other]);
    }
    let (state, reason, message) = if let Some(pause) = status.pauses.first() {
        (State::Paused, Reason::Paused, format!("serving {served}; {}", pause_words(status, pause)))
    } else if status.completed_at.is_some() {
        (State::Completed, Reason::Completed, format!("completed, serving {served}{waits}"))
    } else {
        let (state, reason) = match waiting.map(|waiting| waiting.check) {
            Some(Check::Approval) => (State::AwaitingApproval, Reason::AwaitingApproval),
            Some(Check::Gates) => (State::AwaitingGates, Reason::AwaitingGates),
            Some(Check::Triggers) => (State::TriggersNotQuiet, Reason::TriggersNotQuiet),
            _ if status.position.is_none() => (State::Waiting, Reason::Waiting),
            _ => (State::Holding, Reason::Holding),
        };
        (state, reason, format!("serving {served}{waits}"))
    };
    let ready = Want { type_: types::READY, status: true, reason: reason.as_str(), message: short(&message) };
    (state, vec![ready])
}

fn columns(status: &mut FeatureRolloutStatus, report: &Report<'_>) {
    let total = report.plan.steps.len();
    let position = status.position.as_ref();
    let entered = position.and_then(|position| {
        let mark = super::position::Mark::from(position);
        mark.find_position(report.plan)
    });
    status.phase = position.map(|position| position.phase.clone());
    status.step = Some(match (position, entered) {
        (Some(_), None) => format!("?/{total}"),
        (_, entered) => format!("{}/{total}", entered.map_or(0, |i| i + 1)),
    });
    status.policies.clone_from(&report.plan.policies);
    status.time_zone_data = report.plan.zone_data.map(str::to_owned);
    for cohort in &mut status.cohorts {
        cohort.share = report.plan.cohort(&cohort.name).and_then(|declared| declared.share);
    }
    status.next = report.next.map(second);
    shown(status);
}

/// What the cohorts themselves say of what the file gives: it takes no plan, so it holds under an invalid spec, too.
fn shown(status: &mut FeatureRolloutStatus) {
    if status.cohorts.is_empty() {
        return;
    }
    let parts = status.cohorts.iter().map(|cohort| Some((cohort.share?, cohort.served.percent())));
    status.exposure = exposure(parts).map(|percent| percent.to_string());
    let served: Vec<String> =
        status.cohorts.iter().map(|cohort| format!("{}={}", cohort.name, cohort.served)).collect();
    status.served = Some(short(&served.join(",")));
}

/// Expected part of the whole audience with the feature: the sum of share × percentage over the cohorts, rounded half
/// up to 0.001 %. `None` where a cohort's share is unknown.
pub fn exposure(cohorts: impl Iterator<Item = Option<(Percent, Percent)>>) -> Option<Percent> {
    let mut sum: u64 = 0;
    for cohort in cohorts {
        let (share, percent) = cohort?;
        sum += u64::from(share.thousandths()) * u64::from(percent.thousandths());
    }
    let rounded = (sum + 50_000) / 100_000;
    let thousandths = u32::try_from(rounded).ok()?.min(Percent::FULL.thousandths());
    Percent::from_thousandths(thousandths)
}

#[cfg(test)]
mod tests;

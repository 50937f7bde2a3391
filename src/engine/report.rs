//! What people and GitOps tools see of a state: columns, conditions, and whether all is well.

use jiff::Timestamp;

use super::begin::decided_line;
use super::delivery::{Delivery, note_delivery, standing, undelivered_message};
use super::door::second;
use crate::api::conditions::{Want, is_true, merge, types};
use crate::api::status::{Check, PauseCause, WaitingFor};
use crate::api::{FeatureRolloutStatus, Percent, Reason, Verdict};
use crate::plan::Plan;

pub use super::fit::fit;

/// What a report speaks of, besides the state.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// The plan of the state.
    pub plan: &'a Plan,
    /// How the file stands to it.
    pub delivery: Delivery,
    /// When something changes next by itself.
    pub next: Option<Timestamp>,
    /// `metadata.generation` of the spec that was decided on.
    pub generation: i64,
    /// The time of the report.
    pub now: Timestamp,
}

/// Fills the report part of a status, and takes note of how the file stands to it.
pub fn report(status: &mut FeatureRolloutStatus, report: &Report<'_>) {
    note_delivery(status, &report.delivery, report.now);
    let undelivered = undelivered_message(status);
    columns(status, report);
    let mut want = match &report.delivery {
        Delivery::Done => {
            status.observed_generation = report.generation;
            settled(status)
        }
        // A rollback is news at once, whether or not the file has it yet.
        Delivery::UnderWay if is_new_rollback(status) => {
            let message = rollback_message(status).unwrap_or_default();
            reconciling(Reason::RolledBack, format!("{message}; the file is being written"))
        }
        // A raise that is on its way is no reason to say anything but what was said before.
        Delivery::UnderWay if !status.conditions.is_empty() => return,
        Delivery::UnderWay => reconciling(Reason::Delivering, "the file is being written".to_owned()),
        Delivery::Late(message) => {
            reconciling(Reason::Retrying, undelivered.unwrap_or_else(|| message.clone()))
        }
        Delivery::Failed(reason, message) => {
            let message = undelivered.unwrap_or_else(|| message.clone());
            return stalled(status, *reason, &message, report.generation, report.now);
        }
    };
    let state = want.first().map(|ready| if ready.status { ready.reason } else { "Reconciling" });
    status.state = rolling_back(status).or(state).map(str::to_owned);
    want.extend(criteria_met(report.plan, status));
    finish(status, want, report.generation, report.now);
}

/// How a rollback in force stands, in one word. It has ended once the file is at control.
fn rolling_back(status: &FeatureRolloutStatus) -> Option<&'static str> {
    status.rollback.as_ref().map(|rollback| match rollback.ended_at {
        Some(_) => Reason::RolledBack.as_str(),
        None => "RollingBack",
    })
}

/// Fills the report part of a status that cannot be decided on as a whole: nothing is raised until somebody acts, and
/// what lowers goes on.
///
/// `delivery` is how the file stands to the state, where a rollout has one; `next` is when the next rung comes.
pub fn stall(
    status: &mut FeatureRolloutStatus,
    (reason, message): (Reason, &str),
    delivery: &Delivery,
    next: Option<Timestamp>,
    generation: i64,
    now: Timestamp,
) {
    note_delivery(status, delivery, now);
    if status.is_begun() {
        let waiting = WaitingFor { check: Check::Valid, message: short(message), until: None };
        status.waiting_for = Some(waiting);
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
    now: Timestamp,
) {
    stalled(status, reason, message, generation, now);
}

/// `observedGeneration` moves here too: kstatus looks at Stalled only once the generation is observed.
fn stalled(
    status: &mut FeatureRolloutStatus,
    reason: Reason,
    message: &str,
    generation: i64,
    now: Timestamp,
) {
    status.observed_generation = generation;
    status.state = Some(rolling_back(status).unwrap_or("Stalled").to_owned());
    let ready = Want { type_: types::READY, status: false, reason: reason.as_str(), message: short(message) };
    let stalled = Want { type_: types::STALLED, status: true, ..ready.clone() };
    finish(status, vec![ready, stalled], generation, now);
}

/// Whether a rollback is in force that no condition speaks of yet.
fn is_new_rollback(status: &FeatureRolloutStatus) -> bool {
    status.rollback.is_some() && !is_true(&status.conditions, types::ROLLED_BACK)
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
        Some(at) => format!("; its triggers passed again at {}", second(at.timestamp())),
        None => String::new(),
    };
    Some(format!(
        "{mode} rollback by {} since {}: {}; {standing}{next}{verified}; retry to start again",
        rollback.by,
        second(rollback.at.timestamp()),
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

fn finish(status: &mut FeatureRolloutStatus, mut want: Vec<Want>, generation: i64, now: Timestamp) {
    if let Some(message) = rollback_message(status) {
        want.push(Want {
            type_: types::ROLLED_BACK,
            status: true,
            reason: Reason::RolledBack.as_str(),
            message: short(&message),
        });
    }
    if let Some(pause) = status.pauses.first() {
        want.push(Want {
            type_: types::PAUSED,
            status: true,
            reason: pause_reason(pause.cause),
            message: short(&pause.message),
        });
    }
    let completed = status.completed_at.is_some();
    want.push(Want {
        type_: types::COMPLETED,
        status: completed,
        reason: if completed { Reason::Completed.as_str() } else { "InProgress" },
        message: match status.completed_at {
            Some(at) => format!("completed at {}", second(at.timestamp())),
            None => "not all steps are done".to_owned(),
        },
    });
    status.conditions = merge(&status.conditions, &want, generation, now);
}

fn reconciling(reason: Reason, message: String) -> Vec<Want> {
    let ready =
        Want { type_: types::READY, status: false, reason: reason.as_str(), message: short(&message) };
    let reconciling = Want { type_: types::RECONCILING, status: true, ..ready.clone() };
    vec![ready, reconciling]
}

/// Ready in every state in which the file holds what was decided: a week-long hold must not look in progress.
fn settled(status: &FeatureRolloutStatus) -> Vec<Want> {
    let served = decided_line(&status.cohorts);
    let waiting = status.waiting_for.as_ref();
    let waits = waiting.map(|waiting| format!("; {}", waiting.message)).unwrap_or_default();
    if let Some(message) = rollback_message(status) {
        let ended = status.rollback.as_ref().is_some_and(|rollback| rollback.ended_at.is_some());
        let ready = Want {
            type_: types::READY,
            status: false,
            reason: Reason::RolledBack.as_str(),
            message: short(&message),
        };
        let type_ = if ended { types::STALLED } else { types::RECONCILING };
        let other = Want { type_, status: true, ..ready.clone() };
        return vec![ready, other];
    }
    let (reason, message) = if let Some(pause) = status.pauses.first() {
        (Reason::Paused, format!("serving {served}; {}", pause.message))
    } else if status.completed_at.is_some() {
        (Reason::Completed, format!("completed, serving {served}{waits}"))
    } else if waiting.is_some_and(|waiting| waiting.check == Check::Approval) {
        (Reason::AwaitingApproval, format!("serving {served}{waits}"))
    } else if waiting.is_some_and(|waiting| waiting.check == Check::Gates) {
        (Reason::AwaitingGates, format!("serving {served}{waits}"))
    } else if waiting.is_some_and(|waiting| waiting.check == Check::Triggers) {
        (Reason::TriggersNotQuiet, format!("serving {served}{waits}"))
    } else if status.position.is_none() {
        (Reason::Waiting, format!("serving {served}{waits}"))
    } else {
        (Reason::Holding, format!("serving {served}{waits}"))
    };
    vec![Want { type_: types::READY, status: true, reason: reason.as_str(), message: short(&message) }]
}

const fn pause_reason(cause: PauseCause) -> &'static str {
    match cause {
        PauseCause::Suspended => "Suspended",
        PauseCause::Emergency => "Emergency",
        PauseCause::StatusLost => "StatusLost",
        PauseCause::Restored => "Restored",
        PauseCause::Adopted => "Adopted",
        PauseCause::PositionLost => "PositionLost",
        PauseCause::Person => "Person",
        PauseCause::SetPercent => "SetPercent",
        PauseCause::Trigger => "Trigger",
    }
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

/// Most bytes of one message.
const MOST_MESSAGE: usize = 512;
/// A message that fits.
pub fn short(message: &str) -> String {
    cut(message, MOST_MESSAGE)
}

/// At most so many bytes of a message.
pub(super) fn cut(message: &str, most: usize) -> String {
    if message.len() <= most {
        return message.to_owned();
    }
    let end = (0..=most - '…'.len_utf8()).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", message.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Condition;
    use crate::engine::tests::support::{plan, t};
    use crate::engine::{Facts, Ground, Request, act, decide};

    const SPEC: &str = "
cohorts: [{name: everyone, share: 100}]
phases: [{name: ga, ramp: {percents: [100], every: 1h}}]
criteria:
- {name: rating, manual: {value: '4.4', at: '2025-01-01T00:00:00Z'}, above: '4.2'}
- {name: adoption, metric: {templateRef: {name: adoption}}, atLeast: '70'}
";

    fn find<'a>(status: &'a FeatureRolloutStatus, type_: &str) -> Option<&'a Condition> {
        status.conditions.iter().find(|condition| condition.type_ == type_)
    }

    fn reported(mut status: FeatureRolloutStatus, now: &str, delivery: Delivery) -> FeatureRolloutStatus {
        let plan = plan(SPEC);
        report(&mut status, &Report { plan: &plan, delivery, next: None, generation: 1, now: t(now) });
        status
    }

    fn rolled_back() -> FeatureRolloutStatus {
        let plan = plan(SPEC);
        let facts = Facts::favourable("uid-1");
        let now = t("2025-09-08T00:00:00Z");
        let status = decide(&plan, &FeatureRolloutStatus::default(), &facts, now).status;
        let status = reported(status, "2025-09-08T00:00:00Z", Delivery::Done);
        let spec = serde_json::from_value(serde_json::json!({
            "rolloutRef": {"name": "r"}, "action": "Rollback", "reason": "it hurts",
            "rollback": {"mode": "Gradual"},
        }))
        .unwrap();
        let request = Request {
            uid: "a-1",
            spec: &spec,
            created: now,
            actor: crate::engine::Actor::Verified("ada".to_owned()),
            tracked_by: None,
            rollout_uid: "uid-1",
            generation: 1,
        };
        act(Ground::Plan(&plan, &facts), &status, &request, t("2025-09-08T00:10:00Z")).status
    }

    #[test]
    fn a_rollback_shows_before_the_file_has_it() {
        let status = reported(rolled_back(), "2025-09-08T00:10:00Z", Delivery::UnderWay);
        assert_eq!(find(&status, types::ROLLED_BACK).unwrap().status, "True");
        assert_eq!(find(&status, types::READY).unwrap().reason, "RolledBack");
        assert_eq!(find(&status, types::READY).unwrap().status, "False");
        assert_eq!(status.state.as_deref(), Some("RollingBack"));
    }

    #[test]
    fn a_ladder_is_in_progress_and_its_end_is_a_failure() {
        let status = reported(rolled_back(), "2025-09-08T00:10:01Z", Delivery::Done);
        assert!(find(&status, types::RECONCILING).is_some() && find(&status, types::STALLED).is_none());
        let message = &find(&status, types::READY).unwrap().message;
        assert!(message.contains("gradual rollback by ada"), "{message}");
        assert!(message.contains("the next rung comes at 2025-09-08T00:20:00Z"), "{message}");
        let ended =
            decide(&plan(SPEC), &status, &Facts::favourable("uid-1"), t("2025-09-08T00:40:00Z")).status;
        let ended = reported(ended, "2025-09-08T00:40:00Z", Delivery::Done);
        assert!(find(&ended, types::STALLED).is_some() && find(&ended, types::RECONCILING).is_none());
        assert_eq!(ended.state.as_deref(), Some("RolledBack"));
        assert_eq!(ended.served.as_deref(), Some("everyone=0%"));
    }

    #[test]
    fn criteria_are_met_only_when_all_were_measured_and_pass() {
        let status = rolled_back();
        let status = reported(status, "2025-09-08T00:10:01Z", Delivery::Done);
        let met = find(&status, types::CRITERIA_MET).unwrap();
        assert_eq!((met.status.as_str(), met.reason.as_str()), ("False", "CriteriaNotMet"));
        assert_eq!(met.message, "adoption not measured");
    }
}

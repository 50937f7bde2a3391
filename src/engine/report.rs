//! What people and GitOps tools see of a state: columns, conditions, and whether all is well.

use jiff::Timestamp;

use super::pauses::pause_words;
use super::text::{second, served_line, short};
use crate::api::conditions::{Want, is_true, merge, types};
use crate::api::status::Check;
use crate::api::{FeatureRolloutStatus, Percent, Reason, Verdict};
use crate::plan::Plan;

/// How the file stands to the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The file holds it.
    Done,
    /// The file does not hold it yet, and that is no news.
    UnderWay,
    /// The file has not held it for 10 seconds, or an error is being retried.
    Late(String),
    /// The file will not hold it until somebody acts.
    Failed(Reason, String),
}

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

/// Fills the report part of a status.
pub fn report(status: &mut FeatureRolloutStatus, report: &Report<'_>) {
    columns(status, report);
    let mut want = match &report.delivery {
        Delivery::Done => {
            status.observed_generation = report.generation;
            status.delivered_revision = status.revision;
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
        Delivery::Late(message) => reconciling(Reason::Retrying, message.clone()),
        Delivery::Failed(reason, message) => {
            return stall(status, *reason, message, report.generation, report.now);
        }
    };
    let rolled_back = status.rollback.as_ref().map(|_| rollback_reason(status).as_str());
    let state = want.first().map(|ready| if ready.status { ready.reason } else { "Reconciling" });
    status.state = rolled_back.or(state).map(str::to_owned);
    want.extend(criteria_met(report.plan, status));
    finish(status, want, report.generation, report.now);
}

/// Says that nothing goes on until somebody acts. What is served stays served.
///
/// `observedGeneration` moves here too: kstatus looks at Stalled only once the generation is observed.
pub fn stall(
    status: &mut FeatureRolloutStatus,
    reason: Reason,
    message: &str,
    generation: i64,
    now: Timestamp,
) {
    status.observed_generation = generation;
    note_stall(status, reason, message, now);
    status.state = Some("Stalled".to_owned());
    status.next = None;
    let ready = Want { type_: types::READY, status: false, reason: reason.as_str(), message: short(message) };
    let stalled = Want { type_: types::STALLED, status: true, ..ready.clone() };
    finish(status, vec![ready, stalled], generation, now);
}

/// Takes a spec that cannot be followed into the history, once for each thing that is said of it.
fn note_stall(status: &mut FeatureRolloutStatus, reason: Reason, message: &str, now: Timestamp) {
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

/// Says that an error is being retried.
pub fn retrying(status: &mut FeatureRolloutStatus, message: String, generation: i64, now: Timestamp) {
    status.state = Some("Reconciling".to_owned());
    finish(status, reconciling(Reason::Retrying, message), generation, now);
}

/// Whether a rollback is in force that no condition speaks of yet.
fn is_new_rollback(status: &FeatureRolloutStatus) -> bool {
    status.rollback.is_some() && !is_true(&status.conditions, types::ROLLED_BACK)
}

/// How a rollback stands, in one word: it has happened once its cohorts are at control.
fn rollback_reason(status: &FeatureRolloutStatus) -> Reason {
    match &status.rollback {
        Some(rollback) if rollback.ended_at.is_none() => Reason::RollingBack,
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
    Some(match &waiting.which {
        Some(which) => format!("{}:{which}", waiting.check.as_str()),
        None => waiting.check.as_str().to_owned(),
    })
}

/// How a rollback stands, in words.
fn rollback_message(status: &FeatureRolloutStatus) -> Option<String> {
    let rollback = status.rollback.as_ref()?;
    let mode = rollback.mode.as_str().to_lowercase();
    let served = served_line(&status.cohorts);
    let next = super::wake::next_rung(status)
        .map(|at| format!("; the next rung comes at {}", second(at)))
        .unwrap_or_default();
    let verified = match rollback.verified_at {
        Some(at) => format!("; its triggers passed again at {}", second(at.timestamp())),
        None => String::new(),
    };
    Some(format!(
        "{mode} rollback by {} since {}: {}; serving {served}{next}{verified}; retry to start again",
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
            Some(at) => format!("completed at {}", second(at.timestamp())),
            None => "not all steps are done".to_owned(),
        },
    });
    status.conditions = merge(&status.conditions, &want, generation, now);
    status.reason = reason_column(status);
}

fn reconciling(reason: Reason, message: String) -> Vec<Want> {
    let ready =
        Want { type_: types::READY, status: false, reason: reason.as_str(), message: short(&message) };
    let reconciling = Want { type_: types::RECONCILING, status: true, ..ready.clone() };
    vec![ready, reconciling]
}

/// Ready in every state in which the file holds what was decided: a week-long hold must not look in progress.
fn settled(status: &FeatureRolloutStatus) -> Vec<Want> {
    let served = served_line(&status.cohorts);
    let waiting = status.waiting_for.as_ref();
    let waits = waiting.map(|waiting| format!("; {}", waiting.message)).unwrap_or_default();
    if let Some(message) = rollback_message(status) {
        let ended = status.rollback.as_ref().is_some_and(|rollback| rollback.ended_at.is_some());
        let ready = Want {
            type_: types::READY,
            status: false,
            reason: rollback_reason(status).as_str(),
            message: short(&message),
        };
        let type_ = if ended { types::STALLED } else { types::RECONCILING };
        let other = Want { type_, status: true, ..ready.clone() };
        return vec![ready, other];
    }
    let (reason, message) = if let Some(pause) = status.pauses.first() {
        (Reason::Paused, format!("serving {served}; {}", pause_words(status, pause)))
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
    status.exposure = exposure(report.plan, status).map(|percent| percent.to_string());
    status.served = Some(short(
        &status
            .cohorts
            .iter()
            .map(|cohort| format!("{}={}", cohort.name, cohort.served))
            .collect::<Vec<_>>()
            .join(","),
    ));
    status.next = report.next.map(second);
}

/// Expected part of the whole audience with the feature: the sum of share × served over the cohorts, rounded half
/// up to 0.001 %. `None` where a cohort's share is unknown.
pub fn exposure(plan: &Plan, status: &FeatureRolloutStatus) -> Option<Percent> {
    let mut sum: u64 = 0;
    for cohort in &status.cohorts {
        let share = plan.cohort(&cohort.name)?.share?;
        sum += u64::from(share.thousandths()) * u64::from(cohort.served.thousandths());
    }
    let rounded = (sum + 50_000) / 100_000;
    let thousandths = u32::try_from(rounded).ok()?.min(Percent::FULL.thousandths());
    Percent::from_thousandths(thousandths)
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
        assert_eq!(find(&status, types::READY).unwrap().reason, "RollingBack");
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

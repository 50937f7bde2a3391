//! What people and GitOps tools see of a state: columns, conditions, and whether all is well.

use jiff::Timestamp;

use super::begin::served_line;
use super::door::second;
use crate::api::conditions::{Want, merge, types};
use crate::api::status::{Check, PauseCause};
use crate::api::{FeatureRolloutStatus, Percent, Reason};
use crate::plan::Plan;

pub use super::fit::fit;

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
    let want = match &report.delivery {
        Delivery::Done => {
            status.observed_generation = report.generation;
            status.delivered_revision = status.revision;
            settled(status)
        }
        // A raise that is on its way is no reason to say anything but what was said before.
        Delivery::UnderWay if !status.conditions.is_empty() => return,
        Delivery::UnderWay => reconciling(Reason::Delivering, "the file is being written".to_owned()),
        Delivery::Late(message) => reconciling(Reason::Retrying, message.clone()),
        Delivery::Failed(reason, message) => {
            return stall(status, *reason, message, report.generation, report.now);
        }
    };
    let state = want.first().map(|ready| if ready.status { ready.reason } else { "Reconciling" });
    status.state = state.map(str::to_owned);
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
    status.state = Some("Stalled".to_owned());
    status.next = None;
    let ready = Want { type_: types::READY, status: false, reason: reason.as_str(), message: short(message) };
    let stalled = Want { type_: types::STALLED, status: true, ..ready.clone() };
    finish(status, vec![ready, stalled], generation, now);
}

/// Says that an error is being retried.
pub fn retrying(status: &mut FeatureRolloutStatus, message: String, generation: i64, now: Timestamp) {
    status.state = Some("Reconciling".to_owned());
    finish(status, reconciling(Reason::Retrying, message), generation, now);
}

fn finish(status: &mut FeatureRolloutStatus, mut want: Vec<Want>, generation: i64, now: Timestamp) {
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
    let served = served_line(&status.cohorts);
    let waiting = status.waiting_for.as_ref();
    let waits = waiting.map(|waiting| format!("; {}", waiting.message)).unwrap_or_default();
    let (reason, message) = if let Some(pause) = status.pauses.first() {
        (Reason::Paused, format!("serving {served}; {}", pause.message))
    } else if status.completed_at.is_some() {
        (Reason::Completed, format!("completed, serving {served}{waits}"))
    } else if waiting.is_some_and(|waiting| waiting.check == Check::Approval) {
        (Reason::AwaitingApproval, format!("serving {served}{waits}"))
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

/// Most bytes of one message.
const MOST_MESSAGE: usize = 512;
/// A message that fits.
pub(super) fn short(message: &str) -> String {
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

//! The one door that every raise passes: a table of checks, asked in order; the first that says no is reported.

use jiff::Timestamp;

use super::Run;
use super::position::describe_step;
use crate::api::status::{Check, WaitingFor};
use crate::plan::time_gate::Closed;
use crate::plan::{Approval, Step};

/// What wants to pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Raise<'a> {
    /// A step that raises.
    Step(&'a Step),
    /// A step that raises nothing.
    StillStep(&'a Step),
    /// A cohort whose delay is over, or whose step was entered with the door shut.
    Cohort,
    /// An edited audience, an in-place edit, or what an emergency took away.
    Edit,
}

/// Why a raise may not pass now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub check: Check,
    pub message: String,
    pub until: Option<Timestamp>,
}

impl From<Refusal> for WaitingFor {
    fn from(refusal: Refusal) -> WaitingFor {
        let message = super::report::short(&refusal.message);
        WaitingFor { check: refusal.check, message, until: refusal.until.map(Into::into) }
    }
}

type CheckFn = fn(&Run<'_>, Raise<'_>) -> Option<Refusal>;

/// One check, and whom it concerns.
struct Row {
    check: CheckFn,
    step: bool,
    still_step: bool,
    cohort: bool,
    edit: bool,
}

const fn row(check: CheckFn, [step, still_step, cohort, edit]: [bool; 4]) -> Row {
    Row { check, step, still_step, cohort, edit }
}

const YES: bool = true;
const NO: bool = false;

/// The checks in their order. A step that raises nothing passes validity, pause, time and approval only.
const DOOR: &[Row] = &[
    //                  step, still step, cohort, edit
    row(check_valid, [YES, YES, YES, YES]),
    row(check_pauses, [YES, YES, YES, YES]),
    row(check_dependencies, [YES, NO, NO, NO]),
    row(check_time, [YES, YES, NO, NO]),
    row(check_approval, [YES, YES, NO, NO]),
    row(check_gate, [YES, NO, YES, YES]),
    row(check_delivered, [YES, NO, YES, YES]),
];

impl Run<'_> {
    /// Asks every check that concerns the raise; the first refusal counts.
    pub(super) fn door(&self, raise: Raise<'_>) -> Option<Refusal> {
        DOOR.iter()
            .filter(|row| match raise {
                Raise::Step(_) => row.step,
                Raise::StillStep(_) => row.still_step,
                Raise::Cohort => row.cohort,
                Raise::Edit => row.edit,
            })
            .find_map(|row| (row.check)(self, raise))
    }

    /// A closed gate as a refusal.
    pub(super) fn closed(&self, closed: Closed, what: &str, until: Option<Timestamp>) -> Refusal {
        let when = until.map(|until| format!(" until {}", second(until))).unwrap_or_default();
        match closed {
            Closed::Window => refusal(Check::Window, format!("{what} waits for a window{when}"), until),
            Closed::Freeze(name) => {
                refusal(Check::Freeze, format!("freeze {name} holds {what} back{when}"), until)
            }
        }
    }

    /// Earliest entry of the next step, and the check that sets it.
    pub(super) fn earliest(&self, step: &Step) -> (Check, Timestamp) {
        let (check, floor) = match (&self.status.position, self.at) {
            (Some(position), Some(at)) => {
                let hold = self.plan.steps.get(at).map(|step| step.hold).unwrap_or_default();
                let over = position.hold_from.timestamp().saturating_add(hold).unwrap_or(Timestamp::MAX);
                (Check::Hold, over)
            }
            _ => {
                let seen = self.status.first_seen.map_or(self.now, |seen| seen.timestamp());
                (Check::Start, self.plan.start_at.unwrap_or(seen))
            }
        };
        match step.date {
            Some(date) if date > floor => (Check::Date, date),
            _ => (check, floor),
        }
    }
}

fn check_valid(run: &Run<'_>, _: Raise<'_>) -> Option<Refusal> {
    run.facts.deleting.then(|| refusal(Check::Valid, "the rollout is being deleted".to_owned(), None))
}

fn check_pauses(run: &Run<'_>, _: Raise<'_>) -> Option<Refusal> {
    let pause = run.status.pauses.first()?;
    Some(refusal(Check::Paused, pause.message.clone(), None))
}

fn check_dependencies(run: &Run<'_>, _: Raise<'_>) -> Option<Refusal> {
    if run.status.dependencies_met || run.facts.unmet.is_empty() {
        return None;
    }
    Some(refusal(Check::Dependencies, format!("waits for {}", run.facts.unmet.join(" and ")), None))
}

fn check_time(run: &Run<'_>, raise: Raise<'_>) -> Option<Refusal> {
    let (Raise::Step(step) | Raise::StillStep(step)) = raise else { return None };
    let (check, earliest) = run.earliest(step);
    if earliest <= run.now {
        return None;
    }
    // What the plan says for the entry, windows included: so this stands unchanged until then. A missing
    // approval shows as soon as the time has come, whatever the windows say.
    let until = match raise {
        Raise::Step(step) if step.approval != Approval::Missing => run.plan.time_gate.next_open(earliest),
        _ => Some(earliest),
    };
    let name = describe_step(step);
    if let Some(until) = until.filter(|until| *until > earliest) {
        let closed = run.plan.time_gate.closed(earliest).unwrap_or(Closed::Window);
        return Some(run.closed(closed, &name, Some(until)));
    }
    let message = match check {
        Check::Start => format!("the rollout starts at {}", second(earliest)),
        Check::Date => format!("{name} is due at {}", second(earliest)),
        _ => format!("the hold before {name} lasts until {}", second(earliest)),
    };
    Some(refusal(check, message, until))
}

fn check_approval(_: &Run<'_>, raise: Raise<'_>) -> Option<Refusal> {
    let (Raise::Step(step) | Raise::StillStep(step)) = raise else { return None };
    (step.approval == Approval::Missing).then(|| {
        let message = format!("{} waits for approval in spec.approvals", describe_step(step));
        refusal(Check::Approval, message, None)
    })
}

fn check_gate(run: &Run<'_>, raise: Raise<'_>) -> Option<Refusal> {
    let closed = run.plan.time_gate.closed(run.now)?;
    let until = run.plan.time_gate.next_open(run.now);
    let name = match raise {
        Raise::Step(step) | Raise::StillStep(step) => describe_step(step),
        Raise::Cohort => "the pending raise".to_owned(),
        Raise::Edit => "the edit".to_owned(),
    };
    Some(run.closed(closed, &name, until))
}

fn check_delivered(run: &Run<'_>, raise: Raise<'_>) -> Option<Refusal> {
    let shut = !run.facts.delivered || (run.entered && matches!(raise, Raise::Step(_)));
    shut.then(|| {
        refusal(Check::Delivered, "the file does not hold the previous decision yet".to_owned(), None)
    })
}

fn refusal(check: Check, message: String, until: Option<Timestamp>) -> Refusal {
    Refusal { check, message, until }
}

/// An instant to the second, as messages show it.
pub(super) fn second(at: Timestamp) -> String {
    format!("{at:.0}")
}

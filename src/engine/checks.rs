//! The checks that every raise passes: one table, asked in order; the first that says no is reported.

use super::Run;
use super::approval::check_approval;
use super::criteria::gate_shut;
use super::pauses::way_out;
use super::position::describe_step;
use super::quiet::check_triggers;
use super::start::{check_dated, check_playbook};
use super::text::{second, short};
use crate::api::MicroTime;
use crate::api::rolloutaction::Override;
use crate::api::status::{Check, PauseCause, Pending, RaiseCause, ThenWaitsFor, WaitingFor};
use crate::plan::calendar::Closed;
use crate::plan::{Calendar, Plan, Step};

/// What wants to pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Raise<'a> {
    /// A step that raises.
    Step(&'a Step),
    /// A step that raises nothing.
    StillStep(&'a Step),
    /// A cohort whose delay is over, or that the checks held back when its step was entered.
    Cohort(&'a str),
    /// An in-place edit of a cohort's ask, or without one an edited audience or what an emergency took away.
    Edit(Option<&'a str>),
    /// The next step, which raises, because somebody asks for it.
    Promote(&'a Step),
    /// The next step, which raises nothing, because somebody asks for it.
    PromoteStill(&'a Step),
    /// A cohort's percentage, because somebody asks for it.
    SetPercent(&'a str),
}

/// What a pending raise is to the checks.
pub(super) fn raise_of<'n>(pending: &Pending, cohort: &'n str) -> Raise<'n> {
    match pending.cause {
        RaiseCause::Step => Raise::Cohort(cohort),
        RaiseCause::Edit => Raise::Edit(Some(cohort)),
    }
}

/// Why a raise may not pass now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub check: Check,
    /// What of the check says no, where there are several: the name of a freeze, a gate, a trigger and so on.
    pub which: Option<String>,
    pub message: String,
    pub until: Option<MicroTime>,
    /// What would say no at `until`, as things stand.
    pub then: Option<ThenWaitsFor>,
}

impl Refusal {
    pub(super) fn new(check: Check, message: String, until: Option<MicroTime>) -> Refusal {
        Refusal { check, which: None, message, until, then: None }
    }

    /// The same, with what of the check says no.
    pub(super) fn of(self, which: &str) -> Refusal {
        Refusal { which: Some(which.to_owned()), ..self }
    }
}

impl From<Refusal> for WaitingFor {
    fn from(refusal: Refusal) -> WaitingFor {
        let message = short(&refusal.message);
        let Refusal { check, which, until, then, .. } = refusal;
        WaitingFor { check, which, message, until, then }
    }
}

/// What a raise is for: a column of the table of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Step,
    StillStep,
    Cohort,
    Edit,
    Promote,
    PromoteStill,
    SetPercent,
}

impl Raise<'_> {
    pub(super) fn purpose(self) -> Purpose {
        match self {
            Raise::Step(_) => Purpose::Step,
            Raise::StillStep(_) => Purpose::StillStep,
            Raise::Cohort(_) => Purpose::Cohort,
            Raise::Edit(_) => Purpose::Edit,
            Raise::Promote(_) => Purpose::Promote,
            Raise::PromoteStill(_) => Purpose::PromoteStill,
            Raise::SetPercent(_) => Purpose::SetPercent,
        }
    }
}

type CheckFn = fn(&Run<'_>, Raise<'_>) -> Option<Refusal>;

/// The checks in the order in which they are asked, each with the purposes that it concerns.
const CHECKS: &[(CheckFn, &[Purpose])] = {
    use Purpose::*;
    /// Steps that raise nothing, too.
    const ALL: &[Purpose] = &[Step, StillStep, Cohort, Edit, Promote, PromoteStill, SetPercent];
    const RAISING: &[Purpose] = &[Step, Cohort, Edit, Promote, SetPercent];
    &[
        (check_valid, ALL),
        (check_room, RAISING),
        (check_latch, ALL),
        (check_pauses, ALL),
        (check_dependencies, &[Step, Promote, SetPercent]),
        (check_playbook, &[Step, Promote, SetPercent]),
        (check_dated, &[Step, StillStep]),
        (check_time, &[Step, StillStep]),
        (check_missed, &[Step, StillStep]),
        (check_approval, &[Step, StillStep, Cohort, Edit, Promote, PromoteStill]),
        (check_calendar, RAISING),
        (check_delivered, RAISING),
        (check_triggers, RAISING),
        (check_gates, &[Step, Cohort, Edit, Promote]),
    ]
};

impl<'a> Run<'a> {
    /// Asks every check that concerns the raise; the first refusal counts.
    pub(super) fn refused(&self, raise: Raise<'_>) -> Option<Refusal> {
        let purpose = raise.purpose();
        CHECKS
            .iter()
            .filter(|(_, concerned)| concerned.contains(&purpose))
            .find_map(|(check, _)| check(self, raise))
    }

    /// A closed calendar as a refusal.
    pub(super) fn closed(&self, closed: Closed, what: &str, until: Option<MicroTime>) -> Refusal {
        let when = until.map(|until| format!(" until {}", second(until))).unwrap_or_default();
        match closed {
            Closed::Window(None) => refusal(Check::Window, format!("{what} waits for a window{when}"), until),
            Closed::Window(Some(policy)) => {
                let message = format!("{what} waits for a window of policy {policy}{when}");
                refusal(Check::Window, message, until).of(&policy)
            }
            Closed::Freeze(name) => {
                refusal(Check::Freeze, format!("freeze {name} holds {what} back{when}"), until).of(&name)
            }
        }
    }

    /// The windows and freezes that concern the raise under way.
    pub(super) fn calendar(&self) -> std::borrow::Cow<'_, Calendar> {
        let windows = self.overrides.contains(&Override::Window);
        let freezes = self.overrides.contains(&Override::Freeze);
        match windows || freezes {
            true => std::borrow::Cow::Owned(self.plan.calendar.without(windows, freezes)),
            false => std::borrow::Cow::Borrowed(&self.plan.calendar),
        }
    }

    /// Earliest entry of the next step, and the check that sets it.
    pub(super) fn earliest(&self, step: &Step) -> (Check, MicroTime) {
        let (check, floor) = match (&self.status.position, self.at) {
            (Some(position), Some(at)) => {
                let from = position.hold_from;
                let over = self.plan.steps.get(at).map(|step| self.plan.hold_end(step, from));
                (Check::Hold, over.unwrap_or(from))
            }
            _ => {
                let seen = self.status.first_seen.map_or(self.now, |seen| seen);
                let start = self.plan.start_at.unwrap_or(seen);
                let start = self.opens_at().map_or(start, |opens_at| start.max(opens_at));
                // What is started again was not missed before.
                let retry = self.status.retry.as_ref().map(|retry| retry.at);
                (Check::Start, retry.map_or(start, |retry| start.max(retry)))
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

fn check_room(run: &Run<'_>, _: Raise<'_>) -> Option<Refusal> {
    run.facts.no_room.as_ref().map(|why| refusal(Check::Valid, why.clone(), None))
}

fn check_latch(run: &Run<'_>, _: Raise<'_>) -> Option<Refusal> {
    let rollback = run.status.rollback.as_ref()?;
    let message = format!("rolled back at {}; retry to start again", second(rollback.at));
    Some(refusal(Check::RolledBack, message, None))
}

fn check_pauses(run: &Run<'_>, raise: Raise<'_>) -> Option<Refusal> {
    // Percentages set by hand pass over what people, triggers and recoveries paused, not over git.
    let by_hand = matches!(raise, Raise::SetPercent(_));
    let from_git = |cause| matches!(cause, PauseCause::Suspended | PauseCause::Emergency);
    let pause = run.status.pauses.iter().find(|pause| !by_hand || from_git(pause.cause))?;
    let message = format!("{}; {}", pause.message, way_out(pause.cause));
    Some(refusal(Check::Paused, message, None).of(pause.cause.as_str()))
}

fn check_dependencies(run: &Run<'_>, _: Raise<'_>) -> Option<Refusal> {
    if run.status.dependencies_met || run.facts.unmet.is_empty() {
        return None;
    }
    let name = run.facts.unmet.first().and_then(|unmet| unmet.split([' ', ',']).next()).unwrap_or_default();
    let message = format!("waits for {}", run.facts.unmet.join(" and "));
    Some(refusal(Check::Dependencies, message, None).of(name))
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
        Raise::Step(step) if run.unapproved(step).is_none() => run.calendar().next_open(earliest),
        _ => Some(earliest),
    };
    let name = describe_step(step);
    if let Some(until) = until.filter(|until| *until > earliest) {
        let closed = run.calendar().closed(earliest).unwrap_or(Closed::Window(None));
        return Some(run.closed(closed, &name, Some(until)));
    }
    let message = match check {
        Check::Start => format!("the rollout starts at {}", second(earliest)),
        Check::Date => format!("{name} is due at {}", second(earliest)),
        _ => format!("the hold before {name} lasts until {}", second(earliest)),
    };
    Some(refusal(check, message, until))
}

fn check_missed(run: &Run<'_>, raise: Raise<'_>) -> Option<Refusal> {
    let (Raise::Step(step) | Raise::StillStep(step)) = raise else { return None };
    let missed = run.considered(step).is_some_and(|considered| considered.missed);
    missed.then(|| {
        let message = format!("{} was missed and waits for a promote", describe_step(step));
        refusal(Check::Missed, message, None).of(&describe_step(step))
    })
}

fn check_calendar(run: &Run<'_>, raise: Raise<'_>) -> Option<Refusal> {
    let calendar = run.calendar();
    let closed = calendar.closed(run.now)?;
    Some(run.closed(closed, &describe_raise(raise), calendar.next_open(run.now)))
}

/// What wants to pass, in words.
fn describe_raise(raise: Raise<'_>) -> String {
    match raise {
        Raise::Step(step) | Raise::StillStep(step) | Raise::Promote(step) | Raise::PromoteStill(step) => {
            describe_step(step)
        }
        Raise::Cohort(cohort) => format!("the pending raise of {cohort}"),
        Raise::Edit(_) => "the edit".to_owned(),
        Raise::SetPercent(cohort) => format!("the percentage of {cohort}"),
    }
}

fn check_gates(run: &Run<'_>, raise: Raise<'_>) -> Option<Refusal> {
    if run.overrides.contains(&Override::Gates) {
        return None;
    }
    gates_of(run, raise).iter().find_map(|name| {
        let shut = gate_shut(&run.plan.guard, &run.status, &run.facts.metrics, name, run.now)?;
        Some(refusal(Check::Gates, shut, None).of(name))
    })
}

/// The gates of the phase whose step asks for a raise.
pub(super) fn gates_of<'p>(run: &Run<'p>, raise: Raise<'_>) -> &'p [String] {
    let plan: &'p Plan = run.plan;
    let phase = match raise {
        Raise::Step(step) | Raise::StillStep(step) | Raise::Promote(step) | Raise::PromoteStill(step) => {
            Some(step.phase.as_str())
        }
        Raise::Cohort(name) | Raise::SetPercent(name) | Raise::Edit(Some(name)) => {
            let cohort = run.status.cohort(name);
            cohort.and_then(|cohort| cohort.asked_by.as_ref()).map(|by| by.phase.as_str())
        }
        Raise::Edit(None) => run.status.position.as_ref().map(|position| position.phase.as_str()),
    };
    let step = phase.and_then(|phase| plan.steps.iter().find(|step| step.phase == phase));
    step.map_or(&[], |step| &step.gates)
}

fn check_delivered(run: &Run<'_>, raise: Raise<'_>) -> Option<Refusal> {
    let shut = !run.facts.delivered || (run.entered && matches!(raise, Raise::Step(_) | Raise::Promote(_)));
    shut.then(|| {
        refusal(Check::Delivered, "the file does not hold the previous decision yet".to_owned(), None)
    })
}

fn refusal(check: Check, message: String, until: Option<MicroTime>) -> Refusal {
    Refusal::new(check, message, until)
}

//! Why something comes later than its own time: a cohort's delay, a window, a freeze.

use std::fmt;

use jiff::SignedDuration;

use crate::api::{Duration, FeatureRolloutStatus, MicroTime};
use crate::engine::position::Mark;
use crate::plan::calendar::Closed;
use crate::plan::{Approval, Plan, Step};

/// Stretches that are looked at for one lateness: a year of closed days, and more freezes than a calendar has.
const MOST_CLOSURES: usize = 512;

/// A step that was entered.
#[derive(Clone, Debug, PartialEq)]
pub struct Entered {
    /// When.
    pub at: MicroTime,
    /// Its place among the steps of the plan, from 0.
    pub index: usize,
    /// Whether it takes an approval, and whether git gives that.
    pub approval: Approval,
    /// Why it was not entered when the hold before it was over and its own date had come.
    pub late: Option<Late>,
}

/// A raise of a cohort that did not come with the step that asked for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    /// When.
    pub at: MicroTime,
    /// The cohort.
    pub cohort: String,
    /// What it was held back by.
    pub late: Late,
}

/// Since when something could have come, and what held it back from then on.
#[derive(Clone, Debug, PartialEq)]
pub struct Late {
    /// When it was due by itself.
    pub due: MicroTime,
    /// What held it back, in order; never empty.
    pub by: Vec<Hindrance>,
}

/// What holds something back that would be due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// A cohort's delay after first exposure, so long.
    Delay(SignedDuration),
    /// A closed window or a freeze.
    Closed(Closed),
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hindrance::Delay(length) => write!(f, "a delay of {}", Duration::from_signed(*length)),
            Hindrance::Closed(Closed::Window(None)) => f.write_str("a window"),
            Hindrance::Closed(Closed::Window(Some(policy))) => write!(f, "a window of policy {policy}"),
            Hindrance::Closed(Closed::Freeze(name)) => write!(f, "freeze {name}"),
        }
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, by) in self.by.iter().enumerate() {
            write!(f, "{}{by}", if i == 0 { "" } else { ", then " })?;
        }
        Ok(())
    }
}

/// Why a raise that was due comes at `at`.
fn late(plan: &Plan, due: MicroTime, at: MicroTime, delay: Option<SignedDuration>) -> Option<Late> {
    let mut by: Vec<Hindrance> = delay.map(Hindrance::Delay).into_iter().collect();
    for closure in plan.calendar.closures(due, at, MOST_CLOSURES) {
        let hindrance = Hindrance::Closed(closure.why);
        if !by.contains(&hindrance) {
            by.push(hindrance);
        }
    }
    (!by.is_empty()).then_some(Late { due, by })
}

/// The steps that were entered between two states, the later of which is that of `at`.
pub(super) fn entered(
    plan: &Plan,
    approvals: &[Approval],
    before: &FeatureRolloutStatus,
    after: &FeatureRolloutStatus,
    at: MicroTime,
) -> Vec<Entered> {
    let stands = |status: &FeatureRolloutStatus| {
        status.position.as_ref().and_then(|position| Mark::from(position).find_position(plan))
    };
    let was = stands(before);
    let Some(is) = stands(after).filter(|is| was.is_none_or(|was| *is > was)) else { return Vec::new() };
    let first = was.map_or(0, |was| was + 1);
    let steps = plan.steps.iter().enumerate().take(is + 1).skip(first);
    steps
        .map(|(index, step)| {
            let due = due(plan, before, was, step).filter(|_| index == first);
            Entered {
                at,
                index,
                approval: approvals.get(index).copied().unwrap_or(Approval::NotRequired),
                late: due.filter(|due| *due < at).and_then(|due| late(plan, due, at, None)),
            }
        })
        .collect()
}

/// When a step could have been entered as far as the hold before it and its own date are concerned.
fn due(plan: &Plan, before: &FeatureRolloutStatus, was: Option<usize>, step: &Step) -> Option<MicroTime> {
    let floor = match (&before.position, was.and_then(|was| plan.steps.get(was))) {
        (Some(position), Some(stood_at)) => plan.hold_end(stood_at, position.hold_from),
        _ => plan.start_at?,
    };
    Some(step.date.map_or(floor, |date| date.max(floor)))
}

/// The raises that came between two states for which something was pending before.
pub(super) fn followed(
    plan: &Plan,
    before: &FeatureRolloutStatus,
    after: &FeatureRolloutStatus,
    at: MicroTime,
) -> Vec<Followed> {
    let raised = after.cohorts.iter().filter_map(|cohort| {
        let was = before.cohort(&cohort.name)?;
        let pending = was.pending.as_ref().filter(|_| cohort.decided() > was.decided())?;
        let delay = plan.delay(plan.cohort(&cohort.name)?);
        let by_delay = (!delay.is_zero() && before.first_exposure.is_some()).then_some(delay);
        let late = late(plan, pending.due, at, by_delay)?;
        Some(Followed { at, cohort: cohort.name.clone(), late })
    });
    raised.collect()
}

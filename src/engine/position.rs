//! Where a rollout stands in its plan, and where that is after an edit.

use super::Run;
use crate::api::status::{AskedBy, FeatureRolloutStatus, PauseCause, Position, UsedApproval};
use crate::api::{MicroTime, Reason};
use crate::plan::{Approval, Plan, Step};

/// How a step is remembered.
pub(super) struct Mark<'a> {
    pub phase: &'a str,
    pub number: i32,
    pub of: i32,
    pub name: Option<&'a str>,
    pub content: &'a str,
}

impl<'a> From<&'a Position> for Mark<'a> {
    fn from(position: &'a Position) -> Mark<'a> {
        Mark {
            phase: &position.phase,
            number: position.number,
            of: position.of,
            name: position.step.as_deref(),
            content: &position.content,
        }
    }
}

impl<'a> From<&'a AskedBy> for Mark<'a> {
    fn from(by: &'a AskedBy) -> Mark<'a> {
        Mark {
            phase: &by.phase,
            number: by.number,
            of: by.of,
            name: by.step.as_deref(),
            content: &by.content,
        }
    }
}

impl Mark<'_> {
    /// Index of the step in the plan: by name, else (unnamed) by content, else by number when the phase has as many
    /// steps as before. In a ramp only the same percentage is the same step.
    pub(super) fn find(&self, plan: &Plan) -> Option<usize> {
        let phase: Vec<(usize, &Step)> =
            plan.steps.iter().enumerate().filter(|(_, step)| step.phase == self.phase).collect();
        let is_ramp = phase.first().is_some_and(|(_, step)| step.ramp.is_some());
        let by_name = || phase.iter().find(|(_, step)| step.name.as_deref() == self.name);
        if is_ramp {
            return self.name.and_then(|_| by_name()).map(|(i, _)| *i);
        }
        let numbered = |step: &Step| i32::try_from(step.number) == Ok(self.number);
        let found = match self.name {
            Some(_) => by_name(),
            None => {
                let mut same =
                    phase.iter().filter(|(_, step)| step.name.is_none() && step.content == self.content);
                let first = same.clone().next();
                same.find(|(_, step)| numbered(step)).or(first)
            }
        };
        let as_many = i32::try_from(phase.len()) == Ok(self.of);
        found
            .or_else(|| as_many.then(|| phase.iter().find(|(_, step)| numbered(step))).flatten())
            .map(|(i, _)| *i)
    }

    /// The same for a position: in a ramp it is the last percentage that is not above the one reached.
    pub(super) fn find_position(&self, plan: &Plan) -> Option<usize> {
        let reached = self.name.and_then(|name| name.parse::<crate::api::Percent>().ok());
        let in_ramp = plan
            .steps
            .iter()
            .enumerate()
            .filter(|(_, step)| step.phase == self.phase)
            .filter(|(_, step)| step.ramp.zip(reached).is_some_and(|(percent, reached)| percent <= reached))
            .map(|(i, _)| i)
            .next_back();
        in_ramp.or_else(|| self.find(plan))
    }
}

impl Run<'_> {
    /// Finds the position in the plan as it is now; a lost one pauses the rollout until it is found again.
    pub(super) fn relocate(&mut self) {
        let Some(position) = &self.status.position else {
            self.end_pause(PauseCause::PositionLost);
            self.at = None;
            return;
        };
        self.at = Mark::from(position).find_position(self.plan);
        let lost = self.status.pause(PauseCause::PositionLost).is_some();
        match (self.at, lost) {
            (None, false) => {
                let message = format!(
                    "the current step {} is no longer in the plan",
                    describe(&position.phase, position.step.as_deref(), position.number)
                );
                self.add_pause(PauseCause::PositionLost, message.clone());
                self.record(Reason::PositionLost, "git", message);
            }
            (None, true) => {}
            (Some(i), lost) => {
                if lost {
                    self.end_pause(PauseCause::PositionLost);
                    self.record(Reason::Resumed, "git", "the current step is in the plan again".to_owned());
                }
                self.refresh_position(i);
            }
        }
    }

    /// An approval from git that is taken back counts again when it is given again.
    pub(super) fn forget_withdrawn_approvals(&mut self) {
        let given: Vec<UsedApproval> = self.plan.steps.iter().filter_map(approval_of_git).collect();
        self.status.used_approvals.retain(|used| given.contains(used));
    }

    /// Notes that these steps have been entered by the approvals that git gives them.
    pub(super) fn use_approvals(&mut self, steps: &[Step]) {
        for used in steps.iter().filter_map(approval_of_git) {
            if !self.status.used_approvals.contains(&used) {
                self.status.used_approvals.push(used);
            }
        }
    }

    fn refresh_position(&mut self, i: usize) {
        if let Some((step, position)) = self.plan.steps.get(i).zip(self.status.position.as_mut()) {
            // A ramp keeps the percentage reached: it tells the position after the next edit too.
            let step_name = if step.ramp.is_some() && position.step.is_some() {
                position.step.clone()
            } else {
                step.name.clone()
            };
            *position = Position {
                step: step_name,
                entered_at: position.entered_at,
                hold_from: position.hold_from,
                ..position_at(step, position.entered_at)
            };
        }
    }
}

/// The position of a step entered at a time.
pub(super) fn position_at(step: &Step, at: MicroTime) -> Position {
    let by = asked_by(step);
    Position {
        phase: by.phase,
        number: by.number,
        of: by.of,
        step: by.step,
        content: by.content,
        entered_at: at,
        hold_from: at,
    }
}

/// How a cohort remembers the step that asked.
pub(super) fn asked_by(step: &Step) -> AskedBy {
    AskedBy {
        phase: step.phase.clone(),
        number: i32::try_from(step.number).unwrap_or(i32::MAX),
        of: i32::try_from(step.of).unwrap_or(i32::MAX),
        step: step.name.clone(),
        content: step.content.clone(),
    }
}

/// A step in words: `phase/name`, or `phase/number` where it has no name.
pub fn describe(phase: &str, name: Option<&str>, number: i32) -> String {
    match name {
        Some(name) => format!("{phase}/{name}"),
        None => format!("{phase}/{number}"),
    }
}

/// The same for a step of the plan.
pub fn describe_step(step: &Step) -> String {
    describe(&step.phase, step.name.as_deref(), i32::try_from(step.number).unwrap_or(i32::MAX))
}

/// Whether the approval that git gives a step, for an attempt or for any, has let the step be entered once.
pub(super) fn is_used(status: &FeatureRolloutStatus, step: &Step, attempt: Option<i32>) -> bool {
    used_by(step, attempt).is_some_and(|used| status.used_approvals.contains(&used))
}

/// The approval that git gives a step, as its use is remembered.
fn approval_of_git(step: &Step) -> Option<UsedApproval> {
    match step.approval {
        Approval::Given(attempt) => used_by(step, attempt),
        Approval::NotRequired | Approval::Missing => None,
    }
}

/// How the use of an approval from git is remembered; only named steps have one.
fn used_by(step: &Step, attempt: Option<i32>) -> Option<UsedApproval> {
    let phase = step.phase.clone();
    step.name.clone().map(|step| UsedApproval { phase, step, attempt })
}

//! The first start: what a playbook has to say of it, and never again.

use super::Run;
use super::checks::{Raise, Refusal};
use super::position::describe_step;
use super::text::second;
use crate::api::MicroTime;
use crate::api::status::Check;

/// At the first start only: what a phase requires later, or no longer has, concerns nobody who runs.
pub(super) fn check_playbook(run: &Run<'_>, _: Raise<'_>) -> Option<Refusal> {
    let joins = run.plan.joins.as_ref().filter(|_| !run.status.has_started())?;
    let phase = format!("phase {} of playbook {}", joins.phase, joins.playbook);
    if let Some(first) = run.facts.requirements.first() {
        let all: Vec<&str> = run.facts.requirements.iter().map(|unmet| unmet.message.as_str()).collect();
        let message = format!("waits for {}, as {phase} requires", all.join(" and "));
        return Some(Refusal::new(Check::Playbook, message, None).of(&first.which));
    }
    let opens_at = joins.opens_at.filter(|opens_at| *opens_at > run.now)?;
    let message = format!("{phase} opens at {}", second(opens_at));
    Some(Refusal::new(Check::Playbook, message, Some(opens_at)).of(&joins.phase))
}

/// A week that nobody can date does not come by itself.
pub(super) fn check_dated(run: &Run<'_>, raise: Raise<'_>) -> Option<Refusal> {
    let (Raise::Step(step) | Raise::StillStep(step)) = raise else { return None };
    let (week, joins) = step.undated.zip(run.plan.joins.as_ref())?;
    let message = format!(
        "{} is due in week {week} of playbook {}, which is not there or not valid; a promote enters it now",
        describe_step(step),
        joins.playbook
    );
    Some(Refusal::new(Check::Playbook, message, None).of(&joins.playbook))
}

impl Run<'_> {
    /// Notes that somebody is raised: dependencies count as met in this attempt, and the playbook is not asked again.
    pub(super) fn note_start(&mut self) {
        self.status.dependencies_met = true;
        self.status.started_at.get_or_insert(self.now);
    }

    /// When the phase of the playbook opens, where the rollout has not started yet.
    pub(super) fn opens_at(&self) -> Option<MicroTime> {
        self.plan.joins.as_ref().filter(|_| !self.status.has_started())?.opens_at
    }
}

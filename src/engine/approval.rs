//! What needs an approval, by its step or by a policy, and what has one.

use super::Run;
use super::actions::held;
use super::checks::{Raise, Refusal};
use super::position::{Mark, describe_step, is_used};
use crate::api::Percent;
use crate::api::status::{ApprovalStatus, Check, CohortStatus};
use crate::plan::{Approval, Plan, Step};

impl<'a> Run<'a> {
    /// Whether a step needs an approval that nobody has given for this entry: git's counts for one.
    pub(super) fn approval_missing(&self, step: &Step) -> bool {
        (!step.approval_by_policy || self.rises_above(step)) && self.lacks_approval(step)
    }

    /// The same, whether or not a policy that asks for it does so now.
    pub(super) fn lacks_approval(&self, step: &Step) -> bool {
        let Some(name) = &step.name else { return step.approval == Approval::Missing };
        let by_action =
            || self.status.approvals.iter().any(|given| given.phase == step.phase && given.step == *name);
        match step.approval {
            Approval::NotRequired => false,
            Approval::Missing => !by_action(),
            Approval::Given(attempt) => is_used(&self.status, step, attempt) && !by_action(),
        }
    }

    /// Whether the entry of a step would raise a cohort above the percentage from which on a policy asks for an approval.
    fn rises_above(&self, step: &Step) -> bool {
        let Some(above) = &self.plan.approval_above else { return false };
        step.asks.iter().any(|(name, ask)| {
            *ask > above.percent
                && self.plan.cohort(name).is_some_and(|declared| self.plan.admits(declared))
                && self.status.cohort(name).is_some_and(|cohort| {
                    let promised = cohort.pending.as_ref().map_or(Percent::ZERO, |pending| pending.percent);
                    *ask > cohort.decided().max(promised)
                })
        })
    }

    /// What a policy has against a pending raise of a cohort: it is above the policy's percentage, and nobody has approved the
    /// step that asks for it, since an edit has raised what that step asks or the policy came later.
    pub(super) fn pending_unapproved(&self, cohort: &str) -> Option<Refusal> {
        let above = self.plan.approval_above.as_ref()?;
        let cohort = self.status.cohort(cohort)?;
        let percent = cohort.pending.as_ref().map(|pending| pending.percent)?;
        if percent <= above.percent {
            return None;
        }
        let by = cohort.asked_by.as_ref()?;
        let step = Mark::from(by).find(self.plan).and_then(|i| self.plan.steps.get(i));
        if step.is_some_and(|step| self.is_approved(step)) {
            return None;
        }
        let (name, policy) = (&cohort.name, &above.policy);
        let why = format!("{name} → {percent} is above the {} of policy {policy}", above.percent);
        let Some(step) = step else {
            let message =
                format!("{why}, and the step that asked for it is gone; a later step may ask again");
            return Some(Refusal::new(Check::Approval, message, None));
        };
        let step_name = describe_step(step);
        Some(Refusal::new(Check::Approval, format!("{why}: {}", approve_words(step)), None).of(&step_name))
    }

    /// Whether somebody has approved a step, for an entry that may be long over.
    fn is_approved(&self, step: &Step) -> bool {
        let name = step.name.as_ref();
        let by_action = |given: &ApprovalStatus| given.phase == step.phase && Some(&given.step) == name;
        matches!(step.approval, Approval::Given(_)) || self.status.approvals.iter().any(by_action)
    }

    /// The step whose approval keeps this one from being entered: itself, or for a retry from its phase any before it, as
    /// such an entry asks what all of them ask.
    pub(super) fn unapproved(&self, step: &Step) -> Option<&'a Step> {
        let plan: &'a Plan = self.plan;
        let retried = self.status.retry.as_ref().is_some_and(|retry| retry.phase.is_some());
        let same = |other: &Step| other.phase == step.phase && other.number == step.number;
        let until = plan.steps.iter().position(same)?;
        let from = if retried { 0 } else { until };
        plan.steps.get(from..=until)?.iter().find(|step| self.approval_missing(step))
    }

    /// The step ahead whose approval is missing and that a percentage set by hand would overtake: more than anything that
    /// may come before it asks, where it or a later step asks for more too.
    pub(super) fn approval_ahead(&self, cohort: &CohortStatus, percent: Percent) -> Option<&Step> {
        let ahead = self.plan.steps.get(self.next_index()..)?;
        let unapproved = ahead.iter().position(|step| self.approval_missing(step))?;
        let (before, after) = ahead.split_at(unapproved);
        let asks =
            |steps: &[Step]| steps.iter().filter_map(|step| step.asks.get(&cohort.name)).copied().max();
        let allowed =
            held(&self.status, &cohort.name).max(cohort.asked).max(asks(before).unwrap_or_default());
        let concerned = asks(after).is_some_and(|ask| ask > allowed);
        after.first().filter(|_| concerned && percent > allowed)
    }

    /// What a policy has against a percentage set by hand: it is above the policy's, and above all that an approved step asks
    /// for.
    pub(super) fn above_policy(&self, cohort: &CohortStatus, percent: Percent) -> Option<String> {
        let above = self.plan.approval_above.as_ref()?;
        let asked =
            if self.pending_unapproved(&cohort.name).is_some() { Percent::ZERO } else { cohort.asked };
        let ahead = self.plan.steps.get(self.next_index()..).unwrap_or_default().iter();
        let approved = ahead.take_while(|step| !self.approval_missing(step));
        let allowed = approved.filter_map(|step| step.asks.get(&cohort.name)).copied().max();
        let allowed = above.percent.max(asked).max(allowed.unwrap_or_default());
        (percent > allowed).then(|| {
            let (name, limit, policy) = (&cohort.name, above.percent, &above.policy);
            format!(
                "{name} at {percent} is above the {limit} of policy {policy}, and no approved step asks for so much"
            )
        })
    }
}

pub(super) fn check_approval(run: &Run<'_>, raise: Raise<'_>) -> Option<Refusal> {
    let step = match raise {
        Raise::Step(step) | Raise::StillStep(step) | Raise::Promote(step) | Raise::PromoteStill(step) => step,
        Raise::Cohort(cohort) | Raise::Edit(Some(cohort)) => return run.pending_unapproved(cohort),
        Raise::Edit(None) | Raise::SetPercent(_) => return None,
    };
    let step = run.unapproved(step)?;
    let name = describe_step(step);
    let why = match &run.plan.approval_above {
        Some(above) if step.approval_by_policy => {
            format!(", as it raises above the {} of policy {}", above.percent, above.policy)
        }
        _ => String::new(),
    };
    let message = match step.approval {
        Approval::Given(_) => format!(
            "{name} waits for another approval{why}: the one in spec.approvals was for its last entry; give one by an \
             action, or with the number of the attempt"
        ),
        _ if step.name.is_none() => format!("{name} waits for approval{why}: {}", approve_words(step)),
        _ => format!("{name} waits for approval{why}, in spec.approvals or by an action"),
    };
    Some(Refusal::new(Check::Approval, message, None).of(&name))
}

/// How a step can be approved.
pub(super) fn approve_words(step: &Step) -> String {
    let name = describe_step(step);
    match step.name {
        Some(_) => format!("approve {name}, in spec.approvals or by an action"),
        None => format!("{name} needs a name to be approved by"),
    }
}

//! What is valid and hardly meant: approvals that guard nothing, and local times of a zone that nobody named.

use std::collections::BTreeMap;

use crate::api::featurerollout::ApprovalPolicy;
use crate::api::{FeatureRollout, FlagSet, Freeze, FreezeTime, Percent, Window};
use crate::cli::files::Object;
use crate::cli::files::problem::{Problem, Severity};
use crate::cli::files::typed::Item;
use crate::plan::{Approval, Plan};

/// Steps that wait for an approval although what comes before them has given everything already, and approvals of steps that
/// ask for none.
pub fn check_approvals(item: &Item<'_, FeatureRollout>, plan: &Plan, problems: &mut Vec<Problem>) {
    let spec = &item.typed.spec;
    let says_so = |phase: usize, step: usize| {
        let steps = spec.phases.get(phase).and_then(|phase| phase.steps.as_ref());
        steps.and_then(|steps| steps.get(step)?.approval) == Some(ApprovalPolicy::Required)
    };
    let mut asked: BTreeMap<&str, Percent> =
        plan.baseline.iter().map(|(name, percent)| (name.as_str(), *percent)).collect();
    for step in &plan.steps {
        let mut raises = false;
        for (cohort, ask) in &step.asks {
            raises |= *ask > asked.insert(cohort, *ask).unwrap_or_default();
        }
        let phase = spec.phases.iter().position(|phase| phase.name == step.phase).unwrap_or(0);
        if !raises && says_so(phase, step.number.saturating_sub(1)) {
            let path = format!("spec.phases[{phase}].steps[{}].approval", step.number.saturating_sub(1));
            let message = "guards nothing: what comes before the step has given all that it asks; let the steps before ask for \
                           less, or ask for the approval where the percentage is reached";
            problems.push(item.object.problem(Severity::Warning, &path, message.to_owned()));
        }
    }
    // A policy may be what asks for them, and it may be in the cluster.
    if plan.approval_above.is_some() || spec.policy_ref.is_some() {
        return;
    }
    for (i, approval) in spec.approvals.iter().enumerate() {
        let of_it = |step: &&crate::plan::Step| {
            step.phase == approval.phase && step.name.as_deref() == Some(approval.step.as_str())
        };
        if plan.steps.iter().find(of_it).is_some_and(|step| step.approval == Approval::NotRequired) {
            let message = format!(
                "approves {}/{}, which asks for no approval; to have it wait for one, write `approval: Required` in the step and \
                 leave this out until it is approved",
                approval.phase, approval.step
            );
            problems.push(item.object.problem(Severity::Warning, &format!("spec.approvals[{i}]"), message));
        }
    }
}

/// Local times of a rollout whose zone neither it nor what it belongs to names.
pub fn check_zone(item: &Item<'_, FeatureRollout>, flag_set: Option<&FlagSet>, problems: &mut Vec<Problem>) {
    let spec = &item.typed.spec;
    let Some(schedule) = &spec.schedule else { return };
    let is_named = schedule.time_zone.is_some()
        || spec.playbook_ref.is_some()
        || flag_set.is_some_and(|set| set.spec.time_zone.is_some())
        || (spec.flag_set_ref.is_some() && flag_set.is_none());
    if !is_named {
        check_local(item.object, "spec.schedule", &schedule.windows, &schedule.freezes, problems);
    }
}

/// Windows and the dates of freezes are local times: where nobody says of which zone, they are UTC, and people mean their
/// own. `of` is where they stand, without a `timeZone`; to say it once is enough for both.
pub fn check_local(
    object: &Object,
    of: &str,
    windows: &[Window],
    freezes: &[Freeze],
    problems: &mut Vec<Problem>,
) {
    let is_local = |freeze: &Freeze| !matches!(freeze.from, FreezeTime::Instant(_));
    let field = match (windows, freezes.iter().any(is_local)) {
        ([], false) => return,
        ([], true) => "freezes",
        _ => "windows",
    };
    let message = "are in UTC, as no zone is named: write `timeZone` beside them, such as Europe/Berlin, or UTC if that is meant";
    problems.push(object.problem(Severity::Warning, &format!("{of}.{field}"), message.to_owned()));
}

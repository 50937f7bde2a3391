//! What can never be reached or never be seen: cohorts behind everybody, steps that undo each other, errors of too few users.

use std::collections::BTreeMap;

use crate::api::cohort::Match;
use crate::api::trigger::LevelAction;
use crate::api::{Cohort, FeatureRollout, MicroTime, Percent};
use crate::cli::files::Object;
use crate::cli::files::problem::{Problem, Severity};
use crate::cli::files::typed::{Item, Typed};
use crate::engine::forecast::timeline::timeline;
use crate::plan::guard::Comparison;
use crate::plan::{Plan, Step};

/// How many times as much as others those who have a feature first may well use it: where even then all of their requests would
/// not reach a limit on everybody's, it is blind.
const BUSY: f64 = 2.0;
/// The same for a limit of a policy: it is for other rollouts, too, and for the time when more have the feature.
const VERY_BUSY: f64 = 20.0;

/// Cohorts behind one that takes in everybody: nobody is left for them.
pub fn check_order(object: &Object, cohorts: &[Cohort], problems: &mut Vec<Problem>) {
    let everybody = |cohort: &Cohort| cohort.matches.as_ref().is_none_or(|m| *m == Match::default());
    let Some(first) = cohorts.iter().position(everybody) else { return };
    let Some(all) = cohorts.get(first).filter(|_| first + 1 < cohorts.len()) else { return };
    let behind: Vec<&str> = cohorts.iter().skip(first + 1).map(|cohort| cohort.name.as_str()).collect();
    let message = format!(
        "can never be reached: {} stands before {} and takes in everybody, as the first cohort that matches counts; give it \
         a match, or put it last",
        all.name,
        behind.join(", ")
    );
    problems.push(object.problem(Severity::Warning, &format!("spec.cohorts[{}]", first + 1), message));
}

/// A step that takes something away: hardly anybody means that, least of all where a later one gives it back.
pub fn check_steps(item: &Item<'_, FeatureRollout>, plan: &Plan, problems: &mut Vec<Problem>) {
    let mut asked: BTreeMap<&str, Percent> =
        plan.baseline.iter().map(|(name, percent)| (name.as_str(), *percent)).collect();
    for (i, step) in plan.steps.iter().enumerate() {
        for (cohort, ask) in &step.asks {
            let before = asked.insert(cohort, *ask).unwrap_or_default();
            if *ask >= before {
                continue;
            }
            let gives_back = |later: &&Step| later.asks.get(cohort).is_some_and(|later| *later >= before);
            let later = match plan.steps.iter().skip(i + 1).find(gives_back) {
                Some(later) => format!("{} gives it back", name(later)),
                None => "no later step gives it back".to_owned(),
            };
            let message = format!(
                "takes the feature from users of {cohort}, {before} → {ask}, and {later}: leave {cohort} out here to keep {before}"
            );
            problems.push(item.object.problem(Severity::Warning, &path(item, step, cohort), message));
        }
    }
}

/// A cohort that a ramp or step left half-way, while the last step gives others everything and does not name it: it stays
/// there for good.
pub fn check_end(item: &Item<'_, FeatureRollout>, plan: &Plan, problems: &mut Vec<Problem>) {
    let Some(last) = plan.steps.last().filter(|last| last.asks.values().any(|ask| *ask == Percent::FULL))
    else {
        return;
    };
    let mut left: BTreeMap<&str, Percent> = BTreeMap::new();
    for step in &plan.steps {
        left.extend(step.asks.iter().map(|(cohort, ask)| (cohort.as_str(), *ask)));
    }
    left.retain(|cohort, ask| !last.asks.contains_key(*cohort) && !ask.is_zero() && *ask < Percent::FULL);
    let (Some((first, _)), Some(full)) = (left.first_key_value(), last.asks.keys().next()) else { return };
    let said: Vec<String> = left.iter().map(|(cohort, ask)| format!("{cohort} at {ask}")).collect();
    let message = format!(
        "is the last step, and leaves {} for good: name {first} beside {full} if it is to have the feature, too",
        said.join(", ")
    );
    let path = path(item, last, full);
    let path = path.strip_suffix(&format!(".{full}")).unwrap_or(&path);
    problems.push(item.object.problem(Severity::Warning, path, message));
}

/// Limits on a rate of the whole service, where so few of its users have the feature at first that it cannot show.
pub fn check_exposure(
    typed: &Typed<'_>,
    item: &Item<'_, FeatureRollout>,
    plan: &Plan,
    problems: &mut Vec<Problem>,
) {
    let exposed = || {
        let entries = timeline(plan, MicroTime::UNIX_EPOCH).entries;
        let first = entries.into_iter().find_map(|entry| entry.exposure.filter(|e| !e.is_zero()))?;
        Some(f64::from(first.thousandths()) / 1000.0)
    };
    let rates = plan.guard.triggers.iter().zip(&plan.guard_spec.triggers).enumerate().filter(
        |(_, (trigger, declared))| {
            let namespace = declared.template_namespace.as_deref().unwrap_or(&item.object.namespace);
            let key = (namespace, trigger.metric.template_ref.name.as_str());
            let unit = typed.templates.get(&key).and_then(|template| template.typed.spec.unit.as_deref());
            trigger.per_cohort.is_none() && unit == Some("%")
        },
    );
    let mut rates = rates.peekable();
    if rates.peek().is_none() {
        return;
    }
    let Some(exposed) = exposed() else { return };
    for (t, (trigger, declared)) in rates {
        let busy = if declared.path.is_empty() { BUSY } else { VERY_BUSY };
        let blind = trigger.levels.iter().enumerate().find(|(_, level)| {
            level.action > LevelAction::Notify
                && matches!(level.bound.comparison, Comparison::Above | Comparison::AtLeast)
                && exposed * busy < level.bound.value.value()
        });
        let Some((l, level)) = blind else { continue };
        let shown = (exposed * 1000.0).round() / 1000.0;
        let message = format!(
            "{} cannot tell at first: {shown}% of all users have the feature then, and were every request of theirs to fail, \
             {} would rise by about {shown}; measure each cohort by itself with perCohort, or begin with more users",
            level.bound, trigger.name
        );
        // One that a policy adds is said of the rollout, as its steps are what makes it blind.
        let path = match declared.path.is_empty() {
            true => format!("spec.triggers[{t}].levels[{l}]"),
            false => "spec.phases".to_owned(),
        };
        problems.push(item.object.problem(Severity::Warning, &path, message));
    }
}

fn name(step: &Step) -> String {
    match &step.name {
        Some(name) => format!("step {}/{name}", step.phase),
        None => format!("step {} of {}", step.number, step.phase),
    }
}

/// Where a step asks a cohort.
pub(super) fn path(item: &Item<'_, FeatureRollout>, step: &Step, cohort: &str) -> String {
    let phase = item.typed.spec.phases.iter().position(|phase| phase.name == step.phase).unwrap_or(0);
    match step.ramp {
        Some(_) => format!("spec.phases[{phase}].ramp"),
        None => format!("spec.phases[{phase}].steps[{}].cohorts.{cohort}", step.number - 1),
    }
}

//! From what a spec declares to a [`Guard`]: every error at its path, and what is allowed but makes no sense.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{
    Bound, CRITERION_INTERVAL, Care, Comparison, Criterion, CriterionSource, Guard, GuardSpec, GuardTrigger,
    Level, SHORTEST_INTERVAL, TRIGGER_INTERVAL, Trigger,
};
use crate::api::trigger::{self as api, LevelAction, MAX_PAIRS, MissingPolicy, MonitoringPeriod};
use crate::api::{Decimal, Percent};
use crate::plan::FieldError;
use crate::visible;

/// Data that may be missing for longer than this without anything following is watched by nobody.
const LONGEST_MISSING: SignedDuration = SignedDuration::from_hours(24);

/// Compiles what watches; errors are added to `errors`. `cohorts` are the names of the declared cohorts, empty where they
/// are not known: nothing is said of names then.
pub fn guard(spec: &GuardSpec, cohorts: &[String], errors: &mut Vec<FieldError>) -> Guard {
    let defaults = Guard::default();
    let gradual = spec.rollback.as_ref().and_then(|rollback| rollback.gradual.as_ref());
    if let Some(gradual) = gradual {
        check_ladder(&gradual.ladder, errors);
        if gradual.every.signed() <= SignedDuration::ZERO {
            let error = FieldError::new("spec.rollback.gradual.every", "must be longer than nothing");
            errors.push(error.with_value(gradual.every));
        }
    }
    let keep = spec.rollback.as_ref().and_then(|rollback| rollback.partial.as_ref());
    let keep = keep.map(|partial| partial.keep.clone());
    for (i, name) in keep.iter().flatten().enumerate().filter(|(_, name)| !known(cohorts, name)) {
        errors.push(unknown_cohort(format!("spec.rollback.partial.keep[{i}]"), name, cohorts));
    }
    let mut names = BTreeSet::new();
    let triggers: Vec<Trigger> = spec
        .triggers
        .iter()
        .enumerate()
        .map(|(i, declared)| {
            let GuardTrigger { trigger: declared, template_namespace, path } = declared;
            let path = if path.is_empty() { format!("spec.triggers[{i}]") } else { path.clone() };
            if !names.insert(declared.name.as_str()) {
                let error = FieldError::new(format!("{path}.name"), "is the name of another trigger too");
                errors.push(error.with_value(&declared.name));
            }
            let compiled = trigger(declared, &path, keep.is_some(), errors);
            Trigger { template_namespace: template_namespace.clone(), ..compiled }
        })
        .collect();
    let pairs: usize =
        triggers.iter().map(|trigger| if trigger.per_cohort.is_some() { cohorts.len() } else { 1 }).sum();
    if pairs > MAX_PAIRS {
        let message = format!(
            "watch {pairs} pairs of trigger and cohort with those of policies: at most {MAX_PAIRS} have a place"
        );
        errors.push(FieldError::new("spec.triggers", message));
    }
    let mut names = BTreeSet::new();
    let criteria = spec
        .criteria
        .iter()
        .enumerate()
        .filter_map(|(i, declared)| {
            let path = format!("spec.criteria[{i}]");
            if !names.insert(declared.name.as_str()) {
                let error = FieldError::new(format!("{path}.name"), "is the name of another criterion too");
                errors.push(error.with_value(&declared.name));
            }
            criterion(declared, &path, errors)
        })
        .collect();
    Guard {
        triggers,
        ladder: gradual.map_or(defaults.ladder, |gradual| gradual.ladder.clone()),
        every: gradual.map_or(defaults.every, |gradual| gradual.every.signed()),
        keep: keep.unwrap_or_default(),
        criteria,
        monitoring: monitoring(&spec.monitoring, errors),
        care: spec.monitoring.iter().map(care).collect(),
        cohorts: spec
            .cohorts
            .iter()
            .map(|(name, interval)| (name.clone(), interval.signed().max(SHORTEST_INTERVAL)))
            .collect(),
    }
}

fn known(cohorts: &[String], name: &str) -> bool {
    cohorts.is_empty() || cohorts.iter().any(|cohort| cohort == name)
}

fn unknown_cohort(path: String, name: &str, cohorts: &[String]) -> FieldError {
    FieldError::new(path, format!("there is no cohort {name:?}: the cohorts are {}", cohorts.join(", ")))
}

fn check_ladder(ladder: &[Percent], errors: &mut Vec<FieldError>) {
    let path = "spec.rollback.gradual.ladder";
    if ladder.last().is_none_or(|last| !last.is_zero()) {
        errors.push(FieldError::new(path, "must end at 0: a rollback always goes to control"));
    }
    for (i, pair) in ladder.windows(2).enumerate() {
        if let [higher, lower] = pair
            && lower >= higher
        {
            let error = FieldError::new(
                format!("{path}[{}]", i + 1),
                "is not below the one before: a ladder strictly descends",
            );
            errors.push(error.with_value(lower));
        }
    }
}

/// Most bytes of the name of an argument, by the schema of a MetricTemplate. None bounds those that are given.
const LONGEST_ARG: usize = 63;

/// The path of an argument that is given to a metric at this path.
pub fn arg_path(path: &str, name: &str) -> String {
    format!("{path}.metric.args.{}", visible::cut(name, LONGEST_ARG))
}

fn check_args(metric: &api::Metric, path: &str, errors: &mut Vec<FieldError>) {
    for name in metric.args.keys().filter(|name| name.len() > LONGEST_ARG) {
        let path = arg_path(path, name);
        errors.push(FieldError::new(
            path,
            format!("has more than {LONGEST_ARG} letters: no template has an argument of that name"),
        ));
    }
}

fn trigger(declared: &api::Trigger, path: &str, keeps: bool, errors: &mut Vec<FieldError>) -> Trigger {
    if declared.levels.is_empty() {
        errors.push(FieldError::new(format!("{path}.levels"), "is empty: a trigger has at least one level"));
    }
    check_args(&declared.metric, path, errors);
    let mut rules = BTreeSet::new();
    let levels: Vec<Level> = declared
        .levels
        .iter()
        .enumerate()
        .filter_map(|(i, declared)| {
            let path = format!("{path}.levels[{i}]");
            let level = level(declared, &path, errors)?;
            if !rules.insert(level.rule.clone()) {
                let error = FieldError::new(&path, "says the same as another level of the trigger");
                errors.push(error.with_value(&level.rule));
            }
            if level.action == LevelAction::PartialRollback && !keeps {
                let message = "needs spec.rollback.partial.keep, which says what a partial rollback leaves";
                errors.push(FieldError::new(format!("{path}.action"), message).with_value("PartialRollback"));
            }
            Some(level)
        })
        .collect();
    let policy = |declared: Option<MissingPolicy>| declared.unwrap_or_else(|| missing_policy(&levels));
    Trigger {
        name: declared.name.clone(),
        metric: declared.metric.clone(),
        template_namespace: None,
        per_cohort: declared.per_cohort.as_ref().map(|per_cohort| per_cohort.label.clone()),
        interval: interval(declared.interval, TRIGGER_INTERVAL, path, errors),
        initial_delay: declared.initial_delay.unwrap_or_default().signed(),
        missing_for: declared.missing_for.map(|missing_for| missing_for.signed()),
        on_no_data: policy(declared.on_no_data),
        on_provider_error: policy(declared.on_provider_error),
        levels,
    }
}

/// What missing data means where nothing is said of it: a trigger that can only tell has no say in raises.
fn missing_policy(levels: &[Level]) -> MissingPolicy {
    let only_tells = levels.iter().all(|level| level.action == LevelAction::Notify);
    if only_tells { MissingPolicy::Ignore } else { MissingPolicy::Hold }
}

fn level(declared: &api::Level, path: &str, errors: &mut Vec<FieldError>) -> Option<Level> {
    let bounds = [&declared.above, &declared.below, &declared.at_least, &declared.at_most];
    let bound = bound(bounds, path, errors);
    if declared.resume_after.is_some() && declared.action != LevelAction::Pause {
        errors.push(FieldError::new(format!("{path}.resumeAfter"), "belongs to the action Pause"));
    }
    let Some(bound) = bound else {
        let some_given = bounds.iter().any(|bound| bound.is_some());
        if !some_given {
            errors.push(FieldError::new(path, "has no bound: give one of above, below, atLeast and atMost"));
        }
        return None;
    };
    Some(Level {
        severity: declared.severity,
        rule: declared.action.rule(&bound.to_string()),
        bound,
        for_: declared.for_.unwrap_or_default().signed(),
        action: declared.action,
        resume_after: declared.resume_after.map(|after| after.signed()),
    })
}

/// The one bound of four fields; more than one is an error.
fn bound(fields: [&Option<Decimal>; 4], path: &str, errors: &mut Vec<FieldError>) -> Option<Bound> {
    let comparisons = [Comparison::Above, Comparison::Below, Comparison::AtLeast, Comparison::AtMost];
    let mut given = comparisons.into_iter().zip(fields).filter_map(|(comparison, value)| {
        value.as_ref().map(|value| Bound { comparison, value: value.clone() })
    });
    let first = given.next()?;
    if given.next().is_some() {
        let message = "has more than one bound: give one of above, below, atLeast and atMost";
        errors.push(FieldError::new(path, message));
        return None;
    }
    Some(first)
}

fn interval(
    declared: Option<crate::api::Duration>,
    default: SignedDuration,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> SignedDuration {
    let interval = declared.map_or(default, |declared| declared.signed());
    if interval < SHORTEST_INTERVAL {
        let error = FieldError::new(format!("{path}.interval"), "is shorter than 1s");
        errors.push(error.with_value(declared.unwrap_or_default()));
        return SHORTEST_INTERVAL;
    }
    interval
}

fn criterion(declared: &api::Criterion, path: &str, errors: &mut Vec<FieldError>) -> Option<Criterion> {
    let bounds = [&declared.above, &declared.below, &declared.at_least, &declared.at_most];
    let bound = bound(bounds, path, errors);
    let source = match (&declared.metric, &declared.manual) {
        (Some(metric), None) => {
            check_args(metric, path, errors);
            CriterionSource::Metric(metric.clone())
        }
        (None, Some(manual)) => {
            if declared.interval.is_some() || declared.min_samples.is_some() {
                errors.push(FieldError::new(path, "has interval or minSamples, which belong to a metric"));
            }
            CriterionSource::Manual { value: manual.value.clone(), at: manual.at }
        }
        (Some(_), Some(_)) => {
            errors.push(FieldError::new(path, "has metric and manual: give exactly one"));
            return None;
        }
        (None, None) => {
            errors.push(FieldError::new(path, "has neither metric nor manual: give exactly one"));
            return None;
        }
    };
    Some(Criterion {
        name: declared.name.clone(),
        source,
        bound,
        min_samples: declared.min_samples.and_then(|least| u64::try_from(least).ok()),
        interval: interval(declared.interval, CRITERION_INTERVAL, path, errors),
    })
}

fn care(period: &MonitoringPeriod) -> Care {
    Care {
        until: period.until.map(|until| until.signed()),
        respond_within: period.respond_within.map(|within| within.signed()),
        has_reviews: period.review_every.is_some(),
    }
}

fn monitoring(
    declared: &[MonitoringPeriod],
    errors: &mut Vec<FieldError>,
) -> Vec<(Option<SignedDuration>, SignedDuration)> {
    let mut before = SignedDuration::ZERO;
    let last = declared.len().saturating_sub(1);
    declared
        .iter()
        .enumerate()
        .map(|(i, period)| {
            let path = format!("spec.monitoring[{i}]");
            match period.until.map(|until| until.signed()) {
                Some(until) if until <= before => {
                    let error = FieldError::new(format!("{path}.until"), "is not after the period before");
                    errors.push(error.with_value(period.until.unwrap_or_default()));
                }
                Some(until) => before = until,
                None if i < last => {
                    errors.push(FieldError::new(
                        format!("{path}.until"),
                        "is missing: only the last period may do without",
                    ));
                }
                None => {}
            }
            let interval = interval(Some(period.interval), SHORTEST_INTERVAL, &path, errors);
            (period.until.map(|until| until.signed()), interval)
        })
        .collect()
}

/// What is allowed, but hardly what was meant.
pub fn remarks(spec: &GuardSpec) -> Vec<FieldError> {
    let mut remarks = Vec::new();
    let guard = guard(spec, &[], &mut Vec::new());
    for (i, (declared, trigger)) in spec.triggers.iter().zip(&guard.triggers).enumerate() {
        let Some(missing_for) = declared.trigger.missing_for else { continue };
        let path = format!("spec.triggers[{i}].missingFor");
        let policies = [trigger.on_no_data, trigger.on_provider_error];
        let message = if policies.iter().all(|policy| *policy == MissingPolicy::Ignore) {
            "has no effect: missing data of this trigger is ignored, see onNoData and onProviderError"
        } else if missing_for.signed() > LONGEST_MISSING {
            "is longer than a day, for which the rollout goes on unmeasured"
        } else {
            continue;
        };
        remarks.push(FieldError::new(path, message).with_value(missing_for));
    }
    remarks
}

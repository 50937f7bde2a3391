//! What watches over a rollout, and what came of it: triggers, criteria, a rollback, a retry.

use jiff::SignedDuration;

use crate::api::status::{CohortStatus, FeatureRolloutStatus};
use crate::api::verdict::{LevelStatus, TriggerStatus};
use crate::api::{Duration, FeatureRollout, MicroTime, RollbackStatus};
use crate::cli::output::summary::age;
use crate::cli::output::table::table;
use crate::plan::guard::{Criterion, CriterionSource, Level, Trigger};
use crate::plan::{Guard, GuardSpec, guard};

use super::second;
use crate::cli::rules::Units;

/// Fields about a rollback, a retry, approvals and a missed step, in the order in which they are shown.
pub fn fields(rollout: &FeatureRollout, status: &FeatureRolloutStatus) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    if let Some(rollback) = &status.rollback {
        let severity = rollback.severity.map(|severity| format!(" ({})", severity.as_str()));
        let severity = severity.unwrap_or_default();
        let began = rollback.escalations.first().map_or(rollback.mode, |escalation| escalation.from);
        let (mode, at) = (began.as_str(), second(rollback.at));
        fields.push((
            "Rolled back",
            format!("{mode} at {at} by {}{severity}: {}", rollback.by, rollback.message),
        ));
        fields.extend(rollback.escalations.iter().map(|escalation| {
            let severity = escalation.severity.map(|severity| format!(" ({})", severity.as_str()));
            let (mode, at) = (escalation.to.as_str(), second(escalation.at));
            let (by, severity) = (&escalation.by, severity.unwrap_or_default());
            ("Escalated", format!("{mode} at {at} by {by}{severity}: {}", escalation.message))
        }));
        let ladders = status.cohorts.iter().filter_map(|cohort| ladder(rollback, cohort));
        fields.extend(ladders.map(|ladder| ("Ladder", ladder)));
        fields.push(("At control", said(rollback.ended_at, "not yet")));
        if rollback.trigger.is_some() {
            fields.push((
                "Verified",
                said(rollback.verified_at, "its trigger has not been quiet for long enough"),
            ));
        }
        let name = rollout.metadata.name.as_deref().unwrap_or_default();
        let nobody = format!("by nobody: sluice ack {name} --reason …");
        fields.push(("Acknowledged", said(rollback.acknowledged_at, &nobody)));
        let next = rollout.spec.attempt.max(status.attempt).saturating_add(1);
        fields.push(("To go on", format!("sluice retry {name} --reason …, or spec.attempt: {next} in git")));
    }
    if let Some(retry) = &status.retry {
        let from = retry.phase.as_ref().map_or("the start".to_owned(), |phase| format!("phase {phase}"));
        let overrides: Vec<String> = retry.overrides.iter().map(|check| format!("{check:?}")).collect();
        let past =
            if overrides.is_empty() { String::new() } else { format!(", past {}", overrides.join(", ")) };
        fields.push(("Retry", format!("from {from} since {}{past}", second(retry.at))));
    }
    for approval in &status.approvals {
        let step = format!("{}/{}", approval.phase, approval.step);
        fields.push(("Approved", format!("{step} by {} at {}", approval.by, second(approval.at))));
    }
    if let Some(missed) = status.considered.as_ref().filter(|considered| considered.missed) {
        fields.push(("Missed", format!("{}/{}, which waits for a promote", missed.phase, missed.number)));
    }
    fields
}

fn said(at: Option<MicroTime>, otherwise: &str) -> String {
    at.map_or_else(|| otherwise.to_owned(), second)
}

/// Where a cohort stands on the ladder, and what comes when.
fn ladder(rollback: &RollbackStatus, cohort: &CohortStatus) -> Option<String> {
    let descent = cohort.descent?;
    let every = rollback.every?.signed();
    let mut at = descent.next;
    let mut text = format!("{} at {}", cohort.name, cohort.served);
    for rung in rollback.ladder.iter().skip(usize::try_from(descent.rung).ok()?) {
        text.push_str(&format!(", {rung} at {at:.0}"));
        at = at.saturating_add(every);
    }
    Some(text)
}

/// The guard as it is declared, as far as it is valid.
fn declared(watching: &GuardSpec) -> Guard {
    guard(watching, &[], &mut Vec::new())
}

/// What each trigger said last, and how near its levels are; empty where there are none.
pub fn triggers(
    watching: &GuardSpec,
    status: &FeatureRolloutStatus,
    now: MicroTime,
    units: &Units,
) -> String {
    let guard = declared(watching);
    let mut rows = Vec::new();
    for trigger in &guard.triggers {
        let unit = units.get(&trigger.metric.template_ref.name).map(String::as_str);
        let known: Vec<&TriggerStatus> =
            status.triggers.iter().filter(|status| status.name == trigger.name).collect();
        if known.is_empty() {
            let value = Value { limits: limits(trigger, unit), ..Value::default() };
            rows.push(row(&trigger.name, "-", None, value, "not measured yet".to_owned()));
        }
        for status in known {
            let name = match status.cohort.as_str() {
                "" => trigger.name.clone(),
                cohort => format!("{}/{cohort}", trigger.name),
            };
            let levels = status.levels.iter().filter_map(|level| level_words(trigger, level));
            let notes: Vec<String> = status.message.clone().into_iter().chain(levels).collect();
            let since = Some(age(status.since, now));
            let value = Value {
                is: status.value.as_ref().map(|value| with_unit(value, unit)),
                as_of: status.at.map(|at| as_of(at, now)),
                limits: limits(trigger, unit),
            };
            rows.push(row(&name, status.verdict.as_str(), since, value, notes.join("; ")));
        }
    }
    headed(&["TRIGGER", "VERDICT", "FOR", "VALUE", "AS OF", "LIMITS", "NOTE"], &rows)
}

/// What each criterion said last, and what it must be; empty where there are none.
pub fn criteria(
    watching: &GuardSpec,
    status: &FeatureRolloutStatus,
    now: MicroTime,
    units: &Units,
) -> String {
    let guard = declared(watching);
    let target = |criterion: &Criterion, unit: Option<&str>| match &criterion.bound {
        Some(bound) => with_unit(&bound.to_string(), unit),
        None => "only recorded".to_owned(),
    };
    let rows: Vec<Vec<String>> = guard
        .criteria
        .iter()
        .map(|criterion| {
            let known = status.criteria.iter().find(|known| known.name == criterion.name);
            let verdict = known.and_then(|known| known.verdict).map_or("-", |verdict| verdict.as_str());
            let since = known.map(|known| age(known.since, now));
            let template = match &criterion.source {
                CriterionSource::Metric(metric) => Some(&metric.template_ref.name),
                CriterionSource::Manual { .. } => None,
            };
            let unit = template.and_then(|name| units.get(name)).map(String::as_str);
            let value = Value {
                is: known.and_then(|known| known.value.as_ref()).map(|value| with_unit(value, unit)),
                as_of: known.and_then(|known| known.at).map(|at| as_of(at, now)),
                limits: target(criterion, unit),
            };
            let note = known.and_then(|known| known.message.clone()).unwrap_or_default();
            row(&criterion.name, verdict, since, value, note)
        })
        .collect();
    headed(&["CRITERION", "VERDICT", "FOR", "VALUE", "AS OF", "TARGET", "NOTE"], &rows)
}

/// A measured value in words: what it is, when it was so, and what it may be.
#[derive(Default)]
struct Value {
    is: Option<String>,
    as_of: Option<String>,
    limits: String,
}

fn with_unit(value: &str, unit: Option<&str>) -> String {
    unit.map_or_else(|| value.to_owned(), |unit| format!("{value} {unit}"))
}

fn as_of(at: MicroTime, now: MicroTime) -> String {
    format!("{} ({} ago)", second(at), age(at, now))
}

/// What each level takes for a breach, and what follows from it.
fn limits(trigger: &Trigger, unit: Option<&str>) -> String {
    let level =
        |level: &Level| format!("{} → {}", with_unit(&level.bound.to_string(), unit), level.action.as_str());
    trigger.levels.iter().map(level).collect::<Vec<_>>().join(", ")
}

fn row(name: &str, verdict: &str, since: Option<String>, value: Value, note: String) -> Vec<String> {
    let dash = || "-".to_owned();
    vec![
        name.to_owned(),
        verdict.to_owned(),
        since.unwrap_or_else(dash),
        value.is.unwrap_or_else(dash),
        value.as_of.unwrap_or_else(dash),
        value.limits,
        note,
    ]
}

fn headed(headings: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() { String::new() } else { table(headings, rows) }
}

/// How long a level has been in breach, of how long it takes; or what came of it.
fn level_words(trigger: &Trigger, state: &LevelStatus) -> Option<String> {
    let level = trigger.levels.iter().find(|level| level.rule == state.rule)?;
    let time = |milliseconds| Duration::from_signed(SignedDuration::from_millis(milliseconds));
    let mut words = state.rule.clone();
    if let Some(acted) = state.acted_at {
        words.push_str(&format!(", acted at {}", second(acted)));
    } else if let Some(breach) = state.breach {
        let for_ = Duration::from_signed(level.for_);
        words.push_str(&format!(" for {} of {for_}", time(breach.milliseconds)));
    }
    if let Some(quiet) = state.quiet {
        words.push_str(&format!(", quiet for {}", time(quiet.milliseconds)));
    }
    Some(words)
}

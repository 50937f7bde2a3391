//! What comes next and when, in words: how the answer to every action ends.

use super::pauses::{pause_words, way_out};
use super::text::second;
use super::{Facts, decide};
use crate::api::status::{Check, PauseCause};
use crate::api::{FeatureRolloutStatus, MicroTime};
use crate::plan::Plan;

/// What follows from a state after an action: what happens in the same instant, and what comes next and when.
///
/// `before` is the state before the action.
pub(super) fn outlook(
    plan: &Plan,
    facts: &Facts,
    before: &FeatureRolloutStatus,
    after: &FeatureRolloutStatus,
    now: MicroTime,
) -> String {
    if facts.deleting {
        return "next: nothing; the rollout is being deleted".to_owned();
    }
    let delivered = facts.delivered && after.cohorts == before.cohorts;
    let status = decide(plan, after, &Facts { delivered, ..facts.clone() }, now).status;
    let at_once = happened(after, &status);
    let waits_for_file =
        |status: &FeatureRolloutStatus| waiting(status).is_some_and(|(check, _)| check == Check::Delivered);
    let next = if waits_for_file(&status) {
        // That is over in a moment: people want to know what is behind it.
        let later = decide(plan, &status, &Facts { delivered: true, ..facts.clone() }, now).status;
        match happened(&status, &later).as_slice() {
            [] => next(&later, now),
            soon => format!("next, when the file holds this: {}", soon.join("; ")),
        }
    } else {
        next(&status, now)
    };
    at_once.into_iter().chain([next]).collect::<Vec<_>>().join("; ")
}

/// The same where the spec is invalid and only what lowers goes on.
pub(super) fn guarded_outlook(after: &FeatureRolloutStatus) -> String {
    match super::wake::next_rung(after) {
        Some(rung) => format!("the next rung comes at {}", second(rung)),
        None => "next: nothing is raised until the spec is valid".to_owned(),
    }
}

/// What happened between two states, by the history.
fn happened(before: &FeatureRolloutStatus, after: &FeatureRolloutStatus) -> Vec<String> {
    let new = after.history.iter().filter(|entry| entry.seq > before.last_seq());
    new.map(|entry| entry.message.clone()).collect()
}

fn waiting(status: &FeatureRolloutStatus) -> Option<(Check, &str)> {
    status.waiting_for.as_ref().map(|waiting| (waiting.check, waiting.message.as_str()))
}

fn next(status: &FeatureRolloutStatus, now: MicroTime) -> String {
    if let Some(rung) = super::wake::next_rung(status) {
        return format!("the next rung comes at {}", second(rung));
    }
    if status.rollback.is_some() {
        return "next: nothing by itself; a retry or a raised spec.attempt starts again".to_owned();
    }
    if let Some(pause) = status.pauses.first() {
        // What the action itself has just said need not be said again.
        let own = matches!(pause.cause, PauseCause::Person | PauseCause::SetPercent) && pause.since == now;
        let pause = if own { way_out(pause.cause).to_owned() } else { pause_words(status, pause) };
        return format!("next: nothing by itself; {pause}");
    }
    match waiting(status) {
        Some((_, message)) => format!("next: {message}"),
        None if status.completed_at.is_some() => "next: nothing; every step is done".to_owned(),
        None => "next: nothing by itself".to_owned(),
    }
}

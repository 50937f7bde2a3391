//! Actions: every verb in every state, and what an answer rests on.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use super::in_file::file;
use super::support::{Life, START, UID, action, after, request};
use super::triggers::{ERRORS, watched};
use crate::api::FeatureRolloutStatus;
use crate::api::rolloutaction::Answer;
use crate::engine::{Actor, Ground, Metrics, Outcome, act, answered, decide};

pub const STEPS: &str = "
cohorts: [{name: a}, {name: b}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases:
- name: ga
  steps: [{name: one, cohorts: {a: 10, b: 10}}, {name: two, cohorts: {a: 20}}, {name: full, cohorts: {a: 100}, approval: Required}]";

/// Pause, Resume, Approve, Promote, SetPercent up, SetPercent down, Rollback, Retry, Retry from the phase, Acknowledge.
pub fn verbs() -> [Value; 10] {
    [
        json!({"action": "Pause"}),
        json!({"action": "Resume"}),
        json!({"action": "Approve", "approve": {"phase": "ga", "step": "full"}}),
        json!({"action": "Promote"}),
        json!({"action": "SetPercent", "setPercent": {"b": 60}}),
        json!({"action": "SetPercent", "setPercent": {"b": 0}}),
        json!({"action": "Rollback"}),
        json!({"action": "Retry"}),
        json!({"action": "Retry", "retry": {"from": "Phase"}}),
        json!({"action": "Acknowledge"}),
    ]
}

pub fn state(name: &str) -> Life {
    let mut life = Life::begin(STEPS, START);
    life.pass(1);
    let pause = |life: &mut Life, fields: Value| assert!(life.ask(fields).starts_with("Applied"));
    match name {
        "holding" | "invalid" => {}
        "fresh" => {
            life = Life::begin(&STEPS.replace("2025-09-08", "2025-09-20"), START);
        }
        "paused by a person" => pause(&mut life, json!({"action": "Pause"})),
        "percentages set" => pause(&mut life, json!({"action": "SetPercent", "setPercent": {"a": 5}})),
        "paused by a trigger" => {
            life = Life::watched(&format!(
                "{STEPS}
triggers: [{{name: errors, metric: {{templateRef: {{name: m}}}}, levels: [{{severity: Warning, above: '10', action: Pause}}]}}]"
            ));
            life.says("errors", 11.0).wait(30).says("errors", 1.0);
            assert_eq!(life.pauses(), ["Trigger"]);
        }
        "suspended" => drop(life.tweak(|plan| plan.suspend = true)),
        "emergency" => drop(life.fact(|facts| facts.emergency = true)),
        "status lost" => {
            let facts = crate::engine::Facts { live: Some(file(&life.status)), ..life.facts.clone() };
            life =
                Life::of(life.plan.clone(), facts, FeatureRolloutStatus::default(), "2025-09-08T10:00:00Z");
            assert_eq!(life.pauses(), ["StatusLost"]);
        }
        "position lost" => {
            life.edit(&STEPS.replace("{name: one, cohorts: {a: 10, b: 10}}, ", ""));
            assert_eq!(life.pauses(), ["PositionLost"]);
        }
        "latched" => pause(&mut life, json!({"action": "Rollback"})),
        "on the ladder" => {
            life.pass(24).ask(json!({"action": "SetPercent", "setPercent": {"b": 55}}));
            pause(&mut life, json!({"action": "Rollback", "rollback": {"mode": "Gradual"}}));
            assert_eq!(life.served(), "a=0% b=50%");
        }
        "completed" => {
            life.pass(23).ask(json!({"action": "Approve", "approve": {"phase": "ga", "step": "full"}}));
            life.pass(48);
            assert!(life.completed_at().is_some());
        }
        "deleted" => drop(life.fact(|facts| facts.deleting = true)),
        other => panic!("no state {other}"),
    }
    life
}

fn judge(life: &Life, name: &str, fields: Value, uid: &str) -> Outcome {
    let spec = action(fields);
    let request = request(uid, &spec, life.now);
    let ground = match name {
        "invalid" => Ground::Guard(&life.plan.guard, "spec.phases: is empty"),
        _ => Ground::Plan(&life.plan, &life.facts),
    };
    act(ground, &life.status, &request, life.now)
}

/// The rows of the table in `docs/actions.md`: a state, and for each verb whether it is applied.
fn documented() -> Vec<(String, Vec<bool>)> {
    let page = include_str!("../../../docs/actions.md");
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    let mut rows = rows.filter(|row| !row.iter().all(|cell| cell.starts_with('-')));
    let head = rows.next().unwrap();
    assert_eq!(
        head,
        [
            "state",
            "pause",
            "resume",
            "approve",
            "promote",
            "set-percent, up",
            "set-percent, down",
            "rollback",
            "retry",
            "retry from the phase",
            "ack"
        ]
    );
    rows.map(|row| {
        let applied = row[1..].iter().map(|cell| match cell.as_str() {
            "yes" => true,
            "–" => false,
            other => panic!("{}: {other:?}", row[0]),
        });
        (row[0].clone(), applied.collect())
    })
    .collect()
}

#[test]
fn peers_3_9_every_verb_does_in_every_state_what_the_page_says() {
    let rows = documented();
    assert_eq!(rows.len(), 14);
    for (name, expected) in rows {
        let life = state(&name);
        for ((i, fields), expected) in verbs().into_iter().enumerate().zip(expected) {
            let uid = format!("u-{i}");
            let outcome = judge(&life, &name, fields.clone(), &uid);
            let applied = outcome.answer == Answer::Applied;
            assert_eq!(applied, expected, "{name}: {fields}: {}", outcome.message);
            assert!(!outcome.message.is_empty(), "{fields}");
            if !applied {
                assert_eq!(outcome.status, life.status, "{fields} was not applied and changed something");
                continue;
            }
            assert!(outcome.message.contains("next"), "{fields}: {}", outcome.message);
            let new = |entry: &&crate::api::status::HistoryEntry| entry.seq > life.status.last_seq();
            assert!(
                outcome.status.history.iter().filter(new).any(|entry| entry.who == "ada"),
                "{name}: {fields}"
            );
            // Read a second time it is done no second time, and answered the same.
            let mut again = state(&name);
            again.status = outcome.status.clone();
            assert_eq!(judge(&again, &name, fields.clone(), &uid), outcome, "{fields}");
            // Whatever it did, the schedule can live on with it.
            again.settle();
        }
    }
}

#[rstest]
fn an_unverified_actor_lowers_and_stops_and_raises_nothing(
    #[values("holding", "paused by a person", "latched", "status lost")] name: &str,
) {
    let life = state(name);
    for (fields, raising) in verbs().into_iter().zip([0, 1, 1, 1, 1, 0, 0, 1, 1, 0]) {
        let spec = action(fields.clone());
        let request = crate::engine::Request { actor: Actor::Unverified, ..request("u", &spec, life.now) };
        let outcome = act(Ground::Plan(&life.plan, &life.facts), &life.status, &request, life.now);
        let unverified = outcome.message.starts_with("who asked is not verified");
        assert_eq!(unverified, raising == 1, "{fields}: {}", outcome.message);
        assert!(!unverified || outcome.answer == Answer::Rejected);
        // What may be asked does as much as if somebody verified had asked.
        let verified = crate::engine::Request { actor: Actor::Verified("ada".to_owned()), ..request.clone() };
        let verified = act(Ground::Plan(&life.plan, &life.facts), &life.status, &verified, life.now);
        assert!(unverified || outcome.answer == verified.answer, "{fields}");
        if outcome.answer == Answer::Applied {
            assert_eq!(outcome.status.history.last().unwrap().who, "unverified");
        }
    }
}

#[test]
fn what_speaks_against_an_action_rejects_it() {
    let life = state("holding");
    let spec = action(json!({"action": "Pause"}));
    let plain = || request("u", &spec, life.now);
    let judged = |request: crate::engine::Request<'_>| {
        let outcome = act(Ground::Plan(&life.plan, &life.facts), &life.status, &request, life.now);
        assert_eq!((outcome.answer, &outcome.status), (Answer::Rejected, &life.status));
        outcome.message
    };
    let tracked = crate::engine::Request { tracked_by: Some("label argocd.argoproj.io/instance"), ..plain() };
    assert!(judged(tracked).starts_with("it carries label argocd"));
    let other = action(json!({"action": "Pause", "rolloutRef": {"name": "r", "uid": "uid-9"}}));
    assert!(judged(request("u", &other, life.now)).contains("uid-9, which is not this one"));
    let generation = action(json!({"action": "Pause", "expectedGeneration": 2}));
    assert_eq!(
        judged(request("u", &generation, life.now)),
        "it is for generation 2 of the spec, which is at 1"
    );
    let unborn = FeatureRolloutStatus::default();
    let outcome = act(Ground::Plan(&life.plan, &life.facts), &unborn, &plain(), life.now);
    assert_eq!((outcome.answer, outcome.message.as_str()), (Answer::Rejected, "the rollout has not begun"));
    // The right UID and generation are no obstacle.
    let right =
        action(json!({"action": "Pause", "rolloutRef": {"name": "r", "uid": UID}, "expectedGeneration": 1}));
    let outcome =
        act(Ground::Plan(&life.plan, &life.facts), &life.status, &request("u", &right, life.now), life.now);
    assert_eq!(outcome.answer, Answer::Applied);
}

#[test]
fn case_38_a_hundred_actions_in_a_second_are_done_once_each_in_their_order() {
    let mut life = state("holding");
    let specs: Vec<_> = (0..100)
        .map(|i: i32| {
            let percent = format!("{:.2}", 9.9 - f64::from(i) / 100.0);
            let percent = percent.trim_end_matches('0').trim_end_matches('.');
            action(json!({"action": "SetPercent", "setPercent": {"a": format!("{percent}%")}}))
        })
        .collect();
    for (i, spec) in specs.iter().enumerate() {
        let uid = format!("u-{i}");
        let outcome = act(
            Ground::Plan(&life.plan, &life.facts),
            &life.status,
            &request(&uid, spec, life.now),
            life.now,
        );
        assert_eq!(outcome.answer, Answer::Applied, "{}", outcome.message);
        life.status = outcome.status;
        // The first answer never gets through.
        if i > 0 {
            answered(&mut life.status, &uid);
        }
    }
    let done = life.status.clone();
    assert!(life.status.actions.len() <= 64);
    // Those whose answers may be missing are read again.
    for i in [0, 99] {
        let uid = format!("u-{i}");
        let request = request(&uid, &specs[i], life.now);
        let outcome = act(Ground::Plan(&life.plan, &life.facts), &life.status, &request, life.now);
        assert_eq!((outcome.answer, &outcome.status), (Answer::Applied, &done));
    }
    assert_eq!(life.status.cohort("a").unwrap().decided().to_string(), "8.91%");
}

#[test]
fn an_action_is_forgotten_when_it_could_not_be_new_any_more() {
    let mut life = state("holding");
    life.ask(json!({"action": "Pause"}));
    let uid = life.status.actions[0].uid.clone();
    life.pass(2).ask(json!({"action": "Resume"}));
    assert!(life.status.actions.iter().all(|known| known.uid != uid));
    // Created again with its old time, it has expired.
    let spec = action(json!({"action": "Pause"}));
    let outcome = act(
        Ground::Plan(&life.plan, &life.facts),
        &life.status,
        &request(&uid, &spec, life.now - SignedDuration::from_hours(2)),
        life.now,
    );
    assert_eq!(outcome.answer, Answer::Expired);
}

#[test]
fn case_38_a_rollback_wins_over_the_step_of_the_same_instant() {
    let mut life = state("holding");
    life.now = after(START, 24);
    life.ask(json!({"action": "Rollback"}));
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=0% b=0%", "ga/1"));
    // The other way round the step was first, and the rollback takes what it gave.
    let mut life = state("holding");
    life.pass(23);
    assert_eq!(life.served(), "a=20% b=10%");
    life.ask(json!({"action": "Rollback"}));
    assert_eq!(life.served(), "a=0% b=0%");
}

#[test]
fn case_38_an_action_of_before_a_restart_is_not_done_again_after_it() {
    let mut life = state("holding");
    let spec = action(json!({"action": "Pause"}));
    let outcome =
        act(Ground::Plan(&life.plan, &life.facts), &life.status, &request("u", &spec, life.now), life.now);
    life.status = outcome.status;
    life.restart();
    life.ask(json!({"action": "Resume"}));
    // Its answer was lost with the crash; it is read again, and answered, and not done.
    let seq = life.status.last_seq();
    let again =
        act(Ground::Plan(&life.plan, &life.facts), &life.status, &request("u", &spec, life.now), life.now);
    let paused = "paused; next: nothing by itself; resume to let the schedule go on";
    assert_eq!((again.answer, again.message.as_str()), (Answer::Applied, paused));
    assert_eq!(again.status.last_seq(), seq);
    assert!(again.status.pauses.is_empty());
}

#[test]
fn an_invalid_spec_keeps_its_triggers_and_lets_people_lower() {
    let mut life = watched(ERRORS);
    let guard = life.plan.guard.clone();
    let spec = action(json!({"action": "Rollback", "rollback": {"mode": "Partial"}}));
    let ground = Ground::Guard(&guard, "spec.phases: is empty");
    let outcome = act(ground, &life.status, &request("u", &spec, life.now), life.now);
    life.status = outcome.status;
    assert_eq!((outcome.answer, life.served().as_str()), (Answer::Applied, "a=0% b=40%"));
    let spec = action(json!({"action": "Promote"}));
    let outcome = act(ground, &life.status, &request("v", &spec, life.now), life.now);
    assert_eq!(outcome.message, "the spec is invalid: spec.phases: is empty");
}

#[test]
fn an_action_and_the_decisions_around_it_are_the_same_when_replayed() {
    let lived = || {
        let mut life = watched(ERRORS);
        life.series("errors", 30, &[11.0; 5]).ask(json!({"action": "Pause"}));
        life.wait(30).series("errors", 30, &[11.0; 6]);
        life.ask(json!({"action": "Retry"}));
        life.wait(30).says("errors", 0.0).pass(30);
        life
    };
    let (one, other) = (lived(), lived());
    assert_eq!(one.status, other.status);
    assert_eq!(serde_json::to_string(&one.status).unwrap(), serde_json::to_string(&other.status).unwrap());
    let Metrics::Measured(measured) = &one.facts.metrics else { panic!("measured") };
    assert!(!measured.is_empty());
    let decision = decide(&one.plan, &one.status, &one.facts, one.now);
    assert_eq!(decision.status, one.status);
    // It went through what it is to repeat: nobody had the feature, and the schedule has begun again since.
    assert!(one.status.rollback.is_none() && one.status.retry.is_none(), "{:?}", one.told());
    assert_eq!(one.told().iter().filter(|told| told.contains("Retried")).count(), 1, "{:?}", one.told());
}

/// The spec has changed since the last decision, and the action is the first to see it.
fn before_anyone_decided(change: impl FnOnce(&mut Life)) -> Life {
    let mut life = state("holding");
    change(&mut life);
    life
}

#[test]
fn what_git_has_just_stopped_no_action_raises() {
    let mut life = before_anyone_decided(|life| life.plan.suspend = true);
    let answer = life.ask(json!({"action": "Promote"}));
    assert!(answer.starts_with("Rejected"), "{answer}");
    let answer = life.ask(json!({"action": "SetPercent", "setPercent": {"a": 90}}));
    assert!(answer.starts_with("Rejected"), "{answer}");
    let mut life = before_anyone_decided(|life| life.facts.emergency = true);
    let answer = life.ask(json!({"action": "SetPercent", "setPercent": {"a": 90}}));
    assert!(answer.starts_with("Rejected"), "{answer}");
    assert_eq!(life.status.cohort("a").unwrap().decided().to_string(), "0%");
}

#[test]
fn an_attempt_raised_before_a_rollback_does_not_undo_it() {
    let mut life = before_anyone_decided(|life| life.plan.attempt += 1);
    let answer = life.ask(json!({"action": "Rollback"}));
    assert!(answer.starts_with("Applied"), "{answer}");
    life.pass(48);
    assert_eq!(life.served(), "a=0% b=0%");
    assert!(life.status.rollback.is_some());
}

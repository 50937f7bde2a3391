//! What stops and lowers goes first, and nothing that was asked for before it undoes it.

use rstest::rstest;
use serde_json::{Value, json};

use super::support::{Life, START, action, request, t};
use crate::api::rolloutaction::Answer;
use crate::api::{FeatureRolloutStatus, MicroTime};
use crate::engine::{Ground, Outcome, Precedence, Request, act, precedence};

const SPEC: &str = "{cohorts: [{name: a}, {name: b}], phases: [{name: p, steps: [
    {cohorts: {a: 50, b: 20}, hold: 1h}, {name: second, cohorts: {a: 60}, hold: 1h, approval: Required}]}]}";

/// Judges an action that was created as the so-and-so-manieth of one second.
fn ask(life: &mut Life, version: i64, fields: Value) -> Outcome {
    ask_at(life, t(START), version, fields)
}

fn ask_at(life: &mut Life, created: MicroTime, version: i64, fields: Value) -> Outcome {
    let spec = action(fields);
    let uid = format!("u-{version}");
    let request = Request { version, ..request(&uid, &spec, created) };
    let outcome = act(Ground::Plan(&life.plan, &life.facts), &life.status, &request, life.now);
    life.status = outcome.status.clone();
    outcome
}

fn begun() -> Life {
    let mut life = Life::begin(SPEC, START);
    life.wait(60);
    life
}

/// In a latched rollout, so that there is something to retry and to resume.
fn latched() -> Life {
    let mut life = begun();
    assert_eq!(ask(&mut life, 1, json!({"action": "Rollback"})).answer, Answer::Applied);
    life.status.rollback.as_mut().unwrap().ended_at = Some(life.now);
    life
}

fn paused() -> Life {
    let mut life = begun();
    assert_eq!(ask(&mut life, 1, json!({"action": "Pause"})).answer, Answer::Applied);
    life
}

#[rstest]
#[case::resume_and_pause(paused(), json!({"action": "Resume"}), json!({"action": "Pause"}))]
#[case::retry_and_pause(latched(), json!({"action": "Retry"}), json!({"action": "Pause"}))]
#[case::raise_and_pause(begun(), json!({"action": "SetPercent", "setPercent": {"b": 30}}), json!({"action": "Pause"}))]
#[case::raise_and_lower(
    begun(),
    json!({"action": "SetPercent", "setPercent": {"b": 30}}),
    json!({"action": "SetPercent", "setPercent": {"a": 10}})
)]
#[case::resume_and_lower(paused(), json!({"action": "Resume"}), json!({"action": "SetPercent", "setPercent": {"b": 0}}))]
#[case::raise_and_rollback(begun(), json!({"action": "SetPercent", "setPercent": {"b": 30}}), json!({"action": "Rollback"}))]
fn what_raises_does_not_undo_what_was_created_after_it(
    #[case] life: Life,
    #[case] raise: Value,
    #[case] stop: Value,
) {
    // In the order of creation, where nothing waits.
    let mut in_order =
        Life { plan: life.plan.clone(), facts: life.facts.clone(), status: life.status.clone(), ..life };
    assert_eq!(ask(&mut in_order, 5, raise.clone()).answer, Answer::Applied, "{raise}");
    assert_eq!(ask(&mut in_order, 6, stop.clone()).answer, Answer::Applied, "{stop}");

    let mut overtaken = Life { plan: life.plan, facts: life.facts, status: life.status, ..in_order };
    assert_eq!(ask(&mut overtaken, 6, stop.clone()).answer, Answer::Applied, "{stop}");
    let stopped = overtaken.status.clone();
    let late = ask(&mut overtaken, 5, raise.clone());
    assert_eq!((late.answer, &late.status), (Answer::Rejected, &stopped), "{raise}");
    assert!(late.message.contains("created after it and carried out first"), "{}", late.message);

    // Asked for again it is new, and so it is after the second, whatever the versions are by then.
    let anew = t(START) + jiff::SignedDuration::from_secs(1);
    for (created, version) in [(t(START), 7), (anew, 0)] {
        let mut life = Life {
            status: stopped.clone(),
            plan: in_order.plan.clone(),
            facts: in_order.facts.clone(),
            ..in_order
        };
        let again = ask_at(&mut life, created, version, raise.clone());
        assert!(!again.message.contains("created after it"), "{raise}: {}", again.message);
    }
}

#[test]
fn an_approval_and_a_promotion_are_judged_by_what_is_true() {
    let approve = json!({"action": "Approve", "approve": {"phase": "p", "step": "second"}});
    let mut life = begun();
    assert_eq!(ask(&mut life, 9, json!({"action": "Pause"})).answer, Answer::Applied);
    assert_eq!(ask(&mut life, 3, approve).answer, Answer::Applied, "an approval raises nobody by itself");
    let promote = ask(&mut life, 4, json!({"action": "Promote"}));
    assert_eq!(promote.answer, Answer::Rejected, "{}", promote.message);
}

#[test]
fn an_older_stop_does_not_take_the_place_of_a_newer_one() {
    let mut life = begun();
    ask(&mut life, 9, json!({"action": "Pause"}));
    ask(&mut life, 3, json!({"action": "Pause", "reason": "again"}));
    assert_eq!(life.status.last_stop.unwrap().version, 9);
    assert_eq!(ask(&mut life, 6, json!({"action": "Resume"})).answer, Answer::Rejected);
    assert_eq!(ask(&mut life, 10, json!({"action": "Resume"})).answer, Answer::Applied);
}

#[test]
fn the_stronger_goes_first() {
    let status = FeatureRolloutStatus::default();
    let of = |fields: Value| precedence(&action(fields), &status);
    let order = [
        of(json!({"action": "Rollback"})),
        of(json!({"action": "Rollback", "rollback": {"mode": "Gradual"}})),
        of(json!({"action": "SetPercent", "setPercent": {"a": 0}})),
        of(json!({"action": "Pause"})),
        of(json!({"action": "SetPercent", "setPercent": {"a": 1}})),
    ];
    assert!(order.is_sorted_by(|one, next| one < next), "{order:?}");
    for verb in ["Resume", "Promote", "Retry", "Acknowledge"] {
        assert_eq!(of(json!({"action": verb})), Precedence::Ordinary, "{verb}");
    }
}

#[test]
fn what_was_acknowledged_is_not_acknowledged_again_until_something_happens() {
    let spec = "{cohorts: [{name: a}], phases: [{name: p, steps: [{cohorts: {a: 50}, hold: 1h}]}],
        triggers: [{name: e, metric: {templateRef: {name: x}}, interval: 10s, levels: [
            {severity: Warning, above: '1', for: 0s, action: Pause}]}]}";
    let mut life = Life::watched(spec);
    life.says("e", 0.0).wait(10).says("e", 2.0);
    let entries = |life: &Life| life.status.history.len();
    let before = entries(&life);
    assert!(life.ask(json!({"action": "Acknowledge"})).starts_with("Applied"));
    for _ in 0..30 {
        let again = life.ask(json!({"action": "Acknowledge"}));
        assert!(again.starts_with("Rejected") && again.contains("nothing has happened since"), "{again}");
    }
    assert_eq!(entries(&life), before + 1);
    life.wait(10).says("e", 0.0);
    assert!(life.ask(json!({"action": "Resume"})).starts_with("Applied"));
    life.wait(10).says("e", 2.0);
    assert!(life.ask(json!({"action": "Acknowledge"})).starts_with("Applied"), "it has paused again");
}

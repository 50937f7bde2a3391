//! What stays on record: latches, causes, approvals, what was taken away by hand, whatever else happens.

use rstest::rstest;
use serde_json::{Value, json};

use super::actions::{STEPS, state, verbs};
use super::in_file::file;
use super::rollbacks::{PHASES, on_the_ladder};
use super::support::{Life, START};
use super::triggers::{ERRORS, spec, watched};
use crate::api::status::{Check, PauseCause};
use crate::api::{FeatureRolloutStatus, RollbackMode};
use crate::engine::Facts;

/// The same rollout with its status emptied, made again under its name, or with a status from a backup.
fn recovered(life: &Life, how: &str) -> Life {
    let mut live = file(&life.status);
    let mut backup = FeatureRolloutStatus::default();
    match how {
        "StatusLost" => {}
        "Adopted" => live.uid = "uid-of-before".to_owned(),
        _ => {
            // From before whatever has happened last.
            let mut before = Life::begin(PHASES, START);
            before.pass(72);
            backup = before.status;
            backup.uid = Some("uid-of-before".to_owned());
        }
    }
    let facts = Facts { live: Some(live), ..life.facts.clone() };
    let mut again = Life::of(life.plan.clone(), facts, backup, &life.now.to_string());
    again.facts.live = None;
    assert_eq!(again.pauses(), [how]);
    again
}

#[rstest]
fn a_rollback_stays_in_force_whatever_becomes_of_the_status(
    #[values("StatusLost", "Adopted", "Restored")] how: &str,
) {
    let mut life = Life::begin(PHASES, START);
    life.pass(72).ask(json!({"action": "Rollback"}));
    let mut life = recovered(&life, how);
    let rollback = life.status.rollback.clone().unwrap();
    assert_eq!((rollback.mode, rollback.by.as_str()), (RollbackMode::Immediate, "ada"));
    assert!(rollback.ended_at.is_some());
    let answer = life.ask(json!({"action": "Resume"}));
    assert!(answer.starts_with("Rejected: it was rolled back at 2025-09-11T09:00:00Z"), "{answer}");
    life.pass(500);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=0% b=0%", "RolledBack"));
    // A retry starts again as it would have done, from the phase too.
    life.ask(json!({"action": "Retry", "retry": {"from": "Phase"}}));
    assert_eq!(life.served(), "a=60% b=10%");
}

#[rstest]
fn a_ladder_goes_on_when_the_status_is_lost(#[values("StatusLost", "Adopted")] how: &str) {
    let mut life = recovered(&on_the_ladder(), how);
    let before = life.served();
    life.pass(48);
    assert_ne!(life.served(), before);
    assert_eq!(life.served(), "a=0% b=0%");
    assert!(life.status.rollback.is_some_and(|rollback| rollback.ended_at.is_some()));
}

#[rstest]
fn a_resume_after_a_recovery_raises_nobody_in_one_leap(#[values("StatusLost", "Adopted")] how: &str) {
    let mut life = Life::begin(PHASES, START);
    life.pass(72).ask(json!({"action": "SetPercent", "setPercent": {"a": 0}}));
    assert_eq!(life.served(), "a=0% b=20%");
    let mut life = recovered(&life, how);
    let answer = life.ask(json!({"action": "Resume"}));
    assert!(answer.contains("a stays at 0% of the 60% asked for"), "{answer}");
    assert_eq!(life.served(), "a=0% b=20%");
    // The next step asks b for more, and a for nothing.
    life.pass(500);
    assert_eq!(life.served(), "a=0% b=30%");
}

#[test]
fn a_raise_that_waits_for_a_delay_comes_after_a_recovery_too() {
    let spec = "
cohorts: [{name: a}, {name: b, delay: 30h}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, steps: [{cohorts: {a: 10, b: 10}}]}]";
    let mut life = Life::begin(spec, START);
    life.pass(1);
    let mut life = recovered(&life, "Adopted");
    life.ask(json!({"action": "Resume"}));
    life.pass(29);
    assert_eq!((life.served().as_str(), life.pending("b").as_deref()), ("a=10% b=0%", Some("10%")));
    life.pass(2);
    assert_eq!(life.served(), "a=10% b=10%");
}

#[rstest]
#[case::admitted_again("feature: {tier: Core}")]
fn a_tier_that_goes_and_comes_back_restores_nothing_that_was_set_by_hand(#[case] tier: &str) {
    let spec = "
cohorts: [{name: a, admits: [Stable]}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, steps: [{cohorts: {a: 40}, hold: 999h}, {cohorts: {a: 60}}]}]";
    let mut life = Life::begin(spec, START);
    life.pass(1).ask(json!({"action": "SetPercent", "setPercent": {"a": 2}}));
    life.ask(json!({"action": "Resume"}));
    life.edit(&format!("{spec}\n{tier}"));
    life.edit(spec);
    life.pass(10);
    assert_eq!((life.served().as_str(), life.pending("a")), ("a=2%", None));
    // Set while the tier is refused, it stays too.
    life.edit(&format!("{spec}\n{tier}"));
    life.ask(json!({"action": "SetPercent", "setPercent": {"a": 1}}));
    life.ask(json!({"action": "Resume"}));
    life.edit(spec);
    life.pass(10);
    assert_eq!((life.served().as_str(), life.pending("a")), ("a=1%", None));
}

#[test]
fn an_attempt_raised_in_the_commit_that_loses_the_position_starts_again() {
    let mut life = state("holding");
    life.edit(&format!("{}\nattempt: 2", STEPS.replace("{name: one, cohorts: {a: 10, b: 10}}, ", "")));
    assert_eq!((life.pauses(), life.status.attempt), (vec![], 2));
    assert_eq!((life.position().as_str(), life.served().as_str()), ("ga/1", "a=20% b=10%"));
    assert!(
        life.reasons().ends_with(&["PositionLost", "AttemptStarted", "StepEntered"]),
        "{:?}",
        life.reasons()
    );
}

#[test]
fn a_raised_attempt_that_starts_nothing_says_so() {
    let mut life = state("holding");
    life.edit(&format!("{STEPS}\nattempt: 2"));
    let entry = life.status.history.last().unwrap().clone();
    assert_eq!((entry.reason.as_str(), entry.who.as_str()), ("AttemptNoted", "git"));
    assert!(entry.message.starts_with("attempt 2 is noted and starts nothing"), "{}", entry.message);
    // Lowered, it does nothing, and there is nothing to say.
    life.edit(STEPS);
    assert_eq!(life.status.last_seq(), entry.seq);
}

#[rstest]
#[case::partial_on_the_ladder("on the ladder", json!({"mode": "Partial", "cohorts": ["b"]}), "Rejected: the gradual rollback by ada of")]
#[case::gradual_on_the_ladder("on the ladder", json!({"mode": "Gradual"}), "Rejected: the gradual rollback by ada of")]
#[case::immediate_on_the_ladder("on the ladder", json!({"mode": "Immediate"}), "Applied: immediate rollback: b 50% → 0%")]
#[case::gradual_at_control("latched", json!({"mode": "Gradual"}), "Rejected: the immediate rollback by ada of")]
#[case::immediate_at_control("latched", json!({}), "Rejected: the immediate rollback by ada of")]
fn a_rollback_that_would_change_nothing_is_rejected(
    #[case] name: &str,
    #[case] how: Value,
    #[case] expected: &str,
) {
    let mut life = state(name);
    let before = life.status.clone();
    let answer = life.ask(json!({"action": "Rollback", "rollback": how}));
    assert!(answer.starts_with(expected), "{answer}");
    assert_eq!(life.status == before, expected.starts_with("Rejected"));
}

#[test]
fn a_rollback_that_takes_in_more_cohorts_takes_effect() {
    let mut life = state("holding");
    life.ask(json!({"action": "Rollback", "rollback": {"mode": "Immediate", "cohorts": ["a"]}}));
    assert_eq!(life.served(), "a=0% b=10%");
    let answer = life.ask(json!({"action": "Rollback", "rollback": {"mode": "Partial", "cohorts": ["b"]}}));
    assert!(answer.starts_with("Applied: partial rollback: b 10% → 0%"), "{answer}");
    assert_eq!(life.served(), "a=0% b=0%");
}

#[rstest]
#[case::holding("holding", "Rejected: there is nothing to acknowledge")]
#[case::twice("latched", "Rejected: the rollback was acknowledged at 2025-09-08T10:00:00Z")]
fn acknowledging_nothing_is_rejected(#[case] name: &str, #[case] expected: &str) {
    let mut life = state(name);
    if name == "latched" {
        assert!(life.ask(json!({"action": "Acknowledge"})).starts_with("Applied: acknowledged; next: "));
    }
    let answer = life.ask(json!({"action": "Acknowledge"}));
    assert!(answer.starts_with(expected), "{answer}");
}

#[test]
fn what_began_a_rollback_stays_on_record_when_somebody_makes_it_stronger() {
    let gradual = ERRORS.replace("ImmediateRollback", "GradualRollback");
    let mut life = watched(&gradual);
    life.series("errors", 30, &[11.0; 11]);
    let began = life.status.rollback.clone().unwrap();
    assert_eq!((began.by.as_str(), began.mode), ("trigger/errors", RollbackMode::Gradual));
    life.wait(60);
    let answer = life.ask(json!({"action": "Rollback"}));
    assert!(answer.starts_with("Applied: immediate rollback: a 50% → 0%"), "{answer}");
    let rollback = life.status.rollback.clone().unwrap();
    assert_eq!((rollback.mode, rollback.at), (RollbackMode::Immediate, began.at));
    assert_eq!((&rollback.by, &rollback.trigger), (&began.by, &began.trigger));
    assert_eq!((rollback.severity, &rollback.message), (began.severity, &began.message));
    let escalation = &rollback.escalations[0];
    assert_eq!((escalation.from, escalation.to), (RollbackMode::Gradual, RollbackMode::Immediate));
    assert_eq!((escalation.by.as_str(), escalation.message.as_str()), ("ada", "because"));
    assert_eq!(escalation.at, life.now);
    // Its trigger is still the one that has to pass again.
    life.wait(30).series("errors", 30, &[1.0; 12]);
    assert!(life.status.rollback.as_ref().unwrap().verified_at.is_some());
    assert!(life.told().last().unwrap().ends_with("RollbackVerified trigger/errors"), "{:?}", life.told());
}

#[test]
fn a_retry_names_the_pauses_that_end_with_it() {
    let mut life = state("latched");
    life.ask(json!({"action": "Pause", "reason": "lunch"}));
    let answer = life.ask(json!({"action": "Retry"}));
    let expected = "Applied: starts again from the start; this ends a pause: paused by ada: lunch; ";
    assert!(answer.starts_with(expected), "{answer}");
    let told = life.status.history.iter().find(|entry| entry.reason.as_str() == "Retried").unwrap();
    assert!(told.message.ends_with("because; this ends a pause: paused by ada: lunch"), "{}", told.message);
    // So does a raised attempt.
    life.ask(json!({"action": "Rollback"}));
    life.ask(json!({"action": "Pause", "reason": "tea"}));
    life.edit(&format!("{STEPS}\nattempt: 2"));
    let told = life.status.history.iter().find(|entry| entry.reason.as_str() == "AttemptStarted").unwrap();
    assert!(told.message.ends_with("this ends a pause: paused by ada: tea"), "{}", told.message);
}

#[test]
fn while_a_rollback_is_in_force_nobody_is_told_to_resume() {
    let mut life = state("on the ladder");
    // Set before the rollback.
    let set = life.status.pause(PauseCause::SetPercent).unwrap();
    let words = crate::engine::pause_words(&life.status, set);
    assert!(words.ends_with("; a retry ends this pause with the rollback"), "{words}");
    // Set after it: the rollback holds the schedule already.
    let mut latched = state("latched");
    let answer = latched.ask(json!({"action": "SetPercent", "setPercent": {"b": 0}}));
    assert!(!answer.contains("resume"), "{answer}");
    assert!(latched.pauses().is_empty());
    life.ask(json!({"action": "Retry"}));
    assert!(life.pauses().is_empty());
}

#[test]
fn a_second_retry_from_the_phase_starts_with_that_phase_too() {
    let mut life = Life::begin(PHASES, START);
    life.pass(72).ask(json!({"action": "Rollback"}));
    // Rolled back again before its first step was entered.
    life.tweak(|plan| plan.suspend = true);
    life.ask(json!({"action": "Retry", "retry": {"from": "Phase"}}));
    life.pass(1).ask(json!({"action": "Rollback"}));
    assert!(life.status.retry.is_none(), "a retry is shown that is over");
    assert_eq!(life.status.rollback.as_ref().unwrap().phase.as_deref(), Some("ga"));
    let answer = life.ask(json!({"action": "Retry", "retry": {"from": "Phase"}}));
    assert!(answer.starts_with("Applied: starts again from phase ga"), "{answer}");
    life.tweak(|plan| plan.suspend = false);
    assert_eq!(life.served(), "a=60% b=10%");
}

#[test]
fn only_rungs_that_will_come_are_announced() {
    let mut life = state("on the ladder");
    let next = life.status.cohort("b").unwrap().descent.unwrap();
    assert_eq!(next.rung, 1);
    let answer = life.ask(json!({"action": "SetPercent", "setPercent": {"b": 20}}));
    let told = format!("the next rung comes at {:.0}", next.next);
    assert!(answer.ends_with(&told), "{answer}");
    // 25 % is behind it: 0 comes next, at the time of the next rung.
    let after = life.status.cohort("b").unwrap().descent.unwrap();
    assert_eq!((after.rung, after.next), (2, next.next));
    // An edit that lowers it does the same.
    let mut life = state("on the ladder");
    life.edit(&STEPS.replace("b: 10", "b: 5"));
    assert_eq!(life.served(), "a=0% b=5%");
    assert_eq!(life.status.cohort("b").unwrap().descent.unwrap().rung, 2);
}

#[test]
fn a_retry_leaves_nobody_half_way_down_while_the_errors_go_on() {
    let gradual = ERRORS.replace("ImmediateRollback", "GradualRollback");
    let mut life = watched(&gradual);
    life.series("errors", 30, &[11.0; 11]);
    assert_eq!(life.served(), "a=50% b=25%");
    let answer = life.ask(json!({"action": "Retry"}));
    assert!(
        answer.starts_with("Rejected: a gradual rollback is on its way down, and errors is above 10"),
        "{answer}"
    );
    // A raised attempt waits until the ladder has ended, or the errors have.
    life.edit(&format!("{}\nattempt: 2", spec(&gradual)));
    assert!(life.status.rollback.is_some() && life.status.attempt == 1);
    life.wait(600).says("errors", 11.0);
    assert_eq!(life.served(), "a=25% b=0%");
    life.wait(30).says("errors", 1.0);
    assert_eq!((life.status.rollback.is_some(), life.status.attempt), (false, 2));
    assert_eq!(life.served(), "a=100% b=40%");
}

#[test]
fn an_emergency_says_what_it_takes_and_what_comes_back() {
    let said = |life: &Life, reason: &str| {
        let entry = life.status.history.iter().rev().find(|entry| entry.reason.as_str() == reason);
        entry.unwrap().message.clone()
    };
    let mut life = state("holding");
    life.fact(|facts| facts.emergency = true).fact(|facts| facts.emergency = false);
    assert_eq!(
        said(&life, "EmergencyLifted"),
        "the FlagSet's emergency is over; a to 10%, b to 10% when the checks allow it"
    );
    let mut life = state("latched");
    life.fact(|facts| facts.emergency = true).fact(|facts| facts.emergency = false);
    assert_eq!(
        said(&life, "EmergencyControl"),
        "the FlagSet's emergency: nobody had the feature here, and nothing is raised"
    );
    assert_eq!(
        said(&life, "EmergencyLifted"),
        "the FlagSet's emergency is over; nothing was taken away here, and nothing comes back"
    );
}

#[test]
fn in_an_emergency_what_comes_back_can_be_lowered_and_not_raised() {
    let mut life = state("emergency");
    let answer = life.ask(json!({"action": "SetPercent", "setPercent": {"a": 3, "b": 0}}));
    assert!(answer.starts_with("Applied: set a 10% → 3%, b 10% → 0% for after the emergency"), "{answer}");
    assert_eq!(life.served(), "a=0% b=0%");
    let answer = life.ask(json!({"action": "SetPercent", "setPercent": {"a": 4}}));
    assert!(answer.starts_with("Rejected"), "{answer}");
    life.fact(|facts| facts.emergency = false);
    assert_eq!(life.served(), "a=0% b=0%");
    life.ask(json!({"action": "Resume"}));
    assert_eq!(life.served(), "a=3% b=0%");
}

#[rstest]
fn what_stops_from_git_stops_no_lowering_by_hand(#[values("suspended", "paused by a person")] name: &str) {
    let mut life = state(name);
    let answer = life.ask(json!({"action": "SetPercent", "setPercent": {"a": 3}}));
    assert!(answer.starts_with("Applied: set a 10% → 3%"), "{answer}");
    assert_eq!(life.served(), "a=3% b=10%");
}

#[test]
fn the_last_hold_is_what_the_rollout_waits_for() {
    let mut life = Life::begin(PHASES, START);
    life.pass(96);
    let waiting = life.status.waiting_for.clone().unwrap();
    assert_eq!((waiting.check, waiting.until), (Check::Hold, life.wake_at));
    assert_eq!(
        waiting.message,
        format!("the hold of ga/3 lasts until {:.0}; then it is completed", life.wake_at.unwrap())
    );
    life.ask(json!({"action": "Pause"}));
    assert_eq!(life.waits(), "Paused");
    life.ask(json!({"action": "Resume"}));
    life.pass(100);
    assert_eq!((life.waits().as_str(), life.completed_at().is_some()), ("", true));
}

#[test]
fn an_answer_says_what_happens_next_and_when() {
    let mut life = state("holding");
    assert_eq!(
        life.ask(json!({"action": "SetPercent", "setPercent": {"a": 2}})),
        "Applied: set a 10% → 2%; next: nothing by itself; resume to let the schedule go on"
    );
    life.pass(5);
    assert_eq!(
        life.ask(json!({"action": "Resume"})),
        "Applied: resumed; a stays at 2% of the 10% asked for, until a later step asks for more; next: the hold before \
         ga/two lasts until 2025-09-09T14:00:00Z"
    );
    assert_eq!(
        life.ask(json!({"action": "Promote"})),
        "Applied: entered ga/two (2/3): a 2% → 20%; next: the hold before ga/full lasts until 2025-09-09T15:00:00Z; as \
         things stand it is held back then, too: ga/full waits for approval, in spec.approvals or by an action"
    );
    let answer = life.ask(json!({"action": "Rollback"}));
    let next = "next: nothing by itself; a retry or a raised spec.attempt starts again";
    assert!(answer.ends_with(next), "{answer}");
    let answer = life.ask(json!({"action": "Retry"}));
    assert!(answer.contains("entered ga/one (1/3): a 0% → 10%"), "{answer}");
}

/// The panel reads out of the entries what was served, by the arrow.
#[rstest]
fn nobody_writes_a_change_into_the_history_by_words(
    #[values("holding", "fresh", "paused by a person", "percentages set", "suspended", "emergency")]
    name: &str,
) {
    for verb in verbs() {
        let told = |reason: &str| -> Vec<usize> {
            let mut life = state(name);
            let mut fields = verb.clone();
            fields["reason"] = json!(reason);
            life.ask(fields);
            life.status.history.iter().map(|entry| entry.message.matches('→').count()).collect()
        };
        assert_eq!(told("a 100% → 50%; b 100% → 10%, as ordered"), told("as ordered"), "{verb}");
    }
}

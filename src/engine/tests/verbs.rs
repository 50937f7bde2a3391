//! What each verb does, once it may.

use rstest::rstest;
use serde_json::{Value, json};

use super::actions::{STEPS, state};
use super::support::{Life, START};
use super::triggers::spec;

#[test]
fn an_approval_by_action_counts_for_its_step_and_attempt() {
    let mut life = state("holding");
    assert_eq!(
        life.ask(json!({"action": "Approve", "approve": {"phase": "ga", "step": "two"}})),
        "Rejected: ga/two needs no approval"
    );
    assert_eq!(
        life.ask(json!({"action": "Approve", "approve": {"phase": "ga", "step": "all"}})),
        "Rejected: there is no step ga/all"
    );
    life.pass(47);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=20% b=10%", "Approval"));
    let approve = json!({"action": "Approve", "approve": {"phase": "ga", "step": "full"}});
    assert_eq!(
        life.ask(approve.clone()),
        "Applied: approved ga/full; entered ga/full (3/3): a 20% → 100%; next: the hold of ga/full lasts until \
         2025-09-11T09:00:00Z; then it is completed"
    );
    assert_eq!(life.served(), "a=100% b=10%");
    assert_eq!(life.ask(approve), "Rejected: ga/full is approved already, by ada");
    // It was for that entry: started again, from the phase or from the start, the step waits for another one.
    life.ask(json!({"action": "Rollback"}));
    life.ask(json!({"action": "Retry", "retry": {"from": "Phase"}}));
    life.pass(48);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=20% b=10%", "Approval"));
    life.ask(json!({"action": "Rollback"}));
    life.ask(json!({"action": "Retry"}));
    life.pass(200);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=20% b=10%", "Approval"));
}

#[test]
fn set_percent_holds_the_schedule_until_resume_which_restores_no_dropped_ask() {
    let spec = "
cohorts: [{name: a}, {name: b, delay: 30h}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, steps: [{cohorts: {a: 10, b: 10}}, {cohorts: {a: 20}}]}]";
    let mut life = Life::begin(spec, START);
    assert_eq!(life.pending("b").as_deref(), Some("10%"));
    assert_eq!(
        life.ask(json!({"action": "SetPercent", "setPercent": {"b": 3}})),
        "Applied: set b 0% → 3%; next: nothing by itself; resume to let the schedule go on"
    );
    assert_eq!(
        (life.served().as_str(), life.pending("b"), life.asked("b").as_str()),
        ("a=10% b=3%", None, "10%")
    );
    life.pass(100);
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=10% b=3%", "ga/1"));
    assert_eq!(
        life.ask(json!({"action": "Resume"})),
        "Applied: resumed; b stays at 3% of the 10% asked for, until a later step asks for more; next: the hold before \
         ga/2 lasts until 2025-09-13T13:00:00Z"
    );
    // The hold stood still for those hours.
    life.pass(23);
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=10% b=3%", "ga/1"));
    life.pass(1);
    assert_eq!(life.served(), "a=20% b=3%");
    life.pass(100);
    assert_eq!(life.served(), "a=20% b=3%");
    assert!(life.completed_at().is_some());
}

#[test]
fn resume_clears_people_triggers_and_recovery_and_leaves_git_its_own() {
    let mut life = state("status lost");
    life.ask(json!({"action": "Pause"}));
    life.ask(json!({"action": "SetPercent", "setPercent": {"a": 1}}));
    life.tweak(|plan| plan.suspend = true);
    assert_eq!(life.pauses(), ["StatusLost", "Person", "SetPercent", "Suspended"]);
    assert_eq!(
        life.ask(json!({"action": "Resume"})),
        "Applied: resumed; a stays at 1% of the 10% asked for, until a later step asks for more; next: nothing by itself; \
         spec.suspend is true; set it to false in git to go on"
    );
    assert_eq!(life.pauses(), ["Suspended"]);
    assert!(life.ask(json!({"action": "Resume"})).starts_with("Rejected: only git ends this pause"));
}

#[test]
fn resume_does_not_find_a_position_that_is_lost() {
    let mut life = state("position lost");
    assert!(
        life.ask(json!({"action": "Resume"})).starts_with("Rejected: the current step ga/one is no longer")
    );
    life.ask(json!({"action": "Pause"}));
    let seq = life.status.last_seq();
    assert_eq!(
        life.ask(json!({"action": "Resume"})),
        "Applied: resumed; next: nothing by itself; the current step ga/one is no longer in the plan; put it back, or \
         raise spec.attempt to start again"
    );
    assert_eq!((life.pauses(), life.status.last_seq()), (vec!["PositionLost".to_owned()], seq + 1));
    life.edit(STEPS);
    assert!(life.pauses().is_empty());
}

#[test]
fn a_promote_enters_the_next_step_and_its_hold_begins() {
    let mut life = state("holding");
    let answer = life.ask(json!({"action": "Promote"}));
    assert_eq!(
        answer,
        "Applied: entered ga/two (2/3): a 10% → 20%; next: the hold before ga/full lasts until 2025-09-09T10:00:00Z; as \
         things stand it is held back then, too: ga/full waits for approval, in spec.approvals or by an action"
    );
    let entry = life.status.history.last().unwrap();
    assert_eq!((entry.reason.as_str(), entry.who.as_str()), ("Promoted", "ada"));
    assert!(entry.message.ends_with("; because"), "{}", entry.message);
    // The next one needs an approval, which a promote is not.
    assert!(life.ask(json!({"action": "Promote"})).starts_with("Rejected: ga/full waits for approval"));
    life.ask(json!({"action": "Approve", "approve": {"phase": "ga", "step": "full"}}));
    life.pass(23);
    assert_eq!(life.served(), "a=20% b=10%");
    life.pass(1);
    assert_eq!(life.served(), "a=100% b=10%");
    assert!(life.ask(json!({"action": "Promote"})).starts_with("Rejected: every step has been entered"));
}

#[test]
fn acknowledging_a_rollback_is_noted_once() {
    let mut life = state("latched");
    life.ask(json!({"action": "Acknowledge"}));
    let at = life.status.rollback.as_ref().unwrap().acknowledged_at;
    assert_eq!(at, Some(life.now));
    life.pass(1).ask(json!({"action": "Acknowledge"}));
    assert_eq!(life.status.rollback.as_ref().unwrap().acknowledged_at, at);
    assert_eq!(life.waits(), "RolledBack");
}

#[rstest]
#[case::keep_is_needed(STEPS.to_owned(), json!({"mode": "Partial"}), "Rejected: a partial rollback needs", "a=10% b=10%")]
#[case::kept(spec("[]"), json!({"mode": "Partial"}), "Applied: partial rollback", "a=0% b=40%")]
#[case::named(spec("[]"), json!({"mode": "Partial", "cohorts": ["b"]}), "Applied: partial rollback", "a=100% b=0%")]
#[case::gradual(spec("[]"), json!({"mode": "Gradual", "cohorts": ["a"]}), "Applied: gradual rollback", "a=50% b=40%")]
#[case::immediate(spec("[]"), json!({"cohorts": ["a"]}), "Applied: immediate rollback", "a=0% b=40%")]
#[case::stranger(spec("[]"), json!({"cohorts": ["x"]}), "Rejected: there is no cohort \"x\"", "a=100% b=40%")]
fn people_roll_back_as_they_say(
    #[case] spec: String,
    #[case] how: Value,
    #[case] answer: &str,
    #[case] served: &str,
) {
    let mut life = Life::begin(&spec, START);
    let found = life.ask(json!({"action": "Rollback", "rollback": how}));
    assert!(found.starts_with(answer), "{found}");
    assert_eq!(life.served(), served);
    assert_eq!(life.status.rollback.is_some(), answer.starts_with("Applied"));
    // Whoever was kept is raised no more either.
    life.pass(100);
    if answer.starts_with("Applied") {
        assert_eq!(life.waits(), "RolledBack");
    }
}

/// Found by a property: what waited to come back was taken for what the cohort has, so that anybody could give it back.
#[test]
fn what_waits_to_come_back_after_an_emergency_is_a_raise_like_any_other() {
    let mut life = state("holding");
    let before = life.served();
    // The latch is of one cohort; what the emergency took from the other one waits for the end of the rollback.
    life.ask(json!({"action": "Rollback", "rollback": {"cohorts": ["a"]}}));
    life.fact(|facts| facts.emergency = true).fact(|facts| facts.emergency = false);
    assert_eq!(life.served(), "a=0% b=0%", "from {before}");
    let answer = life.ask(json!({"action": "SetPercent", "setPercent": {"b": 10}}));
    assert!(answer.starts_with("Rejected: "), "{answer}");
    assert_eq!(life.served(), "a=0% b=0%");
}

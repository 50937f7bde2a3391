//! The latch of a rollback, and what starts again.

use rstest::rstest;
use serde_json::json;

use super::rollbacks::{PHASES, rolled_back};
use super::support::{Life, START, t};
use super::triggers::{ERRORS, spec, watched};

#[test]
fn latched_the_schedule_moves_neither_up_nor_down() {
    // The second step would lower a and raise b.
    let lowering = |triggers: &str| spec(triggers).replace("{b: 100}", "{a: 10, b: 100}");
    let mut life = Life::watched(&lowering(ERRORS));
    life.ask(json!({"action": "Rollback", "rollback": {"mode": "Immediate", "cohorts": ["b"]}}));
    for _ in 0..5 {
        life.pass(24).says("errors", 0.0);
    }
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=100% b=0%", "ga/1"));
    assert_eq!((life.waits().as_str(), life.completed_at()), ("RolledBack", None));
}

#[test]
fn case_39_nothing_but_a_retry_or_a_raised_attempt_re_arms() {
    let mut life = rolled_back();
    let quiet = |life: &mut Life| {
        life.pass(25).says("errors", 0.0);
        assert!(!life.status.exposed() && life.status.rollback.is_some(), "{}", life.served());
    };
    quiet(&mut life);
    life.restart();
    quiet(&mut life);
    // The same spec again, an edit that raises, another audience, a suspension and its end, a lower attempt.
    life.edit(&spec(ERRORS));
    quiet(&mut life);
    life.edit(&spec(ERRORS).replace("b: 40", "b: 90"));
    quiet(&mut life);
    life.edit(&spec(ERRORS).replace("{name: b}", "{name: b}, {name: c}"));
    quiet(&mut life);
    life.edit(&format!("{}\nsuspend: true", spec(ERRORS)));
    quiet(&mut life);
    life.edit(&format!("{}\nattempt: 1", spec(ERRORS)));
    quiet(&mut life);
    // No triggers any more: the rollback stays.
    life.edit(&spec("[]"));
    quiet(&mut life);
    life.fact(|facts| facts.emergency = true);
    quiet(&mut life);
    life.fact(|facts| facts.emergency = false);
    quiet(&mut life);
}

#[test]
fn a_raised_attempt_seen_while_latched_starts_again_from_the_start() {
    let mut life = rolled_back();
    life.edit(&format!("{}\nattempt: 2", spec(ERRORS)));
    // Started again; the breach of just now holds raises back.
    assert!(life.status.rollback.is_none());
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=0% b=0%", "none"));
    assert_eq!(life.waits(), "Triggers");
    life.wait(30).says("errors", 1.0);
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=100% b=40%", "ga/1"));
    assert_eq!(life.told().last().unwrap(), "330 StepEntered schedule");
    // Rolled back once more, the attempt that was handled does not count again.
    life.wait(30).series("errors", 30, &[11.0; 11]);
    life.pass(30).says("errors", 0.0);
    assert_eq!(life.served(), "a=0% b=0%");
    // A revert of the attempt in git, and its second raise, which is a new one.
    life.edit(&spec(ERRORS));
    assert_eq!(life.served(), "a=0% b=0%");
    life.edit(&format!("{}\nattempt: 2", spec(ERRORS)));
    assert_eq!(life.served(), "a=100% b=40%");
}

#[test]
fn a_raise_seen_while_not_latched_does_not_re_arm_later() {
    let mut life = watched(ERRORS);
    life.edit(&format!("{}\nattempt: 5", spec(ERRORS)));
    assert_eq!(life.position(), "ga/1");
    life.series("errors", 30, &[11.0; 11]);
    life.pass(30).says("errors", 0.0);
    assert_eq!(life.served(), "a=0% b=0%");
    assert!(life.status.rollback.is_some());
    life.edit(&format!("{}\nattempt: 6", spec(ERRORS)));
    assert_eq!(life.served(), "a=100% b=40%");
}

#[test]
fn peers_3_33_the_version_that_failed_is_tried_again_by_an_explicit_retry_only() {
    let mut life = rolled_back();
    life.pass(1).says("errors", 0.0);
    assert!(life.ask(json!({"action": "Resume"})).starts_with("Rejected: it was rolled back"));
    assert!(life.ask(json!({"action": "Promote"})).starts_with("Rejected: rolled back"));
    assert_eq!(
        life.ask(json!({"action": "Retry"})),
        "Applied: starts again from the start; next, when the file holds this: entered ga/1 (1/2): a 0% → 100%, b 0% → 40%"
    );
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=100% b=40%", "ga/1"));
    assert_eq!(life.told()[3..], ["3900 Retried ada", "3900 StepEntered schedule"]);
    // Breach times start from nothing.
    life.wait(30).series("errors", 30, &[11.0; 10]);
    assert_eq!(life.served(), "a=100% b=40%");
    life.wait(30).says("errors", 11.0);
    assert_eq!(life.served(), "a=0% b=0%");
}

#[rstest]
#[case::start("Start", "a=30% b=0%", "a=60% b=0%")]
// All that the steps up to ga's first one ask: a 60, b 10.
#[case::phase("Phase", "a=60% b=10%", "a=60% b=20%")]
fn a_retry_asks_what_design_says(#[case] from: &str, #[case] first: &str, #[case] second: &str) {
    let mut life = Life::begin(PHASES, START);
    life.pass(72);
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=60% b=20%", "ga/2"));
    life.ask(json!({"action": "Rollback"}));
    life.pass(100);
    assert_eq!(life.served(), "a=0% b=0%");
    life.ask(json!({"action": "Retry", "retry": {"from": from}}));
    assert_eq!(life.served(), first);
    life.pass(24);
    assert_eq!(life.served(), second);
}

#[test]
fn a_retry_lowers_nobody_who_was_kept() {
    let mut life = Life::begin(PHASES, START);
    life.pass(72).ask(json!({"action": "Rollback", "rollback": {"mode": "Partial", "cohorts": ["b"]}}));
    assert_eq!(life.served(), "a=60% b=0%");
    life.ask(json!({"action": "Retry"}));
    // The first step asks a for 30: it keeps 60, and so does the second.
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=60% b=0%", "beta/1"));
    life.pass(24);
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=60% b=0%", "beta/2"));
    life.pass(24);
    assert_eq!(life.served(), "a=60% b=10%");
}

#[test]
fn a_retry_waits_at_the_door_as_a_step_with_its_overrides() {
    let shut = PHASES.replace(
        "startAt: '2025-09-08T09:00:00Z'",
        "startAt: '2025-09-08T09:00:00Z', windows: [{days: [Mon], from: '09:00', to: '10:00'}]",
    );
    let again = |overrides: serde_json::Value| {
        let mut life = Life::begin(&shut, START);
        life.pass(2).ask(json!({"action": "Rollback"}));
        let mut retry = json!({"action": "Retry"});
        if !overrides.is_null() {
            retry["override"] = overrides;
        }
        assert!(life.ask(retry).starts_with("Applied"));
        life
    };
    let mut life = again(json!(null));
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=0% b=0%", "Window"));
    life.until(t("2025-09-15T09:00:00Z"));
    assert_eq!(life.served(), "a=30% b=0%");
    let mut life = again(json!(["Window"]));
    assert_eq!(life.served(), "a=30% b=0%");
    // Its own entry only: the next step waits for its window.
    life.pass(24);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=30% b=0%", "Window"));
}

#[test]
fn a_retry_of_a_schedule_that_holds_missed_steps_is_not_missed_itself() {
    let held =
        PHASES.replace("startAt: '2025-09-08T09:00:00Z'", "startAt: '2025-09-08T09:00:00Z', onMissed: Hold");
    let mut life = Life::begin(&held, START);
    life.pass(2).ask(json!({"action": "Rollback"}));
    life.pass(50).ask(json!({"action": "Retry"}));
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=30% b=0%", "Hold"));
}

#[test]
fn a_retry_clears_every_pause_but_those_of_git() {
    let mut life = watched(ERRORS);
    life.ask(json!({"action": "Pause"}));
    life.ask(json!({"action": "SetPercent", "setPercent": {"a": 90}}));
    life.ask(json!({"action": "Rollback"}));
    life.tweak(|plan| plan.suspend = true);
    assert_eq!(life.pauses(), ["Person", "SetPercent", "Suspended"]);
    life.pass(1).says("errors", 0.0);
    assert!(life.ask(json!({"action": "Retry"})).starts_with("Applied"));
    assert_eq!((life.pauses(), life.served().as_str()), (vec!["Suspended".to_owned()], "a=0% b=0%"));
    life.tweak(|plan| plan.suspend = false);
    assert_eq!(life.served(), "a=100% b=40%");
}

#[test]
fn what_an_emergency_took_is_not_given_back_after_a_rollback_in_it() {
    let mut life = Life::begin(PHASES, START);
    life.pass(72).fact(|facts| facts.emergency = true);
    assert!(life.ask(json!({"action": "Rollback"})).starts_with("Applied"));
    life.fact(|facts| facts.emergency = false);
    life.ask(json!({"action": "Retry"}));
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=30% b=0%", "beta/1"));
}

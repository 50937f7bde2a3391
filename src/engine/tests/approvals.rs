//! Approvals: which entry one is for, and what does not overtake one.

use rstest::rstest;
use serde_json::{Value, json};

use super::actions::{STEPS, state};
use super::support::{Life, START};

#[rstest]
#[case::from_start(json!({"action": "Retry"}))]
#[case::from_phase(json!({"action": "Retry", "retry": {"from": "Phase"}}))]
fn an_approval_from_git_is_for_one_entry(#[case] retry: Value) {
    let approved = format!("{STEPS}\napprovals: [{{phase: ga, step: full}}]");
    let mut life = Life::begin(&approved, START);
    life.pass(48);
    assert_eq!(life.served(), "a=100% b=10%");
    life.ask(json!({"action": "Rollback"}));
    life.ask(retry);
    life.pass(200);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=20% b=10%", "Approval"));
    assert!(life.why().contains("waits for another approval"), "{}", life.why());
    let mut by_action = Life {
        actions: 50,
        ..Life::of(life.plan.clone(), life.facts.clone(), life.status.clone(), &life.now.to_string())
    };
    by_action.ask(json!({"action": "Approve", "approve": {"phase": "ga", "step": "full"}}));
    assert_eq!(by_action.served(), "a=100% b=10%");
    // Taken back and given again, it counts again.
    life.edit(STEPS).edit(&approved);
    assert_eq!(life.served(), "a=100% b=10%");
}

#[test]
fn an_approval_given_while_rolled_back_is_for_the_next_attempt() {
    let mut life = state("holding");
    let approve = json!({"action": "Approve", "approve": {"phase": "ga", "step": "full"}});
    life.ask(approve.clone());
    life.ask(json!({"action": "Rollback"}));
    assert!(life.ask(approve).starts_with("Applied: approved ga/full"));
    life.ask(json!({"action": "Retry"}));
    life.pass(200);
    assert_eq!(life.served(), "a=100% b=10%");
}

#[test]
fn an_approval_may_be_for_an_attempt() {
    let with = |attempt: i32, given: &str| {
        format!("{STEPS}\nattempt: {attempt}\napprovals: [{{phase: ga, step: full}}{given}]")
    };
    let mut life = Life::begin(&with(1, ""), START);
    life.pass(48).ask(json!({"action": "Rollback"}));
    life.edit(&with(2, ", {phase: ga, step: full, attempt: 3}"));
    life.pass(200);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=20% b=10%", "Approval"));
    life.edit(&with(2, ", {phase: ga, step: full, attempt: 2}"));
    assert_eq!(life.served(), "a=100% b=10%");
}

#[test]
fn percentages_set_by_hand_do_not_overtake_an_approval() {
    let mut life = state("holding");
    let set = |life: &mut Life, percent: u32| {
        life.ask(json!({"action": "SetPercent", "setPercent": {"a": percent}}))
    };
    assert_eq!(
        set(&mut life, 21),
        "Rejected: a at 21% is past ga/full, which waits for approval: approve it first"
    );
    // As much as the steps before it ask needs none.
    assert!(set(&mut life, 20).starts_with("Applied: set a 10% → 20%"));
    life.ask(json!({"action": "Approve", "approve": {"phase": "ga", "step": "full"}}));
    assert!(set(&mut life, 100).starts_with("Applied: set a 20% → 100%"));
}

//! What a policy's `approvalAbove` does to steps, edits and percentages set by hand.

use serde_json::json;

use super::support::{Life, START};
use crate::api::{FeatureRollout, RolloutPolicySpec};
use crate::plan::policy::{Bound, Found};
use crate::plan::{Plan, Refs, compile};

/// The plan of a spec that a policy `calm` binds.
fn plan(spec: &str, policy: &str) -> Plan {
    let policy: RolloutPolicySpec = serde_saphyr::from_str(policy).unwrap();
    let spec = format!("policyRef: {{name: calm}}\ncohorts: [{{name: a}}, {{name: b}}]\n{spec}");
    let rollout = FeatureRollout::new("r", serde_saphyr::from_str(&spec).unwrap());
    let binding = crate::api::rolloutpolicy::Binding::Rollout;
    let policies = [Bound { binding, namespace: "", name: "calm", found: Found::Spec(&policy) }];
    compile(&rollout, Refs { policies: &policies, ..Refs::default() }).unwrap()
}

fn life(spec: &str, policy: &str) -> Life {
    let facts = crate::engine::Facts::favourable(super::support::UID);
    Life::of(plan(spec, policy), facts, Default::default(), START)
}

const RAMP: &str = "phases: [{name: ga, ramp: {percents: [25, 50, 100], every: 24h}}]";

#[test]
fn a_raise_over_the_percentage_waits_for_an_approval_of_its_step() {
    let mut life = life(RAMP, "approvalAbove: 50");
    life.pass(100);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=50% b=50%", "Approval"));
    assert!(life.why().contains("raises above the 50% of policy calm"), "{}", life.why());
    let answer = life.ask(json!({"action": "Promote"}));
    assert!(answer.starts_with("Rejected"), "{answer}");
    let answer = life.ask(json!({"action": "Approve", "approve": {"phase": "ga", "step": "50%"}}));
    assert!(answer.contains("needs no approval"), "{answer}");
    let answer = life.ask(json!({"action": "Approve", "approve": {"phase": "ga", "step": "100%"}}));
    assert!(answer.starts_with("Applied"), "{answer}");
    life.pass(0);
    assert_eq!(life.served(), "a=100% b=100%");
    // Another attempt needs another approval.
    life.ask(json!({"action": "Rollback"}));
    life.ask(json!({"action": "Retry"}));
    life.pass(100);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=50% b=50%", "Approval"));
}

#[test]
fn git_may_approve_and_what_raises_nobody_needs_no_approval() {
    let spec = format!("approvals: [{{phase: ga, step: 100%}}]\n{RAMP}");
    let mut approved = life(&spec, "approvalAbove: 50");
    approved.pass(100);
    assert_eq!(approved.served(), "a=100% b=100%");
    // A feature that has graduated is at 100 % from the start.
    let mut graduated = life(&format!("baseline: {{a: 100, b: 100}}\n{RAMP}"), "approvalAbove: 50");
    graduated.pass(100);
    assert_eq!(graduated.waits(), "");
    assert!(graduated.completed_at().is_some());
}

#[test]
fn a_policy_that_comes_later_lowers_nobody_and_holds_the_next_raise() {
    let mut life = life(RAMP, "{}");
    life.pass(30);
    assert_eq!(life.served(), "a=50% b=50%");
    let entered = life.position();
    life.change(plan(RAMP, "approvalAbove: 10"));
    assert_eq!((life.served().as_str(), life.position()), ("a=50% b=50%", entered));
    life.pass(100);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=50% b=50%", "Approval"));
    life.change(plan(RAMP, "{}"));
    assert_eq!(life.served(), "a=100% b=100%");
}

#[test]
fn neither_an_edit_nor_a_hand_gets_past_it() {
    let of =
        |percent: u32| format!("phases: [{{name: ga, steps: [{{name: some, cohorts: {{a: {percent}}}}}]}}]");
    let mut life = life(&of(40), "approvalAbove: 50");
    assert_eq!(life.served(), "a=40% b=0%");
    let answer = life.ask(json!({"action": "SetPercent", "setPercent": {"a": 80}}));
    assert!(answer.starts_with("Rejected") && answer.contains("of policy calm"), "{answer}");
    life.change(plan(&of(90), "approvalAbove: 50"));
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=40% b=0%", "Approval"));
    assert!(life.why().contains("approve ga/some"), "{}", life.why());
    let answer = life.ask(json!({"action": "SetPercent", "setPercent": {"a": 80}}));
    assert!(answer.starts_with("Rejected"), "{answer}");
    let answer = life.ask(json!({"action": "Approve", "approve": {"phase": "ga", "step": "some"}}));
    assert!(answer.starts_with("Applied"), "{answer}");
    life.pass(0);
    assert_eq!(life.served(), "a=90% b=0%");
    // What was approved may be set again by hand, and lowering was never anybody's to approve.
    life.ask(json!({"action": "SetPercent", "setPercent": {"a": 5}}));
    let answer = life.ask(json!({"action": "SetPercent", "setPercent": {"a": 90}}));
    assert!(answer.starts_with("Applied"), "{answer}");
}

#[test]
fn a_step_without_a_name_says_that_it_needs_one() {
    let spec = "phases: [{name: ga, steps: [{cohorts: {a: 90}}]}]";
    let mut unnamed = life(spec, "approvalAbove: 50");
    assert_eq!(unnamed.waits(), "Approval");
    assert!(unnamed.why().contains("ga/1 needs a name to be approved by"), "{}", unnamed.why());
    let named = "
approvals: [{phase: ga, step: all}]
phases: [{name: ga, steps: [{name: all, cohorts: {a: 90}}]}]";
    unnamed.change(plan(named, "approvalAbove: 50"));
    assert_eq!(unnamed.served(), "a=90% b=0%");
}

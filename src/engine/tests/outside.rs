//! What comes from outside of the plan: dependencies, approvals, delivery, emergencies, deletion.

use rstest::rstest;

use super::support::{Life, UID, after, plan};
use crate::api::FeatureRolloutStatus;
use crate::engine::Facts;

const START: &str = "2025-09-08T09:00:00Z";
const RAMP: &str = "
cohorts: [{name: a}, {name: b, delay: 30h}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, ramp: {percents: [10, 20, 30]}}]";

fn begin_with(spec: &str, change: impl FnOnce(&mut Facts)) -> Life {
    let mut facts = Facts::favourable(UID);
    change(&mut facts);
    Life::of(plan(spec), facts, FeatureRolloutStatus::default(), START)
}

#[test]
fn dependencies_hold_the_first_entry_only() {
    let mut life = begin_with(RAMP, |facts| facts.unmet = vec!["whispers to be Completed".to_owned()]);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=0% b=0%", "Dependencies"));
    assert_eq!(life.status.waiting_for.as_ref().unwrap().message, "waits for whispers to be Completed");
    life.pass(10).fact(|facts| facts.unmet.clear());
    assert_eq!((life.served().as_str(), life.status.dependencies_met), ("a=10% b=0%", true));
    // No longer met: latched.
    life.fact(|facts| facts.unmet = vec!["whispers to be Completed".to_owned()]);
    life.pass(24);
    assert_eq!(life.served(), "a=20% b=0%");
}

#[test]
fn dependencies_do_not_hold_a_step_that_raises_nothing() {
    let spec = "
cohorts: [{name: a}]
baseline: {a: 10}
phases: [{name: ga, ramp: {percents: [10, 20]}}]";
    let mut life = begin_with(spec, |facts| facts.unmet = vec!["x".to_owned()]);
    assert_eq!(life.position(), "ga/1");
    life.pass(30);
    assert_eq!((life.position().as_str(), life.waits().as_str()), ("ga/1", "Dependencies"));
}

const APPROVED: &str = "
cohorts: [{name: a}]
schedule: {startAt: '2025-09-08T09:00:00Z', windows: [{from: '08:00', to: '10:00'}]}
phases:
- name: ga
  steps: [{cohorts: {a: 10}}, {name: full, cohorts: {a: 100}, approval: Required}]";

#[test]
fn a_step_waits_for_its_approval_and_then_for_the_window() {
    let mut life = Life::begin(APPROVED, START);
    life.pass(23);
    assert_eq!(life.waits(), "Hold");
    life.pass(4);
    // Known as soon as the time has come, though the window is shut by now.
    assert_eq!((life.waits().as_str(), life.wake_at), ("Approval", None));
    life.pass(100);
    assert_eq!(life.served(), "a=10%");
    life.edit(&format!("{APPROVED}\napprovals: [{{phase: ga, step: other}}]"));
    assert_eq!(life.waits(), "Approval");
    life.edit(&format!("{APPROVED}\napprovals: [{{phase: ga, step: full}}]"));
    // 127 hours after Monday 09:00 it is Saturday 16:00: tomorrow at 08:00, 143 hours after.
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=10%", "Window"));
    life.until(after(START, 143));
    assert_eq!(life.served(), "a=100%");
}

#[test]
fn an_approval_given_early_does_not_hurry() {
    let mut life = Life::begin(&format!("{APPROVED}\napprovals: [{{phase: ga, step: full}}]"), START);
    life.pass(23);
    assert_eq!(life.served(), "a=10%");
    life.pass(1);
    assert_eq!(life.served(), "a=100%");
}

#[test]
fn latest_stops_before_a_missing_approval() {
    let spec = "
cohorts: [{name: a}]
schedule: {startAt: '2025-09-08T09:00:00Z', onMissed: Latest}
phases:
- name: ga
  steps:
  - {cohorts: {a: 10}, week: 1}
  - {cohorts: {a: 20}, week: 2}
  - {name: full, cohorts: {a: 100}, week: 3, approval: Required}
  - {cohorts: {a: 50}, week: 3}";
    let mut life = Life::begin(spec, "2025-12-01T00:00:00Z");
    assert_eq!((life.position().as_str(), life.served().as_str()), ("ga/2", "a=20%"));
    life.pass(24);
    assert_eq!((life.position().as_str(), life.waits().as_str()), ("ga/2", "Approval"));
    life.edit(&format!("{spec}\napprovals: [{{phase: ga, step: full}}]"));
    assert_eq!((life.position().as_str(), life.served().as_str()), ("ga/4", "a=50%"));
}

#[rstest]
#[case::one_at_a_time("OneAtATime", "ga/1", "a=10%")]
#[case::latest("Latest", "ga/3", "a=30%")]
fn seen_long_after_its_dates(#[case] on_missed: &str, #[case] position: &str, #[case] served: &str) {
    let spec = format!(
        "
cohorts: [{{name: a}}]
schedule: {{startAt: '2025-09-08T09:00:00Z', onMissed: {on_missed}}}
phases: [{{name: ga, steps: [{{cohorts: {{a: 10}}, week: 1}}, {{cohorts: {{a: 20}}, week: 2}}, {{cohorts: {{a: 30}}, week: 3}}]}}]"
    );
    let mut life = Life::begin(&spec, "2026-01-01T00:00:00Z");
    assert_eq!((life.position().as_str(), life.served().as_str()), (position, served));
    life.pass(24);
    let then = if on_missed == "Latest" { "ga/3" } else { "ga/2" };
    assert_eq!(life.position(), then);
}

#[test]
fn a_lower_ask_that_comes_due_opens_no_shut_window() {
    // Mondays only. The second step raises and waits; the third, due on Friday, asks for less than is served.
    let spec = "
cohorts: [{name: a}]
schedule:
  startAt: '2025-09-08T09:00:00Z'
  windows: [{days: [Mon], from: '09:00', to: '10:00'}]
  onMissed: Latest
phases:
- name: ga
  steps:
  - {cohorts: {a: 10}}
  - {cohorts: {a: 30}, at: '2025-09-10T09:00:00Z'}
  - {cohorts: {a: 5}, at: '2025-09-12T09:00:00Z'}";
    let mut life = Life::begin(spec, START);
    // Friday: whoever looks now must see what nobody would have seen.
    life.until(after(START, 100));
    assert_eq!((life.position().as_str(), life.waits().as_str()), ("ga/1", "Window"));
    life.until(after(START, 168));
    assert_eq!((life.position().as_str(), life.served().as_str()), ("ga/3", "a=5%"));
}

#[test]
fn an_undelivered_decision_blocks_the_next_raise() {
    let mut life = Life::begin(RAMP, START);
    life.fact(|facts| facts.delivered = false).pass(40);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=10% b=0%", "Delivered"));
    life.fact(|facts| facts.delivered = true);
    // At 40 h: b's delay is over, and the second step is entered: both in one decision.
    assert_eq!((life.position().as_str(), life.served().as_str()), ("ga/2", "a=20% b=20%"));
}

#[test]
fn an_undelivered_decision_does_not_block_lowering() {
    let spec = "cohorts: [{name: a}]\nphases: [{name: ga, steps: [{cohorts: {a: 10}}, {cohorts: {a: 5}}]}]";
    let mut life = Life::begin(spec, START);
    life.fact(|facts| facts.delivered = false).pass(24);
    assert_eq!(life.served(), "a=5%");
}

#[test]
fn one_decision_enters_one_raising_step() {
    let spec = "
cohorts: [{name: a}]
phases: [{name: ga, ramp: {percents: [1, 2, 3], every: 0s}}]";
    let facts = Facts::favourable(UID);
    let now = START.parse().unwrap();
    let decision = crate::engine::decide(&plan(spec), &FeatureRolloutStatus::default(), &facts, now);
    assert_eq!(decision.status.position.unwrap().number, 1);
    assert_eq!(decision.status.waiting_for.unwrap().check, crate::api::status::Check::Delivered);
}

#[test]
fn an_emergency_takes_all_to_control_and_its_end_is_a_raise() {
    let spec = RAMP.replace("schedule: {", "schedule: {windows: [{from: '08:00', to: '12:00'}], ");
    let mut life = Life::begin(&spec, START);
    life.pass(10);
    assert_eq!(life.served(), "a=10% b=0%");
    life.fact(|facts| facts.emergency = true);
    assert_eq!((life.served().as_str(), life.pauses()), ("a=0% b=0%", vec!["Emergency".to_owned()]));
    assert_eq!(life.wake_at, None);
    life.pass(100);
    assert_eq!(life.served(), "a=0% b=0%");
    // 110 hours after Monday 09:00 is Friday 23:00: shut.
    life.fact(|facts| facts.emergency = false);
    assert_eq!((life.served().as_str(), life.pauses()), ("a=0% b=0%", vec![]));
    assert_eq!(life.wake_at, Some(after(START, 119)));
    life.until(after(START, 119));
    assert_eq!(life.served(), "a=10% b=0%");
    // The hold had 14 hours to go, b's delay 20: 124 and 130 hours, both outside; then 143.
    life.until(after(START, 142));
    assert_eq!(life.served(), "a=10% b=0%");
    life.until(after(START, 143));
    assert_eq!((life.position().as_str(), life.served().as_str()), ("ga/2", "a=20% b=20%"));
}

#[test]
fn what_comes_back_after_an_emergency_is_no_more_than_is_asked_now() {
    let spec = "
cohorts: [{name: a}]
schedule: {startAt: '2025-09-08T09:00:00Z', windows: [{days: [Mon], from: '09:00', to: '10:00'}]}
phases: [{name: ga, steps: [{cohorts: {a: 80}}, {cohorts: {a: 0}}]}]";
    // Edited during the emergency.
    let mut life = Life::begin(spec, START);
    life.pass(2).fact(|facts| facts.emergency = true).edit(&spec.replace("{a: 80}", "{a: 30}"));
    life.fact(|facts| facts.emergency = false).until(after(START, 23));
    assert_eq!(life.status.cohort("a").unwrap().restore.map(|p| p.to_string()), Some("30%".to_owned()));
    // A step to nobody, which waits for no window, is entered before next Monday: nothing is left to give back.
    life.until(after(START, 24));
    assert_eq!(life.position(), "ga/2");
    assert_eq!(life.status.cohort("a").unwrap().restore, None);
    life.until(after(START, 24 * 7));
    assert_eq!(life.served(), "a=0%");
    assert_eq!(life.completed_at(), Some(after(START, 48)));
}

#[test]
fn a_cohort_that_its_tier_refuses_comes_back_after_an_emergency_as_it_was() {
    let spec = "{cohorts: [{name: a, admits: [Stable]}], phases: [{name: ga, ramp: {percents: [10, 20]}}]}";
    let mut life = Life::begin(spec, START);
    life.edit(&spec.replacen('{', "{feature: {tier: Core}, ", 1)).fact(|facts| facts.emergency = true);
    let facts = Facts::favourable(UID);
    let status = crate::engine::decide(&life.plan, &life.status, &facts, life.now).status;
    // Served all that is asked: nothing is refused, at the first look as at the second.
    assert_eq!(status.cohorts[0].decided(), status.cohorts[0].asked);
    assert!(!status.cohorts[0].tier_refused);
}

#[test]
fn an_emergency_that_ends_twice_gives_back_once() {
    let mut life = Life::begin(RAMP, START);
    for _ in 0..3 {
        life.fact(|facts| facts.emergency = true).fact(|facts| facts.emergency = false);
        assert_eq!(life.served(), "a=10% b=0%");
    }
    // A second emergency before the first was undone.
    life.fact(|facts| facts.emergency = true).fact(|facts| {
        facts.delivered = false;
        facts.emergency = false;
    });
    assert_eq!(life.served(), "a=0% b=0%");
    life.fact(|facts| facts.emergency = true).fact(|facts| {
        facts.delivered = true;
        facts.emergency = false;
    });
    assert_eq!(life.served(), "a=10% b=0%");
}

#[rstest]
#[case::retain("Retain", "a=20% b=0%")]
#[case::control("Control", "a=0% b=0%")]
fn deletion(#[case] policy: &str, #[case] served: &str) {
    let mut life = Life::begin(&format!("{RAMP}\ndeletionPolicy: {policy}"), START);
    life.pass(25);
    assert_eq!(life.served(), "a=20% b=0%");
    let history = life.status.history.len();
    life.fact(|facts| facts.deleting = true);
    assert_eq!((life.served().as_str(), life.wake_at), (served, None));
    // Frozen: nothing is raised any more, not even what was pending.
    life.pass(1000);
    assert_eq!(life.served(), served);
    assert_eq!(life.status.history.len(), history + usize::from(policy == "Control"));
}

#[test]
fn deletion_in_an_emergency_gives_nothing_back() {
    let mut life = Life::begin(&format!("{RAMP}\ndeletionPolicy: Control"), START);
    life.fact(|facts| facts.emergency = true).fact(|facts| facts.deleting = true);
    life.fact(|facts| facts.emergency = false);
    assert_eq!(life.served(), "a=0% b=0%");
}

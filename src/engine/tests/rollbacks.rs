//! Rollbacks: ladders, the latch, and what starts again.

use rstest::rstest;
use serde_json::json;

use super::support::{Life, START, plan, t};
use super::triggers::{ERRORS, spec, watched};
use crate::engine::{Facts, guard_only};
use crate::plan::{GuardSpec, guard};

const LATENCY: &str = "[{name: p95, metric: {templateRef: {name: m}}, interval: 60s, levels: [
    {severity: Critical, above: '5000', for: 600s, action: GradualRollback}]}]";

pub const PHASES: &str = "
cohorts: [{name: a}, {name: b}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases:
- {name: beta, steps: [{cohorts: {a: 30}}, {cohorts: {a: 60}}]}
- {name: ga, steps: [{cohorts: {b: 10}}, {cohorts: {b: 20}}, {cohorts: {b: 30}}]}";

pub fn on_the_ladder() -> Life {
    let mut life = watched(LATENCY);
    life.series("p95", 60, &[6000.0; 11]);
    life
}

pub fn rolled_back() -> Life {
    let mut life = watched(ERRORS);
    life.series("errors", 30, &[11.0; 11]);
    assert_eq!(life.served(), "a=0% b=0%");
    life
}

#[test]
fn latency_above_five_seconds_for_ten_minutes_goes_down_the_ladder() {
    let mut life = watched(LATENCY);
    life.series("p95", 60, &[6000.0; 10]);
    assert_eq!((life.seconds(), life.served().as_str()), (540, "a=100% b=40%"));
    life.wait(60).says("p95", 6000.0);
    // The first rung at once; b is below it, and goes to the next one that changes something.
    assert_eq!((life.seconds(), life.served().as_str()), (600, "a=50% b=25%"));
    life.wait(599);
    assert_eq!(life.served(), "a=50% b=25%");
    life.wait(1);
    assert_eq!(life.served(), "a=25% b=0%");
    life.wait(599);
    assert_eq!(life.served(), "a=25% b=0%");
    life.wait(1);
    assert_eq!((life.served().as_str(), life.wake_at), ("a=0% b=0%", None));
    assert_eq!(
        life.told()[2..],
        [
            "600 RolledBack trigger/p95",
            "1200 RungEntered trigger/p95",
            "1800 RungEntered trigger/p95",
            "1800 RollbackEnded trigger/p95",
        ]
    );
}

#[test]
fn rungs_missed_while_nobody_looked_are_taken_at_once() {
    let mut life = on_the_ladder();
    life.now = t(START) + jiff::SignedDuration::from_secs(600 + 1199);
    life.settle();
    assert_eq!(
        (life.served().as_str(), life.wake_at.unwrap().to_string().as_str()),
        ("a=25% b=0%", "2025-09-08T09:30:00Z")
    );
    let mut life = on_the_ladder();
    life.pass(5);
    assert_eq!(life.served(), "a=0% b=0%");
}

#[test]
fn an_edited_ladder_does_not_change_the_one_under_way() {
    let mut life = on_the_ladder();
    life.edit(&spec(LATENCY).replace("[50, 25, 0], every: 10m", "[99, 0], every: 99h"));
    life.wait(600);
    assert_eq!(life.served(), "a=25% b=0%");
    life.wait(600);
    assert_eq!(life.served(), "a=0% b=0%");
}

#[rstest]
#[case::window("windows: [{from: '08:00', to: '09:05'}]")]
#[case::freeze("freezes: [{name: f, from: '2025-09-08T09:01:00Z', to: '2025-10-01T00:00:00Z'}]")]
fn windows_and_freezes_stop_no_rollback(#[case] shut: &str) {
    let spec = spec(LATENCY).replace(&format!("startAt: '{START}'"), &format!("startAt: '{START}', {shut}"));
    let mut life = Life::watched(&spec);
    life.series("p95", 60, &[6000.0; 11]);
    assert_eq!(life.served(), "a=50% b=25%");
    life.wait(1200);
    assert_eq!(life.served(), "a=0% b=0%");
}

#[test]
fn pauses_undelivered_files_and_holds_stop_no_rollback_and_no_rung() {
    let mut life = watched(LATENCY);
    life.series("p95", 60, &[6000.0; 6]);
    assert!(life.ask(json!({"action": "Pause"})).starts_with("Applied"));
    life.tweak(|plan| plan.suspend = true).fact(|facts| facts.delivered = false);
    life.wait(60).series("p95", 60, &[6000.0; 5]);
    assert_eq!((life.seconds(), life.served().as_str()), (600, "a=50% b=25%"));
    life.wait(1200);
    assert_eq!(life.served(), "a=0% b=0%");
}

#[test]
fn a_rollback_goes_on_while_the_spec_is_invalid() {
    let mut life = on_the_ladder();
    let metrics = life.facts.metrics.clone();
    let kept = life.plan.guard.clone();
    let at = |seconds: i64| t(START) + jiff::SignedDuration::from_secs(seconds);
    let decision = guard_only(&kept, &life.status, &metrics, at(1199));
    assert_eq!((&decision.status, decision.wake_at), (&life.status, Some(at(1200))));
    life.status = guard_only(&kept, &decision.status, &metrics, at(1200)).status;
    assert_eq!(life.served(), "a=25% b=0%");
    let decision = guard_only(&kept, &life.status, &metrics, at(1800));
    life.status = decision.status;
    assert_eq!((life.served().as_str(), decision.wake_at), ("a=0% b=0%", None));
}

#[test]
fn a_trigger_fires_while_the_spec_is_invalid() {
    let mut life = watched(ERRORS);
    life.series("errors", 30, &[11.0; 10]);
    life.now = t(START) + jiff::SignedDuration::from_secs(300);
    let mut metrics = life.facts.metrics.measurements().to_vec();
    metrics[0].at = life.now;
    let metrics = crate::engine::Metrics::Measured(metrics);
    life.status = guard_only(&life.plan.guard, &life.status, &metrics, life.now).status;
    assert_eq!(life.served(), "a=0% b=0%");
}

#[test]
fn rollback_verified_comes_when_the_trigger_has_passed_for_its_time_again() {
    let mut life = rolled_back();
    life.wait(30).series("errors", 30, &[0.0; 10]);
    assert_eq!(life.told().len(), 3);
    life.wait(30).says("errors", 0.0);
    assert_eq!(life.told()[3..], ["630 RollbackVerified trigger/errors"]);
    assert_eq!(life.status.history.last().unwrap().message, "errors quiet again since the rollback");
    // Once, and it re-arms nothing.
    let verified = life.status.clone();
    life.wait(30).series("errors", 30, &[0.0; 20]);
    assert_eq!(life.status, verified);
}

#[test]
fn rollback_verified_waits_for_the_end_of_the_ladder_and_starts_over_with_a_breach() {
    let mut life = on_the_ladder();
    life.wait(60).series("p95", 60, &[100.0; 19]);
    assert_eq!(life.served(), "a=25% b=0%");
    life.wait(60).says("p95", 100.0);
    assert_eq!(life.told().last().unwrap(), "1800 RollbackVerified trigger/p95");
    let mut life = rolled_back();
    life.wait(30).series("errors", 30, &[0.0; 10]);
    life.wait(30).series("errors", 30, &[11.0, 0.0]);
    life.wait(30).series("errors", 30, &[0.0; 9]);
    assert_eq!(life.told().len(), 3);
    life.wait(30).says("errors", 0.0);
    assert_eq!(life.told().last().unwrap(), "960 RollbackVerified trigger/errors");
}

#[test]
fn percentages_set_on_the_ladder_end_it_where_they_reach_control() {
    let mut life = on_the_ladder();
    assert!(life.ask(json!({"action": "SetPercent", "setPercent": {"a": 60}})).starts_with("Rejected"));
    assert!(life.ask(json!({"action": "SetPercent", "setPercent": {"a": 30}})).starts_with("Applied"));
    life.wait(600);
    assert_eq!(life.served(), "a=25% b=0%");
    assert!(life.ask(json!({"action": "SetPercent", "setPercent": {"a": 0}})).starts_with("Applied"));
    assert!(life.status.rollback.as_ref().unwrap().ended_at.is_some());
    assert_eq!(
        (life.told().last().unwrap().as_str(), life.wake_at),
        ("1200 RollbackEnded trigger/p95", None)
    );
}

#[test]
fn an_emergency_on_the_ladder_takes_everybody_to_control_and_nobody_back() {
    let mut life = on_the_ladder();
    life.fact(|facts| facts.emergency = true);
    assert_eq!(life.served(), "a=0% b=0%");
    assert!(life.status.rollback.as_ref().unwrap().ended_at.is_some());
    life.pass(1).fact(|facts| facts.emergency = false).says("p95", 0.0);
    life.ask(json!({"action": "Retry"}));
    // From the first step on, not from where the ladder was.
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=100% b=40%", "ga/1"));
    assert!(life.status.cohorts.iter().all(|cohort| cohort.restore.is_none()));
    assert!(!life.reasons().contains(&"CohortRaised"));
}

#[test]
fn an_emergency_beside_a_partial_rollback_gives_the_kept_back_after_a_retry_only() {
    let mut life = Life::begin(PHASES, START);
    life.pass(72).ask(json!({"action": "Rollback", "rollback": {"mode": "Partial", "cohorts": ["b"]}}));
    life.fact(|facts| facts.emergency = true).fact(|facts| facts.emergency = false);
    life.pass(100);
    assert_eq!(life.served(), "a=0% b=0%");
    life.ask(json!({"action": "Retry"}));
    assert_eq!(life.served(), "a=60% b=0%");
}

#[test]
fn a_completed_rollout_is_rolled_back_too_and_is_completed_no_more() {
    let mut life = watched(LATENCY);
    life.pass(24).says("p95", 0.0).pass(24);
    assert!(life.completed_at().is_some());
    life.series("p95", 60, &[6000.0; 11]);
    assert_eq!((life.served().as_str(), life.completed_at()), ("a=50% b=50%", None));
}

#[test]
fn a_baseline_is_watched_over_before_the_first_step() {
    let spec = format!(
        "
cohorts: [{{name: a}}]
baseline: {{a: 50}}
schedule: {{startAt: '2025-09-10T09:00:00Z'}}
phases: [{{name: ga, steps: [{{cohorts: {{a: 100}}}}]}}]
triggers: {ERRORS}"
    );
    let mut life = Life::watched(&spec);
    life.series("errors", 30, &[11.0; 11]);
    assert_eq!(life.served(), "a=0%");
    life.pass(48).says("errors", 0.0);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=0%", "RolledBack"));
}

#[test]
fn a_rollback_by_hand_of_a_rollout_that_nobody_has_yet_latches_too() {
    let mut life = Life::begin(&PHASES.replace("2025-09-08", "2025-09-09"), START);
    assert!(life.ask(json!({"action": "Rollback"})).starts_with("Applied: immediate rollback"));
    life.pass(48);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=0% b=0%", "RolledBack"));
}

#[test]
fn a_lost_status_on_the_ladder_serves_what_the_file_says_and_waits() {
    let mut life = on_the_ladder();
    let mut facts = Facts { live: Some(super::in_file::file(&life.status)), ..life.facts.clone() };
    facts.metrics = crate::engine::Metrics::Measured(Vec::new());
    let plan = life.plan.clone();
    life = Life::of(plan, facts, Default::default(), "2025-09-08T09:12:00Z");
    assert_eq!((life.served().as_str(), life.pauses()), ("a=50% b=25%", vec!["StatusLost".to_owned()]));
    // It is watched on, and rolled back by the trigger again.
    life.facts.live = None;
    life.series("p95", 60, &[6000.0; 11]);
    assert_eq!(life.served(), "a=25% b=0%");
}

#[rstest]
#[case::not_to_zero("gradual: {ladder: [50, 25], every: 10m}", "spec.rollback.gradual.ladder")]
#[case::not_descending("gradual: {ladder: [25, 50, 0], every: 10m}", "spec.rollback.gradual.ladder[1]")]
#[case::twice_the_same("gradual: {ladder: [50, 50, 0], every: 10m}", "spec.rollback.gradual.ladder[1]")]
#[case::empty("gradual: {ladder: [], every: 10m}", "spec.rollback.gradual.ladder")]
#[case::no_time("gradual: {ladder: [0], every: 0s}", "spec.rollback.gradual.every")]
#[case::stranger("partial: {keep: [a, x]}", "spec.rollback.partial.keep[1]")]
fn ladders_that_lead_nowhere_are_refused_with_their_path(#[case] rollback: &str, #[case] path: &str) {
    let spec: GuardSpec = serde_saphyr::from_str(&format!("rollback: {{{rollback}}}")).unwrap();
    let mut errors = Vec::new();
    guard(&spec, &["a".to_owned(), "b".to_owned()], &mut errors);
    assert_eq!(errors.iter().map(|error| error.path.as_str()).collect::<Vec<_>>(), [path]);
}

#[test]
fn without_a_word_about_rollbacks_the_ladder_is_50_25_0_ten_minutes_apart() {
    let guard = plan("cohorts: [{name: a}]\nphases: [{name: ga, ramp: {percents: [100]}}]").guard;
    assert_eq!(guard.ladder.iter().map(ToString::to_string).collect::<Vec<_>>(), ["50%", "25%", "0%"]);
    assert_eq!(guard.every.as_secs(), 600);
}

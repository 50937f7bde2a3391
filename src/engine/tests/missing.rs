//! Missing data: where it counts, and what each policy makes of it.

use rstest::rstest;
use serde_json::json;

use super::support::{Life, START};
use super::triggers::watched;

const NAN: f64 = f64::NAN;

fn policy(fields: &str) -> Life {
    watched(&format!(
        "[{{name: errors, metric: {{templateRef: {{name: m}}}}, interval: 30s, {fields} levels: [
          {{severity: Critical, above: '10', for: 300s, action: ImmediateRollback}}]}}]"
    ))
}

#[test]
fn unexposed_it_blocks_nothing_and_does_nothing() {
    for policy in ["Hold", "Pause", "ImmediateRollback"] {
        let spec = format!(
            "
cohorts: [{{name: a}}]
schedule: {{startAt: '2025-09-09T09:00:00Z'}}
phases: [{{name: ga, steps: [{{cohorts: {{a: 10}}}}]}}]
triggers: [{{name: errors, metric: {{templateRef: {{name: m}}}}, onNoData: {policy}, onProviderError: {policy}, levels: [
  {{severity: Critical, above: '10', action: ImmediateRollback}}]}}]"
        );
        let mut life = Life::watched(&spec);
        life.says("errors", NAN).pass(23).fails("errors");
        assert!(life.pauses().is_empty() && life.status.rollback.is_none(), "{policy}");
        life.pass(1);
        assert_eq!(life.position(), "ga/1", "{policy}");
        let served_when = life.status.history.last().unwrap();
        assert_eq!(served_when.reason.as_str(), "StepEntered", "{policy}");
    }
}

#[test]
fn within_its_initial_delay_it_is_no_fault_and_after_it_it_is() {
    let mut life = policy("initialDelay: 25h,");
    life.pass(24);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=100% b=100%", "Hold"));
    let mut life = policy("initialDelay: 24h,");
    life.pass(24);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=100% b=40%", "Triggers"));
}

#[test]
fn peers_3_4_hold_stops_raises_while_data_is_missing_and_lets_them_on_when_it_is_back() {
    let mut life = policy("");
    life.pass(24).says("errors", NAN);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=100% b=40%", "Triggers"));
    assert_eq!((life.why(), life.pauses().len()), ("errors has no data: the value is NaN", 0));
    life.wait(30).says("errors", 1.0);
    assert_eq!(life.served(), "a=100% b=100%");
}

#[test]
fn a_value_older_than_two_intervals_says_nothing_of_the_present() {
    let mut life = policy("");
    life.wait(86_400 - 61).says("errors", 1.0).wait(61);
    assert_eq!(life.why(), "errors has no data");
    let mut life = policy("");
    life.wait(86_400 - 60).says("errors", 1.0).wait(60);
    assert_eq!(life.served(), "a=100% b=100%");
}

#[test]
fn peers_4_an_outage_is_no_breach() {
    let mut life = policy("");
    for _ in 0..2880 {
        life.fails("errors").wait(30);
    }
    assert_eq!((life.served().as_str(), life.verdict("errors", "")), ("a=100% b=40%", "ProviderError"));
    assert_eq!(life.why(), "errors has an error of its source: connection refused");
    assert_eq!(life.told().len(), 2);
}

#[rstest]
#[case("onNoData: Ignore, onProviderError: Hold,", true)]
#[case("onNoData: Hold, onProviderError: Ignore,", false)]
fn ignore_lets_raises_by_for_its_own_kind_of_missing_only(#[case] fields: &str, #[case] no_data: bool) {
    let mut life = policy(fields);
    life.wait(86_370);
    if no_data {
        life.fails("errors")
    } else {
        life.says("errors", NAN)
    };
    life.wait(30);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=100% b=40%", "Triggers"));
    life.wait(30);
    if no_data {
        life.says("errors", NAN)
    } else {
        life.fails("errors")
    };
    assert_eq!(life.served(), "a=100% b=100%");
}

#[test]
fn the_policy_pause_pauses_once_and_people_resume() {
    let mut life = policy("onNoData: Pause, missingFor: 0s,");
    life.series("errors", 30, &[1.0, NAN, NAN]);
    assert_eq!(life.pauses(), ["Trigger"]);
    // Data that is back does not resume.
    life.wait(30).series("errors", 30, &[1.0, 1.0, NAN, NAN]);
    assert_eq!(life.told()[2..], ["30 Paused trigger/errors"]);
    assert!(life.ask(json!({"action": "Resume"})).starts_with("Applied"));
    // Still missing: paused no second time, but nothing is raised.
    life.wait(30).says("errors", NAN);
    assert!(life.pauses().is_empty());
    life.pass(48).says("errors", NAN);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=100% b=40%", "Triggers"));
    assert_eq!(life.told().len(), 4);
    // Back, and lost again: that is another loss.
    life.wait(30).says("errors", 11.0).wait(30).says("errors", NAN);
    assert_eq!(life.pauses(), ["Trigger"]);
}

#[test]
fn a_pause_for_missing_data_is_not_ended_by_the_quiet_of_a_level() {
    let mut life = watched(
        "[{name: errors, metric: {templateRef: {name: m}}, interval: 30s, onNoData: Pause, missingFor: 0s, levels: [
          {severity: Warning, above: '10', action: Pause, resumeAfter: 30s}]}]",
    );
    life.series("errors", 30, &[1.0, NAN, 11.0, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!(life.pauses(), ["Trigger"]);
    assert!(life.ask(json!({"action": "Resume"})).starts_with("Applied"));
    assert!(life.pauses().is_empty());
}

#[test]
fn without_patience_the_policy_rollback_rolls_back_at_the_first_sample_that_is_missing() {
    let mut life = policy("onProviderError: ImmediateRollback, missingFor: 0s, initialDelay: 60s,");
    life.fails("errors").wait(30).fails("errors");
    assert_eq!(life.served(), "a=100% b=40%");
    life.wait(30).fails("errors");
    assert_eq!(life.served(), "a=0% b=0%");
    let message = &life.status.history.last().unwrap().message;
    assert!(message.contains("errors has an error of its source: connection refused"), "{message}");
    assert_eq!(life.told()[2..], ["60 RolledBack trigger/errors"]);
}

#[test]
fn peers_4_missing_data_of_one_cohort_holds_that_cohort_only() {
    let spec = format!(
        "
cohorts: [{{name: a}}, {{name: b}}]
schedule: {{startAt: '{START}'}}
phases: [{{name: ga, steps: [{{cohorts: {{a: 10, b: 10}}}}, {{cohorts: {{a: 20, b: 20}}}}]}}]
triggers: [{{name: slow, metric: {{templateRef: {{name: m}}}}, interval: 30s, perCohort: {{label: cohort}}, levels: [
  {{severity: Critical, above: '10', for: 300s, action: ImmediateRollback}}]}}]"
    );
    let mut life = Life::watched(&spec);
    assert_eq!(life.served(), "a=10% b=10%");
    life.wait(86_370).says_of("slow", "a", 1.0).says_of("slow", "b", NAN).wait(30);
    // The step is entered, and b stays pending until its data is there.
    assert_eq!((life.position().as_str(), life.served().as_str()), ("ga/2", "a=20% b=10%"));
    assert_eq!(life.pending("b").as_deref(), Some("20%"));
    assert_eq!(life.why(), "slow for cohort b has no data: the value is NaN");
    life.says_of("slow", "b", 1.0);
    assert_eq!(life.served(), "a=20% b=20%");
}

#[rstest]
// Counted from the first sample that is missing, at 60 s; by default for three intervals of 30 s.
#[case::default("", 150)]
#[case::declared("missingFor: 2m,", 180)]
#[case::between_two_samples("missingFor: 45s,", 120)]
#[case::at_once("missingFor: 0s,", 60)]
#[case::within_the_initial_delay("initialDelay: 10m,", 600)]
fn a_policy_follows_when_data_has_been_missing_for_its_time(#[case] fields: &str, #[case] at: i64) {
    let mut life = policy(&format!("onNoData: ImmediateRollback, {fields}"));
    life.series("errors", 30, &[1.0, 1.0]);
    while life.status.rollback.is_none() && life.seconds() < 900 {
        life.wait(30).says("errors", NAN);
    }
    assert_eq!(life.seconds(), at);
}

#[test]
fn two_kinds_of_missing_data_are_one_outage_and_data_between_ends_it() {
    let mut life = policy("onNoData: ImmediateRollback, onProviderError: ImmediateRollback,");
    life.says("errors", 1.0)
        .wait(30)
        .says("errors", NAN)
        .wait(30)
        .fails("errors")
        .wait(30)
        .says("errors", NAN);
    life.wait(30)
        .says("errors", 1.0)
        .wait(30)
        .fails("errors")
        .wait(30)
        .says("errors", NAN)
        .wait(30)
        .fails("errors");
    assert_eq!((life.seconds(), life.served().as_str()), (210, "a=100% b=40%"));
    life.wait(30).says("errors", NAN);
    assert_eq!((life.seconds(), life.served().as_str()), (240, "a=0% b=0%"));
}

#[test]
fn what_is_ignored_is_no_part_of_an_outage() {
    let mut life = policy("onNoData: Ignore, onProviderError: Pause,");
    life.series("errors", 30, &[1.0, NAN, NAN, NAN, NAN, NAN]).wait(30).fails("errors");
    assert!(life.pauses().is_empty());
    life.wait(30).fails("errors").wait(30).fails("errors").wait(30).fails("errors");
    assert_eq!(life.pauses(), ["Trigger"]);
}

#[test]
fn a_restart_neither_forgets_nor_hurries_an_outage() {
    let mut life = policy("onNoData: ImmediateRollback, missingFor: 2m,");
    life.series("errors", 30, &[1.0, NAN, NAN, NAN]).restart();
    life.wait(30).says("errors", NAN);
    assert_eq!((life.seconds(), life.served().as_str()), (120, "a=100% b=40%"));
    life.wait(30).says("errors", NAN);
    assert_eq!((life.seconds(), life.served().as_str()), (150, "a=0% b=0%"));
}

#[test]
fn raises_wait_as_soon_as_data_is_missing_under_hold_unless_it_has_its_time() {
    let mut life = policy("");
    life.wait(86_370).says("errors", NAN).wait(30);
    assert_eq!(
        (life.served().as_str(), life.why()),
        ("a=100% b=40%", "errors has no data: the value is NaN")
    );
    let mut life = policy("missingFor: 1m,");
    life.wait(86_370).says("errors", NAN).wait(30);
    assert_eq!(life.served(), "a=100% b=100%");
}

/// What stood in breach when it was measured last ends by a pass, by a retry, or where people say so: a series that is
/// gone for good must leave somebody a way on.
#[test]
fn a_pause_and_a_resume_let_a_rollout_go_on_without_a_series_that_is_gone() {
    let mut life = policy("onNoData: Ignore,");
    life.wait(86_340).series("errors", 30, &[11.0, 11.0, NAN]);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=100% b=40%", "Triggers"));
    assert_eq!(
        life.why(),
        "errors was above 10 when it was last measured; a pause and a resume let it go on without"
    );
    assert!(life.ask(json!({"action": "Pause"})).starts_with("Applied"));
    assert!(life.ask(json!({"action": "Resume"})).starts_with("Applied"));
    assert_eq!(life.served(), "a=100% b=100%");
}

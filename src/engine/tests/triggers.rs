//! Triggers: time in breach, sample by sample, and what follows from it; worked out by hand.

use rstest::rstest;
use serde_json::json;

use super::support::{Life, START, plan, t};
use crate::engine::Metrics;

const NAN: f64 = f64::NAN;

/// Everybody is served at [`START`]: a 100 %, b 40 %; the second step would come a day later.
pub fn watched(triggers: &str) -> Life {
    Life::watched(&spec(triggers))
}

pub fn spec(triggers: &str) -> String {
    format!(
        "
cohorts: [{{name: a}}, {{name: b}}]
schedule: {{startAt: '{START}'}}
phases: [{{name: ga, steps: [{{cohorts: {{a: 100, b: 40}}}}, {{cohorts: {{b: 100}}}}]}}]
rollback: {{gradual: {{ladder: [50, 25, 0], every: 10m}}, partial: {{keep: [b]}}}}
triggers: {triggers}"
    )
}

pub const ERRORS: &str = "
- {name: errors, metric: {templateRef: {name: m}}, interval: 30s, levels: [
    {severity: Critical, above: '10', for: 300s, action: ImmediateRollback}]}";

pub fn levels(levels: &str) -> Life {
    watched(&format!(
        "[{{name: errors, metric: {{templateRef: {{name: m}}}}, interval: 30s, levels: [{levels}]}}]"
    ))
}

#[test]
fn an_error_rate_above_ten_per_cent_for_five_minutes_rolls_back_at_the_sample_that_completes_them() {
    let mut life = watched(ERRORS);
    assert_eq!(life.served(), "a=100% b=40%");
    // k = 0 … 9: 270 seconds are counted.
    life.series("errors", 30, &[11.0; 10]);
    assert_eq!((life.seconds(), life.served().as_str()), (270, "a=100% b=40%"));
    // Time alone does not complete them.
    life.wait(29);
    assert_eq!(life.served(), "a=100% b=40%");
    life.wait(1).says("errors", 10.001);
    assert_eq!(life.served(), "a=0% b=0%");
    assert_eq!(life.told().last().unwrap(), "300 RolledBack trigger/errors");
    let entry = life.status.history.last().unwrap();
    assert_eq!(entry.trigger.as_deref(), Some("errors"));
    assert_eq!(entry.severity.unwrap().as_str(), "Critical");
    assert_eq!(entry.message, "immediate rollback: errors was above 10 for 5m; a 100% → 0%, b 40% → 0%");
}

#[rstest]
// The bound itself is not above the bound.
#[case::at_the_bound(&[11.0, 10.0, 11.0, 10.0, 11.0], "30s", 0)]
#[case::two_in_a_row(&[11.0, 10.0, 11.0, 11.0], "30s", 1)]
// 30 of 31 seconds.
#[case::not_yet(&[11.0, 11.0], "31s", 0)]
#[case::a_pass_resets(&[11.0, 11.0, 9.0, 11.0, 11.0], "60s", 0)]
// Without data nothing is added and nothing reset: 0 and 60 are consecutive breaching samples, 60 s apart.
#[case::missing_data_does_not_reset(&[11.0, NAN, 11.0], "60s", 1)]
#[case::missing_data_does_not_add(&[11.0, NAN], "30s", 0)]
// Samples at 0 and 90 are three intervals apart and count; at 0 and 120 they are four and add nothing.
#[case::three_intervals_apart(&[11.0, NAN, NAN, 11.0], "90s", 1)]
#[case::four_intervals_apart(&[11.0, NAN, NAN, NAN, 11.0], "30s", 0)]
// What was counted before the gap stays counted: 30 and, after it, 30 more.
#[case::a_gap_takes_nothing_away(&[11.0, 11.0, NAN, NAN, NAN, 11.0, 11.0], "60s", 1)]
#[case::no_time_needs_one_sample(&[11.0], "0s", 1)]
#[case::infinity_is_no_breach(&[f64::INFINITY, f64::INFINITY], "0s", 0)]
#[case::nor_is_minus_infinity(&[f64::NEG_INFINITY, f64::NEG_INFINITY], "0s", 0)]
fn time_in_breach(#[case] values: &[f64], #[case] for_: &str, #[case] rollbacks: usize) {
    let mut life =
        levels(&format!("{{severity: Critical, above: '10', for: {for_}, action: ImmediateRollback}}"));
    life.series("errors", 30, values);
    assert_eq!(life.reasons().iter().filter(|reason| **reason == "RolledBack").count(), rollbacks);
    assert_eq!(life.served() == "a=0% b=0%", rollbacks == 1);
}

#[test]
fn one_long_sample_is_not_enough_for_a_time() {
    // Any time but none needs two samples, however long ago the first was.
    let mut life = levels("{severity: Critical, above: '10', for: 1s, action: ImmediateRollback}");
    life.says("errors", 11.0).wait(60);
    assert_eq!(life.served(), "a=100% b=40%");
    life.says("errors", 11.0);
    assert_eq!(life.served(), "a=0% b=0%");
}

#[rstest]
#[case("above: '10'", 10.0, 10.1)]
#[case("below: '10'", 10.0, 9.9)]
#[case("atLeast: '10'", 9.9, 10.0)]
#[case("atMost: '10'", 10.1, 10.0)]
fn bounds_say_which_side_is_in_breach(#[case] bound: &str, #[case] good: f64, #[case] bad: f64) {
    let mut life = levels(&format!("{{severity: Critical, {bound}, action: ImmediateRollback}}"));
    life.says("errors", good);
    assert_eq!((life.verdict("errors", ""), life.served().as_str()), ("Pass", "a=100% b=40%"));
    life.wait(30).says("errors", bad);
    assert_eq!((life.verdict("errors", ""), life.served().as_str()), ("Breach", "a=0% b=0%"));
}

#[rstest]
#[case(NAN)]
#[case(f64::INFINITY)]
#[case(f64::NEG_INFINITY)]
fn peers_4_nan_and_the_infinities_are_not_success(#[case] value: f64) {
    // `below 95` is in breach for a good share that sinks: neither NaN nor +Inf may pass for a good one.
    let mut life = levels("{severity: Critical, below: '95', for: 60s, action: ImmediateRollback}");
    life.series("errors", 30, &[90.0, 90.0]);
    life.wait(30).says("errors", value);
    assert_eq!(life.verdict("errors", ""), "NoData");
    // It has not reset the time in breach either.
    life.wait(30).says("errors", 90.0);
    assert_eq!(life.served(), "a=0% b=0%");
}

#[test]
fn peers_3_1_a_trigger_that_was_never_measured_is_not_quiet() {
    let mut life = watched(ERRORS);
    life.pass(30);
    assert_eq!((life.position().as_str(), life.waits().as_str()), ("ga/1", "Triggers"));
    assert_eq!(life.why(), "errors has no data");
    assert_eq!(life.verdict("errors", ""), "none");
}

#[test]
fn peers_3_6_a_verdict_that_fired_does_not_become_better_by_measuring_on() {
    let mut life = watched(ERRORS);
    life.series("errors", 30, &[11.0; 11]);
    for _ in 0..100 {
        life.wait(30).says("errors", 0.0);
    }
    life.pass(48);
    assert_eq!(life.served(), "a=0% b=0%");
    assert!(life.status.rollback.is_some());
}

const PER_COHORT: &str =
    "[{name: slow, metric: {templateRef: {name: m}}, interval: 60s, perCohort: {label: cohort},
    levels: [{severity: Critical, above: '5000', for: 60s, action: GradualRollback}]}]";

#[test]
fn a_breach_of_one_cohort_concerns_that_cohort_only_and_a_second_one_joins() {
    let mut life = watched(PER_COHORT);
    for (a, b) in [(6000.0, 100.0), (6000.0, 6000.0), (6000.0, 6000.0)] {
        life.says_of("slow", "a", a).says_of("slow", "b", b).wait(60);
    }
    // a from 60 s on, b from 120 s on; each goes down from where it is.
    assert_eq!(life.served(), "a=50% b=25%");
    assert_eq!(life.status.rollback.as_ref().unwrap().cohorts, ["a", "b"]);
    assert_eq!(life.told()[2..], ["60 RolledBack trigger/slow", "120 RollbackEscalated trigger/slow"]);
    life.until(t(START) + jiff::SignedDuration::from_secs(659));
    assert_eq!(life.served(), "a=50% b=25%");
    life.wait(1);
    assert_eq!(life.served(), "a=25% b=25%");
    life.wait(60);
    assert_eq!(life.served(), "a=25% b=0%");
    life.wait(540);
    assert_eq!(life.served(), "a=0% b=0%");
    assert_eq!(life.told().last().unwrap(), "1260 RollbackEnded trigger/slow");
}

#[test]
fn a_measurement_of_the_wrong_shape_counts_for_nothing() {
    let mut life = watched(PER_COHORT);
    life.series("slow", 60, &[9000.0, 9000.0, 9000.0]);
    life.says_of("slow", "stranger", 9000.0).wait(60).says_of("slow", "stranger", 9000.0);
    let mut whole = watched(ERRORS);
    whole.says_of("errors", "a", 99.0).wait(300).says_of("errors", "a", 99.0);
    assert!(life.status.triggers.is_empty() && whole.status.triggers.is_empty());
    assert!(life.status.rollback.is_none() && whole.status.rollback.is_none());
}

#[test]
fn the_strongest_of_what_fires_together_is_done_first() {
    let mut life = levels(
        "{severity: Warning, above: '5', action: Pause},
         {severity: Warning, above: '6', action: PartialRollback},
         {severity: Critical, above: '10', action: ImmediateRollback},
         {severity: Info, above: '1', action: Notify}",
    );
    life.says("errors", 11.0);
    // Nobody is exposed any more, so the others have nothing to do but to say so.
    assert_eq!(life.told()[2..], ["0 RolledBack trigger/errors", "0 TriggerFired trigger/errors"]);
    assert!(life.pauses().is_empty());
}

#[test]
fn a_stronger_level_overtakes_a_weaker_one_under_way_and_no_weaker_one_slows_it() {
    let mut life = levels(
        "{severity: Info, above: '1', action: Notify},
         {severity: Warning, above: '5', action: Pause},
         {severity: Warning, above: '10', action: PartialRollback},
         {severity: Critical, above: '20', action: GradualRollback},
         ",
    );
    life.series("errors", 30, &[2.0, 6.0]);
    assert_eq!((life.pauses(), life.served().as_str()), (vec!["Trigger".to_owned()], "a=100% b=40%"));
    life.wait(30).says("errors", 11.0);
    // b is kept by a partial rollback, and not by a gradual one.
    assert_eq!(life.served(), "a=0% b=40%");
    life.wait(30).says("errors", 21.0);
    assert_eq!(life.served(), "a=0% b=25%");
    life.wait(30).says("errors", 11.0);
    assert_eq!(life.served(), "a=0% b=25%");
    assert_eq!(
        life.told()[2..],
        [
            "0 TriggerFired trigger/errors",
            "30 Paused trigger/errors",
            "60 RolledBack trigger/errors",
            "90 RollbackEscalated trigger/errors",
        ]
    );
}

#[test]
fn an_immediate_rollback_overtakes_a_ladder() {
    let mut life = levels(
        "{severity: Warning, above: '5', action: GradualRollback},
         {severity: Critical, above: '10', action: ImmediateRollback}",
    );
    life.says("errors", 6.0);
    assert_eq!(life.served(), "a=50% b=25%");
    life.wait(30).says("errors", 11.0);
    assert_eq!((life.served().as_str(), life.wake_at), ("a=0% b=0%", None));
    let rollback = life.status.rollback.clone().unwrap();
    assert_eq!(rollback.mode.as_str(), "Immediate");
    assert!(rollback.ended_at.is_some());
    life.pass(1);
    assert_eq!(life.told()[2..], ["0 RolledBack trigger/errors", "30 RollbackEscalated trigger/errors"]);
}

#[test]
fn a_notifying_level_says_so_once_a_breach() {
    let mut life = levels("{severity: Info, above: '1', for: 30s, action: Notify}");
    life.series("errors", 30, &[2.0, 2.0, 2.0, 2.0, 0.0, 2.0, 2.0, 2.0]);
    assert_eq!(life.told()[2..], ["30 TriggerFired trigger/errors", "180 TriggerFired trigger/errors"]);
    assert_eq!(life.served(), "a=100% b=40%");
}

#[test]
fn breach_state_survives_a_restart_neither_forgotten_nor_hurried() {
    let mut life = watched(ERRORS);
    life.series("errors", 30, &[11.0; 6]);
    let before = life.status.clone();
    life.restart();
    assert_eq!(life.status, before);
    // The answers of before the restart are gone, and come no second time.
    life.facts.metrics = Metrics::Measured(Vec::new());
    life.wait(30).series("errors", 30, &[11.0; 4]);
    assert_eq!((life.seconds(), life.served().as_str()), (270, "a=100% b=40%"));
    life.wait(30).says("errors", 11.0);
    assert_eq!(life.served(), "a=0% b=0%");
}

#[test]
fn an_edited_threshold_starts_anew_and_an_untouched_level_does_not() {
    let level = |bound: &str| {
        format!(
            "[{{name: errors, metric: {{templateRef: {{name: m}}}}, interval: 30s, levels: [
              {{severity: Critical, above: '{bound}', for: 90s, action: ImmediateRollback}},
              {{severity: Warning, above: '5', for: 120s, action: Pause}}]}}]"
        )
    };
    let mut life = watched(&level("10"));
    life.series("errors", 30, &[30.0, 30.0, 30.0]);
    life.edit(&spec(&level("20")));
    // Counted from the newest sample on, at 60; the pause from 0 on.
    life.wait(30).says("errors", 30.0);
    assert_eq!(life.served(), "a=100% b=40%");
    life.wait(30).says("errors", 30.0);
    assert_eq!((life.served().as_str(), life.pauses()), ("a=100% b=40%", vec!["Trigger".to_owned()]));
    life.wait(30).says("errors", 30.0);
    assert_eq!((life.seconds(), life.served().as_str()), (150, "a=0% b=0%"));
}

#[test]
fn a_quiet_rollout_and_one_that_stays_bad_after_its_rollback_write_nothing() {
    let mut life = levels(
        "{severity: Critical, above: '10', for: 60s, action: ImmediateRollback},
         {severity: Warning, above: '1', for: 10h, action: Pause}",
    );
    life.says("errors", 0.5);
    let quiet = life.status.clone();
    life.wait(30).series("errors", 30, &[0.1, 0.9, 0.0]);
    assert_eq!(life.status, quiet);
    life.wait(30).series("errors", 30, &[11.0; 3]);
    assert_eq!(life.served(), "a=0% b=0%");
    // The second level has its time to count; then nothing more is to be told, and nothing is.
    for _ in 0..1300 {
        life.wait(30).says("errors", 11.0);
    }
    let bad = life.status.clone();
    for _ in 0..10 {
        life.wait(30).says("errors", 11.0);
    }
    assert_eq!(life.status, bad);
}

#[test]
fn a_breach_is_not_over_because_its_data_is_lost() {
    let mut life = watched(
        "[{name: errors, metric: {templateRef: {name: m}}, interval: 30s, onNoData: Ignore, levels: [
          {severity: Critical, above: '10', for: 300s, action: ImmediateRollback}]}]",
    );
    life.pass(23).says("errors", 11.0).wait(30).says("errors", NAN);
    life.pass(2);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=100% b=40%", "Triggers"));
    assert_eq!(
        life.why(),
        "errors was above 10 when it was last measured; a pause and a resume let it go on without"
    );
    life.says("errors", 0.0);
    assert_eq!(life.served(), "a=100% b=100%");
}

#[test]
fn what_was_measured_at_the_instant_of_a_resume_ends_no_breach() {
    let mut life = watched(ERRORS);
    life.pass(24).says("errors", 11.0);
    assert!(life.ask(json!({"action": "Pause"})).starts_with("Applied"));
    life.wait(30);
    assert!(life.ask(json!({"action": "Resume"})).starts_with("Applied"));
    // It counts neither for the breach nor against it: the level would go on counting from before the pause.
    life.says("errors", 0.0);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=100% b=40%", "Triggers"));
    life.wait(30).says("errors", 0.0);
    assert_eq!(life.served(), "a=100% b=100%");
}

#[test]
fn trigger_levels_in_breach_shut_the_door_before_their_time_is_over() {
    let mut life = watched(ERRORS);
    life.pass(24).says("errors", 11.0);
    assert_eq!((life.position().as_str(), life.why()), ("ga/1", "errors is above 10: Critical level"));
    life.wait(30).says("errors", 10.0);
    assert_eq!(life.served(), "a=100% b=100%");
}

#[test]
fn paused_by_a_trigger_it_stays_so_until_it_was_quiet_for_its_resume_after() {
    let mut life = levels("{severity: Warning, above: '5', for: 30s, action: Pause, resumeAfter: 60s}");
    life.series("errors", 30, &[6.0, 6.0, 0.0, 0.0]);
    assert_eq!(life.pauses(), ["Trigger"]);
    // A breach in between starts the quiet time anew.
    life.wait(30).series("errors", 30, &[6.0, 0.0, 0.0, NAN]);
    assert_eq!(life.pauses(), ["Trigger"]);
    life.wait(30).says("errors", 0.0);
    assert!(life.pauses().is_empty());
    assert_eq!(life.told()[2..], ["30 Paused trigger/errors", "240 Resumed schedule"]);
}

#[test]
fn without_resume_after_a_person_resumes_and_the_door_stays_shut_while_the_breach_lasts() {
    let mut life = levels("{severity: Warning, above: '5', for: 60s, action: Pause}");
    life.series("errors", 30, &[6.0, 6.0, 6.0, 0.0]);
    life.pass(1).says("errors", 6.0);
    assert_eq!(life.pauses(), ["Trigger"]);
    assert_eq!(
        life.ask(json!({"action": "Resume"})),
        "Applied: resumed; next: the hold before ga/2 lasts until 2025-09-09T10:00:30Z"
    );
    // The whole `for` again, counted from the resume on.
    life.wait(30).says("errors", 6.0);
    life.wait(30).says("errors", 6.0);
    assert!(life.pauses().is_empty());
    life.wait(30).says("errors", 6.0);
    assert_eq!(life.pauses(), ["Trigger"]);
    assert!(life.ask(json!({"action": "Resume"})).starts_with("Applied"));
    // The pauses were an hour and more; two days later the second step is due, and the breach is there again.
    life.pass(48);
    assert!(life.pauses().is_empty());
    life.says("errors", 6.0);
    assert_eq!((life.position().as_str(), life.waits().as_str()), ("ga/1", "Triggers"));
}

#[test]
fn triggers_of_a_plan_are_those_of_the_spec() {
    // What every test here starts from: bounds, times and actions arrive as written.
    let guard = plan(&spec(ERRORS)).guard;
    let trigger = guard.trigger("errors").unwrap();
    assert_eq!(trigger.levels[0].rule, "ImmediateRollback above 10");
    assert_eq!(trigger.interval.as_secs(), 30);
    assert_eq!(guard.keep, ["b"]);
}

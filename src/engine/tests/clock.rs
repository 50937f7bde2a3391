//! The rollout clock and what stops it: suspend, attempts, the past, and the wall clock that never stops.

use jiff::SignedDuration;
use serde_json::json;

use super::support::{Life, START, after, t};
use super::triggers::{ERRORS, watched};
use crate::engine::{Metrics, decide, due};

/// Two steps a day apart; b comes 36 hours after first exposure.
const DELAYED: &str = "
cohorts: [{name: a}, {name: b, delay: 36h}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, steps: [{cohorts: {a: 10, b: 10}}, {cohorts: {a: 20}, hold: 48h}]}]";

fn suspend(life: &mut Life, on: bool) {
    life.tweak(|plan| plan.suspend = on);
}

#[test]
fn suspending_moves_the_hold_and_the_delay_on() {
    let mut life = Life::begin(DELAYED, START);
    life.pass(6);
    suspend(&mut life, true);
    assert_eq!((life.waits().as_str(), life.wake_at), ("Paused", None));
    life.pass(10);
    assert_eq!(life.served(), "a=10% b=0%");
    suspend(&mut life, false);
    // The hold ends at 24 + 10, the delay at 36 + 10, the last hold at 34 + 48.
    assert_eq!(life.wake_at, Some(after(START, 34)));
    life.until(after(START, 33));
    assert_eq!(life.served(), "a=10% b=0%");
    life.until(after(START, 34));
    assert_eq!(life.served(), "a=20% b=0%");
    life.until(after(START, 45));
    assert_eq!(life.served(), "a=20% b=0%");
    life.until(after(START, 46));
    assert_eq!(life.served(), "a=20% b=10%");
    life.until(after(START, 100));
    assert_eq!(life.completed_at(), Some(after(START, 82)));
}

#[test]
fn two_pauses_that_overlap_stop_the_clock_once() {
    let mut life = Life::begin(DELAYED, START);
    life.pass(2);
    suspend(&mut life, true);
    life.pass(3).fact(|facts| facts.emergency = true);
    life.pass(3);
    suspend(&mut life, false);
    life.pass(2).fact(|facts| facts.emergency = false);
    // Paused from 2 to 10.
    assert_eq!(life.wake_at, Some(after(START, 32)));
    assert_eq!(life.served(), "a=10% b=0%");
}

#[test]
fn suspending_moves_neither_dates_nor_windows() {
    let mut life = Life::begin(
        "
cohorts: [{name: a}]
schedule: {startAt: '2025-09-08T09:00:00Z', windows: [{from: '09:00', to: '12:00'}]}
phases: [{name: ga, steps: [{cohorts: {a: 10}, hold: 1h}, {cohorts: {a: 20}, at: '2025-09-10T10:00:00Z'}]}]",
        START,
    );
    life.pass(24);
    suspend(&mut life, true);
    life.pass(20);
    suspend(&mut life, false);
    assert_eq!(life.wake_at, Some(t("2025-09-10T10:00:00Z")));
    assert_eq!(life.waits(), "Date");
    life.until(t("2025-09-10T10:00:00Z"));
    assert_eq!(life.served(), "a=20%");
}

#[test]
fn a_date_that_passes_during_a_pause_is_taken_after_it() {
    let mut life = Life::begin(
        "
cohorts: [{name: a}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, steps: [{cohorts: {a: 10}, hold: 1h}, {cohorts: {a: 20}, at: '2025-09-09T09:00:00Z'}]}]",
        START,
    );
    life.pass(2);
    suspend(&mut life, true);
    life.pass(100);
    assert_eq!(life.served(), "a=10%");
    suspend(&mut life, false);
    assert_eq!(life.served(), "a=20%");
}

#[test]
fn a_raise_edited_in_while_paused_comes_when_the_pause_is_over() {
    let raised = DELAYED.replace("{a: 10, b: 10}", "{a: 15, b: 30}");
    let mut life = Life::begin(DELAYED, START);
    life.pass(2);
    suspend(&mut life, true);
    life.pass(5).edit(&format!("{raised}\nsuspend: true"));
    assert_eq!((life.served().as_str(), life.pending("a")), ("a=10% b=0%", Some("15%".to_owned())));
    life.pass(5).edit(&raised);
    // a at once: nothing in it counts on the clock. b after 36 + 10 hours.
    assert_eq!((life.served().as_str(), life.pending("b")), ("a=15% b=0%", Some("30%".to_owned())));
    // The raise of a restarted the hold at 12: the second step at 36.
    life.until(after(START, 35));
    assert_eq!(life.served(), "a=15% b=0%");
    life.until(after(START, 45));
    assert_eq!(life.served(), "a=20% b=0%");
    life.until(after(START, 46));
    assert_eq!(life.status.cohort("b").unwrap().decided().to_string(), "30%");
}

#[test]
fn a_clock_that_runs_behind_makes_nothing_early() {
    let mut life = Life::begin(DELAYED, START);
    life.pass(6);
    suspend(&mut life, true);
    life.now = after(START, 5);
    suspend(&mut life, false);
    assert_eq!(life.wake_at, Some(after(START, 24)));
}

#[test]
fn a_first_seen_long_after_its_start_begins_at_once() {
    let mut life = Life::begin(DELAYED, "2026-01-01T00:00:00Z");
    assert_eq!(life.served(), "a=10% b=0%");
    assert_eq!(life.reasons(), ["Started", "StepEntered"]);
    life.pass(24);
    assert_eq!(life.served(), "a=20% b=0%");
}

#[test]
fn a_delay_that_is_edited_applies_at_once() {
    let mut life = Life::begin(DELAYED, START);
    life.pass(12);
    // Longer: from first exposure.
    life.edit(&DELAYED.replace("delay: 36h", "delay: 40h")).until(after(START, 39));
    assert_eq!(life.served(), "a=20% b=0%");
    life.until(after(START, 40));
    assert_eq!(life.served(), "a=20% b=10%");
    // Shorter than what has passed: now, not in the past.
    let mut life = Life::begin(DELAYED, START);
    life.pass(12).edit(&DELAYED.replace("delay: 36h", "delay: 4h"));
    assert_eq!(life.served(), "a=10% b=10%");
    // And by ignoring the cohorts' delays.
    let mut life = Life::begin(DELAYED, START);
    life.pass(12).edit(&format!("{DELAYED}\ncohortPolicy: Ignore"));
    assert_eq!(life.served(), "a=10% b=10%");
}

#[test]
fn raising_the_attempt_of_a_healthy_rollout_does_nothing() {
    let mut life = Life::begin(DELAYED, START);
    life.pass(30);
    let before = life.status.clone();
    life.tweak(|plan| plan.attempt = 5);
    assert_eq!(life.status.attempt, 5);
    // It is noted, and that is all.
    let before = before.history.iter().map(|entry| entry.reason.as_str());
    assert_eq!(life.reasons(), before.chain(["AttemptNoted"]).collect::<Vec<_>>());
    assert_eq!((life.position().as_str(), life.served().as_str()), ("ga/2", "a=20% b=0%"));
    // Nor does it while suspended, nor does it count later.
    suspend(&mut life, true);
    life.tweak(|plan| plan.attempt = 6);
    assert_eq!((life.pauses(), life.position()), (vec!["Suspended".to_owned()], "ga/2".to_owned()));
    suspend(&mut life, false);
    assert_eq!(life.position(), "ga/2");
}

#[test]
fn raising_the_attempt_in_a_recovery_pause_starts_again_and_lowers_nobody() {
    let mut life = Life::begin(DELAYED, START);
    life.until(after(START, 40));
    assert_eq!(life.served(), "a=20% b=10%");
    // The phase is renamed and has another count of steps: the position is lost.
    let other = "
cohorts: [{name: a}, {name: b, delay: 36h}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: slow, steps: [{cohorts: {a: 5}}, {cohorts: {a: 15}}, {cohorts: {a: 30, b: 20}}]}]";
    life.edit(other);
    assert_eq!((life.pauses(), life.waits()), (vec!["PositionLost".to_owned()], "Paused".to_owned()));
    life.pass(5);
    assert_eq!(life.served(), "a=20% b=10%");
    // A lower attempt does nothing.
    life.tweak(|plan| plan.attempt = 0);
    assert_eq!(life.pauses(), ["PositionLost"]);
    life.tweak(|plan| plan.attempt = 2);
    assert_eq!(life.pauses(), Vec::<String>::new());
    assert_eq!((life.position().as_str(), life.served().as_str()), ("slow/1", "a=20% b=10%"));
    assert_eq!(life.asked("a"), "5%");
    assert_eq!(life.asked("b"), "0%");
    assert!(life.reasons().contains(&"AttemptStarted"));
    // Entered at 45; raising only at the third step, 45 + 48, which is the attempt's first exposure: b 36h later.
    life.until(after(START, 92));
    assert_eq!(life.served(), "a=20% b=10%");
    life.until(after(START, 93));
    assert_eq!(life.served(), "a=30% b=10%");
    life.until(after(START, 128));
    assert_eq!(life.served(), "a=30% b=10%");
    life.until(after(START, 129));
    assert_eq!(life.served(), "a=30% b=20%");
}

#[test]
fn a_raise_of_the_attempt_seen_before_the_recovery_pause_does_not_count() {
    let mut life = Life::begin(DELAYED, START);
    life.tweak(|plan| plan.attempt = 3);
    life.tweak(|plan| {
        plan.steps.remove(0);
        plan.steps[0].phase = "other".to_owned();
    });
    assert_eq!(life.pauses(), ["PositionLost"]);
    // Git revert, then nothing more.
    life.tweak(|plan| plan.attempt = 1);
    assert_eq!(life.pauses(), ["PositionLost"]);
}

#[test]
fn an_attempt_passes_the_door_like_any_step() {
    let mut life = Life::begin(DELAYED, START);
    life.tweak(|plan| plan.steps.iter_mut().for_each(|step| step.phase = "other".to_owned()));
    assert_eq!(life.pauses(), ["PositionLost"]);
    life.tweak(|plan| {
        plan.attempt = 2;
        plan.suspend = true;
        plan.steps[0].asks.insert("a".to_owned(), crate::api::Percent::FULL);
    });
    assert_eq!((life.pauses(), life.served()), (vec!["Suspended".to_owned()], "a=10% b=0%".to_owned()));
    suspend(&mut life, false);
    assert_eq!(life.served(), "a=100% b=0%");
}

#[test]
fn peers_4_every_deadline_is_armed_and_nothing_is_decided_between_wake_ups() {
    let mut life = Life::begin(DELAYED, START);
    let mut decisions = 0;
    while let Some(wake) = life.wake_at {
        let early = wake - jiff::SignedDuration::from_micros(1);
        let decision = decide(&life.plan, &life.status, &life.facts, early);
        assert_eq!(decision.status, life.status, "a quiet rollout writes nothing");
        assert_eq!(decision.wake_at, Some(wake));
        life.until(wake);
        decisions += 1;
    }
    // The second step, b's delay, the end of the last hold.
    assert_eq!(decisions, 3);
}

/// A clock that had run ahead left instants in the future, and whatever counted from them waited for it to come.
#[test]
fn a_clock_that_ran_ahead_does_not_blind_the_triggers() {
    let mut life = watched(ERRORS);
    life.series("errors", 30, &[11.0, 11.0]);
    // Everything that status holds was written an hour ahead of the clock of now.
    let now = life.now;
    let back = now - SignedDuration::from_hours(1);
    life.now = back;
    life.facts.metrics = Metrics::Measured(Vec::new());
    life.settle();
    // Measured from now on, at its interval.
    let due = due(&life.plan.guard, &life.status, life.now);
    assert_eq!((due[0].at, due[0].next), (back, back + SignedDuration::from_secs(30)));
    life.series("errors", 30, &[11.0; 10]);
    assert_eq!(life.served(), "a=0% b=0%", "{:?}", life.told());
    assert!(life.now < now, "before the clock has come to where it was");
}

#[test]
fn no_raise_passes_unmeasured_after_the_clock_has_stepped_back() {
    let mut life = watched(ERRORS);
    life.wait(86_400 - 60).says("errors", 1.0);
    // Two days back: the first exposure is yet to come, by that clock.
    life.now = t(START) - SignedDuration::from_hours(24);
    life.facts.metrics = Metrics::Measured(Vec::new());
    life.settle();
    life.wait(30);
    let set = life.ask(json!({"action": "SetPercent", "setPercent": {"b": 90}}));
    assert_eq!(set, "Rejected: errors has no data");
    life.says("errors", 1.0);
    let set = life.ask(json!({"action": "SetPercent", "setPercent": {"b": 90}}));
    assert!(set.starts_with("Applied: set b 40% → 90%"), "{set}");
}

#[test]
fn a_ladder_is_gone_down_in_time_after_the_clock_has_stepped_back() {
    let mut life = watched(ERRORS);
    life.wait(7200);
    assert!(life.ask(json!({"action": "Rollback", "rollback": {"mode": "Gradual"}})).starts_with("Applied"));
    assert_eq!(life.served(), "a=50% b=25%");
    life.now = t(START);
    life.settle();
    life.wait(600);
    assert_eq!(life.served(), "a=25% b=0%");
    life.wait(600);
    assert_eq!(life.served(), "a=0% b=0%");
}

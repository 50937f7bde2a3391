//! What the columns of kubectl and the conditions say of a state.

use rstest::rstest;
use serde_json::json;

use super::actions::{STEPS, state};
use super::rollbacks::PHASES;
use super::support::{Life, START};
use super::triggers::{ERRORS, watched};
use crate::api::conditions::types;
use crate::api::{FeatureRolloutStatus, Reason};
use crate::engine::{Delivery, Report, report};

/// The status as it is reported when the file holds it.
fn reported(life: &Life) -> FeatureRolloutStatus {
    let mut status = life.status.clone();
    let delivery = Delivery::Done;
    let of = Report {
        plan: &life.plan,
        delivery,
        next: life.wake_at,
        no_room: None,
        generation: 1,
        now: life.now,
    };
    report(&mut status, &of);
    status
}

/// STATE and REASON, and the reason of Ready.
fn columns(life: &Life) -> (String, String, String) {
    let status = reported(life);
    let ready = status.conditions.iter().find(|condition| condition.type_ == types::READY).unwrap();
    (status.state.unwrap().to_string(), status.reason.unwrap_or_default(), ready.reason.clone())
}

const WAITING: &str = "
cohorts: [{name: a}]
schedule: {startAt: '2025-09-08T09:00:00Z', SCHEDULE}
phases: [{name: ga, steps: [{cohorts: {a: 10}}, {name: full, cohorts: {a: 100}, MORE}]}]";

fn waiting(schedule: &str, more: &str) -> Life {
    let mut life = Life::begin(&WAITING.replace("SCHEDULE", schedule).replace("MORE", more), START);
    life.pass(30);
    life
}

#[rstest]
#[case::hold(Life::begin(STEPS, START), "Hold")]
#[case::date(waiting("timeZone: UTC", "at: '2025-10-01T00:00:00Z'"), "Date")]
#[case::window(waiting("windows: [{days: [Mon], from: '09:00', to: '10:00'}]", "hold: 1h"), "Window")]
#[case::freeze(
    waiting(
        "freezes: [{name: holidays, from: '2025-09-09T00:00:00Z', to: '2025-10-01T00:00:00Z'}]",
        "hold: 1h"
    ),
    "Freeze:holidays"
)]
#[case::approval(waiting("timeZone: UTC", "approval: Required"), "Approval:ga/full")]
fn while_it_waits_the_reason_is_the_check_that_says_no_and_what_of_it(
    #[case] life: Life,
    #[case] reason: &str,
) {
    assert_eq!(columns(&life).1, reason);
}

#[test]
fn dependencies_and_triggers_are_named() {
    let mut life = Life::begin(STEPS, START);
    life = Life::of(
        life.plan.clone(),
        crate::engine::Facts {
            unmet: vec!["whispers-history to be completed".to_owned(), "other to be completed".to_owned()],
            ..life.facts.clone()
        },
        FeatureRolloutStatus::default(),
        START,
    );
    assert_eq!(columns(&life).0, "Waiting");
    assert_eq!(columns(&life).1, "Dependencies:whispers-history");
    let mut life = watched(ERRORS);
    life.pass(24).says("errors", 11.0);
    assert_eq!(
        (columns(&life).0.as_str(), columns(&life).1.as_str()),
        ("TriggersNotQuiet", "Triggers:errors")
    );
}

#[rstest]
#[case("suspended", "Paused", "Suspended")]
#[case("paused by a person", "Paused", "Person")]
#[case("status lost", "Paused", "StatusLost")]
#[case("latched", "RolledBack", "Person")]
#[case("on the ladder", "RollingBack", "Person")]
#[case("completed", "Completed", "")]
fn the_reason_never_repeats_the_state(#[case] name: &str, #[case] state_: &str, #[case] reason: &str) {
    let (state, found, _) = columns(&state(name));
    assert_eq!((state.as_str(), found.as_str()), (state_, reason));
}

#[test]
fn nobody_is_said_to_be_rolled_back_who_still_has_it() {
    let life = state("on the ladder");
    let status = reported(&life);
    for condition in status.conditions.iter().filter(|condition| condition.type_ != types::COMPLETED) {
        assert!(condition.reason == "RollingBack" || condition.reason == "SetPercent", "{condition:?}");
    }
    let mut life = watched(&ERRORS.replace("ImmediateRollback", "GradualRollback"));
    life.series("errors", 30, &[11.0; 11]);
    assert_eq!(
        columns(&life),
        ("RollingBack".to_owned(), "Trigger:errors".to_owned(), "RollingBack".to_owned())
    );
    life.pass(1);
    assert_eq!(columns(&life).2, "RolledBack");
}

#[test]
fn the_last_hold_explains_the_date_under_next() {
    let mut life = Life::begin(PHASES, START);
    life.pass(96);
    let status = reported(&life);
    assert_eq!(status.reason.as_deref(), Some("Hold"));
    let waiting = status.waiting_for.unwrap();
    assert_eq!(status.next, waiting.until.map(|until| format!("{:.0}", until)));
}

#[test]
fn what_ends_a_pause_is_said_with_it() {
    let mut life = state("percentages set");
    let message = |life: &Life| {
        let status = reported(life);
        status.conditions.iter().find(|condition| condition.type_ == types::PAUSED).unwrap().message.clone()
    };
    assert_eq!(message(&life), "ada set a 10% → 5%; resume to let the schedule go on");
    life.ask(json!({"action": "Rollback"}));
    assert_eq!(message(&life), "ada set a 10% → 5%; a retry ends this pause with the rollback");
}

#[test]
fn an_invalid_spec_is_in_the_history_once() {
    let mut life = state("holding");
    let seq = life.status.last_seq();
    let stall = |life: &mut Life, reason: Reason, message: &str| {
        let delivery = crate::engine::Delivery::Done;
        crate::engine::report::stall(&mut life.status, (reason, message), &delivery, None, 1, life.now);
        life.status.last_seq()
    };
    assert_eq!(stall(&mut life, Reason::InvalidSpec, "spec.phases: is empty"), seq + 1);
    let entry = life.status.history.last().unwrap().clone();
    assert_eq!((entry.reason, entry.who.as_str()), (Reason::InvalidSpec, "git"));
    assert_eq!(entry.message, "spec.phases: is empty");
    assert_eq!(stall(&mut life, Reason::InvalidSpec, "spec.phases: is empty"), seq + 1);
    // Something else is wrong with it.
    assert_eq!(stall(&mut life, Reason::InvalidSpec, "spec.attempt: counts from 1"), seq + 2);
    // What the cluster refuses is no fault of the spec.
    assert_eq!(stall(&mut life, Reason::Forbidden, "no"), seq + 2);
    assert_eq!(stall(&mut life, Reason::InvalidSpec, "spec.attempt: counts from 1"), seq + 3);
    assert_eq!(life.status.reason.as_deref(), Some("InvalidSpec"));
    // Where space is short words are cut, and it is no news for that.
    let long = "é".repeat(200);
    let seq = stall(&mut life, Reason::InvalidSpec, &long);
    let entry = life.status.history.last_mut().unwrap();
    entry.message = format!("{}…", "é".repeat(50));
    assert_eq!(stall(&mut life, Reason::InvalidSpec, &long), seq);
}

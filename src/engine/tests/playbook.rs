//! A playbook's phase: waited for at the first start, and never asked again.

use rstest::rstest;
use serde_json::json;

use super::support::{Life, UID, rollout, t};
use crate::api::status::Check;
use crate::api::{FeatureRolloutStatus, Playbook};
use crate::engine::{Facts, Requirement};
use crate::plan::{Plan, Refs, compile};

const PLAYBOOK: &str = "
startDate: '2025-09-08'
startTime: '09:00'
phases:
- {name: foundation, weeks: {from: 1, to: 2}}
- {name: experience, weeks: {from: 3, to: 4}}";

const ROLLOUT: &str = "
cohorts: [{name: all}]
playbookRef: {name: maya, phase: experience}
phases: [{name: ga, steps: [{cohorts: {all: 5}, hold: 1h}, {week: 4, cohorts: {all: 50}}, {week: 5, cohorts: {all: 100}}]}]";

fn plan(playbook: Option<&str>) -> Plan {
    let playbook = playbook.map(|spec| Playbook::new("maya", serde_saphyr::from_str(spec).unwrap()));
    compile(&rollout(ROLLOUT), Refs { playbook: playbook.as_ref(), ..Refs::default() }).unwrap()
}

fn open_task() -> Vec<Requirement> {
    vec![Requirement { which: "rls".to_owned(), message: "task rls to be done".to_owned() }]
}

fn begin(plan: Plan, requirements: Vec<Requirement>, now: &str) -> Life {
    let facts = Facts { requirements, ..Facts::favourable(UID) };
    Life::of(plan, facts, FeatureRolloutStatus::default(), now)
}

fn waits(life: &Life) -> (Check, Option<&str>, &str) {
    let waiting = life.status.waiting_for.as_ref().unwrap();
    (waiting.check, waiting.which.as_deref(), &waiting.message)
}

#[test]
fn the_first_step_waits_for_the_week_of_its_phase() {
    let mut life = begin(plan(Some(PLAYBOOK)), vec![], "2025-09-08T09:00:00Z");
    let message = "phase experience of playbook maya opens at 2025-09-22T09:00:00Z";
    assert_eq!(waits(&life), (Check::Playbook, Some("experience"), message));
    assert_eq!(life.wake_at, Some(t("2025-09-22T09:00:00Z")));
    life.until(t("2025-09-22T08:59:59Z"));
    assert_eq!(life.served(), "all=0%");
    life.until(t("2025-09-22T09:00:00Z"));
    assert_eq!(life.served(), "all=5%");
    life.until(t("2025-10-06T09:00:00Z"));
    assert_eq!(life.served(), "all=100%", "weeks count from the playbook's start");
}

#[test]
fn it_waits_for_what_the_phase_requires_and_says_what_and_never_asks_again() {
    let mut life = begin(plan(Some(PLAYBOOK)), open_task(), "2025-09-30T00:00:00Z");
    let message = "waits for task rls to be done, as phase experience of playbook maya requires";
    assert_eq!(waits(&life), (Check::Playbook, Some("rls"), message));
    assert_eq!(life.wake_at, None, "only somebody can end that");
    life.facts.requirements.clear();
    life.settle();
    assert_eq!(life.served(), "all=5%");
    assert_eq!(life.status.started_at, Some(t("2025-09-30T00:00:00Z")));

    // Unticked: what runs goes on, and so does another attempt.
    life.facts.requirements = open_task();
    life.until(t("2025-10-01T00:00:00Z"));
    assert_eq!(life.served(), "all=50%");
    life.ask(json!({"action": "Rollback", "rollback": {"mode": "Immediate"}}));
    assert_eq!(life.served(), "all=0%");
    life.ask(json!({"action": "Retry"}));
    assert_eq!(life.served(), "all=5%");
}

#[test]
fn a_moved_phase_moves_who_has_not_started_and_nobody_else() {
    let later = PLAYBOOK.replace("from: 3, to: 4", "from: 4, to: 5");
    let mut waiting = begin(plan(Some(PLAYBOOK)), vec![], "2025-09-10T00:00:00Z");
    waiting.plan = plan(Some(&later));
    waiting.settle();
    assert_eq!(waiting.wake_at, Some(t("2025-09-29T09:00:00Z")));

    let mut running = begin(plan(Some(PLAYBOOK)), vec![], "2025-09-22T09:00:00Z");
    assert_eq!(running.served(), "all=5%");
    let before = running.status.clone();
    running.plan = plan(Some(&later));
    running.settle();
    assert_eq!(running.status, before, "nothing is raised, lowered or started again");
}

#[test]
fn a_moved_start_moves_the_weeks_that_have_not_come_and_nothing_else() {
    let mut life = begin(plan(Some(PLAYBOOK)), vec![], "2025-09-22T09:00:00Z");
    let before = life.status.position.clone();
    life.plan = plan(Some(&PLAYBOOK.replace("2025-09-08", "2025-09-15")));
    life.settle();
    assert_eq!((life.served().as_str(), &life.status.position), ("all=5%", &before));
    assert_eq!(life.wake_at, Some(t("2025-10-06T09:00:00Z")), "week 4 is a week later");
}

#[rstest]
#[case::promote(json!({"action": "Promote"}))]
#[case::set_percent(json!({"action": "SetPercent", "setPercent": {"all": 10}}))]
fn no_action_passes_over_what_the_phase_requires(#[case] asks: serde_json::Value) {
    let mut life = begin(plan(Some(PLAYBOOK)), open_task(), "2025-09-30T00:00:00Z");
    let answer = life.ask(asks.clone());
    assert!(answer.contains("task rls to be done"), "{answer}");
    assert_eq!(life.served(), "all=0%");
    life.facts.requirements.clear();
    let answer = life.ask(asks);
    assert!(!answer.contains("Rejected"), "{answer}");
    assert!(life.status.started_at.is_some(), "started by hand is started");
}

#[test]
fn a_week_that_nobody_can_date_does_not_come_by_itself() {
    // Running, and the playbook goes away.
    let mut life = begin(plan(Some(PLAYBOOK)), vec![], "2025-09-22T09:00:00Z");
    life.plan = plan(None);
    life.facts.requirements = open_task();
    life.until(t("2026-01-01T00:00:00Z"));
    assert_eq!(life.served(), "all=5%");
    let message =
        "ga/2 is due in week 4 of playbook maya, which is not there or not valid; a promote enters it now";
    assert_eq!(waits(&life), (Check::Playbook, Some("maya"), message));
    life.ask(json!({"action": "Promote"}));
    assert_eq!(life.served(), "all=50%");
    // It is back: its dates have come.
    life.plan = plan(Some(PLAYBOOK));
    life.until(t("2026-01-03T00:00:00Z"));
    assert_eq!(life.served(), "all=100%");
}

#[test]
fn one_that_runs_may_join_a_phase_without_waiting_for_it() {
    let alone = "
cohorts: [{name: all}]
phases: [{name: ga, ramp: {percents: [5, 50], every: 1h}}]";
    let mut life = Life::begin(alone, "2025-09-08T00:00:00Z");
    let joined = format!("{alone}\nplaybookRef: {{name: maya, phase: experience}}");
    life.plan = compile(&rollout(&joined), Refs::default()).unwrap();
    life.facts.requirements = open_task();
    life.until(t("2025-09-08T02:00:00Z"));
    assert_eq!(life.served(), "all=50%");
}

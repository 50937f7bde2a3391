//! What is decided and what the file gives: told apart in the state, in what is shown, and in the history.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::support::{Life, START, plan, t};
use crate::api::conditions::{is_true, types};
use crate::api::status::CohortStatus;
use crate::api::{FeatureRolloutStatus, Percent, Reason, State};
use crate::engine::delivery::{gap, mark_entries, note_file, undelivered_message};
use crate::engine::report::stall;
use crate::engine::{Delivery, Report, deliver, report};

const SPEC: &str = "
cohorts: [{name: staff, share: 10, match: {attributes: {role: staff}}}, {name: all, share: 90}]
phases: [{name: ga, steps: [{cohorts: {staff: 100, all: 80}, hold: 1000h}]}]
rollback: {gradual: {ladder: [50, 25, 0], every: 10m}}
";

fn percent(whole: u32) -> Percent {
    Percent::from_whole(whole).unwrap()
}

/// Standing at 100 and 80 %, in a file that cannot be written from now on.
fn stuck() -> Life {
    let mut life = Life::begin(SPEC, START);
    assert_eq!(life.served(), "staff=100% all=80%");
    life.facts.delivered = false;
    life
}

fn served(status: &FeatureRolloutStatus) -> Vec<String> {
    status.cohorts.iter().map(|cohort| cohort.served.to_string()).collect()
}

/// The life's status as people see it.
fn seen(life: &Life, delivery: Delivery) -> FeatureRolloutStatus {
    let mut status = life.status.clone();
    let plan = plan(SPEC);
    report(
        &mut status,
        &Report { plan: &plan, delivery, next: life.wake_at, no_room: None, generation: 1, now: life.now },
    );
    status
}

fn immutable() -> Delivery {
    Delivery::Failed(Reason::Conflict, "ConfigMap web is immutable".to_owned())
}

#[test]
fn a_rollback_changes_what_is_decided_and_not_what_apps_get() {
    let mut life = stuck();
    life.ask(json!({"action": "Rollback"}));
    assert_eq!(
        (life.served().as_str(), served(&life.status)),
        ("staff=0% all=0%", vec!["100%".into(), "80%".into()])
    );
    assert!(life.status.exposed(), "apps still get it");
    assert_eq!(life.status.rollback.as_ref().unwrap().ended_at, None);

    life.facts.delivered = true;
    life.settle();
    assert_eq!(served(&life.status), ["0%", "0%"]);
    assert!(!life.status.exposed() && life.status.rollback.as_ref().unwrap().ended_at.is_some());
}

#[test]
fn a_ladder_is_decided_to_its_end_and_is_at_control_only_when_the_file_is() {
    let mut life = stuck();
    life.ask(json!({"action": "Rollback", "rollback": {"mode": "Gradual"}}));
    life.pass(1);
    assert_eq!(
        (life.served().as_str(), served(&life.status)),
        ("staff=0% all=0%", vec!["100%".into(), "80%".into()])
    );
    assert!(!life.reasons().contains(&"RollbackEnded"), "{:?}", life.reasons());
    life.facts.delivered = true;
    life.pass(1);
    assert_eq!(life.reasons().last(), Some(&"RollbackEnded"));
    assert_eq!(life.status.rollback.as_ref().unwrap().ended_at.unwrap(), life.now);
}

#[test]
fn what_is_shown_is_what_the_file_gives() {
    let mut life = stuck();
    life.ask(json!({"action": "Rollback"}));
    let status = seen(&life, immutable());
    assert_eq!(
        (status.served.as_deref(), status.exposure.as_deref()),
        (Some("staff=100%,all=80%"), Some("82%"))
    );
    assert_eq!(status.state.map(State::as_str), Some("RollingBack"));
    let said = "decided staff 0%, all 0%; apps still get staff 100%, all 80%";
    assert_eq!(undelivered_message(&status).unwrap(), format!("{said}: ConfigMap web is immutable"));
    for type_ in [types::READY, types::STALLED, types::ROLLED_BACK] {
        let condition = status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
        assert!(condition.message.contains(said), "{}", condition.message);
    }
    let status = seen(&life, Delivery::Done);
    assert_eq!((status.served.as_deref(), status.exposure.as_deref()), (Some("staff=0%,all=0%"), Some("0%")));
    assert_eq!((status.state.map(State::as_str), gap(&status)), (Some("RolledBack"), None));
}

/// An invalid spec once froze what was shown while its rollback went on.
#[test]
fn what_is_shown_of_an_invalid_spec_comes_from_the_cohorts() {
    let mut life = Life::begin(SPEC, START);
    life.status = seen(&life, Delivery::Done);
    let mut status = life.status.clone();
    for cohort in &mut status.cohorts {
        cohort.decide(percent(50));
    }
    deliver(&mut status, life.now);
    let next = t("2030-01-01T00:00:00Z");
    stall(&mut status, (Reason::InvalidSpec, "spec.x: no"), &Delivery::Done, Some(next), 2, life.now);
    assert_eq!(
        (status.served.as_deref(), status.exposure.as_deref()),
        (Some("staff=50%,all=50%"), Some("50%"))
    );
    assert_eq!(status.next.as_deref(), Some("2030-01-01T00:00:00Z"));
    let waiting = status.waiting_for.unwrap();
    assert_eq!((format!("{:?}", waiting.check).as_str(), waiting.message.as_str()), ("Valid", "spec.x: no"));
    assert!(is_true(&status.conditions, types::STALLED));
}

#[test]
fn a_failed_delivery_is_told_once_and_so_is_its_end() {
    let mut life = stuck();
    life.ask(json!({"action": "Rollback"}));
    life.status = seen(&life, Delivery::UnderWay);
    let told = life.status.last_seq();
    let late = Delivery::Late("the API server does not answer".to_owned());
    for delivery in [late.clone(), late.clone(), immutable(), immutable(), late] {
        life.status = seen(&life, delivery);
    }
    let new = |status: &FeatureRolloutStatus| -> Vec<&'static str> {
        status.history.iter().filter(|entry| entry.seq > told).map(|entry| entry.reason.as_str()).collect()
    };
    assert_eq!(new(&life.status), ["NotDelivered", "NotDelivered"], "retried, then to be acted on");
    assert_eq!(life.status.undelivered.as_ref().unwrap().since, life.now);
    life.status = seen(&life, Delivery::Done);
    life.status = seen(&life, Delivery::Done);
    assert_eq!(new(&life.status), ["NotDelivered", "NotDelivered", "Delivered"]);
    assert_eq!(life.status.undelivered, None);
}

#[test]
fn a_raise_that_is_only_late_is_told_by_conditions_alone() {
    let mut life = stuck();
    life.status.cohort_mut("all").unwrap().decide(percent(90));
    let told = life.status.last_seq();
    life.status = seen(&life, Delivery::Late("the API server does not answer".to_owned()));
    let said = "decided all 90%; apps still get all 80%: the API server does not answer";
    assert_eq!(undelivered_message(&life.status).as_deref(), Some(said));
    assert_eq!(seen(&life, Delivery::Done).last_seq(), told);
    life.status = seen(&life, immutable());
    assert_eq!(life.reasons().last(), Some(&"NotDelivered"), "nothing but somebody's help gets it there");
    assert_eq!(seen(&life, Delivery::Done).history.last().unwrap().reason, Reason::Delivered);
}

#[test]
fn an_entry_whose_revision_the_file_does_not_hold_is_told_as_decided() {
    let mut life = stuck();
    let before = life.status.last_seq();
    life.ask(json!({"action": "Rollback"}));
    life.status.revision = 7;
    mark_entries(&mut life.status, before);
    let entry = life.status.history.iter().find(|entry| entry.reason == Reason::RolledBack).unwrap();
    assert!(entry.told(6).ends_with("(decided; the file does not hold it yet)"), "{}", entry.told(6));
    assert_eq!(entry.told(7), entry.message);
    assert!(
        life.status.history.iter().filter(|entry| entry.seq <= before).all(|entry| entry.revision.is_none())
    );
}

#[test]
fn a_file_that_holds_something_else_again_is_believed() {
    let mut life = stuck();
    life.ask(json!({"action": "Rollback"}));
    note_file(&mut life.status, &[("all".to_owned(), percent(30)), ("gone".to_owned(), percent(1))]);
    assert_eq!(
        (life.served().as_str(), served(&life.status)),
        ("staff=0% all=0%", vec!["100%".into(), "30%".into()])
    );
}

#[rstest]
#[case::as_it_was_stored_before(json!({"name": "all", "served": "5%"}), 5, 5)]
#[case::decided(json!({"name": "all", "served": "5%", "decided": 7}), 5, 7)]
#[case::nothing(json!({"name": "all"}), 0, 0)]
fn a_stored_cohort(#[case] stored: serde_json::Value, #[case] served: u32, #[case] decided: u32) {
    let cohort: CohortStatus = serde_json::from_value(stored).unwrap();
    assert_eq!((cohort.served.percent(), cohort.decided()), (percent(served), percent(decided)));
}

proptest! {
    /// Whatever is decided and whatever is seen in the file, in whatever order, neither is taken for the other.
    #[test]
    fn neither_is_taken_for_the_other(steps in prop::collection::vec((any::<bool>(), 0u32..=100), 0..20)) {
        let mut cohort = CohortStatus::deciding("a", Percent::ZERO);
        let (mut decided, mut served) = (Percent::ZERO, Percent::ZERO);
        for (decides, whole) in steps {
            match decides {
                true => { decided = percent(whole); cohort.decide(decided); }
                false => { served = percent(whole); cohort.note_served(served); }
            }
            prop_assert_eq!((cohort.decided(), cohort.served.percent()), (decided, served));
            prop_assert_eq!(cohort.is_exposed(), !decided.is_zero() || !served.is_zero());
            let stored: CohortStatus = serde_json::from_value(serde_json::to_value(&cohort).unwrap()).unwrap();
            prop_assert_eq!(&stored, &cohort);
        }
    }
}

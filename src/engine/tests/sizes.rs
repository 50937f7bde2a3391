//! The size of a status: what gives way, and that giving way is the same each time.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::json;

use super::support::{Life, START, UID, t};
use crate::api::rolloutaction::Answer;
use crate::api::status::{ActionRecord, ApprovalStatus, Pause, PauseCause};
use crate::api::trigger::LevelAction;
use crate::api::verdict::LevelStatus;
use crate::api::{FeatureRolloutStatus, MicroTime, Reading};
use crate::engine::{Facts, Measurement, Metrics, Subject, answered, decide, trim};
use crate::plan::Plan;

const MOST: usize = 16 * 1024;

fn long(name: &str, of: usize) -> String {
    format!("{name}-{}", "x".repeat(of - name.len() - 1))
}

fn size(status: &FeatureRolloutStatus) -> usize {
    serde_json::to_vec(status).unwrap().len()
}

/// Sixteen cohorts, four triggers for each of them, sixteen criteria, the longest names.
fn largest() -> (Plan, Vec<String>, Vec<String>) {
    let cohorts: Vec<String> = (0..16).map(|i| long(&format!("c{i}"), 63)).collect();
    let triggers: Vec<String> = (0..4).map(|i| long(&format!("t{i}"), 40)).collect();
    let percents =
        |percent: u32| cohorts.iter().map(|name| (name.clone(), percent)).collect::<BTreeMap<_, _>>();
    let level = |action: &str, above: &str, hours: u32| json!({"severity": "Critical", "above": above, "for": format!("{hours}h"), "action": action});
    let spec = json!({
        "cohorts": cohorts.iter().map(|name| json!({"name": name, "share": "6.25%"})).collect::<Vec<_>>(),
        "schedule": {"startAt": START},
        "phases": [{"name": long("p", 63), "steps": [
            {"name": long("s", 63), "cohorts": percents(33)}, {"name": long("u", 63), "cohorts": percents(66)},
        ]}],
        "triggers": triggers.iter().map(|name| json!({
            "name": name, "metric": {"templateRef": {"name": "m"}}, "perCohort": {"label": "cohort"},
            "levels": [
                level("ImmediateRollback", "123456789012345.123456781", 9),
                level("GradualRollback", "123456789012345.123456782", 9),
                level("Pause", "123456789012344.123456783", 9),
                level("Notify", "123456789012343.123456784", 9),
            ],
        })).collect::<Vec<_>>(),
        "criteria": (0..16).map(|i| json!({
            "name": long(&format!("q{i}"), 40), "metric": {"templateRef": {"name": "m"}}, "above": "1",
        })).collect::<Vec<_>>(),
    });
    (super::support::plan(&spec.to_string()), cohorts, triggers)
}

fn measured(cohorts: &[String], triggers: &[String], bad: usize, at: MicroTime) -> Metrics {
    let mut all = Vec::new();
    for (i, (trigger, cohort)) in
        triggers.iter().flat_map(|t| cohorts.iter().map(move |c| (t, c))).enumerate()
    {
        let reading = match i {
            i if i < bad => Reading::of(2e15, None),
            i if i % 2 == 0 => Reading::NoData("n".repeat(600)),
            _ => Reading::of(0.123_456, None),
        };
        let subject = Subject::Trigger(trigger.clone());
        all.push(Measurement { subject, cohort: Some(cohort.clone()), at, due: at, reading });
    }
    for i in 0..16 {
        let subject = Subject::Criterion(long(&format!("q{i}"), 40));
        all.push(Measurement {
            subject,
            cohort: None,
            at,
            due: at,
            reading: Reading::Error("e".repeat(600)),
        });
    }
    Metrics::Measured(all)
}

#[test]
fn case_28_the_largest_rollout_has_a_status_that_fits_and_deciding_again_writes_nothing() {
    for bad in [0, 5, 20, 40, 64] {
        let (plan, cohorts, triggers) = largest();
        let facts = Facts { metrics: Metrics::Measured(Vec::new()), ..Facts::favourable(UID) };
        let mut life = Life::of(plan, facts, FeatureRolloutStatus::default(), START);
        for _ in 0..3 {
            life.wait(60);
            life.facts.metrics = measured(&cohorts, &triggers, bad, life.now);
            life.settle();
            assert!(size(&life.status) > MOST, "nothing to fit");
            trim(&mut life.status);
            assert!(size(&life.status) <= MOST || bad > 5, "{bad}: {} bytes", size(&life.status));
            assert!(size(&life.status) <= 3 * MOST, "{bad}: {} bytes", size(&life.status));
            let mut again = decide(&life.plan, &life.status, &life.facts, life.now).status;
            trim(&mut again);
            assert!(again == life.status, "{bad}: fits differently when it is decided again");
            let served = life.status.cohorts.iter().all(|cohort| cohort.decided().to_string() == "33%");
            assert!(served && life.status.position.is_some());
        }
        let levels = || life.status.triggers.iter().flat_map(|known| &known.levels);
        // Up to here what is in breach is remembered whole, and what rolls back whatever is in breach.
        if bad <= 5 {
            assert_eq!(levels().count(), bad * 4);
        }
        let rolls_back = |level: &&LevelStatus| level.action().unwrap() > LevelAction::Pause;
        assert_eq!(levels().filter(rolls_back).count(), bad * 2);
        // They have not been counted from anew each time either: two minutes lie between the three samples.
        let counted = levels().filter(rolls_back).map(|level| level.breach.unwrap().milliseconds);
        assert!(counted.clone().all(|counted| counted == 120_000), "{:?}", counted.collect::<Vec<_>>());
    }
}

#[test]
fn case_28_whatever_else_is_long_gives_way_too() {
    let (plan, cohorts, triggers) = largest();
    let facts = Facts { metrics: Metrics::Measured(Vec::new()), ..Facts::favourable(UID) };
    let mut life = Life::of(plan, facts, FeatureRolloutStatus::default(), START);
    life.wait(60).facts.metrics = measured(&cohorts, &triggers, 64, t(START) + SignedDuration::from_secs(60));
    life.settle();
    for _ in 0..30 {
        let reason = "é".repeat(256);
        let answer = life.ask(json!({"action": "Pause", "reason": reason}));
        assert!(answer.starts_with("Applied"));
        let uid = format!("action-{}", life.actions);
        answered(&mut life.status, &uid);
    }
    life.ask(json!({"action": "Rollback", "reason": "é".repeat(256), "rollback": {"mode": "Gradual"}}));
    let at = life.now;
    for i in 0..64 {
        life.status.approvals.push(ApprovalStatus {
            phase: long("p", 63),
            step: long(&format!("s{i}"), 63),
            by: "b".repeat(512),
            at,
        });
    }
    while life.status.actions.len() < 64 {
        let uid = format!("{:036}", life.status.actions.len());
        life.status.actions.push(ActionRecord { uid, until: at, answer: Answer::Applied, message: None });
    }
    for cause in [PauseCause::StatusLost, PauseCause::SetPercent, PauseCause::Trigger, PauseCause::Suspended]
    {
        life.status.pauses.push(Pause { cause, since: at, message: "m".repeat(512) });
    }
    let full = life.status.clone();
    trim(&mut life.status);
    // All but the levels that are on their way to a rollback.
    let mut rest = life.status.clone();
    rest.triggers.clear();
    assert!(size(&rest) <= MOST, "{} bytes", size(&rest));
    let once = life.status.clone();
    trim(&mut life.status);
    assert_eq!(life.status, once);
    // What decides is still there.
    assert_eq!(once.cohorts, full.cohorts);
    assert_eq!(once.position, full.position);
    assert_eq!(once.last_seq(), full.last_seq());
    assert_eq!(once.pauses.len(), full.pauses.len());
    let kept = once.rollback.unwrap();
    let rollback = full.rollback.unwrap();
    assert_eq!(
        (kept.mode, kept.at, kept.cohorts, kept.ladder),
        (rollback.mode, rollback.at, rollback.cohorts, rollback.ladder)
    );
}

#[test]
fn a_status_that_fits_is_left_alone() {
    let mut life = super::triggers::watched(super::triggers::ERRORS);
    life.series("errors", 30, &[11.0; 11]);
    let before = life.status.clone();
    trim(&mut life.status);
    assert_eq!(life.status, before);
}

#[test]
fn no_list_of_a_status_grows_beyond_what_the_schema_takes() {
    let spec = json!({
        "cohorts": (0..8).map(|i| json!({"name": format!("c{i}")})).collect::<Vec<_>>(),
        "schedule": {"startAt": START},
        "phases": [{"name": "ga", "ramp": {"percents": [5, 50, 100], "every": "1000h"}}],
        "triggers": (0..8).map(|i| json!({
            "name": format!("t{i}"), "metric": {"templateRef": {"name": "m"}}, "perCohort": {"label": "cohort"},
            "levels": [{"severity": "Critical", "above": "1", "for": "9h", "action": "Notify"}],
        })).collect::<Vec<_>>(),
    });
    let facts = Facts { metrics: Metrics::Measured(Vec::new()), ..Facts::favourable(UID) };
    let mut life =
        Life::of(super::support::plan(&spec.to_string()), facts, FeatureRolloutStatus::default(), START);
    life.wait(60);
    let at = life.now;
    let reading = |i: usize, j: usize| Measurement {
        subject: Subject::Trigger(format!("t{i}")),
        cohort: Some(format!("c{j}")),
        at,
        due: at,
        reading: Reading::of(0.5, None),
    };
    let all = (0..8).flat_map(|i| (0..8).map(move |j| reading(i, j))).collect();
    life.facts.metrics = Metrics::Measured(all);
    life.settle();
    for i in 0..100 {
        let verb = if i % 2 == 0 { "Pause" } else { "Resume" };
        assert!(life.ask(json!({"action": verb, "reason": "again"})).starts_with("Applied"), "{i}");
        let uid = format!("action-{}", life.actions);
        answered(&mut life.status, &uid);
    }
    for cause in PauseCause::ALL {
        life.status.pauses.push(Pause { cause, since: at, message: "m".to_owned() });
    }
    assert_eq!(life.status.triggers.len(), 64, "as many pairs as a spec may watch");
    assert_eq!((life.status.actions.len(), life.status.history.len()), (48, 20));
    let problems = |status: &FeatureRolloutStatus| crate::api::schema::problems(&json!({"status": status}));
    assert_eq!(problems(&life.status), Vec::<String>::new(), "before anything gives way for want of space");
    trim(&mut life.status);
    assert_eq!(problems(&life.status), Vec::<String>::new());
}

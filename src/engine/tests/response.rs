//! How soon somebody responds: a critical issue starts the clock, an acknowledgement stops it, a missed one is said once.

use serde_json::json;

use super::support::{Life, START, after, t};
use super::triggers::{ERRORS, levels, spec};
use crate::engine::guard_only;
use crate::plan::{GuardSpec, guard};

const CARE: &str = "
monitoring:
- {name: high, until: 168h, interval: 1h, respondWithin: 15m, reviewEvery: 24h}
- {name: standard, interval: 24h, respondWithin: 4h}";

fn cared_for() -> Life {
    Life::watched(&(spec(ERRORS) + CARE))
}

fn rolled_back() -> Life {
    let mut life = cared_for();
    life.series("errors", 30, &[11.0; 11]);
    assert_eq!((life.seconds(), life.served().as_str()), (300, "a=0% b=0%"));
    life
}

fn overdue(life: &Life) -> Vec<String> {
    life.told().into_iter().filter(|told| told.contains("ResponseOverdue")).collect()
}

#[test]
fn a_critical_issue_that_nobody_acknowledges_is_said_once() {
    let mut life = rolled_back();
    let response = life.status.response.clone().unwrap();
    assert_eq!((response.trigger.as_deref(), response.missed_at), (Some("errors"), None));
    assert_eq!(response.until, t("2025-09-08T09:20:00Z"), "a quarter of an hour after it began");
    assert_eq!(life.wake_at, Some(response.until), "it is looked at then");
    life.wait(899);
    assert!(overdue(&life).is_empty());
    life.wait(1);
    assert_eq!(overdue(&life), ["1200 ResponseOverdue schedule"]);
    let entry = life.status.history.last().unwrap();
    assert_eq!(
        entry.message,
        "nobody has acknowledged the critical issue of errors of 2025-09-08T09:05:00Z by 2025-09-08T09:20:00Z"
    );
    assert_eq!(entry.severity.unwrap().as_str(), "Critical");
    life.restart().pass(1000);
    assert_eq!(overdue(&life).len(), 1, "once");
    assert!(life.ask(json!({"action": "Acknowledge"})).starts_with("Applied"), "late is better than never");
    assert_eq!(life.status.response, None);
}

#[test]
fn an_acknowledgement_stops_the_clock() {
    let mut life = rolled_back();
    life.wait(60);
    assert!(life.ask(json!({"action": "Acknowledge"})).starts_with("Applied"));
    life.pass(100);
    assert_eq!((overdue(&life).len(), life.status.response.as_ref()), (0, None));
    assert!(life.ask(json!({"action": "Acknowledge"})).starts_with("Rejected"), "nothing has happened since");
}

#[test]
fn who_starts_again_has_responded() {
    let mut life = rolled_back();
    assert!(life.ask(json!({"action": "Retry"})).starts_with("Applied"));
    assert_eq!(life.status.response, None);
}

#[test]
fn a_level_that_only_warns_starts_no_clock_and_without_a_time_to_respond_none_does() {
    let notify = "{severity: Critical, above: '10', action: Notify}";
    let mut life = levels(notify);
    life.says("errors", 11.0);
    assert_eq!(life.status.response, None, "nobody has said how soon");
    let warns = "[{name: errors, metric: {templateRef: {name: m}}, interval: 30s, levels: [
        {severity: Warning, above: '10', action: Notify}]}]";
    let mut life = Life::watched(&(spec(warns) + CARE));
    life.says("errors", 11.0);
    assert_eq!(life.status.response, None);
    let mut life = Life::watched(&(spec(&warns.replace("Warning", "Critical")) + CARE));
    life.says("errors", 11.0);
    assert!(life.status.response.is_some());
    life.wait(900);
    assert_eq!(overdue(&life), ["900 ResponseOverdue schedule"]);
}

#[test]
fn an_invalid_edit_does_not_stop_the_clock() {
    let life = rolled_back();
    let whole = super::support::rollout(&(spec(ERRORS) + CARE));
    let kept = guard(&GuardSpec::of(&whole.spec), &[], &mut Vec::new());
    let metrics = life.facts.metrics.clone();
    let before = guard_only(&kept, &life.status, &metrics, life.now);
    let until = life.status.response.as_ref().unwrap().until;
    assert_eq!(before.wake_at, Some(until));
    let missed = guard_only(&kept, &before.status, &metrics, until);
    assert!(missed.status.response.unwrap().missed_at.is_some());
}

#[test]
fn a_finished_rollout_is_reviewed_by_an_acknowledgement_where_that_is_expected() {
    let finished = |care: &str| {
        let spec = format!(
            "{{cohorts: [{{name: a}}], schedule: {{startAt: '{START}'}}, phases: [{{name: ga, steps: [{{cohorts: {{a: 100}}, hold: 1h}}]}}]{care}}}"
        );
        let mut life = Life::begin(&spec, START);
        life.pass(2);
        assert!(life.completed_at().is_some());
        life
    };
    let care = ", monitoring: [{name: high, until: 48h, interval: 1h, reviewEvery: 24h}, {name: late, interval: 24h}]";
    let mut life = finished(care);
    for hours in [3, 20] {
        assert!(life.ask(json!({"action": "Acknowledge"})).starts_with("Applied"), "each review counts");
        assert_eq!(life.status.acknowledged_at, Some(life.now));
        life.until(after(START, hours));
    }
    life.until(after(START, 100));
    assert!(
        life.ask(json!({"action": "Acknowledge"})).starts_with("Rejected"),
        "no reviews are expected any more"
    );
    assert!(finished("").ask(json!({"action": "Acknowledge"})).starts_with("Rejected"));
}

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::api::measured::MeasuredKind;

fn rollout(status: Value) -> FeatureRollout {
    serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout",
        "metadata": {"name": "dreams", "namespace": "maya"},
        "spec": {"feature": {"title": "Dreams", "owner": "team-dreams"}, "phases": []},
        "status": status,
    }))
    .unwrap()
}

fn status(more: Value) -> Value {
    let mut status = json!({
        "uid": "1", "revision": 3, "deliveredRevision": 3, "state": "Holding",
        "cohorts": [{"name": "regular", "served": "50%", "asked": "50%"}],
    });
    status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    status
}

const AT: &str = "2025-09-08T09:00:00.000000Z";

fn rollback(more: Value) -> Value {
    let mut rollback = json!({
        "mode": "Immediate", "at": AT, "by": "trigger/errors", "message": "12 above 10", "cohorts": ["regular"],
    });
    rollback.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"rollback": rollback})
}

fn trigger(verdict: &str) -> Value {
    json!({"triggers": [{"name": "errors", "verdict": verdict, "since": AT, "value": "12"}]})
}

fn waits(check: &str) -> Value {
    json!({"waitingFor": {"check": check, "message": "because", "until": AT}})
}

#[rstest]
#[case::new(json!({}), Group::Moving, "not seen")]
#[case::holds(status(waits("Hold")), Group::Waiting, "because")]
#[case::waits_for_a_window(status(waits("Window")), Group::Waiting, "because")]
#[case::waits_for_somebody(status(waits("Approval")), Group::Person, "because")]
#[case::a_trigger_is_not_quiet(status(waits("Triggers")), Group::Attention, "because")]
#[case::in_breach(status(trigger("Breach")), Group::Attention, "errors is in breach at 12")]
#[case::in_breach_while_it_waits(
    { let mut both = trigger("Breach"); both["waitingFor"] = waits("Hold")["waitingFor"].clone(); status(both) },
    Group::Attention, "errors is in breach"
)]
#[case::going_back(status(rollback(json!({}))), Group::Attention, "under way; Immediate rollback by trigger/errors")]
#[case::back(status(rollback(json!({"endedAt": AT}))), Group::Attention, "Immediate rollback")]
#[case::back_and_seen(status(rollback(json!({"endedAt": AT, "acknowledgedAt": AT}))), Group::Person, "Immediate")]
#[case::paused_by_somebody(
    status(json!({"pauses": [{"cause": "Person", "since": AT, "message": "ada paused: lunch"}]})),
    Group::Person, "ada paused: lunch; resume"
)]
#[case::paused_by_a_trigger(
    status(json!({"pauses": [{"cause": "Trigger", "since": AT, "message": "errors"}]})),
    Group::Attention, "Trigger: "
)]
#[case::being_written(status(json!({"revision": 4})), Group::Moving, "being written")]
#[case::finished(status(json!({"completedAt": AT})), Group::Finished, "every step is done")]
#[case::finished_for_all(
    status(json!({"completedAt": AT, "cohorts": [{"name": "regular", "served": "100%", "asked": "100%"}]})),
    Group::Finished, "can be removed from the code"
)]
fn what_a_rollout_needs(#[case] status: Value, #[case] group: Group, #[case] why: &str) {
    let row = Row::of_rollout(&rollout(status));
    assert_eq!(row.group, group, "{row:?}");
    assert!(row.why.contains(why), "{row:?}");
}

/// A trigger in breach by 11.187339, two of whose levels are, one of which has acted.
fn breached() -> Value {
    let streak = json!({"milliseconds": 60_000, "last": AT, "samples": 2});
    let mut triggers = trigger("Breach");
    triggers["triggers"][0]["value"] = json!("11.187339");
    triggers["triggers"][0]["levels"] = json!([
        {"rule": "Notify above 1", "breach": streak, "actedAt": AT},
        {"rule": "Pause above 5", "breach": streak},
        {"rule": "ImmediateRollback above 10", "breach": streak},
        {"rule": "GradualRollback above 50"},
    ]);
    status(triggers)
}

#[test]
fn a_breach_is_told_with_its_unit_its_bound_and_what_follows() {
    let row = Row::of_rollout(&rollout(breached()));
    assert_eq!(row.why, "errors is in breach at 11.19; ImmediateRollback follows if it stays above 10");
    let breach = row.breach.unwrap();
    let told = |units: &Units| breach.words(units);
    let percent = Units::of(&[(MeasuredKind::Trigger, "errors", "%")]);
    assert_eq!(
        told(&percent),
        "errors is in breach at 11.19%; ImmediateRollback follows if it stays above 10%"
    );
    let other = Units::of(&[(MeasuredKind::Criterion, "errors", "ms")]);
    assert_eq!(told(&other), row.why);
}

#[test]
fn what_is_not_about_a_breach_has_none() {
    let mut paused = breached();
    paused["pauses"] = json!([{"cause": "Person", "since": AT, "message": "ada paused: lunch"}]);
    assert_eq!(Row::of_rollout(&rollout(paused)).breach, None);
}

#[test]
fn a_row_says_what_is_served_and_what_comes() {
    let cohorts = json!([
        {"name": "a", "served": "12.5%", "asked": "50%",
         "pending": {"percent": "50%", "check": "Window", "due": AT, "cause": "Step"}},
        {"name": "b", "served": "0%", "asked": "0%"},
    ]);
    let row = Row::of_rollout(&rollout(status(json!({"cohorts": cohorts}))));
    let bars: Vec<(&str, u32, u32)> =
        row.cohorts.iter().map(|bar| (bar.served.as_str(), bar.served_width, bar.pending_width)).collect();
    assert_eq!(bars, [("12.5%", 12_500, 50_000), ("0%", 0, 0)]);
    assert_eq!(
        (row.title.as_str(), row.owner.as_str(), row.flag.as_str()),
        ("Dreams", "team-dreams", "dreams")
    );
    assert!(row.has("dreams") && row.has("maya/") && row.has("team-") && !row.has("nightmares"));
}

#[test]
fn an_object_that_cannot_be_read_has_a_row_that_says_so() {
    let guarded: DeserializeGuard<FeatureRollout> =
        serde_json::from_value(json!({"metadata": {"name": "odd", "namespace": "maya"}, "spec": 7})).unwrap();
    let row = Row::of(&guarded);
    assert_eq!((row.state.as_str(), row.group), ("Unreadable", Group::Attention));
    assert_eq!(row.id.to_string(), "maya/odd");
    assert!(!row.why.is_empty());
}

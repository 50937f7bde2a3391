use serde_json::json;

use super::*;
use crate::api::FeatureRolloutStatus;
use crate::engine::{is_raising, precedence};

fn action(name: &str, rollout: &str, created: &str, version: u64) -> DeserializeGuard<RolloutAction> {
    let object = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "RolloutAction",
        "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"),
            "creationTimestamp": created, "resourceVersion": version.to_string()},
        "spec": {"rolloutRef": {"name": rollout}, "action": "Pause", "reason": "test"},
    });
    serde_json::from_value(object).unwrap()
}

fn answered(name: &str, rollout: &str, version: u64) -> DeserializeGuard<RolloutAction> {
    let mut answered = action(name, rollout, EARLY, version);
    answered.0.as_mut().unwrap().status =
        Some(serde_json::from_value(json!({"observedGeneration": 1, "answer": "Applied"})).unwrap());
    answered
}

const EARLY: &str = "2026-01-01T00:00:00Z";
const LATE: &str = "2026-01-01T00:00:01Z";

fn rollout(name: &str) -> ObjectKey {
    ("ns".to_owned(), name.to_owned())
}

/// What stops and lowers whatever is served.
fn rank(action: &RolloutAction) -> Rank {
    let status = FeatureRolloutStatus::default();
    Rank { precedence: precedence(&action.spec, &status), raises: is_raising(&action.spec, &status) }
}

/// Carries out everything that waits for a rollout.
fn drain(pending: &mut Pending, name: &str) -> Vec<String> {
    let mut order = Vec::new();
    while let Some(next) = pending.next(&rollout(name), rank) {
        order.push(next.asked.name_any());
        pending.answered(&next.asked);
    }
    order
}

fn listed(actions: Vec<DeserializeGuard<RolloutAction>>) -> Pending {
    let mut pending = Pending::default();
    pending.event(Event::Init);
    for action in actions {
        pending.event(Event::InitApply(action));
    }
    pending.event(Event::InitDone);
    pending
}

#[test]
fn the_order_is_that_of_creation_whatever_the_names_and_the_list_say() {
    let mut pending = listed(vec![
        action("a", "r", LATE, 12),
        action("b", "r", EARLY, 11),
        action("c", "r", EARLY, 9),
        action("d", "other", EARLY, 10),
    ]);
    let mut started = pending.start();
    started.sort();
    assert_eq!(started, [rollout("other"), rollout("r")]);
    assert_eq!(pending.start(), Vec::<ObjectKey>::new(), "both are at work");
    pending.ended(&rollout("r"));
    assert_eq!(pending.start(), [rollout("r")], "the work on it ended before its time");
    pending.all_ended();
    assert_eq!(pending.start().len(), 2);
    assert_eq!(drain(&mut pending, "r"), ["c", "b", "a"]);
    assert_eq!(drain(&mut pending, "other"), ["d"]);
}

/// One action a verb, in the order of creation.
fn of_verbs(verbs: &[(&str, serde_json::Value)]) -> Pending {
    let with = |(i, (name, spec)): (usize, &(&str, serde_json::Value))| {
        let mut action = action(name, "r", EARLY, i as u64 + 1);
        let mut json = json!({"rolloutRef": {"name": "r"}, "reason": "test"});
        json.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        action.0.as_mut().unwrap().spec = serde_json::from_value(json).unwrap();
        action
    };
    listed(verbs.iter().enumerate().map(with).collect())
}

#[test]
fn what_stops_and_lowers_overtakes_the_rest_the_stronger_first() {
    let mut pending = of_verbs(&[
        ("ack", json!({"action": "Acknowledge"})),
        ("retry", json!({"action": "Retry"})),
        ("pause", json!({"action": "Pause"})),
        ("ack-again", json!({"action": "Acknowledge"})),
        ("up", json!({"action": "SetPercent", "setPercent": {"a": 60}})),
        ("down", json!({"action": "SetPercent", "setPercent": {"a": 0}})),
        ("gradual", json!({"action": "Rollback", "rollback": {"mode": "Gradual"}})),
        ("of-a", json!({"action": "Rollback", "rollback": {"cohorts": ["a"]}})),
        ("all", json!({"action": "Rollback"})),
        ("pause-again", json!({"action": "Pause"})),
    ]);
    let order = drain(&mut pending, "r");
    let lowering = ["all", "gradual", "of-a", "down", "pause", "pause-again"];
    assert_eq!(order[..6], lowering);
    assert_eq!(order[6..], ["ack", "retry", "ack-again", "up"], "the rest in the order of creation");
}

#[test]
fn what_has_nothing_to_lower_yet_goes_in_its_turn_until_something_was_carried_out() {
    let mut pending = of_verbs(&[
        ("retry", json!({"action": "Retry"})),
        ("ack", json!({"action": "Acknowledge"})),
        ("rollback", json!({"action": "Rollback"})),
    ]);
    let r = rollout("r");
    let next = |pending: &mut Pending| {
        pending.next(&r, rank).map(|next| (next.asked.name_any(), next.overtakes, next.asked)).unwrap()
    };
    let (name, overtakes, asked) = next(&mut pending);
    assert_eq!((name.as_str(), overtakes), ("rollback", true));
    pending.goes_in_turn(&r, &asked);
    let (name, overtakes, asked) = next(&mut pending);
    assert_eq!((name.as_str(), overtakes), ("retry", false));
    pending.answered(&asked);
    pending.carried_out(&r);
    assert_eq!(drain(&mut pending, "r"), ["rollback", "ack"]);
    assert!(pending.in_turn.is_empty());
}

#[test]
fn nothing_begins_before_the_first_list_is_complete() {
    let mut pending = Pending::default();
    pending.event(Event::Init);
    pending.event(Event::InitApply(action("b", "r", LATE, 2)));
    assert_eq!(pending.start(), Vec::<ObjectKey>::new());
    pending.event(Event::InitApply(action("a", "r", EARLY, 1)));
    pending.event(Event::InitDone);
    assert_eq!(pending.start(), [rollout("r")]);
    assert_eq!(drain(&mut pending, "r"), ["a", "b"]);
}

#[test]
fn what_was_answered_does_not_come_back_by_a_late_event_or_list() {
    let mut pending = listed(vec![action("a", "r", EARLY, 1)]);
    assert_eq!(pending.start(), [rollout("r")]);
    assert_eq!(drain(&mut pending, "r"), ["a"]);
    pending.event(Event::Apply(action("a", "r", EARLY, 2)));
    pending.event(Event::Init);
    pending.event(Event::InitApply(action("a", "r", EARLY, 2)));
    pending.event(Event::InitDone);
    assert_eq!(pending.start(), Vec::<ObjectKey>::new());
    // Another object of the name is another action.
    pending.event(Event::Delete(answered("a", "r", 3)));
    let mut again = action("a", "r", LATE, 4);
    again.0.as_mut().unwrap().metadata.uid = Some("another".to_owned());
    pending.event(Event::Apply(again));
    assert_eq!(pending.start(), [rollout("r")]);
}

#[test]
fn an_edited_label_changes_no_order_and_an_answer_from_elsewhere_ends_it() {
    let mut pending = listed(vec![action("a", "r", EARLY, 1), action("b", "r", EARLY, 2)]);
    pending.event(Event::Apply(action("a", "r", EARLY, 3)));
    assert_eq!(pending.next(&rollout("r"), rank).map(|next| version(&*next.asked)), Some(3));
    pending.event(Event::Apply(answered("a", "r", 4)));
    assert_eq!(drain(&mut pending, "r"), ["b"]);
    // One that a fresh list does not have was deleted meanwhile.
    let mut pending = listed(vec![action("a", "r", EARLY, 1)]);
    pending.event(Event::Init);
    pending.event(Event::InitDone);
    assert_eq!(pending.start(), Vec::<ObjectKey>::new());
}

#[test]
fn of_many_rollouts_a_namespace_has_some_at_work_first_those_that_are_to_be_stopped() {
    let mut pending = listed(Vec::new());
    let of_verb = |index: usize, verb: &str| {
        let mut action = action(&format!("a{index:03}"), &format!("r{index:03}"), EARLY, 10 + index as u64);
        action.0.as_mut().unwrap().spec.action = serde_json::from_value(json!(verb)).unwrap();
        action
    };
    for index in 0..100 {
        pending.event(Event::Apply(of_verb(index, if index == 99 { "Rollback" } else { "Promote" })));
    }
    let begun = pending.start();
    assert_eq!((begun.len(), &*begun[0].1, &*begun[1].1), (AT_WORK, "r099", "r000"));
    assert_eq!(pending.start(), Vec::<ObjectKey>::new());
    pending.event(Event::Apply(of_verb(100, "Promote")));
    pending.event(Event::Apply(of_verb(101, "Pause")));
    assert_eq!(pending.start(), [rollout("r101")], "what stops waits for no place of the others");
    pending.ended(&begun[0]);
    assert_eq!(pending.start(), [begun[0].clone()], "it still has an action");
}

#[test]
fn nothing_is_kept_of_an_action_but_what_it_is_judged_by() {
    let mut long = action("a", "r", EARLY, 1);
    let meta = long.meta_mut();
    meta.annotations = Some(BTreeMap::from([
        ("note".to_owned(), "x".repeat(250_000)),
        (TRACKED_BY[0].to_owned(), "x".repeat(1000)),
    ]));
    meta.finalizers = Some(vec!["example.com/wait".to_owned()]);
    let mut pending = listed(vec![long]);
    let asked = pending.next(&rollout("r"), rank).unwrap().asked;
    assert_eq!(asked.annotations(), &BTreeMap::from([(TRACKED_BY[0].to_owned(), String::new())]));
    assert_eq!((asked.meta().finalizers.clone(), asked.uid()), (None, Some("uid-a".to_owned())));
}

#[test]
fn what_is_too_large_to_be_answered_is_not_kept_and_told() {
    let large = |bytes: usize| {
        let mut large = action("large", "r", EARLY, 1);
        large.meta_mut().finalizers =
            Some((0..bytes / 100).map(|i| format!("example.com/{i:0>86}")).collect());
        large
    };
    let mut pending = listed(vec![action("small", "r", LATE, 2)]);
    assert_eq!(pending.event(Event::Apply(large(600_000))), None);
    assert_eq!(drain(&mut pending, "r"), ["large", "small"]);
    let mut pending = listed(vec![]);
    let told = pending.event(Event::Apply(large(1_400_000))).unwrap();
    assert_eq!((told.name.as_deref(), told.uid.as_deref()), (Some("large"), Some("uid-large")));
    assert_eq!(drain(&mut pending, "r"), [""; 0]);
    // Stored it is six times as long.
    let mut escaped = action("escaped", "r", EARLY, 1);
    escaped.meta_mut().annotations = Some(BTreeMap::from([("note".to_owned(), "<".repeat(250_000))]));
    assert!(listed(vec![]).event(Event::Apply(escaped)).is_some());
}

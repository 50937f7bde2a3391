use super::*;
use crate::api::{Condition, State};
use crate::engine::tests::support::{plan, t};
use crate::engine::{Facts, Ground, Request, act, decide};

const SPEC: &str = "
cohorts: [{name: everyone, share: 100}]
phases: [{name: ga, ramp: {percents: [100], every: 1h}}]
criteria:
- {name: rating, manual: {value: '4.4', at: '2025-01-01T00:00:00Z'}, above: '4.2'}
- {name: adoption, metric: {templateRef: {name: adoption}}, atLeast: '70'}
";

fn find<'a>(status: &'a FeatureRolloutStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

fn reported(mut status: FeatureRolloutStatus, now: &str, delivery: Delivery) -> FeatureRolloutStatus {
    let plan = plan(SPEC);
    report(
        &mut status,
        &Report { plan: &plan, delivery, next: None, no_room: None, generation: 1, now: t(now) },
    );
    status
}

fn rolled_back() -> FeatureRolloutStatus {
    let plan = plan(SPEC);
    let facts = Facts::favourable("uid-1");
    let now = t("2025-09-08T00:00:00Z");
    let status = decide(&plan, &FeatureRolloutStatus::default(), &facts, now).status;
    let status = reported(status, "2025-09-08T00:00:00Z", Delivery::Done);
    let spec = serde_json::from_value(serde_json::json!({
        "rolloutRef": {"name": "r"}, "action": "Rollback", "reason": "it hurts",
        "rollback": {"mode": "Gradual"},
    }))
    .unwrap();
    let request = Request {
        uid: "a-1",
        spec: &spec,
        created: now,
        version: 1,
        actor: crate::engine::Actor::Verified("ada".to_owned()),
        tracked_by: None,
        speed: 1,
        rollout_uid: "uid-1",
        generation: 1,
    };
    act(Ground::Plan(&plan, &facts), &status, &request, t("2025-09-08T00:10:00Z")).status
}

#[test]
fn a_rollback_shows_before_the_file_has_it() {
    let status = reported(rolled_back(), "2025-09-08T00:10:00Z", Delivery::UnderWay);
    assert_eq!(find(&status, types::ROLLED_BACK).unwrap().status, "True");
    assert_eq!(find(&status, types::READY).unwrap().reason, "RollingBack");
    assert_eq!(find(&status, types::READY).unwrap().status, "False");
    assert_eq!(status.state.map(State::as_str), Some("RollingBack"));
}

#[test]
fn a_ladder_is_in_progress_and_its_end_is_a_failure() {
    let status = reported(rolled_back(), "2025-09-08T00:10:01Z", Delivery::Done);
    assert!(find(&status, types::RECONCILING).is_some() && find(&status, types::STALLED).is_none());
    let message = &find(&status, types::READY).unwrap().message;
    assert!(message.contains("gradual rollback by ada"), "{message}");
    assert!(message.contains("the next rung comes at 2025-09-08T00:20:00Z"), "{message}");
    let ended = decide(&plan(SPEC), &status, &Facts::favourable("uid-1"), t("2025-09-08T00:40:00Z")).status;
    let ended = reported(ended, "2025-09-08T00:40:00Z", Delivery::Done);
    assert!(find(&ended, types::STALLED).is_some() && find(&ended, types::RECONCILING).is_none());
    assert_eq!(ended.state.map(State::as_str), Some("RolledBack"));
    assert_eq!(ended.served.as_deref(), Some("everyone=0%"));
}

#[test]
fn criteria_are_met_only_when_all_were_measured_and_pass() {
    let status = rolled_back();
    let status = reported(status, "2025-09-08T00:10:01Z", Delivery::Done);
    let met = find(&status, types::CRITERIA_MET).unwrap();
    assert_eq!((met.status.as_str(), met.reason.as_str()), ("False", "CriteriaNotMet"));
    assert_eq!(met.message, "adoption not measured");
}

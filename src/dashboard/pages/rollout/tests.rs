use rstest::rstest;
use serde_json::json;

use super::*;
use crate::api::FeatureRollout;
use crate::dashboard::text::templates;
use crate::plan::{Refs, compile, join_errors};

const NOW: &str = "2025-09-08T09:00:10Z";
const SPEC: &str = "
cohorts: [{name: all}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, gates: [adoption], ramp: {percents: [10, 100], every: 24h}}]
triggers:
- name: errors
  metric: {templateRef: {name: a}}
  levels: [{severity: Critical, above: '10', for: 5m, action: ImmediateRollback}]
- name: latency
  perCohort: {label: cohort}
  metric: {templateRef: {name: b}}
  levels: [{severity: Warning, above: '500', action: Pause}]
criteria:
- {name: adoption, metric: {templateRef: {name: a}}, atLeast: '70'}
- {name: visits, metric: {templateRef: {name: a}}}
- {name: rating, manual: {value: '4.4', at: '2025-09-01T00:00:00Z'}, above: '4.2'}";

/// The page of a rollout with this status; an undefined value in it would be an error.
fn page(status: Option<serde_json::Value>, courses: Value) -> String {
    let now: MicroTime = NOW.parse().unwrap();
    let mut rollout = FeatureRollout::new("r", serde_saphyr::from_str(SPEC).unwrap());
    rollout.metadata.namespace = Some("maya".to_owned());
    rollout.status = status.map(|status| serde_json::from_value(status).unwrap());
    let plan = compile(&rollout, Refs::default()).map_err(|errors| join_errors(&errors));
    let seen = Seen { plan, rollout, flag_set: None, unread: Vec::new(), unused: Vec::new() };
    let guard = guard_of(&seen);
    let base = context! {
        here => "rollouts", cluster => "test", assets => super::super::assets::links(), who => "ada", csrf => "x",
        may_sign_out => false, now => NOW, beat => 4,
    };
    let values = context! {
        answer => None::<Value>,
        actions => actions(&seen, &Rights::default()),
        ..context! { ..courses, ..values(&seen, &guard, &Units::default(), now), ..base }
    };
    let templates = templates().unwrap();
    templates.get_template("rollout.html").unwrap().render(values).unwrap()
}

/// It gave 500 until everything that watches had been measured once.
#[rstest]
#[case::not_seen_yet(None)]
#[case::begun_and_nothing_measured(Some(json!({
    "uid": "u", "firstSeen": "2025-09-08T09:00:00Z", "revision": 1, "deliveredRevision": 1,
    "cohorts": [{"name": "all", "asked": 0, "served": 0}],
})))]
#[case::some_measured(Some(json!({
    "uid": "u", "firstSeen": "2025-09-08T09:00:00Z", "revision": 1, "deliveredRevision": 1,
    "cohorts": [{"name": "all", "asked": 10, "served": 10}],
    "triggers": [
        {"name": "errors", "verdict": "NoData", "since": NOW, "message": "no series"},
        {"name": "latency", "cohort": "all", "verdict": "Pass", "since": NOW, "at": NOW, "value": "12"}],
    "criteria": [{"name": "adoption", "verdict": "ProviderError", "since": NOW}],
})))]
fn the_page_can_be_made_before_the_first_measurement(#[case] status: Option<serde_json::Value>) {
    let begun = status.is_some();
    for courses in [
        context! { courses => Vec::<String>::new() },
        context! { courses => Vec::<String>::new(), every => 5 },
        context! { no_courses => "the controller has not begun yet" },
    ] {
        let page = page(status.clone(), courses);
        assert!(
            page.contains("Triggers and criteria") && page.contains("not measured yet"),
            "{begun}: {page}"
        );
        assert!(page.contains("above 10 for 5m: ImmediateRollback (Critical)"), "{page}");
    }
}

const AT: &str = "2025-09-08T09:00:00Z";

/// A status that serves less than a step has asked for.
fn lowered(more: serde_json::Value) -> serde_json::Value {
    let mut status = json!({
        "uid": "u", "firstSeen": AT, "revision": 1, "deliveredRevision": 1,
        "cohorts": [{"name": "all", "asked": 10, "served": 0}],
    });
    status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    status
}

fn rolled_back(more: serde_json::Value) -> serde_json::Value {
    let mut rollback = json!({
        "mode": "Immediate", "at": AT, "by": "trigger/errors", "message": "12 above 10", "cohorts": ["all"],
        "trigger": "errors", "endedAt": AT,
    });
    rollback.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let history = json!([{
        "seq": 1, "at": "2025-09-08T09:00:05Z", "reason": "Acknowledged", "message": "acknowledged: on it", "who": "ada",
    }]);
    lowered(json!({"rollback": rollback, "history": history}))
}

fn without_courses(status: serde_json::Value) -> String {
    page(Some(status), context! { courses => Vec::<String>::new() })
}

#[test]
fn a_rollback_says_whether_it_is_verified_and_who_has_acknowledged_it() {
    let fresh = without_courses(rolled_back(json!({})));
    assert!(
        fresh.contains("Nobody has acknowledged it yet.") && fresh.contains("Not verified yet: "),
        "{fresh}"
    );
    let verified = without_courses(rolled_back(json!({"verifiedAt": AT})));
    assert!(verified.contains("Verified: its triggers are quiet again, since <time"), "{verified}");
    assert!(verified.contains("Nobody has acknowledged it yet."), "{verified}");
    let seen =
        without_courses(rolled_back(json!({"verifiedAt": AT, "acknowledgedAt": "2025-09-08T09:00:05Z"})));
    assert!(seen.contains("Verified: ") && seen.contains("by ada, acknowledged: on it"), "{seen}");
    assert!(!seen.contains("Nobody has"), "{seen}");
    // What a person has rolled back no trigger has to pass again.
    let by_hand = without_courses(rolled_back(json!({"trigger": null})));
    assert!(!by_hand.contains("erified") && by_hand.contains("Nobody has acknowledged it yet."), "{by_hand}");
}

#[test]
fn a_cohort_that_is_served_less_than_asked_says_why() {
    assert!(without_courses(rolled_back(json!({}))).contains("<td>Rolled back</td>"));
    let set =
        lowered(json!({"pauses": [{"cause": "SetPercent", "since": AT, "message": "ada set all 10% → 0%"}]}));
    assert!(without_courses(set).contains("<td>Set by a person</td>"));
    let as_asked = lowered(json!({"cohorts": [{"name": "all", "asked": 10, "served": 10}]}));
    assert!(!without_courses(as_asked).contains("<td>Set by a person</td>"));
}

#[test]
fn what_it_waits_for_is_told_once_and_in_the_readers_time() {
    let until = "2025-09-09T09:00:00Z";
    let waiting = json!({"check": "Hold", "until": until, "message": format!("the hold before ga/full lasts until {until}")});
    let page = without_courses(lowered(json!({"waitingFor": waiting})));
    let now = page.split("aria-label=\"Now\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert_eq!(now.matches("<time").count(), 1, "{now}");
    assert!(now.contains("lasts until <time") && now.contains("(in 24 h)"), "{now}");
    // Where the words do not say it, it stands behind them.
    let waiting = json!({"check": "Hold", "until": until, "message": "the hold"});
    let page = without_courses(lowered(json!({"waitingFor": waiting})));
    let now = page.split("aria-label=\"Now\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(now.contains("the hold — <time") && now.contains("(in 24 h)"), "{now}");
}

#[test]
fn an_edit_can_be_tried_without_opening_anything() {
    let page = without_courses(lowered(json!({})));
    let coming = page.split("<h2>What comes</h2>").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(coming.contains("/try?namespace=maya&amp;rollout=r\">Try an edit</a>"), "{coming}");
}

#[rstest]
#[case::not_acknowledged(json!({}), true)]
#[case::acknowledged(json!({"acknowledgedAt": AT}), false)]
fn who_has_acknowledged_a_rollback_is_not_asked_to_again(
    #[case] more: serde_json::Value,
    #[case] asked: bool,
) {
    let status: FeatureRolloutStatus = serde_json::from_value(rolled_back(more)).unwrap();
    assert_eq!(fits(Action::Acknowledge, &status), asked);
}

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
    let seen = Seen { plan, rollout, flag_set: None, unread: Vec::new() };
    let guard = guard_of(&seen);
    let base = context! {
        here => "rollouts", cluster => "test", assets => super::super::assets::links(), who => "ada", csrf => "x",
        may_sign_out => false, now => NOW,
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

//! What people read of a rollout, by the states that the engine makes.

use serde_json::json;

use super::describe;
use crate::api::{FeatureRollout, MicroTime, Reading, Reason};
use crate::cli::output::summary::{Columns, Summary, as_table};
use crate::engine::forecast::simulate::{Recorded, simulate};
use crate::engine::{Delivery, Facts, Measurement, Report, Subject, decide, report};
use crate::plan::{Refs, compile};

fn t(text: &str) -> MicroTime {
    text.parse().unwrap()
}

/// A rollout in the middle of its second step: regular users wait for their delay, casual ones are kept out.
fn rollout(now: MicroTime) -> FeatureRollout {
    let mut rollout: FeatureRollout = serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout",
        "metadata": {"name": "dreams", "namespace": "maya", "generation": 1, "creationTimestamp": "2025-09-01T00:00:00Z"},
        "spec": {
            "feature": {"title": "Dreams", "owner": "team-dreams"},
            "cohorts": [
                {"name": "early", "share": 10, "match": {"attributes": {"segment": "A"}}},
                {"name": "regular", "share": 60, "delay": "168h", "match": {"attributes": {"segment": "B"}}},
                {"name": "casual", "share": 30, "admits": ["Core"]}
            ],
            "schedule": {"startAt": "2025-09-08T09:00:00Z"},
            "phases": [{"name": "ga", "steps": [
                {"name": "some", "cohorts": {"early": 50}},
                {"cohorts": {"early": 100, "regular": 25, "casual": 25}, "hold": "48h"},
                {"name": "all", "week": 3, "cohorts": {"regular": 100}}
            ]}]
        }
    }))
    .unwrap();
    let plan = compile(&rollout, Refs::default()).unwrap();
    let mut status = crate::engine::forecast::timeline::state_at(&plan, now, now);
    let next = decide(&plan, &status, &Facts::favourable("dreams"), now).wake_at;
    let of = Report { plan: &plan, delivery: Delivery::Done, next, no_room: None, generation: 1, now };
    report(&mut status, &of);
    rollout.status = Some(status);
    rollout
}

#[test]
fn says_what_is_served_what_comes_next_and_what_it_waits_for() {
    let now = t("2025-09-10T09:00:00Z");
    let text = describe(&rollout(now), now, &Default::default());
    let expected = "\
Rollout:      maya/dreams
Title:        Dreams
Owner:        team-dreams
Flag:         dreams in a file of its own
State:        Holding
Position:     ga/2 (2/3), entered 2025-09-09T09:00:00Z (24h ago)
Exposure:     10%
Next:         2025-09-15T09:00:00Z
Waits for:    CohortDelay: the delay of regular lasts until 2025-09-15T09:00:00Z (until 2025-09-15T09:00:00Z)
Attempt:      1
Audience:     AUDIENCE
Revision:     0, delivered

Cohorts:
COHORT    SERVED   ASKED   PENDING   WHY           DUE
early     100%     100%    -         -             -
regular   0%       25%     25%       CohortDelay   2025-09-15T09:00:00Z
casual    0%       25%     -         Tier          -

Conditions:
";
    let audience = rollout(now).status.unwrap().audience.unwrap().name;
    let (head, tail) = text.split_at(text.find("TYPE").unwrap());
    assert_eq!(head, expected.replace("AUDIENCE", &audience));
    assert!(tail.contains("Ready       True     Holding"), "{tail}");
    let history = tail.split("History:\n").nth(1).unwrap();
    let seqs: Vec<&str> = history.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(seqs, ["1", "2", "3"]);
    assert!(history.contains("entered ga/2 (2/3): early 50% → 100%"), "{history}");
}

#[test]
fn an_object_that_nobody_has_seen_is_told_apart() {
    let mut fresh = rollout(t("2025-09-10T09:00:00Z"));
    fresh.status = None;
    assert!(
        describe(&fresh, t("2025-09-10T09:00:00Z"), &Default::default())
            .contains("State:        not seen by the controller yet\n")
    );
}

/// A misspelt reference in the first draft was told as an object that nobody has seen.
#[test]
fn what_is_wrong_from_the_start_is_told() {
    let now = t("2025-09-10T09:00:00Z");
    let mut fresh = rollout(now);
    let mut status = crate::api::FeatureRolloutStatus::default();
    crate::engine::report::fail(
        &mut status,
        Reason::ReferenceNotFound,
        "CohortSet app/userz is missing",
        1,
        now,
    );
    fresh.status = Some(status);
    let text = describe(&fresh, now, &Default::default());
    assert!(text.contains("State:        Stalled\n"), "{text}");
    assert!(text.contains("Stalled     True") && text.contains("CohortSet app/userz is missing"), "{text}");
    assert!(!text.contains("Cohorts:"), "{text}");
}

#[test]
fn the_summary_has_kubectls_columns_and_what_is_served() {
    let now = t("2025-09-10T09:00:00Z");
    let summary = Summary::of(&rollout(now));
    let expected = "\
NAME     READY   STATE     PHASE   STEP   EXPOSURE   NEXT                   REASON               AGE
dreams   True    Holding   ga      2/3    10%        2025-09-15T09:00:00Z   CohortDelay:regular  9d
";
    let spaces = |text: &str| text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    assert_eq!(spaces(&as_table(std::slice::from_ref(&summary), now, Columns::default())), spaces(expected));
    let wide = as_table(std::slice::from_ref(&summary), now, Columns { wide: true, ..Columns::default() });
    let (heading, row) = wide.split_once('\n').unwrap();
    assert!(heading.ends_with("AGE   SERVED                            FLAGSET   MESSAGE"), "{wide}");
    assert!(spaces(row).contains("9d early=100%,regular=0%,casual=0% serving early 100%"), "{wide}");
    assert_eq!(
        summary.line(),
        "maya/dreams Holding, phase ga, step 2/3, exposure 10%, served early=100%,regular=0%,casual=0%, next 2025-09-15T09:00:00Z"
    );
}

/// Early at 100 %, then a p95 of 6,000 ms from 09:30 on: down the ladder from 09:40 on.
#[test]
fn says_where_a_rollback_stands_and_how_to_go_on() {
    let mut rollout: FeatureRollout = serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout",
        "metadata": {"name": "dreams", "namespace": "maya"},
        "spec": {
            "cohorts": [{"name": "early"}, {"name": "rest"}],
            "schedule": {"startAt": "2025-09-08T09:00:00Z"},
            "phases": [{"name": "ga", "steps": [{"name": "some", "cohorts": {"early": 100}}]}],
            "triggers": [
                {"name": "p95", "metric": {"templateRef": {"name": "p95"}}, "interval": "1m", "levels": [
                    {"severity": "Warning", "above": "800", "for": "30m", "action": "Notify"},
                    {"severity": "Critical", "above": "5000", "for": "10m", "action": "GradualRollback"}
                ]},
                {"name": "errors", "metric": {"templateRef": {"name": "errors"}}, "onNoData": "Ignore",
                    "levels": [{"severity": "Critical", "above": "10", "action": "ImmediateRollback"}]}
            ],
            "criteria": [
                {"name": "quality", "metric": {"templateRef": {"name": "quality"}}, "below": "2"},
                {"name": "rating", "manual": {"value": "4.4", "at": "2025-09-08T08:00:00Z"}, "above": "4.2"}
            ]
        }
    }))
    .unwrap();
    let plan = compile(&rollout, Refs::default()).unwrap();
    let minute = |minute: i64| t("2025-09-08T09:00:00Z") + jiff::SignedDuration::from_mins(minute);
    let sample = |at: i64| Measurement {
        subject: Subject::Trigger("p95".to_owned()),
        cohort: None,
        at: minute(at),
        due: minute(at),
        reading: Reading::of(if at < 30 { 300.0 } else { 6000.0 }, None),
    };
    let now = minute(45);
    let recorded = Recorded::new((0..=45).map(sample).collect(), Vec::new());
    rollout.status = Some(simulate(&plan, &recorded, now, Some(now)).status);
    let units = [("p95".to_owned(), "ms".to_owned()), ("quality".to_owned(), "%".to_owned())].into();
    let rules = super::Rules { units, ..Default::default() };
    let text = describe(&rollout, now, &rules);
    let lines = |from: &str| -> Vec<&str> { text.lines().skip_while(|line| *line != from).skip(1).collect() };
    for line in [
        "Rolled back:  Gradual at 2025-09-08T09:40:00Z by trigger/p95 (Critical): p95 was above 5000 for 10m",
        "Ladder:       early at 50%, 25% at 2025-09-08T09:50:00Z, 0% at 2025-09-08T10:00:00Z",
        "At control:   not yet",
        "Verified:     its trigger has not been quiet for long enough",
        "Acknowledged: by nobody: sluice ack dreams --reason …",
        "To go on:     sluice retry dreams --reason …, or spec.attempt: 2 in git",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    let triggers = lines("Triggers:");
    let cells = |line: &str| -> Vec<String> {
        line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    assert_eq!(cells(triggers[0]), ["TRIGGER", "VERDICT", "FOR", "VALUE", "AS OF", "LIMITS", "NOTE"]);
    let p95 = cells(triggers[1]);
    assert_eq!(p95[..4], ["p95", "Breach", "15m", "6000 ms"], "{text}");
    assert!(p95[4].starts_with("2025-09-08T09:") && p95[4].ends_with(" ago)"), "{text}");
    assert_eq!(p95[5], "above 800 ms → Notify, above 5000 ms → GradualRollback");
    assert!(
        triggers[1].ends_with(
            "Notify above 800 for 15m of 30m; GradualRollback above 5000, acted at 2025-09-08T09:40:00Z"
        ),
        "{text}"
    );
    assert_eq!(
        cells(triggers[2])[..6],
        ["errors", "NoData", "45m", "-", "-", "above 10 → ImmediateRollback"],
        "{text}"
    );
    let criteria = lines("Criteria:");
    assert_eq!(cells(criteria[0])[5], "TARGET");
    assert_eq!(cells(criteria[1]), ["quality", "-", "-", "-", "-", "below 2 %"]);
    assert_eq!(
        cells(criteria[2]),
        ["rating", "Pass", "105m", "4.4", "2025-09-08T08:00:00Z (105m ago)", "above 4.2"]
    );
}

use jiff::tz::TimeZone;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::api::FeatureRollout;

fn at(text: &str) -> MicroTime {
    text.parse().unwrap()
}

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule::new(cron, Some(zone)).unwrap()
}

#[rstest]
// Each day at nine: since yesterday.
#[case(ReportPeriod::Daily, "0 9 * * *", "2025-09-09T16:00:00Z", Some("2025-09-08T16:00:00Z"))]
// A schedule that comes more often tells of a day once.
#[case(ReportPeriod::Daily, "0 9,17 * * *", "2025-09-10T00:00:00Z", None)]
// Monday the fifteenth, since Monday the eighth.
#[case(ReportPeriod::Weekly, "0 9 * * *", "2025-09-15T16:00:00Z", Some("2025-09-08T16:00:00Z"))]
#[case(ReportPeriod::Weekly, "0 9 * * *", "2025-09-16T16:00:00Z", None)]
// On weekdays, and the month begins on a Saturday.
#[case(ReportPeriod::Monthly, "0 9 * * MON-FRI", "2025-11-03T17:00:00Z", Some("2025-10-01T16:00:00Z"))]
#[case(ReportPeriod::Monthly, "0 9 * * MON-FRI", "2025-11-04T17:00:00Z", None)]
// A schedule that comes less often than a day: since it came last.
#[case(ReportPeriod::Daily, "0 9 * * FRI", "2025-09-19T16:00:00Z", Some("2025-09-12T16:00:00Z"))]
// Over a change of clocks by local time.
#[case(ReportPeriod::Daily, "0 9 * * *", "2025-11-03T17:00:00Z", Some("2025-11-02T17:00:00Z"))]
#[case(ReportPeriod::Daily, "0 9 * * *", "2025-11-02T17:00:00Z", Some("2025-11-01T16:00:00Z"))]
fn a_report_is_due_at_the_first_time_of_its_period(
    #[case] period: ReportPeriod,
    #[case] cron: &str,
    #[case] now: &str,
    #[case] expected: Option<&str>,
) {
    let schedule = schedule(cron, "America/Los_Angeles");
    let now = at(now);
    let sent = schedule.last(now.saturating_sub(A_SECOND)).unwrap();
    assert_eq!(since(&schedule, period, sent, now), expected.map(at));
    assert_eq!(since(&schedule, period, now, now), None, "once");
}

/// Nobody ran for three days: what fell due on Monday is told on Wednesday, and no second time.
#[test]
fn a_report_that_was_missed_is_told_later_once() {
    let schedule = schedule("0 9 * * *", "UTC");
    let (friday, wednesday, thursday) =
        (at("2025-09-12T09:00:00Z"), at("2025-09-17T09:00:00Z"), at("2025-09-18T09:00:00Z"));
    assert_eq!(since(&schedule, ReportPeriod::Weekly, friday, wednesday), Some(at("2025-09-08T09:00:00Z")));
    assert_eq!(since(&schedule, ReportPeriod::Weekly, wednesday, thursday), None);
}

fn cohorts() -> Vec<Cohort> {
    serde_json::from_value(json!([
        {"name": "early", "title": "Segment A: early adopters", "share": 10, "profile": "Beta participants",
            "match": {"attributes": {"segment": "A"}}, "monitoring": {"report": "Daily"}},
        {"name": "regular", "title": "Segment B", "share": 60, "match": {"attributes": {"segment": "B"}},
            "delay": "168h", "monitoring": {"report": "Weekly"}},
        {"name": "casual", "admits": ["Core"]},
    ]))
    .unwrap()
}

fn rollout(name: &str, title: &str, status: serde_json::Value) -> FeatureRollout {
    let mut whole = json!({"uid": name, "state": "Holding", "phase": "ga"});
    whole.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout",
        "metadata": {"name": name, "namespace": "maya", "uid": name},
        "spec": {"feature": {"title": title}, "cohortSetRef": {"name": "users"}, "phases": [
            {"name": "beta", "steps": [{"cohorts": {"early": 100}}]},
            {"name": "ga", "steps": [{"name": "half", "week": 4, "cohorts": {"regular": 50}},
                {"name": "full", "week": 5, "cohorts": {"regular": 100, "casual": 100}}]},
        ]},
        "status": whole,
    }))
    .unwrap()
}

/// Dreams has come to half of the regular users, Whispers was taken back, and Search has only begun.
fn rollouts() -> Vec<FeatureRollout> {
    let entry = |seq: i64, at: &str, reason: &str, message: &str| json!({"seq": seq, "at": at, "reason": reason, "message": message, "who": "schedule"});
    vec![
        rollout(
            "dreams",
            "Dreams",
            json!({
                "position": {"phase": "ga", "number": 1, "of": 2, "step": "half", "content": "x",
                    "enteredAt": "2025-09-10T16:00:00Z", "holdFrom": "2025-09-10T16:00:00Z"},
                "cohorts": [
                    {"name": "early", "served": 100, "asked": 100, "exposedAt": "2025-09-08T16:00:00Z"},
                    {"name": "regular", "served": 50, "asked": 50, "exposedAt": "2025-09-10T16:00:00Z"},
                    {"name": "casual", "served": 0, "asked": 0},
                ],
                "waitingFor": {"check": "Hold", "message": "the hold of half is not over", "until": "2025-09-17T16:00:00Z"},
                "triggers": [
                    {"name": "errors", "verdict": "Pass", "since": "2025-09-10T16:00:00Z"},
                    {"name": "crashes", "verdict": "Pass", "since": "2025-09-10T16:00:00Z"},
                    {"name": "slow", "cohort": "early", "verdict": "Pass", "since": "2025-09-10T16:00:00Z", "value": "0.4", "at": "2025-09-10T16:00:00Z"},
                    {"name": "slow", "cohort": "regular", "verdict": "Breach", "since": "2025-09-11T16:00:00Z", "value": "12.5", "at": "2025-09-11T16:00:00Z"},
                ],
                "criteria": [{"name": "adoption", "verdict": "Breach", "since": "2025-09-11T16:00:00Z", "value": "62", "at": "2025-09-11T16:00:00Z"}],
                "history": [
                    entry(1, "2025-09-08T16:00:00Z", "StepEntered", "entered beta/1 (1/3): early 0% → 100%"),
                    entry(2, "2025-09-10T16:00:00Z", "StepEntered", "entered ga/half (2/3): regular 0% → 50%"),
                    entry(3, "2025-09-11T16:00:00Z", "Approved", "approved ga/full: fine"),
                ],
            }),
        ),
        rollout(
            "whispers",
            "Whispers",
            json!({
                "state": "RolledBack",
                "rollback": {"mode": "Immediate", "at": "2025-09-12T10:00:00Z", "by": "trigger/errors", "message": "errors was above 10 for 5m", "cohorts": ["early", "regular"]},
                "cohorts": [{"name": "early", "served": 0}, {"name": "regular", "served": 0}, {"name": "casual", "served": 0}],
                "history": [entry(9, "2025-09-12T10:00:00Z", "RolledBack",
                    "immediate rollback: errors was above 10 for 5m; early 100% → 0%, regular 5% → 0%")],
            }),
        ),
        rollout(
            "search",
            "Search <b>",
            json!({
                "position": {"phase": "beta", "number": 1, "of": 1, "content": "x",
                    "enteredAt": "2025-09-11T16:00:00Z", "holdFrom": "2025-09-11T16:00:00Z"},
                "cohorts": [
                    {"name": "early", "served": 100, "asked": 100},
                    {"name": "regular", "served": 0, "asked": 50,
                        "pending": {"percent": 50, "check": "CohortDelay", "due": "2025-09-18T16:00:00Z", "cause": "Step"}},
                    {"name": "casual", "served": 0, "tierRefused": true},
                ],
            }),
        ),
    ]
}

fn told<'a>(rollouts: &'a [FeatureRollout], cohorts: &'a [Cohort]) -> Vec<Told<'a>> {
    let division = Some(Division { set: Some("users"), cohorts });
    rollouts.iter().map(|rollout| Told { rollout, monitoring: &[], division }).collect()
}

#[test]
fn a_report_says_what_they_get_what_changed_what_was_measured_and_what_comes_next() {
    let (rollouts, cohorts) = (rollouts(), cohorts());
    let told = told(&rollouts, &cohorts);
    let schedule = schedule("0 9 * * *", "America/Los_Angeles");
    let report = |sent: &str, now: &str| message(&schedule, &[], &told, at(sent), at(now));
    // A Monday: the daily one and the weekly one.
    let monday = report("2025-09-14T16:00:00Z", "2025-09-15T16:00:00Z").unwrap();
    assert_eq!(monday.title, "Reports of 2 cohorts on 2025-09-15");
    assert_eq!(
        monday.text,
        "Segment A: early adopters: gets 2 of 3 features; nothing has changed; no trigger is out of bounds
Segment B: gets 1 of 3 features; 2 changes; 1 trigger is out of bounds, or not measured"
    );
    let Details::Chapters(chapters) = &monday.details else { panic!("{monday:?}") };
    assert_eq!(
        plain(&chapters[1]),
        "60% of all users; regular in the CohortSet maya/users
From Mon 2025-09-08 09:00 PDT to Mon 2025-09-15 09:00 PDT

What they get
- Dreams: 50%, the first of them since Wed 2025-09-10 09:00 PDT

What they do not get
- Whispers: rolled back: errors was above 10 for 5m

What has changed
- Dreams: Wed 2025-09-10 09:00 PDT: entered ga/half (2/3): regular 0% → 50%
- Whispers: Fri 2025-09-12 03:00 PDT: immediate rollback: errors was above 10 for 5m, regular 5% → 0%

What was measured
- Dreams: slow of this cohort: out of bounds, 12.5 (Thu 2025-09-11 09:00 PDT)
- Dreams: 2 triggers that measure all users are quiet
- Dreams: criterion adoption: not met, 62 (Thu 2025-09-11 09:00 PDT)

What comes next
- Dreams: 100% by the step ga/full in week 5, which waits: the hold of half is not over (Wed 2025-09-17 09:00 PDT)
- Search <b>: 50%, held back by the delay of the cohort; on Thu 2025-09-18 09:00 PDT at the earliest
"
    );
    let early = &plain(&chapters[0]);
    assert!(
        early.starts_with("Beta participants\n10% of all users; early in the CohortSet maya/users\n"),
        "{early}"
    );
    assert!(early.contains("slow of this cohort: quiet, 0.4") && !early.contains("12.5"), "{early}");
    assert!(!early.contains("What has changed"), "nothing since yesterday: {early}");
    // The next day only the daily one, under its own name.
    let tuesday = report("2025-09-15T16:00:00Z", "2025-09-16T16:00:00Z").unwrap();
    assert_eq!(tuesday.title, "Segment A: early adopters: daily report of 2025-09-16");
    assert_eq!(
        report("2025-09-16T16:00:00Z", "2025-09-16T16:00:00Z"),
        None,
        "nothing is due, nothing is sent"
    );
    // A channel for those who look after one segment.
    let only = message(
        &schedule,
        &["regular".to_owned()],
        &told,
        at("2025-09-14T16:00:00Z"),
        at("2025-09-15T16:00:00Z"),
    );
    assert_eq!(only.unwrap().title, "Segment B: weekly report of 2025-09-15");
}

#[test]
fn a_cohort_that_has_no_reports_can_be_asked_about_and_one_without_rollouts_has_none() {
    let (rollouts, cohorts) = (rollouts(), cohorts());
    let told = told(&rollouts, &cohorts);
    let about = |name: &str| {
        of_name(&told, name, at("2025-09-08T00:00:00Z"), at("2025-09-15T00:00:00Z"), &TimeZone::UTC)
    };
    let casual = plain(&about("casual")[0]);
    assert!(
        casual.contains("- Search <b>: the cohort does not take part in features of the tier Stable\n"),
        "{casual}"
    );
    assert!(casual.contains("- Dreams: 100% by the step ga/full in week 5, which waits: "), "{casual}");
    assert!(about("nobody").is_empty());
}

/// What tenants write calls nobody, formats nothing and is bounded, in every form.
#[test]
fn a_report_takes_the_form_of_each_kind() {
    use crate::notify::form::email;
    let (rollouts, cohorts) = (rollouts(), cohorts());
    let told = told(&rollouts, &cohorts);
    let schedule = schedule("0 9 * * *", "UTC");
    let message =
        message(&schedule, &[], &told, at("2025-09-14T09:00:00Z"), at("2025-09-15T09:00:00Z")).unwrap();
    let html = email::html(&message).unwrap();
    assert!(html.contains("Search &lt;b&gt;") && !html.contains("<b>"), "{html}");
    assert!(html.contains("Segment B</h2>") && html.contains("width:50.0%"), "{html}");
    let text = email::text(&message);
    assert!(text.contains("Segment B\n=========\n60% of all users"), "{text}");
    for chapter in ["Segment A: early adopters", "Segment B"] {
        assert!(text.contains(chapter));
    }
}

//! Samples that go on without end are looked at until they say nothing new, and no further.

use jiff::SignedDuration;

use super::support::{START, after, plan, t};
use crate::api::{MicroTime, Reading};
use crate::engine::forecast::simulate::{Range, Recorded, Simulation, Stop, simulate};
use crate::engine::{Measurement, Subject};

/// Equal samples of a trigger or criterion from one hour on, until another or for ever.
fn range(subject: Subject, from: i64, to: Option<i64>, every: i64, value: f64) -> Range {
    let at = after(START, from);
    let first = Measurement { subject, cohort: None, at, due: at, reading: Reading::of(value, None) };
    Range { first, to: to.map(|to| after(START, to)), every: SignedDuration::from_secs(every) }
}

fn errors(from: i64, to: Option<i64>, value: f64) -> Range {
    range(Subject::Trigger("errors".to_owned()), from, to, 60, value)
}

fn course(spec: &str, ranges: Vec<Range>) -> Simulation {
    let recorded = Recorded::with_ranges(Vec::new(), ranges.into_iter().enumerate().collect(), Vec::new());
    simulate(&plan(spec), &recorded, t("2025-01-01T00:00:00Z"), None)
}

/// Four weeks, looked at each minute.
fn watched(level: &str) -> String {
    format!(
        "
cohorts: [{{name: a}}]
schedule: {{startAt: '{START}'}}
phases: [{{name: ga, ramp: {{percents: [10, 25, 50, 100], every: 168h}}}}]
triggers: [{{name: errors, metric: {{templateRef: {{name: m}}}}, interval: 1m, levels: [{level}]}}]"
    )
}

#[test]
fn what_is_rolled_back_for_good_is_not_looked_at_for_months() {
    let spec = watched("{severity: Critical, above: '10', for: 5m, action: ImmediateRollback}");
    let course = course(&spec, vec![errors(0, None, 20.0)]);
    let rolled_back: MicroTime = "2025-09-08T09:05:00Z".parse().unwrap();
    assert_eq!(course.status.rollback.as_ref().map(|rollback| rollback.at), Some(rolled_back));
    let Some(Stop::Settled(at)) = course.stop else { panic!("{:?}", course.stop) };
    assert!(at >= rolled_back && at < after(START, 1), "nothing but the same samples comes after that: {at}");
}

#[test]
fn what_a_pause_has_put_off_is_still_waited_for() {
    let spec = watched("{severity: Warning, above: '10', action: Pause, resumeAfter: 1h}");
    let course = course(&spec, vec![errors(0, None, 1.0), errors(24, Some(48), 20.0)]);
    let resumed = course.transitions.iter().find(|transition| transition.reason.as_str() == "Resumed");
    let resumed =
        resumed.unwrap_or_else(|| panic!("{:#?}", course.transitions)).at.duration_since(after(START, 48));
    assert!((60..65).contains(&resumed.as_mins()), "an hour of quiet after two days: {resumed:#}");
    // 25 hours and some minutes later than the plan.
    let late = course.status.completed_at.unwrap().duration_since(after(START, 4 * 168));
    assert!((25..27).contains(&late.as_hours()), "{late:#}");
    assert_eq!(course.stop, None, "its end is its completion");
}

/// The window opens each week, and finds the gate shut each week.
#[test]
fn what_time_moves_without_an_end_is_looked_at_as_long_as_the_plan_once_more() {
    let spec = format!(
        "
cohorts: [{{name: a}}]
schedule: {{startAt: '{START}', windows: [{{days: [Mon], from: '09:00', to: '10:00'}}]}}
phases: [{{name: ga, gates: [quality], ramp: {{percents: [10, 100], every: 168h}}}}]
criteria: [{{name: quality, metric: {{templateRef: {{name: m}}}}, below: '2', interval: 1h}}]"
    );
    let quality = range(Subject::Criterion("quality".to_owned()), 0, None, 3600, 3.0);
    let course = course(&spec, vec![quality]);
    // Two weeks are the plan.
    assert_eq!(course.stop, Some(Stop::Far(after(START, 4 * 168))));
    assert!(course.entries.is_empty() && course.status.waiting_for.is_some());
}

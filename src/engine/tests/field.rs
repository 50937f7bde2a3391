//! What went wrong in the field, lived again through the simulation: recorded samples, actions, and what must come of them.

use jiff::SignedDuration;
use serde_json::json;

use super::support::{action, plan, t};
use crate::api::{MicroTime, Reading};
use crate::engine::forecast::simulate::{Recorded, Simulation, simulate};
use crate::engine::{Measurement, Subject};

/// One sample a minute of a trigger, from an instant on.
fn each_minute(trigger: &str, from: &str, readings: Vec<Reading>) -> Vec<Measurement> {
    let at = |minute| t(from) + SignedDuration::from_mins(minute);
    (0..)
        .zip(readings)
        .map(|(minute, reading)| Measurement {
            subject: Subject::Trigger(trigger.to_owned()),
            cohort: None,
            at: at(minute),
            due: at(minute),
            reading,
        })
        .collect()
}

fn value(value: f64) -> Reading {
    Reading::of(value, None)
}

fn none() -> Reading {
    Reading::NoData("no series".to_owned())
}

fn refused() -> Reading {
    Reading::Error("connection refused".to_owned())
}

fn run(
    spec: &str,
    samples: Vec<Measurement>,
    actions: &[(&str, serde_json::Value)],
    until: &str,
) -> Simulation {
    let actions = actions.iter().map(|(at, fields)| (t(at), action(fields.clone()))).collect();
    simulate(&plan(spec), &Recorded::new(samples, actions), t("2025-01-01T00:00:00Z"), Some(t(until)))
}

/// What happened, in words: `09:23 Rejected`.
fn told(course: &Simulation) -> Vec<String> {
    let minute = |at: MicroTime| at.to_string().get(11..16).unwrap().to_owned();
    course.transitions.iter().map(|told| format!("{} {}", minute(told.at), told.reason)).collect()
}

const FLAKY: &str = "
cohorts: [{name: all, share: 100}]
schedule: {startAt: '2026-01-01T00:00:00Z'}
phases: [{name: ga, ramp: {percents: [10, 50, 100], every: 1h}}]
triggers:
- name: errors
  metric: {templateRef: {name: errors}}
  interval: 1m
  levels: [{severity: Critical, above: '5', for: 3m, action: ImmediateRollback}]
  onNoData: ImmediateRollback
  onProviderError: Pause";

/// A single scrape that failed took the feature from everybody, and a single query that failed stopped the schedule.
#[test]
fn one_sample_that_is_missing_is_no_outage() {
    for missing in [none(), refused()] {
        let samples =
            vec![value(0.1), value(0.1), missing.clone(), value(0.1), missing.clone(), missing, value(0.1)];
        let samples = each_minute("errors", "2026-01-01T00:00:00Z", samples);
        let course = run(FLAKY, samples, &[], "2026-01-01T00:07:30Z");
        assert_eq!(told(&course), ["00:00 Started", "00:00 StepEntered"]);
    }
}

#[test]
fn data_that_stays_away_for_three_intervals_is_one() {
    let samples = |missing: Reading| {
        let mut samples = vec![value(0.1), value(0.1)];
        samples.extend(vec![missing; 10]);
        each_minute("errors", "2026-01-01T00:00:00Z", samples)
    };
    // Missing first at 00:02.
    let course = run(FLAKY, samples(none()), &[], "2026-01-01T00:11:00Z");
    assert_eq!(told(&course)[2..], ["00:05 RolledBack"]);
    let course = run(FLAKY, samples(refused()), &[], "2026-01-01T00:11:00Z");
    assert_eq!(told(&course)[2..], ["00:05 Paused"]);
}

/// A metric on trial that has no data yet held every raise, although its only level notifies.
#[test]
fn a_trigger_that_can_only_notify_has_no_say_in_raises() {
    let spec = |more: &str| {
        format!(
            "
cohorts: [{{name: all, share: 100}}]
schedule: {{startAt: '2026-01-01T00:00:00Z'}}
phases: [{{name: ga, ramp: {{percents: [10, 50, 100], every: 10m}}}}]
triggers:
- name: new-metric
  metric: {{templateRef: {{name: new-metric}}}}
  interval: 1m
  levels: [{{severity: Info, above: '5', for: 1m, action: Notify}}]
{more}"
        )
    };
    let steps =
        ["00:00 Started", "00:00 StepEntered", "00:10 StepEntered", "00:20 StepEntered", "00:30 Completed"];
    for missing in [none(), refused()] {
        let samples = each_minute("new-metric", "2026-01-01T00:00:00Z", vec![missing.clone(); 31]);
        let course = run(&spec(""), samples.clone(), &[], "2026-01-01T00:30:00Z");
        assert_eq!(told(&course), steps);
        // Who says so gets it held all the same.
        let course =
            run(&spec("  onNoData: Hold\n  onProviderError: Hold"), samples, &[], "2026-01-01T00:30:00Z");
        assert_eq!(told(&course), steps[..2]);
    }
    let bad = each_minute("new-metric", "2026-01-01T00:00:00Z", vec![value(50.0); 31]);
    let course = run(&spec(""), bad, &[], "2026-01-01T00:30:00Z");
    let (fired, entered): (Vec<String>, Vec<String>) =
        told(&course).into_iter().partition(|told| told.ends_with("TriggerFired"));
    assert_eq!((entered, fired), (steps.map(str::to_owned).to_vec(), vec!["00:01 TriggerFired".to_owned()]));
}

/// A breach that was not finished when the feature was taken away by hand shut out every raise for ever: its series had
/// gone with the users, so no measurement could end it.
#[test]
fn a_breach_that_nobody_is_exposed_to_and_that_is_measured_no_more_binds_nothing() {
    let spec = "
cohorts: [{name: all, share: 100}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, ramp: {percents: [10, 50, 100], every: 1h}}]
triggers:
- name: errors
  metric: {templateRef: {name: m}}
  interval: 1m
  onNoData: Ignore
  levels: [{severity: Critical, above: '10', for: 10m, action: ImmediateRollback}]";
    let mut samples = vec![value(1.0); 20];
    samples.extend(vec![value(20.0); 3]);
    samples.extend(vec![none(); 6 * 60]);
    let samples = each_minute("errors", "2025-09-08T09:00:00Z", samples);
    let of = |action: &str| json!({"action": action});
    let course = run(
        spec,
        samples,
        &[
            ("2025-09-08T09:22:30Z", json!({"action": "SetPercent", "setPercent": {"all": 0}})),
            // While the breach is the newest that is known, it holds.
            ("2025-09-08T09:22:40Z", json!({"action": "SetPercent", "setPercent": {"all": 1}})),
            ("2025-09-08T09:40:00Z", of("Resume")),
            ("2025-09-08T12:00:00Z", json!({"action": "SetPercent", "setPercent": {"all": 0}})),
            ("2025-09-08T12:05:00Z", json!({"action": "SetPercent", "setPercent": {"all": 1}})),
            ("2025-09-08T12:10:00Z", of("Resume")),
        ],
        "2025-09-08T14:00:00Z",
    );
    assert_eq!(
        told(&course)[2..],
        [
            "09:22 PercentSet",
            "09:22 Rejected",
            "09:40 Resumed",
            "10:17 StepEntered",
            "11:17 StepEntered",
            "12:00 PercentSet",
            "12:05 PercentSet",
            "12:10 Resumed",
            "12:27 Completed",
        ],
        "{:?}",
        course.transitions
    );
}

/// Exposed by hand before the first step, a rollout had no instant from which its `initialDelay` counted, and was not
/// measured at all.
#[test]
fn a_first_exposure_by_hand_is_measured_and_gets_its_initial_delay() {
    let spec = "
cohorts: [{name: all, share: 100}]
schedule: {startAt: '2025-09-10T09:00:00Z'}
phases: [{name: ga, ramp: {percents: [10, 50, 100], every: 1h}}]
triggers:
- name: errors
  metric: {templateRef: {name: m}}
  interval: 1m
  initialDelay: 30m
  onNoData: ImmediateRollback
  levels: [{severity: Critical, above: '10', for: 10m, action: ImmediateRollback}]";
    let actions = [
        ("2025-09-08T09:00:00Z", json!({"action": "Pause"})),
        ("2025-09-08T10:00:00Z", json!({"action": "SetPercent", "setPercent": {"all": 5}})),
    ];
    let missing = each_minute("errors", "2025-09-08T08:00:00Z", vec![none(); 360]);
    let course = run(spec, missing, &actions, "2025-09-08T14:00:00Z");
    assert_eq!(
        told(&course),
        ["09:00 Started", "09:00 Paused", "10:00 PercentSet", "10:30 RolledBack"],
        "{:?}",
        course.transitions
    );
    let bad = each_minute("errors", "2025-09-08T08:00:00Z", vec![value(20.0); 360]);
    let course = run(spec, bad, &actions, "2025-09-08T14:00:00Z");
    assert_eq!(told(&course)[3..], ["10:10 RolledBack"], "{:?}", course.transitions);
}

/// A cohort that came two hours after the first was rolled back in the same instant, by a sample of it that was taken while
/// nobody in it had the feature.
#[test]
fn a_late_cohort_gets_its_own_initial_delay() {
    let spec = "
cohorts: [{name: early, share: 10}, {name: late, share: 90, delay: 2h}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, steps: [{cohorts: {early: 100, late: 50}, hold: 24h}]}]
triggers:
- name: slow
  metric: {templateRef: {name: m}}
  interval: 1m
  initialDelay: 5m
  onNoData: ImmediateRollback
  missingFor: 0s
  perCohort: {label: cohort}
  levels: [{severity: Critical, above: '10', for: 10m, action: ImmediateRollback}]";
    let of = |cohort: &str, readings: Vec<Reading>| {
        let mut samples = each_minute("slow", "2025-09-08T09:00:00Z", readings);
        samples.iter_mut().for_each(|sample| sample.cohort = Some(cohort.to_owned()));
        samples
    };
    let until = |arrives: usize| {
        let mut late = vec![none(); 120 + arrives];
        late.extend(vec![value(1.0); 60]);
        let samples = [of("early", vec![value(1.0); 200]), of("late", late)].concat();
        run(spec, samples, &[], "2025-09-08T12:00:00Z")
    };
    // Its series arrives four minutes after it was raised, as the delay allows; or only after that.
    let course = until(5);
    assert_eq!(told(&course)[1..], ["09:00 StepEntered", "11:00 CohortRaised"], "{:?}", course.transitions);
    let course = until(6);
    assert_eq!(told(&course)[3..], ["11:05 RolledBack"], "{:?}", course.transitions);
    let served = |name: &str| course.status.cohort(name).unwrap().served.to_string();
    assert_eq!((served("early").as_str(), served("late").as_str()), ("100%", "0%"));
}

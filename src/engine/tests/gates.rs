//! Criteria and the gates they make, missed steps that wait, and when what is measured.

use rstest::rstest;
use serde_json::json;

use super::support::{Life, START, after, t};
use crate::api::{MicroTime, Reading};
use crate::engine::{Subject, due};

fn gated(criteria: &str) -> Life {
    Life::watched(&format!(
        "
cohorts: [{{name: a}}]
schedule: {{startAt: '{START}'}}
phases:
- {{name: beta, steps: [{{cohorts: {{a: 10}}}}]}}
- {{name: ga, gates: [quality], steps: [{{cohorts: {{a: 50}}}}, {{cohorts: {{a: 100}}}}]}}
criteria: [{criteria}]"
    ))
}

const QUALITY: &str =
    "{name: quality, metric: {templateRef: {name: m}}, below: '2', interval: 1h, minSamples: 500}";

#[test]
fn a_gate_holds_every_raise_of_its_phase_and_no_other() {
    let mut life = gated(QUALITY);
    assert_eq!(life.served(), "a=10%");
    life.pass(24);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=10%", "Gates"));
    assert_eq!(life.why(), "gate quality has no data");
    life.counts("quality", 2.0, Some(500));
    assert_eq!(life.why(), "gate quality does not pass: it must be below 2");
    life.pass(1).counts("quality", 1.9, Some(500));
    assert_eq!(life.served(), "a=50%");
    // And again for the next step of the phase, with what is true by then.
    life.pass(24);
    assert_eq!((life.served().as_str(), life.why()), ("a=50%", "gate quality has no data"));
}

#[rstest]
#[case::enough(1.0, Some(500), "")]
#[case::too_few(1.0, Some(499), "gate quality has no data: fewer samples than the 500 that are needed")]
#[case::uncounted(1.0, None, "gate quality has no data: fewer samples than the 500 that are needed")]
#[case::nan(f64::NAN, Some(500), "gate quality has no data: the value is NaN")]
// −∞ is below 2, and no measurement.
#[case::infinite(f64::NEG_INFINITY, Some(500), "gate quality has no data: the value is infinite")]
#[case::missed(3.0, Some(10_000), "gate quality does not pass: it must be below 2")]
fn peers_4_unmeasured_is_no_success(#[case] value: f64, #[case] samples: Option<u64>, #[case] why: &str) {
    let mut life = gated(QUALITY);
    life.pass(24).counts("quality", value, samples);
    assert_eq!(life.served() == "a=50%", why.is_empty());
    if !why.is_empty() {
        assert_eq!(life.why(), why);
    }
}

#[test]
fn case_33_an_error_of_the_source_keeps_a_gate_shut() {
    let mut life = gated(QUALITY);
    let error = Reading::Error("timed out".to_owned());
    life.pass(24).measure(Subject::Criterion("quality".to_owned()), None, error);
    assert_eq!(life.why(), "gate quality could not be measured: an error of its source: timed out");
}

#[test]
fn a_gate_passes_by_the_present_not_by_what_once_passed() {
    let mut life = gated(QUALITY);
    life.pass(20).counts("quality", 1.0, Some(1000));
    life.pass(4);
    assert_eq!((life.served().as_str(), life.why()), ("a=10%", "gate quality has no data"));
    let mut life = gated(QUALITY);
    life.pass(22).counts("quality", 1.0, Some(1000)).pass(2);
    assert_eq!(life.served(), "a=50%");
}

#[test]
fn what_people_measured_gates_too() {
    let manual = |value: &str| {
        format!("{{name: quality, manual: {{value: '{value}', at: '2025-09-01T00:00:00Z'}}, above: '4.2'}}")
    };
    let mut life = gated(&manual("4.2"));
    life.pass(24);
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=10%", "Gates"));
    let spec = format!(
        "
cohorts: [{{name: a}}]
schedule: {{startAt: '{START}'}}
phases:
- {{name: beta, steps: [{{cohorts: {{a: 10}}}}]}}
- {{name: ga, gates: [quality], steps: [{{cohorts: {{a: 50}}}}, {{cohorts: {{a: 100}}}}]}}
criteria: [{}]",
        manual("4.3")
    );
    life.edit(&spec);
    assert_eq!(life.served(), "a=50%");
    let known = &life.status.criteria[0];
    assert_eq!(
        (known.verdict.map(|verdict| verdict.as_str()), known.value.as_deref()),
        (Some("Pass"), Some("4.3"))
    );
}

#[test]
fn a_criterion_without_a_bound_is_recorded_and_judges_nothing() {
    let mut life = gated(&format!("{QUALITY}, {{name: seen, metric: {{templateRef: {{name: m}}}}}}"));
    life.counts("seen", 12.0, None);
    let known = life.status.criteria.iter().find(|known| known.name == "seen").unwrap();
    assert_eq!((known.verdict, known.value.as_deref()), (None, Some("12")));
    // Recorded is recorded: another value is no transition.
    let before = life.status.clone();
    life.wait(300).counts("seen", 13.0, None);
    assert_eq!(life.status, before);
}

#[test]
fn only_a_change_of_verdict_is_written() {
    let mut life = gated(QUALITY);
    let mut writes = 0;
    for value in [1.0, 1.5, 0.1, 3.0, 4.0, f64::NAN, f64::NAN, 1.0] {
        let before = life.status.clone();
        life.wait(3600).counts("quality", value, Some(1000));
        writes += usize::from(life.status != before);
    }
    // Pass, Breach, NoData, Pass.
    assert_eq!(writes, 4);
    assert_eq!(life.status.criteria[0].since, after(START, 8));
}

#[test]
fn latest_stops_before_a_shut_gate() {
    let spec = format!(
        "
cohorts: [{{name: a}}]
schedule: {{startAt: '{START}', onMissed: Latest, windows: [{{days: [Mon], from: '09:00', to: '10:00'}}]}}
phases:
- name: beta
  steps: [{{cohorts: {{a: 10}}}}, {{cohorts: {{a: 20}}, at: '2025-09-09T09:00:00Z'}}, {{cohorts: {{a: 30}}, at: '2025-09-10T09:00:00Z'}}]
- {{name: ga, gates: [quality], steps: [{{cohorts: {{a: 50}}, at: '2025-09-11T09:00:00Z'}}]}}
criteria: [{QUALITY}]"
    );
    let mut shut = Life::watched(&spec);
    shut.until(t("2025-09-15T09:00:00Z"));
    assert_eq!((shut.served().as_str(), shut.position().as_str()), ("a=30%", "beta/3"));
    let mut open = Life::watched(&spec);
    open.until(t("2025-09-15T08:59:00Z")).counts("quality", 1.0, Some(1000)).until(t("2025-09-15T09:00:00Z"));
    assert_eq!((open.served().as_str(), open.position().as_str()), ("a=50%", "ga/1"));
}

fn holding(extra: &str) -> Life {
    Life::begin(
        &format!(
            "
cohorts: [{{name: a}}]
schedule: {{startAt: '{START}', onMissed: Hold{extra}}}
phases: [{{name: ga, steps: [{{cohorts: {{a: 10}}}}, {{cohorts: {{a: 20}}}}, {{cohorts: {{a: 30}}}}]}}]"
        ),
        START,
    )
}

#[rstest]
#[case::in_time(14 * 60 + 59, "a=20%", "Hold")]
#[case::missed(15 * 60, "a=10%", "Missed")]
fn case_5_a_step_first_considered_a_quarter_of_an_hour_late_waits_for_a_promote(
    #[case] late: i64,
    #[case] served: &str,
    #[case] waits: &str,
) {
    let mut life = holding("");
    // Nobody decides for a day and a bit.
    life.now = after(START, 24) + jiff::SignedDuration::from_secs(late);
    life.settle();
    assert_eq!((life.served().as_str(), life.waits().as_str()), (served, waits));
    if waits == "Missed" {
        life.pass(500);
        assert_eq!(
            (life.served().as_str(), life.why()),
            ("a=10%", "ga/2 was missed and waits for a promote")
        );
        assert!(life.ask(json!({"action": "Promote"})).starts_with("Applied: entered ga/2"));
        life.pass(24);
        assert_eq!(life.served(), "a=30%");
    }
}

#[test]
fn what_windows_delay_is_not_missed() {
    // The second step's time is Tuesday 09:00, and its window a week later: considered then, it is in time.
    let mut life = holding(", windows: [{days: [Mon], from: '09:00', to: '10:00'}]");
    life.until(t("2025-09-15T09:00:00Z"));
    assert_eq!(life.served(), "a=20%");
    life.now = t("2025-09-22T09:15:00Z");
    life.settle();
    assert_eq!((life.served().as_str(), life.waits().as_str()), ("a=20%", "Missed"));
}

#[test]
fn what_waited_for_something_else_is_not_missed() {
    let mut life = holding("");
    life.pass(23).fact(|facts| facts.delivered = false).pass(1);
    assert_eq!(life.waits(), "Delivered");
    life.pass(50).fact(|facts| facts.delivered = true);
    assert_eq!(life.served(), "a=20%");
}

const MONITORED: &str = "
cohorts: [{name: a}]
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, steps: [{cohorts: {a: 100}}]}]
triggers:
- {name: critical, metric: {templateRef: {name: m}}, interval: 30s, levels: [{severity: Warning, above: '1', action: Notify}, {severity: Critical, above: '10', action: ImmediateRollback}]}
- {name: warning, metric: {templateRef: {name: m}}, interval: 30s, levels: [{severity: Warning, above: '1', action: Notify}]}
criteria: [{name: adoption, metric: {templateRef: {name: m}}, atLeast: '70', interval: 10m}]
monitoring: [{name: high, until: 168h, interval: 1h}, {name: standard, interval: 24h}]";

fn intervals(life: &Life) -> Vec<(String, i64)> {
    due(&life.plan.guard, &life.status, life.now)
        .iter()
        .map(|due| {
            let (Subject::Trigger(name) | Subject::Criterion(name)) = &due.subject;
            (name.clone(), due.interval.as_secs())
        })
        .collect()
}

#[test]
fn after_the_completion_only_critical_levels_keep_their_interval() {
    let named = |critical: i64, warning: i64, adoption: i64| {
        vec![
            ("critical".to_owned(), critical),
            ("warning".to_owned(), warning),
            ("adoption".to_owned(), adoption),
        ]
    };
    let mut life = Life::watched(MONITORED);
    assert_eq!(intervals(&life), named(30, 30, 600));
    life.says("critical", 0.0).pass(24);
    assert!(life.completed_at().is_some());
    assert_eq!(intervals(&life), named(30, 3600, 3600));
    life.pass(167);
    assert_eq!(intervals(&life), named(30, 3600, 3600));
    life.pass(1);
    assert_eq!(intervals(&life), named(30, 86_400, 86_400));
    life.pass(24 * 365);
    assert_eq!(intervals(&life), named(30, 86_400, 86_400));
}

/// The cohort may ask for more, never for less, and only while it has the feature.
#[test]
fn the_strictest_cohort_that_has_the_feature_decides_how_often_triggers_are_measured() {
    let mut life = Life::watched(
        "
cohorts:
- {name: a, match: {attributes: {s: a}}, monitoring: {interval: 5m}}
- {name: b, match: {attributes: {s: b}}, monitoring: {interval: 10s}}
- {name: c}
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, steps: [{cohorts: {c: 100}, hold: 24h}, {cohorts: {a: 100}, hold: 24h}, {cohorts: {b: 1}, hold: 24h}]}]
triggers:
- {name: often, metric: {templateRef: {name: m}}, interval: 30s, onNoData: Ignore, onProviderError: Ignore, levels: [{severity: Critical, above: '10', action: ImmediateRollback}]}
- {name: seldom, metric: {templateRef: {name: m}}, interval: 1h, onNoData: Ignore, onProviderError: Ignore, levels: [{severity: Warning, above: '1', action: Notify}]}
monitoring: [{name: standard, interval: 24h}]",
    );
    let of = |often: i64, seldom: i64| vec![("often".to_owned(), often), ("seldom".to_owned(), seldom)];
    let well = |life: &mut Life, hours| {
        life.says("often", 0.0).says("seldom", 0.0).pass(hours);
    };
    assert_eq!(intervals(&life), of(30, 3600), "c asks for nothing");
    well(&mut life, 24);
    assert_eq!((life.served().as_str(), intervals(&life)), ("a=100% b=0% c=100%", of(30, 300)));
    well(&mut life, 24);
    assert_eq!((life.served().as_str(), intervals(&life)), ("a=100% b=1% c=100%", of(10, 10)));
    well(&mut life, 24);
    assert!(life.completed_at().is_some());
    assert_eq!(intervals(&life), of(10, 10), "also afterwards");
    life.ask(serde_json::json!({"action": "Rollback", "rollback": {"mode": "Immediate"}}));
    assert_eq!(intervals(&life)[0], ("often".to_owned(), 30), "nobody has it");
}

#[rstest]
#[case(0, 0, 30)]
#[case(29, 0, 30)]
#[case(30, 30, 60)]
#[case(3599, 3570, 3600)]
fn checks_are_due_at_first_exposure_and_every_interval_after(
    #[case] now: i64,
    #[case] at: i64,
    #[case] next: i64,
) {
    let mut life = Life::watched(MONITORED);
    life.wait(now);
    let slot = due(&life.plan.guard, &life.status, life.now)[0].clone();
    let seconds = |at: MicroTime| at.duration_since(t(START)).as_secs();
    assert_eq!((seconds(slot.at), seconds(slot.next)), (at, next));
}

#[test]
fn before_the_first_exposure_criteria_are_measured_and_triggers_are_not() {
    let life = Life::watched(&MONITORED.replace("2025-09-08", "2025-09-09"));
    assert_eq!(intervals(&life), [("adoption".to_owned(), 600)]);
}

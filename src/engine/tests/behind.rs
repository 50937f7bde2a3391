//! A time under NEXT is no promise that what is known already speaks against.

use rstest::rstest;

use super::support::{Life, START};
use super::triggers::ERRORS;
use crate::api::FeatureRolloutStatus;
use crate::engine::{Delivery, Report, decide, report};

const NAN: f64 = f64::NAN;
/// The second step comes a day after the first, in a window that is open on Wednesdays only.
const WEDNESDAY: &str = "2025-09-10T09:00:00Z";

/// The status as it is reported when the file holds it.
fn reported(life: &Life) -> FeatureRolloutStatus {
    let decision = decide(&life.plan, &life.status, &life.facts, life.now);
    let mut status = decision.status;
    let delivery = Delivery::Done;
    let next = decision.next;
    report(
        &mut status,
        &Report { plan: &life.plan, delivery, next, no_room: None, generation: 1, now: life.now },
    );
    status
}

/// NEXT and REASON.
fn columns(life: &Life) -> (String, String) {
    let status = reported(life);
    (status.next.unwrap_or_default(), status.reason.unwrap_or_default())
}

fn spec(rest: &str, second: &str) -> String {
    format!(
        "
cohorts: [{{name: a}}]
baseline: {{a: 5}}
schedule:
  startAt: '{START}'
  windows: [{{days: [Mon, Wed], from: '09:00', to: '16:00'}}]
phases:
- {{name: ga, steps: [{{cohorts: {{a: 10}}}}]}}
- {{name: rest, {second} steps: [{{name: full, cohorts: {{a: 100}}{rest}}}]}}
criteria: [{{name: quality, metric: {{templateRef: {{name: m}}}}, below: '2', interval: 1h}}]
triggers: {ERRORS}"
    )
}

const BEHIND: &str = "; as things stand it is held back then, too: ";

#[test]
fn a_window_that_opens_is_no_promise_while_a_trigger_lacks_data() {
    let mut life = Life::watched(&spec("", ""));
    life.wait(30).says("errors", 1.0).pass(1);
    assert_eq!(columns(&life), (WEDNESDAY.to_owned(), "Window".to_owned()), "nothing speaks against it");
    life.fails("errors");
    assert_eq!(columns(&life), (WEDNESDAY.to_owned(), "Window+Triggers:errors".to_owned()));
    let message = "errors has an error of its source: connection refused";
    assert!(life.why().ends_with(&format!("until {WEDNESDAY}{BEHIND}{message}")), "{}", life.why());
    let ready = reported(&life).conditions.iter().find(|known| known.type_ == "Ready").unwrap().clone();
    assert!(ready.status == "True" && ready.message.contains(message), "{ready:?}");
    // It is true: at its time the trigger is what it waits for.
    life.pass(47).fails("errors");
    assert_eq!(columns(&life), (String::new(), "Triggers:errors".to_owned()));
    life.says("errors", 1.0);
    assert_eq!(life.served(), "a=100%");
}

/// What nobody measures for a moment, because the controller was restarted, is written no differently.
#[test]
fn a_restart_says_nothing_else() {
    let mut life = Life::watched(&spec("", ""));
    life.wait(30).says("errors", NAN).pass(1);
    let before = reported(&life);
    assert_eq!(before.reason.as_deref(), Some("Window+Triggers:errors"));
    life.facts.metrics = crate::engine::Metrics::Measured(Vec::new());
    assert_eq!(reported(&life), before);
}

#[rstest]
#[case::in_breach("errors", 11.0, "Window+Triggers:errors", "errors is above 10: Critical level")]
#[case::no_data("errors", NAN, "Window+Triggers:errors", "errors has no data: the value is NaN")]
#[case::quiet("errors", 1.0, "Window", "")]
fn what_speaks_against_the_time_is_said(
    #[case] trigger: &str,
    #[case] value: f64,
    #[case] reason: &str,
    #[case] why: &str,
) {
    let mut life = Life::watched(&spec("", ""));
    life.wait(30).says(trigger, value);
    assert_eq!(columns(&life), (WEDNESDAY.to_owned(), reason.to_owned()));
    assert_eq!(life.why().split_once(BEHIND).map_or("", |(_, behind)| behind), why);
}

#[test]
fn a_missing_approval_and_a_shut_gate_are_said_too_the_first_in_the_order_of_the_checks() {
    let mut life = Life::watched(&spec(", approval: Required", "gates: [quality],"));
    life.wait(30).says("errors", 1.0).counts("quality", 3.0, None);
    assert_eq!(columns(&life), ("2025-09-09T09:00:00Z".to_owned(), "Hold+Approval:rest/full".to_owned()));
    life.ask(serde_json::json!({"action": "Approve", "approve": {"phase": "rest", "step": "full"}}));
    assert_eq!(columns(&life), (WEDNESDAY.to_owned(), "Window+Gates:quality".to_owned()));
    assert!(life.why().ends_with(&format!("{BEHIND}gate quality does not pass: it must be below 2")));
    life.pass(1).counts("quality", 1.0, None);
    assert_eq!(columns(&life).1, "Window");
}

/// A step that waits for a trigger has no time, and the delay of another cohort must not lend it one.
#[test]
fn a_delay_that_ends_is_not_next_where_the_same_trigger_holds_that_raise_back() {
    let mut life = Life::watched(&format!(
        "
cohorts: [{{name: a}}, {{name: b, delay: 240h}}]
schedule: {{startAt: '{START}'}}
phases: [{{name: ga, steps: [{{cohorts: {{a: 10, b: 10}}}}, {{cohorts: {{a: 100}}}}]}}]
triggers: {ERRORS}"
    ));
    life.wait(30).says("errors", 1.0).pass(24).says("errors", NAN);
    let due = life.status.cohort("b").unwrap().pending.as_ref().unwrap().due;
    assert_eq!(life.wake_at, Some(due), "it is decided again then");
    assert_eq!(columns(&life), (String::new(), "Triggers:errors".to_owned()));
    life.says("errors", 1.0);
    assert_eq!(columns(&life), ("2025-09-18T09:00:00Z".to_owned(), "CohortDelay:b".to_owned()));
}

//! What an action passes over, and what it does not.

use serde_json::json;

use super::support::{Life, START, after};

/// Gates belong to the phase of the step that asks, not to that of the step stood at.
#[test]
fn the_gates_are_those_of_the_asking_step() {
    let spec = |gates: [&str; 2], asks: &str| {
        let [one, two] = gates;
        format!(
            "
cohorts: [{{name: a}}, {{name: b, delay: 36h}}]
schedule: {{startAt: '{START}'}}
phases:
- {{name: one, gates: {one}, steps: [{{cohorts: {asks}}}]}}
- {{name: two, gates: {two}, steps: [{{cohorts: {{a: 20}}, hold: 99h}}]}}
criteria: [{{name: quality, metric: {{templateRef: {{name: m}}}}, above: '0', interval: 1h}}]"
        )
    };
    let asks = "{a: 10, b: 10}";
    for (gates, b) in [(["[quality]", "[]"], "0%"), (["[]", "[quality]"], "10%")] {
        let mut life = Life::watched(&spec(gates, asks));
        life.counts("quality", 1.0, None);
        life.until(after(START, 24)).counts("quality", 1.0, None);
        assert_eq!((life.position().as_str(), life.served().as_str()), ("two/1", "a=20% b=0%"), "{gates:?}");
        // The step that asked for b stands in the first phase, the position in the second.
        life.until(after(START, 36)).counts("quality", -1.0, None);
        assert_eq!(life.status.cohort("b").unwrap().served.to_string(), b, "{gates:?}");
        // So does an edit of what the first phase asks.
        let mut life = Life::watched(&spec(gates, asks));
        life.counts("quality", 1.0, None);
        life.until(after(START, 24)).counts("quality", 1.0, None).wait(3600).counts("quality", -1.0, None);
        life.edit(&spec(gates, "{a: 10, b: 40}")).until(after(START, 36)).counts("quality", -1.0, None);
        let raised = if b == "10%" { "40%" } else { "0%" };
        assert_eq!(life.status.cohort("b").unwrap().served.to_string(), raised, "{gates:?}");
    }
}

#[test]
fn overriding_the_window_leaves_the_freezes_and_the_other_way_round() {
    let spec = |calendar: &str| {
        format!(
            "
cohorts: [{{name: a}}]
schedule: {{startAt: '2025-09-08T00:00:00Z', {calendar}}}
phases: [{{name: ga, steps: [{{cohorts: {{a: 10}}, hold: 99h}}, {{cohorts: {{a: 20}}}}]}}]"
        )
    };
    let window = "windows: [{from: '00:00', to: '01:00'}]";
    let freeze = "freezes: [{name: f, from: '2025-09-08T08:00:00Z', to: '2025-09-10T00:00:00Z'}]";
    let asked = |calendar: &str, overrides: serde_json::Value| {
        let mut life = Life::begin(&spec(calendar), "2025-09-08T00:00:00Z");
        life.until(after("2025-09-08T00:00:00Z", 9));
        let promoted = life.outcome(json!({"action": "Promote", "override": overrides}));
        let set =
            life.outcome(json!({"action": "SetPercent", "setPercent": {"a": 15}, "override": overrides}));
        assert_eq!(promoted.answer, set.answer, "{} {}", promoted.message, set.message);
        promoted.answer.as_str()
    };
    let both = format!("{window}, {freeze}");
    assert_eq!(asked(window, json!(["Window"])), "Applied");
    assert_eq!(asked(window, json!(["Freeze"])), "Rejected");
    assert_eq!(asked(freeze, json!(["Freeze"])), "Applied");
    assert_eq!(asked(freeze, json!(["Window"])), "Rejected");
    assert_eq!(asked(&both, json!(["Window"])), "Rejected");
    assert_eq!(asked(&both, json!(["Freeze"])), "Rejected");
    assert_eq!(asked(&both, json!(["Window", "Freeze"])), "Applied");
}

#[test]
fn a_promote_overrides_for_its_own_step_only() {
    // b's raise waits for the window since its delay was over.
    let spec = format!(
        "
cohorts: [{{name: a}}, {{name: b, delay: 1h}}]
schedule: {{startAt: '{START}', windows: [{{from: '09:00', to: '09:30'}}]}}
phases: [{{name: ga, steps: [{{cohorts: {{a: 10, b: 10}}}}, {{cohorts: {{a: 20}}}}]}}]"
    );
    let mut life = Life::begin(&spec, START);
    life.pass(2);
    assert_eq!((life.served().as_str(), life.pending("b").as_deref()), ("a=10% b=0%", Some("10%")));
    assert!(life.ask(json!({"action": "Promote"})).starts_with("Rejected: ga/2 waits for a window"));
    assert!(life.ask(json!({"action": "Promote", "override": ["Window"]})).starts_with("Applied"));
    assert_eq!(life.served(), "a=20% b=0%");
    life.pass(22);
    assert_eq!(life.served(), "a=20% b=10%");
}

#[test]
fn percentages_are_set_whole_or_not_at_all() {
    let spec = format!(
        "
cohorts: [{{name: a}}, {{name: b, admits: [Preview]}}]
schedule: {{startAt: '{START}'}}
phases: [{{name: ga, steps: [{{cohorts: {{a: 10, b: 10}}}}]}}]"
    );
    let mut life = Life::begin(&spec, START);
    let before = life.status.clone();
    let set = json!({"action": "SetPercent", "setPercent": {"a": 5, "b": 50}});
    assert_eq!(life.ask(set), "Rejected: cohort b does not admit the tier of the feature");
    assert_eq!(
        life.ask(json!({"action": "SetPercent", "setPercent": {"a": 5, "x": 0}})),
        "Rejected: there is no cohort \"x\": the cohorts are a, b"
    );
    assert_eq!(life.status, before);
}

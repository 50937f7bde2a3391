//! The door, cell by cell: every check against every kind of raise.

use rstest::rstest;
use serde_json::json;

use super::support::{Life, START, after, plan};
use crate::api::status::Check;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Step,
    Delay,
    Edit,
    Promote,
    PromoteOver,
    Set,
    SetOver,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shut {
    Nothing,
    Deleted,
    RolledBack,
    Suspended,
    Paused,
    Dependencies,
    Hold,
    Approval,
    Window,
    Freeze,
    Undelivered,
    Breach,
    Missing,
    Gates,
}

use Kind::*;
use Shut::*;

/// Who passes all the same.
fn passes(shut: Shut) -> &'static [Kind] {
    match shut {
        Nothing => &[Step, Delay, Edit, Promote, PromoteOver, Set, SetOver],
        Deleted | RolledBack | Suspended | Undelivered | Breach | Missing => &[],
        Paused => &[Set, SetOver],
        Dependencies => &[Delay, Edit],
        Hold => &[Delay, Edit, Promote, PromoteOver, Set, SetOver],
        Approval => &[Delay, Edit, Set, SetOver],
        Window | Freeze => &[PromoteOver, SetOver],
        Gates => &[PromoteOver, Set, SetOver],
    }
}

/// What the schedule says it waits for.
fn check(shut: Shut) -> Check {
    match shut {
        Nothing | Deleted => Check::Valid,
        RolledBack => Check::RolledBack,
        Suspended | Paused => Check::Paused,
        Dependencies => Check::Dependencies,
        Hold => Check::Hold,
        Approval => Check::Approval,
        Window => Check::Window,
        Freeze => Check::Freeze,
        Undelivered => Check::Delivered,
        Breach | Missing => Check::Triggers,
        Gates => Check::Gates,
    }
}

/// The first step gives a 10 % and asks b for 10 a day later, where the second is due as well.
fn spec(kind: Kind, shut: Shut, later: bool) -> String {
    let on = |on: bool, text: &'static str| if on { text } else { "" };
    let second = matches!(kind, Step | Promote | PromoteOver);
    format!(
        "
cohorts: [{{name: a}}, {{name: b, delay: 24h}}, {{name: c}}]
schedule: {{startAt: '{START}'{}{}}}
phases:
- name: ga
  gates: [quality]
  steps:
  - {{name: one, cohorts: {{a: {}, b: 10}}, hold: {}}}
  {}
criteria: [{{name: quality, metric: {{templateRef: {{name: m}}}}, above: '0', interval: 1h}}]
triggers: [{{name: errors, metric: {{templateRef: {{name: m}}}}, interval: 1h, levels: [
  {{severity: Critical, above: '10', for: 99h, action: ImmediateRollback}}]}}]",
        on(later && shut == Window, ", windows: [{from: '10:00', to: '11:00'}]"),
        on(
            later && shut == Freeze,
            ", freezes: [{name: f, from: '2025-09-09T00:00:00Z', to: '2025-09-11T00:00:00Z'}]"
        ),
        if later && kind == Edit { 15 } else { 10 },
        if shut == Hold || kind != Step { "48h" } else { "24h" },
        match (second, shut == Approval) {
            (true, true) => "- {name: two, cohorts: {a: 20}, approval: Required}",
            (true, false) => "- {name: two, cohorts: {a: 20}}",
            (false, _) => "",
        },
    )
}

#[rstest]
fn every_check_against_every_raise(
    #[values(Step, Delay, Edit, Promote, PromoteOver, Set, SetOver)] kind: Kind,
    #[values(
        Nothing,
        Deleted,
        RolledBack,
        Suspended,
        Paused,
        Dependencies,
        Hold,
        Approval,
        Window,
        Freeze,
        Undelivered,
        Breach,
        Missing,
        Gates
    )]
    shut: Shut,
) {
    let mut life = Life::watched(&spec(kind, shut, false));
    // The very first entry waits for the gate, too.
    life.counts("quality", 1.0, None);
    assert_eq!((life.served().as_str(), life.pending("b").as_deref()), ("a=10% b=0% c=0%", Some("10%")));
    life.until(after(START, 23)).says("errors", 0.0).counts("quality", 1.0, None);
    match shut {
        RolledBack => {
            // Of a cohort that nobody asks anything for: the others stay as they are.
            let how = json!({"action": "Rollback", "rollback": {"mode": "Partial", "cohorts": ["c"]}});
            assert!(life.ask(how).starts_with("Applied"));
        }
        Paused => assert!(life.ask(json!({"action": "Pause"})).starts_with("Applied")),
        Breach => drop(life.says("errors", 11.0)),
        Missing => drop(life.says("errors", f64::NAN)),
        Gates => drop(life.counts("quality", -1.0, None)),
        _ => {}
    }
    // A day has passed; what shuts the door and what is raised come together.
    life.plan = plan(&spec(kind, shut, true));
    life.plan.suspend = shut == Suspended;
    life.facts.deleting = shut == Deleted;
    life.facts.delivered = shut != Undelivered;
    if shut == Dependencies {
        life.facts.unmet = vec!["x".to_owned()];
        life.status.dependencies_met = false;
    }
    life.now = after(START, 24);
    life.settle();
    let answer = match kind {
        Step | Delay | Edit => None,
        Promote => Some(life.ask(json!({"action": "Promote"}))),
        PromoteOver => {
            Some(life.ask(json!({"action": "Promote", "override": ["Window", "Freeze", "Gates"]})))
        }
        Set => Some(life.ask(json!({"action": "SetPercent", "setPercent": {"a": 30}}))),
        SetOver => {
            let set =
                json!({"action": "SetPercent", "setPercent": {"a": 30}, "override": ["Window", "Freeze"]});
            Some(life.ask(set))
        }
    };
    let (cohort, raised) = match kind {
        Step | Promote | PromoteOver => ("a", "20%"),
        Delay => ("b", "10%"),
        Edit => ("a", "15%"),
        Set | SetOver => ("a", "30%"),
    };
    let open = passes(shut).contains(&kind);
    let served = life.status.cohort(cohort).unwrap().decided().to_string();
    assert_eq!(served == raised, open, "{cohort} is served {served}: {answer:?}");
    match answer {
        Some(answer) => assert_eq!(answer.starts_with("Applied"), open, "{answer}"),
        None if !open && shut != Deleted => {
            assert_eq!(life.status.waiting_for.as_ref().unwrap().check, check(shut))
        }
        None => {}
    }
}

/// Steps that raise nothing, entered by the schedule or by a promote.
#[rstest]
fn a_step_that_raises_nothing_passes_validity_latch_pause_time_and_approval_only(
    #[values(false, true)] promoted: bool,
    #[values(
        Nothing,
        Deleted,
        RolledBack,
        Suspended,
        Paused,
        Dependencies,
        Hold,
        Approval,
        Window,
        Freeze,
        Undelivered,
        Breach,
        Missing,
        Gates
    )]
    shut: Shut,
) {
    // Lowers a from 10 to 5.
    let kind = if promoted { Promote } else { Step };
    let lower = |later: bool| spec(kind, shut, later).replace("{a: 20}", "{a: 5}").replace(", b: 10", "");
    let mut life = Life::watched(&lower(false));
    life.counts("quality", 1.0, None);
    life.until(after(START, 23)).says("errors", 0.0).counts("quality", 1.0, None);
    match shut {
        RolledBack => {
            let how = json!({"action": "Rollback", "rollback": {"mode": "Partial", "cohorts": ["c"]}});
            assert!(life.ask(how).starts_with("Applied"));
        }
        Paused => assert!(life.ask(json!({"action": "Pause"})).starts_with("Applied")),
        Breach => drop(life.says("errors", 11.0)),
        Missing => drop(life.says("errors", f64::NAN)),
        Gates => drop(life.counts("quality", -1.0, None)),
        _ => {}
    }
    life.plan = plan(&lower(true));
    life.plan.suspend = shut == Suspended;
    life.facts.deleting = shut == Deleted;
    life.facts.delivered = shut != Undelivered;
    if shut == Dependencies {
        life.facts.unmet = vec!["x".to_owned()];
        life.status.dependencies_met = false;
    }
    life.now = after(START, 24);
    life.settle();
    if promoted {
        life.ask(json!({"action": "Promote"}));
    }
    let refused =
        matches!(shut, Deleted | RolledBack | Suspended | Paused | Approval) || (shut == Hold && !promoted);
    assert_eq!(life.served(), if refused { "a=10% b=0% c=0%" } else { "a=5% b=0% c=0%" });
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

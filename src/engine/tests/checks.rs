//! The table of checks, cell by cell: every check against every kind of raise.

use rstest::rstest;
use serde_json::json;

use super::support::{Life, START, after, plan};
use crate::api::status::Check;
use crate::engine::Requirement;
use crate::plan::Joins;

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
    NoRoom,
    RolledBack,
    Suspended,
    Paused,
    Dependencies,
    Playbook,
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
        Deleted | NoRoom | RolledBack | Suspended | Undelivered | Breach | Missing => &[],
        Paused => &[Set, SetOver],
        Dependencies | Playbook => &[Delay, Edit],
        Hold => &[Delay, Edit, Promote, PromoteOver, Set, SetOver],
        Approval => &[Delay, Edit, Set, SetOver],
        Window | Freeze => &[PromoteOver, SetOver],
        Gates => &[PromoteOver, Set, SetOver],
    }
}

/// What the schedule says it waits for.
fn check(shut: Shut) -> Check {
    match shut {
        Nothing | Deleted | NoRoom => Check::Valid,
        RolledBack => Check::RolledBack,
        Suspended | Paused => Check::Paused,
        Dependencies => Check::Dependencies,
        Playbook => Check::Playbook,
        Hold => Check::Hold,
        Approval => Check::Approval,
        Window => Check::Window,
        Freeze => Check::Freeze,
        Undelivered => Check::Delivered,
        Breach | Missing => Check::Triggers,
        Gates => Check::Gates,
    }
}

/// What an action is told that it does not pass.
fn words(shut: Shut) -> &'static str {
    match shut {
        Nothing => "",
        Deleted => "Rejected: the rollout is being deleted",
        NoRoom => "Rejected: the namespace is full",
        RolledBack => "Rejected: rolled back at 2025-09-09T08:00:00Z; retry to start again",
        Suspended => "Rejected: spec.suspend is true",
        Paused => "Rejected: paused by ada: because",
        Dependencies => "Rejected: waits for x",
        Playbook => "Rejected: waits for task y, as phase beta of playbook p requires",
        Hold => "Rejected: the hold before ga/two lasts until",
        Approval => "Rejected: ga/two waits for approval",
        Window => "waits for a window until 2025-09-09T10:00:00Z",
        Freeze => "Rejected: freeze f holds",
        Undelivered => "Rejected: the file does not hold the previous decision yet",
        Breach => "Rejected: errors is above 10: Critical level",
        Missing => "Rejected: errors has no data",
        Gates => "Rejected: gate quality does not pass: it must be above 0",
    }
}

/// The first step gives a 10 % and asks b for 10 a day later, where the second is due as well.
fn spec(kind: Kind, shut: &[Shut], later: bool) -> String {
    let shut = |one: Shut| shut.contains(&one);
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
        on(later && shut(Window), ", windows: [{from: '10:00', to: '11:00'}]"),
        on(
            later && shut(Freeze),
            ", freezes: [{name: f, from: '2025-09-09T00:00:00Z', to: '2025-09-11T00:00:00Z'}]"
        ),
        if later && kind == Edit { 15 } else { 10 },
        if shut(Hold) || kind != Step { "48h" } else { "24h" },
        match (second, shut(Approval)) {
            (true, true) => "- {name: two, cohorts: {a: 20}, approval: Required}",
            (true, false) => "- {name: two, cohorts: {a: 20}}",
            (false, _) => "",
        },
    )
}

/// The first step has been entered; a day later, what holds back and what is raised come together.
fn live(kind: Kind, shut: &[Shut]) -> Life {
    let mut life = Life::watched(&spec(kind, shut, false));
    // The very first entry waits for the gate, too.
    life.counts("quality", 1.0, None);
    assert_eq!((life.served().as_str(), life.pending("b").as_deref()), ("a=10% b=0% c=0%", Some("10%")));
    life.until(after(START, 23)).says("errors", 0.0).counts("quality", 1.0, None);
    close(&mut life, shut);
    life.plan = plan(&spec(kind, shut, true));
    come(&mut life, shut);
    life
}

/// What holds back from an hour before the raise on.
fn close(life: &mut Life, shut: &[Shut]) {
    for shut in shut {
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
    }
}

/// What holds back from the raise on, an hour later.
fn come(life: &mut Life, shut: &[Shut]) {
    life.plan.suspend = shut.contains(&Suspended);
    life.facts.deleting = shut.contains(&Deleted);
    life.facts.delivered = !shut.contains(&Undelivered);
    life.facts.no_room = shut.contains(&NoRoom).then(|| "the namespace is full".to_owned());
    if shut.contains(&Dependencies) {
        life.facts.unmet = vec!["x".to_owned()];
        life.status.dependencies_met = false;
    }
    if shut.contains(&Playbook) {
        let (playbook, phase) = ("p".to_owned(), "beta".to_owned());
        life.plan.joins = Some(Joins { playbook, phase, opens_at: None });
        life.facts.requirements = vec![Requirement { which: "y".to_owned(), message: "task y".to_owned() }];
        // A playbook is asked before the first start only; whoever counts from the first exposure has started.
        life.status.started_at = None;
        life.status.first_exposure = None;
    }
    life.now = after(START, 24);
    life.settle();
}

#[rstest]
fn every_check_against_every_raise(
    #[values(Step, Delay, Edit, Promote, PromoteOver, Set, SetOver)] kind: Kind,
    #[values(
        Nothing,
        Deleted,
        NoRoom,
        RolledBack,
        Suspended,
        Paused,
        Dependencies,
        Playbook,
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
    let mut life = live(kind, &[shut]);
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
    let served = life.status.cohort(cohort).unwrap().served.to_string();
    assert_eq!(served == raised, open, "{cohort} is served {served}: {answer:?}");
    match answer {
        Some(answer) if open => assert!(answer.starts_with("Applied"), "{answer}"),
        // Which check it was that refused.
        Some(answer) => assert!(answer.contains(words(shut)) && answer.starts_with("Rejected"), "{answer}"),
        None if !open && shut != Deleted => {
            assert_eq!(life.status.waiting_for.as_ref().unwrap().check, check(shut))
        }
        None => {}
    }
}

/// In the order of the table. Two of them can not be shut at once.
const ORDER: [Shut; 15] = [
    Deleted,
    NoRoom,
    RolledBack,
    Suspended,
    Paused,
    Dependencies,
    Playbook,
    Hold,
    Approval,
    Window,
    Freeze,
    Undelivered,
    Breach,
    Missing,
    Gates,
];

/// Of two checks that say no, the first in the table is reported.
#[rstest]
fn of_two_that_hold_back_the_first_is_reported(#[values(Step, Delay, Edit, Promote, Set)] kind: Kind) {
    for (i, first) in ORDER.into_iter().enumerate() {
        for second in ORDER.into_iter().skip(i + 1) {
            let concerned = |shut: Shut| !passes(shut).contains(&kind);
            // One measurement is in breach or missing; a window that has not come is told before a freeze in it; a
            // deleted rollout waits for nothing more; the start of a hold is told with what the calendar says at its end.
            let apart = matches!((first, second), (Breach, Missing) | (Window, Freeze) | (Suspended, Paused))
                || first == Deleted && matches!(kind, Step | Delay | Edit)
                || first == Hold && matches!(second, Window | Freeze);
            if apart || !concerned(first) || !concerned(second) {
                continue;
            }
            let mut life = live(kind, &[first, second]);
            let answer = match kind {
                Promote => life.ask(json!({"action": "Promote"})),
                Set => life.ask(json!({"action": "SetPercent", "setPercent": {"a": 30}})),
                _ => {
                    let waiting = life.status.waiting_for.as_ref().unwrap();
                    assert_eq!(waiting.check, check(first), "{first:?} and {second:?}: {}", waiting.message);
                    continue;
                }
            };
            assert!(answer.contains(words(first)), "{first:?} and {second:?}: {answer}");
        }
    }
}

/// Steps that raise nothing, entered by the schedule or by a promote.
#[rstest]
fn a_step_that_raises_nothing_passes_validity_latch_pause_time_and_approval_only(
    #[values(false, true)] promoted: bool,
    #[values(
        Nothing,
        Deleted,
        NoRoom,
        RolledBack,
        Suspended,
        Paused,
        Dependencies,
        Playbook,
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
    let lower = |later: bool| spec(kind, &[shut], later).replace("{a: 20}", "{a: 5}").replace(", b: 10", "");
    let mut life = Life::watched(&lower(false));
    life.counts("quality", 1.0, None);
    life.until(after(START, 23)).says("errors", 0.0).counts("quality", 1.0, None);
    close(&mut life, &[shut]);
    life.plan = plan(&lower(true));
    come(&mut life, &[shut]);
    if promoted {
        life.ask(json!({"action": "Promote"}));
    }
    let refused =
        matches!(shut, Deleted | RolledBack | Suspended | Paused | Approval) || (shut == Hold && !promoted);
    assert_eq!(life.served(), if refused { "a=10% b=0% c=0%" } else { "a=5% b=0% c=0%" });
}

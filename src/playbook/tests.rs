use rstest::rstest;
use serde_json::json;

use super::*;
use crate::api::playbook_status::{MilestoneState, PhaseState};
use crate::api::verdict::{CriterionStatus, Verdict};
use crate::api::{FeatureRollout, Finite, MicroTime, PlaybookSpec, PlaybookStatus, Reading};
use crate::playbook::business::{Answer, due, passes, verdicts};

mod all;
mod size;

const PLAN: &str = "
startDate: '2025-09-08'
startTime: '09:00'
timeZone: America/Los_Angeles
phases:
- name: foundation
  weeks: {from: 1, to: 2}
  sections:
  - {title: Security, tasks: [{id: rls, title: Fix policies}, {id: keys, title: Add keys}]}
- name: experience
  weeks: {from: 3, to: 4}
  requires: [{milestone: audit}, {task: onboarding}]
  sections:
  - {title: Dreams, tasks: [{id: onboarding, title: Add onboarding}]}
- name: advanced
  weeks: {from: 5, to: 8}
  requires: [{rollout: {name: dreams, phase: ga}}, {criterion: {name: nps}}, {criterion: {rollout: dreams, name: quality}}]
milestones:
- {name: audit, week: 2, when: {tasks: [rls, keys]}}
- {name: dreams-ga, week: 4, when: {rollout: {name: dreams, condition: Completed}}}
- {name: stable, week: 8, when: {phase: experience}}
risks:
- {title: Churn, kind: Business, mitigation: Rollback plan}
- {title: Leaks, kind: Technical, done: true}
criteria:
- {name: nps, manual: {value: '51', at: '2025-10-01T00:00:00Z'}, above: '50'}
";

fn spec(text: &str) -> PlaybookSpec {
    serde_saphyr::from_str(text).unwrap()
}

fn book(text: &str) -> Book {
    compile("maya", &spec(text)).unwrap()
}

/// Tasks ticked in git.
fn ticked(tasks: &[&str]) -> Book {
    let mut text = PLAN.to_owned();
    for task in tasks {
        text = text.replace(&format!("{{id: {task},"), &format!("{{id: {task}, done: true,"));
    }
    book(&text)
}

fn t(text: &str) -> MicroTime {
    text.parse().unwrap()
}

/// A rollout of two phases that joins a phase of the playbook, with a status.
fn rollout(name: &str, phase: &str, status: serde_json::Value) -> Seen {
    let object = json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "FeatureRollout",
        "metadata": {"name": name, "namespace": "maya"},
        "spec": {
            "playbookRef": {"name": "maya", "phase": phase},
            "cohorts": [{"name": "all"}],
            "criteria": [{"name": "quality", "manual": {"value": "1", "at": "2025-01-01T00:00:00Z"}, "below": "2"}],
            "phases": [{"name": "beta", "ramp": {"percents": [5]}}, {"name": "ga", "ramp": {"percents": [100]}}],
        },
        "status": status,
    });
    Seen::of(&serde_json::from_value::<FeatureRollout>(object).unwrap())
}

fn at_phase(phase: &str) -> serde_json::Value {
    let at = "2025-09-22T16:00:00.000000Z";
    json!({
        "startedAt": at,
        "position": {"phase": phase, "number": 1, "of": 1, "content": "x", "enteredAt": at, "holdFrom": at},
    })
}

fn completed() -> serde_json::Value {
    let since = "2025-10-01T00:00:00.000000Z";
    let mut status = at_phase("ga");
    status["completedAt"] = json!(since);
    status["criteria"] = json!([{"name": "quality", "verdict": "Pass", "value": "1", "since": since}]);
    status
}

fn world(book: &Book, rollouts: Vec<Seen>) -> Rollouts {
    Rollouts::new("maya", rollouts, verdicts(book, &[], &[]))
}

fn lacks(book: &Book, phase: &str, rollouts: Vec<Seen>) -> Vec<String> {
    let unmet = unmet(book, phase, &world(book, rollouts));
    unmet.into_iter().map(|lack| format!("{}: {}", lack.which, lack.message)).collect()
}

#[test]
fn a_phase_says_what_it_still_requires_and_nothing_when_that_is_so() {
    let none = book(PLAN);
    assert_eq!(lacks(&none, "foundation", vec![]), Vec::<String>::new());
    assert_eq!(
        lacks(&none, "experience", vec![]),
        [
            "audit: milestone audit: task rls (Fix policies) to be done",
            "onboarding: task onboarding (Add onboarding) to be done",
        ]
    );
    assert_eq!(
        lacks(&ticked(&["rls", "onboarding"]), "experience", vec![]),
        ["audit: milestone audit: task keys (Add keys) to be done"]
    );
    assert!(lacks(&ticked(&["rls", "keys", "onboarding"]), "experience", vec![]).is_empty());

    assert_eq!(
        lacks(&none, "advanced", vec![]),
        [
            "dreams: rollout dreams, which does not exist",
            "quality: criterion quality of rollout dreams, which does not exist",
        ]
    );
    let beta = rollout("dreams", "experience", at_phase("beta"));
    assert_eq!(
        lacks(&none, "advanced", vec![beta]),
        ["dreams: rollout dreams to enter phase ga", "quality: criterion quality of rollout dreams to pass",]
    );
    assert!(lacks(&none, "advanced", vec![rollout("dreams", "experience", completed())]).is_empty());
    let unhappy = book(&PLAN.replace("'51'", "'50'"));
    assert_eq!(
        lacks(&unhappy, "advanced", vec![rollout("dreams", "experience", completed())]),
        ["nps: criterion nps to pass"]
    );
    assert_eq!(lacks(&none, "gone", vec![]), ["gone: phase gone, which playbook maya does not have"]);
}

#[test]
fn weeks_beyond_all_bounds_are_refused_and_harm_nobody() {
    let errors = compile(
        "maya",
        &spec(
            "
startDate: '2025-09-08'
phases: [{name: one, weeks: {from: 1, to: 521}}, {name: two, weeks: {from: 2000000, to: 2147483647}}]
",
        ),
    );
    let said: Vec<String> = errors.unwrap_err().iter().map(ToString::to_string).collect();
    let expected = [
        "spec.phases[0].weeks.to: \"521\": is not between 1 and 520",
        "spec.phases[1].weeks.to: \"2147483647\"",
    ];
    assert!(said.iter().zip(expected).all(|(said, expected)| said.starts_with(expected)), "{said:#?}");
    assert_eq!(said.len(), 2);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_path() {
    let errors = compile("maya", &spec("
startDate: '2025-09-08'
timeZone: Mars/Base
phases:
- {name: one, weeks: {from: 3, to: 2}, requires: [{task: none}, {milestone: none}, {criterion: {name: none}}, {}], sections: [{title: A, tasks: [{id: a, title: A}]}]}
- {name: one, weeks: {from: 1, to: 4}, requires: [{criterion: {name: boundless}}, {rollout: {name: r}}], sections: [{title: B, tasks: [{id: a, title: A}]}]}
milestones:
- {name: late, week: 5, when: {phase: none}}
- {name: late, week: 4, when: {tasks: [none]}}
- {name: both, week: 4, when: {phase: one, tasks: [a]}}
criteria: [{name: boundless, manual: {value: '1', at: '2025-01-01T00:00:00Z'}}]
"));
    let said: Vec<String> = errors.unwrap_err().iter().map(ToString::to_string).collect();
    let expected = [
        "spec.timeZone: \"Mars/Base\": is no time zone",
        "spec.phases[1].name: \"one\": is the name of another phase too",
        "spec.phases[1].sections[0].tasks[0].id: \"a\": is the id of another task too",
        "spec.milestones[1].name: \"late\": is the name of another milestone too",
        "spec.phases[0].weeks: \"3 to 2\": is no range",
        "spec.phases[0].requires[0].task: \"none\": is the id of no task",
        "spec.phases[0].requires[1].milestone: \"none\": is no milestone",
        "spec.phases[0].requires[2].criterion.name: \"none\": is no criterion",
        "spec.phases[0].requires[3]: give exactly one of task, rollout, milestone and criterion",
        "spec.phases[1].requires[0].criterion.name: \"boundless\": is a criterion without a bound",
        "spec.phases[1].requires[1].rollout: give exactly one of condition and phase",
        "spec.milestones[0].week: \"5\": is outside of the plan: its phases have the weeks 1 to 4",
        "spec.milestones[0].when.phase: \"none\": is no phase",
        "spec.milestones[1].when.tasks[0]: \"none\": is the id of no task",
        "spec.milestones[2].when: give exactly one of rollout, phase and tasks",
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}\n{expected}");
    }
}

#[test]
fn rollouts_that_are_named_and_not_there_are_waited_for() {
    let book = book(PLAN);
    let said = |rollouts| -> Vec<String> {
        let missing = missing(&book, &world(&book, rollouts));
        assert!(missing.iter().all(|error| error.missing));
        missing.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        said(vec![]),
        [
            "spec.phases[2].requires[0].rollout.name: \"dreams\": there is no such FeatureRollout",
            "spec.phases[2].requires[2].criterion.rollout: \"dreams\": there is no such FeatureRollout",
            "spec.milestones[1].when.rollout.name: \"dreams\": there is no such FeatureRollout",
        ]
    );
    let mut other = rollout("dreams", "experience", json!({}));
    other.phases = vec!["beta".to_owned()];
    other.criteria.clear();
    assert_eq!(
        said(vec![other]),
        [
            "spec.phases[2].requires[0].rollout.phase: \"ga\": is no phase of rollout dreams",
            "spec.phases[2].requires[2].criterion.name: \"quality\": is no criterion with a bound of rollout dreams",
        ]
    );
    assert!(said(vec![rollout("dreams", "experience", json!({}))]).is_empty());
}

const CIRCLE: &str = "
startDate: '2025-09-08'
phases:
- {name: one, weeks: {from: 1, to: 2}, requires: [{milestone: two-done}]}
- {name: two, weeks: {from: 3, to: 4}, requires: [{milestone: one-done}]}
- {name: three, weeks: {from: 3, to: 4}}
milestones:
- {name: one-done, week: 2, when: {phase: one}}
- {name: two-done, week: 4, when: {phase: two}}
";

#[test]
fn phases_that_wait_for_each_other_are_told_of_once_and_never_open() {
    let circle = book(CIRCLE);
    let errors = cycle_errors(&circle, &world(&circle, vec![]));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(
        errors[0].to_string(),
        "spec.phases[0].requires: waits for itself: phase one → milestone two-done → phase two → milestone one-done → phase one"
    );
    assert!(lacks(&circle, "one", vec![])[0].starts_with("one: itself (phase one → "));
    assert!(lacks(&circle, "three", vec![]).is_empty(), "the others go on");
}

#[test]
fn a_phase_that_requires_its_own_rollout_waits_for_itself_until_that_has_started() {
    let text = "
startDate: '2025-09-08'
phases: [{name: one, weeks: {from: 1, to: 2}, requires: [{rollout: {name: a, condition: Completed}}]}]";
    let book = book(text);
    let mut depends = rollout("a", "other", json!({}));
    depends.depends_on = vec!["b".to_owned()];
    let through = vec![depends, rollout("b", "one", json!({}))];
    assert_eq!(
        cycle_of(&book, "one", &world(&book, through)).unwrap(),
        ["phase one", "rollout a", "rollout b", "phase one"]
    );
    assert!(cycle_of(&book, "one", &world(&book, vec![rollout("a", "one", json!({}))])).is_some());
    let running = rollout("a", "one", at_phase("beta"));
    assert!(cycle_of(&book, "one", &world(&book, vec![running.clone()])).is_none());
    assert_eq!(lacks(&book, "one", vec![running]), ["a: rollout a to be completed"]);
}

fn stands(book: &Book, rollouts: Vec<Seen>, prior: &PlaybookStatus, now: &str) -> Standing {
    let criteria = verdicts(book, &prior.criteria, &[]);
    let world = Rollouts::new("maya", rollouts, criteria.clone());
    standing(book, &world, prior, criteria, t(now))
}

fn phases(status: &PlaybookStatus) -> Vec<(PhaseState, bool)> {
    status.phases.iter().map(|phase| (phase.state, phase.late)).collect()
}

fn milestones(status: &PlaybookStatus) -> Vec<MilestoneState> {
    status.milestones.iter().map(|milestone| milestone.state).collect()
}

#[rstest]
#[case::before("2025-09-01T00:00:00Z", "0/8", "2025-09-08T16:00:00Z")]
#[case::first("2025-09-08T16:00:00Z", "1/8", "2025-09-15T16:00:00Z")]
#[case::last("2025-11-02T16:00:00Z", "8/8", "2025-11-03T17:00:00Z")]
fn the_week_is_told_and_the_next_one_is_woken_for(#[case] now: &str, #[case] week: &str, #[case] next: &str) {
    let standing = stands(&book(PLAN), vec![], &PlaybookStatus::default(), now);
    assert_eq!(standing.status.week.as_deref(), Some(week));
    assert_eq!(standing.wake_at, Some(t(next)));
}

#[test]
fn a_plan_that_is_over_sleeps() {
    let standing = stands(&book(PLAN), vec![], &PlaybookStatus::default(), "2030-01-01T00:00:00Z");
    assert_eq!((standing.status.week.as_deref(), standing.wake_at), (Some("9/8"), None));
    assert_eq!(
        phases(&standing.status),
        [(PhaseState::Open, true), (PhaseState::Blocked, true), (PhaseState::Blocked, true)]
    );
}

#[test]
fn phases_open_by_their_weeks_and_finish_by_what_is_done() {
    use PhaseState::{Ahead, Blocked, Done, Open};
    let none = PlaybookStatus::default();
    let start = stands(&book(PLAN), vec![], &none, "2025-09-09T00:00:00Z").status;
    assert_eq!(phases(&start), [(Open, false), (Ahead, false), (Ahead, false)]);
    assert_eq!(milestones(&start), [MilestoneState::Ahead; 3]);
    assert_eq!(
        (start.phase.as_deref(), start.progress.as_deref(), start.open_risks),
        (Some("foundation"), Some("0/3"), 1)
    );
    assert_eq!(start.next_milestone.as_deref(), Some("audit (week 2)"));

    let third = stands(&ticked(&["rls"]), vec![], &start, "2025-09-23T00:00:00Z").status;
    assert_eq!(phases(&third), [(Open, true), (Blocked, false), (Ahead, false)]);
    assert_eq!(milestones(&third), [MilestoneState::Overdue, MilestoneState::Ahead, MilestoneState::Ahead]);
    assert_eq!((third.overdue_count, third.blocked_count), (2, 1));
    assert_eq!(
        third.blocked[0].message,
        "waits for milestone audit: task keys (Add keys) to be done and task onboarding (Add onboarding) to be done"
    );

    let all = ticked(&["rls", "keys", "onboarding"]);
    let fourth =
        stands(&all, vec![rollout("dreams", "experience", completed())], &third, "2025-10-02T00:00:00Z");
    let fourth = fourth.status;
    assert_eq!(phases(&fourth), [(Done, false), (Done, false), (Ahead, false)]);
    assert_eq!(milestones(&fourth), [MilestoneState::Reached; 3]);
    assert_eq!(fourth.milestones[0].reached_at, Some(t("2025-10-02T00:00:00Z")));
    assert_eq!((fourth.progress.as_deref(), fourth.next_milestone.as_deref()), (Some("4/4"), None));

    // Since when it is reached stays; what is unticked is no longer reached.
    let later = stands(&all, vec![], &fourth, "2025-10-05T00:00:00Z").status;
    assert_eq!(later.milestones[0].reached_at, fourth.milestones[0].reached_at);
    let unticked = stands(&book(PLAN), vec![], &later, "2025-10-05T00:00:00Z").status;
    assert_eq!(unticked.milestones[0].reached_at, None);
}

#[test]
fn rollouts_that_wait_for_somebody_are_told_of_and_those_that_wait_for_time_are_not() {
    let waiting = |check: &str, until: Option<&str>| json!({"waitingFor": {"check": check, "message": "why", "until": until}, "reason": check});
    let until = Some("2025-10-02T00:00:00.000000Z");
    let rollouts = vec![
        rollout("approval", "foundation", waiting("Approval", None)),
        rollout("gates", "foundation", waiting("Gates", None)),
        rollout("hold", "foundation", waiting("Hold", until)),
        rollout("phase", "foundation", waiting("Playbook", None)),
        rollout("week", "foundation", waiting("Playbook", until)),
    ];
    let status = stands(&book(PLAN), rollouts, &PlaybookStatus::default(), "2025-09-09T00:00:00Z").status;
    let names: Vec<&str> = status.blocked.iter().map(|blocked| blocked.name.as_str()).collect();
    assert_eq!(names, ["approval", "gates"]);
}

#[test]
fn success_is_told_of_every_criterion_of_every_rollout() {
    let rollouts = vec![rollout("b", "advanced", json!({})), rollout("a", "experience", completed())];
    let status = stands(&book(PLAN), rollouts, &PlaybookStatus::default(), "2025-09-09T00:00:00Z").status;
    let told: Vec<_> = status
        .success
        .iter()
        .map(|success| {
            (success.rollout.as_str(), success.criteria[0].target.as_deref(), success.criteria[0].verdict)
        })
        .collect();
    assert_eq!(told, [("a", Some("below 2"), Some(Verdict::Pass)), ("b", Some("below 2"), None)]);
    assert_eq!(status.success[0].criteria[0].value.as_deref(), Some("1"));
}

#[test]
fn business_criteria_are_measured_from_the_first_week_on_and_only_a_change_of_verdict_is_news() {
    let book = book(
        "
startDate: '2025-09-08'
phases: [{name: one, weeks: {from: 1, to: 2}}]
criteria: [{name: nps, metric: {templateRef: {name: m}}, above: '50', interval: 1h}]",
    );
    assert!(due(&book, t("2025-09-07T23:59:59Z")).is_empty());
    let found = due(&book, t("2025-09-08T02:30:00Z"));
    assert_eq!((found[0].at, found[0].next), (t("2025-09-08T02:00:00Z"), t("2025-09-08T03:00:00Z")));

    let says = |at: &str, value: f64| Answer {
        name: "nps".to_owned(),
        at: t(at),
        reading: Reading::Value { value: Finite::new(value).unwrap(), samples: None },
    };
    assert_eq!(verdicts(&book, &[], &[]), [], "nothing is known yet");
    let first = verdicts(&book, &[], &[says("2025-09-08T00:00:00Z", 40.0)]);
    assert_eq!((first[0].verdict, passes(&first, "nps")), (Some(Verdict::Breach), false));
    let same: Vec<CriterionStatus> = verdicts(&book, &first, &[says("2025-09-08T01:00:00Z", 45.0)]);
    assert_eq!(same, first, "a quiet playbook writes nothing");
    let other = verdicts(&book, &first, &[says("2025-09-08T02:00:00Z", 55.0)]);
    assert_eq!((other[0].since, passes(&other, "nps")), (t("2025-09-08T02:00:00Z"), true));
}

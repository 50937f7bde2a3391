//! Rollouts that join a playbook, on a real API server: what they wait for, and what an edit of the playbook never does.

use kube::ResourceExt;
use serde_json::{Value, json};
use sluice::api::playbook_status::{MilestoneState, PhaseState};
use sluice::api::status::Check;
use sluice::api::verdict::Verdict;
use sluice::api::{FeatureRollout, FeatureRolloutStatus, Playbook, PlaybookStatus};

use crate::support::bare::{Running, audited_writes, bare, bare_space};
use crate::support::{LOOKS, Space, eventually, is_ready, panics, pause};

/// A plan that began long ago, so that every week has come; `open` is what `security` says of its task.
fn playbook(name: &str, done: bool) -> String {
    format!(
        "metadata: {{name: {name}}}
spec:
  startDate: '2020-01-06'
  phases:
  - name: foundation
    weeks: {{from: 1, to: 2}}
    sections: [{{title: Security, tasks: [{{id: rls, title: Fix policies, done: {done}}}]}}]
  - name: experience
    weeks: {{from: 3, to: 4}}
    requires: [{{milestone: audit}}]
  milestones: [{{name: audit, week: 2, when: {{tasks: [rls]}}}}]
"
    )
}

/// A rollout in the phase `experience` that takes its next step when somebody approves it.
fn rollout(name: &str, playbook: &str) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{playbookRef: {{name: {playbook}, phase: experience}}, cohorts: [{{name: all}}],
            criteria: [{{name: rating, manual: {{value: '4.4', at: '2025-10-01T00:00:00Z'}}, above: '4.2'}}],
            phases: [{{name: ga, steps: [{{cohorts: {{all: 5}}, hold: 1s}}, {{name: half, cohorts: {{all: 50}}, approval: Required}}]}}]}}}}"
    )
}

async fn apply(space: &Space, yaml: &str) {
    space.apply::<Playbook>(yaml).await.unwrap();
}

/// Waits until a playbook's status is as wanted.
async fn until(
    space: &Space,
    name: &str,
    what: &str,
    wanted: impl Fn(&PlaybookStatus) -> bool,
) -> PlaybookStatus {
    let mut last = PlaybookStatus::default();
    for _ in 0..LOOKS {
        last = space.api::<Playbook>().get(name).await.unwrap().status.unwrap_or_default();
        panics::assert_none();
        if wanted(&last) {
            return last;
        }
        pause(50).await;
    }
    panic!("{name} never became {what}: {last:#?}");
}

fn ready(status: &PlaybookStatus) -> (&str, &str, &str) {
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    ready.map_or(("", "", ""), |c| (c.status.as_str(), c.reason.as_str(), c.message.as_str()))
}

fn waits_for_playbook(status: &FeatureRolloutStatus, says: &str) -> bool {
    let waiting = status.waiting_for.as_ref();
    waiting.is_some_and(|waiting| waiting.check == Check::Playbook && waiting.message.contains(says))
        && is_ready(status)
}

fn served(status: &FeatureRolloutStatus) -> &str {
    status.served.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn a_rollout_waits_for_what_its_phase_requires_and_starts_when_that_is_ticked() {
    let space = Space::shared("playbook-tasks").await;
    // The rollout comes first: what is not there is waited for, by name.
    space.apply::<FeatureRollout>(&rollout("dreams", "maya")).await.unwrap();
    let waiting = space
        .until("dreams", "waiting", |status| waits_for_playbook(status, "playbook maya, which is not there"))
        .await;
    assert_eq!((served(&waiting), waiting.reason.as_deref()), ("all=0%", Some("Playbook:maya")));
    apply(&space, &playbook("maya", false)).await;
    let waiting = space
        .until("dreams", "waiting for the task", |status| {
            waits_for_playbook(status, "milestone audit: task rls (Fix policies) to be done")
        })
        .await;
    assert_eq!((served(&waiting), waiting.reason.as_deref()), ("all=0%", Some("Playbook:audit")));
    let status = until(&space, "maya", "blocked", |status| status.blocked_count == 1).await;
    assert_eq!(ready(&status), ("True", "Valid", "the plan holds together"));
    assert_eq!(
        status.phases.iter().map(|phase| phase.state).collect::<Vec<_>>(),
        [PhaseState::Open, PhaseState::Blocked]
    );
    assert_eq!((status.week.as_deref(), status.progress.as_deref()), (Some("5/4"), Some("0/2")));
    assert_eq!((status.overdue_count, status.next_milestone.as_deref()), (3, Some("audit (week 2)")));
    assert_eq!(status.success[0].criteria[0].verdict, Some(Verdict::Pass));

    apply(&space, &playbook("maya", true)).await;
    let started = space.until("dreams", "started", |status| served(status) == "all=5%").await;
    assert!(started.started_at.is_some());
    let status = until(&space, "maya", "reached", |status| status.milestones[0].reached_at.is_some()).await;
    assert_eq!(
        (status.milestones[0].state, status.phases[0].state),
        (MilestoneState::Reached, PhaseState::Done)
    );
    let before = space
        .until("dreams", "waiting for approval", |status| {
            is_ready(status) && status.reason.as_deref() == Some("Approval:ga/half")
        })
        .await;

    // Unticked, moved, taken away: nobody who runs notices, and nobody new starts.
    apply(&space, &playbook("maya", false)).await;
    space.apply::<FeatureRollout>(&rollout("late", "maya")).await.unwrap();
    space.until("late", "waiting", |status| waits_for_playbook(status, "task rls")).await;
    apply(&space, &playbook("maya", true).replace("from: 3, to: 4", "from: 300, to: 301")).await;
    // It began when the task was done; the phase opens in 2025, which has been.
    space.until("late", "started", |status| served(status) == "all=5%").await;
    apply(&space, &playbook("maya", true).replace("from: 3, to: 4", "from: 500, to: 501")).await;
    space.apply::<FeatureRollout>(&rollout("later", "maya")).await.unwrap();
    let moved = space
        .until("later", "waiting for its week", |status| waits_for_playbook(status, "opens at 2029-"))
        .await;
    assert_eq!(moved.waiting_for.unwrap().until.unwrap().to_string(), "2029-07-30T00:00:00Z");
    space.api::<Playbook>().delete("maya", &Default::default()).await.unwrap();
    space
        .until("later", "waiting for the playbook", |status| waits_for_playbook(status, "which is not there"))
        .await;
    let after = space.status("dreams").await;
    assert_eq!(
        (after.revision, &after.history, served(&after)),
        (before.revision, &before.history, "all=5%")
    );
    assert!(is_ready(&after));
}

#[tokio::test]
async fn what_is_wrong_with_a_playbook_is_said_of_it_and_running_rollouts_go_on() {
    let space = Space::shared("playbook-wrong").await;
    apply(&space, &playbook("maya", true)).await;
    space.apply::<FeatureRollout>(&rollout("dreams", "maya")).await.unwrap();
    space.until("dreams", "started", |status| served(status) == "all=5%").await;

    // Two phases that wait for each other, and a rollout that nobody has.
    let circle = playbook("maya", true)
        .replace("  - name: experience", "    requires: [{milestone: experienced}]\n  - name: experience")
        .replace("requires: [{milestone: audit}]", "requires: [{milestone: founded}, {rollout: {name: nobody, condition: Completed}}]")
        .replace("milestones: [", "milestones: [{name: founded, week: 2, when: {phase: foundation}}, {name: experienced, week: 4, when: {phase: experience}}, ");
    apply(&space, &circle).await;
    let status = until(&space, "maya", "stalled", |status| ready(status).1 == "DependencyCycle").await;
    let said = ready(&status).2;
    assert!(
        said.contains("spec.phases[0].requires: waits for itself: phase foundation → milestone experienced"),
        "{said}"
    );
    assert!(
        said.contains("spec.phases[1].requires[1].rollout.name: \"nobody\": there is no such FeatureRollout"),
        "{said}"
    );
    assert!(
        status.conditions.iter().any(|condition| condition.type_ == "Stalled" && condition.status == "True")
    );
    space.apply::<FeatureRollout>(&rollout("late", "maya")).await.unwrap();
    space.until("late", "waiting", |status| waits_for_playbook(status, "itself (phase experience → ")).await;

    // Of what the schema cannot refuse, everything at once.
    let invalid =
        playbook("maya", true).replace("week: 2, when: {tasks: [rls]}", "week: 9, when: {tasks: [none]}");
    apply(&space, &invalid).await;
    let status = until(&space, "maya", "invalid", |status| ready(status).1 == "InvalidSpec").await;
    let said = ready(&status).2;
    assert!(said.contains("spec.milestones[0].week: \"9\": is outside of the plan"), "{said}");
    assert!(said.contains("spec.milestones[0].when.tasks[0]: \"none\": is the id of no task"), "{said}");
    space
        .until("late", "waiting", |status| {
            waits_for_playbook(status, "playbook maya to be valid (spec.milestones[0]")
        })
        .await;

    // What runs is approved and goes on meanwhile.
    let approved = rollout("dreams", "maya")
        .replace("cohorts: [{name: all}],", "cohorts: [{name: all}], approvals: [{phase: ga, step: half}],");
    space.apply::<FeatureRollout>(&approved).await.unwrap();
    space.until("dreams", "at half", |status| served(status) == "all=50%").await;
    apply(&space, &playbook("maya", true)).await;
    space.until("late", "started", |status| served(status) == "all=5%").await;
    until(&space, "maya", "valid", |status| ready(status).1 == "Valid").await;
}

/// What the API server refuses, and the words.
const REFUSED: [(&str, &str); 6] = [
    ("from: 1, to: 2", "weeks.from must not come after weeks.to"),
    ("milestone: audit}", "give exactly one of task, rollout, milestone and criterion"),
    ("when: {tasks: [rls]}", "give exactly one of rollout, phase and tasks"),
    ("name: experience", "phase names must be unique"),
    ("2020-01-06", "spec.startDate"),
    ("{id: rls, title: Fix policies, done: true}", "duplicate entries"),
];

#[tokio::test]
async fn the_api_server_refuses_what_can_be_seen_in_the_object_and_takes_the_largest() {
    let space = Space::shared("playbook-admission").await;
    let instead = [
        "from: 3, to: 2",
        "milestone: audit, task: rls}",
        "when: {tasks: [rls], phase: foundation}",
        "name: foundation",
        "2020-13-06",
        "{id: rls, title: a}, {id: rls, title: b}",
    ];
    for ((right, says), wrong) in REFUSED.iter().zip(instead) {
        let yaml = playbook("wrong", true);
        assert!(yaml.contains(right), "{right}");
        let error = space.apply::<Playbook>(&yaml.replace(right, wrong)).await.unwrap_err().to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
    // As many of everything as the schema takes; texts are short, as an object has at most 1.5 MB.
    let task = |p: usize, s: usize, t: usize| json!({"id": format!("t-{p}-{s}-{t}"), "title": "x"});
    let section = |p: usize, s: usize| json!({"title": "s", "tasks": (0..32).map(|t| task(p, s, t)).collect::<Vec<_>>()});
    let requires: Vec<Value> = (0..16).map(|t| json!({"task": format!("t-0-0-{t}")})).collect();
    let phase = |p: usize| {
        json!({"name": format!("p{p}"), "weeks": {"from": 1, "to": 520}, "requires": requires,
            "sections": (0..16).map(|s| section(p, s)).collect::<Vec<_>>()})
    };
    let name = |i: usize| format!("{}{i:03}", "n".repeat(37));
    let largest = json!({"metadata": {"name": "largest"}, "spec": {
        "startDate": "2025-09-08",
        "phases": (0..16).map(phase).collect::<Vec<_>>(),
        "milestones": (0..32).map(|m| json!({"name": name(m), "week": 1, "when": {"tasks": (0..64).map(|t| format!("t-0-{}-{}", t / 32, t % 32)).collect::<Vec<_>>()}})).collect::<Vec<_>>(),
        "risks": (0..64).map(|r| json!({"title": name(r), "kind": "Technical"})).collect::<Vec<_>>(),
        "criteria": (0..32).map(|c| json!({"name": name(c), "manual": {"value": "1", "at": "2025-01-01T00:00:00Z"}, "above": "0"})).collect::<Vec<_>>(),
    }});
    apply(&space, &largest.to_string()).await;
    let status = until(&space, "largest", "valid", |status| ready(status).1 == "Valid").await;
    assert_eq!(status.progress.as_deref(), Some("0/8192"));
    let fresh: Playbook = space.api::<Playbook>().get("largest").await.unwrap();
    assert_eq!(status.observed_generation, fresh.metadata.generation.unwrap());

    // With nothing to do nothing is written: not by time, and not because others ask.
    let version = fresh.resource_version();
    apply(&space, &playbook("other", true)).await;
    space.apply::<FeatureRollout>(&rollout("dreams", "other")).await.unwrap();
    space.until("dreams", "started", |status| served(status) == "all=5%").await;
    // Its rollout holds for a second, and waits for an approval then.
    let settled = until(&space, "other", "blocked", |status| status.blocked_count == 1).await;
    pause(2500).await;
    let after = space.api::<Playbook>().get("largest").await.unwrap();
    assert_eq!(after.resource_version(), version);
    assert_eq!(space.api::<Playbook>().get("other").await.unwrap().status.unwrap(), settled);
}

#[tokio::test]
async fn a_playbook_that_follows_hundreds_of_writes_writes_a_few() {
    let space = bare_space("playbook-many").await;
    let controller = Running::in_space(&space).await;
    apply(&space, &playbook("maya", true)).await;
    let begun = sluice::clock::monotonic();
    for i in 0..60 {
        space.apply::<FeatureRollout>(&rollout(&format!("r{i:02}"), "maya")).await.unwrap();
    }
    let done = |status: &PlaybookStatus| status.phases[1].rollouts_started == 60;
    let status = until(&space, "maya", "running with all", done).await;
    assert_eq!(status.success.len(), 60);
    assert!(serde_json::to_vec(&status).unwrap().len() <= 16 * 1024);
    eventually("every rollout waits for its approval", async || {
        let all = space.api::<FeatureRollout>().list(&Default::default()).await.unwrap();
        all.iter().all(|r| r.status.as_ref().is_some_and(|s| s.reason.as_deref() == Some("Approval:ga/half")))
    })
    .await;
    pause(1500).await;
    let written = audited_writes(bare(), &space.name);
    let of = |what: &str| written.iter().filter(|(_, resource, ..)| resource == what).count();
    let (own, theirs) = (of("playbooks/status"), of("featurerollouts/status"));
    // It looks at them every half a second, however slow the machine is at writing theirs.
    let looks = usize::try_from(begun.elapsed().as_millis() / 500).unwrap() + 2;
    assert!(
        own > 0 && own <= looks && own < theirs,
        "{own} writes of the playbook for {theirs} of its rollouts in {looks} looks"
    );
    // A start over all of it writes nothing.
    controller.stop().await;
    let controller = Running::in_space(&space).await;
    apply(&space, &playbook("newcomer", true)).await;
    until(&space, "newcomer", "valid", |status| ready(status).1 == "Valid").await;
    pause(1500).await;
    let again = audited_writes(bare(), &space.name);
    let more: Vec<_> = again[written.len()..].iter().filter(|(_, _, name, _)| name != "newcomer").collect();
    assert!(more.is_empty(), "{more:?}");
    controller.stop().await;
}

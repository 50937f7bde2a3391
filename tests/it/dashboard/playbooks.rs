//! Plans as pages: what blocks them, how far they succeed, and for whom.

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::{Patch, PatchParams};
use sluice::api::Playbook;

use super::*;

/// A plan of which everything that a page shows of plans is a part.
pub const PLAN: &str = "
metadata: {name: maya}
spec:
  title: The plan of Maya
  startDate: '2020-01-06'
  timeZone: Europe/Berlin
  phases:
  - name: first
    title: First steps
    goal: Whispers for staff
    weeks: {from: 1, to: 2}
    sections: [{title: Groundwork, tasks: [{id: a, title: Write it down, owner: Ada, done: true}]}]
  - name: second
    weeks: {from: 3, to: 4}
    requires: [{task: b}, {milestone: written}]
    sections: [{title: Before launch, tasks: [{id: b, title: Review the copy, owner: Bob}]}]
  milestones:
  - {name: written, title: All is written, week: 1, when: {tasks: [a]}}
  - {name: out, title: Everybody has it, week: 2, when: {rollout: {name: whispers, condition: Completed}}}
  risks:
  - {title: Too many questions, kind: Business, mitigation: Staff the desk, owner: Cleo}
  - {title: Slow answers, kind: Technical, mitigation: A cache, done: true}
  criteria:
  - {name: calls, atLeast: '70', manual: {value: '82', at: '2025-10-01T00:00:00Z'}}
  - {name: sales, atLeast: '70', manual: {value: '12', at: '2025-10-01T00:00:00Z'}}
";

/// A rollout that joins the second phase, which is blocked.
pub const JOINS: &str = "
metadata: {name: whispers}
spec:
  playbookRef: {name: maya, phase: second}
  cohorts: [{name: all, share: 100}]
  criteria: [{name: rating, above: '4.2', manual: {value: '4.4', at: '2025-10-01T00:00:00Z'}}]
  phases: [{name: ga, steps: [{week: 3, cohorts: {all: 5}, hold: 1h}, {name: half, week: 4, cohorts: {all: 50}}]}]
";

/// The text between the heading of a part and the end of that part.
fn part<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(heading).unwrap_or_else(|| panic!("no {heading}: {page}"));
    rest.split("</section>").next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_shown_with_what_blocks_it_and_follows_what_is_done() {
    let space = bare_space("panel-plan").await;
    let controller = Running::in_space(&space).await;
    space.apply::<Playbook>(PLAN).await.unwrap();
    space.apply::<FeatureRollout>(JOINS).await.unwrap();
    space.until("whispers", "waiting", |status| status.reason.as_deref() == Some("Playbook:b")).await;
    let panel = Served::of(bare().kubeconfig(), &space.name).await;
    let mut browser = panel.entered().await;
    let path = format!("/playbooks/{}/maya", space.name);
    let list = browser.until("/playbooks", &format!("href=\"{path}\"")).await;
    assert!(list.text.contains("The plan of Maya") && list.text.contains("Overdue"), "{}", list.text);

    let page = browser.until(&path, "waits for task b (Review the copy) to be done").await.text;
    assert!(
        page.contains("class=\"sluice-chart\"") && !page.contains("<style"),
        "the weeks are drawn: {page}"
    );
    let late = part(&page, "<h2>Late</h2>");
    assert!(late.contains("<b>second</b>: was to end with week 4; 1 task open, 1 rollout open"), "{late}");
    assert!(late.contains("milestone Everybody has it</b>: was to be reached in week 2"), "{late}");
    assert!(late.contains("<h2>Blocked</h2>") && !late.contains("First steps"), "{late}");
    let first = part(&page, "<h2>First steps");
    assert!(first.contains("Whispers for staff") && first.contains("1 of 1 tasks done"), "{first}");
    assert!(first.contains("done: </span><span>Write it down<small>Ada"), "{first}");
    let second = part(&page, "<h2>second");
    assert!(second.contains("open: </span><span>Review the copy<small>Bob"), "{second}");
    assert!(second.contains("not so: </span><span>task b (Review the copy) is done"), "{second}");
    assert!(second.contains(">so: </span><span>milestone written is reached"), "{second}");
    assert!(
        second.contains("whispers</a>") && second.contains("ga/half") && second.contains("blocked"),
        "{second}"
    );
    let milestones = part(&page, "<h2>Milestones");
    let (written, out) = milestones.split_once("Everybody has it").unwrap();
    assert!(written.contains("Reached") && !written.contains(">next<"), "{written}");
    assert!(out.contains("Overdue") && out.contains(">next<"), "{out}");
    let success = part(&page, "<h2>Success by feature");
    for (name, met) in [("calls", "yes"), ("sales", "no"), ("rating", "yes")] {
        let (_, row) = success.split_once(&format!(">{name}</th>")).unwrap();
        assert!(row.split("</tr>").next().unwrap().contains(&format!("{met}</span>")), "{name}: {success}");
    }
    assert!(success.contains("at least 70") && success.contains(">82<") && success.contains("datetime="));
    let risks = part(&page, "<h2>Risks");
    let (business, technical) = risks.split_once("<h3>Technical").unwrap();
    assert!(business.contains("1 of 1 open") && business.contains("Staff the desk · Cleo"), "{business}");
    assert!(technical.contains("0 of 1 open") && technical.contains("in place: "), "{technical}");

    // A task that is ticked in git is on the page as soon as it is in the cluster.
    let mut stream = browser.stream_of("/live?of=playbooks").await;
    stream.until("event: ").await;
    let ticked = json!([{"op": "add", "path": "/spec/phases/1/sections/0/tasks/0/done", "value": true}]);
    let patch = Patch::Json::<()>(serde_json::from_value(ticked).unwrap());
    space.api::<Playbook>().patch("maya", &PatchParams::default(), &patch).await.unwrap();
    stream.until_changed(&format!("{}/maya", space.name)).await;
    let page = browser.until(&path, "done: </span><span>Review the copy").await.text;
    assert!(part(&page, "<h2>second").contains(">so: </span><span>task b"), "{page}");
    controller.stop().await;
}

/// Rights on kinds of ours, in a namespace.
async fn may(space: &Space, user: &str, resources: &[&str]) {
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let rule = PolicyRule {
        api_groups: Some(own(&["sluice.dev"])),
        resources: Some(own(resources)),
        verbs: own(&["get", "list", "watch"]),
        ..PolicyRule::default()
    };
    people::grant(space, user, vec![rule]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_plan_nobody_is_shown_more_than_they_may_read_and_what_is_missing_is_said() {
    let space = bare_space("panel-plan-rights").await;
    let controller = Running::in_space(&space).await;
    space.apply::<Playbook>(PLAN).await.unwrap();
    space.apply::<FeatureRollout>(JOINS).await.unwrap();
    space.until("whispers", "waiting", |status| status.reason.as_deref() == Some("Playbook:b")).await;
    let path = format!("/playbooks/{}/maya", space.name);

    may(&space, "panel-plans-only", &["playbooks"]).await;
    let panel = Served::of(bare().user_kubeconfig("panel-plans-only", &[]).unwrap(), &space.name).await;
    let mut browser = panel.entered().await;
    browser.until("/playbooks", "The plan of Maya").await;
    // What the status of the plan says may be read by whoever may read the plan.
    browser.until(&path, ">rating</th>").await;
    let page = browser.until(&path, "waits for task b").await.text;
    assert!(
        page.contains("cannot be listed") && part(&page, "<h2>Success").contains(">rating</th>"),
        "{page}"
    );
    assert!(page.contains("featurerollouts.sluice.dev is forbidden"), "{page}");
    assert!(!page.contains("ga/half"), "steps of a rollout that may not be read: {page}");
    let second = part(&page, "<h2>second");
    assert!(second.contains("not known: ") && !second.contains("not so: "), "{second}");

    may(&space, "panel-plans-and-rollouts", &["playbooks", "featurerollouts"]).await;
    let both = bare().user_kubeconfig("panel-plans-and-rollouts", &[]).unwrap();
    let panel = Served::of(both, &space.name).await;
    let mut browser = panel.entered().await;
    let page = browser.until(&path, "FlagSets cannot be listed").await.text;
    // What needs none of them is shown in full.
    assert!(page.contains("RolloutPolicies cannot be listed") && page.contains("ga/half"), "{page}");
    assert!(part(&page, "<h2>second").contains("not so: "), "{page}");

    may(&space, "panel-rollouts-only", &["featurerollouts"]).await;
    let panel = Served::of(bare().user_kubeconfig("panel-rollouts-only", &[]).unwrap(), &space.name).await;
    let mut browser = panel.entered().await;
    browser.until("/", "whispers").await;
    let list = browser.until("/playbooks", "you may list playbooks in no namespace").await;
    assert!(!list.text.contains("The plan of Maya"), "{}", list.text);
    let refused = browser.get(&path).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("playbooks.sluice.dev &quot;maya&quot; is forbidden"), "{}", refused.text);
    controller.stop().await;
}

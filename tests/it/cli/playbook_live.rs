//! `sluice playbook` of a cluster: what the rollouts have done, and what they wait for.

use sluice::api::{FeatureRollout, Playbook};

use super::sluice;
use crate::support::{Space, shared};

const PLAN: &str = "
metadata: {name: maya}
spec:
  title: The plan
  startDate: '2020-01-06'
  phases:
  - {name: first, weeks: {from: 1, to: 2}, sections: [{title: A, tasks: [{id: a, title: Do a, done: true}]}]}
  - {name: second, weeks: {from: 3, to: 4}, requires: [{task: b}], sections: [{title: B, tasks: [{id: b, title: Do b}]}]}
  milestones: [{name: out, week: 2, when: {rollout: {name: one, condition: Completed}}}]
";

fn rollout(name: &str, phase: &str) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{playbookRef: {{name: maya, phase: {phase}}}, cohorts: [{{name: all, share: 100}}],
            phases: [{{name: ga, steps: [{{week: 1, cohorts: {{all: 5}}, hold: 1s}}, {{name: half, week: 2, cohorts: {{all: 50}}, approval: Required}}]}}]}}}}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_a_cluster_is_told_with_what_waits_for_whom() {
    let space = Space::shared("playbook-told").await;
    space.apply::<Playbook>(PLAN).await.unwrap();
    for (name, phase) in [("one", "first"), ("two", "second")] {
        space.apply::<FeatureRollout>(&rollout(name, phase)).await.unwrap();
    }
    space.until("one", "waiting", |status| status.reason.as_deref() == Some("Approval:ga/half")).await;
    space.until("two", "waiting", |status| status.reason.as_deref() == Some("Playbook:b")).await;
    let config = shared().plane.kubeconfig_path().to_str().unwrap().to_owned();
    let told = |name: &str, form: &str| {
        sluice(&["playbook", name, "-n", &space.name, "--kubeconfig", &config, "-o", form])
    };
    let json = told("maya", "json").json();
    let steps: Vec<String> = json["rollouts"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|rollout| {
            let step =
                |step: &serde_json::Value| format!("{} {} {}", rollout["name"], step["step"], step["state"]);
            rollout["steps"].as_array().unwrap().iter().map(step).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        steps,
        [
            r#""one" "ga/1" "running""#,
            r#""one" "ga/half" "blocked""#,
            r#""two" "ga/1" "blocked""#,
            r#""two" "ga/half" "blocked""#,
        ]
    );
    assert_eq!(json["status"]["blocked"][0]["message"], "waits for task b (Do b) to be done");
    let chart = told("maya", "table").out;
    assert!(chart.starts_with(&format!("The plan ({}/maya)\n", space.name)), "{chart}");
    assert!(chart.contains("phase     second   waits for task b (Do b) to be done\n"), "{chart}");
    assert!(chart.contains("rollout   one      ga/half waits for approval"), "{chart}");
    assert!(chart.contains("milestone   out      2\n"), "{chart}");
    let none = told("nothing", "table");
    assert_eq!((none.code, none.out.as_str()), (3, ""));
    assert!(none.err.contains("there is no Playbook nothing in namespace playbook-told"), "{}", none.err);
}

//! What people and GitOps tools read off a rollout: the table of conditions, columns, approvals, dependencies, events.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use sluice::api::status::Check;
use sluice::api::{FeatureRollout, FeatureRolloutStatus, MicroTime, State};

use crate::flag_sets::{create, served};
use crate::support::bare::told;
use crate::support::raw::object;
use crate::support::{Space, condition, eventually, is_ready, is_stalled, pause, ready_reason};

fn rollout(name: &str, more: &str) -> Value {
    object("FeatureRollout", name, &format!("cohorts: [{{name: all, share: 100}}]\n{more}"))
}

pub async fn edit(space: &Space, name: &str, spec: &str) {
    let spec: Value = serde_saphyr::from_str(spec).unwrap();
    let answer = space.merge("FeatureRollout", name, &json!({"spec": spec})).await;
    assert_eq!(answer.code, 200, "{}", answer.message());
}

/// Status and reason of each condition, in one line.
fn table(status: &FeatureRolloutStatus) -> String {
    let shown = status.conditions.iter().map(|c| format!("{}={}/{}", c.type_, c.status, c.reason));
    shown.collect::<Vec<_>>().join(" ")
}

/// One step, to be edited.
pub fn half(percent: u8) -> String {
    format!("phases: [{{name: ga, steps: [{{name: half, cohorts: {{all: {percent}}}, hold: 1h}}]}}]")
}

const HOLD: &str = "phases: [{name: ga, ramp: {percents: [50, 100], every: 1h}}]";
const APPROVED: &str = "phases: [{name: ga, steps: [{name: half, cohorts: {all: 50}, hold: 0s}, {name: full, cohorts: {all: 100}, hold: 0s, approval: Required}]}]";

#[tokio::test]
async fn the_conditions_say_what_stands_and_why() {
    let space = Space::shared("status-table").await;
    create(&space, &[rollout("one", HOLD), rollout("approved", APPROVED)]).await;

    let holding = space.until("one", "holding", is_ready).await;
    assert_eq!(table(&holding), "Ready=True/Holding Completed=False/InProgress");
    let message = condition(&holding, "Ready").unwrap().2.to_owned();
    assert!(message.starts_with("serving all 50%; the hold before ga/100% lasts until 20"), "{message}");
    assert_eq!(holding.observed_generation, 1);
    let columns = [&holding.phase, &holding.step, &holding.exposure, &holding.served];
    let columns: Vec<&str> = columns.into_iter().map(|column| column.as_deref().unwrap()).collect();
    assert_eq!(holding.state, Some(State::Holding));
    assert_eq!(columns, ["ga", "1/2", "50%", "all=50%"]);
    assert!(holding.next.as_deref().unwrap().ends_with('Z'));

    let awaiting =
        space.until("approved", "awaiting", |s| is_ready(s) && ready_reason(s) == "AwaitingApproval").await;
    assert_eq!(table(&awaiting), "Ready=True/AwaitingApproval Completed=False/InProgress");
    assert_eq!(awaiting.waiting_for.as_ref().unwrap().check, Check::Approval);
    assert_eq!(awaiting.next, None, "nothing is due by itself");
    edit(&space, "approved", "approvals: [{phase: ga, step: half}]").await;
    space.until("approved", "still waiting", |s| is_ready(s) && s.observed_generation == 2).await;
    assert_eq!(space.status("approved").await.served.as_deref(), Some("all=50%"), "another step's approval");
    edit(&space, "approved", "approvals: [{phase: ga, step: full}]").await;
    let done = space.until("approved", "completed", |s| is_ready(s) && s.completed_at.is_some()).await;
    assert_eq!(table(&done), "Ready=True/Completed Completed=True/Completed");
    assert_eq!(
        (done.state.map(State::as_str), done.step.as_deref(), done.next.as_deref()),
        (Some("Completed"), Some("2/2"), None)
    );

    edit(&space, "one", "suspend: true").await;
    let paused = space.until("one", "paused", |s| is_ready(s) && s.observed_generation == 2).await;
    assert_eq!(table(&paused), "Ready=True/Paused Paused=True/Suspended Completed=False/InProgress");
    assert!(condition(&paused, "Ready").unwrap().2.contains("spec.suspend is true"));
    assert_eq!((paused.state.map(State::as_str), paused.next.as_deref()), (Some("Paused"), None));

    edit(&space, "one", "{suspend: false, baseline: {nobody: 1}}").await;
    let invalid =
        space.until("one", "invalid", |s| is_stalled(s, "InvalidSpec", "spec.baseline.nobody")).await;
    assert!(
        table(&invalid).starts_with("Ready=False/InvalidSpec Stalled=True/InvalidSpec"),
        "{}",
        table(&invalid)
    );
    assert_eq!(invalid.observed_generation, 3, "kstatus reads Stalled only of an observed generation");
    assert_eq!(invalid.served, paused.served, "what is served stays served");
    edit(&space, "one", "baseline: null").await;
    let mended = space.until("one", "mended", is_ready).await;
    assert_eq!(table(&mended), "Ready=True/Holding Completed=False/InProgress");
    assert!(mended.history.iter().any(|entry| entry.reason.as_str() == "Resumed"));
}

/// Keeps ConfigMaps of a namespace from being written, as an outage of a webhook does.
pub fn blockade(namespace: &str) -> ValidatingWebhookConfiguration {
    serde_json::from_value(json!({
        "metadata": {"name": namespace},
        "webhooks": [{
            "name": "down.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail", "timeoutSeconds": 1,
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}],
        }],
    }))
    .unwrap()
}

/// Takes a blockade away however the test ends: others share the control plane.
pub struct Lifted(pub String);

impl Drop for Lifted {
    fn drop(&mut self) {
        let name = self.0.clone();
        let lift = async move {
            let hooks: Api<ValidatingWebhookConfiguration> = Api::all(crate::support::shared_client());
            // Where it is gone the test has come to its end.
            let _gone = hooks.delete(&name, &DeleteParams::default()).await;
        };
        // A runtime of its own: that of the test may be ending.
        let lifting = std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(lift));
        lifting.join().unwrap();
    }
}

#[tokio::test]
async fn what_is_not_delivered_for_ten_seconds_is_reconciling_and_observed_only_afterwards() {
    let space = Space::shared("status-late").await;
    create(&space, &[rollout("one", &half(50))]).await;
    let before = space.until("one", "ready", is_ready).await;
    let hooks: Api<ValidatingWebhookConfiguration> = Api::all(space.client.clone());
    let _lifted = Lifted(space.name.clone());
    hooks.create(&PostParams::default(), &blockade(&space.name)).await.unwrap();
    eventually("the blockade works", async || {
        let map = serde_json::from_value(json!({"metadata": {"name": "probe"}})).unwrap();
        let params = PostParams { dry_run: true, ..PostParams::default() };
        space.api::<k8s_openapi::api::core::v1::ConfigMap>().create(&params, &map).await.is_err()
    })
    .await;

    edit(&space, "one", &half(20)).await;
    let decided = space.until("one", "decided", |s| s.revision > before.revision).await;
    assert_eq!(decided.cohorts[0].decided().to_string(), "20%", "lowered at once");
    assert_eq!(decided.observed_generation, 1, "not delivered yet");
    assert!(is_stalled(&decided, "", "") || ready_reason(&decided) == "Holding", "no news within 10 s");
    let late = space.until("one", "late", |s| condition(s, "Reconciling").is_some()).await;
    assert_eq!(table(&late), "Ready=False/Retrying Reconciling=True/Retrying Completed=False/InProgress");
    assert!(condition(&late, "Ready").unwrap().2.contains("could not be written"), "{}", table(&late));
    assert_eq!((late.observed_generation, late.state.map(State::as_str)), (1, Some("Reconciling")));
    // Both stamps are the controller's own, so that no wait of this test has a part in them.
    let lowered = late.history.iter().rfind(|entry| entry.message.contains("an edit lowered")).unwrap().at;
    let reconciling = late.conditions.iter().find(|condition| condition.type_ == "Reconciling").unwrap();
    let after = MicroTime::from(reconciling.last_transition_time.0).duration_since(lowered).as_secs_f64();
    assert!((9.0..16.0).contains(&after), "said {after} s after the decision, not 10");

    hooks.delete(&space.name, &DeleteParams::default()).await.unwrap();
    let done = space.until("one", "delivered", is_ready).await;
    assert_eq!(
        (table(&done).as_str(), done.observed_generation),
        ("Ready=True/Holding Completed=False/InProgress", 2)
    );
    assert_eq!(served(&space.file("one").await.unwrap(), "one"), "all=20%");
}

#[tokio::test]
async fn dependencies_wait_for_completion_for_a_phase_and_for_those_to_come() {
    let space = Space::shared("status-depends").await;
    create(
        &space,
        &[
            rollout("after", &format!("{HOLD}\ndependsOn: [{{name: first, condition: Completed}}]")),
            rollout("within", &format!("{HOLD}\ndependsOn: [{{name: first, phase: ga}}]")),
        ],
    )
    .await;
    for name in ["after", "within"] {
        let status = space.until(name, "waiting", is_ready).await;
        assert_eq!((ready_reason(&status), status.served.as_deref()), ("Waiting", Some("all=0%")));
        let waiting = status.waiting_for.unwrap();
        assert_eq!(waiting.check, Check::Dependencies);
        assert!(waiting.message.contains("first, which does not exist"), "{}", waiting.message);
    }
    let phases = "phases: [{name: beta, ramp: {percents: [5], every: 1s}}, {name: ga, ramp: {percents: [100], every: 8s}}]";
    create(&space, &[rollout("first", phases)]).await;
    let within = space.until("within", "raised", |s| is_ready(s) && s.exposed()).await;
    let first = space.status("first").await;
    assert_eq!(first.phase.as_deref(), Some("ga"));
    assert!(within.first_exposure.unwrap().at >= first.position.unwrap().entered_at);
    assert!(!space.status("after").await.exposed());
    let after = space.until("after", "raised", |s| is_ready(s) && s.exposed()).await;
    assert!(after.first_exposure.unwrap().at >= space.status("first").await.completed_at.unwrap());
    // Once met it stays met.
    space.delete("FeatureRollout", "first").await;
    pause(300).await;
    let after = space.status("after").await;
    assert!(after.dependencies_met && is_ready(&after), "{after:#?}");
}

#[tokio::test]
async fn peers_4_edits_in_the_middle_lower_at_once_and_raise_through_the_door() {
    let space = Space::shared("status-edits").await;
    create(&space, &[rollout("one", &half(50))]).await;
    space.until("one", "ready", is_ready).await;
    edit(&space, "one", &format!("suspend: true\n{}", half(20))).await;
    let status = space.until("one", "lowered", |s| is_ready(s) && s.observed_generation == 2).await;
    assert_eq!(status.served.as_deref(), Some("all=20%"), "even while suspended");
    assert!(space.file("one").await.unwrap()["flags"]["one"]["targeting"].to_string().contains("20000"));
    assert!(status.history.iter().any(|entry| entry.message.contains("an edit lowered all 50% → 20%")));
    edit(&space, "one", "feature: {title: Dreams, owner: team-dreams}").await;
    let status = space.until("one", "retitled", |s| is_ready(s) && s.observed_generation == 3).await;
    assert_eq!(status.served.as_deref(), Some("all=20%"));
    create(&space, &[rollout("two", &half(30))]).await;
    space.until("two", "ready", is_ready).await;
    edit(&space, "two", &format!("suspend: true\n{}", half(60))).await;
    let status = space.until("two", "waiting", |s| is_ready(s) && s.observed_generation == 2).await;
    let pending = status.cohorts[0].pending.clone().unwrap();
    assert_eq!((pending.percent.to_string().as_str(), status.served.as_deref()), ("60%", Some("all=30%")));
    edit(&space, "two", "suspend: false").await;
    let status = space.until("two", "raised", |s| is_ready(s) && s.observed_generation == 3).await;
    assert_eq!(status.served.as_deref(), Some("all=60%"));
}

#[tokio::test]
async fn the_history_is_told_by_events_once_and_quiet_writes_nothing() {
    let space = Space::shared("status-events").await;
    create(&space, &[rollout("one", APPROVED)]).await;
    space.until("one", "awaiting", |s| ready_reason(s) == "AwaitingApproval").await;
    edit(&space, "one", "suspend: true").await;
    space.until("one", "paused", |s| is_ready(s) && ready_reason(s) == "Paused").await;
    edit(&space, "one", "suspend: false\napprovals: [{phase: ga, step: full}]").await;
    let status = space
        .until("one", "completed", |s| {
            is_ready(s) && s.completed_at.is_some() && s.published_seq == s.last_seq()
        })
        .await;
    let version = space.api::<FeatureRollout>().get("one").await.unwrap().resource_version();
    let uid = space.api::<FeatureRollout>().get("one").await.unwrap().uid().unwrap();
    let mut events = space.api::<Event>().list(&ListParams::default()).await.unwrap().items;
    events.sort_by_key(|event| event.event_time.clone().map(|time| time.0));
    let seen: Vec<String> = events
        .iter()
        .map(|event| {
            assert_eq!(event.regarding.as_ref().unwrap().uid.as_deref(), Some(uid.as_str()));
            assert_eq!(event.type_.as_deref(), Some("Normal"));
            format!("{}: {}", event.reason.as_deref().unwrap(), event.note.as_deref().unwrap())
        })
        .collect();
    assert_eq!(seen, told(&status));
    let reasons: Vec<&str> = status.history.iter().map(|entry| entry.reason.as_str()).collect();
    assert_eq!(reasons, ["Started", "StepEntered", "Paused", "Resumed", "StepEntered", "Completed"]);
    pause(1000).await;
    assert_eq!(space.api::<FeatureRollout>().get("one").await.unwrap().resource_version(), version);
}

//! Events are best effort: where they are refused or never answered, nothing waits for them, few calls are made, and
//! what was not published then is published once they go through, in its order and each once.

use std::collections::BTreeMap;

use futures::StreamExt;
use jiff::SignedDuration;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, PostParams};
use sluice::api::{FeatureRollout, FeatureRolloutStatus, RolloutAction};

use crate::support::bare::{Running, bare_space, events, told};
use crate::support::proxy::Proxy;
use crate::support::{Space, eventually, is_ready, is_stalled, pause};

const ROLLOUTS: usize = 50;
/// For how long writes fail, in seconds.
const FAILING_S: u64 = 8;
/// Events that are written at once.
const AT_ONCE: usize = 4;

/// Most tries of the events of a namespace in so many seconds, however many rollouts it has: the first ones, and then one
/// after 0.5, 1, 2 … s.
fn most_tries(seconds: f64) -> usize {
    let mut waits = (0..20).map(|n| 0.5 * 2f64.powi(n));
    let mut after = 0.0;
    let retries = std::iter::from_fn(|| {
        after += waits.next()?;
        (after <= seconds).then_some(())
    });
    AT_ONCE + retries.count()
}

#[tokio::test]
async fn refused_events_cost_few_calls_and_hold_nothing_up() {
    fail("events-refused", |proxy| proxy.refuse(&["events.k8s.io/"], 500)).await;
}

#[tokio::test]
async fn events_without_an_answer_cost_few_calls_and_hold_nothing_up() {
    fail("events-hang", |proxy| proxy.hang_on(&["events.k8s.io/"])).await;
}

/// Some are refused, the others get no answer.
#[tokio::test]
async fn events_that_are_refused_and_hang_cost_few_calls_and_hold_nothing_up() {
    fail("events-both", |proxy| {
        proxy.hang_on(&["events.k8s.io/"]);
        proxy.refuse_every_other(&["events.k8s.io/"], 500);
    })
    .await;
}

async fn fail(name: &str, fails: impl Fn(&Proxy)) {
    let space = bare_space(name).await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    fails(&proxy);
    let controller = Running::over(&proxy);
    let begun = sluice::clock::monotonic();
    let names: Vec<String> = (0..ROLLOUTS).map(|i| format!("r{i}")).collect();
    futures::stream::iter(&names)
        .for_each_concurrent(8, async |name| {
            space.apply::<FeatureRollout>(&rollout(name)).await.unwrap();
        })
        .await;
    for name in &names {
        let status = space.until(name, "ready", is_ready).await;
        assert_eq!(status.published_seq, 0, "{name}");
    }
    // One of them is taken back, and the file has it while no event goes through.
    roll_back(&space, "r7").await;
    space.until("r7", "rolled back", |s| s.rollback.is_some() && s.delivered_revision == s.revision).await;
    let file = space.file("r7").await.unwrap();
    assert!(!file["flags"]["r7"]["targeting"].to_string().contains("enabled"), "{file:#}");

    let left = SignedDuration::from_secs(FAILING_S.cast_signed())
        - SignedDuration::try_from(begun.elapsed()).unwrap_or_default();
    pause(u64::try_from(left.as_millis()).unwrap_or(0)).await;
    let (tries, most) = (proxy.asked("events.k8s.io/").len(), most_tries(begun.elapsed().as_secs_f64()));
    assert!((2..=most).contains(&tries), "{tries} tries of events, at most {most}");
    // Of the first step: two revisions kept, status, ConfigMap, report; nothing was repeated for an event's sake.
    let writes = proxy.asked("/featurerollouts/");
    assert!(writes.len() <= ROLLOUTS * 2 + 8, "{} status writes", writes.len());

    proxy.stop_hanging();
    for name in &names {
        space.until(name, "published", |status| status.published_seq == status.last_seq()).await;
    }
    let mut published: BTreeMap<String, usize> = BTreeMap::new();
    for event in space.api::<Event>().list(&ListParams::default()).await.unwrap() {
        *published.entry(event.regarding.unwrap().name.unwrap()).or_default() += 1;
    }
    for name in &names {
        let status = space.status(name).await;
        let expected = told(&status);
        assert_eq!(published.get(name), Some(&expected.len()), "{name}");
        assert_eq!(expected.len(), status.history.len() - 1, "the beginning and the first step are one");
        assert_eq!(events(&space, name).await, expected);
    }
    controller.stop().await;
}

/// Whoever has just applied a rollout looks at its events first.
#[tokio::test]
async fn what_is_wrong_with_a_rollout_from_the_start_is_told_once() {
    let space = bare_space("events-stalled").await;
    let controller = Running::in_space(&space).await;
    let invalid = rollout("web").replace("spec: {", "spec: {baseline: {nobody: 5}, ");
    space.apply::<FeatureRollout>(&invalid).await.unwrap();
    let is_told = |status: &FeatureRolloutStatus| {
        is_stalled(status, "InvalidSpec", "nobody") && status.published_seq == status.last_seq()
    };
    let stalled = space.until("web", "stalled, and told", is_told).await;
    assert_eq!((stalled.history.len(), stalled.uid.as_deref()), (1, None), "it has not begun: {stalled:#?}");
    assert_eq!(events(&space, "web").await, told(&stalled));
    assert!(told(&stalled)[0].starts_with("InvalidSpec: spec.baseline.nobody"), "{:?}", told(&stalled));

    space.apply::<FeatureRollout>(&invalid.replace("nobody", "everyone")).await.unwrap();
    let begun = |status: &FeatureRolloutStatus| is_ready(status) && status.published_seq == status.last_seq();
    let begun = space.until("web", "begun, and told", begun).await;
    assert_eq!(events(&space, "web").await, told(&begun));
    controller.stop().await;
}

fn rollout(name: &str) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{cohorts: [{{name: everyone}}],
          phases: [{{name: ga, ramp: {{percents: [50, 100], every: 1000h}}}}]}}}}"
    )
}

/// Asks for a rollback of a rollout.
pub async fn roll_back(space: &Space, rollout: &str) {
    let action: RolloutAction = serde_json::from_value(serde_json::json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "RolloutAction", "metadata": {"generateName": "stop-"},
        "spec": {"rolloutRef": {"name": rollout}, "action": "Rollback", "reason": "it hurts"},
    }))
    .unwrap();
    space.api::<RolloutAction>().create(&PostParams::default(), &action).await.unwrap();
}

/// A crash between a status write and the event of its entry.
#[tokio::test]
async fn what_a_crash_left_unpublished_is_published_by_the_next_start() {
    let space = bare_space("events-crash").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    proxy.hang_on(&["events.k8s.io/"]);
    let controller = Running::over(&proxy);
    space.apply::<FeatureRollout>(&rollout("one")).await.unwrap();
    let status = space.until("one", "ready", is_ready).await;
    assert_eq!((status.published_seq, status.history.len() > 1), (0, true));
    drop(controller);
    let controller = Running::in_space(&space).await;
    let status = space.until("one", "published", |s| s.published_seq == s.last_seq()).await;
    assert_eq!(events(&space, "one").await, told(&status));
    controller.stop().await;
}

/// A step is two status writes, one ConfigMap write and at most one event, and the second write says all three.
#[tokio::test]
async fn the_report_of_a_step_says_that_its_event_is_published() {
    let space = bare_space("events-thin").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::over(&proxy);
    let yaml = "{metadata: {name: one}, spec: {cohorts: [{name: everyone}],
        phases: [{name: ga, steps: [{cohorts: {everyone: 10}, hold: 1ms}, {cohorts: {everyone: 20}, hold: 1000h}]}]}}";
    space.apply::<FeatureRollout>(yaml).await.unwrap();
    let settled = |s: &sluice::api::FeatureRolloutStatus| is_ready(s) && s.published_seq == s.last_seq();
    space.until("one", "settled", settled).await;
    pause(500).await;
    let before = proxy.writes().len();
    let seq = space.status("one").await.last_seq();
    space.apply::<FeatureRollout>(&yaml.replace("everyone: 20", "everyone: 30")).await.unwrap();
    let status = space.until("one", "edited", |s| settled(s) && s.observed_generation == 2).await;
    pause(500).await;
    let writes = proxy.writes()[before..].to_vec();
    let of = |part: &str| writes.iter().filter(|write| write.contains(part)).count();
    let events = i64::try_from(of("events.k8s.io/")).unwrap();
    assert_eq!((of("/featurerollouts/"), of("/configmaps")), (2, 1), "{writes:?}");
    assert!(events >= 1 && events == status.last_seq() - seq, "{writes:?}");
    controller.stop().await;
}

/// An emergency was in no event, condition or column of the set whose spec says it.
#[tokio::test]
async fn an_emergency_is_an_event_and_a_condition_of_its_flag_set() {
    let space = Space::shared("events-emergency").await;
    space.apply::<sluice::api::FlagSet>("{metadata: {name: app}, spec: {}}").await.unwrap();
    let yaml = "{metadata: {name: one}, spec: {flagSetRef: {name: app}, cohorts: [{name: everyone}],
        phases: [{name: ga, ramp: {percents: [50], every: 1h}}]}}";
    space.apply::<FeatureRollout>(yaml).await.unwrap();
    space.until("one", "ready", is_ready).await;
    let condition = async || {
        let set = space.api::<sluice::api::FlagSet>().get("app").await.unwrap();
        let conditions = set.status.unwrap_or_default().conditions;
        conditions.into_iter().find(|condition| condition.type_ == "Emergency")
    };
    for emergency in [serde_json::json!("Control"), serde_json::Value::Null] {
        let is_on = !emergency.is_null();
        let patch = serde_json::json!({"spec": {"emergency": emergency}});
        assert_eq!(space.merge("FlagSet", "app", &patch).await.code, 200);
        eventually("the condition says it", async || condition().await.is_some() == is_on).await;
    }
    eventually("both turns are events", async || {
        let told = events(&space, "app").await;
        let reasons: Vec<&str> = told.iter().filter_map(|event| event.split(':').next()).collect();
        reasons == ["EmergencyControl", "EmergencyLifted"]
    })
    .await;
}

//! The audience that a rollout serves is pinned: edits that widen it are raises, and nobody loses by one that is refused.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use sluice::api::status::Check;
use sluice::api::{FeatureRollout, FeatureRolloutStatus};

use crate::flag_sets::{create, served};
use crate::support::raw::object;
use crate::support::{Space, is_ready};

const HALF: &str = "phases: [{name: ga, ramp: {percents: [50, 100], every: 1h}}]";

fn frozen() -> Value {
    json!({"spec": {"schedule": {"freezes": [
        {"name": "calm", "from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"},
    ]}}})
}

async fn merge(space: &Space, kind: &str, name: &str, patch: Value) {
    let answer = space.merge(kind, name, &patch).await;
    assert_eq!(answer.code, 200, "{}", answer.message());
}

fn pinned(status: &FeatureRolloutStatus) -> String {
    status.audience.as_ref().map(|audience| audience.name.clone()).unwrap_or_default()
}

fn version(object: &impl kube::ResourceExt) -> u64 {
    object.resource_version().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_audience_is_stored_before_the_status_that_names_it() {
    let space = Space::shared("audience-order").await;
    let api = space.api::<FeatureRollout>();
    // A watch from before the creation on tells every version, the first one with an audience among them.
    let from = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    // What has no condition is told by the status alone.
    create(&space, &[object("FeatureRollout", "everyone", &format!("cohorts: [{{name: all}}]\n{HALF}"))])
        .await;
    let status = space.until("everyone", "ready", is_ready).await;
    let everyone = pinned(&status);
    let cohorts = "cohorts: [{name: all, match: {attributes: {plan: gold}}}]";
    create(&space, &[object("FeatureRollout", "one", &format!("{cohorts}\n{HALF}"))]).await;
    space.until("one", "ready", is_ready).await;
    let mut events = api.watch(&WatchParams::default(), &from).await.unwrap().boxed();
    let mut named = None;
    let mut without = 0;
    while let Some(event) = events.try_next().await.unwrap() {
        let (WatchEvent::Added(seen) | WatchEvent::Modified(seen)) = event else { continue };
        if seen.metadata.name.as_deref() != Some("one") {
            continue;
        }
        without += usize::from(seen.status.as_ref().is_none_or(|status| status.audience.is_none()));
        if let Some(status) = seen.status.as_ref().filter(|status| status.audience.is_some()) {
            named = Some((version(&seen), pinned(status)));
            break;
        }
    }
    assert!(without > 0, "the version without an audience was seen, too");
    let (written, name) = named.unwrap();
    assert!(everyone.starts_with("everyone-"));
    assert!(space.api::<ControllerRevision>().get_opt(&everyone).await.unwrap().is_none());
    let stored = space.api::<ControllerRevision>().get(&name).await.unwrap();
    assert!(version(&stored) < written, "the definition comes first");
    assert!(stored.metadata.owner_references.is_none());
    assert!(name.starts_with("one-"), "{name}");
    assert_eq!(stored.data.unwrap().0["cohorts"][0]["name"], "all");
}

#[tokio::test]
async fn an_edited_cohort_set_waits_for_the_door_and_comes_when_the_freeze_is_edited_away() {
    let space = Space::shared("audience-set").await;
    let set = object(
        "CohortSet",
        "users",
        "cohorts: [{name: staff, match: {attributes: {role: staff}}}, {name: vip, match: {attributes: {plan: gold}}}]",
    );
    let rollout = object("FeatureRollout", "one", &format!("cohortSetRef: {{name: users}}\n{HALF}"));
    create(&space, &[set, rollout]).await;
    let before = space.until("one", "ready", is_ready).await;
    assert!(pinned(&before).starts_with("users-"));
    merge(&space, "FeatureRollout", "one", frozen()).await;
    space.until("one", "frozen", |s| is_ready(s) && s.observed_generation == 2).await;

    // Now vip is everybody.
    let wider = json!({"spec": {"cohorts": [{"name": "staff", "match": {"attributes": {"role": "staff"}}}, {"name": "vip"}]}});
    merge(&space, "CohortSet", "users", wider).await;
    let waits = space.until("one", "waiting", |s| s.pending_audience.is_some() && is_ready(s)).await;
    assert_eq!(pinned(&waits), pinned(&before));
    let waiting = waits.waiting_for.unwrap();
    assert_eq!(waiting.check, Check::Freeze);
    assert!(waiting.message.contains("freeze calm holds"), "{}", waiting.message);
    let file = space.file("one").await.unwrap();
    assert_eq!(file["flags"]["one"]["metadata"]["audience"], json!(pinned(&before)));
    assert!(file["flags"]["one"]["targeting"].to_string().contains("gold"));

    merge(&space, "FeatureRollout", "one", json!({"spec": {"schedule": null}})).await;
    let moved = space.until("one", "moved", |s| s.pending_audience.is_none() && is_ready(s)).await;
    assert_ne!(pinned(&moved), pinned(&before));
    assert!(moved.history.iter().any(|entry| entry.reason.as_str() == "AudienceChanged"));
    let file = space.file("one").await.unwrap();
    assert!(!file["flags"]["one"]["targeting"].to_string().contains("gold"));
    assert_eq!(served(&file, "one"), "staff=50%,vip=50%");
}

#[tokio::test]
async fn a_removed_inline_cohort_is_served_until_the_move() {
    let space = Space::shared("audience-removed").await;
    let spec =
        format!("cohorts: [{{name: beta, match: {{attributes: {{ring: beta}}}}}}, {{name: rest}}]\n{HALF}");
    create(&space, &[object("FeatureRollout", "one", &spec)]).await;
    space.until("one", "ready", is_ready).await;
    let mut edit = frozen();
    edit["spec"]["cohorts"] =
        json!([{"name": "rest"}, {"name": "new", "match": {"attributes": {"ring": "new"}}}]);
    merge(&space, "FeatureRollout", "one", edit).await;
    let waits = space.until("one", "waiting", |s| s.pending_audience.is_some() && is_ready(s)).await;
    assert_eq!(waits.served.as_deref(), Some("beta=50%,rest=50%"));
    assert_eq!(served(&space.file("one").await.unwrap(), "one"), "beta=50%,rest=50%");
    merge(&space, "FeatureRollout", "one", json!({"spec": {"schedule": null}})).await;
    let moved = space.until("one", "moved", |s| s.pending_audience.is_none() && is_ready(s)).await;
    assert_eq!(moved.served.as_deref(), Some("rest=50%,new=50%"), "the ramp asks the new cohort too");
    let said = moved.history.iter().find(|entry| entry.reason.as_str() == "AudienceChanged").unwrap();
    assert!(said.message.contains("gone with it: beta 50%"), "{}", said.message);
}

#[tokio::test]
async fn a_cohort_is_raised_only_by_tiers_it_admits() {
    let space = Space::shared("audience-tiers").await;
    let spec = format!(
        "cohorts: [{{name: strict, admits: [Core], match: {{attributes: {{a: b}}}}}}, {{name: rest}}]\n{HALF}"
    );
    create(&space, &[object("FeatureRollout", "one", &spec)]).await;
    let status = space.until("one", "ready", is_ready).await;
    assert_eq!(status.served.as_deref(), Some("strict=0%,rest=50%"));
    assert!(status.cohorts[0].tier_refused && status.cohorts[0].pending.is_none());
    merge(&space, "FeatureRollout", "one", json!({"spec": {"feature": {"tier": "Core"}}})).await;
    let status = space.until("one", "admitted", |s| is_ready(s) && s.observed_generation == 2).await;
    assert_eq!(status.served.as_deref(), Some("strict=50%,rest=50%"));
    merge(&space, "FeatureRollout", "one", json!({"spec": {"feature": {"tier": "Preview"}}})).await;
    let status = space.until("one", "edited", |s| is_ready(s) && s.observed_generation == 3).await;
    assert_eq!(status.served.as_deref(), Some("strict=50%,rest=50%"), "a tier lowers nobody");
    let other = format!("cohortPolicy: Ignore\n{spec}");
    create(&space, &[object("FeatureRollout", "two", &other)]).await;
    let status = space.until("two", "ready", is_ready).await;
    assert_eq!(status.served.as_deref(), Some("strict=50%,rest=50%"));
}

#[tokio::test]
async fn a_delayed_cohort_follows_when_its_delay_is_over() {
    let space = Space::shared("audience-delays").await;
    let spec = format!(
        "cohorts: [{{name: early, match: {{attributes: {{a: b}}}}}}, {{name: late, delay: 3s}}]\n{HALF}"
    );
    create(&space, &[object("FeatureRollout", "one", &spec)]).await;
    let status = space.until("one", "ready", is_ready).await;
    assert_eq!(status.served.as_deref(), Some("early=50%,late=0%"));
    let pending = status.cohorts[1].pending.clone().unwrap();
    let exposed = status.first_exposure.unwrap().at;
    assert_eq!((pending.percent.to_string().as_str(), pending.check), ("50%", Check::CohortDelay));
    assert_eq!(pending.due.duration_since(exposed).as_secs(), 3);
    let status = space
        .until("one", "followed", |s| is_ready(s) && s.served.as_deref() == Some("early=50%,late=50%"))
        .await;
    let raised = status.history.iter().find(|entry| entry.reason.as_str() == "CohortRaised").unwrap();
    assert!(raised.at >= pending.due, "never early");
    assert!(raised.message.contains("late 0% → 50%"), "{}", raised.message);
}

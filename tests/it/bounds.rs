//! Objects at every bound of their size: accepted, worked on, and with a status that stays small.

use serde_json::{Value, json};
use sluice::api::{FeatureRolloutStatus, FlagSet};

use crate::support::largest::{largest, match_of};
use crate::support::{Space, eventually, is_ready, ready_reason};

fn size(status: &FeatureRolloutStatus) -> usize {
    serde_json::to_vec(status).unwrap().len()
}

#[tokio::test]
async fn an_object_at_the_size_bounds_is_accepted_and_so_is_a_patch_to_it() {
    let space = Space::shared("admission-bounds").await;
    let answer = space.create(&largest("largest")).await;
    assert_eq!(answer.code, 201, "{}", answer.message());
    let status = space.until("largest", "ready", is_ready).await;
    assert!(status.waiting_for.clone().unwrap().message.contains("which does not exist"));
    assert!(size(&status) <= 16 * 1024, "{} bytes", size(&status));
    let answer = space.merge("FeatureRollout", "largest", &json!({"spec": {"dependsOn": null}})).await;
    assert_eq!(answer.code, 200, "{}", answer.message());
    // Every cohort has a raise pending for its delay, and history fills with steps that say so, up to one that nobody
    // has approved.
    let status =
        space.until("largest", "far on", |s| is_ready(s) && ready_reason(s) == "AwaitingApproval").await;
    assert!(status.last_seq() > 20);
    assert!(size(&status) <= 16 * 1024, "{} bytes", size(&status));
    assert!(size(&status) > 12 * 1024 && status.history.len() > 5, "it is the large case: {}", size(&status));
    let values: Vec<String> = (0..64).map(|v| format!("v{v}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let cohorts: Vec<Value> =
        (0..16).map(|c| json!({"name": format!("c{c}"), "match": match_of(&values)})).collect();
    let steps: Vec<Value> = (0..64).map(|s| json!(s)).collect();
    let set = json!({"apiVersion": "sluice.dev/v1alpha1", "kind": "CohortSet", "metadata": {"name": "s"}, "spec": {"cohorts": cohorts}});
    assert_eq!(space.create(&set).await.code, 201);
    let flags: serde_json::Map<String, Value> = (0..256)
        .map(|f| {
            (format!("f{f}"), json!({"state": "ENABLED", "variants": {"a": true}, "defaultVariant": "a"}))
        })
        .collect();
    let set = json!({"apiVersion": "sluice.dev/v1alpha1", "kind": "FlagSet", "metadata": {"name": "s"}, "spec": {"flags": flags, "metadata": {"steps": steps.len()}}});
    assert_eq!(space.create(&set).await.code, 201);
    eventually("the set is written", async || {
        space.api::<FlagSet>().get("s").await.unwrap().status.is_some_and(|status| status.flags == 256)
    })
    .await;
}

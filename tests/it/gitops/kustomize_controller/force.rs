//! `force: true`: Flux deletes what the API server does not let it change, and creates it anew.

use kube::ResourceExt;
use serde_json::json;
use sluice::api::FeatureRollout;
use sluice::api::status::PauseCause;

use super::running::{Flux, Said};
use super::{WEEKS, in_git, settled, with_the_file};
use crate::support::bare::{Running, bare_space};
use crate::support::{Space, eventually, is_ready};

async fn uid(space: &Space) -> Option<String> {
    space.api::<FeatureRollout>().get_opt("one").await.unwrap().and_then(|rollout| rollout.uid())
}

#[tokio::test]
#[ignore = "builds a program of 86 MB, for five minutes"]
async fn force_makes_another_object_of_any_that_the_api_server_refuses_to_change() {
    let space = bare_space("flux-force").await;
    let (controller, flux) = (Running::in_space(&space).await, Flux::start(&space, &[]).await);
    let kustomization = with_the_file(&flux, &space, "sync.yaml").await;
    let first = flux.commit(&[("rollouts", &in_git(&space, WEEKS))]).await;
    kustomization.until("ready", |said| said.is_ready(&first)).await;
    settled(&space).await;
    let before = uid(&space).await;
    let file = space.file("shop").await.unwrap();

    // Without it the change is refused, and the rollout stays.
    let other = format!("{WEEKS}\nfeature: {{bucketBy: user}}");
    let changed = flux.commit(&[("rollouts", &in_git(&space, &other))]).await;
    let refused =
        |said: &Said| said.reason == "ReconciliationFailed" && said.message.contains("is immutable");
    kustomization.until("refused", refused).await;
    assert_eq!(uid(&space).await, before);
    assert_eq!(space.file("shop").await.unwrap(), file);

    kustomization.change(json!({"spec": {"force": true}})).await;
    kustomization.until("forced", |said| said.is_ready(&changed)).await;
    let adopted =
        space.until("one", "paused", |s| s.pause(PauseCause::Adopted).is_some() && is_ready(s)).await;
    assert_eq!(adopted.served.as_deref(), Some("all=50%"), "it took over what was served");
    settled(&space).await;
    let anew = uid(&space).await;
    assert!(anew.is_some() && anew != before);

    // Any refusal is one to it: a slip in git deletes the rollout, and there is none until it is mended.
    let file = space.file("shop").await.unwrap();
    let slip = other.replace("[50, 100]", "[50, 1000]");
    flux.commit(&[("rollouts", &in_git(&space, &slip))]).await;
    let invalid = |said: &Said| said.reason == "ReconciliationFailed" && said.message.contains("Invalid");
    let said = kustomization.until("invalid", invalid).await;
    eventually("the rollout is gone", async || uid(&space).await.is_none()).await;
    assert_eq!(space.file("shop").await.unwrap()["flags"]["one"], file["flags"]["one"], "{said:#?}");
    let mended = flux.commit(&[("rollouts", &in_git(&space, &other))]).await;
    kustomization.until("mended", |said| said.is_ready(&mended)).await;
    let again = space.until("one", "paused", |s| s.pause(PauseCause::Adopted).is_some() && is_ready(s)).await;
    assert_eq!(again.served.as_deref(), Some("all=50%"));
    controller.stop().await;
}

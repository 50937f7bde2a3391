//! The token that says who the controller is lies in a file, and is replaced while it runs.

use std::path::Path;

use kube::Config;
use serde_json::json;

use super::{apply, names, until_begun};
use crate::support::bare::{Running, bare_space};
use crate::support::proxy::Proxy;
use crate::support::{Space, condition, is_ready, pause};

/// A controller whose token is in a file, and the one that the API server knows, with a rollout that has begun.
async fn begun(space: &Space, file: &Path, hold: &str) -> (Proxy, Running) {
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    std::fs::write(file, "the-first").unwrap();
    proxy.know_only("the-first");
    let mut config: Config = proxy.config();
    config.auth_info.token_file = Some(file.to_string_lossy().into_owned());
    let controller = Running::with(config);
    apply(space, &names(1), hold).await;
    until_begun(space, &names(1)).await;
    (proxy, controller)
}

/// As a kubelet does it: the file has the new token, and some time later the old one is not known any more.
#[tokio::test]
async fn case_16_a_token_that_is_replaced_is_read_again_as_soon_as_the_old_one_is_not_known() {
    let space = bare_space("faults-token").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let (proxy, controller) = begun(&space, &file, "1000h").await;

    for (token, suspended) in [("the-second", true), ("the-third", false)] {
        std::fs::write(&file, token).unwrap();
        pause(200).await;
        let before = proxy.unknown();
        proxy.know_only(token);
        // Every watch is begun anew, each with a request by the old token at most.
        space.merge("FeatureRollout", "r0", &json!({"spec": {"suspend": suspended}})).await;
        let begun = sluice::clock::monotonic();
        let follows = |status: &sluice::api::FeatureRolloutStatus| {
            assert!(condition(status, "Stalled").is_none(), "{status:#?}");
            status.pauses.is_empty() != suspended && is_ready(status)
        };
        space.until("r0", "as its spec says", follows).await;
        // Long before the minute after which the file is read in any case.
        assert!(begun.elapsed().as_secs() < 10, "after {:?}", begun.elapsed());
        let unknown = proxy.unknown() - before;
        assert!((1..=40).contains(&unknown), "{unknown} requests by the old token");
    }
    controller.stop().await;
}

/// The old token is revoked before there is a new one: nothing can be done, and everything goes on with the new one.
#[tokio::test]
async fn case_16_without_any_token_that_is_known_nothing_is_done_until_there_is_one() {
    let space = bare_space("faults-no-token").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let (proxy, controller) = begun(&space, &file, "2s").await;
    proxy.know_only("the-second");
    pause(3_000).await;
    let status = space.status("r0").await;
    assert_eq!(status.history.len(), 2, "a step was due, and could not be taken: {:#?}", status.history);
    std::fs::write(&file, "the-second").unwrap();
    super::assert_stepped_once(&space, "r0").await;
    controller.stop().await;
}

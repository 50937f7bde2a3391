//! The keys that files are signed with: made, changed, lost, and not to be had.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use sluice::api::FeatureRollout;
use sluice::controller::{Options, SIGNING_SECRET};

use super::{HALF, SIGNATURE, edit_map, forge, map, restored, text, to_everybody, until_half, until_text};
use crate::support::bare::{Running, bare_space};
use crate::support::process::ControllerProcess;
use crate::support::proxy::Proxy;
use crate::support::{Space, eventually, is_ready, options};

/// A controller whose keys are in the space, so that no other test has them.
async fn controller(space: &Space) -> Running {
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    Running::as_told(proxy.config(), Options { namespace: space.name.clone(), ..options() })
}

async fn secret(space: &Space) -> Secret {
    space.api::<Secret>().get(SIGNING_SECRET).await.unwrap()
}

async fn put_keys(space: &Space, key: &[u8], previous: Option<&[u8]>) {
    let data = json!({
        "key": ByteString(key.to_vec()), "previous": previous.map(|bytes| ByteString(bytes.to_vec())),
    });
    let patch = Patch::Merge(json!({"data": data}));
    space.api::<Secret>().patch(SIGNING_SECRET, &PatchParams::default(), &patch).await.unwrap();
}

async fn signed_with(space: &Space) -> String {
    map(space, "half").await.annotations()[SIGNATURE].split('.').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn the_key_is_changed_while_two_are_believed_and_a_lost_one_changes_nothing_for_users() {
    let space = bare_space("belief-rotation").await;
    let running = controller(&space).await;
    let good = until_half(&space).await;
    let first = secret(&space).await.data.unwrap()["key"].0.clone();
    assert_eq!(first.len(), 32);
    let id = signed_with(&space).await;

    put_keys(&space, &[7; 32], Some(&first)).await;
    // It is looked at now and then, and as soon as a file seems to be edited.
    forge(&space, "half", |file| to_everybody(file, "half", |revision| revision)).await;
    until_text(&space, "half", &good).await;
    eventually("the file is signed with the new key", async || signed_with(&space).await != id).await;
    let second = signed_with(&space).await;
    running.stop().await;

    // Signed with the key before: a new process believes it and signs it anew.
    put_keys(&space, &[8; 32], Some(&[7; 32])).await;
    let running = controller(&space).await;
    eventually("the file is signed with the third", async || signed_with(&space).await != second).await;
    let third = signed_with(&space).await;
    assert_eq!(text(&space, "half").await, good);

    // Deleted: a process that has it puts it back, as soon as it looks.
    space.api::<Secret>().delete(SIGNING_SECRET, &DeleteParams::default()).await.unwrap();
    edit_map(&space, "half", json!({"data": {"flags.json": "{}"}})).await;
    until_text(&space, "half", &good).await;
    eventually("the Secret is back", async || {
        let found = space.api::<Secret>().get_opt(SIGNING_SECRET).await.unwrap();
        found.is_some_and(|secret| secret.data.unwrap()["key"].0 == [8; 32])
    })
    .await;
    running.stop().await;

    // Lost while nobody looked: the file is rendered from the status, and signed with a new key.
    space.api::<Secret>().delete(SIGNING_SECRET, &DeleteParams::default()).await.unwrap();
    let told = restored(&space, "half").await;
    let running = controller(&space).await;
    eventually("the file is signed with a new key", async || signed_with(&space).await != third).await;
    assert_eq!(text(&space, "half").await, good);
    let status = space.until("half", "ready", is_ready).await;
    assert!(status.pauses.is_empty() && status.exposed(), "{status:#?}");
    assert_eq!(restored(&space, "half").await, told, "nothing was damaged");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_nothing_is_written_and_readiness_says_why() {
    let space = bare_space("belief-keyless").await;
    let unusable: Secret = serde_json::from_value(
        json!({"metadata": {"name": SIGNING_SECRET}, "data": {"key": ByteString(vec![1; 5])}}),
    )
    .unwrap();
    space.api::<Secret>().create(&Default::default(), &unusable).await.unwrap();
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (kubeconfig, log) = (folder.path().join("config"), folder.path().join("log"));
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    std::fs::write(&kubeconfig, proxy.kubeconfig()).unwrap();
    let process = ControllerProcess::start_with(&kubeconfig, &log, &["--namespace", &space.name]);
    let address = process.address().await;
    let readyz = async || {
        let answer = reqwest::get(format!("http://{address}/readyz")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    eventually("readiness says why", async || {
        let (code, text) = readyz().await;
        let secret = format!("Secret {}/{SIGNING_SECRET}, cannot be used", space.name);
        code == 503 && text.contains(&secret) && text.contains("a key needs 32 bytes or more")
    })
    .await;
    assert!(space.file("half").await.is_none() && space.status("half").await.revision == 0);
    put_keys(&space, &[1; 32], None).await;
    eventually("it is ready", async || readyz().await == (200, "ok".to_owned())).await;
    space.until("half", "ready", is_ready).await;
    assert_eq!(process.terminate().await.code(), Some(0));
}

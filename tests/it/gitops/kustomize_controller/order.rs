//! A first commit with a whole folder. Flux applies objects by the alphabet, rollouts before their FlagSet: it looks at one of them
//! while that is still missing, and must not take that for a failure.

use serde_json::{Value, json};

use super::running::{Flux, Said};
use super::{WEEKS, in_git};
use crate::support::bare::{Running, bare_space};

#[tokio::test]
#[ignore = "builds a program of 86 MB, for five minutes"]
async fn a_folder_with_everything_is_ready_at_once() {
    let space = bare_space("flux-order").await;
    let (controller, flux) = (Running::in_space(&space).await, Flux::start(&space, &[]).await);
    let [set, rollout] = in_git(&space, WEEKS);
    let mut objects = vec![set];
    for i in 0..20 {
        let mut rollout: Value = rollout.clone();
        rollout["metadata"]["name"] = json!(format!("rollout-{i}"));
        objects.push(rollout);
    }
    let revision = flux.commit(&[("rollouts", &objects)]).await;
    let kustomization = flux.copy("sync.yaml").await;
    let mut failures: Vec<String> = Vec::new();
    let ready_in_the_end = |said: &Said| {
        if said.has_failed() {
            assert!(said.message.contains("[FeatureRollout/flux-order/rollout-"), "{said:#?}");
            failures.push(said.message.clone());
        }
        said.is_ready(&revision)
    };
    kustomization.until("ready", ready_in_the_end).await;
    assert_eq!(failures, [""; 0]);
    controller.stop().await;
}

//! What the rollouts that `sluice dev` has applied serve, at the end of its start.

use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client};

use crate::api::{FeatureRollout, State};
use crate::clock;
use crate::error::call;

/// How often it is looked whether the controller has seen all of them, and how long apart.
const LOOKS: (usize, Duration) = (20, Duration::from_millis(250));

/// The rollouts of these namespaces, as soon as the files hold what each has decided or somebody has to act, or after five
/// seconds; nothing where they cannot be listed, as they are only shown.
pub(super) async fn rollouts(client: &Client, namespaces: &[String]) -> Vec<FeatureRollout> {
    let mut found = Vec::new();
    for _ in 0..LOOKS.0 {
        found = list(client, namespaces).await.unwrap_or_default();
        if found.iter().all(is_settled) {
            break;
        }
        clock::sleep(LOOKS.1).await;
    }
    found
}

fn is_settled(rollout: &FeatureRollout) -> bool {
    let state = rollout.status.as_ref().and_then(|status| status.state);
    state.is_some_and(|state| state != State::Reconciling)
}

async fn list(client: &Client, namespaces: &[String]) -> Option<Vec<FeatureRollout>> {
    let mut found = Vec::new();
    for namespace in namespaces {
        let api: Api<FeatureRollout> = Api::namespaced(client.clone(), namespace);
        let rollouts = call(api.list(&ListParams::default())).await.ok()?;
        found.extend(rollouts.items);
    }
    Some(found)
}

//! The finalizer of rollouts whose flag must be taken to control, or away, when they are deleted.

use kube::api::{Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::context::Context;
use crate::api::FeatureRollout;
use crate::api::featurerollout::DeletionPolicy;
use crate::error::{Fault, call};

/// Keeps a deleted rollout until its flag is at control or gone.
pub const FINALIZER: &str = "sluice.dev/flag";

/// Whether the rollout has our finalizer.
pub fn holds(rollout: &FeatureRollout) -> bool {
    rollout.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Adds or removes the finalizer as `spec.deletionPolicy` asks; returns the object if it was written.
///
/// # Errors
/// When it could not be written.
pub async fn follow_policy(
    ctx: &Context,
    rollout: &FeatureRollout,
) -> Result<Option<DeserializeGuard<FeatureRollout>>, Fault> {
    let wanted = rollout.spec.deletion_policy != DeletionPolicy::Retain;
    if rollout.metadata.deletion_timestamp.is_some() || wanted == holds(rollout) {
        return Ok(None);
    }
    write(ctx, rollout, wanted).await
}

/// Lets a deleted rollout go.
///
/// # Errors
/// When it could not be written.
pub async fn release(ctx: &Context, rollout: &FeatureRollout) -> Result<(), Fault> {
    if !holds(rollout) {
        return Ok(());
    }
    match write(ctx, rollout, false).await {
        Ok(_) | Err(Fault::NotFound(_)) => Ok(()),
        Err(fault) => Err(fault),
    }
}

async fn write(
    ctx: &Context,
    rollout: &FeatureRollout,
    wanted: bool,
) -> Result<Option<DeserializeGuard<FeatureRollout>>, Fault> {
    let mut finalizers: Vec<&str> =
        rollout.finalizers().iter().map(String::as_str).filter(|finalizer| *finalizer != FINALIZER).collect();
    if wanted {
        finalizers.push(FINALIZER);
    }
    let key = (rollout.namespace().unwrap_or_default(), rollout.name_any());
    // What was persisted last is newer than what was read at the start of this reconcile.
    let version = ctx.rollouts.get(&key).and_then(|stored| stored.resource_version());
    let patch = json!({"metadata": {
        "resourceVersion": version.or_else(|| rollout.resource_version()),
        "uid": rollout.metadata.uid,
        "finalizers": finalizers,
    }});
    let api: Api<DeserializeGuard<FeatureRollout>> = Api::namespaced(ctx.client.clone(), &key.0);
    let params = PatchParams::default();
    match call(api.patch(&key.1, &params, &Patch::Merge(&patch))).await {
        Ok(written) => Ok(Some(written)),
        Err(fault @ Fault::Conflict(_)) => {
            super::persist::refresh(ctx, &key).await?;
            Err(fault)
        }
        Err(fault) => Err(fault),
    }
}

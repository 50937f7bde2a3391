//! The finalizer of rollouts whose flag must be taken to control, or away, when they are deleted.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::cache::{ObjectKey, key_of};
use super::context::Context;
use super::events;
use crate::api::featurerollout::DeletionPolicy;
use crate::api::{FeatureRollout, Reason};
use crate::cluster::Scope;
use crate::error::Fault;

/// Keeps a deleted rollout until its flag is at control or gone.
pub const FINALIZER: &str = "sluice.dev/flag";

/// Whether an object has our finalizer.
pub fn holds(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
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
    if rollout.metadata.deletion_timestamp.is_some() || wanted == holds(&rollout.metadata) {
        return Ok(None);
    }
    write(ctx, &key_of(rollout), &rollout.metadata, wanted).await.map(Some)
}

/// Lets a deleted rollout go, readable or not. Its flag has been taken to control or away, or nothing can do that.
///
/// # Errors
/// When it could not be written.
pub async fn release(ctx: &Context, key: &ObjectKey, metadata: &ObjectMeta) -> Result<(), Fault> {
    if !holds(metadata) {
        return Ok(());
    }
    match write(ctx, key, metadata, false).await {
        Ok(_) | Err(Fault::NotFound(_) | Fault::NamespaceTerminating(_)) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Lets a deleted rollout go although its flag stays in the file as it is, and says so where somebody may look for it:
/// in an event, as the rollout is gone then. Where the whole namespace goes nobody does.
///
/// # Errors
/// When it could not be written.
pub async fn give_up(
    ctx: &Context,
    key: &ObjectKey,
    metadata: &ObjectMeta,
    reason: Reason,
    message: &str,
) -> Result<(), Fault> {
    release(ctx, key, metadata).await?;
    if reason == Reason::NamespaceTerminating {
        tracing::info!("FeatureRollout {}/{} is deleted with its namespace", key.0, key.1);
    } else {
        let message = format!("deleted; its flag stays in the file as it is: {message}");
        events::warn(ctx, &FeatureRollout::kind(&()), metadata, reason, &message);
    }
    Ok(())
}

async fn write(
    ctx: &Context,
    key: &ObjectKey,
    metadata: &ObjectMeta,
    wanted: bool,
) -> Result<DeserializeGuard<FeatureRollout>, Fault> {
    let finalizers = metadata.finalizers.iter().flatten().map(String::as_str);
    let mut finalizers: Vec<&str> = finalizers.filter(|finalizer| *finalizer != FINALIZER).collect();
    if wanted {
        finalizers.push(FINALIZER);
    }
    // What was persisted last is newer than what was read at the start of this reconcile.
    let version = ctx.rollouts.get(key).and_then(|stored| stored.resource_version());
    let patch = json!({"metadata": {
        "resourceVersion": version.or_else(|| metadata.resource_version.clone()),
        "uid": metadata.uid,
        "finalizers": finalizers,
    }});
    let request = Scope::of::<FeatureRollout>(Some(&key.0)).request();
    match ctx.cluster.send(request.patch(&key.1, &PatchParams::default(), &Patch::Merge(&patch))).await {
        Ok(written) => Ok(written),
        Err(fault @ Fault::Conflict(_)) => {
            super::persist::refresh(ctx, key).await?;
            Err(fault)
        }
        Err(fault) => Err(fault),
    }
}

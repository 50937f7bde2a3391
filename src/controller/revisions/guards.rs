//! Pinned guards: the last valid triggers and rollback of a rollout, in a ControllerRevision that its status names.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;

use super::store;
use crate::api::{FeatureRollout, FeatureRolloutStatus};
use crate::controller::cache::ObjectKey;
use crate::controller::context::Context;
use crate::error::{Fault, chain};
use crate::plan::audience::short_digest;
use crate::plan::{self, Guard, GuardSpec};

/// The guard in a revision, if it holds one.
pub(super) fn read(revision: &ControllerRevision) -> Option<GuardSpec> {
    serde_json::from_value(revision.data.as_ref()?.0.clone()).ok()
}

/// Stores what watches over a valid rollout, before its status names it; the name, or none where nothing watches.
///
/// Where it cannot be stored until somebody acts, the name of the last one: what lowers must not hang on it.
///
/// # Errors
/// When it may work in a moment.
pub async fn keep(ctx: &Context, key: &ObjectKey, rollout: &FeatureRollout) -> Result<Option<String>, Fault> {
    let guard = GuardSpec::of(&rollout.spec);
    if guard == GuardSpec::default() {
        return Ok(None);
    }
    let content = serde_json::to_value(&guard).unwrap_or_default();
    let name = name(&key.1, content.to_string().as_bytes());
    let revision = (key.0.clone(), name.clone());
    if ctx.revisions.guards.get(&revision).is_some() {
        return Ok(Some(name));
    }
    match store(ctx, &key.0, &name, content).await {
        Ok(()) => {
            ctx.revisions.guards.put(revision, Arc::new(guard));
            Ok(Some(name))
        }
        Err(fault) if fault.is_transient() => Err(fault),
        Err(fault) => {
            tracing::warn!(
                "the triggers of FeatureRollout {}/{} could not be kept for when its spec is invalid: {}; the ones kept before stay",
                key.0,
                key.1,
                chain(&fault)
            );
            Ok(rollout.status.as_ref().and_then(|status| status.guard.clone()))
        }
    }
}

/// What watched over a rollout when its spec was last valid.
///
/// # Errors
/// When the API server does not answer.
pub async fn find(
    ctx: &Context,
    key: &ObjectKey,
    status: &FeatureRolloutStatus,
) -> Result<Option<Guard>, Fault> {
    let Some(name) = &status.guard else { return Ok(None) };
    let revision = (key.0.clone(), name.clone());
    let spec = match ctx.revisions.guards.get(&revision) {
        Some(known) => known,
        None => {
            let found =
                ctx.cluster.get::<ControllerRevision>(&revision).await?.and_then(|found| found.0.ok());
            let Some(found) = found.as_ref().and_then(read) else {
                tracing::warn!(namespace = key.0, name = key.1, "its last valid triggers are gone");
                return Ok(None);
            };
            let found = Arc::new(found);
            ctx.revisions.guards.put(revision, found.clone());
            found
        }
    };
    let cohorts: Vec<String> = status.cohorts.iter().map(|cohort| cohort.name.clone()).collect();
    // It was valid when it was kept; a cohort that has gone since is no reason to watch less.
    Ok(Some(plan::guard(&spec, &cohorts, &mut Vec::new())))
}

fn name(rollout: &str, content: &[u8]) -> String {
    format!("{}{}", prefix(rollout), short_digest(content))
}

/// What the names of a rollout's guards begin with. ControllerRevision names are DNS subdomains of 253 characters at most.
pub(super) fn prefix(rollout: &str) -> String {
    let owner: String = rollout.chars().take(220).collect();
    format!("{owner}-guard-")
}

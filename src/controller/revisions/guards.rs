//! Pinned guards: the last valid triggers and rollback of a rollout, in a ControllerRevision that its status names.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::Preconditions;

use super::{delete, store};
use crate::api::{FeatureRollout, FeatureRolloutStatus};
use crate::controller::cache::ObjectKey;
use crate::controller::context::Context;
use crate::error::{Fault, chain};
use crate::plan::audience::{name_digest, names_content};
use crate::plan::{self, Guard, GuardSpec};

/// The guard in a revision, if it holds the one that its name stands for. Anybody may have stored another one there.
pub(super) fn read(revision: &ControllerRevision) -> Option<GuardSpec> {
    let content = &revision.data.as_ref()?.0;
    let is_its =
        names_content(revision.metadata.name.as_ref()?, &name_digest(content.to_string().as_bytes()));
    is_its.then(|| serde_json::from_value(content.clone()).ok()).flatten()
}

/// Stores what watches over a valid rollout, with what its policies add, before its status names it; the name, or none where nothing watches.
///
/// Where it cannot be stored until somebody acts, the name of the last one: what lowers must not hang on it.
///
/// # Errors
/// When it may work in a moment.
pub async fn keep(
    ctx: &Context,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    guard: &GuardSpec,
) -> Result<Option<String>, Fault> {
    if *guard == GuardSpec::default() {
        return Ok(None);
    }
    let content = serde_json::to_value(guard).unwrap_or_default();
    let name = name(&key.1, content.to_string().as_bytes());
    let revision = (key.0.clone(), name.clone());
    ctx.revisions.guards_of().uses(key, &name);
    if ctx.revisions.guards.holds(&revision) {
        return Ok(Some(name));
    }
    match store(ctx, &key.0, &name, content, |stored| read(stored).is_some()).await {
        Ok(()) => {
            ctx.revisions.guards.put(revision, guard);
            trim(ctx, key, &name, rollout.status.as_ref().and_then(|status| status.guard.as_deref())).await;
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

/// Deletes the guards of a rollout that are too many beside the newest and the one that its status names: whoever edits at full
/// speed makes one with each edit, and most of the statuses that would name them are overtaken before they are written.
async fn trim(ctx: &Context, key: &ObjectKey, newest: &str, named: Option<&str>) {
    let is_used = |name: &str| name == newest || named == Some(name);
    let too_many = ctx.revisions.guards_of().too_many(key, is_used);
    for name in too_many {
        let revision = (key.0.clone(), name);
        // Whoever wants it again stores it again.
        ctx.revisions.guards.forget(&revision);
        delete(ctx, &revision, Preconditions::default()).await;
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
                tracing::warn!(
                    namespace = key.0,
                    name = key.1,
                    "its last valid triggers are gone, or others are stored under their name"
                );
                return Ok(None);
            };
            ctx.revisions.guards.put(revision, &found);
            found
        }
    };
    let cohorts: Vec<String> = status.cohorts.iter().map(|cohort| cohort.name.clone()).collect();
    // It was valid when it was kept; a cohort that has gone since is no reason to watch less.
    Ok(Some(plan::guard(&spec, &cohorts, &mut Vec::new())))
}

fn name(rollout: &str, content: &[u8]) -> String {
    format!("{}{}", prefix(rollout), name_digest(content))
}

/// What the names of a rollout's guards begin with. ControllerRevision names are DNS subdomains of 253 characters at most.
pub(super) fn prefix(rollout: &str) -> String {
    let owner: String = rollout.chars().take(200).collect();
    format!("{owner}-guard-")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_guard_is_believed_only_under_the_name_of_its_content() {
        let guard: GuardSpec =
            serde_json::from_value(json!({"rollback": {"partial": {"keep": ["staff"]}}})).unwrap();
        assert_ne!(guard, GuardSpec::default());
        let content = serde_json::to_value(&guard).unwrap();
        let stored = |name: &str, content: &serde_json::Value| {
            let mut revision =
                ControllerRevision { data: Some(RawExtension(content.clone())), ..Default::default() };
            revision.metadata.name = Some(name.to_owned());
            read(&revision)
        };
        let name = name("half", content.to_string().as_bytes());
        assert_eq!(stored(&name, &content), Some(guard));
        assert_eq!(stored(&name, &json!({})), None, "another content");
        assert_eq!(stored("half-guard-0123456789", &content), None, "another name");
    }
}

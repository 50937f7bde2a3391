//! Status writes, each with the precondition that nobody has written since.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::DeserializeGuard;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cache::{Cache, ObjectKey, key_of};
use super::context::{Context, Key};
use super::events;
use super::queue::Priority;
use crate::api::conditions::{is_true, types};
use crate::api::{FeatureRollout, FeatureRolloutStatus, Reason};
use crate::engine::report;
use crate::error::{Fault, call};

/// Writes a rollout's status over the version that was read, and takes the answer into the cache.
///
/// # Errors
/// [`Fault::Conflict`] when it has been written since; the cache then holds the newer version.
pub async fn persist(
    ctx: &Context,
    rollout: &FeatureRollout,
    status: &FeatureRolloutStatus,
) -> Result<(), Fault> {
    let key = key_of(rollout);
    // As it is stored: a change that went ahead of its status is no news to this rollout alone.
    let before = ctx.rollouts.get(&key);
    match put_status(ctx, &ctx.rollouts, rollout, status).await {
        Ok(()) => {
            ctx.metrics.status_written();
            ctx.ahead.forget(&key);
            let before = before.as_ref().and_then(|stored| stored.0.as_ref().ok()?.status.as_ref());
            if reached(before) != reached(Some(status)) {
                wake_dependents(ctx, &key);
            }
            Ok(())
        }
        Err(fault @ (Fault::Conflict(_) | Fault::NotFound(_))) => {
            refresh(ctx, &key).await?;
            Err(fault)
        }
        Err(fault) => Err(fault),
    }
}

/// Puts a status over the version of an object that was read, and takes the answer into the cache.
///
/// # Errors
/// [`Fault::Conflict`] when the object has been written since; the cache is then as it was.
pub(super) async fn put_status<K>(
    ctx: &Context,
    cache: &Cache<K>,
    object: &K,
    status: &impl Serialize,
) -> Result<(), Fault>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    cache.apply(put(ctx, object.meta(), status).await?);
    Ok(())
}

/// Puts a status over the version of an object that was read.
///
/// # Errors
/// [`Fault::Conflict`] when the object has been written since.
pub(super) async fn put<K>(
    ctx: &Context,
    metadata: &ObjectMeta,
    status: &impl Serialize,
) -> Result<DeserializeGuard<K>, Fault>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let name = metadata.name.clone().unwrap_or_default();
    // The status subresource takes nothing but the status from what is sent: the spec may stay at home.
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        },
        "status": status,
    });
    let api: Api<DeserializeGuard<K>> = Api::namespaced(ctx.client.clone(), &namespace);
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let request = kube::core::Request::new(api.resource_url())
        .replace_subresource("status", &name, &PostParams::default(), body)
        .map_err(|error| Fault::from(kube::Error::BuildRequest(error)))?;
    call(ctx.client.request::<DeserializeGuard<K>>(request)).await
}

/// What rollouts that depend on this one look at.
fn reached(status: Option<&FeatureRolloutStatus>) -> Option<(Option<&str>, bool)> {
    status.map(|status| {
        let phase = status.position.as_ref().map(|position| position.phase.as_str());
        (phase, is_true(&status.conditions, types::COMPLETED))
    })
}

/// The watch will not: what is in the cache by then is no news to it.
fn wake_dependents(ctx: &Context, key: &ObjectKey) {
    for dependent in ctx.index.dependents(key) {
        ctx.queue.push(Key::Rollout(dependent), Priority::Decide);
    }
}

/// Reads a rollout past the cache. Whoever what was read concerns hears of it: to the watch it is no news by then.
///
/// # Errors
/// When it could not be read.
pub async fn refresh(ctx: &Context, key: &ObjectKey) -> Result<(), Fault> {
    let api: Api<DeserializeGuard<FeatureRollout>> = Api::namespaced(ctx.client.clone(), &key.0);
    let before = ctx.rollouts.version_of(key);
    let is_news = match call(api.get_opt(&key.1)).await? {
        Some(rollout) => {
            if let Ok(rollout) = &rollout.0 {
                for concerned in ctx.index.apply(rollout) {
                    ctx.queue.push(Key::Rollout(concerned), Priority::Decide);
                }
            }
            ctx.rollouts.apply(rollout)
        }
        None => ctx.rollouts.forget(key, before),
    };
    if is_news {
        ctx.queue.push(Key::Rollout(key.clone()), Priority::Decide);
        wake_dependents(ctx, key);
    }
    Ok(())
}

/// As much of a status as can be read; of a newer version's at least what was said of it last, so that saying it again
/// is no write.
fn readable(status: Value) -> FeatureRolloutStatus {
    let said = |field: &str| status.get(field).cloned().unwrap_or_default();
    let report = FeatureRolloutStatus {
        observed_generation: said("observedGeneration").as_i64().unwrap_or_else(crate::api::unobserved),
        state: said("state").as_str().map(str::to_owned),
        reason: said("reason").as_str().map(str::to_owned),
        conditions: serde_json::from_value(said("conditions")).unwrap_or_default(),
        ..FeatureRolloutStatus::default()
    };
    serde_json::from_value(status).unwrap_or(report)
}

/// Says on an object that cannot be read as a whole that it is stalled, once.
///
/// # Errors
/// When the status could not be read or written.
pub async fn persist_raw(
    ctx: &Context,
    key: &ObjectKey,
    metadata: &ObjectMeta,
    message: &str,
) -> Result<(), Fault> {
    let resource = kube::core::ApiResource::erase::<FeatureRollout>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), &key.0, &resource);
    let Some(object) = call(api.get_opt(&key.1)).await? else { return Ok(()) };
    let prior = object.data.get("status").cloned().unwrap_or_default();
    let mut status = readable(prior);
    let before = status.clone();
    let problems = crate::api::schema::problems(&object.data);
    let message =
        if problems.is_empty() { message.to_owned() } else { format!("{message}; {}", problems.join("; ")) };
    let generation = metadata.generation.unwrap_or(0);
    report::fail(&mut status, Reason::InvalidSpec, &message, generation, ctx.clock.now());
    if status == before {
        return Ok(());
    }
    // Only the report changes; what else the status holds may be more than this version can read.
    let patch = json!({
        "metadata": {"resourceVersion": object.metadata.resource_version},
        "status": {
            "observedGeneration": status.observed_generation,
            "state": status.state,
            "reason": status.reason,
            "conditions": status.conditions,
        },
    });
    match call(api.patch_status(&key.1, &PatchParams::default(), &Patch::Merge(&patch))).await {
        Ok(_) => Ok(()),
        Err(Fault::Invalid(_)) => {
            events::complain(ctx, metadata, Reason::InvalidSpec, &message);
            Ok(())
        }
        Err(fault) => Err(fault),
    }
}

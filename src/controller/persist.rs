//! Status writes, each with the precondition that nobody has written since.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::DeserializeGuard;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cache::{Cache, Object, ObjectKey, key_of};
use super::context::{Context, Key};
use super::queue::Priority;
use super::{changelog, events, playbooks};
use crate::api::conditions::{Condition, Want, is_true, merge, types};
use crate::api::{FeatureRollout, FeatureRolloutStatus, MicroTime, Reason, State};
use crate::cluster::{Parts, Scope};
use crate::engine::{self, report};
use crate::error::Fault;

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
            playbooks::rollout_changed(ctx, &key);
            changelog::rollout_changed(ctx, &key);
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
    K: Object + Resource<Scope = k8s_openapi::NamespaceResourceScope> + std::fmt::Debug,
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
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let request = Scope::of::<K>(Some(&namespace)).request();
    ctx.cluster.send(request.replace_subresource("status", &name, &PostParams::default(), body)).await
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
    let before = ctx.rollouts.version_of(key);
    let is_news = match ctx.cluster.get::<FeatureRollout>(key).await? {
        Some(rollout) => {
            if let Ok(rollout) = &rollout.0
                && !ctx.rollouts.is_beyond(key)
            {
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
        playbooks::rollout_changed(ctx, key);
    }
    Ok(())
}

/// As much of a status as can be read; of a newer version's at least what was said of it last, so that saying it again
/// is no write.
fn readable(status: Value) -> FeatureRolloutStatus {
    let said = |field: &str| status.get(field).cloned().unwrap_or_default();
    let report = FeatureRolloutStatus {
        observed_generation: said("observedGeneration").as_i64().unwrap_or_else(crate::api::unobserved),
        state: said("state").as_str().and_then(State::named),
        reason: said("reason").as_str().map(str::to_owned),
        conditions: serde_json::from_value(said("conditions")).unwrap_or_default(),
        ..FeatureRolloutStatus::default()
    };
    serde_json::from_value(status).unwrap_or(report)
}

/// Says on a rollout that cannot be read as a whole that it is stalled, once.
///
/// # Errors
/// When the status could not be read or written.
pub async fn persist_raw(
    ctx: &Context,
    key: &ObjectKey,
    metadata: &ObjectMeta,
    (reason, message): (Reason, &str),
) -> Result<(), Fault> {
    let scope = Scope::of::<FeatureRollout>(Some(&key.0));
    let Some(mut stored) = ctx.cluster.parts(&scope, &key.1).await? else { return Ok(()) };
    let mut status = readable(stored.fields.get("status").cloned().unwrap_or_default());
    let before = status.clone();
    // The state is written over: what is wrong with it is not to be said, or the next time would say something else.
    if let Some(Value::Object(status)) = stored.fields.pointer_mut("/status") {
        status.remove("state");
    }
    let problems = crate::api::schema::problems(&stored.fields);
    let message =
        if problems.is_empty() { message.to_owned() } else { format!("{message}; {}", problems.join("; ")) };
    let message = engine::short(&message);
    let generation = metadata.generation.unwrap_or(0);
    report::fail(&mut status, reason, &message, generation, ctx.clock.now());
    if status == before {
        return Ok(());
    }
    // Only the report changes; what else the status holds may be more than this version can read.
    let status = json!({
        "observedGeneration": status.observed_generation,
        "state": status.state,
        "reason": status.reason,
        "conditions": status.conditions,
    });
    match patch(ctx, &scope, &key.1, &stored.metadata, status).await {
        Err(Fault::Invalid(_)) => {
            events::complain(ctx, metadata, reason, &message);
            Ok(())
        }
        other => other,
    }
}

/// Says on an object that is known and cannot be read that it is stalled, once. Nothing where it can, or is not known.
///
/// # Errors
/// When the status could not be read or written.
pub(super) async fn stall_unreadable<K>(ctx: &Context, cache: &Cache<K>, key: &ObjectKey) -> Result<(), Fault>
where
    K: Object,
{
    let Some(known) = cache.get(key) else { return Ok(()) };
    let Err(invalid) = &known.0 else { return Ok(()) };
    let scope = Scope::of::<K>(Some(&key.0));
    let Some(stored) = ctx.cluster.parts(&scope, &key.1).await? else { return Ok(()) };
    if stored.metadata.resource_version != invalid.metadata.resource_version {
        // The watch tells of it.
        return Ok(());
    }
    let (reason, message) = why_unreadable(cache, key, &invalid.error);
    say_stalled(ctx, &scope, &stored, reason, &engine::short(&message)).await
}

/// Why an object that is known cannot be decided on.
pub(super) fn why_unreadable<K: Object>(cache: &Cache<K>, key: &ObjectKey, error: &str) -> (Reason, String) {
    if cache.is_beyond(key) {
        return (Reason::NamespaceFull, error.to_owned());
    }
    (Reason::InvalidSpec, format!("the stored object cannot be read: {error}"))
}

/// The conditions of an object that is stalled; those that are not about its work stay as they are.
pub(super) fn stalled_conditions(
    prior: &[Condition],
    (reason, message): (Reason, &str),
    generation: i64,
    now: MicroTime,
) -> Vec<Condition> {
    let ready =
        Want { type_: types::READY, status: false, reason: reason.as_str(), message: message.to_owned() };
    let stalled = Want { type_: types::STALLED, status: true, ..ready.clone() };
    let mut conditions = merge(prior, &[ready, stalled], generation, now);
    let of_work = [types::READY, types::STALLED, types::RECONCILING];
    conditions.extend(prior.iter().filter(|known| !of_work.contains(&known.type_.as_str())).cloned());
    conditions
}

/// Says on an object that was just read that it is stalled, unless it says so already. The rest of its status stays.
///
/// # Errors
/// When the status could not be written.
pub(super) async fn say_stalled(
    ctx: &Context,
    scope: &Scope,
    stored: &Parts,
    reason: Reason,
    message: &str,
) -> Result<(), Fault> {
    let conditions = stored.fields.pointer("/status/conditions").cloned().unwrap_or_default();
    let prior: Vec<Condition> = serde_json::from_value(conditions).unwrap_or_default();
    let (generation, now) = (stored.metadata.generation.unwrap_or(0), ctx.clock.now());
    let conditions = stalled_conditions(&prior, (reason, message), generation, now);
    if conditions == prior {
        return Ok(());
    }
    let status = json!({"observedGeneration": generation, "conditions": conditions});
    let name = stored.metadata.name.as_deref().unwrap_or_default();
    match patch(ctx, scope, name, &stored.metadata, status).await {
        Err(Fault::Invalid(_)) => {
            events::warn(ctx, scope.kind(), &stored.metadata, reason, message);
            Ok(())
        }
        other => other,
    }
}

/// Changes these fields of a status, over the version that was read.
async fn patch(
    ctx: &Context,
    scope: &Scope,
    name: &str,
    read: &ObjectMeta,
    status: Value,
) -> Result<(), Fault> {
    let patch = json!({"metadata": {"resourceVersion": read.resource_version}, "status": status});
    let request = scope.request();
    ctx.cluster
        .tell(request.patch_subresource("status", name, &PatchParams::default(), &Patch::Merge(&patch)))
        .await
}

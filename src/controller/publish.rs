//! History entries as events: one each, named by UID and seq, so that a repeat is a 409 and not a second event.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Resource, ResourceExt};

use super::cache::ObjectKey;
use super::context::{Context, Key, Shared, push_later};
use crate::api::status::HistoryEntry;
use crate::api::{FeatureRollout, FeatureRolloutStatus, Reason};
use crate::clock;
use crate::error::{Fault, call};
use crate::flags::sha256_hex;

const CONTROLLER: &str = "sluice.dev/controller";

/// Publishes the persisted entries that have no event yet, and sees to it that what cannot be published now is tried
/// again; returns the last entry that needs no further try. The file is known to hold `delivered_revision`.
pub async fn catch_up(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    persisted: &FeatureRolloutStatus,
    delivered_revision: i64,
) -> i64 {
    let entries = &persisted.history;
    let published = publish(ctx, rollout, persisted.published_seq, entries, delivered_revision).await;
    if published < persisted.last_seq() {
        let key = Key::Rollout(key.clone());
        let wait = ctx.backoff.failed(&key);
        push_later(ctx, key, wait);
    }
    published
}

/// Publishes the entries after `published`; returns the last one that needs no further try.
///
/// An event that the API server will not take (no permission, a namespace that is going) is dropped: status holds
/// the entry all the same.
pub async fn publish(
    ctx: &Context,
    rollout: &FeatureRollout,
    published: i64,
    entries: &[HistoryEntry],
    delivered_revision: i64,
) -> i64 {
    let namespace = rollout.namespace().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(ctx.client.clone(), &namespace);
    let mut last = published;
    for entry in entries.iter().filter(|entry| entry.seq > published) {
        let at = entry.at.timestamp();
        // The instant keeps it apart from an entry of the same number before the status was lost.
        let number = format!("{}.{:x}", entry.seq, at.as_microsecond());
        let message = entry.told(delivered_revision);
        let event = event(ctx, &kind(), &rollout.metadata, &number, entry.reason, &message, at);
        match call(api.create(&PostParams::default(), &event)).await {
            Ok(_) | Err(Fault::AlreadyExists(_)) => {}
            Err(fault) if fault.is_transient() => {
                tracing::warn!(%namespace, name = rollout.name_any(), %fault, "an event could not be published yet");
                return last;
            }
            Err(fault) => {
                tracing::warn!(%namespace, name = rollout.name_any(), %fault, "an event was dropped");
            }
        }
        last = entry.seq;
    }
    last
}

/// Says by an event what cannot be said in status: the API server refuses any write to an object whose spec breaks
/// its present rules. Once for each generation: a repeat is a 409.
///
/// # Errors
/// When it may work in a moment.
pub async fn complain(
    ctx: &Context,
    metadata: &ObjectMeta,
    reason: Reason,
    message: &str,
) -> Result<(), Fault> {
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let number = format!("stalled.{}", metadata.generation.unwrap_or(0));
    let event = event(ctx, &kind(), metadata, &number, reason, message, ctx.clock.now());
    tracing::warn!(%namespace, name = metadata.name, message, "stalled, which its status cannot say");
    let api: Api<Event> = Api::namespaced(ctx.client.clone(), &namespace);
    match call(api.create(&PostParams::default(), &event)).await {
        Err(fault) if fault.is_transient() => Err(fault),
        // Where even events are forbidden, the log has it.
        _ => Ok(()),
    }
}

/// Warns by an event of one of our objects. Once for each message: a repeat is a 409.
pub async fn warn(ctx: &Context, kind: &str, metadata: &ObjectMeta, reason: Reason, message: &str) {
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let digest: String = sha256_hex(message.as_bytes()).chars().take(8).collect();
    let number = format!("{}.{digest}", reason.as_str().to_lowercase());
    let event = event(ctx, kind, metadata, &number, reason, message, ctx.clock.now());
    tracing::warn!(%namespace, kind, name = metadata.name, message, "warning");
    let api: Api<Event> = Api::namespaced(ctx.client.clone(), &namespace);
    match call(api.create(&PostParams::default(), &event)).await {
        Ok(_) | Err(Fault::AlreadyExists(_)) => {}
        Err(fault) => tracing::warn!(%namespace, %fault, "an event could not be published"),
    }
}

fn kind() -> String {
    FeatureRollout::kind(&()).into_owned()
}

fn event(
    ctx: &Context,
    kind: &str,
    metadata: &ObjectMeta,
    number: &str,
    reason: Reason,
    message: &str,
    at: Timestamp,
) -> Event {
    let uid = metadata.uid.clone().unwrap_or_default();
    let short: String = uid.chars().filter(|c| *c != '-').take(12).collect();
    let name: String = metadata.name.iter().flat_map(|name| name.chars()).take(200).collect();
    // kubectl shows ages against its own clock, so a schedule that runs faster must not stamp its events with it.
    let at = if ctx.clock.is_real() { at } else { clock::real_now() };
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{short}.{number}")),
            namespace: metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        action: Some(reason.as_str().to_owned()),
        reason: Some(reason.as_str().to_owned()),
        note: Some(message.chars().take(1024).collect()),
        type_: Some(if reason.is_warning() { "Warning" } else { "Normal" }.to_owned()),
        event_time: Some(MicroTime(at)),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(ctx.instance.clone()),
        regarding: Some(ObjectReference {
            api_version: Some(FeatureRollout::api_version(&()).into_owned()),
            kind: Some(kind.to_owned()),
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

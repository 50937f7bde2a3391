//! History entries as events: one each, named by UID and seq, so that a repeat is a 409 and not a second event.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Resource, ResourceExt};

use super::context::Context;
use crate::api::FeatureRollout;
use crate::api::status::HistoryEntry;
use crate::clock;
use crate::error::{Fault, call};

const CONTROLLER: &str = "sluice.dev/controller";

/// Publishes the entries after `published`; returns the last one that needs no further try.
///
/// An event that the API server will not take (no permission, a namespace that is going) is dropped: status holds
/// the entry all the same.
pub async fn publish(
    ctx: &Context,
    rollout: &FeatureRollout,
    published: i64,
    entries: &[HistoryEntry],
) -> i64 {
    let namespace = rollout.namespace().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(ctx.client.clone(), &namespace);
    let mut last = published;
    for entry in entries.iter().filter(|entry| entry.seq > published) {
        let event = event(ctx, rollout, entry);
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

fn event(ctx: &Context, rollout: &FeatureRollout, entry: &HistoryEntry) -> Event {
    let reason = entry.reason.as_str().to_owned();
    let uid = rollout.uid().unwrap_or_default();
    let short: String = uid.chars().filter(|c| *c != '-').take(12).collect();
    let name: String = rollout.name_any().chars().take(200).collect();
    // kubectl shows ages against its own clock, so a schedule that runs faster must not stamp its events with it.
    let at = if ctx.clock.is_real() { entry.at.timestamp() } else { clock::real_now() };
    Event {
        metadata: ObjectMeta {
            // The instant keeps it apart from an entry of the same number before the status was lost.
            name: Some(format!("{name}.{short}.{}.{:x}", entry.seq, entry.at.timestamp().as_microsecond())),
            namespace: rollout.namespace(),
            ..ObjectMeta::default()
        },
        action: Some(reason.clone()),
        reason: Some(reason),
        note: Some(entry.message.chars().take(1024).collect()),
        type_: Some(if entry.reason.is_warning() { "Warning" } else { "Normal" }.to_owned()),
        event_time: Some(MicroTime(at)),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(ctx.instance.clone()),
        regarding: Some(ObjectReference {
            api_version: Some(FeatureRollout::api_version(&()).into_owned()),
            kind: Some(FeatureRollout::kind(&()).into_owned()),
            name: rollout.metadata.name.clone(),
            namespace: rollout.metadata.namespace.clone(),
            uid: rollout.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

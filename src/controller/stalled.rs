//! Rollouts that cannot be decided on until somebody acts: what is served stays served, and only an emergency lowers it.

use std::sync::Arc;

use kube::ResourceExt;

use super::cache::ObjectKey;
use super::context::{Key, Shared};
use super::gather::Stalled;
use super::index::SetId;
use super::persist::persist;
use super::rollout::{has_begun, retry_in, stamp};
use super::writer::{self, Ack, Offer, OfferKind};
use super::{finalizer, pin, publish};
use crate::api::{FeatureRollout, FeatureRolloutStatus};
use crate::engine;
use crate::error::Fault;
use crate::flags::Identity;
use crate::plan::Feature;

/// Says that somebody must act. What is served stays served; the neighbours go on.
///
/// # Errors
/// When the status could not be written.
pub async fn stalled(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    why: &Stalled,
) -> Result<(), Fault> {
    if rollout.metadata.deletion_timestamp.is_some() {
        // What cannot be understood cannot be taken to control; deletion must not hang on it.
        let message = &why.message;
        tracing::warn!(
            namespace = key.0,
            name = key.1,
            message,
            "deleted while invalid: its flag stays as it is"
        );
        return finalizer::release(ctx, rollout).await;
    }
    let prior = rollout.status.clone().unwrap_or_default();
    let mut status = prior.clone();
    let mut offer = None;
    if has_begun(rollout) {
        let acked = ctx.hub.ack(key, &rollout.uid().unwrap_or_default()).as_ref().map_or(0, Ack::delivered);
        status.delivered_revision = prior.delivered_revision.max(acked.min(prior.revision));
        status.published_seq = publish::publish(ctx, rollout, prior.published_seq, &prior.history).await;
        if let Some(feature) = &why.emergency {
            offer = lower(ctx, key, rollout, feature, &mut status).await?;
        }
    }
    let generation = rollout.metadata.generation.unwrap_or(0);
    engine::report::stall(&mut status, why.reason, &why.message, generation, ctx.clock.now());
    engine::report::fit(&mut status);
    let unpublished = status.published_seq < prior.last_seq();
    if status != prior {
        persist(ctx, rollout, &status).await?;
    }
    ctx.queue.push_at(Key::Rollout(key.clone()), None);
    if let Some(offer) = offer {
        writer::offer(ctx, &SetId::of(rollout), key, Offer { status: Arc::new(status), ..offer });
    }
    if unpublished {
        let wait = ctx.backoff.failed(&Key::Rollout(key.clone()));
        retry_in(ctx, key, wait);
    }
    Ok(())
}

/// Takes a rollout to control from its status and the immutable part of its spec alone.
async fn lower(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    feature: &Feature,
    status: &mut FeatureRolloutStatus,
) -> Result<Option<Offer>, Fault> {
    let Some(pinned) = status.audience.clone() else { return Ok(None) };
    let Some(audience) = pin::find(ctx, &key.0, &pinned.name).await? else { return Ok(None) };
    engine::take_to_control(status, ctx.clock.now());
    let uid = rollout.uid().unwrap_or_default();
    let identity = Identity { namespace: key.0.clone(), name: key.1.clone(), uid: uid.clone() };
    let fragment = stamp(feature, &identity, status, &audience);
    Ok(Some(Offer {
        uid,
        revision: status.revision,
        kind: OfferKind::Serve,
        urgent: true,
        feature: feature.clone(),
        audience,
        fragment: Arc::new(fragment),
        status: Arc::new(status.clone()),
    }))
}

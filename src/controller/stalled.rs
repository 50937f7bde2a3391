//! Rollouts that cannot be decided on until somebody acts: what is served stays served, and what lowers it still does.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::cache::ObjectKey;
use super::context::{Key, Shared};
use super::gather::Stalled;
use super::index::SetId;
use super::persist::persist;
use super::rollout::{delivered, finish_deletion, has_begun, is_rolling_back, note_rollback, stamp};
use super::writer::{self, Ack, Offer, OfferKind};
use super::{checks, finalizer, pin, publish};
use crate::api::featurerollout::DeletionPolicy;
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
    let deleting = rollout.metadata.deletion_timestamp.is_some();
    let Some(feature) = why.feature.as_ref().filter(|_| has_begun(rollout)) else {
        if deleting {
            let message = &why.message;
            tracing::warn!(namespace = key.0, name = key.1, message, "deleted: its flag stays as it is");
            return finalizer::release(ctx, rollout).await;
        }
        let status = rollout.status.clone().unwrap_or_default();
        return say_so(ctx, key, rollout, why, status, None).await.map(drop);
    };
    let prior = rollout.status.clone().unwrap_or_default();
    let mut status = prior.clone();
    let ack = ctx.hub.ack(key, &rollout.uid().unwrap_or_default());
    let acked = ack.as_ref().map_or(0, Ack::delivered);
    status.delivered_revision = prior.delivered_revision.max(acked.min(prior.revision));
    status.published_seq = publish::catch_up(ctx, key, rollout, &prior).await;
    let now = ctx.clock.now();
    if why.emergency {
        engine::take_to_control(&mut status, now);
    }
    if deleting && rollout.spec.deletion_policy == DeletionPolicy::Control {
        engine::leave_at_control(&mut status, now);
    }
    let mut wake_at = None;
    let kept = if deleting { None } else { checks::find(ctx, key, &status).await? };
    if let Some(guard) = &kept {
        // An invalid edit stops raises only.
        let metrics = ctx.checks.metrics(key, &rollout.uid().unwrap_or_default());
        let decision = engine::guard_only(guard, &status, &metrics, now);
        (status, wake_at) = (decision.status, decision.wake_at);
    }
    let removing = deleting && rollout.spec.deletion_policy == DeletionPolicy::Remove;
    let Some(offer) = offer(ctx, key, rollout, feature, &mut status, removing).await? else {
        // What it serves cannot be rendered any more: nothing lowers it, and deletion must not hang on it.
        if deleting {
            return finalizer::release(ctx, rollout).await;
        }
        return say_so(ctx, key, rollout, why, status, wake_at).await.map(drop);
    };
    let urgent = why.emergency || deleting || is_rolling_back(&status);
    let status = say_so(ctx, key, rollout, why, status, wake_at).await?;
    note_rollback(ctx, &prior, &status);
    if let Some(guard) = &kept {
        checks::follow(ctx, rollout, &feature.key, guard);
    }
    // A lowering that was persisted before the spec became invalid goes on its way, too.
    if urgent || status.delivered_revision != status.revision {
        let offer = Offer { status: Arc::new(status.clone()), urgent, ..offer };
        writer::offer(ctx, &SetId::of(rollout), key, offer);
    }
    if deleting {
        return finish_deletion(ctx, key, rollout, &status, ack.as_ref(), removing).await;
    }
    Ok(())
}

/// Carries out at once what lowers or stops a rollout that cannot be decided on.
///
/// `judge` says what the state is to be, or `None` where nothing is to be done.
///
/// # Errors
/// What kept it from being done; nothing that `judge` said may then be taken for done.
pub async fn act(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    why: &Stalled,
    judge: impl FnOnce(&FeatureRolloutStatus, Timestamp) -> Option<FeatureRolloutStatus>,
) -> Result<(), Fault> {
    let prior = rollout.status.clone().unwrap_or_default();
    let now = ctx.clock.now();
    let Some(mut status) = judge(&prior, now) else { return Ok(()) };
    let ack = ctx.hub.ack(key, &rollout.uid().unwrap_or_default());
    status.delivered_revision = delivered(&prior, ack.as_ref());
    let deleting = rollout.metadata.deletion_timestamp.is_some();
    let removing = deleting && rollout.spec.deletion_policy == DeletionPolicy::Remove;
    // Where nothing can be rendered the file follows as soon as it can.
    let offer = match &why.feature {
        Some(feature) => offer(ctx, key, rollout, feature, &mut status, removing).await?,
        None => None,
    };
    let generation = rollout.metadata.generation.unwrap_or(0);
    engine::report::stall(&mut status, why.reason, &why.message, generation, now);
    engine::report::fit(&mut status);
    if status != prior {
        ctx.actions.forget_words(key, &mut status);
        persist(ctx, rollout, &status).await?;
    }
    if let Some(offer) = offer {
        let offer = Offer { status: Arc::new(status), urgent: true, ..offer };
        writer::offer(ctx, &SetId::of(rollout), key, offer);
    }
    Ok(())
}

/// Persists the state with the report that somebody must act.
async fn say_so(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    why: &Stalled,
    mut status: FeatureRolloutStatus,
    wake_at: Option<jiff::Timestamp>,
) -> Result<FeatureRolloutStatus, Fault> {
    let generation = rollout.metadata.generation.unwrap_or(0);
    engine::report::stall(&mut status, why.reason, &why.message, generation, ctx.clock.now());
    engine::report::fit(&mut status);
    ctx.queue.push_at(Key::Rollout(key.clone()), wake_at);
    if rollout.status.as_ref() != Some(&status) {
        match persist(ctx, rollout, &status).await {
            Err(Fault::Invalid(_)) => {
                publish::complain(ctx, &rollout.metadata, why.reason, &why.message).await?;
            }
            other => other?,
        }
    }
    Ok(status)
}

/// What the status serves, rendered from it and from the immutable part of the spec alone.
async fn offer(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    feature: &Feature,
    status: &mut FeatureRolloutStatus,
    removing: bool,
) -> Result<Option<Offer>, Fault> {
    let Some(pinned) = status.audience.clone() else { return Ok(None) };
    let Some(audience) = pin::find(ctx, &key.0, &pinned.name).await? else { return Ok(None) };
    let uid = rollout.uid().unwrap_or_default();
    let identity = Identity { namespace: key.0.clone(), name: key.1.clone(), uid: uid.clone() };
    let fragment = stamp(feature, &identity, status, &audience);
    Ok(Some(Offer {
        uid,
        revision: status.revision,
        kind: if removing { OfferKind::Remove } else { OfferKind::Serve },
        urgent: false,
        feature: feature.clone(),
        audience,
        fragment: Arc::new(fragment),
        status: Arc::new(status.clone()),
    }))
}

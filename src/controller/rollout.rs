//! One FeatureRollout through the pipeline: gather, compile, decide, persist, hand to the writer, publish.

use std::sync::Arc;

use kube::ResourceExt;

use super::cache::{ObjectKey, version};
use super::context::{Key, Shared};
use super::finalizer;
use super::gather::{Gathered, Observed, Stalled, gather};
use super::index::SetId;
use super::persist::{persist, persist_raw, why_unreadable};
use super::queue::Priority;
use super::reconcile::{self, LATE, Reconcile, Settled};
use super::revisions::{audiences, guards};
use super::stalled::stalled;
use super::writer::{Ack, Offer, OfferKind};
use super::{analysis, events};
use crate::api::featurerollout::DeletionPolicy;
use crate::api::{FeatureRollout, FeatureRolloutStatus, MicroTime, Reason};
use crate::cluster::Scope;
use crate::engine::{self, Decision, Delivery, Facts};
use crate::error::{Fault, chain};
use crate::flags::Identity;
use crate::plan::{Audience, Plan};

/// Works on a rollout once.
///
/// # Errors
/// What kept it from being done; it is tried again.
pub async fn reconcile(ctx: &Shared, key: &ObjectKey) -> Result<(), Fault> {
    let Some(stored) = ctx.rollouts.get(key) else {
        super::housekeeping::forget_rollout(ctx, key);
        return Ok(());
    };
    let read;
    let rollout = match &stored.0 {
        Ok(rollout) => rollout,
        Err(invalid) => {
            read = begun_beyond(ctx, key).await?;
            let Some(rollout) = &read else { return unreadable(ctx, key, invalid).await };
            rollout
        }
    };
    let ahead = ctx.ahead.overtake(key, rollout);
    let rollout = ahead.as_ref().unwrap_or(rollout);
    if rollout.metadata.deletion_timestamp.is_some() {
        if !finalizer::holds(&rollout.metadata) {
            return Ok(());
        }
        if rollout.spec.deletion_policy == DeletionPolicy::Retain {
            // It had another policy when the finalizer was set.
            return finalizer::release(ctx, key, &rollout.metadata).await;
        }
    }
    if let Some(updated) = finalizer::follow_policy(ctx, rollout).await? {
        ctx.rollouts.apply(updated);
        ctx.queue.push(Key::Rollout(key.clone()), Priority::Decide);
        return Ok(());
    }
    let done = match gather(ctx, rollout, ahead.is_some()).await? {
        Gathered::Stalled(why) => stalled(ctx, key, rollout, &why).await,
        Gathered::Ready(observed) => {
            let decide = |plan: &Plan, status: &FeatureRolloutStatus, facts: &Facts, now| {
                Some(engine::decide(plan, status, facts, now))
            };
            match advance(ctx, key, rollout, *observed, Pace::Ordinary, decide).await? {
                Advanced::Done => Ok(()),
                Advanced::Stalled(why) => stalled(ctx, key, rollout, &why).await,
            }
        }
    };
    if ctx.rollouts.is_beyond(key) {
        ctx.revisions.forget_rollout(key);
        ctx.hub.let_go_of_texts(&SetId { namespace: key.0.clone(), name: key.1.clone(), shared: false });
    }
    done
}

/// A rollout that is beyond what its namespace may have in memory, as it is stored, where it has begun: what lowers it is done as ever.
async fn begun_beyond(ctx: &Shared, key: &ObjectKey) -> Result<Option<FeatureRollout>, Fault> {
    if !ctx.rollouts.is_beyond(key) {
        return Ok(None);
    }
    let found = ctx.cluster.get::<FeatureRollout>(key).await?;
    let begun = found.and_then(|found| found.0.ok()).filter(FeatureRollout::has_begun);
    if let Some(rollout) = &begun {
        // Its neighbours have to know of it, although no watch could tell them.
        for concerned in ctx.index.apply_idle(rollout) {
            ctx.queue.push(Key::Rollout(concerned), Priority::Decide);
        }
    }
    Ok(begun)
}

/// How soon a turn has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// The file's writer may wait for others.
    Ordinary,
    /// Nothing that can be done later is done, and nobody is waited for.
    Urgent,
}

/// How a turn ended.
pub(super) enum Advanced {
    /// All that was to be done is done.
    Done,
    /// Nothing was done: somebody must act first.
    Stalled(Box<Stalled>),
}

/// Decides, persists, hands over: in this order, each only after the one before. What is persisted is published by itself.
///
/// `decide` says what the state is to be, or `None` where nothing is to be done.
///
/// # Errors
/// What kept it from being done; nothing that `decide` said may then be taken for done.
pub(super) async fn advance(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    observed: Observed,
    pace: Pace,
    decide: impl FnOnce(&Plan, &FeatureRolloutStatus, &Facts, MicroTime) -> Option<Decision>,
) -> Result<Advanced, Fault> {
    let Observed { plan, mut facts, set, owes_status } = observed;
    let prior = rollout.status.clone().unwrap_or_default();
    let ack = ctx.hub.ack(key, &facts.uid);
    let seen = ctx.hub.seen(key, &facts.uid);
    let now = ctx.clock.now();
    let identity = Identity { namespace: key.0.clone(), name: key.1.clone(), uid: facts.uid.clone() };
    let reconcile = Reconcile {
        plan: &plan,
        identity: &identity,
        prior: &prior,
        has_begun: rollout.has_begun(),
        owes_status,
        is_ordinary: pace == Pace::Ordinary && !facts.deleting && !facts.emergency && facts.no_room.is_none(),
        ack: ack.as_ref(),
        seen: seen.as_deref(),
        generation: rollout.metadata.generation.unwrap_or(0),
        now,
    };
    let known = reconcile.known();
    facts.delivered = known.is_delivered();

    let Some(mut decision) = decide(&plan, &known, &facts, now) else { return Ok(Advanced::Done) };
    // Nothing more is kept of what there is no room for. What it serves was stored when it was raised.
    let is_kept = !facts.deleting && facts.no_room.is_none();
    if is_kept {
        decision.status.guard = guards::keep(ctx, key, rollout, &plan.guard_spec).await?;
    }

    let Some(audience) = audience(ctx, key, &plan.audience, &decision.status, is_kept).await? else {
        let name = decision.status.audience.map(|audience| audience.name).unwrap_or_default();
        let message = format!(
            "the audience {name} that the file serves is gone, or is not what its name stands for; the file keeps what it has"
        );
        let why = Stalled { owes_status, ..Stalled::new(Reason::ReferenceNotFound, message) };
        return Ok(Advanced::Stalled(Box::new(why)));
    };
    let wake_at = decision.wake_at;
    let published_seq = ctx.events.published_seq(key, &facts.uid, &prior);
    let Settled { status, fragment, delivery, is_news, goes_ahead } =
        reconcile.settle(&known, &facts, &audience, decision, published_seq, |status| {
            delivery(ctx, key, status, ack.as_ref())
        });
    let mut status = status;
    let is_ahead = goes_ahead && ctx.rollouts.version_of(key) == version(rollout);
    let is_due = is_news || (status != prior && !ctx.events.is_awaited(key));
    if !is_ahead && (is_due || owes_status) {
        ctx.actions.forget_words(key, &mut status);
        persist(ctx, rollout, &status).await?;
        note_rollback(ctx, &prior, &status);
    }
    if delivery != Delivery::UnderWay {
        events::submit(ctx, &rollout.metadata, &status, status.delivered_revision, false);
    }
    note_lateness(ctx, &prior, &status, now);
    let status = Arc::new(status);
    let ahead_of = if is_ahead { rollout.resource_version() } else { None };
    if is_ahead {
        ctx.ahead.set(key, rollout, status.clone());
    }
    let removing = facts.deleting && plan.deletion_policy == DeletionPolicy::Remove;
    let offer = Offer {
        kind: if removing { OfferKind::Remove } else { OfferKind::Serve },
        urgent: facts.emergency
            || facts.deleting
            || pace == Pace::Urgent
            || is_rolling_back(&status)
            || engine::delivery::lowers(&status),
        ahead_of,
        ..Offer::serve(facts.uid.clone(), plan.feature.clone(), audience, fragment, status.clone())
    };
    super::writer::offer(ctx, &set, key, offer);
    if facts.deleting {
        analysis::forget(ctx, key);
        finish_deletion(ctx, key, rollout, &status, ack.as_ref(), removing).await?;
    } else {
        analysis::follow(ctx, rollout, &status, &plan.feature.key, &plan.guard);
        arm(ctx, key, &status, wake_at);
    }
    Ok(Advanced::Done)
}

/// Takes into a state what the file's writer has said.
pub(super) fn note_file(
    ctx: &Shared,
    key: &ObjectKey,
    status: &mut FeatureRolloutStatus,
    ack: Option<&Ack>,
    now: MicroTime,
) {
    let seen = ctx.hub.seen(key, status.uid.as_deref().unwrap_or_default());
    reconcile::note_file(status, ack, seen.as_deref(), now);
}

/// The definition of the audience that the status pins, stored before the status is where it `is_kept`. That of a rollout which is
/// being deleted need not be: nothing can be stored in a namespace that is deleted with it.
async fn audience(
    ctx: &Shared,
    key: &ObjectKey,
    declared: &Audience,
    status: &FeatureRolloutStatus,
    is_kept: bool,
) -> Result<Option<Arc<Audience>>, Fault> {
    let Some(pinned) = &status.audience else { return Ok(None) };
    if pinned.name == declared.name && !is_kept {
        return Ok(Some(Arc::new(declared.clone())));
    }
    if pinned.name == declared.name {
        return audiences::ensure(ctx, &key.0, declared, status).await.map(Some);
    }
    audiences::serving(ctx, &key.0, status).await
}

pub(super) fn delivery(
    ctx: &Shared,
    key: &ObjectKey,
    status: &FeatureRolloutStatus,
    ack: Option<&Ack>,
) -> Delivery {
    let delivery = reconcile::delivery(status, ack, || waits(ctx, key, status));
    if delivery == Delivery::Done {
        ctx.hub.settled(key);
    }
    delivery
}

/// For how long the file has not held what the rollout decides.
fn waits(ctx: &Shared, key: &ObjectKey, status: &FeatureRolloutStatus) -> std::time::Duration {
    ctx.hub.waits(&ctx.index, key, status.revision, status.delivered_revision)
}

/// Arms the next due time: the plan's, or the moment at which an undelivered file becomes late.
pub(super) fn arm(ctx: &Shared, key: &ObjectKey, status: &FeatureRolloutStatus, wake_at: Option<MicroTime>) {
    let left = (!status.is_delivered()).then(|| LATE.saturating_sub(waits(ctx, key, status)));
    let late = left.filter(|left| !left.is_zero()).map(|left| ctx.clock.after(left));
    let at = [wake_at, late].into_iter().flatten().min();
    ctx.queue.push_at(Key::Rollout(key.clone()), at);
}

/// Whether the file does not yet hold what a rollback has lowered: nothing is raised while one is in force.
pub(super) fn is_rolling_back(status: &FeatureRolloutStatus) -> bool {
    status.rollback.is_some() && status.delivered_revision != status.revision
}

/// Counts a rollback that began or became stronger.
pub(super) fn note_rollback(ctx: &Shared, prior: &FeatureRolloutStatus, status: &FeatureRolloutStatus) {
    let mode = |status: &FeatureRolloutStatus| status.rollback.as_ref().map(|rollback| rollback.mode);
    if let Some(mode) = mode(status).filter(|after| mode(prior).is_none_or(|before| before < *after)) {
        ctx.metrics.checks.rolled_back(mode);
    }
}

fn note_lateness(ctx: &Shared, prior: &FeatureRolloutStatus, status: &FeatureRolloutStatus, now: MicroTime) {
    let entered = status.position.as_ref().map(|position| position.entered_at);
    if entered == prior.position.as_ref().map(|position| position.entered_at) {
        return;
    }
    let due = prior.waiting_for.as_ref().and_then(|waiting| waiting.until);
    if let Some(due) = due.filter(|due| *due <= now) {
        let lag = ctx.clock.in_real_time(now.duration_since(due));
        ctx.metrics.step_entered(lag.as_secs_f64());
    }
}

pub(super) async fn finish_deletion(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    status: &FeatureRolloutStatus,
    ack: Option<&Ack>,
    removing: bool,
) -> Result<(), Fault> {
    let metadata = &rollout.metadata;
    match (removing, ack) {
        // The file is not ours, or never took the flag: there is nothing to wait for. RBAC may yet be put right.
        (_, Some(Ack::Failed { revision, reason, message }))
            if *reason != Reason::Forbidden && *revision >= status.revision =>
        {
            finalizer::give_up(ctx, key, metadata, *reason, message).await?;
        }
        (true, Some(Ack::Removed)) => finalizer::release(ctx, key, metadata).await?,
        (false, _) if status.delivered_revision == status.revision => {
            finalizer::release(ctx, key, metadata).await?;
        }
        _ => return Ok(()),
    }
    ctx.hub.forget(key, &SetId::of(rollout));
    Ok(())
}

/// An object that was stored before the schema was tightened, or by somebody who knows more fields.
async fn unreadable(
    ctx: &Shared,
    key: &ObjectKey,
    invalid: &kube::core::error_boundary::InvalidObject,
) -> Result<(), Fault> {
    let (reason, message) = why_unreadable(&ctx.rollouts, key, &invalid.error);
    if invalid.metadata.deletion_timestamp.is_some() {
        // Of what its namespace has no room for nothing is known by heart.
        let stored = ctx.cluster.parts(&Scope::of::<FeatureRollout>(Some(&key.0)), &key.1).await?;
        let Some(stored) = stored.filter(|stored| finalizer::holds(&stored.metadata)) else { return Ok(()) };
        return finalizer::give_up(ctx, key, &stored.metadata, reason, &message).await;
    }
    persist_raw(ctx, key, &invalid.metadata, (reason, &message)).await
}

/// Notes an error of a rollout in its status, where that is news and can be written.
pub async fn note_failure(ctx: &Shared, key: &ObjectKey, fault: &Fault) {
    let Some(stored) = ctx.rollouts.get(key) else { return };
    let Ok(rollout) = &stored.0 else { return };
    let (Fault::Forbidden(_) | Fault::Invalid(_)) = fault else { return };
    let ahead = ctx.ahead.overtake(key, rollout);
    let rollout = ahead.as_ref().unwrap_or(rollout);
    let prior = rollout.status.clone().unwrap_or_default();
    let mut status = prior.clone();
    let generation = rollout.metadata.generation.unwrap_or(0);
    engine::report::fail(&mut status, fault.reason(), &chain(fault), generation, ctx.clock.now());
    if status != prior
        && let Err(fault) = persist(ctx, rollout, &status).await
    {
        tracing::warn!(
            namespace = key.0,
            name = key.1,
            fault = chain(&fault),
            "its status cannot be written either"
        );
    }
}

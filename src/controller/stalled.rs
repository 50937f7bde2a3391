//! Rollouts that cannot be decided on until somebody acts: what is served stays served, and what lowers it still does.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use super::announce::{is_beyond, stamp};
use super::cache::ObjectKey;
use super::context::{Key, Shared};
use super::gather::Stalled;
use super::index::SetId;
use super::persist::persist;
use super::queue::Priority;
use super::revisions::{audiences, guards};
use super::rollout::{arm, delivery, finish_deletion, is_rolling_back, note_file, note_rollback};
use super::writer::{self, Ack, Offer, OfferKind};
use super::{analysis, events, finalizer};
use crate::api::featurerollout::DeletionPolicy;
use crate::api::{FeatureRollout, FeatureRolloutStatus, MicroTime, Reason};
use crate::clock;
use crate::engine::{self, Delivery};
use crate::error::Fault;
use crate::flags::Identity;
use crate::plan::{self, Guard};

/// After how long what a new rollout names and is not there is taken to be missing.
const TOGETHER: SignedDuration = SignedDuration::from_secs(5);

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
    if deleting && !rollout.has_begun() {
        return finalizer::release(ctx, key, &rollout.metadata).await;
    }
    if deleting && why.feature.is_none() {
        return finalizer::give_up(ctx, key, &rollout.metadata, why.reason, &why.message).await;
    }
    let prior = rollout.status.clone().unwrap_or_default();
    if !rollout.has_begun() {
        return not_begun(ctx, key, rollout, why, prior).await;
    }
    let now = ctx.clock.now();
    let ack = ctx.hub.ack(key, &rollout.uid().unwrap_or_default());
    let mut status = prior.clone();
    note_file(ctx, key, &mut status, ack.as_ref(), now);
    let told = (status.revision, status.last_seq());
    if let Some(live) = &why.ahead {
        engine::set_back(&mut status, live, rollout.spec.attempt, now);
    }
    if why.emergency {
        engine::take_to_control(&mut status, now);
    }
    if deleting && rollout.spec.deletion_policy == DeletionPolicy::Control {
        engine::leave_at_control(&mut status, now);
    }
    let mut wake_at = None;
    if !deleting {
        note_attempt(rollout, &mut status);
        wake_at = guard(ctx, key, rollout, &mut status, now).await?;
    }
    let offer = offer(ctx, key, rollout, why, &mut status, ack.as_ref()).await?;
    mark(&mut status, told);
    if offer.is_none() && deleting {
        // What it serves cannot be rendered any more: nothing lowers it, and deletion must not hang on it.
        let message = "the definition of its audience is gone";
        return finalizer::give_up(ctx, key, &rollout.metadata, Reason::ReferenceNotFound, message).await;
    }
    let decided = status.revision != prior.revision || status.last_seq() != told.1 || why.owes_status;
    note_file(ctx, key, &mut status, ack.as_ref(), now);
    let uid = rollout.uid().unwrap_or_default();
    status.published_seq = status.published_seq.max(ctx.events.published_seq(key, &uid, &prior));
    let urgent = why.emergency || deleting || is_rolling_back(&status);
    let hand_over = |offer: Option<Offer>, status: &FeatureRolloutStatus| {
        if let Some(offer) = offer.filter(|_| urgent || is_open(status, ack.as_ref())) {
            let offer = Offer { status: Arc::new(status.clone()), urgent, ..offer };
            writer::offer(ctx, &SetId::of(rollout), key, offer);
        }
    };
    let delivery = delivery(ctx, key, &status, ack.as_ref());
    if decided {
        if !say_so(ctx, key, rollout, why, &mut status, &delivery, wake_at).await? {
            return unsaid(ctx, key, rollout, why, &prior, urgent).await;
        }
        note_rollback(ctx, &prior, &status);
        hand_over(offer, &status);
    } else {
        hand_over(offer, &status);
        say_so(ctx, key, rollout, why, &mut status, &delivery, wake_at).await?;
    }
    // What the file is about to hold is told once it does, and not as something that it does not hold.
    if delivery != Delivery::UnderWay {
        events::submit(ctx, &rollout.metadata, &status, status.delivered_revision, false);
    }
    if deleting {
        return finish_deletion(ctx, key, rollout, &status, ack.as_ref(), is_removing(rollout)).await;
    }
    Ok(())
}

/// Says it of a rollout that has not begun: an event tells of it, too, as whoever has just applied it looks there first.
async fn not_begun(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    why: &Stalled,
    prior: FeatureRolloutStatus,
) -> Result<(), Fault> {
    if why.reason == Reason::ReferenceNotFound
        && prior.conditions.is_empty()
        && let Some(left) = comes_together(&rollout.metadata, clock::real_now())
    {
        ctx.queue.push_at(Key::Rollout(key.clone()), Some(ctx.clock.after(left)));
        return Ok(());
    }
    let published = match &prior.uid {
        // The history of another object was told under its name.
        Some(_) => prior.last_seq(),
        None => ctx.events.published_seq(key, &rollout.uid().unwrap_or_default(), &prior),
    };
    let mut status = prior;
    status.published_seq = status.published_seq.max(published);
    if say_so(ctx, key, rollout, why, &mut status, &Delivery::UnderWay, None).await? {
        events::submit(ctx, &rollout.metadata, &status, status.delivered_revision, false);
    }
    Ok(())
}

/// How long what a new rollout names may still be on its way. Whoever applies a folder creates one object after the other, rollouts
/// before FlagSets by the alphabet, and tools that wait for all of them take a rollout that is stalled for a failure of the whole.
fn comes_together(metadata: &ObjectMeta, now: MicroTime) -> Option<Duration> {
    let created = MicroTime::from(metadata.creation_timestamp.as_ref()?.0);
    let age = now.duration_since(created);
    // An API server whose clock is far ahead says nothing about the age.
    let age = if age > -TOGETHER { age.max(SignedDuration::ZERO) } else { return None };
    (TOGETHER - age).try_into().ok().filter(|left: &Duration| !left.is_zero())
}

/// Takes note of `spec.attempt` where there is nothing to start again from, as a valid spec's would be: what was
/// committed before a rollback does not end it once the spec is valid. A raise that comes later is left to be seen then.
fn note_attempt(rollout: &FeatureRollout, status: &mut FeatureRolloutStatus) {
    if !engine::wants_retry(status) {
        status.attempt = rollout.spec.attempt;
    }
}

/// What watched last goes on, and a ladder under way goes down: an invalid edit stops raises only. Says when the next
/// rung is due.
async fn guard(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    status: &mut FeatureRolloutStatus,
    now: MicroTime,
) -> Result<Option<MicroTime>, Fault> {
    let kept = guards::find(ctx, key, status).await?;
    let metrics = ctx.analysis.metrics(key, &rollout.uid().unwrap_or_default());
    let decision = match &kept {
        Some(guard) => engine::guard_only(guard, status, &metrics, now),
        None => engine::guard_only(&Guard::default(), status, &metrics, now),
    };
    let before = std::mem::replace(status, decision.status);
    if kept.is_none() {
        // Nobody knows them any more, which is no reason to forget that they were in breach.
        status.triggers = before.triggers;
        status.criteria = before.criteria;
    }
    if let (Some(guard), Some(feature)) = (&kept, plan::feature_alone(rollout)) {
        // Where there is no room for it the neighbours' triggers take it, which the status says once the spec is valid again.
        let _no_room = analysis::admit(ctx, rollout, guard, status.cohorts.len());
        analysis::follow(ctx, rollout, status, &feature.key, guard);
    }
    Ok(decision.wake_at)
}

/// Goes on where the API server refuses what was decided: only what is persisted is served.
async fn unsaid(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    why: &Stalled,
    prior: &FeatureRolloutStatus,
    urgent: bool,
) -> Result<(), Fault> {
    let deleting = rollout.metadata.deletion_timestamp.is_some();
    let ack = ctx.hub.ack(key, &rollout.uid().unwrap_or_default());
    let mut status = prior.clone();
    note_file(ctx, key, &mut status, ack.as_ref(), ctx.clock.now());
    let offer = offer(ctx, key, rollout, why, &mut status, ack.as_ref()).await?;
    let is_persisted = status.revision == prior.revision;
    let wanted = is_persisted && (urgent || is_open(&status, ack.as_ref()));
    if let Some(offer) = offer.filter(|_| wanted) {
        writer::offer(ctx, &SetId::of(rollout), key, Offer { urgent, ..offer });
    }
    // Where it was to go to control first it stays until that can be said.
    if deleting && is_persisted && rollout.spec.deletion_policy != DeletionPolicy::Control {
        return finish_deletion(ctx, key, rollout, &status, ack.as_ref(), is_removing(rollout)).await;
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
    judge: impl FnOnce(&FeatureRolloutStatus, MicroTime) -> Option<FeatureRolloutStatus>,
) -> Result<(), Fault> {
    let prior = rollout.status.clone().unwrap_or_default();
    let now = ctx.clock.now();
    let ack = ctx.hub.ack(key, &rollout.uid().unwrap_or_default());
    let mut noted = prior.clone();
    if let Some(live) = &why.ahead {
        engine::set_back(&mut noted, live, rollout.spec.attempt, now);
    }
    if rollout.has_begun() {
        note_file(ctx, key, &mut noted, ack.as_ref(), now);
        note_attempt(rollout, &mut noted);
    }
    let told = (noted.revision, noted.last_seq());
    let Some(mut status) = judge(&noted, now) else { return Ok(()) };
    // Where nothing can be rendered the file follows as soon as it can.
    let offer = offer(ctx, key, rollout, why, &mut status, ack.as_ref()).await?;
    mark(&mut status, told);
    note_file(ctx, key, &mut status, ack.as_ref(), now);
    let delivery = delivery(ctx, key, &status, ack.as_ref());
    let generation = rollout.metadata.generation.unwrap_or(0);
    let wake_at = engine::next_rung(&status);
    let why = (why.reason, why.message.as_str());
    engine::report::stall(&mut status, why, &delivery, wake_at, generation, now);
    engine::trim(&mut status);
    if status != prior {
        ctx.actions.forget_words(key, &mut status);
        persist(ctx, rollout, &status).await?;
    }
    if let Some(offer) = offer {
        let offer = Offer { status: Arc::new(status), urgent: true, ..offer };
        writer::offer(ctx, &SetId::of(rollout), key, offer);
    }
    // A ladder's next rung is armed there, and the events are published.
    ctx.queue.push(Key::Rollout(key.clone()), Priority::Report);
    Ok(())
}

/// Persists the state with the report that somebody must act. Says whether it is persisted: the API server refuses any
/// write to an object whose spec breaks its present rules, which is then said by an event.
async fn say_so(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    why: &Stalled,
    status: &mut FeatureRolloutStatus,
    delivery: &Delivery,
    wake_at: Option<MicroTime>,
) -> Result<bool, Fault> {
    let generation = rollout.metadata.generation.unwrap_or(0);
    let now = ctx.clock.now();
    engine::report::stall(status, (why.reason, &why.message), delivery, wake_at, generation, now);
    engine::trim(status);
    arm(ctx, key, status, wake_at);
    if rollout.status.as_ref() == Some(status) {
        return Ok(true);
    }
    match persist(ctx, rollout, status).await {
        Err(Fault::Invalid(_)) => {
            events::complain(ctx, &rollout.metadata, why.reason, &why.message);
            Ok(false)
        }
        other => other.map(|()| true),
    }
}

/// Notes which revision brings about what was added to the history since then, if there is a new one.
fn mark(status: &mut FeatureRolloutStatus, (revision, seq): (i64, i64)) {
    if status.revision != revision {
        engine::delivery::mark_entries(status, seq);
    }
}

/// Whether the writer has to hear of it: of a lowering that was persisted before the spec became invalid, and once of
/// everything, as a process before this one may have left something else in the file.
fn is_open(status: &FeatureRolloutStatus, ack: Option<&Ack>) -> bool {
    ack.is_none() || !status.is_delivered()
}

/// Whether the flag is to leave the file, with its rollout.
fn is_removing(rollout: &FeatureRollout) -> bool {
    rollout.metadata.deletion_timestamp.is_some() && rollout.spec.deletion_policy == DeletionPolicy::Remove
}

/// What the status serves, rendered from it and from the immutable part of the spec alone; `None` where it cannot be.
async fn offer(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    why: &Stalled,
    status: &mut FeatureRolloutStatus,
    ack: Option<&Ack>,
) -> Result<Option<Offer>, Fault> {
    let Some(feature) = &why.feature else { return Ok(None) };
    let Some(audience) = audiences::serving(ctx, &key.0, status).await? else { return Ok(None) };
    let uid = rollout.uid().unwrap_or_default();
    let identity = Identity { namespace: key.0.clone(), name: key.1.clone(), uid: uid.clone() };
    let beyond = is_beyond(status, ack);
    let fragment = stamp(feature, &identity, status, &audience, beyond);
    Ok(Some(Offer {
        kind: if is_removing(rollout) { OfferKind::Remove } else { OfferKind::Serve },
        ..Offer::serve(uid, feature.clone(), audience, fragment, Arc::new(status.clone()))
    }))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn what_a_new_rollout_names_has_a_moment_to_come() {
        let left = |created: Option<&str>, now: &str| {
            let creation_timestamp = created.map(|created| Time(created.parse().unwrap()));
            let left = comes_together(
                &ObjectMeta { creation_timestamp, ..ObjectMeta::default() },
                now.parse().unwrap(),
            );
            left.map(|left| left.as_millis())
        };
        let created = Some("2026-01-02T03:04:05Z");
        assert_eq!(left(created, "2026-01-02T03:04:05.25Z"), Some(4_750));
        assert_eq!(left(created, "2026-01-02T03:04:09.999Z"), Some(1));
        assert_eq!(left(created, "2026-01-02T03:04:10Z"), None);
        assert_eq!(left(created, "2027-01-02T03:04:10Z"), None);
        // The API server's clock is ahead by little, and by much.
        assert_eq!(left(created, "2026-01-02T03:04:03Z"), Some(5_000));
        assert_eq!(left(created, "2026-01-02T03:03:05Z"), None);
        assert_eq!(left(None, "2026-01-02T03:04:05Z"), None);
    }
}

//! The answer of an action: how the file stands to it, and how it gets into the action's status.

use kube::{Resource, ResourceExt};

use super::pending::Asked;
use crate::api::conditions::{Want, merge, types};
use crate::api::rolloutaction::{Action, Answer, RolloutAction, RolloutActionStatus};
use crate::api::{FeatureRolloutStatus, MicroTime};
use crate::clock;
use crate::controller::cache::{ObjectKey, key_of};
use crate::controller::context::{Context, Shared};
use crate::controller::persist::put;
use crate::controller::reconcile::delivered;
use crate::controller::references::look_up;
use crate::controller::writer::Ack;
use crate::engine;
use crate::error::Fault;

/// What an action is answered.
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// The answer, in words.
    pub message: String,
    /// Revision that the file has to hold before apps have what was applied, if it has to.
    pub revision: Option<i64>,
    /// When it was judged. Others compare it with the time of creation, which the API server's clock gave.
    pub at: MicroTime,
}

impl Answered {
    /// One of this moment.
    pub fn now(answer: Answer, message: String) -> Answered {
        Answered { answer, message, revision: None, at: clock::real_now() }
    }
}

/// The same with the revision that the file has to hold: where that is a new one, and where somebody asks again for
/// percentages that have not been delivered.
pub(super) async fn with_revision(
    ctx: &Shared,
    key: &ObjectKey,
    before: i64,
    action: Action,
    answered: Answered,
) -> Result<Answered, Fault> {
    if answered.answer != Answer::Applied {
        return Ok(answered);
    }
    let status = status_of(ctx, key).await?;
    let is_about_file = matches!(action, Action::Rollback | Action::SetPercent | Action::Promote);
    let is_open = status.revision > before || (is_about_file && !is_delivered(ctx, key));
    Ok(Answered { revision: is_open.then_some(status.revision), ..answered })
}

/// The status of a rollout as it is known here, read where its namespace has more than it may have in memory.
pub(super) async fn status_of(ctx: &Shared, key: &ObjectKey) -> Result<FeatureRolloutStatus, Fault> {
    let rollout = look_up(ctx, &ctx.rollouts, &key.0, &key.1).await?;
    Ok(rollout.and_then(|rollout| rollout.status).unwrap_or_default())
}

/// How the file stands to an answer that it has to follow, in words.
pub fn delivery(ctx: &Shared, key: &ObjectKey, revision: i64) -> String {
    let Some(stored) = ctx.rollouts.get(key) else { return String::new() };
    let ack = ctx.hub.ack(key, &stored.uid().unwrap_or_default());
    // Of what its namespace has no room for no status is known by heart: what the writer said last is enough.
    let unknown = || FeatureRolloutStatus { revision, ..FeatureRolloutStatus::default() };
    let status = match &stored.0 {
        Ok(rollout) => rollout.status.clone().unwrap_or_default(),
        Err(_) => unknown(),
    };
    if delivered(&status, ack.as_ref()) >= revision {
        return "; the file holds it".to_owned();
    }
    let Some(
        Ack::Failed { message: why, .. } | Ack::Retrying { message: why } | Ack::Lost { message: why, .. },
    ) = ack
    else {
        return "; the file is being written".to_owned();
    };
    match engine::delivery::gap(&status).filter(|_| stored.0.is_ok()) {
        Some(gap) => format!("; {gap}: {why}"),
        None => format!("; the file does not hold it: {why}"),
    }
}

/// Whether the file holds what the rollout has decided, as far as is known here.
pub fn is_delivered(ctx: &Shared, key: &ObjectKey) -> bool {
    if ctx.rollouts.is_beyond(key) {
        return !ctx.index.set_of(key).is_some_and(|set| ctx.hub.is_wanted(&set, key));
    }
    let stored = ctx.rollouts.get(key);
    let Some(Ok(rollout)) = stored.as_ref().map(|stored| &stored.0) else { return true };
    let Some(status) = rollout.status.as_ref().filter(|_| rollout.has_begun()) else { return true };
    let ack = ctx.hub.ack(key, &rollout.uid().unwrap_or_default());
    delivered(status, ack.as_ref()) == status.revision && !ctx.ahead.is_under_way(key)
}

/// Whether the file's writer has said that it could not write what the rollout has decided.
pub fn is_held_back(ctx: &Shared, key: &ObjectKey) -> bool {
    let Some(rollout) = ctx.rollouts.get(key) else { return false };
    ctx.hub.ack(key, &rollout.uid().unwrap_or_default()).is_some_and(|ack| ack.is_failure())
}

/// Writes the answer, unless the action has one or is gone.
///
/// # Errors
/// When it could not be written; it is to be tried again with the same one.
pub async fn give(ctx: &Context, asked: &Asked, answered: &Answered) -> Result<(), Fault> {
    let fault = match put::<RolloutAction>(ctx, asked.meta(), &status(asked, answered)).await {
        Ok(_) | Err(Fault::NotFound(_)) => return Ok(()),
        Err(fault @ Fault::Conflict(_)) => fault,
        Err(fault) => return Err(fault),
    };
    // Its labels were edited, or somebody else has answered.
    let Some(now) = ctx.cluster.get::<RolloutAction>(&key_of(&**asked)).await? else { return Ok(()) };
    let is_answered =
        now.0.as_ref().is_ok_and(|action| action.status.as_ref().is_some_and(|s| s.answer.is_some()));
    if is_answered || now.meta().uid != asked.meta().uid {
        return Ok(());
    }
    if now.meta().resource_version == asked.meta().resource_version {
        return Err(fault);
    }
    put::<RolloutAction>(ctx, now.meta(), &status(asked, answered)).await.map(drop)
}

fn status(asked: &Asked, answered: &Answered) -> RolloutActionStatus {
    let generation = asked.meta().generation.unwrap_or(1);
    let applied = answered.answer == Answer::Applied;
    let reason = answered.answer.as_str();
    let ready = Want { type_: types::READY, status: applied, reason, message: answered.message.clone() };
    let stalled = Want { type_: types::STALLED, status: true, ..ready.clone() };
    let want = if applied { vec![ready] } else { vec![ready, stalled] };
    RolloutActionStatus {
        observed_generation: generation,
        answer: Some(answered.answer),
        message: Some(answered.message.clone()),
        revision: answered.revision,
        answered_at: Some(answered.at),
        conditions: merge(&[], &want, generation, answered.at),
    }
}

//! The answer of an action, in its status.

use kube::Resource;

use super::book::Asked;
use crate::api::MicroTime;
use crate::api::conditions::{Want, merge, types};
use crate::api::rolloutaction::{Answer, RolloutAction, RolloutActionStatus};
use crate::clock;
use crate::controller::cache::key_of;
use crate::controller::context::Context;
use crate::controller::persist::put;
use crate::error::Fault;

/// What an action is answered.
pub struct Verdict {
    /// The answer.
    pub answer: Answer,
    /// The answer, in words.
    pub message: String,
    /// Revision that the file has to hold before apps have what was applied, if it has to.
    pub revision: Option<i64>,
    /// When it was judged. Others compare it with the time of creation, which the API server's clock gave.
    pub at: MicroTime,
}

impl Verdict {
    /// A verdict of this moment.
    pub fn now(answer: Answer, message: String) -> Verdict {
        Verdict { answer, message, revision: None, at: clock::real_now() }
    }
}

/// Writes the answer, unless the action has one or is gone.
///
/// # Errors
/// When it could not be written; it is to be tried again with the same verdict.
pub async fn give(ctx: &Context, asked: &Asked, verdict: &Verdict) -> Result<(), Fault> {
    let fault = match put::<RolloutAction>(ctx, asked.meta(), &status(asked, verdict)).await {
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
    put::<RolloutAction>(ctx, now.meta(), &status(asked, verdict)).await.map(drop)
}

fn status(asked: &Asked, verdict: &Verdict) -> RolloutActionStatus {
    let generation = asked.meta().generation.unwrap_or(1);
    let applied = verdict.answer == Answer::Applied;
    let reason = verdict.answer.as_str();
    let ready = Want { type_: types::READY, status: applied, reason, message: verdict.message.clone() };
    let stalled = Want { type_: types::STALLED, status: true, ..ready.clone() };
    let want = if applied { vec![ready] } else { vec![ready, stalled] };
    RolloutActionStatus {
        observed_generation: generation,
        answer: Some(verdict.answer),
        message: Some(verdict.message.clone()),
        revision: verdict.revision,
        answered_at: Some(verdict.at),
        conditions: merge(&[], &want, generation, verdict.at),
    }
}

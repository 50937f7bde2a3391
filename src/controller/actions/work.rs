//! What becomes of actions that were not worked on: since the work on them ended by a fault, or as there were too many.

use std::time::Duration;

use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

use super::super::events;
use super::{ObjectKey, Shared, UNANSWERED};
use crate::api::Reason;
use crate::api::rolloutaction::RolloutAction;
use crate::clock;
use crate::cluster::Scope;
use crate::error::chain;

/// How long the actions of a rollout are left alone after the work on them ended by a fault of this program.
const AFTER_A_FAULT: Duration = Duration::from_secs(5);

/// How long the actions of a namespace are left alone before those are read that there was no room for.
const BEFORE_READING: Duration = Duration::from_secs(1);

/// Takes in an event of the watch, or what is read again.
pub(super) fn take_in(ctx: &Shared, event: Event<DeserializeGuard<RolloutAction>>) {
    if let Event::Delete(action) = &event
        && let Ok(action) = &action.0
    {
        gone(ctx, action);
    }
    let too_large = ctx.actions.pending().event(event);
    if let Some(metadata) = too_large {
        let message = "it is larger than a megabyte, so that no answer would fit into it, and is not carried out: delete it";
        events::warn(ctx, "RolloutAction", &metadata, Reason::Rejected, message);
    }
}

/// An action that is answered or deleted is never read as new: its record needs its words no more, and may give way to others.
fn gone(ctx: &Shared, action: &RolloutAction) {
    let rollout = (action.namespace().unwrap_or_default(), action.spec.rollout_ref.name.clone());
    let Some(uid) = action.uid() else { return };
    let stored = ctx.rollouts.get(&rollout);
    let status = stored.as_ref().and_then(|stored| stored.0.as_ref().ok()?.status.as_ref());
    let has_words = status
        .is_some_and(|status| status.actions.iter().any(|known| known.uid == uid && known.message.is_some()));
    let mut given = ctx.actions.given();
    if has_words && !given.get(&rollout).is_some_and(|given| given.contains(&uid)) {
        given.entry(rollout).or_default().push(uid);
    }
}

/// Reads the actions of a namespace again, of which there are more than were kept.
pub(super) async fn read_again(ctx: Shared, namespace: String) {
    tokio::select! {
        () = clock::sleep(BEFORE_READING) => {}
        () = ctx.shutdown.cancelled() => return,
    }
    let unanswered = Scope::of::<RolloutAction>(Some(&namespace)).fields(UNANSWERED);
    let take = |action: DeserializeGuard<RolloutAction>| take_in(&ctx, Event::Apply(action));
    if let Err(fault) = ctx.cluster.all(&unanswered, take).await {
        tracing::warn!("the actions of namespace {namespace} could not be read again: {}", chain(&fault));
        ctx.actions.pending().leave_out(&namespace);
    }
    ctx.actions.changed.notify_one();
}

/// The work on the actions of a rollout. Where it ends by a fault, it is begun again a little later with what was not judged.
pub(super) struct Work {
    pub ctx: Shared,
    pub rollout: ObjectKey,
}

impl Drop for Work {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (ctx, rollout) = (self.ctx.clone(), self.rollout.clone());
            tokio::spawn(async move {
                clock::sleep(AFTER_A_FAULT).await;
                ctx.actions.pending().ended(&rollout);
                ctx.actions.changed.notify_one();
            });
        }
    }
}

//! What becomes of actions that were not worked on: since the work on them ended by a fault, or as there were too many.

use std::time::Duration;

use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

use super::{ObjectKey, Shared, UNANSWERED, take_in};
use crate::api::rolloutaction::RolloutAction;
use crate::clock;
use crate::cluster::Scope;
use crate::error::chain;

/// How long the actions of a rollout are left alone after the work on them ended by a fault of this program.
const AFTER_A_FAULT: Duration = Duration::from_secs(5);

/// How long the actions of a namespace are left alone before those are read that there was no room for.
const BEFORE_READING: Duration = Duration::from_secs(1);

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

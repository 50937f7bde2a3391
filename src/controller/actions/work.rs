//! What becomes of a rollout's actions where the work on them ends by a fault.

use std::time::Duration;

use super::{ObjectKey, Shared};
use crate::clock;

/// How long the actions of a rollout are left alone after the work on them ended by a fault of this program.
const AFTER_A_FAULT: Duration = Duration::from_secs(5);

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
                ctx.actions.book().ended(&rollout);
                ctx.actions.changed.notify_one();
            });
        }
    }
}

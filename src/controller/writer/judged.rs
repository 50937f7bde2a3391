//! What is wrong with a FlagSet's own flags, found once for each generation.

use std::panic::resume_unwind;
use std::sync::Arc;

use kube::ResourceExt;
use tokio::task::spawn_blocking;

use crate::api::FlagSet;
use crate::controller::context::Shared;
use crate::controller::index::SetId;
use crate::flags::Verdict;

/// What is wrong with the set's own flags and metadata.
pub(super) async fn verdict(ctx: &Shared, set: &SetId, flag_set: &FlagSet) -> Arc<Verdict> {
    let of = (flag_set.uid().unwrap_or_default(), flag_set.metadata.generation.unwrap_or(0));
    if let Some(known) = ctx.hub.verdict(set, &of) {
        return known;
    }
    let (flags, metadata) = (flag_set.spec.flags.clone(), flag_set.spec.metadata.clone());
    // It may take tens of milliseconds, which whoever else is on this thread would wait for.
    let found = spawn_blocking(move || Arc::new(Verdict::of(&flags, &metadata))).await;
    let found = match found.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(found) => found,
        Err(Ok(panic)) => resume_unwind(panic),
        // The runtime is going down, and nothing is to be written any more.
        Err(Err(_)) => std::future::pending().await,
    };
    ctx.hub.keep_verdict(set, of, found.clone());
    found
}

//! What a new leader makes sure of before it decides: that it knows all that the one before it can have known.
//!
//! While it stood by, its watches told it of everything, sooner or later. A watch whose connection died without a word tells
//! nothing for minutes. So names and versions are listed past every cache and compared; where a watch does not have them
//! in a second, it begins anew with a list.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use kube::core::{DeserializeGuard, PartialObjectMeta};

use super::cache::{Cache, Object, ObjectKey, key_of, version};
use super::context::Context;
use crate::clock;
use crate::cluster::Scope;
use crate::error::{Fault, chain};

/// Objects in one answer: only their metadata.
const PAGE: u32 = 500;
/// How long a watch has to tell of what is stored.
const LATE: Duration = Duration::from_secs(1);
/// How often is looked whether it has.
const POLL: Duration = Duration::from_millis(10);

/// Waits until what decisions are made from is known as it was at `at`, or later.
pub async fn until(ctx: &Context, at: Instant) {
    tokio::join!(
        kind(ctx, &ctx.rollouts, at),
        kind(ctx, &ctx.flag_sets, at),
        kind(ctx, &ctx.cohort_sets, at),
        kind(ctx, &ctx.playbooks, at),
        kind(ctx, &ctx.rollout_policies, at),
        kind(ctx, &ctx.namespaces, at)
    );
}

async fn kind<K>(ctx: &Context, cache: &Cache<K>, at: Instant)
where
    K: Object + Debug,
{
    if cache.lists.has_since(at) {
        return;
    }
    match has_all(ctx, cache).await {
        Ok(true) => return,
        Ok(false) => tracing::info!("the watch of kind {} is late; it begins anew", K::kind(&())),
        Err(fault) => tracing::warn!(
            "{} could not be listed for comparison: {}; their watch begins anew",
            K::plural(&()),
            chain(&fault)
        ),
    }
    cache.lists.ask();
    cache.lists.since(at).await;
}

/// Whether the watch has told of everything that is stored now, or does so in time.
async fn has_all<K>(ctx: &Context, cache: &Cache<K>) -> Result<bool, Fault>
where
    K: Object + Debug,
{
    let scope = Scope::of::<K>(None).metadata().pages_of(PAGE);
    let mut stored: HashMap<ObjectKey, u64> = HashMap::new();
    let note = |object: DeserializeGuard<PartialObjectMeta<K>>| {
        stored.insert(key_of(&object), version(&object));
    };
    let listed = ctx.cluster.all(&scope, note).await?;
    let stored_at = listed.and_then(|at| at.parse().ok()).unwrap_or(0);
    let begun = clock::monotonic();
    loop {
        if cache.is_as_new_as(&stored, stored_at) {
            return Ok(true);
        }
        if begun.elapsed() >= LATE {
            return Ok(false);
        }
        clock::sleep(POLL).await;
    }
}

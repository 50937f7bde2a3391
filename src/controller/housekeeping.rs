//! What is done every so often beside the work: counting, and deleting what nobody needs any more.

use std::collections::HashSet;
use std::time::Duration;

use super::cache::ObjectKey;
use super::context::{Context, Shared};
use super::{actions, revisions, writer};
use crate::clock;
use crate::error::chain;

/// How often unpinned audiences are looked for.
const GARBAGE_INTERVAL: Duration = Duration::from_secs(600);
/// How often old actions are looked for.
const ACTIONS_INTERVAL: Duration = Duration::from_secs(3600);

/// Counts, and deletes audiences that nobody pins and actions answered long ago.
pub async fn run(ctx: Shared) {
    let mut last = clock::monotonic();
    let mut swept = clock::monotonic();
    loop {
        tokio::select! {
            () = clock::sleep(Duration::from_secs(5)) => {}
            () = ctx.shutdown.cancelled() => return,
        }
        ctx.metrics.set_objects("FeatureRollout", ctx.rollouts.len());
        ctx.metrics.set_objects("FlagSet", ctx.flag_sets.len());
        ctx.metrics.set_objects("CohortSet", ctx.cohort_sets.len());
        ctx.metrics.set_objects("MetricSource", ctx.metric_sources.len());
        ctx.metrics.set_objects("MetricTemplate", ctx.metric_templates.len());
        ctx.metrics.set_queue_depth(ctx.queue.depth());
        if swept.elapsed() >= ACTIONS_INTERVAL {
            swept = clock::monotonic();
            if let Err(fault) = actions::sweep(&ctx).await {
                tracing::warn!(fault = chain(&fault), "old actions could not be listed");
            }
        }
        if last.elapsed() < GARBAGE_INTERVAL {
            continue;
        }
        last = clock::monotonic();
        let (pinned, unsure) = pinned(&ctx);
        if let Err(fault) = revisions::collect_garbage(&ctx, &pinned, &unsure).await {
            tracing::warn!(fault = chain(&fault), "pinned audiences could not be listed");
        }
    }
}

/// Every audience and guard that a status, a set or an orphan in a file still needs; and the namespaces where nobody
/// can say so, because of a rollout that cannot be read.
fn pinned(ctx: &Context) -> (HashSet<ObjectKey>, HashSet<String>) {
    let mut pinned = HashSet::new();
    let mut unsure = HashSet::new();
    for key in ctx.rollouts.keys() {
        let Some(rollout) = ctx.rollouts.readable(&key) else {
            unsure.insert(key.0);
            continue;
        };
        let Some(status) = rollout.status else { continue };
        for audience in status.audience.into_iter().chain(status.pending_audience) {
            pinned.insert((key.0.clone(), audience.name));
        }
        pinned.extend(status.guard.map(|guard| (key.0.clone(), guard)));
    }
    for key in ctx.cohort_sets.keys() {
        if let Some(set) = ctx.cohort_sets.readable(&key) {
            pinned.insert((key.0.clone(), crate::plan::Audience::new(&key.1, &set.spec.cohorts).name));
        }
    }
    pinned.extend(writer::audiences_in_files(ctx));
    (pinned, unsure)
}

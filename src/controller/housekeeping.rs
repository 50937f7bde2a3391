//! What is done every so often beside the work, and what has to be forgotten when an object is gone.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::cache::{Cache, Object, ObjectKey};
use super::context::{Context, Key, Shared};
use super::queue::Priority;
use super::revisions::{self, Pinned};
use super::{actions, analysis, pins, playbooks, writer};
use crate::clock;
use crate::error::chain;
use crate::telemetry::Tally;

/// How often what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Housekeeping {
    /// Counting for the metrics.
    pub count: Duration,
    /// Looking for audiences and guards that nobody pins.
    pub collection: Duration,
    /// How long one that nobody pins is kept.
    pub kept: Duration,
    /// Least time between two collections, and how long the older ones of an owner are kept that has many.
    pub crowded: Duration,
    /// Looking for old actions.
    pub actions: Duration,
}

impl Default for Housekeeping {
    fn default() -> Housekeeping {
        Housekeeping {
            count: Duration::from_secs(5),
            collection: Duration::from_secs(600),
            kept: Duration::from_secs(3600),
            crowded: Duration::from_secs(30),
            actions: Duration::from_secs(3600),
        }
    }
}

/// Counts, and deletes audiences that nobody pins and actions answered long ago, until the shutdown.
pub async fn run(ctx: Shared, how_often: Housekeeping) {
    let mut collected = clock::monotonic();
    let mut swept = clock::monotonic();
    tidy(&ctx);
    loop {
        tokio::select! {
            () = clock::sleep(how_often.count) => {}
            () = ctx.shutdown.cancelled() => return,
        }
        // Both may have come.
        if ctx.shutdown.is_cancelled() {
            return;
        }
        for set in ctx.index.take_left() {
            writer::left(&ctx, &set);
        }
        count(&ctx);
        if swept.elapsed() >= how_often.actions {
            swept = clock::monotonic();
            if let Err(fault) = actions::sweep(&ctx).await {
                tracing::warn!(
                    "the old actions could not be listed: {}; that is tried again later",
                    chain(&fault)
                );
            }
        }
        let crowded = ctx.revisions.are_many() && collected.elapsed() >= how_often.crowded;
        if crowded || collected.elapsed() >= how_often.collection {
            collected = clock::monotonic();
            tidy(&ctx);
            if let Err(fault) = revisions::collect(&ctx, how_often.kept, how_often.crowded, pinned).await {
                tracing::warn!(
                    "the audiences that nobody pins could not be looked for: {}; they stay for now",
                    chain(&fault)
                );
            }
        }
    }
}

fn count(ctx: &Context) {
    let objects = [
        ("FeatureRollout", own(ctx, &ctx.rollouts)),
        ("FlagSet", own(ctx, &ctx.flag_sets)),
        ("CohortSet", own(ctx, &ctx.cohort_sets)),
        ("RolloutPolicy", own(ctx, &ctx.rollout_policies)),
        ("MetricSource", own(ctx, &ctx.metric_sources)),
        ("MetricTemplate", own(ctx, &ctx.metric_templates)),
        ("NotificationChannel", own(ctx, &ctx.notification_channels)),
        ("Playbook", own(ctx, &ctx.playbooks)),
    ];
    let owns = |namespace: &str| ctx.owns(namespace);
    let beyond = [
        ("FeatureRollout", ctx.rollouts.beyond_of(owns)),
        ("FlagSet", ctx.flag_sets.beyond_of(owns)),
        ("CohortSet", ctx.cohort_sets.beyond_of(owns)),
        ("RolloutPolicy", ctx.rollout_policies.beyond_of(owns)),
        ("MetricTemplate", ctx.metric_templates.beyond_of(owns)),
        ("Playbook", ctx.playbooks.beyond_of(owns)),
    ];
    let tally = Tally {
        objects: BTreeMap::from(objects),
        beyond: BTreeMap::from(beyond),
        entries: census(ctx),
        queue: ctx.queue.depth(),
        events: ctx.events.waiting(),
    };
    ctx.metrics.count(ctx.shard.index(), tally);
}

/// How many objects of a kind are in the term's namespaces.
fn own<K: Object>(ctx: &Context, cache: &Cache<K>) -> usize {
    if ctx.shard.is_whole() { cache.len() } else { cache.len_of(|namespace| ctx.owns(namespace)) }
}

/// How many entries there are of everything that is kept in memory of single objects. Whatever comes and goes, the
/// numbers are afterwards what they were before.
fn census(ctx: &Context) -> BTreeMap<&'static str, usize> {
    let mut entries = BTreeMap::from([
        ("config_maps", own(ctx, &ctx.config_maps)),
        ("queue", ctx.queue.keys()),
        ("prepared", ctx.ahead.len()),
    ]);
    entries.extend(ctx.index.census());
    entries.extend(ctx.hub.census());
    entries.extend(ctx.revisions.census());
    entries.extend(ctx.policies.census());
    entries.extend(ctx.analysis.census());
    entries.extend(ctx.actions.census());
    entries.extend(ctx.nudger.census());
    entries.extend(ctx.channels.census());
    entries.extend(ctx.plans.census());
    entries.extend(ctx.changelogs.census());
    entries.extend(ctx.unannounced.census());
    // The process shows them, for all the shards that it leads.
    if ctx.is_home() {
        entries.insert("trigger_values", ctx.metrics.checks.values_shown());
    }
    entries
}

/// Keeps no ConfigMap in memory that nobody writes, nor anything of namespaces where nothing is.
fn tidy(ctx: &Context) {
    for key in ctx.config_maps.keys().into_iter().filter(|key| ctx.owns(&key.0)) {
        if ctx.config_maps.get(&key).is_some_and(|map| !writer::is_wanted(ctx, &map)) {
            ctx.config_maps.put_aside(&key);
        }
    }
    let keys = ctx.rollouts.keys().into_iter().chain(ctx.flag_sets.keys());
    let namespaces: HashSet<String> = keys.map(|key| key.0).collect();
    ctx.nudger.keep_namespaces(&namespaces);
}

/// Forgets a rollout that is gone, and has those looked at whom that concerns.
pub fn forget_rollout(ctx: &Shared, key: &ObjectKey) {
    ctx.queue.forget(&Key::Rollout(key.clone()));
    let waited_in_circles = ctx.index.in_circles_of(key);
    let playbook = ctx.index.playbook_of(key);
    let Some(gone) = ctx.index.remove(key) else { return };
    playbooks::rollout_changed(ctx, key);
    if let Some(playbook) = playbook {
        ctx.queue.push(Key::Playbook(playbook), Priority::Report);
    }
    for concerned in waited_in_circles.into_iter().filter(|concerned| concerned != key) {
        ctx.queue.push(Key::Rollout(concerned), Priority::Decide);
    }
    ctx.hub.forget(key, &gone.set);
    ctx.ahead.forget(key);
    ctx.unannounced.forget(key);
    analysis::forget(ctx, key);
    ctx.events.forget(key);
    ctx.channels.forget(key);
    ctx.actions.forget(key);
    ctx.revisions.forget_rollout(key);
    writer::left(ctx, &gone.set);
    // Who waits for the flag key hears that it is free, or held by an orphan now.
    let heirs = ctx.index.members(&gone.set).into_iter().filter(|heir| heir.flag == gone.flag);
    let heirs: Vec<ObjectKey> = heirs.map(|heir| heir.key).chain(ctx.index.sharing_keys(&gone)).collect();
    for heir in heirs {
        ctx.queue.push(Key::Rollout(heir), Priority::Decide);
    }
}

/// Every audience and guard that a status, a set or a file needs as far as the caches know, and the namespaces where
/// nobody can say so, because of a rollout that cannot be read.
fn pinned(ctx: &Context) -> Pinned {
    let mut pinned = pins::of_statuses(ctx);
    for key in ctx.cohort_sets.keys() {
        if let Some(set) = ctx.cohort_sets.readable(&key) {
            let audience = crate::plan::Audience::new(&key.1, &set.spec.cohorts);
            pinned.revisions.insert((key.0, audience.name));
        }
    }
    pinned.revisions.extend(ctx.hub.audiences_in_files());
    pinned
}

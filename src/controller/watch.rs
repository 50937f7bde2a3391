//! The watches: what changes brings the objects that it concerns into the queue.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::analysis;
use super::cache::{Cache, News, ObjectKey, key_of};
use super::cluster::Scope;
use super::context::{Context, Key, Shared};
use super::index::SetId;
use super::queue::Priority;
use super::revisions::ours;
use super::writer;
use crate::api::{CohortSet, FeatureRollout, FlagSet, MetricSource, MetricTemplate};

/// The kinds without which this program does not do all that it is there for.
pub const EXPECTED: [&str; 8] = [
    "CohortSet",
    "ConfigMap",
    "ControllerRevision",
    "FeatureRollout",
    "FlagSet",
    "MetricSource",
    "MetricTemplate",
    "RolloutAction",
];

/// Starts the watches of what decisions are made from; each of the returned receivers hears when its first list is complete.
pub fn start(ctx: &Shared) -> Vec<oneshot::Receiver<()>> {
    vec![
        spawn(ctx, Scope::of::<CohortSet>(None), |c| &c.cohort_sets, is_kept, cohort_set_event),
        spawn(ctx, Scope::of::<FlagSet>(None), |c| &c.flag_sets, is_kept, flag_set_event),
        spawn(ctx, Scope::of::<FeatureRollout>(None), |c| &c.rollouts, is_kept, rollout),
    ]
}

/// Starts the watch of the files. Anybody may put our label on any number of ConfigMaps of any size: kept are those that
/// somebody's file may be in, so it begins once it is known who may have one; the returned receiver hears when its first list is
/// complete.
pub fn start_files(ctx: &Shared) -> oneshot::Receiver<()> {
    let files = Scope::of::<ConfigMap>(None).labels(&ours());
    spawn(ctx, files, |c| &c.config_maps, writer::is_wanted, config_map)
}

/// Starts the watches that only checks need; each of the returned receivers hears when its first list is complete.
pub fn start_metrics(ctx: &Shared) -> Vec<oneshot::Receiver<()>> {
    let sources = Scope::of::<MetricSource>(Some(&ctx.namespace));
    let templates = Scope::of::<MetricTemplate>(None);
    vec![
        spawn(ctx, sources, |c| &c.metric_sources, is_kept, analysis::metric_source_event),
        spawn(ctx, templates, |c| &c.metric_templates, is_kept, analysis::metric_template_event),
    ]
}

fn spawn<K>(
    ctx: &Shared,
    scope: Scope,
    cache: fn(&Context) -> &Cache<K>,
    keeps: fn(&Context, &DeserializeGuard<K>) -> bool,
    changed: fn(&Shared, &ObjectKey, News),
) -> oneshot::Receiver<()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Send + Sync + 'static,
{
    let (listed, heard) = oneshot::channel();
    let mut listed = Some(listed);
    tokio::spawn(follow(ctx.clone(), scope, move |ctx, event| {
        let event = match event {
            Event::Apply(object) | Event::InitApply(object) if !keeps(ctx, &object) => {
                cache(ctx).pass_over(&object);
                return changed(ctx, &key_of(&object), News::Nothing);
            }
            event => event,
        };
        let (keys, done) = cache(ctx).event(event);
        for (key, news) in keys {
            changed(ctx, &key, news);
        }
        if done && let Some(listed) = listed.take() {
            // The receiver is gone only when the controller is.
            let _gone = listed.send(());
        }
    }));
    heard
}

/// Passes on everything that a watch tells, until the shutdown.
pub async fn follow<K>(
    ctx: Shared,
    scope: Scope,
    mut take: impl FnMut(&Shared, Event<DeserializeGuard<K>>) + Send,
) where
    K: Resource + DeserializeOwned + Send,
{
    let page = || ctx.queue.until_free();
    tokio::select! {
        () = ctx.cluster.follow(&scope, page, |event| take(&ctx, event)) => {}
        () = ctx.shutdown.cancelled() => {}
    }
}

/// Of most kinds every object is kept.
fn is_kept<K>(_: &Context, _: &DeserializeGuard<K>) -> bool {
    true
}

fn rollout(ctx: &Shared, key: &ObjectKey, news: News) {
    let rollout = ctx.rollouts.get(key);
    let rollout = rollout.as_ref().and_then(|rollout| rollout.0.as_ref().ok());
    let concerned = rollout.map(|rollout| ctx.index.apply(rollout)).unwrap_or_default();
    // A status is mostly our own, heard of before our write was answered: others' decisions go first.
    let priority = if news == News::Status { Priority::Report } else { Priority::Decide };
    ctx.queue.push(Key::Rollout(key.clone()), priority);
    for dependent in ctx.index.dependents(key).into_iter().chain(concerned) {
        ctx.queue.push(Key::Rollout(dependent), Priority::Decide);
    }
}

fn cohort_set_event(ctx: &Shared, key: &ObjectKey, news: News) {
    match news {
        News::Spec => cohort_set(ctx, key),
        News::Status | News::Nothing => ctx.queue.push(Key::CohortSet(key.clone()), Priority::Report),
    }
}

fn flag_set_event(ctx: &Shared, key: &ObjectKey, news: News) {
    match news {
        News::Spec => flag_set(ctx, key),
        News::Status | News::Nothing => ctx.queue.push(Key::FlagSet(key.clone()), Priority::Report),
    }
}

/// A CohortSet changed: it and everything that may be divided by it is looked at again.
pub fn cohort_set(ctx: &Shared, key: &ObjectKey) {
    ctx.queue.push(Key::CohortSet(key.clone()), Priority::Report);
    for rollout in ctx.rollouts.keys() {
        if rollout.0 == key.0 {
            ctx.queue.push(Key::Rollout(rollout), Priority::Decide);
        }
    }
}

/// A FlagSet changed: it and its rollouts are looked at again.
pub fn flag_set(ctx: &Shared, key: &ObjectKey) {
    ctx.queue.push(Key::FlagSet(key.clone()), Priority::Decide);
    let set = SetId { namespace: key.0.clone(), name: key.1.clone(), shared: true };
    for member in ctx.index.members(&set) {
        ctx.queue.push(Key::Rollout(member.key), Priority::Decide);
    }
}

/// A ConfigMap of ours changed, and not by this process: its cache would have known.
fn config_map(ctx: &Shared, key: &ObjectKey, _: News) {
    for set in ctx.hub.sets_of_config_map(key) {
        writer::poke(ctx, &set);
    }
}

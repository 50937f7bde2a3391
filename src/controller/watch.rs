//! The watches: what changes brings the objects that it concerns into the queue.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::analysis;
use super::cache::{Cache, Effect, News, Object, ObjectKey, key_of, version};
use super::changelog;
use super::context::{Context, Key, Shared};
use super::events;
use super::index::SetId;
use super::playbooks;
use super::policies;
use super::process::Process;
use super::queue::Priority;
use super::revisions::ours;
use super::writer;
use crate::api::{
    CohortSet, FeatureRollout, FlagSet, MetricSource, MetricTemplate, NotificationChannel, Playbook,
    RolloutPolicy,
};
use crate::clock;
use crate::cluster::Scope;
use crate::error::chain;
use crate::watchdog::{Name, What};
use Concerns::{All, AlsoHome, Own};

/// The kinds without which this program does not do all that it is there for, besides those that only a leader needs.
pub const EXPECTED: [&str; 10] = [
    "CohortSet",
    "ConfigMap",
    "FeatureRollout",
    "FlagSet",
    "MetricSource",
    "MetricTemplate",
    "NotificationChannel",
    "Playbook",
    "Namespace",
    "RolloutPolicy",
];

/// The kinds that only whoever leads has to know.
pub const EXPECTED_OF_LEADERS: [&str; 2] = ["ControllerRevision", "RolloutAction"];

/// Least time between two reads of objects of a kind that may have room again.
const SPACING: Duration = Duration::from_millis(200);
/// Longest time between two of them, while they fail.
const LONGEST_SPACING: Duration = Duration::from_secs(30);

/// Which terms hear of an object, where there are several shards.
#[derive(Clone, Copy)]
enum Concerns {
    /// That of its namespace.
    Own,
    /// Where it is in the operator's own namespace, all.
    All,
    /// That of its namespace, and the one with the operator's own namespace.
    AlsoHome,
}

/// Starts the watches of what decisions are made from; each of the returned receivers hears when its first list is complete.
pub fn start(process: &Arc<Process>) -> Vec<oneshot::Receiver<()>> {
    vec![
        spawn(process, Scope::of::<CohortSet>(None), Own, |c| &c.cohort_sets, is_kept, cohort_set_event),
        spawn(process, Scope::of::<FlagSet>(None), AlsoHome, |c| &c.flag_sets, is_kept, flag_set_event),
        spawn(process, Scope::of::<Playbook>(None), Own, |c| &c.playbooks, is_kept, playbooks::event),
        spawn(
            process,
            Scope::of::<RolloutPolicy>(None),
            All,
            |c| &c.rollout_policies,
            is_kept,
            policies::policy_event,
        ),
        spawn(
            process,
            Scope::of::<Namespace>(None),
            AlsoHome,
            |c| &c.namespaces,
            is_kept,
            policies::namespace_event,
        ),
        spawn(process, Scope::of::<FeatureRollout>(None), AlsoHome, |c| &c.rollouts, is_kept, rollout),
    ]
}

/// Starts the watch of the files. Anybody may put our label on any number of ConfigMaps of any size: kept are those that
/// somebody's file may be in, so it begins once it is known who may have one; the returned receiver hears when its first list is
/// complete.
pub fn start_files(process: &Arc<Process>) -> oneshot::Receiver<()> {
    let files = Scope::of::<ConfigMap>(None).labels(&ours());
    spawn(process, files, Own, |c| &c.config_maps, writer::is_wanted, config_map)
}

/// Starts the watches that only checks and messages need; each of the returned receivers hears when its first list is complete.
pub fn start_metrics(process: &Arc<Process>) -> Vec<oneshot::Receiver<()>> {
    let sources = Scope::of::<MetricSource>(Some(&process.options.namespace));
    let templates = Scope::of::<MetricTemplate>(None);
    let channels = Scope::of::<NotificationChannel>(Some(&process.options.namespace));
    vec![
        spawn(process, sources, All, |c| &c.metric_sources, is_kept, analysis::metric_source_event),
        spawn(process, templates, All, |c| &c.metric_templates, is_kept, analysis::metric_template_event),
        spawn(process, channels, Own, |c| &c.notification_channels, is_kept, |ctx, key, _| channel(ctx, key)),
    ]
}

fn spawn<K>(
    process: &Arc<Process>,
    scope: Scope,
    concerns: Concerns,
    cache: fn(&Context) -> &Arc<Cache<K>>,
    keeps: fn(&Context, &DeserializeGuard<K>) -> bool,
    changed: fn(&Shared, &ObjectKey, News),
) -> oneshot::Receiver<()>
where
    K: Object + Send + Sync + 'static,
{
    let (listed, heard) = oneshot::channel();
    // Taken by the first complete list, however often the watch is begun.
    let listed = Arc::new(Mutex::new(Some(listed)));
    let (process, cache) = (process.clone(), cache(&process.home()).clone());
    let name = Name::of_all(What::Watch, scope.kind());
    let kept = process.options.watchdog.clone();
    tokio::spawn(kept.keep(name, move || {
        let (process, cache, listed) = (process.clone(), cache.clone(), listed.clone());
        let scope = scope.clone();
        async move {
            let mut take = |event| {
                let (keys, done) = match event {
                    Event::Apply(object) | Event::InitApply(object)
                        if !keeps(&process.present_of(namespace_of(&key_of(&object))), &object) =>
                    {
                        cache.pass_over(&object);
                        (vec![(key_of(&object), News::Nothing)], false)
                    }
                    event => cache.event(event),
                };
                // In this order: a term that begins meanwhile finds in the cache what it is not told of.
                for (key, news) in keys {
                    for ctx in concerned(&process, concerns, namespace_of(&key)) {
                        changed(&ctx, &key, news);
                    }
                }
                if done && let Some(listed) = listed.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    // The receiver is gone only when the controller is.
                    let _gone = listed.send(());
                }
            };
            let page = async || process.until_free().await;
            let effects = effects(&process, &cache, concerns, changed);
            tokio::pin!(effects);
            loop {
                tokio::select! {
                    () = process.cluster.follow(&scope, page, &mut take) => {}
                    () = &mut effects => {}
                    () = process.shutdown().cancelled() => return,
                    () = cache.lists.asked() => {}
                }
            }
        }
    }));
    heard
}

/// Sees to the objects that others' coming and going leaves out or lets in, for ever.
async fn effects<K: Object>(
    process: &Arc<Process>,
    cache: &Cache<K>,
    concerns: Concerns,
    changed: fn(&Shared, &ObjectKey, News),
) {
    let mut spacing = SPACING;
    loop {
        let key = match cache.effect().await {
            Effect::Displaced(key) => key,
            Effect::Readmitted(key) => {
                // Whoever has objects come and go has one read a moment, and not one for each.
                clock::sleep(spacing).await;
                if !cache.is_beyond(&key) {
                    continue;
                }
                let before = cache.version_of(&key);
                let read = process.cluster.get::<K>(&key).await;
                spacing = if read.is_ok() { SPACING } else { (spacing * 2).min(LONGEST_SPACING) };
                match read {
                    Ok(Some(object)) => {
                        if !cache.apply(object) {
                            continue;
                        }
                        key
                    }
                    Ok(None) => {
                        cache.forget(&key, before);
                        continue;
                    }
                    Err(fault) => {
                        tracing::debug!(
                            "{} {}/{} could not be read: {}",
                            K::kind(&()),
                            key.0,
                            key.1,
                            chain(&fault)
                        );
                        cache.read_again(key);
                        continue;
                    }
                }
            }
        };
        for ctx in concerned(process, concerns, namespace_of(&key)) {
            changed(&ctx, &key, News::Spec);
        }
    }
}

/// Passes on everything that a watch tells of the term's namespaces, until the end of the term.
pub async fn follow<K>(
    ctx: Shared,
    scope: Scope,
    mut take: impl FnMut(&Shared, Event<DeserializeGuard<K>>) + Send,
) where
    K: Resource + DeserializeOwned + Send,
{
    let page = || ctx.queue.until_free();
    let take = |event: Event<DeserializeGuard<K>>| match &event {
        Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)
            if !ctx.owns(object.namespace().as_deref().unwrap_or_default()) => {}
        _ => take(&ctx, event),
    };
    tokio::select! {
        () = ctx.cluster.follow(&scope, page, take) => {}
        () = ctx.shutdown.cancelled() => {}
    }
}

/// The namespace that an object is in, or is.
fn namespace_of(key: &ObjectKey) -> &str {
    if key.0.is_empty() { &key.1 } else { &key.0 }
}

/// The terms that hear of an object in a namespace.
fn concerned(process: &Process, concerns: Concerns, namespace: &str) -> Vec<Shared> {
    let own = process.present_of(namespace);
    match concerns {
        Concerns::Own => vec![own],
        Concerns::All if namespace == process.options.namespace => process.present(),
        Concerns::All => vec![own],
        Concerns::AlsoHome if own.is_home() => vec![own],
        Concerns::AlsoHome => vec![own, process.home()],
    }
}

/// Of most kinds every object is kept.
fn is_kept<K>(_: &Context, _: &DeserializeGuard<K>) -> bool {
    true
}

/// Tells a rollout's neighbours of it as it is known, also where a newer version comes meanwhile; returns whom that concerns.
pub fn enter(ctx: &Context, key: &ObjectKey) -> BTreeSet<ObjectKey> {
    let (mut entered, mut concerned) = (0, BTreeSet::new());
    while let Some(stored) = ctx.rollouts.get(key)
        && let Ok(rollout) = &stored.0
        && entered < version(rollout)
    {
        concerned.extend(ctx.index.apply(rollout));
        if !ctx.is_listed() {
            policies::recall(ctx, rollout);
        }
        entered = version(rollout);
    }
    if ctx.rollouts.is_beyond(key) {
        ctx.index.let_wait_for_nobody(key);
    }
    concerned
}

fn rollout(ctx: &Shared, key: &ObjectKey, news: News) {
    if !ctx.owns(&key.0) {
        return others_rollout(ctx, key, news);
    }
    let concerned = enter(ctx, key);
    // A status is mostly our own, heard of before our write was answered: others' decisions go first.
    let priority = if news == News::Status { Priority::Report } else { Priority::Decide };
    ctx.queue.push(Key::Rollout(key.clone()), priority);
    for dependent in ctx.index.dependents(key).into_iter().chain(concerned) {
        ctx.queue.push(Key::Rollout(dependent), Priority::Decide);
    }
    playbooks::rollout_changed(ctx, key);
    changelog::rollout_changed(ctx, key);
    policies::rollout_changed(ctx, key);
}

/// A rollout of another shard changed: the channels tell of it, and the policies of the cluster count it.
fn others_rollout(ctx: &Shared, key: &ObjectKey, news: News) {
    if ctx.rollouts.get(key).is_none() {
        ctx.channels.forget(key);
    }
    events::hand_over(ctx, key);
    if news == News::Spec {
        policies::count_by_labels(ctx);
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
    for rollout in ctx.rollouts.keys_in(&key.0) {
        ctx.queue.push(Key::Rollout(rollout), Priority::Decide);
    }
}

/// A FlagSet changed: it and its rollouts are looked at again.
pub fn flag_set(ctx: &Shared, key: &ObjectKey) {
    // One that cannot be read only has to say so.
    let priority = if ctx.flag_sets.is_unreadable(key) { Priority::Report } else { Priority::Decide };
    ctx.queue.push(Key::FlagSet(key.clone()), priority);
    let set = SetId { namespace: key.0.clone(), name: key.1.clone(), shared: true };
    for member in ctx.index.members(&set) {
        ctx.queue.push(Key::Rollout(member.key), Priority::Decide);
    }
    policies::flag_set_changed(ctx, key);
}

/// A NotificationChannel changed, or is known from now on.
pub fn channel(ctx: &Shared, key: &ObjectKey) {
    let known = ctx.notification_channels.get(key);
    let channel = known.as_ref().and_then(|known| known.0.as_ref().ok());
    ctx.channels.follow(&key.1, channel);
    if known.is_some() && channel.is_none() {
        ctx.queue.push(Key::NotificationChannel(key.clone()), Priority::Report);
    }
}

/// A ConfigMap of ours changed, and not by this process: its cache would have known.
fn config_map(ctx: &Shared, key: &ObjectKey, _: News) {
    for set in ctx.hub.sets_of_config_map(key) {
        writer::poke(ctx, &set);
    }
    changelog::config_map_changed(ctx, key);
}

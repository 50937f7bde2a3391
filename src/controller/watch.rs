//! The watches: what changes brings the objects that it concerns into the queue.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::DeserializeGuard;
use kube::runtime::watcher;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::analysis;
use super::cache::{Cache, News, ObjectKey, version};
use super::context::{Context, Key, Shared};
use super::index::SetId;
use super::process::Process;
use super::queue::Priority;
use super::revisions::{MANAGED_BY, MANAGER};
use super::writer;
use crate::api::{CohortSet, FeatureRollout, FlagSet, MetricSource, MetricTemplate};
use crate::clock;

/// The wait before a broken watch is tried again the first time; it doubles with each.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// Longest wait before a broken watch is tried again: an API server that is back must be noticed soon.
const LONGEST_RETRY: Duration = Duration::from_secs(3);
/// Objects in one answer to a list, which is as much as an action may have to wait for.
const PAGE: u32 = 100;

/// Starts every watch; each of the returned receivers hears when its first list is complete.
pub fn start(process: &Arc<Process>) -> Vec<oneshot::Receiver<()>> {
    let client = process.present().client.clone();
    let all = watcher::Config::default().page_size(PAGE);
    let ours = all.clone().labels(&format!("{MANAGED_BY}={MANAGER}"));
    vec![
        spawn(
            process,
            Api::<DeserializeGuard<CohortSet>>::all(client.clone()),
            all.clone(),
            |c| &c.cohort_sets,
            cohort_set_event,
        ),
        spawn(
            process,
            Api::<DeserializeGuard<FlagSet>>::all(client.clone()),
            all.clone(),
            |c| &c.flag_sets,
            flag_set_event,
        ),
        spawn(
            process,
            Api::<DeserializeGuard<ConfigMap>>::all(client.clone()),
            ours,
            |c| &c.config_maps,
            config_map,
        ),
        spawn(
            process,
            Api::<DeserializeGuard<FeatureRollout>>::all(client.clone()),
            all,
            |c| &c.rollouts,
            rollout,
        ),
    ]
}

/// Starts the watches that only checks need; each of the returned receivers hears when its first list is complete.
pub fn start_metrics(process: &Arc<Process>) -> Vec<oneshot::Receiver<()>> {
    let (client, namespace) = (process.present().client.clone(), &process.options.namespace);
    let all = watcher::Config::default();
    vec![
        spawn(
            process,
            Api::<DeserializeGuard<MetricSource>>::namespaced(client.clone(), namespace),
            all.clone(),
            |c| &c.metric_sources,
            analysis::metric_source_event,
        ),
        spawn(
            process,
            Api::<DeserializeGuard<MetricTemplate>>::all(client.clone()),
            all,
            |c| &c.metric_templates,
            analysis::metric_template_event,
        ),
    ]
}

fn spawn<K>(
    process: &Arc<Process>,
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    cache: fn(&Context) -> &Arc<Cache<K>>,
    changed: fn(&Shared, &ObjectKey, News),
) -> oneshot::Receiver<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (listed, heard) = oneshot::channel();
    let mut listed = Some(listed);
    let (process, cache) = (process.clone(), cache(&process.present()).clone());
    tokio::spawn(async move {
        let mut take = |event| {
            let (keys, done) = cache.event(event);
            // In this order: a term that begins meanwhile finds in the cache what it is not told of.
            let ctx = process.present();
            for (key, news) in keys {
                changed(&ctx, &key, news);
            }
            if done && let Some(listed) = listed.take() {
                // The receiver is gone only when the controller is.
                let _gone = listed.send(());
            }
        };
        loop {
            let events = watcher::watcher(api.clone(), config.clone()).then(async |event| {
                // The next page is asked for when these have been taken.
                if matches!(event, Ok(watcher::Event::Init | watcher::Event::InitApply(_))) {
                    process.present().queue.until_free().await;
                }
                event
            });
            tokio::select! {
                () = follow(process.shutdown(), events, &mut take) => return,
                () = cache.lists.asked() => {}
            }
        }
    });
    heard
}

/// Passes on every event of a watch, which is tried again when it breaks, until `ended`.
pub async fn follow<K>(
    ended: &CancellationToken,
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    mut take: impl FnMut(watcher::Event<K>),
) where
    K: Resource<DynamicType = ()>,
{
    let mut wait = FIRST_RETRY;
    let mut events = std::pin::pin!(events);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = ended.cancelled() => return,
        };
        match event {
            Some(Ok(event)) => {
                wait = FIRST_RETRY;
                take(event);
            }
            Some(Err(error)) => {
                note_break(&K::kind(&()), &error, wait);
                clock::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_RETRY);
            }
            None => return,
        }
    }
}

/// Logs a watch that broke. A connection that ended once, a watch that has only grown old, and an API server that is starting
/// are everyday matters.
pub fn note_break(kind: &str, error: &watcher::Error, wait: Duration) {
    let why = crate::error::chain(error);
    let wait_ms = wait.as_millis();
    if wait == FIRST_RETRY || (is_ordinary(error) && wait < LONGEST_RETRY) {
        tracing::debug!("the watch of kind {kind} broke: {why}; it is begun again in {wait_ms} ms");
    } else {
        tracing::warn!(
            "the watch of kind {kind} broke: {why}; it is begun again in {wait_ms} ms, and what is known stays in force"
        );
    }
}

/// Whether a watch breaks so now and then where all is well: a server that is starting or has much to do asks to be asked
/// again (429), and a watch that is older than what the server remembers begins anew (410).
fn is_ordinary(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code,
        _ => 0,
    };
    [410, 429].contains(&code)
}

/// Tells a rollout's neighbours of it as it is known, also where a newer version comes meanwhile; returns whom that concerns.
pub fn enter(ctx: &Context, key: &ObjectKey) -> BTreeSet<ObjectKey> {
    let (mut entered, mut concerned) = (0, BTreeSet::new());
    while let Some(stored) = ctx.rollouts.get(key)
        && let Ok(rollout) = &stored.0
        && entered < version(rollout)
    {
        concerned.extend(ctx.index.apply(rollout));
        entered = version(rollout);
    }
    concerned
}

fn rollout(ctx: &Shared, key: &ObjectKey, news: News) {
    let concerned = enter(ctx, key);
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
    if ctx.is_listed() && !writer::is_in_use(ctx, key) {
        ctx.config_maps.put_aside(key);
    }
}

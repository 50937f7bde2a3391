//! What happened, as Kubernetes events: history entries, one event each, but for a beginning with its first step, which
//! is one; and warnings that no status can hold.
//!
//! Publishing is best effort and has a queue and calls of its own: nothing that decides, and no worker of decisions,
//! waits for an event. Only the report of a rollout, its last status write of a step, lets its events go first while
//! they go through, so that this write can say that they are published, and for no longer than two seconds. Where they
//! fail or are late the report does not wait, and `publishedSeq` follows with the next write after they have gone through.
//!
//! An event is named by UID and number of its entry, so that a repeat is refused and no second event: what a crash
//! left unpublished is handed over again at the start, by the first reconcile of its rollout.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Resource, ResourceExt};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::cache::ObjectKey;
use super::channels::News;
use super::context::{Context, Key, Shared};
use super::queue::Priority;
use super::reconcile::delivered;
use crate::api::conditions::{is_true, types};
use crate::api::{FeatureRollout, FeatureRolloutStatus, Reason};
use crate::clock;
use crate::error::{Fault, call, chain};
use crate::flags::sha256_hex;
use crate::telemetry::Dropped;
use crate::watchdog::What;
use entries::to_tell;
use left_out::LeftOut;
pub use pace::run;
use pending::{Entry, Notice, Outcome, Pending, Regarding};

mod entries;
mod left_out;
mod object;
mod pace;
mod pending;

/// After how long reports do not wait any more for an event that gets no answer.
const SLOW: Duration = Duration::from_secs(1);
/// How long no second event of a namespace that will never be published is logged as a warning.
const WARNED: Duration = Duration::from_secs(600);

/// The events that are to be published, and what is known of those that were.
#[derive(Default)]
pub struct Events {
    inner: Mutex<Inner>,
    /// Rings when another event may be there to be tried.
    changed: Notify,
    /// Rings when a report begins to wait.
    asked: Notify,
}

#[derive(Default)]
struct Inner {
    pending: Pending,
    /// The last entry of each rollout that needs no other try, until its status says so.
    published: HashMap<ObjectKey, (String, Entry)>,
    /// Rollouts whose entries found no room, by namespace.
    left_out: LeftOut,
    /// When a lost event of a namespace was last logged as a warning.
    warned: HashMap<String, std::time::Instant>,
}

impl Inner {
    fn published_seq(&self, key: &ObjectKey, uid: &str, status: &FeatureRolloutStatus) -> i64 {
        let known = self.published.get(key).filter(|(of, _)| of == uid);
        let is_entry =
            |entry: &Entry| status.history.iter().any(|known| known.seq == entry.seq && known.at == entry.at);
        let since =
            known.map(|(_, entry)| entry).filter(|entry| is_entry(entry)).map_or(0, |entry| entry.seq);
        status.published_seq.max(since)
    }
}

impl Events {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last entry of a rollout's history that needs no other try, by its status and by what has been published since.
    ///
    /// `status` is as it is stored: what it says itself need not be remembered any more.
    pub fn published_seq(&self, key: &ObjectKey, uid: &str, status: &FeatureRolloutStatus) -> i64 {
        let mut inner = self.lock();
        let published = inner.published_seq(key, uid, status);
        if published == status.published_seq {
            inner.published.remove(key);
        }
        published
    }

    /// Whether the report of a rollout waits for its events, which bring the rollout back when they have been tried.
    pub fn is_awaited(&self, key: &ObjectKey) -> bool {
        self.lock().pending.is_awaited(&kind(), key, clock::monotonic())
    }

    /// Forgets a rollout that is gone.
    pub fn forget(&self, key: &ObjectKey) {
        let mut inner = self.lock();
        inner.published.remove(key);
        inner.left_out.forget(key);
        inner.pending.forget(&kind(), key);
    }

    /// How many events wait.
    pub fn waiting(&self) -> usize {
        self.lock().pending.len()
    }
}

/// Takes in events. Those of histories that find no room, or make room for others, are handed over again later.
fn add(ctx: &Context, notices: Vec<Notice>) {
    let entries =
        notices.first().filter(|notice| notice.entry.is_some()).map(|notice| notice.about.key.clone());
    let released: Vec<ObjectKey> = {
        let mut inner = ctx.events.lock();
        let added = inner.pending.add(notices, clock::monotonic());
        if let Some((why, count)) = added.left_out {
            ctx.metrics.events_dropped(why, count);
            if let Some(key) = entries {
                inner.left_out.add(key);
            }
        }
        let gave_way = added.gave_way.into_iter();
        gave_way
            .filter_map(|gave_way| {
                ctx.metrics.events_dropped(Dropped::Full, 1);
                if gave_way.is_entry {
                    inner.left_out.add(gave_way.key.clone());
                }
                gave_way.was_awaited.then_some(gave_way.key)
            })
            .collect()
    };
    ctx.events.changed.notify_one();
    report(ctx, released);
}

/// Hands over the entries of a persisted status that have no event yet.
///
/// The file is known to hold `delivered_revision`. An entry of a later one is told as not delivered, or waits until the file
/// holds it where that is `under_way`.
pub fn submit(
    ctx: &Context,
    rollout: &ObjectMeta,
    status: &FeatureRolloutStatus,
    delivered_revision: i64,
    under_way: bool,
) {
    let key = (rollout.namespace.clone().unwrap_or_default(), rollout.name.clone().unwrap_or_default());
    let uid = rollout.uid.clone().unwrap_or_default();
    let stored = ctx.rollouts.get(&key);
    let spec = stored.as_ref().and_then(|stored| Some(&stored.0.as_ref().ok()?.spec));
    ctx.channels.hear(News { rollout, spec, status, delivered_revision, under_way });
    let published = ctx.events.lock().published_seq(&key, &uid, status);
    if published >= status.last_seq() {
        return;
    }
    let about = Arc::new(Regarding { kind: kind(), key: key.clone(), uid });
    let told = to_tell(status, published, delivered_revision, under_way);
    let notices = told.into_iter().map(|told| {
        let at = told.entry.at;
        Notice {
            about: about.clone(),
            // The instant keeps it apart from an entry of the same number before the status was lost.
            number: format!("{}.{:x}", told.entry.seq, at.as_microsecond()),
            entry: Some(Entry { seq: told.entry.seq, at }),
            reason: told.entry.reason,
            message: told.message,
            at,
        }
    });
    add(ctx, notices.collect());
}

/// Hands a rollout's stored history over to the channels alone: they are known only now, or it is another shard's.
pub fn hand_over(ctx: &Context, key: &ObjectKey) {
    if let Some(Ok(rollout)) = ctx.rollouts.get(key).as_ref().map(|stored| &stored.0)
        && let Some(status) = rollout.status.as_ref().filter(|status| status.uid == rollout.uid())
    {
        let (rollout, spec) = (rollout.meta(), Some(&rollout.spec));
        // Of another shard's nobody here knows more than its status tells.
        let under_way = ctx.owns(&key.0) || !is_true(&status.conditions, types::STALLED);
        let delivered_revision = status.delivered_revision;
        ctx.channels.hear(News { rollout, spec, status, delivered_revision, under_way });
    }
}

/// Has a rollout whose file has been written report that: when its events have been tried, if that is soon, or now.
pub fn then_report(ctx: &Context, key: &ObjectKey) {
    let stored = ctx.rollouts.get(key);
    if let Some(Ok(rollout)) = stored.as_ref().map(|stored| &stored.0)
        && let Some(status) = rollout.status.as_ref().filter(|status| status.uid == rollout.uid())
    {
        // The status that says so is still to be written.
        let ack = ctx.hub.ack(key, &rollout.uid().unwrap_or_default());
        let under_way = !ack.as_ref().is_some_and(|ack| ack.needs_somebody());
        submit(ctx, rollout.meta(), status, delivered(status, ack.as_ref()), under_way);
        if ctx.events.lock().pending.await_report(&kind(), key, clock::monotonic()) {
            ctx.events.asked.notify_one();
            return;
        }
    }
    ctx.queue.push(Key::Rollout(key.clone()), Priority::Report);
}

/// Says by an event what cannot be said in status: the API server refuses any write to an object whose spec breaks
/// its present rules. Once for each generation: a repeat is refused.
pub fn complain(ctx: &Context, rollout: &ObjectMeta, reason: Reason, message: &str) {
    let number = format!("stalled.{}", rollout.generation.unwrap_or(0));
    let (namespace, name) = (rollout.namespace.as_deref(), rollout.name.as_deref());
    tracing::warn!(
        namespace,
        name,
        "the rollout is stalled, and its status cannot say so as the API server refuses any write to it: {message}"
    );
    say(ctx, &kind(), rollout, number, reason, message);
}

/// Warns by an event of one of our objects. Once for each message: a repeat is refused.
pub fn warn(ctx: &Context, kind: &str, object: &ObjectMeta, reason: Reason, message: &str) {
    let digest: String = sha256_hex(message.as_bytes()).chars().take(8).collect();
    let number = format!("{}.{digest}", reason.as_str().to_lowercase());
    tracing::warn!(namespace = object.namespace, kind, name = object.name, "{message}");
    say(ctx, kind, object, number, reason, message);
}

/// Tells of a change of one of our objects that has no history. Once for each generation: a repeat is refused.
pub fn tell(ctx: &Context, kind: &str, object: &ObjectMeta, reason: Reason, message: &str) {
    let number = format!("{}.{}", reason.as_str().to_lowercase(), object.generation.unwrap_or(0));
    let (namespace, name) = (object.namespace.as_deref(), object.name.as_deref());
    tracing::info!(namespace, kind, name, "{message}");
    say(ctx, kind, object, number, reason, message);
}

fn say(ctx: &Context, kind: &str, object: &ObjectMeta, number: String, reason: Reason, message: &str) {
    let about = Regarding {
        kind: kind.to_owned(),
        key: (object.namespace.clone().unwrap_or_default(), object.name.clone().unwrap_or_default()),
        uid: object.uid.clone().unwrap_or_default(),
    };
    let (message, at) = (message.to_owned(), ctx.clock.now());
    // Where there is no room, the log has it.
    add(ctx, vec![Notice { about: Arc::new(about), number, entry: None, reason, message, at }]);
}

fn kind() -> String {
    FeatureRollout::kind(&()).into_owned()
}

/// Tries to publish an event. Where that ends by a fault of this program, it is as if it had failed: its object's next events
/// would wait for it for ever.
async fn attempt(ctx: Shared, notice: Notice, place: Option<OwnedSemaphorePermit>) {
    let trying = publish(ctx.clone(), notice.clone(), place);
    if AssertUnwindSafe(trying).catch_unwind().await.is_err() {
        ctx.watchdog.note_fault(What::Event);
        settle(&ctx, &notice, Outcome::Failed, None);
    }
}

/// Tries to publish an event, and sees to what follows.
async fn publish(ctx: Shared, notice: Notice, _place: Option<OwnedSemaphorePermit>) {
    let event = object::event(&ctx.clock, &ctx.instance, &notice);
    let api: Api<Event> = Api::namespaced(ctx.client.clone(), &notice.about.key.0);
    let params = PostParams::default();
    let mut create = std::pin::pin!(call(api.create(&params, &event)));
    let answer = tokio::select! {
        answer = &mut create => answer,
        () = clock::sleep(SLOW) => {
            release(&ctx, &notice.about.key.0);
            create.await
        }
    };
    let fault = match answer {
        // What a namespace that is being deleted would say, nobody reads.
        Ok(_) | Err(Fault::AlreadyExists(_) | Fault::NamespaceTerminating(_)) => {
            return settle(&ctx, &notice, Outcome::Done, None);
        }
        Err(fault) => fault,
    };
    let outcome = if fault.is_transient() { Outcome::Failed } else { Outcome::Done };
    settle(&ctx, &notice, outcome, Some(&fault));
}

fn settle(ctx: &Context, notice: &Notice, outcome: Outcome, fault: Option<&Fault>) {
    let key = &notice.about.key;
    let now = clock::monotonic();
    // Of one that is gone nobody asks any more what was published.
    let lives = ctx.rollouts.get(key).is_some();
    let (after, is_warning, left_out) = {
        let mut inner = ctx.events.lock();
        let after = inner.pending.settle(notice, outcome, now);
        let asked = fault.map_or(Duration::ZERO, Fault::asks_to_wait);
        if !asked.is_zero() {
            inner.pending.hold_back(&key.0, now + asked);
        }
        if let (Outcome::Done, Some(entry)) = (outcome, notice.entry)
            && lives
        {
            inner.published.insert(key.clone(), (notice.about.uid.clone(), entry));
        }
        let is_lost = outcome == Outcome::Done && fault.is_some();
        inner.warned.retain(|_, at| now.duration_since(*at) < WARNED);
        let is_warning = is_lost && inner.warned.insert(key.0.clone(), now).is_none();
        if is_lost {
            ctx.metrics.events_dropped(Dropped::Refused, 1);
        }
        let Inner { pending, left_out, .. } = &mut *inner;
        (after, is_warning, left_out.take(|namespace| pending.has_room_for(namespace)))
    };
    ctx.events.changed.notify_one();
    let what = format!("the event {} of {} {}/{}", notice.reason, notice.about.kind, key.0, key.1);
    match (outcome, fault) {
        (Outcome::Failed, Some(fault)) if after.has_turned => tracing::warn!(
            "{what} could not be published: {}; the events of the namespace are tried again, and nothing else waits for them",
            chain(fault)
        ),
        (Outcome::Failed, fault) => tracing::debug!(
            "{what} could not be published: {}; it is tried again in {} ms",
            fault.map(|fault| chain(fault)).unwrap_or_default(),
            after.wait.unwrap_or_default().as_millis()
        ),
        (Outcome::Done, Some(fault)) if is_warning => tracing::warn!(
            "{what} is not published: {}; the history in the rollout's status has it all the same",
            chain(fault)
        ),
        (Outcome::Done, Some(fault)) => tracing::debug!("{what} is not published: {}", chain(fault)),
        (Outcome::Done, None) if after.has_turned => {
            tracing::info!("events of the namespace {} are published again", key.0);
        }
        (Outcome::Done, None) => {}
    }
    if outcome == Outcome::Failed {
        release(ctx, &key.0);
    } else if after.is_empty && (notice.entry.is_some() || after.was_awaited) {
        ctx.queue.push(Key::Rollout(key.clone()), Priority::Report);
    }
    report(ctx, left_out);
}

/// Has the rollouts of a namespace report without waiting for their events.
fn release(ctx: &Context, namespace: &str) {
    let released = ctx.events.lock().pending.release(namespace);
    report(ctx, released);
}

/// Has rollouts report now.
fn report(ctx: &Context, rollouts: Vec<ObjectKey>) {
    for key in rollouts {
        ctx.queue.push(Key::Rollout(key), Priority::Report);
    }
}

//! Tells people what happens to rollouts, beside everything that decides: nothing waits for a message.
//!
//! What was persisted and is to be published as an event is handed over here too ([`Channels::hear`]); each channel that wants
//! it takes it into its outbox, which is the status of the NotificationChannel. One task of the channel writes that, another
//! sends, so that neither a dead receiver nor another channel keeps it from being written.
//!
//! After a start every rollout's history is looked through once: what the outboxes do not know yet is taken in. So a crash
//! loses nothing, and repeats at most the few messages of which it was not written yet that they were sent.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::leader::Gate;
use crate::api::notificationchannel::{OutboxEntry, Subject};
use crate::api::status::HistoryEntry;
use crate::api::{FeatureRollout, FeatureRolloutSpec, FeatureRolloutStatus, MicroTime, NotificationChannel};
use crate::clock::{self, Clock};
use crate::cluster::Cluster;
use crate::notify::{text, words};
use crate::watchdog::{Name, Watchdog, What};
use line::Line;

pub use digests::Known;

mod digests;
mod keep;
mod line;
mod report;
mod tell;

/// Real time that may pass from a decision to the write of its status, and by how much the clocks of two processes may differ:
/// what was decided longer ago than this has been heard of.
const SLACK: Duration = Duration::from_secs(60);
/// After how much time of the schedule's clock it is written that nothing was told.
const A_WHILE: SignedDuration = SignedDuration::from_hours(1);
/// Most bytes of what a message says of its rollout in one place.
const LONGEST: usize = 240;

type Key = (String, String);

/// The rollouts that a digest speaks of, of all that are known.
pub type Rollouts = Arc<dyn Fn(&dyn Fn(&FeatureRollout) -> bool) -> Vec<Known> + Send + Sync>;

/// The channels.
pub struct Channels {
    cluster: Arc<Cluster>,
    clock: Clock,
    gate: Gate,
    namespace: String,
    api_server: Vec<SocketAddr>,
    rollouts: Rollouts,
    watchdog: Watchdog,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Whether the channels are known: nothing is heard of before.
    is_open: bool,
    lines: HashMap<String, Arc<Line>>,
    /// One a channel; those that have ended are reaped when the next one begins.
    tasks: JoinSet<()>,
    /// What was heard last of each rollout: its UID, the number of its last entry, and when that was decided.
    heard: HashMap<Key, (String, i64, MicroTime)>,
}

/// A rollout whose history may have something new.
#[derive(Clone, Copy)]
pub struct News<'a> {
    /// The rollout.
    pub rollout: &'a ObjectMeta,
    /// Its spec, where it is known.
    pub spec: Option<&'a FeatureRolloutSpec>,
    /// Its status as it is stored.
    pub status: &'a FeatureRolloutStatus,
    /// The revision that the file is known to hold.
    pub delivered_revision: i64,
    /// Whether the file is about to hold a later one: what that brings is told then.
    pub under_way: bool,
}

impl Channels {
    /// Channels of the operator's namespace that nobody has told of yet. They send while the gate is open.
    pub fn new(
        cluster: Arc<Cluster>,
        clock: Clock,
        gate: Gate,
        namespace: String,
        api_server: Vec<SocketAddr>,
        rollouts: Rollouts,
        watchdog: Watchdog,
    ) -> Channels {
        Channels { cluster, clock, gate, namespace, api_server, rollouts, watchdog, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that every channel has been told of. What the rollouts' histories have is to be handed over from now on.
    pub fn open(&self) {
        self.lock().is_open = true;
    }

    /// Takes in a channel as it is now; nothing where it is gone, or cannot be read.
    pub fn follow(self: &Arc<Channels>, name: &str, channel: Option<&NotificationChannel>) {
        if self.gate.is_closed() {
            return;
        }
        let mut inner = self.lock();
        while inner.tasks.try_join_next().is_some() {}
        let known = inner.lines.get(name).cloned();
        let uid = channel.and_then(ResourceExt::uid).unwrap_or_default();
        if let (Some(line), Some(channel)) = (&known, channel)
            && line.uid == uid
        {
            line.follow(channel);
            return;
        }
        if let Some(line) = known {
            line.ended.cancel();
            inner.lines.remove(name);
        }
        if let Some(channel) = channel.filter(|channel| channel.metadata.deletion_timestamp.is_none()) {
            let line = Arc::new(Line::new(channel, self.clock.now(), self.ended().child_token()));
            inner.lines.insert(name.to_owned(), line.clone());
            let name = Name::of_object(What::Channel, name);
            let channels = self.clone();
            inner.tasks.spawn(self.watchdog.keep(name, move || run(channels.clone(), line.clone())));
        }
    }

    /// Lets what is being sent end, and writes for the last time, once the term is to end.
    pub async fn drained(&self) {
        self.ended().cancelled().await;
        let mut tasks = std::mem::take(&mut self.lock().tasks);
        while tasks.join_next().await.is_some() {}
    }

    fn ended(&self) -> &CancellationToken {
        self.gate.ends()
    }

    /// Hears of a rollout's history as it is stored.
    pub fn hear(&self, news: News<'_>) {
        let mut inner = self.lock();
        if !inner.is_open || inner.lines.is_empty() {
            return;
        }
        let key = (
            news.rollout.namespace.clone().unwrap_or_default(),
            news.rollout.name.clone().unwrap_or_default(),
        );
        let uid = news.rollout.uid.clone().unwrap_or_default();
        let heard = inner.heard.get(&key).filter(|(of, ..)| *of == uid).map(|(_, seq, at)| (*seq, *at));
        let is_later = |entry: &&HistoryEntry| heard.is_none_or(|(seq, at)| entry.seq > seq || entry.at > at);
        let waits = |entry: &&HistoryEntry| entry.waits_for_file(news.delivered_revision, news.under_way);
        let later = news.status.history.iter().filter(is_later);
        let fresh: Vec<&HistoryEntry> = later.take_while(|entry| !waits(entry)).collect();
        let Some(last) = fresh.last() else { return };
        inner.heard.insert(key, (uid, last.seq, last.at));
        let lines: Vec<Arc<Line>> = inner.lines.values().cloned().collect();
        drop(inner);
        let labels: BTreeMap<String, String> = news.rollout.labels.clone().unwrap_or_default();
        for entry in fresh {
            let is_new = |line: &&Arc<Line>| heard.is_some() || entry.at > line.told_until;
            let concerned: Vec<&Arc<Line>> = lines.iter().filter(is_new).collect();
            if concerned.is_empty() {
                continue;
            }
            let entry = entry_of(&news, entry);
            for line in concerned {
                match line.wants(&self.namespace, &labels, &entry) {
                    true => line.hear(entry.clone(), heard.is_none()),
                    false => line.pass_over(entry.at, A_WHILE),
                }
            }
        }
    }

    /// Forgets a rollout that is gone.
    pub fn forget(&self, rollout: &Key) {
        self.lock().heard.remove(rollout);
    }

    /// How many entries there are of what is kept.
    pub fn census(&self) -> [(&'static str, usize); 2] {
        let inner = self.lock();
        [("rollouts_told_of", inner.heard.len()), ("channels", inner.lines.len())]
    }

    /// Up to when everything that was decided has been heard of.
    fn heard_until(&self) -> MicroTime {
        let now = self.clock.now();
        now.saturating_sub(self.clock.after(SLACK).duration_since(now))
    }
}

/// One channel, from the first read of its outbox to the last write.
async fn run(channels: Arc<Channels>, line: Arc<Line>) {
    let telling = async {
        tell::run(&channels, &line).await;
        line.is_over.cancel();
    };
    tokio::join!(keep::run(&channels, &line), telling);
}

/// The message of a history entry, as the rollout is now.
fn entry_of(news: &News<'_>, entry: &HistoryEntry) -> OutboxEntry {
    let status = news.status;
    let short = |text: &Option<String>| text.as_deref().map(|text| text::line(text, LONGEST));
    let feature = news.spec.and_then(|spec| spec.feature.as_ref());
    OutboxEntry {
        rollout: Subject {
            namespace: news.rollout.namespace.clone().unwrap_or_default(),
            name: news.rollout.name.clone().unwrap_or_default(),
            uid: news.rollout.uid.clone().unwrap_or_default(),
            attempt: status.attempt,
            title: feature.and_then(|feature| short(&feature.title)),
            owner: feature.and_then(|feature| short(&feature.owner)),
            phase: short(&status.phase),
            step: short(&status.step),
            exposure: short(&status.exposure),
            served: short(&status.served),
            is_rolled_back: status.rollback.as_ref().is_some_and(|rollback| rollback.verified_at.is_none()),
        },
        seq: entry.seq,
        at: entry.at,
        reason: entry.reason,
        severity: words::severity(entry),
        message: entry.told(news.delivered_revision),
        who: text::line(&entry.who, LONGEST),
        trigger: short(&entry.trigger),
        queued_at: clock::real_now(),
        attempts: 0,
        retry_at: None,
    }
}

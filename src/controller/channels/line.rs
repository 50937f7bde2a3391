//! One channel while this process leads: its object as known, its outbox, and what was heard before that was read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::report::{self, Trouble};
use crate::api::notificationchannel::{NotificationChannelSpec, NotificationChannelStatus, OutboxEntry};
use crate::api::{MicroTime, NotificationChannel};
use crate::notify::filter;
use crate::notify::outbox::Outbox;

/// Most of what is kept until the outbox is read.
const MOST_EARLY: usize = 4096;

/// A channel.
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its UID: another object of the name is another channel.
    pub uid: String,
    /// Up to when everything is known to have been told: of a rollout that nothing was heard of in this process yet, nothing
    /// of before then need be handed over.
    pub told_until: MicroTime,
    inner: Mutex<Inner>,
    /// Rings where there is something to be written.
    pub to_keep: Notify,
    /// Rings where there may be something to be sent.
    pub to_tell: Notify,
    /// Says that the channel is gone, or the term at its end: nothing more is sent.
    pub ended: CancellationToken,
    /// Says that nothing is being sent any more: what is to be written is so for the last time.
    pub is_over: CancellationToken,
}

struct Inner {
    metadata: ObjectMeta,
    spec: Arc<NotificationChannelSpec>,
    outbox: Option<Outbox>,
    early: VecDeque<(OutboxEntry, bool)>,
    trouble: Option<Trouble>,
    /// Whether anything is known of what the spec names.
    is_judged: bool,
}

impl Line {
    /// A channel whose outbox is not read yet.
    pub fn new(channel: &NotificationChannel, now: MicroTime, ended: CancellationToken) -> Line {
        // One that nobody has seen yet begins now. What is known only ever grows, so an older version says too little of it.
        let status = channel.status.as_ref();
        let since = status.and_then(|status| status.since);
        let told_until =
            since.map_or(now, |since| status.and_then(|s| s.heard_until).map_or(since, |h| h.max(since)));
        Line {
            name: channel.name_any(),
            uid: channel.uid().unwrap_or_default(),
            told_until,
            inner: Mutex::new(Inner {
                metadata: channel.metadata.clone(),
                spec: Arc::new(channel.spec.clone()),
                outbox: None,
                early: VecDeque::new(),
                trouble: None,
                is_judged: false,
            }),
            to_keep: Notify::new(),
            to_tell: Notify::new(),
            ended,
            is_over: CancellationToken::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a version of the object; a spec that is another one is tried at once.
    pub fn follow(&self, channel: &NotificationChannel) {
        let mut inner = self.lock();
        if version(&channel.metadata) <= version(&inner.metadata) {
            return;
        }
        let is_edit = channel.metadata.generation != inner.metadata.generation;
        inner.metadata = channel.metadata.clone();
        if !is_edit {
            return;
        }
        inner.spec = Arc::new(channel.spec.clone());
        inner.is_judged = false;
        if let Some(outbox) = &mut inner.outbox {
            outbox.retry_now();
        }
        drop(inner);
        self.to_keep.notify_one();
        self.to_tell.notify_one();
    }

    /// The outbox is read: what was heard meanwhile is taken in.
    pub fn begin(&self, status: NotificationChannelStatus, at: MicroTime) {
        let mut inner = self.lock();
        inner.outbox = Some(Outbox::load(status, at));
        let early = std::mem::take(&mut inner.early);
        for (entry, is_first) in early {
            inner.take_in(entry, is_first);
        }
        drop(inner);
        self.to_keep.notify_one();
        self.to_tell.notify_one();
    }

    /// Hears of something that is told here.
    pub fn hear(&self, entry: OutboxEntry, is_first: bool) {
        self.lock().take_in(entry, is_first);
        self.to_keep.notify_one();
        self.to_tell.notify_one();
    }

    /// Hears of something that is not.
    pub fn pass_over(&self, at: MicroTime, a_while: jiff::SignedDuration) {
        let mut inner = self.lock();
        let Some(outbox) = &mut inner.outbox else { return };
        outbox.pass_over(at, a_while);
        if outbox.is_dirty() {
            self.to_keep.notify_one();
        }
    }

    /// Does something with the outbox, where it is read, and has what that changes written.
    pub fn with<T>(&self, does: impl FnOnce(&mut Outbox) -> T) -> Option<T> {
        let mut inner = self.lock();
        let done = inner.outbox.as_mut().map(does);
        if inner.outbox.as_ref().is_some_and(Outbox::is_dirty) {
            self.to_keep.notify_one();
        }
        done
    }

    /// The spec and its generation.
    pub fn spec(&self) -> (Arc<NotificationChannelSpec>, i64) {
        let inner = self.lock();
        (inner.spec.clone(), inner.metadata.generation.unwrap_or(0))
    }

    /// Whether it tells of rollouts of a namespace with these labels.
    pub fn wants(
        &self,
        operator_namespace: &str,
        labels: &std::collections::BTreeMap<String, String>,
        entry: &OutboxEntry,
    ) -> bool {
        let spec = self.lock().spec.clone();
        filter::serves(&spec, operator_namespace, &entry.rollout.namespace)
            && filter::wants(&spec, labels, entry)
    }

    /// Notes whether the channel of a generation can be sent to; said where it is news.
    pub fn judge(&self, generation: i64, trouble: Option<Trouble>) {
        let mut inner = self.lock();
        if inner.metadata.generation.unwrap_or(0) != generation {
            return;
        }
        if inner.is_judged && inner.trouble == trouble {
            return;
        }
        (inner.is_judged, inner.trouble) = (true, trouble);
        if let Some(outbox) = &mut inner.outbox {
            outbox.changed();
        }
        drop(inner);
        self.to_keep.notify_one();
    }

    /// What is to be written, over which version, and a number to say that it was. Nothing where all is written, or not known
    /// yet.
    pub fn to_record(
        &self,
        heard_until: MicroTime,
        now: MicroTime,
    ) -> Option<(ObjectMeta, NotificationChannelStatus, u64)> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let outbox = inner.outbox.as_mut().filter(|outbox| outbox.is_dirty() && inner.is_judged)?;
        outbox.expire(now);
        outbox.hear_until(heard_until);
        let (mut status, number) = outbox.to_record();
        let generation = inner.metadata.generation.unwrap_or(0);
        status.observed_generation = generation;
        status.conditions = report::conditions(&status, inner.trouble.as_ref(), generation, now);
        Some((inner.metadata.clone(), status, number))
    }

    /// Takes note that it is written, and with which version.
    pub fn recorded(&self, number: u64, metadata: &ObjectMeta, status: &NotificationChannelStatus) {
        let mut inner = self.lock();
        if version(metadata) > version(&inner.metadata) {
            inner.metadata.resource_version.clone_from(&metadata.resource_version);
        }
        if let Some(outbox) = &mut inner.outbox {
            outbox.recorded(number, &status.conditions);
        }
        drop(inner);
        self.to_tell.notify_one();
    }
}

impl Inner {
    fn take_in(&mut self, entry: OutboxEntry, is_first: bool) {
        match &mut self.outbox {
            Some(outbox) if outbox.knows(&entry, is_first) => {}
            Some(outbox) => outbox.push(entry),
            None => {
                self.early.push_back((entry, is_first));
                if self.early.len() > MOST_EARLY {
                    self.early.pop_front();
                }
            }
        }
    }
}

fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

//! The writers of the files: one for each FlagSet and for each rollout without one.
//!
//! Reconciles hand over what they have persisted and go on; the writer's answer brings them back.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::cache::ObjectKey;
use super::context::{Context, Key, Shared};
use super::index::SetId;
use super::queue::Lane;
use crate::api::flagset::Orphan;
use crate::api::{FeatureRolloutStatus, Percent, Reason};
use crate::clock;
use crate::flags::{self, File, Fragment};
use crate::plan::{Audience, Feature};

mod actor;
mod config_map;
mod confirm;
mod feature_flag;
mod flush;
mod found;
mod next;
mod rebuild;
mod target;

pub use config_map::{live_flag, outputs};

/// What a rollout wants the file to hold: something that its status already says, or has announced.
#[derive(Clone)]
pub struct Offer {
    /// UID of the rollout.
    pub uid: String,
    /// Revision of the fragment.
    pub revision: i64,
    /// Whether the flag is to be in the file.
    pub kind: OfferKind,
    /// Whether it may not wait for others to come along.
    pub urgent: bool,
    /// The version of the rollout that announced it, if its status is still to be written.
    pub ahead_of: Option<String>,
    /// The flag, for the self-check.
    pub feature: Arc<Feature>,
    /// The pinned audience, for the self-check.
    pub audience: Arc<Audience>,
    /// The rendered flag.
    pub fragment: Arc<Fragment>,
    /// What the flag must say.
    pub status: Arc<FeatureRolloutStatus>,
}

impl Offer {
    /// What a status says, to be served; with the others, when their turn comes.
    pub fn serve(
        uid: String,
        feature: Feature,
        audience: Arc<Audience>,
        fragment: Fragment,
        status: Arc<FeatureRolloutStatus>,
    ) -> Offer {
        Offer {
            uid,
            revision: status.revision,
            kind: OfferKind::Serve,
            urgent: false,
            ahead_of: None,
            feature: Arc::new(feature),
            audience,
            fragment: Arc::new(fragment),
            status,
        }
    }

    /// Whether both ask for the same.
    fn is_same(&self, other: &Offer) -> bool {
        self.revision == other.revision
            && self.uid == other.uid
            && self.kind == other.kind
            && self.ahead_of == other.ahead_of
    }
}

/// Whether a flag is to be in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferKind {
    /// It is served.
    Serve,
    /// It leaves the file.
    Remove,
}

/// What a writer says of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// The file holds this revision.
    Delivered {
        /// The revision.
        revision: i64,
    },
    /// The flag is not in the file any more.
    Removed,
    /// The file will not hold this revision until somebody acts.
    Failed {
        /// The revision.
        revision: i64,
        /// Why, for programs.
        reason: Reason,
        /// Why, for people.
        message: String,
    },
    /// The file holds a newer revision, which the stored status knows nothing of.
    Newer {
        /// That revision.
        revision: i64,
    },
    /// The file could not be written; it is tried again.
    Retrying {
        /// Why.
        message: String,
    },
}

impl Ack {
    /// The revision that the file is known to hold, 0 when that is not known.
    pub fn delivered(&self) -> i64 {
        match self {
            Ack::Delivered { revision } => *revision,
            _ => 0,
        }
    }

    /// Whether it says that the file could not be written, for now or until somebody acts.
    pub fn is_failure(&self) -> bool {
        matches!(self, Ack::Failed { .. } | Ack::Retrying { .. })
    }
}

/// The percentage of each cohort of a flag.
pub type Percentages = Vec<(String, Percent)>;

/// What a FlagSet's status says of its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileReport {
    /// Digest of the bytes, hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: usize,
    /// Flags.
    pub flags: usize,
    /// Flags whose rollout is gone.
    pub orphans: Vec<Orphan>,
    /// What is wrong with the set itself or its ConfigMap.
    pub failure: Option<(Reason, String)>,
}

/// Every writer, and what they have said.
#[derive(Default)]
pub struct Hub(Mutex<Inner>, feature_flag::Known);

#[derive(Default)]
struct Inner {
    sets: HashMap<SetId, Arc<Mailbox>>,
    /// UID of the rollout, and what was said of it.
    acks: HashMap<ObjectKey, (String, Ack)>,
    /// UID of a rollout whose file does not hold what is wanted, and the percentages that were seen in it.
    seen: HashMap<ObjectKey, (String, Percentages)>,
    /// Since when a rollout waits to be delivered. Instants, not times of the schedule: how long the file takes has nothing to
    /// do with how fast the schedule's clock runs.
    waiting: HashMap<ObjectKey, Instant>,
    reports: HashMap<SetId, FileReport>,
    /// Which set writes a ConfigMap.
    config_maps: HashMap<ObjectKey, SetId>,
    /// What a ConfigMap was last written with.
    last_good: HashMap<ObjectKey, Arc<str>>,
    /// UID and generation that a FlagSet's writer was last told of, and when its status was last written.
    generations: HashMap<SetId, (String, i64)>,
    status_written: HashMap<SetId, Instant>,
}

/// What waits for one writer.
#[derive(Default)]
struct Mailbox {
    state: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    offers: BTreeMap<ObjectKey, Offer>,
    dirty: bool,
    urgent: bool,
}

impl Waiting {
    /// What is to be written now, if anything is. Nothing urgent waits for the looks that announced changes take: these
    /// come next.
    fn take(&mut self) -> Option<BTreeMap<ObjectKey, Offer>> {
        if !self.dirty {
            return None;
        }
        let urgent = std::mem::take(&mut self.urgent);
        let later = |offer: &Offer| urgent && offer.ahead_of.is_some();
        self.dirty = self.offers.values().any(later);
        let now = self.offers.iter().filter(|(_, offer)| !later(offer));
        Some(now.map(|(key, offer)| (key.clone(), offer.clone())).collect())
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn feature_flags(&self) -> &feature_flag::Known {
        &self.1
    }

    /// What was said last of a rollout with this UID.
    pub fn ack(&self, key: &ObjectKey, uid: &str) -> Option<Ack> {
        self.lock().acks.get(key).filter(|(of, _)| of == uid).map(|(_, ack)| ack.clone())
    }

    /// What a file gives that does not hold what a rollout with this UID wants of it, where that was seen.
    pub fn seen(&self, key: &ObjectKey, uid: &str) -> Option<Percentages> {
        self.lock().seen.get(key).filter(|(of, _)| of == uid).map(|(_, percentages)| percentages.clone())
    }

    /// For how long, in real time, a rollout has waited to be delivered; it waits from now on if it has not waited before.
    pub fn waits(&self, key: &ObjectKey) -> Duration {
        let mut inner = self.lock();
        inner.waiting.entry(key.clone()).or_insert_with(clock::monotonic).elapsed()
    }

    /// Says that nothing of a rollout waits to be delivered.
    pub fn settled(&self, key: &ObjectKey) {
        self.lock().waiting.remove(key);
    }

    /// Forgets a rollout that is gone.
    pub fn forget(&self, key: &ObjectKey) {
        let mut inner = self.lock();
        inner.acks.remove(key);
        inner.seen.remove(key);
        inner.waiting.remove(key);
        for mailbox in inner.sets.values() {
            mailbox.lock().offers.remove(key);
        }
    }

    /// What a FlagSet's status should say of its file.
    pub fn report(&self, set: &SetId) -> Option<FileReport> {
        self.lock().reports.get(set).cloned()
    }

    /// What a ConfigMap was last seen or written with, by this process.
    pub fn last_good(&self, config_map: &ObjectKey) -> Option<File> {
        let text = self.lock().last_good.get(config_map).cloned()?;
        flags::parse(&text).ok()
    }

    /// Whether this process has seen or written a ConfigMap.
    fn has_written(&self, config_map: &ObjectKey) -> bool {
        self.lock().last_good.contains_key(config_map)
    }

    /// As text: a file is needed again only when the ConfigMap is lost or edited, and takes many times the room.
    fn keep_last_good(&self, config_map: ObjectKey, text: &str) {
        self.lock().last_good.insert(config_map, text.into());
    }

    fn write_by(&self, config_map: &ObjectKey, set: &SetId) {
        let mut inner = self.lock();
        if inner.config_maps.get(config_map) != Some(set) {
            inner.config_maps.insert(config_map.clone(), set.clone());
        }
    }

    /// Notes that a FlagSet's writer is told of a generation; says whether that is news.
    pub fn tell_generation(&self, set: &SetId, uid: String, generation: i64) -> bool {
        let told = (uid, generation);
        self.lock().generations.insert(set.clone(), told.clone()) != Some(told)
    }

    /// How much of `spacing`, in real time, is left until a FlagSet's status may be written again; where nothing is, notes that it
    /// is written now.
    pub fn too_soon(&self, set: &SetId, spacing: Duration) -> Option<Duration> {
        let mut inner = self.lock();
        let left = inner.status_written.get(set).and_then(|last| spacing.checked_sub(last.elapsed()));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return Some(left);
        }
        inner.status_written.insert(set.clone(), clock::monotonic());
        None
    }

    /// The set that writes a ConfigMap, if one does.
    pub fn set_of_config_map(&self, key: &ObjectKey) -> Option<SetId> {
        self.lock().config_maps.get(key).cloned()
    }
}

/// Audiences that flags in the files are rendered from, those of orphans among them.
pub fn audiences_in_files(ctx: &Context) -> Vec<ObjectKey> {
    let config_maps: Vec<ObjectKey> = ctx.hub.lock().last_good.keys().cloned().collect();
    let files = config_maps.iter().filter_map(|key| Some((&key.0, ctx.hub.last_good(key)?)));
    files
        .flat_map(|(namespace, file)| {
            let live: Vec<ObjectKey> = file
                .members
                .keys()
                .filter_map(|key| file.live(key))
                .map(|live| (namespace.clone(), live.audience))
                .collect();
            live
        })
        .collect()
}

/// Hands what was persisted to the file's writer.
pub fn offer(ctx: &Shared, set: &SetId, key: &ObjectKey, mut offer: Offer) {
    // What the writer has confirmed and nobody has touched since needs no look.
    let known = ctx.hub.ack(key, &offer.uid);
    if offer.kind == OfferKind::Serve && known.as_ref().is_some_and(|ack| ack.delivered() == offer.revision) {
        return;
    }
    let mailbox = mailbox(ctx, set);
    let mut waiting = mailbox.lock();
    // A turn that was overtaken may hand over its older decision after the newer one.
    let outdated = |waits: &Offer| waits.uid == offer.uid && waits.revision > offer.revision;
    if offer.kind == OfferKind::Serve && waiting.offers.get(key).is_some_and(outdated) {
        return;
    }
    // What could not wait when it was decided on cannot wait when that is said again.
    offer.urgent |= waiting.offers.get(key).is_some_and(|waits| waits.is_same(&offer) && waits.urgent);
    let taken =
        waiting.offers.get(key).is_some_and(|waits| waits.is_same(&offer) && waits.urgent == offer.urgent);
    if taken && !matches!(known, Some(Ack::Failed { .. })) {
        // It waits already, or is being written: a second look at the file would find nothing to do.
        return;
    }
    waiting.urgent |= offer.urgent;
    waiting.dirty = true;
    waiting.offers.insert(key.clone(), offer);
    drop(waiting);
    mailbox.changed.notify_one();
}

/// Asks a writer to look at its file.
pub fn poke(ctx: &Shared, set: &SetId) {
    let mailbox = mailbox(ctx, set);
    mailbox.lock().dirty = true;
    mailbox.changed.notify_one();
}

/// The mailbox of a set's writer, which is started if it is not running.
fn mailbox(ctx: &Shared, set: &SetId) -> Arc<Mailbox> {
    let mut inner = ctx.hub.lock();
    if let Some(mailbox) = inner.sets.get(set) {
        return mailbox.clone();
    }
    let mailbox = Arc::new(Mailbox::default());
    inner.sets.insert(set.clone(), mailbox.clone());
    tokio::spawn(actor::run(ctx.clone(), set.clone(), mailbox.clone()));
    mailbox
}

/// Notes what was said of a rollout, and what was `seen` in a file that does not hold what it wants; it is brought back
/// when that is news.
fn say(ctx: &Shared, key: &ObjectKey, uid: &str, ack: Ack, seen: Option<Percentages>) {
    let said = (uid.to_owned(), ack);
    let before = {
        let mut inner = ctx.hub.lock();
        match (&said.1, seen) {
            (Ack::Delivered { .. } | Ack::Removed, _) => drop(inner.seen.remove(key)),
            (_, Some(percentages)) => drop(inner.seen.insert(key.clone(), (uid.to_owned(), percentages))),
            // What was seen last is still the best that is known.
            (_, None) => {}
        }
        inner.acks.insert(key.clone(), said.clone())
    };
    if before.as_ref() != Some(&said) {
        if let Ack::Delivered { .. } = said.1 {
            ctx.metrics.delivered();
        }
        ctx.queue.push(Key::Rollout(key.clone()), Lane::Publish);
    }
}

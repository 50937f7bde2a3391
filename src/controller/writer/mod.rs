//! The writers of the files: one for each FlagSet and for each rollout without one.
//!
//! Reconciles hand over what they have persisted and go on; the writer's answer brings them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cache::ObjectKey;
use super::context::{Context, Key, Shared};
use super::events;
use super::index::SetId;
use super::queue::Cause;
use crate::api::flagset::FileOutput;
use crate::api::{FeatureRolloutStatus, Percent, Reason};
use crate::flags::Fragment;
use crate::plan::{Audience, Feature};
use crate::watchdog::{Name, What};

mod actor;
mod config_map;
mod confirm;
mod feature_flag;
mod flush;
mod flushed;
mod found;
mod hub;
mod load;
mod mailbox;
mod names;
mod next;
mod orphans;
mod places;
mod put_off;
mod rebuild;
mod target;
mod versions;
mod waiting;
mod whereabouts;

pub use config_map::{is_wanted, outputs};
#[cfg(test)]
pub(super) use confirm::part;
#[cfg(test)]
pub(super) use found::{Found, Remembered, Witness, judge, mark};
pub use found::{OWNER, named};
pub use hub::Hub;
pub use load::Load;
use mailbox::Mailbox;
pub use names::OutputNames;
#[cfg(test)]
pub use next::not_at_control;
pub use orphans::{MOST_LISTED, Orphans};
pub use places::Places;
pub use target::live_flag;
pub use versions::Versions;
pub use whereabouts::{holds_flags, outputs_of_status, written};

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
    /// The rendered flag, and the pinned audience for the self-check.
    pub load: Load,
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
            load: Load::new(audience, fragment),
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
    /// Somebody else has changed the file or taken it away, so that it does not hold this revision, and it could not be put
    /// right; it is tried again.
    Lost {
        /// The revision.
        revision: i64,
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

    /// Whether it says that the file will not be written until somebody acts.
    pub fn needs_somebody(&self) -> bool {
        matches!(self, Ack::Failed { .. })
    }

    /// Whether it says that the file could not be written, for now or until somebody acts.
    pub fn is_failure(&self) -> bool {
        matches!(self, Ack::Failed { .. } | Ack::Retrying { .. } | Ack::Lost { .. })
    }

    /// Whether it says that the file does not hold a revision, which it may have held before.
    pub fn denies(&self, revision: i64) -> bool {
        matches!(self, Ack::Failed { revision: missing, .. } | Ack::Lost { revision: missing, .. } if *missing <= revision)
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
    pub orphans: Box<Orphans>,
    /// In an emergency how many flags still give something else than control to somebody, and the keys of a few; `None` where there is none.
    pub not_at_control: Option<Box<(usize, Vec<String>)>>,
    /// Where it was looked for, and whether it is there.
    pub outputs: BTreeMap<FileOutput, bool>,
    /// What is wrong with the set itself or its ConfigMap.
    pub failure: Option<(Reason, String)>,
}

/// Hands what was persisted to the file's writer.
pub fn offer(ctx: &Shared, set: &SetId, key: &ObjectKey, offer: Offer) {
    // What the writer has confirmed and nobody has touched since needs no look.
    let known = ctx.hub.ack(key, &offer.uid);
    if offer.kind == OfferKind::Serve && known.as_ref().is_some_and(|ack| ack.delivered() == offer.revision) {
        return;
    }
    let has_failed = matches!(known, Some(Ack::Failed { .. }));
    let mailbox = ctx.hub.mailbox(set);
    mailbox.put(key, offer, has_failed);
    begin_work(ctx, set, mailbox);
}

/// Asks a writer to look at its file.
pub fn poke(ctx: &Shared, set: &SetId) {
    let mailbox = ctx.hub.mailbox(set);
    mailbox.poke();
    begin_work(ctx, set, mailbox);
}

/// Has every file looked at.
pub fn poke_all(ctx: &Shared) {
    for (set, mailbox) in ctx.hub.mailboxes() {
        mailbox.poke();
        begin_work(ctx, &set, mailbox);
    }
}

/// Tells the writer of a FlagSet which generation of the set is to be in the file.
pub fn tell_generation(ctx: &Shared, set: &SetId, uid: String, generation: i64) {
    let mailbox = ctx.hub.mailbox(set);
    if ctx.hub.tell_generation(set, uid, generation) {
        mailbox.poke();
        begin_work(ctx, set, mailbox);
    }
}

/// Says that a rollout or the FlagSet of a file is gone. Where nobody has the file any more its writer ends, and nothing
/// of it is kept in memory; what is in the cluster stays as it is.
pub fn left(ctx: &Shared, set: &SetId) {
    match ctx.hub.end(set, || exists(ctx, set)) {
        None => poke(ctx, set),
        Some(outputs) => {
            ctx.nudger.forget(set);
            for output in outputs {
                ctx.config_maps.put_aside(&output);
            }
        }
    }
}

/// Whether anybody has a file.
fn exists(ctx: &Context, set: &SetId) -> bool {
    let flag_set = (set.namespace.clone(), set.name.clone());
    let may_exist = set.shared && (!ctx.is_listed() || ctx.flag_sets.get(&flag_set).is_some());
    may_exist || ctx.index.has_members(set)
}

/// Starts a set's writer, if there is something to do and it is not at work.
fn begin_work(ctx: &Shared, set: &SetId, mailbox: Arc<Mailbox>) {
    if !mailbox.begins_work() {
        return;
    }
    let name = Name::of_object(What::Writer, set.owner());
    tokio::spawn(ctx.watchdog.keep(name, {
        let (ctx, set) = (ctx.clone(), set.clone());
        move || {
            // What a fault has left undone is looked at.
            mailbox.lock().dirty = true;
            actor::run(ctx.clone(), set.clone(), mailbox.clone())
        }
    }));
}

/// Notes what was said of a rollout, and what was `seen` in a file that does not hold what it wants; it is brought back
/// when that is news.
fn say(ctx: &Shared, key: &ObjectKey, uid: &str, ack: Ack, seen: Option<Percentages>) {
    let delivered = matches!(ack, Ack::Delivered { .. });
    if ctx.hub.say(&ctx.index, key, uid, ack, seen) {
        if delivered {
            ctx.metrics.delivered();
            ctx.queue.recovered(&Key::Rollout(key.clone()), &Cause::OF_FILE);
        }
        events::then_report(ctx, key);
    }
}

/// Whether the namespace has more than it may have in memory, and this is a file of one of the youngest.
fn is_beyond(ctx: &Context, set: &SetId) -> bool {
    let key = (set.namespace.clone(), set.name.clone());
    if set.shared { ctx.flag_sets.is_beyond(&key) } else { ctx.rollouts.is_beyond(&key) }
}

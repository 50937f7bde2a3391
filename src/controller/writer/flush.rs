//! One turn of a writer: read the file, merge what was handed over, check it, write it if it differs.

use std::collections::BTreeMap;

use kube::Resource;

use super::flushed::{Flushed, gone};
use super::found::{Found, Remembered};
use super::hub::Keeps;
use super::next::{
    Next, absent, conflict, is_first, next, not_allowed, not_permitted, refused, refused_by, refused_former,
    verdict, wants, with_delivered,
};
use super::rebuild::{self, Members};
use super::target::{Target, left_behind, targets};
use super::whereabouts::former;
use super::{Ack, Offer, OfferKind, Percentages, is_beyond};
use crate::api::{FlagSet, Reason};
use crate::bounds;
use crate::clock;
use crate::controller::cache::ObjectKey;
use crate::controller::context::{Context, Shared};
use crate::controller::events;
use crate::controller::index::SetId;
use crate::controller::nudge::{self, Held};
use crate::controller::references;
use crate::error::Fault;
use crate::flags::merge::Live;
use crate::flags::{self, File};

/// How often a turn begins anew because somebody else wrote the object meanwhile.
const MOST_CONFLICTS: usize = 5;

/// Brings every output of a set up to date. One that fails keeps none of the others waiting.
pub(super) async fn flush(ctx: &Shared, set: &SetId, offers: &BTreeMap<ObjectKey, Offer>) -> Flushed {
    let key = (set.namespace.clone(), set.name.clone());
    let flag_set = match set.shared {
        true => match references::flag_set(ctx, &key).await {
            Ok(flag_set) => flag_set,
            Err(fault) => return Flushed { fault: Some(fault), ..Flushed::default() },
        },
        false => None,
    };
    if set.shared && flag_set.is_none() {
        return flush_left_behind(ctx, set, offers).await;
    }
    if !set.shared && offers.is_empty() && ctx.index.members(set).is_empty() {
        return Flushed::default();
    }
    let former = flag_set
        .as_ref()
        .map(|flag_set| former(set, flag_set, ctx.hub.seen_outputs(set)))
        .unwrap_or_default();
    flush_all(ctx, set, flag_set.as_ref(), &targets(set, flag_set.as_ref()), &former, offers).await
}

/// Brings the files of a set that is gone up to date: apps read them on, so what lowers a rollout has to reach them. The
/// rollouts say themselves that the set is missing, and raise nothing.
async fn flush_left_behind(ctx: &Shared, set: &SetId, offers: &BTreeMap<ObjectKey, Offer>) -> Flushed {
    if offers.is_empty() {
        return Flushed::default();
    }
    let left = match left_behind(ctx, set).await {
        Ok(left) => left,
        Err(fault) => return Flushed { fault: Some(fault), ..Flushed::default() },
    };
    if left.is_empty() && !ctx.is_listed() {
        // Which files there are is not known yet: look again.
        return Flushed { refused: true, ..Flushed::default() };
    }
    if left.is_empty() {
        let message = format!("FlagSet {} is gone, and so is every file of it", set.name);
        return refused(Reason::ReferenceNotFound, &message, &wants(offers));
    }
    flush_all(ctx, set, None, &left, &[], offers).await
}

/// Brings these outputs up to date, and `former` ones as long as they are there: whoever has renamed an output may have apps that read the
/// old one still, and what takes a feature away has to reach them.
async fn flush_all(
    ctx: &Shared,
    set: &SetId,
    flag_set: Option<&FlagSet>,
    targets: &[Target],
    former: &[Target],
    offers: &BTreeMap<ObjectKey, Offer>,
) -> Flushed {
    let mut all: Option<Flushed> = None;
    let mut fault = None;
    let places =
        targets.iter().map(|target| (target, false)).chain(former.iter().map(|target| (target, true)));
    let outputs: Vec<ObjectKey> = places.clone().map(|(target, _)| target.memory_key(set)).collect();
    ctx.hub.set_outputs(set, &outputs);
    for (target, is_former) in places {
        match flush_repeatedly(ctx, set, flag_set, target, is_former, offers).await {
            Ok(mut flushed) => {
                fault = fault.or(flushed.fault.take());
                all = Some(match all {
                    Some(before) => before.and(flushed),
                    None => flushed,
                });
            }
            Err(found) => fault = fault.or(Some(found)),
        }
    }
    let mut all = all.unwrap_or_default();
    if let Some(report) = &mut all.report {
        report.outputs = std::mem::take(&mut all.outputs);
    }
    Flushed { fault, ..all }
}

/// Begins anew where somebody else wrote meanwhile, and tells what only people can put right from what may work soon.
async fn flush_repeatedly(
    ctx: &Shared,
    set: &SetId,
    flag_set: Option<&FlagSet>,
    target: &Target,
    is_former: bool,
    offers: &BTreeMap<ObjectKey, Offer>,
) -> Result<Flushed, Fault> {
    // What a look has confirmed is looked at anew where somebody else is at work, in another turn.
    let looked_at = offers.values().any(|offer| offer.ahead_of.is_some());
    let mut tries = 0;
    loop {
        match flush_output(ctx, set, flag_set, target, is_former, offers).await {
            Err(fault) if is_race(&fault) && tries < MOST_CONFLICTS => {
                target.refresh(ctx, set).await?;
                if looked_at {
                    return Err(fault);
                }
                tries += 1;
            }
            // It may be gone, and nobody could tell: whoever has taken the right away together with the output has to be able to go on.
            Err(fault @ Fault::Forbidden(_)) if is_former => return Ok(not_permitted(&fault, target)),
            Err(fault @ (Fault::Forbidden(_) | Fault::Invalid(_) | Fault::NamespaceTerminating(_))) => {
                return Ok(refused_by(&fault, target, &wants(offers)));
            }
            other => return other,
        }
    }
}

/// Whether somebody else was quicker.
fn is_race(fault: &Fault) -> bool {
    matches!(fault, Fault::Conflict(_) | Fault::AlreadyExists(_) | Fault::NotFound(_))
}

async fn flush_output(
    ctx: &Shared,
    set: &SetId,
    flag_set: Option<&FlagSet>,
    target: &Target,
    is_former: bool,
    offers: &BTreeMap<ObjectKey, Offer>,
) -> Result<Flushed, Fault> {
    let memory_key = target.memory_key(set);
    let found = match target.read(ctx, set, flag_set).await? {
        // It is not made anew, and somebody else's is no former one.
        None | Some(Found::Nothing | Found::Strangers(_) | Found::Edited { text: None, .. }) if is_former => {
            return Ok(gone(target));
        }
        None => return Ok(absent(target)),
        Some(found) => found,
    };
    let remembered = ctx.hub.remembered(set, &memory_key);
    let known = remembered.as_ref().map_or(0, |remembered| remembered.serial);
    let (trusted, over, before, serial, is_sealed) = match found {
        Found::Strangers(owner) => {
            return Ok(conflict(set, target, owner.as_deref(), &with_delivered(ctx, set, wants(offers))));
        }
        Found::Trusted { stored, file, text, serial, .. }
            if goes_back(ctx, set, &file, &remembered, &text) =>
        {
            (None, Some(stored), Some(text), serial, false)
        }
        Found::Trusted { stored, file, text, serial, is_sealed } => {
            (Some(file), Some(stored), Some(text), serial, is_sealed)
        }
        Found::Edited { stored, text } => (None, Some(stored), text, known, false),
        Found::Nothing => match not_allowed(ctx, target, offers) {
            Some(refused) => return Ok(refused),
            None => (None, None, None, known, false),
        },
    };
    let is_trusted = trusted.is_some();
    let seen = seen(trusted.as_ref(), offers);
    let judged = match flag_set {
        Some(flag_set) => Some((flag_set, verdict(ctx, set, flag_set).await)),
        None => None,
    };
    let is_all = is_trusted || (over.is_none() && is_first(set, offers));
    let (members, place) = match is_all {
        true => (Members { offers: offers.clone(), ..Members::default() }, None),
        false => {
            let is_urgent = offers.values().any(|offer| offer.urgent);
            let place = ctx.places.rebuild(&set.namespace, is_urgent).await;
            let rebuilt = rebuild::members(ctx, set).await?;
            (Members { offers: newest(offers, rebuilt.offers), ..rebuilt }, Some(place))
        }
    };
    let live = match trusted {
        Some(file) => Live::Trusted(file),
        None if over.is_none() => Live::Missing,
        // Read no sooner than it can be done with: many may wait with as many edited files.
        None => Live::Untrusted(
            before.as_deref().and_then(|text| flags::parse_within(text, bounds::json::FILE_DECODED).ok()),
        ),
    };
    let wanted = wants(&members.offers);
    let damage = damage(&live, remembered.is_some());
    // Nothing but the text and the answers is kept while the write is under way.
    let Next { text, holds_nothing, mut answers, mut report, urgent } =
        next(ctx, set, judged, target, &live, &members);
    drop((live, members, remembered, place));
    let is_marked = is_sealed && over.as_ref().is_some_and(|over| over.is_marked(set));
    // No file is made in order to say that it holds nothing: where its rollout takes the flag away there is none to read.
    // Nor for a set that there is no room for, of which nobody serves anything.
    let is_nobodys = !set.shared && holds_nothing || wanted.is_empty() && is_beyond(ctx, set);
    let is_needless = over.is_none() && is_nobodys;
    let is_changed = before.as_deref() != Some(text.as_str());
    let mut serial = serial;
    if !is_needless && (is_changed || !is_marked) {
        drop(before);
        if let Some(message) =
            over.as_ref().and_then(|over| over.unwritable(is_former)).filter(|_| is_changed)
        {
            return Ok(Flushed { seen, ..refused(Reason::Conflict, &message, &wanted) });
        }
        serial = next_serial(serial);
        let started = clock::monotonic();
        let result = target.write(ctx, set, over.as_ref(), &text, serial).await;
        ctx.metrics.file_written(result.is_ok(), started.elapsed().as_secs_f64());
        match result {
            Err(fault @ (Fault::Forbidden(_) | Fault::Invalid(_))) => {
                let refused = if is_former {
                    refused_former(&fault, target, &wanted)
                } else {
                    refused_by(&fault, target, &wanted)
                };
                return Ok(Flushed { seen, ..refused });
            }
            Err(fault) if !is_trusted && is_changed && fault.is_transient() && !is_race(&fault) => {
                return Ok(Flushed { seen, fault: Some(fault), lost: wanted, ..Flushed::default() });
            }
            other => other?,
        }
        answers.wrote = true;
        if let Some(damage) = damage.filter(|_| is_changed) {
            tell_of_damage(ctx, set, flag_set, &format!("{} was {damage} and is put right", target.title()));
        }
        tracing::debug!(set = set.owner(), to = target.title(), bytes = text.len(), "file written");
    }
    if let Target::ConfigMap(output) = target {
        // What one output holds is on its way, whatever becomes of the others.
        let held = Held {
            config_map: output.config_map.clone(),
            key: output.key.clone(),
            sha256: report.sha256.clone(),
            urgent,
        };
        nudge::tell(ctx, set, held);
    }
    if let Some(message) = over.as_ref().and_then(|over| over.unwritable(is_former)) {
        // Nothing is to be written now. Whoever relies on a rollback has to know all the same.
        report.failure = report.failure.or(Some((Reason::Conflict, message)));
    }
    answers.report = ctx.is_listed().then_some(report);
    answers.seen = seen;
    if !is_needless {
        answers.outputs.insert(target.as_output(), true);
        let keeps = if is_beyond(ctx, set) { Keeps::Digest } else { Keeps::Text };
        ctx.hub.keep_last_good(set, &memory_key, &text, serial, keeps);
    }
    Ok(answers)
}

/// What the file gives to those who want something of it, before anything is written. What nobody vouches for may say
/// anything.
fn seen(trusted: Option<&File>, offers: &BTreeMap<ObjectKey, Offer>) -> BTreeMap<ObjectKey, Percentages> {
    let Some(file) = trusted else { return BTreeMap::new() };
    let of = |offer: &Offer| file.live(&offer.feature.key).filter(|live| live.uid == offer.uid);
    offers.iter().filter_map(|(key, offer)| Some((key.clone(), of(offer)?.served))).collect()
}

/// What somebody else has done to the file, if anything: edited it, or deleted what this process has written.
fn damage(live: &Live, is_remembered: bool) -> Option<&'static str> {
    match live {
        Live::Trusted(_) => None,
        Live::Untrusted(_) => Some("edited by hand"),
        Live::Missing => is_remembered.then_some("deleted"),
    }
}

/// Whether a file that another process has signed has less than this one knows to be delivered: an older one was put back.
fn goes_back(ctx: &Context, set: &SetId, file: &File, remembered: &Option<Remembered>, text: &str) -> bool {
    let is_new = |known: &Remembered| *known.sha256 != *flags::sha256_hex(text.as_bytes());
    if !remembered.as_ref().is_some_and(is_new) {
        return false;
    }
    ctx.index.members(set).iter().any(|member| {
        let Some(Ack::Delivered { revision }) = ctx.hub.ack(&member.key, &member.uid) else { return false };
        let live = file.live(&member.flag);
        live.is_some_and(|live| live.uid == member.uid && live.revision < revision)
    })
}

/// The serial of the next write. It goes by the time, so that a process that remembers no file gives a higher one, too,
/// than files had that are gone.
fn next_serial(last: u64) -> u64 {
    let now = u64::try_from(clock::real_now().as_millisecond()).unwrap_or(0);
    last.saturating_add(1).max(now)
}

/// Says by an event of whoever the file belongs to that it was put right. The file does not wait for that.
fn tell_of_damage(ctx: &Shared, set: &SetId, flag_set: Option<&FlagSet>, message: &str) {
    let owner = (set.namespace.clone(), set.name.clone());
    let metadata = match set.shared {
        true => flag_set.map(|set| set.metadata.clone()),
        false => ctx.rollouts.get(&owner).map(|rollout| rollout.meta().clone()),
    };
    let Some(metadata) = metadata else { return };
    let kind = if set.shared { "FlagSet" } else { "FeatureRollout" };
    // An event of the same words is told once: the time makes each damage one of its own.
    let message = format!("{message} at {:.0}", ctx.clock.now());
    events::warn(ctx, kind, &metadata, Reason::FileRestored, &message);
}

/// What was handed over and what the statuses say, whichever is newer.
fn newest(
    offers: &BTreeMap<ObjectKey, Offer>,
    mut rebuilt: BTreeMap<ObjectKey, Offer>,
) -> BTreeMap<ObjectKey, Offer> {
    for (key, offer) in offers {
        let newer = rebuilt.get(key).is_none_or(|stored| {
            stored.uid != offer.uid || stored.revision <= offer.revision || offer.kind == OfferKind::Remove
        });
        if newer {
            rebuilt.insert(key.clone(), offer.clone());
        }
    }
    rebuilt
}

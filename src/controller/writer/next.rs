//! What a file holds next, by what it holds now and by what rollouts want of it, and what each of them is told then, or
//! where it cannot be written until somebody acts.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::Arc;

use kube::ResourceExt;
use tokio::task::{JoinError, spawn_blocking};

use super::flushed::Flushed;
use super::rebuild::Members;
use super::target::Target;
use super::{Ack, FileReport, Offer, OfferKind, Orphans};
use crate::api::flagset::Emergency;
use crate::api::{FlagSet, Reason};
use crate::controller::cache::ObjectKey;
use crate::controller::context::Context;
use crate::controller::index::{Neighbour, SetId};
use crate::engine::short;
use crate::error::{Fault, chain};
use crate::flags;
use crate::flags::merge::{Candidate, Live, Living, Merge, Merged, Outcome, SetInfo, SetOutcome, merge};
use crate::flags::{File, Verdict};
use crate::visible::line;

/// Most things that are wrong with a FlagSet's own flags and that its status names: `sluice lint` names them all.
const NAMED: usize = 4;

/// The next file, and what is said of it once it is written.
pub(super) struct Next {
    pub(super) text: String,
    /// Whether there is no flag in it.
    pub(super) holds_nothing: bool,
    /// Without report; to be passed on when the file holds the text.
    pub(super) answers: Flushed,
    pub(super) report: FileReport,
    /// Whether it brings anything that could not wait.
    pub(super) urgent: bool,
}

pub(super) fn next(
    ctx: &Context,
    set: &SetId,
    flag_set: Option<(&FlagSet, Arc<Verdict>)>,
    target: &Target,
    live: &Live,
    members: &Members,
) -> Next {
    let wanted = &members.offers;
    let mut answers = Flushed::default();
    let (asking, candidates) = check(wanted, &mut answers);
    let last_good = match live {
        Live::Trusted(_) => None,
        Live::Untrusted(_) | Live::Missing => ctx.hub.last_good(set, &target.memory_key(set)),
    };
    let mut info = flag_set.map(|(set, verdict)| set_info(set, verdict));
    let left_out = match (target, &mut info) {
        (Target::FeatureFlag(_), Some(info)) => flags::feature_flag::leave_out(info),
        _ => Vec::new(),
    };
    let neighbours = ctx.index.members(set);
    let living = living(ctx, set, &neighbours);
    let mut merged = merge(&Merge {
        live,
        last_good: last_good.as_ref(),
        at_control: Some(&members.at_control),
        set: info.as_ref(),
        candidates: &candidates,
        // Who is not known yet may live all the same.
        living: ctx.is_listed().then_some(&living),
    });
    merged.text = target.spelling(merged.text);
    merged.refused.extend(left_out);
    answer(&asking, &merged, &mut answers);
    if let Live::Trusted(file) = live {
        answers.outdated.extend(outdated(ctx, &neighbours, file, wanted));
    }
    let urgent = asking.iter().any(|(key, offer)| offer.urgent && is_done(&answers, key));
    let report = report(&merged, info.as_ref().is_some_and(|info| info.emergency));
    Next { holds_nothing: merged.file.is_empty(), text: merged.text, answers, report, urgent }
}

fn living(ctx: &Context, set: &SetId, members: &[Neighbour]) -> BTreeSet<Living> {
    // Which flag they have, nobody can tell; that they are no orphans' rollouts, their UIDs do.
    let unreadable = ctx.rollouts.unreadable(&set.namespace).into_iter().map(|(name, uid)| Living {
        name,
        uid,
        key: String::new(),
    });
    let known = members.iter().map(|member| Living {
        name: member.key.1.clone(),
        uid: member.uid.clone(),
        key: member.flag.clone(),
    });
    known.chain(unreadable).collect()
}

/// Members of which the file holds a newer revision than its writer has said: another process was there.
fn outdated(
    ctx: &Context,
    members: &[Neighbour],
    file: &File,
    wanted: &BTreeMap<ObjectKey, Offer>,
) -> Vec<(ObjectKey, String, i64)> {
    let newer = |member: &Neighbour| {
        let live = file.live(&member.flag).filter(|live| live.uid == member.uid)?;
        let known = match ctx.hub.ack(&member.key, &member.uid)? {
            Ack::Delivered { revision } | Ack::Newer { revision } => revision,
            _ => return None,
        };
        (live.revision > known).then(|| (member.key.clone(), member.uid.clone(), live.revision))
    };
    members.iter().filter(|member| !wanted.contains_key(&member.key)).filter_map(newer).collect()
}

fn is_done(answers: &Flushed, key: &ObjectKey) -> bool {
    matches!(answers.acks.get(key), Some((_, Ack::Delivered { .. } | Ack::Removed)))
}

/// Who asks for what, in the order of the candidates.
type Asking<'a> = Vec<(&'a ObjectKey, &'a Offer)>;

/// Looks once more at every fragment: it must evaluate to what its status says.
fn check<'a>(wanted: &'a BTreeMap<ObjectKey, Offer>, flushed: &mut Flushed) -> (Asking<'a>, Vec<Candidate>) {
    let mut asking = Vec::new();
    let mut candidates = Vec::new();
    for (key, offer) in wanted {
        if offer.kind == OfferKind::Remove {
            asking.push((key, offer));
            candidates.push(Candidate::Remove {
                key: offer.feature.key.clone(),
                uid: offer.uid.clone(),
                revision: offer.revision,
            });
            continue;
        }
        let checked = offer.load.open().and_then(|(audience, fragment)| {
            flags::self_check(&offer.feature, &offer.status, &audience, &fragment)
                .map_err(|error| error.to_string())?;
            Ok(Arc::unwrap_or_clone(fragment))
        });
        match checked {
            Ok(fragment) => {
                asking.push((key, offer));
                candidates.push(Candidate::Put(fragment));
            }
            Err(error) => {
                let ack = Ack::Failed {
                    revision: offer.revision,
                    reason: Reason::SelfCheckFailed,
                    message: format!(
                        "the rendered flag failed its check; the file keeps the last good one: {error}"
                    ),
                };
                flushed.acks.insert(key.clone(), (offer.uid.clone(), ack));
            }
        }
    }
    (asking, candidates)
}

fn answer(asking: &Asking<'_>, merged: &Merged, flushed: &mut Flushed) {
    for ((key, offer), outcome) in asking.iter().zip(&merged.outcomes) {
        let failed = |reason, message: String| Ack::Failed { revision: offer.revision, reason, message };
        let ack = match outcome {
            Outcome::Unchanged | Outcome::Removed if offer.kind == OfferKind::Remove => Ack::Removed,
            Outcome::Written | Outcome::Unchanged | Outcome::Removed => {
                Ack::Delivered { revision: offer.revision }
            }
            Outcome::Stale { live } => {
                tracing::warn!(
                    namespace = key.0,
                    name = key.1,
                    live,
                    offered = offer.revision,
                    "the file holds a newer revision"
                );
                flushed.outdated.push(((*key).clone(), offer.uid.clone(), *live));
                continue;
            }
            Outcome::KeyConflict { rollout, orphan, .. } => {
                let way_out =
                    if *orphan { ", which is gone: name the key in the FlagSet's spec.prune" } else { "" };
                let message =
                    format!("the file has {:?} as the flag of rollout {rollout}{way_out}", offer.feature.key);
                failed(Reason::KeyConflict, message)
            }
            Outcome::TooLarge { size } => {
                let message = format!(
                    "the file would have {size} bytes of {} that a raise may use: split the FlagSet",
                    flags::RAISE_LIMIT
                );
                failed(Reason::PayloadTooLarge, message)
            }
        };
        flushed.acks.insert((*key).clone(), (offer.uid.clone(), ack));
    }
}

fn report(merged: &Merged, is_emergency: bool) -> FileReport {
    let mut refused: Vec<String> = merged
        .refused
        .iter()
        .take(NAMED)
        .map(|(path, why)| format!("{}: {}", line(path), line(why)))
        .collect();
    if merged.refused.len() > NAMED {
        refused.push(format!("and {} more", merged.refused.len() - NAMED));
    }
    let failure = match &merged.set {
        SetOutcome::TooLarge { size } => Some((
            Reason::PayloadTooLarge,
            format!("with the set's own flags the file would have {size} bytes"),
        )),
        _ if !refused.is_empty() => Some((Reason::InvalidSpec, refused.join("; "))),
        _ => None,
    };
    FileReport {
        sha256: flags::sha256_hex(merged.text.as_bytes()),
        size: merged.text.len(),
        flags: merged.file.len(),
        orphans: Box::new(Orphans::found(merged.orphans.clone().unwrap_or_default())),
        not_at_control: if is_emergency { not_at_control(&merged.file) } else { None },
        failure,
        ..FileReport::default()
    }
}

/// The flags of rollouts that give something else than control to somebody: how many, and the keys of a few.
pub fn not_at_control(file: &File) -> Option<Box<(usize, Vec<String>)>> {
    let serves = |key: &&String| {
        file.live(key).is_some_and(|live| live.served.iter().any(|(_, percent)| !percent.is_zero()))
    };
    let keys = || file.members.keys().filter(serves);
    let count = keys().count();
    (count > 0).then(|| Box::new((count, keys().take(NAMED).cloned().collect())))
}

/// What is wrong with the set's own flags and metadata, found once for each generation.
pub(super) async fn verdict(ctx: &Context, set: &SetId, flag_set: &FlagSet) -> Arc<Verdict> {
    let of = (flag_set.uid().unwrap_or_default(), flag_set.metadata.generation.unwrap_or(0));
    if let Some(known) = ctx.hub.verdict(set, &of) {
        return known;
    }
    let (flags, metadata) = (flag_set.spec.flags.clone(), flag_set.spec.metadata.clone());
    // It may take tens of milliseconds, which whoever else is on this thread would wait for.
    let found = spawn_blocking(move || Arc::new(Verdict::of(&flags, &metadata))).await;
    let found = match found.map_err(JoinError::try_into_panic) {
        Ok(found) => found,
        Err(Ok(panic)) => resume_unwind(panic),
        // The runtime is going down, and nothing is to be written any more.
        Err(Err(_)) => std::future::pending().await,
    };
    ctx.hub.keep_verdict(set, of, found.clone());
    found
}

fn set_info(set: &FlagSet, verdict: Arc<Verdict>) -> SetInfo {
    SetInfo {
        uid: set.uid().unwrap_or_default(),
        generation: set.metadata.generation.unwrap_or(0),
        statics: set.spec.flags.clone(),
        metadata: set.spec.metadata.clone(),
        verdict: Some(verdict),
        prune: set.spec.prune.iter().cloned().collect(),
        emergency: set.spec.emergency == Some(Emergency::Control),
    }
}

/// Those who want something of a file: UID and revision.
pub(super) type Wants = BTreeMap<ObjectKey, (String, i64)>;

pub(super) fn wants(offers: &BTreeMap<ObjectKey, Offer>) -> Wants {
    offers.iter().map(|(key, offer)| (key.clone(), (offer.uid.clone(), offer.revision))).collect()
}

/// Those, and everybody whose flag the file was known to hold.
pub(super) fn with_delivered(ctx: &Context, set: &SetId, mut wants: Wants) -> Wants {
    for member in ctx.index.members(set) {
        if let Some(Ack::Delivered { revision }) = ctx.hub.ack(&member.key, &member.uid) {
            wants.entry(member.key).or_insert((member.uid, revision));
        }
    }
    wants
}

/// What belongs to a stranger is never taken.
pub(super) fn conflict(set: &SetId, target: &Target, owner: Option<&str>, wants: &Wants) -> Flushed {
    let whose = owner.map_or("nobody that Sluice knows".to_owned(), str::to_owned);
    let way_out = match set.shared {
        true => format!("choose another name in the FlagSet's {}", target.field()),
        false => "put the rollout into a FlagSet, whose outputs may have other names".to_owned(),
    };
    let message = format!("{} belongs to {whose}: {way_out}, or delete it if nobody uses it", target.title());
    refused(Reason::Conflict, &message, wants)
}

/// A kind that is not installed keeps nothing else from going on; it may come.
pub(super) fn absent(target: &Target) -> Flushed {
    let message = format!("{}: the cluster does not know the kind; install its operator", target.title());
    Flushed { absent: true, ..refused(Reason::ReferenceNotFound, &message, &Wants::new()) }
}

/// Tells what the API server will not take until somebody acts.
pub(super) fn refused_by(fault: &Fault, target: &Target, wants: &Wants) -> Flushed {
    refused(fault.reason(), &format!("{}: {}", target.title(), chain(fault)), wants)
}

/// The same of a place that is no output any more, and that apps may read all the same.
pub(super) fn refused_former(fault: &Fault, target: &Target, wants: &Wants) -> Flushed {
    let message = format!("{}, which is no output any more: {}; delete it", target.title(), chain(fault));
    refused(fault.reason(), &message, wants)
}

/// The same where it may not be read any more: it is said, and keeps nobody from going on.
pub(super) fn not_permitted(fault: &Fault, target: &Target) -> Flushed {
    Flushed { absent: true, ..refused_former(fault, target, &Wants::new()) }
}

/// Whether what was handed over is all that can ever have been decided of a file: the first fragment of its only rollout.
pub(super) fn is_first(set: &SetId, offers: &BTreeMap<ObjectKey, Offer>) -> bool {
    !set.shared
        && offers.len() == 1
        && offers.values().all(|offer| offer.kind == OfferKind::Serve && offer.revision == 1)
}

/// What is said where no object of this name may be made.
pub(super) fn not_allowed(
    ctx: &Context,
    target: &Target,
    offers: &BTreeMap<ObjectKey, Offer>,
) -> Option<Flushed> {
    let message = target.is_not_allowed(ctx)?;
    Some(refused(Reason::Forbidden, &message, &wants(offers)))
}

pub(super) fn refused(reason: Reason, message: &str, wants: &Wants) -> Flushed {
    // Each of them keeps it.
    let message = short(message);
    Flushed {
        acks: wants
            .iter()
            .map(|(key, (uid, revision))| {
                let ack = Ack::Failed { revision: *revision, reason, message: message.clone() };
                (key.clone(), (uid.clone(), ack))
            })
            .collect(),
        report: Some(FileReport { failure: Some((reason, message.clone())), ..FileReport::default() }),
        refused: true,
        ..Flushed::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::flags::fixtures::{everyone, feature, identity, status};

    #[test]
    fn a_fragment_that_does_not_say_what_its_status_says_is_not_written() {
        let offer = |name: &str, percent: u32, targeting: Option<serde_json::Value>| {
            let (feature, audience) = (feature(name), everyone());
            let status = status(&audience, &[50_000], 2);
            let rendered = crate::flags::fixtures::status(&audience, &[percent], 2);
            let mut fragment = flags::fragment(&feature, &identity(name, "u"), &rendered, &audience);
            if let Some(targeting) = targeting {
                fragment.body["targeting"] = targeting;
            }
            let key = ("maya".to_owned(), name.to_owned());
            (key, Offer::serve("u".to_owned(), feature, Arc::new(audience), fragment, Arc::new(status)))
        };
        let broken = offer("broken", 50_000, Some(json!({"if": [true, "enabled", "disabled"]})));
        let wanted: BTreeMap<ObjectKey, Offer> =
            [offer("good", 50_000, None), offer("other", 60_000, None), broken].into();
        let mut flushed = Flushed::default();
        let (asking, candidates) = check(&wanted, &mut flushed);
        let names: Vec<&str> = asking.iter().map(|(key, _)| key.1.as_str()).collect();
        assert_eq!((names, candidates.len()), (vec!["good"], 1));
        for name in ["broken", "other"] {
            let (uid, ack) = &flushed.acks[&("maya".to_owned(), name.to_owned())];
            assert_eq!(uid, "u");
            assert!(
                matches!(ack, Ack::Failed { revision: 2, reason: Reason::SelfCheckFailed, message }
                    if message.contains("the file keeps the last good one")),
                "{ack:?}"
            );
        }
    }
}

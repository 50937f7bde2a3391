//! One turn of a writer: read the file, merge what was handed over, check it, write it if it differs.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::confirm::{Confirmed, confirm};
use super::found::Found;
use super::target::{Target, targets};
use super::{Ack, FileReport, Offer, OfferKind, rebuild};
use crate::api::{FlagSet, Reason};
use crate::clock;
use crate::controller::cache::ObjectKey;
use crate::controller::context::Shared;
use crate::controller::gather;
use crate::controller::index::SetId;
use crate::controller::nudge::{self, Held};
use crate::error::{Fault, chain};
use crate::flags::merge::{Candidate, Live, Living, Merge, Merged, Outcome, SetInfo, SetOutcome, merge};
use crate::flags::{self};

/// How often a turn begins anew because somebody else wrote the object meanwhile.
const MOST_CONFLICTS: usize = 5;

/// What came of a turn.
#[derive(Default)]
pub(super) struct Flushed {
    /// Whether a ConfigMap was written.
    pub wrote: bool,
    /// UID and answer per rollout.
    pub acks: BTreeMap<ObjectKey, (String, Ack)>,
    /// Rollouts whose cache lags behind the file, and the revision there.
    pub outdated: Vec<(ObjectKey, i64)>,
    /// Rollouts that somebody touched before their change came into the file, which it then does not.
    pub overtaken: Vec<ObjectKey>,
    /// What the set's status should say.
    pub report: Option<FileReport>,
    /// Whether the cluster has no such kind of output.
    pub absent: bool,
    /// Whether somebody has to act before the file can be written. Nobody tells when they have: look again.
    pub refused: bool,
    /// Why an output could not be read or written, which may well work in a moment. Nothing is acknowledged then.
    pub fault: Option<Fault>,
}

/// Brings every output of a set up to date. One that fails keeps none of the others waiting.
pub(super) async fn flush(ctx: &Shared, set: &SetId, offers: BTreeMap<ObjectKey, Offer>) -> Flushed {
    let key = (set.namespace.clone(), set.name.clone());
    let flag_set = match set.shared {
        true => match gather::flag_set(ctx, &key).await {
            Ok(flag_set) => flag_set,
            Err(fault) => return Flushed { fault: Some(fault), ..Flushed::default() },
        },
        false => None,
    };
    if set.shared && flag_set.is_none() {
        // The set is gone: its file stays as it is, and its rollouts say that the set is missing.
        return Flushed::default();
    }
    if !set.shared && offers.is_empty() && ctx.index.members(set).is_empty() {
        return Flushed::default();
    }
    let (offers, overtaken) = match confirm(ctx, set, offers).await {
        Ok(Confirmed { offers, overtaken }) => (offers, overtaken),
        Err(fault) => return Flushed { fault: Some(fault), ..Flushed::default() },
    };
    let mut all: Option<Flushed> = None;
    let mut fault = None;
    for target in targets(set, flag_set.as_ref()) {
        ctx.hub.write_by(&target.memory_key(set), set);
        match flush_repeatedly(ctx, set, flag_set.as_ref(), &target, &offers).await {
            Ok(flushed) => {
                all = Some(match all {
                    Some(before) => before.and(flushed),
                    None => flushed,
                });
            }
            Err(found) => fault = fault.or(Some(found)),
        }
    }
    Flushed { fault, overtaken, ..all.unwrap_or_default() }
}

/// Begins anew where somebody else wrote meanwhile, and tells what only people can put right from what may work soon.
async fn flush_repeatedly(
    ctx: &Shared,
    set: &SetId,
    flag_set: Option<&FlagSet>,
    target: &Target,
    offers: &BTreeMap<ObjectKey, Offer>,
) -> Result<Flushed, Fault> {
    let mut tries = 0;
    loop {
        match flush_output(ctx, set, flag_set, target, offers).await {
            Err(Fault::Conflict(_) | Fault::AlreadyExists(_) | Fault::NotFound(_))
                if tries < MOST_CONFLICTS =>
            {
                tries += 1;
                target.refresh(ctx, set).await?;
            }
            Err(fault @ (Fault::Forbidden(_) | Fault::Invalid(_))) => {
                let reason =
                    if matches!(fault, Fault::Forbidden(_)) { Reason::Forbidden } else { Reason::Conflict };
                let message = format!("{}: {}", target.title(), chain(&fault));
                return Ok(refused(reason, &message, offers));
            }
            other => return other,
        }
    }
}

impl Flushed {
    /// With several outputs a rollout is delivered when all of them hold it: one that says nothing of it does not.
    /// One that cannot exist is read by nobody, and does not count.
    fn and(mut self, other: Flushed) -> Flushed {
        self.wrote |= other.wrote;
        self.refused |= other.refused;
        self.outdated.extend(other.outdated);
        self.report = match (self.report.take(), other.report) {
            // What is wrong with any output is wrong with the set.
            (Some(mut report), Some(other)) => {
                report.failure = report.failure.or(other.failure);
                Some(report)
            }
            (report, other) => report.or(other),
        };
        if other.absent {
            return self;
        }
        let failed = |ack: &Ack| matches!(ack, Ack::Failed { .. } | Ack::Retrying { .. });
        self.acks.retain(|key, (_, ack)| failed(ack) || other.acks.contains_key(key));
        for (key, said) in other.acks {
            let replaces = match (self.acks.get(&key).map(|(_, ack)| ack), &said.1) {
                (Some(Ack::Delivered { revision: a }), Ack::Delivered { revision: b }) => b < a,
                (Some(before), ack) => !failed(before) && failed(ack),
                (None, ack) => failed(ack),
            };
            if replaces {
                self.acks.insert(key, said);
            }
        }
        self
    }
}

async fn flush_output(
    ctx: &Shared,
    set: &SetId,
    flag_set: Option<&FlagSet>,
    target: &Target,
    offers: &BTreeMap<ObjectKey, Offer>,
) -> Result<Flushed, Fault> {
    let memory_key = target.memory_key(set);
    let Some(found) = target.read(ctx, set, flag_set).await? else { return Ok(absent(target)) };
    let (live, over, before) = match found {
        Found::Strangers(owner) => return Ok(conflict(target, owner.as_deref(), offers)),
        Found::Trusted(stored, file, text) => (Live::Trusted(file), Some(stored), Some(text)),
        Found::Edited(stored, file) => (Live::Untrusted(file), Some(stored), None),
        Found::Nothing => (Live::Missing, None, None),
    };
    let rebuilt = match live {
        Live::Trusted(_) => BTreeMap::new(),
        Live::Untrusted(_) | Live::Missing => rebuild::members(ctx, set).await?,
    };
    let wanted = newest(offers, rebuilt);
    let mut flushed = Flushed::default();
    let (asking, candidates) = check(&wanted, &mut flushed);
    // Which flag they have, nobody can tell; that they are no orphans' rollouts, their UIDs do.
    let unreadable = ctx.rollouts.unreadable(&set.namespace).into_iter().map(|(name, uid)| Living {
        name,
        uid,
        key: String::new(),
    });
    let living: BTreeSet<Living> = ctx
        .index
        .members(set)
        .into_iter()
        .map(|member| Living { name: member.key.1, uid: member.uid, key: member.flag })
        .chain(unreadable)
        .collect();
    let last_good = match live {
        Live::Trusted(_) => None,
        Live::Untrusted(_) | Live::Missing => ctx.hub.last_good(&memory_key),
    };
    let mut info = flag_set.map(set_info);
    let left_out = match (target, &mut info) {
        (Target::FeatureFlag(_), Some(info)) => flags::feature_flag::leave_out(info),
        _ => Vec::new(),
    };
    // Who is not known yet may live all the same.
    let listed = ctx.is_listed();
    let mut merged = merge(&Merge {
        live: &live,
        last_good: last_good.as_ref(),
        set: info.as_ref(),
        candidates: &candidates,
        living: listed.then_some(&living),
    });
    merged.text = target.spelling(merged.text);
    merged.refused.extend(left_out);
    let marked = over.as_ref().is_some_and(|over| over.is_marked(set));
    if before.as_deref() != Some(merged.text.as_str()) || !marked {
        let started = clock::monotonic();
        let result = target.write(ctx, set, over.as_ref(), &merged.text).await;
        ctx.metrics.file_written(result.is_ok(), started.elapsed().as_secs_f64());
        result?;
        flushed.wrote = true;
        tracing::debug!(set = set.owner(), to = target.title(), bytes = merged.text.len(), "file written");
    }
    answer(&asking, &merged, &mut flushed);
    let report = report(&merged);
    if let Target::ConfigMap(output) = target {
        // What one output holds is on its way, whatever becomes of the others.
        let held = Held {
            config_map: output.config_map.clone(),
            key: output.key.clone(),
            sha256: report.sha256.clone(),
            urgent: asking.iter().any(|(key, offer)| offer.urgent && is_done(&flushed, key)),
        };
        nudge::tell(ctx, set, held);
    }
    flushed.report = listed.then_some(report);
    ctx.hub.keep_last_good(memory_key, &merged.text);
    Ok(flushed)
}

fn is_done(flushed: &Flushed, key: &ObjectKey) -> bool {
    matches!(flushed.acks.get(key), Some((_, Ack::Delivered { .. } | Ack::Removed)))
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
                key: offer.fragment.key.clone(),
                uid: offer.uid.clone(),
                revision: offer.revision,
            });
            continue;
        }
        match flags::self_check(&offer.feature, &offer.status, &offer.audience, &offer.fragment) {
            Ok(()) => {
                asking.push((key, offer));
                candidates.push(Candidate::Put((*offer.fragment).clone()));
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
                flushed.outdated.push(((*key).clone(), *live));
                continue;
            }
            Outcome::KeyConflict { rollout, orphan, .. } => {
                let way_out =
                    if *orphan { ", which is gone: name the key in the FlagSet's spec.prune" } else { "" };
                let message = format!(
                    "the file has {:?} as the flag of rollout {rollout}{way_out}",
                    offer.fragment.key
                );
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

fn report(merged: &Merged) -> FileReport {
    let refused: Vec<String> = merged.refused.iter().map(|(path, why)| format!("{path}: {why}")).collect();
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
        orphans: merged.orphans.clone().unwrap_or_default(),
        failure,
    }
}

/// What belongs to a stranger is never taken.
fn conflict(target: &Target, owner: Option<&str>, offers: &BTreeMap<ObjectKey, Offer>) -> Flushed {
    let whose = owner.map_or("nobody that Sluice knows".to_owned(), str::to_owned);
    let message = format!(
        "{} belongs to {whose}: delete it, or choose another name in the FlagSet's {}",
        target.title(),
        target.field()
    );
    refused(Reason::Conflict, &message, offers)
}

/// A kind that is not installed keeps nothing else from going on; it may come.
fn absent(target: &Target) -> Flushed {
    let message = format!("{}: the cluster does not know the kind; install its operator", target.title());
    Flushed { absent: true, ..refused(Reason::ReferenceNotFound, &message, &BTreeMap::new()) }
}

fn refused(reason: Reason, message: &str, offers: &BTreeMap<ObjectKey, Offer>) -> Flushed {
    Flushed {
        acks: offers
            .iter()
            .map(|(key, offer)| {
                let ack = Ack::Failed { revision: offer.revision, reason, message: message.to_owned() };
                (key.clone(), (offer.uid.clone(), ack))
            })
            .collect(),
        report: Some(FileReport { failure: Some((reason, message.to_owned())), ..FileReport::default() }),
        refused: true,
        ..Flushed::default()
    }
}

fn set_info(set: &FlagSet) -> SetInfo {
    SetInfo {
        uid: set.uid().unwrap_or_default(),
        generation: set.metadata.generation.unwrap_or(0),
        statics: set.spec.flags.clone(),
        metadata: set.spec.metadata.clone(),
        prune: set.spec.prune.iter().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(acks: &[(&str, Ack)]) -> Flushed {
        let acks = acks
            .iter()
            .map(|(name, ack)| (("ns".to_owned(), (*name).to_owned()), ("uid".to_owned(), ack.clone())));
        Flushed { acks: acks.collect(), ..Flushed::default() }
    }

    fn failed() -> Ack {
        Ack::Failed { revision: 3, reason: Reason::Conflict, message: String::new() }
    }

    #[test]
    fn a_rollout_is_delivered_when_every_output_says_so() {
        let delivered = |revision| Ack::Delivered { revision };
        let first = said(&[
            ("both", delivered(3)),
            ("first", delivered(3)),
            ("no", delivered(3)),
            ("lag", delivered(2)),
        ]);
        let second = said(&[
            ("both", delivered(3)),
            ("second", delivered(3)),
            ("no", failed()),
            ("lag", delivered(3)),
        ]);
        for (a, b) in [(0, 1), (1, 0)] {
            let both = [&first, &second];
            let joined = Flushed { acks: both[a].acks.clone(), ..Flushed::default() }
                .and(Flushed { acks: both[b].acks.clone(), ..Flushed::default() });
            let acks: Vec<(String, Ack)> =
                joined.acks.into_iter().map(|((_, name), (_, ack))| (name, ack)).collect();
            let expected = [("both", delivered(3)), ("lag", delivered(2)), ("no", failed())];
            assert_eq!(acks, expected.map(|(name, ack)| (name.to_owned(), ack)));
        }
    }
}

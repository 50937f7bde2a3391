//! The work of one writer: the first write at once, then one every 200 ms for all that has come meanwhile, until nothing is left.
//!
//! "At once" leaves room for members of the file that are being decided on at this moment: when fifty step together,
//! one write of all of them is there sooner than a write of the first and, 200 ms later, one of the rest.

use std::sync::Arc;
use std::time::Duration;

use super::confirm::{Confirmed, confirm};
use super::flush::flush;
use super::flushed::Flushed;
use super::mailbox::Waiting;
use super::orphans::FEW_LISTED;
use super::places::HEAVY_FROM;
use super::{Ack, MOST_LISTED, Mailbox, OfferKind, feature_flag, is_beyond, say};
use crate::clock;
use crate::controller::cache::ObjectKey;
use crate::controller::context::{Key, Shared};
use crate::controller::index::SetId;
use crate::controller::queue::{Cause, Priority, metered};
use crate::error::chain;
use crate::fair::{Place, hold};
use crate::watchdog::resting;

/// Least time between the ends of two writes; emergencies do not wait.
const SPACING: Duration = Duration::from_millis(200);
/// Longest time that a write waits for members that are being decided on: none is later than the spacing would make it.
const GATHERING: Duration = SPACING;
/// How often those are looked for. Polled, as a member may turn out to offer nothing, of which no writer hears.
const GATHERING_POLL: Duration = Duration::from_millis(2);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// Longest wait before a file that somebody has to act on is tried again.
const LONGEST_REFUSED: Duration = Duration::from_secs(10);

pub(super) async fn run(ctx: Shared, set: SetId, mailbox: Arc<Mailbox>) {
    let mut retry: Option<Duration> = None;
    // Whether what failed and is tried again could not wait.
    let mut hurries = false;
    loop {
        let ends = match retry {
            Some(wait) => {
                let ends = async {
                    tokio::select! {
                        () = mailbox.changed.notified() => false,
                        () = clock::sleep(wait) => {
                            mailbox.lock().dirty = true;
                            false
                        }
                        () = ctx.shutdown.cancelled() => true,
                    }
                };
                resting(ends).await
            }
            None => ctx.shutdown.is_cancelled() || mailbox.lock().ends_work(),
        };
        if ends {
            return;
        }
        {
            let mut waiting = mailbox.lock();
            if waiting.ended {
                return;
            }
            waiting.urgent |= hurries;
        }
        space_out(&mailbox).await;
        gather(&ctx, &set, &mailbox).await;
        let Some((Confirmed { offers, overtaken, unread }, looked)) = take(&ctx, &set, &mailbox).await else {
            continue;
        };
        leave_out(&ctx, &mailbox, overtaken, unread);
        let is_urgent = offers.values().any(|offer| offer.urgent);
        // In this order: whoever waits for memory holds up nobody who needs little.
        let places = Box::pin(async {
            let heavy = ctx.places.heavy(&set.namespace, weight(&ctx, &set), is_urgent).await;
            let write = match is_urgent {
                true => ctx.places.urgent(&set.namespace).await,
                false => ctx.places.write(&set.namespace).await,
            };
            (heavy, write)
        });
        let place = if is_urgent {
            resting(places).await
        } else {
            let _waits = ctx.queue.file_waits(&set.namespace);
            tokio::select! {
                place = resting(places) => place,
                () = mailbox.until_urgent() => {
                    // With what is urgent, and without waiting.
                    mailbox.lock().dirty = true;
                    continue;
                }
            }
        };
        // A writer that waits is small, as there is one for each file: only what is under way is allocated, while it is.
        let flushing = Box::pin(metered(flush(&ctx, &set, &offers)));
        let (mut flushed, took) = hold((place, looked), flushing).await;
        ctx.places.note_cost(&set.namespace, took);
        if flushed.wrote {
            mailbox.lock().last_write = Some(clock::monotonic());
        }
        feature_flag::watch_others(&ctx);
        match flushed.fault.take() {
            None => {
                // A stranger's object that goes and a permission or a kind that comes are in no watch.
                let refused = flushed.refused;
                settle(&ctx, &set, &mailbox, &offers, flushed);
                let looks_again = refused || mailbox.lock().put_off.len() > 0;
                retry = looks_again.then(|| next_wait(retry, LONGEST_REFUSED));
                hurries = false;
                if looks_again && mailbox.lock().dirty {
                    // What was left for later.
                    mailbox.changed.notify_one();
                }
            }
            Some(fault) => {
                let wait = next_wait(retry, LONGEST_RETRY).max(fault.asks_to_wait());
                retry = Some(wait);
                hurries = offers.values().any(|offer| offer.urgent);
                let message = format!("the file could not be written: {}", chain(&fault));
                tracing::warn!("{}: {message}; it is tried again in {} ms", set.owner(), wait.as_millis());
                for (key, (uid, revision)) in &flushed.lost {
                    say(&ctx, key, uid, Ack::Lost { revision: *revision, message: message.clone() }, None);
                }
                for (key, offer) in offers.iter().filter(|(key, _)| !flushed.lost.contains_key(*key)) {
                    say(&ctx, key, &offer.uid, Ack::Retrying { message: message.clone() }, None);
                }
            }
        }
    }
}

/// How many bytes of memory the FlagSet of a file takes while it is merged; one that there is no room for is not at hand and may be
/// large.
fn weight(ctx: &Shared, set: &SetId) -> usize {
    let key = (set.namespace.clone(), set.name.clone());
    match set.shared {
        true if ctx.flag_sets.is_beyond(&key) => HEAVY_FROM,
        true => ctx.flag_sets.decoded(&key),
        false => 0,
    }
}

/// What is to be written now, if anything is, with the place of the look that it took. What goes ahead of its status is
/// confirmed; where something urgent comes while that takes, it is left for the next turn.
async fn take(ctx: &Shared, set: &SetId, mailbox: &Mailbox) -> Option<(Confirmed, Option<Place>)> {
    loop {
        let offers = mailbox.lock().take()?;
        let is_ahead = offers.values().any(|offer| offer.ahead_of.is_some());
        let look = async {
            let place = match is_ahead {
                true => Some(resting(Box::pin(ctx.places.look(&set.namespace))).await),
                false => None,
            };
            (Box::pin(confirm(ctx, set, offers)).await, place)
        };
        tokio::select! {
            taken = look => return Some(taken),
            () = mailbox.until_urgent() => {}
        }
    }
}

/// Forgets the offers that could not be confirmed, and has their rollouts decided on anew.
fn leave_out(ctx: &Shared, mailbox: &Mailbox, overtaken: Vec<ObjectKey>, unread: bool) {
    {
        let mut waiting = mailbox.lock();
        for key in &overtaken {
            if waiting.offers.get(key).is_some_and(|offer| offer.ahead_of.is_some()) {
                waiting.offers.remove(key);
            }
        }
    }
    for key in overtaken {
        match unread {
            true => drop(ctx.queue.failed(&Key::Rollout(key), Cause::Unconfirmed)),
            false => read_again(ctx, key),
        }
    }
}

fn next_wait(before: Option<Duration>, longest: Duration) -> Duration {
    before.map_or(FIRST_RETRY, |wait| (wait * 2).min(longest))
}

async fn space_out(mailbox: &Mailbox) {
    loop {
        let since = {
            let waiting = mailbox.lock();
            let since = waiting.last_write.map_or(SPACING, |last| last.elapsed());
            if since >= SPACING || waiting.urgent {
                return;
            }
            since
        };
        tokio::select! {
            () = clock::sleep(SPACING - since) => {}
            () = mailbox.changed.notified() => {}
        }
    }
}

/// Lets the members that are being decided on come along, for a while.
async fn gather(ctx: &Shared, set: &SetId, mailbox: &Mailbox) {
    let begun = clock::monotonic();
    while begun.elapsed() < GATHERING {
        {
            let waiting = mailbox.lock();
            let missing = |key: &Key| matches!(key, Key::Rollout(key) if !waiting.offers.contains_key(key));
            if waiting.urgent || !waiting.dirty || !ctx.queue.is_deciding(set, missing) {
                return;
            }
        }
        clock::sleep(GATHERING_POLL).await;
    }
}

/// Passes the answers on and forgets the offers that are settled.
fn settle(
    ctx: &Shared,
    set: &SetId,
    mailbox: &Mailbox,
    offers: &std::collections::BTreeMap<ObjectKey, super::Offer>,
    flushed: Flushed,
) {
    {
        let mut waiting = mailbox.lock();
        for (key, offer) in offers {
            let settled = flushed.acks.get(key).is_some_and(|(_, ack)| match (offer.kind, ack) {
                (OfferKind::Remove, Ack::Removed) => true,
                (_, Ack::Delivered { revision }) => *revision >= offer.revision,
                _ => false,
            });
            let same = waiting.offers.get(key).is_some_and(|now| now.is_same(offer));
            if settled && same {
                waiting.offers.remove(key);
            }
        }
        let Waiting { offers, put_off, .. } = &mut *waiting;
        let fails = |key: &ObjectKey| flushed.acks.get(key).is_some_and(|(_, ack)| ack.needs_somebody());
        let size = flushed.report.as_ref().map(|report| report.size);
        for key in put_off.look(set.shared, offers, fails, size, clock::monotonic()) {
            ctx.queue.push(Key::Rollout(key), Priority::Report);
        }
    }
    let mut seen = flushed.seen;
    for (key, (uid, ack)) in flushed.acks {
        let seen = seen.remove(&key);
        say(ctx, &key, &uid, ack, seen);
    }
    for (key, uid, revision) in flushed.outdated {
        let seen = seen.remove(&key);
        say(ctx, &key, &uid, Ack::Newer { revision }, seen);
        read_again(ctx, key);
    }
    if let Some(report) = flushed.report {
        let flag_set = ctx.flag_sets.get(&(set.namespace.clone(), set.name.clone())).filter(|_| set.shared);
        let status = flag_set.as_ref().and_then(|flag_set| flag_set.0.as_ref().ok()?.status.as_ref());
        let listed = status.map(|status| status.orphans.as_slice()).unwrap_or_default();
        let most = if is_beyond(ctx, set) { FEW_LISTED } else { MOST_LISTED };
        if ctx.hub.set_report(set, report, listed, most) && set.shared {
            ctx.queue.push(Key::FlagSet((set.namespace.clone(), set.name.clone())), Priority::Report);
        }
    }
}

/// Has a rollout decided on anew, as it is stored: at once where that is news, else a little later.
fn read_again(ctx: &Shared, key: ObjectKey) {
    let ctx = ctx.clone();
    tokio::spawn(async move {
        if let Err(fault) = crate::controller::persist::refresh(&ctx, &key).await {
            tracing::warn!(
                "FeatureRollout {}/{} could not be read again, although its file holds a newer revision: {}; it is tried again",
                key.0,
                key.1,
                chain(&fault)
            );
        }
        ctx.queue.failed(&Key::Rollout(key), Cause::Outdated);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is a writer for each file that cannot be written, which may be thousands.
    #[test]
    fn a_writer_that_waits_takes_little_memory() {
        fn size<F>(_: impl Fn(Shared, SetId, Arc<Mailbox>) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(run) < 1024, "{} bytes", size(run));
    }
}

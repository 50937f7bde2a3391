//! Sends what waits in a channel's outbox, one message after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;

use super::line::Line;
use super::report::Trouble;
use super::{Channels, digests};
use crate::api::notificationchannel::{NotificationChannelSpec, OutboxEntry};
use crate::api::{MicroTime, Reason};
use crate::clock;
use crate::error::{Fault, chain};
use crate::notify::channel::{self, Channel};
use crate::notify::message;
use crate::notify::outbox::Next;
use crate::notify::send::{Sent, now, send};

/// How long what was read of Secrets is taken to be so.
const KEPT: Duration = Duration::from_secs(60);
/// How long a channel that cannot be sent to is left alone, unless its spec changes.
const AGAIN: Duration = Duration::from_secs(20);
/// How long an API server that did not give a Secret is left alone.
const SOON: Duration = Duration::from_secs(5);
/// The longest single wait: then the clock is read again.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Slack takes about a message a second.
const SLACK_SPACING: SignedDuration = SignedDuration::from_secs(1);

/// A channel as it was read.
struct Known {
    generation: i64,
    until: Instant,
    channel: Option<Arc<Channel>>,
}

/// How long a message that is being sent at the end of a term has for that: one that is cut off is sent again.
const AT_THE_END: Duration = Duration::from_secs(3);

/// Sends until the channel or the term is gone.
pub async fn run(channels: &Channels, line: &Line) {
    let cut_off = async {
        line.ended.cancelled().await;
        clock::sleep(AT_THE_END).await;
    };
    tokio::select! {
        () = tell(channels, line) => {}
        () = cut_off => {}
    }
}

async fn tell(channels: &Channels, line: &Line) {
    let mut known: Option<Known> = None;
    while !line.ended.is_cancelled() {
        let changed = line.to_tell.notified();
        let (spec, generation) = line.spec();
        let is_known = known
            .as_ref()
            .is_some_and(|known| known.generation == generation && clock::monotonic() < known.until);
        let next = line.with(|outbox| {
            outbox.expire(now());
            outbox.next(now(), generation, spacing(&spec))
        });
        let is_due =
            known.as_ref().is_none_or(|known| known.generation != generation || known.channel.is_none());
        let resolved = known.as_ref().and_then(|known| known.channel.as_deref());
        let has_digest = resolved.is_some_and(|channel| digests::due(channels, line, channel).is_some());
        if !is_known && (is_due || has_digest || matches!(next, Some(Next::Send(_)))) {
            known = Some(resolve(channels, line, &spec, generation).await);
        }
        let ready = known.as_ref().and_then(|known| known.channel.clone());
        let is_free = || line.with(|outbox| outbox.held_up(now(), generation, spacing(&spec)).is_none());
        if let Some(channel) = &ready
            && let Some(due) = digests::due(channels, line, channel)
            && is_free() == Some(true)
            && !channels.gate.is_closed()
        {
            if !digests::send(channels, line, &spec, (channel, generation), due).await {
                // A secret may be another one by now.
                known = None;
            }
            continue;
        }
        match (next, ready) {
            (Some(Next::Send(entry)), Some(channel)) => {
                // Whoever leads by then sends it.
                if channels.gate.is_closed() {
                    return;
                }
                let retried = deliver(line, &spec, &channel, generation, &entry).await;
                if retried {
                    // A secret may be another one by now.
                    known = None;
                }
            }
            (Some(Next::Wait(at)), Some(_)) => wait(line, changed, until(at)).await,
            (_, Some(channel)) => {
                let digest = digests::next(channels, &channel).map(|at| channels.clock.real_until(at));
                wait(line, changed, digest.unwrap_or(LONGEST_WAIT)).await;
            }
            (_, None) => {
                let until =
                    known.as_ref().map_or(SOON, |known| known.until.duration_since(clock::monotonic()));
                wait(line, changed, until).await;
            }
        }
    }
}

/// Sends one message. Says whether it is to be tried again.
async fn deliver(
    line: &Line,
    spec: &NotificationChannelSpec,
    channel: &Channel,
    generation: i64,
    entry: &OutboxEntry,
) -> bool {
    let thread = line.with(|outbox| outbox.thread(entry).cloned()).flatten();
    let sent = send(spec, channel, generation, entry, thread.as_ref()).await;
    match sent {
        Sent::NothingToEdit => {
            line.with(|outbox| outbox.forget_thread(entry));
            false
        }
        Sent::Settled(settled) => {
            let is_sent = matches!(settled, crate::notify::outbox::Settled::Sent(_));
            if !is_sent {
                tracing::debug!(
                    name = line.name,
                    id = entry.id(),
                    "a message was not sent; the status of its channel says why"
                );
            }
            line.with(|outbox| outbox.settle(entry, settled, now(), fastrand::f64()));
            !is_sent
        }
    }
}

/// Reads what a channel names, puts it together, and says what is wrong with it.
async fn resolve(channels: &Channels, line: &Line, spec: &NotificationChannelSpec, generation: i64) -> Known {
    let known = |channel, kept: Duration| Known { generation, until: clock::monotonic() + kept, channel };
    let wanted = channel::wanted(spec);
    let found = match channels.cluster.secrets(&channels.namespace, &wanted).await {
        Ok(found) => found,
        Err(fault) => {
            line.judge(generation, Some(unreadable(&fault)));
            return known(None, SOON);
        }
    };
    let is_complete = wanted.iter().all(|wanted| found.contains_key(wanted));
    match channel::resolve(spec, &found, channels.api_server.clone()) {
        Ok(channel) => {
            let problems = message::problems(spec);
            let trouble = (!problems.is_empty()).then(|| Trouble {
                reason: Reason::InvalidSpec,
                message: format!("{}; messages have the default words", problems.join("; ")),
            });
            line.judge(generation, trouble);
            known(Some(Arc::new(channel)), KEPT)
        }
        Err(problems) => {
            let reason = if is_complete { Reason::InvalidSpec } else { Reason::ReferenceNotFound };
            line.judge(generation, Some(Trouble { reason, message: problems.join("; ") }));
            known(None, AGAIN)
        }
    }
}

fn unreadable(fault: &Fault) -> Trouble {
    Trouble { reason: fault.reason(), message: format!("what it names could not be read: {}", chain(fault)) }
}

fn spacing(spec: &NotificationChannelSpec) -> SignedDuration {
    match spec.slack.is_some() || spec.slack_webhook.is_some() {
        true => SLACK_SPACING,
        false => SignedDuration::ZERO,
    }
}

fn until(at: MicroTime) -> Duration {
    Duration::try_from(at.duration_since(now())).unwrap_or_default()
}

/// Waits for news, or for a while.
async fn wait(line: &Line, changed: impl Future<Output = ()>, a_while: Duration) {
    tokio::select! {
        () = line.ended.cancelled() => {}
        () = changed => {}
        () = clock::sleep(a_while.min(LONGEST_WAIT)) => {}
    }
}

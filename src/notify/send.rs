//! Sends a message, and says what became of it.

use crate::api::MicroTime;
use crate::api::notificationchannel::{NotificationChannelSpec, OutboxEntry, Thread};
use crate::clock;

use super::answer::{self, Outcome};
use super::channel::{Channel, Endpoint};
use super::form::{self, Step};
use super::message::message;
use super::outbox::Settled;

/// What came of sending a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The outbox takes it in.
    Settled(Settled),
    /// The message of Slack that was to be edited is gone: another is to be made.
    NothingToEdit,
}

/// Sends a message by the requests that it takes, until one fails.
pub async fn send(
    spec: &NotificationChannelSpec,
    channel: &Channel,
    generation: i64,
    entry: &OutboxEntry,
    thread: Option<&Thread>,
) -> Sent {
    let message = message(spec, entry);
    let is_slack = matches!(channel.endpoint, Endpoint::Slack { .. });
    let mut made = None;
    for request in form::requests(&channel.endpoint, entry, &message, thread, clock::real_now()) {
        let outcome = match channel.outbound.post(&request.url, &request.headers, request.body).await {
            Ok(reply) => answer::of_reply(&reply, is_slack, request.step, clock::real_now()),
            Err(unsent) => answer::of_failure(unsent),
        };
        match outcome {
            Outcome::Taken(of) => made = made.or(of.map(|of| thread_of(entry, of))),
            Outcome::Failed { why, against, after } => {
                return Sent::Settled(Settled::Failed { why, against, after });
            }
            Outcome::Refused(why) => return Sent::Settled(Settled::Refused(why)),
            Outcome::Gone(why) => return Sent::Settled(Settled::Gone { why, generation }),
            Outcome::NothingToEdit if request.step == Step::Edit || thread.is_some() => {
                return Sent::NothingToEdit;
            }
            Outcome::NothingToEdit => {
                return Sent::Settled(Settled::Refused("Slack does not find its own message".to_owned()));
            }
        }
    }
    Sent::Settled(Settled::Sent(made))
}

fn thread_of(entry: &OutboxEntry, (channel, ts): (String, String)) -> Thread {
    Thread { uid: entry.rollout.uid.clone(), attempt: entry.rollout.attempt, channel, ts }
}

/// The time that outboxes go by.
pub fn now() -> MicroTime {
    clock::real_now()
}

//! Sends a message or a digest, and says what became of it.

use crate::api::MicroTime;
use crate::api::notificationchannel::{NotificationChannelSpec, OutboxEntry, Thread};
use crate::clock;

use super::answer::{self, Outcome};
use super::channel::{Channel, Endpoint, Mail};
use super::form::email::{self, About};
use super::form::{self, DigestOf, Request, Step};
use super::message::{Message, message};
use super::outbox::Settled;
use super::smtp;

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
    if let Endpoint::Email(mail) = &channel.endpoint {
        let (id, uid) = (entry.id(), &entry.rollout.uid);
        let about = About { id: &id, thread: Some(uid) };
        return settled(by_mail(channel, mail, &message, about).await, generation);
    }
    let requests = form::requests(&channel.endpoint, entry, &message, thread, now());
    let mut made = None;
    for request in requests {
        let step = request.step;
        match ask(channel, request).await {
            Outcome::Taken(of) => made = made.or(of.map(|of| thread_of(entry, of))),
            Outcome::NothingToEdit if step == Step::Edit || thread.is_some() => return Sent::NothingToEdit,
            other => return settled(other, generation),
        }
    }
    Sent::Settled(Settled::Sent(made))
}

/// Sends a digest.
pub async fn send_digest(channel: &Channel, generation: i64, of: DigestOf<'_>, message: &Message) -> Settled {
    if let Endpoint::Email(mail) = &channel.endpoint {
        let about = About { id: of.id, thread: None };
        return settle(by_mail(channel, mail, message, about).await, generation);
    }
    for request in form::digest(&channel.endpoint, of, message, now()) {
        match ask(channel, request).await {
            Outcome::Taken(_) => {}
            other => return settle(other, generation),
        }
    }
    Settled::Sent(None)
}

async fn ask(channel: &Channel, request: Request) -> Outcome {
    let is_slack = matches!(channel.endpoint, Endpoint::Slack { .. });
    match channel.outbound.post(&request.url, &request.headers, request.body).await {
        Ok(reply) => answer::of_reply(&reply, is_slack, request.step, now()),
        Err(unsent) => answer::of_failure(unsent),
    }
}

async fn by_mail(channel: &Channel, mail: &Mail, message: &Message, about: About<'_>) -> Outcome {
    match email::letter(mail, message, about, now()) {
        Ok(letter) => smtp::send(mail, &channel.outbound, &letter).await,
        Err(error) => Outcome::Refused(format!("no letter can be written of it: {error}")),
    }
}

fn settled(outcome: Outcome, generation: i64) -> Sent {
    Sent::Settled(settle(outcome, generation))
}

fn settle(outcome: Outcome, generation: i64) -> Settled {
    match outcome {
        Outcome::Taken(_) => Settled::Sent(None),
        Outcome::Failed { why, against, after } => Settled::Failed { why, against, after },
        Outcome::Refused(why) => Settled::Refused(why),
        Outcome::Gone(why) => Settled::Gone { why, generation },
        Outcome::NothingToEdit => Settled::Refused("Slack does not find its own message".to_owned()),
    }
}

fn thread_of(entry: &OutboxEntry, (channel, ts): (String, String)) -> Thread {
    Thread { uid: entry.rollout.uid.clone(), attempt: entry.rollout.attempt, channel, ts }
}

/// The time that outboxes go by.
pub fn now() -> MicroTime {
    clock::real_now()
}

//! What is sent of a message, by the kind of the channel.

use http::HeaderName;
#[cfg(test)]
use http::HeaderValue;
use http::header::AUTHORIZATION;
use serde_json::Value;
use url::Url;

use crate::api::MicroTime;
use crate::api::notificationchannel::{DigestKind, OutboxEntry, Thread};
use crate::sources::Secret;

use super::channel::Endpoint;
use super::message::Message;

mod alertmanager;
pub mod email;
mod pagerduty;
mod slack;
mod teams;
mod webhook;

/// One request: a POST of JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Where to.
    pub url: Url,
    /// Headers besides those of every request.
    pub headers: Vec<(HeaderName, Secret)>,
    /// What.
    pub body: Vec<u8>,
    /// What it is in Slack's bot mode, where the answer says more than that it was taken.
    pub step: Step,
}

/// What a request is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is all.
    Whole,
    /// Slack is to make a message that is edited later on.
    Begin,
    /// Slack is to edit that message.
    Edit,
}

impl Request {
    fn json(url: &Url, body: &Value) -> Request {
        Request {
            url: url.clone(),
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
            step: Step::Whole,
        }
    }

    fn authorized(mut self, authorization: &Secret) -> Request {
        self.headers.push((AUTHORIZATION, authorization.clone()));
        self
    }

    fn with(mut self, name: &'static str, value: String) -> Request {
        self.headers.push((HeaderName::from_static(name), Secret::new(value.into_bytes())));
        self
    }
}

/// The requests that tell a message, one after the other. `thread` is what Slack's bot has posted of the attempt before.
pub fn requests(
    endpoint: &Endpoint,
    entry: &OutboxEntry,
    message: &Message,
    thread: Option<&Thread>,
    now: MicroTime,
) -> Vec<Request> {
    match endpoint {
        Endpoint::Slack { base, channel, authorization } => {
            slack::bot(base, channel, authorization, message, thread)
        }
        Endpoint::SlackWebhook(url) => vec![Request::json(url, &slack::post(message))],
        Endpoint::Teams(url) => vec![Request::json(url, &teams::card(message))],
        Endpoint::Webhook { url, keys } => vec![webhook::event(url, keys, entry, message, now)],
        Endpoint::PagerDuty { url, routing_key } => pagerduty::event(routing_key, entry, message)
            .iter()
            .map(|event| Request::json(url, event))
            .collect(),
        // That is no request: see `smtp.rs`.
        Endpoint::Email(_) => Vec::new(),
        Endpoint::Alertmanager { url, authorization } => {
            let Some(alerts) = alertmanager::alerts(entry, message) else { return Vec::new() };
            let request = Request::json(url, &alerts);
            vec![match authorization {
                Some(authorization) => request.authorized(authorization),
                None => request,
            }]
        }
    }
}

/// A digest of a channel, as far as a receiver tells it from others.
#[derive(Clone, Copy, Debug)]
pub struct DigestOf<'a> {
    /// What tells it from every other.
    pub id: &'a str,
    /// Namespace of the channel.
    pub namespace: &'a str,
    /// Name of the channel.
    pub channel: &'a str,
    /// What it says.
    pub kind: DigestKind,
    /// The time of its schedule that it is for.
    pub at: MicroTime,
}

/// The requests that send a digest; none where the channel has none.
pub fn digest(endpoint: &Endpoint, of: DigestOf<'_>, message: &Message, now: MicroTime) -> Vec<Request> {
    match endpoint {
        Endpoint::Slack { base, channel, authorization } => {
            let posts = slack::bot(base, channel, authorization, message, None);
            posts.into_iter().map(|post| Request { step: Step::Whole, ..post }).collect()
        }
        Endpoint::SlackWebhook(url) => vec![Request::json(url, &slack::post(message))],
        Endpoint::Teams(url) => vec![Request::json(url, &teams::card(message))],
        Endpoint::Webhook { url, keys } => vec![webhook::digest(url, keys, of, message, now)],
        Endpoint::Email(_) | Endpoint::PagerDuty { .. } | Endpoint::Alertmanager { .. } => Vec::new(),
    }
}

/// Whether every header of a request can be sent.
#[cfg(test)]
fn has_sendable_headers(request: &Request) -> bool {
    request.headers.iter().all(|(_, value)| HeaderValue::from_bytes(value.bytes()).is_ok())
}

#[cfg(test)]
mod tests;

//! Any program: a structured CloudEvent, signed as Standard Webhooks says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use http::header::CONTENT_TYPE;
use serde_json::json;
use sha2::Sha256;
use url::Url;

use crate::api::notificationchannel::OutboxEntry;
use crate::api::{GROUP, MicroTime, VERSION};
use crate::notify::message::Message;
use crate::sources::Secret;

use super::{Request, Step};

/// The event of an entry. Its id stays the same however often it is sent; the time of the headers is that of the try.
pub(super) fn event(
    url: &Url,
    keys: &[Secret],
    entry: &OutboxEntry,
    message: &Message,
    now: MicroTime,
) -> Request {
    let rollout = &entry.rollout;
    let body = json!({
        "specversion": "1.0",
        "id": entry.id(),
        "source": format!("/apis/{GROUP}/{VERSION}/namespaces/{}/featurerollouts/{}", rollout.namespace, rollout.name),
        "type": format!("dev.sluice.rollout.{VERSION}.{}", entry.reason),
        "subject": rollout.name,
        "time": format!("{:.6}", entry.at),
        "datacontenttype": "application/json",
        "data": {
            "namespace": rollout.namespace,
            "name": rollout.name,
            "uid": rollout.uid,
            "attempt": rollout.attempt,
            "seq": entry.seq,
            "at": entry.at,
            "reason": entry.reason,
            "severity": entry.severity,
            "message": entry.message,
            "who": entry.who,
            "trigger": entry.trigger,
            "title": message.title,
            "text": message.text,
            "feature": rollout.title,
            "owner": rollout.owner,
            "phase": rollout.phase,
            "step": rollout.step,
            "exposure": rollout.exposure,
            "served": rollout.served,
            "link": message.link,
        },
    })
    .to_string();
    let (id, timestamp) = (entry.id(), now.as_second().to_string());
    let signatures: Vec<String> = keys.iter().map(|key| sign(key, &id, &timestamp, &body)).collect();
    let content_type = (CONTENT_TYPE, Secret::new(b"application/cloudevents+json; charset=utf-8".to_vec()));
    let request =
        Request { url: url.clone(), headers: vec![content_type], body: body.into_bytes(), step: Step::Whole }
            .with("webhook-id", id)
            .with("webhook-timestamp", timestamp);
    match signatures.is_empty() {
        true => request,
        false => request.with("webhook-signature", signatures.join(" ")),
    }
}

/// One signature, as the header has it.
fn sign(key: &Secret, id: &str, timestamp: &str, body: &str) -> String {
    // An HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.bytes()) else { return String::new() };
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

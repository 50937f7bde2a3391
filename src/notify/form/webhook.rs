//! Any program: a structured CloudEvent, signed as Standard Webhooks says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use crate::api::notificationchannel::OutboxEntry;
use crate::api::{GROUP, MicroTime, VERSION};
use crate::notify::message::{Chapter, Details, Message, Row, Section};
use crate::sources::Secret;

use super::{DigestOf, Request, Step};

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
    signed(url, keys, &entry.id(), body, now)
}

/// The event of a digest.
pub(super) fn digest(
    url: &Url,
    keys: &[Secret],
    of: DigestOf<'_>,
    message: &Message,
    now: MicroTime,
) -> Request {
    let chapter = |chapter: &Chapter| {
        json!({
            "namespace": chapter.namespace,
            "set": chapter.set,
            "cohort": chapter.cohort,
            "title": chapter.title,
            "about": chapter.about,
            "summary": chapter.summary,
            "sections": sections(&chapter.sections),
        })
    };
    let (what, details) = match &message.details {
        Details::None => ("sections", json!([])),
        Details::Sections(all) => ("sections", sections(all)),
        Details::Chapters(chapters) => ("cohorts", chapters.iter().map(chapter).collect()),
    };
    let body = json!({
        "specversion": "1.0",
        "id": of.id,
        "source": format!("/apis/{GROUP}/{VERSION}/namespaces/{}/notificationchannels/{}", of.namespace, of.channel),
        "type": format!("dev.sluice.digest.{VERSION}.{}", of.kind.as_str()),
        "subject": of.channel,
        "time": format!("{:.6}", of.at),
        "datacontenttype": "application/json",
        "data": {"title": message.title, "text": message.text, what: details},
    });
    signed(url, keys, of.id, body.to_string(), now)
}

fn sections(sections: &[Section]) -> Value {
    let row = |row: &Row| match row.rollout.is_empty() {
        true => json!({"rollout": row.name, "says": row.says}),
        false => json!({"rollout": row.rollout, "says": row.says}),
    };
    let section = |section: &Section| json!({"heading": section.heading, "rows": section.rows.iter().map(row).collect::<Vec<_>>()});
    sections.iter().map(section).collect()
}

/// A request with the headers of Standard Webhooks.
fn signed(url: &Url, keys: &[Secret], id: &str, body: String, now: MicroTime) -> Request {
    let timestamp = now.as_second().to_string();
    let signatures: Vec<String> = keys.iter().map(|key| sign(key, id, &timestamp, &body)).collect();
    let content_type = (CONTENT_TYPE, Secret::new(b"application/cloudevents+json; charset=utf-8".to_vec()));
    let request =
        Request { url: url.clone(), headers: vec![content_type], body: body.into_bytes(), step: Step::Whole }
            .with("webhook-id", id.to_owned())
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

//! PagerDuty's Events API v2: one incident a rollout, told apart by its UID. Its own extensions put the summary into chats,
//! so it calls nobody there.

use serde_json::{Value, json};

use crate::api::Severity;
use crate::api::notificationchannel::OutboxEntry;
use crate::notify::message::Message;
use crate::notify::text;
use crate::notify::words::{Incident, incident};
use crate::sources::Secret;

/// Most characters of a summary.
const LONGEST_SUMMARY: usize = 1024;

/// The event of an entry; nothing where it says nothing about an incident.
pub(super) fn event(routing_key: &Secret, entry: &OutboxEntry, message: &Message) -> Option<Value> {
    let rollout = &entry.rollout;
    let does = incident(entry.reason, entry.severity, rollout.is_rolled_back, Severity::Critical)?;
    let mut event = json!({
        "routing_key": String::from_utf8_lossy(routing_key.bytes()),
        "event_action": match does {
            Incident::Trigger => "trigger",
            Incident::Acknowledge => "acknowledge",
            Incident::Resolve => "resolve",
        },
        "dedup_key": format!("sluice/{}", rollout.uid),
    });
    if does == Incident::Trigger
        && let Value::Object(event) = &mut event
    {
        let summary = match message.text.lines().next() {
            Some(line) => format!("{}: {line}", message.title),
            None => message.title.clone(),
        };
        let details: serde_json::Map<String, Value> = message
            .facts
            .iter()
            .map(|(name, value)| ((*name).to_lowercase(), json!(text::quiet(value))))
            .collect();
        event.insert("client".to_owned(), json!("Sluice"));
        event.insert(
            "payload".to_owned(),
            json!({
                "summary": text::quiet(&summary).chars().take(LONGEST_SUMMARY).collect::<String>(),
                "source": format!("{}/{}", rollout.namespace, rollout.name),
                "severity": "critical",
                "timestamp": format!("{:.3}", entry.at),
                "component": rollout.name,
                "group": rollout.namespace,
                "class": entry.reason,
                "custom_details": details,
            }),
        );
        if let Some(link) = &message.link {
            event.insert("client_url".to_owned(), json!(link));
            event.insert("links".to_owned(), json!([{"href": link, "text": "The rollout"}]));
        }
    }
    Some(event)
}

//! Alertmanager's API v2: an alert a rollout and severity. Its receivers put the annotations into chats as they stand, so
//! they call nobody there.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::api::Severity;
use crate::api::notificationchannel::OutboxEntry;
use crate::notify::message::Message;
use crate::notify::text;
use crate::notify::words::{Incident, incident};

/// How long an alert fires that nobody resolves: Alertmanager wants to hear again of every alert, and it is told once.
const FIRES_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Name of every alert.
const NAME: &str = "SluiceRollout";

/// The alerts of an entry; nothing where it says nothing about any. What is over is over at every severity. An alert that
/// somebody has acknowledged goes on firing until it is over.
pub(super) fn alerts(entry: &OutboxEntry, message: &Message) -> Option<Value> {
    let severity = entry.severity;
    let does = incident(entry.reason, severity, entry.rollout.is_rolled_back, Severity::Warning)?;
    let severities = match does {
        Incident::Trigger => vec![severity],
        Incident::Acknowledge => return None,
        Incident::Resolve => vec![Severity::Warning, Severity::Critical],
    };
    let (starts, ends) = match does {
        Incident::Resolve => (None, entry.at),
        _ => (Some(entry.at), entry.at.saturating_add(FIRES_FOR)),
    };
    let alerts = severities.into_iter().map(|severity| alert(entry, message, severity, starts, ends));
    Some(alerts.collect())
}

fn alert(
    entry: &OutboxEntry,
    message: &Message,
    severity: Severity,
    starts: Option<crate::api::MicroTime>,
    ends: crate::api::MicroTime,
) -> Value {
    let rollout = &entry.rollout;
    let mut annotations = serde_json::Map::new();
    annotations.insert("summary".to_owned(), json!(text::quiet(&message.title)));
    annotations.insert("description".to_owned(), json!(text::quiet(&message.text)));
    for (name, value) in &message.facts {
        annotations.insert((*name).to_lowercase(), json!(text::quiet(value)));
    }
    let mut alert = json!({
        "labels": {
            "alertname": NAME,
            "namespace": rollout.namespace,
            "rollout": rollout.name,
            "severity": severity.as_str().to_lowercase(),
        },
        "annotations": annotations,
        "endsAt": format!("{ends:.3}"),
    });
    if let Value::Object(alert) = &mut alert {
        if let Some(starts) = starts {
            alert.insert("startsAt".to_owned(), json!(format!("{starts:.3}")));
        }
        if let Some(link) = &message.link {
            alert.insert("generatorURL".to_owned(), json!(link));
        }
    }
    alert
}

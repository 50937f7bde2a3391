//! A rollout in one row: the columns of kubectl, and what is served.

use serde::Serialize;

use super::table::table;
use super::visible::line;
use crate::api::conditions::types::READY;
use crate::api::{FeatureRollout, MicroTime};

/// What the columns say.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Whether the file holds what the rollout has decided.
    pub ready: Option<String>,
    /// What the rollout is doing.
    pub state: Option<String>,
    /// Phase of the last entered step.
    pub phase: Option<String>,
    /// The last entered step of all steps.
    pub step: Option<String>,
    /// Expected part of the audience.
    pub exposure: Option<String>,
    /// What each cohort is served.
    pub served: Option<String>,
    /// When something changes next.
    pub next: Option<String>,
    /// Why it is (not) ready.
    pub reason: Option<String>,
    /// The same in words.
    pub message: Option<String>,
    /// When the object was created.
    pub created: Option<String>,
}

impl Summary {
    /// The summary of a rollout as its status has it.
    pub fn of(rollout: &FeatureRollout) -> Summary {
        let status = rollout.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().find(|condition| condition.type_ == READY);
        Summary {
            namespace: rollout.metadata.namespace.clone().unwrap_or_default(),
            name: rollout.metadata.name.clone().unwrap_or_default(),
            ready: ready.map(|ready| ready.status.clone()),
            state: status.state,
            phase: status.phase,
            step: status.step,
            exposure: status.exposure,
            served: status.served,
            next: status.next,
            reason: ready.map(|ready| ready.reason.clone()),
            message: ready.map(|ready| ready.message.clone()),
            created: rollout.metadata.creation_timestamp.as_ref().map(|created| created.0.to_string()),
        }
    }

    /// The summary of an object that cannot be read.
    pub fn unreadable(invalid: &kube::core::error_boundary::InvalidObject) -> Summary {
        Summary {
            namespace: invalid.metadata.namespace.clone().unwrap_or_default(),
            name: invalid.metadata.name.clone().unwrap_or_default(),
            ready: None,
            state: Some("Unreadable".to_owned()),
            phase: None,
            step: None,
            exposure: None,
            served: None,
            next: None,
            reason: None,
            message: Some(invalid.error.clone()),
            created: invalid.metadata.creation_timestamp.as_ref().map(|created| created.0.to_string()),
        }
    }

    /// One line for a log: only what is known.
    pub fn line(&self) -> String {
        let known = [
            ("", &self.state),
            ("phase ", &self.phase),
            ("step ", &self.step),
            ("exposure ", &self.exposure),
            ("served ", &self.served),
            ("next ", &self.next),
        ];
        let known: Vec<String> = known
            .iter()
            .filter_map(|(label, value)| value.as_ref().map(|value| format!("{label}{value}")))
            .collect();
        line(&format!("{}/{} {}", self.namespace, self.name, known.join(", "))).into_owned()
    }
}

/// The rows as a table; ages count to `now`.
pub fn as_table(summaries: &[Summary], now: MicroTime) -> String {
    let headings = ["NAME", "READY", "STATE", "PHASE", "STEP", "EXPOSURE", "SERVED", "NEXT", "REASON", "AGE"];
    let cell = |value: &Option<String>| value.clone().unwrap_or_default();
    let rows: Vec<Vec<String>> = summaries
        .iter()
        .map(|s| {
            let created = s.created.as_deref().and_then(|created| created.parse::<MicroTime>().ok());
            let age = created.map(|created| age(created, now)).unwrap_or_default();
            let middle = [&s.ready, &s.state, &s.phase, &s.step, &s.exposure, &s.served, &s.next, &s.reason];
            std::iter::once(s.name.clone()).chain(middle.map(cell)).chain([age]).collect()
        })
        .collect();
    table(&headings, &rows)
}

/// How long ago, in the largest unit that says enough: `45s`, `12m`, `3h`, `8d`.
pub fn age(since: MicroTime, now: MicroTime) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

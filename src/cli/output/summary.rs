//! A rollout in one row: the columns of kubectl, and what is served.

use serde::Serialize;

use crate::api::conditions::types::READY;
use crate::api::{FeatureRollout, MicroTime};
use crate::cli::output::table::table;
use crate::visible::line;

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
    /// The FlagSet whose file the flag is in; absent where it has a file of its own.
    pub flag_set: Option<String>,
    /// When something changes next.
    pub next: Option<String>,
    /// Why it does what its state says: the check that says no, and what of it.
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
            state: status.state.map(|state| state.to_string()),
            phase: status.phase,
            step: status.step,
            exposure: status.exposure,
            served: status.served,
            flag_set: rollout.spec.flag_set_ref.as_ref().map(|reference| reference.name.clone()),
            next: status.next,
            reason: status.reason,
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
            flag_set: None,
            next: None,
            reason: None,
            message: Some(invalid.error.clone()),
            created: invalid.metadata.creation_timestamp.as_ref().map(|created| created.0.to_string()),
        }
    }

    /// What the columns of `kubectl get` say.
    fn row(&self, now: MicroTime) -> Vec<String> {
        let created = self.created.as_deref().and_then(|created| created.parse::<MicroTime>().ok());
        let age = created.map(|created| age(created, now)).unwrap_or_default();
        let middle =
            [&self.ready, &self.state, &self.phase, &self.step, &self.exposure, &self.next, &self.reason];
        std::iter::once(self.name.clone()).chain(middle.map(cell)).chain([age]).collect()
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

/// The columns of `kubectl get`.
const HEADINGS: [&str; 9] = ["NAME", "READY", "STATE", "PHASE", "STEP", "EXPOSURE", "NEXT", "REASON", "AGE"];
/// Those that `kubectl get -o wide` has besides.
const WIDE_HEADINGS: [&str; 3] = ["SERVED", "FLAGSET", "MESSAGE"];

/// Which columns besides those that are always there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Columns {
    /// The namespace, before the name.
    pub namespaces: bool,
    /// What each cohort is served, the FlagSet and the message.
    pub wide: bool,
}

/// The rows as a table; ages count to `now`.
pub fn as_table(summaries: &[Summary], now: MicroTime, columns: Columns) -> String {
    let row = |summary: &Summary| {
        let mut row: Vec<String> =
            columns.namespaces.then(|| summary.namespace.clone()).into_iter().collect();
        row.extend(summary.row(now));
        if columns.wide {
            row.extend([&summary.served, &summary.flag_set, &summary.message].map(cell));
        }
        row
    };
    let mut headings: Vec<&str> = columns.namespaces.then_some("NAMESPACE").into_iter().collect();
    headings.extend(HEADINGS);
    headings.extend(WIDE_HEADINGS.iter().filter(|_| columns.wide));
    table(&headings, &summaries.iter().map(row).collect::<Vec<_>>())
}

fn cell(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
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

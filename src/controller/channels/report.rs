//! What a channel says of itself.

use crate::api::conditions::{Condition, Want, merge, types};
use crate::api::notificationchannel::NotificationChannelStatus;
use crate::api::{MicroTime, Reason};

/// Most bytes of a condition's message.
const LONGEST: usize = 512;

/// Why a channel cannot be sent to, or not as it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// For programs.
    pub reason: Reason,
    /// For people who may read channels.
    pub message: String,
}

/// The conditions of a channel with this outbox.
pub fn conditions(
    status: &NotificationChannelStatus,
    trouble: Option<&Trouble>,
    generation: i64,
    now: MicroTime,
) -> Vec<Condition> {
    let error = status.last_error.as_ref().map(|error| error.message.as_str());
    let waiting = match status.outbox.len() {
        0 => String::new(),
        1 => "; 1 message waits".to_owned(),
        waiting => format!("; {waiting} messages wait"),
    };
    let (reason, message, other) = match trouble {
        Some(trouble) if trouble.reason == Reason::Retrying => {
            (trouble.reason, format!("{}{waiting}", trouble.message), Some(types::RECONCILING))
        }
        Some(trouble) => (trouble.reason, format!("{}{waiting}", trouble.message), Some(types::STALLED)),
        None if status.gone_generation == Some(generation) => {
            let said = error.unwrap_or("it is gone");
            let message = format!(
                "the receiver takes no messages any more: {said}; change the spec to try again{waiting}"
            );
            (Reason::EndpointGone, message, Some(types::STALLED))
        }
        None if status.failures > 0 => {
            let said = error.unwrap_or("it failed");
            (
                Reason::Retrying,
                format!("the last message did not go through: {said}{waiting}"),
                Some(types::RECONCILING),
            )
        }
        None => (Reason::Valid, "messages go through".to_owned(), None),
    };
    let message = crate::notify::text::line(&message, LONGEST);
    let ready = Want { type_: types::READY, status: other.is_none(), reason: reason.as_str(), message };
    let mut wants = vec![ready.clone()];
    wants.extend(other.map(|type_| Want { type_, status: true, ..ready }));
    merge(&status.conditions, &wants, generation, now)
}

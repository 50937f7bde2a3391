//! What becomes of events that are to be taken in.

use super::ObjectKey;
use crate::telemetry::Dropped;

/// What became of events that were to be taken in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Why some of them found no room, and how many.
    pub left_out: Option<(Dropped, usize)>,
    /// What has made room for them.
    pub gave_way: Vec<GaveWay>,
}

/// An event that made room for one of a namespace that has fewer.
#[derive(Debug, PartialEq, Eq)]
pub struct GaveWay {
    /// The object.
    pub key: ObjectKey,
    /// Whether a history has it, so that it can be handed over again.
    pub is_entry: bool,
    /// Whether the report of the object waited for it, and does not any more.
    pub was_awaited: bool,
}

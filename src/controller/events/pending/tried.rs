//! How a try to publish an event ended, and what follows.

use std::time::Duration;

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is published, or was before, or will never be taken: it needs no other try.
    Done,
    /// It may work later.
    Failed,
}

/// What follows from a try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct After {
    /// Nothing of the object waits any more.
    pub is_empty: bool,
    /// The report of the object waited for this.
    pub was_awaited: bool,
    /// The namespace works again, or has begun to fail.
    pub has_turned: bool,
    /// How long until the next try, after a failure.
    pub wait: Option<Duration>,
}

//! Words that decisions, reports and answers share.

use crate::api::MicroTime;
use crate::api::status::CohortStatus;
pub(super) use crate::visible::cut;

/// Most bytes of one message.
const MOST_MESSAGE: usize = 512;

/// A message that fits into a status.
pub fn short(message: &str) -> String {
    cut(message, MOST_MESSAGE)
}

/// Words of people, as they may stand in an entry of the history: the arrow that tells of a change there (`regular 50% → 75%`) is the
/// engine's own, so that whoever reads what was served out of the history reads nothing that somebody only wrote.
pub(super) fn theirs(words: &str) -> String {
    words.replace('→', "->")
}

/// An instant to the second, as messages show it.
pub(super) fn second(at: MicroTime) -> String {
    format!("{at:.0}")
}

/// What is decided for every cohort, in one line.
pub(super) fn decided_line(cohorts: &[CohortStatus]) -> String {
    cohorts
        .iter()
        .map(|cohort| format!("{} {}", cohort.name, cohort.decided()))
        .collect::<Vec<_>>()
        .join(", ")
}

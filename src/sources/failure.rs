//! Why a source gave no answer, in words that hold nothing of what it sent.

use std::time::Duration;

use super::circuits::Blame;

/// Most bytes of an answer's body.
pub(super) const LARGEST_BODY: usize = 1024 * 1024;

/// Why a source gave no answer that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("the source's circuit is open after repeated errors")]
    Open,
    #[error("the query timed out several times in a row, and is left alone for a while")]
    LeftAlone,
    #[error("the source's limits leave no room for the query")]
    Limited,
    #[error("the source's name cannot be resolved")]
    Unresolved,
    #[error("the source's address may not be reached; an admin may allow it in allowAddresses")]
    Denied,
    #[error("the source refuses the connection")]
    Refused,
    #[error("the source cannot be reached")]
    Unreachable,
    #[error("the TLS connection to the source failed")]
    Tls,
    #[error("the source does not speak HTTP properly, or broke off")]
    Http,
    #[error("the source did not answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error("the source answered with a redirect, which is not followed")]
    Redirect,
    #[error("the source answered with a {}xx status", .0 / 100)]
    Status(u16),
    #[error("the source's answer is larger than 1 MiB")]
    TooLarge,
    #[error("the source's answer is compressed, which was not asked for")]
    Compressed,
    #[error("the source's answer is not valid JSON")]
    Json,
    #[error("the source's answer is not in the form of Prometheus")]
    Form,
    #[error("the source reports an error")]
    Reported,
    #[error("the query is not in the source's language")]
    Query,
}

impl Failure {
    /// Whether the source was sent nothing.
    pub fn was_not_asked(self) -> bool {
        matches!(self, Failure::Open | Failure::LeftAlone | Failure::Limited | Failure::Query)
    }

    /// What it counts against: the least that can have brought it about. Nothing where the source did well.
    pub fn blame(self) -> Option<Blame> {
        match self {
            Failure::Open
            | Failure::LeftAlone
            | Failure::Limited
            | Failure::Query
            | Failure::TooLarge
            | Failure::Reported => None,
            Failure::TimedOut(_) | Failure::Status(408) => Some(Blame::Query),
            Failure::Status(code) if (400..500).contains(&code) => {
                matches!(code, 401 | 403 | 404 | 429).then_some(Blame::Namespace)
            }
            Failure::Unresolved
            | Failure::Denied
            | Failure::Refused
            | Failure::Unreachable
            | Failure::Tls => Some(Blame::Source),
            Failure::Http
            | Failure::Redirect
            | Failure::Status(_)
            | Failure::Compressed
            | Failure::Json
            | Failure::Form => Some(Blame::Namespace),
        }
    }
}

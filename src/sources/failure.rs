//! Why a source gave no answer, in words that hold nothing of what it sent.

use std::fmt;
use std::time::Duration;

use super::circuits::Blame;

/// Most bytes of an answer's body.
pub(super) const LARGEST_BODY: usize = 1024 * 1024;

/// Why a source gave no answer that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It is not asked, because of the error in these words.
    Open(&'static str),
    /// The query is not asked, because it timed out.
    LeftAlone,
    Limited,
    Unresolved,
    Denied,
    Refused,
    Unreachable,
    Tls,
    Http,
    /// Within this time.
    TimedOut(Duration),
    Redirect,
    /// With this HTTP status.
    Status(u16),
    TooLarge,
    Compressed,
    Json,
    Form,
    Reported,
    Query,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Open(cause) => {
                write!(f, "{cause}; after repeated errors it is asked again only after a while")
            }
            Failure::LeftAlone => {
                f.write_str("the query timed out several times in a row, and is left alone for a while")
            }
            Failure::TimedOut(within) => {
                write!(f, "the source did not answer within {} ms", within.as_millis())
            }
            other => f.write_str(other.words()),
        }
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// Whether the source was sent nothing.
    pub fn was_not_asked(self) -> bool {
        matches!(self, Failure::Open(_) | Failure::LeftAlone | Failure::Limited | Failure::Query)
    }

    /// What it counts against: the least that can have brought it about. Nothing where the source did well.
    pub fn blame(self) -> Option<Blame> {
        match self {
            Failure::Open(_)
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

    /// The same in words that are always the same, for whoever is told of it later.
    pub fn words(self) -> &'static str {
        match self {
            Failure::Open(cause) => cause,
            Failure::LeftAlone | Failure::TimedOut(_) => "the source did not answer in time",
            Failure::Limited => "the source's limits leave no room for the query",
            Failure::Unresolved => "the source's name cannot be resolved",
            Failure::Denied => {
                "the source's address may not be reached; an admin may allow it in allowAddresses"
            }
            Failure::Refused => "the source refuses the connection",
            Failure::Unreachable => "the source cannot be reached",
            Failure::Tls => "the TLS connection to the source failed",
            Failure::Http => "the source does not speak HTTP properly, or broke off",
            Failure::Redirect => "the source answered with a redirect, which is not followed",
            Failure::Status(code) => status_words(code),
            Failure::TooLarge => {
                "the source's answer is larger than 1 MiB, or would be larger than 8 MiB in memory"
            }
            Failure::Compressed => "the source's answer is compressed, which was not asked for",
            Failure::Json => "the source's answer is not valid JSON",
            Failure::Form => "the source's answer is not in the form of Prometheus",
            Failure::Reported => "the source reports an error",
            Failure::Query => "the query is not in the source's language",
        }
    }
}

/// What an HTTP status tells whoever has to put it right. Those that tell the same are not told apart.
fn status_words(code: u16) -> &'static str {
    match code {
        400 | 422 => "the source refuses the query as wrong or too expensive (status 400 or 422)",
        401 => "the source does not accept the credentials (status 401)",
        403 => "the source forbids the query (status 403)",
        404 => "the source has nothing at the path of its URL (status 404)",
        429 => "the source is asked too often (status 429)",
        400..500 => "the source answered with a 4xx status",
        500..600 => "the source answered with a 5xx status",
        _ => "the source answered with no status of success",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_later_is_what_was_told_at_once() {
        for failure in [
            Failure::Unresolved,
            Failure::Denied,
            Failure::Refused,
            Failure::Unreachable,
            Failure::Tls,
            Failure::Http,
            Failure::Redirect,
            Failure::Status(401),
            Failure::Status(503),
            Failure::Compressed,
            Failure::Json,
            Failure::Form,
            Failure::Reported,
        ] {
            assert_eq!(failure.to_string(), failure.words());
            let open = Failure::Open(failure.words());
            assert!(open.to_string().starts_with(failure.words()) && !open.to_string().contains("  "));
            assert_eq!(open.words(), failure.words());
        }
    }

    /// Each is something else to mend.
    #[test]
    fn statuses_that_are_mended_differently_are_told_apart() {
        let told: std::collections::BTreeSet<&str> =
            [400, 401, 403, 404, 418, 429, 500, 600].map(status_words).into();
        assert_eq!(told.len(), 8);
        assert_eq!(status_words(400), status_words(422));
        assert_eq!(status_words(500), status_words(503));
    }
}

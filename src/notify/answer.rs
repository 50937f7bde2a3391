//! What an answer means for a message and for its channel.

use std::time::Duration;

use jiff::fmt::rfc2822;
use serde_json::Value;

use crate::api::MicroTime;
use crate::sources::outbound::{Reply, Unsent};

use super::form::Step;

/// Longest time that a receiver may ask to be left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Against whom a failure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// Any message would have failed.
    Channel,
    /// Another one may go through.
    Message,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken. Slack says which message that made: its channel and its `ts`.
    Taken(Option<(String, String)>),
    /// It may be tried again.
    Failed {
        /// Why.
        why: String,
        /// Whom it counts against.
        against: Against,
        /// How long the receiver asks to be left alone.
        after: Option<Duration>,
    },
    /// It will never be taken.
    Refused(String),
    /// The message that was to be edited is gone.
    NothingToEdit,
    /// The receiver takes no messages any more.
    Gone(String),
}

/// What no answer means.
pub fn of_failure(unsent: Unsent) -> Outcome {
    let against = match unsent {
        Unsent::Http | Unsent::TimedOut(_) | Unsent::TooLarge => Against::Message,
        _ => Against::Channel,
    };
    Outcome::Failed { why: unsent.to_string(), against, after: None }
}

/// What an answer means.
pub fn of_reply(reply: &Reply, is_slack: bool, step: Step, now: MicroTime) -> Outcome {
    let after = reply.retry_after.as_deref().and_then(|after| pause(after, now));
    let why = format!("it answered with HTTP status {}", reply.status);
    match reply.status {
        200..300 if is_slack => of_slack(&reply.body, step),
        200..300 => Outcome::Taken(None),
        410 => Outcome::Gone("it says that it is gone (HTTP status 410)".to_owned()),
        300..=399 => {
            let why = format!("{why}, a redirect, which is not followed");
            Outcome::Failed { why, against: Against::Channel, after }
        }
        401 | 403 | 404 | 429 => Outcome::Failed { why, against: Against::Channel, after },
        408 | 500.. => Outcome::Failed { why, against: Against::Message, after },
        _ => Outcome::Refused(why),
    }
}

/// How long a header `Retry-After` asks for: seconds, or until an instant.
fn pause(header: &str, now: MicroTime) -> Option<Duration> {
    let pause = match header.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = rfc2822::parse(header.trim()).ok()?.timestamp();
            Duration::try_from(MicroTime::from(until).duration_since(now)).ok()?
        }
    };
    Some(pause.min(LONGEST_PAUSE))
}

/// Slack says in the body whether it did what was asked.
fn of_slack(body: &[u8], step: Step) -> Outcome {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        let why = "Slack's answer cannot be read".to_owned();
        return Outcome::Failed { why, against: Against::Message, after: None };
    };
    if body.get("ok") == Some(&Value::Bool(true)) {
        let said = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let made = (step == Step::Begin).then(|| Some((said("channel")?, said("ts")?))).flatten();
        return Outcome::Taken(made);
    }
    let error = body.get("error").and_then(Value::as_str).unwrap_or("no error");
    let why = super::text::line(&format!("Slack refuses it: {error}"), 200);
    match error {
        "message_not_found" | "thread_not_found" | "cant_update_message" | "edit_window_closed" => {
            Outcome::NothingToEdit
        }
        "msg_too_long" | "invalid_blocks" | "no_text" | "invalid_arguments" => Outcome::Refused(why),
        "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" => {
            Outcome::Failed { why, against: Against::Message, after: None }
        }
        _ => Outcome::Failed { why, against: Against::Channel, after: None },
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn reply(status: u16, retry_after: Option<&str>, body: &str) -> Reply {
        Reply { status, retry_after: retry_after.map(str::to_owned), body: body.as_bytes().to_vec() }
    }

    fn now() -> MicroTime {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    #[rstest]
    #[case(202, None, "taken")]
    #[case(302, None, "channel")]
    #[case(400, None, "refused")]
    #[case(401, None, "channel")]
    #[case(404, None, "channel")]
    #[case(410, None, "gone")]
    #[case(422, None, "refused")]
    #[case(429, Some("7"), "channel 7")]
    #[case(429, Some("Thu, 01 Jan 2026 00:00:30 GMT"), "channel 30")]
    #[case(429, Some("99999999"), "channel 3600")]
    #[case(503, Some("nonsense"), "message")]
    #[case(500, None, "message")]
    fn answers(#[case] status: u16, #[case] retry_after: Option<&str>, #[case] expected: &str) {
        let said = match of_reply(&reply(status, retry_after, ""), false, Step::Whole, now()) {
            Outcome::Taken(_) => "taken".to_owned(),
            Outcome::Refused(_) => "refused".to_owned(),
            Outcome::Gone(_) => "gone".to_owned(),
            Outcome::NothingToEdit => "nothing".to_owned(),
            Outcome::Failed { against, after, .. } => {
                let against = if against == Against::Channel { "channel" } else { "message" };
                after.map_or(against.to_owned(), |after| format!("{against} {}", after.as_secs()))
            }
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn slack_says_no_in_a_success() {
        let say = |body: &str, step| of_reply(&reply(200, None, body), true, step, now());
        let made = r#"{"ok":true,"channel":"C9","ts":"1.2"}"#;
        assert_eq!(say(made, Step::Begin), Outcome::Taken(Some(("C9".to_owned(), "1.2".to_owned()))));
        assert_eq!(say(made, Step::Whole), Outcome::Taken(None));
        assert_eq!(say(r#"{"ok":false,"error":"message_not_found"}"#, Step::Edit), Outcome::NothingToEdit);
        assert!(matches!(
            say(r#"{"ok":false,"error":"channel_not_found"}"#, Step::Begin),
            Outcome::Failed { against: Against::Channel, .. }
        ));
        assert!(matches!(say(r#"{"ok":false,"error":"msg_too_long"}"#, Step::Whole), Outcome::Refused(_)));
        assert!(matches!(say("<html>", Step::Whole), Outcome::Failed { .. }));
    }
}

//! Why an identity provider gives nothing, in words.

use serde::Deserialize;

use super::token::Wrong;
use crate::sources::outbound::{Reply, Unsent};

/// Most characters of what a provider says.
const MOST_SAID: usize = 300;

/// Why there is no token. Nothing secret is in it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be asked.
    #[error("the identity provider cannot be asked for {0}: {1}")]
    Unreachable(&'static str, Unsent),
    /// It answers something else.
    #[error("the identity provider answers with status {1} when it is asked for {0}")]
    Status(&'static str, u16),
    /// Its answer makes no sense.
    #[error("what the identity provider answers when it is asked for {0} makes no sense: {1}")]
    Nonsense(&'static str, String),
    /// It says no.
    #[error("the identity provider says: {0}")]
    Said(String),
    /// It gives no ID token.
    #[error(
        "the identity provider has given no ID token; the scope openid is needed, and for a refresh a provider that gives a new one"
    )]
    NoToken,
    /// The token is not taken.
    #[error("the ID token of the identity provider is not taken: {0}")]
    Token(#[from] Wrong),
    /// The file with the secret.
    #[error("the file with the client secret cannot be read: {0}")]
    Secret(String),
}

impl ProviderError {
    /// Whether asking again would end in the same way.
    pub fn is_final(&self) -> bool {
        matches!(self, ProviderError::Said(_) | ProviderError::NoToken | ProviderError::Token(_))
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// An answer that makes no sense.
pub(super) fn nonsense(what: &'static str, error: &dyn std::fmt::Display) -> ProviderError {
    ProviderError::Nonsense(what, error.to_string())
}

/// What an answer says that is no success.
pub(super) fn refusal(reply: &Reply, what: &'static str) -> ProviderError {
    // What may be otherwise in a moment is no refusal: a session must not end by it.
    let is_for_now =
        |error: &str| reply.status >= 500 || reply.status == 429 || error == "temporarily_unavailable";
    match serde_json::from_slice::<Refusal>(&reply.body) {
        Ok(refusal) if is_for_now(&refusal.error) => ProviderError::Status(what, reply.status),
        Ok(refusal) => ProviderError::Said(said(&refusal.error, refusal.error_description.as_deref())),
        Err(_) => ProviderError::Status(what, reply.status),
    }
}

/// What a provider says of a failure, in words that people know where the protocol has a name for it.
pub fn said(error: &str, description: Option<&str>) -> String {
    let known = match error {
        "access_denied" => "access was denied",
        "invalid_client" => "it does not know this panel as a client, or the client secret is wrong",
        "invalid_grant" => "the sign-in is used up, has expired, or was withdrawn",
        "invalid_scope" => "it does not offer the scopes that this panel asks for",
        "unauthorized_client" => "this panel may not ask for that",
        "login_required" | "interaction_required" => "somebody has to sign in there again",
        "temporarily_unavailable" | "server_error" => "it cannot answer now",
        other => other,
    };
    let all = match description.map(str::trim).filter(|text| !text.is_empty()) {
        Some(description) => format!("{known} ({description})"),
        None => known.to_owned(),
    };
    all.chars().take(MOST_SAID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_refuses_is_said_in_words() {
        assert_eq!(said("access_denied", None), "access was denied");
        assert_eq!(said("odd_error", Some("because <b>")), "odd_error (because <b>)");
        assert_eq!(said("x", Some(&"y".repeat(1_000))).chars().count(), MOST_SAID);
        let reply = |status, body: &str| Reply { status, retry_after: None, body: body.as_bytes().to_vec() };
        let used = refusal(&reply(400, r#"{"error": "invalid_grant"}"#), "a token");
        assert!(used.is_final() && used.to_string().contains("used up"), "{used}");
        for (status, body) in [
            (502, "<html>"),
            (500, r#"{"error": "server_error"}"#),
            (429, r#"{"error": "slow_down"}"#),
            (400, r#"{"error": "temporarily_unavailable"}"#),
        ] {
            let odd = refusal(&reply(status, body), "a token");
            assert!(!odd.is_final() && odd.to_string().contains(&status.to_string()), "{odd}");
        }
    }
}

//! What an identity provider announces of itself.

use serde::Deserialize;
use url::Url;

/// What a provider announces of itself, as far as it is used.
#[derive(Debug, Deserialize)]
pub struct Announced {
    /// How it calls itself.
    pub issuer: String,
    /// Where people sign in.
    pub authorization_endpoint: Address,
    /// Where codes and refresh tokens are redeemed.
    pub token_endpoint: Address,
    /// Where its keys are.
    pub jwks_uri: Address,
    /// Where people sign out.
    pub end_session_endpoint: Option<Address>,
    /// Where it is told that a token is of no use any more.
    pub revocation_endpoint: Option<Address>,
    /// How a client may prove itself there; empty where that is not said.
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Vec<String>,
}

/// An address that a provider announces.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Address(pub Url);

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Address, String> {
        let url = Url::parse(&text).map_err(|error| format!("{text:?} is no address: {error}"))?;
        match url.scheme() {
            "https" => Ok(Address(url)),
            _ => Err(format!("{text:?} does not begin with https")),
        }
    }
}

//! What the panel is told of the identity provider.

use std::path::PathBuf;

/// How people sign in by OpenID Connect.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The issuer, letter by letter as its tokens have it.
    pub issuer: String,
    /// The name under which the provider knows the panel.
    pub client_id: String,
    /// File with the secret of that client; none for a public client. It is read whenever it is needed.
    pub client_secret: Option<PathBuf>,
    /// What is asked for; `openid` is asked for in any case.
    pub scopes: Vec<String>,
    /// Certificates, in PEM, that the provider's own is checked by; default: those of the system.
    pub certificates: Option<String>,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// The issuer is no address.
    #[error("the issuer {0:?} has to be an address that begins with https, without a query")]
    Issuer(String),
    /// There is no name of a client.
    #[error("the client ID is missing")]
    ClientId,
    /// The certificates cannot be used.
    #[error("the certificates for the issuer are of no use: {0}")]
    Certificates(String),
}

//! Signing in by OpenID Connect: the authorisation code with PKCE, from a provider that the API server trusts, too.
//!
//! What counts is the ID token: the API server is shown it with each request and decides by it, as it does for
//! kubectl. `attempt` is a sign-in under way, `provider` asks, `token` judges what comes back, and `credential` keeps
//! it fresh. Tokens stay in this process: no cookie, page, address or log has one.

use std::time::Duration;

pub mod announced;
pub mod attempt;
pub mod credential;
pub mod provider;
pub mod refusal;
pub mod settings;
pub mod token;

/// Where a provider sends people back to.
pub const CALLBACK: &str = "/enter/callback";

/// The longest that a token is taken to be valid.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

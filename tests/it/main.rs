//! Integration tests: one binary, one module a promise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail where it stands, in its helpers too"
)]

mod apps;
mod beginnings;
mod cli;
mod crash;
mod outage;
mod purity;
mod sandbox;
mod support;
mod thin_path;

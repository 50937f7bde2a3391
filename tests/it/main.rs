//! Integration tests: one binary, one module a promise.

mod sandbox;
mod support;
mod thin_path;

//! Integration tests: one binary, one module a promise.

mod admission;
mod bounds;
mod flag_sets;
mod orphans;
mod sandbox;
mod support;
mod thin_path;

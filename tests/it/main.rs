//! Integration tests: one binary, one module a promise.

mod admission;
mod audiences;
mod bounds;
mod flag_sets;
mod orphans;
mod sandbox;
mod status;
mod steps_together;
mod support;
mod thin_path;

//! From what status says is served to the flagd JSON that apps read. Nothing here knows a client, a runtime or a clock.

mod bucket;
mod canonical;
pub mod check;
pub mod condition;
mod engine;
mod evaluators;
pub mod file;
#[cfg(test)]
mod fixtures;
pub mod fragment;
mod model;
pub mod schema;

pub use canonical::sha256_hex;
pub use check::{CheckError, self_check};
pub use condition::{condition, validate};
pub use file::{File, FileError, SetMark, compose, parse};
pub use fragment::{Fragment, Identity, LiveFlag, digest, fragment, live};

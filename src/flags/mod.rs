//! From what status says is served to the flagd JSON that apps read. Nothing here knows a client, a runtime or a clock.

mod canonical;
pub mod condition;
mod engine;
mod evaluators;
pub mod file;
#[cfg(test)]
mod fixtures;
pub mod fragment;

pub use canonical::sha256_hex;
pub use condition::{condition, validate};
pub use file::{File, FileError, SetMark, compose, parse};
pub use fragment::{Fragment, Identity, LiveFlag, digest, fragment, live};

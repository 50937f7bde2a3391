//! How deep and how large what tenants write may be.
//!
//! Parsers, validators and writers of nested text call themselves once a level, and a stack that runs over cannot be
//! caught: it ends the process, for everybody, at each start again. Others take time or memory that grows faster than the
//! text. So whatever a tenant wrote is measured here first, by loops whose cost is that of reading it, and refused with
//! its field before anything that is not linear sees it. `clippy.toml` keeps the parsers from being called elsewhere, and
//! `no_text_of_a_tenant_takes_the_stack` gives each of them all that nests.
//!
//! | text | is measured by | where |
//! |---|---|---|
//! | PromQL | words, operators and parentheses; [`Expressions`] for its regular expressions | `sources/promql.rs` |
//! | JSONPath | its length, [`brackets`], calls and operators | `sources/json_path.rs` |
//! | JSON (flags, variants, metadata) | [`measure`] | `flags/statics.rs`, `plan/feature.rs` |
//! | conditions of cohorts, and variants as they are in the file | [`CONDITIONS`] and [`VARIANTS`] | `plan/size.rs` |
//! | JSON as text | serde_json's own 128 levels | wherever it is read |
//! | objects of the API server, files that nobody vouches for, answers of sources | what they would take in memory: [`json::decoded`] | `cluster/decode.rs`, `flags/file.rs`, `sources/http_json.rs` |
//! | YAML of the command line | levels of its nodes | `cli/files/yaml.rs` |
//! | durations, percentages, versions, times, templates | nothing: they are read by loops | |

mod expression;
pub mod json;

pub use expression::Expressions;
pub use json::{CONDITIONS, Excess, FLAG, FLAGS, Limits, VALUE, VARIANTS, bytes, bytes_of_text, measure};

use std::borrow::Cow;

/// Most bytes of a message that repeats what a tenant wrote.
pub const LONGEST_MESSAGE: usize = 512;

/// How many brackets a text opens, those in quotes and those that are never closed included: no tree of it is deeper.
pub fn brackets(text: &str) -> usize {
    text.bytes().filter(|byte| matches!(byte, b'(' | b'[' | b'{')).count()
}

/// The text, or its beginning and an ellipsis where it has more than [`LONGEST_MESSAGE`] bytes.
pub fn cut(text: &str) -> Cow<'_, str> {
    const ELLIPSIS: &str = "…";
    if text.len() <= LONGEST_MESSAGE {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(LONGEST_MESSAGE - ELLIPSIS.len());
    Cow::Owned(format!("{}{ELLIPSIS}", text.get(..end).unwrap_or_default()))
}

#[cfg(test)]
mod tests;

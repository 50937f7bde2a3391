//! The files that offline commands read: found, parsed as kubectl does, and judged.

mod folder;
pub mod lint;
pub mod misfits;
pub mod object;
pub mod problem;
pub mod read;
mod repair;
pub mod schema;
pub mod typed;
pub mod wording;
pub mod yaml;

pub use object::{Kind, Object};
pub use read::{Input, InputArgs, load};

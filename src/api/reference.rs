//! The reference in `docs/reference`: a page a kind, and one of everything that a status says.

mod markdown;
mod states;

pub use markdown::pages;

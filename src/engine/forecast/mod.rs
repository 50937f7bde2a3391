//! What-if for the command line: the course of a rollout if all goes well, and under recorded samples and actions.
//!
//! Both take the very decisions that the controller takes.

pub mod edit;
pub mod late;
mod recorded;
pub mod simulate;
pub mod stored;
pub mod timeline;
mod walk;

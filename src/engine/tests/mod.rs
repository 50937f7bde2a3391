//! Tests of the decision, and of the timeline that is made of decisions.

mod actions;
mod beginnings;
mod clock;
mod delivery;
mod doors;
mod edits;
mod gates;
mod latch;
mod missing;
mod oracle;
mod outside;
mod properties;
mod random;
mod random_guard;
mod rollbacks;
mod shadow;
mod sizes;
pub(super) mod support;
mod timeline_cohorts;
mod timeline_missed;
mod timeline_steps;
mod timeline_windows;
mod timeline_zones;
mod triggers;
mod verbs;
mod world;

//! Tests of the decision, and of the timeline that is made of decisions.

mod beginnings;
mod clock;
mod edits;
mod oracle;
mod outside;
mod properties;
mod random;
pub(super) mod support;
mod timeline_cohorts;
mod timeline_missed;
mod timeline_steps;
mod timeline_windows;
mod timeline_zones;

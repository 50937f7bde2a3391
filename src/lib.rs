//! Sluice: a Kubernetes operator for feature rollouts.

pub mod api;
pub mod flags;
pub mod plan;

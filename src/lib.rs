//! Sluice: a Kubernetes operator for feature rollouts.

pub mod api;
pub mod cli;
pub mod engine;
pub mod flags;
pub mod plan;
pub mod sandbox;

//! Sluice: a Kubernetes operator for feature rollouts.

pub mod sandbox;

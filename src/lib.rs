//! Sluice: a Kubernetes operator for feature rollouts.

//! Sluice: a Kubernetes operator for feature rollouts.

pub mod api;
pub mod bounds;
pub mod changelog;
pub mod chart;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod controller;
pub mod dashboard;
pub mod engine;
pub mod error;
pub mod fair;
pub mod flags;
pub mod notify;
pub mod panics;
pub mod plan;
pub mod playbook;
pub mod sandbox;
pub mod server;
pub mod sources;
pub mod telemetry;
pub mod visible;
pub mod watchdog;

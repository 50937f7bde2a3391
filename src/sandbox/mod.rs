//! A real Kubernetes control plane (etcd, API server and, if asked for, the
//! controller manager) on this machine's loopback, for trying Sluice and for
//! its tests.
//!
//! It has no nodes, so no Pod ever runs; everything that only needs the API
//! is the real thing. [`ControlPlane::start`] is the way in:
//!
//! ```no_run
//! # async fn example() -> Result<(), sluice::sandbox::SandboxError> {
//! use sluice::sandbox::{ControlPlane, Options};
//!
//! let plane = ControlPlane::start(Options::default()).await?;
//! println!("export KUBECONFIG={}", plane.kubeconfig_path().display());
//! plane.stop().await
//! # }
//! ```
//!
//! The programs come from `KUBEBUILDER_ASSETS`, from `PATH`, from the cache,
//! or from a build with Go into the cache, in this order: see [`Binaries`].

mod api_server;
mod binaries;
mod build;
mod certs;
mod control_plane;
mod controller_manager;
mod data_dir;
mod error;
mod etcd;
mod install;
mod kubeconfig;
mod ports;
mod process;
mod progress;
mod prometheus;
mod ready;
mod recipe;
mod scripted_app;

pub use binaries::Binaries;
pub use control_plane::{ControlPlane, Options};
pub use error::SandboxError;
pub use install::{ensure_namespace, install_crds, install_policies};
pub use prometheus::{Prometheus, PrometheusOptions, ScrapeTarget};
pub use scripted_app::ScriptedApp;

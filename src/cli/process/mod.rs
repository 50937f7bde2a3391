//! What commands need that run until somebody ends them.

use tokio_util::sync::CancellationToken;

use crate::cli::output::Failure;

/// A runtime for a long-running command.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Cluster(format!("cannot start: {error}")))
}

/// Cancels `shutdown` on SIGTERM or Ctrl-C.
pub async fn end_on_signal(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(error) => {
            tracing::warn!("SIGTERM cannot be heard: {error}; only Ctrl-C ends the process in order");
            // Where Ctrl-C cannot be heard either, the process ends without order.
            let _heard = tokio::signal::ctrl_c().await;
        }
    }
    shutdown.cancel();
}

/// Name of this process in events: the Pod's, else the host's.
pub fn instance() -> String {
    std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| "sluice".to_owned())
        .chars()
        .take(128)
        .collect()
}

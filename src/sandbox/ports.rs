//! Free ports on the loopback.

use std::net::TcpListener;
use std::path::Path;

use super::error::SandboxError;

/// How many ports are tried.
const TRIES: u32 = 5;

/// Runs `start` with a free port, and again with another one if a stranger
/// took the port before the component could.
pub(super) async fn on_free_port<T>(
    start: impl AsyncFn(u16) -> Result<T, SandboxError>,
) -> Result<T, SandboxError> {
    let mut tries = 1;
    loop {
        match start(free_port()?).await {
            Err(SandboxError::Exited { tail, .. }) if is_clash(&tail) && tries < TRIES => {
                tries += 1;
            }
            result => return result,
        }
    }
}

/// Whether a component's last words say that its port was taken.
pub(super) fn is_clash(tail: &str) -> bool {
    tail.contains("address already in use")
}

fn free_port() -> Result<u16, SandboxError> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(SandboxError::io("listen on", Path::new("127.0.0.1")))
}

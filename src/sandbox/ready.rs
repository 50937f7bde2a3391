//! Waits until a component that speaks HTTP is ready.

use std::time::Duration;

use kube::Client;

use super::error::SandboxError;
use super::process::Process;

/// How long a component may take to be ready; the API server takes two
/// seconds, and more where many start at once.
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Waits until a GET of each of these paths has succeeded, one after the other.
pub(super) async fn wait(process: &mut Process, client: &Client, paths: &[&str]) -> Result<(), SandboxError> {
    let mut reason = "it does not answer".to_owned();
    let ready = async {
        for path in paths {
            succeeds(process, client, path, &mut reason).await?;
        }
        Ok(())
    };
    match tokio::time::timeout(READY_WITHIN, ready).await {
        Ok(result) => result,
        Err(_) => Err(process.not_ready(READY_WITHIN, reason)),
    }
}

/// Waits until a GET of `path` succeeds; `reason` says why it did not so far.
async fn succeeds(
    process: &mut Process,
    client: &Client,
    path: &str,
    reason: &mut String,
) -> Result<(), SandboxError> {
    let mut poll = tokio::time::interval(POLL);
    loop {
        poll.tick().await;
        process.check()?;
        let request =
            http::Request::get(path).body(Vec::new()).map_err(|e| SandboxError::Client(e.to_string()))?;
        match tokio::time::timeout(ANSWER_WITHIN, client.request_text(request)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(e)) => *reason = format!("GET {path}: {e}"),
            Err(_) => *reason = format!("GET {path}: no answer"),
        }
    }
}

//! Reads a channel's outbox from its status, and writes there what became of it.

use std::time::Duration;

use kube::api::PostParams;
use kube::core::DeserializeGuard;
use serde_json::json;

use super::Channels;
use super::line::Line;
use crate::api::NotificationChannel;
use crate::api::notificationchannel::OutboxEntry;
use crate::cluster::Scope;
use crate::error::{Fault, chain};
use crate::notify::send::now;
use crate::watchdog::resting;
use crate::{clock, notify};

/// How long what comes next is waited for: a message that is sent at once is one write, and not two.
const GATHER: Duration = Duration::from_millis(100);
/// Bytes of a status for which a write is put off by another second.
const A_SECONDS_WORTH: usize = 256 * 1024;
/// How many times longer a write is put off where everything that was written still waits, and the most that makes. The API server
/// takes long for a large outbox, and what waits in it is in the histories of the rollouts, too, where the next start finds it.
const OF_WAITING: u32 = 8;
const LONGEST_OF_WAITING: Duration = Duration::from_secs(5);
/// The longest wait before something is tried again that the API server did not do.
const LONGEST_RETRY: Duration = Duration::from_secs(15);

/// Reads the outbox, then writes what changes, until nothing is sent any more and all is written.
pub async fn run(channels: &Channels, line: &Line) {
    let begun = tokio::select! {
        begun = begin(channels, line) => begun,
        () = line.is_over.cancelled() => false,
    };
    if begun {
        keep(channels, line).await;
    }
}

/// Reads the outbox past every cache: another process may have sent until a moment ago. Says whether it is there.
async fn begin(channels: &Channels, line: &Line) -> bool {
    let mut failures = 0;
    loop {
        match read(channels, line).await {
            Ok(Some(channel)) => {
                line.follow(&channel);
                line.begin(channel.status.unwrap_or_default(), channels.clock.now());
                return true;
            }
            Ok(None) => return false,
            Err(fault) => wait(line, &fault, &mut failures).await,
        }
    }
}

async fn keep(channels: &Channels, line: &Line) {
    let mut failures = 0;
    let mut stored: Vec<OutboxEntry> = Vec::new();
    loop {
        let Some((metadata, status, number)) = line.to_record(channels.heard_until(), now()) else {
            if line.is_over.is_cancelled() {
                return;
            }
            tokio::select! {
                () = resting(line.to_keep.notified()) => pause(line, GATHER).await,
                () = line.is_over.cancelled() => {}
            }
            continue;
        };
        let body = json!({
            "apiVersion": <NotificationChannel as kube::Resource>::api_version(&()),
            "kind": <NotificationChannel as kube::Resource>::kind(&()),
            "metadata": {
                "name": line.name,
                "namespace": channels.namespace,
                "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
            },
            "status": &status,
        });
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let size = body.len();
        let request = scope(channels).request();
        let request = request.replace_subresource("status", &line.name, &PostParams::default(), body);
        let written: Result<DeserializeGuard<NotificationChannel>, Fault> =
            channels.cluster.send(request).await;
        match written {
            Ok(written) => {
                failures = 0;
                let metadata = match &written.0 {
                    Ok(channel) => &channel.metadata,
                    Err(invalid) => &invalid.metadata,
                };
                line.recorded(number, metadata, &status);
                let all_wait = !stored.is_empty() && still_has(&status.outbox, &stored);
                stored = status.outbox;
                pause(line, spacing(size, all_wait)).await;
            }
            Err(Fault::Conflict(_)) => match read(channels, line).await {
                Ok(Some(channel)) => line.follow(&channel),
                Ok(None) => return,
                Err(fault) => wait(line, &fault, &mut failures).await,
            },
            Err(Fault::NotFound(_) | Fault::NotLeading) => return,
            // The next start finds it in the histories.
            Err(_) if line.is_over.is_cancelled() => return,
            Err(fault) => wait(line, &fault, &mut failures).await,
        }
    }
}

/// Whether an outbox has everything that it had, in the same state: nothing was sent or given up.
fn still_has(now: &[OutboxEntry], before: &[OutboxEntry]) -> bool {
    now.get(..before.len()).is_some_and(|now| now == before)
}

/// How long after a status of so many bytes was written the next one is.
fn spacing(bytes: usize, all_wait: bool) -> Duration {
    let more = Duration::from_secs(1).mul_f64(bytes as f64 / A_SECONDS_WORTH as f64);
    GATHER + if all_wait { (more * OF_WAITING).min(LONGEST_OF_WAITING.max(more)) } else { more }
}

/// Waits, but not at the end.
async fn pause(line: &Line, pause: Duration) {
    tokio::select! {
        () = clock::sleep(pause) => {}
        () = line.is_over.cancelled() => {}
    }
}

/// The channel as it is stored, if it is this one and can be read.
async fn read(channels: &Channels, line: &Line) -> Result<Option<NotificationChannel>, Fault> {
    let key = (channels.namespace.clone(), line.name.clone());
    let found = channels.cluster.get::<NotificationChannel>(&key).await?;
    let found = found.and_then(|found| found.0.ok());
    Ok(found.filter(|channel| channel.metadata.uid.as_deref() == Some(line.uid.as_str())))
}

fn scope(channels: &Channels) -> Scope {
    Scope::of::<NotificationChannel>(Some(&channels.namespace))
}

async fn wait(line: &Line, fault: &Fault, failures: &mut u32) {
    *failures = failures.saturating_add(1);
    let wait = Duration::from_millis(500).saturating_mul(1 << (*failures).min(8)).min(LONGEST_RETRY);
    let wait = wait.max(fault.asks_to_wait());
    tracing::warn!(
        name = line.name,
        "the outbox of the NotificationChannel could not be read or written: {}; that is tried again in {} ms",
        notify::text::line(&chain(fault), 400),
        wait.as_millis()
    );
    pause(line, wait).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_outbox_is_written_less_often_and_least_while_nothing_of_it_is_sent() {
        let millis = |bytes, all_wait| spacing(bytes, all_wait).as_millis();
        assert_eq!([millis(0, false), millis(0, true)], [100, 100]);
        assert_eq!([millis(64 * 1024, false), millis(64 * 1024, true)], [350, 2_100]);
        assert_eq!([millis(512 * 1024, false), millis(512 * 1024, true)], [2_100, 5_100]);
    }

    #[test]
    fn what_was_sent_or_tried_is_told_from_what_waits() {
        let entry = |seq: i64, attempts: i64| -> OutboxEntry {
            serde_json::from_value(json!({
                "rollout": {"namespace": "ns", "name": "r", "uid": "u"}, "seq": seq, "at": "2026-01-01T00:00:00.000000Z",
                "reason": "StepEntered", "severity": "Info", "message": "m", "who": "schedule", "queuedAt": "2026-01-01T00:00:00.000000Z",
                "attempts": attempts,
            }))
            .unwrap()
        };
        let before = [entry(1, 0), entry(2, 0)];
        assert!(still_has(&[entry(1, 0), entry(2, 0), entry(3, 0)], &before));
        assert!(!still_has(&[entry(2, 0), entry(3, 0)], &before), "one is gone");
        assert!(!still_has(&[entry(1, 1), entry(2, 0)], &before), "one was tried");
    }
}

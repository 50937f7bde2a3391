//! Serves HTTP to whoever can reach the port, and gives nobody more than a part of the process.
//!
//! A connection is for one request and for a few seconds. Where too many are open the oldest one is closed for the newest:
//! whoever keeps connections open loses them, and a probe, which is answered at once, gets through.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock;

/// Most connections at once.
pub(super) const MOST: usize = 32;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may take, answer included.
const WHOLE: Duration = Duration::from_secs(10);
/// Bytes of a request that are held, its head among them.
const READ_AHEAD: usize = 16 * 1024;
/// How long is waited when no connection can be taken, such as for want of file descriptors.
const AGAIN: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, and then lets the requests under way end.
pub(super) async fn serve(listener: TcpListener, app: Router, shutdown: CancellationToken) {
    let mut at_work = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_ended) = at_work.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("a connection to the probes or metrics could not be taken: {error}");
                clock::sleep(AGAIN).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MOST
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(at_work.spawn(answer(stream, app.clone())));
    }
    drop(listener);
    while at_work.join_next().await.is_some() {}
}

/// Answers one request.
async fn answer(stream: TcpStream, app: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).keep_alive(false).max_buf_size(READ_AHEAD);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    // Whoever does not read or breaks off is not answered; nobody else is concerned.
    let _ended = tokio::time::timeout(WHOLE, connection).await;
}

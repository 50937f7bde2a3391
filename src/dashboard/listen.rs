//! Serves HTTP to browsers, and gives nobody more than a part of the process.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::app::App;
use crate::clock::{self, monotonic};

/// Most connections at once; a browser opens up to six.
const MOST: usize = 1_024;
/// How long the head of a request may take, and how long a connection may be kept without one.
const HEAD: Duration = Duration::from_secs(30);
/// Bytes of a request that are held, its head among them.
const READ_AHEAD: usize = 64 * 1024;
/// How long is waited when no connection can be taken, such as for want of file descriptors.
const AGAIN: Duration = Duration::from_millis(100);
/// How long requests under way have when the panel ends.
const ENDING: Duration = Duration::from_secs(3);
/// How often what is over is dropped.
const TIDY: Duration = Duration::from_secs(60);

/// Serves until `shutdown`.
pub async fn serve(listener: TcpListener, pages: Router, app: Arc<App>, shutdown: CancellationToken) {
    let tidying = tokio::spawn(async move {
        loop {
            clock::sleep(TIDY).await;
            app.sessions.tidy(monotonic());
        }
    });
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
                tracing::debug!("a connection to the panel could not be taken: {error}");
                clock::sleep(AGAIN).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        // Whoever keeps connections open loses them; a page comes back by itself.
        if open.len() >= MOST
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(at_work.spawn(answer(stream, pages.clone())));
    }
    drop(listener);
    tidying.abort();
    let ended = async { while at_work.join_next().await.is_some() {} };
    let _in_time = tokio::time::timeout(ENDING, ended).await;
}

async fn answer(stream: TcpStream, pages: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(READ_AHEAD);
    // Whoever does not read or breaks off is not answered; nobody else is concerned.
    let _ended = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages)).await;
}

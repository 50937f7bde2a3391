//! Serves HTTP to whoever can reach the port, and gives nobody more than a part of the process.
//!
//! Where too many connections are open the oldest one is closed for the newest: whoever keeps connections open loses them, and
//! a probe, which is answered at once, gets through.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::clock;

/// What connections to a port may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// What is served, for the log.
    pub what: &'static str,
    /// Most connections at once.
    pub most: usize,
    /// How long the head of a request may take, and how long a connection may be kept without one.
    pub head: Duration,
    /// How long a connection may take, answers included; without it, as long as it is used.
    pub whole: Option<Duration>,
    /// Whether a connection is for more than one request.
    pub keep_alive: bool,
    /// Bytes of a request that are held, its head among them.
    pub read_ahead: usize,
    /// How long requests under way have at the end; without it, as long as they take.
    pub ending: Option<Duration>,
}

/// Those to the probes and metrics: one request each, and a few seconds.
pub(super) const PROBES: Bounds = Bounds {
    what: "the probes or metrics",
    most: 32,
    head: Duration::from_secs(5),
    whole: Some(Duration::from_secs(10)),
    keep_alive: false,
    read_ahead: 16 * 1024,
    ending: None,
};

/// How long is waited when no connection can be taken, such as for want of file descriptors.
const AGAIN: Duration = Duration::from_millis(100);

/// What connections are spoken over.
#[derive(Clone, Debug)]
pub enum Transport {
    /// As they are.
    Plain,
    /// TLS with the certificate of the moment; while there is none a connection is closed.
    Tls(watch::Receiver<Option<Arc<ServerConfig>>>),
}

/// Serves in plain HTTP until `shutdown`, and then lets the requests under way end.
pub async fn serve(listener: TcpListener, app: Router, bounds: Bounds, shutdown: CancellationToken) {
    serve_over(Transport::Plain, listener, app, bounds, shutdown).await;
}

/// Serves until `shutdown`, and then lets the requests under way end.
pub async fn serve_over(
    transport: Transport,
    listener: TcpListener,
    app: Router,
    bounds: Bounds,
    shutdown: CancellationToken,
) {
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
                tracing::debug!("a connection to {} could not be taken: {error}", bounds.what);
                clock::sleep(AGAIN).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= bounds.most
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(match &transport {
            Transport::Plain => at_work.spawn(answer(stream, app.clone(), bounds)),
            Transport::Tls(certificate) => {
                let Some(config) = certificate.borrow().clone() else { continue };
                at_work.spawn(answer_secured(stream, config, app.clone(), bounds))
            }
        });
    }
    drop(listener);
    within(bounds.ending, async { while at_work.join_next().await.is_some() {} }).await;
}

async fn answer_secured(stream: TcpStream, config: Arc<ServerConfig>, app: Router, bounds: Bounds) {
    // Whoever does not speak TLS, or not soon, is not answered.
    let secured = tokio::time::timeout(bounds.head, TlsAcceptor::from(config).accept(stream)).await;
    if let Ok(Ok(stream)) = secured {
        answer(stream, app, bounds).await;
    }
}

async fn answer<S>(stream: S, app: Router, bounds: Bounds)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .keep_alive(bounds.keep_alive)
        .max_buf_size(bounds.read_ahead);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    // Whoever does not read or breaks off is not answered; nobody else is concerned.
    within(bounds.whole, connection).await;
}

/// Waits for something for `longest` at most, where there is such a time. Whether it ended in time is no news to anybody.
async fn within<T>(longest: Option<Duration>, work: impl Future<Output = T>) {
    match longest {
        Some(longest) => drop(tokio::time::timeout(longest, work).await),
        None => drop(work.await),
    }
}

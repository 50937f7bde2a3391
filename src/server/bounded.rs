//! Serves HTTP to whoever can reach the port, and gives nobody more than a part of the process.
//!
//! Where too many connections are open the oldest one of whoever has most of them is closed for the newest: whoever keeps
//! connections open loses them, a probe, which is answered at once, gets through, and so does what takes longer than it takes
//! somebody else to fill the place.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
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

tokio::task_local! {
    /// The address that the connection which is answered comes from.
    static PEER: IpAddr;
}

/// The address of whoever is answered, where it is known: for what is divided among those who ask.
pub fn peer() -> Option<IpAddr> {
    PEER.try_with(|peer| *peer).ok()
}

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
    let mut open = Open::default();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_ended) = at_work.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok((stream, peer)) => (stream, peer.ip().to_canonical()),
            Err(error) => {
                tracing::debug!("a connection to {} could not be taken: {error}", bounds.what);
                clock::sleep(AGAIN).await;
                continue;
            }
        };
        open.make_room(bounds.most);
        let connection = match &transport {
            Transport::Plain => at_work.spawn(PEER.scope(peer, answer(stream, app.clone(), bounds))),
            Transport::Tls(certificate) => {
                let Some(config) = certificate.borrow().clone() else { continue };
                at_work.spawn(PEER.scope(peer, answer_secured(stream, config, app.clone(), bounds)))
            }
        };
        open.put(peer, connection);
    }
    drop(listener);
    within(bounds.ending, async { while at_work.join_next().await.is_some() {} }).await;
}

/// The connections that are open, the oldest first, and whom each is with.
#[derive(Default)]
struct Open(VecDeque<(IpAddr, AbortHandle)>);

impl Open {
    fn put(&mut self, peer: IpAddr, connection: AbortHandle) {
        self.0.push_back((peer, connection));
    }

    /// Closes the oldest one of whoever has most, where there are as many as there may be. Of those who have as many, that one has
    /// most whose oldest is the older.
    fn make_room(&mut self, most: usize) {
        if self.0.len() < most {
            return;
        }
        self.0.retain(|(_, connection)| !connection.is_finished());
        if self.0.len() < most {
            return;
        }
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (peer, _) in &self.0 {
            *counts.entry(*peer).or_default() += 1;
        }
        let highest = counts.values().copied().max().unwrap_or_default();
        let oldest = self.0.iter().position(|(peer, _)| counts.get(peer) == Some(&highest));
        if let Some((_, connection)) = oldest.and_then(|at| self.0.remove(at)) {
            connection.abort();
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Whom the open connections are with, the oldest first.
    fn peers(open: &Open) -> Vec<IpAddr> {
        open.0.iter().map(|(peer, _)| *peer).collect()
    }

    /// The oldest of all was closed: whoever opened enough of them closed those of everybody else.
    #[tokio::test]
    async fn whoever_fills_the_place_loses_connections_and_nobody_else_does() {
        let mut open = Open::default();
        let hanging = || tokio::spawn(std::future::pending::<()>()).abort_handle();
        let put = |open: &mut Open, last: u8| {
            open.make_room(4);
            open.put(peer(last), hanging());
        };
        for last in [1, 2, 2, 3] {
            put(&mut open, last);
        }
        for _ in 0..100 {
            put(&mut open, 2);
        }
        assert_eq!(peers(&open), [1, 3, 2, 2].map(peer));
        // Where nobody has more than others, the oldest goes.
        put(&mut open, 4);
        put(&mut open, 5);
        assert_eq!(peers(&open), [3, 2, 4, 5].map(peer));
    }

    #[tokio::test]
    async fn what_has_ended_is_closed_for_nobody() {
        let mut open = Open::default();
        let ended = tokio::spawn(async {});
        open.put(peer(1), ended.abort_handle());
        ended.await.unwrap();
        open.put(peer(2), tokio::spawn(std::future::pending::<()>()).abort_handle());
        open.make_room(2);
        assert_eq!(peers(&open), [peer(2)]);
    }

    #[tokio::test]
    async fn whoever_answers_knows_whom() {
        assert_eq!(super::peer(), None);
        assert_eq!(PEER.scope(peer(7), async { super::peer() }).await, Some(peer(7)));
    }
}

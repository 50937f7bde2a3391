//! An HTTP server that answers as it is told, however badly, and keeps what it was asked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How a request is answered.
#[derive(Clone)]
pub enum Reply {
    /// A status and a body.
    Body(u16, String),
    /// These bytes, head and all, then the end.
    Raw(Vec<u8>),
    /// These bytes, then the others again and again until the client goes away.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes, then the others every now and then until the client goes away.
    Drip(Vec<u8>, Vec<u8>),
    /// Nothing, for as long as the client waits.
    Hang,
    /// The end of the connection, without a word.
    Close,
}

impl Reply {
    /// 200 with JSON.
    pub fn ok(body: impl Into<String>) -> Reply {
        Reply::Body(200, body.into())
    }

    /// A vector of Prometheus: metrics as JSON objects, values, and the time of all samples in seconds.
    pub fn vector(at: i64, series: &[(&str, &str)]) -> Reply {
        let series: Vec<String> = series
            .iter()
            .map(|(metric, value)| format!(r#"{{"metric": {metric}, "value": [{at}, "{value}"]}}"#))
            .collect();
        let result = series.join(",");
        Reply::ok(format!(
            r#"{{"status": "success", "data": {{"resultType": "vector", "result": [{result}]}}}}"#
        ))
    }
}

impl Reply {
    /// One series of Prometheus with the time that is asked for.
    pub fn now(asked: &Asked, value: &str) -> Reply {
        let at = asked.parameter("time").and_then(|time| time.split('.').next()?.parse().ok()).unwrap();
        Reply::vector(at, &[("{}", value)])
    }
}

/// A request as it came: head and body in one.
#[derive(Clone, Debug)]
pub struct Asked(pub String);

impl Asked {
    /// A parameter of the URL or the form, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let (head, body) = self.0.split_once("\r\n\r\n")?;
        let target = head.split(' ').nth(1)?;
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let text = format!("{query}&{body}");
        url::form_urlencoded::parse(text.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// Method and path.
    pub fn line(&self) -> String {
        self.0.split(['?', '\r']).next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<String> {
        self.0.lines().take_while(|line| !line.is_empty()).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    }
}

/// The server; it ends when dropped.
pub struct Hostile {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    sent: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostile {
    /// A server that gives every request the same answer.
    pub async fn always(reply: Reply) -> Hostile {
        Hostile::start(None, move |_| reply.clone()).await
    }

    /// A server that answers as the function says, with TLS if it is given an acceptor.
    pub async fn start(
        tls: Option<TlsAcceptor>,
        reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Hostile {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let [sent, open, most] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
        let reply = Arc::new(reply);
        let state = (Arc::clone(&asked), Arc::clone(&sent), Arc::clone(&open), Arc::clone(&most));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (reply, tls) = (Arc::clone(&reply), tls.clone());
                let (asked, sent, open, most) = state.clone();
                tokio::spawn(async move {
                    most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    match tls {
                        None => serve(stream, &asked, &sent, &*reply).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &asked, &sent, &*reply).await;
                            }
                        }
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Hostile { address, asked, sent, open, most, task }
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Bytes sent so far.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Most connections that were open at the same time.
    pub fn most_open(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// The URL of the server's root.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    asked: &Mutex<Vec<Asked>>,
    sent: &AtomicUsize,
    reply: &(impl Fn(&Asked) -> Reply + ?Sized),
) {
    let Some(request) = read(&mut stream).await else { return };
    let answer = reply(&request);
    asked.lock().unwrap().push(request);
    match answer {
        Reply::Body(status, body) => {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
        Reply::Raw(bytes) => {
            let _ = stream.write_all(&bytes).await;
        }
        Reply::Endless(head, again) => {
            let mut next = head;
            while stream.write_all(&next).await.is_ok() {
                sent.fetch_add(next.len(), Ordering::SeqCst);
                next.clone_from(&again);
            }
        }
        Reply::Drip(head, again) => {
            let mut next = head;
            while stream.write_all(&next).await.is_ok() {
                next.clone_from(&again);
                sluice::clock::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        // The client is the one to close.
        Reply::Hang => while stream.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {},
        Reply::Close => return,
    }
    let _ = stream.shutdown().await;
    // What is still unread would turn the end into a reset.
    while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {}
}

/// Head and body of one request.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(Asked(text));
            }
        }
    }
}

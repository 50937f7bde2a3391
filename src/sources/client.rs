//! One request to a source, over a connection to an address that was checked and to no other.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT,
};
use http::request::Builder;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

use super::address;
use super::failure::{Failure, LARGEST_BODY};
use super::resolved::Parts;

/// Bytes of an answer that are held before they are looked at; its head may have as many.
const READ_AHEAD: usize = 64 * 1024;

/// What is sent: a GET with its parameters in the URL, or a POST with a form.
pub(super) enum Call {
    Get(Url),
    Post(Url, String),
}

/// The body of the answer. The caller bounds the time.
///
/// No redirect is followed, no proxy is used, nothing is kept between two requests.
pub(super) async fn send(
    source: &Parts,
    api_server: &[SocketAddr],
    call: Call,
    tenant: Option<&(String, String)>,
) -> Result<Vec<u8>, Failure> {
    let (url, body) = match call {
        Call::Get(url) => (url, None),
        Call::Post(url, form) => (url, Some(form)),
    };
    let request = request(source, &url, body, tenant)?;
    let place = Place { allow: &source.allow, api_server, timeout: source.timeout, refusals: false };
    let answer = place.send(&url, source.tls.as_ref(), request).await?;
    match answer.status {
        200..300 if answer.is_encoded => Err(Failure::Compressed),
        200..300 => Ok(answer.body),
        300..400 => Err(Failure::Redirect),
        code => Err(Failure::Status(code)),
    }
}

/// What may be reached from here, and how long it may take.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// Addresses that may be reached although they are special.
    pub allow: &'a [IpNet],
    /// Where the API server listens.
    pub api_server: &'a [SocketAddr],
    /// The time for the whole.
    pub timeout: Duration,
    /// Whether the body of an answer that is no success is read, too.
    pub refusals: bool,
}

/// What a request was answered with.
pub(super) struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// What the header `Retry-After` says.
    pub retry_after: Option<String>,
    /// Whether the body is compressed, which was not asked for: it is not read.
    pub is_encoded: bool,
    /// The body; empty where the status is no success, unless refusals are read.
    pub body: Vec<u8>,
}

impl Place<'_> {
    /// Sends one request over a connection of its own. The caller bounds the time.
    pub(super) async fn send(
        self,
        url: &Url,
        tls: Option<&Arc<ClientConfig>>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Failure> {
        let stream = self.within(self.connect(url)).await?;
        let Some(config) = tls else {
            return exchange(stream, request, self.refusals).await;
        };
        let securing = secure(config, server_name(url)?, stream);
        exchange(self.within(securing).await?, request, self.refusals).await
    }

    /// The same over TLS to one address of the host that the URL names.
    pub(super) async fn send_to(
        self,
        address: SocketAddr,
        url: &Url,
        tls: &Arc<ClientConfig>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Failure> {
        let stream = self.within(self.dial(vec![address])).await?;
        let securing = secure(tls, server_name(url)?, stream);
        exchange(self.within(securing).await?, request, self.refusals).await
    }

    /// Bounds what comes before a query is sent: that no connection comes about is no query's fault, so it must be noticed
    /// before the time for the whole is over.
    pub(super) async fn within<T>(
        self,
        connecting: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let most: Duration = self.timeout * 4 / 5;
        tokio::time::timeout(most, connecting).await.unwrap_or(Err(Failure::Unreachable))
    }

    /// Resolves once, checks every address, and connects to one of those.
    async fn connect(self, url: &Url) -> Result<TcpStream, Failure> {
        let port = url.port_or_known_default().ok_or(Failure::Unresolved)?;
        match url.host().ok_or(Failure::Unresolved)? {
            Host::Ipv4(ip) => self.dial(vec![(ip, port).into()]).await,
            Host::Ipv6(ip) => self.dial(vec![(ip, port).into()]).await,
            Host::Domain(name) => self.connect_to(name, port).await,
        }
    }

    /// The same for a host by its name or address.
    pub(super) async fn connect_to(self, host: &str, port: u16) -> Result<TcpStream, Failure> {
        let found = tokio::net::lookup_host((host, port)).await.map_err(|_| Failure::Unresolved)?;
        self.dial(found.collect()).await
    }

    async fn dial(self, addresses: Vec<SocketAddr>) -> Result<TcpStream, Failure> {
        // A name that has a forbidden address beside a good one is a trick.
        if !addresses.iter().all(|address| address::may_reach(*address, self.api_server, self.allow)) {
            return Err(Failure::Denied);
        }
        dial(addresses).await
    }
}

/// Speaks TLS over a connection.
pub(super) async fn secure(
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Failure> {
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await.map_err(|_| Failure::Tls)
}

async fn dial(addresses: Vec<SocketAddr>) -> Result<TcpStream, Failure> {
    let mut failure = Failure::Unresolved;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => failure = Failure::Refused,
            Err(_) => failure = Failure::Unreachable,
        }
    }
    Err(failure)
}

fn server_name(url: &Url) -> Result<ServerName<'static>, Failure> {
    match url.host().ok_or(Failure::Unresolved)? {
        Host::Ipv4(ip) => Ok(ServerName::IpAddress(std::net::IpAddr::from(ip).into())),
        Host::Ipv6(ip) => Ok(ServerName::IpAddress(std::net::IpAddr::from(ip).into())),
        Host::Domain(name) => ServerName::try_from(name.to_owned()).map_err(|_| Failure::Tls),
    }
}

/// What a request for a URL begins with.
pub(super) fn head(method: Method, url: &Url) -> Builder {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, host)
        .header(USER_AGENT, concat!("sluice/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "identity")
}

fn request(
    source: &Parts,
    url: &Url,
    form: Option<String>,
    tenant: Option<&(String, String)>,
) -> Result<Request<Full<Bytes>>, Failure> {
    let mut request = head(if form.is_some() { Method::POST } else { Method::GET }, url);
    if form.is_some() {
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    if let Some(secret) = &source.authorization {
        let mut value = HeaderValue::from_bytes(secret.bytes()).map_err(|_| Failure::Query)?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    if let Some((name, value)) = tenant {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Failure::Query)?;
        request = request.header(name, HeaderValue::from_str(value).map_err(|_| Failure::Query)?);
    }
    request.body(Full::from(form.unwrap_or_default())).map_err(|_| Failure::Query)
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>, refusals: bool) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut http = hyper::client::conn::http1::Builder::new();
    http.max_buf_size(READ_AHEAD);
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Http)?;
    let mut answer = pin!(async {
        let response = sender.send_request(request).await.map_err(|_| Failure::Http)?;
        let (head, body) = response.into_parts();
        let mut encodings = head.headers.get_all(CONTENT_ENCODING).iter();
        let is_encoded = encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
        let retry_after = head.headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok());
        let is_wanted = (refusals || head.status.is_success()) && !is_encoded;
        let body = if is_wanted { read(body).await? } else { Vec::new() };
        let retry_after = retry_after.map(str::to_owned);
        Ok(Answer { status: head.status.as_u16(), retry_after, is_encoded, body })
    });
    // The connection is driven here, and closed with this future.
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, Failure> {
    if body.size_hint().lower() > LARGEST_BODY as u64 {
        return Err(Failure::TooLarge);
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::Http)?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > LARGEST_BODY {
            return Err(Failure::TooLarge);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

//! One request to a source, over a connection to an address that was checked and to no other.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT,
};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
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
    let connecting = within(source, connect(source, api_server, &url));
    let stream = connecting.await?;
    let Some(config) = &source.tls else {
        return exchange(stream, request).await;
    };
    let name = server_name(&url)?;
    let securing = async {
        TlsConnector::from(Arc::clone(config)).connect(name, stream).await.map_err(|_| Failure::Tls)
    };
    exchange(within(source, securing).await?, request).await
}

/// Bounds what comes before a query is sent: that no connection comes about is no query's fault, so it must be noticed
/// before the time for the whole is over.
async fn within<T>(
    source: &Parts,
    connecting: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let most: Duration = source.timeout * 4 / 5;
    tokio::time::timeout(most, connecting).await.unwrap_or(Err(Failure::Unreachable))
}

/// Resolves once, checks every address, and connects to one of those.
async fn connect(source: &Parts, api_server: &[SocketAddr], url: &Url) -> Result<TcpStream, Failure> {
    let port = url.port_or_known_default().ok_or(Failure::Unresolved)?;
    let addresses: Vec<SocketAddr> = match url.host().ok_or(Failure::Unresolved)? {
        Host::Ipv4(ip) => vec![(ip, port).into()],
        Host::Ipv6(ip) => vec![(ip, port).into()],
        Host::Domain(name) => {
            tokio::net::lookup_host((name, port)).await.map_err(|_| Failure::Unresolved)?.collect()
        }
    };
    // A name that has a forbidden address beside a good one is a trick.
    if !addresses.iter().all(|address| address::may_reach(*address, api_server, &source.allow)) {
        return Err(Failure::Denied);
    }
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

fn request(
    source: &Parts,
    url: &Url,
    form: Option<String>,
    tenant: Option<&(String, String)>,
) -> Result<Request<Full<Bytes>>, Failure> {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    let mut request = Request::builder()
        .method(if form.is_some() { Method::POST } else { Method::GET })
        .uri(target)
        .header(HOST, host)
        .header(USER_AGENT, concat!("sluice/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "identity");
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

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Vec<u8>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut http = hyper::client::conn::http1::Builder::new();
    http.max_buf_size(READ_AHEAD);
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Http)?;
    let mut answer = pin!(async {
        let response = sender.send_request(request).await.map_err(|_| Failure::Http)?;
        let (head, body) = response.into_parts();
        match head.status.as_u16() {
            200..300 => {}
            300..400 => return Err(Failure::Redirect),
            code => return Err(Failure::Status(code)),
        }
        let encodings = head.headers.get_all(CONTENT_ENCODING);
        if encodings.iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(Failure::Compressed);
        }
        read(body).await
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

//! Messages to places that admins name, by the client that asks sources: the same addresses are refused, no redirect is
//! followed, and time and answer are bounded.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use ipnet::IpNet;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::client::{self, Place};
use super::failure::Failure;
use super::resolved::{self, Wanted, keep};
use super::{Secret, address};
use crate::api::metricsource::{Ca, Tls};

pub use super::stream::Stream;

/// Where messages may be sent, and within what bounds.
#[derive(Clone, Debug)]
pub struct Outbound {
    tls: Option<Arc<ClientConfig>>,
    allow: Vec<IpNet>,
    timeout: Duration,
    api_server: Vec<SocketAddr>,
    refusals: bool,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// What the header `Retry-After` says, as it is.
    pub retry_after: Option<String>,
    /// The body of a success, and of any answer of a server that is trusted; at most 1 MiB.
    pub body: Vec<u8>,
}

/// Why nothing came back. It says nothing of the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// No address.
    #[error("the name of the host cannot be resolved")]
    Unresolved,
    /// An address that is refused.
    #[error("the address may not be reached; an admin may allow it in allowAddresses")]
    Denied,
    /// Nobody listens.
    #[error("the connection is refused")]
    Refused,
    /// No connection.
    #[error("no connection comes about")]
    Unreachable,
    /// No TLS.
    #[error("the TLS connection failed")]
    Tls,
    /// No proper answer.
    #[error("the other side does not speak HTTP properly, or broke off")]
    Http,
    /// Too late.
    #[error("there was no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// Too much.
    #[error("the answer is larger than 1 MiB")]
    TooLarge,
    /// Something that cannot be sent.
    #[error("a secret or a text has characters that no header can have")]
    Header,
}

impl From<Failure> for Unsent {
    fn from(failure: Failure) -> Unsent {
        match failure {
            Failure::Unresolved => Unsent::Unresolved,
            Failure::Denied => Unsent::Denied,
            Failure::Refused => Unsent::Refused,
            Failure::Unreachable => Unsent::Unreachable,
            Failure::Tls => Unsent::Tls,
            Failure::TooLarge => Unsent::TooLarge,
            Failure::Query => Unsent::Header,
            Failure::TimedOut(within) => Unsent::TimedOut(within),
            _ => Unsent::Http,
        }
    }
}

/// What must be read before [`Outbound::new`], besides what is sent.
pub fn wanted_for(tls: Option<&Tls>) -> Vec<Wanted> {
    tls.and_then(|tls| resolved::ca_key(&tls.ca)).into_iter().collect()
}

impl Outbound {
    /// Bounds of an object's own: authorities that are trusted, addresses that are allowed, time.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with the path of its field.
    pub fn new(
        tls: Option<&Tls>,
        found: &BTreeMap<Wanted, Secret>,
        allow: &[String],
        timeout: Duration,
        api_server: Vec<SocketAddr>,
    ) -> Result<Outbound, Vec<String>> {
        let mut problems = Vec::new();
        let config = resolved::client_config(tls.map(|tls| &tls.ca), found);
        let tls = keep(config.map_err(|e| format!("spec.tls: {e}")), &mut problems);
        let mut blocks = Vec::new();
        for (i, block) in allow.iter().enumerate() {
            let block = address::block(block).map_err(|e| format!("spec.allowAddresses[{i}]: {e}"));
            blocks.extend(keep(block, &mut problems));
        }
        match problems.is_empty() {
            true => Ok(Outbound { tls, allow: blocks, timeout, api_server, refusals: false }),
            false => Err(problems),
        }
    }

    /// For a server that the configuration of the process names: its certificate is checked by these, in PEM, or by
    /// those of the system. Addresses of this machine are reached only where they are what was named.
    ///
    /// # Errors
    /// What is wrong with the certificates.
    pub fn trusting(certificates: Option<&str>, server: &Url, timeout: Duration) -> Result<Outbound, String> {
        let ca =
            certificates.map(|pem| Ca { pem: Some(pem.to_owned()), secret_ref: None, config_map_ref: None });
        let tls = Some(resolved::client_config(ca.as_ref(), &BTreeMap::new())?);
        let is_here = match server.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let here =
            [IpNet::from(IpAddr::from([127, 0, 0, 1])), IpNet::from(IpAddr::from(Ipv6Addr::LOCALHOST))];
        let allow = if is_here { here.to_vec() } else { Vec::new() };
        Ok(Outbound { tls, allow, timeout, api_server: Vec::new(), refusals: true })
    }

    /// Reads an address.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn get(&self, url: &Url) -> Result<Reply, Unsent> {
        let request = client::head(Method::GET, url).body(Full::default()).map_err(|_| Unsent::Header)?;
        self.ask(url, request).await
    }

    /// The addresses of the host that a URL names, each of which is another process.
    ///
    /// # Errors
    /// It has none.
    pub async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, Unsent> {
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().ok_or(Unsent::Unresolved)?;
        let found = tokio::time::timeout(self.timeout, tokio::net::lookup_host((host, port))).await;
        let found = found.map_err(|_| Unsent::TimedOut(self.timeout))?.map_err(|_| Unsent::Unresolved)?;
        Ok(found.collect())
    }

    /// Reads a URL at one of these addresses, over TLS and never otherwise: a secret goes along.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn get_at(
        &self,
        address: SocketAddr,
        url: &Url,
        authorization: &HeaderValue,
    ) -> Result<Reply, Unsent> {
        let Some(tls) = self.tls.as_ref().filter(|_| url.scheme() == "https") else {
            return Err(Unsent::Tls);
        };
        let request = client::head(Method::GET, url).header(AUTHORIZATION, authorization);
        let request = request.body(Full::default()).map_err(|_| Unsent::Header)?;
        let sending = self.place().send_to(address, url, tls, request);
        let answer = tokio::time::timeout(self.timeout, sending).await;
        let answer = answer.unwrap_or(Err(Failure::TimedOut(self.timeout)))?;
        Ok(Reply { status: answer.status, retry_after: answer.retry_after, body: answer.body })
    }

    /// Sends a form.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn form(
        &self,
        url: &Url,
        authorization: Option<&Secret>,
        form: String,
    ) -> Result<Reply, Unsent> {
        let mut headers = vec![(CONTENT_TYPE, Secret::new(b"application/x-www-form-urlencoded".to_vec()))];
        headers.extend(authorization.map(|secret| (AUTHORIZATION, secret.clone())));
        self.post(url, &headers, form.into_bytes()).await
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn post(
        &self,
        url: &Url,
        headers: &[(HeaderName, Secret)],
        body: Vec<u8>,
    ) -> Result<Reply, Unsent> {
        let mut request = client::head(Method::POST, url);
        for (name, value) in headers {
            let mut value = HeaderValue::from_bytes(value.bytes()).map_err(|_| Unsent::Header)?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        if !headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
            request = request.header(CONTENT_TYPE, "application/json; charset=utf-8");
        }
        let request = request.body(Full::from(body)).map_err(|_| Unsent::Header)?;
        self.ask(url, request).await
    }

    async fn ask(&self, url: &Url, request: Request<Full<Bytes>>) -> Result<Reply, Unsent> {
        let tls = self.tls.as_ref().filter(|_| url.scheme() == "https");
        let sending = self.place().send(url, tls, request);
        let answer = tokio::time::timeout(self.timeout, sending).await;
        let answer = answer.unwrap_or(Err(Failure::TimedOut(self.timeout)))?;
        Ok(Reply { status: answer.status, retry_after: answer.retry_after, body: answer.body })
    }

    /// The time that sending may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Connects to a host for another protocol than HTTP.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn connect(&self, host: &str, port: u16) -> Result<Stream, Unsent> {
        let place = self.place();
        let stream = place.within(place.connect_to(host, port)).await?;
        Ok(Stream::Plain(stream))
    }

    /// Secures a connection by TLS with a host of this name.
    ///
    /// # Errors
    /// That this fails.
    pub async fn secure(&self, stream: Stream, host: &str) -> Result<Stream, Unsent> {
        let (Stream::Plain(stream), Some(config)) = (stream, &self.tls) else { return Err(Unsent::Tls) };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Unsent::Tls)?;
        let place = self.place();
        let secured = place.within(client::secure(config, name, stream)).await?;
        Ok(Stream::Tls(Box::new(secured)))
    }

    fn place(&self) -> Place<'_> {
        Place {
            allow: &self.allow,
            api_server: &self.api_server,
            timeout: self.timeout,
            refusals: self.refusals,
        }
    }
}

/// A URL that messages may be sent to. Errors name no part of it.
///
/// # Errors
/// What is wrong with it.
pub fn url(text: &str) -> Result<Url, String> {
    address::url(text)
}

/// A key of a Secret as text without white space around it.
///
/// # Errors
/// That it is not there, or no text.
pub fn text(wanted: &Wanted, found: &BTreeMap<Wanted, Secret>) -> Result<Zeroizing<String>, String> {
    let bytes = resolved::find(wanted, found)?.bytes().trim_ascii();
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() => Ok(Zeroizing::new(text.to_owned())),
        _ => Err("it is empty, or no text".to_owned()),
    }
}

/// Where the user name and the password of a Secret are.
pub fn wanted_basic(secret: &str) -> [Wanted; 2] {
    ["username", "password"].map(|key| resolved::basic_key(secret, key))
}

/// The value of the header Authorization for a user name and a password.
pub fn basic(name: &str, password: &str) -> Secret {
    let pair = Zeroizing::new(format!("{name}:{password}"));
    Secret::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())).into_bytes())
}

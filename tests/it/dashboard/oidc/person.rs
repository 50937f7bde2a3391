//! Somebody with a browser who goes back and forth between the panel and an identity provider.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Url;

use super::{EMAIL, PASSWORD};
use crate::dashboard::people::PUBLIC;

/// A browser with cookies for each site. It follows no redirect by itself.
#[derive(Clone)]
pub struct Person {
    panel: SocketAddr,
    tls: Arc<ClientConfig>,
    /// By host, then by name.
    pub cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// What it got.
pub struct Answer {
    pub status: StatusCode,
    pub text: String,
    pub headers: HeaderMap,
    pub url: Url,
}

impl Answer {
    /// Where it leads to, as it is written.
    pub fn location(&self) -> &str {
        self.headers.get("location").map_or("", |value| value.to_str().unwrap())
    }

    /// What it makes the browser keep under a name.
    pub fn set_cookie(&self, name: &str) -> &str {
        let mut all = self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
        all.find(|set| set.starts_with(&format!("{name}="))).unwrap_or("")
    }
}

impl Person {
    /// Somebody who trusts the provider's authority.
    pub fn new(panel: SocketAddr, ca: &str) -> Person {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Person { panel, tls: Arc::new(tls), cookies: BTreeMap::new() }
    }

    /// The cookies that the panel has given.
    pub fn of_panel(&mut self) -> &mut BTreeMap<String, String> {
        self.cookies.entry("sluice.example.com".to_owned()).or_default()
    }

    /// An address of the panel.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.fetch(Url::parse(PUBLIC).unwrap().join(path).unwrap(), None).await
    }

    /// A form of the panel.
    pub async fn form(&mut self, path: &str, body: String) -> Answer {
        self.fetch(Url::parse(PUBLIC).unwrap().join(path).unwrap(), Some(body)).await
    }

    async fn fetch(&mut self, url: Url, form: Option<String>) -> Answer {
        let host = url.host_str().unwrap().to_owned();
        let named = url.port().map_or(host.clone(), |port| format!("{host}:{port}"));
        let target = url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let method = if form.is_some() { "POST" } else { "GET" };
        let mut request = http::Request::builder().method(method).uri(target).header("host", &named);
        if form.is_some() {
            request = request
                .header("origin", format!("{}://{named}", url.scheme()))
                .header("content-type", "application/x-www-form-urlencoded");
        }
        let cookies = self.cookies.get(&host).into_iter().flatten();
        let cookies: Vec<String> = cookies.map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        let request = request.body(Full::from(form.unwrap_or_default())).unwrap();
        let (head, body) = if format!("https://{named}") == PUBLIC {
            exchange(TcpStream::connect(self.panel).await.unwrap(), request).await
        } else {
            let stream = TcpStream::connect((host.as_str(), url.port().unwrap_or(443))).await.unwrap();
            let name = ServerName::try_from(host.clone()).unwrap();
            exchange(TlsConnector::from(self.tls.clone()).connect(name, stream).await.unwrap(), request).await
        };
        for set in head.headers.get_all("set-cookie") {
            let (name, rest) = set.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            let jar = self.cookies.entry(host.clone()).or_default();
            match rest.contains("Max-Age=0") {
                true => drop(jar.remove(name)),
                false => drop(jar.insert(name.to_owned(), value.to_owned())),
            }
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        Answer { status: head.status, text, headers: head.headers, url }
    }

    /// Begins a sign-in; the address of the provider.
    pub async fn begin(&mut self, next: &str) -> Url {
        let query = Url::parse_with_params(PUBLIC, [("next", next)]).unwrap();
        let begun = self.get(&format!("/enter/begin?{}", query.query().unwrap())).await;
        assert_eq!(begun.status, StatusCode::SEE_OTHER, "{}", begun.text);
        Url::parse(begun.location()).unwrap()
    }

    /// Signs in at the provider, by its own form; the address of the panel that it leads back to, which is not opened.
    pub async fn sign_in(&mut self, provider: Url) -> String {
        let mut answer = self.fetch(provider, None).await;
        for _ in 0..10 {
            let url = if answer.status.is_redirection() {
                answer.url.join(answer.location()).unwrap()
            } else {
                let (_, form) = answer.text.split_once("<form").unwrap_or_else(|| panic!("{}", answer.text));
                let (_, action) = form.split_once("action=\"").unwrap();
                let action = action.split('"').next().unwrap().replace("&amp;", "&");
                let fields = [("login", EMAIL), ("password", PASSWORD)];
                let body = Url::parse_with_params("http://x/", fields).unwrap().query().unwrap().to_owned();
                answer = self.fetch(answer.url.join(&action).unwrap(), Some(body)).await;
                assert!(answer.status.is_redirection(), "{}", answer.text);
                continue;
            };
            if url.host_str() == Some("sluice.example.com") {
                return format!("{}?{}", url.path(), url.query().unwrap_or_default());
            }
            answer = self.fetch(url, None).await;
        }
        panic!("the provider leads nowhere: {}", answer.text);
    }
}

async fn exchange<S>(stream: S, request: http::Request<Full<Bytes>>) -> (http::response::Parts, Bytes)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driving = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    driving.abort();
    (head, body)
}

//! A server with TLS for tests, and the authority that vouches for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_util::sync::CancellationToken;

use super::bounded::{Bounds, Transport, serve_over};

const TIME: Duration = Duration::from_secs(5);
const BOUNDS: Bounds = Bounds {
    what: "a test",
    most: 8,
    head: TIME,
    whole: Some(TIME),
    keep_alive: false,
    read_ahead: 16 * 1024,
    ending: None,
};

/// An authority.
pub struct Authority {
    /// Its certificate.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// One that nobody else has.
    pub fn made() -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    /// Serves as `localhost` on a port of this machine, until the test ends.
    pub async fn serve(&self, listener: TcpListener, app: Router) -> SocketAddr {
        let own = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&own, &self.issuer).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(own.serialize_der()).into(),
            )
            .unwrap();
        let address = listener.local_addr().unwrap();
        let transport = Transport::Tls(watch::Sender::new(Some(Arc::new(config))).subscribe());
        tokio::spawn(serve_over(transport, listener, app, BOUNDS, CancellationToken::new()));
        address
    }
}

/// A port of this machine.
pub async fn port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

//! A MetricSource with everything that is needed to ask it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Url;
use zeroize::Zeroizing;

use crate::api::metricsource::{Auth, Ca, Limits, MAX_TIMEOUT_SECONDS, MetricSource, MetricSourceSpec};

use super::address;
use super::secret::Secret;

/// Where something that a source needs is kept, in the operator's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// A key of a Secret.
    Secret {
        /// Name of the Secret.
        name: String,
        /// Key in it.
        key: String,
    },
    /// A key of a ConfigMap.
    ConfigMap {
        /// Name of the ConfigMap.
        name: String,
        /// Key in it.
        key: String,
    },
}

/// What must be read before the source can be resolved.
pub fn wanted(spec: &MetricSourceSpec) -> Vec<Wanted> {
    let mut list = Vec::new();
    if let Some(Auth { bearer, basic }) = &spec.auth {
        if let Some(bearer) = bearer {
            list.push(bearer_key(bearer));
        }
        if let Some(basic) = basic {
            list.extend(["username", "password"].map(|key| basic_key(&basic.secret_ref.name, key)));
        }
    }
    list.extend(spec.tls.iter().filter_map(|tls| ca_key(&tls.ca)));
    list
}

fn bearer_key(bearer: &crate::api::metricsource::Bearer) -> Wanted {
    Wanted::Secret { name: bearer.secret_ref.name.clone(), key: bearer.secret_ref.key.clone() }
}

pub(super) fn basic_key(name: &str, key: &str) -> Wanted {
    Wanted::Secret { name: name.to_owned(), key: key.to_owned() }
}

/// Where certificates of authorities are kept, unless they are given as they are.
pub(super) fn ca_key(ca: &Ca) -> Option<Wanted> {
    let secret = ca.secret_ref.as_ref().map(|r| Wanted::Secret { name: r.name.clone(), key: r.key.clone() });
    let map =
        || ca.config_map_ref.as_ref().map(|r| Wanted::ConfigMap { name: r.name.clone(), key: r.key.clone() });
    secret.or_else(map)
}

/// Which language a source speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Prometheus' HTTP API.
    Prometheus,
    /// GET that answers JSON.
    Json,
}

/// A MetricSource with its secrets, ready to be asked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Resolved(pub(super) Arc<Parts>);

#[derive(Debug)]
pub(super) struct Parts {
    pub uid: String,
    pub generation: i64,
    pub dialect: Dialect,
    pub url: Url,
    /// Value of the Authorization header.
    pub authorization: Option<Secret>,
    /// How an `https` URL is spoken to.
    pub tls: Option<Arc<ClientConfig>>,
    pub allow: Vec<IpNet>,
    pub timeout: Duration,
    pub limits: Limits,
}

impl Resolved {
    /// UID of the MetricSource.
    pub fn uid(&self) -> &str {
        &self.0.uid
    }

    /// Generation of the MetricSource.
    pub fn generation(&self) -> i64 {
        self.0.generation
    }
}

/// Puts a source and what it wants together.
///
/// # Errors
/// Everything that is wrong with the source, each with the path of its field; never a secret.
pub fn resolve(source: &MetricSource, found: &BTreeMap<Wanted, Secret>) -> Result<Resolved, Vec<String>> {
    let spec = &source.spec;
    let mut problems = Vec::new();
    let endpoint = match (&spec.prometheus, &spec.http) {
        (Some(endpoint), None) => address::url(&endpoint.url)
            .map(|url| (Dialect::Prometheus, url))
            .map_err(|e| format!("spec.prometheus.url: {e}")),
        (None, Some(endpoint)) => address::url(&endpoint.url)
            .map(|url| (Dialect::Json, url))
            .map_err(|e| format!("spec.http.url: {e}")),
        _ => Err("spec: give exactly one of prometheus and http".to_owned()),
    };
    let endpoint = keep(endpoint, &mut problems);
    let secure = endpoint.as_ref().map(|(_, url)| url.scheme() == "https");
    let authorization = match &spec.auth {
        Some(auth) => keep(authorization(auth, found).map_err(|e| format!("spec.auth: {e}")), &mut problems),
        None => None,
    };
    let tls = match (&spec.tls, secure) {
        (Some(_), Some(false)) => {
            problems.push("spec.tls: the URL is not https".to_owned());
            None
        }
        (_, None | Some(false)) => None,
        (tls, Some(true)) => keep(
            client_config(tls.as_ref().map(|tls| &tls.ca), found).map_err(|e| format!("spec.tls: {e}")),
            &mut problems,
        ),
    };
    let mut allow = Vec::new();
    for (i, block) in spec.allow_addresses.iter().enumerate() {
        allow.extend(keep(
            address::block(block).map_err(|e| format!("spec.allowAddresses[{i}]: {e}")),
            &mut problems,
        ));
    }
    let timeout = Duration::try_from(spec.timeout.signed()).unwrap_or_default();
    if timeout.is_zero() || timeout > Duration::from_secs(MAX_TIMEOUT_SECONDS.unsigned_abs()) {
        problems.push("spec.timeout: it must be more than 0s and at most 5s".to_owned());
    }
    let (Some((dialect, url)), true) = (endpoint, problems.is_empty()) else {
        return Err(problems);
    };
    Ok(Resolved(Arc::new(Parts {
        uid: source.metadata.uid.clone().unwrap_or_default(),
        generation: source.metadata.generation.unwrap_or_default(),
        dialect,
        url,
        authorization,
        tls,
        allow,
        timeout,
        limits: spec.limits,
    })))
}

pub(super) fn keep<T>(result: Result<T, String>, problems: &mut Vec<String>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

pub(super) fn find<'a>(wanted: &Wanted, found: &'a BTreeMap<Wanted, Secret>) -> Result<&'a Secret, String> {
    found.get(wanted).ok_or_else(|| match wanted {
        Wanted::Secret { name, key } => format!("Secret {name:?} has no key {key:?}, or is not there"),
        Wanted::ConfigMap { name, key } => format!("ConfigMap {name:?} has no key {key:?}, or is not there"),
    })
}

fn authorization(auth: &Auth, found: &BTreeMap<Wanted, Secret>) -> Result<Secret, String> {
    match (&auth.bearer, &auth.basic) {
        (Some(bearer), None) => {
            let token = find(&bearer_key(bearer), found)?.bytes().trim_ascii();
            if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
                return Err("the token is empty or has characters that no header can have".to_owned());
            }
            Ok(Secret::new([b"Bearer ", token].concat()))
        }
        (None, Some(basic)) => {
            let name = find(&basic_key(&basic.secret_ref.name, "username"), found)?;
            let password = find(&basic_key(&basic.secret_ref.name, "password"), found)?;
            if name.bytes().contains(&b':') {
                return Err("the user name has a colon".to_owned());
            }
            let pair = Zeroizing::new([name.bytes(), b":", password.bytes()].concat());
            let encoded = Zeroizing::new(STANDARD.encode(&*pair));
            Ok(Secret::new([b"Basic ", encoded.as_bytes()].concat()))
        }
        _ => Err("give exactly one of bearer and basic".to_owned()),
    }
}

/// The authorities that the system trusts, read once.
static SYSTEM: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(store)
});

/// How TLS is spoken with whoever one of these authorities vouches for; those of the system without any.
pub(super) fn client_config(
    ca: Option<&Ca>,
    found: &BTreeMap<Wanted, Secret>,
) -> Result<Arc<ClientConfig>, String> {
    let roots = match ca {
        None => Arc::clone(&SYSTEM),
        Some(ca) => {
            let pem = match (&ca.pem, ca_key(ca)) {
                (Some(pem), None) => pem.as_bytes(),
                (None, Some(wanted)) => find(&wanted, found)?.bytes(),
                _ => return Err("give exactly one of secretRef, configMapRef and pem".to_owned()),
            };
            let mut store = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let added = certificate.ok().and_then(|certificate| store.add(certificate).ok());
                added.ok_or("ca: a certificate cannot be read")?;
            }
            if store.is_empty() {
                return Err("ca: there is no certificate in it".to_owned());
            }
            Arc::new(store)
        }
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

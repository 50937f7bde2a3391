//! The certificate that measurements are told under, and the authority that whoever asks knows it by.
//!
//! The authority is one for all replicas: its key is a Secret of the operator's own namespace, made by whoever leads first; its
//! certificate is in a ConfigMap beside it, which the panel mounts. Each process makes its own certificate with it, whose key
//! is never stored, and a new one each day.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

use crate::api::MicroTime;
use crate::clock::{self, monotonic, real_now};
use crate::controller::context::Context;
use crate::controller::process::Process;
use crate::error::{Fault, call, chain};

/// Name of the Secret with the authority's key.
pub const SECRET: &str = "sluice-measurements";
/// Name of the ConfigMap with the authority's certificate.
pub const CONFIG_MAP: &str = "sluice-measurements";
/// Its key in there.
pub const CERTIFICATES: &str = "ca.crt";

/// Keys of the Secret's data.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// How long is waited for an authority, or for a lead, at first.
const SOON: Duration = Duration::from_secs(1);
/// How often it is looked whether both objects are as they should be.
const LOOK: Duration = Duration::from_secs(60);
/// How old a certificate becomes before there is another one.
const AGE: Duration = Duration::from_secs(24 * 3600);
/// How long it is valid, with room for clocks that differ.
const VALID_DAYS: i64 = 7;
/// How long the authority is.
const AUTHORITY_DAYS: i64 = 3_650;

/// What certificates are made with.
#[derive(Clone, PartialEq, Eq)]
struct Authority {
    certificate: String,
    key: Zeroizing<String>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("the Secret {SECRET} holds no authority: {0}; delete it to have another one made")]
    Unusable(String),
    #[error("no certificate can be made: {0}")]
    Certificate(String),
}

impl From<rcgen::Error> for Trouble {
    fn from(error: rcgen::Error) -> Trouble {
        Trouble::Certificate(error.to_string())
    }
}

/// Keeps a certificate of this name until the process ends.
pub async fn keep(
    process: Arc<Process>,
    name: String,
    certificate: watch::Sender<Option<Arc<ServerConfig>>>,
) {
    let mut known: Option<(Authority, Instant)> = None;
    let mut is_told = false;
    loop {
        let ctx = process.home();
        let wait = match look(&ctx, &name, known.as_ref()).await {
            Ok(None) => {
                if known.is_some() {
                    LOOK
                } else {
                    SOON
                }
            }
            Ok(Some((authority, config))) => {
                known = Some((authority, monotonic()));
                certificate.send_replace(Some(Arc::new(config)));
                is_told = false;
                LOOK
            }
            Err(trouble) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(
                        "measurements cannot be told to the panel: {}; that is tried again",
                        chain(&trouble)
                    );
                }
                SOON * 5
            }
        };
        drop(ctx);
        tokio::select! {
            () = clock::sleep(wait) => {}
            () = process.shutdown().cancelled() => return,
        }
    }
}

/// Makes a certificate where there is an authority and another certificate is due. Whoever leads sees to it that there is
/// an authority, and that others find it.
async fn look(
    ctx: &Context,
    name: &str,
    known: Option<&(Authority, Instant)>,
) -> Result<Option<(Authority, ServerConfig)>, Trouble> {
    let leads = ctx.is_listed();
    let Some(authority) = load(ctx, leads).await? else { return Ok(None) };
    let is_same = known.is_some_and(|(known, made)| *known == authority && made.elapsed() < AGE);
    let made = if is_same { None } else { Some(certify(&authority, name, real_now())?) };
    if leads {
        publish(ctx, &authority).await?;
    }
    Ok(made.map(|config| (authority, config)))
}

async fn load(ctx: &Context, may_make: bool) -> Result<Option<Authority>, Trouble> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    if let Some(secret) = call(api.get_opt(SECRET)).await? {
        return read(&secret).map(Some);
    }
    if !may_make {
        return Ok(None);
    }
    let authority = make(real_now())?;
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = [(CERTIFICATE, bytes(&authority.certificate)), (KEY, bytes(&authority.key))];
    let secret = Secret {
        metadata: metadata(ctx, SECRET),
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()),
        ..Secret::default()
    };
    match call(api.create(&PostParams::default(), &secret)).await {
        Ok(_) => Ok(Some(authority)),
        // Another process was quicker.
        Err(Fault::AlreadyExists(_)) => read(&call(api.get(SECRET)).await?).map(Some),
        Err(fault) => Err(fault.into()),
    }
}

fn read(secret: &Secret) -> Result<Authority, Trouble> {
    let text = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        let text = bytes.and_then(|bytes| std::str::from_utf8(&bytes.0).ok());
        text.map(str::to_owned)
            .ok_or_else(|| Trouble::Unusable(format!("there is no text under data[{key:?}]")))
    };
    let authority = Authority { certificate: text(CERTIFICATE)?, key: Zeroizing::new(text(KEY)?) };
    KeyPair::from_pem(&authority.key).map_err(|error| Trouble::Unusable(error.to_string()))?;
    Ok(authority)
}

async fn publish(ctx: &Context, authority: &Authority) -> Result<(), Trouble> {
    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let data = Some(BTreeMap::from([(CERTIFICATES.to_owned(), authority.certificate.clone())]));
    match call(api.get_opt(CONFIG_MAP)).await? {
        Some(map) if map.data == data => {}
        Some(map) => {
            let map = ConfigMap { data, binary_data: None, ..map };
            call(api.replace(CONFIG_MAP, &PostParams::default(), &map)).await?;
        }
        None => {
            let map = ConfigMap { metadata: metadata(ctx, CONFIG_MAP), data, ..ConfigMap::default() };
            call(api.create(&PostParams::default(), &map)).await?;
        }
    }
    Ok(())
}

fn metadata(ctx: &Context, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(ctx.namespace.clone()),
        // Not that of files: it is none.
        labels: Some(BTreeMap::from([("app.kubernetes.io/part-of".to_owned(), "sluice".to_owned())])),
        ..ObjectMeta::default()
    }
}

fn make(now: MicroTime) -> Result<Authority, Trouble> {
    let key = KeyPair::generate()?;
    let certificate = authority_params(now)?.self_signed(&key)?.pem();
    Ok(Authority { certificate, key: Zeroizing::new(key.serialize_pem()) })
}

/// What all certificates of the authority have in common with its own: the name that they are signed by.
fn authority_params(now: MicroTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "sluice measurements");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    make_valid(&mut params, now, AUTHORITY_DAYS);
    Ok(params)
}

/// Has a certificate be valid from yesterday on for so many days.
fn make_valid(params: &mut CertificateParams, now: MicroTime, days: i64) {
    let day = |days: i64| {
        let at = now.saturating_add(SignedDuration::from_hours(24 * days));
        let date = at.to_zoned(TimeZone::UTC).date();
        date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(-1), day(days));
}

fn certify(authority: &Authority, name: &str, now: MicroTime) -> Result<ServerConfig, Trouble> {
    let key = KeyPair::from_pem(&authority.key)?;
    let issuer = Issuer::new(authority_params(now)?, key);
    // Whoever forwards a port asks this machine.
    let names = [name, "localhost", "127.0.0.1"].map(str::to_owned).to_vec();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "sluice");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    make_valid(&mut params, now, VALID_DAYS);
    let own = KeyPair::generate()?;
    let certificate = params.signed_by(&own, &issuer)?;
    let broken = |error: tokio_rustls::rustls::Error| Trouble::Certificate(error.to_string());
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(broken)?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(own.serialize_der()).into(),
        )
        .map_err(broken)
}

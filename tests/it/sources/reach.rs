//! Where a source may be, and whom it must prove to be.

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;

const DENIED: &str = "the source's address may not be reached; an admin may allow it in allowAddresses";

async fn ask(spec: &Value, options: Options) -> Reading {
    let source = source(spec);
    let asked = request(query(&source, json!({"promql": "up"})));
    match Sources::new(options).measure(&ready(&source), &asked).await {
        Readings::Whole(reading) => reading,
        other => panic!("{other:?}"),
    }
}

async fn healthy() -> Hostile {
    Hostile::always(Reply::vector(AT, &[("{}", "7")])).await
}

#[tokio::test]
async fn loopback_in_any_spelling_needs_permission() {
    let server = healthy().await;
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433", "0.0.0.0", "127.1"] {
        let spec =
            json!({"prometheus": {"url": format!("http://{host}:{port}")}, "allowAddresses": ["10.0.0.0/8"]});
        let source = json!({"allowedNamespaces": ["*"]});
        let mut whole = spec;
        whole.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        assert_eq!(ask(&whole, Options::default()).await, error(DENIED), "{host}");
    }
    assert_eq!(server.asked().len(), 0, "nothing was sent");
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let spec = here(&format!("http://{host}:{port}"));
        assert_eq!(ask(&spec, Options::default()).await, value(7.0), "{host}");
    }
}

#[tokio::test]
async fn metadata_services_are_not_reached_by_a_block_that_holds_them() {
    for host in ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]"] {
        let mut spec = here(&format!("http://{host}/latest/meta-data/"));
        spec["allowAddresses"] = json!(["169.254.0.0/16", "::/0", "64:ff9b::/96"]);
        assert_eq!(ask(&spec, Options::default()).await, error(DENIED), "{host}");
    }
}

#[tokio::test]
async fn the_api_server_is_reached_only_where_its_own_address_is_allowed() {
    let server = healthy().await;
    let mut spec = here(&server.url());
    let options = || Options { api_server: vec![server.address], ..Options::default() };
    assert_eq!(ask(&spec, options()).await, error(DENIED));
    assert_eq!(server.asked().len(), 0);
    spec["allowAddresses"] = json!(["127.0.0.1"]);
    assert_eq!(ask(&spec, options()).await, value(7.0));
}

#[tokio::test]
async fn a_name_that_nobody_has_is_an_error_of_its_own() {
    let spec = here("http://no-such-host.invalid");
    assert_eq!(ask(&spec, Options::default()).await, error("the source's name cannot be resolved"));
}

/// A certificate for names, and an acceptor that shows it.
fn certificate(names: &[&str]) -> (String, TlsAcceptor) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn only_the_admins_own_authority_is_trusted_and_only_for_the_right_name() {
    let (pem, acceptor) = certificate(&["127.0.0.1"]);
    let (other, _) = certificate(&["127.0.0.1"]);
    let server = Hostile::start(Some(acceptor), |_| Reply::vector(AT, &[("{}", "7")])).await;
    let port = server.address.port();
    let mut spec = here(&format!("https://127.0.0.1:{port}"));
    let failed = error("the TLS connection to the source failed");
    assert_eq!(ask(&spec, Options::default()).await, failed, "the system does not know it");
    spec["tls"] = json!({"ca": {"pem": other}});
    assert_eq!(ask(&spec, Options::default()).await, failed, "another authority");
    spec["tls"] = json!({"ca": {"pem": pem}});
    assert_eq!(ask(&spec, Options::default()).await, value(7.0));
    let asked = server.asked();
    spec["prometheus"]["url"] = json!(format!("https://localhost:{port}"));
    assert_eq!(ask(&spec, Options::default()).await, failed, "another name");
    assert_eq!(server.asked().len(), asked.len(), "nothing was sent to a stranger");
    spec["prometheus"]["url"] = json!(server.url());
    assert_eq!(
        resolve(&source(&spec), &BTreeMap::new()).unwrap_err(),
        ["spec.tls: the URL is not https"],
        "an authority that would check nothing"
    );
}

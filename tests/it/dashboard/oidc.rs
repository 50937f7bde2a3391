//! Signing in by OpenID Connect: a real provider, Dex, and a real API server that trusts it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use sluice::dashboard::OidcSettings;
use sluice::sandbox::{ControlPlane, Options as PlaneOptions, install_crds, install_policies};

use super::people::{self, PUBLIC};
use super::*;
use crate::support::go_tools::oidc_provider;
use person::{Answer, Person};

mod person;

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery staple";
const CLIENT: &str = "sluice-panel";
const SECRET: &str = "a secret & more";
/// How long an ID token is valid: long enough to do something with it, and soon over.
const TOKEN_SECONDS: u64 = 15;
/// The cookie of a session, and that of a sign-in under way.
const SESSION: &str = "__Host-sluice";
const ATTEMPT: &str = "__Host-sluice-sign-in";

/// A running provider; it ends with this.
struct Provider {
    process: Child,
    issuer: String,
    ca: String,
    secret: PathBuf,
    folder: tempfile::TempDir,
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Provider {
    fn start() -> Provider {
        let program = oidc_provider();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (ca, certificate, key) = certificates();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let issuer = format!("https://127.0.0.1:{port}/dex");
        let settings = json!({
            "issuer": issuer, "listen": format!("127.0.0.1:{port}"),
            "certificate": file("tls.crt", &certificate), "key": file("tls.key", &key),
            "clientID": CLIENT, "clientSecret": SECRET, "redirectURI": format!("{PUBLIC}/enter/callback"),
            "email": EMAIL, "password": PASSWORD, "tokenSeconds": TOKEN_SECONDS,
        });
        let settings = file("settings.json", &settings.to_string());
        let secret = file("secret", &format!("{SECRET}\n"));
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(program)
            .arg(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Provider { process, issuer, ca, secret, folder }
    }

    /// What the panel is told of it.
    fn settings(&self) -> OidcSettings {
        OidcSettings {
            issuer: self.issuer.clone(),
            client_id: CLIENT.to_owned(),
            client_secret: Some(self.secret.clone()),
            scopes: vec!["email".to_owned(), "offline_access".to_owned()],
            certificates: Some(self.ca.clone()),
        }
    }

    /// What the API server is told of it.
    fn trust(&self) -> String {
        let path = self.folder.path().join("authentication.json");
        let config = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
            "jwt": [{
                "issuer": {"url": self.issuer, "audiences": [CLIENT], "certificateAuthority": self.ca},
                "claimMappings": {"username": {"claim": "email", "prefix": "oidc:"}},
            }],
        });
        std::fs::write(&path, config.to_string()).unwrap();
        format!("--authentication-config={}", path.display())
    }
}

/// An authority, and a certificate of this machine with its key.
fn certificates() -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    (ca, leaf.signed_by(&own, &issuer).unwrap().pem(), own.serialize_pem())
}

/// What people read of a page that sends them away.
fn notice(answer: &Answer) -> &str {
    let (_, rest) = answer.text.split_once("role=\"alert\">").unwrap_or_else(|| panic!("{}", answer.text));
    rest.split("</").next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_sign_in_with_a_provider_and_act_as_the_one_that_it_knows() {
    let provider = Provider::start();
    let plane = ControlPlane::start(PlaneOptions {
        audit_log: true,
        extra_api_server_args: vec![provider.trust()],
        ..PlaneOptions::default()
    })
    .await
    .unwrap();
    install_crds(&plane.client().unwrap()).await.unwrap();
    install_policies(&plane.client().unwrap()).await.unwrap();
    let space = Space::on(plane.client().unwrap(), "panel-oidc").await;
    let controller = Running::in_space(&space).await;
    space.apply::<FeatureRollout>(STEPS).await.unwrap();
    space.until("dreams", "served", |status| is_ready(status) && status.exposed()).await;
    people::may(&space, "oidc:ada@example.com", "dreams", &["get", "list", "watch", "pause"]).await;
    let sign_in = SignIn::Oidc(Box::new(plane.client_config()), Box::new(provider.settings()));
    let panel = Served::start(sign_in, Some(PUBLIC), &[&space.name]).await;
    let ca = provider.ca.clone();
    let mut ada = Person::new(panel.panel.address, &ca);
    let page = page_of(&space);

    // Whoever wants a page is told where to sign in, and comes back to that page.
    let wanted = ada.get(&page).await;
    assert_eq!(wanted.status, StatusCode::UNAUTHORIZED);
    let begin = format!("/enter/begin?next={}", page.replace('/', "%2F"));
    assert!(wanted.text.contains(&format!("href=\"{begin}\"")), "{}", wanted.text);
    every_foreign_answer_is_refused(&mut ada, &page).await;

    // A name of a session that somebody planted beforehand is not the one that is used.
    ada.of_panel().insert(SESSION.to_owned(), "chosen-by-an-attacker".to_owned());
    let (callback, before, entered) = signed_in(&mut ada, &page).await;
    assert_eq!(entered.location(), page);
    let set = entered.set_cookie(SESSION);
    for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
        assert!(set.contains(part) && !set.contains("chosen") && !set.contains("Domain"), "{set}");
    }
    assert!(entered.set_cookie(ATTEMPT).contains("Max-Age=0"));
    let shown = ada.get(&page).await;
    assert!(shown.text.contains("Dreams") && shown.text.contains("oidc:ada@example.com"), "{}", shown.text);
    let times = Instant::now();

    // The address that the provider led to is worth nothing a second time, with the cookie of then either.
    let again = ada.get(&callback).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    assert!(notice(&again).contains("begin again"), "{}", again.text);
    let mut copied = before.clone();
    let replayed = copied.get(&callback).await;
    assert_eq!(replayed.status, StatusCode::UNAUTHORIZED);
    assert!(notice(&replayed).contains("the sign-in is used up"), "{}", replayed.text);

    // What she does is done by her.
    let csrf = hidden(&ada.get(&format!("{page}/pause")).await.text, "csrf");
    let asked = ada.form(&format!("{page}/pause"), format!("csrf={csrf}&reason=lunch")).await;
    assert_eq!(asked.status, StatusCode::SEE_OTHER, "{}", asked.text);
    space.until("dreams", "paused", |status| !status.pauses.is_empty()).await;
    let log = std::fs::read_to_string(plane.audit_log_path().unwrap()).unwrap();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let created = events.filter(|event| {
        event["verb"] == "create"
            && event["objectRef"]["resource"] == "rolloutactions"
            && event["objectRef"]["namespace"] == json!(space.name)
            && event["responseStatus"]["code"] == 201
    });
    let by: Vec<Value> = created.map(|event| event["user"]["username"].clone()).collect();
    assert_eq!(by, [json!("oidc:ada@example.com")]);

    // No page, address or cookie has a token in it: each begins with the same letters.
    for answer in [&wanted, &entered, &shown, &asked, &replayed] {
        assert!(!answer.text.contains("eyJ") && !format!("{:?}", answer.headers).contains("eyJ"));
    }
    assert!(!format!("{:?}", ada.cookies).contains("eyJ"));

    // The session outlives the token that it was begun with.
    let token = Duration::from_secs(TOKEN_SECONDS);
    while times.elapsed() < token {
        crate::support::pause(500).await;
    }
    let renewed = ada.get(&page).await;
    assert_eq!(renewed.status, StatusCode::OK, "{}", renewed.text);

    // Signing out ends it for good.
    let csrf = hidden(&renewed.text, "csrf");
    let mut copied = ada.clone();
    let out = ada.form("/leave", format!("csrf={csrf}")).await;
    assert_eq!((out.status, out.location()), (StatusCode::SEE_OTHER, "/enter?left=here"));
    let left = ada.get(out.location()).await;
    assert!(left.text.contains("Your session here is over") && left.text.contains("href=\"/enter\""));
    let ended = copied.get(&page).await;
    assert_eq!(ended.status, StatusCode::UNAUTHORIZED);
    assert!(notice(&ended).contains("your session has ended"), "{}", ended.text);

    // Nobody is led to another site, whatever the address that began it says.
    let (_, _, entered) = signed_in(&mut ada, "https://attacker.example/").await;
    assert_eq!(entered.location(), "/");

    // An API server that does not know the provider lets nobody in, and it is said who has to do something.
    let settings = Box::new(provider.settings());
    let untrusting =
        Served::start(SignIn::Oidc(Box::new(bare().client_config()), settings), Some(PUBLIC), &[]).await;
    let mut bob = Person::new(untrusting.panel.address, &ca);
    let begun = bob.begin("/").await;
    let callback = bob.sign_in(begun).await;
    let refused = bob.get(&callback).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(notice(&refused).contains("does not accept ID tokens of"), "{}", refused.text);

    // Without the provider the session ends when its token does.
    let settings = Box::new(provider.settings());
    drop(provider);
    for _ in 0..200 {
        if ada.get("/").await.status == StatusCode::UNAUTHORIZED {
            break;
        }
        crate::support::pause(500).await;
    }
    let over = ada.get(&page).await;
    assert_eq!(over.status, StatusCode::UNAUTHORIZED, "{}", over.text);
    // What it offers is not known to a panel that begins only now.
    let config = Box::new(plane.client_config());
    let late = Served::start(SignIn::Oidc(config, settings), Some(PUBLIC), &[]).await;
    let mut cleo = Person::new(late.panel.address, &ca);
    let begun = cleo.get("/enter/begin").await;
    assert_eq!(begun.status, StatusCode::BAD_GATEWAY);
    assert!(begun.text.contains("the identity provider cannot be asked"), "{}", begun.text);
    controller.stop().await;
    drop((panel, untrusting, late));
    plane.stop().await.unwrap();
}

/// Signs in, again until the API server has read the provider's keys. Returns the address that the provider led to, the browser
/// as it was then, and what came of it.
async fn signed_in(person: &mut Person, next: &str) -> (String, Person, Answer) {
    for _ in 0..120 {
        let begun = person.begin(next).await;
        let callback = person.sign_in(begun).await;
        let before = person.clone();
        let entered = person.get(&callback).await;
        if entered.status == StatusCode::SEE_OTHER {
            return (callback, before, entered);
        }
        assert!(notice(&entered).contains("does not accept ID tokens"), "{}", entered.text);
        crate::support::pause(500).await;
    }
    panic!("the API server never accepts a token of the provider");
}

/// What does not belong to a sign-in that this browser has begun is nothing, and a refusal of the provider is said.
async fn every_foreign_answer_is_refused(ada: &mut Person, page: &str) {
    let provider = until_begun(ada, page).await;
    let asked = |name: &str| provider.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned();
    assert_eq!(
        (asked("response_type"), asked("code_challenge_method")),
        ("code".to_owned(), "S256".to_owned())
    );
    assert_eq!(asked("redirect_uri"), format!("{PUBLIC}/enter/callback"));
    let kept = ada.of_panel().get(ATTEMPT).unwrap().clone();
    assert!(!kept.contains(&asked("state")) && !kept.contains(&asked("nonce")), "{kept}");
    let callback = ada.sign_in(provider.clone()).await;
    let state = asked("state");

    // Another browser, which an attacker has sent there with a code of the attacker's own.
    let mut other = ada.clone();
    other.cookies.clear();
    for mut browser in [other.clone(), {
        other.begin("/").await;
        other
    }] {
        let refused = browser.get(&callback).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert!(notice(&refused).contains("was not begun in this browser"), "{}", refused.text);
        assert!(!browser.of_panel().contains_key(SESSION));
    }
    // Another state, none, and a part of it.
    for wrong in ["", "x", &state[1..]] {
        let changed = callback.replace(&state, wrong);
        let refused = ada.get(&changed).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{wrong}");
        assert!(notice(&refused).contains("was not begun in this browser"), "{}", refused.text);
    }
    // The code of one sign-in in the place of another's: the provider knows to whom it has given it.
    let second = ada.begin(page).await;
    let own = second.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let injected = ada.get(&callback.replace(&state, &own)).await;
    assert_eq!(injected.status, StatusCode::UNAUTHORIZED);
    assert!(notice(&injected).contains("the identity provider says"), "{}", injected.text);
    assert!(!ada.of_panel().contains_key(SESSION));
    // What the provider says of a failure is said on, as text.
    let third = ada.begin(page).await;
    let own = third.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let said = "error=access_denied&error_description=%3Cscript%3Ealert(1)%3C/script%3E";
    let denied = ada.get(&format!("/enter/callback?state={own}&{said}")).await;
    assert!(notice(&denied).contains("access was denied (&lt;script&gt;alert(1)"), "{}", denied.text);
}

/// Begins a sign-in once the provider answers.
async fn until_begun(person: &mut Person, next: &str) -> Url {
    for _ in 0..120 {
        if person.get("/enter/begin").await.status == StatusCode::SEE_OTHER {
            return person.begin(next).await;
        }
        crate::support::pause(500).await;
    }
    panic!("the provider never answers: {}", person.get("/enter/begin").await.text);
}

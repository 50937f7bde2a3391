//! The panel: everybody sees and does what they may with kubectl, as themselves, and nobody else gets in.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Config, ResourceExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sluice::api::rolloutaction::Answer;
use sluice::api::{FeatureRollout, FlagSet, RolloutAction};
use sluice::clock::Clock;
use sluice::dashboard::{self, Measurements, Options, Panel, SignIn, Watching};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::support::bare::{Running, bare, bare_space};
use crate::support::{Space, is_ready};
use browser::{Browser, hidden};
pub use playbooks::PLAN;

pub mod browser;
mod logs;
mod measured;
mod oidc;
mod pages;
pub mod people;
mod playbooks;
mod shared;
mod unreadable;

/// As in production, only sooner.
const WATCHING: Watching = Watching { ask_again: Duration::from_secs(3), unused: Duration::from_secs(3) };

/// A panel in this process; it ends with the test.
struct Served {
    panel: Panel,
    shutdown: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Served {
    async fn start(sign_in: SignIn, public: Option<&str>, namespaces: &[&str]) -> Served {
        Served::measuring(sign_in, public, namespaces, Measurements::Nowhere).await
    }

    /// One that knows where measurements come from.
    async fn measuring(
        sign_in: SignIn,
        public: Option<&str>,
        namespaces: &[&str],
        measurements: Measurements,
    ) -> Served {
        let shutdown = CancellationToken::new();
        let options = Options {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            sign_in,
            public: public.map(|url| Url::parse(url).unwrap()),
            namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
            clock: Clock::system(),
            cluster: "the test's cluster".to_owned(),
            measurements,
            watching: WATCHING,
        };
        Served { panel: dashboard::serve(options, shutdown.clone()).await.unwrap(), shutdown }
    }

    /// For whoever the kubeconfig is.
    async fn of(kubeconfig: Kubeconfig, namespace: &str) -> Served {
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Served::start(SignIn::Kubeconfig(Box::new(config)), None, &[namespace]).await
    }

    fn browser(&self) -> Browser {
        Browser::at(self.panel.address, &format!("http://{}", self.panel.address))
    }

    /// A browser that has opened the one-time address.
    async fn entered(&self) -> Browser {
        let mut browser = self.browser();
        let entrance = self.panel.entrance.borrow().clone();
        let page = browser.get(&path_of(&entrance)).await;
        assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/"));
        browser
    }
}

fn path_of(address: &str) -> String {
    let url = Url::parse(address).unwrap();
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

const STEPS: &str = r"
metadata: {name: dreams}
spec:
  feature: {title: Dreams, owner: team-dreams}
  cohorts: [{name: early, match: {attributes: {segment: A}}}, {name: rest}]
  phases:
  - name: ga
    steps:
    - {name: first, cohorts: {early: 100, rest: 50}, hold: 1000h}
    - {name: full, cohorts: {rest: 100}, approval: Required, hold: 1000h}
";

/// A namespace with a controller and a rollout that half of a cohort has.
async fn served(name: &str) -> (Space, Running) {
    let space = bare_space(name).await;
    let controller = Running::in_space(&space).await;
    space.apply::<FeatureRollout>(STEPS).await.unwrap();
    space.until("dreams", "served", |status| is_ready(status) && status.exposed()).await;
    (space, controller)
}

fn page_of(space: &Space) -> String {
    format!("/rollouts/{}/dreams", space.name)
}

/// What is filled in for each verb, in an order in which each is applied.
const VERBS: [(&str, &str); 8] = [
    ("approve", "step=ga/full"),
    ("promote", ""),
    ("pause", ""),
    ("resume", ""),
    ("setpercent", "percent.early=100&was.early=100%25&percent.rest=20&was.rest=100%25"),
    ("rollback", "mode=Immediate&cohorts=early&cohorts=rest&cohort=early&cohort=rest"),
    ("acknowledge", ""),
    ("retry", "from=Start"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_is_done_by_whoever_has_just_that_verb_and_refused_to_everybody_else() {
    let (space, controller) = served("panel-verbs").await;
    let rollout = page_of(&space);
    for (i, (verb, fields)) in VERBS.iter().enumerate() {
        let name = format!("panel-may-{verb}");
        people::may(&space, &name, "dreams", &["get", "list", "watch", verb]).await;
        let panel = Served::of(bare().user_kubeconfig(&name, &[]).unwrap(), &space.name).await;
        let mut browser = panel.entered().await;
        let mut page = browser.get(&rollout).await;
        for _ in 0..100 {
            // The API server has to hear of the roles first, and the panel believes an answer for some seconds.
            if page.status == StatusCode::OK && page.text.contains(&format!("{rollout}/{verb}\"")) {
                break;
            }
            crate::support::pause(500).await;
            page = browser.get(&rollout).await;
        }
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        let (other, _) = VERBS[(i + 1) % VERBS.len()];
        for (known, _) in VERBS {
            let offered = page.text.contains(&format!("href=\"{rollout}/{known}\""));
            assert_eq!(offered, known == *verb, "{name} is offered {known}: {offered}");
        }
        // The list offers what the rules of the namespace say.
        let list = browser.get("/").await;
        let offered = list.text.contains(&format!("href=\"{rollout}/rollback\""));
        assert_eq!(offered, *verb == "rollback", "{name} is offered a rollback in the list: {offered}");

        // Without the verb there is no form, and a forged one is refused by the API server.
        let refused = browser.get(&format!("{rollout}/{other}")).await;
        assert!(!refused.text.contains("name=\"reason\""), "{}", refused.text);
        let csrf = hidden(&browser.get(&format!("{rollout}/{verb}")).await.text, "csrf");
        let (_, other_fields) = VERBS[(i + 1) % VERBS.len()];
        let forged = browser.form(&format!("{rollout}/{other}"), &csrf, other_fields).await;
        assert_eq!(forged.status, StatusCode::FORBIDDEN, "{}", forged.text);
        assert!(
            forged.text.contains(&format!("{name} may not {other} the rollout dreams")),
            "{}",
            forged.text
        );

        let form = browser.get(&format!("{rollout}/{verb}")).await;
        assert!(form.text.contains("What it would do") && form.text.contains("name=\"reason\""));
        let asked = browser.form(&format!("{rollout}/{verb}"), &csrf, fields).await;
        assert_eq!(asked.status, StatusCode::SEE_OTHER, "{verb}: {}", asked.text);
        let answered = browser.until(asked.location(), "applied").await;
        assert!(answered.text.contains(&format!("Asked by {name}")), "{}", answered.text);
    }
    // Each was asked for by the person, and the audit log says so.
    let actions = space.api::<RolloutAction>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(actions.len(), VERBS.len(), "what was refused was not created");
    let log = std::fs::read_to_string(bare().audit_log_path().unwrap()).unwrap();
    for action in &actions {
        let verb = action.spec.action.as_str().to_lowercase();
        let who = format!("panel-may-{verb}");
        let status = action.status.clone().unwrap_or_default();
        assert_eq!(status.answer, Some(Answer::Applied), "{verb}: {:?}", status.message);
        assert_eq!(action.spec.requested_by.as_deref(), Some(who.as_str()));
        assert_eq!(action.spec.reason, "because it has to be");
        let of = format!("\"name\":\"{}\"", action.name_any());
        let created = log.lines().filter(|line| line.contains(&of) || line.contains(&space.name));
        let created = created.filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|event| {
            event["verb"] == "create"
                && event["objectRef"]["resource"] == "rolloutactions"
                && event["user"]["username"] == json!(who)
                && event["responseStatus"]["code"] == json!(201)
        });
        assert!(created, "the audit log does not name {who}");
    }
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_in_who_was_not_let_in() {
    let (space, controller) = served("panel-doors").await;
    let panel = Served::of(bare().kubeconfig(), &space.name).await;
    let rollout = page_of(&space);
    // Without a session there is nothing to see.
    let mut stranger = panel.browser();
    for path in [
        "/",
        &rollout,
        "/playbooks",
        "/playbooks/x/y",
        "/files",
        "/try",
        "/live",
        &format!("{rollout}/rollback"),
    ] {
        let page = stranger.get(path).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(!page.text.contains("Dreams") && !page.text.contains("team-dreams"), "{path}: {}", page.text);
    }
    // A session that somebody chose is none, and entering gives another one: nothing is fixed beforehand.
    let cookie = format!("sluice-{}", panel.panel.address.port());
    stranger.cookie = Some(format!("{cookie}=chosen-by-an-attacker"));
    assert_eq!(stranger.get("/").await.status, StatusCode::UNAUTHORIZED);
    let entrance = path_of(&panel.panel.entrance.borrow().clone());
    let entered = stranger.get(&entrance).await;
    let set = entered.header("set-cookie");
    assert!(!set.contains("chosen") && set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    assert!(set.starts_with(&format!("{cookie}=")) && set.contains("Path=/"), "{set}");
    let mut browser = stranger;
    let list = browser.get("/").await;
    assert!(list.status == StatusCode::OK, "{}", list.text);
    // The address is used up, and no page knows it or the session.
    assert_eq!(panel.browser().get(&entrance).await.status, StatusCode::UNAUTHORIZED);
    let (token, session) = (entrance.rsplit('=').next().unwrap(), browser.session());
    for path in ["/", &rollout, "/playbooks", "/files", "/try", &format!("{rollout}/rollback")] {
        let page = browser.get(path).await;
        assert!(!page.text.contains(token) && !page.text.contains(&session), "{path}");
    }
    every_answer_forbids_frames_and_foreign_scripts(&mut browser, &rollout).await;
    requests_of_other_sites_do_nothing(&mut browser, &space, &rollout).await;

    // Signing out ends it for good, for whoever has copied the cookie, too.
    let csrf = hidden(&browser.get("/").await.text, "csrf");
    let copied = browser.cookie.clone();
    let out = browser.form("/leave", &csrf, "").await;
    assert_eq!((out.status, out.location()), (StatusCode::SEE_OTHER, "/enter"));
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    browser.cookie = copied;
    assert_eq!(browser.get("/").await.status, StatusCode::UNAUTHORIZED);

    // With the kubeconfig's identity no other machine is served.
    let options = Options {
        address: SocketAddr::from(([0, 0, 0, 0], 0)),
        sign_in: SignIn::Kubeconfig(Box::new(bare().client_config())),
        public: None,
        namespaces: Vec::new(),
        clock: Clock::system(),
        cluster: String::new(),
        measurements: Measurements::Nowhere,
        watching: Watching::default(),
    };
    let refused = dashboard::serve(options, CancellationToken::new()).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("no loopback address")));
    controller.stop().await;
}

async fn every_answer_forbids_frames_and_foreign_scripts(browser: &mut Browser, rollout: &str) {
    for path in ["/", rollout, "/nowhere", "/rollouts/none/none", "/enter"] {
        let page = browser.get(path).await;
        let policy = page.header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{path}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        assert!(!page.text.contains("style=\"") && !page.text.contains(" onclick"), "{path}");
        assert!(!page.text.contains("http://") || !page.text.contains("src=\"http"), "{path}");
    }
    browser.headers = vec![("sec-fetch-dest", "iframe"), ("sec-fetch-mode", "navigate")];
    assert_eq!(browser.get(rollout).await.status, StatusCode::FORBIDDEN);
    browser.headers.clear();
}

async fn requests_of_other_sites_do_nothing(browser: &mut Browser, space: &Space, rollout: &str) {
    let path = format!("{rollout}/rollback");
    let csrf = hidden(&browser.get(&path).await.text, "csrf");
    let host = browser.host.clone();
    // A name that was made to point here.
    browser.host = "attacker.example".to_owned();
    assert_eq!(browser.get("/").await.status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(browser.form(&path, &csrf, "").await.status, StatusCode::MISDIRECTED_REQUEST);
    browser.host = host;
    // A form on another site, by what browsers say of it; even where it knew the token of the form.
    for (name, value) in [
        ("origin", "https://attacker.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        browser.headers = vec![(name, value)];
        let refused = browser.form(&path, &csrf, "").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    browser.headers.clear();
    // Without the token of the form, with that of another session, and with half of it.
    for forged in ["", "x", &csrf[..csrf.len() / 2]] {
        let refused = browser.form(&path, forged, "mode=Immediate").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{forged}");
    }
    // What only reads sends nothing either, whatever it is asked to do.
    let read = browser.send(Method::GET, &format!("{path}?csrf={csrf}&reason=x&mode=Immediate"), None).await;
    assert_eq!(read.status, StatusCode::OK);
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        assert_eq!(browser.send(method, &path, None).await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    let actions = space.api::<RolloutAction>().list(&ListParams::default()).await.unwrap();
    assert_eq!(actions.items.len(), 0, "something was done");
    // Links from elsewhere come in by themselves once more, where the cookie is sent.
    let kept = browser.cookie.take();
    browser.headers = vec![
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    let followed = browser.get(&format!("{rollout}?asked=x")).await;
    assert!(followed.text.contains(&format!("id=\"again\" href=\"{rollout}?asked=x\"")), "{}", followed.text);
    browser.headers.clear();
    browser.cookie = kept;
}

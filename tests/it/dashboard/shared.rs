//! Pages of one person share their watches; pages of several share nothing.

use std::collections::BTreeSet;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};

use super::browser::Stream;
use super::people::{self, PUBLIC};
use super::*;
use crate::support::eventually;

/// How many watches of a user are open at the API server, by its audit log.
fn watches(user: &str) -> usize {
    let log = std::fs::read_to_string(bare().audit_log_path().unwrap()).unwrap();
    let needle = format!("\"username\":\"{user}\"");
    let mut open = BTreeSet::new();
    for line in log.lines().filter(|line| line.contains(&needle) && line.contains("\"verb\":\"watch\"")) {
        let event: Value = serde_json::from_str(line).unwrap();
        let id = event["auditID"].as_str().unwrap().to_owned();
        match event["stage"].as_str().unwrap() {
            "ResponseStarted" => drop(open.insert(id)),
            _ => drop(open.remove(&id)),
        }
    }
    open.len()
}

async fn entered(panel: &Served, token: &str) -> Browser {
    let mut browser = Browser::at(panel.panel.address, PUBLIC);
    let entered = browser.send(Method::POST, "/enter", Some(format!("token={token}"))).await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER, "{}", entered.text);
    browser
}

async fn panel_for(space: &Space) -> Served {
    let config = SignIn::Token(Box::new(bare().client_config()));
    Served::start(config, Some(PUBLIC), &[&space.name]).await
}

/// Another token of a service account; one that is bound to a Secret is worth nothing without it.
async fn another_token(space: &Space, account: &str, bound_to: Option<&str>) -> String {
    let bound = bound_to.map(|name| json!({"kind": "Secret", "apiVersion": "v1", "name": name}));
    let request: TokenRequest =
        serde_json::from_value(json!({"spec": {"audiences": [], "boundObjectRef": bound}})).unwrap();
    let accounts = space.api::<ServiceAccount>();
    let issued = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
    issued.status.unwrap().token.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_open_pages_of_one_person_share_their_watches_which_end_with_the_last_of_them() {
    let space = bare_space("panel-shared").await;
    space.apply::<FeatureRollout>(STEPS).await.unwrap();
    let token = people::token(&space, "sees", &["get", "list", "watch"]).await;
    let user = format!("system:serviceaccount:{}:sees", space.name);
    let panel = panel_for(&space).await;
    // Five browsers, with two tokens of the same person, and twenty pages in each.
    let second = another_token(&space, "sees", None).await;
    let mut streams: Vec<Stream> = Vec::new();
    for token in [&token, &token, &token, &second, &second] {
        let mut browser = entered(&panel, token).await;
        browser.until("/", "Dreams").await;
        for i in 0..20 {
            let path = if i % 2 == 0 { "/live" } else { "/live?of=playbooks" };
            streams.push(browser.stream_of(path).await);
        }
    }
    for stream in &mut streams {
        stream.until("event: ").await;
    }
    // One of rollouts; playbooks this person may not list.
    assert_eq!((streams.len(), watches(&user)), (100, 1));
    let title = json!({"spec": {"feature": {"title": "Dreams, renamed"}}});
    let api = space.api::<FeatureRollout>();
    api.patch("dreams", &PatchParams::default(), &Patch::Merge(&title)).await.unwrap();
    for stream in &mut streams {
        stream.until(&format!("{}/dreams", space.name)).await;
    }
    assert_eq!(watches(&user), 1);

    // Somebody else has a watch of his own, whatever both may list.
    let other = people::token(&space, "other", &["get", "list", "watch"]).await;
    let mut browser = entered(&panel, &other).await;
    browser.until("/", "Dreams, renamed").await;
    // On a busy machine the watch of the page that was read may have ended by now.
    let _others = browser.stream_of("/live").await;
    let others = format!("system:serviceaccount:{}:other", space.name);
    eventually("the other one has a watch", async || watches(&others) == 1).await;
    assert_eq!(watches(&user), 1);

    streams.truncate(1);
    crate::support::pause(2_000 + u64::try_from(WATCHING.unused.as_millis()).unwrap()).await;
    assert_eq!(watches(&user), 1, "one page is open still");
    streams.clear();
    eventually("nothing is watched for nobody", async || watches(&user) == 0).await;
    let mut browser = entered(&panel, &token).await;
    browser.until("/", "Dreams, renamed").await;
    // Likewise, and that of its stream has yet to begin.
    let _open = browser.stream_of("/live").await;
    eventually("whoever comes back is told what there is", async || watches(&user) == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_opens_too_many_pages_is_told_so_and_takes_none_from_others() {
    let space = bare_space("panel-flood").await;
    space.apply::<FeatureRollout>(STEPS).await.unwrap();
    let panel = panel_for(&space).await;
    let mut people_of = Vec::new();
    for name in ["many", "other"] {
        let token = people::token(&space, name, &["get", "list", "watch"]).await;
        let mut browser = entered(&panel, &token).await;
        browser.until("/", "Dreams").await;
        people_of.push(browser);
    }
    let [many, other] = &mut people_of[..] else { unreachable!("two have come") };
    let mut streams: Vec<Stream> = Vec::new();
    for _ in 0..128 {
        streams.push(many.stream().await);
    }
    for stream in &mut streams {
        stream.until("event: ").await;
    }
    let refused = many.get("/live").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.text, "you have too many pages open");
    assert_eq!(
        many.get("/").await.status,
        StatusCode::OK,
        "it can be read, though it is not told of changes"
    );
    other.stream().await.until("event: ").await;

    // The way out: one page is closed.
    streams.pop();
    eventually("there is room for one more", async || many.stream().await.is_open()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_the_api_server_knows_no_longer_is_shown_nothing_that_others_share() {
    let space = bare_space("panel-unknown").await;
    space.apply::<FeatureRollout>(STEPS).await.unwrap();
    let kept = people::token(&space, "sees", &["get", "list", "watch"]).await;
    let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "lease"}})).unwrap();
    space.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    let lost = another_token(&space, "sees", Some("lease")).await;
    let panel = panel_for(&space).await;
    let (mut stays, mut goes) = (entered(&panel, &kept).await, entered(&panel, &lost).await);
    // The one who goes has come last, and is asked with first.
    for browser in [&mut stays, &mut goes] {
        browser.until("/", "Dreams").await;
    }
    let user = format!("system:serviceaccount:{}:sees", space.name);
    assert_eq!(watches(&user), 1);
    let (mut stream_stays, mut stream_goes) = (stays.stream().await, goes.stream().await);
    stream_stays.until("event: ").await;
    space.api::<Secret>().delete("lease", &DeleteParams::default()).await.unwrap();
    // The API server believes a token that it has looked at for some seconds.
    stream_goes.until("event: over").await;
    let page = goes.get("/").await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(page.text.contains("your session has ended") && !page.text.contains("Dreams"), "{}", page.text);

    // For the other one nothing has changed.
    let title = json!({"spec": {"feature": {"title": "Dreams, renamed"}}});
    let api = space.api::<FeatureRollout>();
    api.patch("dreams", &PatchParams::default(), &Patch::Merge(&title)).await.unwrap();
    stream_stays.until(&format!("{}/dreams", space.name)).await;
    let list = stays.until("/", "Dreams, renamed").await;
    assert!(!list.text.contains("cannot be reached"), "{}", list.text);
}

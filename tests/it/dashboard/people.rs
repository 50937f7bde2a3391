//! People with rights, and what a panel for several of them gives to whom.

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{DeleteParams, ObjectMeta, PostParams};

use super::*;

/// Lets a user create and read actions, and do this with one rollout. Lists need no name.
pub async fn may(space: &Space, user: &str, rollout: &str, verbs: &[&str]) {
    let subject = Subject {
        api_group: Some("rbac.authorization.k8s.io".to_owned()),
        kind: "User".to_owned(),
        name: user.to_owned(),
        namespace: None,
    };
    bind(space, user, rollout, verbs, subject).await;
}

/// Gives a user these rights in a namespace.
pub async fn grant(space: &Space, user: &str, rules: Vec<PolicyRule>) {
    let subject = Subject {
        api_group: Some("rbac.authorization.k8s.io".to_owned()),
        kind: "User".to_owned(),
        name: user.to_owned(),
        namespace: None,
    };
    give(space, user, rules, subject).await;
}

async fn bind(space: &Space, name: &str, rollout: &str, verbs: &[&str], subject: Subject) {
    let rule = |resource: &str, verbs: &[&str], names: Option<&str>| PolicyRule {
        api_groups: Some(vec!["sluice.dev".to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        resource_names: names.map(|name| vec![name.to_owned()]),
        ..PolicyRule::default()
    };
    let is_list = |verb: &&&str| ["list", "watch"].contains(*verb);
    let lists: Vec<&str> = verbs.iter().filter(is_list).copied().collect();
    let named: Vec<&str> = verbs.iter().filter(|verb| !is_list(verb)).copied().collect();
    let mut rules = vec![rule("rolloutactions", &["create", "get", "list", "watch"], None)];
    if !lists.is_empty() {
        rules.push(rule("featurerollouts", &lists, None));
    }
    rules.push(rule("featurerollouts", &named, Some(rollout)));
    give(space, name, rules, subject).await;
}

async fn give(space: &Space, name: &str, rules: Vec<PolicyRule>, subject: Subject) {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let role = Role { metadata: metadata.clone(), rules: Some(rules) };
    let role_ref = RoleRef {
        api_group: Some("rbac.authorization.k8s.io".to_owned()),
        kind: "Role".to_owned(),
        name: name.to_owned(),
    };
    let binding = RoleBinding { metadata, role_ref, subjects: Some(vec![subject]) };
    space.api::<Role>().create(&PostParams::default(), &role).await.unwrap();
    space.api::<RoleBinding>().create(&PostParams::default(), &binding).await.unwrap();
}

/// The token of a service account with these rights.
pub async fn token(space: &Space, name: &str, verbs: &[&str]) -> String {
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    let accounts = space.api::<ServiceAccount>();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let subject = Subject {
        api_group: None,
        kind: "ServiceAccount".to_owned(),
        name: name.to_owned(),
        namespace: Some(space.name.clone()),
    };
    bind(space, name, "dreams", verbs, subject).await;
    let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": []}})).unwrap();
    let issued = accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap();
    issued.status.unwrap().token.unwrap()
}

pub const PUBLIC: &str = "https://sluice.example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_each_person_sees_and_does_what_their_own_token_may() {
    let (space, controller) = served("panel-people").await;
    let other = bare_space("panel-people-other").await;
    other.apply::<FeatureRollout>(&STEPS.replace("title: Dreams", "title: Nightmares")).await.unwrap();
    let may_see = token(&space, "sees", &["get", "list", "watch"]).await;
    let may_act = token(&space, "acts", &["get", "list", "watch", "pause"]).await;
    // What the panel itself may do is of no account: here it could do everything.
    let config = || Box::new(bare().client_config());
    let names = [space.name.as_str(), other.name.as_str()];
    let panel = Served::start(SignIn::Token(config()), Some(PUBLIC), &names).await;
    let browser = || Browser::at(panel.panel.address, PUBLIC);

    let mut nobody = browser();
    let page = nobody.get("/rollouts/x/y").await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(page.text.contains("name=\"next\" value=\"/rollouts/x/y\""), "{}", page.text);
    for wrong in ["", "wrong", "a.b.c"] {
        let refused = nobody.send(Method::POST, "/enter", Some(format!("token={wrong}"))).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert!(nobody.cookie.is_none());
    }
    // Whatever somebody was to be led to afterwards, it is a page of this panel.
    for (next, to) in [("https://attacker.example", "/"), ("//attacker.example", "/"), ("/files", "/files")] {
        let mut browser = browser();
        let body = format!("token={may_see}&next={next}");
        let entered = browser.send(Method::POST, "/enter", Some(body)).await;
        assert_eq!((entered.status, entered.location()), (StatusCode::SEE_OTHER, to));
        let set = entered.header("set-cookie");
        assert!(
            set.starts_with("__Host-sluice=") && set.contains("; Secure") && set.contains("HttpOnly"),
            "{set}"
        );
        assert!(
            set.contains("SameSite=Strict") && set.contains("Path=/") && !set.contains("Domain"),
            "{set}"
        );
    }

    let mut sees = browser();
    sees.send(Method::POST, "/enter", Some(format!("token={may_see}"))).await;
    let list = sees.until("/", "Dreams").await;
    assert!(!list.text.contains("Nightmares") && !list.text.contains(&other.name), "{}", list.text);
    let forbidden = sees.get(&page_of(&other)).await;
    assert_eq!(forbidden.status, StatusCode::FORBIDDEN);
    assert!(
        !forbidden.text.contains("Nightmares") && forbidden.text.contains("forbidden"),
        "{}",
        forbidden.text
    );
    let rollout = page_of(&space);
    let page = sees.get(&rollout).await;
    assert!(!page.text.contains(&format!("{rollout}/pause\"")), "{}", page.text);
    let csrf = hidden(&page.text, "csrf");
    let refused = sees.form(&format!("{rollout}/pause"), &csrf, "").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("may not pause the rollout dreams"), "{}", refused.text);

    let mut acts = browser();
    acts.send(Method::POST, "/enter", Some(format!("token={may_act}"))).await;
    let own = hidden(&acts.until(&format!("{rollout}/pause"), "name=\"reason\"").await.text, "csrf");
    assert_eq!(
        acts.form(&format!("{rollout}/pause"), &csrf, "").await.status,
        StatusCode::FORBIDDEN,
        "another's form"
    );
    let asked = acts.form(&format!("{rollout}/pause"), &own, "").await;
    let answered = acts.until(asked.location(), "applied").await;
    let who = format!("system:serviceaccount:{}:acts", space.name);
    assert!(answered.text.contains(&format!("Asked by {who}")), "{}", answered.text);
    for page in [list, page, answered] {
        assert!(!page.text.contains(&may_see) && !page.text.contains(&may_act));
    }

    // What is taken away is shown no more, and the stream of an open page says that something has changed.
    let mut stream = sees.stream().await;
    stream.until("event:").await;
    space.api::<RoleBinding>().delete("sees", &DeleteParams::default()).await.unwrap();
    for _ in 0..200 {
        if !sees.get("/").await.text.contains("Dreams") {
            break;
        }
        crate::support::pause(500).await;
    }
    assert!(!sees.get("/").await.text.contains("Dreams"));
    stream.until("event: changed").await;
    assert_eq!(sees.get(&rollout).await.status, StatusCode::FORBIDDEN);

    by_a_proxy(config(), &space, &may_act).await;
    controller.stop().await;
}

async fn by_a_proxy(config: Box<Config>, space: &Space, token: &str) {
    let header = "x-forwarded-access-token".parse().unwrap();
    let panel = Served::start(SignIn::Header(config, header), Some(PUBLIC), &[&space.name]).await;
    let mut browser = Browser::at(panel.panel.address, PUBLIC);
    assert_eq!(browser.get("/").await.status, StatusCode::UNAUTHORIZED);
    browser.headers = vec![("x-forwarded-access-token", "wrong")];
    assert_eq!(browser.get("/").await.status, StatusCode::UNAUTHORIZED);
    let token: &'static str = Box::leak(token.to_owned().into_boxed_str());
    browser.headers = vec![("x-forwarded-access-token", token)];
    let list = browser.until("/", "Dreams").await;
    assert!(!list.text.contains("Sign out"), "the proxy signs in and out");
    // A token in an address opens nothing.
    browser.headers.clear();
    assert_eq!(browser.get(&format!("/enter?token={token}")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(browser.get("/").await.status, StatusCode::UNAUTHORIZED);
}

//! Those whom the API server knows as the very same: their pages share their watches.
//!
//! The panel has no rights of its own, so nothing can be watched for everybody and handed out by some rule of the panel's own. What can be
//! shared is what is listed for one identity: the name, the UID, the groups and everything else that the API server's
//! authorizers are told. A circle watches with the token of any of its members, and each of them was found to be that very identity
//! with that very token. Whoever is another by now, or nobody, leaves it, and is not shown anything of it from then on.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{Request, Response, StatusCode};
use k8s_openapi::api::authentication::v1::UserInfo;
use kube::Client;
use kube::client::Body;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tower_service::Service;

use super::follow::Followed;
use super::lock;
use super::playbook_row::PlaybookRow;
use super::row::Row;

/// Most pages of one person that are kept up to date at once: whoever opens more takes none from others.
const PAGES: usize = 128;
/// What every token of one person has another of: no authorizer tells people apart by it.
const OF_THE_TOKEN: &str = "authentication.kubernetes.io/credential-id";

/// Whom the API server takes somebody for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity([u8; 32]);

impl Identity {
    /// That of whoever the API server says this is.
    pub fn of(user: &UserInfo) -> Identity {
        let mut groups = user.groups.clone().unwrap_or_default();
        groups.sort();
        let extra: BTreeMap<&String, &Vec<String>> =
            user.extra.iter().flatten().filter(|(name, _)| *name != OF_THE_TOKEN).collect();
        let whole = serde_json::json!([user.username, user.uid, groups, extra]);
        Identity(Sha256::digest(whole.to_string()).into())
    }
}

/// How long things are kept up to date, and how often it is asked whether they may be.
#[derive(Clone, Copy, Debug)]
pub struct Watching {
    /// How often the API server is asked again who somebody is, and where that person may list.
    pub ask_again: Duration,
    /// How long after the last page nothing is watched any more.
    pub unused: Duration,
}

impl Default for Watching {
    fn default() -> Watching {
        Watching { ask_again: Duration::from_secs(60), unused: Duration::from_secs(60) }
    }
}

/// All circles.
pub struct Circles {
    known: Mutex<HashMap<Identity, Weak<Circle>>>,
    namespaces: Vec<String>,
    watching: Watching,
}

/// What members of one identity share.
pub struct Circle {
    /// Whom the API server takes each of them for.
    pub identity: Identity,
    /// The rollouts that they may list.
    pub rollouts: Followed<Row>,
    /// The playbooks that they may list.
    pub playbooks: Followed<PlaybookRow>,
    /// Pages that may be kept up to date at once.
    pub pages: Arc<Semaphore>,
    roster: Arc<Roster>,
}

/// A place in a circle; given back with this.
pub struct Membership {
    /// The circle.
    pub circle: Arc<Circle>,
    number: u64,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.circle.roster.leave(self.number);
    }
}

impl Circles {
    /// None yet; `namespaces` are tried for people who may not list them.
    pub fn new(namespaces: Vec<String>, watching: Watching) -> Arc<Circles> {
        Arc::new(Circles { known: Mutex::default(), namespaces, watching })
    }

    /// How often things are asked again.
    pub fn watching(&self) -> Watching {
        self.watching
    }

    /// A place in the circle of an identity, for a client that was found to be of that identity just now and shows the API server the same
    /// for as long as it lives.
    pub fn join(&self, identity: Identity, client: Client) -> Membership {
        let circle = {
            let mut known = lock(&self.known);
            known.retain(|_, circle| circle.strong_count() > 0);
            match known.get(&identity).and_then(Weak::upgrade) {
                Some(circle) => circle,
                None => {
                    let circle = Arc::new(self.begin(identity));
                    known.insert(identity, Arc::downgrade(&circle));
                    circle
                }
            }
        };
        let number = circle.roster.join(client);
        Membership { circle, number }
    }

    /// A place in a circle that nobody else joins.
    pub fn apart(&self, client: Client) -> Membership {
        let circle = Arc::new(self.begin(Identity::default()));
        let number = circle.roster.join(client);
        Membership { circle, number }
    }

    fn begin(&self, identity: Identity) -> Circle {
        let roster = Arc::<Roster>::default();
        let client = || Client::new(Calling(roster.clone()), "");
        let (namespaces, watching) = (&self.namespaces, self.watching);
        Circle {
            identity,
            rollouts: Followed::begin(client(), namespaces.clone(), watching),
            playbooks: Followed::begin(client(), namespaces.clone(), watching),
            pages: Arc::new(Semaphore::new(PAGES)),
            roster,
        }
    }
}

/// The clients of the members, the one that is used first.
#[derive(Default)]
struct Roster(Mutex<(u64, VecDeque<(u64, Client)>)>);

impl Roster {
    fn join(&self, client: Client) -> u64 {
        let mut roster = lock(&self.0);
        roster.0 += 1;
        let number = roster.0;
        // The newest token is valid for the longest.
        roster.1.push_front((number, client));
        number
    }

    fn leave(&self, number: u64) {
        lock(&self.0).1.retain(|(known, _)| *known != number);
    }

    fn first(&self) -> Option<(u64, Client)> {
        lock(&self.0).1.front().cloned()
    }

    /// Has another one be used first, where there is one: the API server does not know the token of this one any more.
    fn put_last(&self, number: u64) {
        let mut roster = lock(&self.0);
        if roster.1.front().is_some_and(|(known, _)| *known == number) {
            roster.1.rotate_left(1);
        }
    }
}

/// A client that is whichever member's is at hand.
#[derive(Clone)]
struct Calling(Arc<Roster>);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Everybody has left.
#[derive(Debug, thiserror::Error)]
#[error("nobody who is looked after is there any more")]
struct Nobody;

impl Service<Request<Body>> for Calling {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The clients wait for themselves when they send.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let roster = self.0.clone();
        Box::pin(async move {
            let (number, client) = roster.first().ok_or(Nobody)?;
            let response = client.send(request).await?;
            if response.status() == StatusCode::UNAUTHORIZED {
                roster.put_last(number);
            }
            Ok(response)
        })
    }
}

/// The client of somebody whom the API server does not know any more: everything is refused, and nobody is asked.
pub fn nobody() -> Client {
    Client::new(Refusing, "")
}

#[derive(Clone, Copy)]
struct Refusing;

impl Service<Request<Body>> for Refusing {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        std::future::ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, groups: &[&str], extra: &[(&str, &str)]) -> UserInfo {
        UserInfo {
            username: Some(name.to_owned()),
            uid: None,
            groups: Some(groups.iter().map(|group| (*group).to_owned()).collect()),
            extra: Some(
                extra.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect(),
            ),
        }
    }

    #[test]
    fn whoever_differs_in_anything_that_an_authorizer_sees_is_somebody_else() {
        let ada = Identity::of(&user("ada", &["a", "b"], &[]));
        assert_eq!(ada, Identity::of(&user("ada", &["b", "a"], &[])), "groups have no order");
        assert_eq!(ada, Identity::of(&user("ada", &["a", "b"], &[(OF_THE_TOKEN, "JTI=1")])));
        for other in [
            user("bob", &["a", "b"], &[]),
            user("ada", &["a"], &[]),
            user("ada", &["a", "b", "admins"], &[]),
            user("ada", &["a,b"], &[]),
            user("ada", &["a", "b"], &[("scopes", "read")]),
            UserInfo { uid: Some("1".to_owned()), ..user("ada", &["a", "b"], &[]) },
        ] {
            assert_ne!(ada, Identity::of(&other), "{other:?}");
        }
    }

    /// An API server that knows one token, and says who has asked.
    #[derive(Clone)]
    struct Server {
        name: &'static str,
        known: bool,
        asked: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Service<Request<Body>> for Server {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            lock(&self.asked).push(self.name);
            let mut response = Response::new(Body::empty());
            if !self.known {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
            }
            std::future::ready(Ok(response))
        }
    }

    #[tokio::test]
    async fn one_circle_an_identity_that_watches_with_whichever_token_is_still_known_and_ends_with_its_last_member()
     {
        let asked = Arc::<Mutex<Vec<&'static str>>>::default();
        let client = |name, known| Client::new(Server { name, known, asked: asked.clone() }, "");
        let circles = Circles::new(Vec::new(), Watching::default());
        let ada = Identity::of(&user("ada", &[], &[]));
        let first = circles.join(ada, client("first", true));
        let second = circles.join(ada, client("second", false));
        let bob = circles.join(Identity::of(&user("bob", &[], &[])), client("bob", true));
        let apart = circles.apart(client("apart", true));
        assert!(Arc::ptr_eq(&first.circle, &second.circle));
        assert!(!Arc::ptr_eq(&first.circle, &bob.circle) && !Arc::ptr_eq(&first.circle, &apart.circle));
        let calls = async |circle: &Circle| {
            let client = Client::new(Calling(circle.roster.clone()), "");
            let answer = client.send(Request::get("/").body(Body::empty()).unwrap()).await;
            answer.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
        };
        assert_eq!(
            calls(&first.circle).await.unwrap(),
            401,
            "the newest is asked first, and is not known any more"
        );
        assert_eq!(calls(&first.circle).await.unwrap(), 200);
        assert_eq!(calls(&first.circle).await.unwrap(), 200);
        assert_eq!(*lock(&asked), ["second", "first", "first"]);
        drop(first);
        assert_eq!(calls(&second.circle).await.unwrap(), 401, "only the other is left");
        let circle = second.circle.clone();
        drop(second);
        assert!(calls(&circle).await.unwrap_err().contains("nobody"));
        drop(circle);
        let again = circles.join(ada, client("again", true));
        assert_eq!(calls(&again.circle).await.unwrap(), 200);
        assert_eq!(lock(&circles.known).len(), 2, "what is over is forgotten");
    }
}

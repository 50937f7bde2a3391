//! The gate that every write of the controller passes, and that a lost lead closes.
//!
//! It is in the controller's client, so that no writer can forget it: whatever is not a plain read is refused when the gate
//! is closed, and given up when it closes while the call is under way. A gate is one term's and never opens again: what a
//! term has left running can write nothing in the next one, even in the same process. A gate of one of several shards also refuses
//! whatever is in a namespace of another one.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::shard::Shard;
use crate::clock;
use crate::error::NotLeading;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The gate of one term.
#[derive(Clone)]
pub struct Gate {
    inner: Arc<Inner>,
    /// Where its term may write.
    shard: Shard,
}

struct Inner {
    opened: Instant,
    /// When it closes by itself, if it does.
    until: Mutex<Option<Instant>>,
    closed: CancellationToken,
    ends: CancellationToken,
    /// Writes under way.
    under_way: AtomicUsize,
    idle: Notify,
}

impl Gate {
    /// An open gate, which closes by itself at `until` unless that is put off; `ends` says that its term is to end, and
    /// is said by closing it.
    pub fn open(until: Option<Instant>, ends: CancellationToken) -> Gate {
        let inner = Arc::new(Inner {
            opened: clock::monotonic(),
            until: Mutex::new(until),
            closed: CancellationToken::new(),
            ends,
            under_way: AtomicUsize::new(0),
            idle: Notify::new(),
        });
        Gate { inner, shard: Shard::WHOLE }
    }

    /// The same for the namespaces of a shard only.
    pub fn of(self, shard: Shard) -> Gate {
        Gate { shard, ..self }
    }

    /// The gate of a process that does not lead.
    pub fn closed(ends: CancellationToken) -> Gate {
        let gate = Gate::open(None, ends);
        gate.inner.closed.cancel();
        gate
    }

    /// Whose namespaces it leads to.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// When it was opened: whatever anybody else has decided was decided before.
    pub fn opened(&self) -> Instant {
        self.inner.opened
    }

    /// Puts off the time at which it closes by itself. One that has closed stays closed.
    pub fn extend(&self, until: Instant) {
        *self.until() = Some(until);
    }

    /// Closes it for good: new writes are refused, those under way are given up.
    pub fn close(&self) {
        self.inner.closed.cancel();
        self.inner.ends.cancel();
    }

    /// Says that the term is to end: nothing new is begun, and what is under way may be finished.
    pub fn ends(&self) -> &CancellationToken {
        &self.inner.ends
    }

    /// Whether it is closed: the lead is lost, or the term has ended in order.
    pub fn is_closed(&self) -> bool {
        !self.is_open()
    }

    /// Waits until it is closed by somebody, not for its time.
    pub async fn until_closed(&self) {
        self.inner.closed.cancelled().await;
    }

    /// Waits until no write is under way.
    pub async fn idle(&self) {
        loop {
            let idle = self.inner.idle.notified();
            if self.inner.under_way.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// A client whose writes pass this gate.
    pub fn guard(&self, client: &Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        Client::new(Guarded { client: client.clone(), gate: self.clone() }, namespace)
    }

    fn is_open(&self) -> bool {
        let is_late = self.until().is_some_and(|until| clock::monotonic() >= until);
        !is_late && !self.inner.closed.is_cancelled()
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.inner.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what has this path is in a namespace of the term's shard, or in none.
    fn leads_to(&self, path: &str) -> bool {
        let mut parts = path.split('/').skip_while(|part| *part != "namespaces");
        parts.nth(1).is_none_or(|namespace| self.shard.owns(namespace))
    }

    /// Makes a call for as long as the gate is open, whatever keeps the process from looking at it in between.
    async fn pass<T>(&self, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, BoxError> {
        let _under_way = UnderWay::begin(&self.inner);
        let mut call = pin!(call);
        let mut closed = pin!(self.inner.closed.cancelled());
        poll_fn(|task| {
            // Asked also for the sake of being woken.
            if closed.as_mut().poll(task).is_ready() || !self.is_open() {
                return Poll::Ready(Err(NotLeading.into()));
            }
            call.as_mut().poll(task).map_err(BoxError::from)
        })
        .await
    }
}

/// A write under way.
struct UnderWay<'a>(&'a Inner);

impl<'a> UnderWay<'a> {
    fn begin(gate: &'a Inner) -> UnderWay<'a> {
        gate.under_way.fetch_add(1, Ordering::AcqRel);
        UnderWay(gate)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// A client behind a gate.
struct Guarded {
    client: Client,
    gate: Gate,
}

impl Service<Request<Body>> for Guarded {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The client waits for itself when it sends.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, gate) = (self.client.clone(), self.gate.clone());
        Box::pin(async move {
            if only_asks(request.method(), request.uri().path()) {
                Ok(client.send(request).await?)
            } else if gate.leads_to(request.uri().path()) {
                gate.pass(client.send(request)).await
            } else {
                Err(NotLeading.into())
            }
        })
    }
}

/// What is created there is a question that the API server answers and does not store: whose token it is, and what somebody may.
/// Whoever stands by asks it, too.
const QUESTIONS: [&str; 2] = ["/apis/authentication.k8s.io/", "/apis/authorization.k8s.io/"];

/// Whether a request leaves the cluster as it is.
fn only_asks(method: &Method, path: &str) -> bool {
    match *method {
        Method::GET => true,
        Method::POST => QUESTIONS.iter().any(|questions| path.starts_with(questions)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};

    use super::super::shard::Shards;
    use super::*;
    use crate::error::{Fault, call};

    /// An API server that answers with an empty object, unless it is to hang.
    #[derive(Clone, Default)]
    struct Server {
        asked: Arc<Mutex<Vec<Method>>>,
        hangs: Arc<AtomicBool>,
    }

    impl Service<Request<Body>> for Server {
        type Response = Response<Body>;
        type Error = BoxError;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            self.asked.lock().unwrap().push(request.method().clone());
            let hangs = self.hangs.load(Ordering::SeqCst);
            Box::pin(async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Ok(Response::new(Body::from(br#"{"metadata": {}, "items": []}"#.to_vec())))
            })
        }
    }

    impl Server {
        fn behind(&self, gate: &Gate) -> Api<ConfigMap> {
            Api::namespaced(gate.guard(&Client::new(self.clone(), "default")), "default")
        }

        fn asked(&self) -> Vec<Method> {
            std::mem::take(&mut *self.asked.lock().unwrap())
        }
    }

    /// Every kind of write that a client knows, in the order of its method.
    async fn write(api: &Api<ConfigMap>) -> Vec<Result<(), Fault>> {
        let map = ConfigMap::default();
        let (post, patch) = (PostParams::default(), PatchParams::default());
        let delete = DeleteParams::default();
        let request =
            |method: Method| Request::builder().method(method).uri("/any").body(Vec::new()).unwrap();
        let client = api.clone().into_client();
        vec![
            call(api.create(&post, &map)).await.map(drop),
            call(api.replace("m", &post, &map)).await.map(drop),
            call(api.replace_status("m", &post, &map)).await.map(drop),
            call(api.patch("m", &patch, &Patch::Merge(&map))).await.map(drop),
            call(api.delete("m", &delete)).await.map(drop),
            call(api.delete_collection(&delete, &ListParams::default())).await.map(drop),
            call(client.request_text(request(Method::OPTIONS))).await.map(drop),
            call(client.request_text(request(Method::HEAD))).await.map(drop),
        ]
    }

    #[tokio::test]
    async fn whatever_is_no_plain_read_passes_the_gate() {
        let (server, gate) = (Server::default(), Gate::open(None, CancellationToken::new()));
        let api = server.behind(&gate);
        assert!(write(&api).await.iter().all(Result::is_ok));
        let methods = ["POST", "PUT", "PUT", "PATCH", "DELETE", "DELETE", "OPTIONS", "HEAD"];
        assert_eq!(server.asked().iter().map(Method::as_str).collect::<Vec<_>>(), methods);

        gate.close();
        assert!(gate.ends().is_cancelled());
        for refused in write(&api).await {
            assert!(matches!(refused, Err(Fault::NotLeading)), "{refused:?}");
        }
        assert_eq!(server.asked(), [] as [Method; 0], "the API server hears of none");
        call(api.get("m")).await.unwrap();
        call(api.list(&ListParams::default())).await.unwrap();
        assert_eq!(server.asked(), [Method::GET, Method::GET]);
    }

    #[tokio::test]
    async fn who_somebody_is_and_what_they_may_is_asked_by_whoever_stands_by_too() {
        let (server, gate) = (Server::default(), Gate::open(None, CancellationToken::new()));
        let client = server.behind(&gate).into_client();
        gate.close();
        let send = async |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(path).body(Vec::new()).unwrap();
            call(client.request_text(request)).await.map(drop)
        };
        let token_reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
        send(Method::POST, token_reviews).await.unwrap();
        send(Method::POST, "/apis/authorization.k8s.io/v1/subjectaccessreviews").await.unwrap();
        assert_eq!(server.asked(), [Method::POST, Method::POST]);
        for (method, path) in [
            (Method::DELETE, token_reviews),
            (Method::PUT, token_reviews),
            (Method::POST, "/apis/rbac.authorization.k8s.io/v1/clusterroles"),
            (Method::POST, "/api/v1/namespaces/apis/authorization.k8s.io/configmaps"),
        ] {
            let refused = send(method, path).await;
            assert!(matches!(refused, Err(Fault::NotLeading)), "{path}: {refused:?}");
        }
        assert_eq!(server.asked(), [] as [Method; 0]);
    }

    #[tokio::test]
    async fn the_gate_of_a_shard_leads_to_its_own_namespaces_only() {
        let (server, shards) = (Server::default(), Shards::new(3).unwrap());
        let gate = Gate::open(None, CancellationToken::new()).of(shards.of("maya"));
        let other =
            ["a", "b", "c", "d", "e"].into_iter().find(|other| !shards.of("maya").owns(other)).unwrap();
        let client = gate.guard(&Client::new(server.clone(), "default"));
        for (namespace, is_own) in [("maya", true), (other, false)] {
            let written = write(&Api::namespaced(client.clone(), namespace)).await;
            // Those of no namespace are answered and not stored.
            assert!(written[6..].iter().all(Result::is_ok));
            for result in &written[..6] {
                assert_eq!(matches!(result, Err(Fault::NotLeading)), !is_own, "{namespace}: {result:?}");
            }
            assert_eq!(server.asked().len(), if is_own { 8 } else { 2 });
            let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            call(maps.get("m")).await.unwrap();
            server.asked();
        }
        for path in ["/apis/sluice.dev/v1alpha1/namespaces/maya/featurerollouts/namespaces/status", "/readyz"]
        {
            assert!(gate.leads_to(path), "{path}");
        }
    }

    #[tokio::test]
    async fn a_gate_closes_by_itself_at_its_time_and_stays_closed() {
        let server = Server::default();
        let gate = Gate::open(Some(clock::monotonic()), CancellationToken::new());
        let api = server.behind(&gate);
        assert!(write(&api).await.iter().all(|result| matches!(result, Err(Fault::NotLeading))));
        gate.extend(clock::monotonic() + Duration::from_secs(60));
        assert!(write(&api).await.iter().all(Result::is_ok), "it was renewed before anybody closed it");
        gate.close();
        gate.extend(clock::monotonic() + Duration::from_secs(60));
        assert!(write(&api).await.iter().all(Result::is_err));
        assert!(gate.is_closed());
    }

    #[tokio::test]
    async fn what_is_under_way_is_waited_for_or_given_up() {
        let (server, gate) = (Server::default(), Gate::open(None, CancellationToken::new()));
        server.hangs.store(true, Ordering::SeqCst);
        let api = server.behind(&gate);
        let hanging = tokio::spawn(async move { call(api.delete("m", &DeleteParams::default())).await });
        while server.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        let mut idle = pin!(gate.idle());
        assert!(futures::poll!(idle.as_mut()).is_pending());
        gate.close();
        idle.await;
        assert!(matches!(hanging.await.unwrap(), Err(Fault::NotLeading)));
    }
}

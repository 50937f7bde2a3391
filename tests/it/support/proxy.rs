//! A reverse proxy in front of an API server: it shows a controller one namespace only, counts its writes, and can
//! kill, hang or delay at a chosen moment.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use kube::{Client, Config};

use super::pause;
use super::reads::Faults;

/// When, in the life of a write, something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The API server never hears of the write.
    Before,
    /// The API server has done it, and the controller never hears of that.
    After,
}

type Act = Box<dyn FnOnce() + Send>;

struct Plan {
    write: usize,
    moment: Moment,
    act: Act,
}

struct Inner {
    agent: String,
    upstream: Client,
    namespace: String,
    log: Mutex<Vec<String>>,
    /// How many writes the refusals have looked at, and whether only every other one is refused.
    refusing: AtomicUsize,
    every_other: AtomicBool,
    /// What they say in `Retry-After`.
    retry_after: AtomicU32,
    /// Every write that was asked for, those that are refused or never answered too.
    asked: Mutex<Vec<String>>,
    /// Writes whose path contains one of these are refused with this HTTP status.
    refuses: Mutex<Vec<(String, u16)>>,
    /// Path and code of every write that was answered.
    answered: Mutex<Vec<(String, u16)>>,
    plan: Mutex<Option<Plan>>,
    watch_delay: Duration,
    /// Only watches whose path ends so are late.
    late: String,
    /// Writes whose path contains one of these are never answered.
    hangs_on: Mutex<Vec<String>>,
    hung: AtomicUsize,
    /// Writes whose path contains one of these are forbidden.
    forbids: Mutex<Vec<String>>,
    /// Lists of these are never answered.
    hangs_on_lists_of: Mutex<Vec<String>>,
    hung_lists: AtomicUsize,
    /// Nothing passes any more, in either direction, and nobody is told so.
    is_cut: AtomicBool,
    /// How late every answer is.
    latency: Mutex<Duration>,
    faults: Faults,
}

impl Inner {
    async fn until_mended(&self) {
        while self.is_cut.load(Ordering::SeqCst) {
            pause(10).await;
        }
    }
}

/// A running proxy. It ends with the runtime of its test.
#[derive(Clone)]
pub struct Proxy {
    url: String,
    inner: Arc<Inner>,
}

impl Proxy {
    /// A proxy that shows one namespace of an API server, or all where none is named.
    pub async fn start(upstream: Client, namespace: &str) -> Proxy {
        Proxy::with_watch_delay(upstream, namespace, Duration::ZERO).await
    }

    /// The same, with everything that a watch tells coming later by `watch_delay`.
    pub async fn with_watch_delay(upstream: Client, namespace: &str, watch_delay: Duration) -> Proxy {
        Proxy::with_watch_delay_of(upstream, namespace, "", watch_delay).await
    }

    /// The same for the watches of one plural.
    pub async fn with_watch_delay_of(
        upstream: Client,
        namespace: &str,
        plural: &str,
        watch_delay: Duration,
    ) -> Proxy {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            agent: agent(&url),
            upstream,
            namespace: namespace.to_owned(),
            log: Mutex::default(),
            asked: Mutex::default(),
            refuses: Mutex::default(),
            refusing: AtomicUsize::new(0),
            every_other: AtomicBool::new(false),
            retry_after: AtomicU32::new(1),
            is_cut: AtomicBool::new(false),
            latency: Mutex::default(),
            faults: Faults::default(),
            answered: Mutex::default(),
            plan: Mutex::default(),
            watch_delay,
            late: plural.to_owned(),
            hangs_on: Mutex::default(),
            hung: AtomicUsize::new(0),
            forbids: Mutex::default(),
            hangs_on_lists_of: Mutex::default(),
            hung_lists: AtomicUsize::new(0),
        });
        let app = axum::Router::new().fallback(handle).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Proxy { url, inner }
    }

    /// The configuration of a client of this proxy.
    pub fn config(&self) -> Config {
        Config::new(self.url.parse().unwrap())
    }

    /// A kubeconfig for a process that is to use this proxy.
    pub fn kubeconfig(&self) -> String {
        let url = &self.url;
        format!(
            r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "p",
                "clusters": [{{"name": "p", "cluster": {{"server": "{url}"}}}}],
                "users": [{{"name": "p", "user": {{}}}}],
                "contexts": [{{"name": "p", "context": {{"cluster": "p", "user": "p"}}}}]}}"#
        )
    }

    /// Has something done at the n-th write from the first one on.
    pub fn at_write(&self, write: usize, moment: Moment, act: impl FnOnce() + Send + 'static) {
        *self.inner.plan.lock().unwrap() = Some(Plan { write, moment, act: Box::new(act) });
    }

    /// The writes so far: method and path.
    pub fn writes(&self) -> Vec<String> {
        self.inner.log.lock().unwrap().clone()
    }

    /// Every write whose path contains `part` that was asked for so far, answered or not: method and path.
    pub fn asked(&self, part: &str) -> Vec<String> {
        let asked = self.inner.asked.lock().unwrap();
        asked.iter().filter(|write| write.contains(part)).cloned().collect()
    }

    /// From now on writes whose path contains one of `parts` are refused with an HTTP status, as a webhook that is away
    /// (500) or missing permissions (403) do.
    pub fn refuse(&self, parts: &[&str], status: u16) {
        *self.inner.refuses.lock().unwrap() = parts.iter().map(|part| ((*part).to_owned(), status)).collect();
    }

    /// The same for every other of these writes.
    pub fn refuse_every_other(&self, parts: &[&str], status: u16) {
        self.inner.every_other.store(true, Ordering::SeqCst);
        self.refuse(parts, status);
    }

    /// The writes that were answered so far: path and code.
    pub fn answered(&self) -> Vec<(String, u16)> {
        self.inner.answered.lock().unwrap().clone()
    }

    /// From now on writes whose path contains one of `parts` are never answered.
    pub fn hang_on(&self, parts: &[&str]) {
        *self.inner.hangs_on.lock().unwrap() = parts.iter().map(|part| (*part).to_owned()).collect();
    }

    /// From now on writes whose path contains one of `parts` are forbidden, as where RBAC says no; none where there are none.
    pub fn forbid(&self, parts: &[&str]) {
        *self.inner.forbids.lock().unwrap() = parts.iter().map(|part| (*part).to_owned()).collect();
    }

    /// What the API server's audit log calls whoever uses this proxy.
    pub fn agent(&self) -> String {
        agent(&self.url)
    }

    /// From now on nothing passes, as on a network that swallows every packet.
    pub fn cut(&self) {
        self.inner.is_cut.store(true, Ordering::SeqCst);
    }

    /// Lets everything pass again, also what still waits.
    pub fn mend(&self) {
        self.inner.is_cut.store(false, Ordering::SeqCst);
    }

    /// From now on every answer comes so much later.
    pub fn slow_down(&self, by: Duration) {
        *self.inner.latency.lock().unwrap() = by;
    }

    /// Ends the watches, and tells every one that is begun again from there that its version is gone, until
    /// [`Proxy::let_watch`]. Lists are answered.
    pub fn compact(&self) {
        self.inner.faults.compact();
    }

    /// Lets watches begin anywhere again.
    pub fn let_watch(&self) {
        self.inner.faults.let_watch();
    }

    /// From now on lists come in pages of so many objects, and so many of their later pages are told to begin anew.
    pub fn expire_pages(&self, size: usize, times: usize) {
        self.inner.faults.expire_pages(size, times);
    }

    /// How many watches and pages were told that their version is gone.
    pub fn expired(&self) -> usize {
        self.inner.faults.expired()
    }

    /// The watches that are open now deliver nothing any more, and stay open, as behind a router that has forgotten them.
    pub fn fall_silent(&self) {
        self.inner.faults.fall_silent();
    }

    /// From now on nobody is known but who names this token. Watches end.
    pub fn know_only(&self, token: &str) {
        self.inner.faults.know_only(token);
    }

    /// How many requests came from somebody who is not known.
    pub fn unknown(&self) -> usize {
        self.inner.faults.unknown()
    }

    /// Nobody is there, as between two API servers: every request is refused, and watches end. Until [`Proxy::come_back`].
    pub fn go_away(&self) {
        self.inner.faults.be_away(true);
    }

    /// Ends what [`Proxy::go_away`] began.
    pub fn come_back(&self) {
        self.inner.faults.be_away(false);
    }

    /// Refusals say from now on in how many seconds to come again.
    pub fn ask_to_wait(&self, seconds: u32) {
        self.inner.retry_after.store(seconds, Ordering::SeqCst);
    }

    /// From now on lists and watches of this plural are forbidden; an empty one forbids none. Those that are open end.
    pub fn forbid_reading(&self, plural: &str) {
        self.inner.faults.forbid_reading(plural);
    }

    /// From now on lists and watches of this plural wait until [`Proxy::stop_hanging`].
    pub fn hang_on_lists_of(&self, plural: &str) {
        self.inner.hangs_on_lists_of.lock().unwrap().push(plural.to_owned());
    }

    /// How many writes have been left without an answer.
    pub fn hung(&self) -> usize {
        self.inner.hung.load(Ordering::SeqCst)
    }

    /// How many lists and watches had to wait.
    pub fn lists_that_hung(&self) -> usize {
        self.inner.hung_lists.load(Ordering::SeqCst)
    }

    /// Answers new writes again.
    pub fn stop_hanging(&self) {
        self.inner.refuses.lock().unwrap().clear();
        self.inner.hangs_on.lock().unwrap().clear();
        self.inner.hangs_on_lists_of.lock().unwrap().clear();
    }
}

fn agent(url: &str) -> String {
    format!("proxy-{}", url.rsplit(':').next().unwrap_or_default())
}

async fn handle(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    inner.until_mended().await;
    let latency = *inner.latency.lock().unwrap();
    if !latency.is_zero() {
        pause(u64::try_from(latency.as_millis()).unwrap()).await;
    }
    if let Some(refusal) = inner.faults.unheard(&request).or_else(|| inner.faults.refusal(&request)) {
        return refusal;
    }
    if request.method() == Method::GET {
        let path = request.uri().path().to_owned();
        let hangs = || {
            let plurals = inner.hangs_on_lists_of.lock().unwrap();
            plurals.iter().any(|plural| path.ends_with(&format!("/{plural}")))
        };
        if hangs() {
            inner.hung_lists.fetch_add(1, Ordering::SeqCst);
        }
        while hangs() {
            pause(20).await;
        }
    }
    let is_write = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(request.method());
    let mut moment = None;
    if is_write {
        let path = request.uri().path().to_owned();
        inner.asked.lock().unwrap().push(format!("{} {path}", request.method()));
        let refusal = {
            let refuses = inner.refuses.lock().unwrap();
            refuses.iter().find(|(part, _)| path.contains(part.as_str())).map(|(_, status)| *status)
        };
        let refusal = refusal.filter(|_| {
            let even = inner.refusing.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
            even || !inner.every_other.load(Ordering::SeqCst)
        });
        if let Some(status) = refusal {
            return refused(status, inner.retry_after.load(Ordering::SeqCst));
        }
        let hangs = inner.hangs_on.lock().unwrap().iter().any(|part| path.contains(part.as_str()));
        if hangs {
            inner.hung.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        if inner.forbids.lock().unwrap().iter().any(|part| path.contains(part.as_str())) {
            let status = serde_json::json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
                "message": format!("{path} is forbidden"),
            });
            let json = [("content-type", "application/json")];
            return (StatusCode::FORBIDDEN, json, status.to_string()).into_response();
        }
        let number = {
            let mut log = inner.log.lock().unwrap();
            log.push(format!("{} {path}", request.method()));
            log.len()
        };
        let mut plan = inner.plan.lock().unwrap();
        if plan.as_ref().is_some_and(|plan| plan.write == number) {
            moment = plan.take();
        }
    }
    if let Some(plan) = moment.take_if(|plan| plan.moment == Moment::Before) {
        (plan.act)();
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let path = request.uri().path().to_owned();
    let response = forward(&inner, request).await;
    inner.until_mended().await;
    if is_write {
        inner.answered.lock().unwrap().push((path, response.status().as_u16()));
    }
    if let Some(plan) = moment {
        (plan.act)();
        return StatusCode::BAD_GATEWAY.into_response();
    }
    response
}

/// A refusal as an API server gives it.
fn refused(code: u16, retry_after: u32) -> Response {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": match code { 403 => "Forbidden", 409 => "Conflict", 429 => "TooManyRequests", _ => "InternalError" },
        "message": "failed calling webhook \"no.example.com\": connection refused",
    });
    let code = StatusCode::from_u16(code).unwrap();
    let headers = [("content-type", "application/json".to_owned()), ("retry-after", retry_after.to_string())];
    (code, headers, status.to_string()).into_response()
}

async fn forward(inner: &Arc<Inner>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = narrowed(parts.uri.path(), &inner.namespace);
    let query = inner.faults.paged(parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default());
    let is_watch = query.contains("watch=true");
    let is_late = is_watch && path.ends_with(&inner.late);
    parts.uri = format!("{path}{query}").parse().unwrap();
    parts.headers.remove("host");
    parts.headers.remove("authorization");
    parts.headers.insert("user-agent", inner.agent.parse().unwrap());
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    match inner.upstream.send(Request::from_parts(parts, body.into())).await {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            let body = Body::new(body);
            let slow = is_late && !inner.watch_delay.is_zero();
            let body = if slow { delayed(body, inner.watch_delay) } else { body };
            let body = if is_watch { inner.faults.until_ended(held(body, inner.clone())) } else { body };
            Response::from_parts(parts, body)
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// Turns a path over all namespaces into that of one, so that several controllers can share a control plane.
fn narrowed(path: &str, namespace: &str) -> String {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts[..] {
        _ if namespace.is_empty() => path.to_owned(),
        // They are in no namespace.
        ["api", _, "namespaces"]
        | [
            "apis",
            "authentication.k8s.io" | "authorization.k8s.io",
            _,
            "tokenreviews" | "subjectaccessreviews",
        ] => path.to_owned(),
        ["api", version, plural] => format!("/api/{version}/namespaces/{namespace}/{plural}"),
        ["apis", group, version, plural] => {
            format!("/apis/{group}/{version}/namespaces/{namespace}/{plural}")
        }
        _ => path.to_owned(),
    }
}

/// A body whose pieces wait while the proxy is cut.
fn held(body: Body, inner: Arc<Inner>) -> Body {
    Body::from_stream(body.into_data_stream().then(move |piece| {
        let inner = inner.clone();
        async move {
            inner.until_mended().await;
            piece
        }
    }))
}

/// Every piece of a body as late as the others: the order and the distances stay.
fn delayed(body: Body, delay: Duration) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let mut pieces = body.into_data_stream();
    tokio::spawn(async move {
        while let Some(Ok(piece)) = pieces.next().await {
            if sender.send((sluice::clock::monotonic() + delay, piece)).is_err() {
                return;
            }
        }
    });
    let stream = futures::stream::unfold(receiver, |mut receiver| async move {
        let (due, piece): (_, Bytes) = receiver.recv().await?;
        let left = due.saturating_duration_since(sluice::clock::monotonic());
        pause(u64::try_from(left.as_millis()).unwrap()).await;
        Some((Ok::<_, std::io::Error>(piece), receiver))
    });
    Body::from_stream(stream)
}

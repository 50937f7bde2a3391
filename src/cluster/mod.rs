//! What is read from the API server: lists, watches, single objects, and the answers to our own writes.
//!
//! Everything goes through here, because what is stored is anybody's: each object is decoded by itself, from its own bytes,
//! and one that cannot be is told of by its name while everything else goes on. The client library decodes a list as one
//! piece, gives it up for one item, and logs it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::client::Body;
use kube::core::response::StatusDetails;
use kube::core::{DeserializeGuard, Status};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use crate::error::{CALL_TIMEOUT, Fault, call};
use crate::server::Health;
use crate::telemetry::Metrics;
use bad::Bad;
use decode::ListMetadata;
use split::Splitter;

pub use scope::Scope;
pub use watch::SILENCE;

mod bad;
mod decode;
mod retry;
mod scope;
mod secrets;
mod split;
mod stream;
mod watch;

/// Namespace and name of an object.
type Key = (String, String);

/// A request, or why it cannot be made.
type Made = Result<Request<Vec<u8>>, kube::core::request::Error>;

/// Most bytes of a refusal that are read. A proxy may answer with anything.
const REFUSAL: usize = 64 * 1024;

/// A kind whose objects are read.
pub trait Kind: Resource<DynamicType = ()> + DeserializeOwned + Send {}

impl<K: Resource<DynamicType = ()> + DeserializeOwned + Send> Kind for K {}

/// The API server as it is read.
pub struct Cluster {
    client: Client,
    bad: Arc<Bad>,
    health: Health,
    /// After how long without a word a watch is taken to be dead.
    silence: Duration,
}

/// The parts of a stored object, each as far as it can be read.
pub struct Parts {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its fields; those that cannot be read are left out.
    pub fields: serde_json::Value,
}

impl Cluster {
    /// Reads by this client, counts there what cannot be read, and says there which kinds are known.
    pub fn new(client: Client, metrics: Metrics, health: Health) -> Cluster {
        Cluster { client, bad: Arc::new(Bad::new(metrics)), health, silence: SILENCE }
    }

    /// The same, with watches that are taken to be dead after `silence`.
    pub fn with_silence(self, silence: Duration) -> Cluster {
        Cluster { silence, ..self }
    }

    /// Reads for a person, who is told of what cannot be read where it would be shown.
    pub fn of_person(client: Client) -> Cluster {
        Cluster::new(client, Metrics::default(), Health::default())
    }

    /// The same by another client.
    pub fn through(&self, client: Client) -> Cluster {
        Cluster { client, bad: self.bad.clone(), health: self.health.clone(), silence: self.silence }
    }

    /// An object; `None` where there is none.
    ///
    /// # Errors
    /// When the API server does not give it. One that cannot be decoded is no error.
    pub async fn get<K>(&self, key: &Key) -> Result<Option<DeserializeGuard<K>>, Fault>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        self.get_in(&Scope::of::<K>(Some(&key.0)), &key.1).await
    }

    /// The same where the scope says what is read.
    ///
    /// # Errors
    /// The same.
    pub async fn get_in<K: DeserializeOwned>(
        &self,
        scope: &Scope,
        name: &str,
    ) -> Result<Option<DeserializeGuard<K>>, Fault> {
        match self.send(scope.named(name)).await {
            Ok(object) => Ok(Some(object)),
            Err(Fault::NotFound(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// What of an object can be read, whatever it is; `None` where there is none.
    ///
    /// # Errors
    /// When the API server does not give it.
    pub async fn parts(&self, scope: &Scope, name: &str) -> Result<Option<Parts>, Fault> {
        let bytes = match self.bytes(scope.named(name)).await {
            Ok(bytes) => bytes,
            Err(Fault::NotFound(_)) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let metadata = decode::metadata(&String::from_utf8_lossy(&bytes));
        Ok(Some(Parts { metadata, fields: decode::parts(&bytes) }))
    }

    /// The object that a request is answered with.
    ///
    /// # Errors
    /// When the request is refused, or not answered. What was written is written, whether or not it can be decoded.
    pub async fn send<K: DeserializeOwned>(&self, request: Made) -> Result<DeserializeGuard<K>, Fault> {
        self.bytes(request).await.map(|bytes| decode::object(&bytes))
    }

    /// Makes a request whose answer nobody needs.
    ///
    /// # Errors
    /// When it is refused, or not answered.
    pub async fn tell(&self, request: Made) -> Result<(), Fault> {
        self.bytes(request).await.map(drop)
    }

    /// Gives every object of a list that can be read to `take`, one by one as they arrive.
    ///
    /// # Errors
    /// When a page cannot be read; what came before has been given by then.
    pub async fn each<K>(&self, scope: &Scope, mut take: impl FnMut(K) + Send) -> Result<(), Fault>
    where
        K: DeserializeOwned,
    {
        let mut bad = HashSet::new();
        let note = |object: DeserializeGuard<K>| match object.0 {
            Ok(object) => take(object),
            Err(invalid) if scope.is_noted() => {
                let (namespace, name) = (invalid.metadata.namespace, invalid.metadata.name);
                let key = (namespace.unwrap_or_default(), name.unwrap_or_default());
                self.bad.note(scope.kind(), &key, &invalid.error);
                bad.insert(key);
            }
            Err(_) => {}
        };
        self.all(scope, note).await?;
        if scope.is_noted() {
            self.bad.keep(scope.kind(), &bad);
        }
        Ok(())
    }

    /// Gives the objects of a list that can be read to `take`, one by one as they arrive, of those whose bytes are wanted: the others
    /// are not decoded, and what of these cannot be read is passed over.
    ///
    /// # Errors
    /// The same.
    pub async fn each_wanted<K>(
        &self,
        scope: &Scope,
        is_wanted: impl Fn(&[u8]) -> bool + Send + Sync,
        mut take: impl FnMut(K) + Send,
    ) -> Result<(), Fault>
    where
        K: DeserializeOwned,
    {
        let read = |bytes: Vec<u8>| {
            if is_wanted(&bytes)
                && let Ok(object) = decode::object(&bytes).0
            {
                take(object);
            }
        };
        self.pages(scope, read).await.map(drop)
    }

    /// Gives every object of a list to `take`, readable or not, one by one as they arrive. Returns the version at which the
    /// list was made.
    ///
    /// # Errors
    /// The same.
    pub async fn all<K>(
        &self,
        scope: &Scope,
        mut take: impl FnMut(DeserializeGuard<K>) + Send,
    ) -> Result<Option<String>, Fault>
    where
        K: DeserializeOwned,
    {
        self.pages(scope, |bytes| take(decode::object(&bytes))).await
    }

    /// Whether these objects may be listed, and anybody answers.
    ///
    /// # Errors
    /// Why not.
    pub async fn answers(&self, scope: &Scope) -> Result<(), Fault> {
        let scope = scope.clone().metadata().pages_of(1);
        self.page(scope.list(None), drop).await.map(drop)
    }

    /// Says that these objects are known as they are now.
    pub fn set_known(&self, scope: &Scope) {
        self.health.set_known(scope.kind(), true);
    }

    /// All pages of a list, each item as it arrives. Returns the version at which the list was made.
    async fn pages(
        &self,
        scope: &Scope,
        mut take: impl FnMut(Vec<u8>) + Send,
    ) -> Result<Option<String>, Fault> {
        let mut next = None;
        loop {
            let page = self.page(scope.list(next.as_deref()), &mut take).await?;
            next = page.next;
            if next.is_none() {
                return Ok(page.resource_version);
            }
        }
    }

    /// One page of a list, each item as it arrives.
    async fn page(&self, request: Made, mut take: impl FnMut(Vec<u8>) + Send) -> Result<ListMetadata, Fault> {
        let mut body = self.open(request).await?;
        let mut splitter = Splitter::default();
        while let Some(bytes) = within(CALL_TIMEOUT, piece(&mut body)).await? {
            splitter.feed(&bytes, &mut take);
        }
        decode::list_metadata(splitter.envelope())
            .map_err(|error| Fault::from(kube::Error::SerdeError(error)))
    }

    /// Everything that a request is answered with.
    async fn bytes(&self, request: Made) -> Result<Vec<u8>, Fault> {
        let answer = async {
            let mut body = self.open(request).await?;
            let mut all = Vec::new();
            while let Some(bytes) = piece(&mut body).await? {
                all.extend_from_slice(&bytes);
            }
            Ok(all)
        };
        within(CALL_TIMEOUT, answer).await
    }

    /// The answer to a request as it begins to arrive.
    async fn open(&self, request: Made) -> Result<Body, Fault> {
        let request = request.map_err(|error| Fault::from(kube::Error::BuildRequest(error)))?;
        let response = call(self.client.send(request.map(Body::from))).await?;
        match response.status().is_client_error() || response.status().is_server_error() {
            true => Err(refusal(response).await),
            false => Ok(response.into_body()),
        }
    }
}

/// What arrives next.
async fn piece(body: &mut Body) -> Result<Option<Bytes>, Fault> {
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame.map_err(Fault::from)?.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

async fn within<T>(time: Duration, future: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::time::timeout(time, future).await.unwrap_or(Err(Fault::TimedOut))
}

/// What the API server says of a request that it refuses. Whatever stands before it may answer in no form at all.
async fn refusal(response: Response<Body>) -> Fault {
    let code = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let mut body = response.into_body();
    let mut said = Vec::new();
    while said.len() < REFUSAL
        && let Ok(Some(bytes)) = within(CALL_TIMEOUT, piece(&mut body)).await
    {
        said.extend_from_slice(&bytes);
    }
    let mut status = serde_json::from_slice::<Status>(&said).unwrap_or_else(|_| {
        let said = String::from_utf8_lossy(&said);
        Status::failure(said.trim(), "Failed to parse error data").with_code(code)
    });
    if let Some(seconds) = retry_after {
        status.details.get_or_insert_with(no_details).retry_after_seconds = seconds;
    }
    Fault::from(kube::Error::Api(status.boxed()))
}

fn no_details() -> StatusDetails {
    let none = String::new;
    let (name, group, kind, uid) = (none(), none(), none(), none());
    StatusDetails { name, group, kind, uid, causes: Vec::new(), retry_after_seconds: 0 }
}

/// In how many seconds to come again, by the header that says so. Kubernetes gives no dates there.
fn retry_after(headers: &http::HeaderMap) -> Option<u32> {
    headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

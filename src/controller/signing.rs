//! The keys that files are signed with: a Secret of the operator's own namespace, made at the first start.
//!
//! Nothing that a file says is believed without them, and nothing is written that could not be believed later.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::core::Status;
use kube::{Api, Error};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::context::{Context, Shared};
use super::revisions::{MANAGED_BY, MANAGER};
use super::writer;
use crate::clock;
use crate::error::{Fault, call, chain};
use crate::flags::Keys;
use crate::flags::signature::LEAST_BYTES;
use crate::server::Health;

/// Name of the Secret where nothing else is said.
pub const SECRET: &str = "sluice-file-signing";

/// Key of the Secret's data that files are signed with.
const CURRENT: &str = "key";
/// Key of the Secret's data that is believed as well, while the keys are changed.
const PREVIOUS: &str = "previous";

/// How often the Secret is looked at.
const LOOK: Duration = Duration::from_secs(30);
/// Least time between two looks that files without a valid signature cause: anybody may edit a file often.
const LEAST_LOOK: Duration = Duration::from_secs(1);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// The keys of this process.
pub struct Signing {
    secret: String,
    keys: Mutex<Option<Arc<Keys>>>,
    /// When they were read last. Whoever reads them holds it, so that many who want them ask once.
    read: tokio::sync::Mutex<Option<Instant>>,
    /// Rings when they are other ones than before.
    changed: Notify,
}

impl Signing {
    /// Keys in a Secret of this name.
    pub fn new(secret: String) -> Signing {
        Signing {
            secret,
            keys: Mutex::default(),
            read: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// The keys, read if they are not known yet, made where there are none.
    ///
    /// # Errors
    /// When they can neither be read nor made, or are no keys.
    pub async fn keys(&self, ctx: &Context) -> Result<Arc<Keys>, Fault> {
        if let Some(keys) = self.known() {
            return Ok(keys);
        }
        let mut read = self.read.lock().await;
        if let Some(keys) = self.known() {
            return Ok(keys);
        }
        let keys = Arc::new(self.load(ctx).await?);
        *read = Some(clock::monotonic());
        Ok(self.take(keys))
    }

    /// Other keys than these, where the Secret has them by now. A look that fails tells of none.
    pub async fn newer(&self, ctx: &Context, than: &Arc<Keys>) -> Option<Arc<Keys>> {
        let mut read = self.read.lock().await;
        let is_recent = read.is_some_and(|read| read.elapsed() < LEAST_LOOK);
        if !is_recent {
            *read = Some(clock::monotonic());
            match self.load(ctx).await {
                Ok(keys) => drop(self.take(Arc::new(keys))),
                Err(fault) => tracing::warn!("{}; those known before stay", self.words(ctx, &fault)),
            }
        }
        self.known().filter(|keys| keys != than)
    }

    fn known(&self) -> Option<Arc<Keys>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Keys>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses these keys from now on. With other ones every file is looked at: it is to be signed anew.
    fn take(&self, keys: Arc<Keys>) -> Arc<Keys> {
        let mut known = self.lock();
        if known.as_ref() == Some(&keys) {
            return keys;
        }
        let is_change = known.is_some();
        *known = Some(keys.clone());
        drop(known);
        tracing::info!(key = keys.id(), "files are signed with this key");
        if is_change {
            self.changed.notify_one();
        }
        keys
    }

    /// Reads the keys. Where the Secret is gone, it is made of those that are known, else of new ones, by the one shard that writes
    /// in its namespace.
    async fn load(&self, ctx: &Context) -> Result<Keys, Fault> {
        let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
        if let Some(secret) = call(api.get_opt(&self.secret)).await? {
            return read(&secret);
        }
        if !ctx.is_home() {
            return Err(unusable("there is no such Secret yet, and another shard makes it"));
        }
        let keys = match self.known() {
            Some(keys) => (*keys).clone(),
            None => fresh()?,
        };
        match call(api.create(&PostParams::default(), &self.write(ctx, &keys))).await {
            Ok(_) => Ok(keys),
            // Another process was quicker.
            Err(Fault::AlreadyExists(_)) => read(&call(api.get(&self.secret)).await?),
            Err(fault) => Err(fault),
        }
    }

    fn write(&self, ctx: &Context, keys: &Keys) -> Secret {
        let (current, previous) = keys.bytes();
        let previous = previous.map(|bytes| (PREVIOUS.to_owned(), ByteString(bytes.to_vec())));
        let data = [(CURRENT.to_owned(), ByteString(current.to_vec()))].into_iter().chain(previous);
        Secret {
            metadata: ObjectMeta {
                name: Some(self.secret.clone()),
                namespace: Some(ctx.namespace.clone()),
                labels: Some(BTreeMap::from([(MANAGED_BY.to_owned(), MANAGER.to_owned())])),
                ..ObjectMeta::default()
            },
            data: Some(data.collect()),
            ..Secret::default()
        }
    }

    fn words(&self, ctx: &Context, fault: &Fault) -> String {
        let why = chain(fault);
        format!("the keys of files, in Secret {}/{}, cannot be used: {why}", ctx.namespace, self.secret)
    }
}

/// Waits until there are keys; `health` says what is missing.
pub async fn until_loaded(ctx: &Context, health: &Health) {
    let mut wait = FIRST_RETRY;
    while let Err(fault) = ctx.signing.keys(ctx).await {
        let why = ctx.signing.words(ctx, &fault);
        tracing::warn!("{why}; no file is written before that; it is tried again in {} ms", wait.as_millis());
        health.set_waiting(Some(why));
        clock::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_RETRY);
    }
    health.set_waiting(None);
}

/// Looks at the Secret now and then until the shutdown, and has every file signed anew where the keys have changed.
pub async fn follow(ctx: Shared) {
    loop {
        tokio::select! {
            () = clock::sleep(LOOK) => {}
            () = ctx.signing.changed.notified() => {
                writer::poke_all(&ctx);
                continue;
            }
            () = ctx.shutdown.cancelled() => return,
        }
        if let Ok(keys) = ctx.signing.keys(&ctx).await {
            // What is new is in force by then.
            let _newer = ctx.signing.newer(&ctx, &keys).await;
        }
    }
}

fn read(secret: &Secret) -> Result<Keys, Fault> {
    let bytes = |key: &str| secret.data.as_ref()?.get(key).map(|bytes| bytes.0.as_slice());
    let Some(current) = bytes(CURRENT) else { return Err(unusable(&format!("there is no data.{CURRENT}"))) };
    Keys::new(current, bytes(PREVIOUS)).map_err(|error| unusable(&error.to_string()))
}

fn fresh() -> Result<Keys, Fault> {
    let mut bytes = Zeroizing::new([0; LEAST_BYTES]);
    getrandom::fill(&mut *bytes).map_err(|error| unusable(&format!("no random numbers: {error}")))?;
    Keys::new(&*bytes, None).map_err(|error| unusable(&error.to_string()))
}

/// As if the API server had said so: it is for somebody to put right.
fn unusable(why: &str) -> Fault {
    Fault::from(Error::Api(Box::new(Status::failure(why, "Invalid").with_code(422))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(data: &[(&str, &[u8])]) -> Secret {
        let data = data.iter().map(|(key, bytes)| ((*key).to_owned(), ByteString(bytes.to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn a_secret_without_a_usable_key_is_refused_in_words() {
        let refused = |secret: &Secret| chain(&read(secret).unwrap_err());
        assert!(refused(&Secret::default()).contains("there is no data.key"));
        let short = refused(&secret(&[("key", b"short")]));
        assert!(short.contains("a key needs 32 bytes or more, and this one has 5"), "{short}");
        let short = refused(&secret(&[("key", &[1; 32]), ("previous", b"")]));
        assert!(short.contains("this one has 0"), "{short}");
    }

    #[test]
    fn new_keys_differ_and_come_back_from_the_secret_as_they_were() {
        let signing = [fresh().unwrap(), fresh().unwrap()];
        assert_ne!(signing[0], signing[1]);
        let both = secret(&[("key", &[1; 32]), ("previous", &[2; 40])]);
        let keys = read(&both).unwrap();
        assert_eq!(keys, Keys::new(&[1; 32], Some(&[2; 40])).unwrap());
        assert_eq!(keys.bytes(), (&[1; 32][..], Some(&[2; 40][..])));
    }
}

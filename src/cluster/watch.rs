//! A list and a watch of one kind, for ever: each object by itself, whatever becomes of the connection.

use std::collections::HashSet;
use std::time::Duration;

use kube::Resource;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;

use super::decode::{self, Told};
use super::retry::{Retry, is_expired};
use super::{Cluster, Key, Scope, piece};
use crate::clock;
use crate::error::{Fault, chain};
use crate::watchdog::resting;

/// After how long without a word a watch is taken to be dead and begun anew from where it was. API servers give a sign of
/// life, a bookmark, once a minute; where one gives none, this costs a request.
pub const SILENCE: Duration = Duration::from_secs(75);
/// A watch that ends sooner without a word has not worked.
pub(super) const WORKED: Duration = Duration::from_secs(1);

/// What an object is told as.
pub(super) type Guarded<K> = DeserializeGuard<K>;

impl Cluster {
    /// Lists and watches these objects for ever and tells `take` of everything. `page` is waited for before a page is asked
    /// for.
    ///
    /// [`Event::Init`] comes before every list, [`Event::InitDone`] when it is complete. An object that cannot be read is
    /// told of like the others.
    pub async fn follow<K, P>(
        &self,
        scope: &Scope,
        page: impl Fn() -> P + Send + Sync,
        mut take: impl FnMut(Event<Guarded<K>>) + Send,
    ) where
        K: Resource + DeserializeOwned + Send,
        P: Future<Output = ()> + Send,
    {
        let mut retry = Retry::default();
        loop {
            let mut version = match self.list(scope, &page, &mut take).await {
                Ok(version) => version,
                Err(fault) => {
                    self.rest(scope, &mut retry, Some(&fault)).await;
                    continue;
                }
            };
            self.works(scope, &mut retry);
            loop {
                let begun = clock::monotonic();
                let before = version.clone();
                let ended = self.watch(scope, &mut version, &mut take).await;
                if version != before || begun.elapsed() >= WORKED {
                    self.works(scope, &mut retry);
                }
                match ended {
                    Ok(()) if version != before || begun.elapsed() >= WORKED => {}
                    Ok(()) => self.rest(scope, &mut retry, None).await,
                    Err(fault) => {
                        self.rest(scope, &mut retry, Some(&fault)).await;
                        if is_lost(&fault) || retry.is_unheard(clock::monotonic()) {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// One list, to its end; the version at which it was made.
    async fn list<K, P>(
        &self,
        scope: &Scope,
        page: impl Fn() -> P + Send + Sync,
        take: &mut (impl FnMut(Event<Guarded<K>>) + Send),
    ) -> Result<String, Fault>
    where
        K: Resource + DeserializeOwned + Send,
        P: Future<Output = ()> + Send,
    {
        let mut bad = HashSet::new();
        let mut next = None;
        take(Event::Init);
        loop {
            page().await;
            let read = self.page(scope.list(next.as_deref()), |bytes| {
                let object = decode::object::<K>(&bytes);
                if let Some(key) = self.note(scope, &object).filter(|_| object.0.is_err()) {
                    bad.insert(key);
                }
                take(Event::InitApply(object));
            });
            let metadata = read.await?;
            next = metadata.next;
            if next.is_none() {
                self.bad.keep(scope.kind(), &bad);
                take(Event::InitDone);
                return metadata.resource_version.ok_or_else(no_version);
            }
        }
    }

    /// One watch from a version on, to its end; `version` moves on with what was told.
    async fn watch<K>(
        &self,
        scope: &Scope,
        version: &mut String,
        take: &mut (impl FnMut(Event<Guarded<K>>) + Send),
    ) -> Result<(), Fault>
    where
        K: Resource + DeserializeOwned + Send,
    {
        let mut body = self.open(scope.watch(version)).await?;
        let mut lines = Lines::default();
        while let Ok(piece) = resting(tokio::time::timeout(self.silence, piece(&mut body))).await {
            let Some(bytes) = piece? else { break };
            let mut told = Ok(());
            lines.feed(&bytes, &mut |line| {
                if told.is_ok() {
                    told = self.line(scope, line, version, take);
                }
            });
            told?;
        }
        Ok(())
    }

    pub(super) fn line<K>(
        &self,
        scope: &Scope,
        line: &[u8],
        version: &mut String,
        take: &mut impl FnMut(Event<Guarded<K>>),
    ) -> Result<(), Fault>
    where
        K: Resource + DeserializeOwned,
    {
        let told = decode::told(line).map_err(|error| Fault::from(kube::Error::SerdeError(error)))?;
        let reached = match &told {
            Told::Changed(object) | Told::Gone(object) => object.meta().resource_version.clone(),
            Told::UpTo(version) => Some(version.clone()),
            Told::Failed(status) => return Err(Fault::from(kube::Error::Api(status.clone()))),
        };
        *version = reached.filter(|version| !version.is_empty()).ok_or_else(no_version)?;
        match told {
            Told::Changed(object) => {
                self.note(scope, &object);
                take(Event::Apply(object));
            }
            Told::Gone(object) => {
                if let Some(key) = key_of(&object) {
                    self.bad.clear(scope.kind(), &key);
                }
                take(Event::Delete(object));
            }
            Told::UpTo(_) | Told::Failed(_) => {}
        }
        Ok(())
    }

    /// Notes whether an object can be read.
    fn note<K: Resource>(&self, scope: &Scope, object: &Guarded<K>) -> Option<Key> {
        let key = key_of(object)?;
        match &object.0 {
            Ok(_) => self.bad.clear(scope.kind(), &key),
            Err(invalid) => self.bad.note(scope.kind(), &key, &invalid.error),
        }
        Some(key)
    }

    fn works(&self, scope: &Scope, retry: &mut Retry) {
        retry.recovered();
        self.health.set_known(scope.kind(), true);
    }

    /// Waits after a failure, and says so where that is news.
    async fn rest(&self, scope: &Scope, retry: &mut Retry, fault: Option<&Fault>) {
        let now = clock::monotonic();
        let wait = retry.failed(fault, now, fastrand::f64());
        if retry.is_unheard(now) {
            self.health.set_known(scope.kind(), false);
        }
        if let Some(fault) = fault {
            let (kind, why, wait_ms) = (scope.kind(), chain(fault), wait.as_millis());
            if retry.is_news(fault) {
                tracing::warn!(
                    "the watch of kind {kind} broke: {why}; it is begun again in {wait_ms} ms, and what is known stays in force"
                );
            } else {
                tracing::debug!("the watch of kind {kind} broke: {why}; it is begun again in {wait_ms} ms");
            }
        }
        clock::sleep(wait).await;
    }
}

/// Whether a watch cannot go on from where it was.
pub(super) fn is_lost(fault: &Fault) -> bool {
    let is_unread = |error: &kube::Error| matches!(error, kube::Error::SerdeError(_));
    match fault {
        Fault::NotFound(_) => true,
        Fault::Transient(error) => is_unread(error) || is_expired(fault),
        _ => false,
    }
}

pub(super) fn no_version() -> Fault {
    let error = <serde_json::Error as serde::de::Error>::missing_field("metadata.resourceVersion");
    Fault::from(kube::Error::SerdeError(error))
}

/// Namespace and name, where even that can be read.
fn key_of<K: Resource>(object: &Guarded<K>) -> Option<Key> {
    let metadata = object.meta();
    Some((metadata.namespace.clone().unwrap_or_default(), metadata.name.clone()?))
}

/// The lines of an answer as it arrives.
#[derive(Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// Takes in what has arrived, and gives each line that is complete by now to `take`. Empty ones are left out.
    pub(super) fn feed(&mut self, mut bytes: &[u8], take: &mut impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.0.extend_from_slice(line);
            if !self.0.trim_ascii().is_empty() {
                take(&self.0);
            }
            self.0.clear();
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.0.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let text = "one\n\n \ntwo\r\nthree {\"a\": \"b\"}\nunfinished";
        for piece in 1..text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in text.as_bytes().chunks(piece) {
                lines.feed(piece, &mut |line| found.push(String::from_utf8(line.to_vec()).unwrap()));
            }
            assert_eq!(found, ["one", "two\r", "three {\"a\": \"b\"}"]);
        }
    }
}

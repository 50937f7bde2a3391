//! Versions of rollouts, read past every cache. What many files ask for at once is read together: a thousand rollouts with a
//! file each, that step at the same second, cost the API server a few lists and not a thousand reads.
//!
//! A version is always read after it was asked for: who asks while a read is under way waits for the next one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::api::FeatureRollout;
use crate::clock;
use crate::cluster::{Cluster, Scope};
use crate::error::{Fault, chain};

/// From how many on one list costs the API server less than reading each by itself.
const LIST_FROM: usize = 3;
/// How many rollouts may be listed for each whose version is asked for: a read costs about as much as sixteen of a list.
const LISTED_FOR_ONE: usize = 16;
/// Rollouts in one answer to a list.
const PAGE: u32 = 500;
/// Single reads under way at once.
const AT_ONCE: usize = 8;
/// Longest wait for more who ask, after a list. It is as long as the list took, since the files that it was for are being written
/// meanwhile; without it, each list would be for those few that asked while the one before was under way.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// How long a read may take. Nothing else of the files that ask is written meanwhile, unless it is urgent.
const PATIENCE: Duration = Duration::from_secs(2);

/// Versions by name; whoever is missing does not exist.
pub(in crate::controller) type Known = HashMap<String, String>;

/// What files' writers read past every cache.
pub struct Versions {
    cluster: Arc<Cluster>,
    /// A namespace is here while somebody reads for it.
    namespaces: Mutex<HashMap<String, Waiting>>,
}

/// Who waits for versions of a namespace.
#[derive(Default)]
struct Waiting {
    asked: Vec<Asked>,
    /// How many rollouts the namespace has, as far as is known.
    rollouts: usize,
}

/// A rollout by name, and whom to tell its version: `None` where it does not exist.
type Asked = (String, oneshot::Sender<Option<String>>);

impl Versions {
    /// Nobody asks for anything yet.
    pub fn new(cluster: Arc<Cluster>) -> Versions {
        Versions { cluster, namespaces: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a version is asked for; says whether nobody reads for this namespace yet.
    fn ask(&self, namespace: &str, rollouts: usize, asked: Asked) -> bool {
        let mut inner = self.lock();
        let is_first = !inner.contains_key(namespace);
        let waiting = inner.entry(namespace.to_owned()).or_default();
        waiting.rollouts = rollouts;
        waiting.asked.push(asked);
        is_first
    }

    /// All that is asked for in a namespace, to be read now; `None` once nobody asks, and from then on nobody reads for it.
    fn take(&self, namespace: &str) -> Option<Waiting> {
        let mut inner = self.lock();
        let waiting = inner.get_mut(namespace)?;
        if waiting.asked.is_empty() {
            inner.remove(namespace);
            return None;
        }
        Some(Waiting { asked: std::mem::take(&mut waiting.asked), rollouts: waiting.rollouts })
    }

    /// The versions of these rollouts, each as it was at some moment of this call; `None` where they cannot be read soon.
    /// `flag_set` is the one that they are members of, if they are, and `rollouts` how many the namespace has, as far as is
    /// known.
    pub(super) async fn of(
        self: &Arc<Versions>,
        namespace: &str,
        flag_set: Option<&str>,
        names: &[&str],
        rollouts: usize,
    ) -> Option<Known> {
        if let Some(flag_set) = flag_set.filter(|_| names.len() >= LIST_FROM) {
            return soon(namespace, list_members(&self.cluster, namespace, flag_set)).await;
        }
        let asked: Vec<_> = names.iter().map(|name| (*name, self.begin(namespace, name, rollouts))).collect();
        let mut known = Known::new();
        for (name, answer) in asked {
            if let Some(version) = answer.await.ok()? {
                known.insert(name.to_owned(), version);
            }
        }
        Some(known)
    }

    /// Asks for one version, which is read together with others of its namespace.
    fn begin(
        self: &Arc<Versions>,
        namespace: &str,
        name: &str,
        rollouts: usize,
    ) -> oneshot::Receiver<Option<String>> {
        let (tell, told) = oneshot::channel();
        if self.ask(namespace, rollouts, (name.to_owned(), tell)) {
            tokio::spawn(answer(self.clone(), namespace.to_owned()));
        }
        told
    }
}

/// Reads for a namespace until nobody asks any more. Whoever's version could not be read hears nothing.
async fn answer(versions: Arc<Versions>, namespace: String) {
    while let Some(Waiting { asked, rollouts }) = versions.take(&namespace) {
        let (begun, is_list) = (clock::monotonic(), is_listed(asked.len(), rollouts));
        let names = asked.iter().map(|(name, _)| name.clone()).collect();
        let reading = read(&versions.cluster, &namespace, names, rollouts);
        let Some(mut known) = soon(&namespace, reading).await else { continue };
        for (name, tell) in asked {
            // Who asked may have stopped waiting, as something urgent came.
            let _gone = tell.send(known.remove(&name));
        }
        if is_list {
            clock::sleep(begun.elapsed().min(LONGEST_WAIT)).await;
        }
    }
}

async fn soon(whose: &str, reading: impl Future<Output = Result<Known, Fault>>) -> Option<Known> {
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Ok(known)) => Some(known),
        Ok(Err(fault)) => {
            tracing::warn!("versions of rollouts of {whose} could not be read: {}", chain(&fault));
            None
        }
        Err(_) => {
            tracing::warn!(
                "versions of rollouts of {whose} could not be read within {} s",
                PATIENCE.as_secs()
            );
            None
        }
    }
}

async fn read(
    cluster: &Cluster,
    namespace: &str,
    names: Vec<String>,
    rollouts: usize,
) -> Result<Known, Fault> {
    let scope = versions_in(namespace);
    if is_listed(names.len(), rollouts) {
        return list(cluster, &scope).await;
    }
    let reads = names.into_iter().map(|name| get(cluster, &scope, name));
    let versions = futures::stream::iter(reads).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    versions.into_iter().filter_map(Result::transpose).collect()
}

/// A rollout's name and version, where it exists.
async fn get(cluster: &Cluster, scope: &Scope, name: String) -> Result<Option<(String, String)>, Fault> {
    let found = cluster.get_in::<Seen>(scope, &name).await?;
    Ok(found.and_then(|found| Some((name, found.0.ok()?.metadata.resource_version))))
}

/// Whether so many versions are read by one list of the namespace.
fn is_listed(asked: usize, rollouts: usize) -> bool {
    asked >= LIST_FROM && rollouts <= asked.saturating_mul(LISTED_FOR_ONE)
}

async fn list_members(cluster: &Cluster, namespace: &str, flag_set: &str) -> Result<Known, Fault> {
    let all = versions_in(namespace);
    let members = all.clone().fields(&format!("spec.flagSetRef.name={flag_set}"));
    match list(cluster, &members).await {
        // A kind that was installed by an older release cannot be asked for the members.
        Err(Fault::Invalid(_)) => list(cluster, &all).await,
        listed => listed,
    }
}

/// As much of a rollout as is needed.
#[derive(Deserialize)]
struct Seen {
    metadata: Version,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    name: String,
    resource_version: String,
}

/// All of a list, as they were when its first page was read.
async fn list(cluster: &Cluster, scope: &Scope) -> Result<Known, Fault> {
    let mut known = Known::new();
    let note = |seen: Seen| drop(known.insert(seen.metadata.name, seen.metadata.resource_version));
    cluster.each(scope, note).await?;
    Ok(known)
}

/// The rollouts of a namespace as far as their versions go.
fn versions_in(namespace: &str) -> Scope {
    Scope::of::<FeatureRollout>(Some(namespace)).metadata().pages_of(PAGE)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::server::Health;
    use crate::telemetry::Metrics;

    #[rstest]
    #[case::one(1, 1, false)]
    #[case::a_pair(2, 2, false)]
    #[case::a_file_of_three(3, 3, true)]
    #[case::a_few_of_many(3, 49, false)]
    #[case::as_many_as_pay(3, 48, true)]
    #[case::a_thousand_together(1_000, 1_000, true)]
    fn a_list_is_asked_for_where_it_costs_less_than_single_reads(
        #[case] asked: usize,
        #[case] rollouts: usize,
        #[case] listed: bool,
    ) {
        assert_eq!(is_listed(asked, rollouts), listed);
    }

    #[tokio::test]
    async fn who_asks_while_a_read_is_under_way_is_answered_by_the_next_one() {
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let versions = {
            let client = kube::Client::try_from(nowhere).unwrap();
            Versions::new(Arc::new(Cluster::new(client, Metrics::default(), Health::default())))
        };
        let ask = |namespace: &str, name: &str| {
            let (tell, _) = oneshot::channel();
            versions.ask(namespace, 3, (name.to_owned(), tell))
        };
        let taken = |namespace: &str| {
            let names =
                |waiting: Waiting| waiting.asked.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
            versions.take(namespace).map(names)
        };
        assert!(ask("maya", "a"), "somebody has to read");
        assert!(ask("other", "a"), "each namespace by itself");
        assert_eq!(taken("maya"), Some(vec!["a".to_owned()]));
        assert!(!ask("maya", "b") && !ask("maya", "c"), "the reader is at work");
        assert_eq!(taken("maya"), Some(vec!["b".to_owned(), "c".to_owned()]));
        assert_eq!(taken("maya"), None);
        assert!(ask("maya", "d"), "that reader has ended");
    }
}

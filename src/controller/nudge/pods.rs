//! The pods of a namespace, listed once for all of its files that ask at the same time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::sync::Semaphore;

use super::mounts::{self, How, Mount};
use super::{Held, lock, touch};
use crate::clock;
use crate::cluster::Scope;
use crate::controller::context::Context;
use crate::error::{Fault, chain};

/// Lists under way at once.
const AT_ONCE: usize = 4;
/// Least time between two lists of a namespace where nothing is urgent.
const REST: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// A running pod that mounts ConfigMaps of files.
pub(super) struct Reader {
    pub(super) name: String,
    /// What people know it by.
    pub(super) workload: String,
    mounts: Vec<Mount>,
    /// What the nudge's annotation says now.
    pub(super) annotation: Option<String>,
}

impl Reader {
    /// How the pod mounts a file.
    pub(super) fn how(&self, held: &Held) -> How {
        mounts::how(&self.mounts, &held.config_map, &held.key)
    }
}

/// The last list of every namespace.
pub(super) struct Lists {
    namespaces: Mutex<HashMap<String, Arc<Place>>>,
    /// When each of them began.
    begun: Mutex<HashMap<String, Instant>>,
    permits: Semaphore,
}

type Place = tokio::sync::Mutex<Option<Seen>>;

impl Lists {
    /// Forgets the lists of all other namespaces.
    pub(super) fn keep(&self, namespaces: &HashSet<String>) {
        lock(&self.namespaces).retain(|namespace, _| namespaces.contains(namespace));
        lock(&self.begun).retain(|namespace, _| namespaces.contains(namespace));
    }

    /// When the pods of a namespace may be listed again, where nothing is urgent.
    pub(super) fn rested(&self, namespace: &str) -> Option<Instant> {
        lock(&self.begun).get(namespace).map(|begun| *begun + REST)
    }
}

struct Seen {
    begun: Instant,
    readers: Arc<Vec<Reader>>,
}

impl Default for Lists {
    fn default() -> Lists {
        Lists { namespaces: Mutex::default(), begun: Mutex::default(), permits: Semaphore::new(AT_ONCE) }
    }
}

/// The pods of a namespace that mount ConfigMaps of files, as they were at `since` or later; `None` when they cannot be known.
/// With `insist` a list is tried until it works.
pub(super) async fn readers(
    ctx: &Context,
    namespace: &str,
    since: Instant,
    insist: bool,
) -> Option<Arc<Vec<Reader>>> {
    let place = lock(&ctx.nudger.lists.namespaces).entry(namespace.to_owned()).or_default().clone();
    // Who waits here finds the list that it waited for.
    let mut seen = place.lock().await;
    if let Some(seen) = seen.as_ref().filter(|seen| seen.begun >= since) {
        return Some(seen.readers.clone());
    }
    let mut wait = FIRST_RETRY;
    loop {
        let begun = clock::monotonic();
        lock(&ctx.nudger.lists.begun).insert(namespace.to_owned(), begun);
        let fault = match list(ctx, namespace).await {
            Ok(readers) => {
                let readers = Arc::new(readers);
                *seen = Some(Seen { begun, readers: readers.clone() });
                return Some(readers);
            }
            Err(fault) => fault,
        };
        if let Fault::Forbidden(_) = fault {
            touch::forbidden(ctx, namespace, "listed", &fault);
            return None;
        }
        let next = if insist {
            "they are listed again"
        } else {
            "they get their files when the kubelet looks by itself"
        };
        tracing::warn!("the pods of namespace {namespace} could not be listed: {}; {next}", chain(&fault));
        if !insist {
            return None;
        }
        clock::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_RETRY);
    }
}

async fn list(ctx: &Context, namespace: &str) -> Result<Vec<Reader>, Fault> {
    // Nobody closes it.
    let _permit = ctx.nudger.lists.permits.acquire().await;
    let mut readers = Vec::new();
    // Whoever waits for this list has a writer, which names its ConfigMaps before it tells of a file.
    let wanted = |name: &str| {
        let key = (namespace.to_owned(), name.to_owned());
        !ctx.hub.sets_of_config_map(&key).is_empty()
    };
    ctx.cluster
        .each(&Scope::of::<Pod>(Some(namespace)), |pod: Pod| readers.extend(reader(&pod, wanted)))
        .await?;
    Ok(readers)
}

fn reader(pod: &Pod, wanted: impl Fn(&str) -> bool) -> Option<Reader> {
    let mounts = mounts::mounts(pod, wanted);
    (!mounts.is_empty() && mounts::is_running(pod)).then(|| Reader {
        name: pod.name_any(),
        workload: mounts::workload(pod),
        mounts,
        annotation: pod
            .annotations()
            .get(touch::FLAGS_REVISION)
            .filter(|text| touch::may_be_ours(text))
            .cloned(),
    })
}

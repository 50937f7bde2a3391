//! What Sluice keeps beside the statuses, in ControllerRevisions named by owner and content: audiences and guards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};

use super::cache::{ObjectKey, key_of};
use super::context::Context;
use crate::clock;
use crate::cluster::Scope;
use crate::error::{Fault, chain};
use crate::flags;
use crate::plan::{Audience, GuardSpec};
use crowd::{Unpinned, expired};
use known::Known;

pub mod audiences;
mod crowd;
pub mod guards;
mod known;

/// Label of everything that Sluice writes besides its own kinds.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`].
pub const MANAGER: &str = "sluice";
/// Revisions stored after which a collection does not wait for its time.
const MANY: usize = 64;

/// The revisions that are known to be stored.
#[derive(Default)]
pub struct Revisions {
    audiences: Known<Audience>,
    guards: Known<GuardSpec>,
    unpinned_since: Mutex<HashMap<ObjectKey, Instant>>,
    /// The guards that were stored for each rollout.
    guards_of: Mutex<crowd::Stored>,
    /// Revisions that were stored since the last collection.
    stored: AtomicUsize,
}

/// The revisions that must stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    /// By namespace and name.
    pub revisions: HashSet<ObjectKey>,
    /// Namespaces where nobody can say what is pinned, so that everything is.
    pub unsure: HashSet<String>,
}

impl Pinned {
    fn holds(&self, key: &ObjectKey) -> bool {
        self.revisions.contains(key) || self.unsure.contains(&key.0)
    }
}

impl Revisions {
    fn know(&self, key: ObjectKey, revision: &ControllerRevision) {
        if let Some(audience) = audiences::read(revision) {
            self.audiences.put(key, &audience);
        } else if let Some(guard) = guards::read(revision) {
            self.guards.put(key, &guard);
        }
    }

    /// Forgets what is known of a revision; says whether anything was.
    fn forget(&self, key: &ObjectKey) -> bool {
        self.audiences.forget(key) | self.guards.forget(key)
    }

    /// Forgets what is known of the revisions of a rollout that is gone, or that there is no room for. They stay stored as long as they are pinned.
    pub fn forget_rollout(&self, key: &ObjectKey) {
        self.audiences.forget_owner(&key.0, &Audience::prefix(&key.1));
        self.guards.forget_owner(&key.0, &guards::prefix(&key.1));
        self.guards_of().forget(key);
    }

    /// Whether so many were stored since the last collection that the next one should not wait for its time.
    pub fn are_many(&self) -> bool {
        self.stored.load(Ordering::Relaxed) >= MANY
    }

    fn guards_of(&self) -> MutexGuard<'_, crowd::Stored> {
        self.guards_of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many entries there are of what is kept.
    pub fn census(&self) -> [(&'static str, usize); 4] {
        [
            ("audiences", self.audiences.len()),
            ("guards", self.guards.len()),
            ("guarded_rollouts", self.guards_of().len()),
            ("unpinned_revisions", self.unpinned().len()),
        ]
    }

    fn unpinned(&self) -> MutexGuard<'_, HashMap<ObjectKey, Instant>> {
        self.unpinned_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the stored audiences and guards that are `pinned`, so that verifying them at a start takes no call each. Of others there may
/// be any number: whoever needs one of them reads it.
///
/// # Errors
/// When the list cannot be read.
pub async fn load(ctx: &Context, pinned: &HashSet<ObjectKey>) -> Result<(), Fault> {
    let know = |revision: ControllerRevision| {
        let key = key_of(&revision);
        if ctx.owns(&key.0) && pinned.contains(&key) {
            ctx.revisions.know(key, &revision);
        }
    };
    ctx.cluster.each(&stored(), know).await?;
    ctx.cluster.set_known(&stored());
    Ok(())
}

fn stored() -> Scope {
    Scope::of::<ControllerRevision>(None).labels(&ours()).noted()
}

/// Selects what Sluice has written.
pub fn ours() -> String {
    format!("{MANAGED_BY}={MANAGER}")
}

/// Stores something under a name that tells its content. What is stored there and is not `it` is put right: the content
/// of a revision cannot be changed, so it is deleted first.
///
/// # Errors
/// When it could not be stored.
pub async fn store(
    ctx: &Context,
    namespace: &str,
    name: &str,
    data: serde_json::Value,
    it: impl Fn(&ControllerRevision) -> bool,
) -> Result<(), Fault> {
    let revision = ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([(MANAGED_BY.to_owned(), MANAGER.to_owned())])),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision: 1,
    };
    let body = serde_json::to_vec(&revision).unwrap_or_default();
    let scope = Scope::of::<ControllerRevision>(Some(namespace));
    let create = || ctx.cluster.tell(scope.request().create(&PostParams::default(), body.clone()));
    match create().await {
        Err(Fault::AlreadyExists(_)) => {}
        created => {
            ctx.revisions.stored.fetch_add(1, Ordering::Relaxed);
            return created;
        }
    }
    let key = (namespace.to_owned(), name.to_owned());
    let stored = ctx.cluster.get::<ControllerRevision>(&key).await?;
    let stored = stored.filter(|stored| !stored.0.as_ref().is_ok_and(&it));
    let Some(stored) = stored else { return Ok(()) };
    tracing::warn!(namespace, name, "a stored revision is not what its name stands for; it is put right");
    let preconditions = Preconditions { uid: stored.uid(), resource_version: stored.resource_version() };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    ctx.cluster.tell(scope.request().delete(name, &params)).await?;
    create().await
}

/// Deletes the revisions that nobody has pinned for as long as `kept`, and has not used since the collection before; of an
/// owner that has many, the older ones after as long as `crowded`.
///
/// `pinned` says which are in use as far as the caches know. Only where others are left the files are read, past every
/// cache, since they also pin what the flags of rollouts that are gone are rendered from.
///
/// # Errors
/// When something cannot be listed; a revision that cannot be deleted is tried again the next time.
pub async fn collect(
    ctx: &Context,
    kept: Duration,
    crowded: Duration,
    pinned: fn(&Context) -> Pinned,
) -> Result<(), Fault> {
    ctx.revisions.stored.store(0, Ordering::Relaxed);
    let known: HashSet<ObjectKey> =
        ctx.revisions.audiences.keys().into_iter().chain(ctx.revisions.guards.keys()).collect();
    let mut all = HashMap::new();
    let note = |revision: ControllerRevision| {
        let key = key_of(&revision);
        if !ctx.owns(&key.0) {
            return;
        }
        let created = revision.creation_timestamp().map(|time| time.0.into());
        all.insert(key, (revision.uid(), revision.resource_version(), created));
    };
    ctx.cluster.each(&stored(), note).await?;
    let keys: HashSet<ObjectKey> = all.keys().cloned().collect();
    ctx.revisions.audiences.keep_stored(&known, &keys);
    ctx.revisions.guards.keep_stored(&known, &keys);

    let in_use = pinned(ctx);
    let mut unpinned: HashSet<ObjectKey> = keys.into_iter().filter(|key| !in_use.holds(key)).collect();
    let namespaces: HashSet<String> = unpinned.iter().map(|key| key.0.clone()).collect();
    for namespace in namespaces {
        let asked = unpinned.iter().filter(|key| key.0 == namespace).map(|key| key.1.as_str()).collect();
        let names = in_files(ctx, &namespace, &asked).await?;
        unpinned.retain(|key| key.0 != namespace || !names.contains(&key.1));
    }
    let now = clock::monotonic();
    let mut unwanted = Vec::new();
    {
        let mut since = ctx.revisions.unpinned();
        since.retain(|key, _| unpinned.contains(key));
        for key in unpinned {
            // Whoever wants it from now on asks for it to be stored, so that it is known again before a status names it.
            let is_wanted = ctx.revisions.forget(&key);
            let since = *since.entry(key.clone()).or_insert(now);
            if !is_wanted {
                let created = all.get(&key).and_then(|(.., created)| *created);
                unwanted.push(Unpinned { key, created, for_: now.saturating_duration_since(since) });
            }
        }
    }
    for key in expired(unwanted, kept, crowded) {
        let (uid, resource_version, _) = all.remove(&key).unwrap_or_default();
        delete(ctx, &key, Preconditions { uid, resource_version }).await;
    }
    Ok(())
}

/// Those of the audiences that are asked for that the files in the ConfigMaps of a namespace are rendered from, whether or not anybody
/// writes them any more. Files may name any number of others.
async fn in_files(ctx: &Context, namespace: &str, asked: &HashSet<&str>) -> Result<HashSet<String>, Fault> {
    let mut names = HashSet::new();
    let note = |map: ConfigMap| {
        for text in map.data.iter().flatten().map(|(_, text)| text) {
            names.extend(flags::audiences_in(text).into_iter().filter(|name| asked.contains(name.as_str())));
        }
    };
    ctx.cluster.each(&Scope::of::<ConfigMap>(Some(namespace)).labels(&ours()), note).await?;
    Ok(names)
}

async fn delete(ctx: &Context, key: &ObjectKey, preconditions: Preconditions) {
    let request = Scope::of::<ControllerRevision>(Some(&key.0)).request();
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match ctx.cluster.tell(request.delete(&key.1, &params)).await {
        Ok(()) | Err(Fault::NotFound(_)) => drop(ctx.revisions.unpinned().remove(key)),
        Err(fault) => {
            let fault = chain(&fault);
            tracing::warn!(
                namespace = key.0,
                name = key.1,
                fault,
                "an unpinned revision could not be deleted"
            );
        }
    }
}

//! What Sluice keeps beside the statuses, in ControllerRevisions named by owner and content: audiences and guards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, ResourceExt};

use super::cache::ObjectKey;
use super::context::Context;
use crate::clock;
use crate::error::{Fault, call};
use audiences::Audiences;
use guards::Guards;

pub mod audiences;
pub mod guards;

/// Label of everything that Sluice writes besides its own kinds.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`].
pub const MANAGER: &str = "sluice";

/// How long an audience that nobody pins is kept.
const KEPT_UNPINNED: Duration = Duration::from_secs(3600);

/// The revisions that are known to be stored.
#[derive(Default)]
pub struct Revisions {
    audiences: Audiences,
    guards: Guards,
    unpinned_since: Mutex<HashMap<ObjectKey, Instant>>,
}

/// Reads every stored audience and guard, so that verifying them at a start takes no call each.
///
/// # Errors
/// When the list cannot be read.
pub async fn load(ctx: &Context) -> Result<(), Fault> {
    for revision in list(ctx).await? {
        let key = (revision.namespace().unwrap_or_default(), revision.name_any());
        if !ctx.revisions.audiences.know(&key, &revision) {
            ctx.revisions.guards.know(key, &revision);
        }
    }
    Ok(())
}

async fn list(ctx: &Context) -> Result<Vec<ControllerRevision>, Fault> {
    let api: Api<ControllerRevision> = Api::all(ctx.client.clone());
    let params = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
    Ok(call(api.list(&params)).await?.items)
}

/// Stores something under a name that tells its content.
///
/// # Errors
/// When it could not be stored.
pub async fn store(ctx: &Context, namespace: &str, name: &str, data: serde_json::Value) -> Result<(), Fault> {
    let api: Api<ControllerRevision> = Api::namespaced(ctx.client.clone(), namespace);
    let revision = ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([(MANAGED_BY.to_owned(), MANAGER.to_owned())])),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision: 1,
    };
    match call(api.create(&PostParams::default(), &revision)).await {
        Ok(_) | Err(Fault::AlreadyExists(_)) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Deletes the audiences and guards that nobody has pinned for an hour. `pinned` are those in use;
/// in the namespaces of `unsure` all may be.
///
/// # Errors
/// When the list cannot be read; an audience that cannot be deleted is tried again the next time.
pub async fn collect_garbage(
    ctx: &Context,
    pinned: &HashSet<ObjectKey>,
    unsure: &HashSet<String>,
) -> Result<(), Fault> {
    for revision in list(ctx).await? {
        let key = (revision.namespace().unwrap_or_default(), revision.name_any());
        let since = {
            let mut unpinned = ctx.revisions.unpinned_since.lock().unwrap_or_else(PoisonError::into_inner);
            if pinned.contains(&key) || unsure.contains(&key.0) {
                unpinned.remove(&key);
                continue;
            }
            *unpinned.entry(key.clone()).or_insert_with(clock::monotonic)
        };
        if since.elapsed() < KEPT_UNPINNED {
            continue;
        }
        let api: Api<ControllerRevision> = Api::namespaced(ctx.client.clone(), &key.0);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: revision.uid(),
                resource_version: revision.resource_version(),
            }),
            ..DeleteParams::default()
        };
        if let Err(fault) = call(api.delete(&key.1, &params)).await {
            tracing::warn!(namespace = key.0, name = key.1, %fault, "an unpinned revision could not be deleted");
        }
        ctx.revisions.guards.forget(&key);
        ctx.revisions.audiences.forget(&key);
    }
    Ok(())
}

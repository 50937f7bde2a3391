//! Pinned audiences: ControllerRevisions, named by owner and content, that statuses refer to.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::Api;

use super::store;
use crate::controller::cache::ObjectKey;
use crate::controller::context::Context;
use crate::error::{Fault, call};
use crate::plan::Audience;

/// The pinned audiences that are known to be stored.
#[derive(Default)]
pub struct Audiences(Mutex<HashMap<ObjectKey, Arc<Audience>>>);

impl Audiences {
    /// Takes in what was read; says whether it is an audience.
    pub(super) fn know(&self, key: &ObjectKey, revision: &ControllerRevision) -> bool {
        let audience = read(revision).map(Arc::new);
        audience.map(|audience| self.put(key.clone(), audience)).is_some()
    }

    /// Forgets one that was deleted.
    pub(super) fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    fn get(&self, key: &ObjectKey) -> Option<Arc<Audience>> {
        self.lock().get(key).cloned()
    }

    fn put(&self, key: ObjectKey, audience: Arc<Audience>) {
        self.lock().insert(key, audience);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Arc<Audience>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(revision: &ControllerRevision) -> Option<Audience> {
    let data = revision.data.as_ref()?;
    serde_json::from_value(data.0.clone()).ok()
}

/// The stored audience of this name; `None` when there is none or it cannot be read.
///
/// # Errors
/// When the API server does not answer.
pub async fn find(ctx: &Context, namespace: &str, name: &str) -> Result<Option<Arc<Audience>>, Fault> {
    let key = (namespace.to_owned(), name.to_owned());
    if let Some(audience) = ctx.revisions.audiences.get(&key) {
        return Ok(Some(audience));
    }
    let api: Api<ControllerRevision> = Api::namespaced(ctx.client.clone(), namespace);
    let found = call(api.get_opt(name)).await?.as_ref().and_then(read).map(Arc::new);
    if let Some(audience) = &found {
        ctx.revisions.audiences.put(key, audience.clone());
    }
    Ok(found)
}

/// Stores an audience, before any status names it.
///
/// # Errors
/// When it could not be stored.
pub async fn ensure(ctx: &Context, namespace: &str, audience: &Audience) -> Result<Arc<Audience>, Fault> {
    let key = (namespace.to_owned(), audience.name.clone());
    if let Some(known) = ctx.revisions.audiences.get(&key) {
        return Ok(known);
    }
    store(ctx, namespace, &audience.name, serde_json::to_value(audience).unwrap_or_default()).await?;
    let audience = Arc::new(audience.clone());
    ctx.revisions.audiences.put(key, audience.clone());
    Ok(audience)
}

//! Pinned audiences: ControllerRevisions, named by owner and content, that statuses refer to.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;

use super::store;
use crate::api::FeatureRolloutStatus;
use crate::api::status::CohortStatus;
use crate::controller::context::Context;
use crate::error::Fault;
use crate::plan::Audience;
use crate::plan::audience::AudienceCohort;

/// The audience in a revision, if it holds the one that its name stands for. Anybody may have stored another one there.
pub(super) fn read(revision: &ControllerRevision) -> Option<Audience> {
    let data = revision.data.as_ref()?;
    let audience: Audience = serde_json::from_value(data.0.clone()).ok()?;
    (revision.metadata.name.as_ref() == Some(&audience.name) && audience.is_named_by_content())
        .then_some(audience)
}

/// The audience of this name and these cohorts; `None` when it is not stored, or another one than the name stands for.
/// One without conditions is not stored: the cohorts are all there is of it.
///
/// # Errors
/// When the API server does not answer.
pub async fn find<'a>(
    ctx: &Context,
    namespace: &str,
    name: &str,
    cohorts: impl Iterator<Item = &'a str>,
) -> Result<Option<Arc<Audience>>, Fault> {
    if let Some(audience) = Audience::without_conditions(name, cohorts) {
        return Ok(Some(Arc::new(audience)));
    }
    let key = (namespace.to_owned(), name.to_owned());
    if let Some(audience) = ctx.revisions.audiences.get(&key) {
        return Ok(Some(Arc::new(audience)));
    }
    let stored = ctx.cluster.get::<ControllerRevision>(&key).await?;
    let found = stored.as_ref().and_then(|stored| stored.0.as_ref().ok()).and_then(read);
    match &found {
        Some(audience) => ctx.revisions.audiences.put(key, audience),
        None if stored.is_some() => {
            tracing::warn!(namespace, name, "a stored audience is not the one that its name stands for");
        }
        None => {}
    }
    Ok(found.map(Arc::new))
}

/// What a status is rendered from: the audience that it pins. Where its definition is gone and nobody is served, any
/// audience will do, as all of it gets control: what lowers a rollout can always be rendered.
///
/// # Errors
/// When the API server does not answer.
pub async fn serving(
    ctx: &Context,
    namespace: &str,
    status: &FeatureRolloutStatus,
) -> Result<Option<Arc<Audience>>, Fault> {
    let Some(pinned) = &status.audience else { return Ok(None) };
    let names = status.cohorts.iter().map(|cohort| cohort.name.as_str());
    let found = find(ctx, namespace, &pinned.name, names).await?;
    let nobody = || {
        let cohort =
            |cohort: &CohortStatus| AudienceCohort { name: cohort.name.clone(), ..AudienceCohort::default() };
        Arc::new(Audience { name: pinned.name.clone(), cohorts: status.cohorts.iter().map(cohort).collect() })
    };
    Ok(found.or_else(|| (!status.exposed()).then(nobody)))
}

/// Stores an audience, before this status, which names it, is. Nothing is stored where the status itself tells all of it.
///
/// # Errors
/// When it could not be stored.
pub async fn ensure(
    ctx: &Context,
    namespace: &str,
    audience: &Audience,
    status: &FeatureRolloutStatus,
) -> Result<Arc<Audience>, Fault> {
    let names = status.cohorts.iter().map(|cohort| cohort.name.as_str());
    if let Some(told) = Audience::without_conditions(&audience.name, names) {
        return Ok(Arc::new(told));
    }
    let key = (namespace.to_owned(), audience.name.clone());
    // What is stored under this name is this very audience: the name tells the content.
    if ctx.revisions.audiences.holds(&key) {
        return Ok(Arc::new(audience.clone()));
    }
    let content = serde_json::to_value(audience).unwrap_or_default();
    store(ctx, namespace, &audience.name, content, |stored| read(stored).is_some()).await?;
    ctx.revisions.audiences.put(key, audience);
    Ok(Arc::new(audience.clone()))
}

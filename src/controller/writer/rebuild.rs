//! The members of a file from their statuses, read consistently: when the file is gone or nobody vouches for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;
use serde_json::Value;

use super::Offer;
use crate::api::FeatureRollout;
use crate::cluster::Scope;
use crate::controller::cache::ObjectKey;
use crate::controller::context::Context;
use crate::controller::index::SetId;
use crate::controller::revisions::audiences;
use crate::error::Fault;
use crate::flags::{self, Fragment, Identity};
use crate::plan::{self, Audience};

/// The members of a file.
#[derive(Default)]
pub(super) struct Members {
    /// Those that can be rendered, as their stored statuses say.
    pub(super) offers: BTreeMap<ObjectKey, Offer>,
    /// The flags of those whose audience is lost, at control, by key.
    pub(super) at_control: BTreeMap<String, Value>,
}

/// Every member of the set that has decided anything.
///
/// A member whose flag itself is invalid cannot be rendered and is left out: its last good fragment stays.
///
/// # Errors
/// When the rollouts or their audiences cannot be read.
pub(super) async fn members(ctx: &Context, set: &SetId) -> Result<Members, Fault> {
    let mut found = Members::default();
    for rollout in list(ctx, set).await? {
        if SetId::of(&rollout) != *set || !rollout.has_begun() {
            continue;
        }
        match render(ctx, &rollout).await? {
            Some(Rendered::Offer(offer)) => {
                found.offers.insert((set.namespace.clone(), rollout.name_any()), *offer);
            }
            Some(Rendered::AtControl(fragment)) => {
                found.at_control.insert(fragment.key, fragment.body);
            }
            None => {}
        }
    }
    Ok(found)
}

enum Rendered {
    Offer(Box<Offer>),
    AtControl(Fragment),
}

async fn list(ctx: &Context, set: &SetId) -> Result<Vec<FeatureRollout>, Fault> {
    if set.shared {
        let mut found = Vec::new();
        ctx.cluster
            .each(&Scope::of::<FeatureRollout>(Some(&set.namespace)), |rollout| found.push(rollout))
            .await?;
        return Ok(found);
    }
    let found = ctx.cluster.get(&(set.namespace.clone(), set.name.clone())).await?;
    Ok(found.and_then(|guard| guard.0.ok()).into_iter().collect())
}

async fn render(ctx: &Context, rollout: &FeatureRollout) -> Result<Option<Rendered>, Fault> {
    let namespace = rollout.namespace().unwrap_or_default();
    let ahead = ctx.ahead.status(&(namespace.clone(), rollout.name_any()), rollout);
    let Some(status) = ahead.as_deref().or(rollout.status.as_ref()) else { return Ok(None) };
    // The flag and the pinned audience are all it takes: what else of the spec is invalid stops raises only.
    let Some(feature) = plan::feature_alone(rollout) else { return Ok(None) };
    let uid = rollout.uid().unwrap_or_default();
    let identity = Identity { namespace: namespace.clone(), name: rollout.name_any(), uid: uid.clone() };
    let Some(audience) = audiences::serving(ctx, &namespace, status).await? else {
        // Whom its cohorts took in nobody knows any more. What control is, its spec says, and the file need not be asked.
        let nobody = Audience::default();
        return Ok(Some(Rendered::AtControl(flags::fragment(&feature, &identity, status, &nobody))));
    };
    let fragment = flags::fragment(&feature, &identity, status, &audience);
    let offer = Offer::serve(uid, feature, audience, fragment, Arc::new(status.clone()));
    Ok(Some(Rendered::Offer(Box::new(offer))))
}

//! The members of a file from their statuses, read consistently: when the file is gone or was edited by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt};

use super::{Offer, OfferKind};
use crate::api::{FeatureRollout, FlagSet};
use crate::controller::cache::ObjectKey;
use crate::controller::context::Context;
use crate::controller::index::SetId;
use crate::controller::pin;
use crate::controller::rollout::has_begun;
use crate::error::{Fault, call};
use crate::flags::{self, Identity};
use crate::plan::{self, Refs};

/// Every member of the set that has decided anything, as its stored status says.
///
/// A member whose spec is invalid cannot be rendered and is left out: its last good fragment stays.
///
/// # Errors
/// When the rollouts or their audiences cannot be read.
pub(super) async fn members(
    ctx: &Context,
    set: &SetId,
    flag_set: Option<&FlagSet>,
) -> Result<BTreeMap<ObjectKey, Offer>, Fault> {
    let mut found = BTreeMap::new();
    for rollout in list(ctx, set).await? {
        if SetId::of(&rollout) != *set || !has_begun(&rollout) {
            continue;
        }
        if let Some(offer) = render(ctx, &rollout, flag_set).await? {
            found.insert((set.namespace.clone(), rollout.name_any()), offer);
        }
    }
    Ok(found)
}

async fn list(ctx: &Context, set: &SetId) -> Result<Vec<FeatureRollout>, Fault> {
    let api: Api<DeserializeGuard<FeatureRollout>> = Api::namespaced(ctx.client.clone(), &set.namespace);
    if set.shared {
        let listed = call(api.list(&ListParams::default())).await?;
        return Ok(listed.items.into_iter().filter_map(|guard| guard.0.ok()).collect());
    }
    Ok(call(api.get_opt(&set.name)).await?.and_then(|guard| guard.0.ok()).into_iter().collect())
}

async fn render(
    ctx: &Context,
    rollout: &FeatureRollout,
    flag_set: Option<&FlagSet>,
) -> Result<Option<Offer>, Fault> {
    let namespace = rollout.namespace().unwrap_or_default();
    let Some(status) = &rollout.status else { return Ok(None) };
    let cohort_set = plan::cohort_set_name(rollout, flag_set)
        .and_then(|name| ctx.cohort_sets.readable(&(namespace.clone(), name.to_owned())));
    let Ok(plan) = plan::compile(rollout, Refs { flag_set, cohort_set: cohort_set.as_ref() }) else {
        return Ok(None);
    };
    let Some(pinned) = &status.audience else { return Ok(None) };
    let audience = if pinned.name == plan.audience.name {
        Some(Arc::new(plan.audience.clone()))
    } else {
        pin::find(ctx, &namespace, &pinned.name).await?
    };
    let Some(audience) = audience else { return Ok(None) };
    let uid = rollout.uid().unwrap_or_default();
    let identity = Identity { namespace, name: rollout.name_any(), uid: uid.clone() };
    let fragment = flags::fragment(&plan.feature, &identity, status, &audience);
    Ok(Some(Offer {
        uid,
        revision: status.revision,
        kind: OfferKind::Serve,
        urgent: false,
        feature: plan.feature,
        audience,
        fragment: Arc::new(fragment),
        status: Arc::new(status.clone()),
    }))
}

//! A last look at changes that go ahead of their statuses: nobody may have touched the rollout since they were decided on.

use std::collections::BTreeMap;

use futures::StreamExt;
use kube::Api;

use super::Offer;
use crate::api::FeatureRollout;
use crate::controller::cache::ObjectKey;
use crate::controller::context::Context;
use crate::error::{Fault, call};

/// Reads at a time.
const AT_ONCE: usize = 16;

/// What may go into the file, and what was overtaken.
pub(super) struct Confirmed {
    pub(super) offers: BTreeMap<ObjectKey, Offer>,
    pub(super) overtaken: Vec<ObjectKey>,
}

/// Leaves out the changes whose rollout has another version by now than the one they were decided on.
///
/// # Errors
/// When a version could not be read: no change of the file may go on then.
pub(super) async fn confirm(ctx: &Context, offers: &BTreeMap<ObjectKey, Offer>) -> Result<Confirmed, Fault> {
    let ahead: Vec<(ObjectKey, i64, String)> = offers
        .iter()
        .filter_map(|(key, offer)| Some((key.clone(), offer.revision, offer.ahead_of.clone()?)))
        .collect();
    let looked: Vec<Result<Option<ObjectKey>, Fault>> = futures::stream::iter(ahead)
        .map(|(key, revision, version)| async move {
            let untouched = current_version(ctx, &key).await? == Some(version);
            let confirmed = untouched && ctx.ahead.confirm(&key, revision);
            Ok((!confirmed).then_some(key))
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut confirmed = Confirmed { offers: offers.clone(), overtaken: Vec::new() };
    for overtaken in looked {
        if let Some(key) = overtaken? {
            confirmed.offers.remove(&key);
            confirmed.overtaken.push(key);
        }
    }
    Ok(confirmed)
}

async fn current_version(ctx: &Context, key: &ObjectKey) -> Result<Option<String>, Fault> {
    let api: Api<FeatureRollout> = Api::namespaced(ctx.client.clone(), &key.0);
    let found = call(api.get_metadata_opt(&key.1)).await?;
    Ok(found.and_then(|found| found.metadata.resource_version))
}

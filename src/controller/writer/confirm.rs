//! A last look at changes that go ahead of their statuses: nobody may have touched the rollout since they were decided on.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use kube::Api;
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;

use super::Offer;
use crate::api::FeatureRollout;
use crate::controller::cache::ObjectKey;
use crate::controller::context::Context;
use crate::controller::index::SetId;
use crate::error::{Fault, call, chain};

/// From how many on one list costs the API server less than reading each by itself.
const LIST_FROM: usize = 3;
/// How long a look may take. Nothing else of the file is written meanwhile, unless it is urgent.
const PATIENCE: Duration = Duration::from_secs(2);

/// What may go into the file, and what may not.
pub(super) struct Confirmed {
    pub(super) offers: BTreeMap<ObjectKey, Offer>,
    pub(super) overtaken: Vec<ObjectKey>,
    /// Whether that is because the versions could not be read.
    pub(super) unread: bool,
}

/// Name and version of a rollout, out of all that the API server tells of its metadata.
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

#[derive(Deserialize)]
struct SeenList {
    items: Vec<Seen>,
}

/// Leaves out the changes that were called off, that an action is about to build on, and those whose rollout has another
/// version by now than the one they were decided on, or one that cannot be read soon.
pub(super) async fn confirm(ctx: &Context, set: &SetId, offers: BTreeMap<ObjectKey, Offer>) -> Confirmed {
    let ahead: Vec<ObjectKey> =
        offers.iter().filter(|(_, offer)| offer.ahead_of.is_some()).map(|(key, _)| key.clone()).collect();
    if ahead.is_empty() {
        return Confirmed { offers, overtaken: Vec::new(), unread: false };
    }
    let current = versions(ctx, set, &ahead).await;
    part(offers, ahead, current.as_ref(), |key, revision| ctx.ahead.confirm(key, revision))
}

/// Leaves out those of `ahead` whose rollout is not known to have the version that they were decided on, and those that are
/// called off. `current` has the versions by name, as far as they could be read.
fn part(
    mut offers: BTreeMap<ObjectKey, Offer>,
    ahead: Vec<ObjectKey>,
    current: Option<&HashMap<String, String>>,
    is_still_wanted: impl Fn(&ObjectKey, i64) -> bool,
) -> Confirmed {
    let mut overtaken = Vec::new();
    for key in ahead {
        let version = current.and_then(|versions| versions.get(&key.1));
        let is_untouched = |offer: &Offer| version.is_some() && offer.ahead_of.as_ref() == version;
        let is_confirmed = offers
            .get(&key)
            .is_some_and(|offer| is_untouched(offer) && is_still_wanted(&key, offer.revision));
        if !is_confirmed {
            offers.remove(&key);
            overtaken.push(key);
        }
    }
    Confirmed { offers, overtaken, unread: current.is_none() }
}

/// The versions, if they can be read soon.
async fn versions(ctx: &Context, set: &SetId, keys: &[ObjectKey]) -> Option<HashMap<String, String>> {
    let looks = async {
        match set.shared && keys.len() >= LIST_FROM {
            true => list(ctx, set).await,
            false => get(ctx, keys).await,
        }
    };
    match tokio::time::timeout(PATIENCE, looks).await {
        Ok(Ok(versions)) => Some(versions),
        Ok(Err(fault)) => {
            tracing::warn!(set = set.owner(), fault = chain(&fault), "versions could not be read");
            None
        }
        Err(_) => {
            tracing::warn!(set = set.owner(), "versions could not be read in time");
            None
        }
    }
}

/// The version of each member of a file by name, at some moment of this call.
async fn list(ctx: &Context, set: &SetId) -> Result<HashMap<String, String>, Fault> {
    let members = ListParams::default().fields(&format!("spec.flagSetRef.name={}", set.name));
    let listed = match list_by(ctx, set, &members).await {
        // A kind that was installed by an older release cannot be asked for the members.
        Err(Fault::Invalid(_)) => list_by(ctx, set, &ListParams::default()).await?,
        listed => listed?,
    };
    Ok(listed.items.into_iter().map(|seen| (seen.metadata.name, seen.metadata.resource_version)).collect())
}

async fn list_by(ctx: &Context, set: &SetId, params: &ListParams) -> Result<SeenList, Fault> {
    // By hand, as kube's would take in all of the metadata of every member.
    let request = Request::new(api(ctx, &set.namespace).resource_url())
        .list_metadata(params)
        .map_err(|error| Fault::from(kube::Error::BuildRequest(error)))?;
    call(ctx.client.request(request)).await
}

async fn get(ctx: &Context, keys: &[ObjectKey]) -> Result<HashMap<String, String>, Fault> {
    let mut versions = HashMap::new();
    for (namespace, name) in keys {
        let found = call(api(ctx, namespace).get_metadata_opt(name)).await?;
        versions.extend(found.and_then(|found| Some((name.clone(), found.metadata.resource_version?))));
    }
    Ok(versions)
}

fn api(ctx: &Context, namespace: &str) -> Api<FeatureRollout> {
    Api::namespaced(ctx.client.clone(), namespace)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rstest::rstest;

    use super::*;
    use crate::flags::fixtures::{everyone, feature, identity, status};
    use crate::flags::fragment;

    fn key(name: &str) -> ObjectKey {
        ("maya".to_owned(), name.to_owned())
    }

    /// Two offers: of `prepared`, decided on at version 7, and of one whose status is written.
    fn offers() -> BTreeMap<ObjectKey, Offer> {
        let offer = |name: &str, ahead_of: Option<&str>| {
            let (feature, audience) = (feature(name), everyone());
            let status = status(&audience, &[50_000], 2);
            let fragment = fragment(&feature, &identity(name, "u"), &status, &audience);
            let ahead_of = ahead_of.map(str::to_owned);
            let offer = Offer::serve("u".to_owned(), feature, Arc::new(audience), fragment, Arc::new(status));
            (key(name), Offer { ahead_of, ..offer })
        };
        [offer("prepared", Some("7")), offer("written", None)].into()
    }

    #[rstest]
    #[case::untouched(Some(&[("prepared", "7")][..]), true, true)]
    #[case::touched(Some(&[("prepared", "8")][..]), true, false)]
    #[case::gone(Some(&[][..]), true, false)]
    #[case::another_of_the_list(Some(&[("written", "7")][..]), true, false)]
    #[case::called_off(Some(&[("prepared", "7")][..]), false, false)]
    #[case::unread(None, true, false)]
    fn a_prepared_step_is_written_only_where_its_rollout_is_known_to_be_untouched(
        #[case] versions: Option<&[(&str, &str)]>,
        #[case] wanted: bool,
        #[case] expected: bool,
    ) {
        let versions: Option<HashMap<String, String>> = versions.map(|versions| {
            versions.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
        });
        let confirmed = part(offers(), vec![key("prepared")], versions.as_ref(), |_, revision| {
            assert_eq!(revision, 2);
            wanted
        });
        assert_eq!(confirmed.offers.contains_key(&key("prepared")), expected);
        assert_eq!(confirmed.overtaken == [key("prepared")], !expected);
        assert_eq!(confirmed.unread, versions.is_none());
        assert!(confirmed.offers.contains_key(&key("written")), "what is persisted needs no look");
    }
}

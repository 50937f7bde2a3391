//! A last look at changes that go ahead of their statuses: nobody may have touched the rollout since they were decided on.

use std::collections::BTreeMap;

use super::Offer;
use super::versions::Known;
use crate::controller::cache::ObjectKey;
use crate::controller::context::Context;
use crate::controller::index::SetId;

/// What may go into the file, and what may not.
pub(in crate::controller) struct Confirmed {
    pub(in crate::controller) offers: BTreeMap<ObjectKey, Offer>,
    pub(in crate::controller) overtaken: Vec<ObjectKey>,
    /// Whether that is because the versions could not be read.
    pub(super) unread: bool,
}

/// Leaves out the changes that were called off, that an action is about to build on, and those whose rollout has another
/// version by now than the one they were decided on, or one that cannot be read soon.
pub(super) async fn confirm(ctx: &Context, set: &SetId, offers: BTreeMap<ObjectKey, Offer>) -> Confirmed {
    let ahead: Vec<ObjectKey> =
        offers.iter().filter(|(_, offer)| offer.ahead_of.is_some()).map(|(key, _)| key.clone()).collect();
    if ahead.is_empty() {
        return Confirmed { offers, overtaken: Vec::new(), unread: false };
    }
    let rollouts = ctx.rollouts.len_in(&set.namespace);
    let names: Vec<&str> = ahead.iter().map(|(_, name)| name.as_str()).collect();
    let flag_set = set.shared.then_some(set.name.as_str());
    let current = ctx.versions.of(&set.namespace, flag_set, &names, rollouts).await;
    part(offers, ahead, current.as_ref(), |key, revision| ctx.ahead.confirm(key, revision))
}

/// Leaves out those of `ahead` whose rollout is not known to have the version that they were decided on, and those that are
/// called off. `current` has the versions by name, as far as they could be read.
pub(in crate::controller) fn part(
    mut offers: BTreeMap<ObjectKey, Offer>,
    ahead: Vec<ObjectKey>,
    current: Option<&Known>,
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
        let versions: Option<Known> = versions.map(|versions| {
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

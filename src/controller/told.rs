//! What is known of rollouts and of whom they concern, for digests.

use kube::ResourceExt;

use super::cache::Stored;
use super::channels::Known;
use super::context::Caches;
use crate::api::FeatureRollout;
use crate::plan;

/// The rollouts that are told of, with what the caches know besides.
pub fn known(caches: &Caches, is_told: &dyn Fn(&FeatureRollout) -> bool) -> Vec<Known> {
    let keys = caches.rollouts.keys();
    let stored = keys.iter().filter_map(|key| caches.rollouts.get(key));
    stored.filter_map(|stored| of(caches, stored, is_told)).collect()
}

fn of(
    caches: &Caches,
    stored: Stored<FeatureRollout>,
    is_told: &dyn Fn(&FeatureRollout) -> bool,
) -> Option<Known> {
    let rollout = stored.0.as_ref().ok().filter(|rollout| is_told(rollout))?;
    let namespace = rollout.namespace().unwrap_or_default();
    // Which ones bind is what the last decision has found.
    let bound = rollout.status.iter().flat_map(|status| &status.policies);
    let policies = bound.filter_map(|bound| {
        let namespace = bound.namespace.as_ref().unwrap_or(&namespace);
        caches.rollout_policies.get(&(namespace.clone(), bound.name.clone()))
    });
    let policies = policies.collect();
    let flag_set = rollout.spec.flag_set_ref.as_ref();
    let flag_set =
        flag_set.and_then(|reference| caches.flag_sets.get(&(namespace.clone(), reference.name.clone())));
    let flag_set = flag_set.as_ref().and_then(|stored| stored.0.as_ref().ok());
    let set = plan::cohort_set_name(rollout, flag_set).and_then(|name| {
        let set = caches.cohort_sets.get(&(namespace.clone(), name.to_owned()))?;
        Some((name.to_owned(), set))
    });
    Some(Known { policies, set, rollout: stored.clone() })
}

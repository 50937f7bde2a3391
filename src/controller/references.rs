//! The objects that a decision takes besides its rollout, read directly where no cache has them.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::Value;

use super::cache::{Cache, Object, ObjectKey};
use super::context::Context;
use crate::api::flagset::FlagSetSpec;
use crate::api::{CohortSet, FeatureRollout, FlagSet};
use crate::error::Fault;
use crate::plan;

/// The FlagSet and CohortSet that a rollout names, read directly where the cache does not know them yet. Of the FlagSet's own flags
/// there are the keys.
///
/// # Errors
/// When one could not be read.
pub async fn references(
    ctx: &Context,
    rollout: &FeatureRollout,
) -> Result<(Option<FlagSet>, Option<CohortSet>), Fault> {
    let namespace = rollout.namespace().unwrap_or_default();
    let flag_set = match &rollout.spec.flag_set_ref {
        Some(reference) => look_up_with(ctx, &ctx.flag_sets, &namespace, &reference.name, light).await?,
        None => None,
    };
    let cohort_set = match plan::cohort_set_name(rollout, flag_set.as_ref()) {
        Some(name) => look_up(ctx, &ctx.cohort_sets, &namespace, name).await?,
        None => None,
    };
    Ok((flag_set, cohort_set))
}

/// A FlagSet, read directly as long as the cache does not hold all of them, and where its namespace has more than it may have in
/// memory.
///
/// # Errors
/// When it could not be read.
pub async fn flag_set(ctx: &Context, key: &ObjectKey) -> Result<Option<FlagSet>, Fault> {
    if ctx.is_listed() && !ctx.flag_sets.is_beyond(key) {
        return Ok(ctx.flag_sets.readable(key));
    }
    look_up(ctx, &ctx.flag_sets, &key.0, &key.1).await
}

/// An object of a namespace, read directly where the cache does not know it yet, and where the namespace has more than it may have
/// in memory: what lowers must not hang on that.
pub async fn look_up<K>(
    ctx: &Context,
    cache: &Cache<K>,
    namespace: &str,
    name: &str,
) -> Result<Option<K>, Fault>
where
    K: Object + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope> + std::fmt::Debug,
{
    look_up_with(ctx, cache, namespace, name, K::clone).await
}

/// The same of an object of which only what `take` makes of it is held.
async fn look_up_with<K>(
    ctx: &Context,
    cache: &Cache<K>,
    namespace: &str,
    name: &str,
    take: fn(&K) -> K,
) -> Result<Option<K>, Fault>
where
    K: Object + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope> + std::fmt::Debug,
{
    let key = (namespace.to_owned(), name.to_owned());
    if let Some(stored) = cache.get(&key).filter(|_| !cache.is_beyond(&key)) {
        return Ok(stored.0.as_ref().ok().map(take));
    }
    // A set that came together with its rollouts may not have reached the cache yet.
    Ok(ctx.cluster.get::<K>(&key).await?.and_then(|found| found.0.ok().as_ref().map(take)))
}

/// A FlagSet as its rollouts need it: what its own flags are may take megabytes, and each of its rollouts has a turn at the same time.
fn light(set: &FlagSet) -> FlagSet {
    let FlagSetSpec {
        outputs,
        feature_flag,
        metadata: _,
        flags,
        prune,
        cohort_set_ref,
        policy_ref,
        windows,
        freezes,
        time_zone,
        emergency,
        changelog,
    } = &set.spec;
    FlagSet {
        metadata: set.metadata.clone(),
        spec: FlagSetSpec {
            outputs: outputs.clone(),
            feature_flag: feature_flag.clone(),
            metadata: BTreeMap::new(),
            flags: flags.keys().map(|key| (key.clone(), Value::Null)).collect(),
            prune: prune.clone(),
            cohort_set_ref: cohort_set_ref.clone(),
            policy_ref: policy_ref.clone(),
            windows: windows.clone(),
            freezes: freezes.clone(),
            time_zone: time_zone.clone(),
            emergency: *emergency,
            changelog: changelog.clone(),
        },
        status: set.status.clone(),
    }
}

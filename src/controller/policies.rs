//! RolloutPolicies: which of them bind a rollout, whom a change concerns, and what each says of itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::core::DeserializeGuard;

use super::cache::{News, ObjectKey, Stored};
use super::context::{Context, Key, Shared};
use super::persist::stall_unreadable;
use super::queue::Priority;
use super::sets::{conditions, validity, write_status};
use crate::api::rolloutpolicy::Binding;
use crate::api::{FeatureRollout, FlagSet, Reason, RolloutPolicy, RolloutPolicyStatus};
use crate::clock;
use crate::cluster::Scope;
use crate::error::{Fault, chain};
use crate::plan::policy::{Bound, Found};
use crate::plan::{self, check_policy};

/// Least time between two status writes of a policy: many rollouts may come at once.
const SPACING: Duration = Duration::from_secs(1);
/// The label by which every namespace has its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// When the rollouts of each policy were counted last for its status by this process.
#[derive(Default)]
pub struct Policies(Mutex<HashMap<ObjectKey, Option<Instant>>>);

impl Policies {
    /// How many entries there are of what is kept.
    pub fn census(&self) -> [(&'static str, usize); 1] {
        [("policies_counted", self.0.lock().unwrap_or_else(PoisonError::into_inner).len())]
    }

    /// How long to wait before the rollouts are counted again; none where that may be now, which is noted.
    fn too_soon(&self, key: &ObjectKey) -> Option<Duration> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clock::spaced(written.entry(key.clone()).or_default(), SPACING)
    }

    fn forget(&self, key: &ObjectKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// The policies that bind a rollout, as they are stored.
#[derive(Clone, Default)]
pub struct Binds(Vec<Entry>);

#[derive(Clone)]
struct Entry {
    binding: Binding,
    key: ObjectKey,
    stored: Option<Stored<RolloutPolicy>>,
    /// Why nobody knows what it says, where that is not the object's fault.
    unknown: Option<String>,
}

impl Binds {
    /// The same as the plan takes them.
    pub fn bound(&self) -> Vec<Bound<'_>> {
        self.0.iter().map(Entry::bound).collect()
    }
}

impl Entry {
    fn bound(&self) -> Bound<'_> {
        let found = match (&self.unknown, &self.stored) {
            (Some(why), _) => Found::Unreadable(why),
            (None, None) => Found::Missing,
            (None, Some(stored)) => match &stored.0 {
                Ok(policy) => Found::Spec(&policy.spec),
                Err(invalid) => Found::Unreadable(&invalid.error),
            },
        };
        Bound { binding: self.binding, namespace: &self.key.0, name: &self.key.1, found }
    }
}

/// The policies that bind a rollout, read directly where the caches do not know them yet.
///
/// # Errors
/// When one that is named could not be read.
pub async fn of(ctx: &Context, rollout: &FeatureRollout, flag_set: Option<&FlagSet>) -> Result<Binds, Fault> {
    let namespace = rollout.namespace().unwrap_or_default();
    let mut found = Vec::new();
    for (binding, name) in plan::policy::names(rollout, flag_set) {
        let key = (namespace.clone(), name.to_owned());
        let stored = match ctx.rollout_policies.get(&key) {
            Some(stored) => Some(stored),
            // One that came together with its rollouts may not have reached the cache yet.
            None => ctx.cluster.get::<RolloutPolicy>(&key).await?.map(Arc::new),
        };
        found.push(Entry { binding, key, stored, unknown: None });
    }
    match of_cluster(ctx, &namespace).await {
        Ok(entries) => found.extend(entries),
        // What lowers must not hang on it, and what raises waits until it is known.
        Err(fault) => found.push(Entry {
            binding: Binding::Cluster,
            key: (ctx.namespace.clone(), "*".to_owned()),
            stored: None,
            unknown: Some(format!("the policies of the cluster are not known yet: {}", chain(&fault))),
        }),
    }
    Ok(Binds(found))
}

/// The policies that bind the rollouts of a namespace by its labels.
async fn of_cluster(ctx: &Context, namespace: &str) -> Result<Vec<Entry>, Fault> {
    let mut stored: Vec<(ObjectKey, Stored<RolloutPolicy>)> = Vec::new();
    if ctx.is_listed() {
        stored = ctx.rollout_policies.in_namespace(&ctx.namespace);
    } else {
        let scope = Scope::of::<RolloutPolicy>(Some(&ctx.namespace));
        let take = |object: DeserializeGuard<RolloutPolicy>| {
            stored.push((super::cache::key_of(&object), Arc::new(object)))
        };
        ctx.cluster.all(&scope, take).await?;
    }
    if !stored.iter().any(|(_, policy)| selects_any(policy)) {
        return Ok(Vec::new());
    }
    let labels = match known_labels(ctx, namespace).filter(|_| ctx.is_listed()) {
        Some(labels) => labels,
        None => {
            let found = ctx.cluster.get_in::<Namespace>(&Scope::of::<Namespace>(None), namespace).await?;
            labels_of(namespace, found.and_then(|found| found.0.ok()).as_ref())
        }
    };
    let matching = stored.into_iter().filter(|(_, policy)| selects(policy, &labels));
    let entry = |(key, policy)| Entry { binding: Binding::Cluster, key, stored: Some(policy), unknown: None };
    Ok(matching.map(entry).collect())
}

/// Whether a policy of the operator's namespace binds by labels; one that cannot be read may.
fn selects_any(policy: &Stored<RolloutPolicy>) -> bool {
    policy.0.as_ref().is_ok_and(|policy| policy.spec.namespace_selector.is_some()) || policy.0.is_err()
}

/// Whether a policy of the operator's namespace binds the namespace with these labels. Nobody can say so of one that cannot
/// be read: it counts for every namespace, since a freeze must not end by that.
fn selects(policy: &Stored<RolloutPolicy>, labels: &BTreeMap<String, String>) -> bool {
    match &policy.0 {
        Ok(policy) => {
            policy.spec.namespace_selector.as_ref().is_some_and(|selector| selector.matches(labels))
        }
        Err(_) => true,
    }
}

fn labels_of(name: &str, namespace: Option<&Namespace>) -> BTreeMap<String, String> {
    let mut labels = namespace.map(|namespace| namespace.labels().clone()).unwrap_or_default();
    labels.insert(NAME_LABEL.to_owned(), name.to_owned());
    labels
}

fn known_labels(ctx: &Context, namespace: &str) -> Option<BTreeMap<String, String>> {
    let key = (String::new(), namespace.to_owned());
    ctx.namespaces.readable(&key).map(|known| labels_of(namespace, Some(&known)))
}

/// Whether a policy binds a rollout, as far as the caches know.
fn binds(
    ctx: &Context,
    key: &ObjectKey,
    policy: Option<&Stored<RolloutPolicy>>,
    rollout: &FeatureRollout,
) -> bool {
    let namespace = rollout.namespace().unwrap_or_default();
    let flag_set = || {
        let name = rollout.spec.flag_set_ref.as_ref()?.name.clone();
        ctx.flag_sets.readable(&(namespace.clone(), name))
    };
    let is_named = namespace == key.0
        && plan::policy::names(rollout, flag_set().as_ref()).any(|(_, name)| name == key.1);
    let is_matched = || {
        let labels = known_labels(ctx, &namespace).unwrap_or_else(|| labels_of(&namespace, None));
        key.0 == ctx.namespace && policy.is_some_and(|policy| selects(policy, &labels))
    };
    is_named || is_matched()
}

/// A RolloutPolicy came, changed or went: it and the rollouts that it binds, or has bound, are looked at again.
pub fn policy_event(ctx: &Shared, key: &ObjectKey, news: News) {
    ctx.queue.push(Key::RolloutPolicy(key.clone()), Priority::Report);
    if news == News::Spec {
        changed(ctx, key);
    }
}

fn changed(ctx: &Shared, key: &ObjectKey) {
    let policy = ctx.rollout_policies.get(key);
    for rollout_key in ctx.rollouts.keys() {
        if rollout_key.0 != key.0 && key.0 != ctx.namespace || !ctx.owns(&rollout_key.0) {
            continue;
        }
        let stored = ctx.rollouts.get(&rollout_key);
        let Some(Ok(rollout)) = stored.as_ref().map(|stored| &stored.0) else { continue };
        let has_bound = rollout.status.as_ref().is_some_and(|status| {
            status.policies.iter().any(|known| {
                known.name == key.1 && *known.namespace.as_ref().unwrap_or(&rollout_key.0) == key.0
            })
        });
        if has_bound || binds(ctx, key, policy.as_ref(), rollout) {
            ctx.queue.push(Key::Rollout(rollout_key), Priority::Decide);
        }
    }
}

/// A namespace came, changed or went: its labels say which of the cluster's policies bind there.
pub fn namespace_event(ctx: &Shared, key: &ObjectKey, news: News) {
    if news == News::Nothing {
        return;
    }
    let policies = ctx.rollout_policies.in_namespace(&ctx.namespace);
    if !policies.iter().any(|(_, policy)| selects_any(policy)) {
        return;
    }
    let labels = known_labels(ctx, &key.1).unwrap_or_else(|| labels_of(&key.1, None));
    let names = policies.iter().filter(|(_, policy)| selects(policy, &labels)).map(|(key, _)| &key.1);
    let mut bind: Vec<&String> = names.collect();
    bind.sort_unstable();
    for rollout_key in ctx.rollouts.keys().into_iter().filter(|rollout| rollout.0 == key.1) {
        let status = ctx.rollouts.readable(&rollout_key).and_then(|rollout| rollout.status);
        let known = status.iter().flat_map(|status| &status.policies);
        let mut known: Vec<&String> =
            known.filter(|known| known.binding == Binding::Cluster).map(|known| &known.name).collect();
        known.sort_unstable();
        // One that a nearer one names as well is not among them: looking again then costs nothing.
        if known != bind {
            ctx.queue.push(Key::Rollout(rollout_key), Priority::Decide);
        }
    }
    for (policy, _) in policies {
        ctx.queue.push(Key::RolloutPolicy(policy), Priority::Report);
    }
}

/// A rollout or a FlagSet of a namespace came, changed or went: how many rollouts the policies bind may be another number.
pub fn count_again(ctx: &Context, namespace: &str) {
    for place in [namespace, &ctx.namespace] {
        for (policy, _) in ctx.rollout_policies.in_namespace(place) {
            ctx.queue.push(Key::RolloutPolicy(policy), Priority::Report);
        }
    }
}

/// Checks a RolloutPolicy, and says in its status what is wrong and how many rollouts it binds.
///
/// # Errors
/// When its status could not be written.
pub async fn rollout_policy(ctx: &Shared, key: &ObjectKey) -> Result<(), Fault> {
    let stored = ctx.rollout_policies.get(key);
    let Some(policy) = stored.as_ref().and_then(|stored| stored.0.as_ref().ok()) else {
        if stored.is_none() {
            ctx.policies.forget(key);
        }
        return stall_unreadable(ctx, &ctx.rollout_policies, key).await;
    };
    if !ctx.is_listed() {
        // Nobody can be counted yet; the beginning of the term asks again.
        return Ok(());
    }
    // A thousand rollouts that come one after the other are not counted a thousand times.
    if let Some(wait) = ctx.policies.too_soon(key) {
        ctx.queue.push_at(Key::RolloutPolicy(key.clone()), Some(ctx.clock.after(wait)));
        return Ok(());
    }
    let is_bound = |rollout_key: &ObjectKey| {
        (rollout_key.0 == key.0 || key.0 == ctx.namespace)
            && ctx.rollouts.get(rollout_key).is_some_and(|rollout| {
                rollout.0.as_ref().is_ok_and(|rollout| binds(ctx, key, stored.as_ref(), rollout))
            })
    };
    let rollouts = ctx.rollouts.keys().iter().filter(|rollout| is_bound(rollout)).count();
    let mut errors = Vec::new();
    check_policy(&policy.spec, &mut errors);
    let mut want = validity(&errors);
    // Somebody means a freeze of the cluster by it: all is well must not be what it says.
    if want.is_ok() && policy.spec.namespace_selector.is_some() && key.0 != ctx.namespace {
        let message = format!(
            "its namespaceSelector binds nobody: only policies of Sluice's own namespace {} bind by labels; create it there, \
             or take the selector away; what names it by policyRef is held to it all the same",
            ctx.namespace
        );
        want = Err((Reason::WrongNamespace, message));
    }
    let generation = policy.metadata.generation.unwrap_or(0);
    let prior = policy.status.clone().unwrap_or_default();
    let status = RolloutPolicyStatus {
        observed_generation: generation,
        rollouts: i64::try_from(rollouts).unwrap_or(i64::MAX),
        triggers: i64::try_from(policy.spec.triggers.len()).unwrap_or(i64::MAX),
        conditions: conditions(ctx, &prior.conditions, want, generation),
    };
    if status == prior {
        return Ok(());
    }
    write_status(ctx, &ctx.rollout_policies, policy, &status).await
}

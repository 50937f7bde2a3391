//! RolloutPolicies: which of them bind a rollout, whom a change concerns, and what each says of itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::core::DeserializeGuard;

use super::cache::{News, ObjectKey, Stored};
use super::context::{Context, Key, Shared};
use super::index::SetId;
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

/// Namespaces whose labels are read in one go; each is decoded for it.
const AT_ONCE: usize = 16;

/// When the rollouts of each policy were counted last for its status by this process, and whom labels were found to bind.
#[derive(Default)]
pub struct Policies {
    counted: Mutex<HashMap<ObjectKey, Option<Instant>>>,
    by_labels: Mutex<ByLabels>,
}

/// The policies of the cluster that bind a namespace, by name, as its last event has found them.
#[derive(Default)]
struct ByLabels {
    names: HashMap<String, Vec<String>>,
    /// How often a policy of the cluster has changed: what was found with those before does not count.
    edits: u64,
}

impl Policies {
    /// How many entries there are of what is kept.
    pub fn census(&self) -> [(&'static str, usize); 2] {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner).len();
        [("policies_counted", counted), ("namespaces_bound", self.by_labels().names.len())]
    }

    /// How long to wait before the rollouts are counted again; none where that may be now, which is noted.
    fn too_soon(&self, key: &ObjectKey) -> Option<Duration> {
        let mut written = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        clock::spaced(written.entry(key.clone()).or_default(), SPACING)
    }

    fn forget(&self, key: &ObjectKey) {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn by_labels(&self) -> MutexGuard<'_, ByLabels> {
        self.by_labels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a policy of the cluster that came, changed or went.
    fn note_edit(&self) {
        let mut by_labels = self.by_labels();
        by_labels.names.clear();
        by_labels.edits = by_labels.edits.wrapping_add(1);
    }

    /// Notes which policies were found to bind a namespace after so many edits. Says whether others may have done so before.
    fn binds_anew(&self, namespace: &str, names: Vec<String>, edits: u64) -> bool {
        let mut by_labels = self.by_labels();
        if by_labels.edits != edits {
            return true;
        }
        let before = by_labels.names.insert(namespace.to_owned(), names.clone());
        before.is_none_or(|before| before != names)
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
    let of_set = flag_set.and_then(|set| set.spec.policy_ref.as_ref());
    ctx.index.decided_with(rollout, of_set.map(|reference| reference.name.as_str()));
    count_again(ctx);
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
    let stored = ctx.namespaces.get(&key)?;
    stored.0.as_ref().ok().map(|known| labels_of(namespace, Some(known)))
}

/// A RolloutPolicy came, changed or went: it and the rollouts that it binds, or has bound, are looked at again.
pub fn policy_event(ctx: &Shared, key: &ObjectKey, news: News) {
    ctx.queue.push(Key::RolloutPolicy(key.clone()), Priority::Report);
    if news != News::Spec {
        return;
    }
    let concerned: Vec<ObjectKey> = if key.0 == ctx.namespace {
        ctx.policies.note_edit();
        // Nobody knows any more whom its selector has bound until now, and only admins edit it: so everybody is looked at.
        ctx.rollouts.keys().into_iter().filter(|rollout| ctx.owns(&rollout.0)).collect()
    } else {
        // Whoever has ceased to name it, or whose FlagSet has, was looked at for that.
        ctx.index.bound_by(key)
    };
    for rollout in concerned {
        ctx.queue.push(Key::Rollout(rollout), Priority::Decide);
    }
}

/// A namespace came, changed or went: its labels say which of the cluster's policies bind there.
pub fn namespace_event(ctx: &Shared, key: &ObjectKey, news: News) {
    if news == News::Nothing {
        return;
    }
    // In this order: a policy that is edited meanwhile has what was found with the one before count for nothing.
    let edits = ctx.policies.by_labels().edits;
    let policies = ctx.rollout_policies.in_namespace(&ctx.namespace);
    let labels = known_labels(ctx, &key.1);
    let is_gone = labels.is_none();
    if policies.iter().any(|(_, policy)| selects_any(policy)) {
        let labels = labels.unwrap_or_else(|| labels_of(&key.1, None));
        let binding = policies.iter().filter(|(_, policy)| selects(policy, &labels));
        let mut names: Vec<String> = binding.map(|(key, _)| key.1.clone()).collect();
        names.sort_unstable();
        // Some namespaces are annotated every few seconds, and that concerns nobody.
        if ctx.policies.binds_anew(&key.1, names, edits) {
            let rollouts = ctx.rollouts.keys().into_iter().filter(|rollout| rollout.0 == key.1);
            rollouts.for_each(|rollout| ctx.queue.push(Key::Rollout(rollout), Priority::Decide));
            count_by_labels(ctx);
        }
    }
    if is_gone {
        ctx.policies.by_labels().names.remove(&key.1);
    }
}

/// Takes note of a rollout that came, changed or went.
pub fn rollout_changed(ctx: &Context, key: &ObjectKey) {
    if ctx.rollouts.version_of(key) == 0 {
        ctx.index.note_going(key);
    }
    count_again(ctx);
}

/// Takes note of a FlagSet that came, changed or went. Its members are looked at for it, and their decisions tell what it names from
/// now on: it may be large, and the watch is no place to decode it.
pub fn flag_set_changed(ctx: &Context, key: &ObjectKey) {
    if ctx.flag_sets.version_of(key) == 0 {
        let set = SetId { namespace: key.0.clone(), name: key.1.clone(), shared: true };
        ctx.index.set_names(&set, None);
    }
    count_again(ctx);
}

/// Takes note of which policy a rollout's FlagSet names by what its last decision has found. Before anything is decided in a term, nobody
/// has looked into the FlagSets: without this, policies would be counted without those whom FlagSets bind, and say so for a moment.
pub fn recall(ctx: &Context, rollout: &FeatureRollout) {
    let mut known = rollout.status.iter().flat_map(|status| &status.policies);
    if let Some(known) = known.find(|known| known.binding == Binding::FlagSet) {
        ctx.index.set_names(&SetId::of(rollout), Some(known.name.as_str()));
    }
}

/// Has those policies looked at that may bind another number of rollouts than before.
fn count_again(ctx: &Context) {
    let changed = ctx.index.take_changed();
    if !ctx.is_listed() {
        // Every policy is looked at when everything is known.
        return;
    }
    // Anybody may name what is not there.
    for policy in changed.named.into_iter().filter(|policy| ctx.rollout_policies.version_of(policy) > 0) {
        ctx.queue.push(Key::RolloutPolicy(policy), Priority::Report);
    }
    if changed.rollouts {
        count_by_labels(ctx);
    }
}

/// Has the policies of the cluster looked at, in the term that sees to them: a rollout came or went, or other labels bind it.
pub fn count_by_labels(ctx: &Context) {
    if !ctx.is_home() || !ctx.is_listed() {
        return;
    }
    for policy in ctx.rollout_policies.keys_in(&ctx.namespace) {
        ctx.queue.push(Key::RolloutPolicy(policy), Priority::Report);
    }
}

/// How many rollouts a policy binds, as far as is known without a look into them.
async fn count(ctx: &Context, key: &ObjectKey, policy: &RolloutPolicy) -> usize {
    // The index knows a rollout that is gone until its turn.
    let is_there = |rollout: &&ObjectKey| ctx.rollouts.version_of(rollout) > 0;
    let mut named = ctx.index.bound_by(key).iter().filter(is_there).count();
    let Some(selector) = policy.spec.namespace_selector.as_ref().filter(|_| key.0 == ctx.namespace) else {
        return named;
    };
    let mut rollouts: BTreeMap<String, usize> = BTreeMap::new();
    for (namespace, _) in ctx.rollouts.keys() {
        *rollouts.entry(namespace).or_default() += 1;
    }
    let mut selected = 0;
    for (at, (namespace, rollouts)) in rollouts.into_iter().enumerate() {
        if at % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let labels = known_labels(ctx, &namespace).unwrap_or_else(|| labels_of(&namespace, None));
        if selector.matches(&labels) {
            selected += rollouts;
            if namespace == key.0 {
                named = 0;
            }
        }
    }
    named + selected
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
    let rollouts = count(ctx, key, policy).await;
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

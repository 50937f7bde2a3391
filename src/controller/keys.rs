//! Who may have a flag key in a file: one rollout's feature, or the announcement of one.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cache::ObjectKey;
use super::context::{Context, Key};
use super::index::{Neighbour, SetId};
use super::queue::Priority;
use super::writer::Orphans;
use crate::api::{FeatureRollout, FlagSet};
use crate::plan::Plan;

/// The rollouts whose announcement has no flag in the file, because its key is another flag's.
#[derive(Default)]
pub struct Unannounced(Mutex<HashSet<ObjectKey>>);

impl Unannounced {
    fn lock(&self) -> MutexGuard<'_, HashSet<ObjectKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a rollout that is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    /// How many entries there are of what is kept.
    pub fn census(&self) -> [(&'static str, usize); 1] {
        [("unannounced", self.lock().len())]
    }
}

/// What keeps a rollout from having the keys of its flags, in words.
pub fn conflict(
    ctx: &Context,
    key: &ObjectKey,
    set: &SetId,
    plan: &Plan,
    flag_set: Option<&FlagSet>,
) -> Option<String> {
    if let Some(conflict) = of_feature(ctx, key, set, plan, flag_set) {
        return Some(conflict);
    }
    let conflict = of_announcement(ctx, key, set, flag_set);
    if conflict.is_some() {
        ctx.unannounced.lock().insert(key.clone());
    } else if ctx.unannounced.lock().remove(key) {
        // The file's writer has answered that it holds what the rollout says, and means the feature.
        ctx.hub.forget(key, set);
    }
    conflict
}

fn of_feature(
    ctx: &Context,
    key: &ObjectKey,
    set: &SetId,
    plan: &Plan,
    flag_set: Option<&FlagSet>,
) -> Option<String> {
    let flag = &plan.feature.key;
    if is_static(flag_set, flag) {
        return Some(format!("spec.feature.key: {flag:?} is a static flag of FlagSet {}", set.name));
    }
    if let Some(holder) = ctx.index.holder(set, flag).filter(|holder| holder != key) {
        return Some(format!(
            "spec.feature.key: {flag:?} belongs to the older rollout {} of FlagSet {}",
            holder.1, set.name
        ));
    }
    let own = ctx.index.neighbour(key)?;
    let has_begun = is_read(ctx, &own);
    let announcing = ctx.index.announcing(set, flag);
    let other = announcing.into_iter().find(|other| yields(has_begun, &own, other))?;
    Some(format!(
        "spec.feature.key: {flag:?} is the key of the announcement of the older rollout {} of FlagSet {}",
        other.key.1, set.name
    ))
}

fn of_announcement(
    ctx: &Context,
    key: &ObjectKey,
    set: &SetId,
    flag_set: Option<&FlagSet>,
) -> Option<String> {
    let own = ctx.index.neighbour(key)?;
    let told = own.announces.as_ref()?;
    if is_static(flag_set, told) {
        return Some(format!(
            "spec.announcement: its flag {told:?} is a static flag of FlagSet {}: rename that",
            set.name
        ));
    }
    let holder = ctx.index.holder(set, told).and_then(|holder| ctx.index.neighbour(&holder));
    if let Some(holder) = holder.filter(|holder| !yields(is_read(ctx, holder), holder, &own)) {
        return Some(format!(
            "spec.announcement: its flag {told:?} belongs to rollout {} of FlagSet {}: take the announcement out",
            holder.key.1, set.name
        ));
    }
    let orphans = ctx.hub.report(set).map(|report| report.orphans).unwrap_or_default();
    let is_pruned = flag_set.is_some_and(|set| set.spec.prune.contains(told));
    if is_pruned || !orphans.have(told) {
        return None;
    }
    let of = orphans.newest().iter().find(|orphan| orphan.key == *told);
    let whose = of.map_or("a rollout".to_owned(), |orphan| format!("rollout {}", orphan.rollout));
    Some(format!(
        "spec.announcement: its flag {told:?} is in the file as the flag of {whose}, which is gone: name it in spec.prune of FlagSet {}",
        set.name
    ))
}

fn is_static(flag_set: Option<&FlagSet>, flag: &str) -> bool {
    flag_set.is_some_and(|set| set.spec.flags.contains_key(flag))
}

/// Has those looked at whose announcement cannot have its key because of an orphan that was found in the file.
pub fn orphaned(ctx: &Context, set: &SetId, orphans: &Orphans) {
    for member in ctx.index.announcing_members(set) {
        if member.announces.as_ref().is_some_and(|told| orphans.have(told)) {
            ctx.queue.push(Key::Rollout(member.key), Priority::Decide);
        }
    }
}

/// Whether anything was decided of a rollout, so that its flag may be read. The index does not hear of our own writes.
fn is_read(ctx: &Context, rollout: &Neighbour) -> bool {
    ctx.rollouts
        .get(&rollout.key)
        .is_some_and(|stored| stored.0.as_ref().is_ok_and(FeatureRollout::has_begun))
}

/// Whether a rollout leaves its key to the announcement of another: it is the younger one, and nobody reads its flag yet.
/// Words never take a feature's key from users who have it.
fn yields(has_begun: bool, feature: &Neighbour, announcing: &Neighbour) -> bool {
    !has_begun && announcing.seniority() < feature.seniority()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::api::FeatureRollout;
    use crate::controller::index::Index;

    fn rollout(name: &str, key: &str, second: i64, announcement: bool) -> FeatureRollout {
        let told = if announcement { ", announcement: {title: News}" } else { "" };
        let rollout = format!(
            "metadata: {{name: {name}, namespace: maya, uid: {name}, creationTimestamp: '2025-01-01T00:00:{second:02}Z'}}
spec: {{feature: {{key: {key}}}, flagSetRef: {{name: app}}, cohorts: [{{name: all}}], phases: []{told}}}"
        );
        let mut value: serde_json::Value = serde_saphyr::from_str(&rollout).unwrap();
        value["apiVersion"] = "sluice.dev/v1alpha1".into();
        value["kind"] = "FeatureRollout".into();
        serde_json::from_value(value).unwrap()
    }

    #[rstest]
    #[case::younger_and_new(1, 2, false, true)]
    #[case::younger_and_served(1, 2, true, false)]
    #[case::older_and_new(2, 1, false, false)]
    #[case::older_and_served(2, 1, true, false)]
    fn a_feature_leaves_its_key_to_an_older_announcement_only_while_nobody_reads_it(
        #[case] announcing: i64,
        #[case] feature: i64,
        #[case] begun: bool,
        #[case] expected: bool,
    ) {
        let index = Index::default();
        let set = SetId { namespace: "maya".to_owned(), name: "app".to_owned(), shared: true };
        let key = |name: &str| ("maya".to_owned(), name.to_owned());
        index.apply(&rollout("a", "k", announcing, true));
        // Whoever announces under its key is looked at again when it comes, and when it goes.
        let concerned = index.apply(&rollout("b", "k.announcement", feature, false));
        assert!(concerned.contains(&key("a")));
        let found: Vec<ObjectKey> =
            index.announcing(&set, "k.announcement").into_iter().map(|found| found.key).collect();
        assert_eq!(found, [key("a")]);
        let [a, b] = ["a", "b"].map(|name| index.neighbour(&key(name)).unwrap());
        assert_eq!(yields(begun, &b, &a), expected);
        let concerned = index.apply(&rollout("a", "k", announcing, false));
        assert!(concerned.contains(&key("b")), "it may have its key now");
        assert!(index.announcing(&set, "k.announcement").is_empty());
    }
}

//! Which rollouts concern each other: members of a FlagSet, holders of a flag key, users of a CohortSet, dependents.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::cache::ObjectKey;
use crate::api::FeatureRollout;
use crate::plan;

/// The file that a rollout's flag is in: a FlagSet's, or the rollout's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetId {
    /// Namespace.
    pub namespace: String,
    /// Name of the FlagSet or of the rollout.
    pub name: String,
    /// Whether it is a FlagSet.
    pub shared: bool,
}

impl SetId {
    /// The set of a rollout.
    pub fn of(rollout: &FeatureRollout) -> SetId {
        let namespace = rollout.namespace().unwrap_or_default();
        match &rollout.spec.flag_set_ref {
            Some(reference) => SetId { namespace, name: reference.name.clone(), shared: true },
            None => SetId { namespace, name: rollout.name_any(), shared: false },
        }
    }

    /// The set that a ConfigMap names as its owner.
    pub fn parse(owner: &str) -> Option<SetId> {
        let mut parts = owner.split('/');
        let shared = match parts.next()? {
            "FlagSet" => true,
            "FeatureRollout" => false,
            _ => return None,
        };
        let (namespace, name) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        parts.next().is_none().then_some(SetId { namespace, name, shared })
    }

    /// How the ConfigMap names its owner.
    pub fn owner(&self) -> String {
        let kind = if self.shared { "FlagSet" } else { "FeatureRollout" };
        format!("{kind}/{}/{}", self.namespace, self.name)
    }
}

/// A living rollout as its neighbours see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its key.
    pub key: ObjectKey,
    /// Its UID.
    pub uid: String,
    /// Its flag key.
    pub flag: String,
    /// Its file.
    pub set: SetId,
    /// When it was created: the elder of two with one flag key wins.
    pub created: Option<Time>,
    depends_on: BTreeSet<String>,
}

/// The neighbourhoods.
#[derive(Default)]
pub struct Index(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    rollouts: HashMap<ObjectKey, Neighbour>,
    members: HashMap<SetId, BTreeSet<ObjectKey>>,
    dependents: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    left: Vec<SetId>,
}

impl Index {
    /// Takes in a rollout as it is now.
    pub fn apply(&self, rollout: &FeatureRollout) {
        let key = (rollout.namespace().unwrap_or_default(), rollout.name_any());
        let neighbour = Neighbour {
            uid: rollout.uid().unwrap_or_default(),
            flag: plan::flag_key(rollout).to_owned(),
            set: SetId::of(rollout),
            created: rollout.metadata.creation_timestamp.clone(),
            depends_on: rollout.spec.depends_on.iter().map(|dependency| dependency.name.clone()).collect(),
            key: key.clone(),
        };
        let mut inner = self.lock();
        if inner.rollouts.get(&key) == Some(&neighbour) {
            return;
        }
        let before = inner.remove(&key).map(|before| before.set);
        inner.left.extend(before.filter(|before| *before != neighbour.set));
        inner.members.entry(neighbour.set.clone()).or_default().insert(key.clone());
        for name in &neighbour.depends_on {
            inner.dependents.entry((key.0.clone(), name.clone())).or_default().insert(key.clone());
        }
        inner.rollouts.insert(key, neighbour);
    }

    /// The files that rollouts have left by being created anew in another one, since this was asked last.
    pub fn take_left(&self) -> Vec<SetId> {
        std::mem::take(&mut self.lock().left)
    }

    /// Forgets a rollout. Returns what it was.
    pub fn remove(&self, key: &ObjectKey) -> Option<Neighbour> {
        self.lock().remove(key)
    }

    /// Whether a rollout is known.
    pub fn knows(&self, key: &ObjectKey) -> bool {
        self.lock().rollouts.contains_key(key)
    }

    /// Whether a file has any living rollout.
    pub fn has_members(&self, set: &SetId) -> bool {
        self.lock().members.contains_key(set)
    }

    /// How many entries there are of what is kept.
    pub fn census(&self) -> [(&'static str, usize); 3] {
        let inner = self.lock();
        [
            ("rollouts_by_name", inner.rollouts.len()),
            ("rollouts_by_file", inner.members.len()),
            ("rollouts_by_dependency", inner.dependents.len()),
        ]
    }

    /// The file of a rollout.
    pub fn set_of(&self, key: &ObjectKey) -> Option<SetId> {
        self.lock().rollouts.get(key).map(|neighbour| neighbour.set.clone())
    }

    /// The living rollouts of a file.
    pub fn members(&self, set: &SetId) -> Vec<Neighbour> {
        let inner = self.lock();
        let keys = inner.members.get(set);
        keys.into_iter().flatten().filter_map(|key| inner.rollouts.get(key).cloned()).collect()
    }

    /// The rollouts that wait for this one.
    pub fn dependents(&self, key: &ObjectKey) -> Vec<ObjectKey> {
        self.lock().dependents.get(key).into_iter().flatten().cloned().collect()
    }

    /// The rollouts that wait for this one, for one that waits for it, and so on.
    pub fn all_dependents(&self, key: &ObjectKey) -> BTreeSet<ObjectKey> {
        let inner = self.lock();
        let mut found = BTreeSet::new();
        let mut next = vec![key];
        while let Some(key) = next.pop() {
            for dependent in inner.dependents.get(key).into_iter().flatten() {
                if found.insert(dependent.clone()) {
                    next.push(dependent);
                }
            }
        }
        found
    }

    /// Names that a rollout depends on.
    pub fn depends_on(&self, key: &ObjectKey) -> Vec<String> {
        let inner = self.lock();
        inner.rollouts.get(key).map(|n| n.depends_on.iter().cloned().collect()).unwrap_or_default()
    }

    /// The rollout that holds a flag key in a file: the eldest, then the first by name.
    pub fn holder(&self, set: &SetId, flag: &str) -> Option<ObjectKey> {
        let inner = self.lock();
        let members = inner.members.get(set).into_iter().flatten();
        members
            .filter_map(|key| inner.rollouts.get(key))
            .filter(|neighbour| neighbour.flag == flag)
            .min_by_key(|neighbour| (neighbour.created.as_ref().map(|time| time.0), &neighbour.key))
            .map(|neighbour| neighbour.key.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove(&mut self, key: &ObjectKey) -> Option<Neighbour> {
        let neighbour = self.rollouts.remove(key)?;
        if let Some(members) = self.members.get_mut(&neighbour.set) {
            members.remove(key);
            if members.is_empty() {
                self.members.remove(&neighbour.set);
            }
        }
        for name in &neighbour.depends_on {
            let dependency = (key.0.clone(), name.clone());
            if let Some(dependents) = self.dependents.get_mut(&dependency) {
                dependents.remove(key);
                if dependents.is_empty() {
                    self.dependents.remove(&dependency);
                }
            }
        }
        Some(neighbour)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// A member of FlagSet `app` with the flag key `k`, created in this second.
    fn member(name: &str, second: i64) -> FeatureRollout {
        let spec = "{feature: {key: k}, flagSetRef: {name: app}, cohorts: [{name: all}], phases: []}";
        let mut rollout = FeatureRollout::new(name, serde_saphyr::from_str(spec).unwrap());
        rollout.metadata.namespace = Some("maya".to_owned());
        rollout.metadata.uid = Some(format!("uid-{name}"));
        rollout.metadata.creation_timestamp = Some(Time(jiff::Timestamp::from_second(second).unwrap()));
        rollout
    }

    #[rstest]
    #[case::older_by_age_and_name(("a", 1), ("b", 2), "a")]
    #[case::older_though_the_name_is_later(("z", 1), ("b", 2), "z")]
    #[case::of_one_age(("z", 1), ("b", 1), "b")]
    fn the_older_rollout_keeps_a_key_and_of_two_of_one_age_the_first_by_name(
        #[case] one: (&str, i64),
        #[case] other: (&str, i64),
        #[case] expected: &str,
    ) {
        let set = SetId { namespace: "maya".to_owned(), name: "app".to_owned(), shared: true };
        for order in [[one, other], [other, one]] {
            let index = Index::default();
            for (name, second) in order {
                index.apply(&member(name, second));
            }
            assert_eq!(index.holder(&set, "k").map(|key| key.1).as_deref(), Some(expected));
            index.remove(&("maya".to_owned(), expected.to_owned()));
            assert!(index.holder(&set, "k").is_some_and(|key| key.1 != expected), "the next one gets it");
        }
    }
}

//! Which rollouts concern each other: members of a FlagSet, holders of a flag key, users of a CohortSet, dependents.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::api::FeatureRollout;
use crate::controller::cache::ObjectKey;
use crate::flags::announcement_key;
use crate::plan;
use policies::Named;
pub use set_id::SetId;

mod policies;
mod set_id;

/// How many dependencies are followed in search of a circle. Whoever lets thousands of rollouts wait for each other, each for sixteen, has
/// everybody's decisions wait for the search otherwise.
const MOST_EDGES: usize = 2048;

/// A living rollout as its neighbours see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its key.
    pub key: ObjectKey,
    /// Its UID.
    pub uid: String,
    /// Its flag key.
    pub flag: String,
    /// Key of the flag of its announcement, where it has one.
    pub announces: Option<String>,
    /// Its file.
    pub set: SetId,
    /// When it was created: the older of two with one flag key wins.
    pub created: Option<Time>,
    /// In order, each once.
    depends_on: Box<[Box<str>]>,
    /// The playbook that it joins.
    playbook: Option<String>,
    /// The policy that it names itself.
    policy: Option<Box<str>>,
}

impl Neighbour {
    /// Of two with one flag key, the one for which this is less has it: the older, then the first by name.
    pub fn seniority(&self) -> impl Ord {
        (self.created.as_ref().map(|time| time.0), &self.key)
    }
}

/// The neighbourhoods.
#[derive(Default)]
pub struct Index(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    // Boxed: a table has room for up to twice as many entries as it has.
    rollouts: HashMap<ObjectKey, Box<Neighbour>>,
    /// In order. No sets: the smallest node of a tree has room for eleven, and most files have one rollout.
    members: HashMap<SetId, Vec<ObjectKey>>,
    /// In order, by a digest of namespace and name, as anybody may wait for sixteen long names of nobody: others may have the same.
    dependents: HashMap<u64, Vec<Arc<ObjectKey>>>,
    digests: RandomState,
    joined: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    left: Vec<SetId>,
    left_playbooks: Vec<ObjectKey>,
    named: Named,
}

impl Index {
    /// Takes in a rollout as it is now. Returns the rollouts of circles that this may have closed or opened.
    pub fn apply(&self, rollout: &FeatureRollout) -> BTreeSet<ObjectKey> {
        self.take_in(rollout, depends_on(rollout))
    }

    /// The same of a rollout that nothing can raise as things stand: it waits for nobody, and nothing is kept of what it would wait
    /// for.
    pub fn apply_idle(&self, rollout: &FeatureRollout) -> BTreeSet<ObjectKey> {
        self.take_in(rollout, Box::default())
    }

    /// Keeps nothing of what a rollout waits for, which nothing can raise as things stand.
    pub fn let_wait_for_nobody(&self, key: &ObjectKey) {
        let known = self.lock().rollouts.get(key).filter(|known| !known.depends_on.is_empty()).cloned();
        if let Some(known) = known {
            self.replace(key, Neighbour { depends_on: Box::default(), ..*known });
        }
    }

    fn take_in(&self, rollout: &FeatureRollout, depends_on: Box<[Box<str>]>) -> BTreeSet<ObjectKey> {
        let key = (rollout.namespace().unwrap_or_default(), rollout.name_any());
        let neighbour = Neighbour {
            uid: rollout.uid().unwrap_or_default(),
            flag: plan::flag_key(rollout).to_owned(),
            announces: rollout.spec.announcement.as_ref().map(|_| announcement_key(plan::flag_key(rollout))),
            set: SetId::of(rollout),
            created: rollout.metadata.creation_timestamp.clone(),
            depends_on,
            playbook: rollout.spec.playbook_ref.as_ref().map(|reference| reference.name.clone()),
            policy: policies::own(rollout).map(Into::into),
            key: key.clone(),
        };
        let before = self.lock().rollouts.get(&key).cloned();
        if before.as_deref() == Some(&neighbour) {
            return BTreeSet::new();
        }
        let waits_as_before = match &before {
            Some(before) => before.depends_on == neighbour.depends_on,
            None => neighbour.depends_on.is_empty(),
        };
        let mut concerned = if waits_as_before { BTreeSet::new() } else { self.in_circles_of(&key) };
        let announces_as_before =
            before.as_ref().is_some_and(|before| before.announces == neighbour.announces);
        if !announces_as_before {
            let mut keys: Vec<&Neighbour> = vec![&neighbour];
            keys.extend(before.as_deref());
            concerned.extend(keys.into_iter().flat_map(|one| self.sharing_keys(one)));
        }
        self.replace(&key, neighbour);
        if !waits_as_before {
            concerned.append(&mut self.in_circles_of(&key));
        }
        concerned
    }

    fn replace(&self, key: &ObjectKey, neighbour: Neighbour) {
        let mut inner = self.lock();
        let before = inner.remove(key);
        inner.follow_names(before.as_ref(), Some(&neighbour));
        let other = before.as_ref().and_then(|before| before.playbook.clone());
        let other = other.filter(|other| neighbour.playbook.as_ref() != Some(other));
        inner.left_playbooks.extend(other.map(|other| (key.0.clone(), other)));
        inner.left.extend(before.map(|before| before.set).filter(|before| *before != neighbour.set));
        if let Some(playbook) = &neighbour.playbook {
            inner.joined.entry((key.0.clone(), playbook.clone())).or_default().insert(key.clone());
        }
        let members = inner.members.entry(neighbour.set.clone()).or_default();
        if members.is_empty() {
            // Most files have one rollout, and a list begins with room for four.
            members.reserve_exact(1);
        }
        if let Err(place) = members.binary_search(key) {
            members.insert(place, key.clone());
        }
        let dependent = Arc::new(key.clone());
        for name in &neighbour.depends_on {
            let digest = inner.digest(&key.0, name);
            let dependents = inner.dependents.entry(digest).or_default();
            if let Err(place) = dependents.binary_search(&dependent) {
                dependents.insert(place, dependent.clone());
            }
        }
        inner.rollouts.insert(key.clone(), Box::new(neighbour));
    }

    /// The files that rollouts have left by being created anew in another one, since this was asked last.
    pub fn take_left(&self) -> Vec<SetId> {
        std::mem::take(&mut self.lock().left)
    }

    /// The playbooks that rollouts have left for another one or for none, since this was asked last.
    pub fn take_left_playbooks(&self) -> Vec<ObjectKey> {
        std::mem::take(&mut self.lock().left_playbooks)
    }

    /// The rollouts that join a playbook.
    pub fn joined(&self, playbook: &ObjectKey) -> Vec<ObjectKey> {
        self.lock().joined.get(playbook).into_iter().flatten().cloned().collect()
    }

    /// The playbook that a rollout joins.
    pub fn playbook_of(&self, key: &ObjectKey) -> Option<ObjectKey> {
        let inner = self.lock();
        Some((key.0.clone(), inner.rollouts.get(key)?.playbook.clone()?))
    }

    /// The other rollouts of its file that have one of the flag keys of a rollout, be it for an announcement or by one.
    pub fn sharing_keys(&self, one: &Neighbour) -> Vec<ObjectKey> {
        let inner = self.lock();
        let shares = |other: &&Neighbour| {
            let announced = other.announces.as_ref() == Some(&one.flag);
            other.key != one.key && (announced || one.announces.as_ref() == Some(&other.flag))
        };
        inner.members_of(&one.set).filter(shares).map(|other| other.key.clone()).collect()
    }

    /// A rollout as its neighbours see it.
    pub fn neighbour(&self, key: &ObjectKey) -> Option<Neighbour> {
        self.lock().rollouts.get(key).map(|neighbour| (**neighbour).clone())
    }

    /// The rollouts of a file whose announcement has a flag key.
    pub fn announcing(&self, set: &SetId, flag: &str) -> Vec<Neighbour> {
        let inner = self.lock();
        let announces = |other: &&Neighbour| other.announces.as_deref() == Some(flag);
        inner.members_of(set).filter(announces).cloned().collect()
    }

    /// The rollouts of a file that have an announcement.
    pub fn announcing_members(&self, set: &SetId) -> Vec<Neighbour> {
        self.lock().members_of(set).filter(|other| other.announces.is_some()).cloned().collect()
    }

    /// Forgets a rollout. Returns what it was.
    pub fn remove(&self, key: &ObjectKey) -> Option<Neighbour> {
        let mut inner = self.lock();
        let gone = inner.remove(key);
        inner.follow_names(gone.as_ref(), None);
        gone
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
    pub fn census(&self) -> [(&'static str, usize); 6] {
        let inner = self.lock();
        [
            ("rollouts_by_name", inner.rollouts.len()),
            ("rollouts_by_file", inner.members.len()),
            ("rollouts_by_dependency", inner.dependents.len()),
            ("rollouts_by_playbook", inner.joined.len()),
            ("named_policies", inner.named.policies()),
            ("flag_sets_with_policy", inner.named.flag_sets()),
        ]
    }

    /// The file of a rollout.
    pub fn set_of(&self, key: &ObjectKey) -> Option<SetId> {
        self.lock().rollouts.get(key).map(|neighbour| neighbour.set.clone())
    }

    /// The living rollouts of a file.
    pub fn members(&self, set: &SetId) -> Vec<Neighbour> {
        self.lock().members_of(set).cloned().collect()
    }

    /// The rollouts that wait for this one.
    pub fn dependents(&self, key: &ObjectKey) -> Vec<ObjectKey> {
        // Somebody of the same digest is looked at in vain.
        let inner = self.lock();
        let known = inner.dependents.get(&inner.digest(&key.0, &key.1));
        known.into_iter().flatten().map(|dependent| (**dependent).clone()).collect()
    }

    /// The circle of dependencies that a rollout is part of, by name, beginning and ending with it. One so large that it is not found
    /// within [`MOST_EDGES`] is not told: its rollouts wait for each other all the same.
    pub fn circle(&self, key: &ObjectKey) -> Option<Vec<String>> {
        let inner = self.lock();
        let looked_at = Cell::new(0);
        plan::dependency_cycle(&key.1, |name| {
            let edges = inner.depends_on(&key.0, name).take_while(|_| looked_at.get() < MOST_EDGES);
            edges.inspect(|_| looked_at.set(looked_at.get() + 1))
        })
    }

    /// The rollouts that wait for this one and that this one waits for, directly or not, as far as [`MOST_EDGES`] reach.
    pub fn in_circles_of(&self, key: &ObjectKey) -> BTreeSet<ObjectKey> {
        let inner = self.lock();
        let mut ahead: BTreeSet<&str> = BTreeSet::new();
        let mut looked_at = 0;
        let mut left = VecDeque::from([key.1.as_str()]);
        while let Some(name) = left.pop_front().filter(|_| looked_at < MOST_EDGES) {
            let edges = inner.depends_on(&key.0, name).inspect(|_| looked_at += 1);
            left.extend(edges.filter(|next| ahead.insert(*next)));
        }
        let mut found = BTreeSet::new();
        let mut left = vec![key];
        // Whoever is not ahead leads to nobody who is: a way from there to here would go on to it.
        while let Some(key) = left.pop().filter(|_| !ahead.is_empty()) {
            for dependent in inner.dependents_of(key).take(MOST_EDGES) {
                if ahead.contains(dependent.1.as_str()) && found.insert(dependent.clone()) {
                    left.push(dependent);
                }
            }
        }
        found
    }

    /// The rollout that holds a flag key in a file: the eldest, then the first by name.
    pub fn holder(&self, set: &SetId, flag: &str) -> Option<ObjectKey> {
        let inner = self.lock();
        let holding = inner.members_of(set).filter(|neighbour| neighbour.flag == flag);
        let eldest =
            holding.reduce(|one, other| if other.seniority() < one.seniority() { other } else { one });
        eldest.map(|neighbour| neighbour.key.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn depends_on(rollout: &FeatureRollout) -> Box<[Box<str>]> {
    let names: BTreeSet<&str> =
        rollout.spec.depends_on.iter().map(|dependency| dependency.name.as_str()).collect();
    names.into_iter().map(Into::into).collect()
}

impl Inner {
    /// The living rollouts of a file.
    fn members_of<'i>(&'i self, set: &SetId) -> impl Iterator<Item = &'i Neighbour> + use<'i> {
        self.members.get(set).into_iter().flatten().filter_map(|key| self.rollouts.get(key).map(Box::as_ref))
    }

    fn digest(&self, namespace: &str, name: &str) -> u64 {
        self.digests.hash_one((namespace, name))
    }

    /// The rollouts that wait for this one.
    fn dependents_of<'i>(&'i self, key: &ObjectKey) -> impl Iterator<Item = &'i ObjectKey> + use<'i> {
        let (digest, name) = (self.digest(&key.0, &key.1), key.1.clone());
        let waits = move |dependent: &&ObjectKey| {
            let neighbour = self.rollouts.get(*dependent);
            neighbour.is_some_and(|neighbour| neighbour.depends_on.iter().any(|one| **one == *name))
        };
        self.dependents.get(&digest).into_iter().flatten().map(AsRef::as_ref).filter(waits)
    }

    /// Names that a rollout depends on.
    fn depends_on<'i>(&'i self, namespace: &str, name: &str) -> impl Iterator<Item = &'i str> + use<'i> {
        let neighbour = self.rollouts.get(&(namespace.to_owned(), name.to_owned()));
        neighbour.into_iter().flat_map(|neighbour| &neighbour.depends_on).map(AsRef::as_ref)
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<Neighbour> {
        let neighbour = *self.rollouts.remove(key)?;
        if let Some(members) = self.members.get_mut(&neighbour.set) {
            if let Ok(place) = members.binary_search(key) {
                members.remove(place);
            }
            if members.is_empty() {
                self.members.remove(&neighbour.set);
            }
        }
        if let Some(playbook) = &neighbour.playbook {
            let playbook = (key.0.clone(), playbook.clone());
            if let Some(joined) = self.joined.get_mut(&playbook) {
                joined.remove(key);
                if joined.is_empty() {
                    self.joined.remove(&playbook);
                }
            }
        }
        for name in &neighbour.depends_on {
            let digest = self.digest(&key.0, name);
            if let Some(dependents) = self.dependents.get_mut(&digest) {
                if let Ok(place) = dependents.binary_search_by(|dependent| (**dependent).cmp(key)) {
                    dependents.remove(place);
                }
                if dependents.is_empty() {
                    self.dependents.remove(&digest);
                }
            }
        }
        Some(neighbour)
    }
}

#[cfg(test)]
mod tests;

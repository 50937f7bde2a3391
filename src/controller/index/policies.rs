//! Which policies the rollouts and FlagSets of a namespace name. Whoever edits a policy, or counts whom it binds, asks here: no
//! rollout and no FlagSet is decoded for it.
//!
//! What a FlagSet names is told by its members' decisions, which have it at hand, and not by its watch: a FlagSet may be so large
//! that decoding it once more would hold everybody up.

use std::collections::{BTreeSet, HashMap};

use kube::ResourceExt;

use super::{Index, Inner, Neighbour, SetId};
use crate::api::FeatureRollout;
use crate::controller::cache::ObjectKey;

/// The policies that are named.
#[derive(Default)]
pub(super) struct Named {
    /// By FlagSet. Of one that names none, or has no member, nothing is kept.
    of_sets: HashMap<SetId, Box<str>>,
    /// By policy. Of one that nobody names nothing is kept.
    by: HashMap<ObjectKey, By>,
    changed: Changed,
}

/// Who names a policy of the same namespace.
#[derive(Default)]
struct By {
    rollouts: BTreeSet<Box<str>>,
    sets: BTreeSet<Box<str>>,
}

/// The policies that may bind another number of rollouts than before.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Those that were named, or are.
    pub named: BTreeSet<ObjectKey>,
    /// Whether a rollout came or went, which those count that bind by labels.
    pub rollouts: bool,
}

/// The policy that a rollout names itself.
pub(super) fn own(rollout: &FeatureRollout) -> Option<&str> {
    rollout.spec.policy_ref.as_ref().map(|reference| reference.name.as_str())
}

impl Index {
    /// The rollouts of its namespace that a policy binds because they or their FlagSets name it, each once.
    pub fn bound_by(&self, policy: &ObjectKey) -> Vec<ObjectKey> {
        let inner = self.lock();
        let Some(by) = inner.named.by.get(policy) else { return Vec::new() };
        let mut bound: Vec<ObjectKey> =
            by.rollouts.iter().map(|name| (policy.0.clone(), name.to_string())).collect();
        for set in &by.sets {
            let set = SetId { namespace: policy.0.clone(), name: set.to_string(), shared: true };
            // Whoever names it as well is among them.
            let others = inner.members_of(&set);
            let others = others.filter(|member| member.policy.as_deref() != Some(policy.1.as_str()));
            bound.extend(others.map(|member| member.key.clone()));
        }
        bound
    }

    /// Notes what a rollout and its FlagSet name as it is about to be decided on. That is said before the policies are read: whoever
    /// edits one after that finds here whom it binds, also where the FlagSet was read past the caches.
    pub fn decided_with(&self, rollout: &FeatureRollout, of_set: Option<&str>) {
        let key = (rollout.namespace().unwrap_or_default(), rollout.name_any());
        let own = own(rollout);
        let mut inner = self.lock();
        let known = inner.rollouts.get(&key).filter(|known| known.policy.as_deref() != own).cloned();
        if let Some(before) = known {
            let now = Box::new(Neighbour { policy: own.map(Into::into), ..(*before).clone() });
            inner.follow_names(Some(&before), Some(&now));
            inner.rollouts.insert(key, now);
        }
        inner.set_names(&SetId::of(rollout), of_set);
    }

    /// Notes which policy a FlagSet names, if any.
    pub fn set_names(&self, set: &SetId, policy: Option<&str>) {
        self.lock().set_names(set, policy);
    }

    /// Notes that a rollout is gone, which is known here until its turn: what it named binds one less.
    pub fn note_going(&self, key: &ObjectKey) {
        let mut inner = self.lock();
        let Some(names) = inner.rollouts.get(key).map(|known| inner.named.names(known)) else { return };
        inner.named.changed.named.extend(names);
        inner.named.changed.rollouts = true;
    }

    /// The policies that may bind another number of rollouts than when this was asked last.
    pub fn take_changed(&self) -> Changed {
        std::mem::take(&mut self.lock().named.changed)
    }
}

impl Inner {
    /// Takes note of what a rollout names `now` that it did not name `before`. Where it leaves a file for another one, it has left
    /// that already.
    pub(super) fn follow_names(&mut self, before: Option<&Neighbour>, now: Option<&Neighbour>) {
        let names = |one: &Neighbour| (one.set.clone(), one.policy.clone());
        if before.map(names) == now.map(names) {
            return;
        }
        self.named.changed.rollouts |= before.is_none() || now.is_none();
        if let Some(before) = before {
            let names = self.named.names(before);
            self.named.changed.named.extend(names);
            if let Some(policy) = &before.policy {
                self.named.unname(&before.key, policy, |by| &mut by.rollouts);
            }
        }
        if let Some(now) = now {
            let names = self.named.names(now);
            self.named.changed.named.extend(names);
            if let Some(policy) = &now.policy {
                self.named.name(&now.key, policy, |by| &mut by.rollouts);
            }
        }
        if let Some(before) = before
            && now.is_none_or(|now| now.set != before.set)
            && !self.members.contains_key(&before.set)
        {
            self.set_names(&before.set, None);
        }
    }

    fn set_names(&mut self, set: &SetId, policy: Option<&str>) {
        // The last word may be that of a decision whose rollout has gone meanwhile.
        let policy = policy.filter(|_| set.shared && self.members.contains_key(set));
        let before = self.named.of_sets.get(set).cloned();
        if before.as_deref() == policy {
            return;
        }
        let key = (set.namespace.clone(), set.name.clone());
        if let Some(before) = before {
            self.named.of_sets.remove(set);
            self.named.unname(&key, &before, |by| &mut by.sets);
            self.named.changed.named.insert((key.0.clone(), before.into()));
        }
        if let Some(policy) = policy {
            self.named.of_sets.insert(set.clone(), policy.into());
            self.named.name(&key, policy, |by| &mut by.sets);
            self.named.changed.named.insert((key.0, policy.to_owned()));
        }
    }
}

impl Named {
    /// How many policies are named.
    pub fn policies(&self) -> usize {
        self.by.len()
    }

    /// How many FlagSets name one.
    pub fn flag_sets(&self) -> usize {
        self.of_sets.len()
    }

    /// The policies that a rollout and its FlagSet name.
    fn names(&self, one: &Neighbour) -> Vec<ObjectKey> {
        let names = one.policy.iter().chain(self.of_sets.get(&one.set));
        names.map(|name| (one.key.0.clone(), name.to_string())).collect()
    }

    fn name(&mut self, who: &ObjectKey, policy: &str, list: fn(&mut By) -> &mut BTreeSet<Box<str>>) {
        let by = self.by.entry((who.0.clone(), policy.to_owned())).or_default();
        list(by).insert(who.1.as_str().into());
    }

    fn unname(&mut self, who: &ObjectKey, policy: &str, list: fn(&mut By) -> &mut BTreeSet<Box<str>>) {
        let policy = (who.0.clone(), policy.to_owned());
        let Some(by) = self.by.get_mut(&policy) else { return };
        list(by).remove(who.1.as_str());
        if by.rollouts.is_empty() && by.sets.is_empty() {
            self.by.remove(&policy);
        }
    }
}

#[cfg(test)]
mod tests;

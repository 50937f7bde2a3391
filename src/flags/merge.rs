//! The heart of a ConfigMap's writer: what the file holds now, plus what rollouts and the FlagSet want, makes the next file.
//!
//! A key never disappears but by `prune` or by its own rollout's wish, nothing newer is replaced by something older, and
//! what does not fit stays out without harm to its neighbours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::budget;
use super::canonical;
use super::file::{File, SetMark};
use super::fragment::{self, Fragment, LiveFlag};
use super::statics::{self, Verdict};
use crate::api::flagset::Orphan;

/// The file as it is now.
#[derive(Clone, Debug, PartialEq)]
pub enum Live {
    /// There is none.
    Missing,
    /// Sluice is known to have written it.
    Trusted(File),
    /// Nobody vouches for it: edited by hand, or not signed. The content where it can be read. Then the candidates have to
    /// be complete and freshly read.
    Untrusted(Option<File>),
}

/// What the FlagSet contributes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetInfo {
    /// UID of the FlagSet.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// `spec.flags`.
    pub statics: BTreeMap<String, Value>,
    /// `spec.metadata`.
    pub metadata: BTreeMap<String, Value>,
    /// What is wrong with these two, where that is known already.
    pub verdict: Option<Arc<Verdict>>,
    /// `spec.prune`.
    pub prune: BTreeSet<String>,
    /// Whether `spec.emergency` asks for control. Members see to it themselves, orphans have nobody else.
    pub emergency: bool,
}

/// What one rollout wants of the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Candidate {
    /// Its flag as given here.
    Put(Fragment),
    /// Its flag taken out.
    Remove {
        /// Flag key.
        key: String,
        /// UID of the rollout.
        uid: String,
        /// Revision of the decision.
        revision: i64,
    },
}

/// A rollout that exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Living {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its flag key.
    pub key: String,
}

/// Everything that the next file depends on.
#[derive(Clone, Copy, Debug)]
pub struct Merge<'a> {
    /// The file as it is now.
    pub live: &'a Live,
    /// The last file that was known to be good, where one is remembered; it keeps orphans when `live` has lost them.
    pub last_good: Option<&'a File>,
    /// Flags of living rollouts that cannot be rendered, at control, by key: what they get where nothing is known to be good.
    pub at_control: Option<&'a BTreeMap<String, Value>>,
    /// The FlagSet; without one, what the file holds of a FlagSet stays as it is.
    pub set: Option<&'a SetInfo>,
    /// What rollouts want, in the order in which they may claim keys and room: of two that want one key the first wins.
    pub candidates: &'a [Candidate],
    /// Every living rollout of the file, if they are known completely. Otherwise nothing counts as an orphan.
    pub living: Option<&'a BTreeSet<Living>>,
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new file holds it, the old one did not.
    Written,
    /// The file holds it already, or has nothing to take out.
    Unchanged,
    /// The flag is taken out.
    Removed,
    /// The file holds a newer revision, which stays.
    Stale {
        /// The revision in the file.
        live: i64,
    },
    /// Another rollout's flag has the key.
    KeyConflict {
        /// Name of that rollout.
        rollout: String,
        /// Its UID.
        uid: String,
        /// Whether that rollout is known to be gone, so that `prune` would free the key.
        orphan: bool,
    },
    /// The file would have this many bytes, which is too many; what the key served stays.
    TooLarge {
        /// Bytes of the file with the candidate.
        size: usize,
    },
}

/// What became of the FlagSet's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetOutcome {
    /// No FlagSet was given.
    Absent,
    /// The new file holds it.
    Applied,
    /// The file holds a newer generation, which stays.
    Stale {
        /// The generation in the file.
        live: i64,
    },
    /// The file would have this many bytes, which is too many; the previous part stays.
    TooLarge {
        /// Bytes of the file with it.
        size: usize,
    },
}

/// The next file, and what became of everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The next file.
    pub file: File,
    /// Its bytes; to be written only where they differ from those that are there.
    pub text: String,
    /// One for each candidate, in their order.
    pub outcomes: Vec<Outcome>,
    /// What became of the FlagSet's part.
    pub set: SetOutcome,
    /// Static flags and metadata left out, by path in the FlagSet's spec, and why.
    pub refused: Vec<(String, String)>,
    /// Keys that were pruned.
    pub pruned: Vec<String>,
    /// Flags whose rollout is gone; `None` while the living are not known.
    pub orphans: Option<Vec<Orphan>>,
}

/// Makes the next file; the same input always gives the same bytes.
pub fn merge(input: &Merge<'_>) -> Merged {
    let mut base = base(input);
    let (set, mut set_outcome) = current_set(input, &base);
    let pruned = prune(input, set, &mut base);
    if set.is_some_and(|set| set.emergency) {
        orphans_to_control(input, &mut base);
    }
    let mut outcomes = Vec::with_capacity(input.candidates.len());
    let mut changes = Vec::new();
    let mut claimed = base.clone();
    for (index, candidate) in input.candidates.iter().enumerate() {
        let outcome = judge(input, &claimed, candidate);
        match (candidate, &outcome) {
            (Candidate::Put(fragment), Outcome::Written) => {
                claimed.members.insert(fragment.key.clone(), fragment.body.clone());
                changes.push((index, fragment));
            }
            (Candidate::Remove { key, .. }, Outcome::Removed) => {
                claimed.members.remove(key);
                base.members.remove(key);
            }
            _ => {}
        }
        outcomes.push(outcome);
    }
    let mut refused = Vec::new();
    let wanted = set.map(|set| statics::admit(set, &claimed.members, &mut refused));
    let fitted = budget::fit(base, claimed, wanted, &changes);
    for (index, size) in fitted.too_large {
        if let Some(outcome) = outcomes.get_mut(index) {
            *outcome = Outcome::TooLarge { size };
        }
    }
    if let Some(size) = fitted.set_too_large {
        set_outcome = SetOutcome::TooLarge { size };
    }
    Merged {
        orphans: orphans(input, &fitted.file),
        file: fitted.file,
        text: fitted.text,
        outcomes,
        set: set_outcome,
        refused,
        pruned,
    }
}

/// What stays unless something changes it.
///
/// Where nobody vouches for the file, only what is remembered stays. Where nothing is remembered either, a key that is
/// read must not vanish all the same: it gets control.
fn base(input: &Merge<'_>) -> File {
    let edited = match input.live {
        Live::Trusted(file) => return file.clone(),
        Live::Missing => None,
        Live::Untrusted(edited) => edited.as_ref(),
    };
    if let Some(remembered) = input.last_good {
        return remembered.clone();
    }
    let mut file = File { members: input.at_control.cloned().unwrap_or_default(), ..File::default() };
    let Some(edited) = edited else { return file };
    if input.set.is_none() {
        // Nobody is left who could say what they should be.
        file.statics.clone_from(&edited.statics);
        file.metadata.clone_from(&edited.metadata);
        file.set.clone_from(&edited.set);
    }
    for (key, body) in &edited.members {
        let is_claimed = input.candidates.iter().any(|candidate| match candidate {
            Candidate::Put(fragment) => {
                fragment.key == *key && edited.live(key).is_none_or(|live| live.uid != fragment.uid)
            }
            Candidate::Remove { .. } => false,
        });
        // No rollout can have had a longer one.
        let is_key = key.len() <= fragment::MOST_KEY;
        if !is_claimed
            && is_key
            && !file.members.contains_key(key)
            && let Some(left) = fragment::unconfirmed(body)
        {
            file.members.insert(key.clone(), left);
        }
    }
    file
}

fn is_trusted(input: &Merge<'_>) -> bool {
    matches!(input.live, Live::Trusted(_))
}

/// The FlagSet, unless the file holds a newer generation of it.
fn current_set<'a>(input: &Merge<'a>, base: &File) -> (Option<&'a SetInfo>, SetOutcome) {
    let Some(set) = input.set else {
        return (None, SetOutcome::Absent);
    };
    match &base.set {
        Some(SetMark { uid, generation })
            if is_trusted(input) && *uid == set.uid && *generation > set.generation =>
        {
            (None, SetOutcome::Stale { live: *generation })
        }
        _ => (Some(set), SetOutcome::Applied),
    }
}

fn prune(input: &Merge<'_>, set: Option<&SetInfo>, base: &mut File) -> Vec<String> {
    let keys = set.map(|set| &set.prune).into_iter().flatten();
    let mut pruned = Vec::new();
    for key in keys {
        let gone = base
            .members
            .contains_key(key)
            .then(|| base.live(key))
            .is_some_and(|live| live.is_none_or(|live| is_orphan(input, &live)));
        if gone && input.living.is_some() {
            base.members.remove(key);
            pruned.push(key.clone());
        }
    }
    pruned
}

/// An emergency takes the flags of rollouts that are gone to control as well. They stay there when it is lifted: what
/// would bring them back passes checks, and nobody is left to do that.
fn orphans_to_control(input: &Merge<'_>, base: &mut File) {
    for body in base.members.values_mut() {
        let is_orphan = fragment::live(body).is_some_and(|live| is_orphan(input, &live));
        if let Some(lowered) = is_orphan.then(|| fragment::at_control(body)).flatten() {
            *body = lowered;
        }
    }
}

/// Whether the flag's rollout is known to be gone. A candidate's is not.
fn is_orphan(input: &Merge<'_>, live: &LiveFlag) -> bool {
    let wanted = |candidate: &Candidate| match candidate {
        Candidate::Put(fragment) => fragment.uid == live.uid,
        Candidate::Remove { uid, .. } => *uid == live.uid,
    };
    input.living.is_some_and(|living| living.iter().all(|rollout| rollout.uid != live.uid))
        && !input.candidates.iter().any(wanted)
}

fn judge(input: &Merge<'_>, file: &File, candidate: &Candidate) -> Outcome {
    match candidate {
        Candidate::Put(fragment) => judge_put(input, file, fragment),
        Candidate::Remove { key, uid, revision } => match file.live(key) {
            Some(live) if live.uid != *uid => Outcome::Unchanged,
            Some(live) if is_trusted(input) && live.revision > *revision => {
                Outcome::Stale { live: live.revision }
            }
            Some(_) => Outcome::Removed,
            None => Outcome::Unchanged,
        },
    }
}

fn judge_put(input: &Merge<'_>, file: &File, fragment: &Fragment) -> Outcome {
    let Some(body) = file.members.get(&fragment.key) else {
        return Outcome::Written;
    };
    let Some(live) = file.live(&fragment.key) else {
        // The mark is there but not the rest: nobody can be asked, and this rollout has the key by its spec.
        return Outcome::Written;
    };
    let same_name = live.namespace == fragment.namespace && live.rollout == fragment.rollout;
    let held = || Outcome::KeyConflict {
        rollout: live.rollout.clone(),
        uid: live.uid.clone(),
        orphan: is_orphan(input, &live),
    };
    if live.uid == fragment.uid {
        if is_trusted(input) && live.revision > fragment.revision {
            return Outcome::Stale { live: live.revision };
        }
        let equal = canonical::text(body) == canonical::text(&fragment.body);
        return if equal && is_trusted(input) { Outcome::Unchanged } else { Outcome::Written };
    }
    let living =
        |uid: &str| input.living.is_some_and(|living| living.iter().any(|rollout| rollout.uid == uid));
    if !same_name || living(&live.uid) {
        return held();
    }
    // Its own orphan. The first decision of the new object takes the next revision, so an equal or lower one comes from
    // the old object.
    if is_trusted(input) && live.revision >= fragment.revision {
        return Outcome::Stale { live: live.revision };
    }
    Outcome::Written
}

fn orphans(input: &Merge<'_>, file: &File) -> Option<Vec<Orphan>> {
    input.living?;
    let gone = file.members.keys().filter_map(|key| {
        let live = file.live(key)?;
        is_orphan(input, &live).then(|| Orphan { key: key.clone(), rollout: live.rollout, uid: live.uid })
    });
    Some(gone.collect())
}

#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod room_tests;
#[cfg(test)]
mod tests;

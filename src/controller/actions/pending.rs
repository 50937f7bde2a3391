//! The actions without an answer, in the order in which they are carried out: what stops and lowers before the rest, and
//! else as they were created.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

use super::judge::TRACKED_BY;
use super::room::Room;
use crate::api::MicroTime;
use crate::api::rolloutaction::{Action, RolloutAction};
use crate::controller::cache::{ObjectKey, Stored, cut, key_of, version};
use crate::engine::Precedence;

/// An action as stored: readable, or why it is not.
pub type Asked = Stored<RolloutAction>;

/// Order of creation. Timestamps have whole seconds; within one the versions tell, which grow with every write.
pub(super) type Order = (Option<MicroTime>, u64, String);

/// Rollouts of one namespace whose actions are worked on at once: the work on each takes memory while it waits.
const AT_WORK: usize = 32;
/// The same of those that are to be stopped or lowered, which wait for none of the others.
const STOPPED_AT_WORK: usize = 256;

/// Bytes of JSON beyond which an action is not carried out: etcd takes objects of 1.5 MB, and what is carried out and can never be answered
/// would be read as new for ever.
const MOST_BYTES: usize = 1024 * 1024;

/// Counts bytes, as many as the API server may need for them: it writes `<`, `>`, `&` and two more letters as six.
struct Bytes(usize);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let longer = |byte: &&u8| matches!(byte, b'<' | b'>' | b'&' | 0xE2);
        self.0 += bytes.len() + 5 * bytes.iter().filter(longer).count();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether there is no room for an answer in an action as it is stored; of one that cannot be read its metadata tell.
fn is_too_large(action: &DeserializeGuard<RolloutAction>) -> bool {
    let mut bytes = Bytes(0);
    // Nothing fails here: whatever was read as JSON is JSON.
    let _counted = match &action.0 {
        Ok(action) => serde_json::to_writer(&mut bytes, action),
        Err(invalid) => serde_json::to_writer(&mut bytes, &invalid.metadata),
    };
    bytes.0 > MOST_BYTES
}

/// What is to be done for whom.
#[derive(Default)]
pub struct Pending {
    /// By rollout.
    waiting: HashMap<ObjectKey, BTreeMap<Order, Asked>>,
    /// Where each action is in `waiting`, and whether it neither stops nor lowers.
    places: HashMap<ObjectKey, (ObjectKey, Order, bool)>,
    room: Room,
    /// Keys seen since a list began.
    listing: Option<HashSet<ObjectKey>>,
    /// Whether the first list is complete: before, an older action may still be unknown.
    listed: bool,
    /// UIDs of actions that were answered here while the watch has not told of it yet.
    answered: HashMap<String, ObjectKey>,
    /// Rollouts whose actions are being worked on.
    at_work: HashSet<ObjectKey>,
    /// UIDs, by rollout, of actions that have nothing to stop or lower yet: they overtake nothing.
    in_turn: HashMap<ObjectKey, HashSet<String>>,
}

/// What an action is to the other ones of its rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// How soon it is to be worked on.
    pub precedence: Precedence,
    /// Whether it raises.
    pub raises: bool,
}

/// The action that is next.
#[derive(Clone, Debug)]
pub struct Next {
    /// The action.
    pub asked: Asked,
    /// How soon it is to be worked on.
    pub precedence: Precedence,
    /// Whether it goes before one that was created earlier and raises.
    pub overtakes: bool,
}

/// The rollout that an action is for; one that cannot be read stands alone.
fn rollout_of(action: &DeserializeGuard<RolloutAction>) -> ObjectKey {
    let namespace = action.namespace().unwrap_or_default();
    let name = action.0.as_ref().map_or("", |action| action.spec.rollout_ref.name.as_str());
    (namespace, name.to_owned())
}

/// Whether an action stops or lowers whatever its rollout serves.
pub(super) fn stops_or_lowers(action: &RolloutAction) -> bool {
    matches!(action.spec.action, Action::Pause | Action::Rollback)
}

fn is_ordinary(action: &DeserializeGuard<RolloutAction>) -> bool {
    !action.0.as_ref().is_ok_and(stops_or_lowers)
}

impl Pending {
    /// Takes in an event of the watch. Returns what tells an action apart that is too large to be answered: it is not carried out.
    pub fn event(&mut self, event: Event<DeserializeGuard<RolloutAction>>) -> Option<ObjectMeta> {
        match event {
            Event::Apply(action) | Event::InitApply(action) => return self.take_in(action),
            Event::Delete(action) => {
                self.answered.remove(&action.uid().unwrap_or_default());
                self.remove(&key_of(&action));
            }
            Event::Init => self.listing = Some(HashSet::new()),
            Event::InitDone => {
                let seen = self.listing.take().unwrap_or_default();
                let gone: Vec<ObjectKey> =
                    self.places.keys().filter(|key| !seen.contains(*key)).cloned().collect();
                for key in gone {
                    self.remove(&key);
                }
                self.answered.retain(|_, key| seen.contains(key));
                self.listed = true;
            }
        }
        None
    }

    fn take_in(&mut self, mut action: DeserializeGuard<RolloutAction>) -> Option<ObjectMeta> {
        let key = key_of(&action);
        let uid = action.uid().unwrap_or_default();
        if let Some(seen) = &mut self.listing {
            seen.insert(key.clone());
        }
        let is_answered =
            action.0.as_ref().is_ok_and(|a| a.status.as_ref().is_some_and(|status| status.answer.is_some()));
        if is_answered || self.answered.contains_key(&uid) {
            self.remove(&key);
            return None;
        }
        let is_too_large = is_too_large(&action);
        // What counts are the marks of tools that would create it again.
        cut(action.meta_mut(), |key, value| {
            value.clear();
            TRACKED_BY.contains(&key)
        });
        if is_too_large {
            self.remove(&key);
            return Some(action.meta().clone());
        }
        let known = self.places.get(&key).and_then(|(rollout, order, _)| {
            let asked = self.waiting.get_mut(rollout)?.get_mut(order)?;
            (asked.uid().as_deref() == Some(uid.as_str())).then_some(asked)
        });
        if let Some(known) = known {
            // Labels may be edited; the place in the order stays.
            *known = action.into();
            return None;
        }
        self.remove(&key);
        let created = action.meta().creation_timestamp.as_ref().map(|time| time.0.into());
        let order = (created, version(&action), key.1.clone());
        let is_ordinary = is_ordinary(&action);
        match self.room.add(&key.0, is_ordinary, &order, &key.1) {
            Some(left_out) if left_out == key.1 => return None,
            Some(left_out) => self.remove(&(key.0.clone(), left_out)),
            None => {}
        }
        let rollout = rollout_of(&action);
        self.places.insert(key, (rollout.clone(), order.clone(), is_ordinary));
        self.waiting.entry(rollout).or_default().insert(order, action.into());
        None
    }

    fn remove(&mut self, key: &ObjectKey) {
        let Some((rollout, order, is_ordinary)) = self.places.remove(key) else { return };
        self.room.remove(&key.0, is_ordinary, &order, &key.1);
        if let Some(waiting) = self.waiting.get_mut(&rollout) {
            waiting.remove(&order);
            if waiting.is_empty() {
                self.waiting.remove(&rollout);
                self.in_turn.remove(&rollout);
            }
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        let kept = self.places.len() + self.waiting.len() + self.answered.len() + self.room.len();
        kept + self.at_work.len() + self.in_turn.len()
    }

    /// The rollouts to begin to work on now. Say [`Pending::next`] for each until there is none.
    pub fn start(&mut self) -> Vec<ObjectKey> {
        if !self.listed {
            return Vec::new();
        }
        let mut at_work: HashMap<&str, usize> = HashMap::new();
        for (namespace, _) in &self.at_work {
            *at_work.entry(namespace).or_default() += 1;
        }
        let mut idle: Vec<(&str, (bool, &Order), &ObjectKey)> = Vec::new();
        for (rollout, waiting) in &self.waiting {
            let is_full = at_work.get(&*rollout.0).is_some_and(|at_work| *at_work >= STOPPED_AT_WORK);
            if !is_full && !self.at_work.contains(rollout) {
                let places = waiting.iter().map(|(order, asked)| (is_ordinary(asked), order));
                idle.extend(places.min().map(|first| (&*rollout.0, first, rollout)));
            }
        }
        idle.sort_unstable();
        let mut begun: Vec<ObjectKey> = Vec::new();
        for (namespace, (is_ordinary, _), rollout) in idle {
            let at_work = at_work.entry(namespace).or_default();
            if *at_work < if is_ordinary { AT_WORK } else { STOPPED_AT_WORK } {
                *at_work += 1;
                begun.push(rollout.clone());
            }
        }
        self.at_work.extend(begun.iter().cloned());
        begun
    }

    /// The namespaces whose actions are to be read again, as there is room for those that were left out.
    pub fn take_free(&mut self) -> Vec<String> {
        if self.listed { self.room.take_free() } else { Vec::new() }
    }

    /// Notes that a namespace has actions that are not known here.
    pub fn leave_out(&mut self, namespace: &str) {
        self.room.leave_out(namespace);
    }

    /// Notes that nobody works on a rollout's actions any more, although some may be left.
    pub fn ended(&mut self, rollout: &ObjectKey) {
        self.at_work.remove(rollout);
    }

    /// Notes that nobody works on any rollout's actions any more, although some may be left.
    pub fn all_ended(&mut self) {
        self.at_work.clear();
    }

    /// The next action of a rollout: of the highest precedence the eldest. Without one the work on the rollout has ended.
    pub fn next(&mut self, rollout: &ObjectKey, rank: impl Fn(&RolloutAction) -> Rank) -> Option<Next> {
        let next = self.first(rollout, rank);
        if next.is_none() {
            self.at_work.remove(rollout);
        }
        next
    }

    /// The same, as it is now.
    pub fn first(&self, rollout: &ObjectKey, rank: impl Fn(&RolloutAction) -> Rank) -> Option<Next> {
        let in_turn = self.in_turn.get(rollout);
        let precedence = |asked: &Asked| match &asked.0 {
            Ok(action) if in_turn.is_none_or(|uids| !uids.contains(&asked.uid().unwrap_or_default())) => {
                rank(action).precedence
            }
            _ => Precedence::Ordinary,
        };
        let waiting = self.waiting.get(rollout)?;
        // Of equal ones the first.
        let (order, asked) = waiting.iter().min_by_key(|(_, asked)| precedence(asked))?;
        let mut elder = waiting.range(..order).filter_map(|(_, elder)| elder.0.as_ref().ok());
        Some(Next {
            asked: asked.clone(),
            precedence: precedence(asked),
            overtakes: elder.any(|elder| rank(elder).raises),
        })
    }

    /// Notes that an action has nothing to stop or lower as things stand: it goes in its turn.
    pub fn goes_in_turn(&mut self, rollout: &ObjectKey, action: &Asked) {
        self.in_turn.entry(rollout.clone()).or_default().insert(action.uid().unwrap_or_default());
    }

    /// Notes that something was carried out for a rollout: there may be something to stop or lower now.
    pub fn carried_out(&mut self, rollout: &ObjectKey) {
        self.in_turn.remove(rollout);
    }

    /// Whether an action still waits for its answer.
    pub fn waits(&self, action: &Asked) -> bool {
        self.places.get(&key_of(&**action)).is_some_and(|(rollout, order, _)| {
            let waits = self.waiting.get(rollout).and_then(|waiting| waiting.get(order));
            waits.is_some_and(|waits| waits.uid() == action.uid())
        })
    }

    /// Whether an action of the rollout waits for which this is so.
    pub fn any(&self, rollout: &ObjectKey, is_so: impl Fn(&RolloutAction) -> bool) -> bool {
        let waiting = self.waiting.get(rollout).into_iter().flat_map(BTreeMap::values);
        waiting.filter_map(|asked| asked.0.as_ref().ok()).any(is_so)
    }

    /// Notes that an action has been judged: its answer is given, or on its way.
    pub fn answered(&mut self, action: &Asked) {
        let key = key_of(&**action);
        if self.waits(action) {
            self.remove(&key);
            self.answered.insert(action.uid().unwrap_or_default(), key);
        }
    }
}

#[cfg(test)]
mod tests;

//! The actions without an answer, in the order in which they are carried out: what stops and lowers before the rest, and
//! else as they were created.

use std::collections::{BTreeMap, HashMap, HashSet};

use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

use crate::api::MicroTime;
use crate::api::rolloutaction::RolloutAction;
use crate::controller::cache::{ObjectKey, Stored, key_of, version};
use crate::engine::Precedence;

/// An action as stored: readable, or why it is not.
pub type Asked = Stored<RolloutAction>;

/// Order of creation. Timestamps have whole seconds; within one the versions tell, which grow with every write.
type Order = (Option<MicroTime>, u64, String);

/// What is to be done for whom.
#[derive(Default)]
pub struct Book {
    /// By rollout.
    waiting: HashMap<ObjectKey, BTreeMap<Order, Asked>>,
    /// Where each action is in `waiting`.
    places: HashMap<ObjectKey, (ObjectKey, Order)>,
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

impl Book {
    /// Takes in an event of the watch.
    pub fn event(&mut self, event: Event<DeserializeGuard<RolloutAction>>) {
        match event {
            Event::Apply(action) | Event::InitApply(action) => self.take_in(action),
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
    }

    fn take_in(&mut self, action: DeserializeGuard<RolloutAction>) {
        let key = key_of(&action);
        let uid = action.uid().unwrap_or_default();
        if let Some(seen) = &mut self.listing {
            seen.insert(key.clone());
        }
        let is_answered =
            action.0.as_ref().is_ok_and(|a| a.status.as_ref().is_some_and(|status| status.answer.is_some()));
        if is_answered || self.answered.contains_key(&uid) {
            self.remove(&key);
            return;
        }
        let known = self.places.get(&key).and_then(|(rollout, order)| {
            let asked = self.waiting.get_mut(rollout)?.get_mut(order)?;
            (asked.uid().as_deref() == Some(uid.as_str())).then_some(asked)
        });
        if let Some(known) = known {
            // Labels may be edited; the place in the order stays.
            *known = action.into();
            return;
        }
        self.remove(&key);
        let created = action.meta().creation_timestamp.as_ref().map(|time| time.0.into());
        let order = (created, version(&action), key.1.clone());
        let rollout = rollout_of(&action);
        self.places.insert(key, (rollout.clone(), order.clone()));
        self.waiting.entry(rollout).or_default().insert(order, action.into());
    }

    fn remove(&mut self, key: &ObjectKey) {
        let Some((rollout, order)) = self.places.remove(key) else { return };
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
        let kept = self.places.len() + self.waiting.len() + self.answered.len();
        kept + self.at_work.len() + self.in_turn.len()
    }

    /// The rollouts to begin to work on now. Say [`Book::next`] for each until there is none.
    pub fn start(&mut self) -> Vec<ObjectKey> {
        if !self.listed {
            return Vec::new();
        }
        let idle: Vec<ObjectKey> =
            self.waiting.keys().filter(|rollout| !self.at_work.contains(*rollout)).cloned().collect();
        self.at_work.extend(idle.iter().cloned());
        idle
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
        self.places.get(&key_of(&**action)).is_some_and(|(rollout, order)| {
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
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::FeatureRolloutStatus;
    use crate::engine::{is_raising, precedence};

    fn action(name: &str, rollout: &str, created: &str, version: u64) -> DeserializeGuard<RolloutAction> {
        let object = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "RolloutAction",
            "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"),
                "creationTimestamp": created, "resourceVersion": version.to_string()},
            "spec": {"rolloutRef": {"name": rollout}, "action": "Pause", "reason": "test"},
        });
        serde_json::from_value(object).unwrap()
    }

    fn answered(name: &str, rollout: &str, version: u64) -> DeserializeGuard<RolloutAction> {
        let mut answered = action(name, rollout, EARLY, version);
        answered.0.as_mut().unwrap().status =
            Some(serde_json::from_value(json!({"observedGeneration": 1, "answer": "Applied"})).unwrap());
        answered
    }

    const EARLY: &str = "2026-01-01T00:00:00Z";
    const LATE: &str = "2026-01-01T00:00:01Z";

    fn rollout(name: &str) -> ObjectKey {
        ("ns".to_owned(), name.to_owned())
    }

    /// What stops and lowers whatever is served.
    fn rank(action: &RolloutAction) -> Rank {
        let status = FeatureRolloutStatus::default();
        Rank { precedence: precedence(&action.spec, &status), raises: is_raising(&action.spec, &status) }
    }

    /// Carries out everything that waits for a rollout.
    fn drain(book: &mut Book, name: &str) -> Vec<String> {
        let mut order = Vec::new();
        while let Some(next) = book.next(&rollout(name), rank) {
            order.push(next.asked.name_any());
            book.answered(&next.asked);
        }
        order
    }

    fn listed(actions: Vec<DeserializeGuard<RolloutAction>>) -> Book {
        let mut book = Book::default();
        book.event(Event::Init);
        for action in actions {
            book.event(Event::InitApply(action));
        }
        book.event(Event::InitDone);
        book
    }

    #[test]
    fn the_order_is_that_of_creation_whatever_the_names_and_the_list_say() {
        let mut book = listed(vec![
            action("a", "r", LATE, 12),
            action("b", "r", EARLY, 11),
            action("c", "r", EARLY, 9),
            action("d", "other", EARLY, 10),
        ]);
        let mut started = book.start();
        started.sort();
        assert_eq!(started, [rollout("other"), rollout("r")]);
        assert_eq!(book.start(), Vec::<ObjectKey>::new(), "both are at work");
        book.ended(&rollout("r"));
        assert_eq!(book.start(), [rollout("r")], "the work on it ended before its time");
        book.all_ended();
        assert_eq!(book.start().len(), 2);
        assert_eq!(drain(&mut book, "r"), ["c", "b", "a"]);
        assert_eq!(drain(&mut book, "other"), ["d"]);
    }

    /// One action a verb, in the order of creation.
    fn of_verbs(verbs: &[(&str, serde_json::Value)]) -> Book {
        let with = |(i, (name, spec)): (usize, &(&str, serde_json::Value))| {
            let mut action = action(name, "r", EARLY, i as u64 + 1);
            let mut json = json!({"rolloutRef": {"name": "r"}, "reason": "test"});
            json.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            action.0.as_mut().unwrap().spec = serde_json::from_value(json).unwrap();
            action
        };
        listed(verbs.iter().enumerate().map(with).collect())
    }

    #[test]
    fn what_stops_and_lowers_overtakes_the_rest_the_stronger_first() {
        let mut book = of_verbs(&[
            ("ack", json!({"action": "Acknowledge"})),
            ("retry", json!({"action": "Retry"})),
            ("pause", json!({"action": "Pause"})),
            ("ack-again", json!({"action": "Acknowledge"})),
            ("up", json!({"action": "SetPercent", "setPercent": {"a": 60}})),
            ("down", json!({"action": "SetPercent", "setPercent": {"a": 0}})),
            ("gradual", json!({"action": "Rollback", "rollback": {"mode": "Gradual"}})),
            ("of-a", json!({"action": "Rollback", "rollback": {"cohorts": ["a"]}})),
            ("all", json!({"action": "Rollback"})),
            ("pause-again", json!({"action": "Pause"})),
        ]);
        let order = drain(&mut book, "r");
        let lowering = ["all", "gradual", "of-a", "down", "pause", "pause-again"];
        assert_eq!(order[..6], lowering);
        assert_eq!(order[6..], ["ack", "retry", "ack-again", "up"], "the rest in the order of creation");
    }

    #[test]
    fn what_has_nothing_to_lower_yet_goes_in_its_turn_until_something_was_carried_out() {
        let mut book = of_verbs(&[
            ("retry", json!({"action": "Retry"})),
            ("ack", json!({"action": "Acknowledge"})),
            ("rollback", json!({"action": "Rollback"})),
        ]);
        let r = rollout("r");
        let next = |book: &mut Book| {
            book.next(&r, rank).map(|next| (next.asked.name_any(), next.overtakes, next.asked)).unwrap()
        };
        let (name, overtakes, asked) = next(&mut book);
        assert_eq!((name.as_str(), overtakes), ("rollback", true));
        book.goes_in_turn(&r, &asked);
        let (name, overtakes, asked) = next(&mut book);
        assert_eq!((name.as_str(), overtakes), ("retry", false));
        book.answered(&asked);
        book.carried_out(&r);
        assert_eq!(drain(&mut book, "r"), ["rollback", "ack"]);
        assert!(book.in_turn.is_empty());
    }

    #[test]
    fn nothing_begins_before_the_first_list_is_complete() {
        let mut book = Book::default();
        book.event(Event::Init);
        book.event(Event::InitApply(action("b", "r", LATE, 2)));
        assert_eq!(book.start(), Vec::<ObjectKey>::new());
        book.event(Event::InitApply(action("a", "r", EARLY, 1)));
        book.event(Event::InitDone);
        assert_eq!(book.start(), [rollout("r")]);
        assert_eq!(drain(&mut book, "r"), ["a", "b"]);
    }

    #[test]
    fn what_was_answered_does_not_come_back_by_a_late_event_or_list() {
        let mut book = listed(vec![action("a", "r", EARLY, 1)]);
        assert_eq!(book.start(), [rollout("r")]);
        assert_eq!(drain(&mut book, "r"), ["a"]);
        book.event(Event::Apply(action("a", "r", EARLY, 2)));
        book.event(Event::Init);
        book.event(Event::InitApply(action("a", "r", EARLY, 2)));
        book.event(Event::InitDone);
        assert_eq!(book.start(), Vec::<ObjectKey>::new());
        // Another object of the name is another action.
        book.event(Event::Delete(answered("a", "r", 3)));
        let mut again = action("a", "r", LATE, 4);
        again.0.as_mut().unwrap().metadata.uid = Some("another".to_owned());
        book.event(Event::Apply(again));
        assert_eq!(book.start(), [rollout("r")]);
    }

    #[test]
    fn an_edited_label_changes_no_order_and_an_answer_from_elsewhere_ends_it() {
        let mut book = listed(vec![action("a", "r", EARLY, 1), action("b", "r", EARLY, 2)]);
        book.event(Event::Apply(action("a", "r", EARLY, 3)));
        assert_eq!(book.next(&rollout("r"), rank).map(|next| version(&*next.asked)), Some(3));
        book.event(Event::Apply(answered("a", "r", 4)));
        assert_eq!(drain(&mut book, "r"), ["b"]);
        // One that a fresh list does not have was deleted meanwhile.
        let mut book = listed(vec![action("a", "r", EARLY, 1)]);
        book.event(Event::Init);
        book.event(Event::InitDone);
        assert_eq!(book.start(), Vec::<ObjectKey>::new());
    }
}

//! Announced changes: at their time they go into the file at once, and status follows.
//!
//! The log entry of such a change is `status.announced`, written ahead of time. What is left to do at its time is to see that
//! deciding afresh leads to exactly that, and that nobody has touched the rollout since: the file's writer reads its version
//! past every cache. From then on the change counts as decided, for everybody in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cache::ObjectKey;
use crate::api::{FeatureRollout, FeatureRolloutStatus};
use crate::clock;
use crate::flags;

/// How long, in real time, what only tells of a namespace's changes lets their statuses go first: a thousand take some five
/// seconds.
pub const GOES_FIRST: Duration = Duration::from_secs(8);

/// The changes on their way into a file whose statuses are still to be written.
#[derive(Default)]
pub struct Ahead {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    changes: HashMap<ObjectKey, Change>,
    /// How many of them there are of each namespace that has any, and since when it has had some.
    spaces: HashMap<String, (usize, Instant)>,
    /// How many actions are being judged, by rollout.
    held: HashMap<ObjectKey, usize>,
}

struct Change {
    /// The digest of the status that it was decided on.
    prior: Digest,
    /// The one to come.
    status: Arc<FeatureRolloutStatus>,
    /// Whether the writer has found the rollout untouched: then the file may hold it.
    confirmed: bool,
}

impl Change {
    /// The status to come, if it counts already and follows from the stored one.
    fn in_force(&self, rollout: &FeatureRollout) -> Option<Arc<FeatureRolloutStatus>> {
        (self.confirmed && self.prior == digest(rollout)).then(|| self.status.clone())
    }
}

impl Inner {
    fn set(&mut self, key: &ObjectKey, change: Change, now: Instant) {
        if self.changes.insert(key.clone(), change).is_none() {
            self.spaces.entry(key.0.clone()).or_insert((0, now)).0 += 1;
        }
    }

    fn remove(&mut self, key: &ObjectKey) {
        if self.changes.remove(key).is_some()
            && let Some((changes, _)) = self.spaces.get_mut(&key.0)
        {
            *changes = changes.saturating_sub(1);
            if *changes == 0 {
                self.spaces.remove(&key.0);
            }
        }
    }

    fn goes_first(&self, namespace: &str, now: Instant) -> bool {
        let since = self.spaces.get(namespace).map(|(_, since)| *since);
        since.is_some_and(|since| now.saturating_duration_since(since) < GOES_FIRST)
    }
}

/// The digest of a rollout's status, which takes the place of the rollout: thousands may step in the same second.
type Digest = Option<String>;

/// `None` for a status that cannot be written down, of which there is none.
fn digest(rollout: &FeatureRollout) -> Digest {
    serde_json::to_vec(&rollout.status).ok().map(|text| flags::sha256_hex(&text))
}

/// Keeps changes of a rollout from being confirmed until it is dropped.
pub struct Hold<'a>(&'a Ahead, ObjectKey);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        let left = inner.held.get(&self.1).map_or(0, |held| held.saturating_sub(1));
        match left {
            0 => inner.held.remove(&self.1),
            left => inner.held.insert(self.1.clone(), left),
        };
    }
}

impl Ahead {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a change of `prior` that is handed to the writer.
    pub fn set(&self, key: &ObjectKey, prior: &FeatureRollout, status: Arc<FeatureRolloutStatus>) {
        let prior = digest(prior);
        let mut inner = self.lock();
        inner.set(key, Change { prior, status, confirmed: false }, clock::monotonic());
    }

    /// Whether statuses of a namespace are still to be written, which what only tells of its changes lets go first: for no
    /// longer than eight seconds since the first of them was to be.
    pub fn goes_first(&self, namespace: &str) -> bool {
        self.lock().goes_first(namespace, clock::monotonic())
    }

    /// Confirms a change whose rollout is untouched; says whether it still is to be made.
    pub fn confirm(&self, key: &ObjectKey, revision: i64) -> bool {
        let mut inner = self.lock();
        if inner.held.contains_key(key) {
            return false;
        }
        let change = inner.changes.get_mut(key).filter(|change| change.status.revision == revision);
        change.map(|change| change.confirmed = true).is_some()
    }

    /// The rollout with the change that it is ahead by, if that is confirmed. One that is not is called off: what is decided
    /// now takes its place.
    pub fn overtake(&self, key: &ObjectKey, rollout: &FeatureRollout) -> Option<FeatureRollout> {
        let mut inner = self.lock();
        let in_force = inner.changes.get(key)?.in_force(rollout);
        if in_force.is_none() {
            inner.remove(key);
        }
        let status = Some((*in_force?).clone());
        Some(FeatureRollout { status, ..rollout.clone() })
    }

    /// The status that is in force although it is not stored yet, if there is one.
    pub fn status(&self, key: &ObjectKey, rollout: &FeatureRollout) -> Option<Arc<FeatureRolloutStatus>> {
        self.lock().changes.get(key)?.in_force(rollout)
    }

    /// Whether a change of the rollout is on its way, or in the file, and not in the stored status.
    pub fn is_under_way(&self, key: &ObjectKey) -> bool {
        self.lock().changes.contains_key(key)
    }

    /// Forgets a change: its status is written, or it is not to be made.
    pub fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.lock().changes.len()
    }

    /// Lets no change of the rollout be confirmed for a while: an action is about to say what it is based on.
    pub fn hold(&self, key: &ObjectKey) -> Hold<'_> {
        *self.lock().held.entry(key.clone()).or_insert(0) += 1;
        Hold(self, key.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn key() -> ObjectKey {
        ("ns".to_owned(), "r".to_owned())
    }

    fn rollout(revision: i64) -> FeatureRollout {
        let status = FeatureRolloutStatus { revision, ..FeatureRolloutStatus::default() };
        FeatureRollout { status: Some(status), ..FeatureRollout::new("r", Default::default()) }
    }

    /// Revision 2 on its way, decided on at revision 1.
    fn under_way() -> Ahead {
        let ahead = Ahead::default();
        ahead.set(&key(), &rollout(1), Arc::new(rollout(2).status.unwrap()));
        ahead
    }

    fn revision(rollout: Option<FeatureRollout>) -> Option<i64> {
        rollout.map(|rollout| rollout.status.unwrap().revision)
    }

    #[test]
    fn what_is_confirmed_counts_for_whoever_decides_next() {
        let ahead = under_way();
        assert!(!ahead.confirm(&key(), 3), "another change than the one that waits");
        assert!(ahead.status(&key(), &rollout(1)).is_none(), "not confirmed");
        assert!(ahead.confirm(&key(), 2) && ahead.confirm(&key(), 2));
        assert_eq!(ahead.status(&key(), &rollout(1)).map(|status| status.revision), Some(2));
        assert_eq!(revision(ahead.overtake(&key(), &rollout(1))), Some(2));
        assert!(ahead.is_under_way(&key()), "until its status is written");
        ahead.forget(&key());
        assert_eq!(revision(ahead.overtake(&key(), &rollout(1))), None);
    }

    #[test]
    fn what_is_not_confirmed_is_called_off_by_whoever_decides_next() {
        let ahead = under_way();
        assert_eq!(revision(ahead.overtake(&key(), &rollout(1))), None);
        assert!(!ahead.confirm(&key(), 2), "too late");
    }

    #[test]
    fn a_stored_status_of_somebody_else_replaces_what_was_confirmed() {
        let ahead = under_way();
        assert!(ahead.confirm(&key(), 2));
        assert_eq!(revision(ahead.overtake(&key(), &rollout(7))), None);
        assert!(!ahead.is_under_way(&key()));
    }

    #[test]
    fn statuses_go_before_what_tells_of_changes_in_their_namespace_and_not_for_ever() {
        let begun = clock::monotonic();
        let at = |ms| begun + Duration::from_millis(ms);
        let of = |name: &str| ("busy".to_owned(), name.to_owned());
        let change = || Change { prior: None, status: Arc::default(), confirmed: false };
        let mut inner = Inner::default();
        inner.set(&of("a"), change(), at(0));
        inner.set(&of("b"), change(), at(1000));
        inner.set(&of("b"), change(), at(2000));
        assert!(inner.goes_first("busy", at(2000)) && !inner.goes_first("other", at(2000)));
        inner.remove(&of("a"));
        inner.remove(&of("a"));
        assert!(inner.goes_first("busy", at(7999)), "another is still to be written");
        assert!(!inner.goes_first("busy", at(8000)), "however many come after the first");
        inner.remove(&of("b"));
        inner.set(&of("a"), change(), at(9000));
        assert!(inner.goes_first("busy", at(9000)), "it had caught up");
        inner.remove(&of("a"));
        assert!(!inner.goes_first("busy", at(9000)));
        assert!(inner.spaces.is_empty() && inner.changes.is_empty());
    }

    #[test]
    fn nothing_is_confirmed_while_an_action_is_being_judged() {
        let ahead = under_way();
        let (one, other) = (ahead.hold(&key()), ahead.hold(&key()));
        drop(one);
        assert!(!ahead.confirm(&key(), 2));
        drop(other);
        assert!(ahead.confirm(&key(), 2));
    }
}

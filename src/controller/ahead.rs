//! Announced changes: at their time they go into the file at once, and status follows.
//!
//! The log entry of such a change is `status.announced`, written ahead of time. What is left to do at its time is to see that
//! deciding afresh leads to exactly that, and that nobody has touched the rollout since: the file's writer reads its version
//! past every cache. From then on the change counts as decided, for everybody in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::cache::ObjectKey;
use crate::api::{FeatureRollout, FeatureRolloutStatus};
use crate::clock;
use crate::flags;

/// How long, in real time, what only tells of changes lets their statuses go first: a thousand take some five seconds.
const GOES_FIRST: Duration = Duration::from_secs(8);

/// The changes on their way into a file whose statuses are still to be written.
#[derive(Default)]
pub struct Ahead {
    inner: Mutex<Inner>,
    /// Rings when no change is left.
    caught_up: Notify,
}

#[derive(Default)]
struct Inner {
    changes: HashMap<ObjectKey, Change>,
    /// Since when there has been any.
    since: Option<Instant>,
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
        inner.changes.insert(key.clone(), Change { prior, status, confirmed: false });
        inner.since.get_or_insert_with(clock::monotonic);
    }

    fn remove(&self, inner: &mut Inner, key: &ObjectKey) {
        inner.changes.remove(key);
        if inner.changes.is_empty() {
            inner.since = None;
            self.caught_up.notify_waiters();
        }
    }

    /// Waits until every status is written, but for no longer than eight seconds since the first was to be.
    pub async fn until_caught_up(&self) {
        loop {
            let caught_up = self.caught_up.notified();
            let since = self.lock().since;
            let left = since.and_then(|since| GOES_FIRST.checked_sub(since.elapsed()));
            let Some(left) = left.filter(|left| !left.is_zero()) else { return };
            tokio::select! {
                () = caught_up => {}
                () = clock::sleep(left) => {}
            }
        }
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
            self.remove(&mut inner, key);
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
        self.remove(&mut self.lock(), key);
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

    #[tokio::test]
    async fn what_tells_of_changes_waits_for_their_statuses_and_not_for_ever() {
        let ahead = Arc::new(under_way());
        let waits = tokio::spawn({
            let ahead = ahead.clone();
            async move { ahead.until_caught_up().await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        ahead.forget(&key());
        waits.await.unwrap();
        ahead.until_caught_up().await;

        let ahead = under_way();
        ahead.lock().since = clock::monotonic().checked_sub(GOES_FIRST);
        ahead.until_caught_up().await;
        assert!(ahead.is_under_way(&key()), "it still is to be written");
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

//! The flags that find no room in a file, or cannot be written for another reason that people have to see to, and never were in it:
//! a file has a megabyte, and any number of rollouts may want to be in it. Of a few the flags wait; of the others it is known that
//! they want to, and they are asked again when there may be room.
//!
//! Whatever is in the file waits as it is: what lowers it must not be forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Offer, OfferKind};
use crate::controller::cache::ObjectKey;

/// Bytes of memory that such flags may take together: some hundred of the usual ones. The first one waits whatever it takes.
const WAITING: usize = 2 * 1024 * 1024;
/// What the flag of a rollout whose file is its own may take: there are as many such files as rollouts.
const WAITING_ALONE: usize = 32 * 1024;
/// After how long the others are asked, although nothing says that there is room.
const AGAIN: Duration = Duration::from_secs(300);
/// How many are asked at once: each is decided on and rendered anew, and most will find no room again.
const AT_ONCE: usize = 16;

/// The rollouts whose flags do not wait.
#[derive(Default)]
pub(super) struct PutOff {
    keys: BTreeSet<ObjectKey>,
    /// Those of them that are to be asked.
    due: BTreeSet<ObjectKey>,
    /// When they were asked last, or the first of them was put off.
    since: Option<Instant>,
    /// Bytes of the file when it was looked at last.
    size: usize,
}

impl PutOff {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len() + self.due.len()
    }

    /// Forgets a rollout that is gone.
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        self.keys.remove(key);
        self.due.remove(key);
    }

    /// Puts off what has no prospect (`fails`) beyond what may wait, and returns whom to ask now. `size` is how many bytes the
    /// file has, where that is known; `shared` whether it is that of a FlagSet.
    pub(super) fn look(
        &mut self,
        shared: bool,
        offers: &mut BTreeMap<ObjectKey, Offer>,
        fails: impl Fn(&ObjectKey) -> bool,
        size: Option<usize>,
        now: Instant,
    ) -> Vec<ObjectKey> {
        let (mut taken, mut some_wait) = (0_usize, false);
        let mut beyond = Vec::new();
        for (key, offer) in offers.iter().filter(|(key, offer)| was_never_in_the_file(offer) && fails(key)) {
            taken = taken.saturating_add(offer.load.weight());
            let too_many = match shared {
                true => some_wait && taken > WAITING,
                false => taken > WAITING_ALONE,
            };
            if too_many {
                beyond.push(key.clone());
            }
            some_wait = true;
        }
        for key in beyond {
            offers.remove(&key);
            self.due.remove(&key);
            self.keys.insert(key);
        }
        let has_room = size.is_some_and(|size| size < self.size) || !some_wait;
        self.size = size.unwrap_or(self.size);
        let since = *self.since.get_or_insert(now);
        if self.due.is_empty() && (has_room || now.saturating_duration_since(since) >= AGAIN) {
            self.due = std::mem::take(&mut self.keys);
            self.since = (!self.due.is_empty()).then_some(now);
        }
        let asked: Vec<ObjectKey> = self.due.iter().take(AT_ONCE).cloned().collect();
        self.due.retain(|key| !asked.contains(key));
        asked
    }
}

fn was_never_in_the_file(offer: &Offer) -> bool {
    offer.kind == OfferKind::Serve && !offer.urgent && offer.status.delivered_revision == 0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::api::FeatureRolloutStatus;
    use crate::clock::monotonic;
    use crate::flags::Fragment;
    use crate::plan::{Audience, feature_alone};

    fn key(index: usize) -> ObjectKey {
        ("ns".to_owned(), format!("r{index:03}"))
    }

    /// A flag of some half a megabyte, which was in the file at this revision.
    fn offer(delivered: i64) -> Offer {
        offer_of(500_000, delivered)
    }

    /// The same of so many bytes.
    fn offer_of(bytes: usize, delivered: i64) -> Offer {
        let rollout = crate::api::FeatureRollout::new(
            "r",
            serde_json::from_value(json!({"cohorts": [{"name": "all"}], "phases": []})).unwrap(),
        );
        let body = json!({"targeting": "x".repeat(bytes)});
        let (key, uid) = ("k".to_owned(), "u".to_owned());
        let fragment = Fragment {
            key,
            namespace: "ns".to_owned(),
            rollout: "r".to_owned(),
            uid: uid.clone(),
            revision: 1,
            body,
        };
        let status =
            FeatureRolloutStatus { delivered_revision: delivered, ..FeatureRolloutStatus::default() };
        let audience = Arc::new(Audience { name: String::new(), cohorts: Vec::new() });
        Offer::serve(uid, feature_alone(&rollout).unwrap(), audience, fragment, Arc::new(status))
    }

    #[test]
    fn of_many_that_find_no_room_few_wait_and_all_are_asked_again() {
        let (mut put_off, now) = (PutOff::default(), monotonic());
        let mut offers: BTreeMap<ObjectKey, Offer> = (0..100).map(|index| (key(index), offer(0))).collect();
        // Those that are in the file wait, however many they are.
        offers.extend((100..110).map(|index| (key(index), offer(7))));
        let mut look = |offers: &mut BTreeMap<ObjectKey, Offer>, size, after| {
            put_off.look(true, offers, |_| true, Some(size), now + Duration::from_secs(after))
        };
        assert_eq!(look(&mut offers, 900_000, 0), []);
        assert_eq!(offers.len(), 4 + 10);
        assert_eq!(look(&mut offers, 900_000, 60), [], "nothing has changed");
        // A flag leaves the file: each of the others is asked once, some at a time.
        let mut asked = Vec::new();
        asked.extend(look(&mut offers, 800_000, 61));
        assert_eq!(asked.len(), AT_ONCE);
        for second in 62..80 {
            asked.extend(look(&mut offers, 800_000, second));
        }
        assert_eq!(asked, (4..100).map(key).collect::<Vec<_>>());
        // They want to be in it still, and find no room again: that is tried after a while.
        offers.extend(asked.into_iter().map(|key| (key, offer(0))));
        assert_eq!(look(&mut offers, 800_000, 90), []);
        assert_eq!(offers.len(), 4 + 10);
        assert_eq!(look(&mut offers, 800_000, 360), []);
        assert_eq!(look(&mut offers, 800_000, 61 + 300).len(), AT_ONCE);
    }

    #[test]
    fn what_is_urgent_or_does_not_fail_is_never_put_off_and_who_is_gone_is_not_asked() {
        let (mut put_off, now) = (PutOff::default(), monotonic());
        let mut offers: BTreeMap<ObjectKey, Offer> = (0..20).map(|index| (key(index), offer(0))).collect();
        for offer in offers.values_mut() {
            offer.urgent = true;
        }
        assert_eq!(put_off.look(true, &mut offers, |_| true, Some(1), now), []);
        assert_eq!(put_off.look(true, &mut offers, |_| false, None, now), []);
        assert_eq!((offers.len(), put_off.len()), (20, 0));
        for offer in offers.values_mut() {
            offer.urgent = false;
        }
        put_off.look(true, &mut offers, |_| true, Some(1), now);
        assert_eq!((offers.len(), put_off.len()), (4, 16));
        // Those that waited are in the file, or gone.
        offers.clear();
        (4..18).for_each(|index| put_off.forget(&key(index)));
        assert_eq!(put_off.look(true, &mut offers, |_| true, Some(2), now), [key(18), key(19)]);
        assert_eq!(put_off.len(), 0);
    }

    #[test]
    fn a_large_flag_of_a_file_of_its_own_is_asked_for_again_instead_of_waiting() {
        let (mut put_off, now) = (PutOff::default(), monotonic());
        let mut offers = BTreeMap::from([(key(0), offer(0))]);
        assert_eq!(put_off.look(false, &mut offers, |_| true, None, now), []);
        assert_eq!((offers.len(), put_off.len()), (0, 1));
        assert_eq!(put_off.look(false, &mut offers, |_| true, None, now), [key(0)]);
        let mut offers = BTreeMap::from([(key(0), offer_of(1_000, 0))]);
        assert_eq!(put_off.look(false, &mut offers, |_| true, None, now), []);
        assert_eq!((offers.len(), put_off.len()), (1, 0));
    }
}

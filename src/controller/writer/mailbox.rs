//! What waits for one writer. It is there whether the writer is at work or not: one that has nothing to do ends, as there may be a file
//! for each of thousands of rollouts.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::put_off::PutOff;
use super::{Offer, OfferKind};
use crate::controller::cache::ObjectKey;

/// What waits for one writer.
#[derive(Default)]
pub(super) struct Mailbox {
    state: Mutex<Waiting>,
    /// Rings when something has come, and when nobody has the file any more.
    pub(super) changed: Notify,
    /// Rings when something urgent has come.
    hurried: Notify,
}

#[derive(Default)]
pub(super) struct Waiting {
    pub(super) offers: BTreeMap<ObjectKey, Offer>,
    /// Whether the file is to be looked at.
    pub(super) dirty: bool,
    pub(super) urgent: bool,
    /// Whether nobody has the file any more: its writer ends.
    pub(super) ended: bool,
    /// Whether the writer is at work.
    at_work: bool,
    /// When it last wrote.
    pub(super) last_write: Option<Instant>,
    /// Whose flags do not wait, as there would be too many.
    pub(super) put_off: PutOff,
}

impl Waiting {
    /// What is to be written now, if anything is. Nothing urgent waits for the looks that announced changes take: these
    /// come next.
    pub(super) fn take(&mut self) -> Option<BTreeMap<ObjectKey, Offer>> {
        if !self.dirty {
            return None;
        }
        let urgent = std::mem::take(&mut self.urgent);
        let later = |offer: &Offer| urgent && offer.ahead_of.is_some();
        self.dirty = self.offers.values().any(later);
        let now = self.offers.iter().filter(|(_, offer)| !later(offer));
        Some(now.map(|(key, offer)| (key.clone(), offer.clone())).collect())
    }

    /// Ends the work of a writer that has nothing to do; says whether that is so.
    pub(super) fn ends_work(&mut self) -> bool {
        if self.offers.is_empty() {
            // An empty tree keeps room for the next entries: 2 KB in each of thousands of mailboxes.
            self.offers = BTreeMap::new();
        }
        self.at_work &= self.dirty && !self.ended;
        !self.at_work
    }
}

impl Mailbox {
    pub(super) fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an offer, unless it is outdated or waits already. One that has failed before is tried again.
    pub(super) fn put(&self, key: &ObjectKey, mut offer: Offer, has_failed: bool) {
        let mut waiting = self.lock();
        let waits = waiting.offers.get(key);
        // A turn that was overtaken may hand over its older decision after the newer one.
        let outdated = |waits: &Offer| waits.uid == offer.uid && waits.revision > offer.revision;
        if offer.kind == OfferKind::Serve && waits.is_some_and(outdated) {
            return;
        }
        // What could not wait when it was decided on cannot wait when that is said again.
        let urgent = offer.urgent || waits.is_some_and(|waits| waits.is_same(&offer) && waits.urgent);
        offer.urgent = urgent;
        let taken = waits.is_some_and(|waits| waits.is_same(&offer) && waits.urgent == urgent);
        if taken && !has_failed {
            // It waits already, or is being written: a second look at the file would find nothing to do.
            return;
        }
        waiting.urgent |= offer.urgent;
        waiting.dirty = true;
        let is_urgent = offer.urgent;
        waiting.put_off.forget(key);
        waiting.offers.insert(key.clone(), offer);
        drop(waiting);
        if is_urgent {
            self.hurried.notify_waiters();
        }
        self.changed.notify_one();
    }

    /// Waits until something urgent has come that nobody has taken yet.
    pub(super) async fn until_urgent(&self) {
        loop {
            let hurried = self.hurried.notified();
            if self.lock().urgent {
                return;
            }
            hurried.await;
        }
    }

    /// Whether a writer is to begin its work: there is some, and none is at it. It is at work from now on.
    pub(super) fn begins_work(&self) -> bool {
        let mut waiting = self.lock();
        let begins = waiting.dirty && !waiting.at_work && !waiting.ended;
        waiting.at_work |= begins;
        begins
    }

    /// Has the file looked at.
    pub(super) fn poke(&self) {
        self.lock().dirty = true;
        self.changed.notify_one();
    }

    /// Forgets what a rollout that is gone wanted.
    pub(super) fn forget(&self, key: &ObjectKey) {
        let mut waiting = self.lock();
        waiting.offers.remove(key);
        waiting.put_off.forget(key);
    }

    /// Lets the writer end.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writer_is_at_work_for_as_long_as_there_is_something_to_do() {
        let mailbox = Mailbox::default();
        assert!(!mailbox.begins_work(), "there is nothing to do");
        mailbox.poke();
        assert!(mailbox.begins_work());
        assert!(!mailbox.begins_work(), "one is at work");
        assert!(!mailbox.lock().ends_work(), "it has taken nothing yet");
        assert!(mailbox.lock().take().is_some());
        mailbox.poke();
        assert!(!mailbox.lock().ends_work(), "something has come meanwhile");
        assert!(!mailbox.begins_work(), "and the one at work sees to it");
        assert!(mailbox.lock().take().is_some());
        assert!(mailbox.lock().ends_work());
        mailbox.poke();
        assert!(mailbox.begins_work(), "the next one begins");
        mailbox.end();
        assert!(mailbox.lock().ends_work());
        mailbox.poke();
        assert!(!mailbox.begins_work(), "nobody has the file any more");
    }
}

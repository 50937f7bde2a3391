//! When a watch listed its kind last, so that it can be said how new what is known of it is at least.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, watch};

use crate::clock;

/// The lists that a watch has made. Each is what the API server knew then, or later, past every cache.
pub struct Lists {
    begun: Mutex<Option<Instant>>,
    /// When the last one that is complete was begun.
    complete: watch::Sender<Option<Instant>>,
    again: Notify,
}

impl Default for Lists {
    fn default() -> Lists {
        Lists { begun: Mutex::default(), complete: watch::Sender::new(None), again: Notify::new() }
    }
}

impl Lists {
    /// Notes that a list is about to be asked for.
    pub fn begin(&self) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::monotonic());
    }

    /// Notes that the list is complete.
    pub fn end(&self) {
        let begun = *self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        self.complete.send_replace(begun);
    }

    /// Whether a list that was begun after `at` is complete.
    pub fn has_since(&self, at: Instant) -> bool {
        self.complete.borrow().is_some_and(|begun| begun > at)
    }

    /// Waits for a list that was begun after `at`.
    pub async fn since(&self, at: Instant) {
        let mut heard = self.complete.subscribe();
        // The sender outlives this.
        let _complete = heard.wait_for(|begun| begun.is_some_and(|begun| begun > at)).await;
    }

    /// Has the watch begun anew, with a list.
    pub fn ask(&self) {
        self.again.notify_one();
    }

    /// Waits until somebody wants the watch to begin anew.
    pub async fn asked(&self) {
        self.again.notified().await;
    }
}

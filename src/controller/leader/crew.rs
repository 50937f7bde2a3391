//! What those who stand for the shards in one process know of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::sync::watch;

use super::candidate::Around;
use super::note::Note;

/// Shared by all who stand for a shard in one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Crew {
    /// What the first Lease said when one of them read it last.
    note: watch::Sender<Option<Note>>,
    held: Arc<AtomicU16>,
    /// For what is to differ between processes.
    seed: u64,
}

impl Crew {
    /// Nobody knows anything yet.
    pub fn new(seed: u64) -> Crew {
        Crew { note: watch::Sender::new(None), held: Arc::default(), seed }
    }

    /// A number that is another one in another process.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What is known besides what one of them knows itself, who holds its Lease or does not.
    pub fn around(&self, holds: bool) -> Around {
        let held = self.held.load(Ordering::SeqCst).saturating_sub(u16::from(holds));
        Around { note: *self.note.borrow(), held }
    }

    /// Tells the others what the first Lease says.
    pub fn tell(&self, note: Note) {
        self.note.send_if_modified(|known| known.replace(note) != Some(note));
    }

    /// Hears of changes of what the first Lease says.
    pub fn hear(&self) -> watch::Receiver<Option<Note>> {
        self.note.subscribe()
    }

    /// Notes that one of them holds its Lease from now on, or no longer.
    pub fn note_held(&self, holds: bool) {
        if holds {
            self.held.fetch_add(1, Ordering::SeqCst);
        } else {
            self.held.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

//! The signs that a part of the process gives.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use super::verdict::{Doing, Signs};

/// The signs of a part as it gives them. Beats are kept with one added, so that 0 is none.
#[derive(Debug, Default)]
pub struct Pulse {
    turn: AtomicU64,
    heard: AtomicU64,
    resting: AtomicU32,
    fell: AtomicU64,
}

impl Pulse {
    /// Begins a turn, which lasts until what this returns is dropped.
    pub fn turn<'a>(&'a self, now: impl Fn() -> u64 + 'a) -> Ends<impl FnMut() + 'a> {
        self.turn.store(now() + 1, SeqCst);
        Ends(move || {
            self.heard.store(now() + 1, SeqCst);
            self.turn.store(0, SeqCst);
        })
    }

    /// Begins a rest, which lasts until what this returns is dropped. Several at once last until the last one.
    pub fn rest<'a>(&'a self, now: impl Fn() -> u64 + 'a) -> Ends<impl FnMut() + 'a> {
        self.resting.fetch_add(1, SeqCst);
        Ends(move || {
            // First, so that whoever sees no rest any more sees this.
            self.heard.store(now() + 1, SeqCst);
            self.resting.fetch_sub(1, SeqCst);
        })
    }

    /// Notes that it ended by a fault.
    pub fn fell(&self, now: u64) {
        self.fell.store(now + 1, SeqCst);
        self.heard.store(now + 1, SeqCst);
    }

    /// What is seen of it.
    pub fn signs(&self) -> Signs {
        let doing = match (self.turn.load(SeqCst), self.resting.load(SeqCst)) {
            (0, 0) => Doing::Waits(self.heard.load(SeqCst).saturating_sub(1)),
            (0, _) => Doing::Rests,
            (since, _) => Doing::Runs(since - 1),
        };
        Signs { doing, fell: self.fell.load(SeqCst).checked_sub(1) }
    }
}

/// Ends something when it is dropped.
pub struct Ends<F: FnMut()>(F);

impl<F: FnMut()> Drop for Ends<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_gives_signs_by_its_turns_and_rests() {
        let pulse = Pulse::default();
        assert_eq!(pulse.signs(), Signs { doing: Doing::Waits(0), fell: None });
        let turn = pulse.turn(|| 7);
        assert_eq!(pulse.signs().doing, Doing::Runs(7));
        let rest = pulse.rest(|| 9);
        assert_eq!(pulse.signs().doing, Doing::Runs(7), "a turn that does not end is no rest");
        drop(turn);
        assert_eq!(pulse.signs().doing, Doing::Rests);
        let other = pulse.rest(|| 12);
        drop(rest);
        assert_eq!(pulse.signs().doing, Doing::Rests, "one of two still lasts");
        drop(other);
        assert_eq!(pulse.signs().doing, Doing::Waits(12), "it was heard of when it ended");
        pulse.fell(13);
        assert_eq!(pulse.signs(), Signs { doing: Doing::Waits(13), fell: Some(13) });
    }
}

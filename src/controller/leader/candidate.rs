//! What a process does to write as one shard, as a state machine without a clock and without calls.
//!
//! The Lease of a shard is taken and renewed as that of a single leader is ([`Machine`]). With more than one shard that is not
//! enough: somebody may still write as one of another number of shards, to which the same namespaces belong otherwise. So the
//! first Lease says how many shards are in force, and:
//!
//! - whoever holds another Lease reads the first one *after* it has taken its own, and writes only if its number is in force;
//! - whoever takes the first Lease and wants another number says so in it, has whoever writes as one of the old number end, waits
//!   until all other Leases are released or surely nobody's ([`Clearing`]), and only then says that its own number is in force.
//!
//! A reader that saw the old number had taken its Lease before it was found to be free, so it is waited for; one that takes it later
//! sees the new one.

use std::time::Duration;

use super::clearing::{Clearing, Step};
use super::machine::{Answer, Call, Loss, Machine};
use super::note::Note;
use super::record::{Local, Record, Seen};
use super::shard::{Shard, Shards};
use super::timing::Timing;

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Make this call; it is given up after this time.
    Call(Ask, Duration),
    /// Nothing until then.
    WaitUntil(Local),
}

/// A call to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The number of the Lease.
    pub lease: u16,
    /// What is done to it.
    pub call: Call,
    /// What it is to say of the number of shards, where it is written.
    pub note: Option<Note>,
}

/// What a process knows besides the Lease of the shard.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around {
    /// What the first Lease said when any part of the process read it last.
    pub note: Option<Note>,
    /// How many other Leases the process holds.
    pub held: u16,
}

/// One process's standing for one shard.
#[derive(Clone, Debug)]
pub struct Candidate {
    shard: Shard,
    timing: Timing,
    machine: Machine,
    /// How long it lets others go first in any case, so that processes that begin together do not all want the same.
    rank: Duration,
    /// The term in which it was made sure that nobody writes as one of another number.
    sure: Option<u64>,
    /// The term that is to end because another number is wanted.
    ends: Option<u64>,
    /// Whether the Lease is to be released.
    lets_go: bool,
    /// Of the first shard: how the change to its number comes along.
    clearing: Option<Clearing>,
    /// The term in which it was done.
    clear: Option<u64>,
    /// When the first Lease is asked again.
    ask_at: Local,
}

impl Candidate {
    /// A process of this identity, which no other one may have, that has seen nothing yet. `seed` is the process's own.
    pub fn new(me: String, shard: Shard, timing: Timing, seed: u64) -> Candidate {
        let count = shard.shards().count();
        let place = (u64::from(shard.index()) + seed % u64::from(count)) % u64::from(count);
        let rank = timing.retry() / 8 * u32::try_from(place).unwrap_or(0);
        Candidate {
            shard,
            timing,
            machine: Machine::new(me, timing, seed.wrapping_add(shard.index().into())),
            rank,
            sure: None,
            ends: None,
            lets_go: false,
            clearing: None,
            clear: None,
            ask_at: Local::ZERO,
        }
    }

    /// Whether it holds its Lease.
    pub fn holds(&self, now: Local) -> bool {
        self.machine.leads_until(now).is_some()
    }

    /// Until when it may write, if it may.
    pub fn writes_until(&self, now: Local) -> Option<Local> {
        self.machine.leads_until(now).filter(|_| self.sure == Some(self.machine.term()))
    }

    /// The number of the present or the last term of holding the Lease; 0 before the first.
    pub fn term(&self) -> u64 {
        self.machine.term()
    }

    /// Whether the present term is to end in order. It goes on until [`Candidate::ended`].
    pub fn is_to_end(&self) -> bool {
        self.ends == Some(self.machine.term())
    }

    /// Says that nothing of the term writes any more: the Lease is released.
    pub fn ended(&mut self, now: Local) {
        self.lets_go = true;
        self.machine.wake(now);
    }

    /// Why the last term ended.
    pub fn lost(&self) -> Option<&Loss> {
        self.machine.lost()
    }

    /// What was seen of the Lease last.
    pub fn seen(&self) -> Option<&Seen> {
        self.machine.seen()
    }

    /// Hears that the Lease may have changed; `version` is what it has now, empty where it was deleted.
    pub fn hint(&mut self, version: &str, now: Local) {
        self.machine.hint(version, now);
    }

    /// Looks at once at what is to be done: what is known besides has changed.
    pub fn wake(&mut self, now: Local) {
        self.machine.wake(now);
        self.ask_at = self.ask_at.min(now);
    }

    /// Ends for good, and says how that is told to the others, if it is.
    pub fn resign(&mut self, now: Local) -> Option<Call> {
        self.machine.resign(now)
    }

    /// How a Lease is released that still is this process's.
    pub fn release(&self, record: &Record) -> Option<Call> {
        self.machine.release(record)
    }

    /// What to do now.
    pub fn next(&mut self, now: Local, around: Around) -> Todo {
        self.machine.wait_for_others(self.patience(around));
        let todo = self.machine.next(now);
        if let Some(ask) = self.parting(now, around) {
            return Todo::Call(ask, self.timing.retry());
        }
        match todo {
            super::machine::Todo::Call(call, bound) => Todo::Call(self.own(call, now), bound),
            super::machine::Todo::WaitUntil(until) if self.shard.index() == 0 => self.change(until, now),
            super::machine::Todo::WaitUntil(until) => self.make_sure(until, now),
        }
    }

    /// How long others go first to a Lease that is free: those that hold fewer, so that all hold about as many. Nothing where it is
    /// not to be taken at all.
    fn patience(&self, around: Around) -> Option<Duration> {
        if self.shard.is_whole() {
            return Some(Duration::ZERO);
        }
        let is_wanted = self.shard.index() == 0 || around.note == Some(Note::settled(self.shards()));
        let others = self.rank + self.timing.retry() * u32::from(around.held);
        is_wanted.then(|| others.min(self.timing.lease() / 3))
    }

    /// Gives the Lease up where another number is wanted. A term that writes is told to end first.
    fn parting(&mut self, now: Local, around: Around) -> Option<Ask> {
        if !self.holds(now) {
            self.lets_go = false;
            return None;
        }
        let is_unwanted = self.shard.index() > 0 && around.note.is_some_and(|note| note.ends(self.shards()));
        if is_unwanted && self.writes_until(now).is_some() {
            self.ends = Some(self.machine.term());
        } else if is_unwanted {
            self.lets_go = true;
        }
        let call = std::mem::take(&mut self.lets_go).then(|| self.machine.resign(now)).flatten()?;
        Some(Ask { lease: self.shard.index(), call, note: None })
    }

    fn own(&self, call: Call, now: Local) -> Ask {
        let note = match &call {
            Call::Look => None,
            _ if self.shard.index() > 0 => None,
            Call::Create(claim) if claim.holder.is_empty() => Some(self.nothing_known()),
            Call::Create(_) | Call::Put(..) => Some(self.to_say(now)),
        };
        Ask { lease: self.shard.index(), call, note }
    }

    /// What the first Lease says in the hands of this process.
    fn to_say(&self, now: Local) -> Note {
        let said = self.said();
        let own = Note::settled(self.shards());
        let is_clear = self.holds(now) && self.clear == Some(self.machine.term());
        let is_in_force = said.in_force() == Some(self.shards());
        if is_clear || is_in_force || self.writes_until(now).is_some() {
            own
        } else {
            said.then(self.shards())
        }
    }

    /// What the first Lease said when it was seen last.
    fn said(&self) -> Note {
        let seen = self.machine.seen().and_then(|seen| seen.record.as_ref());
        seen.map_or_else(|| self.nothing_known(), |record| record.note)
    }

    /// What a first Lease says that was not there. It may have been deleted while others held theirs; where there is one shard
    /// there are no others.
    fn nothing_known(&self) -> Note {
        if self.shard.is_whole() { Note::default() } else { Note::UNKNOWN }
    }

    /// Brings the number of this process into force, where that is to be done. Whoever does not hold the first Lease only looks.
    fn change(&mut self, until: Local, now: Local) -> Todo {
        let in_force = self.said().in_force();
        let wanted = self.shards();
        if in_force == Some(wanted) || self.writes_until(now).is_some() {
            self.clearing = None;
            return Todo::WaitUntil(until);
        }
        let term = self.holds(now).then(|| self.machine.term());
        if term.is_some() && self.clear == term {
            return Todo::WaitUntil(until);
        }
        let clearing = match &mut self.clearing {
            Some(clearing) if clearing.is_of(in_force, wanted) => clearing,
            other => other.insert(Clearing::new(in_force, wanted)),
        };
        match clearing.next(term, &self.timing, now) {
            Step::Call(lease, call) => Todo::Call(Ask { lease, call, note: None }, self.timing.retry()),
            Step::WaitUntil(at) => Todo::WaitUntil(until.min(at)),
            Step::Clear => {
                self.clear = term;
                self.machine.wake(now);
                Todo::WaitUntil(now)
            }
        }
    }

    /// Asks the first Lease how many shards are in force, once the own one is taken.
    fn make_sure(&mut self, until: Local, now: Local) -> Todo {
        if !self.holds(now) || self.writes_until(now).is_some() {
            return Todo::WaitUntil(until);
        }
        if now < self.ask_at {
            return Todo::WaitUntil(until.min(self.ask_at));
        }
        Todo::Call(Ask { lease: 0, call: Call::Look, note: None }, self.timing.retry())
    }

    /// Takes in what came of a call that was begun at `started`.
    pub fn answered(&mut self, ask: &Ask, started: Local, now: Local, answer: Answer) {
        let note = match &answer {
            Answer::Is(record) => Some(record.note),
            Answer::Missing | Answer::Conflict | Answer::Failed => None,
        };
        let is_in_force = note == Some(Note::settled(self.shards()));
        if ask.lease == self.shard.index() {
            self.machine.answered(&ask.call, started, now, answer);
            self.ask_at = now;
            let says_so = self.shard.index() == 0 && ask.call != Call::Look && is_in_force;
            if says_so && self.holds(now) {
                self.sure = Some(self.machine.term());
            }
        } else if self.shard.index() == 0 {
            if let Some(clearing) = &mut self.clearing {
                clearing.answered(ask.lease, answer, &self.timing, now);
            }
        } else if is_in_force && self.holds(now) {
            self.sure = Some(self.machine.term());
        } else {
            self.lets_go = note.is_some_and(|note| note.ends(self.shards()));
            self.ask_at = now.saturating_add(self.timing.retry() / 2);
        }
    }

    fn shards(&self) -> Shards {
        self.shard.shards()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

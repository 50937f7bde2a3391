//! What a process does about the Lease, as a state machine without a clock and without calls.
//!
//! Time is this process's own monotonic time: a Lease is taken when it has not changed for as long as its holder may lead,
//! seen from here. The clocks of two machines are never compared; they only have to run at about the same speed.

use std::time::Duration;

use super::record::{Local, RELEASED, Record, Seen};
use super::timing::Timing;

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Make this call; it is given up after this time.
    Call(Call, Duration),
    /// Nothing until then.
    WaitUntil(Local),
}

/// A call to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Read the Lease.
    Look,
    /// Create it, with a holder or without.
    Create(Claim),
    /// Write it over this version.
    Put(String, Claim),
}

/// What is written into the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who holds it; empty where nobody does.
    pub holder: String,
    /// For how many seconds.
    pub seconds: i32,
    /// How often it has changed hands.
    pub transitions: i32,
    /// Whether it changes hands by this.
    pub is_new: bool,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The Lease, as it was read or as it is after the write.
    Is(Record),
    /// There is none.
    Missing,
    /// Somebody else has written it since.
    Conflict,
    /// Nobody knows whether it was done.
    Failed,
}

/// Why a process does not lead any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The lead could not be renewed in time.
    Deadline,
    /// The Lease names this holder, or nobody where it is empty.
    Taken(String),
}

/// The state of one process.
#[derive(Clone, Debug)]
pub struct Machine {
    me: String,
    timing: Timing,
    seen: Option<Seen>,
    /// Whether what was seen is to be written over without another look.
    is_current: bool,
    /// Until when this process leads.
    leads_until: Option<Local>,
    /// How often it has begun to lead.
    terms: u64,
    lost: Option<Loss>,
    /// When the next call is due.
    next: Local,
    /// Conflicts without anything else between them.
    conflicts: u32,
    /// How long it lets others take a free Lease first; nothing where it takes none.
    patience: Option<Duration>,
    dice: u64,
}

impl Machine {
    /// A process of this identity, which no other one may have, that has seen nothing yet. `seed` is for the jitter.
    pub fn new(me: String, timing: Timing, seed: u64) -> Machine {
        Machine {
            me,
            timing,
            seen: None,
            is_current: false,
            leads_until: None,
            terms: 0,
            lost: None,
            next: Local::ZERO,
            conflicts: 0,
            patience: Some(Duration::ZERO),
            dice: seed,
        }
    }

    /// Says how long it lets others take a free Lease first; nothing where it is to take none. One that leads goes on.
    pub fn wait_for_others(&mut self, patience: Option<Duration>) {
        self.patience = patience;
    }

    /// Has what is to be done looked at now, whenever it was due.
    pub fn wake(&mut self, now: Local) {
        self.next = self.next.min(now);
    }

    /// Until when this process leads, if it leads.
    pub fn leads_until(&self, now: Local) -> Option<Local> {
        self.leads_until.filter(|until| now < *until)
    }

    /// The number of the present or the last term of leading; 0 before the first.
    pub fn term(&self) -> u64 {
        self.terms
    }

    /// Why the last term ended.
    pub fn lost(&self) -> Option<&Loss> {
        self.lost.as_ref()
    }

    /// What was seen of the Lease last.
    pub fn seen(&self) -> Option<&Seen> {
        self.seen.as_ref()
    }

    /// What to do now.
    pub fn next(&mut self, now: Local) -> Todo {
        self.expire(now);
        if now < self.next {
            return Todo::WaitUntil(self.leads_until.map_or(self.next, |until| until.min(self.next)));
        }
        let bound = match self.leads_until {
            Some(until) => self.timing.call().min(until.saturating_sub(now)),
            None => self.timing.call(),
        };
        Todo::Call(self.call(now), bound)
    }

    fn call(&self, now: Local) -> Call {
        let seen = match &self.seen {
            Some(seen) if self.is_current => seen,
            _ => return Call::Look,
        };
        if self.leads_until.is_none() && self.takes_at(seen).is_none_or(|at| now < at) {
            return Call::Look;
        }
        if self.leads_until.is_none() && seen.record.is_none() {
            // It may have been deleted under a living leader, and between two looks at nothing it may have been there. So
            // one without a holder is made first: that is taken when it has not changed for long enough, as any other.
            let vacant =
                Claim { holder: String::new(), seconds: self.timing.seconds(), transitions: 0, is_new: true };
            return Call::Create(vacant);
        }
        let is_new = !seen.is_held_by(&self.me);
        let before = seen.record.as_ref().and_then(|record| record.transitions).unwrap_or(0).max(0);
        let claim = Claim {
            holder: self.me.clone(),
            seconds: self.timing.seconds(),
            transitions: before.saturating_add(i32::from(is_new && seen.record.is_some())),
            is_new,
        };
        match seen.version() {
            Some(version) => Call::Put(version.to_owned(), claim),
            None => Call::Create(claim),
        }
    }

    /// Takes in what came of a call that was begun at `started`.
    pub fn answered(&mut self, call: &Call, started: Local, now: Local, answer: Answer) {
        self.expire(now);
        let (is_conflict, has_failed) = (answer == Answer::Conflict, answer == Answer::Failed);
        match answer {
            Answer::Is(record) => {
                let is_mine = record.holder == self.me;
                self.see(Some(record), now);
                match call {
                    Call::Look => {}
                    // From before the request: it may have taken effect at once.
                    Call::Create(_) | Call::Put(..) if is_mine => return self.lead(started, now),
                    Call::Create(_) | Call::Put(..) => {}
                }
            }
            Answer::Missing => self.see(None, now),
            Answer::Conflict => self.is_current = false,
            // A renewal is tried again over the same version: whoever wrote since is noticed by that.
            Answer::Failed => self.is_current &= self.leads_until.is_some(),
        }
        if *call != Call::Look {
            self.conflicts = if is_conflict { self.conflicts + 1 } else { 0 };
        }
        self.next = now.saturating_add(match (is_conflict, self.leads_until) {
            // At once, and not for ever without a pause where somebody writes it all the time.
            (true, _) if self.conflicts < 2 => Duration::ZERO,
            (true, _) => self.timing.retry() / 4,
            (false, Some(_)) if has_failed => self.timing.retry() / 2,
            // What it has seen instead of its own is written anew.
            (false, Some(_)) => Duration::ZERO,
            (false, None) => self.until_next_look(now),
        });
    }

    /// How long a candidate waits for its next look, or until it takes the Lease.
    fn until_next_look(&mut self, now: Local) -> Duration {
        let pause = self.pause();
        let seen = self.seen.as_ref().filter(|_| self.is_current);
        let takes_at = seen.and_then(|seen| self.takes_at(seen));
        takes_at.map_or(pause, |at| at.saturating_sub(now).min(pause))
    }

    /// When it takes a Lease that stays as it was seen.
    fn takes_at(&self, seen: &Seen) -> Option<Local> {
        self.patience.map(|patience| seen.free_at().saturating_add(patience))
    }

    /// Hears that the Lease may have changed; `version` is what it has now, empty where it was deleted.
    pub fn hint(&mut self, version: &str, now: Local) {
        let known = self.seen.as_ref().and_then(Seen::version).unwrap_or_default();
        let is_older = |(heard, known): (u64, u64)| heard < known;
        let versions = version.parse().ok().zip(known.parse().ok());
        if known != version && !versions.is_some_and(is_older) {
            self.is_current = false;
            self.next = self.next.min(now);
        }
    }

    /// Ends leading for good, and says how that is told to the others, if it is.
    pub fn resign(&mut self, now: Local) -> Option<Call> {
        self.expire(now);
        let led = self.leads_until.take().is_some();
        let record = self.seen.as_ref().filter(|_| led)?.record.as_ref()?;
        self.release(record)
    }

    /// How a Lease is released that still is this process's.
    pub fn release(&self, record: &Record) -> Option<Call> {
        let claim = Claim {
            holder: String::new(),
            seconds: RELEASED,
            transitions: record.transitions.unwrap_or(0).max(0),
            is_new: false,
        };
        (record.holder == self.me).then(|| Call::Put(record.version.clone(), claim))
    }

    fn see(&mut self, record: Option<Record>, now: Local) {
        let seen = Seen::next(self.seen.as_ref(), record, &self.timing, now);
        // Of a Lease that was deleted the leader's time goes on, and it creates it again.
        if let Some(record) = &seen.record
            && record.holder != self.me
        {
            let holder = record.holder.clone();
            self.lose(Loss::Taken(holder));
        }
        self.is_current = true;
        self.seen = Some(seen);
    }

    fn lead(&mut self, started: Local, now: Local) {
        self.conflicts = 0;
        let until = started.saturating_add(self.timing.renew());
        if until <= now {
            // The answer took too long: it is written anew.
            self.next = now;
            return;
        }
        if self.leads_until.is_none() {
            self.terms += 1;
            self.lost = None;
        }
        self.leads_until = Some(until);
        self.next = started.saturating_add(self.timing.retry()).max(now);
    }

    /// Ends a lead that was not renewed in time.
    fn expire(&mut self, now: Local) {
        if self.leads_until.is_some_and(|until| until <= now) {
            self.lose(Loss::Deadline);
            self.next = now;
        }
    }

    fn lose(&mut self, why: Loss) {
        if self.leads_until.take().is_some() {
            self.lost = Some(why);
            self.is_current = false;
        }
    }

    /// The retry period and up to a fifth more, so that candidates do not all look at once.
    fn pause(&mut self) -> Duration {
        // xorshift64*, never from 0.
        let mut dice = self.dice.max(1);
        dice ^= dice >> 12;
        dice ^= dice << 25;
        dice ^= dice >> 27;
        self.dice = dice;
        let percent = (dice.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % 21;
        let retry = self.timing.retry();
        retry + retry / 100 * u32::try_from(percent).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world_tests;

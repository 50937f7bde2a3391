//! How whoever holds the first Lease makes sure that nobody writes as one of another number of shards: by finding all other Leases
//! released, after the first one has said that another number is to follow.
//!
//! Whoever takes one of them later asks the first Lease before it writes. So what is found released once needs no second look,
//! and one that is found held is waited for as by anybody who wants to take it: until its holder has released it, or has surely
//! stopped.

use std::collections::BTreeMap;

use super::machine::{Answer, Call, Claim};
use super::record::{Local, RELEASED, Record, Seen};
use super::shard::Shards;
use super::timing::Timing;

/// The other Leases, as they are found.
#[derive(Clone, Debug)]
pub struct Clearing {
    in_force: Option<Shards>,
    wanted: Shards,
    leases: BTreeMap<u16, Lease>,
    /// The term of holding the first Lease for which it is done. What was found before says nothing: the others may have been
    /// taken since.
    term: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Lease {
    /// What it was, where it was there.
    seen: Option<Seen>,
    absent_since: Option<Local>,
    /// Whether it was so in this term.
    is_fresh: bool,
    /// When it is looked at again.
    look_at: Local,
    is_clear: bool,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make this call to the Lease with this number.
    Call(u16, Call),
    /// Nothing until then.
    WaitUntil(Local),
    /// Nobody writes as one of another number.
    Clear,
}

impl Clearing {
    /// From the number in force, where that is known, to another one. Nothing is known of the Leases yet.
    pub fn new(in_force: Option<Shards>, wanted: Shards) -> Clearing {
        let most = in_force.unwrap_or(Shards::MOST).max(wanted).count();
        let leases = (1..most).map(|index| (index, Lease::default())).collect();
        Clearing { in_force, wanted, leases, term: None }
    }

    /// Whether it is about this change.
    pub fn is_of(&self, in_force: Option<Shards>, wanted: Shards) -> bool {
        self.in_force == in_force && self.wanted == wanted
    }

    /// What comes next in a term of holding the first Lease; without one the Leases are looked at, so that it is known how
    /// long they have not changed.
    pub fn next(&mut self, term: Option<u64>, timing: &Timing, now: Local) -> Step {
        if self.term != term {
            self.term = term;
            for lease in self.leases.values_mut() {
                (lease.is_fresh, lease.is_clear, lease.look_at) = (false, false, now);
            }
        }
        let mut wait = None;
        for (index, lease) in &mut self.leases {
            if lease.is_clear {
                continue;
            }
            let (mut at, mut call) = (lease.look_at, Call::Look);
            if lease.is_fresh && term.is_some() {
                // Nobody who writes as one of those in force has ever held it.
                let is_unused = self.in_force.is_some_and(|in_force| *index >= in_force.count());
                let free_at = lease.free_at(is_unused, timing);
                if free_at <= now {
                    let Some(release) = lease.release(*index < self.wanted.count()) else {
                        lease.is_clear = true;
                        continue;
                    };
                    (at, call) = (now, release);
                } else {
                    at = at.min(free_at);
                }
            }
            if at <= now {
                return Step::Call(*index, call);
            }
            wait = Some(wait.map_or(at, |wait: Local| wait.min(at)));
        }
        match wait {
            Some(at) => Step::WaitUntil(at),
            None if term.is_some() => Step::Clear,
            None => Step::WaitUntil(now.saturating_add(timing.retry())),
        }
    }

    /// Takes in what came of a call.
    pub fn answered(&mut self, index: u16, answer: Answer, timing: &Timing, now: Local) {
        let Some(lease) = self.leases.get_mut(&index) else { return };
        lease.is_fresh = true;
        match answer {
            Answer::Is(record) => {
                lease.seen = Some(Seen::next(lease.seen.as_ref(), Some(record), timing, now));
                lease.absent_since = None;
            }
            Answer::Missing => {
                lease.seen = None;
                lease.absent_since.get_or_insert(now);
            }
            // It may be as it was, or not.
            Answer::Conflict | Answer::Failed => lease.is_fresh = false,
        }
        // While somebody waits for its holder, a release is to be seen soon.
        let pace = if self.term.is_some() { timing.retry() / 4 } else { timing.retry() };
        lease.look_at = now.saturating_add(pace);
    }
}

impl Lease {
    /// From when on nobody who does not know of the change writes by it. One that is not there may have been deleted by hand under
    /// its holder.
    fn free_at(&self, is_unused: bool, timing: &Timing) -> Local {
        match (&self.seen, self.absent_since) {
            (Some(seen), _) => seen.free_at(),
            (None, Some(since)) if !is_unused => since.saturating_add(timing.lease()),
            (None, _) => Local::ZERO,
        }
    }

    /// How one that is free is made one that anybody may take, where it is `wanted`; nothing where it is as it should be.
    fn release(&self, wanted: bool) -> Option<Call> {
        let record = self.seen.as_ref().and_then(|seen| seen.record.as_ref());
        let claim = |record: Option<&Record>| Claim {
            holder: String::new(),
            seconds: RELEASED,
            transitions: record.and_then(|record| record.transitions).unwrap_or(0).max(0),
            is_new: false,
        };
        match record {
            Some(record) if record.is_released() => None,
            Some(record) => Some(Call::Put(record.version.clone(), claim(Some(record)))),
            None => wanted.then(|| Call::Create(claim(None))),
        }
    }
}

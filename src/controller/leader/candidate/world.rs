//! A world for tests: processes with clocks of different speeds that stand for shards, not all for as many of them, and Leases that
//! they ask for by calls that are slow or lost.

use std::collections::BTreeMap;

use super::*;
use crate::controller::leader::record::RELEASED;

/// Milliseconds from one look at the world to the next.
const TICK: u64 = 20;

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    /// Milliseconds until the API server does it.
    pub there: u64,
    /// Milliseconds from then until the answer is back.
    pub back: u64,
    /// Whether it never gets there, or the answer never comes back.
    pub lost: Option<bool>,
}

pub const SMOOTH: Fate = Fate { there: 5, back: 5, lost: None };

/// What happens besides.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// Somebody deletes a Lease.
    Delete(u16),
    /// A process stands still for so many milliseconds, as at a SIGSTOP.
    Stop(usize, u64),
    /// kill -9, and another one is started, which wants so many shards.
    Kill(usize, u16),
    /// SIGTERM, and another one is started.
    End(usize, u16),
}

/// A call that is under way.
struct Calling {
    ask: Ask,
    /// When it was begun, and when it is given up, by the clock of its process.
    started: Local,
    ends: Local,
    /// When its answer is back, in real time, and the answer.
    heard: Option<(u64, Answer)>,
}

struct Standing {
    candidate: Candidate,
    calling: Option<Calling>,
    /// Until when it sleeps, by the clock of its process, unless it is woken: as it says itself, so that it cannot oversleep.
    sleeps: Local,
    /// The term whose gate is closed.
    closed: u64,
    /// When the present term has finished what was under way, in real time.
    drained: Option<u64>,
}

pub struct Process {
    pub shards: Shards,
    standing: Vec<Standing>,
    note: Option<Note>,
    /// Its clock's speed, in per cent, and what it showed at the beginning.
    speed: u64,
    origin: u64,
    still_until: u64,
    /// Which of all processes there ever were it is.
    serial: u64,
}

impl Process {
    fn local(&self, now: u64) -> Local {
        Duration::from_millis(self.origin + now * self.speed / 100)
    }

    /// The shards that it may write as.
    pub fn writes(&self, now: u64) -> Vec<Shard> {
        self.writes_without(None, now)
    }

    fn writes_without(&self, dropped: Option<Guard>, now: u64) -> Vec<Shard> {
        let local = self.local(now);
        let may = |of: &Standing| match dropped {
            Some(Guard::AsksTheFirst) => of.candidate.holds(local),
            _ => of.candidate.writes_until(local).is_some(),
        };
        let open = |of: &&Standing| may(of) && of.closed != of.candidate.term();
        self.standing.iter().filter(open).map(|of| of.candidate.shard).collect()
    }
}

/// What keeps a namespace from having two writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Whoever holds a Lease writes only once the first one says that its number is in force.
    AsksTheFirst,
    /// Whoever brings a number into force waits until the other Leases are released.
    WaitsForTheOthers,
}

pub struct World {
    pub now: u64,
    pub leases: BTreeMap<u16, Record>,
    version: u64,
    pub processes: Vec<Process>,
    on_their_way: Vec<(u64, u64, u16, Ask, Option<u64>)>,
    fates: Vec<Fate>,
    drawn: usize,
    begun: u64,
    /// How long a term that is to end takes for that.
    pub draining: u64,
    /// Whether processes hear at once of what changes.
    pub hears: bool,
    /// The guard that is dropped, to see that the lack of it would be noticed.
    pub dropped: Option<Guard>,
    /// The namespaces that are looked at, since when nobody writes there, and the longest such time.
    gaps: BTreeMap<String, (Option<u64>, u64)>,
}

impl World {
    /// Processes with these numbers of shards, speeds in per cent, and what their clocks show at first in milliseconds.
    pub fn new(processes: &[(u16, u64, u64)], fates: Vec<Fate>) -> World {
        let mut world = World {
            now: 0,
            leases: BTreeMap::new(),
            version: 0,
            processes: Vec::new(),
            on_their_way: Vec::new(),
            fates,
            drawn: 0,
            begun: 0,
            draining: 300,
            hears: false,
            dropped: None,
            gaps: BTreeMap::new(),
        };
        for (shards, speed, origin) in processes {
            let process = world.process(*shards, *speed, *origin);
            world.processes.push(process);
        }
        world
    }

    fn process(&mut self, shards: u16, speed: u64, origin: u64) -> Process {
        self.begun += 1;
        let shards = Shards::new(shards).unwrap();
        let (serial, timing) = (self.begun, Timing::default());
        let standing = shards.each().map(|shard| Standing {
            candidate: Candidate::new(format!("process-{serial}"), shard, timing, serial),
            calling: None,
            sleeps: Local::ZERO,
            closed: 0,
            drained: None,
        });
        let standing = standing.collect();
        Process { shards, standing, note: None, speed, origin, still_until: 0, serial }
    }

    /// Has all of them be the only ones, with a first Lease that says that so many shards are in force, and that is free.
    pub fn in_force(mut self, shards: u16) -> World {
        let note = Note::settled(Shards::new(shards).unwrap());
        self.version += 1;
        let record = Record { version: "1".to_owned(), seconds: Some(RELEASED), note, ..Record::default() };
        self.leases.insert(0, record);
        self
    }

    fn serve(&mut self, shard: u16, ask: &Ask) -> Answer {
        if self.dropped == Some(Guard::WaitsForTheOthers) && shard == 0 && ask.lease > 0 {
            return Answer::Is(Record { seconds: Some(RELEASED), ..Record::default() });
        }
        let stored = self.leases.get(&ask.lease).cloned();
        let (claim, before) = match (&ask.call, stored) {
            (Call::Look, Some(record)) => return Answer::Is(record),
            (Call::Look | Call::Put(..), None) => return Answer::Missing,
            (Call::Create(_), Some(_)) => return Answer::Conflict,
            (Call::Put(over, _), Some(record)) if *over != record.version => return Answer::Conflict,
            (Call::Create(claim), None) => (claim, Record::default()),
            (Call::Put(_, claim), Some(record)) => (claim, record),
        };
        self.version += 1;
        let record = Record {
            version: self.version.to_string(),
            holder: claim.holder.clone(),
            seconds: Some(claim.seconds),
            transitions: Some(claim.transitions),
            note: ask.note.unwrap_or(before.note),
        };
        self.leases.insert(ask.lease, record.clone());
        if self.hears {
            for process in &mut self.processes {
                let local = process.local(self.now);
                if let Some(standing) = process.standing.get_mut(usize::from(ask.lease)) {
                    standing.candidate.hint(&record.version, local);
                    standing.sleeps = Local::ZERO;
                }
            }
        }
        Answer::Is(record)
    }

    fn fate(&mut self) -> Fate {
        self.drawn += 1;
        self.fates[self.drawn % self.fates.len()]
    }

    /// From now on every call is answered at once.
    pub fn smooth(&mut self) {
        self.fates = vec![SMOOTH];
    }

    pub fn trouble(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::Delete(lease) => drop(self.leases.remove(lease)),
            Trouble::Stop(i, length) => self.processes[*i].still_until = self.now + length,
            Trouble::Kill(i, shards) => self.replace(*i, *shards),
            Trouble::End(i, shards) => {
                for k in 0..self.processes[*i].standing.len() {
                    let local = self.processes[*i].local(self.now);
                    let serial = self.processes[*i].serial;
                    let Some(call) = self.processes[*i].standing[k].candidate.resign(local) else { continue };
                    let Fate { there, lost, .. } = self.fate();
                    let lease = u16::try_from(k).unwrap();
                    let ask = Ask { lease, call, note: None };
                    if lost != Some(true) {
                        self.on_their_way.push((self.now + there, serial, lease, ask, None));
                    }
                }
                self.replace(*i, *shards);
            }
        }
    }

    fn replace(&mut self, i: usize, shards: u16) {
        let (speed, origin) = (self.processes[i].speed, self.processes[i].origin);
        // What it has asked for may still be done; nobody hears of it, as it has another number.
        self.processes[i] = self.process(shards, speed, origin);
    }

    fn step(&mut self) {
        let now = self.now;
        let there: Vec<_> = self.on_their_way.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, serial, shard, ask, back) in there {
            let answer = self.serve(shard, &ask);
            let Some(process) = self.processes.iter_mut().find(|process| process.serial == serial) else {
                continue;
            };
            let calling = &mut process.standing[usize::from(shard)].calling;
            if let (Some(back), Some(calling)) = (back, calling)
                && calling.ask == ask
            {
                calling.heard = Some((now + back, answer));
            }
        }
        for i in 0..self.processes.len() {
            if self.processes[i].still_until <= now {
                for k in 0..self.processes[i].standing.len() {
                    self.turn(i, k);
                }
            }
        }
        self.look();
    }

    fn turn(&mut self, i: usize, k: usize) {
        let now = self.now;
        let process = &mut self.processes[i];
        let local = process.local(now);
        let standing = &mut process.standing[k];
        if let Some(calling) = standing.calling.take() {
            let answer = match calling.heard {
                Some((at, answer)) if at <= now => answer,
                _ if calling.ends <= local => Answer::Failed,
                heard => {
                    standing.calling = Some(Calling { heard, ..calling });
                    return;
                }
            };
            let note = match &answer {
                Answer::Is(record) => Some(record.note),
                Answer::Missing if process.shards != Shards::ONE => Some(Note::UNKNOWN),
                _ => process.note,
            };
            standing.candidate.answered(&calling.ask, calling.started, local, answer);
            standing.sleeps = Local::ZERO;
            if calling.ask.lease == 0 && note != process.note {
                process.note = note;
                // The first one's is told by its own calls.
                for other in process.standing.iter_mut().skip(1) {
                    other.candidate.wake(local);
                    other.sleeps = Local::ZERO;
                }
            }
        }
        let standing = &mut process.standing[k];
        let candidate = &mut standing.candidate;
        let writes = candidate.writes_until(local).is_some();
        if candidate.is_to_end() && writes && standing.closed != candidate.term() {
            let drained = *standing.drained.get_or_insert(now + self.draining);
            if drained <= now {
                (standing.closed, standing.drained) = (candidate.term(), None);
                candidate.ended(local);
                standing.sleeps = Local::ZERO;
            }
        } else {
            standing.drained = None;
        }
        if local < standing.sleeps {
            return;
        }
        let others = process.standing.iter().enumerate().filter(|(other, _)| *other != k);
        let held = others.filter(|(_, of)| of.candidate.holds(local)).count();
        let around = Around { note: process.note, held: u16::try_from(held).unwrap() };
        let standing = &mut process.standing[k];
        let todo = standing.candidate.next(local, around);
        if let Todo::WaitUntil(until) = todo {
            standing.sleeps = until;
        }
        if let Todo::Call(ask, bound) = todo {
            let serial = process.serial;
            standing.calling =
                Some(Calling { ask: ask.clone(), started: local, ends: local + bound, heard: None });
            let Fate { there, back, lost } = self.fate();
            if lost != Some(true) {
                let back = lost.is_none().then_some(back);
                self.on_their_way.push((now + there, serial, u16::try_from(k).unwrap(), ask, back));
            }
        }
    }

    /// Who may write now.
    pub fn writers(&self) -> Vec<(u64, Shard)> {
        let of = |process: &Process| {
            let serial = process.serial;
            process.writes_without(self.dropped, self.now).into_iter().map(move |shard| (serial, shard))
        };
        self.processes.iter().flat_map(of).collect()
    }

    /// Nobody may write where another one may.
    fn look(&mut self) {
        let writers = self.writers();
        for (i, (_, one)) in writers.iter().enumerate() {
            for (_, other) in &writers[..i] {
                let meet = one.shards() != other.shards() || one.index() == other.index();
                assert!(!meet, "at {} ms there are {writers:?}, with {:?}", self.now, self.leases);
            }
        }
        for (namespace, (since, longest)) in &mut self.gaps {
            if writers.iter().any(|(_, shard)| shard.owns(namespace)) {
                *since = None;
            } else {
                let since = *since.get_or_insert(self.now);
                *longest = (*longest).max(self.now - since + TICK);
            }
        }
    }

    /// Measures from now on for how long nobody writes in these namespaces.
    pub fn watch(&mut self, namespaces: &[&str]) {
        self.gaps = namespaces.iter().map(|namespace| ((*namespace).to_owned(), (None, 0))).collect();
    }

    /// The longest time for which nobody has written in one of them.
    pub fn longest_gap(&self) -> u64 {
        self.gaps.values().map(|(_, longest)| *longest).max().unwrap()
    }

    /// Runs until then, with what happens at its times.
    pub fn run(&mut self, until: u64, troubles: &[(u64, Trouble)]) {
        while self.now < until {
            let at = |time: &u64| *time >= self.now && *time < self.now + TICK;
            let due: Vec<Trouble> =
                troubles.iter().filter(|(time, _)| at(time)).map(|(_, trouble)| trouble.clone()).collect();
            for trouble in due {
                self.trouble(&trouble);
            }
            self.step();
            self.now += TICK;
        }
    }
}

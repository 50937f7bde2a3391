//! Processes with clocks of different speeds, calls that are slow or lost, and people who edit the Lease: there is never a
//! time at which two of them believe to lead.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// Milliseconds until the API server does it.
    there: u64,
    /// Milliseconds from then until the answer is back.
    back: u64,
    /// Whether it never gets there, or the answer never comes back.
    lost: Option<bool>,
}

/// What happens besides.
#[derive(Clone, Debug)]
enum Trouble {
    Delete,
    Holder(Option<usize>),
    Empty,
    Seconds(Option<i32>),
    Transitions(Option<i32>),
    Annotate,
    /// It stands still for so many milliseconds, as at a SIGSTOP.
    Stop(usize, u64),
    /// kill -9, and another one is started.
    Kill(usize),
    /// SIGTERM, and another one is started.
    End(usize),
}

/// A call that is under way.
struct Calling {
    call: Call,
    /// When it was begun, and when it is given up, by the clock of its process.
    started: Local,
    ends: Local,
    /// When its answer is back, in real time, and the answer.
    heard: Option<(u64, Answer)>,
}

struct Process {
    machine: Machine,
    /// Its clock's speed, in per cent, and what it showed at the beginning.
    speed: u64,
    origin: u64,
    calling: Option<Calling>,
    /// Until when it sleeps, by its own clock: as it says itself, so that it cannot oversleep.
    sleeps: Local,
    still_until: u64,
}

impl Process {
    fn local(&self, now: u64) -> Local {
        Duration::from_micros((self.origin + now) * self.speed * 10)
    }

    fn leads(&self, now: u64) -> bool {
        self.machine.leads_until(self.local(now)).is_some()
    }
}

struct World {
    now: u64,
    lease: Option<Record>,
    version: u64,
    processes: Vec<Process>,
    started: usize,
    /// Writes on their way: when they get there, whose they are, what they ask, and how long the answer takes, if it is
    /// waited for and comes.
    on_their_way: Vec<(u64, usize, Call, Option<u64>)>,
    fates: Vec<Fate>,
    drawn: usize,
    leaders: Vec<String>,
}

impl World {
    fn new(clocks: &[(u64, u64)], fates: Vec<Fate>) -> World {
        let mut world = World {
            now: 0,
            lease: None,
            version: 0,
            processes: Vec::new(),
            started: 0,
            on_their_way: Vec::new(),
            fates,
            drawn: 0,
            leaders: Vec::new(),
        };
        for (speed, origin) in clocks {
            let machine = world.fresh();
            world.processes.push(Process {
                machine,
                speed: *speed,
                origin: *origin,
                calling: None,
                sleeps: Local::ZERO,
                still_until: 0,
            });
        }
        world
    }

    fn fresh(&mut self) -> Machine {
        self.started += 1;
        Machine::new(format!("p{}", self.started), Timing::default(), self.started as u64)
    }

    fn write(&mut self, change: impl FnOnce(&mut Record)) {
        self.version += 1;
        if let Some(lease) = &mut self.lease {
            change(lease);
            lease.version = self.version.to_string();
        }
    }

    fn serve(&mut self, call: &Call) -> Answer {
        let record = |claim: &Claim| Record {
            version: String::new(),
            holder: claim.holder.clone(),
            seconds: Some(claim.seconds),
            transitions: Some(claim.transitions),
            ..Record::default()
        };
        match (call, self.lease.clone()) {
            (Call::Look, Some(lease)) => Answer::Is(lease),
            (Call::Look | Call::Put(..), None) => Answer::Missing,
            (Call::Create(_), Some(_)) => Answer::Conflict,
            (Call::Put(over, _), Some(lease)) if *over != lease.version => Answer::Conflict,
            (Call::Create(claim) | Call::Put(_, claim), _) => {
                let written = record(claim);
                self.lease = Some(written.clone());
                self.write(|lease| *lease = written);
                self.lease.clone().map_or(Answer::Missing, Answer::Is)
            }
        }
    }

    fn fate(&mut self) -> Fate {
        self.drawn += 1;
        self.fates[self.drawn % self.fates.len()]
    }

    fn trouble(&mut self, trouble: &Trouble) {
        let identity = |i: usize| self.processes[i].machine.me.clone();
        let is_empty = self.lease.as_ref().is_some_and(|lease| lease.holder.is_empty());
        let is_short = self.lease.as_ref().is_some_and(|lease| lease.seconds == Some(RELEASED));
        match trouble {
            Trouble::Delete => self.lease = None,
            Trouble::Holder(who) => {
                let holder = who.map_or("nobody.example".to_owned(), identity);
                self.write(|lease| lease.holder = holder);
            }
            // Both together are how a leader says that it leads no more.
            Trouble::Empty if !is_short => self.write(|lease| lease.holder.clear()),
            Trouble::Seconds(Some(RELEASED)) if is_empty => {}
            Trouble::Empty => {}
            Trouble::Seconds(seconds) => self.write(|lease| lease.seconds = *seconds),
            Trouble::Transitions(transitions) => self.write(|lease| lease.transitions = *transitions),
            Trouble::Annotate => self.write(|_| {}),
            Trouble::Stop(i, length) => self.processes[*i].still_until = self.now + length,
            Trouble::Kill(i) => self.replace(*i),
            Trouble::End(i) => {
                let local = self.processes[*i].local(self.now);
                if let Some(call) = self.processes[*i].machine.resign(local) {
                    let Fate { there, lost, .. } = self.fate();
                    if lost != Some(true) {
                        self.on_their_way.push((self.now + there, *i, call, None));
                    }
                }
                self.replace(*i);
            }
        }
    }

    fn replace(&mut self, i: usize) {
        let machine = self.fresh();
        let process = &mut self.processes[i];
        (process.machine, process.calling, process.still_until) = (machine, None, 0);
        process.sleeps = Local::ZERO;
        // What it has asked for may still be done; nobody hears of it.
        for (_, of, _, back) in &mut self.on_their_way {
            if *of == i {
                *back = None;
            }
        }
    }

    fn step(&mut self) {
        let now = self.now;
        let there: Vec<_> = self.on_their_way.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, i, call, back) in there {
            let answer = self.serve(&call);
            if let (Some(back), Some(calling)) = (back, &mut self.processes[i].calling)
                && calling.call == call
            {
                calling.heard = Some((now + back, answer));
            }
        }
        for i in 0..self.processes.len() {
            if self.processes[i].still_until <= now {
                self.turn(i);
            }
        }
        let leaders: Vec<&Process> = self.processes.iter().filter(|process| process.leads(now)).collect();
        assert!(
            leaders.len() < 2,
            "at {now} ms {:?} believe to lead",
            leaders.iter().map(|leader| &leader.machine.me).collect::<Vec<_>>()
        );
        if let Some(leader) = leaders.first().map(|leader| leader.machine.me.clone())
            && self.leaders.last() != Some(&leader)
        {
            self.leaders.push(leader);
        }
    }

    fn turn(&mut self, i: usize) {
        let now = self.now;
        let local = self.processes[i].local(now);
        if let Some(calling) = self.processes[i].calling.take() {
            let answer = match calling.heard {
                Some((at, answer)) if at <= now => answer,
                _ if calling.ends <= local => Answer::Failed,
                heard => {
                    self.processes[i].calling = Some(Calling { heard, ..calling });
                    return;
                }
            };
            self.processes[i].machine.answered(&calling.call, calling.started, local, answer);
            self.processes[i].sleeps = Local::ZERO;
        }
        if local < self.processes[i].sleeps {
            return;
        }
        match self.processes[i].machine.next(local) {
            Todo::WaitUntil(until) => self.processes[i].sleeps = until,
            Todo::Call(call, bound) => {
                let Fate { there, back, lost } = self.fate();
                if lost != Some(true) {
                    let back = lost.is_none().then_some(back);
                    self.on_their_way.push((now + there, i, call.clone(), back));
                }
                self.processes[i].calling =
                    Some(Calling { call, started: local, ends: local + bound, heard: None });
            }
        }
    }

    /// Runs until then, with what happens at its times.
    fn run(&mut self, until: u64, troubles: &[(u64, Trouble)]) {
        while self.now < until {
            let at = |time: &u64| *time >= self.now && *time < self.now + 20;
            let due: Vec<Trouble> =
                troubles.iter().filter(|(time, _)| at(time)).map(|(_, trouble)| trouble.clone()).collect();
            for trouble in due {
                self.trouble(&trouble);
            }
            self.step();
            self.now += 20;
        }
    }
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let lost = prop_oneof![8 => Just(None), 1 => Just(Some(true)), 1 => Just(Some(false))];
    let slow = prop_oneof![6 => 0..100u64, 2 => 100..3_000u64, 1 => 3_000..20_000u64];
    let fate = (slow.clone(), slow, lost).prop_map(|(there, back, lost)| Fate { there, back, lost });
    vec(fate, 1..60)
}

fn troubles() -> impl Strategy<Value = Vec<(u64, Trouble)>> {
    let odd = prop_oneof![
        Just(None),
        Just(Some(0)),
        Just(Some(-3)),
        Just(Some(RELEASED)),
        Just(Some(2)),
        Just(Some(i32::MAX))
    ];
    let who = 0..3usize;
    let trouble = prop_oneof![
        2 => Just(Trouble::Delete),
        1 => proptest::option::of(who.clone()).prop_map(Trouble::Holder),
        1 => Just(Trouble::Empty),
        1 => odd.clone().prop_map(Trouble::Seconds),
        1 => odd.prop_map(Trouble::Transitions),
        1 => Just(Trouble::Annotate),
        2 => (who.clone(), 1_000..40_000u64).prop_map(|(i, length)| Trouble::Stop(i, length)),
        2 => who.clone().prop_map(Trouble::Kill),
        2 => who.prop_map(Trouble::End),
    ];
    vec((0..240_000u64, trouble), 0..12)
}

/// Speeds in per cent, and what the clocks show at first in milliseconds: hours apart.
fn clocks() -> impl Strategy<Value = Vec<(u64, u64)>> {
    vec((88..=112u64, 0..10_000_000u64), 3)
}

proptest! {
    #[test]
    fn there_are_never_two_who_believe_to_lead(
        clocks in clocks(),
        fates in fates(),
        troubles in troubles(),
    ) {
        World::new(&clocks, fates).run(300_000, &troubles);
    }

    #[test]
    fn somebody_leads_again_when_the_trouble_is_over(clocks in clocks(), fates in fates(), troubles in troubles()) {
        let mut world = World::new(&clocks, fates);
        world.run(240_000, &troubles);
        world.fates = vec![Fate { there: 5, back: 5, lost: None }];
        // The longest lease that anybody can have written, by the slowest clock, and what is still on its way.
        world.run(640_000, &[]);
        prop_assert!(world.processes.iter().any(|process| process.leads(world.now)), "{:?}", world.lease);
    }
}

#[test]
fn a_leader_leads_on_until_it_ends_and_the_next_follows_when_that_is_known() {
    let smooth = vec![Fate { there: 5, back: 5, lost: None }];
    let mut world = World::new(&[(100, 0), (105, 77), (96, 5_000)], smooth);
    world.run(300_000, &[]);
    assert_eq!(world.leaders.len(), 1, "{:?}", world.leaders);
    for (trouble, within) in [(Trouble::End as fn(usize) -> Trouble, 2_600), (Trouble::Kill, 17_000)] {
        let leader = world.processes.iter().position(|process| process.leads(world.now)).unwrap();
        let (begun, before) = (world.now, world.leaders.len());
        world.run(begun + within, &[(begun, trouble(leader))]);
        assert_eq!(world.leaders.len(), before + 1, "within {within} ms: {:?}", world.leaders);
        world.run(begun + 60_000, &[]);
        assert_eq!(world.leaders.len(), before + 1, "{:?}", world.leaders);
    }
}

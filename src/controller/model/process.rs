//! What a controller process does: turns of its rollouts, and actions. Each part goes as the code does that it
//! stands for, which is named there; what that code only computes, it computes here too.

use super::real::{Asked, Next, Real, Turned};
use super::search::{After, Broken};
use super::state::{Action, Ahead, Id, Offer, Said, State, StatusFlight, Stored, Write};
use super::{Model, rules};
use crate::api::FeatureRolloutStatus;

/// How a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It arrives and is answered before anything else happens.
    OnTime,
    /// It arrives, and nobody hears of that.
    AnswerLost,
    /// It is on its way, and other things may happen first.
    Late,
}

/// What may come of something.
pub(super) type Ways = Vec<(How, After<State>)>;

impl State {
    /// `Ahead::overtake` in `src/controller/ahead.rs`: the status that is in force although it is not stored yet.
    fn overtake(&mut self, process: usize, rollout: usize, stored: Id) -> (Id, bool) {
        let change = &mut self.processes[process].term.ahead[rollout];
        let in_force = change.filter(|change| change.confirmed && change.prior == stored);
        *change = in_force;
        in_force.map_or((stored, false), |change| (change.status, true))
    }

    /// `writer::offer` and `Mailbox::put` in `src/controller/writer/`.
    fn put(&mut self, process: usize, rollout: usize, offer: Offer) {
        let term = &mut self.processes[process].term;
        if term.said[rollout] == Some(Said::Delivered(offer.revision)) {
            return;
        }
        let waits = &mut term.offers[rollout];
        let is_outdated = waits.is_some_and(|waits| waits.revision > offer.revision);
        if is_outdated || waits.is_some_and(|waits| is_same(waits, offer)) {
            return;
        }
        *waits = Some(offer);
        term.dirty = true;
    }

    /// `persist::refresh`: a rollout is read past the cache.
    pub(super) fn refresh(&mut self, process: usize, rollout: usize) {
        self.processes[process].behind[rollout] = 0;
    }
}

/// `Offer::is_same`.
pub(super) fn is_same(one: Offer, other: Offer) -> bool {
    one.revision == other.revision && one.ahead_of_current == other.ahead_of_current
}

impl Model {
    /// `rollout::reconcile`, by the version that so many have come after.
    pub(super) fn turn(&mut self, state: &State, process: usize, rollout: usize, age: u8) -> Ways {
        let mut state = state.clone();
        state.processes[process].behind[rollout] = age;
        let stored = state.rollouts[rollout].at(age);
        let (status, owes_status) = state.overtake(process, rollout, stored.status);
        let asked = self.asked(&state, process, rollout, Stored { status, ..stored }, owes_status);
        let Turned { next: Some(next), .. } = self.real.turn(asked) else {
            return vec![(How::OnTime, Ok(state))];
        };
        let Next { offer, is_due, goes_ahead } = next;
        if goes_ahead {
            let (status, revision) = (offer.status, offer.revision);
            let change = Ahead { prior: stored.status, status, revision, confirmed: false };
            state.processes[process].term.ahead[rollout] = Some(change);
            let ahead_of_current = Some(age == 0);
            state.put(process, rollout, Offer { ahead_of_current, ..offer });
            return vec![(How::OnTime, Ok(state))];
        }
        if !is_due {
            state.put(process, rollout, offer);
            return vec![(How::OnTime, Ok(state))];
        }
        let in_force = owes_status.then_some(status);
        self.persist(&state, process, rollout, (age, in_force), offer, None)
    }

    /// `actions::judge`, by the version that so many have come after. Nothing where the rollout is to have its first turn.
    pub(super) fn judge(&mut self, state: &State, process: usize, action: usize, age: u8) -> Ways {
        let mut next = state.clone();
        let rollout = state.actions[action].rollout;
        next.processes[process].behind[rollout] = age;
        let stored = next.rollouts[rollout].at(age);
        if !self.real.has_begun(rollout, stored.status) {
            return Ways::new();
        }
        let (status, owes_status) = next.overtake(process, rollout, stored.status);
        let mut asked = self.asked(&next, process, rollout, Stored { status, ..stored }, owes_status);
        asked.action = Some((action, Action { answered: false, done: 0, ..state.actions[action] }));
        let Turned { is_applied, next: decided } = self.real.turn(asked);
        if !is_applied {
            // Any other answer holds for the stored version alone.
            if age > 0 {
                return self.judge(&next, process, action, 0);
            }
            next.judged(process, action, false);
            return vec![(How::OnTime, Ok(next))];
        }
        match decided {
            Some(decided) if decided.is_due => {
                let over = (age, owes_status.then_some(status));
                self.persist(&next, process, rollout, over, decided.offer, Some(action))
            }
            decided => {
                if let Some(decided) = decided {
                    next.put(process, rollout, decided.offer);
                }
                next.judged(process, action, true);
                vec![(How::OnTime, Ok(next))]
            }
        }
    }

    /// `answer::give`.
    pub(super) fn answer(&mut self, state: &State, process: usize, action: usize) -> After<State> {
        let mut next = state.clone();
        may_write(&next, process)?;
        let verdict = next.processes[process].term.verdicts[action].take();
        let asked = &mut next.actions[action];
        asked.answered = true;
        let status = self.real.status(next.rollouts[asked.rollout].current().status);
        let uid = Real::uid(action);
        if verdict == Some(true) && status.actions.iter().all(|known| known.uid != uid) {
            return Err("an action is answered as applied, and no status has it".to_owned());
        }
        Ok(next)
    }

    fn asked(
        &mut self,
        state: &State,
        process: usize,
        rollout: usize,
        stored: Stored,
        owes_status: bool,
    ) -> Asked {
        let process = &state.processes[process];
        let said = process.term.said[rollout];
        let file = state.file.at(process.file_behind).map(|file| file.text);
        let status = self.real.status(stored.status);
        // `gather::file_ahead`, and for a beginning `gather::live`.
        let announced = status.announced.as_ref().map_or(0, |next| next.revision);
        let is_later = |revision: i64| revision > status.revision.max(announced);
        let file = match said {
            _ if !self.real.has_begun(rollout, stored.status) => file,
            Some(Said::Newer(revision)) if is_later(i64::from(revision)) => file.filter(|file| {
                let member = self.real.member(*file, rollout);
                member.is_some_and(|member| is_later(member.live.revision))
            }),
            _ => None,
        };
        Asked {
            rollout,
            spec: stored.spec,
            generation: stored.generation,
            status: stored.status,
            owes_status,
            said,
            seen: process.term.seen[rollout],
            file,
            now: state.now,
            action: None,
        }
    }

    /// `persist::persist`: a status over the version that was read.
    fn persist(
        &mut self,
        state: &State,
        process: usize,
        rollout: usize,
        (age, in_force): (u8, Option<Id>),
        offer: Offer,
        action: Option<usize>,
    ) -> Ways {
        if let Err(broken) = may_write(state, process) {
            return vec![(How::OnTime, Err(broken))];
        }
        let (status, over_current) = (offer.status, age == 0);
        let flight = StatusFlight { status, in_force, over_current, arrived: None, offer, action };
        let write = Write::Status { rollout, status, in_force, over_current };
        let mut on_time = state.clone();
        let stored = self.store(&mut on_time, write);
        let mut ways = vec![(
            How::OnTime,
            stored.clone().map(|stored| {
                on_time.heard(process, rollout, flight, stored.then_some(0));
                on_time
            }),
        )];
        if state.left.lost_answers > 0 && stored != Ok(false) {
            let mut lost = state.clone();
            lost.left.lost_answers -= 1;
            let stored = self.store(&mut lost, write);
            ways.push((How::AnswerLost, stored.map(|_| lost)));
        }
        if state.left.late > 0 {
            let mut late = state.clone();
            late.left.late -= 1;
            let term = &mut late.processes[process].term;
            let lane = if action.is_some() { &mut term.acts } else { &mut term.turns };
            lane[rollout] = Some(flight);
            ways.push((How::Late, Ok(late)));
        }
        ways
    }

    /// A write arrives. Says whether it is stored.
    pub(super) fn store(&mut self, state: &mut State, write: Write) -> Result<bool, Broken> {
        let (rollout, status, in_force, over_current) = match write {
            Write::Status { rollout, status, in_force, over_current } => {
                (rollout, status, in_force, over_current)
            }
            Write::File { file, over_current } => return self.store_file(state, file, over_current),
        };
        if !over_current && self.guards.status_precondition {
            return Ok(false);
        }
        let stored = state.rollouts[rollout].current();
        let (old, new) = (self.real.status(stored.status), self.real.status(status));
        let mut carried_out = Vec::new();
        for (number, action) in state.actions.iter_mut().enumerate() {
            let uid = Real::uid(number);
            let has = |status: &FeatureRolloutStatus| status.actions.iter().any(|it| it.uid == uid);
            if action.rollout == rollout && has(&new) && !has(&old) {
                carried_out.push(action.verb);
                action.done += 1;
                if action.done > 1 {
                    return Err("an action is carried out twice".to_owned());
                }
            }
        }
        let in_file = state.file.current().and_then(|file| self.real.member(file.text, rollout));
        let before = rules::Before {
            status: &old,
            in_force: in_force.map(|status| self.real.status(status)),
            spec: stored.spec,
            in_file: in_file.map_or(0, |member| member.live.revision),
            now: Real::at(state.now),
            carried_out: &carried_out,
        };
        rules::status(&before, &new)?;
        state.store(rollout, Stored { status, ..stored }, self.bounds.lag);
        rules::agreement(&mut self.real, state)?;
        Ok(true)
    }

    /// What comes of a flight that is on its way, or has arrived.
    pub(super) fn flights(&mut self, state: &State, process: usize) -> Vec<(String, After<State>)> {
        let mut ways = Vec::new();
        if !state.processes[process].leads {
            return ways;
        }
        for rollout in 0..state.rollouts.len() {
            for is_act in [false, true] {
                let lane = |state: &mut State| {
                    let term = &mut state.processes[process].term;
                    if is_act { term.acts[rollout].take() } else { term.turns[rollout].take() }
                };
                let mut without = state.clone();
                let Some(flight) = lane(&mut without) else { continue };
                let what = format!("{} of rollout {rollout}", if is_act { "action" } else { "turn" });
                if let Some(arrived) = flight.arrived {
                    without.heard(process, rollout, flight, arrived.ok());
                    ways.push((format!("the answer to the {what} arrives"), Ok(without)));
                    continue;
                }
                let StatusFlight { status, in_force, over_current, .. } = flight;
                let write = Write::Status { rollout, status, in_force, over_current };
                let mut arrives = state.clone();
                let after = self.store(&mut arrives, write).map(|stored| {
                    let arrived = Some(if stored { Ok(0) } else { Err(()) });
                    let term = &mut arrives.processes[process].term;
                    let lane = if is_act { &mut term.acts } else { &mut term.turns };
                    lane[rollout] = Some(StatusFlight { arrived, over_current: false, ..flight });
                    arrives
                });
                ways.push((format!("the status of the {what} arrives"), after));
                without.wire.push(write);
                ways.push((format!("the {what} is given up"), Ok(without)));
            }
        }
        ways.extend(self.file_flight(state, process));
        ways
    }
}

impl State {
    /// The answer to a status is heard: it is stored, and so many versions came after it, or it met a conflict.
    fn heard(&mut self, process: usize, rollout: usize, flight: StatusFlight, age: Option<u8>) {
        let Some(age) = age else { return self.refresh(process, rollout) };
        let behind = &mut self.processes[process].behind[rollout];
        *behind = (*behind).min(age);
        self.processes[process].term.ahead[rollout] = None;
        self.put(process, rollout, flight.offer);
        if let Some(action) = flight.action {
            self.judged(process, action, true);
        }
    }

    fn judged(&mut self, process: usize, action: usize, is_applied: bool) {
        let term = &mut self.processes[process].term;
        term.judged[action] = true;
        term.verdicts[action] = Some(is_applied);
    }
}

/// Whoever does not lead writes nothing.
pub(super) fn may_write(state: &State, process: usize) -> Result<(), Broken> {
    match state.lease == Some(process) {
        true => Ok(()),
        false => Err("a process writes without the lead".to_owned()),
    }
}

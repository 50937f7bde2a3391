//! What the writer of a FlagSet's file does.

use super::process::{How, Ways, is_same, may_write};
use super::search::{After, Broken};
use super::state::{Answers, File, FileFlight, Offer, Said, State, Write, Writing};
use super::{Model, rules};

impl Model {
    /// The file's writer takes what waits, looks at what goes ahead of its status, and where there is none of that writes at
    /// once: `actor::take` and `confirm::confirm`.
    pub(super) fn look(&mut self, state: &State, process: usize) -> After<State> {
        let mut next = state.clone();
        let term = &mut next.processes[process].term;
        term.dirty = false;
        let mut taken = term.offers.clone();
        let ahead: Vec<usize> = (0..taken.len()).filter(|of| is_ahead(taken[*of])).collect();
        let looked = !ahead.is_empty();
        if looked {
            let specs: Vec<_> = state.rollouts.iter().map(|versions| versions.current().spec).collect();
            let is_off = |rollout: usize| {
                let revision = taken[rollout].map(|offer| offer.revision);
                let change = term.ahead[rollout].filter(|change| Some(change.revision) == revision);
                change.is_none() || term.acts[rollout].is_some()
            };
            let is_off: Vec<bool> = (0..taken.len()).map(is_off).collect();
            let mut asked = taken.clone();
            if !self.guards.look {
                let trusting =
                    |offer: &mut Offer| offer.ahead_of_current = offer.ahead_of_current.map(|_| true);
                asked.iter_mut().flatten().for_each(trusting);
            }
            let confirmed = self.real.look(&specs, &asked, &is_off);
            for rollout in ahead {
                let term = &mut next.processes[process].term;
                if !confirmed[rollout] {
                    taken[rollout] = None;
                    term.offers[rollout] = term.offers[rollout].filter(|offer| !is_ahead(Some(*offer)));
                    next.refresh(process, rollout);
                    continue;
                }
                if let Some(change) = &mut term.ahead[rollout] {
                    // From here on it counts as decided.
                    change.confirmed = true;
                    let (stored, status) = (state.rollouts[rollout].current(), change.status);
                    rules::ahead(&mut self.real, rollout, stored, status, state.now)?;
                }
            }
        }
        next.processes[process].term.writing = Some(Writing { taken, looked, flight: None });
        Ok(next)
    }

    /// `flush::flush_output`, over the version of the ConfigMap that so many have come after.
    pub(super) fn write(&mut self, state: &State, process: usize, age: u8) -> Ways {
        let mut state = state.clone();
        let Some(Writing { taken, .. }) = state.processes[process].term.writing.clone() else {
            return Ways::new();
        };
        // Where the cache knows of none it is read.
        let age = if state.file.at(age).is_none() { 0 } else { age };
        state.processes[process].file_behind = age;
        let found = state.file.at(age);
        let remembered = state.processes[process].term.remembered;
        let is_trusted = found.is_some_and(|found| self.real.is_vouched(found, remembered));
        if found.is_some() && !is_trusted {
            return vec![(How::OnTime, Err("a file of its own is taken for edited".to_owned()))];
        }
        let wanted = if is_trusted { taken } else { self.rebuilt(&state, process, &taken) };
        let live = found.map(|found| found.text);
        let merged = self.real.merge(live, &wanted, self.guards.file_revisions);
        let answers = self.answers(&state, process, live, &wanted, merged.answers);
        let serial = found.or(remembered).map_or(0, |file| file.serial) + u8::from(live != Some(merged.text));
        let file = File { text: merged.text, serial };
        if live == Some(merged.text) {
            state.file_heard(process, answers, Some(file), None);
            return vec![(How::OnTime, Ok(state))];
        }
        self.send_file(&state, process, file, age == 0, answers)
    }

    fn send_file(
        &mut self,
        state: &State,
        process: usize,
        file: File,
        over_current: bool,
        answers: Answers,
    ) -> Ways {
        if let Err(broken) = may_write(state, process) {
            return vec![(How::OnTime, Err(broken))];
        }
        let mut on_time = state.clone();
        let stored = self.store_file(&mut on_time, file, over_current);
        let mut ways = vec![(
            How::OnTime,
            stored.clone().map(|stored| {
                let heard = stored.then_some(file);
                on_time.file_heard(process, answers.clone(), heard, stored.then_some(0));
                on_time
            }),
        )];
        if state.left.lost_answers > 0 && stored != Ok(false) {
            let mut lost = state.clone();
            lost.left.lost_answers -= 1;
            let stored = self.store_file(&mut lost, file, over_current);
            ways.push((
                How::AnswerLost,
                stored.map(|_| {
                    lost.file_failed(process);
                    lost
                }),
            ));
        }
        if state.left.late > 0 {
            let mut late = state.clone();
            late.left.late -= 1;
            if let Some(writing) = &mut late.processes[process].term.writing {
                writing.flight = Some(FileFlight { file, over_current, arrived: None, answers });
            }
            ways.push((How::Late, Ok(late)));
        }
        ways
    }

    /// A file arrives. Says whether it is stored.
    pub(super) fn store_file(
        &mut self,
        state: &mut State,
        file: File,
        over_current: bool,
    ) -> Result<bool, Broken> {
        if !over_current && self.guards.file_precondition {
            return Ok(false);
        }
        rules::file(&mut self.real, state.rollouts.len(), state.file.current(), file)?;
        state.store_file(file, self.bounds.lag);
        rules::agreement(&mut self.real, state)?;
        Ok(true)
    }

    /// `rebuild::members` and `flush::newest`: every member, as it is stored now.
    fn rebuilt(&mut self, state: &State, process: usize, taken: &[Option<Offer>]) -> Vec<Option<Offer>> {
        let ahead = &state.processes[process].term.ahead;
        let of = |rollout: usize| {
            let stored = state.rollouts[rollout].current();
            let change = ahead[rollout].filter(|it| it.confirmed && it.prior == stored.status);
            let status = change.map_or(stored.status, |change| change.status);
            let has_begun = self.real.has_begun(rollout, status);
            let rebuilt = has_begun.then(|| self.real.offer(rollout, stored.spec, status));
            let is_newer = |taken: &Offer| rebuilt.is_none_or(|stored| stored.revision <= taken.revision);
            taken[rollout].filter(is_newer).or(rebuilt)
        };
        (0..taken.len()).map(of).collect()
    }

    /// What is said once the file is written: to those that wanted something, and by `next::outdated` to those of which the
    /// file holds a newer revision than its writer has said.
    fn answers(
        &mut self,
        state: &State,
        process: usize,
        live: Option<u32>,
        wanted: &[Option<Offer>],
        mut answers: Answers,
    ) -> Answers {
        let Some(live) = live else { return answers };
        for (rollout, answer) in answers.iter_mut().enumerate().filter(|(of, _)| wanted[*of].is_none()) {
            let said = state.processes[process].term.said[rollout];
            let Some(Said::Delivered(known) | Said::Newer(known)) = said else { continue };
            let Some(member) = self.real.member(live, rollout) else { continue };
            let revision = u8::try_from(member.live.revision).unwrap();
            if revision > known {
                *answer = Some((Said::Newer(revision), None));
            }
        }
        answers
    }

    /// What comes of a file that is on its way, or has arrived.
    pub(super) fn file_flight(&mut self, state: &State, process: usize) -> Vec<(String, After<State>)> {
        let writing = state.processes[process].term.writing.as_ref();
        let Some(flight) = writing.and_then(|writing| writing.flight.clone()) else { return Vec::new() };
        let FileFlight { file, over_current, arrived, answers } = flight.clone();
        let mut next = state.clone();
        if let Some(arrived) = arrived {
            let heard = arrived.is_ok().then_some(file);
            next.file_heard(process, answers, heard, arrived.ok());
            return vec![("the answer to the file arrives".to_owned(), Ok(next))];
        }
        let mut given_up = state.clone();
        given_up.wire.push(Write::File { file, over_current });
        given_up.file_failed(process);
        let after = self.store_file(&mut next, file, over_current).map(|stored| {
            let arrived = Some(if stored { Ok(0) } else { Err(()) });
            if let Some(writing) = &mut next.processes[process].term.writing {
                writing.flight = Some(FileFlight { arrived, over_current: false, ..flight });
            }
            next
        });
        vec![("the file arrives".to_owned(), after), ("the file is given up".to_owned(), Ok(given_up))]
    }
}

impl State {
    /// The file is known to hold `file`, or the write met a conflict: `actor::settle`. `age` says how many versions came after
    /// the one that was written, if one was.
    fn file_heard(&mut self, process: usize, answers: Answers, file: Option<File>, age: Option<u8>) {
        let Some(file) = file else {
            let known = &mut self.processes[process];
            known.file_behind = 0;
            match &known.term.writing {
                // What a look has confirmed is looked at anew, in another turn.
                Some(writing) if writing.looked => self.file_failed(process),
                _ => {
                    if let Some(writing) = &mut known.term.writing {
                        writing.flight = None;
                    }
                }
            }
            return;
        };
        let known = &mut self.processes[process];
        if let Some(age) = age {
            known.file_behind = known.file_behind.min(age);
        }
        known.term.remembered = Some(file);
        let taken = known.term.writing.take().map(|writing| writing.taken).unwrap_or_default();
        for (rollout, answer) in answers.into_iter().enumerate() {
            let Some((said, seen)) = answer else { continue };
            let term = &mut self.processes[process].term;
            let waits = &mut term.offers[rollout];
            let is_settled = taken[rollout].zip(*waits).is_some_and(|(taken, waits)| {
                said == Said::Delivered(taken.revision) && is_same(taken, waits)
            });
            if is_settled {
                *waits = None;
            }
            term.said[rollout] = Some(said);
            match said {
                Said::Delivered(_) => term.seen[rollout] = None,
                Said::Newer(_) | Said::Retrying => term.seen[rollout] = seen.or(term.seen[rollout]),
            }
            if let Said::Newer(_) = said {
                self.refresh(process, rollout);
            }
        }
    }

    /// The file could not be written, and is tried again.
    pub(super) fn file_failed(&mut self, process: usize) {
        let term = &mut self.processes[process].term;
        let taken = term.writing.take().map(|writing| writing.taken).unwrap_or_default();
        for rollout in (0..taken.len()).filter(|rollout| taken[*rollout].is_some()) {
            term.said[rollout] = Some(Said::Retrying);
        }
        term.dirty = true;
    }
}

fn is_ahead(offer: Option<Offer>) -> bool {
    offer.is_some_and(|offer| offer.ahead_of_current.is_some())
}

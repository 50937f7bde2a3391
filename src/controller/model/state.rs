//! A cluster, and two processes that work on it, at one moment. Everything is small and can be compared: statuses, flags and
//! files stand here by their numbers in `src/controller/model/real.rs`.

use super::versions::Versions;

/// Number of a status, a flag or a file.
pub(super) type Id = u32;

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// Holds since the beginning.
    pub(super) now: u8,
    /// The rollouts of the FlagSet.
    pub(super) rollouts: Vec<Versions<Stored>>,
    /// The ConfigMap; none before it is made.
    pub(super) file: Versions<Option<File>>,
    /// The actions that people have asked for.
    pub(super) actions: Vec<Action>,
    /// Which process has the Lease.
    pub(super) lease: Option<usize>,
    pub(super) processes: [Process; 2],
    /// Writes that nobody waits for any more and that may still arrive.
    pub(super) wire: Vec<Write>,
    /// What may still happen.
    pub(super) left: Disturbances,
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Disturbances {
    /// A process is killed.
    pub(super) crashes: u8,
    /// The lead is lost although its process lives.
    pub(super) lost_leads: u8,
    /// A write is done, and its answer is lost.
    pub(super) lost_answers: u8,
    /// A write arrives, or is answered, after other things have happened; or after whoever sent it has given it up.
    pub(super) late: u8,
    /// Somebody edits a spec.
    pub(super) edits: u8,
    /// Somebody asks for an action.
    pub(super) actions: u8,
}

/// A rollout as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stored {
    pub(super) spec: Spec,
    pub(super) generation: u8,
    pub(super) status: Id,
}

/// As much of a spec as people edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spec {
    pub(super) first_step: Percentage,
    pub(super) suspended: bool,
    pub(super) attempt: u8,
}

/// What the first step asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Percentage {
    AsWritten,
    Raised,
    Lowered,
}

/// What the ConfigMap holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct File {
    pub(super) text: Id,
    /// Which version its signature says that it is.
    pub(super) serial: u8,
}

/// An action as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Action {
    pub(super) rollout: usize,
    pub(super) verb: Verb,
    /// When it was asked for.
    pub(super) created: u8,
    pub(super) answered: bool,
    /// How often a status was stored that carries it out.
    pub(super) done: u8,
}

/// What people ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Verb {
    Rollback,
    Retry,
    Pause,
    Resume,
}

/// What people change in a spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Edit {
    Raise,
    Lower,
    Suspend,
    Unsuspend,
    Attempt,
}

/// A controller process. What it keeps for a term of leading is empty while it stands by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) runs: bool,
    /// Whether it works as a leader does.
    pub(super) leads: bool,
    /// How far its caches may be behind, by rollout, and for the ConfigMap. They never go back.
    pub(super) behind: Vec<u8>,
    pub(super) file_behind: u8,
    pub(super) term: Term,
}

/// What a process keeps while it leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Term {
    /// What the file's writer said last of each rollout.
    pub(super) said: Vec<Option<Said>>,
    /// What the file gives to each rollout that wants something else of it, in thousandths of a per cent.
    pub(super) seen: Vec<Option<u32>>,
    /// The file that it last saw or wrote.
    pub(super) remembered: Option<File>,
    /// What waits for the file's writer.
    pub(super) offers: Vec<Option<Offer>>,
    /// Whether the writer is to look at the file.
    pub(super) dirty: bool,
    /// Steps that go ahead of their status.
    pub(super) ahead: Vec<Option<Ahead>>,
    /// Statuses on their way: of turns, and of actions.
    pub(super) turns: Vec<Option<StatusFlight>>,
    pub(super) acts: Vec<Option<StatusFlight>>,
    /// What the file's writer is at.
    pub(super) writing: Option<Writing>,
    /// The actions that it has judged, or that were answered when it began: it does not look at them again.
    pub(super) judged: Vec<bool>,
    /// Verdicts that are to be written into their actions: whether it is `Applied`.
    pub(super) verdicts: Vec<Option<bool>>,
}

/// What the file's writer has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Said {
    Delivered(u8),
    Newer(u8),
    Retrying,
}

/// What a rollout wants of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Offer {
    pub(super) fragment: Id,
    pub(super) revision: u8,
    /// The status that says so.
    pub(super) status: Id,
    /// Where that is still to be stored: whether the version that announced it is still the current one.
    pub(super) ahead_of_current: Option<bool>,
}

/// A step that goes ahead of its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ahead {
    /// The stored status that it was decided on.
    pub(super) prior: Id,
    pub(super) status: Id,
    pub(super) revision: u8,
    pub(super) confirmed: bool,
}

/// A write on its way to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Write {
    Status { rollout: usize, status: Id, in_force: Option<Id>, over_current: bool },
    File { file: File, over_current: bool },
}

/// A status on its way, and what follows when it is heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StatusFlight {
    pub(super) status: Id,
    /// The status that it was decided on, where that was in force and not stored yet.
    pub(super) in_force: Option<Id>,
    pub(super) over_current: bool,
    /// Whether it was stored, once it has arrived, and how many versions came after.
    pub(super) arrived: Option<Result<u8, ()>>,
    pub(super) offer: Offer,
    /// The action that it carries out.
    pub(super) action: Option<usize>,
}

/// What the file's writer is at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Writing {
    /// What it has taken from those that wait.
    pub(super) taken: Vec<Option<Offer>>,
    /// Whether a look has confirmed any of that.
    pub(super) looked: bool,
    /// The file that is on its way, and what is said once that is heard of.
    pub(super) flight: Option<FileFlight>,
}

/// A file on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileFlight {
    pub(super) file: File,
    pub(super) over_current: bool,
    /// The same as of a status.
    pub(super) arrived: Option<Result<u8, ()>>,
    pub(super) answers: Answers,
}

/// What is said of each rollout, and what the file gives it.
pub(super) type Answers = Vec<Option<(Said, Option<u32>)>>;

impl Term {
    fn new(rollouts: usize, actions: &[Action]) -> Term {
        Term {
            judged: actions.iter().map(|action| action.answered).collect(),
            said: vec![None; rollouts],
            seen: vec![None; rollouts],
            offers: vec![None; rollouts],
            ahead: vec![None; rollouts],
            turns: vec![None; rollouts],
            acts: vec![None; rollouts],
            verdicts: vec![None; actions.len()],
            ..Term::default()
        }
    }

    /// The statuses on their way, with their rollouts.
    fn flights(&mut self) -> impl Iterator<Item = (usize, &mut StatusFlight)> {
        on_their_way(&mut self.turns).chain(on_their_way(&mut self.acts))
    }
}

fn on_their_way(lane: &mut [Option<StatusFlight>]) -> impl Iterator<Item = (usize, &mut StatusFlight)> {
    lane.iter_mut().enumerate().filter_map(|(rollout, flight)| Some((rollout, flight.as_mut()?)))
}

impl State {
    /// Rollouts that nobody has decided on, and processes that have listed them and stand by.
    pub(super) fn begin(rollouts: usize, spec: Spec, status: Id, left: Disturbances) -> State {
        let process = Process {
            runs: true,
            leads: false,
            behind: vec![0; rollouts],
            file_behind: 0,
            term: Term::default(),
        };
        State {
            now: 0,
            rollouts: vec![Versions::new(Stored { spec, generation: 1, status }); rollouts],
            file: Versions::new(None),
            actions: Vec::new(),
            lease: None,
            processes: [process.clone(), process],
            wire: Vec::new(),
            left,
        }
    }

    /// A new version of a rollout.
    pub(super) fn store(&mut self, rollout: usize, stored: Stored, lag: u8) {
        self.rollouts[rollout].push(stored);
        for process in &mut self.processes {
            process.behind[rollout] = (process.behind[rollout] + 1).min(lag);
            for (of, flight) in process.term.flights() {
                if of == rollout {
                    flight.over_current = false;
                    flight.arrived = flight.arrived.map(|arrived| arrived.map(|age| (age + 1).min(lag)));
                }
            }
            let taken = process.term.writing.iter_mut().flat_map(|writing| writing.taken.get_mut(rollout));
            for offer in process.term.offers.get_mut(rollout).into_iter().chain(taken).flatten() {
                offer.ahead_of_current = offer.ahead_of_current.map(|_| false);
            }
        }
        for write in &mut self.wire {
            if let Write::Status { rollout: of, over_current, .. } = write
                && *of == rollout
            {
                *over_current = false;
            }
        }
    }

    /// A new version of the ConfigMap.
    pub(super) fn store_file(&mut self, file: File, lag: u8) {
        self.file.push(Some(file));
        for process in &mut self.processes {
            process.file_behind = (process.file_behind + 1).min(lag);
            if let Some(flight) = process.term.writing.as_mut().and_then(|writing| writing.flight.as_mut()) {
                flight.over_current = false;
                flight.arrived = flight.arrived.map(|arrived| arrived.map(|age| (age + 1).min(lag)));
            }
        }
        for write in &mut self.wire {
            if let Write::File { over_current, .. } = write {
                *over_current = false;
            }
        }
    }

    /// A term of leading begins, with nothing kept of another.
    pub(super) fn begin_term(&mut self, of: usize) {
        let process = &mut self.processes[of];
        process.leads = true;
        process.term = Term::new(self.rollouts.len(), &self.actions);
        // Every file is looked at once.
        process.term.dirty = true;
    }

    /// A term ends: what is on its way may still arrive.
    pub(super) fn end_term(&mut self, of: usize) {
        let process = &mut self.processes[of];
        process.leads = false;
        let mut term = std::mem::take(&mut process.term);
        for (rollout, flight) in term.flights().filter(|(_, flight)| flight.arrived.is_none()) {
            let StatusFlight { status, in_force, over_current, .. } = *flight;
            self.wire.push(Write::Status { rollout, status, in_force, over_current });
        }
        let flight = term.writing.and_then(|writing| writing.flight);
        if let Some(flight) = flight.filter(|flight| flight.arrived.is_none()) {
            self.wire.push(Write::File { file: flight.file, over_current: flight.over_current });
        }
    }

    /// The same state in one form: what nobody can tell apart any more is alike.
    pub(super) fn normal(mut self, status_precondition: bool, file_precondition: bool) -> State {
        for (rollout, versions) in self.rollouts.iter_mut().enumerate() {
            let oldest = self.processes.iter().map(|process| process.behind[rollout]).max();
            versions.forget_before(oldest.unwrap_or(0));
        }
        let oldest = self.processes.iter().map(|process| process.file_behind).max();
        self.file.forget_before(oldest.unwrap_or(0));
        // What would be refused is as good as gone.
        self.wire.retain(|write| match write {
            Write::Status { over_current, .. } => *over_current || !status_precondition,
            Write::File { over_current, .. } => *over_current || !file_precondition,
        });
        self.number_serials();
        self
    }

    /// Only the order of the serials tells anything.
    fn number_serials(&mut self) {
        let mut files: Vec<u8> = self.file.all().flatten().map(|file| file.serial).collect();
        let mut note = |file: &mut File| files.push(file.serial);
        self.other_files().for_each(&mut note);
        files.sort_unstable();
        files.dedup();
        let place = |serial: u8| files.iter().position(|known| *known == serial).unwrap_or(0);
        let number = |file: &mut File| file.serial = u8::try_from(place(file.serial) + 1).unwrap_or(u8::MAX);
        self.file.map(|file| file.iter_mut().for_each(number));
        self.other_files().for_each(number);
    }

    fn other_files(&mut self) -> impl Iterator<Item = &mut File> {
        let known = self.processes.iter_mut().flat_map(|process| {
            let flight = process.term.writing.iter_mut().filter_map(|writing| writing.flight.as_mut());
            process.term.remembered.iter_mut().chain(flight.map(|flight| &mut flight.file))
        });
        known.chain(self.wire.iter_mut().filter_map(|write| match write {
            Write::File { file, .. } => Some(file),
            Write::Status { .. } => None,
        }))
    }
}

//! A model of the pipeline from the status to the file: two processes, a FlagSet with one or two rollouts of two steps, and
//! whatever may happen between any two of their calls. Every state within the bounds is looked at, and from each it is seen
//! that the end is reached once nobody disturbs any more.
//!
//! What is decided, rendered, merged and believed comes from the controller's own functions (`src/controller/model/real.rs`). What
//! goes on between them is told after the code that does it (`src/controller/model/process.rs` and `file.rs`), with these liberties, each of
//! which allows more than can happen: a cache is as old as it likes, up to a number of versions; work is done in any order; a new
//! leader compares no caches. When a rollout's turn comes is not in the model: here it comes whenever it may change anything.

use self::process::How;
use self::real::Real;
use self::search::{After, Broken, Counterexample, Searched, World, search};
use self::state::{Action, Disturbances, Edit, Percentage, Spec, State, Stored, Verb, Write};
use crate::api::FeatureRolloutStatus;

mod file;
mod given;
mod process;
mod real;
mod rules;
mod search;
mod state;
mod tests;
mod versions;

/// How long nobody has to disturb until the end is reached, in holds.
const PATIENCE: u8 = 8;

/// The percentage that the first step asks for.
fn first_step(percentage: Percentage) -> u32 {
    match percentage {
        Percentage::AsWritten => 50,
        Percentage::Raised => 70,
        Percentage::Lowered => 30,
    }
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    rollouts: usize,
    /// How many holds of time pass.
    holds: u8,
    /// How many versions a cache may be behind.
    lag: u8,
    disturbances: Disturbances,
    /// More states than this are none of these bounds.
    states: usize,
}

/// What keeps one process from undoing what another has done. A test takes each away.
#[derive(Clone, Copy, Debug)]
struct Guards {
    /// A status is written over the version that it was decided on, or not at all.
    status_precondition: bool,
    /// A ConfigMap is written over the version that was read, or not at all.
    file_precondition: bool,
    /// A newer flag is not replaced by an older one.
    file_revisions: bool,
    /// Whoever has lost the lead writes nothing.
    gate: bool,
    /// A step that was announced goes ahead of its status only where nobody has touched the rollout.
    look: bool,
}

const ALL: Guards = Guards {
    status_precondition: true,
    file_precondition: true,
    file_revisions: true,
    gate: true,
    look: true,
};

/// What may happen.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "it is only printed, as the way to a broken rule")]
enum Step {
    TimePasses,
    SomebodyEdits(usize, Edit),
    SomebodyAsksFor(usize, Verb),
    Dies(usize),
    Starts(usize),
    LosesTheLead(usize),
    Leads(usize),
    AForgottenWriteArrives(Write),
    AForgottenWriteIsLost(Write),
    Turn { process: usize, rollout: usize, behind: u8, how: How },
    Judges { process: usize, action: usize, behind: u8, how: How },
    Answers { process: usize, action: usize },
    Looks { process: usize },
    WritesTheFile { process: usize, behind: u8, how: How },
    OnItsWay(usize, String),
}

/// The cluster and the processes, by the controller's own functions.
struct Model {
    real: Real,
    bounds: Bounds,
    guards: Guards,
}

/// Looks at every state within these bounds.
fn look_at_all(bounds: Bounds, guards: Guards) -> Result<Searched, Counterexample> {
    let mut model = Model { real: Real::new(bounds.rollouts), bounds, guards };
    let spec = Spec { first_step: Percentage::AsWritten, suspended: false, attempt: 1 };
    let nothing = model.real.number(FeatureRolloutStatus::default());
    let start = State::begin(bounds.rollouts, spec, nothing, bounds.disturbances);
    search(&mut model, start, bounds.states)
}

type Ways = Vec<(Step, After<State>)>;

impl World for Model {
    type State = State;
    type Step = Step;

    fn steps(&mut self, state: &State) -> Ways {
        let mut ways = self.outside(state);
        for process in (0..2).filter(|process| state.processes[*process].leads) {
            ways.extend(self.works(state, process));
        }
        ways.into_iter().map(|(step, after)| (step, after.map(|next| self.normal(next)))).collect()
    }

    fn undisturbed(&mut self, state: &State) -> Option<(Step, After<State>)> {
        let news = |model: &Model, (step, after): (Step, After<State>)| {
            let after = after.map(|next| model.normal(next));
            (after.as_ref() != Ok(state)).then_some((step, after))
        };
        if let Some(write) = state.wire.first() {
            return Some((Step::AForgottenWriteArrives(*write), self.arrives(state, 0)));
        }
        for process in 0..2 {
            if let Some((what, after)) = self.flights(state, process).into_iter().next() {
                return news(self, (Step::OnItsWay(process, what), after));
            }
        }
        let Some(leader) = state.lease else {
            return self.begins(state).into_iter().find_map(|way| news(self, way));
        };
        for work in 0.. {
            let Some(ways) = self.undisturbed_work(state, leader, work) else { break };
            if let Some(found) = ways.into_iter().find_map(|way| news(self, way)) {
                return Some(found);
            }
        }
        let is_over = |stored: Stored| {
            let status = self.real.status(stored.status);
            let is_stopped = status.rollback.is_some() || !status.pauses.is_empty();
            is_stopped || status.completed_at.is_some()
        };
        let is_rest = state.rollouts.iter().all(|versions| is_over(versions.current()));
        let waits = !is_rest && state.now < self.bounds.holds + PATIENCE;
        waits.then(|| (Step::TimePasses, Ok(State { now: state.now + 1, ..state.clone() })))
    }

    fn rest(&mut self, state: &State) -> Result<(), Broken> {
        rules::rest(&mut self.real, state)
    }
}

impl Model {
    fn normal(&self, state: State) -> State {
        state.normal(self.guards.status_precondition, self.guards.file_precondition)
    }

    /// What happens to the processes, and what they have no part in.
    fn outside(&mut self, state: &State) -> Ways {
        let mut ways = self.people(state);
        if state.now < self.bounds.holds {
            ways.push((Step::TimePasses, Ok(State { now: state.now + 1, ..state.clone() })));
        }
        for process in 0..2 {
            if state.processes[process].runs && state.left.crashes > 0 {
                ways.push((Step::Dies(process), Ok(dies(state, process))));
            }
        }
        if let Some(leader) = state.lease.filter(|_| state.left.lost_leads > 0) {
            let mut next = state.clone();
            next.left.lost_leads -= 1;
            next.lease = None;
            if self.guards.gate {
                next.end_term(leader);
            }
            ways.push((Step::LosesTheLead(leader), Ok(next)));
        }
        ways.extend(self.begins(state));
        for (at, write) in state.wire.iter().enumerate() {
            ways.push((Step::AForgottenWriteArrives(*write), self.arrives(state, at)));
            let mut lost = state.clone();
            lost.wire.remove(at);
            ways.push((Step::AForgottenWriteIsLost(*write), Ok(lost)));
        }
        ways
    }

    /// Processes that start, and that begin to lead.
    fn begins(&mut self, state: &State) -> Ways {
        let mut ways = Ways::new();
        for process in 0..2 {
            let mut next = state.clone();
            if !state.processes[process].runs {
                let known = &mut next.processes[process];
                known.runs = true;
                // It lists everything.
                known.behind.fill(0);
                known.file_behind = 0;
                ways.push((Step::Starts(process), Ok(next)));
            } else if state.lease.is_none() {
                next.lease = Some(process);
                next.begin_term(process);
                ways.push((Step::Leads(process), Ok(next)));
            }
        }
        ways
    }

    fn people(&self, state: &State) -> Ways {
        let mut ways = Ways::new();
        for rollout in 0..state.rollouts.len() {
            let stored = state.rollouts[rollout].current();
            let edits = [Edit::Raise, Edit::Lower, Edit::Suspend, Edit::Unsuspend, Edit::Attempt];
            for edit in edits.into_iter().filter(|_| state.left.edits > 0) {
                let spec = edited(stored.spec, edit);
                if spec != stored.spec {
                    let mut next = state.clone();
                    next.left.edits -= 1;
                    let generation = stored.generation + 1;
                    next.store(rollout, Stored { spec, generation, ..stored }, self.bounds.lag);
                    ways.push((Step::SomebodyEdits(rollout, edit), Ok(next)));
                }
            }
            let verbs = [Verb::Rollback, Verb::Retry, Verb::Pause, Verb::Resume];
            for verb in verbs.into_iter().filter(|_| state.left.actions > 0) {
                let mut next = state.clone();
                next.left.actions -= 1;
                next.actions.push(Action { rollout, verb, created: state.now, answered: false, done: 0 });
                for process in &mut next.processes {
                    if process.leads {
                        process.term.judged.push(false);
                        process.term.verdicts.push(None);
                    }
                }
                ways.push((Step::SomebodyAsksFor(rollout, verb), Ok(next)));
            }
        }
        ways
    }

    /// A write arrives that nobody waits for.
    fn arrives(&mut self, state: &State, at: usize) -> After<State> {
        let mut next = state.clone();
        let write = next.wire.remove(at);
        self.store(&mut next, write)?;
        Ok(next)
    }

    /// All that a process may do next which works as a leader does.
    fn works(&mut self, state: &State, process: usize) -> Ways {
        let of = |what: Vec<(String, After<State>)>| {
            what.into_iter().map(move |(what, after)| (Step::OnItsWay(process, what), after))
        };
        let mut ways: Ways = of(self.flights(state, process)).collect();
        for rollout in 0..state.rollouts.len() {
            ways.extend(self.turns(state, process, rollout));
        }
        for action in 0..state.actions.len() {
            ways.extend(self.judgements(state, process, action));
        }
        ways.extend(self.answers_given(state, process));
        if is_to_look(state, process) {
            ways.extend(self.looks(state, process));
        }
        ways.extend(self.files(state, process));
        ways
    }

    /// One after the other of what a process does where nothing disturbs: with what is stored now, and in time.
    fn undisturbed_work(&mut self, state: &State, process: usize, work: usize) -> Option<Ways> {
        let (rollouts, actions) = (state.rollouts.len(), state.actions.len());
        let ways = match work {
            0 => self.files(state, process),
            1 => self.answers_given(state, process),
            2 if is_to_look(state, process) => self.looks(state, process),
            2 => Ways::new(),
            of if of < 3 + rollouts => self.turns(state, process, of - 3),
            of if of < 3 + rollouts + actions => self.judgements(state, process, of - 3 - rollouts),
            _ => return None,
        };
        let is_on_time = |(step, _): &(Step, After<State>)| match step {
            Step::Turn { behind, how, .. }
            | Step::Judges { behind, how, .. }
            | Step::WritesTheFile { behind, how, .. } => *behind == 0 && *how == How::OnTime,
            _ => true,
        };
        Some(ways.into_iter().filter(is_on_time).collect())
    }

    /// The file's writer begins a turn, and where nothing goes ahead of its status ends it at once.
    fn looks(&mut self, state: &State, process: usize) -> Ways {
        match self.look(state, process) {
            Ok(next) if !next.processes[process].term.writing.as_ref().is_some_and(|it| it.looked) => {
                self.files(&next, process)
            }
            after => vec![(Step::Looks { process }, after)],
        }
    }

    fn turns(&mut self, state: &State, process: usize, rollout: usize) -> Ways {
        let known = &state.processes[process];
        if known.term.turns[rollout].is_some() {
            return Ways::new();
        }
        let mut ways = Ways::new();
        for behind in 0..=known.behind[rollout] {
            let of = self.turn(state, process, rollout, behind).into_iter();
            ways.extend(of.map(|(how, after)| (Step::Turn { process, rollout, behind, how }, after)));
        }
        ways
    }

    fn judgements(&mut self, state: &State, process: usize, action: usize) -> Ways {
        let known = &state.processes[process];
        let rollout = state.actions[action].rollout;
        if known.term.judged[action] || known.term.acts[rollout].is_some() {
            return Ways::new();
        }
        let mut ways = Ways::new();
        for behind in 0..=known.behind[rollout] {
            let of = self.judge(state, process, action, behind).into_iter();
            ways.extend(of.map(|(how, after)| (Step::Judges { process, action, behind, how }, after)));
        }
        ways
    }

    fn answers_given(&mut self, state: &State, process: usize) -> Ways {
        let to_give = |action: &usize| state.processes[process].term.verdicts[*action].is_some();
        let actions = (0..state.actions.len()).filter(to_give);
        actions
            .map(|action| (Step::Answers { process, action }, self.answer(state, process, action)))
            .collect()
    }

    fn files(&mut self, state: &State, process: usize) -> Ways {
        let known = &state.processes[process];
        if known.term.writing.as_ref().is_none_or(|writing| writing.flight.is_some()) {
            return Ways::new();
        }
        let mut ways = Ways::new();
        for behind in 0..=known.file_behind {
            let of = self.write(state, process, behind).into_iter();
            ways.extend(of.map(|(how, after)| (Step::WritesTheFile { process, behind, how }, after)));
        }
        ways
    }
}

/// Whether the file's writer is to begin a turn: it was asked to, or the ConfigMap is another one than it knows.
fn is_to_look(state: &State, process: usize) -> bool {
    let term = &state.processes[process].term;
    let text = |file: Option<state::File>| file.map(|file| file.text);
    term.writing.is_none() && (term.dirty || text(term.remembered) != text(state.file.current()))
}

/// A process is killed, and its lead ends.
fn dies(state: &State, process: usize) -> State {
    let mut next = state.clone();
    next.left.crashes -= 1;
    next.end_term(process);
    let known = &mut next.processes[process];
    known.runs = false;
    known.behind.fill(0);
    known.file_behind = 0;
    if next.lease == Some(process) {
        next.lease = None;
    }
    next
}

fn edited(spec: Spec, edit: Edit) -> Spec {
    match edit {
        Edit::Raise => Spec { first_step: Percentage::Raised, ..spec },
        Edit::Lower => Spec { first_step: Percentage::Lowered, ..spec },
        Edit::Suspend => Spec { suspended: true, ..spec },
        Edit::Unsuspend => Spec { suspended: false, ..spec },
        Edit::Attempt => Spec { attempt: spec.attempt + 1, ..spec },
    }
}

//! One process's standing for one shard: makes the calls, and opens and closes the gate.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::candidate::{Ask, Candidate, Todo};
use super::crew::Crew;
use super::gate::Gate;
use super::lease::Stored;
use super::machine::{Answer, Call, Loss};
use super::note::Note;
use super::record::{Local, Record};
use super::shard::{Shard, lease_name};
use super::{Election, Terms};
use crate::clock;
use crate::telemetry::Metrics;
use crate::watchdog::{Name, Watchdog, What, resting};

/// How long a release may take: whoever waits for the end of the process does not wait for long.
const RELEASING: Duration = Duration::from_secs(2);

/// One process in the election of one shard.
pub struct Elector {
    election: Election,
    shard: Shard,
    candidate: Candidate,
    crew: Crew,
    /// Whether the crew knows that this one holds its Lease.
    holds: bool,
    /// The Leases that were asked for, by number.
    stored: BTreeMap<u16, Stored>,
    /// The gate of the present term, while there is one, and the term's number.
    gate: Option<(u64, Gate)>,
    gates: watch::Sender<Option<Gate>>,
    /// Says that no term is to begin any more, and that the present one is to end.
    shutdown: CancellationToken,
    metrics: Metrics,
    origin: Instant,
    /// What is led, as it stands in sentences: nothing where it is everything.
    what: String,
    /// The holder that was logged last, and what the first Lease said then.
    told: Option<String>,
    told_note: Option<Note>,
    /// Whether the last read, and the last write, has failed.
    fails: [bool; 2],
}

impl Elector {
    /// A process that does not lead yet, and where it says so when it does. The terms end with `shutdown`.
    pub fn new(
        election: Election,
        shard: Shard,
        crew: Crew,
        metrics: Metrics,
        shutdown: CancellationToken,
    ) -> (Elector, Terms) {
        let (gates, terms) = watch::channel(None);
        let elector = Elector {
            candidate: Candidate::new(election.identity.clone(), shard, election.timing, crew.seed()),
            election,
            shard,
            crew,
            holds: false,
            stored: BTreeMap::new(),
            gate: None,
            gates,
            shutdown,
            metrics,
            origin: clock::monotonic(),
            what: if shard.is_whole() { String::new() } else { format!(" {shard}") },
            told: None,
            told_note: None,
            fails: [false; 2],
        };
        (elector, terms)
    }

    /// Stands for election, and renews the lead, until `ended`. Then the Lease is released where this process holds it and
    /// nothing it began still writes.
    pub async fn run(mut self, ended: CancellationToken, watchdog: Watchdog) {
        let (hints, mut heard) = watch::channel(None);
        let hearing = {
            let (election, ended) = (self.election.clone(), ended.clone());
            let name = lease_name(&election.name, self.shard.index());
            move || listen(election.clone(), name.clone(), hints.clone(), ended.clone())
        };
        tokio::spawn(watchdog.keep(Name::of_all(What::Watch, "Lease"), hearing));
        let mut notes = self.crew.hear();
        let depends = self.shard.index() > 0;
        loop {
            let now = self.now();
            let todo = self.candidate.next(now, self.crew.around(self.holds));
            self.publish(now);
            let leaving = self.leaving();
            match todo {
                Todo::WaitUntil(until) => tokio::select! {
                    biased;
                    () = ended.cancelled() => break,
                    Ok(()) = heard.changed() => {
                        if let Some(version) = heard.borrow_and_update().clone() {
                            self.candidate.hint(&version, self.now());
                        }
                    }
                    Ok(()) = notes.changed(), if depends => self.candidate.wake(self.now()),
                    () = over(leaving.as_ref()), if leaving.is_some() => self.candidate.ended(self.now()),
                    () = resting(clock::sleep(until.saturating_sub(now))) => {}
                },
                Todo::Call(ask, bound) => tokio::select! {
                    biased;
                    () = ended.cancelled() => break,
                    () = self.make(&ask, now, bound) => {}
                },
            }
        }
        self.release().await;
    }

    fn now(&self) -> Local {
        self.origin.elapsed()
    }

    async fn make(&mut self, ask: &Ask, started: Local, bound: Duration) {
        let (answer, failure) = self.stored(ask.lease).make(&ask.call, ask.note, bound).await;
        self.note_failure(ask, failure);
        let note = match &answer {
            Answer::Is(record) => Some(record.note),
            Answer::Missing if !self.shard.is_whole() => Some(Note::UNKNOWN),
            Answer::Missing | Answer::Conflict | Answer::Failed => None,
        };
        if let Some(note) = note.filter(|_| ask.lease == 0) {
            self.crew.tell(note);
        }
        let now = self.now();
        self.candidate.answered(ask, started, now, answer);
        self.publish(now);
    }

    fn stored(&mut self, index: u16) -> &mut Stored {
        let Election { client, namespace, name, .. } = &self.election;
        self.stored.entry(index).or_insert_with(|| {
            Stored::new(Api::namespaced(client.clone(), namespace), lease_name(name, index))
        })
    }

    /// Opens, keeps open or closes the gate, as the candidate says.
    fn publish(&mut self, now: Local) {
        let holds = self.candidate.holds(now);
        if std::mem::replace(&mut self.holds, holds) != holds {
            self.crew.note_held(holds);
        }
        let until = self.candidate.writes_until(now).map(|until| self.origin + until);
        let term = self.candidate.term();
        if let Some((of, gate)) = &self.gate {
            match until {
                Some(until) if *of == term => {
                    if self.candidate.is_to_end() && !gate.ends().is_cancelled() {
                        self.tell_end();
                        gate.ends().cancel();
                    }
                    return gate.extend(until);
                }
                _ => {}
            }
            let ended_in_order = gate.ends().is_cancelled() && gate.is_closed();
            gate.close();
            self.gate = None;
            self.metrics.set_leads(self.shard.index(), false);
            self.gates.send_replace(None);
            if !ended_in_order {
                self.tell_loss();
            }
        }
        match until {
            Some(until) => {
                let gate = Gate::open(Some(until), self.shutdown.child_token()).of(self.shard);
                self.gate = Some((term, gate.clone()));
                self.metrics.set_leads(self.shard.index(), true);
                self.told = None;
                tracing::info!(
                    identity = self.election.identity,
                    "this process leads{}: it decides from now on",
                    self.what
                );
                self.gates.send_replace(Some(gate));
            }
            None => self.tell_holder(),
        }
    }

    /// The gate of a term that is to end in order.
    fn leaving(&self) -> Option<Gate> {
        self.gate.as_ref().filter(|_| self.candidate.is_to_end()).map(|(_, gate)| gate.clone())
    }

    fn tell_end(&self) {
        let note = self.crew.around(self.holds).note.unwrap_or_default();
        tracing::info!(
            identity = self.election.identity,
            "another number of shards is to be in force ({note}): this process hands{} over",
            self.what
        );
    }

    fn tell_loss(&self) {
        let why = match self.candidate.lost() {
            Some(Loss::Taken(holder)) if holder.is_empty() => "somebody emptied its Lease".to_owned(),
            Some(Loss::Taken(holder)) => format!("its Lease names {holder}"),
            Some(Loss::Deadline) | None => {
                format!(
                    "its Lease could not be renewed within {} s",
                    self.election.timing.renew().as_secs_f32()
                )
            }
        };
        let identity = &self.election.identity;
        tracing::warn!(
            identity,
            "this process does not lead{} any more: {why}; it writes nothing and stays a candidate",
            self.what
        );
    }

    /// Logs who leads, where that is news.
    fn tell_holder(&mut self) {
        self.tell_number();
        let Some(seen) = self.candidate.seen() else { return };
        let record = seen.record.as_ref();
        let holder = record.map(|record| record.holder.clone()).unwrap_or_default();
        let identity = &self.election.identity;
        if self.told.as_ref() == Some(&holder)
            || holder == *identity
            || record.is_some_and(Record::is_released)
        {
            return;
        }
        match holder.is_empty() {
            false => {
                tracing::info!(identity, holder, "another process leads{}; this one stands by", self.what);
            }
            true => tracing::info!(
                identity,
                "the Lease{} has no holder, and none has released it: it may have been taken from a leader that does not know \
                 yet, so it is taken after {} s",
                self.what,
                self.election.timing.lease().as_secs()
            ),
        }
        self.told = Some(holder);
    }

    /// Logs that another number of shards is in force, once for the process.
    fn tell_number(&mut self) {
        if self.shard.index() > 0 {
            return;
        }
        let record = self.candidate.seen().and_then(|seen| seen.record.as_ref());
        let note = record.map(|record| record.note).filter(|note| note.ends(self.shard.shards()));
        if std::mem::replace(&mut self.told_note, note) != note
            && let Some(note) = note
        {
            tracing::info!(
                identity = self.election.identity,
                "{note} shards are in force, and this process is to have {}: it stands by until nobody leads the first one",
                self.shard.shards().count()
            );
        }
    }

    /// Logs calls that fail, reads and writes each once until they work again.
    fn note_failure(&mut self, ask: &Ask, failure: Option<String>) {
        let Election { namespace, name, .. } = &self.election;
        let name = lease_name(name, ask.lease);
        let [reading, writing] = &mut self.fails;
        let (what, fails) = if ask.call == Call::Look { ("read", reading) } else { ("written", writing) };
        match &failure {
            Some(why) if !*fails => tracing::warn!(
                "the Lease {namespace}/{name} could not be {what}: {why}; it is tried again, and no process decides anything \
                 without it"
            ),
            Some(why) => tracing::debug!("the Lease {namespace}/{name} could not be {what}: {why}"),
            None if *fails => tracing::info!("the Lease {namespace}/{name} can be {what} again"),
            None => {}
        }
        *fails = failure.is_some();
    }

    async fn release(&mut self) {
        let now = self.now();
        let holds = self.candidate.holds(now);
        let term = self.gate.take();
        if let Some((_, gate)) = &term {
            gate.close();
            self.metrics.set_leads(self.shard.index(), false);
            self.gates.send_replace(None);
        }
        if !holds {
            return;
        }
        let index = self.shard.index();
        let releasing = async {
            // What still writes would do so beside the next leader.
            if let Some((_, gate)) = &term {
                gate.idle().await;
            }
            let mut call = self.candidate.resign(self.origin.elapsed());
            while let Some(put) = call.take() {
                let (mut answer, mut failure) = self.stored(index).make(&put, None, RELEASING).await;
                if answer == Answer::Conflict {
                    // A renewal that was under way has been done, or somebody has edited it.
                    (answer, failure) = self.stored(index).make(&Call::Look, None, RELEASING).await;
                    call = match &answer {
                        Answer::Is(record) => self.candidate.release(record),
                        _ => None,
                    };
                } else if failure.is_none() {
                    tracing::info!(identity = self.election.identity, "the Lease{} is released", self.what);
                }
                self.note_failure(&Ask { lease: index, call: put, note: None }, failure);
            }
        };
        if tokio::time::timeout(RELEASING, releasing).await.is_err() {
            tracing::warn!("the Lease could not be released in time: the next leader waits until it ends");
        }
    }
}

impl Drop for Elector {
    fn drop(&mut self) {
        // Whoever does not look after the Lease does not lead.
        if let Some((_, gate)) = &self.gate {
            gate.close();
        }
        if self.holds {
            self.crew.note_held(false);
        }
    }
}

/// Waits until nothing of a term writes any more, and nothing will.
async fn over(gate: Option<&Gate>) {
    if let Some(gate) = gate {
        resting(gate.until_closed()).await;
        gate.idle().await;
    }
}

/// Passes on which version of the Lease there is, so that what changes in it is looked at at once; empty where there is none.
/// Where it cannot be watched, it is looked at every so often.
async fn listen(
    election: Election,
    name: String,
    hints: watch::Sender<Option<String>>,
    ended: CancellationToken,
) {
    let api: Api<Lease> = Api::namespaced(election.client.clone(), &election.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher::watcher(api, config));
    loop {
        let event = tokio::select! {
            event = resting(events.next()) => event,
            () = ended.cancelled() => return,
        };
        match event {
            Some(Ok(Event::Apply(lease) | Event::InitApply(lease))) => {
                hints.send_replace(lease.resource_version());
            }
            Some(Ok(Event::Delete(_))) => {
                hints.send_replace(Some(String::new()));
            }
            Some(Ok(Event::Init | Event::InitDone)) => {}
            Some(Err(error)) => {
                tracing::debug!("the watch of the Lease broke: {}", crate::error::chain(&error));
                clock::sleep(election.timing.retry()).await;
            }
            None => return,
        }
    }
}

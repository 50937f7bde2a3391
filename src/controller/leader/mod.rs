//! Which of several processes decides: the one that holds the Lease, for as long as it can be sure of that.
//!
//! The rules are in [`machine`], which has no clock and makes no calls. What a lost lead takes with it is in [`gate`]: a term
//! has a gate, which all its writes pass, and which closes by itself when the lead was not renewed in time. So a process
//! that is cut off, slow or stopped writes nothing more before another one may begin. The preconditions of the writes stay
//! what decides in the end.
//!
//! The published library (`k8s-controller`) leaves acquiring and releasing unbounded, knows nothing of tasks that were spawned,
//! and lets a write through after a stop of the whole process; the gate needs the renewals' own times besides.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::telemetry::Metrics;
use crate::watchdog::{Name, Watchdog, What, resting};
use machine::{Answer, Call, Loss, Machine, Todo};
use record::{Local, Record};

pub use gate::Gate;
pub use timing::{Timing, TimingError};

mod gate;
mod lease;
mod machine;
mod record;
mod timing;

/// Name of the Lease.
pub const LEASE: &str = "sluice-controller";
/// How long a release may take: whoever waits for the end of the process does not wait for long.
const RELEASING: Duration = Duration::from_secs(2);

/// How a process stands for election.
#[derive(Clone)]
pub struct Election {
    /// A client of its own: what else is asked holds up no renewal.
    pub client: Client,
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// What this process is called in it. No other process may have the name, nor have had it.
    pub identity: String,
    /// How long a lead lasts.
    pub timing: Timing,
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Election { client: _, namespace, name, identity, timing } = self;
        write!(f, "Election {{ {identity} for {namespace}/{name}, {timing:?} }}")
    }
}

/// A name that no other process has, beginning with `instance`.
pub fn identity(instance: &str) -> String {
    format!("{instance}_{:08x}", random() >> 32)
}

/// The randomness that the standard library keys its hashes with: nobody is to guess it, two processes only have to differ.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// The gate of the present term, while this process leads.
pub type Terms = watch::Receiver<Option<Gate>>;

/// One process in the election.
pub struct Elector {
    election: Election,
    machine: Machine,
    stored: lease::Stored,
    /// The gate of the present term, while there is one, and the term's number.
    gate: Option<(u64, Gate)>,
    gates: watch::Sender<Option<Gate>>,
    /// Says that no term is to begin any more, and that the present one is to end.
    shutdown: CancellationToken,
    metrics: Metrics,
    origin: Instant,
    /// The holder that was logged last.
    told: Option<String>,
    /// Whether the last read, and the last write, has failed.
    fails: [bool; 2],
}

impl Elector {
    /// A process that does not lead yet, and where it says so when it does. The terms end with `shutdown`.
    pub fn new(election: Election, metrics: Metrics, shutdown: CancellationToken) -> (Elector, Terms) {
        let (gates, terms) = watch::channel(None);
        let api = Api::namespaced(election.client.clone(), &election.namespace);
        let elector = Elector {
            machine: Machine::new(election.identity.clone(), election.timing, random()),
            stored: lease::Stored::new(api, election.name.clone()),
            election,
            gate: None,
            gates,
            shutdown,
            metrics,
            origin: clock::monotonic(),
            told: None,
            fails: [false; 2],
        };
        (elector, terms)
    }

    /// Stands for election, and renews the lead, until `ended`. Then the Lease is released where this process leads and
    /// nothing it began still writes.
    pub async fn run(mut self, ended: CancellationToken, watchdog: Watchdog) {
        let (hints, mut heard) = watch::channel(None);
        let hearing = {
            let (election, ended) = (self.election.clone(), ended.clone());
            move || listen(election.clone(), hints.clone(), ended.clone())
        };
        tokio::spawn(watchdog.keep(Name::of_all(What::Watch, "Lease"), hearing));
        loop {
            let now = self.now();
            let todo = self.machine.next(now);
            self.publish(now);
            match todo {
                Todo::WaitUntil(until) => tokio::select! {
                    biased;
                    () = ended.cancelled() => break,
                    Ok(()) = heard.changed() => {
                        if let Some(version) = heard.borrow_and_update().clone() {
                            self.machine.hint(&version, self.now());
                        }
                    }
                    () = resting(clock::sleep(until.saturating_sub(now))) => {}
                },
                Todo::Call(call, bound) => tokio::select! {
                    biased;
                    () = ended.cancelled() => break,
                    () = self.make(&call, now, bound) => {}
                },
            }
        }
        self.release().await;
    }

    fn now(&self) -> Local {
        self.origin.elapsed()
    }

    async fn make(&mut self, call: &Call, started: Local, bound: Duration) {
        let (answer, failure) = self.stored.make(call, bound).await;
        self.note_failure(call, failure);
        let now = self.now();
        self.machine.answered(call, started, now, answer);
        self.publish(now);
    }

    /// Opens, keeps open or closes the gate, as the machine says.
    fn publish(&mut self, now: Local) {
        let until = self.machine.leads_until(now).map(|until| self.origin + until);
        let term = self.machine.term();
        if let Some((of, gate)) = &self.gate {
            match until {
                Some(until) if *of == term => return gate.extend(until),
                _ => gate.close(),
            }
            self.gate = None;
            self.metrics.set_leads(false);
            self.gates.send_replace(None);
            self.tell_loss();
        }
        match until {
            Some(until) => {
                let gate = Gate::open(Some(until), self.shutdown.child_token());
                self.gate = Some((term, gate.clone()));
                self.metrics.set_leads(true);
                self.told = None;
                tracing::info!(
                    identity = self.election.identity,
                    "this process leads: it decides from now on"
                );
                self.gates.send_replace(Some(gate));
            }
            None => self.tell_holder(),
        }
    }

    fn tell_loss(&self) {
        let why = match self.machine.lost() {
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
            "this process does not lead any more: {why}; it writes nothing and stays a candidate"
        );
    }

    /// Logs who leads, where that is news.
    fn tell_holder(&mut self) {
        let Some(seen) = self.machine.seen() else { return };
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
            false => tracing::info!(identity, holder, "another process leads; this one stands by"),
            true => tracing::info!(
                identity,
                "the Lease has no holder, and none has released it: it may have been taken from a leader that does not know \
                 yet, so it is taken after {} s",
                self.election.timing.lease().as_secs()
            ),
        }
        self.told = Some(holder);
    }

    /// Logs calls that fail, reads and writes each once until they work again.
    fn note_failure(&mut self, call: &Call, failure: Option<String>) {
        let Election { namespace, name, .. } = &self.election;
        let [reading, writing] = &mut self.fails;
        let (what, fails) = if *call == Call::Look { ("read", reading) } else { ("written", writing) };
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
        let until = self.machine.leads_until(now);
        let term = self.gate.take();
        if let Some((_, gate)) = &term {
            gate.close();
            self.metrics.set_leads(false);
            self.gates.send_replace(None);
        }
        let (Some((_, gate)), Some(_)) = (term, until) else { return };
        let releasing = async {
            // What still writes would do so beside the next leader.
            gate.idle().await;
            let mut call = self.machine.resign(self.origin.elapsed());
            while let Some(put) = call.take() {
                let (mut answer, mut failure) = self.stored.make(&put, RELEASING).await;
                if answer == Answer::Conflict {
                    // A renewal that was under way has been done, or somebody has edited it.
                    (answer, failure) = self.stored.make(&Call::Look, RELEASING).await;
                    call = match &answer {
                        Answer::Is(record) => self.machine.release(record),
                        _ => None,
                    };
                } else if failure.is_none() {
                    tracing::info!(identity = self.election.identity, "the Lease is released");
                }
                self.note_failure(&put, failure);
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
    }
}

/// The gate of the next term, or of the present one; `None` when nobody stands for election any more.
pub async fn next_term(terms: &mut Terms) -> Option<Gate> {
    loop {
        let gate = terms.borrow_and_update().clone();
        if let Some(gate) = gate.filter(|gate| !gate.is_closed()) {
            return Some(gate);
        }
        terms.changed().await.ok()?;
    }
}

/// Passes on which version of the Lease there is, so that what changes in it is looked at at once; empty where there is none.
/// Where it cannot be watched, it is looked at every so often.
async fn listen(election: Election, hints: watch::Sender<Option<String>>, ended: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(election.client.clone(), &election.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", election.name));
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

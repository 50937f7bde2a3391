//! What a rollout's triggers and criteria are measured by, when it is due, in tasks of their own.
//!
//! They never wait for a decision and no decision waits for them: what was measured is kept in memory, and the rollout
//! is brought into the queue to be decided on with it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;

use super::cache::{ObjectKey, Share, key_of};
use super::context::{Context, Key, Shared};
use super::queue::{Places, Priority, Queue, metered};
use crate::api::measured::{Measured, MeasuredKind};
use crate::api::metricsource::Circuit;
use crate::api::{FeatureRollout, FeatureRolloutStatus, MicroTime};
use crate::clock::Clock;
use crate::engine::{self, Metrics, Subject};
use crate::fair::Turns;
use crate::plan::Guard;
use crate::sources::{self, Sources};
use crate::watchdog::{Name, What, resting};
use limits::Limits;
use pace::Pace;
use resolver::Resolver;
use room::{Others, Room};
use samples::Watched;

mod events;
mod limits;
mod pace;
mod recent;
mod resolver;
mod room;
mod run;
mod samples;
mod status;

pub use events::{metric_source_event, metric_template_event};
pub use run::{Question, ask};
pub use status::{metric_source, metric_template};

/// Templates beyond what their namespace may have that are read at once.
const READS: usize = 4;

/// The measurements of every rollout.
pub struct Analysis {
    watched: Mutex<HashMap<ObjectKey, Watched>>,
    room: Room,
    /// When each rollout is to be looked at next.
    queue: Queue<ObjectKey, ()>,
    sources: Sources,
    resolver: Resolver,
    limits: Limits,
    pace: Pace,
    /// Templates that are read because their namespace has more than its share.
    reads: Turns,
    circuits: Mutex<HashMap<String, (Circuit, Option<&'static str>)>>,
    /// Whether every source and template has been listed: before, one that is missing may only not be known yet.
    listed: AtomicBool,
}

impl Analysis {
    /// Nothing is watched yet. No source may be where the API server listens; `share` is what a namespace may have of memory for
    /// what is measured.
    pub fn new(clock: Clock, api_server: Vec<SocketAddr>, share: Share) -> Analysis {
        let options = sources::Options { api_server, ..sources::Options::default() };
        Analysis {
            watched: Mutex::default(),
            room: Room::new(share),
            queue: Queue::new(clock, Places { deciding: 1, reporting: 1 }, |_| None),
            sources: Sources::new(options),
            resolver: Resolver::default(),
            limits: Limits::default(),
            pace: Pace::default(),
            reads: Turns::of(READS),
            circuits: Mutex::default(),
            listed: AtomicBool::new(false),
        }
    }

    /// What was measured for a rollout.
    pub fn metrics(&self, key: &ObjectKey, uid: &str) -> Metrics {
        let watched = self.watched();
        let known = watched.get(key).filter(|watched| watched.uid == uid);
        Metrics::Measured(known.map(Watched::measurements).unwrap_or_default())
    }

    /// Whether the first measurement of a rollout with triggers is still to come, although it is due.
    pub fn is_beginning(&self, key: &ObjectKey, uid: &str) -> bool {
        let watched = self.watched();
        let known = watched.get(key).filter(|watched| watched.uid == uid);
        known.is_none_or(|watched| !self.is_listed() || watched.is_beginning())
    }

    /// How many entries there are of what is kept.
    pub fn census(&self) -> [(&'static str, usize); 4] {
        let (rollouts, readings) = {
            let watched = self.watched();
            (watched.len(), watched.values().map(Watched::readings).sum())
        };
        [
            ("measured_rollouts", rollouts),
            ("unmeasured_rollouts", self.room.beyond()),
            ("measurements_due", self.queue.keys()),
            ("readings_kept", readings),
        ]
    }

    fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<ObjectKey, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a rollout looked at now.
    fn look_again(&self, key: &ObjectKey) {
        self.queue.push(key.clone(), Priority::Decide);
    }
}

/// Takes the room that it needs to watch over a rollout of so many cohorts with this guard; why there is none, where that is so.
pub fn admit(ctx: &Context, rollout: &FeatureRollout, guard: &Guard, cohorts: usize) -> Option<String> {
    let key = key_of(rollout);
    if is_idle(guard) {
        return None;
    }
    let is_beyond = ctx.rollouts.is_beyond(&key);
    // Most turns change nothing of it.
    if !is_beyond
        && ctx.analysis.watched().get(&key).is_some_and(|known| known.is_so(rollout, guard, cohorts))
    {
        return None;
    }
    let mut bytes = room::bytes(guard, cohorts);
    if is_beyond {
        bytes = bytes.saturating_add(room::written(&rollout.status));
    }
    let created = rollout.metadata.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second());
    let others = ctx.analysis.room.take(&key, created, bytes);
    tell(ctx, others);
    ctx.analysis.room.refusal(&key)
}

/// Has those whom it concerns that there is more room or less decided on again.
fn tell(ctx: &Context, others: Others) {
    for key in &others.displaced {
        stop(ctx, key);
    }
    for key in others.displaced.into_iter().chain(others.next) {
        ctx.queue.push(Key::Rollout(key), Priority::Decide);
    }
}

/// Whether nothing is to be measured.
fn is_idle(guard: &Guard) -> bool {
    guard.triggers.is_empty() && guard.criteria.is_empty()
}

/// Watches over a rollout with this guard from now on, where there is room for it. Its status must have been persisted.
pub fn follow(
    ctx: &Context,
    rollout: &FeatureRollout,
    status: &FeatureRolloutStatus,
    flag: &str,
    guard: &Guard,
) {
    let key = key_of(rollout);
    if is_idle(guard) {
        return forget(ctx, &key);
    }
    if ctx.analysis.room.refusal(&key).is_some() {
        return stop(ctx, &key);
    }
    let uid = rollout.uid().unwrap_or_default();
    let mut watched = ctx.analysis.watched();
    if watched.get(&key).is_none_or(|known| known.uid != uid) {
        watched.insert(key.clone(), Watched::new(uid, flag.to_owned(), Arc::new(guard.clone())));
    }
    if let Some(known) = watched.get_mut(&key) {
        known.follow(guard);
        known.cohorts = status.cohorts.len();
        // Of what its namespace has no room for no status is known by heart.
        known.status = ctx.rollouts.is_beyond(&key).then(|| Box::new(status.clone()));
    }
    drop(watched);
    ctx.analysis.look_again(&key);
}

/// Forgets everything about a rollout.
pub fn forget(ctx: &Context, key: &ObjectKey) {
    stop(ctx, key);
    tell(ctx, ctx.analysis.room.leave(key));
}

/// Watches over a rollout no more.
fn stop(ctx: &Context, key: &ObjectKey) {
    if ctx.analysis.watched().remove(key).is_some() {
        ctx.analysis.queue.forget(key);
        ctx.metrics.checks.forget(key);
    }
}

/// Shows no value of any rollout that was watched over in a term.
pub fn forget_values(ctx: &Context) {
    for key in ctx.analysis.watched().keys() {
        ctx.metrics.checks.forget(key);
    }
}

/// What was measured lately of a rollout, each series with its unit; nothing of one that nothing is measured of.
pub fn measured(ctx: &Context, key: &ObjectKey) -> Measured {
    let watched = ctx.analysis.watched();
    let Some(known) = watched.get(key) else { return Measured::default() };
    let (guard, mut series) = (known.guard().clone(), known.course());
    drop(watched);
    for one in &mut series {
        let name = one.name.clone();
        let subject = match one.kind {
            MeasuredKind::Trigger => Subject::Trigger(name),
            MeasuredKind::Criterion => Subject::Criterion(name),
        };
        let template = samples::asks(&guard, &subject).and_then(|asks| {
            let namespace = asks.template_namespace.unwrap_or(&key.0).to_owned();
            ctx.metric_templates.readable(&(namespace, asks.metric.template_ref.name.clone()))
        });
        one.unit = template.and_then(|template| template.spec.unit);
    }
    Measured { series }
}

/// Has every check made when it is due, until the shutdown. Sources and templates must have been listed.
pub async fn run(ctx: Shared) {
    ctx.analysis.listed.store(true, Ordering::Release);
    for key in ctx.metric_sources.keys() {
        ctx.queue.push(Key::MetricSource(key), Priority::Report);
    }
    for key in ctx.metric_templates.keys() {
        ctx.queue.push(Key::MetricTemplate(key), Priority::Report);
    }
    loop {
        let key = tokio::select! {
            biased;
            () = ctx.shutdown.cancelled() => return,
            key = resting(ctx.analysis.queue.next()) => key,
        };
        let done = Done { ctx: &ctx, key: &key };
        let ((), took) = metered(async { look(&ctx, &key) }).await;
        ctx.analysis.queue.note_cost(&key, took);
        drop(done);
    }
}

/// A look at a rollout, which is over when this is dropped, in whatever way that comes about.
struct Done<'a> {
    ctx: &'a Context,
    key: &'a ObjectKey,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.ctx.analysis.queue.done(self.key);
    }
}

/// Begins the checks of a rollout that are due, and arms the next.
fn look(ctx: &Shared, key: &ObjectKey) {
    let stored = ctx.rollouts.get(key);
    if stored.is_none() {
        // It went while somebody decided on it.
        return forget(ctx, key);
    }
    let rollout = stored.as_ref().and_then(|stored| stored.0.as_ref().ok());
    let unwritten = FeatureRolloutStatus::default();
    let now = ctx.clock.now();
    let mut next: Option<MicroTime> = None;
    let mut begun = Vec::new();
    {
        let mut watched = ctx.analysis.watched();
        let Some(watched) = watched.get_mut(key) else { return };
        let beyond = watched.status.take();
        let status = match (rollout, &beyond) {
            (Some(rollout), _) if rollout.uid().as_deref() != Some(watched.uid.as_str()) => return,
            (Some(rollout), _) => rollout.status.as_ref().unwrap_or(&unwritten),
            (None, Some(status)) => status,
            (None, None) => return,
        };
        let guard = watched.guard().clone();
        for due in engine::due(&guard, status, now) {
            next = Some(next.map_or(due.next, |next| next.min(due.next)));
            if let Some(ticket) = watched.begin(&due, now) {
                begun.extend(run::Measurement::new(key, watched, status, due, ticket));
            }
        }
        watched.status = beyond;
    }
    ctx.analysis.queue.push_at(key.clone(), next);
    for check in begun {
        let name = Name::of_object(What::Check, format_args!("FeatureRollout {}/{}", key.0, key.1));
        tokio::spawn(ctx.watchdog.watch(name, run::run(ctx.clone(), check)));
    }
}

/// Brings a rollout back to be decided on; where something is in breach, before others.
fn decide(ctx: &Context, key: &ObjectKey, in_breach: bool) {
    let priority = if in_breach { Priority::Urgent } else { Priority::Decide };
    ctx.queue.push(Key::Rollout(key.clone()), priority);
}

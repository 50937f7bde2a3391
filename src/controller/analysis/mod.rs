//! What a rollout's triggers and criteria are measured by, when it is due, in tasks of their own.
//!
//! They never wait for a decision and no decision waits for them: what was measured is kept in memory, and the rollout
//! is brought into the queue to be decided on with it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;

use super::cache::ObjectKey;
use super::context::{Context, Key, Shared};
use super::queue::{Places, Priority, Queue};
use crate::api::measured::{Measured, MeasuredKind};
use crate::api::metricsource::Circuit;
use crate::api::{FeatureRollout, FeatureRolloutStatus, MicroTime};
use crate::clock::Clock;
use crate::engine::{self, Metrics, Subject};
use crate::plan::Guard;
use crate::sources::{self, Sources};
use crate::watchdog::{Name, What, resting};
use limits::Limits;
use resolver::Resolver;
use samples::Watched;

mod events;
mod limits;
mod recent;
mod resolver;
mod run;
mod samples;
mod status;

pub use events::{metric_source_event, metric_template_event};
pub use run::{Question, ask};
pub use status::{metric_source, metric_template};

/// The measurements of every rollout.
pub struct Analysis {
    watched: Mutex<HashMap<ObjectKey, Watched>>,
    /// When each rollout is to be looked at next.
    queue: Queue<ObjectKey, ()>,
    sources: Sources,
    resolver: Resolver,
    limits: Limits,
    circuits: Mutex<HashMap<String, (Circuit, Option<&'static str>)>>,
    /// Whether every source and template has been listed: before, one that is missing may only not be known yet.
    listed: AtomicBool,
}

impl Analysis {
    /// Nothing is watched yet. No source may be where the API server listens.
    pub fn new(clock: Clock, api_server: Vec<SocketAddr>) -> Analysis {
        let options = sources::Options { api_server, ..sources::Options::default() };
        Analysis {
            watched: Mutex::default(),
            queue: Queue::new(clock, Places { deciding: 1, reporting: 1 }, |_| None),
            sources: Sources::new(options),
            resolver: Resolver::default(),
            limits: Limits::default(),
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
    pub fn census(&self) -> [(&'static str, usize); 3] {
        let (rollouts, readings) = {
            let watched = self.watched();
            (watched.len(), watched.values().map(Watched::readings).sum())
        };
        [
            ("measured_rollouts", rollouts),
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

/// Watches over a rollout with this guard from now on. Its state must have been persisted.
pub fn follow(ctx: &Context, rollout: &FeatureRollout, flag: &str, guard: &Guard) {
    let key = (rollout.namespace().unwrap_or_default(), rollout.name_any());
    if guard.triggers.is_empty() && guard.criteria.is_empty() {
        return forget(ctx, &key);
    }
    let uid = rollout.uid().unwrap_or_default();
    let mut watched = ctx.analysis.watched();
    match watched.get_mut(&key).filter(|watched| watched.uid == uid) {
        Some(known) => known.follow(guard),
        None => {
            watched.insert(key.clone(), Watched::new(uid, flag.to_owned(), Arc::new(guard.clone())));
        }
    }
    drop(watched);
    ctx.analysis.look_again(&key);
}

/// Forgets everything about a rollout.
pub fn forget(ctx: &Context, key: &ObjectKey) {
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
        look(&ctx, &key);
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
    let Some(Ok(rollout)) = stored.as_ref().map(|stored| &stored.0) else { return };
    let unwritten = FeatureRolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&unwritten);
    let now = ctx.clock.now();
    let mut next: Option<MicroTime> = None;
    let mut begun = Vec::new();
    {
        let mut watched = ctx.analysis.watched();
        let Some(watched) = watched.get_mut(key) else { return };
        if rollout.uid().as_deref() != Some(watched.uid.as_str()) {
            return;
        }
        let guard = watched.guard().clone();
        for due in engine::due(&guard, status, now) {
            next = Some(next.map_or(due.next, |next| next.min(due.next)));
            if let Some(ticket) = watched.begin(&due, now) {
                begun.extend(run::Measurement::new(key, watched, status, due, ticket));
            }
        }
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

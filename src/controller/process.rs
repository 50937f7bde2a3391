//! What lasts as long as the process, however often it leads: the watches, and what they have told.
//!
//! Everything else that is known belongs to one term of leading, and is known anew in the next: what was said, what is in the
//! files, what is under way. So a term begins as a process does, but with all objects at hand.
//!
//! With several shards a process may lead any number of them, each in terms of its own. All share what the watches have told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::context::{Caches, Context, Key, Shared};
use super::index::Index;
use super::leader::{Gate, Shard, Shards};
use super::queue::{Places, Priority, Queue};
use super::shares::NamespaceShares;
use super::watch as watches;
use super::{
    Options, REPORTING_PART, actions, ahead, analysis, changelog, channels, events, keys, nudge, playbooks,
    policies, revisions, signing, told, writer,
};
use crate::cluster::Cluster;
use crate::server::Health;
use crate::telemetry::Metrics;
use crate::watchdog::{Name, What, resting};

/// The process.
pub struct Process {
    client: Client,
    /// The API server as the watches read it.
    pub cluster: Cluster,
    /// How it is run.
    pub options: Options,
    /// Counters and timings.
    pub metrics: Metrics,
    caches: Caches,
    health: Health,
    shards: Shards,
    /// What the watches tell of changes, by shard: the present term, or one in which nothing is done.
    present: Vec<RwLock<Shared>>,
    /// The shards that are led, and whether what is to be decided there is known.
    led: Mutex<BTreeMap<u16, bool>>,
    is_watching: AtomicBool,
    /// Whether every kind has been listed, without those that only checks need and with them.
    listed: watch::Sender<bool>,
    measurable: watch::Sender<bool>,
    shutdown: CancellationToken,
}

impl Process {
    /// One that knows nothing yet and stands by.
    pub fn new(
        client: Client,
        options: Options,
        metrics: Metrics,
        health: Health,
        shutdown: CancellationToken,
    ) -> Arc<Process> {
        for kind in watches::EXPECTED {
            health.expect(kind);
        }
        let caches = Caches::new(&NamespaceShares::of(options.namespace_memory));
        let gate = Gate::closed(shutdown.child_token());
        // Of whatever term, objects that cannot be read are told of once.
        let cluster = Cluster::new(gate.guard(&client), metrics.clone(), health.clone());
        let cluster = cluster.with_silence(options.watch_silence);
        let shards = options.election.as_ref().map_or(Shards::ONE, |election| election.shards);
        let present = shards.each().map(|shard| {
            let ctx = context(&client, &cluster, &options, &metrics, &caches, &gate.clone().of(shard));
            keep_tidy(&ctx);
            RwLock::new(ctx)
        });
        let present = present.collect();
        Arc::new(Process {
            client,
            cluster,
            options,
            metrics,
            caches,
            health,
            shards,
            present,
            led: Mutex::default(),
            is_watching: AtomicBool::new(false),
            listed: watch::Sender::new(false),
            measurable: watch::Sender::new(false),
            shutdown,
        })
    }

    /// What is told of changes now, by shard.
    pub fn present(&self) -> Vec<Shared> {
        self.present.iter().map(read).collect()
    }

    /// What is told of changes in a namespace now.
    pub fn present_of(&self, namespace: &str) -> Shared {
        read(self.slot(self.shards.of(namespace)))
    }

    /// The same for the operator's own namespace.
    pub fn home(&self) -> Shared {
        self.present_of(&self.options.namespace)
    }

    /// Waits until nobody holds ordinary work back, or has done so for long enough.
    pub async fn until_free(&self) {
        for ctx in self.present() {
            ctx.queue.until_free().await;
        }
    }

    /// Begins a term of a shard: what changes from now on is told to it, and what is known is to be looked at.
    pub fn begin(&self, gate: &Gate) -> Shared {
        let ctx = self.context(gate);
        let is_first = {
            let mut led = self.led();
            led.insert(ctx.shard.index(), false);
            led.len() == 1
        };
        for kind in watches::EXPECTED_OF_LEADERS.iter().filter(|_| is_first) {
            self.health.expect(kind);
        }
        self.replace(ctx.clone());
        // In this order: what the watches have told before is in the caches, and what they tell now is told to the term.
        self.enter_all(&ctx);
        for key in ctx.rollouts.keys() {
            ctx.queue.push(Key::Rollout(key), Priority::Decide);
        }
        for key in ctx.flag_sets.keys() {
            ctx.queue.push(Key::FlagSet(key), Priority::Decide);
        }
        for key in ctx.cohort_sets.keys() {
            ctx.queue.push(Key::CohortSet(key), Priority::Report);
        }
        for key in ctx.playbooks.keys() {
            ctx.queue.push(Key::Playbook(key), Priority::Report);
        }
        for key in ctx.rollout_policies.keys() {
            ctx.queue.push(Key::RolloutPolicy(key), Priority::Report);
        }
        ctx
    }

    /// Says that what is to be decided in a term is known.
    pub fn works(&self, shard: Shard) {
        let mut led = self.led();
        led.insert(shard.index(), true);
        self.tell_ready(&led);
    }

    /// Stands by in a shard: what is told is kept, and nothing is done about it.
    pub fn stand_by(&self, shard: Shard) {
        let ctx = self.context(&Gate::closed(self.shutdown.child_token()).of(shard));
        keep_tidy(&ctx);
        let before = self.replace(ctx.clone());
        // Whose files are worth keeping is asked of these.
        self.enter_all(&ctx);
        self.metrics.stands_by(shard.index());
        self.health.set_waiting(None);
        let mut led = self.led();
        led.remove(&shard.index());
        if led.is_empty() {
            self.metrics.checks.forget_all();
            for kind in watches::EXPECTED_OF_LEADERS {
                self.health.expect_no_more(kind);
            }
        } else {
            analysis::forget_values(&before);
        }
        if self.is_listed() {
            self.tell_ready(&led);
        }
    }

    /// Whether everything that is led is also worked on: a process that leads nothing could at once.
    fn tell_ready(&self, led: &BTreeMap<u16, bool>) {
        if led.values().all(|works| *works) {
            self.health.set_ready(true);
        }
    }

    fn led(&self) -> MutexGuard<'_, BTreeMap<u16, bool>> {
        self.led.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a term's rollouts of each other. Whoever that concerns is looked at, too.
    fn enter_all(&self, ctx: &Shared) {
        for key in ctx.rollouts.keys().into_iter().filter(|key| ctx.owns(&key.0)) {
            let _concerned = watches::enter(ctx, &key);
        }
    }

    fn context(&self, gate: &Gate) -> Shared {
        context(&self.client, &self.cluster, &self.options, &self.metrics, &self.caches, gate)
    }

    fn slot(&self, shard: Shard) -> &RwLock<Shared> {
        // There is one for each.
        &self.present[usize::from(shard.index())]
    }

    /// Tells changes to this one from now on; returns the one before, which is to end.
    fn replace(&self, ctx: Shared) -> Shared {
        let mut present = self.slot(ctx.shard).write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *present, ctx);
        drop(present);
        before.shutdown.cancel();
        before
    }

    /// Starts every watch, if that has not been done.
    pub fn watch(self: &Arc<Process>) {
        if self.is_watching.swap(true, Ordering::AcqRel) {
            return;
        }
        let process = self.clone();
        let watching = async move {
            for list in watches::start(&process) {
                // A watch ends only with the process.
                let _ended = resting(list).await;
            }
            // These tell whose ConfigMaps are worth keeping.
            let _ended = resting(watches::start_files(&process)).await;
            process.listed.send_replace(true);
            for list in watches::start_metrics(&process) {
                let _ended = resting(list).await;
            }
            process.measurable.send_replace(true);
        };
        let name = Name::of_process(What::Watches);
        tokio::spawn(self.options.watchdog.watch(name, watching));
    }

    /// Whether everything that decisions are made from has been listed.
    pub fn is_listed(&self) -> bool {
        *self.listed.borrow()
    }

    /// Waits until everything that decisions are made from has been listed.
    pub async fn listed(&self) {
        until(&self.listed).await;
    }

    /// Waits until what checks need has been listed, too.
    pub async fn measurable(&self) {
        until(&self.measurable).await;
    }

    /// Says that the process is to end.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }
}

fn read(slot: &RwLock<Shared>) -> Shared {
    slot.read().unwrap_or_else(PoisonError::into_inner).clone()
}

async fn until(done: &watch::Sender<bool>) {
    let mut heard = done.subscribe();
    // The sender outlives this.
    let _done = heard.wait_for(|done| *done).await;
}

/// A term in which nothing has been done yet. Its writes pass `gate`.
fn context(
    client: &Client,
    cluster: &Cluster,
    options: &Options,
    metrics: &Metrics,
    caches: &Caches,
    gate: &Gate,
) -> Shared {
    let index = Arc::new(Index::default());
    let queue = {
        let index = index.clone();
        let deciding = options.concurrency;
        let places = Places { deciding, reporting: deciding / REPORTING_PART };
        Queue::new(options.clock.clone(), places, move |key| match key {
            Key::Rollout(rollout) => index.set_of(rollout),
            Key::FlagSet(_)
            | Key::CohortSet(_)
            | Key::MetricSource(_)
            | Key::MetricTemplate(_)
            | Key::NotificationChannel(_)
            | Key::Playbook(_)
            | Key::RolloutPolicy(_)
            | Key::Changelog(_)
            | Key::Stray(..) => None,
        })
    };
    let shard = gate.shard();
    let queue = if shard.is_whole() { queue } else { queue.only_of(move |namespace| shard.owns(namespace)) };
    let client = gate.guard(client);
    let cluster = Arc::new(cluster.through(client.clone()));
    let channels = Arc::new(channels::Channels::new(
        cluster.clone(),
        options.clock.clone(),
        gate.clone(),
        options.namespace.clone(),
        options.api_server.clone(),
        {
            let caches = caches.clone();
            Arc::new(move |is_told| told::known(&caches, is_told))
        },
        options.watchdog.clone(),
    ));
    Arc::new(Context {
        client,
        cluster: cluster.clone(),
        analysis: analysis::Analysis::new(
            options.clock.clone(),
            options.api_server.clone(),
            NamespaceShares::of(options.namespace_memory).measurements,
        ),
        clock: options.clock.clone(),
        rollouts: caches.rollouts.clone(),
        cohort_sets: caches.cohort_sets.clone(),
        flag_sets: caches.flag_sets.clone(),
        rollout_policies: caches.rollout_policies.clone(),
        namespaces: caches.namespaces.clone(),
        metric_sources: caches.metric_sources.clone(),
        metric_templates: caches.metric_templates.clone(),
        notification_channels: caches.notification_channels.clone(),
        playbooks: caches.playbooks.clone(),
        plans: playbooks::Playbooks::default(),
        config_maps: caches.config_maps.clone(),
        index,
        policies: policies::Policies::default(),
        revisions: revisions::Revisions::default(),
        queue,
        events: events::Events::default(),
        unannounced: keys::Unannounced::default(),
        changelogs: changelog::Changelogs::default(),
        channels,
        signing: signing::Signing::new(options.signing_secret.clone()),
        hub: writer::Hub::default(),
        output_names: options.output_names.clone(),
        places: writer::Places::default(),
        versions: Arc::new(writer::Versions::new(cluster)),
        ahead: ahead::Ahead::default(),
        nudger: nudge::Nudger::new(options.nudge_pods),
        actions: actions::Actions::new(options.policy_settling),
        listed: AtomicBool::new(false),
        metrics: metrics.clone(),
        watchdog: options.watchdog.clone(),
        namespace: options.namespace.clone(),
        shard,
        instance: options.instance.clone(),
        shutdown: gate.ends().clone(),
    })
}

/// Keeps nothing in a process that stands by of rollouts that are gone.
fn keep_tidy(ctx: &Shared) {
    let tidying = {
        let ctx = ctx.clone();
        move || tidy(ctx.clone())
    };
    tokio::spawn(ctx.watchdog.keep(Name::of_process(What::Tidying), tidying));
}

async fn tidy(ctx: Shared) {
    loop {
        let key = tokio::select! {
            key = resting(ctx.queue.next()) => key,
            () = ctx.shutdown.cancelled() => return,
        };
        if let Key::Rollout(rollout) = &key
            && ctx.rollouts.get(rollout).is_none()
        {
            ctx.index.remove(rollout);
        }
        drop(ctx.index.take_left());
        ctx.queue.done(&key);
    }
}

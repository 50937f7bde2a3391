//! One term of leading, from the first look at what there is to the last write.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::context::{Key, Shared};
use super::leader::Gate;
use super::process::Process;
use super::queue::Cause;
use super::{
    ControllerError, actions, analysis, catch_up, events, housekeeping, note_panic, pins, revisions, signing,
    strays, watch, work,
};
use crate::clock;
use crate::error::chain;
use crate::server::Health;
use crate::watchdog::{Name, What, resting};

/// How long a shutdown waits for work under way.
const DRAIN: Duration = Duration::from_secs(5);
/// How long what still writes has to stop once the lead is lost.
pub(super) const STOP: Duration = Duration::from_secs(2);

/// Decides until the term ends: by the shutdown or because the shards are to be others, which lets work under way end, or by the
/// closing of its gate, which lets nothing end.
///
/// # Errors
/// When something does not stop writing.
pub async fn lead(process: &Arc<Process>, gate: &Gate, health: &Health) -> Result<(), ControllerError> {
    let ctx = process.begin(gate);
    // Before anything is listed: an emergency does not wait for a cache.
    let acting = keep(&ctx, What::Actions, actions::run);
    process.watch();
    let mut at_work = JoinSet::new();
    tokio::select! {
        biased;
        () = ctx.shutdown.cancelled() => {}
        () = prepare(process, &ctx, gate.opened(), health) => {
            tracing::info!(rollouts = ctx.rollouts.len(), "every kind is listed; working");
            process.works(ctx.shard);
            let work = work_on(process, &ctx, &mut at_work);
            ctx.watchdog.watch(Name::of_process(What::Queue), work).await;
        }
    }
    if gate.is_closed() {
        process.stand_by(ctx.shard);
        return stop(gate, acting, at_work).await;
    }
    let is_over = process.shutdown().is_cancelled();
    if is_over {
        health.set_ready(false);
    }
    drain(&ctx, gate, acting, at_work).await;
    gate.close();
    if !is_over {
        process.stand_by(ctx.shard);
    }
    Ok(())
}

/// Waits until everything is known that decisions are made from.
async fn prepare(process: &Process, ctx: &Shared, since: Instant, health: &Health) {
    let known = async {
        process.listed().await;
        catch_up::until(ctx, since).await;
        load_revisions(ctx).await;
    };
    // Nothing in a file is believed, and so nothing decided, without the keys.
    tokio::join!(known, signing::until_loaded(ctx, health));
    ctx.listed.store(true, Ordering::Release);
}

async fn load_revisions(ctx: &Shared) {
    let mut failures = 0;
    let pinned = pins::of_statuses(ctx).revisions;
    while let Err(fault) = revisions::load(ctx, &pinned).await {
        failures += 1;
        let wait = Cause::Failure.wait(failures).mul_f64(0.75 + fastrand::f64() / 2.0);
        tracing::warn!(
            "the audiences that files serve could not be listed: {}; they are listed again in {} ms",
            chain(&fault),
            wait.as_millis()
        );
        clock::sleep(wait).await;
    }
}

/// Works on what is to be done until the term ends.
async fn work_on(process: &Arc<Process>, ctx: &Shared, at_work: &mut JoinSet<()>) {
    let how_often = process.options.housekeeping;
    keep(ctx, What::Housekeeping, move |ctx| housekeeping::run(ctx, how_often));
    keep(ctx, What::SigningKeys, signing::follow);
    let measuring = process.clone();
    keep(ctx, What::Checks, move |ctx| measure(measuring.clone(), ctx));
    keep(ctx, What::Events, events::run);
    strays::watch(ctx);
    // Each message is sent once, whichever shard it is about.
    if ctx.is_home() {
        // Its end is waited for: what is being sent is to be written down.
        let telling = {
            let (process, ctx) = (process.clone(), ctx.clone());
            move || tell(process.clone(), ctx.clone())
        };
        at_work.spawn(ctx.watchdog.keep(Name::of_process(What::Channels), telling));
    }
    loop {
        let next = async {
            tokio::select! {
                biased;
                () = ctx.shutdown.cancelled() => Next::End,
                Some(ended) = at_work.join_next() => Next::Ended(ended),
                key = ctx.queue.next() => Next::Work(key),
            }
        };
        match resting(next).await {
            Next::End => return,
            Next::Ended(ended) => note_panic(&ctx.watchdog, ended),
            Next::Work(key) => {
                let name = Name::of_object(What::Work, &key);
                at_work.spawn(ctx.watchdog.watch(name, work(ctx.clone(), key)));
            }
        }
    }
}

/// What comes next.
enum Next {
    End,
    Ended(Result<(), JoinError>),
    Work(Key),
}

/// Runs a part until the end of the term.
fn keep<F>(ctx: &Shared, what: What, begin: impl Fn(Shared) -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let kept = {
        let ctx = ctx.clone();
        move || begin(ctx.clone())
    };
    tokio::spawn(ctx.watchdog.keep(Name::of_process(what), kept))
}

/// Makes the checks once sources and templates are known; decisions do not wait for that.
async fn measure(process: Arc<Process>, ctx: Shared) {
    tokio::select! {
        () = resting(process.measurable()) => analysis::run(ctx).await,
        () = ctx.shutdown.cancelled() => {}
    }
}

/// Tells people what happens once it is known whom; nothing waits for that.
async fn tell(process: Arc<Process>, ctx: Shared) {
    tokio::select! {
        () = resting(process.measurable()) => {}
        () = ctx.shutdown.cancelled() => return,
    }
    for key in ctx.notification_channels.keys() {
        watch::channel(&ctx, &key);
    }
    ctx.channels.open();
    for key in ctx.rollouts.keys() {
        events::hand_over(&ctx, &key);
    }
    resting(ctx.channels.drained()).await;
}

/// Lets work under way end, for a while.
async fn drain(ctx: &Shared, gate: &Gate, acting: JoinHandle<()>, mut at_work: JoinSet<()>) {
    let all = async {
        // One that ended before has nothing under way.
        let _ended = acting.await;
        while let Some(ended) = at_work.join_next().await {
            note_panic(&ctx.watchdog, ended);
        }
        gate.idle().await;
    };
    if tokio::time::timeout(DRAIN, all).await.is_err() {
        tracing::warn!("work under way was cut off; the next start goes on from the statuses");
    }
}

/// Ends what is under way: it can write nothing any more.
async fn stop(gate: &Gate, acting: JoinHandle<()>, mut at_work: JoinSet<()>) -> Result<(), ControllerError> {
    acting.abort();
    let all = async {
        at_work.shutdown().await;
        gate.idle().await;
    };
    tokio::time::timeout(STOP, all).await.map_err(|_| ControllerError::Writing)
}

//! When events are tried: what changes what is served goes first at the API server, and the writes of one namespace hold up the
//! events of no other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::pending::{AT_ONCE, Notice};
use super::{Context, Shared, attempt, report};
use crate::clock;
use crate::controller::ahead;
use crate::watchdog::{Name, What, resting};

/// How long an event lets decisions and files of its namespace go first that wait.
const YIELDING: Duration = Duration::from_secs(1);
/// How long an event waits for actions, which may be anybody's: not as long as they may hold other work back.
const BRIEFLY: Duration = Duration::from_millis(25);

/// Publishes what is handed over, and lets reports go that wait for too long, until the shutdown.
pub async fn run(ctx: Shared) {
    tokio::select! {
        biased;
        () = ctx.shutdown.cancelled() => {}
        // Beside the other: a report waits no longer because no call is free.
        () = let_go(&ctx) => {}
        () = try_all(&ctx) => {}
    }
}

async fn try_all(ctx: &Shared) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        // The semaphore is never closed.
        let place = resting(places.clone().acquire_owned()).await.ok();
        resting(until_ready(ctx)).await;
        // Whoever has waited long enough goes on all the same.
        let _late = tokio::time::timeout(BRIEFLY, ctx.queue.until_free()).await;
        // From here on nothing is waited for: what is taken is tried, however this ends.
        let Some(notice) = take(ctx) else { continue };
        let (namespace, object) = &notice.about.key;
        let of = format_args!("{} {namespace}/{object}", notice.about.kind);
        let name = Name::of_object(What::Event, of);
        tokio::spawn(ctx.watchdog.watch(name, attempt(ctx.clone(), notice, place)));
    }
}

/// Waits until an event may be tried.
async fn until_ready(ctx: &Context) {
    loop {
        let changed = ctx.events.changed.notified();
        let now = clock::monotonic();
        let at = {
            let mut inner = ctx.events.lock();
            if inner.pending.is_ready(now, |namespace| yields(ctx, namespace)) {
                return;
            }
            inner.pending.next_at()
        };
        tokio::select! {
            () = changed => {}
            () = clock::sleep(at.unwrap_or(now).saturating_duration_since(now)), if at.is_some() => {}
        }
    }
}

fn take(ctx: &Context) -> Option<Notice> {
    ctx.events.lock().pending.take(clock::monotonic(), |namespace| yields(ctx, namespace))
}

/// For how long at most an event of a namespace lets other writes of it go first; zero where there are none.
fn yields(ctx: &Context, namespace: &str) -> Duration {
    if ctx.ahead.goes_first(namespace) {
        return ahead::GOES_FIRST;
    }
    if ctx.queue.is_decided(namespace) { Duration::ZERO } else { YIELDING }
}

/// Has each report go on without its events that has waited for them for long enough.
async fn let_go(ctx: &Context) {
    loop {
        let asked = ctx.events.asked.notified();
        let now = clock::monotonic();
        let (late, at) = {
            let mut inner = ctx.events.lock();
            (inner.pending.release_late(now), inner.pending.next_late_at())
        };
        report(ctx, late);
        let until = at.unwrap_or(now).saturating_duration_since(now);
        resting(async {
            tokio::select! {
                () = asked => {}
                () = clock::sleep(until), if at.is_some() => {}
            }
        })
        .await;
    }
}

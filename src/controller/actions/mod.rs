//! The actions: their own watch and their own work, which wait neither for the caches nor for ordinary steps.
//!
//! The actions of one rollout are carried out one after the other: what stops and lowers first, the rest in the order of their creation.
//! Rollouts take turns, so that no namespace waits for the actions of another. Each action is judged once; its effect and its UID are
//! persisted in one status write, then the file's writer gets it, then it is answered, the file first where that takes no time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::cache::{ObjectKey, key_of};
use super::context::{Key, Shared};
use super::queue::{Cause, Priority, metered};
use super::{note_panic, watch};
use crate::api::FeatureRolloutStatus;
use crate::api::rolloutaction::{Answer, RolloutAction};
use crate::clock;
use crate::cluster::Scope;
use crate::engine::{self, Precedence};
use crate::error::{Fault, chain};
use crate::fair::hold;
use crate::watchdog::{Name, What, resting};
use answer::Answered;
use judge::{Judged, Over};
use pending::{Asked, Next, Pending, Rank, stops_or_lowers};
use places::Places;
use work::{Work, read_again, take_in};

mod answer;
mod clean_up;
mod judge;
mod pending;
mod places;
mod policies;
mod room;
mod work;

pub use clean_up::sweep;
#[cfg(test)]
pub(super) use judge::follow_up;
pub use policies::SETTLING;

/// How often a rollout is read again at once because somebody else wrote it meanwhile.
const MOST_CONFLICTS: u32 = 20;
/// After how many failed tries an action that raises is given up for one that stops or lowers and waits behind it.
const MOST_ERRORS: u32 = 1;
/// How often is looked whether such a one waits.
const PASSING_POLL: Duration = Duration::from_millis(50);
/// How long an action that raises waits for the file to hold the last decision.
const DELIVERY: Duration = Duration::from_secs(2);
/// The same, right after a start: nobody may have handed that decision over yet.
const FIRST_DELIVERY: Duration = Duration::from_secs(10);
/// How long an action that raises waits for the first measurement of the rollout's triggers.
const MEASURING: Duration = Duration::from_secs(10);
/// How long an action waits for the first turn of its rollout, once everything is listed.
const BEGINNING: Duration = Duration::from_secs(10);
/// The same, before: no rollout has a turn then.
const FIRST_BEGINNING: Duration = Duration::from_secs(60);
/// How often that is looked for. Polled, as the answer may come from the writer, from a turn of the rollout, or from an
/// action that ends the waiting.
const DELIVERY_POLL: Duration = Duration::from_millis(5);
/// How long an answer lets the file go first: the API server has time for one after the other, and apps wait for the file.
const FILE_FIRST: Duration = Duration::from_millis(100);
/// How long the next action of a rollout waits for the answer of the one before.
const ANSWERING: Duration = Duration::from_millis(500);
/// The fields that a watch of actions without an answer asks for.
const UNANSWERED: &str = "status.answer=";

/// What is known of the actions.
pub struct Actions {
    pending: Mutex<Pending>,
    changed: Notify,
    places: Places,
    policies: policies::Policies,
    /// UIDs, by rollout, of carried out actions whose answer is given: its words may go from the status.
    given: Mutex<HashMap<ObjectKey, Vec<String>>>,
}

impl Actions {
    /// Nothing is known yet. An admission policy is believed to be enforced once `settling` has passed since its last change.
    pub fn new(settling: Duration) -> Actions {
        Actions {
            pending: Mutex::default(),
            changed: Notify::new(),
            places: Places::default(),
            policies: policies::Policies::new(settling),
            given: Mutex::default(),
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn given(&self) -> MutexGuard<'_, HashMap<ObjectKey, Vec<String>>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a rollout that is gone.
    pub fn forget(&self, rollout: &ObjectKey) {
        self.given().remove(rollout);
    }

    /// How many entries there are of what is kept.
    pub fn census(&self) -> [(&'static str, usize); 2] {
        [("actions", self.pending().len()), ("given_answers", self.given().len())]
    }

    /// Takes the words of given answers out of a status that is about to be written.
    pub fn forget_words(&self, rollout: &ObjectKey, status: &mut FeatureRolloutStatus) {
        let mut given = self.given();
        let Some(uids) = given.get_mut(rollout) else { return };
        let has_words =
            |uid: &String| status.actions.iter().any(|known| known.uid == *uid && known.message.is_some());
        // Those that a write has taken out already are done with.
        uids.retain(has_words);
        for uid in uids.iter() {
            engine::answered(status, uid);
        }
        if uids.is_empty() {
            given.remove(rollout);
        }
    }
}

/// Works until the shutdown, then lets what is under way end.
pub async fn run(ctx: Shared) {
    // Where this part fell, all work under way fell with it.
    ctx.actions.pending().all_ended();
    let mut at_work = JoinSet::new();
    at_work.spawn(ctx.watchdog.keep(Name::of_all(What::Watch, "RolloutAction"), {
        let ctx = ctx.clone();
        move || follow(ctx.clone())
    }));
    loop {
        for rollout in ctx.actions.pending().start() {
            let name = Name::of_object(What::ActionsOf, format_args!("{}/{}", rollout.0, rollout.1));
            at_work.spawn(ctx.watchdog.watch(name, work(ctx.clone(), rollout)));
        }
        for namespace in ctx.actions.pending().take_free() {
            at_work.spawn(read_again(ctx.clone(), namespace));
        }
        let ended = async {
            tokio::select! {
                () = ctx.actions.changed.notified() => Ok(()),
                Some(ended) = at_work.join_next() => ended,
                () = ctx.shutdown.cancelled() => Ok(()),
            }
        };
        note_panic(&ctx.watchdog, resting(ended).await);
        if ctx.shutdown.is_cancelled() {
            break;
        }
    }
    while resting(at_work.join_next()).await.is_some() {}
}

async fn follow(ctx: Shared) {
    let unanswered = Scope::of::<RolloutAction>(None).fields(UNANSWERED);
    watch::follow(ctx, unanswered, |ctx, event| {
        take_in(ctx, event);
        ctx.actions.changed.notify_one();
    })
    .await;
}

/// Works on the actions of a rollout until there is none.
async fn work(ctx: Shared, rollout: ObjectKey) {
    let _work = Work { ctx: ctx.clone(), rollout: rollout.clone() };
    while !ctx.shutdown.is_cancelled() {
        let rank = rank(&ctx, &rollout);
        let Some(next) = ctx.actions.pending().next(&rollout, rank) else { break };
        let Some(answered) = judge(&ctx, &rollout, &next).await else {
            ctx.queue.push(Key::Rollout(rollout.clone()), Priority::Decide);
            continue;
        };
        let Next { asked, overtakes, .. } = next;
        {
            let mut pending = ctx.actions.pending();
            // What has nothing to take away may have something once what was asked for before it is done.
            if overtakes && answered.answer == Answer::Rejected {
                pending.goes_in_turn(&rollout, &asked);
                continue;
            }
            if answered.answer == Answer::Applied {
                pending.carried_out(&rollout);
            }
            // What was judged stays judged.
            pending.answered(&asked);
        }
        let _held = ctx.queue.hold();
        let giving = tokio::spawn(give(ctx.clone(), rollout.clone(), asked, answered));
        // An answer that takes its time holds up nobody: the next action may be an emergency.
        let _slow = tokio::time::timeout(ANSWERING, giving).await;
        // What was read here is no news to the watch: whoever the rollout concerns has to hear of it.
        ctx.queue.push(Key::Rollout(rollout.clone()), Priority::Decide);
    }
}

/// Judges an action and carries it out, once. `None` where it is gone, or the process ends.
async fn judge(ctx: &Shared, rollout: &ObjectKey, next: &Next) -> Option<Answered> {
    let Next { asked, precedence, .. } = next;
    let mut conflicts = 0;
    let mut errors = 0;
    let mut over = Over::default();
    loop {
        let judged = {
            let (dear, _place) = resting(ctx.actions.places.take(&rollout.0, *precedence)).await;
            let _held = ctx.queue.hold();
            let (judged, took) = hold(dear, metered(judge::judge(ctx, rollout, asked, over))).await;
            ctx.actions.places.note_cost(&rollout.0, took);
            judged
        };
        match judged {
            Ok(Judged::Done(answered)) => return Some(answered),
            Ok(Judged::Undelivered) => {
                let longest = if ctx.is_listed() { DELIVERY } else { FIRST_DELIVERY };
                until_delivered(ctx, rollout, longest, || {
                    ctx.actions.pending().any(rollout, stops_or_lowers)
                })
                .await;
                over.delivery = true;
            }
            Ok(Judged::Unmeasured) => {
                let ends = || ctx.actions.pending().any(rollout, stops_or_lowers);
                until_measured(ctx, rollout, ends).await;
                over.measurement = true;
            }
            Ok(Judged::NotBegun) => {
                until_begun(ctx, rollout).await;
                over.beginning = true;
            }
            Err(Fault::Conflict(_) | Fault::NotFound(_)) if conflicts < MOST_CONFLICTS => conflicts += 1,
            Err(fault) => {
                let is_persistent = errors >= MOST_ERRORS;
                if is_persistent && let Some(answered) = judge::give_up(ctx, rollout, asked, &fault).await {
                    return Some(answered);
                }
                // Whoever begins to wait behind it is no longer kept than one more try, or than now where nothing of it
                // could be undone.
                let is_alone = !keeps_waiting(ctx, rollout, asked);
                let raises = raises(ctx, rollout, asked);
                let passed = async {
                    while !(is_alone && keeps_waiting(ctx, rollout, asked)
                        || !raises && is_overtaken(ctx, rollout, asked))
                    {
                        clock::sleep(PASSING_POLL).await;
                    }
                };
                let goes_on = tokio::select! {
                    goes_on = wait_after(ctx, asked, &fault, errors) => goes_on,
                    () = passed => true,
                };
                let gives_way = !raises && is_overtaken(ctx, rollout, asked);
                if !goes_on || gives_way || !ctx.actions.pending().waits(asked) {
                    return None;
                }
                over.known = true;
                errors += 1;
            }
        }
    }
}

/// Gives an answer, however often that has to be tried.
async fn give(ctx: Shared, rollout: ObjectKey, asked: Asked, mut answered: Answered) {
    if answered.answer == Answer::Applied {
        let holds_up =
            || ctx.actions.pending().any(&rollout, |_| true) || answer::is_held_back(&ctx, &rollout);
        until_delivered(&ctx, &rollout, FILE_FIRST, holds_up).await;
    }
    if let Some(revision) = answered.revision {
        answered.message.push_str(&answer::delivery(&ctx, &rollout, revision));
    }
    let mut errors = 0;
    loop {
        match answer::give(&ctx, &asked, &answered).await {
            Ok(()) => return note(&ctx, &rollout, &asked, &answered),
            Err(fault @ Fault::Invalid(_)) => {
                // It was stored before the schema was tightened, and no write to it is taken any more.
                let (namespace, name) = key_of(&*asked);
                tracing::warn!(
                    "RolloutAction {namespace}/{name} cannot be answered: {}; it stays without an answer",
                    chain(&fault)
                );
                return;
            }
            Err(fault) => {
                if !wait_after(&ctx, &asked, &fault, errors).await {
                    return;
                }
                errors += 1;
            }
        }
    }
}

/// Notes that an answer has been given.
fn note(ctx: &Shared, rollout: &ObjectKey, asked: &Asked, answered: &Answered) {
    if let (Answer::Applied, Some(uid)) = (answered.answer, asked.uid()) {
        let mut given = ctx.actions.given();
        if ctx.index.knows(rollout) {
            given.entry(rollout.clone()).or_default().push(uid);
        }
    }
    ctx.metrics.action_answered(answered.answer.as_str());
    tracing::info!(
        namespace = rollout.0,
        rollout = rollout.1,
        action = key_of(&**asked).1,
        answer = answered.answer.as_str(),
        said = answered.message,
        "an action was answered"
    );
}

/// Waits after an error, longer each time; `false` when the process ends.
async fn wait_after(ctx: &Shared, asked: &Asked, fault: &Fault, errors: u32) -> bool {
    let (namespace, name) = key_of(&**asked);
    let wait = Cause::Unreachable.wait(errors + 1).max(fault.asks_to_wait());
    tracing::warn!(
        "RolloutAction {namespace}/{name} could not be carried out or answered: {}; it is tried again in {} ms",
        chain(fault),
        wait.as_millis()
    );
    tokio::select! {
        () = clock::sleep(wait) => true,
        () = ctx.shutdown.cancelled() => false,
    }
}

/// Waits until the file holds the last decision; for `longest` at most, and not once `ends` says so.
async fn until_delivered(ctx: &Shared, rollout: &ObjectKey, longest: Duration, ends: impl Fn() -> bool) {
    let begun = clock::monotonic();
    while begun.elapsed() < longest && !ctx.shutdown.is_cancelled() {
        if answer::is_delivered(ctx, rollout) || ends() {
            return;
        }
        clock::sleep(DELIVERY_POLL).await;
    }
}

/// Waits for the first measurement of a rollout's triggers, and not once `ends` says so.
async fn until_measured(ctx: &Shared, rollout: &ObjectKey, ends: impl Fn() -> bool) {
    let begun = clock::monotonic();
    while begun.elapsed() < MEASURING && !ctx.shutdown.is_cancelled() {
        if !judge::is_beginning(ctx, rollout) || ends() {
            return;
        }
        clock::sleep(DELIVERY_POLL).await;
    }
}

/// Waits for the first turn of a rollout.
async fn until_begun(ctx: &Shared, rollout: &ObjectKey) {
    let begun = clock::monotonic();
    let mut listed = None;
    while !ctx.shutdown.is_cancelled() && begun.elapsed() < FIRST_BEGINNING {
        if ctx.is_listed() && listed.get_or_insert_with(clock::monotonic).elapsed() >= BEGINNING {
            return;
        }
        if !ctx.rollouts.readable(rollout).is_some_and(|rollout| judge::begins(&rollout)) {
            return;
        }
        clock::sleep(DELIVERY_POLL).await;
    }
}

/// Ranks the actions of a rollout.
fn rank(ctx: &Shared, key: &ObjectKey) -> impl Fn(&RolloutAction) -> Rank + use<> {
    let stored = ctx.rollouts.get(key);
    let rollout = stored.as_ref().and_then(|stored| stored.0.as_ref().ok());
    let status: FeatureRolloutStatus = rollout.and_then(|rollout| rollout.status.clone()).unwrap_or_default();
    move |action| Rank {
        precedence: engine::precedence(&action.spec, &status),
        raises: engine::is_raising(&action.spec, &status),
    }
}

/// Whether an action raises.
fn raises(ctx: &Shared, key: &ObjectKey, asked: &Asked) -> bool {
    asked.0.as_ref().is_ok_and(|action| rank(ctx, key)(action).raises)
}

/// Whether another action of the rollout goes before this one by now.
fn is_overtaken(ctx: &Shared, key: &ObjectKey, asked: &Asked) -> bool {
    let first = ctx.actions.pending().first(key, rank(ctx, key));
    first.is_some_and(|first| first.asked.uid() != asked.uid())
}

/// Whether an action raises, and one that stops or lowers waits behind it.
fn keeps_waiting(ctx: &Shared, key: &ObjectKey, asked: &Asked) -> bool {
    let rank = rank(ctx, key);
    let goes_first = |other: &RolloutAction| rank(other).precedence != Precedence::Ordinary;
    raises(ctx, key, asked) && ctx.actions.pending().any(key, goes_first)
}

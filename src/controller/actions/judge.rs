//! One action, judged by what is true now, and carried out in the same breath.

use std::sync::Arc;

use kube::ResourceExt;

use super::answer::{Answered, is_delivered, status_of, with_revision};
use super::pending::Asked;
use super::{keeps_waiting, policies};
use crate::api::rolloutaction::{Action, Answer, RolloutAction};
use crate::api::{FeatureRollout, FeatureRolloutStatus, MicroTime};
use crate::controller::cache::{ObjectKey, version};
use crate::controller::context::{Key, Shared};
use crate::controller::gather::{Gathered, Observed, Stalled, gather};
use crate::controller::persist::refresh;
use crate::controller::queue::Priority;
use crate::controller::revisions::guards;
use crate::controller::rollout::{Advanced, Pace, advance};
use crate::controller::stalled;
use crate::engine::{self, Actor, Decision, Facts, Ground, Outcome, Request};
use crate::error::{Fault, chain};
use crate::plan::{Guard, Plan};

/// What came of a look at an action.
pub enum Judged {
    /// It has its answer, and whatever follows from that is persisted.
    Done(Answered),
    /// It would raise, and the file does not hold the last decision yet.
    Undelivered,
    /// It would raise, and the first measurement of the rollout's triggers by this process is still to come.
    Unmeasured,
    /// The rollout has not had its first turn yet, in which it may take over what the file serves.
    NotBegun,
}

/// What is not tried or waited for any more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Over {
    /// To do without a read of the rollout: by the version that is known here something could not be looked up.
    pub known: bool,
    /// That the file holds the last decision.
    pub delivery: bool,
    /// That the triggers are measured for the first time.
    pub measurement: bool,
    /// That the rollout has its first turn.
    pub beginning: bool,
}

/// Labels and annotations by which GitOps tools, backups and Helm know what they create again.
pub(super) const TRACKED_BY: [&str; 8] = [
    "argocd.argoproj.io/tracking-id",
    "argocd.argoproj.io/instance",
    "argocd.argoproj.io/installation-id",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
    "meta.helm.sh/release-name",
    "velero.io/restore-name",
    "app.kubernetes.io/instance",
];

/// Judges an action, and persists and hands over what follows from it.
///
/// `over` says what is not tried or waited for any more.
///
/// # Errors
/// What kept it from being judged or persisted: it is judged again then, unless it was persisted all the same, which
/// the status says.
pub async fn judge(ctx: &Shared, key: &ObjectKey, asked: &Asked, over: Over) -> Result<Judged, Fault> {
    let action = match &asked.0 {
        Ok(action) => action,
        Err(invalid) => return Ok(rejected(format!("the action cannot be read: {}", invalid.error))),
    };
    let _hold = ctx.ahead.hold(key);
    let version = || ctx.rollouts.get(key).map(|stored| stored.resource_version());
    let known = version().filter(|_| !over.known);
    if known.is_none() {
        refresh(ctx, key).await?;
        return by_known(ctx, key, action, over).await;
    }
    // What is applied is persisted over the very version that it was judged by, or not at all: whatever version is known
    // here, an answer that was persisted needs no read before it. Any other answer holds for the stored version alone.
    let judged = by_known(ctx, key, action, over).await?;
    if matches!(&judged, Judged::Done(answered) if answered.answer == Answer::Applied) {
        return Ok(judged);
    }
    refresh(ctx, key).await?;
    if version() == known { Ok(judged) } else { by_known(ctx, key, action, over).await }
}

/// Judges an action by the rollout as it is known here.
async fn by_known(
    ctx: &Shared,
    key: &ObjectKey,
    action: &RolloutAction,
    over: Over,
) -> Result<Judged, Fault> {
    let Some(stored) = ctx.rollouts.get(key) else {
        return Ok(rejected(format!("there is no FeatureRollout {} in namespace {}", key.1, key.0)));
    };
    // What lowers a rollout is done although its namespace has more than it may have in memory.
    let stored = match ctx.rollouts.is_beyond(key) {
        true => ctx.cluster.get(key).await?.map_or(stored, Arc::new),
        false => stored,
    };
    let rollout = match &stored.0 {
        Ok(rollout) => rollout,
        Err(invalid) => return Ok(rejected(format!("the rollout cannot be read: {}", invalid.error))),
    };
    let ahead = ctx.ahead.overtake(key, rollout);
    let rollout = ahead.as_ref().unwrap_or(rollout);
    let status = rollout.status.clone().unwrap_or_default();
    let raising = engine::is_raising(&action.spec, &status);
    let mut request = request(ctx, action, rollout, Actor::Unverified);
    if let Some(answered) = at_once(&status, &request, ctx.clock.now()) {
        return Ok(Judged::Done(answered));
    }
    request.actor = policies::actor(ctx, action, raising).await?;
    if raising {
        know_dependencies(ctx, key, rollout).await?;
    }
    let result = match gather(ctx, rollout, ahead.is_some()).await? {
        Gathered::Ready(_) if !over.beginning && begins(rollout) => {
            ctx.queue.push(Key::Rollout(key.clone()), Priority::Decide);
            return Ok(Judged::NotBegun);
        }
        Gathered::Ready(observed) => {
            let passes_door = matches!(action.spec.action, Action::Promote | Action::SetPercent);
            if raising && passes_door && !over.delivery && !is_delivered(ctx, key) {
                return Ok(Judged::Undelivered);
            }
            let is_measured = over.measurement || observed.plan.guard.triggers.is_empty();
            if raising && passes_door && !is_measured && is_beginning(ctx, key) {
                return Ok(Judged::Unmeasured);
            }
            by_plan(ctx, key, rollout, *observed, &request).await
        }
        Gathered::Stalled(why) => by_guard(ctx, key, rollout, &why, &request).await,
    };
    match result {
        Ok(answered) => {
            let action = action.spec.action;
            Ok(Judged::Done(with_revision(ctx, key, status.revision, action, answered).await?))
        }
        // Only somebody's edit helps, and an action does not wait for that.
        Err(fault @ Fault::Invalid(_)) => {
            Ok(rejected(format!("nothing could be persisted: {}", chain(&fault))))
        }
        Err(fault) => Err(fault),
    }
}

/// The answer that nothing else has a part in: the action comes from a tool, or too late. Whatever cannot be read for
/// an action, it expires.
fn at_once(status: &FeatureRolloutStatus, request: &Request<'_>, now: MicroTime) -> Option<Answered> {
    if is_carried_out(status, request.uid) {
        return None;
    }
    let outcome = engine::act(Ground::Guard(&Guard::default(), ""), status, request, now);
    let is_final = request.tracked_by.is_some() || outcome.answer == Answer::Expired;
    is_final.then(|| Answered::now(outcome.answer, outcome.message))
}

fn is_carried_out(status: &FeatureRolloutStatus, uid: &str) -> bool {
    status.actions.iter().any(|known| known.uid == uid)
}

/// The answer of an action that cannot be judged while one that stops or lowers waits behind it: carried out after that
/// one it might undo it.
pub async fn give_up(ctx: &Shared, key: &ObjectKey, asked: &Asked, fault: &Fault) -> Option<Answered> {
    // The last write of its effect may have come through although nobody said so.
    if !keeps_waiting(ctx, key, asked) || refresh(ctx, key).await.is_err() {
        return None;
    }
    let status = status_of(ctx, key).await.ok()?;
    if is_carried_out(&status, &asked.uid().unwrap_or_default()) {
        return None;
    }
    let why = chain(fault);
    Some(reject(format!("it could not be judged, and what stops or lowers does not wait for it: {why}")))
}

/// Whether the first measurement of the rollout's triggers by this process is still to come.
pub fn is_beginning(ctx: &Shared, key: &ObjectKey) -> bool {
    let Some(rollout) = ctx.rollouts.get(key) else { return false };
    ctx.analysis.is_beginning(key, &rollout.uid().unwrap_or_default())
}

/// Whether a rollout is about to have its first turn.
pub fn begins(rollout: &FeatureRollout) -> bool {
    !rollout.has_begun() && rollout.metadata.deletion_timestamp.is_none()
}

fn request<'a>(
    ctx: &Shared,
    action: &'a RolloutAction,
    rollout: &'a FeatureRollout,
    actor: Actor,
) -> Request<'a> {
    let created =
        action.metadata.creation_timestamp.as_ref().map_or_else(crate::clock::real_now, |at| at.0.into());
    Request {
        uid: action.metadata.uid.as_deref().unwrap_or_default(),
        spec: &action.spec,
        created: ctx.clock.of_real(created),
        speed: ctx.clock.speed(),
        version: i64::try_from(version(action)).unwrap_or(i64::MAX),
        actor,
        tracked_by: tracked_by(action),
        rollout_uid: rollout.metadata.uid.as_deref().unwrap_or_default(),
        generation: rollout.metadata.generation.unwrap_or(0),
    }
}

/// The mark of a tool that would create the action again, and so repeat it.
fn tracked_by(action: &RolloutAction) -> Option<&'static str> {
    let marked =
        |mark: &&str| action.labels().contains_key(*mark) || action.annotations().contains_key(*mark);
    TRACKED_BY.into_iter().find(marked)
}

/// Before everything is listed, a dependency that is not in the cache may exist all the same.
async fn know_dependencies(ctx: &Shared, key: &ObjectKey, rollout: &FeatureRollout) -> Result<(), Fault> {
    for dependency in &rollout.spec.depends_on {
        let other = (key.0.clone(), dependency.name.clone());
        if !ctx.is_listed() && ctx.rollouts.get(&other).is_none() {
            refresh(ctx, &other).await?;
        }
    }
    Ok(())
}

async fn by_plan(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    observed: Observed,
    request: &Request<'_>,
) -> Result<Answered, Fault> {
    let mut answered = None;
    let is_listed = ctx.is_listed();
    let decide = |plan: &Plan, status: &FeatureRolloutStatus, facts: &Facts, now: MicroTime| {
        let outcome = engine::act(Ground::Plan(plan, facts), status, request, now);
        let decision = follow_up(plan, facts, status, &outcome, now, is_listed);
        answered = Some(Answered::now(outcome.answer, outcome.message));
        decision
    };
    match advance(ctx, key, rollout, observed, Pace::Urgent, decide).await? {
        Advanced::Done => Ok(answered.unwrap_or_else(|| reject("nothing was decided".to_owned()))),
        Advanced::Stalled(why) => {
            // What cannot be rendered can be lowered all the same; the file follows when it can.
            let status = rollout.status.clone().unwrap_or_default();
            match engine::is_raising(request.spec, &status) {
                true => Ok(reject(why.message)),
                false => by_guard(ctx, key, rollout, &why, request).await,
            }
        }
    }
}

/// What the rollout decides right after an action that was applied, so that one write holds both.
pub(in crate::controller) fn follow_up(
    plan: &Plan,
    facts: &Facts,
    before: &FeatureRolloutStatus,
    outcome: &Outcome,
    now: MicroTime,
    is_listed: bool,
) -> Option<Decision> {
    if outcome.answer != Answer::Applied {
        return None;
    }
    let status = outcome.status.clone();
    if !is_listed {
        // The schedule goes on when everything is known.
        return Some(Decision { status, wake_at: None, next: None });
    }
    let delivered = facts.delivered && status.cohorts == before.cohorts;
    Some(engine::decide(plan, &status, &Facts { delivered, ..facts.clone() }, now))
}

async fn by_guard(
    ctx: &Shared,
    key: &ObjectKey,
    rollout: &FeatureRollout,
    why: &Stalled,
    request: &Request<'_>,
) -> Result<Answered, Fault> {
    let mut answered = None;
    // The last valid triggers and rollback are in force; a rollout that never had any goes down the default ladder.
    let prior = rollout.status.clone().unwrap_or_default();
    let guard = guards::find(ctx, key, &prior).await?.unwrap_or_default();
    let judge = |status: &FeatureRolloutStatus, now: MicroTime| {
        let outcome = engine::act(Ground::Guard(&guard, &why.message), status, request, now);
        let applied = outcome.answer == Answer::Applied;
        answered = Some(Answered::now(outcome.answer, outcome.message));
        applied.then_some(outcome.status)
    };
    stalled::act(ctx, key, rollout, why, judge).await?;
    Ok(answered.unwrap_or_else(|| reject("nothing was decided".to_owned())))
}

fn reject(message: String) -> Answered {
    Answered::now(Answer::Rejected, message)
}

fn rejected(message: String) -> Judged {
    Judged::Done(reject(message))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::rolloutaction::RolloutActionSpec;

    /// A GitOps tool, Helm or a backup that created an action would create it again, and so repeat it.
    #[test]
    fn an_action_with_any_mark_of_a_tool_is_known_as_tracked() {
        for mark in [
            "argocd.argoproj.io/tracking-id",
            "argocd.argoproj.io/instance",
            "argocd.argoproj.io/installation-id",
            "kustomize.toolkit.fluxcd.io/name",
            "helm.toolkit.fluxcd.io/name",
            "meta.helm.sh/release-name",
            "velero.io/restore-name",
            "app.kubernetes.io/instance",
        ] {
            let given = || Some(BTreeMap::from([(mark.to_owned(), "x".to_owned())]));
            let mut labelled = RolloutAction::new("a", RolloutActionSpec::default());
            assert_eq!(tracked_by(&labelled), None);
            labelled.metadata.labels = given();
            assert_eq!(tracked_by(&labelled), Some(mark), "as a label");
            let mut annotated = RolloutAction::new("a", RolloutActionSpec::default());
            annotated.metadata.annotations = given();
            assert_eq!(tracked_by(&annotated), Some(mark), "as an annotation");
        }
    }
}

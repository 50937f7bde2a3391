//! Playbooks: what their phases still require of rollouts that have not started, and what their statuses say.
//!
//! A rollout's decision asks the playbook's spec and the other rollouts as they are known now, never a playbook's status, but for
//! the verdicts of its own criteria, which are written before they count.
//!
//! A playbook may have a thousand rollouts, and each of them asks it at each of its turns. So what is looked at of a rollout is taken
//! from each of its versions once ([`members`]), what the phases lack is found once after each change ([`view`]), and only those
//! rollouts have another turn for whom something else is to be gone by ([`told`]).

use std::sync::Arc;

use kube::ResourceExt;

use super::cache::{News, ObjectKey};
use super::context::{Context, Key, Shared};
use super::persist::stall_unreadable;
use super::queue::Priority;
use super::sets::{conditions, write_status};
use super::{analysis, references};
use crate::api::{FeatureRollout, FeatureRolloutStatus, MicroTime, Playbook, PlaybookStatus, Reason};
use crate::engine::{Requirement, short};
use crate::error::Fault;
use crate::plan::{self, FieldError, Plan};
use crate::playbook::business::{self, Answer};
use crate::playbook::{self, Book, Unmet};
use crate::watchdog::{Name, What};
use told::Whom;
use view::{View, look, unmet};

pub use asked::Asked;
pub use known::Playbooks;

mod asked;
mod known;
mod members;
mod naming;
mod told;
mod view;

/// A playbook that came, changed or went.
pub fn event(ctx: &Shared, key: &ObjectKey, news: News) {
    if news != News::Spec {
        ctx.queue.push(Key::Playbook(key.clone()), Priority::Report);
        return;
    }
    ctx.queue.push(Key::Playbook(key.clone()), Priority::Decide);
    let stored = ctx.playbooks.get(key);
    let readable = stored.as_ref().and_then(|stored| stored.0.as_ref().ok());
    if readable.is_none_or(|playbook| playbook.metadata.deletion_timestamp.is_some()) {
        // No look at it will say whom that concerns.
        ctx.plans.untell(key);
        wake(ctx, key, &Whom::All);
    }
}

/// A rollout that came, changed or went: whatever playbook looks at it looks again, where it is another one to it.
pub fn rollout_changed(ctx: &Context, rollout: &ObjectKey) {
    for left in ctx.index.take_left_playbooks() {
        ctx.queue.push(Key::Playbook(left), Priority::Report);
    }
    let members = &ctx.plans.members;
    // What rollouts of a plan wait for may close a circle.
    let may_be_waited_for =
        || members.stamp(&rollout.0).is_some() && !ctx.index.dependents(rollout).is_empty();
    let is_looked_at =
        ctx.index.playbook_of(rollout).is_some() || ctx.plans.names(rollout) || may_be_waited_for();
    if is_looked_at || members.knows(rollout) {
        look(ctx, rollout);
    }
    if !is_looked_at {
        members.forget(rollout);
    }
}

/// The playbook that a rollout joins, read directly where the cache does not know it yet, and where what is known of it would let
/// the rollout start: a start is never taken back, so a task that was unticked a moment ago counts.
///
/// # Errors
/// When it could not be read.
pub async fn of(ctx: &Shared, rollout: &FeatureRollout) -> Result<Option<Asked>, Fault> {
    let Some(reference) = &rollout.spec.playbook_ref else { return Ok(None) };
    let key = (rollout.namespace().unwrap_or_default(), reference.name.clone());
    // One that there is no room for keeps its version, is read directly, and nothing is kept of it.
    let is_beyond = ctx.playbooks.is_beyond(&key);
    let version = if is_beyond { 0 } else { ctx.playbooks.version_of(&key) };
    let take = |playbook: &Playbook| match is_beyond {
        true => Asked::once(&key, playbook),
        false => ctx.plans.asked_anew(&key, playbook),
    };
    let known = match ctx.plans.asked(&key, version).filter(|_| version != 0) {
        Some(asked) => Some(asked),
        None => {
            let found = references::look_up(ctx, &ctx.playbooks, &key.0, &key.1).await?;
            found.map(|playbook| take(&playbook))
        }
    };
    let is_open = |asked: &Asked| lets_start(ctx, &key, asked, &reference.phase);
    if has_started(rollout) || !known.as_ref().is_some_and(is_open) {
        return Ok(known);
    }
    let Some(found) = ctx.cluster.get::<Playbook>(&key).await? else { return Ok(None) };
    let fresh = found.0.as_ref().ok().map(take);
    if ctx.playbooks.apply(found) {
        // The watch will not tell the others: what is in the cache by then is no news to it.
        event(ctx, &key, News::Spec);
    }
    Ok(fresh)
}

/// Whether a phase is open, and all that it requires is so.
fn lets_start(ctx: &Context, key: &ObjectKey, asked: &Asked, phase: &str) -> bool {
    let Ok(book) = &asked.compiled.book else { return false };
    let opens_at = book.phase(phase).and_then(|phase| book.weeks.begins(phase.declared.weeks.from));
    opens_at.is_some_and(|opens_at| opens_at <= ctx.clock.now())
        && place(book, phase).is_some_and(|place| {
            let unmet = unmet(ctx, key, asked.outline.status.as_ref(), &asked.compiled, book);
            unmet.phases.get(place).is_some_and(Vec::is_empty)
        })
}

fn place(book: &Book, phase: &str) -> Option<usize> {
    book.phases.iter().position(|known| known.declared.name == phase)
}

/// What the phase that a rollout joins requires and is not so; nothing once it has started.
pub fn requirements(
    ctx: &Context,
    rollout: &FeatureRollout,
    plan: &Plan,
    playbook: Option<&Asked>,
) -> Vec<Requirement> {
    let Some(joins) = &plan.joins else { return Vec::new() };
    if has_started(rollout) {
        return Vec::new();
    }
    let lacks = |message: String| vec![Requirement { which: joins.playbook.clone(), message }];
    let key = (rollout.namespace().unwrap_or_default(), joins.playbook.clone());
    let (found, differs) = match playbook {
        None => {
            let message = format!("playbook {}, which is not there", joins.playbook);
            (lacks(message), ctx.plans.untell(&key))
        }
        Some(Asked { outline, compiled }) => match &compiled.book {
            Err(errors) => {
                let first = errors.first().map(ToString::to_string).unwrap_or_default();
                let message = format!("playbook {} to be valid ({first})", joins.playbook);
                (lacks(message), ctx.plans.hears(&key, compiled, &Unmet::default(), 0))
            }
            Ok(book) => {
                let unmet = unmet(ctx, &key, outline.status.as_ref(), compiled, book);
                // One beyond the last is told nothing but the phases that there are.
                let place = place(book, &joins.phase).unwrap_or(book.phases.len());
                let found = match unmet.phases.get(place) {
                    Some(unmet) => unmet.clone(),
                    None => playbook::no_phase(book, &joins.phase),
                };
                (found, ctx.plans.hears(&key, compiled, &unmet, place))
            }
        },
    };
    if differs || playbook.is_some() && ctx.playbooks.version_of(&key) == 0 {
        // It goes by something that the others may not: it has to hear of the end of that. And nothing is to be kept of one that is
        // gone by now.
        ctx.queue.push(Key::Playbook(key), Priority::Report);
    }
    found
}

/// Says on a playbook where the plan stands, has its criteria measured when they are due, and wakes the rollouts that wait for it.
///
/// # Errors
/// When its status could not be written.
pub async fn reconcile(ctx: &Shared, key: &ObjectKey) -> Result<(), Fault> {
    let Some(playbook) = ctx.playbooks.readable(key) else {
        if ctx.playbooks.get(key).is_none() {
            ctx.plans.forget(key);
            ctx.queue.forget(&Key::Playbook(key.clone()));
        } else if ctx.playbooks.is_beyond(key) {
            ctx.plans.forget(key);
        }
        return stall_unreadable(ctx, &ctx.playbooks, key).await;
    };
    if playbook.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let compiled = ctx.plans.compiled(key, &playbook);
    if let Some(wait) = ctx.plans.too_soon(key) {
        ctx.queue.push_at(Key::Playbook(key.clone()), Some(ctx.clock.after(wait)));
        return Ok(());
    }
    // What they decide by is known already, whatever becomes of the status.
    tell(ctx, key);
    let now = ctx.clock.now();
    let prior = playbook.status.clone().unwrap_or_default();
    let (status, want, wake_at) = match &compiled.book {
        // What was said last stands until it is valid again.
        Err(errors) => (prior.clone(), Err(wrong(errors)), None),
        Ok(book) => {
            let criteria = business::verdicts(book, &prior.criteria, &ctx.plans.answers(key));
            let view = View::new(ctx, key, criteria.clone());
            let standing = playbook::standing(book, &view, &prior, criteria, now);
            let mut errors = playbook::cycle_errors(book, &view);
            let in_circles = !errors.is_empty();
            errors.extend(playbook::missing(book, &view));
            let want = match errors.is_empty() {
                true => Ok((Reason::Valid, "the plan holds together".to_owned())),
                false if in_circles => Err((Reason::DependencyCycle, said(&errors))),
                false => Err((Reason::ReferenceNotFound, said(&errors))),
            };
            let next_measurement = measure(ctx, key, &playbook, book, now);
            let wake_at = [standing.wake_at, next_measurement].into_iter().flatten().min();
            (standing.status, want, wake_at)
        }
    };
    ctx.queue.push_at(Key::Playbook(key.clone()), wake_at);
    let generation = playbook.metadata.generation.unwrap_or(0);
    let status = PlaybookStatus {
        observed_generation: generation,
        conditions: conditions(ctx, &prior.conditions, want, generation),
        ..status
    };
    if status != prior {
        write_status(ctx, &ctx.playbooks, &playbook, &status).await?;
        // Verdicts count from the write on.
        tell(ctx, key);
    }
    Ok(())
}

/// Has those rollouts looked at for whom something else is to be gone by than what was told last.
fn tell(ctx: &Context, key: &ObjectKey) {
    let stored = ctx.playbooks.get(key);
    let Some(playbook) = stored.as_ref().and_then(|stored| stored.0.as_ref().ok()) else { return };
    let compiled = ctx.plans.compiled(key, playbook);
    let unmet = match &compiled.book {
        Ok(book) => unmet(ctx, key, playbook.status.as_ref(), &compiled, book),
        Err(_) => Arc::default(),
    };
    wake(ctx, key, &ctx.plans.tell(key, &compiled, unmet));
}

fn wrong(errors: &[FieldError]) -> (Reason, String) {
    (Reason::InvalidSpec, said(errors))
}

fn said(errors: &[FieldError]) -> String {
    short(&plan::join_errors(errors))
}

fn has_started(rollout: &FeatureRollout) -> bool {
    rollout.status.as_ref().is_some_and(FeatureRolloutStatus::has_started)
}

/// Has rollouts of a playbook looked at.
fn wake(ctx: &Context, key: &ObjectKey, whom: &Whom) {
    let priority = |member: &ObjectKey| match whom {
        Whom::All => Some(Priority::Decide),
        Whom::Waiting(phases) if phases.is_empty() => None,
        Whom::Waiting(phases) => {
            let seen = look(ctx, member).filter(|seen| !seen.started)?;
            phases.get(&seen.joins.as_ref()?.phase).copied()
        }
    };
    for member in ctx.index.joined(key) {
        if let Some(priority) = priority(&member) {
            ctx.queue.push(Key::Rollout(member), priority);
        }
    }
}

/// Begins the measurements that are due; says when the next one is.
fn measure(
    ctx: &Shared,
    key: &ObjectKey,
    playbook: &Playbook,
    book: &Book,
    now: MicroTime,
) -> Option<MicroTime> {
    let begins = book.weeks.begins(1).filter(|begins| *begins > now);
    let measured = book.criteria.iter().any(|c| matches!(c.source, plan::guard::CriterionSource::Metric(_)));
    if let Some(begins) = begins {
        return measured.then_some(begins);
    }
    let due = business::due(book, now);
    for due in due.iter().filter(|due| ctx.plans.ask(key, due.name, due.at)) {
        let question = analysis::Question {
            namespace: key.0.clone(),
            name: key.1.clone(),
            criterion: due.name.to_owned(),
            metric: due.metric.clone(),
            at: due.at,
            next: due.next,
            interval: due.interval,
        };
        let (ctx, key, uid) = (ctx.clone(), key.clone(), playbook.uid());
        let part = Name::of_object(What::Check, format_args!("Playbook {}/{}", key.0, key.1));
        let watchdog = ctx.watchdog.clone();
        tokio::spawn(watchdog.watch(part, async move {
            let name = question.criterion.clone();
            let Some((at, reading)) = analysis::ask(&ctx, question).await else { return };
            if ctx.playbooks.get(&key).and_then(|known| known.uid()) == uid {
                ctx.plans.answer(&key, Answer { name, at, reading });
                ctx.queue.push(Key::Playbook(key), Priority::Report);
            }
        }));
    }
    due.iter().map(|due| due.next).min()
}

//! Playbooks: what their phases still require of rollouts that have not started, and what their statuses say.
//!
//! A rollout's decision asks the playbook's spec and the other rollouts as they are known now, never a playbook's status, but for
//! the verdicts of its own criteria, which are written before they count.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;

use super::cache::{News, ObjectKey};
use super::context::{Context, Key, Shared};
use super::persist::stall_unreadable;
use super::queue::Priority;
use super::sets::{conditions, write_status};
use super::{analysis, gather};
use crate::api::verdict::CriterionStatus;
use crate::api::{FeatureRollout, FeatureRolloutStatus, MicroTime, Playbook, PlaybookStatus, Reason};
use crate::clock;
use crate::engine::{Requirement, short};
use crate::error::Fault;
use crate::plan::{self, FieldError, Plan};
use crate::playbook::business::{self, Answer};
use crate::playbook::{self, Book, Seen, World};
use crate::watchdog::{Name, What};

/// Least time between two looks at a playbook: each of many rollouts that step at once asks for one.
const SPACING: Duration = Duration::from_millis(500);

/// What is kept of playbooks. All of it can be found again.
#[derive(Default)]
pub struct Playbooks(Mutex<HashMap<ObjectKey, Known>>);

struct Known {
    uid: String,
    generation: i64,
    compiled: Arc<Result<Book, Vec<FieldError>>>,
    looked: Option<Instant>,
    /// What each phase required when those who wait for it were told last.
    told: Option<Vec<Vec<Requirement>>>,
    /// The slot that each criterion was asked for last, and what was said.
    asked: HashMap<String, MicroTime>,
    answers: HashMap<String, Answer>,
}

impl Playbooks {
    /// A playbook compiled, once for each of its generations.
    fn compiled(&self, key: &ObjectKey, playbook: &Playbook) -> Arc<Result<Book, Vec<FieldError>>> {
        let uid = playbook.uid().unwrap_or_default();
        let generation = playbook.metadata.generation.unwrap_or(0);
        let mut known = self.lock();
        match known.get_mut(key) {
            Some(known) if known.uid == uid && known.generation == generation => known.compiled.clone(),
            before => {
                let compiled = Arc::new(playbook::compile(&key.1, &playbook.spec));
                match before {
                    // What was measured is still so, where it is still asked for.
                    Some(before) if before.uid == uid => {
                        before.generation = generation;
                        before.compiled = compiled.clone();
                        before.told = None;
                        before.asked.clear();
                        before.answers.clear();
                    }
                    _ => {
                        let new = Known {
                            uid,
                            generation,
                            compiled: compiled.clone(),
                            looked: None,
                            told: None,
                            asked: HashMap::new(),
                            answers: HashMap::new(),
                        };
                        known.insert(key.clone(), new);
                    }
                }
                compiled
            }
        }
    }

    /// The playbooks of a namespace that name a rollout.
    fn naming(&self, rollout: &ObjectKey) -> Vec<ObjectKey> {
        let known = self.lock();
        let names = |known: &Known| {
            known.compiled.as_ref().as_ref().is_ok_and(|book| book.names().any(|name| name == rollout.1))
        };
        let found = known.iter().filter(|(key, known)| key.0 == rollout.0 && names(known));
        found.map(|(key, _)| key.clone()).collect()
    }

    /// How much of the spacing is left; where nothing is, notes that the playbook is looked at now.
    fn too_soon(&self, key: &ObjectKey) -> Option<Duration> {
        let mut known = self.lock();
        let known = known.get_mut(key)?;
        clock::spaced(&mut known.looked, SPACING)
    }

    /// Notes what is told of the phases; says whether it is news.
    fn tell(&self, key: &ObjectKey, unmet: &[Vec<Requirement>]) -> bool {
        let mut known = self.lock();
        let Some(known) = known.get_mut(key) else { return true };
        if known.told.as_deref() == Some(unmet) {
            return false;
        }
        known.told = Some(unmet.to_vec());
        true
    }

    fn answers(&self, key: &ObjectKey) -> Vec<Answer> {
        self.lock().get(key).map(|known| known.answers.values().cloned().collect()).unwrap_or_default()
    }

    /// Notes that a criterion is asked for a slot; says whether it has not been yet.
    fn ask(&self, key: &ObjectKey, criterion: &str, slot: MicroTime) -> bool {
        let mut known = self.lock();
        let Some(known) = known.get_mut(key) else { return false };
        known.asked.insert(criterion.to_owned(), slot) != Some(slot)
    }

    fn answer(&self, key: &ObjectKey, answer: Answer) {
        if let Some(known) = self.lock().get_mut(key) {
            known.answers.insert(answer.name.clone(), answer);
        }
    }

    fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    /// How many entries there are of what is kept.
    pub fn census(&self) -> [(&'static str, usize); 1] {
        [("playbooks", self.lock().len())]
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A playbook that came, changed or went.
pub fn event(ctx: &Shared, key: &ObjectKey, news: News) {
    ctx.queue.push(Key::Playbook(key.clone()), Priority::Report);
    if news == News::Spec {
        // Its weeks may be others, and what it requires.
        for member in ctx.index.joined(key) {
            ctx.queue.push(Key::Rollout(member), Priority::Decide);
        }
    }
}

/// A rollout that came, changed or went: whatever playbook looks at it looks again.
pub fn rollout_changed(ctx: &Context, rollout: &ObjectKey) {
    let joins = ctx.index.playbook_of(rollout);
    let left = ctx.index.take_left_playbooks();
    for key in joins.into_iter().chain(left).chain(ctx.plans.naming(rollout)) {
        ctx.queue.push(Key::Playbook(key), Priority::Report);
    }
}

/// The playbook that a rollout joins, read directly where the cache does not know it yet, and where what is known of it would let
/// the rollout start: a start is never taken back, so a task that was unticked a moment ago counts.
///
/// # Errors
/// When it could not be read.
pub async fn of(ctx: &Shared, rollout: &FeatureRollout) -> Result<Option<Playbook>, Fault> {
    let Some(reference) = &rollout.spec.playbook_ref else { return Ok(None) };
    let key = (rollout.namespace().unwrap_or_default(), reference.name.clone());
    let known = gather::look_up(ctx, &ctx.playbooks, &key.0, &key.1).await?;
    let is_open = |playbook: &Playbook| lets_start(ctx, &key, playbook, &reference.phase);
    if has_started(rollout) || !known.as_ref().is_some_and(is_open) {
        return Ok(known);
    }
    let Some(found) = ctx.cluster.get::<Playbook>(&key).await? else { return Ok(None) };
    let fresh = found.0.as_ref().ok().cloned();
    if ctx.playbooks.apply(found) {
        // The watch will not tell the others: what is in the cache by then is no news to it.
        event(ctx, &key, News::Spec);
    }
    Ok(fresh)
}

/// Whether a phase is open, and all that it requires is so.
fn lets_start(ctx: &Context, key: &ObjectKey, playbook: &Playbook, phase: &str) -> bool {
    let compiled = ctx.plans.compiled(key, playbook);
    let Ok(book) = &*compiled else { return false };
    let opens_at = book.phase(phase).and_then(|phase| book.weeks.begins(phase.declared.weeks.from));
    opens_at.is_some_and(|opens_at| opens_at <= ctx.clock.now())
        && lacking(ctx, key, playbook, book, phase).is_empty()
}

/// What a phase requires that is not so.
fn lacking(
    ctx: &Context,
    key: &ObjectKey,
    playbook: &Playbook,
    book: &Book,
    phase: &str,
) -> Vec<Requirement> {
    let prior = playbook.status.as_ref().map_or(&[][..], |status| &status.criteria);
    let criteria = business::verdicts(book, prior, &[]);
    playbook::unmet(book, phase, &View::new(ctx, key, criteria))
}

/// What the phase that a rollout joins requires and is not so; nothing once it has started.
pub fn requirements(
    ctx: &Context,
    rollout: &FeatureRollout,
    plan: &Plan,
    playbook: Option<&Playbook>,
) -> Vec<Requirement> {
    let Some(joins) = &plan.joins else { return Vec::new() };
    if has_started(rollout) {
        return Vec::new();
    }
    let lacks = |message: String| vec![Requirement { which: joins.playbook.clone(), message }];
    let Some(playbook) = playbook else {
        return lacks(format!("playbook {}, which is not there", joins.playbook));
    };
    let key = (rollout.namespace().unwrap_or_default(), joins.playbook.clone());
    match &*ctx.plans.compiled(&key, playbook) {
        Err(errors) => {
            let first = errors.first().map(ToString::to_string).unwrap_or_default();
            lacks(format!("playbook {} to be valid ({first})", joins.playbook))
        }
        Ok(book) => lacking(ctx, &key, playbook, book, &joins.phase),
    }
}

/// What is known of the rollouts of a namespace, as one playbook looks at it.
struct View<'a> {
    ctx: &'a Context,
    key: &'a ObjectKey,
    criteria: Vec<CriterionStatus>,
    members: OnceCell<BTreeMap<String, Vec<Seen>>>,
}

impl<'a> View<'a> {
    fn new(ctx: &'a Context, key: &'a ObjectKey, criteria: Vec<CriterionStatus>) -> View<'a> {
        View { ctx, key, criteria, members: OnceCell::new() }
    }

    fn by_phase(&self) -> BTreeMap<String, Vec<Seen>> {
        let mut members: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
        for key in self.ctx.index.joined(self.key) {
            let Some(seen) = self.rollout(&key.1) else { continue };
            let phase = seen.joins.as_ref().filter(|joins| joins.name == self.key.1);
            if let Some(phase) = phase.map(|joins| joins.phase.clone()) {
                members.entry(phase).or_default().push(seen);
            }
        }
        members
    }
}

impl World for View<'_> {
    fn rollout(&self, name: &str) -> Option<Seen> {
        let stored = self.ctx.rollouts.get(&(self.key.0.clone(), name.to_owned()))?;
        stored.0.as_ref().ok().map(Seen::of)
    }

    fn members(&self, phase: &str) -> &[Seen] {
        self.members.get_or_init(|| self.by_phase()).get(phase).map_or(&[], Vec::as_slice)
    }

    fn passes(&self, criterion: &str) -> bool {
        business::passes(&self.criteria, criterion)
    }
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
    let now = ctx.clock.now();
    let prior = playbook.status.clone().unwrap_or_default();
    let (status, want, unmet, wake_at) = match &*compiled {
        // What was said last stands until it is valid again.
        Err(errors) => (prior.clone(), Err(wrong(errors)), Vec::new(), None),
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
            (standing.status, want, standing.unmet, wake_at)
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
    }
    // After the write: what they decide by is in it.
    if ctx.plans.tell(key, &unmet) {
        wake(ctx, key);
    }
    Ok(())
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

/// Has the rollouts looked at that have not started.
fn wake(ctx: &Context, key: &ObjectKey) {
    for member in ctx.index.joined(key) {
        let stored = ctx.rollouts.get(&member);
        let rollout = stored.as_ref().and_then(|stored| stored.0.as_ref().ok());
        if rollout.is_some_and(|rollout| !has_started(rollout)) {
            ctx.queue.push(Key::Rollout(member), Priority::Decide);
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

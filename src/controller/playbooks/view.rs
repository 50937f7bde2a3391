//! The rollouts of a namespace as one playbook looks at them, and what its phases lack by them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::known::{Basis, Compiled};
use super::members::Stamp;
use crate::api::PlaybookStatus;
use crate::api::verdict::CriterionStatus;
use crate::controller::cache::{ObjectKey, version};
use crate::controller::context::{Context, Key};
use crate::controller::queue::Priority;
use crate::playbook::{self, Book, Reach, Seen, Unmet, World, business};

/// A rollout as playbooks look at it, read where it has changed. Whatever playbook that concerns is looked at then, whoever has
/// found it out.
pub fn look(ctx: &Context, key: &ObjectKey) -> Option<Arc<Seen>> {
    // One that there is no room for keeps its version and cannot be read.
    let known_version = || if ctx.rollouts.is_beyond(key) { 0 } else { ctx.rollouts.version_of(key) };
    let read = || {
        let stored = ctx.rollouts.get(key)?;
        let rollout = stored.0.as_ref().ok()?;
        Some((version(rollout), Seen::of(rollout)))
    };
    let members = &ctx.plans.members;
    let mut looked = members.look(key, known_version(), || ctx.plans.names(key), read);
    if looked.reach == Reach::Nobody {
        return looked.now;
    }
    // Whoever forgets one that is gone did so before it was put in here, or does so after this.
    if looked.now.is_some() && known_version() == 0 {
        members.forget(key);
        looked.now = None;
    }
    let priority = if looked.reach == Reach::Required { Priority::Decide } else { Priority::Report };
    for seen in [&looked.before, &looked.now].into_iter().flatten() {
        if let Some(joins) = &seen.joins {
            ctx.queue.push(Key::Playbook((key.0.clone(), joins.name.clone())), priority);
        }
    }
    for playbook in ctx.plans.naming(key) {
        ctx.queue.push(Key::Playbook(playbook), priority);
    }
    looked.now
}

/// What is known of the rollouts of a namespace, as one playbook looks at it.
pub struct View<'a> {
    ctx: &'a Context,
    key: &'a ObjectKey,
    criteria: Vec<CriterionStatus>,
    members: BTreeMap<String, Vec<Arc<Seen>>>,
    /// Up to which change they are known.
    stamp: Option<Stamp>,
}

impl<'a> View<'a> {
    /// With what is known of the playbook's own criteria.
    pub fn new(ctx: &'a Context, key: &'a ObjectKey, criteria: Vec<CriterionStatus>) -> View<'a> {
        let joined = ctx.index.joined(key);
        let mut stamp = ctx.plans.members.stamp(&key.0);
        let mut members = by_phase(ctx, key, &joined);
        let after = ctx.plans.members.stamp(&key.0);
        if after != stamp {
            // Some were read for the first time, or have changed: none of them is decoded again for this.
            stamp = after;
            members = by_phase(ctx, key, &joined);
        }
        View { ctx, key, criteria, members, stamp }
    }
}

fn by_phase(ctx: &Context, key: &ObjectKey, joined: &[ObjectKey]) -> BTreeMap<String, Vec<Arc<Seen>>> {
    let mut members: BTreeMap<String, Vec<Arc<Seen>>> = BTreeMap::new();
    for seen in joined.iter().filter_map(|member| look(ctx, member)) {
        let Some(joins) = seen.joins.as_ref().filter(|joins| joins.name == key.1) else { continue };
        match members.get_mut(&joins.phase) {
            Some(of_phase) => of_phase.push(seen),
            None => drop(members.insert(joins.phase.clone(), vec![seen])),
        }
    }
    members
}

impl World for View<'_> {
    fn rollout(&self, name: &str) -> Option<Arc<Seen>> {
        look(self.ctx, &(self.key.0.clone(), name.to_owned()))
    }

    fn members(&self, phase: &str) -> &[Arc<Seen>] {
        self.members.get(phase).map_or(&[], Vec::as_slice)
    }

    fn passes(&self, criterion: &str) -> bool {
        business::passes(&self.criteria, criterion)
    }
}

/// What the phases of a playbook lack, as far as it is told to rollouts: found once, however many of them ask, until something
/// changes that it depends on. Of the playbook's status, the verdicts of its own criteria count.
pub fn unmet(
    ctx: &Context,
    key: &ObjectKey,
    status: Option<&PlaybookStatus>,
    compiled: &Arc<Compiled>,
    book: &Book,
) -> Arc<Unmet> {
    let prior = status.map_or(&[][..], |status| &status.criteria);
    let criteria = business::verdicts(book, prior, &[]);
    let passing: Vec<bool> =
        book.criteria.iter().map(|criterion| business::passes(&criteria, &criterion.name)).collect();
    if let Some(stamp) = ctx.plans.members.stamp(&key.0)
        && let Some(known) = ctx.plans.unmet(key, compiled, &Basis { stamp, passing: passing.clone() })
    {
        return known;
    }
    let view = View::new(ctx, key, criteria);
    let found = Arc::new(playbook::unmet_of_all(book, &view).as_told());
    if let Some(stamp) = view.stamp {
        ctx.plans.keep_unmet(key, compiled, Basis { stamp, passing }, &found);
    }
    found
}

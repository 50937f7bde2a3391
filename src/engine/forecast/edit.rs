//! What an edit would do to a rollout that is under way: at once, and later.

use std::collections::BTreeMap;

use super::late::{Entered, Followed, entered, followed};
use super::timeline::approved;
use crate::api::status::{PauseCause, WaitingFor};
use crate::api::{FeatureRolloutStatus, MicroTime, Percent};
use crate::engine::{Facts, decide, deliver};
use crate::plan::{Approval, Feature, Plan};

/// Decisions after which a course counts as endless.
const MOST_DECISIONS: usize = 4096;
/// Decisions at one instant; each follows from something that happens once.
const MOST_PASSES: usize = 256;

/// What everybody is served from an instant on.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// From when.
    pub at: MicroTime,
    /// What each cohort is served.
    pub cohorts: Vec<(String, Percent)>,
}

/// How a rollout goes on from where it is.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Onward {
    /// What is served after all that happens at once.
    pub at_once: Vec<(String, Percent)>,
    /// What happens at once, in words.
    pub happens: Vec<String>,
    /// What it waits for then.
    pub waits_for: Option<WaitingFor>,
    /// Why the schedule stands still then.
    pub pauses: Vec<PauseCause>,
    /// Later changes, if all goes well and approvals are given.
    pub later: Vec<Moment>,
    /// The steps entered later.
    pub steps: Vec<Entered>,
    /// The raises that come later than the steps that ask for them.
    pub followed: Vec<Followed>,
    /// When it is completed, if it is.
    pub completed_at: Option<MicroTime>,
}

/// How a rollout goes on under a plan from the state that is stored: at once by the very checks of the controller, with the
/// facts as they are, and later as favourably as a plan.
pub fn onward(plan: &Plan, status: &FeatureRolloutStatus, facts: &Facts, now: MicroTime) -> Onward {
    let settled = settle(plan, status, facts, now).0;
    let mut onward = Onward {
        at_once: served(&settled),
        happens: happened(status, &settled),
        waits_for: settled.waiting_for.clone(),
        pauses: settled.pauses.iter().map(|pause| pause.cause).collect(),
        ..Onward::default()
    };
    let approvals: Vec<Approval> = plan.steps.iter().map(|step| step.approval).collect();
    let plan = approved(plan);
    let facts =
        Facts { emergency: facts.emergency, deleting: facts.deleting, ..Facts::favourable(&facts.uid) };
    let (mut status, mut at) = (settled, now);
    for _ in 0..MOST_DECISIONS {
        let before = status.clone();
        let (after, wake_at) = settle(&plan, &status, &facts, at);
        status = after;
        // What only an approval, a gate or another rollout holds back comes as soon as that is given: the first change.
        onward.steps.extend(entered(&plan, &approvals, &before, &status, at));
        onward.followed.extend(followed(&plan, &before, &status, at));
        if served(&status) != served(&before) {
            onward.later.push(Moment { at, cohorts: served(&status) });
        }
        match wake_at {
            Some(next) if next > at => at = next,
            _ => break,
        }
    }
    onward.completed_at = status.completed_at;
    onward
}

/// Decides at one instant until it stands; where all goes well the file follows at once.
fn settle(
    plan: &Plan,
    status: &FeatureRolloutStatus,
    facts: &Facts,
    now: MicroTime,
) -> (FeatureRolloutStatus, Option<MicroTime>) {
    let mut status = status.clone();
    let mut wake_at = None;
    let mut facts = facts.clone();
    for _ in 0..MOST_PASSES {
        let decision = decide(plan, &status, &facts, now);
        let stands = decision.status == status;
        status = decision.status;
        wake_at = decision.wake_at;
        if stands {
            break;
        }
        deliver(&mut status, now);
        facts.delivered = true;
    }
    (status, wake_at)
}

/// What every cohort is to be served by a state.
pub fn served(status: &FeatureRolloutStatus) -> Vec<(String, Percent)> {
    status.cohorts.iter().map(|cohort| (cohort.name.clone(), cohort.decided())).collect()
}

fn happened(before: &FeatureRolloutStatus, after: &FeatureRolloutStatus) -> Vec<String> {
    let new = after.history.iter().filter(|entry| entry.seq > before.last_seq());
    new.map(|entry| entry.message.clone()).collect()
}

/// An edit, as people are told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// What is served now, by what is decided.
    pub served: Vec<(String, Percent)>,
    /// How it would go on without the edit; absent where what is stored is invalid.
    pub before: Option<Onward>,
    /// How it would go on with it.
    pub after: Onward,
    /// Fields that cannot be changed, in words: the API server refuses the edit.
    pub refused: Vec<String>,
}

/// What an edit does, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// The API server refuses it.
    Refused,
    /// Somebody loses the feature at once, or later where they would not without it.
    Lowers,
    /// The schedule stands still.
    Pauses,
    /// Somebody gets the feature at once who would not without it.
    Raises,
    /// The schedule goes on that stood still.
    Resumes,
    /// Nothing changes at once, and something does later.
    ChangesLater,
}

impl Effect {
    /// As the command line spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Effect::Refused => "Refused",
            Effect::Lowers => "Lowers",
            Effect::Pauses => "Pauses",
            Effect::Raises => "Raises",
            Effect::Resumes => "Resumes",
            Effect::ChangesLater => "ChangesLater",
        }
    }
}

/// What an edit of a rollout would do. `before` is the plan of what is stored, where that is valid, and the facts under it.
pub fn edit(
    before: Option<(&Plan, &Facts)>,
    (after, facts): (&Plan, &Facts),
    status: &FeatureRolloutStatus,
    now: MicroTime,
) -> Edit {
    let refused = before.map(|(plan, _)| immutable(&plan.feature, &after.feature)).unwrap_or_default();
    Edit {
        served: served(status),
        before: before.map(|(plan, facts)| onward(plan, status, facts, now)),
        after: onward(after, status, facts, now),
        refused,
    }
}

impl Edit {
    /// What it does, the worst first; nothing where everything goes on as it would without it.
    pub fn effects(&self) -> Vec<Effect> {
        let nothing = Onward::default();
        let before = self.before.as_ref().unwrap_or(&nothing);
        let mut effects = Vec::new();
        let mut add = |effect, is| {
            if is {
                effects.push(effect)
            }
        };
        let unedited = if self.before.is_some() { &before.at_once } else { &self.served };
        let lowers_at_once = differs(&self.after.at_once, unedited, |after, before| after < before);
        let drops = drops(&self.after.at_once, &self.after.later);
        let drops_before = drops_of(before);
        let lowers_later = drops.iter().any(|name| !drops_before.contains(name));
        add(Effect::Refused, !self.refused.is_empty());
        add(Effect::Lowers, lowers_at_once || lowers_later);
        let begins = |cause: &PauseCause| !before.pauses.contains(cause);
        add(Effect::Pauses, self.after.pauses.iter().any(begins));
        add(Effect::Raises, differs(&self.after.at_once, unedited, |after, before| after > before));
        add(Effect::Resumes, before.pauses.iter().any(|cause| !self.after.pauses.contains(cause)));
        let later = before.later != self.after.later || before.completed_at != self.after.completed_at;
        add(Effect::ChangesLater, self.before.is_some() && later);
        effects
    }
}

/// Whether any cohort has another percentage in the one than in the other.
fn differs(
    one: &[(String, Percent)],
    other: &[(String, Percent)],
    by: impl Fn(Percent, Percent) -> bool,
) -> bool {
    let of = |list: &[(String, Percent)], name: &str| {
        list.iter().find(|(cohort, _)| cohort == name).map(|(_, percent)| *percent).unwrap_or_default()
    };
    one.iter().chain(other).any(|(name, _)| by(of(one, name), of(other, name)))
}

/// The cohorts that are lowered later.
fn drops(first: &[(String, Percent)], later: &[Moment]) -> Vec<String> {
    let mut served: BTreeMap<&str, Percent> =
        first.iter().map(|(name, percent)| (name.as_str(), *percent)).collect();
    let mut found: Vec<String> = Vec::new();
    for (name, percent) in later.iter().flat_map(|moment| &moment.cohorts) {
        let before = served.insert(name, *percent).unwrap_or_default();
        if *percent < before && !found.contains(name) {
            found.push(name.clone());
        }
    }
    found
}

fn drops_of(onward: &Onward) -> Vec<String> {
    drops(&onward.at_once, &onward.later)
}

/// The fields of a feature that differ and cannot be edited.
fn immutable(before: &Feature, after: &Feature) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |field: &str, before: &str, after: &str| {
        if before != after {
            found.push(format!("spec.feature.{field} cannot be changed from {before:?} to {after:?}"));
        }
    };
    compare("key", &before.key, &after.key);
    compare("control", &before.control, &after.control);
    compare("treatment", &before.treatment, &after.treatment);
    compare("bucketBy", &before.bucket_by, &after.bucket_by);
    compare("salt", &before.salt, &after.salt);
    if before.variants != after.variants {
        found.push("spec.feature.variants cannot be changed".to_owned());
    }
    found
}

#[cfg(test)]
mod tests;

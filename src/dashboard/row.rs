//! A rollout in one row of the list: what is served, what it waits for, and how much it needs somebody.

use kube::core::DeserializeGuard;
use serde::Serialize;

use super::board::Shown;
use super::units::Units;
use crate::api::conditions::{is_true, types};
use crate::api::status::{Check, PauseCause};
use crate::api::{FeatureRollout, FeatureRolloutStatus, MicroTime, Percent, Verdict};
use crate::engine::{delivery, pause_words};
use crate::plan::flag_key;

mod breach;

pub use breach::Breach;

/// Which object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Id {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How much a rollout needs somebody, the most first: the order of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Something is wrong, and nobody has said that they have seen it.
    Attention,
    /// It goes on when a person says so.
    Person,
    /// What is served is changing.
    Moving,
    /// It goes on by itself, at a time or when a check says yes.
    #[default]
    Waiting,
    /// Every step is done.
    Finished,
}

impl Group {
    /// Every group, in the order of the list.
    pub const ALL: [Group; 5] =
        [Group::Attention, Group::Person, Group::Moving, Group::Waiting, Group::Finished];

    /// What stands for it in addresses.
    pub const fn key(self) -> &'static str {
        match self {
            Group::Attention => "attention",
            Group::Person => "person",
            Group::Moving => "moving",
            Group::Waiting => "waiting",
            Group::Finished => "finished",
        }
    }

    /// What people read.
    pub const fn title(self) -> &'static str {
        match self {
            Group::Attention => "Needs attention",
            Group::Person => "Waits for a person",
            Group::Moving => "Moving",
            Group::Waiting => "On its way",
            Group::Finished => "Finished",
        }
    }
}

/// One cohort of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// Name of the cohort.
    pub name: String,
    /// What the file gives it, as text.
    pub served: String,
    /// The same in thousandths of a per cent.
    pub served_width: u32,
    /// What it will have next, where a raise waits; in thousandths of a per cent.
    pub pending_width: u32,
}

/// How the triggers stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Measured and well.
    pub pass: usize,
    /// Names of those in breach.
    pub breach: Vec<String>,
    /// Names of those without data.
    pub missing: Vec<String>,
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// Which rollout.
    pub id: Id,
    /// Its name for people; the object's name where it has none.
    pub title: String,
    /// Who answers for it.
    pub owner: String,
    /// The flag.
    pub flag: String,
    /// The FlagSet whose file it is in; none where it has a file of its own.
    pub flag_set: Option<String>,
    /// What it is doing, in one word.
    pub state: String,
    /// How much it needs somebody.
    pub group: Group,
    /// What it waits for, or what is wrong, in words.
    pub why: String,
    /// The breach that those words are about, if they are about one: they have no unit.
    pub breach: Option<Breach>,
    /// Until when, where that is known.
    pub until: Option<MicroTime>,
    /// Phase of the last step.
    pub phase: String,
    /// The last step of all steps.
    pub step: String,
    /// Expected part of the audience, where the shares are known.
    pub exposure: String,
    /// What is served.
    pub cohorts: Vec<Bar>,
    /// How the triggers stand.
    pub health: Health,
    /// Since when it is as it is.
    pub since: Option<MicroTime>,
    /// Whether anybody has the feature.
    pub exposed: bool,
}

impl Shown for Row {
    type Kind = FeatureRollout;

    fn of(guarded: &DeserializeGuard<FeatureRollout>) -> Row {
        match &guarded.0 {
            Ok(rollout) => Row::of_rollout(rollout),
            Err(invalid) => {
                let name = invalid.metadata.name.clone().unwrap_or_default();
                let namespace = invalid.metadata.namespace.clone().unwrap_or_default();
                Row {
                    title: name.clone(),
                    id: Id { namespace, name },
                    state: "Unreadable".to_owned(),
                    group: Group::Attention,
                    why: invalid.error.clone(),
                    ..Row::default()
                }
            }
        }
    }

    fn id(&self) -> &Id {
        &self.id
    }
}

impl Row {
    /// The row of a rollout.
    pub fn of_rollout(rollout: &FeatureRollout) -> Row {
        let none = FeatureRolloutStatus::default();
        let status = rollout.status.as_ref().unwrap_or(&none);
        let feature = rollout.spec.feature.as_ref();
        let name = rollout.metadata.name.clone().unwrap_or_default();
        let (group, why) = standing(status);
        let breach = breach(status).filter(|breach| breach.words(&Units::default()) == why);
        let until = status.waiting_for.as_ref().and_then(|waiting| waiting.until);
        Row {
            title: feature.and_then(|feature| feature.title.clone()).unwrap_or_else(|| name.clone()),
            owner: feature.and_then(|feature| feature.owner.clone()).unwrap_or_default(),
            flag: flag_key(rollout).to_owned(),
            flag_set: rollout.spec.flag_set_ref.as_ref().map(|reference| reference.name.clone()),
            id: Id { namespace: rollout.metadata.namespace.clone().unwrap_or_default(), name },
            state: state(status),
            group,
            why,
            breach,
            until: until.filter(|_| matches!(group, Group::Waiting | Group::Moving)),
            phase: status.phase.clone().unwrap_or_default(),
            step: status.step.clone().unwrap_or_default(),
            exposure: status.exposure.clone().unwrap_or_default(),
            cohorts: bars(status),
            health: health(status),
            since: since(status),
            exposed: status.exposed(),
        }
    }

    /// Whether a row has a text, in any of the words that people know a rollout by.
    pub fn has(&self, lowercase: &str) -> bool {
        let has = |text: &str| text.to_lowercase().contains(lowercase);
        has(&self.title) || has(&self.flag) || has(&self.owner) || has(&self.id.to_string())
    }
}

fn state(status: &FeatureRolloutStatus) -> String {
    let seen = status.state.filter(|_| status.is_begun() || !status.conditions.is_empty());
    seen.map_or("New", |state| state.as_str()).to_owned()
}

fn bars(status: &FeatureRolloutStatus) -> Vec<Bar> {
    let bar = |cohort: &crate::api::status::CohortStatus| {
        let served = cohort.served.percent();
        let pending = cohort.pending.as_ref().map(|pending| pending.percent).or(cohort.restore);
        let to_come = pending.unwrap_or_default().max(cohort.decided());
        Bar {
            name: cohort.name.clone(),
            served: served.to_string(),
            served_width: served.thousandths(),
            pending_width: to_come.max(served).thousandths(),
        }
    };
    status.cohorts.iter().map(bar).collect()
}

fn health(status: &FeatureRolloutStatus) -> Health {
    let mut health = Health::default();
    for trigger in &status.triggers {
        let name = match trigger.cohort.as_str() {
            "" => trigger.name.clone(),
            cohort => format!("{} of {cohort}", trigger.name),
        };
        match trigger.verdict {
            Verdict::Pass => health.pass += 1,
            Verdict::Breach => health.breach.push(name),
            Verdict::NoData | Verdict::ProviderError | Verdict::Cancelled => health.missing.push(name),
        }
    }
    health
}

/// How much a rollout needs somebody, and why it does what it does.
fn standing(status: &FeatureRolloutStatus) -> (Group, String) {
    let ready = status.conditions.iter().find(|condition| condition.type_ == types::READY);
    let said = || ready.map(|ready| ready.message.clone()).unwrap_or_default();
    let waiting = status.waiting_for.as_ref();
    if let Some(rollback) = &status.rollback {
        let seen = rollback.acknowledged_at.is_some();
        let why = format!("{} rollback by {}: {}", rollback.mode.as_str(), rollback.by, rollback.message);
        return match rollback.ended_at {
            None => (Group::Attention, format!("under way; {why}")),
            Some(_) if seen => (Group::Person, why),
            Some(_) => (Group::Attention, why),
        };
    }
    if is_true(&status.conditions, types::STALLED) {
        return (Group::Attention, said());
    }
    if let Some(message) = delivery::undelivered_message(status) {
        return (Group::Attention, message);
    }
    if let Some(pause) = status.pauses.first() {
        let words = pause_words(status, pause);
        // Words about what a person did begin with the person.
        let words = match pause.cause {
            PauseCause::Person | PauseCause::SetPercent => words,
            cause => format!("{}: {words}", cause.as_str()),
        };
        let by_itself =
            !matches!(pause.cause, PauseCause::Person | PauseCause::SetPercent | PauseCause::Suspended);
        return (if by_itself { Group::Attention } else { Group::Person }, words);
    }
    if let Some(breach) = breach(status) {
        return (Group::Attention, breach.words(&Units::default()));
    }
    if let Some(waiting) = waiting {
        let group = match waiting.check {
            Check::Approval | Check::Missed => Group::Person,
            Check::Triggers | Check::Valid => Group::Attention,
            Check::Delivered => Group::Moving,
            _ => Group::Waiting,
        };
        return (group, waiting.message.clone());
    }
    if !status.is_begun() {
        return (Group::Moving, "not seen by the controller yet".to_owned());
    }
    if !status.is_delivered() {
        return (Group::Moving, "the file is being written".to_owned());
    }
    if status.completed_at.is_some() {
        let full = status.cohorts.iter().all(|cohort| cohort.decided() == Percent::FULL);
        let why = match full {
            true => "everybody has it: the flag can be removed from the code",
            false => "every step is done",
        };
        return (Group::Finished, why.to_owned());
    }
    (Group::Waiting, said())
}

/// The first trigger that is in breach.
fn breach(status: &FeatureRolloutStatus) -> Option<Breach> {
    status.triggers.iter().find(|trigger| trigger.verdict == Verdict::Breach).map(Breach::of)
}

/// Since when it is as it is.
fn since(status: &FeatureRolloutStatus) -> Option<MicroTime> {
    let rollback = status.rollback.as_ref().map(|rollback| rollback.at);
    let pause = || status.pauses.first().map(|pause| pause.since);
    let position = || status.position.as_ref().map(|position| position.entered_at);
    rollback.or_else(pause).or(status.completed_at).or_else(position).or(status.first_seen)
}

#[cfg(test)]
mod tests;

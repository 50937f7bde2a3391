//! The validated plan of a rollout: spec, cohorts and FlagSet read once, or every error with its path.
//!
//! Nothing here reads a clock or talks to anybody; nothing after here looks at a spec again.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::api::featurerollout::{CohortPolicy, DeletionPolicy, DependencyCondition, OnMissed, VariantNames};
use crate::api::rolloutpolicy::BoundPolicy;
use crate::api::{Announcement, CohortSet, FeatureRollout, FlagSet, MicroTime, Percent, Playbook, Tier};

mod announcement;
pub mod audience;
pub mod calendar;
mod compile;
mod cycles;
mod error;
mod feature;
pub mod freeze;
pub mod guard;
mod hold;
pub mod matching;
pub mod policy;
pub mod size;
mod steps;
pub mod version;
pub mod weeks;

pub use audience::{Audience, AudienceCohort};
pub use calendar::Calendar;
pub use compile::{check_cohort_set, check_flag_set, compile};
pub use cycles::dependency_cycle;
pub use error::{FieldError, join_errors};
pub use feature::feature_alone;
pub use guard::{Guard, GuardSpec, guard};
pub use hold::Hold;
pub use policy::check_policy;
pub use weeks::Weeks;

/// The objects that a rollout names, as far as they exist.
#[derive(Clone, Copy, Default)]
pub struct Refs<'a> {
    /// The CohortSet of `spec.cohortSetRef`, else of the FlagSet's `cohortSetRef`.
    pub cohort_set: Option<&'a CohortSet>,
    /// The FlagSet of `spec.flagSetRef`.
    pub flag_set: Option<&'a FlagSet>,
    /// The Playbook of `spec.playbookRef`. Where it is missing the rollout is valid all the same, and waits.
    pub playbook: Option<&'a Playbook>,
    /// The policies that bind: those that the rollout and its FlagSet name, and those of the cluster.
    pub policies: &'a [policy::Bound<'a>],
}

/// The name of the CohortSet that a rollout uses, if it uses one.
pub fn cohort_set_name<'a>(rollout: &'a FeatureRollout, flag_set: Option<&'a FlagSet>) -> Option<&'a str> {
    if rollout.spec.cohorts.is_some() {
        return None;
    }
    rollout
        .spec
        .cohort_set_ref
        .as_ref()
        .or_else(|| flag_set.and_then(|set| set.spec.cohort_set_ref.as_ref()))
        .map(|reference| reference.name.as_str())
}

/// The flag key that a rollout manages: `spec.feature.key`, else its name.
pub fn flag_key(rollout: &FeatureRollout) -> &str {
    rollout
        .spec
        .feature
        .as_ref()
        .and_then(|feature| feature.key.as_deref())
        .or(rollout.metadata.name.as_deref())
        .unwrap_or_default()
}

/// A rollout that holds together: every name resolved, every date an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Namespace of the rollout.
    pub namespace: String,
    /// Name of the rollout.
    pub name: String,
    /// The flag.
    pub feature: Feature,
    /// The audience as declared now; the pinned one may differ.
    pub audience: Audience,
    /// The cohorts as declared now, in order.
    pub cohorts: Vec<Cohort>,
    /// Whether delays and tiers apply.
    pub cohort_policy: CohortPolicy,
    /// Percentages that a fresh object starts from.
    pub baseline: BTreeMap<String, Percent>,
    /// `spec.attempt`.
    pub attempt: i32,
    /// `spec.suspend`.
    pub suspend: bool,
    /// What becomes of the flag on deletion.
    pub deletion_policy: DeletionPolicy,
    /// `schedule.startAt`, else the start of the playbook.
    pub start_at: Option<MicroTime>,
    /// The zone of the rollout's local times, holds in days among them.
    pub zone: TimeZone,
    /// The phase of a playbook that the rollout belongs to.
    pub joins: Option<Joins>,
    /// When raises may happen.
    pub calendar: Calendar,
    /// Release of the time zone data by which local times were resolved; `None` where all of them are UTC.
    pub zone_data: Option<&'static str>,
    /// What happens to missed steps.
    pub on_missed: OnMissed,
    /// What must have happened elsewhere before the first step.
    pub depends_on: Vec<Dependency>,
    /// Every step of every phase, in order; never empty.
    pub steps: Vec<Step>,
    /// What watches over the rollout.
    pub guard: Guard,
    /// What the guard was compiled from: what is kept for when the spec is invalid.
    pub guard_spec: GuardSpec,
    /// Above which percentage a raise needs an approval, and whose rule that is.
    pub approval_above: Option<policy::ApprovalAbove>,
    /// The policies that bind, the nearest first.
    pub policies: Vec<BoundPolicy>,
}

impl Plan {
    /// The declared cohort of this name.
    pub fn cohort(&self, name: &str) -> Option<&Cohort> {
        self.cohorts.iter().find(|cohort| cohort.name == name)
    }

    /// Whether steps may raise this cohort, as far as its tiers are concerned.
    pub fn admits(&self, cohort: &Cohort) -> bool {
        self.cohort_policy == CohortPolicy::Ignore
            || cohort.admits.as_ref().is_none_or(|tiers| tiers.contains(&self.feature.tier))
    }

    /// When the hold of a step that has counted from `from` is over.
    pub fn hold_end(&self, step: &Step, from: MicroTime) -> MicroTime {
        step.hold.end(from, &self.zone)
    }

    /// How long after first exposure this cohort may first be raised.
    pub fn delay(&self, cohort: &Cohort) -> SignedDuration {
        match self.cohort_policy {
            CohortPolicy::Apply => cohort.delay,
            CohortPolicy::Ignore => SignedDuration::ZERO,
        }
    }
}

/// The place of a rollout in a playbook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joins {
    /// Name of the playbook.
    pub playbook: String,
    /// Name of the phase.
    pub phase: String,
    /// When the phase's first week begins; `None` where playbook or phase are not there or not valid, which is waited for.
    pub opens_at: Option<MicroTime>,
}

/// The flag, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Flag key.
    pub key: String,
    /// Variants in declared order: name and value, all values of one JSON type.
    pub variants: Vec<(String, Value)>,
    /// Variant served when the feature is off.
    pub control: String,
    /// Variant being rolled out.
    pub treatment: String,
    /// Context attribute hashed into the bucket.
    pub bucket_by: String,
    /// Text hashed with it.
    pub salt: String,
    /// Name for people.
    pub title: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// How settled it is.
    pub tier: Tier,
    /// How an evaluation names the variants.
    pub variant_names: VariantNames,
    /// What its users are told of it.
    pub announcement: Option<Announcement>,
}

impl Feature {
    /// How an evaluation names a variant that a user of this cohort gets.
    ///
    /// A cohort's name has no `@`, so that whatever follows the last one is the cohort.
    pub fn variant_in(&self, cohort: &str, variant: &str) -> String {
        match self.variant_names {
            VariantNames::Plain => variant.to_owned(),
            VariantNames::WithCohort => format!("{variant}@{cohort}"),
        }
    }
}

/// What applies to a cohort at once, other than its place in the audience.
#[derive(Clone, Debug, PartialEq)]
pub struct Cohort {
    /// Name.
    pub name: String,
    /// Part of the whole audience, if known.
    pub share: Option<Percent>,
    /// Tiers it admits; all when absent.
    pub admits: Option<Vec<Tier>>,
    /// Delay after first exposure.
    pub delay: SignedDuration,
}

/// One step, entered as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its phase.
    pub phase: String,
    /// Its number in the phase, from 1.
    pub number: usize,
    /// How many steps the phase has.
    pub of: usize,
    /// Its name; in a ramp the percentage.
    pub name: Option<String>,
    /// In a ramp: the percentage of this step.
    pub ramp: Option<Percent>,
    /// Digest of what it asks.
    pub content: String,
    /// Its own date: the earliest entry.
    pub date: Option<MicroTime>,
    /// The week that is its date, where the playbook that would say when that is is not there or not valid: the step is not
    /// entered by time.
    pub undated: Option<i32>,
    /// What it asks, by cohort.
    pub asks: BTreeMap<String, Percent>,
    /// How long it is kept at least.
    pub hold: Hold,
    /// Whether it needs an approval that git has not given.
    pub approval: Approval,
    /// Whether only a policy asks for that approval: then it does so only where the entry raises somebody above its
    /// percentage.
    pub approval_by_policy: bool,
    /// Criteria that must pass before any raise of its phase.
    pub gates: Vec<String>,
}

/// How a step stands with approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// None is needed.
    NotRequired,
    /// One is needed and not given.
    Missing,
    /// One is needed and git gives it: for the attempt of this number, or for whichever comes.
    Given(Option<i32>),
}

/// What another rollout must have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Name of the other rollout.
    pub name: String,
    /// What it must have done.
    pub need: Need,
}

/// How far a dependency must have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// This condition.
    Condition(DependencyCondition),
    /// This phase entered.
    Phase(String),
}

#[cfg(test)]
mod tests;

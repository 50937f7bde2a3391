//! A plan with the rollouts that join it and where all of it stands, for whoever shows it.

use kube::ResourceExt;

use super::requirements::lacking;
use super::{Book, Needed, Rollouts, Seen, World, business, compile, standing};
use crate::api::rolloutpolicy::Binding;
use crate::api::verdict::Verdict;
use crate::api::{
    CohortSet, FeatureRollout, FeatureRolloutStatus, FlagSet, MicroTime, Playbook, PlaybookStatus,
    RolloutPolicy,
};
use crate::chart::Tone;
use crate::engine::forecast::timeline::{Cause, Entry, timeline};
use crate::plan::policy::{Bound, Found};
use crate::plan::{self, FieldError, Plan, Refs};

/// A plan, and where it stands.
pub struct Overview {
    /// The plan.
    pub book: Book,
    /// As it is declared.
    pub playbook: Playbook,
    /// Where it stands.
    pub status: PlaybookStatus,
    /// What each phase requires, in the order of the phases.
    pub required: Vec<Vec<Required>>,
    /// The rollouts that join it, by when they begin.
    pub courses: Vec<Course>,
    /// As of when.
    pub now: MicroTime,
}

/// Something that a phase requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Required {
    /// What is to be so.
    pub what: String,
    /// Whether it is.
    pub state: Met,
}

/// Whether something that is required is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    /// It is.
    Yes,
    /// It is not; what is waited for, in words.
    No(String),
    /// It cannot be said: the rollouts are not known.
    Unknown,
}

/// The course of a rollout.
pub struct Course {
    /// The phase of the playbook that it joins.
    pub phase: String,
    /// The rollout as the playbook sees it.
    pub seen: Seen,
    /// Its plan if all goes well; nothing where its spec is not valid.
    pub entries: Vec<Entry>,
    /// Of each entry, whether its step has been entered.
    entered: Vec<bool>,
    /// When the last step's hold is over, by the plan.
    pub planned_end: Option<MicroTime>,
    /// When it was completed.
    pub completed_at: Option<MicroTime>,
}

impl Overview {
    /// The plan as it stands with these rollouts of its namespace, each with its own plan if there is one.
    ///
    /// # Errors
    /// Everything that is wrong with the playbook.
    pub fn of(
        playbook: Playbook,
        rollouts: &[(FeatureRollout, Option<Plan>)],
        now: MicroTime,
    ) -> Result<Overview, Vec<FieldError>> {
        let name = playbook.name_any();
        let book = compile(&name, &playbook.spec)?;
        let prior = playbook.status.clone().unwrap_or_default();
        let criteria = business::verdicts(&book, &prior.criteria, &[]);
        let world =
            Rollouts::new(&name, rollouts.iter().map(|(rollout, _)| Seen::of(rollout)), criteria.clone());
        let status = standing(&book, &world, &prior, criteria, now).status;
        let mut courses: Vec<Course> = rollouts
            .iter()
            .filter_map(|(rollout, plan)| course(rollout, plan.as_ref(), &name, now))
            .collect();
        courses.sort_by(|a, b| {
            let begins = |course: &Course| course.entries.first().map_or(MicroTime::MAX, |entry| entry.at);
            begins(a).cmp(&begins(b)).then_with(|| a.seen.name.cmp(&b.seen.name))
        });
        let required = required(&book, Some(&world));
        Ok(Overview { book, playbook, status, required, courses, now })
    }

    /// The plan for somebody who does not know the rollouts: where it stands is what its status says, and nothing
    /// where that speaks of another version of the plan.
    ///
    /// # Errors
    /// Everything that is wrong with the playbook.
    pub fn told(playbook: Playbook, now: MicroTime) -> Result<Overview, Vec<FieldError>> {
        let book = compile(&playbook.name_any(), &playbook.spec)?;
        let told = playbook.status.clone().filter(|status| {
            let names = status.phases.iter().map(|phase| &phase.name);
            Some(status.observed_generation) == playbook.metadata.generation
                && names.eq(book.phases.iter().map(|phase| &phase.declared.name))
        });
        let required = required(&book, None);
        let status = told.unwrap_or_default();
        Ok(Overview { book, playbook, status, required, courses: Vec::new(), now })
    }

    /// Whether it is known where the plan stands.
    pub fn is_known(&self) -> bool {
        !self.status.phases.is_empty()
    }

    /// What to call the plan.
    pub fn title(&self) -> String {
        let metadata = &self.playbook.metadata;
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let name = format!("{namespace}/{}", metadata.name.as_deref().unwrap_or_default());
        match &self.playbook.spec.title {
            Some(title) => format!("{title} ({name})"),
            None => name,
        }
    }
}

impl Course {
    /// The instants that the picture must reach.
    pub fn ends(&self) -> impl Iterator<Item = MicroTime> {
        self.entries.iter().map(|entry| entry.at).chain(self.planned_end).chain(self.completed_at)
    }

    /// How an entry stands at a time.
    pub fn tone(&self, i: usize, now: MicroTime) -> Tone {
        let entered = |i: usize| self.entered.get(i).copied().unwrap_or(false);
        if entered(i) {
            return if self.seen.completed || entered(i + 1) { Tone::Done } else { Tone::Running };
        }
        let is_due = self.entries.get(i).is_some_and(|entry| entry.at <= now);
        match (is_due, self.seen.held.is_some()) {
            _ if self.seen.stopped => Tone::Blocked,
            (true, true) => Tone::Blocked,
            (true, false) => Tone::Late,
            (false, _) => Tone::Planned,
        }
    }
}

/// What rollouts refer to, as far as it could be read.
#[derive(Default)]
pub struct Referred {
    /// FlagSets of the namespace.
    pub flag_sets: Vec<FlagSet>,
    /// CohortSets of the namespace.
    pub cohort_sets: Vec<CohortSet>,
    /// Policies of the namespace, and those that bind the cluster.
    pub policies: Vec<RolloutPolicy>,
}

impl Referred {
    /// The plan of a rollout that joins a playbook of its namespace; `None` where it cannot be followed.
    pub fn plan(&self, playbook: &Playbook, rollout: &FeatureRollout) -> Option<Plan> {
        let namespace = playbook.namespace().unwrap_or_default();
        let reference = rollout.spec.flag_set_ref.as_ref();
        let flag_set = reference.and_then(|reference| named(&self.flag_sets, &reference.name));
        let cohort_set =
            plan::cohort_set_name(rollout, flag_set).and_then(|name| named(&self.cohort_sets, name));
        let mut bound: Vec<Bound<'_>> = plan::policy::names(rollout, flag_set)
            .map(|(binding, name)| {
                let policy = self.policy(&namespace, name);
                let found = policy.map_or(Found::Missing, |policy| Found::Spec(&policy.spec));
                Bound { binding, namespace: &namespace, name, found }
            })
            .collect();
        // One that was not read is left out: a plan without its freezes says more than none.
        bound.extend(cluster_policies(rollout).filter_map(|(namespace, name)| {
            let found = Found::Spec(&self.policy(namespace, name)?.spec);
            Some(Bound { binding: Binding::Cluster, namespace, name, found })
        }));
        let refs = Refs { flag_set, cohort_set, playbook: Some(playbook), policies: &bound };
        plan::compile(rollout, refs).ok()
    }

    fn policy(&self, namespace: &str, name: &str) -> Option<&RolloutPolicy> {
        let mut of_name = self.policies.iter().filter(|policy| policy.metadata.name.as_deref() == Some(name));
        of_name.find(|policy| policy.metadata.namespace.as_deref() == Some(namespace))
    }
}

/// Namespace and name of the policies that bind a rollout as one of the cluster, as its status tells.
pub fn cluster_policies(rollout: &FeatureRollout) -> impl Iterator<Item = (&str, &str)> {
    let told = rollout.status.iter().flat_map(|status| &status.policies);
    told.filter(|policy| policy.binding == Binding::Cluster)
        .filter_map(|policy| Some((policy.namespace.as_deref()?, policy.name.as_str())))
}

/// Whether a target is met, in a word or two.
pub const fn met(has_target: bool, verdict: Option<Verdict>) -> &'static str {
    match (has_target, verdict) {
        (false, _) => "recorded",
        (true, Some(Verdict::Pass)) => "yes",
        (true, Some(Verdict::Breach)) => "no",
        (true, Some(_)) => "no data",
        (true, None) => "not measured",
    }
}

fn named<'k, K: ResourceExt>(all: &'k [K], name: &str) -> Option<&'k K> {
    all.iter().find(|object| object.name_any() == name)
}

fn required(book: &Book, world: Option<&dyn World>) -> Vec<Vec<Required>> {
    let each = |needed: &Needed| {
        let state = match world {
            None => Met::Unknown,
            Some(world) => match lacking(book, needed, world) {
                None => Met::Yes,
                Some(lacks) => Met::No(lacks.message),
            },
        };
        Required { what: needed.words(book), state }
    };
    book.phases.iter().map(|phase| phase.requires.iter().map(each).collect()).collect()
}

fn course(rollout: &FeatureRollout, plan: Option<&Plan>, playbook: &str, now: MicroTime) -> Option<Course> {
    let joins = rollout.spec.playbook_ref.as_ref().filter(|joins| joins.name == playbook)?;
    let unwritten = FeatureRolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&unwritten);
    let planned = plan.map(|plan| timeline(plan, status.first_seen.unwrap_or(now)));
    let (entries, planned_end) =
        planned.map(|planned| (planned.entries, planned.completed_at)).unwrap_or_default();
    let index = |phase: &str, number: i32| {
        let steps = &plan?.steps;
        steps.iter().position(|step| step.phase == phase && i32::try_from(step.number) == Ok(number))
    };
    let at = status.position.as_ref().and_then(|position| index(&position.phase, position.number));
    let is_entered = |entry: &Entry| {
        let step = index(&entry.phase, entry.step);
        let by_then = entry.cause != Cause::CohortDelay || entry.at <= now;
        at.zip(step).is_some_and(|(at, step)| step <= at) && by_then && status.rollback.is_none()
    };
    Some(Course {
        phase: joins.phase.clone(),
        seen: Seen::of(rollout),
        entered: entries.iter().map(is_entered).collect(),
        entries,
        planned_end,
        completed_at: status.completed_at,
    })
}

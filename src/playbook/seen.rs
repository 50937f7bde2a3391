//! What a playbook looks at of a rollout.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::World;
use crate::api::conditions::{is_true, types};
use crate::api::featurerollout::{Dependency, DependencyCondition};
use crate::api::playbook::PlaybookRef;
use crate::api::status::Check;
use crate::api::verdict::{CriterionStatus, Verdict};
use crate::api::{FeatureRollout, FeatureRolloutStatus};
use crate::plan::{self, GuardSpec};

/// A rollout as its playbook sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// The playbook and phase that it joins.
    pub joins: Option<PlaybookRef>,
    /// The rollouts that it depends on.
    pub depends_on: Vec<String>,
    /// Its own phases, in order.
    pub phases: Vec<String>,
    /// How many of them have been entered.
    pub entered: usize,
    /// Whether it has ever raised anybody.
    pub started: bool,
    /// Whether it is completed.
    pub completed: bool,
    /// Whether its schedule stands still: it is stalled, rolled back or paused.
    pub stopped: bool,
    /// Why it waits for somebody, for programs and in words.
    pub held: Option<(String, String)>,
    /// Its criteria.
    pub criteria: Vec<Measured>,
}

/// A criterion and what it said last.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// Its bound in words; absent where the value is only recorded.
    pub target: Option<String>,
    /// What it said last.
    pub status: Option<CriterionStatus>,
}

impl Seen {
    /// A rollout as it stands now.
    pub fn of(rollout: &FeatureRollout) -> Seen {
        let unwritten = FeatureRolloutStatus::default();
        let status = rollout.status.as_ref().unwrap_or(&unwritten);
        let phases: Vec<String> = rollout.spec.phases.iter().map(|phase| phase.name.clone()).collect();
        let at = status.position.as_ref().and_then(|at| phases.iter().position(|name| *name == at.phase));
        Seen {
            name: rollout.metadata.name.clone().unwrap_or_default(),
            joins: rollout.spec.playbook_ref.clone(),
            depends_on: rollout.spec.depends_on.iter().map(|dependency| dependency.name.clone()).collect(),
            entered: at.map_or(0, |at| at + 1),
            phases,
            started: status.has_started(),
            completed: status.completed_at.is_some(),
            stopped: [types::STALLED, types::ROLLED_BACK, types::PAUSED]
                .iter()
                .any(|type_| is_true(&status.conditions, type_)),
            held: held(status),
            criteria: measured(rollout, status),
        }
    }

    /// Whether it has come as far as a dependency says.
    pub fn has_reached(&self, dependency: &Dependency) -> bool {
        match (dependency.condition, &dependency.phase) {
            (Some(DependencyCondition::Completed), None) => self.completed,
            (None, Some(phase)) => {
                self.phases.iter().position(|name| name == phase).is_some_and(|at| at < self.entered)
            }
            _ => false,
        }
    }

    /// Whether a criterion of it passes.
    pub fn passes(&self, criterion: &str) -> bool {
        let measured = self.criteria.iter().find(|measured| measured.name == criterion);
        let verdict = measured.and_then(|measured| measured.status.as_ref()?.verdict);
        verdict == Some(Verdict::Pass)
    }
}

/// Why a rollout waits for somebody rather than for the time; `None` where it does not.
fn held(status: &FeatureRolloutStatus) -> Option<(String, String)> {
    let said = |type_: &str| {
        let condition = status.conditions.iter().find(|condition| condition.type_ == type_);
        condition.filter(|condition| condition.status == "True").map(|condition| condition.message.clone())
    };
    let reason = |otherwise: &str| status.reason.clone().unwrap_or_else(|| otherwise.to_owned());
    if let Some(message) = said(types::STALLED).or_else(|| said(types::ROLLED_BACK)) {
        return Some((reason("Stalled"), message));
    }
    if let Some(message) = said(types::PAUSED) {
        return Some((reason("Paused"), message));
    }
    let waiting = status.waiting_for.as_ref()?;
    let by_itself = match waiting.check {
        // The week of a phase comes; what it requires has to be done.
        Check::Playbook => waiting.until.is_some(),
        Check::Start | Check::Hold | Check::Date | Check::CohortDelay => true,
        Check::Window | Check::Freeze | Check::Delivered => true,
        Check::Valid | Check::RolledBack | Check::Paused | Check::Dependencies => false,
        Check::Missed | Check::Approval | Check::Triggers | Check::Gates => false,
    };
    (!by_itself).then(|| (reason(waiting.check.as_str()), waiting.message.clone()))
}

fn measured(rollout: &FeatureRollout, status: &FeatureRolloutStatus) -> Vec<Measured> {
    let spec = GuardSpec { criteria: rollout.spec.criteria.clone(), ..GuardSpec::default() };
    let guard = plan::guard(&spec, &[], &mut Vec::new());
    let measured = |criterion: &plan::guard::Criterion| Measured {
        name: criterion.name.clone(),
        target: criterion.bound.as_ref().map(ToString::to_string),
        status: status.criteria.iter().find(|known| known.name == criterion.name).cloned(),
    };
    guard.criteria.iter().map(measured).collect()
}

/// Rollouts that were read once, as one playbook looks at them.
pub struct Rollouts {
    all: BTreeMap<String, Arc<Seen>>,
    by_phase: BTreeMap<String, Vec<Arc<Seen>>>,
    criteria: Vec<CriterionStatus>,
}

impl Rollouts {
    /// The rollouts of the playbook's namespace, and the verdicts of its own criteria.
    pub fn new(
        playbook: &str,
        all: impl IntoIterator<Item = Seen>,
        criteria: Vec<CriterionStatus>,
    ) -> Rollouts {
        let all: BTreeMap<String, Arc<Seen>> =
            all.into_iter().map(|seen| (seen.name.clone(), Arc::new(seen))).collect();
        let mut by_phase: BTreeMap<String, Vec<Arc<Seen>>> = BTreeMap::new();
        for seen in all.values() {
            if let Some(joins) = seen.joins.as_ref().filter(|joins| joins.name == playbook) {
                by_phase.entry(joins.phase.clone()).or_default().push(seen.clone());
            }
        }
        Rollouts { all, by_phase, criteria }
    }
}

impl World for Rollouts {
    fn rollout(&self, name: &str) -> Option<Arc<Seen>> {
        self.all.get(name).cloned()
    }

    fn members(&self, phase: &str) -> &[Arc<Seen>] {
        self.by_phase.get(phase).map_or(&[], Vec::as_slice)
    }

    fn passes(&self, criterion: &str) -> bool {
        super::business::passes(&self.criteria, criterion)
    }
}

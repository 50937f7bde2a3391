//! A playbook as the rollouts that join it go by it at their turns: of the largest one, decoding and copying all of it for each of
//! them would take longer than everything else.

use std::sync::Arc;

use super::known::Compiled;
use crate::api::playbook::PlaybookPhase;
use crate::api::{Playbook, PlaybookSpec, PlaybookStatus};
use crate::controller::cache::ObjectKey;

/// A playbook in one version.
#[derive(Clone)]
pub struct Asked {
    /// What plans take from it, and the verdicts of its own criteria. It is not to be compiled: what phases require is left out.
    pub outline: Arc<Playbook>,
    /// All of its spec.
    pub(super) compiled: Arc<Compiled>,
}

impl Asked {
    /// One of which nothing is kept.
    pub fn once(key: &ObjectKey, playbook: &Playbook) -> Asked {
        Asked { outline: Arc::new(outline(playbook)), compiled: Arc::new(Compiled::of(key, playbook)) }
    }
}

/// What plans take from a playbook, and the verdicts of its own criteria.
pub fn outline(playbook: &Playbook) -> Playbook {
    let phase = |phase: &PlaybookPhase| PlaybookPhase {
        name: phase.name.clone(),
        weeks: phase.weeks,
        ..PlaybookPhase::default()
    };
    let spec = PlaybookSpec {
        start_date: playbook.spec.start_date,
        start_time: playbook.spec.start_time,
        time_zone: playbook.spec.time_zone.clone(),
        phases: playbook.spec.phases.iter().map(phase).collect(),
        ..PlaybookSpec::default()
    };
    let criteria = playbook.status.as_ref().map(|status| status.criteria.clone());
    let mut outline = Playbook::new(playbook.metadata.name.as_deref().unwrap_or_default(), spec);
    outline.metadata.namespace = playbook.metadata.namespace.clone();
    outline.status = criteria.map(|criteria| PlaybookStatus { criteria, ..PlaybookStatus::default() });
    outline
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::FeatureRollout;
    use crate::plan::{Refs, compile};

    #[test]
    fn a_rollout_has_the_same_plan_by_the_outline_of_its_playbook() {
        let spec = "{startDate: '2025-09-08', startTime: '09:00', timeZone: Europe/Berlin, phases: [
            {name: one, weeks: {from: 1, to: 2}, goal: A good start, requires: [{task: a}], sections: [{title: A, tasks: [{id: a, title: A}]}]},
            {name: two, weeks: {from: 3, to: 4}, requires: [{milestone: m}]}],
            milestones: [{name: m, week: 2, when: {tasks: [a]}}], risks: [{title: Churn, kind: Business}]}";
        let playbook = Playbook::new("maya", serde_saphyr::from_str(spec).unwrap());
        let rollout = "{playbookRef: {name: maya, phase: two}, cohorts: [{name: all}],
            phases: [{name: ga, steps: [{week: 3, cohorts: {all: 5}}, {week: 5, cohorts: {all: 50}}]}]}";
        let rollout = FeatureRollout::new("dreams", serde_saphyr::from_str(rollout).unwrap());
        let plan = |playbook: &Playbook| {
            compile(&rollout, Refs { playbook: Some(playbook), ..Refs::default() }).unwrap()
        };
        let short = outline(&playbook);
        assert!(short.spec.milestones.is_empty() && short.spec.phases.iter().all(|p| p.sections.is_empty()));
        assert_eq!(plan(&short), plan(&playbook));
    }
}

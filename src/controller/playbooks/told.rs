//! What the rollouts of a playbook go by, as they were told it last, and whom something else concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::{CivilDate, PlaybookSpec, TimeOfDay};
use crate::controller::queue::Priority;
use crate::engine::short;
use crate::plan::FieldError;
use crate::playbook::Unmet;

/// What rollouts take from a playbook besides what their phase requires: when its weeks begin, which phases there are, and whether
/// it is valid.
#[derive(Debug, PartialEq)]
pub struct Frame {
    start_date: CivilDate,
    start_time: Option<TimeOfDay>,
    time_zone: Option<String>,
    /// Each phase and its first week.
    phases: Vec<(String, i32)>,
    wrong: Option<String>,
}

impl Frame {
    /// That of a spec, with the first thing that is wrong with it.
    pub fn of(spec: &PlaybookSpec, wrong: Option<&FieldError>) -> Frame {
        Frame {
            start_date: spec.start_date,
            start_time: spec.start_time,
            time_zone: spec.time_zone.clone(),
            phases: spec.phases.iter().map(|phase| (phase.name.clone(), phase.weeks.from)).collect(),
            wrong: wrong.map(|error| short(&error.to_string())),
        }
    }
}

/// What rollouts were told last.
#[derive(Debug)]
pub struct Told {
    frame: Arc<Frame>,
    unmet: Arc<Unmet>,
    /// The phases of which a rollout has found something else since.
    differs: BTreeSet<usize>,
}

/// Whom it concerns that something else is to be gone by.
#[derive(Debug, PartialEq, Eq)]
pub enum Whom {
    /// Every rollout that joins the playbook.
    All,
    /// Those that have not started, by the phase that they join.
    Waiting(BTreeMap<String, Priority>),
}

impl Told {
    /// What is told from now on.
    pub fn new(frame: Arc<Frame>, unmet: Arc<Unmet>) -> Told {
        Told { frame, unmet, differs: BTreeSet::new() }
    }

    /// Notes what a rollout has found, which may be of before or after this was told; says how that stands to it.
    pub fn hears(&mut self, frame: &Frame, unmet: &Unmet, phase: usize) -> Heard {
        if *self.frame != *frame {
            return Heard::Otherwise;
        }
        let is_same = self.unmet.phases.get(phase) == unmet.phases.get(phase);
        if !is_same && self.differs.insert(phase) { Heard::OfPhase } else { Heard::Same }
    }
}

/// How what a rollout has found stands to what was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is the same, or is known to differ.
    Same,
    /// It differs in what its phase requires, which is noted.
    OfPhase,
    /// It is of another plan: nothing that was told counts any more.
    Otherwise,
}

/// Whom it concerns what is told now. A phase that opens is news for those that may start; of what they wait for otherwise, only
/// the words have changed.
pub fn whom(before: Option<&Told>, now: &Told) -> Whom {
    let Some(before) = before.filter(|before| before.frame == now.frame) else { return Whom::All };
    let phases = now.frame.phases.iter().zip(&now.unmet.phases).enumerate();
    let concerned = phases
        .filter(|(i, (_, unmet))| before.differs.contains(i) || before.unmet.phases.get(*i) != Some(*unmet));
    let waiting = concerned.map(|(_, ((name, _), unmet))| {
        let priority = if unmet.is_empty() { Priority::Decide } else { Priority::Report };
        (name.clone(), priority)
    });
    Whom::Waiting(waiting.collect())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::engine::Requirement;

    fn told(start: &str, lacks: [&str; 2]) -> Told {
        let spec = format!(
            "{{startDate: '{start}', phases: [{{name: one, weeks: {{from: 1, to: 2}}}}, {{name: two, weeks: {{from: 3, to: 4}}}}]}}"
        );
        let spec: PlaybookSpec = serde_saphyr::from_str(&spec).unwrap();
        let unmet = |lack: &str| match lack {
            "" => Vec::new(),
            lack => vec![Requirement { which: lack.to_owned(), message: lack.to_owned() }],
        };
        let unmet = Unmet { phases: lacks.map(unmet).into(), in_circles: false };
        Told::new(Arc::new(Frame::of(&spec, None)), Arc::new(unmet))
    }

    const DATE: &str = "2025-09-08";

    #[rstest]
    #[case::nothing(["", "a"], &[])]
    #[case::opened(["", ""], &[("two", Priority::Decide)])]
    #[case::other_words(["", "b"], &[("two", Priority::Report)])]
    #[case::closed(["c", "a"], &[("one", Priority::Report)])]
    #[case::both(["c", ""], &[("one", Priority::Report), ("two", Priority::Decide)])]
    fn only_those_hear_of_it_whose_phase_lacks_something_else(
        #[case] lacks: [&str; 2],
        #[case] concerned: &[(&str, Priority)],
    ) {
        let concerned = concerned.iter().map(|(phase, priority)| ((*phase).to_owned(), *priority)).collect();
        assert_eq!(whom(Some(&told(DATE, ["", "a"])), &told(DATE, lacks)), Whom::Waiting(concerned));
    }

    #[test]
    fn everybody_hears_of_other_weeks_and_of_a_playbook_that_nobody_was_told_of() {
        let before = told(DATE, ["", "a"]);
        assert_eq!(whom(Some(&before), &told("2025-09-09", ["", "a"])), Whom::All);
        assert_eq!(whom(None, &before), Whom::All);
    }

    #[test]
    fn a_phase_that_a_rollout_found_otherwise_is_told_again_although_it_is_as_before() {
        let mut before = told(DATE, ["", "a"]);
        let other = told(DATE, ["", "b"]);
        assert_eq!(before.hears(&before.frame.clone(), &before.unmet.clone(), 1), Heard::Same);
        assert_eq!(before.hears(&other.frame, &other.unmet, 0), Heard::Same);
        assert_eq!(before.hears(&other.frame, &other.unmet, 1), Heard::OfPhase);
        assert_eq!(before.hears(&other.frame, &other.unmet, 1), Heard::Same, "once is enough");
        let expected = BTreeMap::from([("two".to_owned(), Priority::Report)]);
        assert_eq!(whom(Some(&before), &told(DATE, ["", "a"])), Whom::Waiting(expected));
        let moved = told("2025-09-09", ["", "a"]);
        assert_eq!(before.hears(&moved.frame, &moved.unmet, 0), Heard::Otherwise);
    }
}

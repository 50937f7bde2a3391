//! How far a change of a rollout reaches: most changes are shown at its playbook, and keep no phase from opening.

use super::{Measured, Seen};
use crate::api::verdict::Verdict;

/// How far a change of a rollout reaches, the farthest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// To nobody.
    Nobody,
    /// To what is shown of the plan.
    Shown,
    /// To circles that it may have been part of, as it has started.
    Circles,
    /// To what phases require.
    Required,
}

impl Seen {
    /// How far it reaches that the rollout is as `after` now, where a playbook names it or none does.
    pub fn reach(&self, after: &Seen, is_named: bool) -> Reach {
        let is_finished_as_before = self.joins == after.joins
            && self.depends_on == after.depends_on
            && self.completed == after.completed;
        let has_come_as_far = self.phases == after.phases
            && self.entered == after.entered
            && verdicts(self).eq(verdicts(after));
        if !is_finished_as_before || is_named && !has_come_as_far {
            Reach::Required
        } else if self.started != after.started {
            Reach::Circles
        } else if self != after {
            Reach::Shown
        } else {
            Reach::Nobody
        }
    }
}

/// What each criterion says, by name.
fn verdicts(seen: &Seen) -> impl Iterator<Item = (&str, Option<Verdict>)> {
    let verdict = |measured: &Measured| measured.status.as_ref().and_then(|status| status.verdict);
    seen.criteria.iter().map(move |measured| (measured.name.as_str(), verdict(measured)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::playbook::PlaybookRef;

    fn seen() -> Seen {
        Seen {
            name: "dreams".to_owned(),
            joins: Some(PlaybookRef { name: "maya".to_owned(), phase: "one".to_owned() }),
            depends_on: Vec::new(),
            phases: vec!["beta".to_owned(), "ga".to_owned()],
            entered: 0,
            started: false,
            completed: false,
            stopped: false,
            held: None,
            criteria: vec![Measured { name: "quality".to_owned(), target: None, status: None }],
        }
    }

    #[test]
    fn a_change_reaches_what_is_required_where_a_phase_may_open_or_close_by_it() {
        use Reach::{Circles, Nobody, Required, Shown};
        type Change = fn(&mut Seen);
        // Of one that no playbook names, and of one that is named.
        let cases: [(&str, Change, Reach, Reach); 10] = [
            ("nothing", |_| (), Nobody, Nobody),
            ("held", |seen| seen.held = Some(("Approval".to_owned(), "why".to_owned())), Shown, Shown),
            ("stopped", |seen| seen.stopped = true, Shown, Shown),
            ("entered", |seen| seen.entered = 1, Shown, Required),
            ("phases", |seen| seen.phases.truncate(1), Shown, Required),
            ("criteria", |seen| seen.criteria.clear(), Shown, Required),
            ("started", |seen| seen.started = true, Circles, Circles),
            ("completed", |seen| seen.completed = true, Required, Required),
            ("joins", |seen| seen.joins = None, Required, Required),
            ("depends", |seen| seen.depends_on.push("other".to_owned()), Required, Required),
        ];
        for (what, change, unnamed, named) in cases {
            let (before, mut after) = (seen(), seen());
            change(&mut after);
            let reached = (before.reach(&after, false), before.reach(&after, true));
            assert_eq!(reached, (unnamed, named), "{what}");
        }
    }
}

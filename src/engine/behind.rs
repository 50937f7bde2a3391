//! What would hold a raise back behind the check that holds it back now.
//!
//! The first check that says no is what a rollout waits for, with the plan's time for it. That time is no promise where a
//! later check says no, too, and nothing but somebody or a measurement can change that: so it is said beside the first.

use super::Run;
use super::approval::check_approval;
use super::checks::{Purpose, Raise, Refusal, gates_of};
use super::criteria::remembered_shut;
use super::measure::Metrics;
use super::missing::known;
use super::quiet::{concerned, in_breach};
use crate::api::rolloutaction::Override;
use crate::api::status::{Check, ThenWaitsFor};
use crate::api::verdict::Verdict;
use crate::plan::guard::Trigger;

impl Run<'_> {
    /// The refusal of a raise, with the first later check that would say no at its time as things stand.
    pub(super) fn with_then(&self, raise: Raise<'_>, refusal: Refusal) -> Refusal {
        let Some(then) = refusal.until.and_then(|_| self.behind(raise)) else { return refusal };
        let message =
            format!("{}; as things stand it is held back then, too: {}", refusal.message, then.message);
        let then = ThenWaitsFor { check: then.check, which: then.which };
        Refusal { message, then: Some(then), ..refusal }
    }

    /// The first check that says no of those that time does not end.
    ///
    /// Metrics are judged by what status remembers of them, not by the newest measurement: that changes with verdicts only,
    /// and is there after a restart, so a rollout that waits for a date is written no oftener for it.
    pub(super) fn behind(&self, raise: Raise<'_>) -> Option<Refusal> {
        let purpose = raise.purpose();
        let approval = || match purpose {
            Purpose::Step | Purpose::StillStep | Purpose::Cohort | Purpose::Edit => {
                check_approval(self, raise)
            }
            Purpose::Promote | Purpose::PromoteStill | Purpose::SetPercent => None,
        };
        let is_raise = matches!(purpose, Purpose::Step | Purpose::Cohort | Purpose::Edit);
        let measured = is_raise && self.facts.metrics != Metrics::AllWell;
        approval().or_else(|| measured.then(|| self.remembered(raise)).flatten())
    }

    fn remembered(&self, raise: Raise<'_>) -> Option<Refusal> {
        let unquiet = self.plan.guard.triggers.iter().find_map(|trigger| {
            let mut cohorts = concerned(self, trigger, raise).into_iter();
            cohorts.find_map(|cohort| self.was_not_quiet(trigger, cohort))
        });
        let shut = || {
            let mut gates =
                gates_of(self, raise).iter().filter(|_| !self.overrides.contains(&Override::Gates));
            gates.find_map(|gate| {
                let message = remembered_shut(&self.plan.guard, &self.status, gate)?;
                Some(Refusal::new(Check::Gates, message, None).of(gate))
            })
        };
        unquiet.or_else(shut)
    }

    fn was_not_quiet(&self, trigger: &Trigger, cohort: Option<&str>) -> Option<Refusal> {
        match known(&self.status, trigger, cohort)?.verdict {
            Verdict::Pass | Verdict::Cancelled => None,
            Verdict::Breach => {
                self.breach_without_end(trigger, cohort).map(|level| in_breach(trigger, cohort, level))
            }
            missing => self.lacks_data(trigger, cohort, missing, missing),
        }
    }
}

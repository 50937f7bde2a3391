//! Whether triggers let a raise through: quiet ones do, and those whose data is missing where that counts do not.

use super::Run;
use super::checks::{Raise, Refusal};
use super::measure::{Metrics, Subject, interval_of};
use super::missing::{self, missing_words};
use crate::api::status::Check;
use crate::api::trigger::LevelAction;
use crate::api::{Reading, Verdict};
use crate::plan::guard::{Level, Trigger};

/// Triggers of the whole rollout concern every raise; one that judges each cohort by itself concerns only that cohort,
/// and an edited audience, which may reach any.
pub(super) fn check_triggers(run: &Run<'_>, raise: Raise<'_>) -> Option<Refusal> {
    if run.facts.metrics == Metrics::AllWell {
        return None;
    }
    run.plan.guard.triggers.iter().find_map(|trigger| {
        concerned(run, trigger, raise).into_iter().find_map(|cohort| run.not_quiet(trigger, cohort))
    })
}

/// For whom a trigger has to be quiet for a raise: for a cohort, for the whole rollout, or for nobody.
pub(super) fn concerned<'s>(run: &'s Run<'_>, trigger: &Trigger, raise: Raise<'s>) -> Vec<Option<&'s str>> {
    match (&trigger.per_cohort, raise) {
        (None, _) => vec![None],
        (Some(_), Raise::Step(_) | Raise::StillStep(_) | Raise::Promote(_) | Raise::PromoteStill(_)) => {
            Vec::new()
        }
        (Some(_), Raise::Cohort(name) | Raise::SetPercent(name) | Raise::Edit(Some(name))) => {
            vec![Some(name)]
        }
        (Some(_), Raise::Edit(None)) => {
            run.status.cohorts.iter().map(|cohort| Some(cohort.name.as_str())).collect()
        }
    }
}

/// A level that pauses or rolls back is in breach.
pub(super) fn in_breach(trigger: &Trigger, cohort: Option<&str>, level: &Level) -> Refusal {
    let (name, about, severity) = (&trigger.name, about(cohort), level.severity.as_str());
    let message = format!("{name}{about} is {}: {severity} level", level.bound);
    Refusal::new(Check::Triggers, message, None).of(name)
}

fn about(cohort: Option<&str>) -> String {
    cohort.map(|cohort| format!(" for cohort {cohort}")).unwrap_or_default()
}

impl Run<'_> {
    /// Why a trigger lets nothing rise now: a level that pauses or rolls back is in breach, whatever its `for`, or its
    /// data is missing and that counts.
    fn not_quiet(&self, trigger: &Trigger, cohort: Option<&str>) -> Option<Refusal> {
        let subject = Subject::Trigger(trigger.name.clone());
        let interval = interval_of(&self.plan.guard, &self.status, trigger, self.now);
        let newest = self.facts.metrics.newest(&subject, cohort, interval, self.now);
        let verdict = match newest.map(|newest| &newest.reading) {
            Some(Reading::Value { value, .. }) => {
                let mut stopping = trigger.levels.iter().filter(|level| level.action > LevelAction::Notify);
                if let Some(breached) = stopping.find(|level| level.bound.holds(*value)) {
                    return Some(in_breach(trigger, cohort, breached));
                }
                Verdict::Pass
            }
            Some(Reading::Error(_)) => Verdict::ProviderError,
            Some(Reading::NoData(_)) | None => Verdict::NoData,
        };
        // After a restart nothing is measured yet, and what was missing before is missing still: in the same words.
        let before = || missing::known(&self.status, trigger, cohort).map(|known| known.verdict);
        let said = if newest.is_none() { before().filter(|before| before.is_missing()) } else { None };
        self.lacks_data(trigger, cohort, verdict, said.unwrap_or(verdict))
    }

    /// Why a trigger whose data is missing lets nothing rise: a breach stood when it was measured last, or that it is
    /// missing counts. `said` is the verdict in whose words that is told.
    pub(super) fn lacks_data(
        &self,
        trigger: &Trigger,
        cohort: Option<&str>,
        verdict: Verdict,
        said: Verdict,
    ) -> Option<Refusal> {
        let about = about(cohort);
        // What was measured up to a resume or a retry, or at the instant to which a clock was set back, ends no breach.
        if let Some(level) = self.breach_without_end(trigger, cohort) {
            let message = format!(
                "{}{about} was {} when it was last measured; a pause and a resume let it go on without",
                trigger.name, level.bound
            );
            return Some(Refusal::new(Check::Triggers, message, None).of(&trigger.name));
        }
        let is_missing = verdict.is_missing()
            && missing::counts(&self.plan.guard, &self.status, trigger, cohort, verdict, self.now);
        is_missing.then(|| {
            let why = missing::why(&self.status, trigger, cohort, said);
            let message = format!("{}{about} has {}{why}", trigger.name, missing_words(said));
            Refusal::new(Check::Triggers, message, None).of(&trigger.name)
        })
    }

    /// The level that pauses or rolls back and was in breach when there was data last: only a pass, a resume or a retry
    /// ends a breach, not the loss of its data.
    pub(super) fn breach_without_end<'t>(
        &self,
        trigger: &'t Trigger,
        cohort: Option<&str>,
    ) -> Option<&'t Level> {
        let known = missing::known(&self.status, trigger, cohort)?;
        let in_breach = |level: &Level| {
            known.levels.iter().any(|state| state.rule == level.rule && state.breach.is_some())
        };
        let stopping = |level: &&Level| level.action > LevelAction::Notify && in_breach(level);
        trigger.levels.iter().find(stopping)
    }
}

//! Missing data: in which scope, and from when on, it counts; and what follows from it.
//!
//! A scope is the whole rollout or, of a trigger that judges each cohort by itself, one cohort. Nothing is measured where
//! nobody has the feature, so data that is missing there is no fault, and a breach that stood there has nothing left to
//! end it.

use super::measure::{Subject, interval_of};
use super::rollback::Cause;
use super::triggers::Watch;
use crate::api::status::FeatureRolloutStatus;
use crate::api::trigger::MissingPolicy;
use crate::api::verdict::{TriggerStatus, Verdict};
use crate::api::{MicroTime, Reading, RollbackMode};
use crate::plan::Guard;
use crate::plan::guard::Trigger;

/// Whether a scope is to get the treatment, one cohort or without one anybody, by what is decided: the file follows.
pub(super) fn exposed(status: &FeatureRolloutStatus, cohort: Option<&str>) -> bool {
    let mut concerned =
        status.cohorts.iter().filter(|known| cohort.is_none_or(|cohort| known.name == cohort));
    concerned.any(|cohort| !cohort.decided().is_zero())
}

/// When an exposed scope rose from 0 last. One that rises in the decision under way is not exposed yet in this sense: the
/// file does not hold it.
fn exposed_at(status: &FeatureRolloutStatus, cohort: Option<&str>) -> Option<MicroTime> {
    let at = match cohort {
        Some(name) => status.cohort(name)?.exposed_at,
        None => status.exposed_at,
    }?;
    exposed(status, cohort).then_some(at)
}

/// Notes when the rollout, and each cohort, rose from 0.
pub(super) fn note_exposure(before: &FeatureRolloutStatus, after: &mut FeatureRolloutStatus, now: MicroTime) {
    let note = |at: &mut Option<MicroTime>, was: bool, is: bool| {
        if is && (!was || at.is_none()) {
            *at = Some(now);
        }
    };
    let is = exposed(after, None);
    note(&mut after.exposed_at, exposed(before, None), is);
    for cohort in &mut after.cohorts {
        let was = exposed(before, Some(&cohort.name));
        let is = !cohort.decided().is_zero();
        note(&mut cohort.exposed_at, was, is);
    }
}

/// What is remembered of a trigger in a scope.
pub(super) fn known<'s>(
    status: &'s FeatureRolloutStatus,
    trigger: &Trigger,
    cohort: Option<&str>,
) -> Option<&'s TriggerStatus> {
    let cohort = cohort.unwrap_or_default();
    status.triggers.iter().find(|known| known.name == trigger.name && known.cohort == cohort)
}

/// From when on missing data of this kind counts against a scope; `None` where it does not count at all.
///
/// It counts once the scope has been exposed for the trigger's `initialDelay`, and the data missing for its `missingFor`.
/// What was missing before the scope was exposed is no fault afterwards either.
pub(super) fn counts_from(
    guard: &Guard,
    status: &FeatureRolloutStatus,
    trigger: &Trigger,
    cohort: Option<&str>,
    verdict: Verdict,
    now: MicroTime,
) -> Option<MicroTime> {
    let policy = trigger.policy(verdict)?;
    let exposed_at = exposed_at(status, cohort)?;
    let delayed = exposed_at.saturating_add(trigger.initial_delay);
    let since = known(status, trigger, cohort).and_then(|known| known.missing_since);
    let since = since.map_or(exposed_at, |since| exposed_at.max(since));
    let interval = interval_of(guard, status, trigger, now);
    Some(since.saturating_add(trigger.missing_for(policy, interval)).max(delayed))
}

/// Whether data that is found missing at `at` counts against a scope.
pub(super) fn counts(
    guard: &Guard,
    status: &FeatureRolloutStatus,
    trigger: &Trigger,
    cohort: Option<&str>,
    verdict: Verdict,
    at: MicroTime,
) -> bool {
    // What is said of the very instant of the raise says nothing of what it brings.
    exposed_at(status, cohort).is_some_and(|exposed_at| at > exposed_at)
        && counts_from(guard, status, trigger, cohort, verdict, at).is_some_and(|from| at >= from)
}

/// A verdict that is no measurement, in words.
pub(super) fn missing_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::ProviderError => "an error of its source",
        _ => "no data",
    }
}

/// Why data is missing, as status remembers it, to follow [`missing_words`]; nothing where that is not known.
pub(super) fn why(
    status: &FeatureRolloutStatus,
    trigger: &Trigger,
    cohort: Option<&str>,
    verdict: Verdict,
) -> String {
    let known = known(status, trigger, cohort).filter(|known| known.verdict == verdict);
    known.and_then(|known| known.message.as_ref()).map(|why| format!(": {why}")).unwrap_or_default()
}

impl Watch<'_> {
    /// Does what the policies for missing data ask, once until data is there again.
    pub(super) fn act_on_missing(&mut self) {
        let guard = self.guard;
        for trigger in &guard.triggers {
            let missing: Vec<TriggerStatus> = self
                .status
                .triggers
                .iter()
                .filter(|status| status.name == trigger.name && status.verdict.is_missing())
                .cloned()
                .collect();
            for TriggerStatus { cohort, verdict, message: why, missing_acted: acted, .. } in missing {
                let Some(policy) = trigger.policy(verdict) else { continue };
                let scope = trigger.per_cohort.as_ref().map(|_| cohort.as_str());
                let stops = match policy {
                    MissingPolicy::Hold | MissingPolicy::Ignore => false,
                    MissingPolicy::Pause => !acted,
                    // Once nobody is exposed it does not count any more: a pause before must not stand for it.
                    MissingPolicy::ImmediateRollback => true,
                };
                if !stops || !self.missing_counts(trigger, scope) {
                    continue;
                }
                if let Some(status) = self.state_mut(&trigger.name, &cohort) {
                    status.missing_acted = true;
                }
                let about = scope.map(|cohort| format!(" for cohort {cohort}")).unwrap_or_default();
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                let message = format!("{}{about} has {}{why}", trigger.name, missing_words(verdict));
                let cause = Cause::trigger(trigger, trigger.severity(), message);
                if policy == MissingPolicy::Pause {
                    self.pause(&cause);
                } else {
                    let scope = scope.map(|cohort| vec![cohort.to_owned()]);
                    self.roll_back(RollbackMode::Immediate, scope, cause);
                }
            }
        }
    }

    /// Whether the data that was found missing last counts.
    fn missing_counts(&self, trigger: &Trigger, cohort: Option<&str>) -> bool {
        let subject = Subject::Trigger(trigger.name.clone());
        let interval = interval_of(self.guard, self.status, trigger, self.now);
        let newest = self.metrics.newest(&subject, cohort, interval, self.now);
        newest.is_some_and(|newest| {
            let verdict = match newest.reading {
                Reading::Value { .. } => return false,
                Reading::NoData(_) => Verdict::NoData,
                Reading::Error(_) => Verdict::ProviderError,
            };
            counts(self.guard, self.status, trigger, cohort, verdict, newest.at)
        })
    }

    /// Ends the breaches of scopes in which nobody is exposed and that are measured no more: no measurement can end them,
    /// and nobody is harmed by what was measured.
    pub(super) fn forget_unmeasurable(&mut self) {
        let (guard, waits) = (self.guard, self.waits_for_quiet());
        for i in 0..self.status.triggers.len() {
            let Some(known) = self.status.triggers.get(i) else { continue };
            let Some(trigger) = guard.trigger(&known.name) else { continue };
            let scope = trigger.per_cohort.as_ref().map(|_| known.cohort.as_str());
            if !known.verdict.is_missing() || exposed(self.status, scope) {
                continue;
            }
            let Some(known) = self.status.triggers.get_mut(i) else { continue };
            known.levels.retain_mut(|state| {
                let level = trigger.levels.iter().find(|level| level.rule == state.rule);
                let remembered = level.is_some_and(|level| waits.remember(level));
                state.breach = None;
                state.acted_at.is_some() && remembered
            });
        }
    }
}

/// Forgets on a resume by people what would hold the rollout back for ever: what stood in breach when a trigger was
/// measured last, which is measured no more. Whether raises wait for its data is up to its policy for that.
pub(super) fn forget_missing(status: &mut FeatureRolloutStatus) {
    for state in status.triggers.iter_mut().filter(|state| state.verdict.is_missing()) {
        state.levels.clear();
    }
}

//! One rollout on its way through a recording: what happens at an instant, and which instant is the next.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::recorded::Recorded;
use super::simulate::Transition;
use super::timeline::{self, Cause, Entry, change, favourable, served_before};
use crate::api::rolloutaction::Answer;
use crate::api::status::RaiseCause;
use crate::api::{FeatureRolloutStatus, MicroTime, Reading, Reason, Verdict};
use crate::engine::measure::anchor;
use crate::engine::missing::counts_from;
use crate::engine::{
    Actor, Due, Facts, Ground, Measurement, Metrics, Request, Subject, act, decide, deliver, due,
};
use crate::plan::Plan;

/// Decisions at one instant; each follows from something that happens once.
const MOST_PASSES: usize = 256;
/// Intervals without any change after which the same samples will bring none: time is counted from the second sample on.
const CHECKS_WITHOUT_NEWS: i32 = 4;
/// Who acts.
const ACTOR: &str = "simulated";

/// The last check of a subject.
struct Checked {
    at: MicroTime,
    /// Whether there was no sample for it at all: nothing changes until there is one.
    unsampled: bool,
}

/// A rollout on its way from instant to instant.
pub(super) struct Walk<'a> {
    pub plan: Plan,
    recorded: &'a Recorded,
    pub status: FeatureRolloutStatus,
    facts: Facts,
    checked: BTreeMap<Subject, Checked>,
    /// Actions carried out or refused so far.
    acted: usize,
    /// When the state was another one last.
    pub changed_at: MicroTime,
    pub entries: Vec<Entry>,
    pub transitions: Vec<Transition>,
}

impl<'a> Walk<'a> {
    /// A rollout that nobody has seen yet.
    pub fn new(plan: &Plan, recorded: &'a Recorded, now: MicroTime) -> Walk<'a> {
        let on_missed = plan.on_missed;
        let mut plan = favourable(plan, now);
        plan.on_missed = on_missed;
        let sampled = |gate: &String| recorded.has(&Subject::Criterion(gate.clone()));
        for step in &mut plan.steps {
            step.gates.retain(sampled);
        }
        let facts = Facts { metrics: Metrics::Measured(Vec::new()), ..Facts::favourable(&plan.name) };
        Walk {
            plan,
            recorded,
            status: FeatureRolloutStatus::default(),
            facts,
            checked: BTreeMap::new(),
            acted: 0,
            changed_at: now,
            entries: Vec::new(),
            transitions: Vec::new(),
        }
    }

    /// Everything that happens at one instant: actions, then checks, then the decision, until it stands.
    pub fn instant(&mut self, at: MicroTime) -> Option<MicroTime> {
        let mut before = self.status.clone();
        let told = self.transitions.len();
        let mut strongest = None;
        let mut wake_at = None;
        let begun = self.status.clone();
        for _ in 0..MOST_PASSES {
            let mut acts = false;
            // An object that nobody has seen yet takes no actions.
            if self.status.is_begun() {
                self.measure(at, true);
                let was = self.status.clone();
                acts = self.carry_out(at);
                if self.moved(&was) {
                    strongest = strongest.max(Some(Cause::Action));
                }
                self.measure(at, false);
            }
            let decision = decide(&self.plan, &self.status, &self.facts, at);
            let was = std::mem::replace(&mut self.status, decision.status);
            wake_at = decision.wake_at;
            // The file follows at once here.
            deliver(&mut self.status, at);
            self.remember(&was);
            if self.moved(&was) {
                strongest = strongest.max(Some(self.cause(&was)));
            }
            // What was measured has been decided on by now.
            if !acts && self.status == was {
                break;
            }
        }
        if self.status != begun {
            self.changed_at = at;
        }
        let again = |t: &Transition| t.reason == Reason::Retried;
        if self.transitions.iter().skip(told).any(again) {
            // It stands before the first step again, so the one entered now is no earlier one.
            before.position = None;
        }
        let entry = match strongest {
            None => None,
            Some(Cause::CohortDelay | Cause::Step) => change(&self.plan, &before, &self.status, at),
            Some(cause) => Some(timeline::entry(&self.plan, &self.status, at, cause, self.stands_at())),
        };
        self.entries.extend(entry);
        wake_at
    }

    /// Carries out the actions of this instant; whether there were any.
    fn carry_out(&mut self, at: MicroTime) -> bool {
        let recorded = self.recorded;
        let from = self.acted;
        while let Some((created, spec)) = recorded.actions.get(self.acted).filter(|(of, _)| *of <= at) {
            self.acted += 1;
            let uid = format!("action-{}", self.acted);
            let request = Request {
                uid: &uid,
                spec,
                created: *created,
                version: i64::try_from(self.acted).unwrap_or_default(),
                actor: Actor::Verified(ACTOR.to_owned()),
                tracked_by: None,
                speed: 1,
                rollout_uid: &self.facts.uid,
                generation: 1,
            };
            let outcome = act(Ground::Plan(&self.plan, &self.facts), &self.status, &request, at);
            let reason = match outcome.answer {
                Answer::Applied => None,
                Answer::Rejected => Some(Reason::Rejected),
                Answer::Expired => Some(Reason::Expired),
            };
            self.transitions.extend(reason.map(|reason| Transition {
                at,
                reason,
                message: format!("{} was not carried out: {}", spec.action.as_str(), outcome.message),
                who: ACTOR.to_owned(),
                trigger: None,
                severity: None,
            }));
            let was = std::mem::replace(&mut self.status, outcome.status);
            self.remember(&was);
        }
        self.acted > from
    }

    /// Takes note of what was added to the history, and of what is measured anew.
    fn remember(&mut self, was: &FeatureRolloutStatus) {
        let seen = was.last_seq();
        let new = self.status.history.iter().filter(|entry| entry.seq > seen).map(Transition::from);
        self.transitions.extend(new);
        let same = self.status.metrics_from == was.metrics_from && anchor(&self.status) == anchor(was);
        if !same || self.moved(was) {
            // What was measured before may mean something else now.
            self.checked.clear();
        }
    }

    /// Makes the checks that are due at this instant, or the last of those that were left out before it.
    fn measure(&mut self, now: MicroTime, left_out: bool) {
        for Due { subject, at, interval, .. } in due(&self.plan.guard, &self.status, now) {
            let checked = self.checked.get(&subject);
            let wanted = match left_out {
                true => at < now && checked.is_some_and(|checked| checked.unsampled && checked.at < at),
                false => at == now && checked.is_none_or(|checked| checked.at != at),
            };
            if !wanted || self.passes_unmeasured(&subject) {
                continue;
            }
            let mut unsampled = true;
            for cohort in self.cohorts(&subject) {
                let reading = self.recorded.reading(&subject, cohort.as_ref(), at, interval);
                unsampled &= reading.is_none();
                let none = || Reading::NoData("there is no sample of its interval".to_owned());
                let reading = reading.cloned().unwrap_or_else(none);
                self.take(Measurement { subject: subject.clone(), cohort, at, due: at, reading });
            }
            self.checked.insert(subject, Checked { at, unsampled });
        }
    }

    /// Only the newest measurement of a subject says anything: the earlier ones have been counted.
    fn take(&mut self, new: Measurement) {
        let mut measurements = self.facts.metrics.measurements().to_vec();
        measurements.retain(|old| old.subject != new.subject || old.cohort != new.cohort);
        measurements.push(new);
        self.facts.metrics = Metrics::Measured(measurements);
    }

    /// Whether it is a criterion without any samples: offline, such a one counts as met.
    fn passes_unmeasured(&self, subject: &Subject) -> bool {
        matches!(subject, Subject::Criterion(_)) && !self.recorded.has(subject)
    }

    /// Whom a subject is measured for: each cohort, or once the whole rollout.
    fn cohorts(&self, subject: &Subject) -> Vec<Option<String>> {
        let per_cohort = match subject {
            Subject::Trigger(name) => self.plan.guard.trigger(name).and_then(|t| t.per_cohort.as_ref()),
            Subject::Criterion(_) => None,
        };
        match per_cohort {
            Some(_) => self.status.cohorts.iter().map(|cohort| Some(cohort.name.clone())).collect(),
            None => vec![None],
        }
    }

    fn moved(&self, was: &FeatureRolloutStatus) -> bool {
        let served = |name: &str| served_before(&self.plan, was, name);
        self.status.cohorts.iter().any(|cohort| cohort.decided() != served(&cohort.name))
    }

    /// What made a decision change what is served.
    fn cause(&self, was: &FeatureRolloutStatus) -> Cause {
        let seen = was.last_seq();
        let by_reason = self.status.history.iter().filter(|entry| entry.seq > seen).filter_map(|entry| {
            match entry.reason {
                Reason::RolledBack | Reason::RollbackEscalated => Some(Cause::Trigger),
                Reason::RungEntered => Some(Cause::Ladder),
                Reason::EditApplied => Some(Cause::Edit),
                Reason::StepEntered => Some(Cause::Step),
                _ => None,
            }
        });
        let edited = self.status.cohorts.iter().any(|cohort| {
            let pending = was.cohort(&cohort.name).and_then(|was| was.pending.as_ref());
            let came = pending.is_some_and(|pending| cohort.decided() == pending.percent);
            came && pending.is_some_and(|pending| pending.cause == RaiseCause::Edit)
        });
        by_reason.chain(edited.then_some(Cause::Edit)).max().unwrap_or(Cause::CohortDelay)
    }

    /// The step stood at; before the first one, number 0 of its phase.
    fn stands_at(&self) -> (String, i32, Option<String>) {
        match &self.status.position {
            Some(position) => (position.phase.clone(), position.number, position.step.clone()),
            None => (self.plan.steps.first().map(|step| step.phase.clone()).unwrap_or_default(), 0, None),
        }
    }

    /// The next instant, after `at`, at which anything can happen.
    pub fn next(&self, wake_at: Option<MicroTime>, at: MicroTime) -> Option<MicroTime> {
        let action = self.recorded.actions.get(self.acted).map(|(at, _)| *at);
        let checks = due(&self.plan.guard, &self.status, at);
        let checks = checks.iter().filter_map(|due| self.next_check(due, at));
        // From one period of the monitoring to the next, checks are made at other instants.
        let periods = self.plan.guard.monitoring.iter().filter_map(|(until, _)| *until);
        let periods = periods.filter_map(|until| Some(self.status.completed_at?.saturating_add(until)));
        checks.chain(periods).chain(action).chain(wake_at).filter(|next| *next > at).min()
    }

    /// The next check of a subject that can say anything but what the last one said.
    fn next_check(&self, due: &Due, at: MicroTime) -> Option<MicroTime> {
        if self.passes_unmeasured(&due.subject) {
            return None;
        }
        let Some(checked) = self.checked.get(&due.subject).filter(|checked| checked.unsampled) else {
            return Some(due.next);
        };
        let sampled = self.recorded.next(&due.subject, checked.at);
        let from = sampled.into_iter().chain(self.faults(&due.subject, at)).min()?;
        slot(due, from)
    }

    /// Whether every subject has been checked again and again since the state was another one last and since the `last` input
    /// that has an end, and none waits for its missing data to count: more samples of the same change nothing.
    pub fn is_settled(&self, at: MicroTime, last: Option<MicroTime>) -> bool {
        let since = at.duration_since(last.map_or(self.changed_at, |last| last.max(self.changed_at)));
        due(&self.plan.guard, &self.status, at).iter().all(|due| {
            since >= due.interval.saturating_mul(CHECKS_WITHOUT_NEWS)
                && self.faults(&due.subject, at).is_none()
        })
    }

    /// When the missing data of a trigger begins to count, after now, in any of its scopes.
    fn faults(&self, subject: &Subject, now: MicroTime) -> Option<MicroTime> {
        let Subject::Trigger(name) = subject else { return None };
        let (guard, status) = (&self.plan.guard, &self.status);
        let trigger = guard.trigger(name)?;
        let kinds = [Verdict::NoData, Verdict::ProviderError];
        let scopes =
            self.cohorts(subject).into_iter().flat_map(|cohort| kinds.map(|kind| (cohort.clone(), kind)));
        let faults = scopes
            .filter_map(|(cohort, kind)| counts_from(guard, status, trigger, cohort.as_deref(), kind, now));
        faults.filter(|fault| *fault > now).min()
    }
}

/// The first instant after now, and not before `from`, at which the subject is due.
fn slot(due: &Due, from: MicroTime) -> Option<MicroTime> {
    let wait = from.duration_since(due.next).as_micros();
    let interval = due.interval.as_micros().max(1);
    let intervals = if wait <= 0 { 0 } else { (wait + interval - 1) / interval };
    let micros = i64::try_from(intervals.saturating_mul(interval)).ok()?;
    Some(due.next.saturating_add(SignedDuration::from_micros(micros)))
}

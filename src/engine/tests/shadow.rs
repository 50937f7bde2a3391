//! A second account of what the metrics say, from the raw samples alone: it never looks at what the engine remembers.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::shadow_rules::{cohorts_of, exposed, gradually, is_fresh, is_in_breach, missing_for, policy};
use crate::api::trigger::{LevelAction, MissingPolicy};
use crate::api::{FeatureRolloutStatus, MicroTime, Reading};
use crate::engine::{Measurement, Metrics, Subject};
use crate::plan::guard::{Guard, Level, Trigger};

/// A subject by the names of its trigger and, where it has one, its cohort.
type Key = (String, Option<String>);

/// All that was measured, and what has followed from it.
#[derive(Default)]
pub struct Shadow {
    /// Every sample of a key since the status was last lost, oldest first, and whether it counts.
    samples: BTreeMap<Key, Vec<(MicroTime, Reading, bool)>>,
    /// When the samples were due that Sluice was late with.
    due: BTreeMap<(Key, MicroTime), MicroTime>,
    /// From when on samples count for a level: it was edited, or a resume set it back.
    from: BTreeMap<(Key, String), MicroTime>,
    /// Samples up to then were before a retry or a resume.
    metrics_from: Option<MicroTime>,
    /// Whether a rollback is in force.
    pub latched: bool,
    /// The cohorts that it takes to control, and by when they are there.
    pub at_control_by: BTreeMap<String, MicroTime>,
    /// What the controller remembers of its answers: a few of each key.
    fed: Vec<Measurement>,
    /// When each cohort, and without one anybody, rose from 0 last.
    exposed_at: BTreeMap<Option<String>, MicroTime>,
    /// The first sample of the run of missing ones that a policy waits for, and the last sample looked at.
    missing: BTreeMap<Key, (Option<MicroTime>, MicroTime)>,
}

impl Shadow {
    /// Takes a sample of now, if there is none of now yet.
    pub fn measure(&mut self, subject: Subject, cohort: Option<&str>, at: MicroTime, reading: &Reading) {
        self.measure_late(subject, cohort, (at, at), reading);
    }

    /// The same with one that was due earlier.
    pub fn measure_late(
        &mut self,
        subject: Subject,
        cohort: Option<&str>,
        (due, at): (MicroTime, MicroTime),
        reading: &Reading,
    ) {
        let cohort = cohort.map(str::to_owned);
        let same = |fed: &Measurement| fed.subject == subject && fed.cohort == cohort;
        let known = match &subject {
            Subject::Trigger(name) => self.samples.get(&(name.clone(), cohort.clone())),
            Subject::Criterion(_) => None,
        };
        let measured = known.and_then(|samples| samples.last()).is_some_and(|(last, ..)| *last == at);
        if measured || self.fed.iter().any(|fed| same(fed) && fed.at == at) {
            return;
        }
        if self.fed.iter().filter(|fed| same(fed)).count() >= 3 {
            let oldest = self.fed.iter().position(same).unwrap();
            self.fed.remove(oldest);
        }
        self.fed.push(Measurement {
            subject: subject.clone(),
            cohort: cohort.clone(),
            at,
            due,
            reading: reading.clone(),
        });
        if let Subject::Trigger(name) = subject {
            let counts = self.metrics_from.is_none_or(|from| at > from);
            self.due.insert(((name.clone(), cohort.clone()), at), due);
            self.samples.entry((name, cohort)).or_default().push((at, reading.clone(), counts));
        }
    }

    fn is_fed(&self, (name, cohort): &Key, at: MicroTime) -> bool {
        let subject = Subject::Trigger(name.clone());
        self.fed.iter().any(|fed| fed.subject == subject && fed.cohort == *cohort && fed.at == at)
    }

    /// What the engine is given. After a clock was set back the last answer is not the newest.
    pub fn metrics(&self) -> Metrics {
        let mut fed = self.fed.clone();
        fed.sort_by_key(|measurement| measurement.at);
        Metrics::Measured(fed)
    }

    /// The controller forgets the answers about cohorts that are no more.
    pub fn forget_others(&mut self, status: &FeatureRolloutStatus) {
        self.fed.retain(|fed| fed.cohort.as_ref().is_none_or(|cohort| status.cohort(cohort).is_some()));
    }

    /// The controller forgets its answers.
    pub fn forget_answers(&mut self) {
        self.fed.clear();
    }

    /// The status is lost, and with it all that was counted. The file knows of a rollback, whose ladder goes on.
    pub fn lose(&mut self, status: &FeatureRolloutStatus, now: MicroTime) {
        *self = Shadow { latched: self.latched, ..Shadow::default() };
        for name in status.rollback.iter().flat_map(|rollback| &rollback.cohorts) {
            let there = status.cohort(name).is_none_or(|cohort| cohort.decided().is_zero());
            self.at_control_by.insert(name.clone(), if there { now } else { gradually(now) });
        }
    }

    /// Somebody started again.
    pub fn retried(&mut self, now: MicroTime) {
        self.latched = false;
        self.at_control_by.clear();
        self.samples.clear();
        self.missing.clear();
        self.metrics_from = Some(now);
    }

    /// Somebody resumed: the levels that pause start over.
    pub fn resumed(&mut self, guard: &Guard, now: MicroTime) {
        self.metrics_from = Some(now);
        for trigger in &guard.triggers {
            for cohort in cohorts_of(trigger) {
                let key = (trigger.name.clone(), cohort);
                // What is measured no more is forgotten, too.
                let missing = self.is_missing(&key);
                for level in
                    trigger.levels.iter().filter(|level| missing || level.action == LevelAction::Pause)
                {
                    self.from.insert((key.clone(), level.rule.clone()), now);
                }
            }
        }
    }

    /// Whether the last sample that counts was none.
    fn is_missing(&self, key: &Key) -> bool {
        let mut counting = self.samples.get(key).into_iter().flatten().rev().filter(|(.., counts)| *counts);
        counting.next().is_some_and(|(_, reading, _)| !matches!(reading, Reading::Value { .. }))
    }

    /// Takes in what was measured since the last decision, with this being served.
    pub fn take_in(&mut self, guard: &Guard, served: &FeatureRolloutStatus, emergency: bool) {
        for trigger in &guard.triggers {
            for cohort in cohorts_of(trigger) {
                let key = (trigger.name.clone(), cohort.clone());
                let samples = self.samples.get(&key).map(Vec::as_slice).unwrap_or_default();
                let mut missing = self.missing.get(&key).copied();
                for (at, reading, _) in samples.iter().filter(|(.., counts)| *counts) {
                    // The last one is looked at again, under rules that may be others by now.
                    if missing.is_some_and(|(_, seen)| *at < seen || (*at == seen && !self.is_fed(&key, *at)))
                    {
                        continue;
                    }
                    let waits = policy(trigger, Some(reading))
                        .is_some_and(|policy| !missing_for(trigger, policy).is_zero());
                    let since = missing.and_then(|(since, _)| since).unwrap_or(*at);
                    missing = Some((waits.then_some(since), *at));
                }
                self.missing.extend(missing.map(|missing| (key.clone(), missing)));
            }
        }
        self.forget(guard, served, emergency);
    }

    /// Ends the breaches of those whom nobody is exposed in, and who are measured no more.
    pub fn forget(&mut self, guard: &Guard, served: &FeatureRolloutStatus, emergency: bool) {
        for trigger in &guard.triggers {
            for cohort in cohorts_of(trigger) {
                let key = (trigger.name.clone(), cohort.clone());
                let samples = self.samples.get(&key).map(Vec::as_slice).unwrap_or_default();
                let unexposed = emergency || !exposed(served, cohort.as_deref());
                if unexposed && self.is_missing(&key) {
                    let last = samples.last().map(|(at, ..)| *at).unwrap();
                    for level in &trigger.levels {
                        let from = self.from.entry((key.clone(), level.rule.clone())).or_insert(last);
                        *from = last.max(*from);
                    }
                }
            }
        }
    }

    /// Takes note of who rose from 0.
    pub fn rise(&mut self, before: &FeatureRolloutStatus, after: &FeatureRolloutStatus, now: MicroTime) {
        for cohort in [None, Some("a"), Some("b"), Some("c")] {
            if !exposed(before, cohort) && exposed(after, cohort) {
                self.exposed_at.insert(cohort.map(str::to_owned), now);
            }
        }
    }

    /// Whether data that is found missing at a time counts, by the rules for it.
    fn missing_counts(&self, trigger: &Trigger, key: &Key, policy: MissingPolicy, at: MicroTime) -> bool {
        let since = self.missing.get(key).and_then(|(since, _)| *since);
        self.exposed_at.get(&key.1).is_some_and(|exposed_at| {
            let missing = at.duration_since(since.unwrap_or(*exposed_at).max(*exposed_at));
            let exposed = at.duration_since(*exposed_at);
            !exposed.is_zero() && exposed >= trigger.initial_delay && missing >= missing_for(trigger, policy)
        })
    }

    /// The bounds were edited: a level that is new counts from its newest sample on.
    pub fn edited(&mut self, before: &Guard, after: &Guard) {
        for trigger in &after.triggers {
            let old = before.trigger(&trigger.name);
            for level in &trigger.levels {
                if old.is_some_and(|old| old.levels.iter().any(|known| known.rule == level.rule)) {
                    continue;
                }
                for cohort in cohorts_of(trigger) {
                    let key = (trigger.name.clone(), cohort);
                    let newest = self.samples.get(&key).and_then(|samples| samples.last());
                    if let Some((at, _, _)) = newest {
                        let again = self.metrics_from.is_none_or(|from| *at > from) && self.is_fed(&key, *at);
                        let from = if again { *at - SignedDuration::from_nanos(1) } else { *at };
                        self.from.insert((key, level.rule.clone()), from);
                    }
                }
            }
        }
        // What is asked anew is judged anew; older answers were given to other rules.
        let newest = self.fed.clone();
        self.fed.retain(|fed| {
            let later = |other: &Measurement| {
                other.subject == fed.subject && other.cohort == fed.cohort && other.at > fed.at
            };
            !newest.iter().any(later)
        });
    }

    /// The samples that count for a level.
    fn counting<'s>(&'s self, key: &Key, level: &Level) -> impl Iterator<Item = (MicroTime, &'s Reading)> {
        let from = self.from.get(&(key.clone(), level.rule.clone())).copied();
        let samples = self.samples.get(key).map(Vec::as_slice).unwrap_or_default();
        samples
            .iter()
            .filter(move |(at, _, counts)| *counts && from.is_none_or(|from| *at > from))
            .map(|(at, reading, _)| (*at, reading))
    }

    /// How long a level has been in breach, and by how many samples.
    fn breach(&self, trigger: &Trigger, level: &Level, key: &Key) -> (SignedDuration, usize) {
        let mut last: Option<MicroTime> = None;
        let mut time = SignedDuration::ZERO;
        let mut samples = 0;
        for (at, reading) in self.counting(key, level) {
            let Reading::Value { value, .. } = reading else { continue };
            if is_in_breach(level, value.get()) {
                let apart = last.map_or(SignedDuration::ZERO, |last| at.duration_since(last));
                // What Sluice itself was late is no gap in the data.
                let late = self
                    .due
                    .get(&(key.clone(), at))
                    .map_or(SignedDuration::ZERO, |due| at.duration_since(*due));
                if apart - late <= trigger.interval * 3 {
                    time += apart;
                }
                (last, samples) = (Some(at), samples + 1);
            } else {
                (last, time, samples) = (None, SignedDuration::ZERO, 0);
            }
        }
        (time, samples)
    }

    /// Takes note of what a decision at `now` has to do about the metrics, with `before` being served.
    pub fn follow(&mut self, guard: &Guard, before: &FeatureRolloutStatus, now: MicroTime) {
        let mut fired: Vec<(LevelAction, Option<String>)> = Vec::new();
        for trigger in &guard.triggers {
            for cohort in cohorts_of(trigger) {
                let key = (trigger.name.clone(), cohort.clone());
                if !exposed(before, cohort.as_deref()) {
                    continue;
                }
                for level in &trigger.levels {
                    let (time, samples) = self.breach(trigger, level, &key);
                    let fires = match level.for_ > SignedDuration::ZERO {
                        true => samples >= 2 && time >= level.for_,
                        false => samples >= 1,
                    };
                    if fires {
                        fired.push((level.action, cohort.clone()));
                    }
                }
                let samples = self.samples.get(&key).map(Vec::as_slice).unwrap_or_default();
                let Some((at, newest, _)) = samples.last() else { continue };
                let Some((_, counted, _)) = samples.iter().rev().find(|(.., counts)| *counts) else {
                    continue;
                };
                let Some(newest) = policy(trigger, Some(newest)) else { continue };
                if policy(trigger, Some(counted)) == Some(MissingPolicy::ImmediateRollback)
                    && is_fresh(trigger, *at, now)
                    && self.is_fed(&key, *at)
                    && self.missing_counts(trigger, &key, newest, *at)
                {
                    fired.push((LevelAction::ImmediateRollback, cohort));
                }
            }
        }
        // The strongest first.
        fired.sort_by_key(|(action, _)| std::cmp::Reverse(*action));
        for (action, cohort) in fired {
            self.act(action, cohort.as_deref(), now);
        }
    }

    fn act(&mut self, action: LevelAction, cohort: Option<&str>, now: MicroTime) {
        let names: Vec<&str> = ["a", "b", "c"]
            .into_iter()
            .filter(|name| cohort.is_none_or(|cohort| cohort == *name))
            .filter(|name| action != LevelAction::PartialRollback || *name != "c")
            .collect();
        match action {
            LevelAction::Notify | LevelAction::Pause => {}
            LevelAction::PartialRollback => self.roll_back(&names, now, false),
            LevelAction::GradualRollback => self.roll_back(&names, gradually(now), false),
            LevelAction::ImmediateRollback => self.roll_back(&names, now, true),
        }
    }

    /// These cohorts are at control by then; a stronger rollback overtakes a weaker one.
    pub fn roll_back(&mut self, cohorts: &[&str], by: MicroTime, stronger: bool) {
        self.latched = true;
        for name in cohorts {
            let known = self.at_control_by.entry((*name).to_owned()).or_insert(by);
            if stronger {
                *known = (*known).min(by);
            }
        }
    }

    /// Why nobody may raise this cohort now, as far as triggers go.
    pub fn shut(
        &self,
        guard: &Guard,
        cohort: &str,
        (before, after): (&FeatureRolloutStatus, &FeatureRolloutStatus),
        now: MicroTime,
    ) -> Option<String> {
        // With nothing measured at all there is no data.
        let none = Reading::NoData(String::new());
        guard.triggers.iter().find_map(|trigger| {
            let of = trigger.per_cohort.is_some().then(|| cohort.to_owned());
            let key = (trigger.name.clone(), of.clone());
            let subject = Subject::Trigger(trigger.name.clone());
            let newest = self.fed.iter().rev().find(|fed| fed.subject == subject && fed.cohort == of);
            let newest = newest.filter(|fed| is_fresh(trigger, fed.at, now)).map(|fed| &fed.reading);
            let stopping = trigger.levels.iter().filter(|level| level.action > LevelAction::Notify);
            if let Some(Reading::Value { value, .. }) = newest {
                let mut stopping = stopping;
                return stopping
                    .any(|level| is_in_breach(level, value.get()))
                    .then(|| format!("{} is in breach", trigger.name));
            }
            let mut stopping = stopping;
            if stopping.any(|level| self.breach(trigger, level, &key).1 > 0) {
                return Some(format!("{} was in breach and has not passed since", trigger.name));
            }
            let exposed = match &of {
                Some(name) => exposed(before, Some(name)),
                None => ["a", "b", "c"]
                    .into_iter()
                    .any(|name| exposed(before, Some(name)) && exposed(after, Some(name))),
            };
            let counts = |policy| self.missing_counts(trigger, &key, policy, now);
            (exposed && policy(trigger, newest.or(Some(&none))).is_some_and(counts))
                .then(|| format!("{} has no data", trigger.name))
        })
    }
}

//! What the checks remember of one rollout: when each subject was asked for, and what was measured last.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::recent::{self, Recent, most_of};
use crate::api::measured::{MeasuredKind, MeasuredSeries};
use crate::api::trigger::Metric;
use crate::api::verdict::Streak;
use crate::api::{FeatureRollout, FeatureRolloutStatus, MicroTime, Reading};
use crate::engine::{Due, Measurement, Subject};
use crate::plan::Guard;
use crate::plan::guard::CriterionSource;

/// Measurements kept of each subject and cohort: as many as an API server that does not answer may make wait…
const KEPT: usize = 32;
/// …and of a rollout that has very many of them, where they take turns at this number of series, at least these.
const LEAST: usize = 8;
/// How many series of a rollout keep all of theirs.
const MANY: usize = 16;
/// Measurements kept of each for a while after one backfill, and however many more follow.
const MOST: usize = KEPT + 201;

/// How many measurements are kept of each of so many series of one rollout.
fn kept_of(series: usize) -> usize {
    (MANY * KEPT / series.max(1)).clamp(LEAST, KEPT)
}

/// About how many bytes of memory each of so many series of one rollout takes.
pub fn series_bytes(series: usize) -> usize {
    /// Its name, its place in a tree, and when it was asked for.
    const ITSELF: usize = 384;
    /// Words of those that failed.
    const WORDS: usize = 16;
    let of_each = size_of::<Sample>() + WORDS;
    ITSELF + kept_of(series) * of_each + most_of(series) * recent::POINT
}

/// The next ticket of any rollout: an answer that was asked for another of the same name is not taken for its own.
static TICKETS: AtomicU64 = AtomicU64::new(1);

/// What is watched over a rollout, and what came of it.
pub struct Watched {
    /// UID of the rollout.
    pub uid: String,
    /// Its flag key.
    pub flag: String,
    /// How many cohorts it had.
    pub cohorts: usize,
    /// Its status, where that is not in the cache because its namespace has more than its share.
    pub status: Option<Box<FeatureRolloutStatus>>,
    /// Says that it is watched over no more, so that nobody waits for its measurements.
    pub gone: CancellationToken,
    guard: Arc<Guard>,
    runs: HashMap<Subject, Run>,
    kept: BTreeMap<(Subject, Option<String>), Kept>,
}

/// What is kept of a subject, of one cohort or of the whole rollout.
#[derive(Default)]
struct Kept {
    /// What decisions are made from, oldest first.
    samples: VecDeque<Sample>,
    /// What people look at.
    recent: Recent,
}

/// What is known of the last time a subject was asked for.
struct Run {
    slot: MicroTime,
    interval: SignedDuration,
    ticket: u64,
    under_way: bool,
    /// Whether nothing could be asked, because a template, a source or an argument was wrong.
    unprepared: bool,
    /// From when on nothing could be asked because the limits of the source left no room.
    owed: Option<MicroTime>,
}

/// How a measurement ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Nothing could be asked, because a template, a source or an argument was wrong.
    pub unprepared: bool,
    /// Nothing was asked, because the limits of the source left no room.
    pub crowded: bool,
}

/// One measurement, of whatever subject and cohort.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The time it speaks of.
    pub at: MicroTime,
    /// When it was due.
    pub due: MicroTime,
    /// What the metric said.
    pub reading: Reading,
}

/// Permission to measure a subject once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// To be shown with the outcome.
    pub ticket: u64,
    /// When it was due; before its slot where those before it were due and the source's limits left no room for them.
    pub due: MicroTime,
    /// Whether the slot before this one was not asked for by this process.
    pub missed: bool,
    /// Whether this process has asked before.
    pub again: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.gone.cancel();
    }
}

impl Watched {
    /// Nothing has been asked yet.
    pub fn new(uid: String, flag: String, guard: Arc<Guard>) -> Watched {
        let gone = CancellationToken::new();
        Watched {
            uid,
            flag,
            cohorts: 0,
            status: None,
            gone,
            guard,
            runs: HashMap::new(),
            kept: BTreeMap::new(),
        }
    }

    /// Whether this is what is watched over the rollout already.
    pub fn is_so(&self, rollout: &FeatureRollout, guard: &Guard, cohorts: usize) -> bool {
        rollout.metadata.uid.as_deref() == Some(&*self.uid)
            && self.cohorts == cohorts
            && *self.guard == *guard
    }

    /// What watches.
    pub fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// Takes an edited guard. What was measured by another query says nothing of the new one.
    pub fn follow(&mut self, guard: &Guard) {
        if *self.guard == *guard {
            return;
        }
        let before = std::mem::replace(&mut self.guard, Arc::new(guard.clone()));
        let stays = |subject: &Subject| {
            let asks = asks(guard, subject);
            asks.is_some() && asks == self::asks(&before, subject)
        };
        self.runs.retain(|subject, _| stays(subject));
        self.kept.retain(|(subject, _), _| stays(subject));
    }

    /// Begins to measure a subject, unless its slot was asked for already or it is being measured.
    pub fn begin(&mut self, due: &Due, now: MicroTime) -> Option<Begun> {
        let before = self.runs.get(&due.subject);
        // A slot to come was asked for by a clock that has been set back.
        let asked = before.is_some_and(|run| run.under_way || (run.slot >= due.at && run.slot <= now));
        if asked {
            return None;
        }
        let missed = before.is_none_or(|run| due.at.duration_since(run.slot) > due.interval);
        let again = before.is_some();
        let ticket = TICKETS.fetch_add(1, Ordering::Relaxed);
        // What was asked for by a clock that has been set back is owed no more.
        let owed = before.and_then(|run| run.owed).filter(|owed| *owed <= due.at);
        let run =
            Run { slot: due.at, interval: due.interval, ticket, under_way: true, unprepared: false, owed };
        self.runs.insert(due.subject.clone(), run);
        Some(Begun { ticket, due: owed.unwrap_or(due.at), missed, again })
    }

    /// Says that a check has ended without an outcome: the next slot is asked for all the same.
    pub fn give_up(&mut self, subject: &Subject, ticket: u64) {
        if let Some(run) = self.runs.get_mut(subject).filter(|run| run.ticket == ticket) {
            run.under_way = false;
        }
    }

    /// Takes in what was measured, oldest first; nothing if what watches has changed meanwhile. Says whether it did.
    pub fn end(
        &mut self,
        subject: &Subject,
        ticket: u64,
        ended: Ended,
        samples: Vec<(Option<String>, Sample)>,
    ) -> bool {
        let Some(run) = self.runs.get_mut(subject).filter(|run| run.ticket == ticket) else { return false };
        run.under_way = false;
        run.unprepared = ended.unprepared;
        run.owed = ended.crowded.then_some(run.owed.unwrap_or(run.slot));
        let most_samples = kept_of(self.kept.len().max(samples.len()));
        let mut grown = BTreeSet::new();
        for (cohort, sample) in samples {
            let key = (subject.clone(), cohort);
            let most = most_of(self.kept.len());
            let kept = self.kept.entry(key.clone()).or_default();
            kept.recent.take(sample.at, &sample.reading, most);
            kept.samples.push_back(sample);
            grown.insert(key);
        }
        for key in grown {
            let Some(Kept { samples: kept, .. }) = self.kept.get_mut(&key) else { continue };
            // What a backfill brought at once goes two by two: the next decisions have to see all of it.
            let slowly = kept.len().saturating_sub(most_samples).min(2);
            let excess = slowly.max(kept.len().saturating_sub(MOST));
            kept.drain(..excess);
            // By itself it would have room for twice as many from the first one too many on.
            if kept.len() >= most_samples && kept.capacity() > kept.len() + LEAST {
                kept.shrink_to(kept.len() + 1);
            }
        }
        true
    }

    /// Whether a trigger is being measured of which nothing is known yet.
    pub fn is_beginning(&self) -> bool {
        let known = |subject: &Subject| self.kept.keys().any(|(of, _)| of == subject);
        self.runs
            .iter()
            .any(|(subject, run)| run.under_way && matches!(subject, Subject::Trigger(_)) && !known(subject))
    }

    /// Lets what could not be asked be asked again at once. Says whether there is any.
    pub fn retry_unprepared(&mut self) -> bool {
        let before = self.runs.len();
        self.runs.retain(|_, run| !run.unprepared);
        self.runs.len() != before
    }

    /// Everything that is kept, oldest first.
    pub fn measurements(&self) -> Vec<Measurement> {
        let mut measurements: Vec<Measurement> = self
            .kept
            .iter()
            .flat_map(|((subject, cohort), kept)| {
                kept.samples.iter().map(move |sample| Measurement {
                    subject: subject.clone(),
                    cohort: cohort.clone(),
                    at: sample.at,
                    due: sample.due,
                    reading: sample.reading.clone(),
                })
            })
            .collect();
        measurements.sort_by_key(|measurement| measurement.at);
        measurements
    }

    /// The course of everything that is measured, without units.
    pub fn course(&self) -> Vec<MeasuredSeries> {
        let series = |((subject, cohort), kept): (&(Subject, Option<String>), &Kept)| {
            let (kind, name) = match subject {
                Subject::Trigger(name) => (MeasuredKind::Trigger, name),
                Subject::Criterion(name) => (MeasuredKind::Criterion, name),
            };
            let interval = self.runs.get(subject).map_or(1, |run| run.interval.as_secs().max(1));
            let (at, said) = kept.recent.told();
            let message = match &kept.samples.back()?.reading {
                Reading::Value { .. } => None,
                Reading::NoData(why) | Reading::Error(why) => Some(why.clone()),
            };
            Some(MeasuredSeries {
                kind,
                name: name.clone(),
                cohort: cohort.clone(),
                unit: None,
                interval_seconds: u32::try_from(interval).unwrap_or(u32::MAX),
                at,
                said,
                message,
            })
        };
        self.kept.iter().filter_map(series).collect()
    }

    /// How many readings there are in the courses.
    pub fn readings(&self) -> usize {
        self.kept.values().map(|kept| kept.recent.len()).sum()
    }

    /// Bytes that the courses take beside what decisions are made from.
    #[cfg(test)]
    fn course_bytes(&self) -> usize {
        self.kept.values().map(|kept| kept.recent.heap_bytes()).sum()
    }
}

/// What is asked for a subject.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Asks<'a> {
    /// The template and its arguments.
    pub metric: &'a Metric,
    /// Namespace of the template, where that is not the rollout's.
    pub template_namespace: Option<&'a str>,
    /// The label that tells the cohorts apart.
    pub label: Option<&'a str>,
}

/// What is asked for a subject; none where the guard has no such subject, or people measure it.
pub fn asks<'a>(guard: &'a Guard, subject: &Subject) -> Option<Asks<'a>> {
    match subject {
        Subject::Trigger(name) => guard.trigger(name).map(|trigger| Asks {
            metric: &trigger.metric,
            template_namespace: trigger.template_namespace.as_deref(),
            label: trigger.per_cohort.as_deref(),
        }),
        Subject::Criterion(name) => match &guard.criterion(name)?.source {
            CriterionSource::Metric(metric) => Some(Asks { metric, template_namespace: None, label: None }),
            CriterionSource::Manual { .. } => None,
        },
    }
}

/// The earliest of the last samples in breach that a trigger's levels have counted and still count on from.
pub fn last_breach(guard: &Guard, status: &FeatureRolloutStatus, subject: &Subject) -> Option<MicroTime> {
    let Subject::Trigger(name) = subject else { return None };
    let known = guard.trigger(name)?;
    let levels = status.triggers.iter().filter(|trigger| trigger.name == *name).flat_map(|t| &t.levels);
    // One that has acted stands still until it is quiet: there is no time in breach to be counted.
    let counting = levels.filter(|level| level.acted_at.is_none());
    // Neither is there once its time has come, though it does not act where nobody is exposed.
    let lasts = |rule: &str, breach: &Streak| {
        let level = known.levels.iter().find(|level| level.rule == rule);
        level.is_some_and(|level| {
            let time = SignedDuration::from_millis(breach.milliseconds);
            level.for_ > SignedDuration::ZERO && (breach.samples < 2 || time < level.for_)
        })
    };
    counting
        .filter_map(|level| level.breach.filter(|breach| lasts(&level.rule, breach)))
        .map(|breach| breach.last)
        .min()
}

#[cfg(test)]
mod tests;

//! What the checks remember of one rollout: when each subject was asked for, and what was measured last.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::api::trigger::Metric;
use crate::api::{MicroTime, Reading};
use crate::engine::{Due, Measurement, Subject};
use crate::plan::Guard;
use crate::plan::guard::CriterionSource;

/// Measurements kept of each subject and cohort: as many as an API server that does not answer may make wait.
const KEPT: usize = 32;
/// Measurements kept of each for a while after one backfill, and however many more follow.
const MOST: usize = KEPT + 201;

/// The next ticket of any rollout: an answer that was asked for another of the same name is not taken for its own.
static TICKETS: AtomicU64 = AtomicU64::new(1);

/// What is watched over a rollout, and what came of it.
pub struct Watched {
    /// UID of the rollout.
    pub uid: String,
    /// Its flag key.
    pub flag: String,
    guard: Arc<Guard>,
    runs: HashMap<Subject, Run>,
    kept: BTreeMap<(Subject, Option<String>), VecDeque<Sample>>,
}

/// What is known of the last time a subject was asked for.
struct Run {
    slot: MicroTime,
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

impl Watched {
    /// Nothing has been asked yet.
    pub fn new(uid: String, flag: String, guard: Arc<Guard>) -> Watched {
        Watched { uid, flag, guard, runs: HashMap::new(), kept: BTreeMap::new() }
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
        let run = Run { slot: due.at, ticket, under_way: true, unprepared: false, owed };
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
        let mut grown = BTreeSet::new();
        for (cohort, sample) in samples {
            let key = (subject.clone(), cohort);
            self.kept.entry(key.clone()).or_default().push_back(sample);
            grown.insert(key);
        }
        for key in grown {
            let Some(kept) = self.kept.get_mut(&key) else { continue };
            // What a backfill brought at once goes two by two: the next decisions have to see all of it.
            let slowly = kept.len().saturating_sub(KEPT).min(2);
            let excess = slowly.max(kept.len().saturating_sub(MOST));
            kept.drain(..excess);
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
            .flat_map(|((subject, cohort), samples)| {
                samples.iter().map(move |sample| Measurement {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Finite;
    use crate::plan::{GuardSpec, guard};
    use jiff::SignedDuration;

    fn guarded(template: &str, interval: &str) -> Guard {
        let text = format!(
            r#"{{"triggers": [{{"name": "errors", "metric": {{"templateRef": {{"name": "{template}"}}}},
                "interval": "{interval}", "levels": [{{"severity": "Critical", "above": "1", "action": "Pause"}}]}}]}}"#
        );
        let spec: GuardSpec = serde_json::from_str(&text).unwrap();
        let mut errors = Vec::new();
        let guard = guard(&spec, &[], &mut errors);
        assert_eq!(errors, []);
        guard
    }

    fn at(seconds: i64) -> MicroTime {
        MicroTime::from_second(seconds).unwrap()
    }

    fn due(seconds: i64) -> Due {
        let interval = SignedDuration::from_secs(10);
        Due { subject: errors(), at: at(seconds), next: at(seconds + 10), interval }
    }

    fn errors() -> Subject {
        Subject::Trigger("errors".to_owned())
    }

    fn sample(seconds: i64) -> (Option<String>, Sample) {
        let reading = Reading::Value { value: Finite::new(1.0).unwrap(), samples: None };
        (None, Sample { at: at(seconds), due: at(seconds), reading })
    }

    fn watched() -> Watched {
        Watched::new("u".to_owned(), "f".to_owned(), Arc::new(guarded("a", "10s")))
    }

    #[test]
    fn a_slot_is_asked_for_once_and_a_missed_one_is_told() {
        let mut watched = watched();
        let first = watched.begin(&due(100), at(101)).unwrap();
        assert!(first.missed && !first.again, "nothing is known of the time before a start");
        assert_eq!(watched.begin(&due(110), at(111)), None, "under way");
        watched.give_up(&errors(), first.ticket + 1);
        assert_eq!(watched.begin(&due(110), at(111)), None, "another check is given up");
        assert!(watched.end(&errors(), first.ticket, Ended::default(), vec![sample(100)]));
        assert_eq!(watched.begin(&due(100), at(109)), None);
        let second = watched.begin(&due(110), at(111)).unwrap();
        assert!(!second.missed && second.again);
        assert!(watched.end(&errors(), second.ticket, Ended::default(), Vec::new()));
        let third = watched.begin(&due(130), at(130)).unwrap();
        assert!(third.missed);
        watched.give_up(&errors(), third.ticket);
        assert!(watched.begin(&due(140), at(140)).is_some(), "nobody waits for one that was given up");
    }

    #[test]
    fn the_first_measurement_is_waited_for_while_it_is_under_way_and_no_other() {
        let mut watched = watched();
        assert!(!watched.is_beginning(), "nothing is due");
        let first = watched.begin(&due(100), at(100)).unwrap();
        assert!(watched.is_beginning());
        assert!(watched.end(&errors(), first.ticket, Ended::default(), vec![sample(100)]));
        assert!(!watched.is_beginning());
        let _second = watched.begin(&due(110), at(110)).unwrap();
        assert!(!watched.is_beginning(), "the one before is known");
    }

    #[test]
    fn a_measurement_is_due_since_the_first_that_the_limits_left_no_room_for() {
        let mut watched = watched();
        let crowded = Ended { crowded: true, ..Ended::default() };
        for (seconds, ended, due_at) in [
            (100, Ended::default(), 100),
            (110, crowded, 110),
            (120, crowded, 110),
            (150, Ended::default(), 110),
            (160, Ended::default(), 160),
        ] {
            let begun = watched.begin(&due(seconds), at(seconds)).unwrap();
            assert_eq!(begun.due, at(due_at), "at {seconds}");
            assert!(watched.end(&errors(), begun.ticket, ended, vec![sample(seconds)]));
        }
        let begun = watched.begin(&due(170), at(170)).unwrap();
        watched.end(&errors(), begun.ticket, crowded, Vec::new());
        let set_back = watched.begin(&due(90), at(91)).unwrap();
        assert_eq!(set_back.due, at(90), "nothing is owed of a time to come");
    }

    #[test]
    fn an_answer_for_another_rollout_of_the_name_is_not_taken() {
        let (mut before, mut after) = (watched(), watched());
        let old = before.begin(&due(100), at(100)).unwrap();
        let new = after.begin(&due(100), at(100)).unwrap();
        assert!(!after.end(&errors(), old.ticket, Ended::default(), vec![sample(100)]));
        assert_eq!(after.measurements(), []);
        assert!(after.end(&errors(), new.ticket, Ended::default(), vec![sample(100)]));
    }

    #[test]
    fn a_clock_that_was_set_back_stops_no_check() {
        let mut watched = watched();
        let begun = watched.begin(&due(1000), at(1000)).unwrap();
        watched.end(&errors(), begun.ticket, Ended::default(), Vec::new());
        assert!(watched.begin(&due(100), at(101)).is_some());
    }

    #[test]
    fn another_query_begins_anew_and_another_interval_does_not() {
        let mut watched = watched();
        let begun = watched.begin(&due(100), at(100)).unwrap();
        watched.end(&errors(), begun.ticket, Ended::default(), vec![sample(100)]);
        watched.follow(&guarded("a", "20s"));
        assert_eq!(watched.measurements().len(), 1);
        let begun = watched.begin(&due(110), at(110)).unwrap();
        watched.follow(&guarded("b", "20s"));
        assert_eq!(watched.measurements(), []);
        assert!(
            !watched.end(&errors(), begun.ticket, Ended::default(), vec![sample(110)]),
            "it answers the old query"
        );
        assert_eq!(watched.measurements(), []);
        assert!(watched.begin(&due(110), at(110)).is_some());
    }

    #[test]
    fn a_backfill_is_kept_until_it_was_seen_and_then_shrinks() {
        let mut watched = watched();
        let begun = watched.begin(&due(2000), at(2000)).unwrap();
        watched.end(&errors(), begun.ticket, Ended::default(), (0..200).map(|i| sample(i * 10)).collect());
        assert!(watched.measurements().len() > 190);
        for i in 201..500 {
            let begun = watched.begin(&due(i * 10), at(i * 10)).unwrap();
            watched.end(&errors(), begun.ticket, Ended::default(), vec![sample(i * 10)]);
        }
        let kept = watched.measurements();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept.last().unwrap().at, at(4990));
    }

    #[test]
    fn one_backfill_after_the_other_is_kept_within_bounds() {
        let mut watched = watched();
        for i in 1..10 {
            let begun = watched.begin(&due(i * 2000), at(i * 2000)).unwrap();
            let batch = (0..200).map(|k| sample(i * 2000 - 2000 + k * 10)).collect();
            watched.end(&errors(), begun.ticket, Ended::default(), batch);
        }
        let kept = watched.measurements();
        assert_eq!(kept.len(), MOST);
        assert_eq!(kept.last().unwrap().at, at(17_990));
    }

    #[test]
    fn what_could_not_be_asked_is_asked_again_when_told() {
        let mut watched = watched();
        let begun = watched.begin(&due(100), at(100)).unwrap();
        let ended = Ended { unprepared: true, ..Ended::default() };
        watched.end(&errors(), begun.ticket, ended, vec![sample(100)]);
        assert_eq!(watched.begin(&due(100), at(101)), None);
        assert!(watched.retry_unprepared());
        assert!(watched.begin(&due(100), at(101)).is_some());
        assert!(!watched.retry_unprepared());
    }
}

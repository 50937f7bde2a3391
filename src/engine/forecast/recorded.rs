//! What was recorded of a rollout: samples and actions, in order.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::api::rolloutaction::RolloutActionSpec;
use crate::api::{MicroTime, Reading};
use crate::engine::{Measurement, Subject};

/// Samples of one subject, by cohort.
type Samples = BTreeMap<Option<String>, Series>;

/// Equal samples in equal distances: the first one, the last one, and the time between two.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// What it is about, and the first sample.
    pub first: Measurement,
    /// Until when there are samples, inclusively; absent where they go on without end.
    pub to: Option<MicroTime>,
    /// From one sample to the next, longer than nothing.
    pub every: SignedDuration,
}

impl Range {
    /// The number of the newest sample at `at`, from 0.
    fn newest(&self, at: MicroTime) -> Option<i128> {
        let at = self.to.map_or(at, |to| at.min(to));
        let since = at.duration_since(self.first.at).as_micros();
        (since >= 0).then(|| since / self.every.as_micros().max(1))
    }

    fn sample(&self, number: i128) -> Option<MicroTime> {
        let micros = i64::try_from(number.checked_mul(self.every.as_micros())?).ok()?;
        let at = self.first.at.saturating_add(SignedDuration::from_micros(micros));
        self.to.is_none_or(|to| at <= to).then_some(at)
    }
}

/// One recorded sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When it was taken.
    pub at: MicroTime,
    /// Its value, where it has one.
    pub value: Option<f64>,
    /// When the sample before it was taken, whether or not that one is given.
    pub before: Option<MicroTime>,
}

/// The samples of a subject and cohort; what came later in the recording has the higher number.
#[derive(Clone, Debug, Default, PartialEq)]
struct Series {
    /// Single samples, oldest first.
    single: Vec<(MicroTime, usize, Reading)>,
    /// Ranges, in the order of the recording.
    ranges: Vec<(usize, Range)>,
}

impl Series {
    /// The newest sample at `at`: of two of one instant the later one of the recording.
    fn newest(&self, at: MicroTime) -> Option<(MicroTime, &Reading)> {
        let newer = self.single.partition_point(|(sample, _, _)| *sample <= at);
        let single = newer.checked_sub(1).and_then(|i| self.single.get(i));
        let single = single.map(|(at, number, reading)| (*at, *number, reading));
        let of_range = |(number, range): &'_ (usize, Range)| {
            let at = range.newest(at).and_then(|newest| range.sample(newest))?;
            Some((at, *number))
        };
        let ranges = self.ranges.iter().filter_map(|range| {
            let (at, number) = of_range(range)?;
            Some((at, number, &range.1.first.reading))
        });
        let newest = ranges.chain(single).max_by_key(|(at, number, _)| (*at, *number))?;
        Some((newest.0, newest.2))
    }

    /// The first sample after `at`.
    fn next(&self, at: MicroTime) -> Option<MicroTime> {
        self.next_apart(at, SignedDuration::ZERO)
    }

    /// The next sample after `at`, where those of a range that are nearer than `apart` are passed over: they are equal. Every
    /// single sample counts, and the first and the last one of each range.
    fn next_apart(&self, at: MicroTime, apart: SignedDuration) -> Option<MicroTime> {
        let single = self.single.get(self.single.partition_point(|(sample, _, _)| *sample <= at));
        let ranges = self.ranges.iter().filter_map(|(_, range)| {
            if at < range.first.at {
                return Some(range.first.at);
            }
            let every = range.every.as_micros().max(1);
            let passed = (apart.as_micros() / every).max(1);
            let newest = range.newest(at)?;
            let last = range.to.and_then(|to| range.newest(to));
            range.sample(last.map_or(newest + passed, |last| (newest + passed).min(last.max(newest + 1))))
        });
        ranges.chain(single.map(|(at, _, _)| *at)).min()
    }

    /// The last sample, and the first one of what has no end.
    fn last(&self) -> Option<MicroTime> {
        let ranges = self.ranges.iter().filter_map(|(_, range)| match range.to {
            Some(to) => range.newest(to).and_then(|newest| range.sample(newest)),
            None => Some(range.first.at),
        });
        ranges.chain(self.single.last().map(|(at, _, _)| *at)).max()
    }
}

/// What was recorded of one rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    samples: BTreeMap<Subject, Samples>,
    pub(super) actions: Vec<(MicroTime, RolloutActionSpec)>,
}

impl Recorded {
    /// What was recorded, in any order. Of two samples of one instant the later one in the list counts.
    pub fn new(samples: Vec<Measurement>, actions: Vec<(MicroTime, RolloutActionSpec)>) -> Recorded {
        Recorded::with_ranges(samples.into_iter().enumerate().collect(), Vec::new(), actions)
    }

    /// The same with ranges. Samples and ranges come with their places in the recording: of two of one instant the one with
    /// the higher number counts.
    pub fn with_ranges(
        samples: Vec<(usize, Measurement)>,
        ranges: Vec<(usize, Range)>,
        actions: Vec<(MicroTime, RolloutActionSpec)>,
    ) -> Recorded {
        let mut recorded = Recorded::default();
        for (number, Measurement { subject, cohort, at, reading, .. }) in samples {
            let of_subject = recorded.samples.entry(subject).or_default();
            of_subject.entry(cohort).or_default().single.push((at, number, reading));
        }
        for (number, range) in ranges {
            let of_subject = recorded.samples.entry(range.first.subject.clone()).or_default();
            of_subject.entry(range.first.cohort.clone()).or_default().ranges.push((number, range));
        }
        for series in recorded.samples.values_mut().flat_map(BTreeMap::values_mut) {
            series.single.sort_by_key(|(at, number, _)| (*at, *number));
        }
        recorded.actions = actions;
        recorded.actions.sort_by_key(|(at, _)| *at);
        recorded
    }

    /// What was recorded: each subject, and the cohorts that it was recorded for.
    pub fn subjects(&self) -> Vec<(Subject, Vec<Option<String>>)> {
        let all = self.samples.iter();
        all.map(|(subject, series)| (subject.clone(), series.keys().cloned().collect())).collect()
    }

    /// The samples of a subject and cohort from one instant to another, oldest first.
    ///
    /// A range may hold more equal samples than anybody can look at, so of those only some are given, `apart` from each
    /// other where they are denser, and its first and last one.
    pub fn samples_of(
        &self,
        subject: &Subject,
        cohort: Option<&String>,
        (from, to): (MicroTime, MicroTime),
        apart: SignedDuration,
    ) -> impl Iterator<Item = Sample> {
        let series = self.samples.get(subject).and_then(|series| series.get(&cohort.cloned()));
        let just_before = |at: MicroTime| at.saturating_sub(SignedDuration::from_micros(1));
        let mut next = series.and_then(|series| series.next(just_before(from)));
        std::iter::from_fn(move || {
            let (series, at) = (series?, next.filter(|at| *at <= to)?);
            let (_, reading) = series.newest(at)?;
            next = series.next_apart(at, apart);
            let value = match reading {
                Reading::Value { value, .. } => Some(value.get()),
                Reading::NoData(_) | Reading::Error(_) => None,
            };
            let before = series.newest(just_before(at)).map(|(before, _)| before);
            Some(Sample { at, value, before })
        })
    }

    /// Whether anything was recorded of a subject.
    pub(super) fn has(&self, subject: &Subject) -> bool {
        self.samples.contains_key(subject)
    }

    /// The newest reading at `at` that is not older than the interval.
    pub(super) fn reading(
        &self,
        subject: &Subject,
        cohort: Option<&String>,
        at: MicroTime,
        interval: SignedDuration,
    ) -> Option<&Reading> {
        let (sample, reading) = self.samples.get(subject)?.get(&cohort.cloned())?.newest(at)?;
        (at.duration_since(sample) <= interval).then_some(reading)
    }

    /// When the subject is sampled next after `at`.
    pub(super) fn next(&self, subject: &Subject, at: MicroTime) -> Option<MicroTime> {
        self.samples.get(subject)?.values().filter_map(|series| series.next(at)).min()
    }

    /// The last input that has an end.
    pub fn last(&self) -> Option<MicroTime> {
        let samples = self.samples.values().flat_map(BTreeMap::values).filter_map(Series::last);
        samples.chain(self.actions.last().map(|(at, _)| *at)).max()
    }

    /// Whether any range goes on without end.
    pub(super) fn is_endless(&self) -> bool {
        let mut series = self.samples.values().flat_map(BTreeMap::values);
        series.any(|series| series.ranges.iter().any(|(_, range)| range.to.is_none()))
    }

    /// How many samples there are from `from` to `to`, where that is how far anybody looks.
    pub(super) fn len(&self, from: MicroTime, to: MicroTime) -> usize {
        let of_range = |range: &Range| {
            let number = |at| range.newest(at).map_or(0, |newest| newest + 1);
            usize::try_from(number(to) - number(from)).unwrap_or(usize::MAX)
        };
        let series = self.samples.values().flat_map(BTreeMap::values);
        let all = series.map(|series| {
            let ranges = series.ranges.iter().map(|(_, range)| of_range(range));
            ranges.fold(series.single.len(), usize::saturating_add)
        });
        all.fold(0, usize::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(minute: i64) -> MicroTime {
        MicroTime::from_second(1_757_322_000 + 60 * minute).unwrap()
    }

    fn at(minute: i64, value: f64) -> Measurement {
        Measurement {
            subject: Subject::Trigger("errors".to_owned()),
            cohort: None,
            at: t(minute),
            due: t(minute),
            reading: Reading::of(value, None),
        }
    }

    fn range(from: i64, to: Option<i64>, every: i64, value: f64) -> Range {
        Range { first: at(from, value), to: to.map(t), every: SignedDuration::from_mins(every) }
    }

    fn value(recorded: &Recorded, minute: i64) -> Option<f64> {
        let subject = Subject::Trigger("errors".to_owned());
        match recorded.reading(&subject, None, t(minute), SignedDuration::from_mins(2))? {
            Reading::Value { value, .. } => Some(value.get()),
            _ => None,
        }
    }

    #[test]
    fn a_range_is_what_its_samples_would_be_one_by_one() {
        let ranges = vec![(0, range(0, Some(10), 3, 1.0)), (2, range(9, Some(20), 4, 2.0))];
        let listed: Vec<(usize, Measurement)> = [0, 3, 6, 9].map(|minute| (0, at(minute, 1.0))).to_vec();
        let listed = listed.into_iter().chain([9, 13, 17].map(|minute| (2, at(minute, 2.0))));
        let single = (1, at(7, 5.0));
        let as_ranges = Recorded::with_ranges(vec![single.clone()], ranges, Vec::new());
        let one_by_one = Recorded::with_ranges(listed.chain([single]).collect(), Vec::new(), Vec::new());
        let subject = Subject::Trigger("errors".to_owned());
        for minute in -2..25 {
            assert_eq!(value(&as_ranges, minute), value(&one_by_one, minute), "{minute}");
            let next = |recorded: &Recorded| recorded.next(&subject, t(minute));
            assert_eq!(next(&as_ranges), next(&one_by_one), "{minute}");
        }
        assert_eq!(as_ranges.last(), one_by_one.last());
        assert_eq!(as_ranges.len(t(-1), t(30)), 8);
        assert!(!as_ranges.is_endless());
    }

    /// A millisecond for a year is thirty thousand million samples.
    #[test]
    fn of_dense_ranges_a_few_samples_are_given_and_every_one_that_differs() {
        let year = 60 * 24 * 365;
        let mut dense = range(0, Some(year), 1, 1.0);
        dense.every = SignedDuration::from_millis(1);
        let recorded = Recorded::with_ranges(vec![(1, at(7, 40.0))], vec![(0, dense)], Vec::new());
        let subject = Subject::Trigger("errors".to_owned());
        let apart = SignedDuration::from_hours(1);
        let all = (t(-10), t(2 * year));
        let given: Vec<Sample> = recorded.samples_of(&subject, None, all, apart).take(100_000).collect();
        assert!((8_000..10_000).contains(&given.len()), "{}", given.len());
        assert_eq!((given[0].at, given[0].before), (t(0), None));
        assert_eq!(given.last().unwrap().at, t(year));
        assert!(given.iter().any(|sample| sample.at == t(7) && sample.value == Some(40.0)));
        let near = |sample: &Sample| sample.at.duration_since(sample.before.unwrap()).as_millis() <= 1;
        assert!(given.iter().skip(1).all(near), "nowhere is a gap");
        // None is passed over where that is not asked for.
        let five = (t(6), t(6) + SignedDuration::from_millis(4));
        assert_eq!(recorded.samples_of(&subject, None, five, SignedDuration::ZERO).count(), 5);
    }

    #[test]
    fn a_constant_goes_on_until_something_later_is_newer() {
        let recorded =
            Recorded::with_ranges(vec![(1, at(5, 9.0))], vec![(0, range(0, None, 1, 1.0))], Vec::new());
        assert_eq!([4, 5, 6, 600_000].map(|minute| value(&recorded, minute)), [1.0, 9.0, 1.0, 1.0].map(Some));
        assert!(recorded.is_endless());
        assert_eq!((recorded.last(), recorded.len(t(0), t(60))), (Some(t(5)), 61));
    }
}

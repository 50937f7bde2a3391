//! From samples to readings: one number for everybody, or one for each value of a label.

use std::collections::BTreeMap;

use crate::api::MicroTime;
use crate::api::metrictemplate::Reducer;
use crate::api::{Finite, Reading};

use super::request::{Query, Readings};

/// One series at one instant.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    /// Value of the label that tells the cohorts apart, where it is asked for and there.
    pub label: Option<String>,
    /// A number, or why there is none.
    pub value: Result<f64, &'static str>,
    /// When it was measured, where the source says so.
    pub at: Option<MicroTime>,
}

/// What one query gave.
pub(super) type Answer = Vec<Sample>;

/// The readings that an answer, and the answer about its sample count, give at an instant.
pub(super) fn readings(
    answer: &[Sample],
    count: Option<&[Sample]>,
    query: &Query,
    per_cohort: Option<&str>,
    at: MicroTime,
) -> Readings {
    let reading = |samples: &[&Sample], label: Option<&str>| {
        let samples_of = |count: &[Sample]| {
            counted(count.iter().filter(|s| label.is_none() || s.label.as_deref() == label), query, at)
        };
        match reduce(samples, query, at) {
            Ok(value) => Reading::of(value, count.map(samples_of)),
            Err(why) => Reading::NoData(why),
        }
    };
    if answer.is_empty() {
        return Readings::everybody(Reading::NoData("no series".to_owned()), per_cohort);
    }
    if per_cohort.is_none() {
        return Readings::Whole(reading(&answer.iter().collect::<Vec<_>>(), None));
    }
    let mut groups: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in answer {
        // A series without the label is about users of no cohort.
        if let Some(label) = sample.label.as_deref().filter(|label| !label.is_empty()) {
            groups.entry(label).or_default().push(sample);
        }
    }
    if groups.is_empty() {
        return Readings::Failed(Reading::NoData("no series has the cohorts' label".to_owned()));
    }
    let map = groups.into_iter().map(|(label, samples)| (label.to_owned(), reading(&samples, Some(label))));
    Readings::ByLabel(map.collect())
}

fn reduce(samples: &[&Sample], query: &Query, at: MicroTime) -> Result<f64, String> {
    if query.reducer == Reducer::One && samples.len() > 1 {
        return Err(format!("{} series where one is expected", samples.len()));
    }
    let mut values = Vec::with_capacity(samples.len());
    for sample in samples {
        if is_stale(sample, query, at) {
            return Err("the sample is stale".to_owned());
        }
        let value = sample.value?;
        // Max and Min would pass over it.
        if !value.is_finite() {
            return Ok(value);
        }
        values.push(value);
    }
    let sum: f64 = values.iter().sum();
    Ok(match query.reducer {
        Reducer::One | Reducer::Sum => sum,
        Reducer::Avg => sum / values.len() as f64,
        Reducer::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Reducer::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
    })
}

fn is_stale(sample: &Sample, query: &Query, at: MicroTime) -> bool {
    sample.at.is_some_and(|measured| at.duration_since(measured) > query.max_age)
}

/// The sum of the counts that are numbers: what is not counted has not been measured.
fn counted<'a>(samples: impl Iterator<Item = &'a Sample>, query: &Query, at: MicroTime) -> u64 {
    let counts = samples.filter(|sample| !is_stale(sample, query, at)).filter_map(|sample| sample.value.ok());
    let sum: f64 = counts.filter_map(Finite::new).map(Finite::get).sum();
    // A cast of a float saturates and rounds down.
    sum.max(0.0) as u64
}

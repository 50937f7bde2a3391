//! The criteria of a playbook itself: targets of the product as a whole.

use jiff::SignedDuration;

use super::Book;
use crate::api::trigger::Metric;
use crate::api::verdict::{CriterionStatus, Verdict};
use crate::api::{Finite, MicroTime, Reading};
use crate::engine::status_of;
use crate::plan::guard::{Criterion, CriterionSource};

/// A measurement of a criterion of a playbook.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Name of the criterion.
    pub name: String,
    /// When it was measured.
    pub at: MicroTime,
    /// What was said.
    pub reading: Reading,
}

/// A criterion that is to be measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Due<'b> {
    /// Name of the criterion.
    pub name: &'b str,
    /// What is measured.
    pub metric: &'b Metric,
    /// The last instant, at or before now, at which it was due.
    pub at: MicroTime,
    /// The next one, after now.
    pub next: MicroTime,
    /// Time between the two.
    pub interval: SignedDuration,
}

/// When each criterion with a metric is measured: at the beginning of week 1 + k × interval, from k = 0 on.
pub fn due(book: &Book, now: MicroTime) -> Vec<Due<'_>> {
    let Some(start) = book.weeks.begins(1).filter(|start| *start <= now) else { return Vec::new() };
    let each = book.criteria.iter();
    each.filter_map(|criterion| {
        let CriterionSource::Metric(metric) = &criterion.source else { return None };
        let interval = criterion.interval;
        let passed = now.duration_since(start).as_millis();
        let since = i64::try_from(passed - passed % interval.as_millis().max(1)).ok()?;
        let at = start.saturating_add(SignedDuration::from_millis(since));
        Some(Due { name: &criterion.name, metric, at, next: at.saturating_add(interval), interval })
    })
    .collect()
}

/// What is known of each criterion, in their order. Of what was measured only a change of verdict is news, so that a quiet playbook
/// writes nothing.
pub fn verdicts(book: &Book, prior: &[CriterionStatus], answers: &[Answer]) -> Vec<CriterionStatus> {
    let verdict = |criterion: &Criterion| {
        let known = prior.iter().find(|known| known.name == criterion.name);
        match &criterion.source {
            CriterionSource::Manual { value, at } => {
                let reading = match Finite::new(value.value()) {
                    Some(value) => Reading::Value { value, samples: None },
                    None => Reading::NoData("it is no number".to_owned()),
                };
                let new = status_of(criterion, *at, &reading);
                // As people wrote it.
                Some(CriterionStatus { value: Some(value.to_string()), ..new })
            }
            CriterionSource::Metric(_) => {
                let newest = answers.iter().filter(|answer| answer.name == criterion.name);
                let Some(newest) = newest.max_by_key(|answer| answer.at) else { return known.cloned() };
                let new = status_of(criterion, newest.at, &newest.reading);
                match known {
                    Some(known) if known.verdict == new.verdict => Some(known.clone()),
                    _ => Some(new),
                }
            }
        }
    };
    book.criteria.iter().filter_map(verdict).collect()
}

/// Whether a criterion passes, by what is known of it.
pub fn passes(known: &[CriterionStatus], name: &str) -> bool {
    known.iter().any(|known| known.name == name && known.verdict == Some(Verdict::Pass))
}

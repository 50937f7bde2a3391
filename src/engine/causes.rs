//! Why data is missing, as status says it: followed where it stays another, and not with each text that comes.
//!
//! A source that fails does so in changing words: refused, then timed out, then refused again. Each text that status takes
//! up is a write for every rollout that asks the source, so one that is news has to be said three times in a row first.

use super::measure::{Measurement, Subject};
use super::text::short;
use super::triggers::Watch;
use crate::api::{MicroTime, Reading, Verdict};

/// Measurements in a row that must give the same cause before it takes the place of another.
const IN_A_ROW: usize = 3;

impl Watch<'_> {
    /// Takes up the cause that the last measurements agree on, of each trigger and criterion without data.
    pub(super) fn follow_causes(&mut self) {
        let (metrics, now) = (self.metrics.measurements(), self.now);
        for known in &mut self.status.triggers {
            let cohort = Some(known.cohort.as_str()).filter(|cohort| !cohort.is_empty());
            let cause = cause(metrics, &Subject::Trigger(known.name.clone()), cohort, now);
            follow(&mut known.message, Some(known.verdict), cause);
        }
        for known in &mut self.status.criteria {
            let cause = cause(metrics, &Subject::Criterion(known.name.clone()), None, now);
            follow(&mut known.message, known.verdict, cause);
        }
    }
}

fn follow(message: &mut Option<String>, verdict: Option<Verdict>, cause: Option<(Verdict, &str)>) {
    let Some((of, cause)) = cause.filter(|(of, _)| Some(*of) == verdict) else { return };
    let cause = short(cause);
    let is_known = message.as_ref().is_some_and(|known| is_same(known, &cause) || is_same(&cause, known));
    if of.is_missing() && !is_known {
        *message = Some(cause);
    }
}

/// Whether a cause is another, with nothing added to it but that the source is left alone for a while.
fn is_same(longer: &str, shorter: &str) -> bool {
    longer.strip_prefix(shorter).is_some_and(|rest| rest.is_empty() || rest.starts_with("; "))
}

/// What the last measurements of a subject agree on, where all of them lack data.
fn cause<'m>(
    measurements: &'m [Measurement],
    subject: &Subject,
    cohort: Option<&str>,
    now: MicroTime,
) -> Option<(Verdict, &'m str)> {
    let mut newest: Vec<&Measurement> = measurements
        .iter()
        .filter(|known| known.subject == *subject && known.cohort.as_deref() == cohort && known.at <= now)
        .collect();
    newest.sort_by_key(|known| std::cmp::Reverse(known.at));
    let mut causes = newest.iter().take(IN_A_ROW).map(|known| match &known.reading {
        Reading::Value { .. } => None,
        Reading::NoData(why) => Some((Verdict::NoData, why.as_str())),
        Reading::Error(why) => Some((Verdict::ProviderError, why.as_str())),
    });
    let first = causes.next()??;
    let agree = causes.filter(|other| *other == Some(first)).count();
    (agree + 1 == IN_A_ROW).then_some(first)
}

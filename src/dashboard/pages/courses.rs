//! The courses of what watches over a rollout: a picture for each trigger and criterion, and the same in words and as a table.

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use minijinja::Value;

use crate::api::measured::{Measured, MeasuredKind, MeasuredSeries, Missing, Said};
use crate::api::{Finite, MicroTime, Severity};
use crate::chart::curves::{Curve, Limit};
use crate::chart::measured::{BREAKS, Course, Gap, svg};
use crate::chart::style::COLOURS;
use crate::chart::{TimeAxis, ValueAxis};
use crate::dashboard::text::context;
use crate::dashboard::units::behind_value;
use crate::plan::Guard;
use crate::plan::calendar;
use crate::plan::guard::{Criterion, Trigger};

/// Rows of the table beside a picture; the picture has all.
const ROWS: usize = 12;

/// What a value is judged by.
enum Rule<'a> {
    Trigger(&'a Trigger),
    Criterion(&'a Criterion),
}

/// What a value means, in words and as a class.
struct Judged {
    words: &'static str,
    class: &'static str,
}

impl Rule<'_> {
    fn name(&self) -> &str {
        match self {
            Rule::Trigger(trigger) => &trigger.name,
            Rule::Criterion(criterion) => &criterion.name,
        }
    }

    fn kind(&self) -> (MeasuredKind, &'static str) {
        match self {
            Rule::Trigger(_) => (MeasuredKind::Trigger, "trigger"),
            Rule::Criterion(_) => (MeasuredKind::Criterion, "criterion"),
        }
    }

    fn limits(&self, unit: &str) -> Vec<Limit> {
        match self {
            Rule::Trigger(trigger) => {
                let limit = |level: &crate::plan::guard::Level| Limit {
                    value: level.bound.value.value(),
                    label: format!(
                        "{}: {}{unit} → {}",
                        level.severity.as_str(),
                        level.bound,
                        level.action.as_str()
                    ),
                    severe: level.severity == Severity::Critical,
                };
                trigger.levels.iter().map(limit).collect()
            }
            Rule::Criterion(criterion) => {
                let bound = criterion.bound.iter();
                let limit = |bound: &crate::plan::guard::Bound| Limit {
                    value: bound.value.value(),
                    label: format!("target: {bound}{unit}"),
                    severe: false,
                };
                bound.map(limit).collect()
            }
        }
    }

    fn judge(&self, said: Said) -> Judged {
        let judged = |words, class| Judged { words, class };
        let value = match said {
            Said::Missing(missing) => return judged(missing_words(missing), "none"),
            Said::Value(value) => Finite::new(value),
        };
        let Some(value) = value else { return judged(missing_words(Missing::NoData), "none") };
        match self {
            Rule::Trigger(trigger) => {
                let breached = trigger.levels.iter().filter(|level| level.bound.holds(value));
                match breached.map(|level| level.severity).max() {
                    Some(Severity::Critical) => judged("in breach, Critical", "bad"),
                    Some(Severity::Warning) => judged("in breach, Warning", "bad"),
                    Some(Severity::Info) => judged("in breach, Info", "bad"),
                    None => judged("passes", "good"),
                }
            }
            Rule::Criterion(criterion) => match criterion.bound.as_ref().map(|bound| bound.holds(value)) {
                Some(true) => judged("meets the target", "good"),
                Some(false) => judged("misses the target", "bad"),
                None => judged("only recorded", "muted"),
            },
        }
    }
}

/// Of each trigger and criterion that anything was measured of, its course.
pub fn courses(guard: &Guard, measured: &Measured, zone: &str, now: MicroTime) -> Vec<Value> {
    let zone = calendar::zone(zone).unwrap_or(TimeZone::UTC);
    let triggers = guard.triggers.iter().map(Rule::Trigger);
    let rules = triggers.chain(guard.criteria.iter().map(Rule::Criterion));
    rules.filter_map(|rule| course(&rule, measured, &zone, now)).collect()
}

fn course(rule: &Rule<'_>, measured: &Measured, zone: &TimeZone, now: MicroTime) -> Option<Value> {
    let (kind, kind_words) = rule.kind();
    let is_it = |series: &&MeasuredSeries| {
        // Whoever answers may be of another version.
        series.kind == kind
            && series.name == rule.name()
            && !series.at.is_empty()
            && series.at.len() == series.said.len()
    };
    let all: Vec<&MeasuredSeries> = measured.series.iter().filter(is_it).collect();
    let unit = all.iter().find_map(|series| series.unit.as_deref()).unwrap_or_default();
    let unit = behind_value(unit);
    let first = all.iter().filter_map(|series| series.at.first()).min()?;
    let last = all.iter().filter_map(|series| series.at.last()).max()?;
    let to = instant(*last).max(now);
    let limits = rule.limits(&unit);
    let (mut curves, mut gaps) = (Vec::new(), Vec::new());
    for series in &all {
        let (points, missing) = split(series, to);
        let of = series.cohort.as_deref().filter(|_| all.len() > 1);
        let of = of.map_or_else(String::new, |cohort| format!(" of {cohort}"));
        gaps.extend(missing.into_iter().map(|gap| Gap { label: format!("{}{of}", gap.label), ..gap }));
        curves.push(Curve { label: label(series), points, stepped: false });
    }
    let legend: Vec<Value> =
        all.iter().enumerate().map(|(i, series)| newest(rule, i, series, &unit)).collect();
    let summary = summary(&all, &unit);
    let words: Vec<String> = limits.iter().map(|limit| limit.label.clone()).collect();
    let picture = svg(&Course {
        title: format!("{} over time", rule.name()),
        description: format!("{summary} {}", words.join("; ")),
        axis: TimeAxis::new(instant(*first), to, zone.clone()),
        // A long unit stands in the heading.
        unit: if unit.chars().count() <= 3 { unit.clone() } else { String::new() },
        curves,
        limits,
        gaps,
    });
    Some(context! {
        name => rule.name(), kind => kind_words, unit => unit.trim(), picture, legend, summary, limits => words,
        columns => all.iter().map(|series| label(series)).collect::<Vec<_>>(),
        rows => rows(&all, &unit),
    })
}

fn instant(second: u32) -> MicroTime {
    MicroTime::from_second(second.into()).unwrap_or(MicroTime::MIN)
}

fn label(series: &MeasuredSeries) -> String {
    series.cohort.clone().unwrap_or_else(|| "value".to_owned())
}

fn missing_words(missing: Missing) -> &'static str {
    match missing {
        Missing::NoData => "no data",
        Missing::ProviderError => "the source failed",
    }
}

/// The points of a curve, lifted wherever there was no value, and the stretches in which there was none until `to`.
fn split(series: &MeasuredSeries, to: MicroTime) -> (Vec<(MicroTime, Option<f64>)>, Vec<Gap>) {
    let apart = apart(series);
    let half = SignedDuration::from_millis(apart * 500);
    let (mut points, mut gaps) = (Vec::new(), Vec::<Gap>::new());
    let mut before: Option<MicroTime> = None;
    let mut note = |from: MicroTime, to: MicroTime, label: &str| match gaps.last_mut() {
        Some(gap) if gap.label == label && gap.to >= from => gap.to = to,
        _ => gaps.push(Gap { from, to, label: label.to_owned() }),
    };
    let is_long =
        |from: MicroTime, to: MicroTime| to.duration_since(from).as_millis() > i128::from(apart) * 2_500;
    for (second, said) in series.at.iter().zip(&series.said) {
        let at = instant(*second);
        if let Some(before) = before.filter(|before| is_long(*before, at)) {
            points.push((before.saturating_add(half), None));
            note(before.saturating_add(half), at.saturating_sub(half), "not measured");
        }
        if let Said::Missing(missing) = said {
            note(at.saturating_sub(half), at.saturating_add(half).min(to), missing_words(*missing));
        }
        points.push((at, said.value()));
        before = Some(at);
    }
    if let Some(before) = before.filter(|before| is_long(*before, to)) {
        note(before.saturating_add(half), to, "not measured");
    }
    (points, gaps)
}

/// Seconds from one reading to the next: as it is meant, or as it mostly was where that took longer.
fn apart(series: &MeasuredSeries) -> i64 {
    let pairs = series.at.iter().zip(series.at.iter().skip(1));
    let mut found: Vec<i64> = pairs.map(|(a, b)| i64::from(*b) - i64::from(*a)).collect();
    found.sort_unstable();
    let usual = found.get(found.len() / 2).copied().unwrap_or(0);
    usual.max(series.interval_seconds.into()).max(1)
}

/// What the newest reading of a series says.
fn newest(rule: &Rule<'_>, i: usize, series: &MeasuredSeries, unit: &str) -> Value {
    let said = series.said.last().copied().unwrap_or(Said::Missing(Missing::NoData));
    let Judged { words, class } = rule.judge(said);
    context! {
        label => series.cohort.clone().unwrap_or_default(),
        colour => i % COLOURS, line => i % BREAKS,
        value => said.value().map(|value| shown(value, unit)),
        words, class,
        message => series.message.clone().unwrap_or_default(),
        at => series.at.last().map(|at| instant(*at).to_string()),
    }
}

fn shown(value: f64, unit: &str) -> String {
    format!("{}{unit}", ValueAxis::label(value))
}

fn summary(all: &[&MeasuredSeries], unit: &str) -> String {
    let said = || all.iter().flat_map(|series| &series.said);
    let values = || said().filter_map(|said| said.value());
    let (readings, missing) = (said().count(), said().filter(|said| said.value().is_none()).count());
    let (low, high) = values()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let (lowest, highest) = (shown(low, unit), shown(high, unit));
    let range = match low <= high {
        true if lowest == highest => format!(" Always {lowest}."),
        true => format!(" Values from {lowest} to {highest}."),
        false => String::new(),
    };
    let without = match missing {
        0 => String::new(),
        all if all == readings => ", without a value".to_owned(),
        missing => format!(", {missing} of them without a value"),
    };
    let readings = if readings == 1 { "1 reading".to_owned() } else { format!("{readings} readings") };
    format!("{readings}{without}.{range}")
}

/// The newest readings as rows, newest first: time, and what each series said then.
fn rows(all: &[&MeasuredSeries], unit: &str) -> Vec<Value> {
    let mut times: Vec<u32> = all.iter().flat_map(|series| series.at.iter().copied()).collect();
    times.sort_unstable();
    times.dedup();
    let cell = |series: &&MeasuredSeries, at: u32| {
        let said = series.at.iter().position(|known| *known == at).and_then(|i| series.said.get(i));
        match said {
            Some(Said::Value(value)) => shown(*value, unit),
            Some(Said::Missing(missing)) => missing_words(*missing).to_owned(),
            None => "not measured".to_owned(),
        }
    };
    let row = |at: &u32| {
        let cells: Vec<String> = all.iter().map(|series| cell(series, *at)).collect();
        context! { at => instant(*at).to_string(), cells }
    };
    times.iter().rev().take(ROWS).map(row).collect()
}

#[cfg(test)]
mod tests;

//! Lines of samples: what was measured when, one by one or in ranges.

use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::recording::{Found, Line, Plans};
use crate::api::{Duration, MicroTime, Reading};
use crate::cli::files::wording::{shown, unknown_field};
use crate::engine::forecast::simulate::Range;
use crate::engine::{Measurement, Subject};
use crate::plan::Plan;
use crate::plan::guard::{CriterionSource, TRIGGER_INTERVAL};

const SAMPLE: [&str; 11] =
    ["at", "from", "to", "every", "trigger", "criterion", "cohort", "value", "error", "rollout", "count"];

/// When the samples of a line are.
enum When {
    At(MicroTime),
    Range { from: MicroTime, to: Option<MicroTime>, every: Option<SignedDuration> },
}

/// Takes in a line of samples.
pub fn sample(line: &mut Line<'_>, fields: Map<String, Value>, plans: &Plans<'_>, found: &mut Found) {
    for name in fields.keys().filter(|name| !SAMPLE.contains(&name.as_str())) {
        line.wrong(name, unknown_field(name, &SAMPLE, &[]));
    }
    let when = when(line, &fields);
    let reading = reading(line, &fields);
    let cohort = line.text(&fields, "cohort");
    let plans = of_rollout(line, &fields, plans);
    let (field, subject) = match (line.text(&fields, "trigger"), line.text(&fields, "criterion")) {
        (Some(name), None) => ("trigger", Subject::Trigger(name.to_owned())),
        (None, Some(name)) => ("criterion", Subject::Criterion(name.to_owned())),
        (Some(_), Some(_)) => return line.wrong("criterion", "stands beside trigger: give one of the two"),
        (None, None) => {
            let given = ["trigger", "criterion"].iter().any(|name| fields.contains_key(*name));
            if !given {
                line.wrong("", "names neither a trigger nor a criterion: give one of the two");
            }
            return;
        }
    };
    let Some(plans) = plans else { return };
    let fits: Vec<Result<(), Misfit>> = plans.iter().map(|plan| fits(plan, &subject, cohort)).collect();
    let first = fits.iter().filter_map(|fit| fit.as_ref().err()).max();
    if let Some(misfit) = first.filter(|_| fits.iter().all(Result::is_err)) {
        return match misfit {
            Misfit::Unknown => line.wrong(field, unknown_subject(&plans, &subject)),
            Misfit::Known { field, message } => line.wrong(field, message.clone()),
        };
    }
    let (Some(when), Some(reading)) = (when, reading) else { return };
    for (plan, _) in plans.iter().zip(fits).filter(|(_, fit)| fit.is_ok()) {
        let at = match when {
            When::At(at) | When::Range { from: at, .. } => at,
        };
        let (subject, cohort, reading) = (subject.clone(), cohort.map(str::to_owned), reading.clone());
        let first = Measurement { subject, cohort, at, due: at, reading };
        let of_rollout = found.entry((plan.namespace.clone(), plan.name.clone())).or_default();
        match when {
            When::At(_) => of_rollout.samples.push((line.number, first)),
            When::Range { to, every, .. } => {
                let every = every.unwrap_or_else(|| interval(plan, &first.subject));
                of_rollout.ranges.push((line.number, Range { first, to, every }));
            }
        }
    }
}

/// How often a rollout measures a subject.
fn interval(plan: &Plan, subject: &Subject) -> SignedDuration {
    let interval = match subject {
        Subject::Trigger(name) => plan.guard.trigger(name).map(|trigger| trigger.interval),
        Subject::Criterion(name) => plan.guard.criterion(name).map(|criterion| criterion.interval),
    };
    interval.unwrap_or(TRIGGER_INTERVAL)
}

/// One instant, or a range of them; `None` where what is given is neither, which is said then.
fn when(line: &mut Line<'_>, fields: &Map<String, Value>) -> Option<When> {
    let ranged = ["from", "to", "every"].into_iter().find(|name| fields.contains_key(*name));
    let Some(ranged) = ranged else { return line.at(fields).map(When::At) };
    if fields.contains_key("at") {
        line.wrong(ranged, "stands beside at: give one instant, or from, to and every");
        return None;
    }
    if !fields.contains_key("from") {
        line.wrong("from", "is missing: a range has a first instant such as 2025-09-08T09:00:00Z");
    }
    let from = line.instant(fields, "from");
    let to = line.instant(fields, "to");
    let every = line.text(fields, "every").and_then(|text| match text.parse::<Duration>() {
        Ok(every) if every > Duration::ZERO => Some(every.signed()),
        Ok(_) => {
            line.wrong("every", format!("{text:?} is no time at all: write one such as 30s"));
            None
        }
        Err(error) => {
            line.wrong("every", error.to_string());
            None
        }
    });
    let given = |name: &str, read: bool| read || !fields.contains_key(name);
    if !given("to", to.is_some()) || !given("every", every.is_some()) {
        return None;
    }
    if let (Some(from), Some(to)) = (from, to)
        && to < from
    {
        line.wrong("to", format!("{to} is before from, which is {from}"));
        return None;
    }
    Some(When::Range { from: from?, to, every })
}

/// A number as Prometheus' API writes it, in a string: `12.5`, `1e+06`, `NaN`, `+Inf`.
fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        // Rust would also read words, and an empty exponent is none.
        _ if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
            && text.ends_with(|c: char| c.is_ascii_digit() || c == '.') =>
        {
            text.parse().ok()
        }
        _ => None,
    }
}

fn reading(line: &mut Line<'_>, fields: &Map<String, Value>) -> Option<Reading> {
    let count = match fields.get("count") {
        None => None,
        Some(count) => {
            let whole = count.as_u64().or_else(|| count.as_str().and_then(|text| text.parse().ok()));
            if whole.is_none() {
                line.wrong(
                    "count",
                    format!("{} is no number of samples: write one such as 500", shown(count)),
                );
            }
            whole
        }
    };
    let value = fields.get("value");
    if let Some(error) = line.text(fields, "error") {
        if value.is_some_and(|value| !value.is_null()) {
            line.wrong("error", "stands beside value: a query that failed has none");
        }
        return Some(Reading::Error(error.to_owned()));
    }
    match value {
        Some(Value::Null) => Some(Reading::NoData("the sample has no value".to_owned())),
        Some(value) => {
            let number = value.as_f64().or_else(|| value.as_str().and_then(number));
            if number.is_none() {
                let message =
                    format!("{} is no number: write one such as 12.5, or null for no data", shown(value));
                line.wrong("value", message);
            }
            number.map(|number| Reading::of(number, count))
        }
        None if fields.contains_key("error") => None,
        None => {
            line.wrong("value", "is missing: give a number, null for no data, or error for a failed query");
            None
        }
    }
}

/// The rollouts that a sample may be about.
fn of_rollout<'p>(
    line: &mut Line<'_>,
    fields: &Map<String, Value>,
    plans: &'p Plans<'_>,
) -> Option<Vec<&'p Plan>> {
    if !fields.contains_key("rollout") {
        return Some(plans.values().collect());
    }
    let name = line.text(fields, "rollout")?;
    let plan = plans.values().find(|plan| name.split_once('/') == Some((&plan.namespace, &plan.name)));
    if plan.is_none() {
        let names: Vec<String> =
            plans.keys().map(|(namespace, name)| format!("{namespace}/{name}")).collect();
        line.wrong("rollout", format!("{name:?}: there is no such rollout: there are {}", names.join(", ")));
    }
    plan.map(|plan| vec![plan])
}

/// Why a sample is not about a rollout; what says more is greater.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Misfit {
    Unknown,
    Known { field: &'static str, message: String },
}

/// Whether a rollout has the subject of a sample, and measures it so.
fn fits(plan: &Plan, subject: &Subject, cohort: Option<&str>) -> Result<(), Misfit> {
    let known = |field, message| Err(Misfit::Known { field, message });
    let per_cohort = match subject {
        Subject::Trigger(name) => match plan.guard.trigger(name) {
            Some(trigger) => trigger.per_cohort.is_some(),
            None => return Err(Misfit::Unknown),
        },
        Subject::Criterion(name) => match plan.guard.criterion(name).map(|criterion| &criterion.source) {
            Some(CriterionSource::Metric(_)) => false,
            Some(CriterionSource::Manual { .. }) => {
                return known(
                    "criterion",
                    format!("{name:?} is measured by people: its value is in the rollout"),
                );
            }
            None => return Err(Misfit::Unknown),
        },
    };
    let (Subject::Trigger(name) | Subject::Criterion(name)) = subject;
    match (per_cohort, cohort) {
        (true, None) => known("cohort", format!("is missing: {name} measures each cohort by itself")),
        (false, Some(cohort)) => {
            known("cohort", format!("{cohort:?}: {name} measures all cohorts together: leave it out"))
        }
        (true, Some(cohort)) if plan.cohort(cohort).is_none() => {
            let names: Vec<&str> = plan.cohorts.iter().map(|cohort| cohort.name.as_str()).collect();
            known("cohort", format!("there is no cohort {cohort:?}: the cohorts are {}", names.join(", ")))
        }
        _ => Ok(()),
    }
}

fn unknown_subject(plans: &[&Plan], subject: &Subject) -> String {
    let (kind, name) = match subject {
        Subject::Trigger(name) => ("trigger", name),
        Subject::Criterion(name) => ("criterion", name),
    };
    let mut known: Vec<&str> = plans
        .iter()
        .flat_map(|plan| match subject {
            Subject::Trigger(_) => plan.guard.triggers.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(),
            Subject::Criterion(_) => plan.guard.criteria.iter().map(|c| c.name.as_str()).collect(),
        })
        .collect();
    known.sort_unstable();
    known.dedup();
    match known.is_empty() {
        true => format!("there is no {kind} {name:?}: the rollout has none"),
        false => format!("there is no {kind} {name:?}: there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::number;
    use rstest::rstest;

    #[rstest]
    #[case("12.5", Some(12.5))]
    #[case("0", Some(0.0))]
    #[case("-0.25", Some(-0.25))]
    #[case("1e+06", Some(1e6))]
    #[case("1.5e-7", Some(1.5e-7))]
    #[case("+Inf", Some(f64::INFINITY))]
    #[case("-Inf", Some(f64::NEG_INFINITY))]
    #[case("", None)]
    #[case("12.5%", None)]
    #[case("-infinity", None)]
    #[case("nan", None)]
    #[case("1_000", None)]
    #[case(" 1", None)]
    fn numbers_are_read_as_prometheus_writes_them(#[case] text: &str, #[case] expected: Option<f64>) {
        assert_eq!(number(text), expected);
        assert!(number("NaN").unwrap().is_nan());
    }
}

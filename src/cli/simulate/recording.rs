//! Recorded samples and actions: lines of JSON, each checked against the rollouts it is about.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::api::rolloutaction::{Action, Override, RolloutActionSpec};
use crate::api::{MicroTime, Reading};
use crate::cli::Failure;
use crate::cli::files::problem::{Problem, Severity};
use crate::cli::files::read as files;
use crate::cli::files::schema::Schemas;
use crate::cli::files::wording::{shown, unknown_field};
use crate::cli::files::{Input, Kind};
use crate::engine::forecast::simulate::Recorded;
use crate::engine::{Measurement, Subject};
use crate::plan::Plan;
use crate::plan::guard::CriterionSource;

type Plans<'a> = BTreeMap<(&'a str, &'a str), Plan>;
type Actions = Vec<(MicroTime, RolloutActionSpec)>;
type Found = BTreeMap<(String, String), (Vec<Measurement>, Actions)>;

/// What was recorded of each rollout, by namespace and name; what is wrong with a line is added to `problems`.
///
/// # Errors
/// A file that cannot be read.
pub fn read(
    samples: &Path,
    actions: Option<&Path>,
    plans: &Plans<'_>,
    problems: &mut Vec<Problem>,
) -> Result<BTreeMap<(String, String), Recorded>, Failure> {
    let mut found = Found::new();
    each_line(samples, problems, |line, fields| sample(line, fields, plans, &mut found))?;
    if let Some(actions) = actions {
        let schemas = Schemas::default();
        each_line(actions, problems, |line, fields| action(line, fields, plans, &schemas, &mut found))?;
    }
    Ok(found.into_iter().map(|(key, (samples, actions))| (key, Recorded::new(samples, actions))).collect())
}

/// A line under inspection.
struct Line<'p> {
    file: String,
    number: usize,
    problems: &'p mut Vec<Problem>,
}

impl Line<'_> {
    fn wrong(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.clone(),
            line: self.number,
            severity: Severity::Error,
            object: String::new(),
            path: field.to_owned(),
            message: message.into(),
        });
    }

    /// A field that must be text where it is given.
    fn text<'f>(&mut self, fields: &'f Map<String, Value>, name: &str) -> Option<&'f str> {
        let value = fields.get(name)?;
        if value.as_str().is_none() {
            self.wrong(name, format!("{} is no string", shown(value)));
        }
        value.as_str()
    }

    fn at(&mut self, fields: &Map<String, Value>) -> Option<MicroTime> {
        let Some(value) = fields.get("at") else {
            self.wrong("at", "is missing: give an instant such as 2025-09-08T09:00:00Z");
            return None;
        };
        let at = value.as_str().and_then(|text| text.parse().ok());
        if at.is_none() {
            let message = format!("{} is no instant: write one such as 2025-09-08T09:00:00Z", shown(value));
            self.wrong("at", message);
        }
        at
    }
}

fn each_line(
    path: &Path,
    problems: &mut Vec<Problem>,
    mut each: impl FnMut(&mut Line<'_>, Map<String, Value>),
) -> Result<(), Failure> {
    let file = path.display().to_string();
    let text = files::read(path).map_err(|error| Failure::Input(format!("{file}: {error}")))?;
    for (i, text) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let mut line = Line { file: file.clone(), number: i + 1, problems };
        match serde_json::from_str(text) {
            _ if text.trim().is_empty() => {}
            Ok(Value::Object(fields)) => each(&mut line, fields),
            Ok(other) => line.wrong("", format!("{} is no JSON object", shown(&other))),
            Err(error) => line.wrong("", format!("is no JSON object in one line: {error}")),
        }
    }
    Ok(())
}

const SAMPLE: [&str; 8] = ["at", "trigger", "criterion", "cohort", "value", "error", "rollout", "count"];

fn sample(line: &mut Line<'_>, fields: Map<String, Value>, plans: &Plans<'_>, found: &mut Found) {
    for name in fields.keys().filter(|name| !SAMPLE.contains(&name.as_str())) {
        line.wrong(name, unknown_field(name, &SAMPLE));
    }
    let at = line.at(&fields);
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
    let (Some(at), Some(reading)) = (at, reading) else { return };
    for (plan, _) in plans.iter().zip(fits).filter(|(_, fit)| fit.is_ok()) {
        let measurement = Measurement {
            subject: subject.clone(),
            cohort: cohort.map(str::to_owned),
            at,
            due: at,
            reading: reading.clone(),
        };
        found.entry((plan.namespace.clone(), plan.name.clone())).or_default().0.push(measurement);
    }
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

fn action(
    line: &mut Line<'_>,
    mut fields: Map<String, Value>,
    plans: &Plans<'_>,
    schemas: &Schemas,
    found: &mut Found,
) {
    let at = line.at(&fields);
    fields.remove("at");
    if !fields.contains_key("rolloutRef") {
        let names: Vec<&str> = plans.keys().map(|(_, name)| *name).collect();
        match names.as_slice() {
            [only] => _ = fields.insert("rolloutRef".to_owned(), json!({"name": only})),
            [] => return,
            several => {
                return line.wrong("rolloutRef", format!("is missing: name one of {}", several.join(", ")));
            }
        }
    }
    fields.entry("reason").or_insert(json!("no reason was recorded"));
    let object = json!({
        "apiVersion": format!("{}/{}", crate::api::GROUP, crate::api::VERSION),
        "kind": Kind::RolloutAction.as_str(),
        "metadata": {"name": "recorded"},
        "spec": fields,
    });
    let mut input = Input::default();
    input.add("", &object.to_string());
    let findings = input.objects.iter().flat_map(|object| schemas.findings(object)).collect::<Vec<_>>();
    for finding in &findings {
        line.wrong(finding.path.trim_start_matches("spec").trim_start_matches('.'), finding.message.clone());
    }
    let spec = object.get("spec").cloned().unwrap_or_default();
    let mut spec: RolloutActionSpec = match serde_json::from_value(spec) {
        Ok(spec) => spec,
        Err(error) if findings.is_empty() => return line.wrong("", error.to_string()),
        Err(_) => return,
    };
    misfits(&spec).into_iter().for_each(|(field, message)| line.wrong(field, message));
    let name = spec.rollout_ref.name.clone();
    let named: Vec<&Plan> = plans.values().filter(|plan| plan.name == name).collect();
    let plan = match named.as_slice() {
        [plan] => *plan,
        [] => {
            let names: Vec<&str> = plans.keys().map(|(_, name)| *name).collect();
            let message = format!("there is no rollout {name:?}: there are {}", names.join(", "));
            return line.wrong("rolloutRef.name", message);
        }
        _ => {
            let message = format!("{name:?}: several namespaces have it: choose one with -n");
            return line.wrong("rolloutRef.name", message);
        }
    };
    // There is no cluster that gives UIDs and generations.
    spec.rollout_ref.uid = None;
    spec.expected_generation = None;
    let Some(at) = at.filter(|_| findings.is_empty()) else { return };
    found.entry((plan.namespace.clone(), plan.name.clone())).or_default().1.push((at, spec));
}

/// What the API server would refuse of an action beyond the schema: fields, and what is wrong with them.
pub fn misfits(spec: &RolloutActionSpec) -> Vec<(&'static str, String)> {
    let action = spec.action;
    let mut wrong = Vec::new();
    let mut belongs = |field, given: bool, to: Action, needed: bool| match (given, action == to) {
        (true, false) => wrong.push((field, format!("belongs to the action {}", to.as_str()))),
        (false, true) if needed => wrong.push((field, format!("is missing: {} needs it", to.as_str()))),
        _ => {}
    };
    belongs("approve", spec.approve.is_some(), Action::Approve, true);
    belongs("setPercent", spec.set_percent.is_some(), Action::SetPercent, true);
    belongs("rollback", spec.rollback.is_some(), Action::Rollback, false);
    belongs("retry", spec.retry.is_some(), Action::Retry, false);
    let Some(overrides) = &spec.overrides else { return wrong };
    if !matches!(action, Action::Promote | Action::SetPercent | Action::Retry) {
        wrong.push(("override", "belongs to the actions Promote, SetPercent and Retry".to_owned()));
    }
    if action == Action::SetPercent && overrides.contains(&Override::Gates) {
        wrong.push(("override", "SetPercent passes no gates, so there is none to override".to_owned()));
    }
    wrong
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

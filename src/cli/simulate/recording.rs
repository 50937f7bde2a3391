//! Recorded samples and actions: lines of JSON, each checked against the rollouts it is about.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::action::action;
use super::sample::sample;
use crate::api::MicroTime;
use crate::api::rolloutaction::RolloutActionSpec;
use crate::cli::files::problem::{Problem, Severity};
use crate::cli::files::read as files;
use crate::cli::files::schema::Schemas;
use crate::cli::files::wording::shown;
use crate::cli::output::Failure;
use crate::engine::Measurement;
use crate::engine::forecast::simulate::{Range, Recorded};
use crate::plan::Plan;

/// The rollouts that lines may be about, by namespace and name.
pub type Plans<'a> = BTreeMap<(&'a str, &'a str), Plan>;

/// What the lines say, by namespace and name of the rollout.
pub type Found = BTreeMap<(String, String), Lines>;

/// What the lines say of one rollout.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// Single samples, each with the number of its line.
    pub samples: Vec<(usize, Measurement)>,
    /// Ranges of equal samples, likewise.
    pub ranges: Vec<(usize, Range)>,
    /// Actions.
    pub actions: Vec<(MicroTime, RolloutActionSpec)>,
}

impl Lines {
    /// What there is to look at, by subject: for a picture.
    pub fn recorded(self) -> Recorded {
        Recorded::with_ranges(self.samples, self.ranges, self.actions)
    }
}

/// What was recorded of each rollout, by namespace and name; what is wrong with a line is added to `problems`.
///
/// # Errors
/// A file that cannot be read.
pub fn read(
    samples: &Path,
    actions: Option<&Path>,
    plans: &Plans<'_>,
    problems: &mut Vec<Problem>,
) -> Result<Found, Failure> {
    let mut found = Found::new();
    each_line(samples, problems, |line, fields| sample(line, fields, plans, &mut found))?;
    if let Some(actions) = actions {
        let schemas = Schemas::default();
        each_line(actions, problems, |line, fields| action(line, fields, plans, &schemas, &mut found))?;
    }
    Ok(found)
}

/// A line under inspection.
pub struct Line<'p> {
    file: String,
    /// Its number in the file, from 1.
    pub number: usize,
    problems: &'p mut Vec<Problem>,
}

impl Line<'_> {
    /// Says that something is wrong with a field.
    pub fn wrong(&mut self, field: &str, message: impl Into<String>) {
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
    pub fn text<'f>(&mut self, fields: &'f Map<String, Value>, name: &str) -> Option<&'f str> {
        let value = fields.get(name)?;
        if value.as_str().is_none() {
            self.wrong(name, format!("{} is no string", shown(value)));
        }
        value.as_str()
    }

    /// An instant that must be given.
    pub fn at(&mut self, fields: &Map<String, Value>) -> Option<MicroTime> {
        if !fields.contains_key("at") {
            self.wrong("at", "is missing: give an instant such as 2025-09-08T09:00:00Z");
        }
        self.instant(fields, "at")
    }

    /// An instant, where it is given.
    pub fn instant(&mut self, fields: &Map<String, Value>, name: &str) -> Option<MicroTime> {
        let value = fields.get(name)?;
        let at = value.as_str().and_then(|text| text.parse().ok());
        if at.is_none() {
            let message = format!("{} is no instant: write one such as 2025-09-08T09:00:00Z", shown(value));
            self.wrong(name, message);
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

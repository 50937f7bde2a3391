//! One thing wrong with a file, and how it is printed.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It would be refused, or would stall.
    Error,
    /// It works, but hardly as meant.
    Warning,
}

/// One thing wrong with a file. The order is that of the output: by file and line.
#[derive(Serialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file as it was named, `-` for standard input.
    pub file: String,
    /// Line in it, from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// How bad it is.
    pub severity: Severity,
    /// The object, as `FeatureRollout maya/dreams`; empty where a file as a whole is meant.
    pub object: String,
    /// The field, as `spec.phases[0].name`; empty where the object as a whole is meant.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        match self.line {
            0 => write!(f, "{}: {severity}: ", self.file)?,
            line => write!(f, "{}:{line}: {severity}: ", self.file)?,
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Sorts the problems and leaves each out but once.
pub fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}

/// `1 error`, `2 errors`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

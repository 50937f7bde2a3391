//! What is wrong with a spec, and where.

use std::fmt;

use crate::bounds;
use crate::visible;

/// One thing wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where: a path such as `spec.phases[1].steps[0].cohorts.regular`.
    pub path: String,
    /// The value found there, if it helps.
    pub value: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
    /// True where another object is missing: it may still come.
    pub missing: bool,
}

impl FieldError {
    /// An error that only an edit of the object ends.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> FieldError {
        FieldError { path: path.into(), value: None, message: message.into(), missing: false }
    }

    /// The same, with the value that was found.
    pub fn with_value(mut self, value: impl fmt::Display) -> FieldError {
        // A tenant's value can be as large as an object.
        self.value = Some(bounds::cut(&value.to_string()).into_owned());
        self
    }

    /// What is wrong, without where.
    pub fn words(&self) -> String {
        match &self.value {
            Some(value) => format!("{value:?}: {}", self.message),
            None => self.message.clone(),
        }
    }

    /// An error that ends when another object appears.
    pub fn missing(path: impl Into<String>, message: impl Into<String>) -> FieldError {
        FieldError { missing: true, ..FieldError::new(path, message) }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.words())
    }
}

/// Most bytes of all errors in one line.
const MOST_IN_LINE: usize = 4096;

/// All errors in one line, for a condition's message, as far as they fit: a path may have a key of any length in it.
pub fn join_errors(errors: &[FieldError]) -> String {
    let mut line = String::new();
    for error in errors {
        let separator = if line.is_empty() { "" } else { "; " };
        line.push_str(&format!("{separator}{error}"));
        if line.len() > MOST_IN_LINE {
            break;
        }
    }
    visible::cut(&line, MOST_IN_LINE)
}

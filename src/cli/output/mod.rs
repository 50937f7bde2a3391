//! What commands print, and why one did not do what it was asked to.

use std::io::Write;

use crate::api::MicroTime;
use crate::visible;

pub mod summary;
pub mod table;
pub mod terminal;

/// Form of the output.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Aligned columns for people.
    Table,
    /// JSON for programs: a stable contract.
    Json,
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub enum Failure {
    /// The input is invalid; the message says how.
    Input(String),
    /// The input is invalid, and that is already printed.
    Reported,
    /// The cluster cannot be reached, refuses, or has no such object.
    Cluster(String),
    /// An action was rejected or had expired, and that is already printed.
    Refused,
    /// An action was applied and has not reached the file, and that is already printed.
    Undelivered,
    /// What was asked for is not so, and that is already printed.
    No,
    /// Standard output cannot be written.
    Output(std::io::Error),
}

/// The time, where the command line does not give one: to the second, since it is printed for people.
pub fn now() -> MicroTime {
    MicroTime::from_second(crate::clock::real_now().as_second()).unwrap_or_default()
}

/// Writes text to standard output, with whatever a terminal would obey spelt out: much of it others wrote.
pub fn print(text: &str) -> Result<(), Failure> {
    print_exact(&visible::text(text))
}

/// Writes text to standard output as it is: bytes that programs read, or our own commands to the terminal.
pub fn print_exact(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Writes a value as indented JSON to standard output.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.into()))?;
    print_exact(&format!("{}\n", visible::json(&text)))
}

/// Writes a value as YAML to standard output.
pub fn print_yaml(value: &impl serde::Serialize) -> Result<(), Failure> {
    let yaml = serde_json::to_value(value)
        .map_err(|error| error.to_string())
        .and_then(|value| serde_saphyr::to_string(&value).map_err(|error| error.to_string()));
    print(&yaml.map_err(|error| Failure::Output(std::io::Error::other(error)))?)
}

/// Writes lines to standard error, as [`print`] does to standard output; nothing can be done where that fails.
pub fn complain(lines: &str) {
    let _ = writeln!(std::io::stderr(), "{}", visible::text(lines));
}

//! `sluice lint`: every error and warning with file, line and field path.

use super::input::{self, InputArgs};
use super::problem::{Problem, Severity, count};
use super::{Failure, Output, check};

/// Arguments of `sluice lint`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// Prints all problems; fails where one of them is an error.
pub fn run(args: &Args) -> Result<(), Failure> {
    let input = input::load(&args.input)?;
    let problems = check::check(&input).problems;
    match args.output {
        Output::Json => super::print_json(&problems)?,
        Output::Table => super::print(&as_lines(&problems, input.objects.len(), input.files))?,
    }
    match number(&problems, Severity::Error) {
        0 => Ok(()),
        _ => Err(Failure::Reported),
    }
}

fn number(problems: &[Problem], severity: Severity) -> usize {
    problems.iter().filter(|problem| problem.severity == severity).count()
}

fn as_lines(problems: &[Problem], objects: usize, files: usize) -> String {
    let mut out: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    out.push_str(&format!(
        "{} and {} in {} of {}\n",
        count(number(problems, Severity::Error), "error"),
        count(number(problems, Severity::Warning), "warning"),
        count(objects, "object"),
        count(files, "file"),
    ));
    out
}

//! `sluice lint`: every error and warning with file, line and field path.

use crate::cli::files::problem::{Problem, Severity, count};
use crate::cli::files::{self, Input, InputArgs, lint};
use crate::cli::output::{self, Failure, Output};
use crate::visible::line;

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
    let input = files::load(&args.input)?;
    let problems = lint::check(&input).problems;
    match args.output {
        Output::Json => {
            output::print_json(&problems)?;
            if let Some(said) = passed_over(&input.passed_over) {
                output::complain(&line(&said));
            }
        }
        Output::Table => output::print(&as_lines(&problems, &input))?,
    }
    match number(&problems, Severity::Error) {
        0 => Ok(()),
        _ => Err(Failure::Reported),
    }
}

fn number(problems: &[Problem], severity: Severity) -> usize {
    problems.iter().filter(|problem| problem.severity == severity).count()
}

/// What was passed over, in a line; the first names of it.
fn passed_over(files: &[String]) -> Option<String> {
    const NAMED: usize = 3;
    let named = files.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match files.len() {
        0 => None,
        number @ 1..=NAMED => Some(format!("passed over {}: {named}", count(number, "file"))),
        number => Some(format!("passed over {number} files: {named} and {} more", number - NAMED)),
    }
}

fn as_lines(problems: &[Problem], input: &Input) -> String {
    let mut out: String =
        problems.iter().map(|problem| format!("{}\n", line(&problem.to_string()))).collect();
    out.push_str(&format!(
        "{} and {} in {} of {}\n",
        count(number(problems, Severity::Error), "error"),
        count(number(problems, Severity::Warning), "warning"),
        count(input.objects.len(), "object"),
        count(input.files, "file"),
    ));
    out.extend(passed_over(&input.passed_over).map(|said| format!("{}\n", line(&said))));
    out
}

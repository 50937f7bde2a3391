//! `sluice render`: the file that apps would read at a time.

use crate::api::MicroTime;
use crate::cli::files::{self, InputArgs, lint};
use crate::cli::flag_files::{choose, flag_files};
use crate::cli::output::{self, Failure};

/// Arguments of `sluice render`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// The time at which the file is read, RFC 3339; default: now
    #[arg(long, value_name = "TIME")]
    at: Option<MicroTime>,
    /// When rollouts without schedule.startAt begin, RFC 3339; default: now
    #[arg(long, value_name = "TIME")]
    now: Option<MicroTime>,
    /// The FlagSet whose file is meant, or the rollout that has none, as NAME, fset/NAME or frol/NAME; needed where there are several
    #[arg(long, value_name = "NAME")]
    flag_set: Option<String>,
}

/// Prints the file.
pub fn run(args: &Args) -> Result<(), Failure> {
    let input = files::load(&args.input)?;
    let checked = lint::check(&input).or_report()?;
    let now = args.now.unwrap_or_else(output::now);
    let files = flag_files(&checked, now, args.at.unwrap_or(now))?;
    let file = choose(&files, args.flag_set.as_deref())?;
    output::print_exact(&file.text)
}

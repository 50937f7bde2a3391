//! `sluice plan`: when each step of each rollout would be entered if all goes well.

use std::io::IsTerminal;

use crate::api::MicroTime;
use crate::chart::{Look, course, drawing, terminal};
use crate::cli::cluster::ConnectArgs;
use crate::cli::files::{self, InputArgs, lint};
use crate::cli::output::{self, Failure};
use crate::cli::rules::policies;
use crate::engine::forecast::timeline::{Timeline, timeline};
use crate::plan::Plan;

use live::FailOn;

pub mod json;
pub mod live;
mod live_text;
pub mod rows;

/// Columns of a chart where nobody looks at a terminal.
const COLUMNS: usize = 120;

/// Arguments of `sluice plan`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// When rollouts without schedule.startAt begin, RFC 3339; default: now
    #[arg(long, value_name = "TIME")]
    now: Option<MicroTime>,
    /// Form of the output; default: the chart and the table on a terminal, elsewhere the table
    #[arg(short, long, value_enum)]
    output: Option<Form>,
    /// Start from what a cluster serves now, and show what the files would change there
    #[arg(long)]
    live: bool,
    /// With --live: end with code 6 where the files do this to somebody or to a rollout
    #[arg(
        long,
        value_name = "WHAT",
        value_enum,
        value_delimiter = ',',
        ignore_case = true,
        default_value = "Lowers,Pauses",
        requires = "live"
    )]
    fail_on: Vec<FailOn>,
    #[command(flatten)]
    cluster: ConnectArgs,
}

/// Form of the output.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A row for each change of what is served
    Table,
    /// A bar for each rollout, as wide as the terminal, or 120 columns
    Chart,
    /// The same as a picture, for a pull request or a page
    Svg,
    /// JSON for programs: a stable contract
    Json,
}

/// Prints the plans of all rollouts.
pub fn run(args: &Args) -> Result<(), Failure> {
    let input = files::load(&args.input)?;
    if args.live {
        let as_json = match args.output {
            None | Some(Form::Table) => false,
            Some(Form::Json) => true,
            Some(_) => return Err(Failure::Input("--live has the forms table and json".to_owned())),
        };
        let cluster = args.cluster.in_namespace(None);
        return live::run(input, &cluster, &args.fail_on, as_json, args.now);
    }
    let checked = lint::check(&input).or_report()?;
    let now = args.now.unwrap_or_else(output::now);
    let plans: Vec<(&Plan, Timeline)> =
        checked.plans.values().map(|plan| (plan, timeline(plan, now))).collect();
    let as_table = || format!("{}{}", rows::as_table(&plans), policies::bound_table(&checked));
    let courses: Vec<(&Plan, &Timeline)> = plans.iter().map(|(plan, timeline)| (*plan, timeline)).collect();
    match args.output {
        Some(Form::Json) => output::print_json(&json::as_json(&plans)),
        Some(Form::Svg) => output::print_exact(&drawing::svg(&course::timeline(&courses), Look::Own)),
        Some(Form::Table) => output::print(&as_table()),
        Some(Form::Chart) => chart(&courses),
        None if std::io::stdout().is_terminal() => {
            chart(&courses)?;
            output::print(&format!("\n{}", as_table()))
        }
        None => output::print(&as_table()),
    }
}

/// The chart spells out itself what a terminal would obey, and has colours of its own.
fn chart(courses: &[(&Plan, &Timeline)]) -> Result<(), Failure> {
    let columns = output::terminal::columns().unwrap_or(COLUMNS);
    output::print_exact(&terminal::text(&course::timeline(courses), columns, output::terminal::colours()))
}

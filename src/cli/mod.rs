//! The command line: `sluice`, and `kubectl sluice` under the name `kubectl-sluice`.

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::api::rolloutaction::Action;
use crate::{panics, visible};

use output::{Failure, complain, terminal};

mod act;
mod check;
mod cluster;
mod cohort_report;
mod completion;
mod controller;
mod crds;
mod dashboard;
mod describe;
mod dev;
mod evaluate;
pub mod files;
mod flag_files;
mod get;
mod help;
mod lint;
mod output;
mod plan;
mod playbook;
mod playbook_words;
mod process;
mod render;
mod report;
mod rules;
mod simulate;
mod wait;
mod watch;

/// Feature rollouts on Kubernetes: what is served now, what comes next and when, and what it waits for.
#[derive(Parser, Debug)]
#[command(name = "sluice", version = VERSION.as_str(), propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    /// Never colour the output; so does NO_COLOR in the environment
    #[arg(long, global = true)]
    no_color: bool,
    #[command(subcommand)]
    command: Command,
}

/// With the release of the time zone data: two programs of one version may differ by it.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    format!("{} (time zone data {})", env!("CARGO_PKG_VERSION"), crate::plan::calendar::zone_data())
});

const EXIT_CODES: &str = "Exit codes:\n  \
    0  done\n  \
    1  invalid input: lint errors, files that cannot be read, an unknown flag or file\n  \
    2  wrong usage\n  \
    3  the cluster cannot be reached, refuses, or has no such object\n  \
    4  the action was rejected, or had expired\n  \
    5  the action was applied, but the file that apps read does not hold it (yet)\n  \
    6  the answer is no: `plan --live` found what --fail-on names, `wait` was in vain, `check` found a fault";

#[derive(Subcommand, Debug)]
enum Command {
    /// Try Sluice on a control plane of its own, until Ctrl-C
    Dev(dev::Args),
    /// Run the operator
    Controller(controller::Args),
    /// Print when each step of each rollout would be entered if all goes well
    Plan(plan::Args),
    /// Print where the plan of a product stands, by week
    Playbook(playbook::Args),
    /// Print what would have happened under recorded samples and actions, and why
    Simulate(simulate::Args),
    /// Print the file that apps would read at a time
    Render(render::Args),
    /// Print the value of a flag for one user at a time
    Evaluate(evaluate::Args),
    /// Check files: every error and warning with file, line and field path
    Lint(lint::Args),
    /// Print one rollout, or all of a namespace or of the cluster, in a row each
    Get(get::Args),
    /// Explain one rollout: what is served, what comes next, what it waits for
    Describe(describe::Args),
    /// Print what happened to a rollout, oldest first
    History(describe::Args),
    /// Print the record of a rollout's last rollback as Markdown, for a post-mortem
    Report(report::Args),
    /// Follow the rollouts of a namespace live
    Watch(watch::Args),
    /// Wait until a rollout is completed, paused, rolled back, or in a phase
    Wait(wait::Args),
    /// Check whether an install is sound: kinds, policies, controller, sources, your rights
    Check(check::Args),
    /// Stop the schedule of a rollout
    Pause(act::PlainArgs),
    /// Let the schedule of a rollout go on
    Resume(act::PlainArgs),
    /// Approve a step of a rollout
    Approve(act::ApproveArgs),
    /// Enter the next step of a rollout now
    Promote(act::PromoteArgs),
    /// Serve these percentages, and hold the schedule of a rollout
    SetPercent(act::SetPercentArgs),
    /// Take a rollout back to control
    Rollback(act::RollbackArgs),
    /// Start a rollout again after a rollback or a recovery pause
    Retry(act::RetryArgs),
    /// Say that somebody has seen a rollback
    Ack(act::PlainArgs),
    /// See and steer rollouts in a browser, with your own rights
    Dashboard(Box<dashboard::Args>),
    /// Print the CustomResourceDefinitions
    Crds(crds::Args),
    /// Print a completion script for a shell
    Completion(completion::Args),
}

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    panics::watch();
    completion::answer(command);
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap knows which stream and which code: 0 for --help, 2 for wrong usage.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    terminal::without_colours(cli.no_color);
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads us has seen enough: `sluice plan | head` is no error.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            let (message, code) = match failure {
                Failure::Input(message) => (Some(message), 1),
                Failure::Reported => (None, 1),
                Failure::Cluster(message) => (Some(visible::line(&message).into_owned()), 3),
                Failure::Refused => (None, 4),
                Failure::Undelivered => (None, 5),
                Failure::No => (None, 6),
                Failure::Output(error) => (Some(format!("cannot write the output: {error}")), 1),
            };
            if let Some(message) = message {
                complain(&format!("error: {message}"));
            }
            ExitCode::from(code)
        }
    }
}

fn parse() -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches()?)
}

/// Whether the arguments are a command of this program, without running it: pages that show commands are held to it.
///
/// # Errors
/// What is wrong with them, as people would read it.
pub fn understands(arguments: &[String]) -> Result<(), String> {
    let words = std::iter::once("sluice").chain(arguments.iter().map(String::as_str));
    Cli::try_parse_from(words).map(|_| ()).map_err(|error| error.to_string())
}

/// The command under the name it was called by.
fn command() -> clap::Command {
    let called = std::env::args_os().next();
    let stem = called.as_deref().and_then(|called| std::path::Path::new(called).file_stem());
    let command = help::with_help(Cli::command());
    match stem.is_some_and(|stem| stem == "kubectl-sluice") {
        true => command.bin_name("kubectl sluice"),
        false => command,
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev(args) => dev::run(args),
        Command::Controller(args) => controller::run(args),
        Command::Plan(args) => plan::run(&args),
        Command::Playbook(args) => playbook::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Get(args) => get::run(&args),
        Command::Describe(args) => describe::run(&args),
        Command::History(args) => describe::history::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Wait(args) => wait::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Pause(args) => act::plain(Action::Pause, &args),
        Command::Resume(args) => act::plain(Action::Resume, &args),
        Command::Approve(args) => act::approve(&args),
        Command::Promote(args) => act::promote(&args),
        Command::SetPercent(args) => act::set_percent(&args),
        Command::Rollback(args) => act::rollback(&args),
        Command::Retry(args) => act::retry(&args),
        Command::Ack(args) => act::plain(Action::Acknowledge, &args),
        Command::Dashboard(args) => dashboard::run(*args),
        Command::Crds(args) => crds::run(&args),
        Command::Completion(args) => completion::run(&args),
    }
}

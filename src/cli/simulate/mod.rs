//! `sluice simulate`: what would have happened under recorded samples and actions, and why.

use std::path::{Path, PathBuf};

use crate::api::MicroTime;
use crate::chart::curves;
use crate::cli::files::problem::sorted;
use crate::cli::files::{self, InputArgs, lint};
use crate::cli::output::table::table;
use crate::cli::output::{self, Failure};
use crate::cli::plan::json::{PlanJson, TransitionJson, rollout_json};
use crate::cli::plan::rows::entries_table;
use crate::engine::forecast::simulate::{Recorded, Simulation, Stop, Transition, simulate};
use crate::plan::Plan;

mod action;
mod picture;
mod recording;
mod sample;

/// Arguments of `sluice simulate`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// Samples, one JSON object a line: at, or from, to and every; trigger or criterion; value or error. `-` for standard input
    #[arg(long, value_name = "FILE")]
    samples: PathBuf,
    /// Actions, one JSON object a line: at, and what the spec of a RolloutAction holds
    #[arg(long, value_name = "FILE")]
    actions: Option<PathBuf>,
    /// Until when, RFC 3339; default: the later of the completion and the last sample or action
    #[arg(long, value_name = "TIME")]
    until: Option<MicroTime>,
    /// When rollouts without schedule.startAt begin, RFC 3339; default: now
    #[arg(long, value_name = "TIME")]
    now: Option<MicroTime>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Form,
}

/// Prints the courses of all rollouts.
pub fn run(args: &Args) -> Result<(), Failure> {
    let named = args.input.files().chain([&args.samples]).chain(&args.actions);
    if named.filter(|path| path.as_path() == Path::new("-")).count() > 1 {
        return Err(Failure::Input("standard input is named twice, and can be read once".to_owned()));
    }
    let input = files::load(&args.input)?;
    let mut checked = lint::check(&input);
    let mut problems = Vec::new();
    let mut found = recording::read(&args.samples, args.actions.as_deref(), &checked.plans, &mut problems)?;
    // Without the plans there is no telling what a line could be about.
    if checked.plans.len() == checked.typed.rollouts.len() {
        checked.problems = sorted(checked.problems.into_iter().chain(problems).collect());
    }
    let checked = checked.or_report()?;
    let now = args.now.unwrap_or_else(output::now);
    let recorded: Vec<(&Plan, Recorded)> = checked
        .plans
        .values()
        .map(|plan| {
            let lines = found.remove(&(plan.namespace.clone(), plan.name.clone())).unwrap_or_default();
            (plan, lines.recorded())
        })
        .collect();
    let courses: Vec<(&Plan, Simulation)> =
        recorded.iter().map(|(plan, recorded)| (*plan, simulate(plan, recorded, now, args.until))).collect();
    match args.output {
        Form::Json => output::print_json(&as_json(&courses)),
        Form::Table => output::print(&as_table(&courses)),
        Form::Svg => {
            let simulated: Vec<picture::Simulated<'_>> = courses
                .iter()
                .zip(&recorded)
                .map(|((plan, course), (_, recorded))| (*plan, course, recorded))
                .collect();
            output::print_exact(&curves::svg(&picture::picture(&simulated)))
        }
    }
}

/// Form of the output.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// What is served when, what happened and why, and how it ends
    Table,
    /// Percentages and metrics over time, as a picture for a pull request or a page
    Svg,
    /// JSON for programs: a stable contract
    Json,
}

fn as_json<'a>(courses: &'a [(&Plan, Simulation)]) -> PlanJson<'a> {
    let rollouts = courses.iter().map(|(plan, course): &'a (&Plan, Simulation)| {
        let completed_at = course.status.completed_at;
        let mut rollout = rollout_json(plan, &course.entries, completed_at);
        rollout.transitions = Some(course.transitions.iter().map(transition_json).collect());
        rollout.waits_for = course.status.waiting_for.as_ref();
        rollout
    });
    PlanJson { rollouts: rollouts.collect() }
}

fn transition_json(transition: &Transition) -> TransitionJson<'_> {
    TransitionJson {
        at: transition.at.to_string(),
        reason: transition.reason.as_str(),
        message: &transition.message,
        trigger: transition.trigger.as_deref(),
        severity: transition.severity.map(|severity| severity.as_str()),
    }
}

/// What is served when, then what happened and why, then how it stands at the end.
fn as_table(courses: &[(&Plan, Simulation)]) -> String {
    let entries: Vec<_> = courses.iter().map(|(plan, course)| (*plan, course.entries.as_slice())).collect();
    let name = |plan: &Plan| format!("{}/{}", plan.namespace, plan.name);
    let mut happened: Vec<(MicroTime, Vec<String>)> = courses
        .iter()
        .flat_map(|(plan, course)| {
            course.transitions.iter().map(|t| {
                let (at, reason) = (t.at.to_string(), t.reason.to_string());
                (t.at, vec![at, name(plan), reason, t.who.clone(), t.message.clone()])
            })
        })
        .collect();
    happened.sort_by_key(|(at, _)| *at);
    let happened: Vec<Vec<String>> = happened.into_iter().map(|(_, row)| row).collect();
    let ends: Vec<Vec<String>> = courses.iter().map(|(plan, course)| vec![name(plan), end(course)]).collect();
    format!(
        "{}\n{}\n{}",
        entries_table(&entries, |_, _| String::new()),
        table(&["AT", "ROLLOUT", "WHAT", "WHO", "WHY"], &happened),
        table(&["ROLLOUT", "IN THE END"], &ends)
    )
}

fn end(course: &Simulation) -> String {
    let status = &course.status;
    let end = match (&status.completed_at, &status.waiting_for) {
        (Some(at), _) => format!("completed at {}", at),
        (None, Some(waiting)) => format!("waits for {}: {}", waiting.check.as_str(), waiting.message),
        (None, None) if !status.is_begun() => "not begun".to_owned(),
        (None, None) => "every step was entered; the last hold is not over".to_owned(),
    };
    match course.stop {
        None => end,
        Some(Stop::Settled(at)) => {
            format!("{end}; from {at} on nothing changes, however long the samples go on as they are")
        }
        Some(Stop::Far(at)) => format!("{end}; samples without end are looked at until {at}, or --until"),
    }
}

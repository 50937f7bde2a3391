//! `sluice simulate`: what would have happened under recorded samples and actions, and why.

use std::path::{Path, PathBuf};

use super::files::problem::sorted;
use super::files::{self, InputArgs, lint};
use super::plan_json::{PlanJson, TransitionJson, rollout_json};
use super::plan_rows::entries_table;
use super::table::table;
use super::{Failure, Output};
use crate::api::MicroTime;
use crate::engine::forecast::simulate::{Course, Recorded, Transition, simulate};
use crate::plan::Plan;

mod recording;

pub use recording::misfits;

/// Arguments of `sluice simulate`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// Recorded samples, one JSON object a line: at, trigger or criterion, value or error; `-` for standard input
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
    output: Output,
}

/// Prints the courses of all rollouts.
pub fn run(args: &Args) -> Result<(), Failure> {
    let named = args.input.files.iter().chain([&args.samples]).chain(&args.actions);
    if named.filter(|path| path.as_path() == Path::new("-")).count() > 1 {
        return Err(Failure::Input("standard input is named twice, and can be read once".to_owned()));
    }
    let input = files::load(&args.input)?;
    let mut checked = lint::check(&input);
    let mut problems = Vec::new();
    let found = recording::read(&args.samples, args.actions.as_deref(), &checked.plans, &mut problems)?;
    // Without the plans there is no telling what a line could be about.
    if checked.plans.len() == checked.typed.rollouts.len() {
        checked.problems = sorted(checked.problems.into_iter().chain(problems).collect());
    }
    let checked = checked.or_report()?;
    let now = args.now.unwrap_or_else(super::now);
    let nothing = Recorded::default();
    let courses: Vec<(&Plan, Course)> = checked
        .plans
        .values()
        .map(|plan| {
            let recorded = found.get(&(plan.namespace.clone(), plan.name.clone())).unwrap_or(&nothing);
            (plan, simulate(plan, recorded, now, args.until))
        })
        .collect();
    match args.output {
        Output::Json => super::print_json(&as_json(&courses)),
        Output::Table => super::print(&as_table(&courses)),
    }
}

fn as_json<'a>(courses: &'a [(&Plan, Course)]) -> PlanJson<'a> {
    let rollouts = courses.iter().map(|(plan, course): &'a (&Plan, Course)| {
        let completed_at = course.status.completed_at;
        let mut rollout = rollout_json(plan, &course.entries, completed_at);
        rollout.transitions = Some(course.transitions.iter().map(transition_json).collect());
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
fn as_table(courses: &[(&Plan, Course)]) -> String {
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

fn end(course: &Course) -> String {
    let status = &course.status;
    match (&status.completed_at, &status.waiting_for) {
        (Some(at), _) => format!("completed at {}", at),
        (None, Some(waiting)) => waiting.message.clone(),
        (None, None) if !status.is_begun() => "not begun".to_owned(),
        (None, None) => "every step was entered; the last hold is not over".to_owned(),
    }
}

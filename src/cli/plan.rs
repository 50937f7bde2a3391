//! `sluice plan`: when each step of each rollout would be entered if all goes well.

use serde::{Serialize, Serializer};

use super::files::{self, InputArgs, lint};
use super::table::table;
use super::{Failure, Output};
use crate::api::{MicroTime, Percent};
use crate::engine::forecast::timeline::{Entry, Timeline, timeline};
use crate::plan::Plan;

/// Arguments of `sluice plan`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// When rollouts without schedule.startAt begin, RFC 3339; default: now
    #[arg(long, value_name = "TIME")]
    now: Option<MicroTime>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// Prints the plans of all rollouts.
pub fn run(args: &Args) -> Result<(), Failure> {
    let input = files::load(&args.input)?;
    let checked = lint::check(&input).or_report()?;
    let now = args.now.unwrap_or_else(super::now);
    let plans: Vec<(&Plan, Timeline)> =
        checked.plans.values().map(|plan| (plan, timeline(plan, now))).collect();
    match args.output {
        Output::Json => super::print_json(&as_json(&plans)),
        Output::Table => super::print(&as_table(&plans)),
    }
}

/// The contract of `-o json`, field by field; that of `simulate` too.
#[derive(Serialize)]
pub(super) struct PlanJson<'a> {
    pub rollouts: Vec<RolloutJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RolloutJson<'a> {
    namespace: &'a str,
    name: &'a str,
    flag: &'a str,
    entries: Vec<EntryJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) transitions: Option<Vec<TransitionJson<'a>>>,
}

#[derive(Serialize)]
struct EntryJson<'a> {
    at: String,
    phase: &'a str,
    step: i32,
    cause: &'static str,
    #[serde(serialize_with = "in_order")]
    cohorts: &'a [(String, Percent)],
    #[serde(skip_serializing_if = "Option::is_none")]
    exposure: Option<String>,
}

/// One thing that happened in a simulation.
#[derive(Serialize)]
pub(super) struct TransitionJson<'a> {
    pub at: String,
    pub reason: &'static str,
    pub message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<&'static str>,
}

/// An object whose keys stand in the order of the cohorts, which is the order in which they match.
fn in_order<S: Serializer>(cohorts: &&[(String, Percent)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(cohorts.iter().map(|(name, percent)| (name, percent.to_string())))
}

/// One rollout of the output.
pub(super) fn rollout_json<'a>(
    plan: &'a Plan,
    entries: &'a [Entry],
    completed_at: Option<MicroTime>,
) -> RolloutJson<'a> {
    let entry = |entry: &'a Entry| EntryJson {
        at: entry.at.to_string(),
        phase: &entry.phase,
        step: entry.step,
        cause: entry.cause.as_str(),
        cohorts: &entry.cohorts,
        exposure: entry.exposure.map(|exposure| exposure.to_string()),
    };
    RolloutJson {
        namespace: &plan.namespace,
        name: &plan.name,
        flag: &plan.feature.key,
        entries: entries.iter().map(entry).collect(),
        completed_at: completed_at.map(|at| at.to_string()),
        transitions: None,
    }
}

fn as_json<'a>(plans: &'a [(&Plan, Timeline)]) -> PlanJson<'a> {
    let rollout = |(plan, timeline): &'a (&Plan, Timeline)| {
        rollout_json(plan, &timeline.entries, timeline.completed_at)
    };
    PlanJson { rollouts: plans.iter().map(rollout).collect() }
}

fn as_table(plans: &[(&Plan, Timeline)]) -> String {
    let courses: Vec<(&Plan, &[Entry])> =
        plans.iter().map(|(plan, timeline)| (*plan, timeline.entries.as_slice())).collect();
    let mut out = entries_table(&courses);
    let ends: Vec<Vec<String>> = plans
        .iter()
        .map(|(plan, timeline)| {
            let end = timeline.completed_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
            vec![end, format!("{}/{}", plan.namespace, plan.name)]
        })
        .collect();
    if !ends.is_empty() {
        out.push('\n');
        out.push_str(&table(&["COMPLETED", "ROLLOUT"], &ends));
    }
    out
}

/// The changes of all rollouts, by time.
pub(super) fn entries_table(courses: &[(&Plan, &[Entry])]) -> String {
    let mut cohorts: Vec<&str> = Vec::new();
    for (plan, _) in courses {
        for name in plan.audience.names() {
            if !cohorts.contains(&name) {
                cohorts.push(name);
            }
        }
    }
    let mut rows: Vec<(MicroTime, Vec<String>)> = Vec::new();
    for (plan, entries) in courses {
        for entry in *entries {
            rows.push((entry.at, row(plan, entry, &cohorts)));
        }
    }
    // By time: what happens to the product, not to one rollout. The sort is stable, so rollouts keep their order.
    rows.sort_by_key(|(at, _)| *at);
    let headings: Vec<String> = cohorts.iter().map(|name| name.to_uppercase()).collect();
    let mut all = vec!["AT", "ROLLOUT", "PHASE", "STEP", "CAUSE"];
    all.extend(headings.iter().map(String::as_str));
    all.push("EXPOSURE");
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
    table(&all, &rows)
}

fn row(plan: &Plan, entry: &Entry, cohorts: &[&str]) -> Vec<String> {
    let step =
        entry.name.as_ref().map_or_else(|| entry.step.to_string(), |name| format!("{} {name}", entry.step));
    let mut row = vec![
        entry.at.to_string(),
        format!("{}/{}", plan.namespace, plan.name),
        entry.phase.clone(),
        step,
        entry.cause.as_str().to_owned(),
    ];
    row.extend(cohorts.iter().map(|cohort| {
        let served = entry.cohorts.iter().find(|(name, _)| name == cohort);
        served.map_or_else(|| "-".to_owned(), |(_, percent)| percent.to_string())
    }));
    row.push(entry.exposure.map_or_else(|| "-".to_owned(), |exposure| exposure.to_string()));
    row
}

//! `sluice describe`: what is served now, what comes next and when, and what it waits for.

use serde_json::json;

use crate::api::status::CohortStatus;
use crate::api::{FeatureRollout, FeatureRolloutStatus, MicroTime};
use crate::cli::cluster::{self, ClusterArgs, schedule_clock};
use crate::cli::completion;
use crate::cli::output::summary::age;
use crate::cli::output::table::table;
use crate::cli::output::{self, Failure, Output};
use crate::cli::rules::Rules;
use crate::engine::delivery::undelivered_message;
use crate::engine::{describe as step_name, pause_words};
use crate::plan::flag_key;
use crate::visible::line;

/// History entries shown; `sluice history` has all that status keeps.
const RECENT: usize = 5;

/// Arguments of `sluice describe` and `sluice history`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the rollout, also as frol/NAME
    #[arg(add = completion::rollouts())]
    rollout: String,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// Prints the description.
pub fn run(args: &Args) -> Result<(), Failure> {
    let table = args.output == Output::Table;
    let (rollout, now, rules) = cluster::with(&args.cluster, async |cluster| {
        let rollout = cluster.rollout(&args.rollout).await?;
        // What status says of times is by the clock that schedules run on, which `sluice dev` may have sped up.
        let now = if table { schedule_clock::now(&cluster).await } else { output::now() };
        let rules = if table { Rules::read(&cluster, &rollout).await } else { Rules::default() };
        Ok((rollout, now, rules))
    })?;
    match args.output {
        Output::Json => output::print_json(&json!({
            "namespace": rollout.metadata.namespace,
            "name": rollout.metadata.name,
            "flag": flag_key(&rollout),
            "generation": rollout.metadata.generation,
            "spec": rollout.spec,
            "status": rollout.status,
        })),
        Output::Table => output::print(&describe(&rollout, now, &rules)),
    }
}

/// The description; ages count to `now`.
pub fn describe(rollout: &FeatureRollout, now: MicroTime, rules: &Rules) -> String {
    let (declared, units) = (rules.watching(rollout), &rules.units);
    let status = rollout.status.clone().unwrap_or_default();
    let mut out = String::new();
    let mut field = |label: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            out.push_str(&format!("{:<13} {}\n", format!("{label}:"), line(&value)));
        }
    };
    let feature = rollout.spec.feature.clone().unwrap_or_default();
    let namespace = rollout.metadata.namespace.as_deref().unwrap_or_default();
    field("Rollout", Some(format!("{namespace}/{}", rollout.metadata.name.as_deref().unwrap_or_default())));
    field("Title", feature.title);
    field("Owner", feature.owner);
    field("Flag", Some(format!("{} in {}", flag_key(rollout), file(rollout))));
    if !status.is_begun() && status.conditions.is_empty() {
        field("State", Some("not seen by the controller yet".to_owned()));
        return out;
    }
    if !status.is_begun() {
        // What is wrong with it from the start is all that there is to tell.
        field("State", status.state.map(|state| state.to_string()));
        field("Reason", status.reason.clone());
        out.push_str("\nConditions:\n");
        out.push_str(&conditions(&status, now));
        out.push_str(&recent(&status));
        return out;
    }
    field("State", status.state.map(|state| state.to_string()));
    field("Position", Some(position(&status, now)));
    field("Zone data", status.time_zone_data.as_deref().map(zone_data));
    field("Not delivered", undelivered_message(&status));
    field("Exposure", status.exposure.clone());
    field("Next", status.next.clone().or_else(|| Some("nothing is due by itself".to_owned())));
    field("Waits for", waits(&status));
    for pause in &status.pauses {
        let since = age(pause.since, now);
        field(
            "Paused",
            Some(format!("{} for {since}: {}", pause.cause.as_str(), pause_words(&status, pause))),
        );
    }
    for (label, value) in watching::fields(rollout, &status) {
        field(label, Some(value));
    }
    field("Completed", status.completed_at.map(second));
    field("Attempt", Some(status.attempt.to_string()));
    field("Audience", audience(&status));
    field("Revision", Some(revision(&status, rollout.metadata.generation.unwrap_or_default())));
    out.push_str("\nCohorts:\n");
    out.push_str(&cohorts(&status.cohorts));
    for (title, table) in [
        ("Policies", rules.table(rollout)),
        ("Triggers", watching::triggers(&declared, &status, now, units)),
        ("Criteria", watching::criteria(&declared, &status, now, units)),
    ] {
        if !table.is_empty() {
            out.push_str(&format!("\n{title}:\n{table}"));
        }
    }
    if !status.conditions.is_empty() {
        out.push_str("\nConditions:\n");
        out.push_str(&conditions(&status, now));
    }
    out.push_str(&recent(&status));
    out
}

/// The newest entries of the history, with their title; nothing where there are none.
fn recent(status: &FeatureRolloutStatus) -> String {
    let from = status.history.len().saturating_sub(RECENT);
    match status.history.get(from..).unwrap_or_default() {
        [] => String::new(),
        recent => format!("\nHistory:\n{}", history::as_table(recent, status.delivered_revision)),
    }
}

/// The release of the controller's time zone data, and what to make of another one here.
fn zone_data(controller: &str) -> String {
    let here = crate::plan::calendar::zone_data();
    if here == controller {
        return controller.to_owned();
    }
    format!("{controller}; this sluice plans by {here}, which may give other times")
}

fn file(rollout: &FeatureRollout) -> String {
    match &rollout.spec.flag_set_ref {
        Some(reference) => format!("the file of FlagSet {}", reference.name),
        None => "a file of its own".to_owned(),
    }
}

fn position(status: &FeatureRolloutStatus, now: MicroTime) -> String {
    let step = status.step.as_deref().unwrap_or("-");
    match &status.position {
        Some(position) => format!(
            "{} ({step}), entered {} ({} ago)",
            step_name(&position.phase, position.step.as_deref(), position.number),
            second(position.entered_at),
            age(position.entered_at, now)
        ),
        None => format!("before the first step ({step})"),
    }
}

fn waits(status: &FeatureRolloutStatus) -> Option<String> {
    let waiting = status.waiting_for.as_ref()?;
    let until = waiting.until.map(|until| format!(" (until {})", second(until))).unwrap_or_default();
    Some(format!("{}: {}{until}", waiting.check.as_str(), waiting.message))
}

fn audience(status: &FeatureRolloutStatus) -> Option<String> {
    let pinned = status.audience.as_ref()?;
    Some(match &status.pending_audience {
        Some(pending) => format!("{}; {} waits to replace it", pinned.name, pending.name),
        None => pinned.name.clone(),
    })
}

fn revision(status: &FeatureRolloutStatus, generation: i64) -> String {
    let delivered = match status.delivered_revision == status.revision {
        true => "delivered".to_owned(),
        false => format!("the file has {}", status.delivered_revision),
    };
    let observed = match status.observed_generation == generation {
        true => String::new(),
        false => format!("; generation {generation} is not taken up yet, {} is", status.observed_generation),
    };
    format!("{}, {delivered}{observed}", status.revision)
}

fn cohorts(cohorts: &[CohortStatus]) -> String {
    let is_behind = |cohort: &CohortStatus| cohort.decided() != cohort.served.percent();
    // What is decided has a column where it differs from what the file gives, and only there.
    let any_behind = cohorts.iter().any(is_behind);
    let rows: Vec<Vec<String>> = cohorts
        .iter()
        .map(|cohort| {
            let pending = cohort.pending.as_ref();
            let why = match pending {
                Some(pending) => pending.check.as_str().to_owned(),
                None if cohort.restore.is_some() => "Emergency".to_owned(),
                None if cohort.tier_refused => "Tier".to_owned(),
                None => "-".to_owned(),
            };
            let raise = pending.map(|pending| pending.percent).or(cohort.restore);
            let mut row = vec![cohort.name.clone(), cohort.served.to_string()];
            if any_behind {
                row.push(if is_behind(cohort) { cohort.decided().to_string() } else { "-".to_owned() });
            }
            row.extend([
                cohort.asked.to_string(),
                raise.map_or_else(|| "-".to_owned(), |percent| percent.to_string()),
                why,
                pending.map_or_else(|| "-".to_owned(), |pending| second(pending.due)),
            ]);
            row
        })
        .collect();
    let mut headings = vec!["COHORT", "SERVED"];
    headings.extend(any_behind.then_some("DECIDED"));
    headings.extend(["ASKED", "PENDING", "WHY", "DUE"]);
    table(&headings, &rows)
}

fn conditions(status: &FeatureRolloutStatus, now: MicroTime) -> String {
    let rows: Vec<Vec<String>> = status
        .conditions
        .iter()
        .map(|condition| {
            vec![
                condition.type_.clone(),
                condition.status.clone(),
                condition.reason.clone(),
                age(condition.last_transition_time.0.into(), now),
                condition.message.clone(),
            ]
        })
        .collect();
    table(&["TYPE", "STATUS", "REASON", "FOR", "MESSAGE"], &rows)
}

fn second(at: MicroTime) -> String {
    format!("{:.0}", at)
}

pub mod history;
mod watching;

#[cfg(test)]
mod tests;

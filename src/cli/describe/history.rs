//! `sluice history`: what happened to a rollout, oldest first.

use super::Args;
use crate::api::status::HistoryEntry;
use crate::cli::cluster;
use crate::cli::output::table::table;
use crate::cli::output::{self, Failure, Output};

/// Prints the entries that the rollout's status keeps.
pub fn run(args: &Args) -> Result<(), Failure> {
    let rollout = cluster::with(&args.cluster, async |cluster| cluster.rollout(&args.rollout).await)?;
    let status = rollout.status.unwrap_or_default();
    match args.output {
        Output::Json => output::print_json(&status.history),
        Output::Table => output::print(&as_table(&status.history, status.delivered_revision)),
    }
}

/// The entries as a table; what the file does not hold yet, at this revision, is told as decided only.
pub fn as_table(history: &[HistoryEntry], delivered_revision: i64) -> String {
    let rows: Vec<Vec<String>> = history
        .iter()
        .map(|entry| {
            vec![
                entry.seq.to_string(),
                format!("{:.0}", entry.at),
                entry.reason.to_string(),
                entry.who.clone(),
                entry.told(delivered_revision),
            ]
        })
        .collect();
    table(&["SEQ", "AT", "REASON", "WHO", "MESSAGE"], &rows)
}

//! `sluice get`: one rollout, or all of a namespace, as a table.

use kube::api::ListParams;

use super::cluster::{self, Cluster, ClusterArgs, Guarded};
use super::summary::{Summary, as_table};
use super::{Failure, Output};

/// Arguments of `sluice get`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the rollout; default: all of the namespace
    rollout: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// Prints the table.
pub fn run(args: &Args) -> Result<(), Failure> {
    let summaries = cluster::with(&args.cluster, |cluster| summaries(cluster, args.rollout.clone()))?;
    match (args.output, summaries.as_slice()) {
        (Output::Json, [one]) if args.rollout.is_some() => super::print_json(one),
        (Output::Json, all) => super::print_json(&all),
        (Output::Table, []) => {
            super::complain("no rollouts found");
            Ok(())
        }
        (Output::Table, all) => super::print(&as_table(all, super::now())),
    }
}

async fn summaries(cluster: Cluster, name: Option<String>) -> Result<Vec<Summary>, Failure> {
    if let Some(name) = name {
        return Ok(vec![Summary::of(&cluster.rollout(&name).await?)]);
    }
    let rollouts = cluster.rollouts();
    let all = cluster.call(rollouts.list(&ListParams::default())).await?;
    Ok(all.items.iter().map(summary).collect())
}

/// The summary of an object that may be unreadable.
pub fn summary(guarded: &Guarded) -> Summary {
    match &guarded.0 {
        Ok(rollout) => Summary::of(rollout),
        Err(invalid) => Summary::unreadable(invalid),
    }
}

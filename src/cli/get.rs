//! `sluice get`: one rollout, or all of a namespace, as a table.

use kube::api::ListParams;

use super::Failure;
use super::cluster::{self, Cluster, ClusterArgs, Guarded};
use super::summary::{Summary, as_table, as_wide_table};

/// Arguments of `sluice get`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the rollout; default: all of the namespace
    rollout: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Form,
}

/// Form of the output.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The columns of `kubectl get`
    Table,
    /// The same and what each cohort is served, the FlagSet, and the message
    Wide,
    /// JSON for programs: a stable contract
    Json,
}

/// Prints the table.
pub fn run(args: &Args) -> Result<(), Failure> {
    let summaries = cluster::with(&args.cluster, |cluster| summaries(cluster, args.rollout.clone()))?;
    match (args.output, summaries.as_slice()) {
        (Form::Json, [one]) if args.rollout.is_some() => super::print_json(one),
        (Form::Json, all) => super::print_json(&all),
        (Form::Table | Form::Wide, []) => {
            super::complain("no rollouts found");
            Ok(())
        }
        (Form::Table, all) => super::print(&as_table(all, super::now())),
        (Form::Wide, all) => super::print(&as_wide_table(all, super::now())),
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

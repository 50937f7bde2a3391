//! `sluice get`: one rollout, or all of a namespace or of the cluster, as a table.

use crate::cli::cluster::{self, Cluster, ClusterArgs, Guarded};
use crate::cli::completion;
use crate::cli::output::summary::{Columns, Summary, as_table};
use crate::cli::output::{self, Failure};

/// Arguments of `sluice get`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the rollout; default: all of the namespace
    #[arg(add = completion::rollouts())]
    rollout: Option<String>,
    /// The rollouts of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["rollout", "namespace"])]
    all_namespaces: bool,
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
    /// A name a line, as kubectl takes it
    Name,
    /// The same as JSON, in YAML
    Yaml,
    /// JSON for programs: a stable contract
    Json,
}

/// Prints the table.
pub fn run(args: &Args) -> Result<(), Failure> {
    let name = args.rollout.clone();
    let summaries = cluster::with(&args.cluster, |cluster| summaries(cluster, name, args.all_namespaces))?;
    let namespaces = args.all_namespaces;
    match (args.output, summaries.as_slice()) {
        (Form::Json, [one]) if args.rollout.is_some() => output::print_json(one),
        (Form::Json, all) => output::print_json(&all),
        (Form::Yaml, [one]) if args.rollout.is_some() => output::print_yaml(one),
        (Form::Yaml, all) => output::print_yaml(&all),
        (_, []) => {
            output::complain("no rollouts found");
            Ok(())
        }
        (Form::Name, all) => output::print(
            &all.iter().map(|one| format!("featurerollout.sluice.dev/{}\n", one.name)).collect::<String>(),
        ),
        (Form::Table, all) => {
            output::print(&as_table(all, output::now(), Columns { namespaces, wide: false }))
        }
        (Form::Wide, all) => output::print(&as_table(all, output::now(), Columns { namespaces, wide: true })),
    }
}

async fn summaries(
    cluster: Cluster,
    name: Option<String>,
    everywhere: bool,
) -> Result<Vec<Summary>, Failure> {
    if let Some(name) = name {
        return Ok(vec![Summary::of(&cluster.rollout(&name).await?)]);
    }
    let all: Vec<Guarded> = cluster.all_of((!everywhere).then_some(cluster.namespace.as_str())).await?;
    Ok(all.iter().map(summary).collect())
}

/// The summary of an object that may be unreadable.
pub fn summary(guarded: &Guarded) -> Summary {
    match &guarded.0 {
        Ok(rollout) => Summary::of(rollout),
        Err(invalid) => Summary::unreadable(invalid),
    }
}

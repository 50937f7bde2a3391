//! `sluice playbook`: the plan of a product by week, from files or from a cluster.

use std::path::PathBuf;

use crate::api::{FeatureRollout, MicroTime, Playbook};
use crate::chart::Look;
use crate::cli::cluster::{self, Cluster, ClusterArgs, schedule_clock};
use crate::cli::files::{self, InputArgs, lint};
use crate::cli::output::{self, Failure};
use crate::cli::playbook_words;
use crate::engine::forecast::timeline::state_at;
use crate::plan::{self, Plan};
use crate::playbook::{Overview, Referred, picture};

/// Arguments of `sluice playbook`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the playbook
    name: String,
    /// File or folder to read instead of a cluster (.yaml, .yml, .json; folders with all below them), `-` for standard input
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// As of when, RFC 3339; default: now. With files everything is taken to have gone well until then
    #[arg(long, value_name = "TIME")]
    at: Option<MicroTime>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Form,
}

/// Form of the output.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A chart by week, and what is blocked, overdue and next
    Table,
    /// JSON for programs: a stable contract
    Json,
    /// A page for a repository or a chat
    Markdown,
    /// The chart as a picture
    Svg,
}

/// Prints a plan and where it stands.
pub fn run(args: &Args) -> Result<(), Failure> {
    let shown = match args.files.is_empty() {
        true => cluster::with(&args.cluster, |cluster| from_cluster(cluster, args))?,
        false => from_files(args)?,
    };
    match args.output {
        Form::Table => output::print_exact(&playbook_words::table(&shown)),
        Form::Json => output::print_json(&playbook_words::json(&shown)),
        Form::Markdown => output::print_exact(&playbook_words::markdown(&shown)),
        Form::Svg => {
            let picture = picture::picture(&shown);
            output::print_exact(&crate::chart::drawing::svg(&picture, Look::Own))
        }
    }
}

fn from_files(args: &Args) -> Result<Overview, Failure> {
    let namespace = args.cluster.namespace();
    let input = files::load(&InputArgs::of(&args.files).in_namespace(namespace))?;
    let checked = lint::check(&input).or_report()?;
    let mut found = checked.typed.playbooks.iter().filter(|((_, name), _)| *name == args.name);
    let Some(((namespace, _), item)) = found.next() else {
        let known: Vec<&str> = checked.typed.playbooks.keys().map(|(_, name)| *name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!("there is no Playbook {} in the files: there is {known}", args.name);
        return Err(Failure::Input(message));
    };
    if let Some(((other, _), _)) = found.next() {
        let message =
            format!("namespaces {namespace} and {other} have a Playbook {}: choose with -n", args.name);
        return Err(Failure::Input(message));
    }
    let now = args.at.unwrap_or_else(output::now);
    let joined = checked.typed.rollouts.iter().filter(|((of, _), _)| of == namespace);
    let rollouts: Vec<(FeatureRollout, Option<Plan>)> = joined
        .map(|(key, item)| {
            let plan = checked.plans.get(key).cloned();
            let mut rollout = item.typed.clone();
            rollout.status = plan.as_ref().map(|plan| state_at(plan, now, now));
            (rollout, plan)
        })
        .collect();
    show(item.typed.clone(), rollouts, now)
}

async fn from_cluster(cluster: Cluster, args: &Args) -> Result<Overview, Failure> {
    let Some(playbook) = cluster.get::<Playbook>(Some(&cluster.namespace), &args.name).await? else {
        let message = format!("there is no Playbook {} in namespace {}", args.name, cluster.namespace);
        return Err(Failure::Cluster(message));
    };
    let now = match args.at {
        Some(at) => at,
        None => schedule_clock::now(&cluster).await,
    };
    let rollouts: Vec<FeatureRollout> = cluster.list(&cluster.namespace).await?;
    let referred = Referred {
        flag_sets: cluster.list(&cluster.namespace).await?,
        cohort_sets: cluster.list(&cluster.namespace).await?,
        policies: cluster.list(&cluster.namespace).await?,
    };
    let rollouts = rollouts.into_iter().map(|rollout| {
        let plan = referred.plan(&playbook, &rollout);
        (rollout, plan)
    });
    let rollouts = rollouts.collect();
    show(playbook, rollouts, now)
}

fn show(
    playbook: Playbook,
    rollouts: Vec<(FeatureRollout, Option<Plan>)>,
    now: MicroTime,
) -> Result<Overview, Failure> {
    let name = playbook.metadata.name.clone().unwrap_or_default();
    Overview::of(playbook, &rollouts, now).map_err(|errors| {
        Failure::Input(format!("Playbook {name} is invalid: {}", plan::join_errors(&errors)))
    })
}

//! `sluice watch`: the rollouts of a namespace, live.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::pin::pin;

use futures::StreamExt;
use kube::ResourceExt;
use kube::runtime::watcher::Event;

use crate::api::{Duration, FeatureRollout};
use crate::cli::cluster::patience::Patience;
use crate::cli::cluster::{self, Cluster, ClusterArgs, Guarded};
use crate::cli::completion;
use crate::cli::get::summary;
use crate::cli::output::summary::{Columns, Summary, as_table};
use crate::cli::output::{self, Failure, Output};
use crate::clock::{monotonic, sleep};
use crate::cluster::Scope;
use crate::visible::{self, line};

/// Arguments of `sluice watch`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only this rollout
    #[arg(add = completion::rollouts())]
    rollout: Option<String>,
    /// The rollouts of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["rollout", "namespace"])]
    all_namespaces: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How long the cluster may be out of reach
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    give_up_after: Duration,
    /// Form of the output; JSON is one object a line for every change
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// Draws the table anew with every change until Ctrl-C; where nobody looks at a terminal, prints a line for each.
pub fn run(args: &Args) -> Result<(), Failure> {
    cluster::with(&args.cluster, |cluster| follow(cluster, args))
}

fn rollouts(cluster: &Cluster, args: &Args) -> Scope {
    Scope::of::<FeatureRollout>((!args.all_namespaces).then_some(cluster.namespace.as_str()))
}

/// What tells rollouts apart, in the order in which they are shown.
fn key(object: &Guarded) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

async fn follow(cluster: Cluster, args: &Args) -> Result<(), Failure> {
    let name = args.rollout.as_deref().map(cluster::rollout_name).transpose()?;
    // The watcher tries for ever; whether there is a server and a rollout at all is to be said at once.
    match name {
        Some(name) => cluster.must_have(name).await?,
        None => cluster.read(cluster.reader().answers(&rollouts(&cluster, args))).await?,
    }
    let live = args.output == Output::Table && std::io::stdout().is_terminal();
    let scope = match name {
        Some(name) => rollouts(&cluster, args).fields(&format!("metadata.name={name}")),
        None => rollouts(&cluster, args),
    };
    let mut patience = Patience::new(args.give_up_after.signed().unsigned_abs());
    let mut events = pin!(cluster.reader().events::<FeatureRollout>(scope));
    let mut shown: BTreeMap<String, Summary> = BTreeMap::new();
    let mut listed: BTreeMap<String, Summary> = BTreeMap::new();
    while let Some(event) = events.next().await {
        // A list that begins tells nothing of the server yet.
        if event.as_ref().is_ok_and(|event| !matches!(event, Event::Init)) && patience.worked() {
            output::complain("the API server answers again");
        }
        let changes = match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listed.insert(key(&object), summary(&object));
                continue;
            }
            Ok(Event::InitDone) => changes(&mut shown, std::mem::take(&mut listed)),
            Ok(Event::Apply(object)) => {
                let (name, new) = (key(&object), summary(&object));
                let same = shown.get(&name) == Some(&new);
                shown.insert(name, new.clone());
                if same { Vec::new() } else { vec![new] }
            }
            Ok(Event::Delete(object)) => {
                let gone = shown.remove(&key(&object));
                gone.map(deleted).into_iter().collect()
            }
            Err(fault) => {
                let failure = cluster.fault(&fault);
                let Some(pause) = patience.failed(monotonic()) else { return Err(failure) };
                if let (true, Failure::Cluster(message)) = (pause.first, &failure) {
                    output::complain(&format!("{}; trying again for {}", line(message), args.give_up_after));
                }
                // The watcher goes on where it was when it is asked for more, at once: the pause is ours to make.
                sleep(pause.length).await;
                continue;
            }
        };
        if live {
            let all: Vec<Summary> = shown.values().cloned().collect();
            // Back to the corner, the screen emptied below: the table is drawn over the last one.
            output::print_exact("\u{1b}[H\u{1b}[J")?;
            output::print(&as_table(
                &all,
                output::now(),
                Columns { namespaces: args.all_namespaces, wide: false },
            ))?;
            continue;
        }
        for change in &changes {
            match args.output {
                Output::Table => output::print(&format!("{:.0} {}\n", output::now(), change.line()))?,
                Output::Json => output::print_exact(&as_json(change)?)?,
            }
        }
    }
    Ok(())
}

fn as_json(change: &Summary) -> Result<String, Failure> {
    let json = serde_json::to_string(change).map_err(|error| Failure::Output(error.into()))?;
    Ok(format!("{}\n", visible::json(&json)))
}

/// What a fresh list changes: new and other rows, and those that are gone.
fn changes(shown: &mut BTreeMap<String, Summary>, listed: BTreeMap<String, Summary>) -> Vec<Summary> {
    let gone =
        shown.iter().filter(|(name, _)| !listed.contains_key(*name)).map(|(_, old)| deleted(old.clone()));
    let other = listed.iter().filter(|(name, new)| shown.get(*name) != Some(new)).map(|(_, new)| new.clone());
    let changes = gone.chain(other).collect();
    *shown = listed;
    changes
}

fn deleted(gone: Summary) -> Summary {
    Summary {
        namespace: gone.namespace,
        name: gone.name,
        ready: None,
        state: Some("Deleted".to_owned()),
        phase: None,
        step: None,
        exposure: None,
        flag_set: None,
        served: None,
        next: None,
        reason: None,
        message: None,
        created: gone.created,
    }
}

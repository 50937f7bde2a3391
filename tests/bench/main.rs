//! Benchmarks of the controller on a real API server: `cargo bench --bench rollouts -- [SCENARIO]...`.
//!
//! Figures, not verdicts: the exit code is 0 whatever they are. What is measured and why: `docs/performance.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod alone;
mod audit;
mod checks;
mod controller;
mod curves;
mod edit;
mod emergency;
mod failover;
mod figures;
mod growth;
#[allow(dead_code, reason = "tests use the rest of it")]
#[path = "../it/support/hostile.rs"]
mod hostile;
#[path = "../it/support/largest.rs"]
mod largest;
mod lives;
mod machine;
#[path = "../it/support/node.rs"]
#[allow(dead_code, reason = "shared with the tests, which ask for more")]
mod node;
mod notify;
mod panel;
mod poison;
#[path = "../it/support/poisons.rs"]
#[allow(dead_code, reason = "shared with the tests, which ask for more")]
mod poisons;
#[path = "../it/support/proxy.rs"]
#[allow(dead_code, reason = "shared with the tests, which ask for more")]
mod proxy;
#[path = "../it/support/reads.rs"]
#[allow(dead_code, reason = "shared with the tests, which ask for more")]
mod reads;
mod receiver;
mod recorder;
mod refusals;
mod rollback;
mod scale;
mod sources;
mod steps;
mod tenant;
mod thousand;
mod world;
mod worst;

use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};

use figures::{Figures, Output};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// From the PUT of a spec to the ConfigMap's watch event
    Edit,
    /// How late single steps are
    Step,
    /// A hundred rollouts of one FlagSet that step at once
    Together,
    /// A thousand rollouts in twenty FlagSets
    Thousand,
    /// A thousand rollouts without a FlagSet, a ConfigMap each
    Alone,
    /// From the creation of a Rollback action to the ConfigMap, among a thousand rollouts
    Rollback,
    /// A thousand checks a minute, some of bad sources
    Checks,
    /// What writes that are refused or never answered cost a thousand rollouts, and what they hold up; half an hour
    Refusals,
    /// Five thousand rollouts that come and go in turns
    Lives,
    /// What as many rollouts cost as `--rollouts` says, in FlagSets and with a ConfigMap each; ten minutes for a thousand
    Scale,
    /// What an edit costs by the number of flags in a file, of cohorts, and of entries in the history
    Growth,
    /// A thousand transitions in a minute over five channels, one of which hangs, and with the controller killed in the middle
    Notify,
    /// From the end of the process that leads to the other one's first write, at the default lease; ten minutes
    Failover,
    /// The panel over a thousand rollouts that step, with a hundred open pages
    Panel,
    /// A start among everything that can be stored and no decoder takes
    Poison,
    /// The largest objects that the schema admits, and whoever shares a file with them
    Worst,
    /// A neighbour's rollbacks while a tenant is at his worst
    Tenant,
    /// From an emergency in git to the app inside of its container, on a real kubelet; as root
    Emergency,
}

/// Measures the controller on a control plane of its own.
#[derive(Parser)]
struct Args {
    /// What to measure; default: everything
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    /// Objects that the controller works on at once; default: its own
    #[arg(long, value_name = "N")]
    concurrency: Option<u16>,
    /// How many rollouts `scale` has; several numbers, one after the other, are separated by commas
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1000")]
    rollouts: Vec<usize>,
    /// In which shapes `scale` has them; default: both, one after the other
    #[arg(long, value_enum, value_delimiter = ',')]
    shapes: Vec<scale::Shape>,
    /// Draw how cost grows, as SVG files in this folder
    #[arg(long, value_name = "DIR")]
    curves: Option<PathBuf>,
    /// Said by `cargo bench` to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// Waits for some milliseconds.
async fn pause(milliseconds: u64) {
    sluice::clock::sleep(std::time::Duration::from_millis(milliseconds)).await;
}

fn main() {
    let args = Args::parse();
    let scenarios = if args.scenarios.is_empty() { Scenario::value_variants() } else { &args.scenarios };
    let before = machine::Machine::read();
    let mut figures = Figures::default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for scenario in scenarios {
            eprintln!("{scenario:?} ...");
            if *scenario == Scenario::Scale {
                let shapes = if args.shapes.is_empty() { &scale::SHAPES[..] } else { &args.shapes };
                for rollouts in &args.rollouts {
                    figures.of("rollouts", *rollouts);
                    for shape in shapes {
                        scale::measure(args.concurrency, &mut figures, *shape, *rollouts).await;
                    }
                    // The next size may take the better part of an hour.
                    draw(&figures, args.curves.as_deref());
                }
                figures.of_nothing();
                continue;
            }
            let world = world::World::start(args.concurrency, *scenario == Scenario::Emergency).await;
            match scenario {
                Scenario::Edit => edit::run(&world, &mut figures).await,
                Scenario::Step => steps::single(&world, &mut figures).await,
                Scenario::Together => steps::together(&world, &mut figures).await,
                Scenario::Thousand => thousand::run(&world, &mut figures).await,
                Scenario::Alone => alone::run(&world, &mut figures).await,
                Scenario::Rollback => rollback::run(&world, &mut figures).await,
                Scenario::Checks => checks::run(&world, &mut figures).await,
                Scenario::Refusals => refusals::run(&world, &mut figures).await,
                Scenario::Notify => notify::run(&world, &mut figures).await,
                Scenario::Failover => failover::run(&world, &mut figures).await,
                Scenario::Lives => lives::run(&world, &mut figures).await,
                Scenario::Growth => growth::run(&world, &mut figures).await,
                Scenario::Panel => panel::run(&world, &mut figures).await,
                Scenario::Poison => poison::run(&world, &mut figures).await,
                Scenario::Worst => worst::run(&world, &mut figures).await,
                Scenario::Tenant => tenant::run(&world, &mut figures).await,
                Scenario::Emergency => emergency::run(&world, &mut figures).await,
                Scenario::Scale => unreachable!("it has control planes of its own"),
            }
            world.stop().await;
        }
    });
    figures.print(args.output, &before, &machine::Machine::read());
    draw(&figures, args.curves.as_deref());
}

/// Draws how cost grows, if that was asked for.
fn draw(figures: &Figures, folder: Option<&Path>) {
    if let Some(folder) = folder {
        figures.draw(folder, &[scale::DRAWN, growth::DRAWN].concat()).unwrap();
    }
}

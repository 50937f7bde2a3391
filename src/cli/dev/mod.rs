//! `sluice dev`: the operator on a control plane of its own, with examples, on a clock that may run faster.

use std::path::PathBuf;

use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::cli::cluster::{self, schedule_clock};
use crate::cli::dashboard;
use crate::cli::output::summary::{Columns, Summary, as_table};
use crate::cli::output::{self, Failure, complain, print};
use crate::cli::process::{end_on_signal, instance, runtime};
use crate::clock::Clock;
use crate::controller;
use crate::error::chain;
use crate::sandbox::{
    Binaries, ControlPlane, Options, Prometheus, SandboxError, ensure_namespace, install_crds,
    install_policies,
};
use crate::telemetry::{LogFormat, start_logging};

mod metrics;
mod objects;
mod served;

/// A week a minute.
const DEMO_SPEED: u32 = 10_080;

/// Arguments of `sluice dev`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// File or folder to apply, or `-` for standard input; default: the playbook example at a week a minute
    #[arg(short, long = "filename", value_name = "PATH")]
    file: Vec<PathBuf>,
    /// How many times as fast as real time schedules run; default: 1, for the playbook example 10080
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    speed: Option<u32>,
    /// Use this cluster instead of starting a control plane
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Keep the control plane's data here instead of in a temporary folder
    #[arg(long, value_name = "DIR", conflicts_with = "kubeconfig")]
    data_dir: Option<PathBuf>,
    /// Also run Prometheus, and an app of whose requests a fifth fails for a minute and a half, after a good minute
    #[arg(long)]
    with_prometheus: bool,
    /// Form of the logs
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

/// Runs until Ctrl-C.
pub fn run(args: Args) -> Result<(), Failure> {
    start_logging(args.log_format, "warn,sluice=info,kube_client=off");
    runtime()?.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(end_on_signal(shutdown.clone()));
        tokio::select! {
            result = Box::pin(dev(args, shutdown.clone())) => result,
            // Ctrl-C while the control plane is being built or started: dropping it ends it.
            () = gone(&shutdown) => Ok(()),
        }
    })
}

/// Ends a while after the shutdown began: work under way has had its time by then.
async fn gone(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    crate::clock::sleep(std::time::Duration::from_secs(8)).await;
}

async fn dev(args: Args, shutdown: CancellationToken) -> Result<(), Failure> {
    let mut objects = objects::load_objects(&args.file)?;
    let (plane, config, kubeconfig) = match &args.kubeconfig {
        Some(file) => (None, cluster::config_from(Some(file)).await?, file.clone()),
        None => {
            let plane =
                start(args.data_dir.clone()).await.map_err(|error| Failure::Cluster(chain(&error)))?;
            let path = plane.kubeconfig_path().to_path_buf();
            let config = plane.client_config();
            (Some(plane), config, path)
        }
    };
    let prometheus = match args.with_prometheus {
        true => Some(metrics::start(plane.as_ref(), shutdown.clone()).await?),
        false => None,
    };
    let api_server = controller::api_server(&config).await;
    let client = controller::client(config.clone()).map_err(|error| Failure::Cluster(chain(&error)))?;
    install_crds(&client).await.map_err(|error| Failure::Cluster(chain(&error)))?;
    install_policies(&client).await.map_err(|error| Failure::Cluster(chain(&error)))?;
    let demo = args.file.is_empty();
    if demo {
        objects::without_metrics(&mut objects);
    }
    if let Some(prometheus) = &prometheus {
        if demo {
            objects::watch_the_example(&mut objects);
        }
        objects.push(objects::source(prometheus.url()));
    }
    let speed = args.speed.unwrap_or(if demo { DEMO_SPEED } else { 1 });
    let clock = clock(speed, demo, &objects);
    schedule_clock::tell(&client, &clock, speed).await?;

    let options = controller::Options {
        clock: clock.clone(),
        instance: instance(),
        api_server,
        // They were waited for.
        policy_settling: std::time::Duration::ZERO,
        ..controller::Options::default()
    };
    let measurements = options.measurements_reader.clone();
    let running = tokio::spawn(controller::run(client.clone(), options, shutdown.clone()));
    let mut namespaces = apply(&client, &objects).await?;
    namespaces.retain(|namespace| namespace != controller::NAMESPACE);
    let url = prometheus.as_ref().map(Prometheus::url);
    // Whoever tries Sluice does without the panel where it cannot be had.
    match dashboard::beside(config, clock.clone(), measurements, shutdown.clone()).await {
        Ok(panel) => print(&format!("\nSee it in a browser: {}\n", panel.entrance.borrow().as_str()))?,
        Err(Failure::Cluster(why)) => complain(&format!("there is no panel: {why}")),
        Err(failure) => return Err(failure),
    }
    let served: Vec<Summary> = served::rollouts(&client, &namespaces).await.iter().map(Summary::of).collect();
    if !served.is_empty() {
        print(&format!("\n{}", as_table(&served, output::now(), Columns::default())))?;
    }
    // The one that moves first: it is looked at in the examples.
    let first = served.iter().min_by_key(|one| (one.next.is_none(), one.next.clone()));
    print(&instructions(&kubeconfig, plane.as_ref(), &namespaces, (&clock, speed), url, first, demo))?;

    let ended = running.await;
    if plane.is_none() {
        // The cluster goes on by the real clock; where it cannot be reached any more, nobody is left to tell.
        let _told = schedule_clock::forget(&client).await;
    }
    if let Some(prometheus) = prometheus {
        complain("stopping Prometheus");
        prometheus.stop().await;
    }
    if let Some(plane) = plane {
        complain("stopping the control plane");
        plane.stop().await.map_err(|error| Failure::Cluster(chain(&error)))?;
    }
    match ended {
        Ok(result) => result.map_err(|error| Failure::Cluster(chain(&error))),
        Err(error) => Err(Failure::Cluster(format!("the controller ended: {error}"))),
    }
}

/// A control plane in which namespaces can be deleted, where the programs at hand have what that takes.
async fn start(data_dir: Option<PathBuf>) -> Result<ControlPlane, SandboxError> {
    let controller_manager = Binaries::find(false).await?.kube_controller_manager.is_some();
    if !controller_manager {
        complain("there is no kube-controller-manager: a namespace that is deleted here never ends");
    }
    ControlPlane::start(Options { data_dir, controller_manager, ..Options::default() }).await
}

/// The clock of the demo begins a few seconds before something happens; otherwise now.
fn clock(speed: u32, demo: bool, objects: &[objects::Object]) -> Clock {
    let now = output::now();
    let first = if demo { objects::first_change(objects, now) } else { None };
    match (first, speed) {
        (None, 1) => Clock::system(),
        (None, speed) => Clock::accelerated(now, speed),
        (Some(first), speed) => {
            let lead = jiff::SignedDuration::from_secs(10 * i64::from(speed));
            Clock::accelerated(first.saturating_sub(lead), speed)
        }
    }
}

async fn apply(client: &Client, objects: &[objects::Object]) -> Result<Vec<String>, Failure> {
    let mut namespaces: Vec<String> = objects.iter().map(|object| object.namespace.clone()).collect();
    namespaces.sort();
    namespaces.dedup();
    for namespace in &namespaces {
        ensure_namespace(client, namespace).await.map_err(|error| Failure::Cluster(chain(&error)))?;
    }
    for object in objects {
        object.apply(client).await?;
    }
    Ok(namespaces)
}

fn instructions(
    kubeconfig: &std::path::Path,
    plane: Option<&ControlPlane>,
    namespaces: &[String],
    (clock, speed): (&Clock, u32),
    prometheus: Option<&str>,
    first: Option<&Summary>,
    demo: bool,
) -> String {
    let kubectl = plane.and_then(ControlPlane::kubectl_path).map_or("kubectl".to_owned(), |path| {
        if on_path("kubectl") { "kubectl".to_owned() } else { path.display().to_string() }
    });
    let first_namespace = namespaces.first().map_or("default", String::as_str);
    let (namespace, rollout) =
        first.map_or((first_namespace, "ROLLOUT"), |first| (first.namespace.as_str(), first.name.as_str()));
    let time = if speed == 1 {
        String::new()
    } else {
        format!(
            "The schedule's clock shows {:.0} and runs {speed} times as fast as real time.\n",
            clock.now()
        )
    };
    // What the demo watches is one of its rollouts; of other files nobody knows which.
    let (watched_in, watched) = if demo { objects::WATCHED } else { (namespace, rollout) };
    let script = prometheus.map_or(String::new(), |_| metrics::script(watched, watched_in));
    let prometheus = prometheus.map_or(String::new(), |url| format!("  {}\n", metrics::example(url)));
    format!(
        "\n{time}Watch it from another terminal:\n\n  \
         export KUBECONFIG={}\n  \
         {kubectl} get featurerollouts -n {namespace} -w\n  \
         {kubectl} get events -n {namespace} -w\n  \
         {kubectl} get configmaps -n {namespace} -o yaml\n\
         {prometheus}\n\
         Look at one rollout, and act on it:\n\n  \
         sluice describe {rollout} -n {namespace}\n  \
         sluice history {rollout} -n {namespace}\n  \
         sluice pause {rollout} -n {namespace} --reason 'let us see'\n  \
         sluice rollback {rollout} -n {namespace} --reason 'let us see'\n\n\
         {script}Ctrl-C ends it.\n",
        kubeconfig.display()
    )
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

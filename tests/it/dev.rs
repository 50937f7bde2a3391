//! `sluice dev`: the README's first command.

use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::DeleteParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use sluice::api::FeatureRollout;

use crate::support::process::sluice_binary;
use crate::support::prom::value;
use crate::support::raw::object;
use crate::support::running::running_with;
use crate::support::{Space, eventually, is_ready, pause};

#[tokio::test]
async fn dev_runs_a_rollout_to_its_end_and_leaves_nothing_behind() {
    // A day a second.
    let dev = Dev::start(&["--speed", "86400"]);
    let row =
        dev.said.iter().find(|line| line.starts_with("new-search ")).expect("it ends its start with a table");
    assert!(row.contains('%') && row.contains("ga"), "what is served is in it: {row}");

    let config = Kubeconfig::read_from(&dev.kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    let api: Api<FeatureRollout> = Api::namespaced(client.clone(), "default");
    eventually("the rollout is completed", async || {
        let status = api.get("new-search").await.unwrap().status.unwrap_or_default();
        status.completed_at.is_some() && status.served.as_deref() == Some("everyone=100%")
    })
    .await;

    // A namespace with a rollout that deletion must lower first goes as in any cluster.
    let space = Space::on(client, "short-lived").await;
    let spec = "deletionPolicy: Control\ncohorts: [{name: all}]\nbaseline: {all: 50}\nphases: [{name: ga, ramp: {percents: [50]}}]";
    assert_eq!(space.create(&object("FeatureRollout", "held", spec)).await.code, 201);
    space.until("held", "served", |status| status.exposed() && is_ready(status)).await;
    let namespaces: Api<Namespace> = Api::all(space.client.clone());
    namespaces.delete("short-lived", &DeleteParams::default()).await.unwrap();
    eventually("the namespace is gone", async || namespaces.get_opt("short-lived").await.unwrap().is_none())
        .await;
    dev.end().await;
}

#[tokio::test]
async fn with_prometheus_the_demo_app_has_an_error_rate() {
    let mut dev = Dev::start(&["--with-prometheus"]);
    let (url, query) = dev
        .lines
        .find_map(|line| {
            let line = line.unwrap();
            let (url, query) =
                line.trim().strip_prefix("curl -s ")?.split_once(" --data-urlencode 'query=")?;
            let url = url.strip_suffix("/api/v1/query")?;
            Some((url.to_owned(), query.strip_suffix('\'')?.to_owned()))
        })
        .expect("it says how to query");
    // Good at first, bad after a minute, and something between while the window holds both.
    eventually("a scripted rate is reported", async || {
        value(&url, &query).await.is_some_and(|rate| (0.5 - 1e-6..=20.0 + 1e-6).contains(&rate))
    })
    .await;
    dev.end().await;
}

/// Takes the minute for which the app is good, the minute and a half for which it is bad, and some seconds more.
#[tokio::test]
async fn with_prometheus_the_built_in_example_is_rolled_back_by_itself_and_can_be_retried() {
    let mut dev = Dev::run(&["--with-prometheus"]);
    let config = Kubeconfig::read_from(&dev.kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    let api: Api<FeatureRollout> = Api::namespaced(Client::try_from(config).unwrap(), "maya");
    let dreams = async || api.get("dreams").await.unwrap().status.unwrap_or_default();
    eventually("the beta is served", async || dreams().await.exposed()).await;
    assert!(dreams().await.rollback.is_none(), "the app is good");
    pause(30_000).await;
    let ended = async || dreams().await.rollback.is_some_and(|rollback| rollback.ended_at.is_some());
    for _ in 0..3 {
        if ended().await {
            break;
        }
        pause(15_000).await;
    }
    eventually("it is rolled back", ended).await;
    let served = dreams().await.cohorts;
    assert!(served.iter().all(|cohort| cohort.served.percent().is_zero()), "{served:#?}");

    // What to do, and when, is said.
    let script = dev.lines.find(|line| line.as_ref().unwrap().contains("is good for 60 s of real time"));
    assert!(script.is_some_and(|line| line.unwrap().contains("fail for 90 s")));
    let retry = dev
        .lines
        .find(|line| line.as_ref().unwrap().trim().starts_with("sluice retry dreams -n maya --reason"));
    assert!(retry.is_some(), "how to start again is said");
    let (mut said, dev) = tokio::task::spawn_blocking(move || {
        (dev.lines.find(|line| line.as_ref().unwrap().starts_with("The app is well again")), dev)
    })
    .await
    .unwrap();
    assert!(said.take().is_some(), "the errors end");
    let retried = Command::new(sluice_binary())
        .args([
            "retry",
            "dreams",
            "-n",
            "maya",
            "--reason",
            "the app is well again",
            "--kubeconfig",
            &dev.kubeconfig,
        ])
        .output()
        .unwrap();
    assert!(retried.status.success(), "{}", String::from_utf8_lossy(&retried.stderr));
    eventually("it is served again", async || {
        let status = dreams().await;
        status.rollback.is_none() && status.exposed()
    })
    .await;
    // Longer than a breach lasts here before it rolls back.
    pause(20_000).await;
    assert!(dreams().await.rollback.is_none(), "the retry goes well: {:#?}", dreams().await.history);
    dev.end().await;
}

/// A `sluice dev` of the minimal example. Ended when dropped.
struct Dev {
    child: Option<Child>,
    lines: Lines<BufReader<ChildStdout>>,
    kubeconfig: String,
    /// What it printed up to the kubeconfig.
    said: Vec<String>,
}

impl Dev {
    fn start(args: &[&str]) -> Dev {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/minimal.yaml");
        Dev::run(&[&["-f", example], args].concat())
    }

    fn run(args: &[&str]) -> Dev {
        let mut child = Command::new(sluice_binary())
            .arg("dev")
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        let kubeconfig = lines
            .find_map(|line| {
                said.push(line.unwrap());
                said.last()?.trim().strip_prefix("export KUBECONFIG=").map(str::to_owned)
            })
            .expect("it says which kubeconfig to use");
        Dev { child: Some(child), lines, kubeconfig, said }
    }

    /// Ctrl-C, after which nothing is left.
    async fn end(mut self) {
        let mut child = self.child.take().unwrap();
        let folder = PathBuf::from(&self.kubeconfig).parent().unwrap().to_owned();
        assert!(!running_with(&folder).is_empty(), "it runs from its folder");
        interrupt(&child);
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        assert!(ended.success(), "Ctrl-C is the orderly end: {ended}");
        assert!(!folder.exists(), "the control plane's folder is gone");
        assert_eq!(running_with(&folder), Vec::<String>::new(), "still running");
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            interrupt(child);
            let _status = child.wait();
        }
    }
}

fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
}

//! `sluice dev`: the README's first command.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use sluice::api::FeatureRollout;

use crate::support::eventually;

#[tokio::test]
async fn dev_runs_a_rollout_to_its_end_and_leaves_nothing_behind() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/minimal.yaml");
    let mut dev = Command::new(env!("CARGO_BIN_EXE_sluice"))
        // A day a second.
        .args(["dev", "-f", example, "--speed", "86400"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines();
    let kubeconfig = lines
        .find_map(|line| line.unwrap().trim().strip_prefix("export KUBECONFIG=").map(str::to_owned))
        .expect("it says which kubeconfig to use");

    let config = Kubeconfig::read_from(&kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    let api: Api<FeatureRollout> = Api::namespaced(Client::try_from(config).unwrap(), "default");
    eventually("the rollout is completed", async || {
        let status = api.get("new-search").await.unwrap().status.unwrap_or_default();
        status.completed_at.is_some() && status.served.as_deref() == Some("everyone=100%")
    })
    .await;

    let pid = dev.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(move || dev.wait().unwrap()).await.unwrap();
    assert!(ended.success(), "Ctrl-C is the orderly end: {ended}");
    let folder = std::path::Path::new(&kubeconfig).parent().unwrap();
    assert!(!folder.exists(), "the control plane's folder is gone");
    let cmdlines = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let bytes = std::fs::read(entry.unwrap().path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    });
    let folder = folder.display().to_string();
    let left: Vec<String> = cmdlines.filter(|line| line.contains(&folder)).collect();
    assert!(left.is_empty(), "still running: {left:?}");
}

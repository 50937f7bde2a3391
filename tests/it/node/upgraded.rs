//! An upgrade, as `helm upgrade` does it, in the middle of a rollout's steps, and the way back.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use sluice::api::FeatureRollout;
use sluice::sandbox::{ControlPlane, Options};

use super::installed::{CONTROLLER, free_port, image, until_it_runs};
use crate::chart::{NAMESPACE, next_version};
use crate::support::bare::{Recorded, assert_never_fell};
use crate::support::go_tools::Helm;
use crate::support::node::{self, Node};
use crate::support::process::sluice_binary;
use crate::support::{Space, eventually, is_ready};

const REPOSITORY: &str = "sluice.test/operator";

const CLIMBING: &str = r#"{metadata: {name: climbing}, spec: {cohorts: [{name: all}],
    phases: [{name: ga, ramp: {percents: [10, 20, 30, 40, 50, 60, 70, 80, 90, 100], every: 3s}}]}}"#;

/// The pods of one release go before those of the next come, as this node has one network: the steps wait for the next one, which
/// finds in the statuses where each rollout was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_43_upgraded_and_rolled_back_in_the_middle_of_its_steps_each_step_comes_once() {
    let options = Options { controller_manager: true, ..Options::default() };
    let plane = node::control_plane_with(options).await;
    let folder = tempfile::tempdir().unwrap();
    let next = next_program(folder.path());
    let images = [(sluice_binary(), "0.1.0"), (next, "0.2.0")].map(|(program, version)| {
        let archive = folder.path().join(format!("{version}.tar"));
        image(&program, &format!("{REPOSITORY}:{version}"), &archive);
        archive
    });
    let _node = Node::with_images(&plane, &images.each_ref().map(PathBuf::as_path)).await;
    let release = Release::on_this_node(&plane, folder.path());

    release.helm(&["install", "sluice", "charts/sluice", "--create-namespace"]);
    let first = until_it_runs(&plane, CONTROLLER, None).await;
    release.until_it_calls_itself("0.1.0").await;
    let space = Space::on(plane.client().unwrap(), "shop").await;
    let recorded = Recorded::start(&space, "climbing");
    space.apply::<FeatureRollout>(CLIMBING).await.unwrap();
    let reaches = async |percent: &str| {
        let served = format!("all={percent}%");
        space.until("climbing", &served, |status| status.served.as_deref() == Some(&served)).await;
    };

    reaches("20").await;
    let chart = folder.path().join("charts/sluice");
    release.helm(&["upgrade", "sluice", chart.to_str().unwrap()]);
    let second = until_it_runs(&plane, CONTROLLER, Some(&first)).await;
    release.until_it_calls_itself("0.2.0").await;
    reaches("60").await;
    release.helm(&["rollback", "sluice", "1"]);
    until_it_runs(&plane, CONTROLLER, Some(&second)).await;
    release.until_it_calls_itself("0.1.0").await;

    space.until("climbing", "completed", |status| status.completed_at.is_some() && is_ready(status)).await;
    let versions = recorded.of("climbing");
    assert_never_fell(&versions);
    let steps: Vec<f64> = versions.iter().map(|(_, served)| served["all"]).filter(|all| *all > 0.0).collect();
    assert_eq!(steps, [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0], "each step once");
}

/// The program under test, calling itself 0.2.0: a build of the next version would differ by its version alone, and take minutes.
/// The chart of that version is in the folder beside it.
fn next_program(folder: &Path) -> PathBuf {
    let mut program = std::fs::read(sluice_binary()).unwrap();
    let (now, next) = (env!("CARGO_PKG_VERSION").as_bytes(), b"0.2.0");
    assert_eq!(now.len(), next.len(), "versions of one length");
    let places: Vec<usize> =
        program.windows(now.len()).enumerate().filter(|(_, at)| *at == now).map(|(at, _)| at).collect();
    for at in places {
        program[at..at + next.len()].copy_from_slice(next);
    }
    let path = folder.join("sluice-0.2.0");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(&path).unwrap();
    file.write_all(&program).unwrap();
    drop(file);
    let said = Command::new(&path).arg("--version").output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&said).contains("0.2.0"), "{}", String::from_utf8_lossy(&said));

    let copied = Command::new("cp").args(["-r", "--parents", "charts/sluice"]).arg(folder).status().unwrap();
    assert!(copied.success());
    next_version(folder);
    path
}

/// The release, as Helm 3 installs it: what it renders is adapted to this node on the way, as there is no scheduler, no network
/// of pods, and no way to the API server but its own address.
struct Release {
    home: PathBuf,
    kubeconfig: PathBuf,
    adapt: PathBuf,
    metrics: u16,
    probes: u16,
}

impl Release {
    fn on_this_node(plane: &ControlPlane, folder: &Path) -> Release {
        let (metrics, probes) = (free_port(), free_port());
        let server = plane.client_config().cluster_url;
        let pod = "/spec/template/spec";
        let container = format!("{pod}/containers/0");
        let variable = |name: &str, value: &str| json!({"op": "add", "path": format!("{container}/env/-"), "value": {"name": name, "value": value}});
        let mut patch = vec![
            // The pod that goes still has the port.
            json!({"op": "add", "path": "/spec/strategy", "value": {"type": "Recreate"}}),
            json!({"op": "add", "path": format!("{pod}/nodeName"), "value": "localhost"}),
            json!({"op": "add", "path": format!("{pod}/hostNetwork"), "value": true}),
            json!({"op": "remove", "path": format!("{container}/ports")}),
            variable("KUBERNETES_SERVICE_HOST", server.host().unwrap()),
            variable("KUBERNETES_SERVICE_PORT", &server.port_u16().unwrap().to_string()),
        ];
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let asked = format!("{container}/{probe}/httpGet");
            patch.push(json!({"op": "add", "path": format!("{asked}/host"), "value": "127.0.0.1"}));
            patch.push(json!({"op": "replace", "path": format!("{asked}/port"), "value": probes}));
        }
        let work = folder.join("rendered");
        std::fs::create_dir_all(&work).unwrap();
        let patches = json!([{
            "target": {"kind": "Deployment"},
            "patch": serde_json::to_string(&patch).unwrap(),
        }]);
        let kustomization = json!({"resources": ["all.yaml"], "patches": patches});
        std::fs::write(work.join("kustomization.yaml"), kustomization.to_string()).unwrap();
        let adapt = folder.join("adapt");
        let kubectl = plane.kubectl_path().unwrap();
        let script = format!(
            "#!/bin/sh\nset -e\ncat > {0}/all.yaml\nexec {1} kustomize {0}\n",
            work.display(),
            kubectl.display()
        );
        std::fs::write(&adapt, script).unwrap();
        let runnable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&adapt, runnable).unwrap();
        let kubeconfig = plane.kubeconfig_path().to_owned();
        Release { home: folder.join("helm"), kubeconfig, adapt, metrics, probes }
    }

    /// Runs Helm with what an installation takes; a way back takes nothing.
    fn helm(&self, args: &[&str]) {
        let mut command = Helm::Three.command(&self.home);
        command.args(args).args(["--namespace", NAMESPACE, "--kubeconfig"]).arg(&self.kubeconfig);
        if args[0] != "rollback" {
            command.arg("--post-renderer").arg(&self.adapt);
            let values = [
                format!("image.repository={REPOSITORY}"),
                "image.pullPolicy=Never".to_owned(),
                "replicas=1".to_owned(),
                format!("service.port={}", self.metrics),
                format!("controller.probesPort={}", self.probes),
            ];
            command.args(values.iter().flat_map(|value| ["--set", value]));
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    async fn until_it_calls_itself(&self, version: &str) {
        let url = format!("http://127.0.0.1:{}/metrics", self.metrics);
        let wanted = format!("sluice_build_info{{version=\"{version}\"");
        eventually(&format!("{version} runs"), async || match reqwest::get(&url).await {
            Ok(answer) => answer.text().await.is_ok_and(|text| text.contains(&wanted)),
            Err(_) => false,
        })
        .await;
    }
}
